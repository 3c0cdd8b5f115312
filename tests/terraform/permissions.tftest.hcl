# Who may do what: the exact actions of every role, and who may assume it. A new action needs a new line here, and code that calls it.

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
  package_path = "lambda_src/package.zip"
  package = {
    bucket        = "unit-artifacts"
    key           = "package/0123.zip"
    version_id    = "v1"
    sha256_base64 = "MDEyMw=="
  }
  kms_key_arn = "arn:aws:kms:us-east-1:111111111111:key/12345678-1234-1234-1234-123456789012"
}

run "function_roles" {
  command = plan

  module {
    source = "./modules/orchestrator"
  }

  variables {
    targets = {
      default = {
        account       = "111111111111"
        region        = "us-east-1"
        roleArn       = "arn:aws:iam::111111111111:role/unit-deployment"
        readerRoleArn = "arn:aws:iam::111111111111:role/unit-reader"
        externalId    = null
        base          = "live"
      }
      production = {
        account       = "222222222222"
        region        = "eu-west-1"
        roleArn       = "arn:aws:iam::222222222222:role/other-deployment"
        readerRoleArn = "arn:aws:iam::222222222222:role/other-reader"
        externalId    = "x1"
        base          = "live"
      }
    }
    artifact_bucket_arn = "arn:aws:s3:::unit-artifacts"
    topic_arn           = "arn:aws:sns:us-east-1:111111111111:unit"
  }

  assert {
    condition = { for step, policy in aws_iam_role_policy.function : step => sort(distinct(flatten(jsondecode(policy.policy).Statement[*].Action))) } == {
      for step, more in {
        "parse"          = ["dynamodb:BatchGetItem", "dynamodb:ConditionCheckItem", "dynamodb:DeleteItem", "dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:Query", "dynamodb:UpdateItem", "s3:GetObject", "s3:GetObjectVersion", "s3:ListBucket", "states:DescribeExecution", "sts:AssumeRole"]
        "prepare"        = ["dynamodb:DeleteItem", "dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:Query", "dynamodb:UpdateItem", "sts:AssumeRole"]
        "update-task"    = ["dynamodb:DeleteItem", "dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:Query", "dynamodb:UpdateItem", "sts:AssumeRole"]
        "update-service" = ["dynamodb:DeleteItem", "dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:Query", "dynamodb:UpdateItem", "sts:AssumeRole"]
        "check-rollouts" = ["dynamodb:ConditionCheckItem", "dynamodb:GetItem", "dynamodb:Query", "dynamodb:UpdateItem", "sts:AssumeRole"]
        "rollback"       = ["dynamodb:DeleteItem", "dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:Query", "dynamodb:UpdateItem", "sts:AssumeRole"]
        "report"         = ["codepipeline:ListActionExecutions", "dynamodb:BatchGetItem", "dynamodb:DeleteItem", "dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:Query", "dynamodb:UpdateItem", "kms:GenerateDataKey", "sns:Publish", "states:DescribeExecution"]
        "clean-up"       = ["dynamodb:DeleteItem", "dynamodb:GetItem", "dynamodb:Query", "dynamodb:UpdateItem", "sts:AssumeRole"]
        } : step => sort(concat(more, [
          "kms:Decrypt", "logs:CreateLogStream", "logs:PutLogEvents", "xray:PutTelemetryRecords", "xray:PutTraceSegments",
      ]))
    }
    error_message = "A function may do more or less than it calls."
  }

  # Nothing but tracing, which takes no resource, is granted on everything; every statement says what it is for.
  assert {
    condition = alltrue(flatten([for policy in values(aws_iam_role_policy.function) : [for statement in jsondecode(policy.policy).Statement :
      statement.Effect == "Allow" && can(regex("^[A-Za-z]+$", statement.Sid)) && (!contains(statement.Resource, "*") || statement.Sid == "Trace") && !strcontains(jsonencode(statement.Action), "*")
    ]]))
    error_message = "A function's policy has a wildcard action, a wildcard resource, or a statement without a Sid."
  }

  # The releases table with the data actions, the idempotency table for the four writers only.
  assert {
    condition     = toset([for step, policy in aws_iam_role_policy.function : step if contains(jsondecode(policy.policy).Statement[*].Sid, "RememberWhatWasDone")]) == toset(["prepare", "rollback", "update-service", "update-task"])
    error_message = "Another function than the four writers may use the idempotency table."
  }

  assert {
    condition = jsonencode({
      for step, policy in aws_iam_role_policy.function : step => sort(flatten([for statement in jsondecode(policy.policy).Statement : statement.Resource if statement.Action == ["sts:AssumeRole"]]))
      }) == jsonencode({
      "parse"          = ["arn:aws:iam::111111111111:role/unit-reader", "arn:aws:iam::222222222222:role/other-reader"]
      "check-rollouts" = ["arn:aws:iam::111111111111:role/unit-reader", "arn:aws:iam::222222222222:role/other-reader"]
      "prepare"        = ["arn:aws:iam::111111111111:role/unit-deployment", "arn:aws:iam::222222222222:role/other-deployment"]
      "update-task"    = ["arn:aws:iam::111111111111:role/unit-deployment", "arn:aws:iam::222222222222:role/other-deployment"]
      "update-service" = ["arn:aws:iam::111111111111:role/unit-deployment", "arn:aws:iam::222222222222:role/other-deployment"]
      "rollback"       = ["arn:aws:iam::111111111111:role/unit-deployment", "arn:aws:iam::222222222222:role/other-deployment"]
      "report"         = []
      "clean-up"       = ["arn:aws:iam::111111111111:role/unit-deployment", "arn:aws:iam::222222222222:role/other-deployment"]
    })
    error_message = "A function may assume another role than the reader's or the deployment role's of the targets."
  }

  assert {
    condition = one([for statement in jsondecode(aws_iam_role_policy.function["parse"].policy).Statement : statement.Resource if statement.Sid == "ReadTheManifest"]) == ["arn:aws:s3:::unit-artifacts/manifests/*"] && (
    one([for statement in jsondecode(aws_iam_role_policy.function["parse"].policy).Statement : statement.Resource if statement.Sid == "LookAtExecutions"]) == ["arn:aws:states:us-east-1:111111111111:execution:unit-release:*"])
    error_message = "Parse may read other objects than manifests or other executions than this machine's."
  }

  assert {
    condition     = alltrue([for step, role in aws_iam_role.function : role.name == "unit-${step}" && jsondecode(role.assume_role_policy).Statement[*].Principal == [{ Service = "lambda.amazonaws.com" }]])
    error_message = "A function's role has another name, or somebody else than Lambda may assume it."
  }

  # The log group of its own and no other.
  assert {
    condition     = alltrue([for step, policy in aws_iam_role_policy.function : jsondecode(policy.policy).Statement[0].Resource == ["${aws_cloudwatch_log_group.function[step].arn}:*"]])
    error_message = "A function may write to another log group than its own."
  }

  # The keys are usable through the named services only.
  assert {
    condition = alltrue(flatten([for policy in values(aws_iam_role_policy.function) : [for statement in jsondecode(policy.policy).Statement :
      can(regex("^(dynamodb|s3|sns)\\.us-east-1\\.amazonaws\\.com$", one(statement.Condition.StringEquals["kms:ViaService"]))) if startswith(statement.Action[0], "kms:")
    ]]))
    error_message = "A function may use the key otherwise than through DynamoDB, S3 or SNS."
  }
}

