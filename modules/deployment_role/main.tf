# What a target account gives to the orchestrator. The functions narrow both roles further with a session policy that names the
# actions of their step (docs/adr/0004-two-roles-and-session-policies.md).

data "aws_caller_identity" "current" {}

data "aws_partition" "current" {}

locals {
  account_id = data.aws_caller_identity.current.account_id
  partition  = data.aws_partition.current.partition

  # The steps that assume each role, by the names of modules/orchestrator.
  steps = {
    deployment = ["clean-up", "prepare", "rollback", "update-service", "update-task"]
    reader     = ["check-rollouts", "parse", "plan"]
  }

  # A role is assumed once for all Regions of its account, so the Region is a wildcard.
  ecs_service          = "arn:${local.partition}:ecs:*:${local.account_id}:service/*"
  ecs_service_rollouts = ["arn:${local.partition}:ecs:*:${local.account_id}:service-deployment/*", "arn:${local.partition}:ecs:*:${local.account_id}:service-revision/*"]
  ecs_task             = "arn:${local.partition}:ecs:*:${local.account_id}:task/*"
  ecs_task_definition  = "arn:${local.partition}:ecs:*:${local.account_id}:task-definition/*"
  rule                 = "arn:${local.partition}:events:*:${local.account_id}:rule/*"
  schedule             = "arn:${local.partition}:scheduler:*:${local.account_id}:schedule/*"

  # Schedules may have a customer managed key, also one of another account. Scheduler uses it in the caller's name, so the key's own policy has the
  # last word, and outside of Scheduler the roles can't use it. AWS documents the three actions for UpdateSchedule and none for GetSchedule, whose
  # answer nevertheless holds the decrypted input.
  # https://docs.aws.amazon.com/scheduler/latest/UserGuide/security_iam_id-based-policy-examples.html
  # https://docs.aws.amazon.com/scheduler/latest/UserGuide/encryption-rest.html
  schedule_key      = "arn:${local.partition}:kms:*:*:key/*"
  through_scheduler = { StringLike = { "kms:ViaService" = "scheduler.*.${data.aws_partition.current.dns_suffix}" } }

  passable_role_arns = var.passable_role_arns == null ? ["arn:${local.partition}:iam::${local.account_id}:role/*"] : var.passable_role_arns

  # Permissions as data; tests/unit/test_terraform_permissions.py holds them to ecs_release.aws.permissions. Which actions take which resources:
  # https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonelasticcontainerservice.html
  # https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazoneventbridge.html
  # https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazoneventbridgescheduler.html
  # https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonelasticcontainerregistry.html
  reader_statements = [
    {
      # These take no resource, or only one that the caller does not know beforehand.
      Sid      = "ReadTaskDefinitionsAndTasks"
      Effect   = "Allow"
      Action   = ["ecs:DescribeTaskDefinition", "ecs:ListTasks"]
      Resource = "*"
    },
    {
      # Whether asking for a task definition with its tags is authorised as listing them, no AWS document says.
      Sid      = "ReadTagsOfTaskDefinitions"
      Effect   = "Allow"
      Action   = ["ecs:ListTagsForResource"]
      Resource = local.ecs_task_definition
    },
    {
      # https://docs.aws.amazon.com/AmazonECS/latest/developerguide/service-deployment.html
      Sid      = "ReadServicesAndTheirRollouts"
      Effect   = "Allow"
      Action   = ["ecs:DescribeServiceDeployments", "ecs:DescribeServiceRevisions", "ecs:DescribeServices", "ecs:ListServiceDeployments"]
      Resource = concat([local.ecs_service], local.ecs_service_rollouts)
    },
    {
      # Why a task of a failed rollout stopped.
      Sid      = "ReadStoppedTasks"
      Effect   = "Allow"
      Action   = ["ecs:DescribeTasks"]
      Resource = local.ecs_task
    },
    {
      Sid      = "ReadRules"
      Effect   = "Allow"
      Action   = ["events:ListTargetsByRule"]
      Resource = local.rule
    },
    {
      Sid      = "ReadSchedules"
      Effect   = "Allow"
      Action   = ["scheduler:GetSchedule"]
      Resource = local.schedule
    },
    {
      Sid       = "DecryptSchedules"
      Effect    = "Allow"
      Action    = ["kms:Decrypt"]
      Resource  = local.schedule_key
      Condition = local.through_scheduler
    },
    {
      # Images may lie in another account, whose repository policy then has the last word.
      Sid      = "ReadImages"
      Effect   = "Allow"
      Action   = ["ecr:BatchGetImage", "ecr:DescribeImages", "ecr:DescribeRepositories"]
      Resource = "arn:${local.partition}:ecr:*:*:repository/*"
    },
    {
      # An image that the registry has not pulled through yet is not missing. Takes no resource.
      Sid      = "ReadPullThroughRules"
      Effect   = "Allow"
      Action   = ["ecr:DescribePullThroughCacheRules"]
      Resource = "*"
    },
  ]

  deployment_statements = [
    {
      # RegisterTaskDefinition and DeregisterTaskDefinition are granted on all: the new revision has no ARN yet.
      # https://docs.aws.amazon.com/AmazonECS/latest/developerguide/security_iam_id-based-policy-examples.html
      Sid      = "ReadAndWriteTaskDefinitions"
      Effect   = "Allow"
      Action   = ["ecs:DeregisterTaskDefinition", "ecs:DescribeTaskDefinition", "ecs:ListTaskDefinitions", "ecs:RegisterTaskDefinition"]
      Resource = "*"
    },
    {
      # Whether asking for a task definition with its tags is authorised as listing them, no AWS document says.
      Sid      = "ReadTagsOfTaskDefinitions"
      Effect   = "Allow"
      Action   = ["ecs:ListTagsForResource"]
      Resource = local.ecs_task_definition
    },
    {
      # Registering with tags is authorised as tagging as well; tagging by itself stays denied.
      # https://docs.aws.amazon.com/AmazonECS/latest/developerguide/supported-iam-actions-tagging.html
      Sid       = "TagTaskDefinitionsAtRegistration"
      Effect    = "Allow"
      Action    = ["ecs:TagResource"]
      Resource  = local.ecs_task_definition
      Condition = { StringEquals = { "ecs:CreateAction" = "RegisterTaskDefinition" } }
    },
    {
      Sid      = "UpdateServices"
      Effect   = "Allow"
      Action   = ["ecs:DescribeServices", "ecs:UpdateService"]
      Resource = local.ecs_service
    },
    {
      # Whether ECS itself went back before the rollback does.
      Sid      = "ReadServiceDeployments"
      Effect   = "Allow"
      Action   = ["ecs:DescribeServiceDeployments", "ecs:DescribeServiceRevisions", "ecs:ListServiceDeployments"]
      Resource = concat([local.ecs_service], local.ecs_service_rollouts)
    },
    {
      Sid      = "UpdateRuleTargets"
      Effect   = "Allow"
      Action   = ["events:ListTargetsByRule", "events:PutTargets"]
      Resource = local.rule
    },
    {
      Sid      = "UpdateSchedules"
      Effect   = "Allow"
      Action   = ["scheduler:GetSchedule", "scheduler:UpdateSchedule"]
      Resource = local.schedule
    },
    {
      Sid       = "EncryptSchedules"
      Effect    = "Allow"
      Action    = ["kms:Decrypt", "kms:DescribeKey", "kms:GenerateDataKey"]
      Resource  = local.schedule_key
      Condition = local.through_scheduler
    },
    {
      # Task and execution roles to ECS, by RegisterTaskDefinition and by UpdateService; the roles with which rules and schedules start tasks
      # to these services. Which call passes roles on, with its source, stands in lambda_src/ecs_release/aws/permissions.py.
      # https://docs.aws.amazon.com/AmazonECS/latest/developerguide/security_iam_service-with-iam.html
      # https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_iam-condition-keys.html#ck_PassedToService
      Sid      = "PassRolesTheyAlreadyHave"
      Effect   = "Allow"
      Action   = ["iam:PassRole"]
      Resource = local.passable_role_arns
      Condition = {
        StringEquals = { "iam:PassedToService" = ["ecs-tasks.amazonaws.com", "events.amazonaws.com", "scheduler.amazonaws.com"] }
      }
    },
  ]

  roles = {
    deployment = { description = "Updates services, rules and schedules for ECS Release ${var.orchestrator.name}", statements = jsonencode(local.deployment_statements) }
    reader     = { description = "Reads services, rules, schedules and images for ECS Release ${var.orchestrator.name}", statements = jsonencode(local.reader_statements) }
  }
}

