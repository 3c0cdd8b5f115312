# Endpoint, Region and credentials come from the environment, as `python -m local_aws` and .local/env give them:
# AWS_ENDPOINT_URL, AWS_REGION, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY.
provider "aws" {
  s3_use_path_style           = true
  skip_credentials_validation = true
  skip_metadata_api_check     = true
  skip_region_validation      = true
  # What is missing in the embedded AWS should fail in seconds, not after ten minutes of retries.
  max_retries = 2
}

module "ecs_release" {
  source = "../.."

  name                         = var.name
  tags                         = var.tags
  repository                   = var.repository
  build                        = var.build
  targets                      = var.targets
  passable_role_arns           = var.passable_role_arns
  notification                 = var.notification
  poll_seconds                 = var.poll_seconds
  approval                     = var.approval
  log_retention_days           = var.log_retention_days
  artifact_retention_days      = var.artifact_retention_days
  force_destroy                = var.force_destroy
  kms_key_deletion_window_days = 7
}
