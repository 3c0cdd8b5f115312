# The module as people use it: defaults, names and outputs.

mock_provider "aws" {
  source          = "./tests/terraform/mocks"
  override_during = plan
}

run "defaults" {
  command = plan

  assert {
    condition     = output.pipeline_name == "ecs-release" && output.repository_name == "ecs-release" && output.releases_table_name == "ecs-release-releases" && output.artifact_bucket_name == "ecs-release-artifacts-111111111111-us-east-1"
    error_message = "Without inputs, the names are not those that the documentation gives."
  }

  assert {
    condition     = output.state_machine_arn != null && output.notification_topic_arn != null && output.deployment_role_arn != null && output.reader_role_arn != null
    error_message = "An output is missing."
  }

  assert {
    condition     = output.connection_arn == null && output.connection_status == null
    error_message = "CodeCommit has no connection."
  }

  assert {
    condition     = var.poll_seconds == 15 && var.soak_seconds == 0 && var.log_retention_days == 365 && var.force_destroy == false && var.repository.branch == "main" && var.repository.file == "deployment.yaml" && var.build.compute == null
    error_message = "A default changed."
  }

  assert {
    condition     = aws_kms_key.this[0].enable_key_rotation && aws_kms_key.this[0].deletion_window_in_days == 30 && aws_kms_alias.this[0].name == "alias/ecs-release"
    error_message = "The key does not rotate, or is deleted sooner than by default."
  }

  # Services use the key under a source condition only; EventBridge does not support one.
  assert {
    condition = alltrue([for statement in jsondecode(aws_kms_key.this[0].policy).Statement :
      try(statement.Principal.Service, null) == null ? statement.Principal == { AWS = "arn:aws:iam::111111111111:root" } : can(statement.Condition) == (statement.Principal.Service != "events.amazonaws.com")
    ])
    error_message = "A service may use the key without a condition, EventBridge may not use it at all, or another account may use it."
  }

  assert {
    condition     = one([for statement in jsondecode(aws_kms_key.this[0].policy).Statement : statement.Principal.Service if statement.Sid == "LogGroupsOfThisModule"]) == "logs.us-east-1.amazonaws.com"
    error_message = "CloudWatch Logs of this Region may not use the key."
  }
}

run "other_partition" {
  command = plan

  override_data {
    target          = data.aws_partition.current
    override_during = plan
    values          = { partition = "aws-cn", dns_suffix = "amazonaws.com.cn" }
  }
  override_data {
    target          = data.aws_region.current
    override_during = plan
    values          = { id = "cn-north-1" }
  }

  assert {
    condition     = !strcontains(aws_kms_key.this[0].policy, "arn:aws:") && strcontains(aws_kms_key.this[0].policy, "arn:aws-cn:logs:cn-north-1:") && strcontains(aws_kms_key.this[0].policy, "logs.cn-north-1.amazonaws.com.cn")
    error_message = "The key's policy names the commercial partition."
  }

  # A partition may lack a service, and KMS refuses a policy that names such a one.
  assert {
    condition = jsondecode(aws_kms_key.this[0].policy).Statement[2].Principal.Service == ["cloudwatch.amazonaws.com"] && (
      local.publishers == jsondecode(aws_kms_key.this[0].policy).Statement[2].Principal.Service
    )
    error_message = "The key's policy names a service that China does not have, or the topic's names others."
  }

  assert {
    condition     = output.artifact_bucket_name == "ecs-release-artifacts-111111111111-cn-north-1"
    error_message = "The Region is not the provider's."
  }
}

# An alarm takes an expression over ten metrics at most.
run "deliveries" {
  command = plan

  assert {
    condition     = sort(local.deliveries.rules) == tolist(["ecs-release-clean-up", "ecs-release-deploy-failed", "ecs-release-ended", "ecs-release-push"]) && length(local.deliveries.rules) + 1 + length(local.deliveries.functions) <= 10
    error_message = "The alarm on failed deliveries leaves out a rule of the module, or has more metrics than CloudWatch takes."
  }
}

run "own_key" {
  command = plan

  variables {
    kms_key = { arn = "arn:aws:kms:us-east-1:111111111111:key/99999999-1234-1234-1234-123456789012" }
  }

  assert {
    condition     = length(aws_kms_key.this) == 0 && length(aws_kms_alias.this) == 0 && local.kms_key_arn == var.kms_key.arn
    error_message = "A key is made although one was given."
  }
}

