locals {
  # Every function: its step in the state machine, how long it may take, what it is told, and what it may do beside its calls on the
  # releases table (names of local.statements).
  # The state machine waits 60 seconds longer than a function may run, see statemachine/release.asl.json.
  functions = merge({
    parse = {
      description = "Validates the manifest again, takes the lock, reads live state, records before-images, cuts waves and batches"
      memory      = 1769
      timeout     = 600
      environment = merge(local.environment.common, local.environment.poll, var.approval ? local.environment.approval : {})
      statements  = concat(["assume_reader", "read_manifest", "read_executions"], var.approval ? ["read_plan", "read_actions"] : [])
    }
    prepare = {
      description = "Registers the new task definitions of one batch; production is not touched"
      memory      = 512
      timeout     = 900
      environment = merge(local.environment.common, local.environment.idempotency)
      statements  = ["idempotency", "assume_deployment"]
    }
    update-task = {
      description = "Points the EventBridge rules and Scheduler schedules of one batch at their new revisions"
      memory      = 512
      timeout     = 300
      environment = merge(local.environment.common, local.environment.idempotency)
      statements  = ["idempotency", "assume_deployment"]
    }
    update-service = {
      description = "Starts the rollouts of one batch of services"
      memory      = 512
      timeout     = 300
      environment = merge(local.environment.common, local.environment.idempotency)
      statements  = ["idempotency", "assume_deployment"]
    }
    check-rollouts = {
      description = "Judges every item of the wave and names the next step"
      memory      = 1769
      timeout     = 300
      environment = merge(local.environment.common, local.environment.poll, local.environment.soak)
      statements  = ["assume_reader"]
    }
    rollback = {
      description = "Puts the changed items of one batch back to their before-images"
      memory      = 512
      timeout     = 300
      environment = merge(local.environment.common, local.environment.idempotency)
      statements  = ["idempotency", "assume_deployment"]
    }
    report = {
      description = "Closes the record, gives the lock back, notifies"
      memory      = 512
      timeout     = 120
      environment = merge(local.environment.common, local.environment.topic)
      statements  = ["publish", "read_executions", "read_actions"]
    }
    # No state of the machine: it begins when the execution has ended (events.tf).
    clean-up = {
      description = "Deregisters what a release registered and did not use, after its end"
      memory      = 512
      timeout     = 900
      environment = local.environment.common
      statements  = ["assume_deployment"]
    }
    }, var.approval ? {
    # No state of the machine: the Build stage asks it before the approval. It can read, and nothing else.
    plan = {
      description = "Compares the manifest with what is live, read only, for the approval"
      memory      = 1769
      timeout     = 600
      environment = local.environment.common
      statements  = ["assume_reader", "read_manifest"]
    }
  } : {})

  environment = {
    common = {
      ECS_RELEASE_NAME             = var.name
      ECS_RELEASE_TABLE            = aws_dynamodb_table.releases.name
      POWERTOOLS_LOG_LEVEL         = "INFO"
      POWERTOOLS_METRICS_NAMESPACE = "EcsRelease"
      # A dimension of every metric, so two of these modules in one account and Region are told apart.
      POWERTOOLS_SERVICE_NAME = var.name
    }
    idempotency = { ECS_RELEASE_IDEMPOTENCY_TABLE = aws_dynamodb_table.idempotency.name }
    approval    = { ECS_RELEASE_APPROVAL_PIPELINE = var.name }
    poll        = { ECS_RELEASE_POLL_SECONDS = tostring(var.poll_seconds) }
    soak        = { ECS_RELEASE_SOAK_SECONDS = tostring(var.soak_seconds) }
    topic       = { ECS_RELEASE_TOPIC_ARN = var.topic_arn }
  }
}

# Before the functions, so that retention and key hold from the first line on.
resource "aws_cloudwatch_log_group" "function" {
  for_each = local.functions

  name              = "/aws/lambda/${var.name}-${each.key}"
  retention_in_days = var.log_retention_days
  kms_key_id        = var.kms_key_arn
  tags              = var.tags
}

resource "aws_lambda_function" "this" {
  #checkov:skip=CKV_AWS_115: The state machine's MaxConcurrency bounds the writers; reserving would take from the account's other functions.
  #checkov:skip=CKV_AWS_116: The state machine invokes synchronously and sees every failure; what the one event loses, the next Parse does.
  #checkov:skip=CKV_AWS_117: The functions call AWS APIs only; in a VPC they would need endpoints or a NAT gateway and reach no more.
  #checkov:skip=CKV_AWS_272: The package is committed beside this code and its digest is in the plan; a signing profile is the account's own choice.
  for_each = local.functions

  function_name = "${var.name}-${each.key}"
  description   = each.value.description
  role          = aws_iam_role.function[each.key].arn
  runtime       = "python3.13"
  architectures = ["arm64"]
  handler       = "ecs_release.steps.${replace(each.key, "-", "_")}.handler"
  memory_size   = each.value.memory
  timeout       = each.value.timeout
  kms_key_arn   = var.kms_key_arn
  tags          = var.tags

  # From the bucket, where the build takes it from as well: uploaded once, and the provider makes functions with a local file one after another.
  s3_bucket         = var.package.bucket
  s3_key            = var.package.key
  s3_object_version = var.package.version_id
  source_code_hash  = var.package.sha256_base64

  # The state machine calls the published version, so a running release keeps its code during an upgrade.
  publish = true

  environment {
    variables = each.value.environment
  }

  tracing_config {
    mode = "Active"
  }

  depends_on = [
    aws_cloudwatch_log_group.function,
    aws_iam_role_policy.function,
  ]
}
