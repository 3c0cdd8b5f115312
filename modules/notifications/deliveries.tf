locals {
  # By the metric's name in the expression.
  failed_deliveries = merge(
    {
      for rule in concat(var.deliveries.rules, [aws_cloudwatch_event_rule.not_released.name]) : "rule_${replace(rule, "-", "_")}" => {
        namespace = "AWS/Events"
        name      = "FailedInvocations"
        dimension = { RuleName = rule }
      }
    },
    {
      for function in var.deliveries.functions : "function_${replace(function, "-", "_")}" => {
        namespace = "AWS/Lambda"
        name      = "AsyncEventsDropped"
        dimension = { FunctionName = function }
      }
    },
  )
}

# EventBridge gives up on an event after its retries and says so nowhere else than in this metric: a push that starts nothing, a release whose end
# nobody hears of. Lambda takes an event from EventBridge before it runs, and drops it after three attempts that failed.
# An alarm and no dead-letter queue: docs/adr/0011-failed-deliveries-ring-an-alarm.md.
# https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-monitoring.html#eb-metrics
# https://docs.aws.amazon.com/lambda/latest/dg/monitoring-metrics-types.html#invocation-metrics-async
resource "aws_cloudwatch_metric_alarm" "deliveries_failed" {
  alarm_name          = "${var.name}-deliveries-failed"
  alarm_description   = "An event of ${var.name} reached nobody. Which one: the metrics of this alarm, one for each EventBridge rule. What then stays undone, and what to do: docs/errors.md, \"An event that reached nobody\"."
  comparison_operator = "GreaterThanThreshold"
  threshold           = 0
  evaluation_periods  = 1
  treat_missing_data  = "notBreaching"
  alarm_actions       = [aws_sns_topic.this.arn]
  tags                = var.tags

  metric_query {
    id          = "failed"
    label       = "Failed deliveries"
    expression  = "SUM(FILL(METRICS(), 0))"
    return_data = true
  }

  dynamic "metric_query" {
    for_each = local.failed_deliveries

    content {
      id = metric_query.key

      metric {
        namespace   = metric_query.value.namespace
        metric_name = metric_query.value.name
        dimensions  = metric_query.value.dimension
        period      = 300
        stat        = "Sum"
      }
    }
  }

  depends_on = [aws_sns_topic_policy.this]
}
