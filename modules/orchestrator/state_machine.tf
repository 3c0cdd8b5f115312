locals {
  definition_directory = "${path.module}/../../statemachine"

  state_machine_name = "${var.name}-release"
  # By name, because the functions' roles and the machine's own role are made before it.
  state_machine_arn = "arn:${var.aws.partition}:states:${var.aws.region}:${var.aws.account_id}:stateMachine:${local.state_machine_name}"
  executions_arn    = "arn:${var.aws.partition}:states:${var.aws.region}:${var.aws.account_id}:execution:${local.state_machine_name}:*"

  # The Retry block is written once. A JSON file can't include another, so the quoted placeholder stands for the text of retry.json.
  retry_marker = "@@retry@@"
  definition = jsonencode(jsondecode(replace(
    templatefile("${local.definition_directory}/release.asl.json", merge(
      { for step, function in aws_lambda_function.this : "${replace(step, "-", "_")}_arn" => function.qualified_arn },
      { partition = var.aws.partition, retry = local.retry_marker },
    )),
    "\"${local.retry_marker}\"",
    file("${local.definition_directory}/retry.json"),
  )))
}

resource "aws_sfn_state_machine" "this" {
  #checkov:skip=CKV_AWS_285: Every event is logged, but without inputs and results: manifests and answers of AWS stay in the releases table.
  name       = local.state_machine_name
  type       = "STANDARD"
  role_arn   = aws_iam_role.state_machine.arn
  definition = local.definition

  # The command ecs-release finds the table by this tag.
  tags = merge(var.tags, { "ecs-release:releases-table" = aws_dynamodb_table.releases.name })

  logging_configuration {
    level                  = "ALL"
    include_execution_data = false
    log_destination        = "${aws_cloudwatch_log_group.state_machine.arn}:*"
  }

  tracing_configuration {
    enabled = true
  }

  # A running execution ends only at its next transition, and the machine is deleted after that; the longest wait for one is an attempt of Prepare,
  # 16 minutes. A retry is a transition as well. The provider would give up after five.
  # https://docs.aws.amazon.com/step-functions/latest/apireference/API_DeleteStateMachine.html
  # https://docs.aws.amazon.com/step-functions/latest/dg/concepts-error-handling.html
  timeouts {
    delete = "20m"
  }

  depends_on = [aws_iam_role_policy.state_machine]
}

# The prefix keeps the log delivery's resource policy within its size.
# https://docs.aws.amazon.com/step-functions/latest/dg/bp-cwl.html
resource "aws_cloudwatch_log_group" "state_machine" {
  name              = "/aws/vendedlogs/states/${local.state_machine_name}"
  retention_in_days = var.log_retention_days
  kms_key_id        = var.kms_key_arn
  tags              = var.tags
}
