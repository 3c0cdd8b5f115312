output "pipeline_name" {
  description = "Name of the pipeline."
  value       = aws_codepipeline.this.name
}

output "pipeline_arn" {
  description = "ARN of the pipeline."
  value       = aws_codepipeline.this.arn
}

output "artifact_bucket_name" {
  description = "Name of the artifact bucket."
  value       = aws_s3_bucket.artifacts.bucket
}

output "artifact_bucket_arn" {
  description = "ARN of the artifact bucket."
  value       = aws_s3_bucket.artifacts.arn
}

output "package" {
  description = "The package as an object in the bucket, for the functions."
  value = {
    bucket = aws_s3_object.package.bucket
    key    = aws_s3_object.package.key
    # The first package was put before versioning was switched on: it has no version, and shows as "null" from then on.
    # https://docs.aws.amazon.com/AmazonS3/latest/userguide/versioning-workflows.html
    version_id    = contains(["", "null"], coalesce(aws_s3_object.package.version_id, "null")) ? null : aws_s3_object.package.version_id
    sha256_base64 = filebase64sha256(var.package_path)
  }
}
