# Credentials, Region and, for embedded AWS, the endpoint come from the environment.
provider "aws" {
  # AWS takes both addressing styles; an endpoint on 127.0.0.1 has no host for each bucket.
  # https://docs.aws.amazon.com/AmazonS3/latest/userguide/VirtualHosting.html#path-style-access
  s3_use_path_style = true

  default_tags {
    tags = { "ecs-release:sandbox" = var.name }
  }
}

module "ecs_release" {
  source = "../.."

  name = var.name

  # Where CodeCommit is closed to an account, a connection stands in its place. Nobody completes its handshake: it stays PENDING and costs nothing, the
  # pipeline's first run fails at Source, and releases are started by hand (`ecs-release deploy`).
  repository = var.codecommit ? {} : {
    type                = "CONNECTION"
    full_repository_id  = "sandbox/deployments"
    connection_provider = "GitHub"
  }

  # The rule's and the schedule's role; the task definitions here have none.
  passable_role_arns = [aws_iam_role.starts_tasks.arn]

  poll_seconds                 = var.poll_seconds
  log_retention_days           = 1
  artifact_retention_days      = null
  force_destroy                = true
  kms_key_deletion_window_days = 7
}
