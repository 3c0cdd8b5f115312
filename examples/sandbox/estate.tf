# What is released to: two services, an EventBridge rule and an EventBridge Scheduler schedule, in the default VPC.
#
# A public image needs neither an execution role nor an ECR repository; without a NAT gateway a task needs a public address to pull it.
# https://docs.aws.amazon.com/AmazonECS/latest/developerguide/fargate-pull-behavior.html
# https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task_execution_IAM_role.html

data "aws_caller_identity" "current" {}

data "aws_partition" "current" {}

data "aws_region" "current" {}

data "aws_vpc" "default" {
  count   = var.subnet_ids == null ? 1 : 0
  default = true
}

data "aws_subnets" "default" {
  count = var.subnet_ids == null ? 1 : 0

  filter {
    name   = "vpc-id"
    values = [data.aws_vpc.default[0].id]
  }

  filter {
    name   = "default-for-az"
    values = ["true"]
  }
}

locals {
  services = toset(["web", "worker"])
  tasks    = toset(["nightly", "hourly"])
  families = { for name in setunion(local.services, local.tasks) : name => "${var.name}-${name}" }
  subnets  = var.subnet_ids == null ? data.aws_subnets.default[0].ids : var.subnet_ids

  # Label of a release -> name of a service or scheduled task -> image.
  image_of = {
    next   = { for name in keys(local.families) : name => var.images.next }
    broken = { for name in keys(local.families) : name => name == "web" ? var.images.broken : var.images.first }
  }

  # "name" in version 5 of the provider, "region" in version 6; see main.tf of the module.
  provider_region = data.aws_region.current
  region          = try(local.provider_region.region, local.provider_region.id)
  arn_end         = "${local.region}:${data.aws_caller_identity.current.account_id}"
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

  # Each image that has a shell's "sleep" runs for an hour and can tell that it is well. One that has none never starts, which ECS's circuit breaker counts:
  # https://docs.aws.amazon.com/AmazonECS/latest/developerguide/deployment-circuit-breaker.html
  container_definitions = jsonencode([
    {
      name        = each.key
      image       = var.images.first
      essential   = true
      command     = ["sleep", "3600"]
      environment = [{ name = "PLACE", value = "sandbox" }]
      # Without it, "sleep" as the first process would be stopped by SIGKILL, after half a minute.
      linuxParameters = { initProcessEnabled = true }
      # ECS adds defaults to what is left out, but no startPeriod, and may not give a zero back; each plan would then replace the task definition.
      # https://github.com/terraform-aws-modules/terraform-aws-ecs/issues/148
      healthCheck = {
        command  = ["CMD", "true"]
        interval = 5
        retries  = 3
        timeout  = 5
      }
    }
  ])
}

resource "aws_ecs_service" "this" {
  #checkov:skip=CKV_AWS_333: a public subnet is all that a trial needs; without a public address its tasks could not pull their image
  for_each = local.services

  name            = each.key
  cluster         = aws_ecs_cluster.this.id
  task_definition = aws_ecs_task_definition.this[each.key].arn
  desired_count   = 1
  launch_type     = "FARGATE"
  force_delete    = true

  network_configuration {
    subnets          = local.subnets
    assign_public_ip = true
  }

  deployment_circuit_breaker {
    enable   = true
    rollback = true
  }

  # What runs is the release's business from here on.
  lifecycle {
    ignore_changes = [task_definition]
  }
}

# --- scheduled tasks: once a year, so that nothing runs by itself -------------------------------------------------------------------

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
      subnets          = local.subnets
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
        subnets          = local.subnets
        assign_public_ip = true
      }
    }
  }

  lifecycle {
    ignore_changes = [target[0].ecs_parameters[0].task_definition_arn]
  }
}

# https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-use-identity-based.html#eb-target-permissions
# https://docs.aws.amazon.com/scheduler/latest/UserGuide/cross-service-confused-deputy-prevention.html
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

# Every revision of the two families: a role that may run one revision only would keep the next one from ever running.
resource "aws_iam_role_policy" "starts_tasks" {
  name = "run-task"
  role = aws_iam_role.starts_tasks.id

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Action    = "ecs:RunTask"
      Resource  = [for name in local.tasks : "arn:${data.aws_partition.current.partition}:ecs:${local.arn_end}:task-definition/${local.families[name]}:*"]
      Condition = { ArnEquals = { "ecs:cluster" = aws_ecs_cluster.this.arn } }
    }]
  })
}