resource "aws_iam_role" "this" {
  for_each = local.roles

  name                 = "${var.name}-${each.key}"
  description          = each.value.description
  permissions_boundary = var.permissions_boundary_arn
  tags                 = var.tags

  # The account as principal and the role in a condition: an ARN as principal would be resolved to the role's inner id, so
  # the trust would break when the orchestrator is made anew, and could not be given before it exists.
  # https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_principal.html#principal-roles
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Sid       = "OrchestratorAssumes"
      Effect    = "Allow"
      Principal = { AWS = "arn:${local.partition}:iam::${var.orchestrator.account_id}:root" }
      Action    = "sts:AssumeRole"
      Condition = merge(
        {
          ArnLike = {
            "aws:PrincipalArn" = [for step in local.steps[each.key] : "arn:${local.partition}:iam::${var.orchestrator.account_id}:role/${var.orchestrator.name}-${step}"]
          }
        },
        # https://docs.aws.amazon.com/IAM/latest/UserGuide/id_roles_common-scenarios_third-party.html
        { for key, id in { StringEquals = var.external_id } : key => { "sts:ExternalId" = id } if id != null },
      )
    }]
  })
}

resource "aws_iam_role_policy" "this" {
  for_each = local.roles

  name = each.key
  role = aws_iam_role.this[each.key].id

  policy = jsonencode({
    Version   = "2012-10-17"
    Statement = jsondecode(each.value.statements)
  })
}
