output "state_machine_arn" {
  description = "ARN of the state machine."
  value       = aws_sfn_state_machine.this.arn
}

output "releases_table_name" {
  description = "Name of the releases table."
  value       = aws_dynamodb_table.releases.name
}
