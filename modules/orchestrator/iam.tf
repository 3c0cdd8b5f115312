locals {
  # What each step calls on the releases table; modules/deployment_role has what it calls in the targets from the same file.
  permissions = jsondecode(file("${path.module}/../../lambda_src/ecs_release/aws/permissions.json"))

  # No document says with which suffix China's services call KMS, so either is right there. Nobody but AWS sets the key.
  # https://docs.aws.amazon.com/kms/latest/developerguide/conditions-kms.html#conditions-kms-via-service
  key_through = {
    for service in ["dynamodb", "s3", "sns"] : service => {
      StringEquals = { "kms:ViaService" = [for suffix in distinct(["amazonaws.com", var.aws.dns_suffix]) : "${service}.${var.aws.region}.${suffix}"] }
    }
  }

  # Permissions as data: functions name what they need of this in functions.tf.
  statements = {
    idempotency = [{
      # https://docs.aws.amazon.com/powertools/python/latest/utilities/idempotency/#iam-permissions
      Sid      = "RememberWhatWasDone"
      Effect   = "Allow"
      Action   = ["dynamodb:DeleteItem", "dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:UpdateItem"]
      Resource = [aws_dynamodb_table.idempotency.arn]
    }]

    # https://docs.aws.amazon.com/IAM/latest/UserGuide/id_roles_use_permissions-to-switch.html
    assume_reader = [{
      Sid      = "ReadInTheTargets"
      Effect   = "Allow"
      Action   = ["sts:AssumeRole"]
      Resource = distinct(values(var.targets)[*].readerRoleArn)
    }]

    assume_deployment = [{
      Sid      = "WriteInTheTargets"
      Effect   = "Allow"
      Action   = ["sts:AssumeRole"]
      Resource = distinct(values(var.targets)[*].roleArn)
    }]

    read_manifest = [
      {
        # https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html
        Sid      = "ReadTheManifest"
        Effect   = "Allow"
        Action   = ["s3:GetObject", "s3:GetObjectVersion"]
        Resource = ["${var.artifact_bucket_arn}/manifests/*"]
      },
      {
        # With it a missing object is a 404 and not a 403, so that what S3 does not have yet can be told from a refusal.
        # https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html
        Sid      = "TellMissingFromRefused"
        Effect   = "Allow"
        Action   = ["s3:ListBucket"]
        Resource = [var.artifact_bucket_arn]
      },
      {
        # https://docs.aws.amazon.com/AmazonS3/latest/userguide/UsingKMSEncryption.html
        Sid       = "DecryptTheManifest"
        Effect    = "Allow"
        Action    = ["kms:Decrypt"]
        Resource  = [var.kms_key_arn]
        Condition = local.key_through.s3
      },
    ]

    read_plan = [{
      Sid      = "ReadThePlan"
      Effect   = "Allow"
      Action   = ["s3:GetObject", "s3:GetObjectVersion"]
      Resource = ["${var.artifact_bucket_arn}/plans/*"]
    }]

    read_actions = [{
      # Parse: whether the plan was approved in the pipeline execution that wants to deploy it. Report: whether Deploy failed before a release began.
      # https://docs.aws.amazon.com/codepipeline/latest/APIReference/API_ListActionExecutions.html
      Sid      = "AskForThePipelinesActions"
      Effect   = "Allow"
      Action   = ["codepipeline:ListActionExecutions"]
      Resource = ["arn:${var.aws.partition}:codepipeline:${var.aws.region}:${var.aws.account_id}:${var.name}"]
    }]

    read_executions = [{
      # Whether the holder of the lock has ended, and whether an execution that is spoken of is one.
      # https://docs.aws.amazon.com/step-functions/latest/apireference/API_DescribeExecution.html
      Sid      = "LookAtExecutions"
      Effect   = "Allow"
      Action   = ["states:DescribeExecution"]
      Resource = [local.executions_arn]
    }]

    publish = [
      {
        Sid      = "Notify"
        Effect   = "Allow"
        Action   = ["sns:Publish"]
        Resource = [var.topic_arn]
      },
      {
        # https://docs.aws.amazon.com/sns/latest/dg/sns-key-management.html
        Sid       = "EncryptTheMessage"
        Effect    = "Allow"
        Action    = ["kms:Decrypt", "kms:GenerateDataKey"]
        Resource  = [var.kms_key_arn]
        Condition = local.key_through.sns
      },
    ]
  }

  # What every function does.
  common_statements = {
    for step in keys(local.functions) : step => [
      {
        # https://docs.aws.amazon.com/lambda/latest/dg/lambda-intro-execution-role.html
        Sid      = "WriteItsLog"
        Effect   = "Allow"
        Action   = ["logs:CreateLogStream", "logs:PutLogEvents"]
        Resource = ["${aws_cloudwatch_log_group.function[step].arn}:*"]
      },
      {
        # Takes no resource. https://docs.aws.amazon.com/lambda/latest/dg/services-xray.html
        Sid      = "Trace"
        Effect   = "Allow"
        Action   = ["xray:PutTelemetryRecords", "xray:PutTraceSegments"]
        Resource = ["*"]
      },
      {
        # https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazondynamodb.html
        Sid      = "KeepTheRecord"
        Effect   = "Allow"
        Action   = local.permissions.steps[replace(step, "-", "_")].table
        Resource = [aws_dynamodb_table.releases.arn]
      },
      {
        # https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/encryption.usagenotes.html
        Sid       = "DecryptTheTables"
        Effect    = "Allow"
        Action    = ["kms:Decrypt"]
        Resource  = [var.kms_key_arn]
        Condition = local.key_through.dynamodb
      },
    ]
  }
}

