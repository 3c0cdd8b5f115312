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
    "ap-northeast-1", "ap-south-1", "ap-southeast-1", "ap-southeast-2", "eu-central-1", "eu-west-1", "sa-east-1", "us-east-1", "us-east-2", "us-west-2",
  ]
  compute = local.computes[coalesce(var.build.compute, contains(local.lambda_regions, var.aws.region) ? "lambda" : "ec2")]

  # CodeCommit has the author; no variable of a connection's source action that AWS documents names one.
  author_command = var.origin.provider == "CodeCommit" ? [
    # Nothing depends on the author, so a refusal to tell must not stop a release.
    "export AUTHOR=\"$(aws codecommit get-commit --repository-name \"$REPOSITORY_NAME\" --commit-id \"$COMMIT_ID\" --query commit.author.name --output text || true)\"",
  ] : ["export AUTHOR=\"\""]

  # Nothing that somebody pushed decides what runs here, and nobody forges the plan with it. So the commands run in an empty folder: in the
  # checkout, a .python-version would choose the Python (the image's python3 is pyenv's: https://github.com/pyenv/pyenv#choose-which-python-version-when-a-file-is-present),
  # and a link with the name of a result would lead what is written elsewhere. All commands share one shell, so the folder stays the current
  # one: https://docs.aws.amazon.com/codebuild/latest/userguide/build-spec-ref.html#build-spec-ref-versions
  # And -I: Python takes modules neither from the current folder nor from where an environment variable or a home directory points.
  # https://docs.python.org/3/using/cmdline.html#cmdoption-I
  #
  # Everything in one phase: CodeBuild runs post_build also after a build phase that failed.
  # https://docs.aws.amazon.com/codebuild/latest/userguide/build-spec-ref.html
  plan_timeout = var.approval == null ? 0 : var.approval.plan_function.timeout + 30
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
              # The very code that the functions run, checked against the digest that Terraform read from the file.
              "export PACKAGE=\"$PWD/package.zip\"",
              # How objects are read and put: S3 may need another look at them.
              "export OBJECTS=\"$PWD/objects.py\"",
              "printf %s '${file("${path.module}/objects.py")}' > \"$OBJECTS\"",
              "python3 -I \"$OBJECTS\" get-object \"$PACKAGE_KEY\" \"$PACKAGE\" > /dev/null",
              "echo \"$PACKAGE_SHA256  $PACKAGE\" | sha256sum -c -",
              # Validates as well; its errors name line and column, and its exit status fails the build.
              "python3 -I -c '${file("${path.module}/compile.py")}'",
              # With its version, so that nobody can change what was validated before it is released.
              "export MANIFEST_KEY=\"manifests/$PIPELINE_EXECUTION_ID/deployment.json\"",
              "export MANIFEST_VERSION_ID=\"$(python3 -I \"$OBJECTS\" put-object \"$MANIFEST_KEY\" deployment.json application/json)\"",
              "test -n \"$MANIFEST_VERSION_ID\" && test \"$MANIFEST_VERSION_ID\" != None",
            ],
            local.author_command,
            ["python3 -I -c '${file("${path.module}/execution_input.py")}'"],
            var.approval == null ? [] : [
              # What the pipeline was started with, as data: in the action's configuration it would be pasted into JSON text (main.tf).
              # https://docs.aws.amazon.com/codepipeline/latest/APIReference/API_PipelineExecution.html
              "aws codepipeline get-pipeline-execution --pipeline-name \"$PIPELINE_NAME\" --pipeline-execution-id \"$PIPELINE_EXECUTION_ID\" --output json > pipeline-execution.json",
              "python3 -I -c '${file("${path.module}/allow_stale.py")}'",
              "export ALLOW_STALE_PLAN=\"$(cat allow-stale.txt)\"",
              # The plan is made by the code that Parse runs, in a function that can read and nothing else (docs/adr/0007-plan-in-a-function.md).
              "aws lambda invoke --function-name \"$PLAN_FUNCTION\" --payload fileb://execution-input.json --cli-read-timeout ${local.plan_timeout} plan.json > invocation.json",
              "python3 -I -c '${file("${path.module}/plan_answer.py")}'",
              "python3 -I -c '${file("${path.module}/show_plan.py")}'",
              "export PLAN_KEY=\"plans/$PIPELINE_EXECUTION_ID/plan.json\"",
              "export PLAN_VERSION_ID=\"$(python3 -I \"$OBJECTS\" put-object \"$PLAN_KEY\" plan.json application/json)\"",
              "test -n \"$PLAN_VERSION_ID\" && test \"$PLAN_VERSION_ID\" != None",
              "aws s3api put-object --bucket \"$ARTIFACT_BUCKET\" --key \"plans/$PIPELINE_EXECUTION_ID/plan.html\" --body plan.html --content-type \"text/html; charset=utf-8\" > /dev/null",
              # Stops here when an item is blocked: nobody should approve what can't be deployed.
              "python3 -I -c '${file("${path.module}/plan_input.py")}'",
              "export PLAN_SUMMARY=\"$(cat summary.txt)\" PLAN_DIGEST=\"$(cat digest.txt)\" MANIFEST_SHA256=\"$(sha256sum deployment.json | cut -d \" \" -f 1)\"",
            ],
            # Artifacts are taken from the checkout. What lies there under this name, a link or a folder, is not written through or into.
            ["rm -rf \"$CODEBUILD_SRC_DIR/execution-input.json\" && cp execution-input.json \"$CODEBUILD_SRC_DIR/execution-input.json\""],
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
      for_each = merge(var.approval == null ? {} : { PIPELINE_NAME = var.name, PLAN_FUNCTION = var.approval.plan_function.qualified_arn }, {
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
