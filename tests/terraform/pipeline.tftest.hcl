# What starts the pipeline, what its stages do, and where its artifacts lie.

mock_provider "aws" {
  source          = "./tests/terraform/mocks"
  override_during = plan
}

variables {
  name = "unit"
  aws = {
    account_id = "111111111111"
    dns_suffix = "amazonaws.com"
    partition  = "aws"
    region     = "us-east-1"
  }
  origin = {
    provider           = "CodeCommit"
    repository_name    = "unit"
    branch             = "main"
    file               = "releases/deployment.yaml"
    trigger            = false
    configuration      = { RepositoryName = "unit", BranchName = "main", PollForSourceChanges = "false" }
    pipeline_actions   = ["codecommit:GetBranch"]
    pipeline_resources = ["arn:aws:codecommit:us-east-1:111111111111:unit"]
    build_actions      = ["codecommit:GetCommit"]
    build_resources    = ["arn:aws:codecommit:us-east-1:111111111111:unit"]
  }
  package_path      = "lambda_src/package.zip"
  state_machine_arn = "arn:aws:states:us-east-1:111111111111:stateMachine:unit-release"
  kms_key_arn       = "arn:aws:kms:us-east-1:111111111111:key/12345678-1234-1234-1234-123456789012"
  pipeline_arn      = "arn:aws:codepipeline:us-east-1:111111111111:unit"
}

run "stages" {
  command = plan

  module {
    source = "./modules/pipeline"
  }

  assert {
    condition     = aws_codepipeline.this.pipeline_type == "V2" && aws_codepipeline.this.execution_mode == "QUEUED" && aws_codepipeline.this.name == "unit"
    error_message = "The pipeline is not V2, not QUEUED, or has another name."
  }

  assert {
    condition     = jsonencode([for stage in aws_codepipeline.this.stage : [stage.name, stage.action[0].name, stage.action[0].provider, stage.action[0].namespace]]) == jsonencode([["Source", "Source", "CodeCommit", "SourceVariables"], ["Build", "Build", "CodeBuild", "BuildVariables"], ["Deploy", "Deploy", "StepFunctions", null]])
    error_message = "Stages, actions, providers or namespaces changed."
  }

  assert {
    condition = tomap(aws_codepipeline.this.stage[2].action[0].configuration) == tomap({
      StateMachineArn = "arn:aws:states:us-east-1:111111111111:stateMachine:unit-release"
      InputType       = "FilePath"
      Input           = "execution-input.json"
    }) && aws_codepipeline.this.stage[2].action[0].input_artifacts == aws_codepipeline.this.stage[1].action[0].output_artifacts
    error_message = "Deploy does not start the state machine with the input that Build wrote."
  }

  assert {
    condition     = length(aws_codepipeline.this.trigger) == 0
    error_message = "A CodeCommit pipeline takes no trigger of CodePipeline's own."
  }

  assert {
    condition     = one(one(aws_codepipeline.this.artifact_store).encryption_key).id == var.kms_key_arn
    error_message = "Artifacts are not encrypted with the key."
  }
}

