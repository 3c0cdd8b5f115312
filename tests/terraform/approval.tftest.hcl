# The one gate: what exists with `approval`, that none of it exists without, and that whoever makes the plan can't write.

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
  kms_key_arn         = "arn:aws:kms:us-east-1:111111111111:key/12345678-1234-1234-1234-123456789012"
  artifact_bucket_arn = "arn:aws:s3:::unit-artifacts"
  topic_arn           = "arn:aws:sns:us-east-1:111111111111:unit"
  state_machine_arn   = "arn:aws:states:us-east-1:111111111111:stateMachine:unit-release"
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
}

# --- on: the functions

run "functions_on" {
  command = plan

  module {
    source = "./modules/orchestrator"
  }

  variables {
    approval = true
    targets = {
      default = {
        account       = "111111111111"
        region        = "us-east-1"
        roleArn       = "arn:aws:iam::111111111111:role/unit-deployment"
        readerRoleArn = "arn:aws:iam::111111111111:role/unit-reader"
        externalId    = null
        base          = "live"
      }
    }
  }

  assert {
    condition     = aws_lambda_function.this["plan"].function_name == "unit-plan" && aws_lambda_function.this["plan"].handler == "ecs_release.steps.plan.handler" && aws_lambda_function.this["plan"].publish
    error_message = "The plan function has another name or handler, or is not published."
  }

  # Reading verbs only, except for its own log and trace, and the role that reads in the targets.
  assert {
    condition = alltrue([for action in flatten(jsondecode(aws_iam_role_policy.function["plan"].policy).Statement[*].Action) :
      can(regex("^[a-z0-9-]+:(Get|BatchGet|Query|Describe|List|Decrypt)", action)) || contains(["logs:CreateLogStream", "logs:PutLogEvents", "sts:AssumeRole", "xray:PutTelemetryRecords", "xray:PutTraceSegments"], action)
    ])
    error_message = "Whoever makes the plan may write."
  }

  assert {
    condition     = flatten([for statement in jsondecode(aws_iam_role_policy.function["plan"].policy).Statement : statement.Resource if statement.Action == ["sts:AssumeRole"]]) == ["arn:aws:iam::111111111111:role/unit-reader"]
    error_message = "Whoever makes the plan may assume another role than the readers'."
  }

  assert {
    condition     = one([for statement in jsondecode(aws_iam_role_policy.function["plan"].policy).Statement : statement.Resource if contains(statement.Action, "s3:GetObject")]) == ["arn:aws:s3:::unit-artifacts/manifests/*"]
    error_message = "Whoever makes the plan may read other objects than manifests."
  }

  assert {
    condition     = aws_lambda_function.this["parse"].environment[0].variables["ECS_RELEASE_APPROVAL_PIPELINE"] == "unit" && length([for step, function in aws_lambda_function.this : step if contains(keys(function.environment[0].variables), "ECS_RELEASE_APPROVAL_PIPELINE")]) == 1
    error_message = "Parse does not know which pipeline approves, or another function does."
  }

  assert {
    condition = one([for statement in jsondecode(aws_iam_role_policy.function["parse"].policy).Statement : statement if statement.Action == ["codepipeline:ListActionExecutions"]]).Resource == ["arn:aws:codepipeline:us-east-1:111111111111:unit"] && (
    one([for statement in jsondecode(aws_iam_role_policy.function["parse"].policy).Statement : statement if statement.Sid == "ReadThePlan"]).Resource == ["arn:aws:s3:::unit-artifacts/plans/*"])
    error_message = "Parse may not ask for the approval or read the plan, or may ask for more."
  }

  # The state machine has no business with the plan.
  assert {
    condition     = length(jsondecode(aws_iam_role_policy.state_machine.policy).Statement[0].Resource) == 7
    error_message = "The state machine may invoke the plan function."
  }
}

# --- on: the pipeline

