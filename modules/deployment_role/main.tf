# What a target account gives to the orchestrator. The functions narrow both roles further with a session policy that names the
# actions of their step (docs/adr/0004-two-roles-and-session-policies.md).

data "aws_caller_identity" "current" {}

data "aws_partition" "current" {}

locals {
  account_id = data.aws_caller_identity.current.account_id
  partition  = data.aws_partition.current.partition

  # What each step calls and what that is authorised as, with sources. The steps make their session policies from the same file.
  permissions = jsondecode(file("${path.module}/../../lambda_src/ecs_release/aws/permissions.json"))

  # The steps that assume each role, by the names of modules/orchestrator.
  steps = {
    for role in ["deployment", "reader"] : role => [
      for step, known in local.permissions.steps : replace(step, "_", "-") if try(known.role, "") == role
    ]
  }
  actions = {
    for role in keys(local.steps) : role => toset(flatten([
      for known in local.permissions.steps : [for call in known.calls : local.permissions.calls[call].authorisedAs]
      if try(known.role, "") == role
    ]))
  }

  # A role is assumed once for all Regions of its account, so the Region is a wildcard.
  ecs_service = "arn:${local.partition}:ecs:*:${local.account_id}:service/*"

  # What the actions of a grant are granted on. Which actions take which resources:
  # https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonelasticcontainerservice.html
  # https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazoneventbridge.html
  # https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazoneventbridgescheduler.html
  # https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonelasticcontainerregistry.html
  resources = {
    # Images may lie in another account, whose repository policy then has the last word.
    ReadImages = ["arn:${local.partition}:ecr:*:*:repository/*"]

    # An image that the registry has not pulled through yet is not missing. Takes no resource.
    ReadPullThroughRules = ["*"]

    # These take no resource, or one that the caller does not know beforehand: a new revision has no ARN yet.
    # https://docs.aws.amazon.com/AmazonECS/latest/developerguide/security_iam_id-based-policy-examples.html
    TaskDefinitionsAndTasks = ["*"]

    ReadTagsOfTaskDefinitions        = ["arn:${local.partition}:ecs:*:${local.account_id}:task-definition/*"]
    TagTaskDefinitionsAtRegistration = ["arn:${local.partition}:ecs:*:${local.account_id}:task-definition/*"]
    Services                         = [local.ecs_service]

    # https://docs.aws.amazon.com/AmazonECS/latest/developerguide/service-deployment.html
    ReadServiceDeployments = [
      local.ecs_service,
      "arn:${local.partition}:ecs:*:${local.account_id}:service-deployment/*",
      "arn:${local.partition}:ecs:*:${local.account_id}:service-revision/*",
    ]

    # https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonelasticcontainerservice.html
    StopServiceDeployments = ["arn:${local.partition}:ecs:*:${local.account_id}:service-deployment/*"]

    # Why a task of a failed rollout stopped.
    ReadTasks = ["arn:${local.partition}:ecs:*:${local.account_id}:task/*"]

    TargetsOfRules = ["arn:${local.partition}:events:*:${local.account_id}:rule/*"]
    Schedules      = ["arn:${local.partition}:scheduler:*:${local.account_id}:schedule/*"]

    # Whether the roles that start scheduled tasks may start what a release names for them. The answer tells which calls those
    # roles may make, and nothing of their policies' text. https://docs.aws.amazon.com/service-authorization/latest/reference/list_awsidentityandaccessmanagementiam.html
    AskWhatStartersMayDo = ["arn:${local.partition}:iam::${local.account_id}:role/*"]

    # Schedules may have a customer managed key, also one of another account. Scheduler uses it in the caller's name, so the key's own policy
    # has the last word, and outside of Scheduler the roles can't use it.
    # https://docs.aws.amazon.com/scheduler/latest/UserGuide/encryption-rest.html
    KeysOfSchedules = ["arn:${local.partition}:kms:*:*:key/*"]

    PassRolesTheyAlreadyHave = var.passable_role_arns == null ? ["arn:${local.partition}:iam::${local.account_id}:role/*"] : var.passable_role_arns
  }

  conditions = {
    # Registering with tags is authorised as tagging as well; tagging by itself stays denied.
    # https://docs.aws.amazon.com/AmazonECS/latest/developerguide/supported-iam-actions-tagging.html
    TagTaskDefinitionsAtRegistration = { StringEquals = { "ecs:CreateAction" = "RegisterTaskDefinition" } }

    # Either suffix in China, as in modules/orchestrator/iam.tf.
    KeysOfSchedules = { StringLike = { "kms:ViaService" = [for suffix in distinct(["amazonaws.com", data.aws_partition.current.dns_suffix]) : "scheduler.*.${suffix}"] } }

    # Task and execution roles to ECS; the roles with which rules and schedules start tasks to these services.
    # https://docs.aws.amazon.com/AmazonECS/latest/developerguide/security_iam_service-with-iam.html
    # https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_iam-condition-keys.html#ck_PassedToService
    PassRolesTheyAlreadyHave = {
      StringEquals = {
        "iam:PassedToService" = distinct([for call in local.permissions.calls : call.passesRolesTo if can(call.passesRolesTo)])
      }
    }
  }

  statements = {
    for role, actions in local.actions : role => jsonencode([
      for grant, members in local.permissions.grants : merge(
        {
          Sid      = grant
          Effect   = "Allow"
          Action   = sort(setintersection(members, actions))
          Resource = local.resources[grant]
        },
        { for key, condition in { Condition = try(local.conditions[grant], null) } : key => condition if condition != null },
      ) if length(setintersection(members, actions)) > 0
    ])
  }

  descriptions = {
    deployment = "Updates services, rules and schedules for ECS Release ${var.orchestrator.name}"
    reader     = "Reads services, rules, schedules and images for ECS Release ${var.orchestrator.name}"
  }
}

resource "aws_iam_role" "this" {
  for_each = local.descriptions

  name                 = "${var.name}-${each.key}"
  description          = each.value
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
            "aws:PrincipalArn" = [
              for step in local.steps[each.key] :
              "arn:${local.partition}:iam::${var.orchestrator.account_id}:role/${var.orchestrator.name}-${step}"
            ]
          }
        },
        # https://docs.aws.amazon.com/IAM/latest/UserGuide/id_roles_common-scenarios_third-party.html
        { for key, id in { StringEquals = var.external_id } : key => { "sts:ExternalId" = id } if id != null },
      )
    }]
  })
}

resource "aws_iam_role_policy" "this" {
  for_each = local.statements

  name = each.key
  role = aws_iam_role.this[each.key].id

  policy = jsonencode({
    Version   = "2012-10-17"
    Statement = jsondecode(each.value)
  })
}
