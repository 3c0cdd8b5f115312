output "pipeline_name" {
  description = "Name of the pipeline that a push starts."
  value       = module.ecs_release.pipeline_name
}

output "repository_name" {
  description = "Name of the CodeCommit repository; without CodeCommit one that does not exist."
  value       = module.ecs_release.repository_name
}

output "repository_clone_url_http" {
  description = "URL to clone the CodeCommit repository from; null without CodeCommit."
  value       = module.ecs_release.repository_clone_url_http
}

output "state_machine_arn" {
  description = "The state machine that releases; ECS_RELEASE_STATE_MACHINE_ARN for the command."
  value       = module.ecs_release.state_machine_arn
}

output "releases_table_name" {
  description = "Table of the releases' records."
  value       = module.ecs_release.releases_table_name
}

output "images" {
  description = "The input of the same name."
  value       = var.images
}

output "families" {
  description = "Name of a service or scheduled task -> its task definition family."
  value       = local.families
}

output "manifests" {
  description = "next releases the image `next` to everything here; broken goes back to `first`, but for one service, which gets the image `broken`."
  value = {
    for label, image_of in local.image_of : label => yamlencode({
      release = label
      services = [for name in sort(tolist(local.services)) : {
        service     = name
        clusterName = aws_ecs_cluster.this.name
        serviceName = aws_ecs_service.this[name].name
        image       = image_of[name]
      }]
      tasks = [
        {
          service    = "nightly"
          cwRuleName = aws_cloudwatch_event_rule.nightly.name
          image      = image_of["nightly"]
        },
        {
          service      = "hourly"
          scheduleName = aws_scheduler_schedule.hourly.name
          image        = image_of["hourly"]
        },
      ]
    })
  }
}
