output "pipeline_name" {
  description = "Name of the pipeline that a push starts."
  value       = module.ecs_release.pipeline_name
}

output "repository_name" {
  description = "Name of the CodeCommit repository, or owner and repository behind the connection."
  value       = module.ecs_release.repository_name
}

output "repository_clone_url_http" {
  description = "URL to clone the CodeCommit repository from; null behind a connection."
  value       = module.ecs_release.repository_clone_url_http
}

output "connection_arn" {
  description = "The connection in use; null with CodeCommit."
  value       = module.ecs_release.connection_arn
}

output "connection_status" {
  description = "PENDING until somebody completes the handshake in the console, then AVAILABLE; null unless the module made the connection."
  value       = module.ecs_release.connection_status
}

output "state_machine_arn" {
  description = "The state machine that releases. The command ecs-release takes it as --state-machine-arn or ECS_RELEASE_STATE_MACHINE_ARN."
  value       = module.ecs_release.state_machine_arn
}

output "releases_table_name" {
  description = "Table of the releases' records."
  value       = module.ecs_release.releases_table_name
}

output "notification_topic_arn" {
  description = "Topic that hears of each release's end."
  value       = module.ecs_release.notification_topic_arn
}

output "deployment_role_arn" {
  description = "Role in this account that writes to ECS, EventBridge and Scheduler."
  value       = module.ecs_release.deployment_role_arn
}

output "reader_role_arn" {
  description = "Role in this account that reads ECS, EventBridge, Scheduler and ECR."
  value       = module.ecs_release.reader_role_arn
}

output "artifact_bucket_name" {
  description = "Bucket of pipeline artifacts, compiled manifests and the package."
  value       = module.ecs_release.artifact_bucket_name
}