run "pipeline_on" {
  command = plan

  module {
    source = "./modules/pipeline"
  }

  variables {
    approval = {
      topic_arn       = "arn:aws:sns:us-east-1:111111111111:approvers"
      timeout_minutes = 120
      plan_function = {
        arn           = "arn:aws:lambda:us-east-1:111111111111:function:unit-plan"
        qualified_arn = "arn:aws:lambda:us-east-1:111111111111:function:unit-plan:7"
        timeout       = 600
      }
    }
  }

  assert {
    condition     = join(" ", aws_codepipeline.this.stage[*].name) == "Source Build Approve Deploy"
    error_message = "The approval does not stand between Build and Deploy."
  }

  assert {
    condition = aws_codepipeline.this.stage[2].action[0].provider == "Manual" && aws_codepipeline.this.stage[2].action[0].timeout_in_minutes == 120 && tomap(aws_codepipeline.this.stage[2].action[0].configuration) == tomap({
      CustomData         = "#{BuildVariables.PLAN_SUMMARY}"
      ExternalEntityLink = "https://console.aws.amazon.com/s3/object/unit-artifacts-111111111111-us-east-1?region=us-east-1&prefix=plans/#{codepipeline.PipelineExecutionId}/plan.html"
      NotificationArn    = "arn:aws:sns:us-east-1:111111111111:approvers"
    })
    error_message = "The approval shows something else than summary and page, tells another topic, or waits for another time."
  }

  assert {
    condition     = one(aws_codepipeline.this.variable).name == "ALLOW_STALE_PLAN" && one(aws_codepipeline.this.variable).default_value == "no"
    error_message = "A stale plan is allowed by default, or can't be allowed."
  }

  assert {
    condition     = sort(yamldecode(one(aws_codebuild_project.this.source).buildspec).env["exported-variables"]) == tolist(["ALLOW_STALE_PLAN", "MANIFEST_SHA256", "PLAN_DIGEST", "PLAN_SUMMARY"])
    error_message = "The build does not export what the approval shows and Parse compares."
  }

  assert {
    condition = alltrue([for must in ["aws lambda invoke", "plan.html", "\"$PACKAGE\" show", "aws codepipeline get-pipeline-execution", "plans/$PIPELINE_EXECUTION_ID/plan.json", "\"$PACKAGE\" allow-stale", "\"$PACKAGE\" submit"] :
      strcontains(join("\n", yamldecode(one(aws_codebuild_project.this.source).buildspec).phases.build.commands), must)
    ])
    error_message = "The build leaves out a step: plan, its failure, page, upload, or override."
  }

  # A file json.py of the repository would otherwise forge plan and gate.
  assert {
    condition = length(regexall("\\bpython3? ", join("\n", yamldecode(one(aws_codebuild_project.this.source).buildspec).phases.build.commands))) == 9 && (
    length(regexall("\\bpython3 -I ", join("\n", yamldecode(one(aws_codebuild_project.this.source).buildspec).phases.build.commands))) == 9)
    error_message = "Python looks for modules in the repository that it builds, or where the environment says: a call lacks -I."
  }

  # Whatever somebody may write stays out of a text that CodePipeline fills in and then reads as JSON.
  assert {
    condition = alltrue([for reference in regexall("#{([^}]*)}", aws_codepipeline.this.stage[1].action[0].configuration.EnvironmentVariables) :
      contains(["SourceVariables.CommitId", "codepipeline.PipelineExecutionId"], reference[0])
    ])
    error_message = "A value that somebody may write is pasted into the JSON of the build's environment."
  }

  assert {
    condition     = [for statement in jsondecode(aws_iam_role_policy.build.policy).Statement : statement.Resource if contains(statement.Action, "codepipeline:GetPipelineExecution")] == ["arn:aws:codepipeline:us-east-1:111111111111:unit"]
    error_message = "The build may not ask what its pipeline was started with, or may ask another one."
  }

  assert {
    condition     = one([for variable in one(aws_codebuild_project.this.environment).environment_variable : variable.value if variable.name == "PLAN_FUNCTION"]) == "arn:aws:lambda:us-east-1:111111111111:function:unit-plan:7"
    error_message = "The build asks another version of the function than the one of its own package."
  }

  assert {
    condition     = [for statement in jsondecode(aws_iam_role_policy.build.policy).Statement : statement.Resource if contains(["AskForThePlan", "WriteThePlan"], statement.Sid)] == ["arn:aws:lambda:us-east-1:111111111111:function:unit-plan:*", "${aws_s3_bucket.artifacts.arn}/plans/*"]
    error_message = "The build may invoke another function, or write elsewhere."
  }

  assert {
    condition     = one([for statement in jsondecode(aws_iam_role_policy.pipeline.policy).Statement : statement.Resource if contains(statement.Action, "sns:Publish")]) == "arn:aws:sns:us-east-1:111111111111:approvers"
    error_message = "The pipeline may not tell the topic, or another one as well."
  }

  # The module's topic has the module's key.
  assert {
    condition = one([for statement in jsondecode(aws_iam_role_policy.pipeline.policy).Statement : statement if statement.Sid == "EncryptTheMessage"]) == {
      Sid       = "EncryptTheMessage"
      Effect    = "Allow"
      Action    = ["kms:Decrypt", "kms:GenerateDataKey"]
      Resource  = var.kms_key_arn
      Condition = { StringEquals = { "kms:ViaService" = ["sns.us-east-1.amazonaws.com"] } }
    }
    error_message = "The pipeline may use another key for the message than the module's."
  }

  assert {
    condition     = jsonencode({ for rule in aws_s3_bucket_lifecycle_configuration.artifacts[0].rule : rule.id => one(rule.filter).prefix if length(rule.expiration) > 0 }) == jsonencode({ artifacts = "unit/", manifests = "manifests/", plans = "plans/" })
    error_message = "Plans are kept longer than the manifests they belong to."
  }
}

