# The rendered state machine, and what stands around it. Plan only: nothing is applied, no credentials are needed.

mock_provider "aws" {
  source          = "./tests/terraform/mocks"
  override_during = plan
}

variables {
  name = "unit"
  aws = {
    account_id = "111111111111"
    dns_suffix = "amazonaws.com"
    partition  = "aws"
    region     = "us-east-1"
  }
  package = {
    bucket        = "unit-artifacts"
    key           = "package/0123.zip"
    version_id    = "v1"
    sha256_base64 = "MDEyMw=="
  }
  targets = {
    default = {
      account       = "111111111111"
      region        = "us-east-1"
      roleArn       = "arn:aws:iam::111111111111:role/unit-deployment"
      readerRoleArn = "arn:aws:iam::111111111111:role/unit-reader"
      externalId    = null
      base          = "live"
    }
  }
  artifact_bucket_arn = "arn:aws:s3:::unit-artifacts"
  topic_arn           = "arn:aws:sns:us-east-1:111111111111:unit"
  kms_key_arn         = "arn:aws:kms:us-east-1:111111111111:key/12345678-1234-1234-1234-123456789012"
}

# Functions with ARNs of their own, so that a Task that calls the wrong one is seen.
override_resource {
  target          = aws_lambda_function.this["parse"]
  override_during = plan
  values = {
    arn           = "arn:aws:lambda:us-east-1:111111111111:function:unit-parse"
    qualified_arn = "arn:aws:lambda:us-east-1:111111111111:function:unit-parse:3"
    version       = "3"
  }
}
override_resource {
  target          = aws_lambda_function.this["prepare"]
  override_during = plan
  values = {
    arn           = "arn:aws:lambda:us-east-1:111111111111:function:unit-prepare"
    qualified_arn = "arn:aws:lambda:us-east-1:111111111111:function:unit-prepare:3"
    version       = "3"
  }
}
override_resource {
  target          = aws_lambda_function.this["update-task"]
  override_during = plan
  values = {
    arn           = "arn:aws:lambda:us-east-1:111111111111:function:unit-update-task"
    qualified_arn = "arn:aws:lambda:us-east-1:111111111111:function:unit-update-task:3"
    version       = "3"
  }
}
override_resource {
  target          = aws_lambda_function.this["update-service"]
  override_during = plan
  values = {
    arn           = "arn:aws:lambda:us-east-1:111111111111:function:unit-update-service"
    qualified_arn = "arn:aws:lambda:us-east-1:111111111111:function:unit-update-service:3"
    version       = "3"
  }
}
override_resource {
  target          = aws_lambda_function.this["check-rollouts"]
  override_during = plan
  values = {
    arn           = "arn:aws:lambda:us-east-1:111111111111:function:unit-check-rollouts"
    qualified_arn = "arn:aws:lambda:us-east-1:111111111111:function:unit-check-rollouts:3"
    version       = "3"
  }
}
override_resource {
  target          = aws_lambda_function.this["rollback"]
  override_during = plan
  values = {
    arn           = "arn:aws:lambda:us-east-1:111111111111:function:unit-rollback"
    qualified_arn = "arn:aws:lambda:us-east-1:111111111111:function:unit-rollback:3"
    version       = "3"
  }
}
override_resource {
  target          = aws_lambda_function.this["report"]
  override_during = plan
  values = {
    arn           = "arn:aws:lambda:us-east-1:111111111111:function:unit-report"
    qualified_arn = "arn:aws:lambda:us-east-1:111111111111:function:unit-report:3"
    version       = "3"
  }
}

override_resource {
  target          = aws_lambda_function.this["clean-up"]
  override_during = plan
  values = {
    arn           = "arn:aws:lambda:us-east-1:111111111111:function:unit-clean-up"
    qualified_arn = "arn:aws:lambda:us-east-1:111111111111:function:unit-clean-up:3"
    version       = "3"
  }
}

