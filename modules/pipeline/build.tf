locals {
  # https://docs.aws.amazon.com/codebuild/latest/userguide/lambda-compute-images.html
  # https://docs.aws.amazon.com/codebuild/latest/userguide/available-runtimes.html
  computes = {
    lambda = {
      type         = "ARM_LAMBDA_CONTAINER"
      compute_type = "BUILD_LAMBDA_1GB"
      image        = "aws/codebuild/amazonlinux-aarch64-lambda-standard:python3.13"
      # Lambda compute takes no time-out (it ends after 15 minutes) and its image has the one Python.
      timeout = null
      phases  = {}
    }
    ec2 = {
      # Not ARM, which fewer Regions have than this. The package is pure Python.
      # https://docs.aws.amazon.com/codebuild/latest/APIReference/API_ProjectEnvironment.html
      type         = "LINUX_CONTAINER"
      compute_type = "BUILD_GENERAL1_SMALL"
      image        = "aws/codebuild/amazonlinux-x86_64-standard:5.0"
      timeout      = var.build.timeout_minutes
      # Chooses among the Pythons of the image; nothing is downloaded.
      phases = { install = { "runtime-versions" = { python = 3.13 } } }
    }
  }
  # https://docs.aws.amazon.com/codebuild/latest/userguide/lambda.html#lambda.regions
  lambda_regions = [
    "ap-northeast-1", "ap-south-1", "ap-southeast-1", "ap-southeast-2", "eu-central-1",
    "eu-west-1", "sa-east-1", "us-east-1", "us-east-2", "us-west-2",
  ]
  compute = local.computes[coalesce(var.build.compute, contains(local.lambda_regions, var.aws.region) ? "lambda" : "ec2")]

  # Nothing that somebody pushed decides what runs here, and nobody forges the plan with it. So the commands run in an empty folder: in the
  # checkout, a .python-version would choose the Python (the image's python3 is pyenv's: https://github.com/pyenv/pyenv#choose-which-python-version-when-a-file-is-present),
  # and a link with the name of a result would lead what is written elsewhere. All commands share one shell, so the folder stays the current
  # one: https://docs.aws.amazon.com/codebuild/latest/userguide/build-spec-ref.html#build-spec-ref-versions
  # And -I: Python takes modules neither from the current folder nor from where an environment variable or a home directory points.
  # https://docs.python.org/3/using/cmdline.html#cmdoption-I
  #
  # Everything in one phase: CodeBuild runs post_build also after a build phase that failed.
  # https://docs.aws.amazon.com/codebuild/latest/userguide/build-spec-ref.html
  build_commands = {
    for name in ["author", "hand_over", "plan", "validate"] : name => [
      for line in split("\n", file("${path.module}/commands/${name}.sh")) : trimspace(line) if trimspace(line) != "" && !startswith(line, "#")
    ]
  }

  buildspec = yamlencode(merge(
    { version = 0.2 },
    # What the approval shows, and what Parse compares: https://docs.aws.amazon.com/codepipeline/latest/userguide/reference-variables.html
    var.approval == null ? {} : { env = { "exported-variables" = ["PLAN_SUMMARY", "PLAN_DIGEST", "MANIFEST_SHA256", "ALLOW_STALE_PLAN"] } },
    {
      phases = merge(local.compute.phases, {
        build = {
          commands = concat(
            [
              "cd \"$(mktemp -d)\"",
              # How objects are read and put: S3 may need another look at them. The package, which all else comes from, is one of them.
              "export OBJECTS=\"$PWD/objects.py\"",
              "printf %s '${file("${path.module}/objects.py")}' > \"$OBJECTS\"",
            ],
            var.origin.provider == "CodeCommit" ? local.build_commands.author : ["export AUTHOR=\"\""],
            local.build_commands.validate,
            var.approval == null ? [] : local.build_commands.plan,
            local.build_commands.hand_over,
          )
        }
      })
      artifacts = { files = ["execution-input.json"] }
  }))
}

resource "aws_codebuild_project" "this" {
  name           = local.project_name
  description    = "Validates ${var.origin.file} and compiles it to JSON for the state machine"
  service_role   = aws_iam_role.build.arn
  encryption_key = var.kms_key_arn
  build_timeout  = local.compute.timeout
  tags           = var.tags

  source {
    type      = "CODEPIPELINE"
    buildspec = local.buildspec
  }

  artifacts {
    type = "CODEPIPELINE"
  }

  environment {
    type                        = local.compute.type
    compute_type                = local.compute.compute_type
    image                       = local.compute.image
    image_pull_credentials_type = "CODEBUILD"

    dynamic "environment_variable" {
      for_each = merge(var.approval == null ? {} : {
        PIPELINE_NAME = var.name
        PLAN_FUNCTION = var.approval.plan_function.qualified_arn
        PLAN_SECONDS  = tostring(var.approval.plan_function.timeout + 30)
        }, {
        ARTIFACT_BUCKET = aws_s3_bucket.artifacts.bucket
        MANIFEST_FILE   = var.origin.file
        PACKAGE_KEY     = local.package_key
        PACKAGE_SHA256  = local.package_sha256
        REPOSITORY_NAME = var.origin.repository_name
      })

      content {
        name  = environment_variable.key
        value = environment_variable.value
      }
    }
  }

  logs_config {
    cloudwatch_logs {
      group_name = aws_cloudwatch_log_group.build.name
    }
  }

  depends_on = [aws_iam_role_policy.build, aws_s3_object.package]
}

resource "aws_cloudwatch_log_group" "build" {
  name              = local.log_group
  retention_in_days = var.log_retention_days
  kms_key_id        = var.kms_key_arn
  tags              = var.tags
}