# Its key is not the module's, and nothing tells which one it is.
run "topic_of_ones_own" {
  command = plan

  module {
    source = "./modules/pipeline"
  }

  variables {
    approval = {
      topic_arn     = "arn:aws:sns:us-east-1:222222222222:approvers"
      own_topic     = true
      plan_function = { arn = "arn:aws:lambda:us-east-1:111111111111:function:unit-plan", qualified_arn = "arn:aws:lambda:us-east-1:111111111111:function:unit-plan:7", timeout = 600 }
    }
  }

  assert {
    condition = one([for statement in jsondecode(aws_iam_role_policy.pipeline.policy).Statement : statement if statement.Sid == "EncryptTheMessage"]) == {
      Sid       = "EncryptTheMessage"
      Effect    = "Allow"
      Action    = ["kms:Decrypt", "kms:GenerateDataKey"]
      Resource  = "arn:aws:kms:us-east-1:*:key/*"
      Condition = { StringEquals = { "kms:ViaService" = ["sns.us-east-1.amazonaws.com"] } }
    }
    error_message = "The pipeline can't encrypt a message to a topic with another key, or may use keys otherwise than through SNS."
  }

  assert {
    condition     = [for statement in jsondecode(aws_iam_role_policy.pipeline.policy).Statement : statement.Resource if contains(statement.Action, "sns:Publish")] == ["arn:aws:sns:us-east-1:222222222222:approvers"]
    error_message = "The pipeline may publish to another topic, and with any key."
  }
}

run "topic_of_another_region" {
  command = plan

  module {
    source = "./modules/pipeline"
  }

  variables {
    approval = {
      topic_arn     = "arn:aws:sns:eu-west-1:111111111111:approvers"
      own_topic     = true
      plan_function = { arn = "arn:aws:lambda:us-east-1:111111111111:function:unit-plan", qualified_arn = "arn:aws:lambda:us-east-1:111111111111:function:unit-plan:7", timeout = 600 }
    }
  }

  expect_failures = [aws_codepipeline.this]
}