run "definition" {
  command = plan

  module {
    source = "./modules/orchestrator"
  }

  assert {
    condition     = can(jsondecode(output.definition).States[jsondecode(output.definition).StartAt])
    error_message = "The definition is no state machine: StartAt names no state."
  }

  assert {
    condition     = !strcontains(output.definition, "$${") && !strcontains(output.definition, local.retry_marker)
    error_message = "A placeholder is left in the definition."
  }

  assert {
    condition     = aws_sfn_state_machine.this.type == "STANDARD" && aws_sfn_state_machine.this.name == "unit-release"
    error_message = "The state machine is not STANDARD or has another name."
  }

  assert {
    condition     = aws_sfn_state_machine.this.tags["ecs-release:releases-table"] == "unit-releases"
    error_message = "The command ecs-release could not find the releases table by the state machine's tag."
  }

  assert {
    condition     = one(aws_sfn_state_machine.this.logging_configuration).level == "ALL" && !one(aws_sfn_state_machine.this.logging_configuration).include_execution_data && one(aws_sfn_state_machine.this.tracing_configuration).enabled
    error_message = "The state machine does not log every event without data, or is not traced."
  }

  # The machine waits for a function 60 seconds longer than it may run.
  assert {
    condition     = 60 * tonumber(trimsuffix(aws_sfn_state_machine.this.timeouts.delete, "m")) > 60 + max([for function in aws_lambda_function.this : function.timeout]...)
    error_message = "terraform destroy gives up before a running execution comes to its next transition."
  }

  assert {
    condition     = startswith(aws_cloudwatch_log_group.state_machine.name, "/aws/vendedlogs/states/")
    error_message = "The state machine's log group has no vended logs' name."
  }
}

run "tasks" {
  command = plan

  module {
    source = "./tests/terraform/tasks"
  }

  variables {
    definition = run.definition.definition
  }

  assert {
    condition     = length(output.tasks) == output.task_count
    error_message = "Only ${length(output.tasks)} of ${output.task_count} Tasks were looked at."
  }

  assert {
    condition     = alltrue([for task in values(output.tasks) : jsondecode(task).Resource == "arn:aws:states:::lambda:invoke"])
    error_message = "A Task does something else than lambda:invoke."
  }

  assert {
    condition     = toset([for task in values(output.tasks) : jsondecode(task).Parameters.FunctionName]) == toset([for step, function in run.definition.functions : function.qualified_arn if step != "clean-up"])
    error_message = "The Tasks do not call each function's published version."
  }

  assert {
    condition = alltrue([
      for task in values(output.tasks) : jsondecode(task).TimeoutSeconds == one([
        for function in values(run.definition.functions) : function.timeout if function.qualified_arn == jsondecode(task).Parameters.FunctionName
      ]) + 60
    ])
    error_message = "A Task does not wait exactly a minute longer than its function may run."
  }

  assert {
    condition = alltrue([
      for task in values(output.tasks) : jsondecode(task).Retry[0].MaxAttempts == 0 && length(jsondecode(task).Retry) > 1 && length(jsondecode(task).Catch) > 0 && length(jsondecode(task).Comment) > 0
    ])
    error_message = "A Task has no Comment, no Catch, or a Retry whose first entry does not end fatal errors at once."
  }
}

