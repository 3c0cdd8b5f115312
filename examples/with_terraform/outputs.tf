output "state_machine_arn" {
  description = "The state machine that releases; ECS_RELEASE_STATE_MACHINE_ARN for the command."
  value       = module.ecs_release.state_machine_arn
}

output "manifest" {
  description = "A manifest of everything here, with the image that runs first; put the one to release in its place."
  value = yamlencode({
    services = [{
      service     = "api"
      clusterName = aws_ecs_cluster.this.name
      serviceName = aws_ecs_service.api.name
      image       = var.first_image
    }]
    tasks = [
      { service = "nightly", cwRuleName = aws_cloudwatch_event_rule.nightly.name, image = var.first_image },
      { service = "hourly", scheduleName = aws_scheduler_schedule.hourly.name, image = var.first_image },
    ]
  })
}
