output "pipeline_name" {
  description = "The pipeline that a push starts."
  value       = module.ecs_release.pipeline_name
}

output "connection_arn" {
  description = "The connection whose handshake somebody has to complete once."
  value       = module.ecs_release.connection_arn
}

output "connection_status" {
  description = "PENDING until then."
  value       = module.ecs_release.connection_status
}