run "functions" {
  command = plan

  module {
    source = "./modules/orchestrator"
  }

  assert {
    condition = { for step, function in output.functions : step => function.timeout } == {
      "parse" = 600, "prepare" = 900, "update-task" = 300, "update-service" = 300, "check-rollouts" = 300, "rollback" = 300, "report" = 120, "clean-up" = 900
    }
    error_message = "Steps or their time-outs changed."
  }

  assert {
    condition     = alltrue([for step, function in aws_lambda_function.this : function.function_name == "unit-${step}" && function.handler == "ecs_release.steps.${replace(step, "-", "_")}.handler"])
    error_message = "A function's name or handler is not its step's."
  }

  assert {
    condition     = alltrue([for function in values(aws_lambda_function.this) : function.publish && function.runtime == "python3.13" && function.architectures == tolist(["arm64"]) && one(function.tracing_config).mode == "Active" && function.kms_key_arn == var.kms_key_arn])
    error_message = "A function is not published, traced, encrypted, or not python3.13 on arm64."
  }

  assert {
    condition     = alltrue([for function in values(aws_lambda_function.this) : function.s3_key == "package/0123.zip" && function.s3_object_version == "v1" && function.source_code_hash == "MDEyMw=="])
    error_message = "A function would not be updated when the package changes."
  }

  assert {
    condition = { for step, function in aws_lambda_function.this : step => sort(keys(one(function.environment).variables)) } == {
      for step, more in {
        "parse"          = ["ECS_RELEASE_POLL_SECONDS"]
        "prepare"        = ["ECS_RELEASE_IDEMPOTENCY_TABLE"]
        "update-task"    = ["ECS_RELEASE_IDEMPOTENCY_TABLE"]
        "update-service" = ["ECS_RELEASE_IDEMPOTENCY_TABLE"]
        "check-rollouts" = ["ECS_RELEASE_POLL_SECONDS", "ECS_RELEASE_SOAK_SECONDS"]
        "rollback"       = ["ECS_RELEASE_IDEMPOTENCY_TABLE"]
        "report"         = ["ECS_RELEASE_TOPIC_ARN"]
        "clean-up"       = []
      } : step => sort(concat(more, ["ECS_RELEASE_NAME", "ECS_RELEASE_TABLE", "POWERTOOLS_LOG_LEVEL", "POWERTOOLS_METRICS_NAMESPACE", "POWERTOOLS_SERVICE_NAME"]))
    }
    error_message = "A function is told more or less than it needs."
  }

  assert {
    condition     = alltrue([for step, group in aws_cloudwatch_log_group.function : group.name == "/aws/lambda/unit-${step}" && group.retention_in_days == 365 && group.kms_key_id == var.kms_key_arn])
    error_message = "A log group is not its function's, is not encrypted, or keeps lines for ever."
  }
}

run "a_service_is_watched_for_as_long_as_the_input_says" {
  command = plan

  module {
    source = "./modules/orchestrator"
  }

  variables {
    soak_seconds = 90
  }

  assert {
    condition     = { for step, function in aws_lambda_function.this : step => one(function.environment).variables["ECS_RELEASE_SOAK_SECONDS"] if can(one(function.environment).variables["ECS_RELEASE_SOAK_SECONDS"]) } == { "check-rollouts" = "90" }
    error_message = "soak_seconds does not reach the function that watches, or reaches another one."
  }
}

run "tables" {
  command = plan

  module {
    source = "./modules/orchestrator"
  }

  assert {
    condition     = aws_dynamodb_table.releases.name == "unit-releases" && aws_dynamodb_table.releases.hash_key == "pk" && aws_dynamodb_table.releases.range_key == "sk"
    error_message = "The releases table has another name or key."
  }

  # What the idempotency table holds may be lost.
  assert {
    condition     = aws_dynamodb_table.releases.deletion_protection_enabled && aws_dynamodb_table.idempotency.deletion_protection_enabled != true
    error_message = "DynamoDB would delete the releases table without being told so twice."
  }

  assert {
    condition     = aws_dynamodb_table.idempotency.name == "unit-idempotency" && aws_dynamodb_table.idempotency.hash_key == "id" && one(aws_dynamodb_table.idempotency.ttl).attribute_name == "expiration" && one(aws_dynamodb_table.idempotency.ttl).enabled
    error_message = "The idempotency table is not what Powertools expects."
  }

  assert {
    condition = alltrue([for table in [aws_dynamodb_table.releases, aws_dynamodb_table.idempotency] :
      table.billing_mode == "PAY_PER_REQUEST" && one(table.point_in_time_recovery).enabled && one(table.server_side_encryption).enabled && one(table.server_side_encryption).kms_key_arn == var.kms_key_arn
    ])
    error_message = "A table is not on demand, has no point-in-time recovery, or is not encrypted with the key."
  }

  assert {
    condition = jsondecode(jsondecode(aws_dynamodb_table_item.targets.item).targets.S) == {
      default = {
        account       = "111111111111"
        region        = "us-east-1"
        roleArn       = "arn:aws:iam::111111111111:role/unit-deployment"
        readerRoleArn = "arn:aws:iam::111111111111:role/unit-reader"
        externalId    = null
        base          = "live"
        soakSeconds   = 0

        passableRoleArns = null
      }
    }
    error_message = "The targets in the releases table are not those the module was given."
  }
}