run "build" {
  command = plan

  module {
    source = "./modules/pipeline"
  }

  assert {
    condition     = one(aws_codebuild_project.this.environment).type == "ARM_LAMBDA_CONTAINER" && one(aws_codebuild_project.this.environment).compute_type == "BUILD_LAMBDA_1GB" && one(aws_codebuild_project.this.environment).image == "aws/codebuild/amazonlinux-aarch64-lambda-standard:python3.13"
    error_message = "The build does not run on Lambda compute."
  }

  assert {
    condition     = join(" ", keys(yamldecode(one(aws_codebuild_project.this.source).buildspec).phases)) == "build"
    error_message = "The buildspec has another phase than build; one after it would run although build failed."
  }

  assert {
    condition = alltrue([for must in ["sha256sum -c", "\"$PACKAGE\" compile", "get-object", "put-object", "VersionId", "codecommit get-commit", "execution-input.json"] :
      strcontains(join("\n", yamldecode(one(aws_codebuild_project.this.source).buildspec).phases.build.commands), must)
    ])
    error_message = "The build leaves out a step: digest, compile, upload with version, author, or input."
  }

  # A file json.py of the repository would otherwise forge what is released.
  assert {
    condition = length(regexall("\\bpython3? ", join("\n", yamldecode(one(aws_codebuild_project.this.source).buildspec).phases.build.commands))) == 5 && (
    length(regexall("\\bpython3 -I ", join("\n", yamldecode(one(aws_codebuild_project.this.source).buildspec).phases.build.commands))) == 5)
    error_message = "Python looks for modules in the repository that it builds, or where the environment says: a call lacks -I."
  }

  assert {
    condition     = !can(regex("\\b(curl|wget|pip3?|npm|yum|dnf|apt|git clone)\\b", join("\n", yamldecode(one(aws_codebuild_project.this.source).buildspec).phases.build.commands)))
    error_message = "The build downloads something."
  }

  assert {
    condition = { for variable in one(aws_codebuild_project.this.environment).environment_variable : variable.name => variable.value } == {
      ARTIFACT_BUCKET = "unit-artifacts-111111111111-us-east-1"
      MANIFEST_FILE   = "releases/deployment.yaml"
      PACKAGE_KEY     = "package/${filesha256("lambda_src/package.zip")}.zip"
      PACKAGE_SHA256  = filesha256("lambda_src/package.zip")
      REPOSITORY_NAME = "unit"
    }
    error_message = "The build is told something else than bucket, file, package, digest and repository."
  }

  assert {
    condition     = aws_s3_object.package.key == "package/${filesha256("lambda_src/package.zip")}.zip" && aws_s3_object.package.kms_key_id == var.kms_key_arn
    error_message = "The package is not under its digest, or not encrypted with the key."
  }

  # S3 takes ten tags of an object: neither var.tags nor the provider's default_tags may reach it.
  assert {
    condition     = aws_s3_object.package.tags == null && length(one(one(aws_s3_object.package.override_provider).default_tags).tags) == 0
    error_message = "The package is tagged, so more than ten tags or default_tags would break apply."
  }

  assert {
    condition     = output.package.key == aws_s3_object.package.key && output.package.sha256_base64 == filebase64sha256("lambda_src/package.zip")
    error_message = "The functions would run another package than the build, or not be updated when it changes."
  }

  # S3 may answer 404 for minutes: no command reads an object or names its version without another look.
  assert {
    condition     = !can(regex("aws s3", join("\n", yamldecode(one(aws_codebuild_project.this.source).buildspec).phases.build.commands)))
    error_message = "The build reads or puts an object without objects.py."
  }

  # One single quote inside would end the command's argument.
  assert {
    condition     = length(regexall("'", one([for command in yamldecode(one(aws_codebuild_project.this.source).buildspec).phases.build.commands : command if startswith(command, "printf")]))) == 2
    error_message = "objects.py has a single quote, but stands between single quotes."
  }
}

run "build_on_ec2" {
  command = plan

  module {
    source = "./modules/pipeline"
  }

  variables {
    build = { compute = "ec2", timeout_minutes = 20 }
  }

  assert {
    condition     = one(aws_codebuild_project.this.environment).type == "LINUX_CONTAINER" && one(aws_codebuild_project.this.environment).compute_type == "BUILD_GENERAL1_SMALL" && aws_codebuild_project.this.build_timeout == 20
    error_message = "build.compute = \"ec2\" is not followed."
  }

  assert {
    condition     = yamldecode(one(aws_codebuild_project.this.source).buildspec).phases.install["runtime-versions"].python == 3.13
    error_message = "The EC2 image's older Python would run the package."
  }
}

run "build_in_a_region_without_lambda_compute" {
  command = plan

  module {
    source = "./modules/pipeline"
  }

  variables {
    aws = { account_id = "111111111111", dns_suffix = "amazonaws.com", partition = "aws", region = "eu-north-1" }
  }

  assert {
    condition     = one(aws_codebuild_project.this.environment).type == "LINUX_CONTAINER" && aws_codebuild_project.this.build_timeout == 15
    error_message = "By default the build would use Lambda compute where there is none."
  }
}

run "build_on_lambda_where_it_is_said" {
  command = plan

  module {
    source = "./modules/pipeline"
  }

  variables {
    aws   = { account_id = "111111111111", dns_suffix = "amazonaws.com", partition = "aws", region = "eu-north-1" }
    build = { compute = "lambda" }
  }

  assert {
    condition     = one(aws_codebuild_project.this.environment).type == "ARM_LAMBDA_CONTAINER"
    error_message = "build.compute = \"lambda\" is not followed where AWS has added it since."
  }
}