run "link_base_url" {
  command = plan

  module {
    source = "./modules/pipeline"
  }

  variables {
    approval = {
      topic_arn     = "arn:aws:sns:us-east-1:111111111111:approvers"
      link_base_url = "https://plans.example.com"
      plan_function = { arn = "arn:aws:lambda:us-east-1:111111111111:function:unit-plan", qualified_arn = "arn:aws:lambda:us-east-1:111111111111:function:unit-plan:7", timeout = 600 }
    }
  }

  assert {
    condition     = aws_codepipeline.this.stage[2].action[0].configuration["ExternalEntityLink"] == "https://plans.example.com/plans/#{codepipeline.PipelineExecutionId}/plan.html"
    error_message = "The link does not lead to the custom domain."
  }

  assert {
    condition     = aws_codepipeline.this.stage[2].action[0].timeout_in_minutes == null
    error_message = "Without timeout_minutes, CodePipeline's own default does not hold."
  }
}

run "link_in_another_partition" {
  command = plan

  module {
    source = "./modules/pipeline"
  }

  variables {
    aws = { account_id = "111111111111", dns_suffix = "amazonaws.com.cn", partition = "aws-cn", region = "cn-north-1" }
    approval = {
      topic_arn     = "arn:aws-cn:sns:cn-north-1:111111111111:approvers"
      plan_function = { arn = "arn:aws-cn:lambda:cn-north-1:111111111111:function:unit-plan", qualified_arn = "arn:aws-cn:lambda:cn-north-1:111111111111:function:unit-plan:7", timeout = 600 }
    }
  }

  assert {
    condition     = startswith(aws_codepipeline.this.stage[2].action[0].configuration["ExternalEntityLink"], "https://console.amazonaws.cn/s3/object/")
    error_message = "The link leads to the commercial partition's console."
  }
}

run "module_on" {
  command = plan

  variables {
    approval           = {}
    passable_role_arns = ["arn:aws:iam::111111111111:role/service-a-*"]
    targets = {
      eu = {
        role_arn           = "arn:aws:iam::222222222222:role/ecs-release-deployment"
        reader_role_arn    = "arn:aws:iam::222222222222:role/ecs-release-reader"
        region             = "eu-west-1"
        passable_role_arns = ["arn:aws:iam::222222222222:role/x"]
      }
    }
  }

  # `approval = {}` is enough: the topic is the module's own.
  assert {
    condition     = output.pipeline_name == "unit" && local.targets["default"].passableRoleArns == tolist(["arn:aws:iam::111111111111:role/service-a-*"]) && local.targets["eu"].passableRoleArns == tolist(["arn:aws:iam::222222222222:role/x"])
    error_message = "The roles that may be passed on do not reach Parse."
  }
}

# --- off

run "functions_off" {
  command = plan

  module {
    source = "./modules/orchestrator"
  }

  variables {
    targets = {}
  }

  assert {
    condition     = !contains(keys(aws_lambda_function.this), "plan") && !contains(keys(aws_iam_role.function), "plan") && !contains(keys(aws_cloudwatch_log_group.function), "plan")
    error_message = "Without approval there is a plan function, role or log group."
  }

  assert {
    condition     = !contains(keys(aws_lambda_function.this["parse"].environment[0].variables), "ECS_RELEASE_APPROVAL_PIPELINE") && !strcontains(aws_iam_role_policy.function["parse"].policy, "codepipeline") && !strcontains(aws_iam_role_policy.function["parse"].policy, "plans/")
    error_message = "Without approval Parse knows a pipeline, or may ask it."
  }
}

run "pipeline_off" {
  command = plan

  module {
    source = "./modules/pipeline"
  }

  assert {
    condition     = join(" ", aws_codepipeline.this.stage[*].name) == "Source Build Deploy" && length(aws_codepipeline.this.variable) == 0
    error_message = "Without approval there is a stage or a variable for it."
  }

  assert {
    condition = alltrue([for text in [one(aws_codebuild_project.this.source).buildspec, aws_iam_role_policy.build.policy, aws_iam_role_policy.pipeline.policy, jsonencode(one(aws_codebuild_project.this.environment).environment_variable)] :
      !anytrue([for word in ["PLAN", "plan", "lambda:", "sns:", "exported-variables"] : strcontains(text, word)])
    ])
    error_message = "Without approval the build plans, or build or pipeline may do something for it."
  }
}
