# One orchestrator in a tools account, two target accounts. In practice each account has its own state; here three providers
# show the whole in one file.

variable "region" {
  description = "Region of the orchestrator and of the targets."
  type        = string
  default     = "eu-west-1"
}

variable "external_id" {
  description = "Word agreed between the accounts; not a secret, but nobody else's."
  type        = string
  default     = "releases-of-the-platform-team"
}

provider "aws" {
  region = var.region
}

provider "aws" {
  alias   = "staging"
  region  = var.region
  profile = "staging"
}

provider "aws" {
  alias   = "production"
  region  = var.region
  profile = "production"
}

data "aws_caller_identity" "tools" {}

# What each target account applies.
module "staging" {
  source    = "../../modules/deployment_role"
  providers = { aws = aws.staging }

  orchestrator = { account_id = data.aws_caller_identity.tools.account_id }
  external_id  = var.external_id
}

module "production" {
  source    = "../../modules/deployment_role"
  providers = { aws = aws.production }

  orchestrator = { account_id = data.aws_caller_identity.tools.account_id }
  external_id  = var.external_id
}

# What the tools account applies.
module "ecs_release" {
  source = "../.."

  targets = {
    staging = {
      role_arn        = module.staging.role_arn
      reader_role_arn = module.staging.reader_role_arn
      region          = var.region
      external_id     = var.external_id
    }
    production = {
      role_arn        = module.production.role_arn
      reader_role_arn = module.production.reader_role_arn
      region          = var.region
      external_id     = var.external_id
    }
  }
}
