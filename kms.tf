locals {
  # Whoever points an alarm or a notification rule at the topic. KMS and SNS refuse a policy that names a service which the partition does not have:
  # https://repost.aws/knowledge-center/kms-policy-error-invalid-principals
  # https://docs.amazonaws.cn/en_us/aws/latest/userguide/codecommit.html
  publishers = concat(["cloudwatch.amazonaws.com"], local.aws.partition == "aws" ? ["codestar-notifications.amazonaws.com"] : [])
}

# One key for the bucket, the tables, the topic, the log groups and the functions' environment.
resource "aws_kms_key" "this" {
  count = var.kms_key == null ? 1 : 0

  description             = "${var.name}: artifacts, releases table, topic, logs and function environments"
  enable_key_rotation     = true
  deletion_window_in_days = var.kms_key_deletion_window_days
  tags                    = var.tags

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        # Without this nobody could administer the key, and IAM policies could not grant its use.
        # https://docs.aws.amazon.com/kms/latest/developerguide/key-policy-default.html
        Sid       = "AccountAdministersTheKey"
        Effect    = "Allow"
        Principal = { AWS = "arn:${local.aws.partition}:iam::${local.aws.account_id}:root" }
        Action    = "kms:*"
        Resource  = "*"
      },
      {
        # https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/encrypt-log-data-kms.html
        Sid       = "LogGroupsOfThisModule"
        Effect    = "Allow"
        Principal = { Service = "logs.${local.aws.region}.${local.aws.dns_suffix}" }
        Action    = ["kms:Decrypt", "kms:DescribeKey", "kms:Encrypt", "kms:GenerateDataKey*", "kms:ReEncrypt*"]
        Resource  = "*"
        Condition = {
          ArnLike = {
            "kms:EncryptionContext:aws:logs:arn" = [
              for group in ["/aws/codebuild/${var.name}-*", "/aws/lambda/${var.name}-*", "/aws/vendedlogs/states/${var.name}-*"] :
              "arn:${local.aws.partition}:logs:${local.aws.region}:${local.aws.account_id}:log-group:${group}"
            ]
          }
        }
      },
      {
        # AWS services of this account that may publish to the encrypted topic, see modules/notifications.
        # https://docs.aws.amazon.com/sns/latest/dg/sns-key-management.html#compatibility-with-aws-services
        Sid       = "ServicesPublishToTheTopic"
        Effect    = "Allow"
        Principal = { Service = local.publishers }
        Action    = ["kms:Decrypt", "kms:GenerateDataKey*"]
        Resource  = "*"
        Condition = {
          StringEquals = { "aws:SourceAccount" = local.aws.account_id }
        }
      },
      {
        # Without that condition, which the same document says is not supported for EventBridge: its messages would be lost without a word.
        Sid       = "RulesPublishToTheTopic"
        Effect    = "Allow"
        Principal = { Service = "events.amazonaws.com" }
        Action    = ["kms:Decrypt", "kms:GenerateDataKey*"]
        Resource  = "*"
      },
    ]
  })
}

resource "aws_kms_alias" "this" {
  count = var.kms_key == null ? 1 : 0

  name          = "alias/${var.name}"
  target_key_id = aws_kms_key.this[0].key_id
}