run "bucket" {
  command = plan

  module {
    source = "./modules/pipeline"
  }

  assert {
    condition     = aws_s3_bucket.artifacts.bucket == "unit-artifacts-111111111111-us-east-1" && aws_s3_bucket.artifacts.force_destroy == false
    error_message = "The bucket has another name, or may be destroyed with objects in it."
  }

  assert {
    condition     = one(aws_s3_bucket_versioning.artifacts.versioning_configuration).status == "Enabled" && one(one(aws_s3_bucket_ownership_controls.artifacts.rule).object_ownership[*]) == "BucketOwnerEnforced"
    error_message = "The bucket is not versioned or takes ACLs."
  }

  assert {
    condition     = one(one(aws_s3_bucket_server_side_encryption_configuration.artifacts.rule).apply_server_side_encryption_by_default).sse_algorithm == "aws:kms" && one(one(aws_s3_bucket_server_side_encryption_configuration.artifacts.rule).apply_server_side_encryption_by_default).kms_master_key_id == var.kms_key_arn
    error_message = "The bucket is not encrypted with the key."
  }

  assert {
    condition     = alltrue([aws_s3_bucket_public_access_block.artifacts.block_public_acls, aws_s3_bucket_public_access_block.artifacts.block_public_policy, aws_s3_bucket_public_access_block.artifacts.ignore_public_acls, aws_s3_bucket_public_access_block.artifacts.restrict_public_buckets])
    error_message = "The bucket can be made public."
  }

  assert {
    condition     = jsondecode(aws_s3_bucket_policy.artifacts.policy).Statement[0].Effect == "Deny" && jsondecode(aws_s3_bucket_policy.artifacts.policy).Statement[0].Condition == { Bool = { "aws:SecureTransport" = "false" } }
    error_message = "The bucket answers without TLS."
  }

  assert {
    condition     = jsonencode({ for rule in aws_s3_bucket_lifecycle_configuration.artifacts[0].rule : rule.id => coalesce(one(rule.filter).prefix, "everything") if length(rule.expiration) > 0 }) == jsonencode({ artifacts = "unit/", manifests = "manifests/" })
    error_message = "Lifecycle rules cover something else than artifacts and manifests; the package must stay."
  }
}

# The package is put before versioning is switched on, so the first one has no version and reads as "null" from the next refresh on; a later
# one has one. Either way the functions must not change at the next plan.
run "package_without_a_version" {
  command = plan

  module {
    source = "./modules/pipeline"
  }

  override_resource {
    target          = aws_s3_object.package
    override_during = plan
    values          = { version_id = "null" }
  }

  assert {
    condition     = output.package.version_id == null
    error_message = "The functions would be updated to a version that is none."
  }
}

run "package_with_a_version" {
  command = plan

  module {
    source = "./modules/pipeline"
  }

  override_resource {
    target          = aws_s3_object.package
    override_during = plan
    values          = { version_id = "v7" }
  }

  assert {
    condition     = output.package.version_id == "v7"
    error_message = "The functions would not run the very version of the package that was put."
  }
}

run "bucket_kept_for_ever" {
  command = plan

  module {
    source = "./modules/pipeline"
  }

  variables {
    artifact_retention_days = null
  }

  assert {
    condition     = length(aws_s3_bucket_lifecycle_configuration.artifacts) == 0
    error_message = "artifact_retention_days = null still makes a lifecycle rule."
  }
}

run "codecommit" {
  command = plan

  module {
    source = "./modules/source"
  }

  variables {
    repository = { type = "CODECOMMIT", branch = "live", file = "deployment.yaml" }
  }

  assert {
    condition     = aws_codecommit_repository.this[0].repository_name == "unit" && output.repository_name == "unit" && output.connection_arn == null
    error_message = "The repository is not named after the module."
  }

  assert {
    condition     = output.origin.configuration.PollForSourceChanges == "false" && output.origin.configuration.BranchName == "live" && !output.origin.trigger
    error_message = "The source polls, or looks at another branch."
  }

  assert {
    condition = jsondecode(aws_cloudwatch_event_rule.push[0].event_pattern) == {
      source        = ["aws.codecommit"]
      "detail-type" = ["CodeCommit Repository State Change"]
      resources     = [aws_codecommit_repository.this[0].arn]
      detail        = { event = ["referenceCreated", "referenceUpdated"], referenceType = ["branch"], referenceName = ["live"] }
    }
    error_message = "The rule matches something else than a push to the branch."
  }

  assert {
    condition     = aws_cloudwatch_event_target.push[0].arn == var.pipeline_arn && jsondecode(aws_iam_role_policy.push[0].policy).Statement == [{ Sid = "StartThePipeline", Effect = "Allow", Action = ["codepipeline:StartPipelineExecution"], Resource = var.pipeline_arn }]
    error_message = "The rule does not start the pipeline, or its role may do more than that."
  }

  assert {
    condition = jsondecode(aws_iam_role.push[0].assume_role_policy).Statement[0].Principal == { Service = "events.amazonaws.com" } && jsondecode(aws_iam_role.push[0].assume_role_policy).Statement[0].Condition == {
      ArnEquals = { "aws:SourceArn" = aws_cloudwatch_event_rule.push[0].arn }
    }
    error_message = "Another rule could start the pipeline with this role."
  }
}

