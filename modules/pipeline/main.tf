locals {
  project_name = "${var.name}-build"
  log_group    = "/aws/codebuild/${local.project_name}"

  package_sha256  = filesha256(var.package_path)
  package_key     = "package/${local.package_sha256}.zip"
  manifest_prefix = "manifests/"
  # CodePipeline puts its artifacts under the first 20 characters of the pipeline's name.
  # https://docs.aws.amazon.com/codepipeline/latest/userguide/concepts.html#concepts-artifacts
  artifact_prefix = "${substr(var.name, 0, 20)}/"
}

# https://docs.aws.amazon.com/codepipeline/latest/userguide/reference-pipeline-structure.html
resource "aws_codepipeline" "this" {
  name           = var.name
  role_arn       = aws_iam_role.pipeline.arn
  pipeline_type  = "V2"
  execution_mode = "QUEUED"
  tags           = var.tags

  artifact_store {
    location = aws_s3_bucket.artifacts.bucket
    type     = "S3"

    encryption_key {
      id   = var.kms_key_arn
      type = "KMS"
    }
  }

  # A trigger takes the place of the connection's own change detection.
  # https://docs.aws.amazon.com/codepipeline/latest/userguide/pipelines-triggers.html
  dynamic "trigger" {
    for_each = var.origin.trigger ? [var.origin] : []

    content {
      provider_type = trigger.value.provider

      git_configuration {
        source_action_name = "Source"

        push {
          branches {
            includes = [trigger.value.branch]
          }

          file_paths {
            includes = [trigger.value.file]
          }
        }
      }
    }
  }

  stage {
    name = "Source"

    action {
      name             = "Source"
      namespace        = "SourceVariables"
      category         = "Source"
      owner            = "AWS"
      provider         = var.origin.provider
      version          = "1"
      output_artifacts = ["source"]
      configuration    = var.origin.configuration
    }
  }

  stage {
    name = "Build"

    action {
      name             = "Build"
      namespace        = "BuildVariables"
      category         = "Build"
      owner            = "AWS"
      provider         = "CodeBuild"
      version          = "1"
      input_artifacts  = ["source"]
      output_artifacts = ["release"]

      # https://docs.aws.amazon.com/codepipeline/latest/userguide/action-reference-CodeBuild.html
      configuration = {
        ProjectName = aws_codebuild_project.this.name
        EnvironmentVariables = jsonencode([
          { name = "COMMIT_ID", type = "PLAINTEXT", value = "#{SourceVariables.CommitId}" },
          { name = "PIPELINE_EXECUTION_ID", type = "PLAINTEXT", value = "#{codepipeline.PipelineExecutionId}" },
        ])
      }
    }
  }

  stage {
    name = "Deploy"

    action {
      name            = "Deploy"
      category        = "Invoke"
      owner           = "AWS"
      provider        = "StepFunctions"
      version         = "1"
      input_artifacts = ["release"]

      # https://docs.aws.amazon.com/codepipeline/latest/userguide/action-reference-StepFunctions.html
      configuration = {
        StateMachineArn = var.state_machine_arn
        InputType       = "FilePath"
        Input           = "execution-input.json"
      }
    }
  }

  depends_on = [
    aws_iam_role_policy.pipeline,
    aws_s3_bucket_ownership_controls.artifacts,
    aws_s3_bucket_policy.artifacts,
    aws_s3_bucket_server_side_encryption_configuration.artifacts,
    aws_s3_bucket_versioning.artifacts,
  ]
}
