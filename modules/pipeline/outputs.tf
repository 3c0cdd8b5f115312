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
    bucket        = aws_s3_object.package.bucket
    key           = aws_s3_object.package.key
    version_id    = aws_s3_object.package.version_id
    sha256_base64 = filebase64sha256(var.package_path)
  }
}
