output "ecs_release" {
  description = "All outputs of the module."
  value       = module.ecs_release
}