run "targets" {
  command = plan

  variables {
    soak_seconds = 90
    targets = {
      production-eu = {
        role_arn        = "arn:aws:iam::222222222222:role/ecs-release-deployment"
        reader_role_arn = "arn:aws:iam::222222222222:role/ecs-release-reader"
        region          = "eu-west-1"
        external_id     = "agreed-42"
      }
    }
  }

  assert {
    condition = join(" ", keys(local.targets)) == "default production-eu" && jsonencode(local.targets["production-eu"]) == jsonencode({
      account       = "222222222222"
      region        = "eu-west-1"
      roleArn       = "arn:aws:iam::222222222222:role/ecs-release-deployment"
      readerRoleArn = "arn:aws:iam::222222222222:role/ecs-release-reader"
      externalId    = "agreed-42"
      base          = "live"
      soakSeconds   = 90

      passableRoleArns = null
    }) && local.targets["default"].soakSeconds == 90
    error_message = "A target does not reach the releases table as it was given."
  }
}

run "connection" {
  command = plan

  variables {
    repository = { type = "CONNECTION", full_repository_id = "octo/deployments", connection_provider = "GitLab" }
  }

  assert {
    condition     = output.repository_name == "octo/deployments" && output.repository_clone_url_http == null && output.connection_status == "PENDING"
    error_message = "The connection's outputs are not what the documentation says."
  }
}

run "emails" {
  command = plan

  module {
    source = "./modules/notifications"
  }

  variables {
    name        = "unit"
    aws         = { account_id = "111111111111", dns_suffix = "amazonaws.com", partition = "aws", region = "us-east-1" }
    kms_key_arn = "arn:aws:kms:us-east-1:111111111111:key/12345678-1234-1234-1234-123456789012"
    emails      = ["platform@example.com"]
    publishers  = ["cloudwatch.amazonaws.com"]
    deliveries  = { rules = [], functions = [] }

    pipeline_name = "unit"
  }

  assert {
    condition     = aws_sns_topic.this.name == "unit" && aws_sns_topic.this.kms_master_key_id == var.kms_key_arn && aws_sns_topic_subscription.email["platform@example.com"].protocol == "email"
    error_message = "The topic has another name, is not encrypted, or an address is not subscribed."
  }

  assert {
    condition = alltrue([for statement in jsondecode(aws_sns_topic_policy.this.policy).Statement :
      statement.Effect == "Deny" || try(statement.Condition == { StringEquals = { "aws:SourceAccount" = "111111111111" } }, statement.Principal == { Service = "events.amazonaws.com" })
    ])
    error_message = "Another account's services may publish."
  }

  # EventBridge sends no source keys: with a condition its messages would be lost.
  assert {
    condition     = one([for statement in jsondecode(aws_sns_topic_policy.this.policy).Statement : join(" ", keys(statement)) if try(statement.Principal.Service, null) == "events.amazonaws.com"]) == "Action Effect Principal Resource Sid"
    error_message = "EventBridge may not publish, or only under a condition that never holds."
  }
}

