# Report tells of every release's end. What ends before a release begins, a bad manifest, a source that can't be read, an approval that is rejected or
# runs out, would be silent without this. Deploy is left out: there Report speaks, and better, also where no release began (modules/orchestrator,
# deploy_failed).
# https://docs.aws.amazon.com/codepipeline/latest/userguide/detect-state-changes-cloudwatch-events.html
resource "aws_cloudwatch_event_rule" "not_released" {
  name        = "${var.name}-not-released"
  description = "Tells when the pipeline ${var.pipeline_name} fails before a release begins"
  tags        = var.tags

  event_pattern = jsonencode({
    source        = ["aws.codepipeline"]
    "detail-type" = ["CodePipeline Stage Execution State Change"]
    detail = {
      pipeline = [var.pipeline_name]
      stage    = ["Source", "Build", "Approve"]
      state    = ["FAILED"]
    }
  })
}

# Without a role: topics are authorised by their own policy, and a role makes delivery to an encrypted one fail.
# https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-use-resource-based.html
resource "aws_cloudwatch_event_target" "not_released" {
  rule      = aws_cloudwatch_event_rule.not_released.name
  target_id = "topic"
  arn       = aws_sns_topic.this.arn

  input_transformer {
    input_paths = {
      execution = "$.detail.execution-id"
      pipeline  = "$.detail.pipeline"
      region    = "$.region"
      stage     = "$.detail.stage"
    }
    input_template = "\"[<pipeline>] Nothing was released: stage <stage> of the pipeline failed. To see why: aws codepipeline list-action-executions --region <region> --pipeline-name <pipeline> --filter pipelineExecutionId=<execution>\""
  }

  depends_on = [aws_sns_topic_policy.this]
}
