locals {
  make_connection = !local.codecommit && var.repository.connection_provider != null
  connection_arn  = local.make_connection ? aws_codeconnections_connection.this[0].arn : var.repository.connection_arn
}

# A new connection is PENDING until somebody completes the handshake in the console.
# https://docs.aws.amazon.com/dtconsole/latest/userguide/connections-update.html
resource "aws_codeconnections_connection" "this" {
  count = local.make_connection ? 1 : 0

  name = var.name
  # AWS takes either the provider or the host, which knows its provider.
  provider_type = var.repository.connection_host_arn == null ? var.repository.connection_provider : null
  host_arn      = var.repository.connection_host_arn
  tags          = var.tags
}
