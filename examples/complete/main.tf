# Every group of inputs once, as a production account might set them.

variable "region" {
  description = "Region of everything here."
  type        = string
}

variable "alert_email" {
  description = "Address that hears of each release's end."
  type        = string
}

provider "aws" {
  region = var.region
}

data "aws_caller_identity" "current" {}

data "aws_partition" "current" {}

locals {
  role_prefix = "arn:${data.aws_partition.current.partition}:iam::${data.aws_caller_identity.current.account_id}:role"
}

# A key of the account's own: the statements that the module's key has, see kms.tf.
resource "aws_kms_key" "releases" {
  description         = "ECS Release"
  enable_key_rotation = true

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Sid       = "AccountAdministersTheKey"
        Effect    = "Allow"
        Principal = { AWS = "arn:${data.aws_partition.current.partition}:iam::${data.aws_caller_identity.current.account_id}:root" }
        Action    = "kms:*"
        Resource  = "*"
      },
      {
        Sid       = "LogGroups"
        Effect    = "Allow"
        Principal = { Service = "logs.${var.region}.${data.aws_partition.current.dns_suffix}" }
        Action    = ["kms:Decrypt", "kms:DescribeKey", "kms:Encrypt", "kms:GenerateDataKey*", "kms:ReEncrypt*"]
        Resource  = "*"
        Condition = {
          ArnLike = {
            "kms:EncryptionContext:aws:logs:arn" = join(":", [
              "arn", data.aws_partition.current.partition, "logs", var.region, data.aws_caller_identity.current.account_id, "log-group", "*",
            ])
          }
        }
      },
      {
        Sid    = "ServicesPublishToTheTopic"
        Effect = "Allow"
        # In another partition than "aws", cloudwatch alone: KMS refuses a service that the partition does not have.
        Principal = { Service = ["cloudwatch.amazonaws.com", "codestar-notifications.amazonaws.com"] }
        Action    = ["kms:Decrypt", "kms:GenerateDataKey*"]
        Resource  = "*"
        Condition = { StringEquals = { "aws:SourceAccount" = data.aws_caller_identity.current.account_id } }
      },
      {
        # EventBridge does not support a source condition here.
        Sid       = "RulesPublishToTheTopic"
        Effect    = "Allow"
        Principal = { Service = "events.amazonaws.com" }
        Action    = ["kms:Decrypt", "kms:GenerateDataKey*"]
        Resource  = "*"
      },
    ]
  })
}

module "ecs_release" {
  source = "../.."

  name = "releases"
  tags = { team = "platform" }

  repository = {
    name   = "deployments"
    branch = "production"
    file   = "production/deployment.yaml"
  }

  # EC2 compute, as in a Region without CodeBuild's Lambda compute.
  build = {
    compute         = "ec2"
    timeout_minutes = 10
  }

  # Only the roles that services, tasks and schedules of this account really have.
  passable_role_arns = [
    "${local.role_prefix}/ecs-task-*",
    "${local.role_prefix}/ecs-execution-*",
    "${local.role_prefix}/ecs-events-*",
  ]

  # One approval for the whole release. Its message goes to the module's topic, like the end of each release.
  approval = { timeout_minutes = 1440 }

  notification = { emails = [var.alert_email] }

  kms_key                 = { arn = aws_kms_key.releases.arn }
  log_retention_days      = 731
  artifact_retention_days = 731
  poll_seconds            = 30
  soak_seconds            = 120
}
