# Pipeline artifacts, the package (package/<sha256>.zip), compiled manifests (manifests/<pipeline execution>/deployment.json), and with
# `approval` the plans (plans/<pipeline execution>/plan.json and plan.html).
resource "aws_s3_bucket" "artifacts" {
  #checkov:skip=CKV_AWS_18: Access logs need a second bucket that outlives this one; CloudTrail data events record access where it is asked for.
  #checkov:skip=CKV_AWS_144: Artifacts are made anew by any pipeline run, and no release reads one after it has started.
  #checkov:skip=CKV2_AWS_61: The lifecycle rules are below; they can be switched off with artifact_retention_days = null.
  #checkov:skip=CKV2_AWS_62: Nothing reacts to objects in this bucket; the pipeline itself says when something is new.
  bucket        = "${var.name}-artifacts-${var.aws.account_id}-${var.aws.region}"
  force_destroy = var.force_destroy
  tags          = var.tags
}

resource "aws_s3_bucket_ownership_controls" "artifacts" {
  bucket = aws_s3_bucket.artifacts.id

  rule {
    object_ownership = "BucketOwnerEnforced"
  }
}

resource "aws_s3_bucket_public_access_block" "artifacts" {
  bucket = aws_s3_bucket.artifacts.id

  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

resource "aws_s3_bucket_server_side_encryption_configuration" "artifacts" {
  bucket = aws_s3_bucket.artifacts.id

  rule {
    bucket_key_enabled = true

    apply_server_side_encryption_by_default {
      sse_algorithm     = "aws:kms"
      kms_master_key_id = var.kms_key_arn
    }
  }
}

# A manifest is named by its version, so what was validated is what is released.
#
# After the package: for up to 15 minutes after versioning was first switched on, S3 may answer 404 for objects that were put since, and the
# functions are made from the package in the same apply. https://docs.aws.amazon.com/AmazonS3/latest/userguide/manage-versioning-examples.html
resource "aws_s3_bucket_versioning" "artifacts" {
  bucket = aws_s3_bucket.artifacts.id

  versioning_configuration {
    status = "Enabled"
  }

  depends_on = [aws_s3_object.package]
}

resource "aws_s3_bucket_policy" "artifacts" {
  bucket = aws_s3_bucket.artifacts.id

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      # https://docs.aws.amazon.com/AmazonS3/latest/userguide/security-best-practices.html#transit
      Sid       = "NobodyWithoutTls"
      Effect    = "Deny"
      Principal = "*"
      Action    = "s3:*"
      Resource  = [aws_s3_bucket.artifacts.arn, "${aws_s3_bucket.artifacts.arn}/*"]
      Condition = { Bool = { "aws:SecureTransport" = "false" } }
    }]
  })

  # S3 refuses two changes of a bucket's access at the same moment.
  depends_on = [aws_s3_bucket_public_access_block.artifacts]
}

resource "aws_s3_bucket_lifecycle_configuration" "artifacts" {
  count = var.artifact_retention_days == null ? 0 : 1

  bucket = aws_s3_bucket.artifacts.id

  rule {
    id     = "abandoned-uploads"
    status = "Enabled"

    filter {}

    abort_incomplete_multipart_upload {
      days_after_initiation = 1
    }
  }

  dynamic "rule" {
    for_each = merge(
      { artifacts = local.artifact_prefix, manifests = local.manifest_prefix },
      var.approval == null ? {} : { plans = local.plan_prefix },
    )

    content {
      id     = rule.key
      status = "Enabled"

      filter {
        prefix = rule.value
      }

      expiration {
        days = var.artifact_retention_days
      }

      noncurrent_version_expiration {
        noncurrent_days = var.artifact_retention_days
      }
    }
  }

  depends_on = [aws_s3_bucket_versioning.artifacts]
}

# No tags: an object takes ten (https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-tagging.html), where other resources take fifty, so
# var.tags or the provider's default_tags could be too many.
resource "aws_s3_object" "package" {
  bucket             = aws_s3_bucket.artifacts.id
  key                = local.package_key
  source             = var.package_path
  source_hash        = local.package_sha256
  content_type       = "application/zip"
  kms_key_id         = var.kms_key_arn
  bucket_key_enabled = true

  override_provider {
    default_tags {
      tags = {}
    }
  }

  # A build that runs while the module is upgraded still finds its package until the new one is there.
  #
  # The path is where this checkout lies, which is another folder on another machine. Other contents have another key.
  lifecycle {
    create_before_destroy = true
    ignore_changes        = [source]
  }

  depends_on = [
    aws_s3_bucket_ownership_controls.artifacts,
    aws_s3_bucket_server_side_encryption_configuration.artifacts,
  ]
}