run "tables_to_be_destroyed" {
  command = plan

  module {
    source = "./modules/orchestrator"
  }

  variables {
    force_destroy = true
  }

  assert {
    condition     = aws_dynamodb_table.releases.deletion_protection_enabled == false
    error_message = "force_destroy does not reach the releases table, so terraform destroy would fail there."
  }
}

run "ended_executions" {
  command = plan

  module {
    source = "./modules/orchestrator"
  }

  assert {
    condition = jsondecode(aws_cloudwatch_event_rule.ended.event_pattern) == {
      source        = ["aws.states"]
      "detail-type" = ["Step Functions Execution Status Change"]
      detail        = { stateMachineArn = [aws_sfn_state_machine.this.arn], status = ["ABORTED", "FAILED", "TIMED_OUT"] }
    }
    error_message = "The rule matches other executions or states than those that need their record closed."
  }

  assert {
    condition     = aws_cloudwatch_event_target.ended.arn == "arn:aws:lambda:us-east-1:111111111111:function:unit-report:3" && aws_lambda_permission.ended.qualifier == "3" && aws_lambda_permission.ended.source_arn == aws_cloudwatch_event_rule.ended.arn
    error_message = "The rule does not call the published report function, or may not."
  }

  # The rule's ARN names the account already; with an account of its own the permission would keep EventBridge out.
  assert {
    condition     = aws_lambda_permission.ended.principal == "events.amazonaws.com" && aws_lambda_permission.ended.source_account == null
    error_message = "The permission asks EventBridge for a source account, so the report function would never be called."
  }

  # A Deploy action that failed without a release has nobody else to tell of it.
  assert {
    condition = jsondecode(aws_cloudwatch_event_rule.deploy_failed.event_pattern) == {
      source        = ["aws.codepipeline"]
      "detail-type" = ["CodePipeline Action Execution State Change"]
      detail        = { pipeline = ["unit"], stage = ["Deploy"], state = ["FAILED"] }
    }
    error_message = "The rule matches something else than a failed Deploy action of this pipeline."
  }

  assert {
    condition = aws_cloudwatch_event_target.deploy_failed.arn == aws_cloudwatch_event_target.ended.arn && (
      aws_lambda_permission.deploy_failed.qualifier == "3" &&
      aws_lambda_permission.deploy_failed.source_arn == aws_cloudwatch_event_rule.deploy_failed.arn &&
      aws_lambda_permission.deploy_failed.source_account == null
    )
    error_message = "The rule does not call the published report function, or may not."
  }

  assert {
    condition     = sort(output.rules) == tolist(["unit-clean-up", "unit-deploy-failed", "unit-ended"]) && output.functions_of_rules == ["unit-clean-up", "unit-report"]
    error_message = "A rule, or a function that one calls, is left out of the alarm on failed deliveries."
  }

  assert {
    condition = jsondecode(aws_cloudwatch_event_rule.clean_up.event_pattern) == {
      source        = ["aws.states"]
      "detail-type" = ["Step Functions Execution Status Change"]
      detail        = { stateMachineArn = [aws_sfn_state_machine.this.arn], status = ["ABORTED", "FAILED", "SUCCEEDED", "TIMED_OUT"] }
    }
    error_message = "The rule misses a way in which an execution can end, or matches other executions."
  }

  assert {
    condition     = aws_cloudwatch_event_target.clean_up.arn == "arn:aws:lambda:us-east-1:111111111111:function:unit-clean-up:3" && aws_lambda_permission.clean_up.qualifier == "3" && aws_lambda_permission.clean_up.source_arn == aws_cloudwatch_event_rule.clean_up.arn
    error_message = "The rule does not call the published clean-up function, or may not."
  }
}