run "failures_before_a_release" {
  command = plan

  module {
    source = "./modules/notifications"
  }

  variables {
    name          = "unit"
    aws           = { account_id = "111111111111", dns_suffix = "amazonaws.com", partition = "aws", region = "us-east-1" }
    pipeline_name = "unit-pipeline"
    kms_key_arn   = "arn:aws:kms:us-east-1:111111111111:key/12345678-1234-1234-1234-123456789012"
    publishers    = ["cloudwatch.amazonaws.com"]
    deliveries    = { rules = ["unit-push", "unit-ended"], functions = ["unit-report"] }
  }

  # Every rule, that of the topic among them, and every function that a rule calls.
  assert {
    condition = toset([
      for query in aws_cloudwatch_metric_alarm.deliveries_failed.metric_query :
      "${query.metric[0].namespace} ${query.metric[0].metric_name} ${jsonencode(query.metric[0].dimensions)}" if length(query.metric) > 0
      ]) == toset([
      "AWS/Events FailedInvocations {\"RuleName\":\"unit-ended\"}",
      "AWS/Events FailedInvocations {\"RuleName\":\"unit-not-released\"}",
      "AWS/Events FailedInvocations {\"RuleName\":\"unit-push\"}",
      "AWS/Lambda AsyncEventsDropped {\"FunctionName\":\"unit-report\"}",
    ])
    error_message = "The alarm does not see a rule whose event reaches nobody, or a function that gives up on one."
  }

  # The ids are names in the expression, each another one: https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_MetricDataQuery.html
  assert {
    condition = alltrue([
      for alarm in [aws_cloudwatch_metric_alarm.deliveries_failed, aws_cloudwatch_metric_alarm.notifications_failed] :
      alltrue([for query in alarm.metric_query : can(regex("^[a-z][A-Za-z0-9_]*$", query.id))]) && length(distinct(alarm.metric_query[*].id)) == length(alarm.metric_query)
    ])
    error_message = "CloudWatch would refuse an alarm for the ids of its metrics."
  }

  assert {
    condition = (
      aws_cloudwatch_metric_alarm.deliveries_failed.threshold == 0 &&
      aws_cloudwatch_metric_alarm.deliveries_failed.treat_missing_data == "notBreaching" &&
      aws_cloudwatch_metric_alarm.deliveries_failed.alarm_actions == toset([aws_sns_topic.this.arn])
    )
    error_message = "CloudWatch would refuse the alarm, it does not see one failed delivery, rings when there is none, or tells nobody."
  }

  # Deploy is Report's: of a release that fails, people would otherwise hear twice.
  assert {
    condition = jsondecode(aws_cloudwatch_event_rule.not_released.event_pattern) == {
      source        = ["aws.codepipeline"]
      "detail-type" = ["CodePipeline Stage Execution State Change"]
      detail        = { pipeline = ["unit-pipeline"], stage = ["Source", "Build", "Approve"], state = ["FAILED"] }
    }
    error_message = "The rule matches something else than this pipeline's failures before a release."
  }

  # A role would make delivery to an encrypted topic fail.
  assert {
    condition     = aws_cloudwatch_event_target.not_released.arn == aws_sns_topic.this.arn && aws_cloudwatch_event_target.not_released.role_arn == null
    error_message = "The rule does not tell the topic, or by a role."
  }

  assert {
    condition = alltrue([for name in regexall("<([a-z]+)>", one(aws_cloudwatch_event_target.not_released.input_transformer).input_template) :
    contains(keys(one(aws_cloudwatch_event_target.not_released.input_transformer).input_paths), name[0])]) && can(jsondecode(one(aws_cloudwatch_event_target.not_released.input_transformer).input_template))
    error_message = "The message names a value that is not taken from the event, or is no line of text."
  }

  assert {
    condition     = length(setsubtract(["SUM(FILL(METRICS(), 0))"], aws_cloudwatch_metric_alarm.notifications_failed.metric_query[*].expression)) == 0 && aws_cloudwatch_metric_alarm.notifications_failed.threshold == 0 && aws_cloudwatch_metric_alarm.notifications_failed.treat_missing_data == "notBreaching"
    error_message = "The alarm does not see one failed notification, or rings when nothing is released."
  }

  # The dimensions must be those of the metric, all of them: https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/cloudwatch_concepts.html#dimension-combinations
  assert {
    condition = toset([for query in aws_cloudwatch_metric_alarm.notifications_failed.metric_query : jsonencode(query.metric[0].dimensions) if length(query.metric) > 0]) == toset(concat(
      [jsonencode({ service = "unit" })],
      [for status in ["ABORTED", "FAILED", "NO_CHANGE", "REJECTED", "ROLLBACK_INCOMPLETE", "ROLLED_BACK", "SUCCEEDED"] : jsonencode({ service = "unit", Status = status })],
    ))
    error_message = "The alarm looks at other dimensions than Report emits."
  }
}

run "takes_many_regions_of_one_account" {
  command = plan
  variables {
    targets = { for number in range(200) : "t${number}" => {
      role_arn        = "arn:aws:iam::222222222222:role/ecs-release-deployment"
      reader_role_arn = "arn:aws:iam::222222222222:role/ecs-release-reader"
      region          = "eu-west-1"
    } }
  }

  assert {
    condition     = length(local.targets) == 201
    error_message = "Targets that share their roles are counted as if each had its own."
  }
}
