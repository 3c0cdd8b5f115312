locals {
  bucket_arn = aws_s3_bucket.artifacts.arn

  # What AWS documents for a service that has the key of its artifacts, and CDK grants for both. Not through S3 alone: the document gives
  # CodeBuild's role the key itself, and nothing says which of these calls S3 makes for it. It opens nothing more: what the key encrypts lies
  # in S3, DynamoDB and Lambda, which ask for their own permissions.
  # https://docs.aws.amazon.com/codebuild/latest/userguide/setting-up.html#setting-up-kms
  # https://github.com/aws/aws-cdk/blob/main/packages/aws-cdk-lib/aws-kms/lib/key.ts (grantEncryptDecrypt)
  key_of_artifacts = {
    Sid      = "EncryptArtifacts"
    Effect   = "Allow"
    Action   = ["kms:Decrypt", "kms:DescribeKey", "kms:Encrypt", "kms:GenerateDataKey*", "kms:ReEncrypt*"]
    Resource = var.kms_key_arn
  }

  # https://docs.aws.amazon.com/codepipeline/latest/userguide/how-to-custom-role.html#how-to-custom-role-policy
  pipeline_statements = [
    {
      # With ACLs, as the document says: a connection's source action uploads with one, and without s3:PutObjectAcl it fails with "Access
      # Denied" (https://github.com/aws/aws-cdk/issues/13557). The bucket takes no ACL but its owner's full control.
      Sid      = "PassArtifactsOn"
      Effect   = "Allow"
      Action   = ["s3:GetObject", "s3:GetObjectVersion", "s3:PutObject", "s3:PutObjectAcl"]
      Resource = "${local.bucket_arn}/${local.artifact_prefix}*"
    },
    {
      Sid      = "LookAtTheBucket"
      Effect   = "Allow"
      Action   = ["s3:GetBucketAcl", "s3:GetBucketLocation", "s3:GetBucketVersioning"]
      Resource = local.bucket_arn
    },
    local.key_of_artifacts,
    {
      Sid      = "ReadTheSource"
      Effect   = "Allow"
      Action   = var.origin.pipeline_actions
      Resource = var.origin.pipeline_resources
    },
    {
      # https://docs.aws.amazon.com/codepipeline/latest/userguide/action-reference-CodeBuild.html
      Sid      = "RunTheBuild"
      Effect   = "Allow"
      Action   = ["codebuild:BatchGetBuilds", "codebuild:StartBuild"]
      Resource = aws_codebuild_project.this.arn
    },
    {
      # https://docs.aws.amazon.com/codepipeline/latest/userguide/action-reference-StepFunctions.html
      Sid      = "StartTheRelease"
      Effect   = "Allow"
      Action   = ["states:DescribeStateMachine", "states:StartExecution"]
      Resource = var.state_machine_arn
    },
    {
      Sid      = "FollowTheRelease"
      Effect   = "Allow"
      Action   = ["states:DescribeExecution"]
      Resource = "${replace(var.state_machine_arn, ":stateMachine:", ":execution:")}:*"
    },
  ]

  # The gate's part; without an approval nobody holds it.
  # https://docs.aws.amazon.com/codepipeline/latest/userguide/approvals-iam-permissions.html
  approval_statements = [for statement in [
    {
      Sid      = "TellThatAnApprovalWaits"
      Effect   = "Allow"
      Action   = ["sns:Publish"]
      Resource = one(var.approval[*].topic_arn)
    },
    {
      # Whoever publishes to an encrypted topic uses its key, and a topic of one's own has another key than the module's, perhaps of another
      # account. Which one, nothing tells here; it is used for this topic alone, because sns:Publish is granted on no other, and the key's own
      # policy has the last word.
      # https://docs.aws.amazon.com/sns/latest/dg/sns-key-management.html
      Sid      = "EncryptTheMessage"
      Effect   = "Allow"
      Action   = ["kms:Decrypt", "kms:GenerateDataKey"]
      Resource = try(var.approval.own_topic, false) ? "arn:${var.aws.partition}:kms:${var.aws.region}:*:key/*" : var.kms_key_arn
      # Either suffix in China, as in modules/orchestrator/iam.tf.
      Condition = { StringEquals = { "kms:ViaService" = [for suffix in distinct(["amazonaws.com", var.aws.dns_suffix]) : "sns.${var.aws.region}.${suffix}"] } }
    },
  ] : statement if var.approval != null]
  plan_statements = [for statement in [
    {
      # https://docs.aws.amazon.com/lambda/latest/api/API_Invoke.html
      Sid      = "AskForThePlan"
      Effect   = "Allow"
      Action   = ["lambda:InvokeFunction"]
      Resource = "${try(var.approval.plan_function.arn, "")}:*"
    },
    {
      # https://docs.aws.amazon.com/service-authorization/latest/reference/list_awscodepipeline.html
      Sid      = "AskWhatThePipelineWasStartedWith"
      Effect   = "Allow"
      Action   = ["codepipeline:GetPipelineExecution"]
      Resource = "arn:${var.aws.partition}:codepipeline:${var.aws.region}:${var.aws.account_id}:${var.name}"
    },
    {
      Sid      = "WriteThePlan"
      Effect   = "Allow"
      Action   = ["s3:PutObject"]
      Resource = "${local.bucket_arn}/${local.plan_prefix}*"
    },
  ] : statement if var.approval != null]

  # https://docs.aws.amazon.com/codebuild/latest/userguide/setting-up-service-role.html
  build_statements = concat(
    local.plan_statements,
    [
      {
        Sid      = "WriteItsLog"
        Effect   = "Allow"
        Action   = ["logs:CreateLogStream", "logs:PutLogEvents"]
        Resource = "${aws_cloudwatch_log_group.build.arn}:*"
      },
      {
        Sid      = "ReadThePackage"
        Effect   = "Allow"
        Action   = ["s3:GetObject"]
        Resource = "${local.bucket_arn}/package/*"
      },
      {
        Sid      = "ReadTheSourceAndHandOnTheResult"
        Effect   = "Allow"
        Action   = ["s3:GetObject", "s3:GetObjectVersion", "s3:PutObject"]
        Resource = "${local.bucket_arn}/${local.artifact_prefix}*"
      },
      {
        Sid      = "WriteTheManifest"
        Effect   = "Allow"
        Action   = ["s3:PutObject"]
        Resource = "${local.bucket_arn}/${local.manifest_prefix}*"
      },
      {
        Sid    = "LookAtTheBucket"
        Effect = "Allow"
        # With s3:ListBucket a missing object is a 404 and not a 403, so that it can be told from a refusal.
        # https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html
        Action   = ["s3:GetBucketAcl", "s3:GetBucketLocation", "s3:ListBucket"]
        Resource = local.bucket_arn
      },
      local.key_of_artifacts,
    ],
    [for actions in [var.origin.build_actions] : {
      Sid      = "NameTheAuthor"
      Effect   = "Allow"
      Action   = actions
      Resource = var.origin.build_resources
    } if length(actions) > 0],
  )

  # Each service may assume its role for this account's one resource only.
  trusts = {
    # AWS documents nowhere whether CodePipeline says for which pipeline it assumes a role, and its own example has no condition. So what it says
    # must fit, and saying nothing is no refusal. The ARNs of stages and actions are the pipeline's with more behind a slash.
    # https://docs.aws.amazon.com/codepipeline/latest/userguide/pipelines-create-service-role-cli.html
    # https://docs.aws.amazon.com/service-authorization/latest/reference/list_awscodepipeline.html#awscodepipeline-resources-for-iam-policies
    # https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_condition_operators.html#Conditions_IfExists
    pipeline = {
      service = "codepipeline.amazonaws.com"
      condition = {
        ArnLikeIfExists      = { "aws:SourceArn" = [local.pipeline_arn, "${local.pipeline_arn}/*"] }
        StringEqualsIfExists = { "aws:SourceAccount" = var.aws.account_id }
      }
    }
    # CodeBuild sends both, and CloudTrail has shown it: https://github.com/awslabs/aws-deployment-framework/pull/247
    # https://docs.aws.amazon.com/codebuild/latest/userguide/cross-service-confused-deputy-prevention.html
    build = {
      service = "codebuild.amazonaws.com"
      condition = {
        ArnEquals    = { "aws:SourceArn" = local.project_arn }
        StringEquals = { "aws:SourceAccount" = var.aws.account_id }
      }
    }
  }
  project_arn  = "arn:${var.aws.partition}:codebuild:${var.aws.region}:${var.aws.account_id}:project/${local.project_name}"
  pipeline_arn = "arn:${var.aws.partition}:codepipeline:${var.aws.region}:${var.aws.account_id}:${var.name}"
  trust_policies = {
    for name, trust in local.trusts : name => jsonencode({
      Version = "2012-10-17"
      Statement = [{
        Sid       = "TheServiceAssumes"
        Effect    = "Allow"
        Principal = { Service = trust.service }
        Action    = "sts:AssumeRole"
        Condition = trust.condition
      }]
    })
  }
}

resource "aws_iam_role" "pipeline" {
  name                 = "${var.name}-pipeline"
  description          = "The pipeline ${var.name}"
  assume_role_policy   = local.trust_policies["pipeline"]
  permissions_boundary = var.permissions_boundary_arn
  tags                 = var.tags
}

resource "aws_iam_role_policy" "pipeline" {
  name   = "pipeline"
  role   = aws_iam_role.pipeline.id
  policy = jsonencode({ Version = "2012-10-17", Statement = concat(local.pipeline_statements, local.approval_statements) })
}

resource "aws_iam_role" "build" {
  name                 = "${var.name}-build"
  description          = "The build project ${local.project_name}"
  assume_role_policy   = local.trust_policies["build"]
  permissions_boundary = var.permissions_boundary_arn
  tags                 = var.tags
}

resource "aws_iam_role_policy" "build" {
  name   = "build"
  role   = aws_iam_role.build.id
  policy = jsonencode({ Version = "2012-10-17", Statement = local.build_statements })
}
