locals {
  # How a release can end (Report adds it as a dimension), and no status where a release was closed after its execution had ended.
  # tests/unit/test_terraform_alarm.py holds this to what the functions emit.
  statuses = ["ABORTED", "FAILED", "NO_CHANGE", "REJECTED", "ROLLBACK_INCOMPLETE", "ROLLED_BACK", "SUCCEEDED"]
  # By the metric's name in the expression, which has to be another one than the expression's own.
  # https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_MetricDataQuery.html
  failed_notifications = merge(
    { status_none = { service = var.name } },
    { for status in local.statuses : "status_${lower(status)}" => { service = var.name, Status = status } },
  )
}

# A release's result stands although nobody could be told of it. The alarm has no action, because the topic is what failed: it shows in the
# console, and whoever wants to be called points an action of their own at it.
# An alarm takes one metric or an expression over at most ten, not a search.
# https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/Create-alarm-on-metric-math-expression.html
resource "aws_cloudwatch_metric_alarm" "notifications_failed" {
  alarm_name          = "${var.name}-notifications-failed"
  alarm_description   = "A release of ${var.name} ended, and the topic ${aws_sns_topic.this.name} could not be told. Its record holds the result: ecs-release status. The log of ${var.name}-report says why."
  comparison_operator = "GreaterThanThreshold"
  threshold           = 0
  evaluation_periods  = 1
  treat_missing_data  = "notBreaching"
  tags                = var.tags

  metric_query {
    id          = "failed"
    label       = "NotificationsFailed"
    expression  = "SUM(FILL(METRICS(), 0))"
    return_data = true
  }

  dynamic "metric_query" {
    for_each = local.failed_notifications

    content {
      id = metric_query.key

      metric {
        namespace   = "EcsRelease"
        metric_name = "NotificationsFailed"
        dimensions  = metric_query.value
        period      = 300
        stat        = "Sum"
      }
    }
  }
}
