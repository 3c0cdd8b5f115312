locals {
  project_name = "${var.name}-build"
  log_group    = "/aws/codebuild/${local.project_name}"

  package_sha256  = filesha256(var.package_path)
  package_key     = "package/${local.package_sha256}.zip"
  manifest_prefix = "manifests/"
  plan_prefix     = "plans/"
  # A link that outlives any session: who may read the bucket reads the page. https://docs.aws.amazon.com/general/latest/gr/awsarns-partitions.html
  consoles  = { aws = "console.aws.amazon.com", aws-cn = "console.amazonaws.cn", aws-us-gov = "console.amazonaws-us-gov.com" }
  console   = lookup(local.consoles, var.aws.partition, local.consoles.aws)
  plan_page = "${local.plan_prefix}#{codepipeline.PipelineExecutionId}/plan.html"
  plan_link = (
    try(var.approval.link_base_url, null) != null
    ? "${var.approval.link_base_url}/${local.plan_page}"
    : "https://${local.console}/s3/object/${aws_s3_bucket.artifacts.bucket}?region=${var.aws.region}&prefix=${local.plan_page}"
  )
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

  # The way round a stale plan is said when the pipeline is started, and shown to the approver:
  # aws codepipeline start-pipeline-execution --name NAME --variables name=ALLOW_STALE_PLAN,value=yes
  dynamic "variable" {
    for_each = var.approval[*]

    content {
      name          = "ALLOW_STALE_PLAN"
      default_value = "no"
      description   = "yes: deploy the approved plan also when what is live has changed since it was made"
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
      #
      # CodePipeline puts values into this text before it reads it as JSON (https://github.com/aws/aws-cdk/issues/8458): one with a quotation
      # mark would define further variables of the build, and choose with them what the build runs. Only values that AWS makes stand here;
      # what somebody may write, as ALLOW_STALE_PLAN, the build asks CodePipeline for (build.tf).
      configuration = {
        ProjectName = aws_codebuild_project.this.name
        EnvironmentVariables = jsonencode([
          { name = "COMMIT_ID", type = "PLAINTEXT", value = "#{SourceVariables.CommitId}" },
          { name = "PIPELINE_EXECUTION_ID", type = "PLAINTEXT", value = "#{codepipeline.PipelineExecutionId}" },
        ])
      }
    }
  }

  # https://docs.aws.amazon.com/codepipeline/latest/userguide/action-reference-ManualApproval.html
  dynamic "stage" {
    for_each = var.approval[*]

    content {
      name = "Approve"

      action {
        name               = "Approve"
        category           = "Approval"
        owner              = "AWS"
        provider           = "Manual"
        version            = "1"
        timeout_in_minutes = stage.value.timeout_minutes

        configuration = {
          NotificationArn    = stage.value.topic_arn
          CustomData         = "#{BuildVariables.PLAN_SUMMARY}"
          ExternalEntityLink = local.plan_link
        }
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

  lifecycle {
    precondition {
      # https://docs.aws.amazon.com/codepipeline/latest/userguide/approvals-action-add.html
      condition     = !try(var.approval.own_topic, false) || try(split(":", var.approval.topic_arn)[3] == var.aws.region, false)
      error_message = "approval.topic_arn is ${try(var.approval.topic_arn, "null")}, and the pipeline runs in ${var.aws.region}. CodePipeline tells topics of its own Region only: name one there, or leave topic_arn out for the module's own."
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
