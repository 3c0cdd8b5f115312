# Terraform owns what a task is; a release owns which revision runs. Each place that names a revision is ignored from the first apply on.

data "aws_caller_identity" "current" {}

data "aws_partition" "current" {}

data "aws_region" "current" {}

locals {
  families = { for name in ["api", "nightly", "hourly"] : name => "${var.name}-${name}" }

  # "name" in version 5 of the provider, "region" in version 6; see main.tf of the module.
  provider_region = data.aws_region.current
  region          = try(local.provider_region.region, local.provider_region.id)
}

resource "aws_ecs_cluster" "this" {
  #checkov:skip=CKV_AWS_65: a trial that costs little; releases need no container insights
  name = var.name
}

resource "aws_ecs_task_definition" "this" {
  #checkov:skip=CKV_AWS_336: a trial: the containers sleep, and nothing of value is in their file systems
  for_each = local.families

  family                   = each.value
  network_mode             = "awsvpc"
  requires_compatibilities = ["FARGATE"]
  cpu                      = "256"
  memory                   = "512"

  # Terraform replaces a task definition by registering the next revision and deregistering the last one, which may be what runs, what a schedule
  # is to start, or what "back" means. https://github.com/hashicorp/terraform-provider-aws/pull/22269
  skip_destroy = true

  container_definitions = jsonencode([
    {
      name            = each.key
      image           = var.first_image # of the very first revision alone; afterwards the manifest says
      essential       = true
      command         = ["sleep", "3600"]
      environment     = [{ name = "LOG_LEVEL", value = var.log_level }]
      linuxParameters = { initProcessEnabled = true }
      healthCheck     = { command = ["CMD", "true"], interval = 5, retries = 3, timeout = 5 }
    }
  ])
}

resource "aws_ecs_service" "api" {
  #checkov:skip=CKV_AWS_333: a public subnet is all that a trial needs; without a public address its tasks could not pull their image
  name            = "api"
  cluster         = aws_ecs_cluster.this.id
  task_definition = aws_ecs_task_definition.this["api"].arn
  desired_count   = 1
  launch_type     = "FARGATE"

  network_configuration {
    subnets          = var.subnet_ids
    assign_public_ip = true
  }

  deployment_circuit_breaker {
    enable   = true
    rollback = true
  }

  lifecycle {
    ignore_changes = [task_definition]
  }
}

resource "aws_cloudwatch_event_rule" "nightly" {
  name                = "${var.name}-nightly"
  schedule_expression = "cron(0 3 1 1 ? *)"
}

resource "aws_cloudwatch_event_target" "nightly" {
  rule     = aws_cloudwatch_event_rule.nightly.name
  arn      = aws_ecs_cluster.this.arn
  role_arn = aws_iam_role.starts_tasks.arn

  ecs_target {
    task_definition_arn = aws_ecs_task_definition.this["nightly"].arn
    launch_type         = "FARGATE"

    network_configuration {
      subnets          = var.subnet_ids
      assign_public_ip = true
    }
  }

  lifecycle {
    ignore_changes = [ecs_target[0].task_definition_arn]
  }
}

resource "aws_scheduler_schedule" "hourly" {
  #checkov:skip=CKV_AWS_297: the schedule holds no secret, and a key would have to be paid for
  name                = "${var.name}-hourly"
  schedule_expression = "cron(0 4 1 1 ? *)"

  flexible_time_window {
    mode = "OFF"
  }

  target {
    arn      = aws_ecs_cluster.this.arn
    role_arn = aws_iam_role.starts_tasks.arn

    ecs_parameters {
      task_definition_arn = aws_ecs_task_definition.this["hourly"].arn
      launch_type         = "FARGATE"

      network_configuration {
        subnets          = var.subnet_ids
        assign_public_ip = true
      }
    }
  }

  lifecycle {
    ignore_changes = [target[0].ecs_parameters[0].task_definition_arn]
  }
}

resource "aws_iam_role" "starts_tasks" {
  name = "${var.name}-starts-tasks"

  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Principal = { Service = ["events.amazonaws.com", "scheduler.amazonaws.com"] }
      Action    = "sts:AssumeRole"
      Condition = { StringEquals = { "aws:SourceAccount" = data.aws_caller_identity.current.account_id } }
    }]
  })
}

# Every revision of the families: a role that may run the one revision that Terraform knows would keep the next one from ever running.
# https://github.com/aws/aws-cdk/issues/22673
resource "aws_iam_role_policy" "starts_tasks" {
  name = "run-task"
  role = aws_iam_role.starts_tasks.id

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect   = "Allow"
      Action   = "ecs:RunTask"
      Resource = [for name in ["nightly", "hourly"] : "arn:${data.aws_partition.current.partition}:ecs:${local.region}:${data.aws_caller_identity.current.account_id}:task-definition/${local.families[name]}:*"]
    }]
  })
}
