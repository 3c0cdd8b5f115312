resource "aws_codecommit_repository" "this" {
  #checkov:skip=CKV2_AWS_37: Who reviews a manifest is the team's rule; an approval rule template of the account applies to this repository as to any other.
  count = local.codecommit ? 1 : 0

  repository_name = coalesce(var.repository.name, var.name)
  description     = "${var.repository.file} on ${var.repository.branch} is released by the pipeline ${var.name}"
  tags            = var.tags
}

# A push to the branch starts the pipeline; nothing polls. A rule is per branch, because the event does not say which files changed.
# https://docs.aws.amazon.com/codepipeline/latest/userguide/triggering.html
resource "aws_cloudwatch_event_rule" "push" {
  count = local.codecommit ? 1 : 0

  name        = "${var.name}-push"
  description = "Starts the pipeline ${var.name} at a push to ${var.repository.branch}"
  tags        = var.tags

  event_pattern = jsonencode({
    source        = ["aws.codecommit"]
    "detail-type" = ["CodeCommit Repository State Change"]
    resources     = [aws_codecommit_repository.this[0].arn]
    detail = {
      event         = ["referenceCreated", "referenceUpdated"]
      referenceType = ["branch"]
      referenceName = [var.repository.branch]
    }
  })
}

resource "aws_cloudwatch_event_target" "push" {
  count = local.codecommit ? 1 : 0

  rule      = aws_cloudwatch_event_rule.push[0].name
  target_id = "pipeline"
  arn       = var.pipeline_arn
  role_arn  = aws_iam_role.push[0].arn
}

resource "aws_iam_role" "push" {
  count = local.codecommit ? 1 : 0

  name                 = "${var.name}-push"
  description          = "EventBridge starts the pipeline ${var.name}"
  permissions_boundary = var.permissions_boundary_arn
  tags                 = var.tags

  # https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-events-iam-roles.html
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Sid       = "TheRuleAssumes"
      Effect    = "Allow"
      Principal = { Service = "events.amazonaws.com" }
      Action    = "sts:AssumeRole"
      Condition = { ArnEquals = { "aws:SourceArn" = aws_cloudwatch_event_rule.push[0].arn } }
    }]
  })
}

resource "aws_iam_role_policy" "push" {
  count = local.codecommit ? 1 : 0

  name = "push"
  role = aws_iam_role.push[0].id

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Sid      = "StartThePipeline"
      Effect   = "Allow"
      Action   = ["codepipeline:StartPipelineExecution"]
      Resource = var.pipeline_arn
    }]
  })
}
