locals {
  codecommit          = var.repository.type == "CODECOMMIT"
  codecommit_name     = one(aws_codecommit_repository.this[*].repository_name)
  codecommit_resource = aws_codecommit_repository.this[*].arn

  # What the pipeline needs to know of either origin.
  origins = {
    CODECOMMIT = {
      provider        = "CodeCommit"
      repository_name = local.codecommit_name
      branch          = var.repository.branch
      file            = var.repository.file
      # CodePipeline's own triggers serve connections only; a rule starts the pipeline, see codecommit.tf.
      trigger = false
      # https://docs.aws.amazon.com/codepipeline/latest/userguide/action-reference-CodeCommit.html
      configuration = {
        RepositoryName       = local.codecommit_name
        BranchName           = var.repository.branch
        PollForSourceChanges = "false"
        OutputArtifactFormat = "CODE_ZIP"
      }
      pipeline_actions = [
        "codecommit:CancelUploadArchive",
        "codecommit:GetBranch",
        "codecommit:GetCommit",
        "codecommit:GetUploadArchiveStatus",
        "codecommit:UploadArchive",
      ]
      pipeline_resources = local.codecommit_resource
      # The author of the commit, for the release's record.
      # https://docs.aws.amazon.com/codecommit/latest/APIReference/API_GetCommit.html
      build_actions   = ["codecommit:GetCommit"]
      build_resources = local.codecommit_resource
    }

    CONNECTION = {
      provider        = "CodeStarSourceConnection"
      repository_name = var.repository.full_repository_id
      branch          = var.repository.branch
      file            = var.repository.file
      trigger         = true
      # https://docs.aws.amazon.com/codepipeline/latest/userguide/action-reference-CodestarConnectionSource.html
      configuration = {
        ConnectionArn        = local.connection_arn
        FullRepositoryId     = var.repository.full_repository_id
        BranchName           = var.repository.branch
        OutputArtifactFormat = "CODE_ZIP"
      }
      # Both spellings, because connections of before 2024 have an ARN of codestar-connections.
      # https://docs.aws.amazon.com/dtconsole/latest/userguide/rename.html
      pipeline_actions   = ["codeconnections:UseConnection", "codestar-connections:UseConnection"]
      pipeline_resources = [local.connection_arn]
      build_actions      = []
      build_resources    = []
    }
  }

  origin = local.origins[var.repository.type]
}
