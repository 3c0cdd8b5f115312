locals {
  make_connection = !local.codecommit && var.repository.connection_provider != null
  connection_arn  = local.make_connection ? aws_codeconnections_connection.this[0].arn : var.repository.connection_arn

  provider_without_host = var.repository.connection_host_arn == null ? var.repository.connection_provider : null
}

# A new connection is PENDING until somebody completes the handshake in the console, so it is replaced only for another provider or host.
# https://docs.aws.amazon.com/dtconsole/latest/userguide/connections-update.html
resource "aws_codeconnections_connection" "this" {
  count = local.make_connection ? 1 : 0

  name = var.name
  # AWS takes either the provider or the host, which knows its provider.
  provider_type = local.provider_without_host
  host_arn      = var.repository.connection_host_arn
  tags          = var.tags

  lifecycle {
    # With a host this is computed, a change of the tags makes it unknown, and that would replace the connection:
    # https://github.com/hashicorp/terraform-provider-aws/blob/v5.100.0/internal/service/codeconnections/connection.go
    ignore_changes       = [provider_type]
    replace_triggered_by = [terraform_data.provider]
  }
}

# Where it changes, it replaces the connection; where it is new, after an upgrade, it does not.
# https://developer.hashicorp.com/terraform/language/meta-arguments/lifecycle#replace_triggered_by
resource "terraform_data" "provider" {
  count = local.make_connection ? 1 : 0

  input = local.provider_without_host
}