# The most that the root module's input lets through. IAM takes 10,240 characters; 500 are for what the mocked ARNs are shorter than real ones.
run "as_many_targets_as_a_policy_holds" {
  command = plan

  module {
    source = "./modules/orchestrator"
  }

  variables {
    name     = "a-name-of-24-characters-"
    approval = true
    targets = { for number in range(124) : "t${number}" => {
      account       = tostring(222222222222 + number)
      region        = "eu-west-1"
      roleArn       = "arn:aws:iam::${222222222222 + number}:role/ecs-release-deployment"
      readerRoleArn = "arn:aws:iam::${222222222222 + number}:role/ecs-release-with-reader"
      externalId    = null
      base          = "live"
    } }
    artifact_bucket_arn = "arn:aws:s3:::a-name-of-24-characters--artifacts-111111111111-ap-northeast-1"
    topic_arn           = "arn:aws:sns:us-east-1:111111111111:unit"
  }

  assert {
    condition     = length(jsonencode(values(var.targets)[*].roleArn)) > 6900 && max([for policy in values(aws_iam_role_policy.function) : length(policy.policy)]...) <= 10240 - 500
    error_message = "A function's policy may be longer than IAM takes, although no input is refused."
  }
}

run "state_machine_role" {
  command = plan

  module {
    source = "./modules/orchestrator"
  }

  variables {
    targets             = {}
    artifact_bucket_arn = "arn:aws:s3:::unit-artifacts"
    topic_arn           = "arn:aws:sns:us-east-1:111111111111:unit"
  }

  assert {
    condition = jsonencode(sort(flatten(jsondecode(aws_iam_role_policy.state_machine.policy).Statement[*].Action))) == jsonencode([
      "lambda:InvokeFunction",
      "logs:CreateLogDelivery", "logs:DeleteLogDelivery", "logs:DescribeLogGroups", "logs:DescribeResourcePolicies", "logs:GetLogDelivery", "logs:ListLogDeliveries", "logs:PutResourcePolicy", "logs:UpdateLogDelivery",
      "xray:GetSamplingRules", "xray:GetSamplingTargets", "xray:PutTelemetryRecords", "xray:PutTraceSegments",
    ])
    error_message = "The state machine may do more or less than invoke its functions, log and trace."
  }

  # All versions, so that an execution which began before an upgrade can go on.
  assert {
    condition     = alltrue([for arn in jsondecode(aws_iam_role_policy.state_machine.policy).Statement[0].Resource : endswith(arn, ":*")]) && length(jsondecode(aws_iam_role_policy.state_machine.policy).Statement[0].Resource) == 7
    error_message = "The state machine may not invoke every version of its seven functions."
  }

  assert {
    condition = jsondecode(aws_iam_role.state_machine.assume_role_policy).Statement[0].Principal == { Service = "states.amazonaws.com" } && jsondecode(aws_iam_role.state_machine.assume_role_policy).Statement[0].Condition == {
      ArnEquals    = { "aws:SourceArn" = "arn:aws:states:us-east-1:111111111111:stateMachine:unit-release" }
      StringEquals = { "aws:SourceAccount" = "111111111111" }
    }
    error_message = "Another state machine than unit-release may assume the role."
  }
}

