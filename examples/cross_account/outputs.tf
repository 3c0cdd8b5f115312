output "repository_clone_url_http" {
  description = "Clone this and push deployment.yaml to it."
  value       = module.ecs_release.repository_clone_url_http
}

output "target_roles" {
  description = "The role that writes, by target."
  value = {
    staging    = module.staging.role_arn
    production = module.production.role_arn
  }
}