resource "aws_iam_role" "function" {
  for_each = local.functions

  name                 = "${var.name}-${each.key}"
  description          = each.value.description
  permissions_boundary = var.permissions_boundary_arn
  tags                 = var.tags

  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      # https://docs.aws.amazon.com/lambda/latest/dg/lambda-intro-execution-role.html
      Sid       = "LambdaAssumes"
      Effect    = "Allow"
      Principal = { Service = "lambda.amazonaws.com" }
      Action    = "sts:AssumeRole"
    }]
  })
}

resource "aws_iam_role_policy" "function" {
  for_each = local.functions

  name = each.key
  role = aws_iam_role.function[each.key].id

  policy = jsonencode({
    Version   = "2012-10-17"
    Statement = concat(local.common_statements[each.key], flatten([for name in each.value.statements : local.statements[name]]))
  })
}

resource "aws_iam_role" "state_machine" {
  name                 = local.state_machine_name
  description          = "The state machine ${local.state_machine_name}"
  permissions_boundary = var.permissions_boundary_arn
  tags                 = var.tags

  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      # https://docs.aws.amazon.com/step-functions/latest/dg/procedure-create-iam-role.html#prevent-cross-service-confused-deputy
      Sid       = "TheStateMachineAssumes"
      Effect    = "Allow"
      Principal = { Service = "states.amazonaws.com" }
      Action    = "sts:AssumeRole"
      Condition = {
        ArnEquals    = { "aws:SourceArn" = local.state_machine_arn }
        StringEquals = { "aws:SourceAccount" = var.aws.account_id }
      }
    }]
  })
}

resource "aws_iam_role_policy" "state_machine" {
  #checkov:skip=CKV_AWS_355: The log delivery and X-Ray actions take no resource, as the AWS documents beside them say.
  #checkov:skip=CKV_AWS_290: The same actions take no condition either.
  name = "state-machine"
  role = aws_iam_role.state_machine.id

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        # All versions: an execution that began before an upgrade goes on with the version it began with.
        # https://docs.aws.amazon.com/step-functions/latest/dg/connect-lambda.html
        Sid      = "InvokeTheSteps"
        Effect   = "Allow"
        Action   = ["lambda:InvokeFunction"]
        Resource = [for step, function in aws_lambda_function.this : "${function.arn}:*" if !contains(["clean-up", "plan"], step)]
      },
      {
        # https://docs.aws.amazon.com/step-functions/latest/dg/cw-logs.html
        Sid    = "DeliverItsLog"
        Effect = "Allow"
        Action = [
          "logs:CreateLogDelivery",
          "logs:DeleteLogDelivery",
          "logs:DescribeLogGroups",
          "logs:DescribeResourcePolicies",
          "logs:GetLogDelivery",
          "logs:ListLogDeliveries",
          "logs:PutResourcePolicy",
          "logs:UpdateLogDelivery",
        ]
        Resource = ["*"]
      },
      {
        # https://docs.aws.amazon.com/step-functions/latest/dg/concepts-xray-tracing.html
        Sid      = "Trace"
        Effect   = "Allow"
        Action   = ["xray:GetSamplingRules", "xray:GetSamplingTargets", "xray:PutTelemetryRecords", "xray:PutTraceSegments"]
        Resource = ["*"]
      },
    ]
  })
}