run "target_roles" {
  command = plan

  module {
    source = "./modules/deployment_role"
  }

  variables {
    orchestrator = { account_id = "999999999999", name = "central" }
  }

  assert {
    condition = jsonencode({ for name, policy in aws_iam_role_policy.this : name => sort(flatten(jsondecode(policy.policy).Statement[*].Action)) }) == jsonencode({
      deployment = [
        "ecr:BatchGetImage", "ecr:DescribePullThroughCacheRules",
        "ecs:DeregisterTaskDefinition", "ecs:DescribeServiceDeployments", "ecs:DescribeServiceRevisions", "ecs:DescribeServices", "ecs:DescribeTaskDefinition",
        "ecs:ListServiceDeployments", "ecs:ListTagsForResource", "ecs:ListTaskDefinitions", "ecs:RegisterTaskDefinition", "ecs:StopServiceDeployment", "ecs:TagResource", "ecs:UpdateService",
        "events:ListTargetsByRule", "events:PutTargets", "iam:PassRole", "kms:Decrypt", "kms:DescribeKey", "kms:GenerateDataKey", "scheduler:GetSchedule", "scheduler:UpdateSchedule",
      ]
      reader = [
        "ecr:BatchGetImage", "ecr:DescribePullThroughCacheRules", "ecr:DescribeRepositories",
        "ecs:DescribeServiceDeployments", "ecs:DescribeServiceRevisions", "ecs:DescribeServices", "ecs:DescribeTaskDefinition", "ecs:DescribeTasks", "ecs:ListServiceDeployments", "ecs:ListTagsForResource", "ecs:ListTaskDefinitions", "ecs:ListTasks",
        "events:DescribeRule", "events:ListTargetsByRule", "iam:SimulatePrincipalPolicy", "kms:Decrypt", "scheduler:GetSchedule",
      ]
    })
    error_message = "A role in the target may do more or less than the steps call."
  }

  # Keys, also of another account, in Scheduler's hands and in no others.
  assert {
    condition = alltrue(flatten([for policy in values(aws_iam_role_policy.this) : [for statement in jsondecode(policy.policy).Statement :
      statement.Resource == ["arn:aws:kms:*:*:key/*"] && statement.Condition == { StringLike = { "kms:ViaService" = ["scheduler.*.amazonaws.com"] } } if startswith(statement.Action[0], "kms:")
    ]]))
    error_message = "A role in the target may use keys otherwise than through EventBridge Scheduler."
  }

  assert {
    condition = { for name, role in aws_iam_role.this : name => jsondecode(role.assume_role_policy).Statement } == {
      for name, steps in { deployment = ["clean-up", "prepare", "rollback", "update-service", "update-task"], reader = ["check-rollouts", "parse", "plan"] } : name => [{
        Sid       = "OrchestratorAssumes"
        Effect    = "Allow"
        Principal = { AWS = "arn:aws:iam::999999999999:root" }
        Action    = "sts:AssumeRole"
        Condition = { ArnLike = { "aws:PrincipalArn" = [for step in steps : "arn:aws:iam::999999999999:role/central-${step}"] } }
      }]
    }
    error_message = "Somebody else than the orchestrator's steps may assume a role in the target."
  }

  assert {
    condition = one([for statement in jsondecode(aws_iam_role_policy.this["deployment"].policy).Statement : statement if statement.Sid == "PassRolesTheyAlreadyHave"]) == {
      Sid       = "PassRolesTheyAlreadyHave"
      Effect    = "Allow"
      Action    = ["iam:PassRole"]
      Resource  = ["arn:aws:iam::111111111111:role/*"]
      Condition = { StringEquals = { "iam:PassedToService" = ["ecs-tasks.amazonaws.com", "events.amazonaws.com", "scheduler.amazonaws.com"] } }
    }
    error_message = "Roles of another account, or to another service, could be passed on."
  }

  assert {
    condition     = one([for statement in jsondecode(aws_iam_role_policy.this["deployment"].policy).Statement : statement.Condition if contains(statement.Action, "ecs:TagResource")]) == { StringEquals = { "ecs:CreateAction" = "RegisterTaskDefinition" } }
    error_message = "Tagging is not held to registering."
  }

  assert {
    condition = alltrue(flatten([for policy in values(aws_iam_role_policy.this) : [for statement in jsondecode(policy.policy).Statement :
      !contains(statement.Resource, "*") || contains(["ReadPullThroughRules", "TaskDefinitionsAndTasks"], statement.Sid)
    ]]))
    error_message = "Another action than those that take no resource is granted on everything."
  }

  assert {
    condition     = aws_iam_role.this["deployment"].name == "unit-deployment" && aws_iam_role.this["reader"].name == "unit-reader"
    error_message = "The roles have other names."
  }
}

