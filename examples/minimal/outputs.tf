output "pipeline_name" {
  description = "The pipeline that a push starts."
  value       = module.ecs_release.pipeline_name
}

output "repository_clone_url_http" {
  description = "Clone this and push deployment.yaml to it."
  value       = module.ecs_release.repository_clone_url_http
}

output "state_machine_arn" {
  description = "For the command ecs-release."
  value       = module.ecs_release.state_machine_arn
}
