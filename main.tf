data "aws_caller_identity" "current" {}

data "aws_partition" "current" {}

data "aws_region" "current" {}

locals {
  # The attribute is "name" in version 5 of the provider and "region" in version 6, where "name" is deprecated. Going through a
  # local keeps Terraform from checking the attribute before it knows the version.
  provider_region = data.aws_region.current

  aws = {
    account_id = data.aws_caller_identity.current.account_id
    dns_suffix = data.aws_partition.current.dns_suffix
    partition  = data.aws_partition.current.partition
    region     = try(local.provider_region.region, local.provider_region.id)
  }

  kms_key_arn = var.kms_key == null ? aws_kms_key.this[0].arn : var.kms_key.arn

  # The rule in modules/notifications comes on top.
  deliveries = {
    rules     = concat(module.source.rules, module.orchestrator.rules)
    functions = module.orchestrator.functions_of_rules
  }

  # What a manifest may write after `target:`. Parse reads this from the releases table.
  targets = merge(
    {
      default = {
        account       = local.aws.account_id
        region        = local.aws.region
        roleArn       = module.deployment_role.role_arn
        readerRoleArn = module.deployment_role.reader_role_arn
        externalId    = null
        base          = var.base
        soakSeconds   = var.soak_seconds
        # What was narrowed is checked before a release begins; the default is left to IAM.
        passableRoleArns = var.passable_role_arns
      }
    },
    {
      for name, target in var.targets : name => {
        account       = split(":", target.role_arn)[4]
        region        = target.region
        roleArn       = target.role_arn
        readerRoleArn = target.reader_role_arn
        externalId    = target.external_id
        base          = var.base
        soakSeconds   = var.soak_seconds

        passableRoleArns = target.passable_role_arns
      }
    },
  )
}

module "source" {
  source = "./modules/source"

  name                     = var.name
  repository               = var.repository
  pipeline_arn             = module.pipeline.pipeline_arn
  permissions_boundary_arn = var.permissions_boundary_arn
  tags                     = var.tags
}

module "pipeline" {
  source = "./modules/pipeline"

  name              = var.name
  aws               = local.aws
  origin            = module.source.origin
  build             = var.build
  package_path      = "${path.module}/lambda_src/package.zip"
  state_machine_arn = module.orchestrator.state_machine_arn
  approval = var.approval == null ? null : merge(var.approval, {
    topic_arn     = coalesce(var.approval.topic_arn, module.notifications.topic_arn)
    own_topic     = var.approval.topic_arn != null
    plan_function = module.orchestrator.functions["plan"]
  })
  kms_key_arn              = local.kms_key_arn
  log_retention_days       = var.log_retention_days
  artifact_retention_days  = var.artifact_retention_days
  permissions_boundary_arn = var.permissions_boundary_arn
  force_destroy            = var.force_destroy
  tags                     = var.tags
}

module "orchestrator" {
  source = "./modules/orchestrator"

  name                     = var.name
  aws                      = local.aws
  package                  = module.pipeline.package
  targets                  = local.targets
  artifact_bucket_arn      = module.pipeline.artifact_bucket_arn
  topic_arn                = module.notifications.topic_arn
  poll_seconds             = var.poll_seconds
  soak_seconds             = var.soak_seconds
  approval                 = var.approval != null
  force_destroy            = var.force_destroy
  kms_key_arn              = local.kms_key_arn
  log_retention_days       = var.log_retention_days
  permissions_boundary_arn = var.permissions_boundary_arn
  tags                     = var.tags
}

module "deployment_role" {
  source = "./modules/deployment_role"

  name = var.name
  orchestrator = {
    account_id = local.aws.account_id
    name       = var.name
  }
  passable_role_arns       = var.passable_role_arns
  permissions_boundary_arn = var.permissions_boundary_arn
  tags                     = var.tags
}

module "notifications" {
  source = "./modules/notifications"

  name          = var.name
  aws           = local.aws
  pipeline_name = module.pipeline.pipeline_name
  kms_key_arn   = local.kms_key_arn
  publishers    = local.publishers
  emails        = var.notification.emails
  deliveries    = local.deliveries
  tags          = var.tags
}

# Another name would replace the releases table and the bucket by empty ones (a CodeCommit repository is renamed in place). This refuses while it is
# planned; the guard below refuses only at apply.
# ignore_changes keeps the name that was applied first; switching force_destroy, on or off, notes it anew. Where this is just being made, the name
# noted is not known in the plan; the condition is then looked at during apply, where it holds. Made last, so that a first apply that failed
# half-way may be repeated under another name.
resource "terraform_data" "applied_name" {
  input            = var.name
  triggers_replace = [var.force_destroy]

  lifecycle {
    ignore_changes = [input]

    postcondition {
      condition     = var.force_destroy || self.output == var.name
      error_message = "name is \"${var.name}\", but this was applied as \"${self.output}\". Another name would destroy the records of all releases and the artifacts. Write name = \"${self.output}\", or apply force_destroy = true first and the new name after that."
    }
  }

  depends_on = [
    aws_kms_alias.this,
    module.deployment_role,
    module.notifications,
    module.orchestrator,
    module.pipeline,
    module.source,
  ]
}

# The provider deletes a CodeCommit repository with all its history without asking; DynamoDB refuses the releases table, and S3 a bucket that is
# not empty, when much else is gone already. This depends on everything, so Terraform destroys it first; when it refuses, nothing is touched.
# (It can't refuse when the module's block is deleted from the configuration: Terraform then has no provisioner to run. DynamoDB still does.)
# It is replaced, and so may refuse, where repository.type or name changes. Its own copy of force_destroy is the one that was applied, so a new name
# in the same apply as force_destroy = true is refused as well.
resource "terraform_data" "destroy_guard" {
  for_each = toset([var.repository.type])

  input            = { force_destroy = var.force_destroy, name = var.name }
  triggers_replace = [var.name]

  provisioner "local-exec" {
    when    = destroy
    command = self.output.force_destroy ? "exit 0" : "echo '${self.output.name} is kept whole, with its repository, its artifacts and its records. Set force_destroy = true and apply, then destroy.' && exit 1"
  }

  depends_on = [terraform_data.applied_name]
}