run "target_roles_narrowed" {
  command = plan

  module {
    source = "./modules/deployment_role"
  }

  variables {
    orchestrator             = { account_id = "999999999999" }
    external_id              = "agreed-42"
    passable_role_arns       = ["arn:aws:iam::111111111111:role/service-a-*"]
    permissions_boundary_arn = "arn:aws:iam::111111111111:policy/boundary"
  }

  assert {
    condition     = alltrue([for role in values(aws_iam_role.this) : jsondecode(role.assume_role_policy).Statement[0].Condition.StringEquals == { "sts:ExternalId" = "agreed-42" } && role.permissions_boundary == "arn:aws:iam::111111111111:policy/boundary"])
    error_message = "The external id is not asked for, or the boundary is not set."
  }

  assert {
    condition     = one([for statement in jsondecode(aws_iam_role_policy.this["deployment"].policy).Statement : statement.Resource if contains(statement.Action, "iam:PassRole")]) == ["arn:aws:iam::111111111111:role/service-a-*"]
    error_message = "passable_role_arns does not narrow iam:PassRole."
  }
}

run "target_roles_reject" {
  command = plan

  module {
    source = "./modules/deployment_role"
  }

  variables {
    name               = "no/slash"
    orchestrator       = { account_id = "12345", name = "Central" }
    external_id        = "a"
    passable_role_arns = []
  }

  expect_failures = [var.name, var.orchestrator, var.external_id, var.passable_role_arns]
}

