# Credentials and Region come from the environment.
provider "aws" {
  s3_use_path_style = true # for an endpoint on 127.0.0.1; AWS takes both
}

module "ecs_release" {
  source = "../.."

  name         = var.name
  poll_seconds = var.poll_seconds

  # What Terraform registers after the revision that runs is taken up by the next release: an environment variable that is changed here
  # goes out with the images of the manifest.
  base = "newest"

  passable_role_arns = [aws_iam_role.starts_tasks.arn]

  # For a trial that leaves nothing behind; leave these out where releases matter.
  force_destroy           = true
  artifact_retention_days = null
}