run "connection_made" {
  command = plan

  module {
    source = "./modules/source"
  }

  variables {
    repository = { type = "CONNECTION", branch = "main", file = "deployment.yaml", full_repository_id = "octo/deployments", connection_provider = "GitHub" }
  }

  assert {
    condition     = aws_codeconnections_connection.this[0].provider_type == "GitHub" && aws_codeconnections_connection.this[0].name == "unit" && output.connection_status == "PENDING"
    error_message = "No connection is made, or its status is not shown."
  }

  assert {
    condition     = length(aws_codecommit_repository.this) == 0 && length(aws_cloudwatch_event_rule.push) == 0 && output.clone_url_http == null && output.repository_name == "octo/deployments"
    error_message = "A connection also makes a CodeCommit repository or a rule."
  }

  assert {
    condition = output.origin.provider == "CodeStarSourceConnection" && output.origin.configuration == {
      ConnectionArn        = aws_codeconnections_connection.this[0].arn
      FullRepositoryId     = "octo/deployments"
      BranchName           = "main"
      OutputArtifactFormat = "CODE_ZIP"
    }
    error_message = "The source action does not use the connection."
  }

  assert {
    condition     = output.origin.pipeline_actions == ["codeconnections:UseConnection", "codestar-connections:UseConnection"] && output.origin.pipeline_resources == [aws_codeconnections_connection.this[0].arn]
    error_message = "The pipeline may use another connection, or not this one."
  }
}

run "connection_given" {
  command = plan

  module {
    source = "./modules/source"
  }

  variables {
    repository = { type = "CONNECTION", branch = "main", file = "deployment.yaml", full_repository_id = "group/sub/deployments", connection_arn = "arn:aws:codestar-connections:us-east-1:111111111111:connection/1" }
  }

  assert {
    condition     = length(aws_codeconnections_connection.this) == 0 && output.connection_arn == "arn:aws:codestar-connections:us-east-1:111111111111:connection/1" && output.origin.configuration.ConnectionArn == output.connection_arn
    error_message = "The connection that was given is not used."
  }
}

run "connection_trigger" {
  command = plan

  module {
    source = "./modules/pipeline"
  }

  variables {
    origin = {
      provider           = "CodeStarSourceConnection"
      repository_name    = "octo/deployments"
      branch             = "main"
      file               = "releases/deployment.yaml"
      trigger            = true
      configuration      = {}
      pipeline_actions   = ["codeconnections:UseConnection"]
      pipeline_resources = ["arn:aws:codeconnections:us-east-1:111111111111:connection/1"]
      build_actions      = []
      build_resources    = []
    }
  }

  assert {
    condition     = one(aws_codepipeline.this.trigger).provider_type == "CodeStarSourceConnection" && one(one(aws_codepipeline.this.trigger).git_configuration).source_action_name == "Source"
    error_message = "The pipeline has no trigger on its source action."
  }

  assert {
    condition     = one(one(one(one(aws_codepipeline.this.trigger).git_configuration).push).branches).includes == tolist(["main"]) && one(one(one(one(aws_codepipeline.this.trigger).git_configuration).push).file_paths).includes == tolist(["releases/deployment.yaml"])
    error_message = "The trigger is not held to the branch and the file."
  }

  # No variable of this source action names the author, and the build may not ask for one.
  assert {
    condition     = !strcontains(one(aws_codebuild_project.this.source).buildspec, "codecommit") && !strcontains(aws_iam_role_policy.build.policy, "NameTheAuthor")
    error_message = "The build asks CodeCommit for the author of a commit that is not there."
  }
}