run "pipeline_roles" {
  command = plan

  module {
    source = "./modules/pipeline"
  }

  variables {
    origin = {
      provider           = "CodeCommit"
      repository_name    = "unit"
      branch             = "main"
      file               = "deployment.yaml"
      trigger            = false
      configuration      = {}
      pipeline_actions   = ["codecommit:GetBranch"]
      pipeline_resources = ["arn:aws:codecommit:us-east-1:111111111111:unit"]
      build_actions      = ["codecommit:GetCommit"]
      build_resources    = ["arn:aws:codecommit:us-east-1:111111111111:unit"]
    }
    state_machine_arn = "arn:aws:states:us-east-1:111111111111:stateMachine:unit-release"
  }

  assert {
    condition = jsonencode(sort(distinct(flatten(jsondecode(aws_iam_role_policy.pipeline.policy).Statement[*].Action)))) == jsonencode([
      "codebuild:BatchGetBuilds", "codebuild:StartBuild", "codecommit:GetBranch",
      "kms:Decrypt", "kms:DescribeKey", "kms:Encrypt", "kms:GenerateDataKey*", "kms:ReEncrypt*",
      "s3:GetBucketAcl", "s3:GetBucketLocation", "s3:GetBucketVersioning", "s3:GetObject", "s3:GetObjectVersion", "s3:PutObject", "s3:PutObjectAcl",
      "states:DescribeExecution", "states:DescribeStateMachine", "states:StartExecution",
    ])
    error_message = "The pipeline may do more or less than its actions need."
  }

  assert {
    condition = jsonencode(sort(distinct(flatten(jsondecode(aws_iam_role_policy.build.policy).Statement[*].Action)))) == jsonencode([
      "codecommit:GetCommit", "kms:Decrypt", "kms:DescribeKey", "kms:Encrypt", "kms:GenerateDataKey*", "kms:ReEncrypt*",
      "logs:CreateLogStream", "logs:PutLogEvents",
      "s3:GetBucketAcl", "s3:GetBucketLocation", "s3:GetObject", "s3:GetObjectVersion", "s3:ListBucket", "s3:PutObject",
    ])
    error_message = "The build may do more or less than its buildspec calls."
  }

  # The key of what they store, and no other.
  assert {
    condition = alltrue(flatten([for policy in [aws_iam_role_policy.pipeline, aws_iam_role_policy.build] : [
      for statement in jsondecode(policy.policy).Statement : statement.Resource == var.kms_key_arn if startswith(flatten([statement.Action])[0], "kms:")
    ]]))
    error_message = "Pipeline or build may use another key than the module's."
  }

  assert {
    condition     = !strcontains(aws_iam_role_policy.pipeline.policy, "\"*\"") && !strcontains(aws_iam_role_policy.build.policy, "\"*\"")
    error_message = "Pipeline or build may do something to everything."
  }

  assert {
    condition     = one([for statement in jsondecode(aws_iam_role_policy.pipeline.policy).Statement : statement.Resource if statement.Sid == "FollowTheRelease"]) == "arn:aws:states:us-east-1:111111111111:execution:unit-release:*"
    error_message = "The pipeline may follow other executions than the release's."
  }

  # No AWS document says whether CodePipeline sends a source, so what it sends must fit and sending nothing is no refusal.
  assert {
    condition = jsondecode(aws_iam_role.pipeline.assume_role_policy).Statement == [{
      Sid       = "TheServiceAssumes"
      Effect    = "Allow"
      Principal = { Service = "codepipeline.amazonaws.com" }
      Action    = "sts:AssumeRole"
      Condition = {
        ArnLikeIfExists      = { "aws:SourceArn" = ["arn:aws:codepipeline:us-east-1:111111111111:unit", "arn:aws:codepipeline:us-east-1:111111111111:unit/*"] }
        StringEqualsIfExists = { "aws:SourceAccount" = "111111111111" }
      }
    }]
    error_message = "CodePipeline can't assume its role when it sends no source, or can for another pipeline that it names."
  }

  # CodeBuild sends both, as AWS documents it.
  assert {
    condition = jsondecode(aws_iam_role.build.assume_role_policy).Statement == [{
      Sid       = "TheServiceAssumes"
      Effect    = "Allow"
      Principal = { Service = "codebuild.amazonaws.com" }
      Action    = "sts:AssumeRole"
      Condition = {
        ArnEquals    = { "aws:SourceArn" = "arn:aws:codebuild:us-east-1:111111111111:project/unit-build" }
        StringEquals = { "aws:SourceAccount" = "111111111111" }
      }
    }]
    error_message = "Another project could use the build's role."
  }
}

run "pipeline_role_with_a_connection" {
  command = plan

  module {
    source = "./modules/pipeline"
  }

  variables {
    origin = {
      provider           = "CodeStarSourceConnection"
      repository_name    = "octo/deployments"
      branch             = "main"
      file               = "deployment.yaml"
      trigger            = true
      configuration      = {}
      pipeline_actions   = ["codeconnections:UseConnection"]
      pipeline_resources = ["arn:aws:codeconnections:us-east-1:111111111111:connection/1"]
      build_actions      = []
      build_resources    = []
    }
    state_machine_arn = "arn:aws:states:us-east-1:111111111111:stateMachine:unit-release"
  }

  # The connection's source action uploads with an ACL.
  assert {
    condition = one([for statement in jsondecode(aws_iam_role_policy.pipeline.policy).Statement : statement if contains(statement.Action, "s3:PutObjectAcl")]) == {
      Sid      = "PassArtifactsOn"
      Effect   = "Allow"
      Action   = ["s3:GetObject", "s3:GetObjectVersion", "s3:PutObject", "s3:PutObjectAcl"]
      Resource = "${aws_s3_bucket.artifacts.arn}/unit/*"
    }
    error_message = "The source action of a connection can't upload what it fetched, or may do so elsewhere."
  }

  assert {
    condition     = !strcontains(aws_iam_role_policy.build.policy, "PutObjectAcl")
    error_message = "The build may set ACLs, and has no use for them."
  }
}
