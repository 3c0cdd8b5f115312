output "origin" {
  description = "What the pipeline needs: source provider and its configuration, repository, branch, file, whether the pipeline has a trigger of its own, and the permissions of pipeline and build."
  value       = local.origin
}

output "rules" {
  description = "The name of the EventBridge rule that starts the pipeline at a push; none behind a connection."
  value       = aws_cloudwatch_event_rule.push[*].name
}

output "repository_name" {
  description = "Name of the CodeCommit repository, or owner and repository behind the connection."
  value       = local.origin.repository_name
}

output "clone_url_http" {
  description = "URL to clone the CodeCommit repository from; null behind a connection."
  value       = one(aws_codecommit_repository.this[*].clone_url_http)
}

output "connection_arn" {
  description = "The connection in use; null with CodeCommit."
  value       = local.codecommit ? null : local.connection_arn
}

output "connection_status" {
  description = "PENDING or AVAILABLE; null unless this module made the connection."
  value       = one(aws_codeconnections_connection.this[*].connection_status)
}
