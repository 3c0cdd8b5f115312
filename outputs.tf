output "pipeline_name" {
  description = "Name of the pipeline that a push starts."
  value       = module.pipeline.pipeline_name
}

output "repository_name" {
  description = "Name of the CodeCommit repository, or owner and repository behind the connection."
  value       = module.source.repository_name
}

output "repository_clone_url_http" {
  description = "URL to clone the CodeCommit repository from; null behind a connection."
  value       = module.source.clone_url_http
}

output "connection_arn" {
  description = "The connection in use; null with CodeCommit."
  value       = module.source.connection_arn
}

output "connection_status" {
  description = "PENDING until somebody completes the handshake in the console, then AVAILABLE; null unless the module made the connection."
  value       = module.source.connection_status
}

output "state_machine_arn" {
  description = "The state machine that releases. The command ecs-release takes it as --state-machine-arn or ECS_RELEASE_STATE_MACHINE_ARN."
  value       = module.orchestrator.state_machine_arn
}

output "releases_table_name" {
  description = "Table of the releases' records."
  value       = module.orchestrator.releases_table_name
}

output "notification_topic_arn" {
  description = "Topic that hears of each release's end."
  value       = module.notifications.topic_arn
}

output "deployment_role_arn" {
  description = "Role in this account that writes to ECS, EventBridge and Scheduler."
  value       = module.deployment_role.role_arn
}

output "reader_role_arn" {
  description = "Role in this account that reads ECS, EventBridge, Scheduler and ECR."
  value       = module.deployment_role.reader_role_arn
}

output "artifact_bucket_name" {
  description = "Bucket of pipeline artifacts, compiled manifests and the package."
  value       = module.pipeline.artifact_bucket_name
}
