# Closes the record of an execution that ended without Report: stopped by an operator, timed out, or failed in Report itself.
# If this event is lost, the next Parse does it.
# https://docs.aws.amazon.com/step-functions/latest/dg/eventbridge-integration.html
resource "aws_cloudwatch_event_rule" "ended" {
  name        = "${var.name}-ended"
  description = "Closes the records of releases that were stopped, timed out or failed"
  tags        = var.tags

  event_pattern = jsonencode({
    source        = ["aws.states"]
    "detail-type" = ["Step Functions Execution Status Change"]
    detail = {
      stateMachineArn = [aws_sfn_state_machine.this.arn]
      status          = ["ABORTED", "FAILED", "TIMED_OUT"]
    }
  })
}

resource "aws_cloudwatch_event_target" "ended" {
  rule      = aws_cloudwatch_event_rule.ended.name
  target_id = "report"
  arn       = aws_lambda_function.this["report"].qualified_arn

  retry_policy {
    maximum_event_age_in_seconds = 3600
    maximum_retry_attempts       = 10
  }

  depends_on = [aws_lambda_permission.ended]
}

# Lambda targets are authorised by the function's policy, not by a role.
# https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-use-resource-based.html#eb-lambda-permissions
#
# An upgrade publishes another version, whose permission is made before the old one's goes: EventBridge does not try again where it is refused.
# https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-rule-retry-policy.html
#
# No source_account: with one, EventBridge can't invoke the function. The rule's ARN holds the account.
# https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-troubleshooting.html
# https://github.com/hashicorp/terraform-provider-aws/pull/4116
resource "aws_lambda_permission" "ended" {
  statement_id  = "RuleOnEndedExecutions"
  action        = "lambda:InvokeFunction"
  function_name = aws_lambda_function.this["report"].function_name
  qualifier     = aws_lambda_function.this["report"].version
  principal     = "events.amazonaws.com"
  source_arn    = aws_cloudwatch_event_rule.ended.arn

  lifecycle {
    create_before_destroy = true
  }
}

# A Deploy action that fails before the machine starts (StartExecution refused, its input missing) leaves no execution and no record, so
# neither Report nor the rule above would tell of it. Report asks CodePipeline and Step Functions and tells when there was no release, so
# nobody hears twice.
# https://docs.aws.amazon.com/codepipeline/latest/userguide/action-reference-StepFunctions.html
# https://docs.aws.amazon.com/codepipeline/latest/userguide/detect-state-changes-cloudwatch-events.html
resource "aws_cloudwatch_event_rule" "deploy_failed" {
  name        = "${var.name}-deploy-failed"
  description = "Has Report tell when the pipeline ${var.name} could not start a release"
  tags        = var.tags

  event_pattern = jsonencode({
    source        = ["aws.codepipeline"]
    "detail-type" = ["CodePipeline Action Execution State Change"]
    detail = {
      pipeline = [var.name]
      stage    = ["Deploy"]
      state    = ["FAILED"]
    }
  })
}

resource "aws_cloudwatch_event_target" "deploy_failed" {
  rule      = aws_cloudwatch_event_rule.deploy_failed.name
  target_id = "report"
  arn       = aws_lambda_function.this["report"].qualified_arn

  retry_policy {
    maximum_event_age_in_seconds = 3600
    maximum_retry_attempts       = 10
  }

  depends_on = [aws_lambda_permission.deploy_failed]
}

resource "aws_lambda_permission" "deploy_failed" {
  statement_id  = "RuleOnFailedDeployActions"
  action        = "lambda:InvokeFunction"
  function_name = aws_lambda_function.this["report"].function_name
  qualifier     = aws_lambda_function.this["report"].version
  principal     = "events.amazonaws.com"
  source_arn    = aws_cloudwatch_event_rule.deploy_failed.arn

  lifecycle {
    create_before_destroy = true
  }
}

# Cleans up after a release, and after earlier ones whose event was lost: however an execution ends. Asynchronous, so neither the
# pipeline nor the next release waits for it; Lambda tries a failed invocation twice more.
# https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-error-handling.html
resource "aws_cloudwatch_event_rule" "clean_up" {
  name        = "${var.name}-clean-up"
  description = "Deregisters what ended releases left unused"
  tags        = var.tags

  event_pattern = jsonencode({
    source        = ["aws.states"]
    "detail-type" = ["Step Functions Execution Status Change"]
    detail = {
      stateMachineArn = [aws_sfn_state_machine.this.arn]
      status          = ["ABORTED", "FAILED", "SUCCEEDED", "TIMED_OUT"]
    }
  })
}

resource "aws_cloudwatch_event_target" "clean_up" {
  rule      = aws_cloudwatch_event_rule.clean_up.name
  target_id = "clean-up"
  arn       = aws_lambda_function.this["clean-up"].qualified_arn

  retry_policy {
    maximum_event_age_in_seconds = 3600
    maximum_retry_attempts       = 10
  }

  depends_on = [aws_lambda_permission.clean_up]
}

resource "aws_lambda_permission" "clean_up" {
  statement_id  = "RuleOnEndedExecutions"
  action        = "lambda:InvokeFunction"
  function_name = aws_lambda_function.this["clean-up"].function_name
  qualifier     = aws_lambda_function.this["clean-up"].version
  principal     = "events.amazonaws.com"
  source_arn    = aws_cloudwatch_event_rule.clean_up.arn

  lifecycle {
    create_before_destroy = true
  }
}
