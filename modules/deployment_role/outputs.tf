output "role_arn" {
  description = "ARN of the role that writes; `role_arn` of the target in the orchestrator's `targets`."
  value       = aws_iam_role.this["deployment"].arn
}

output "reader_role_arn" {
  description = "ARN of the role that reads; `reader_role_arn` of the target in the orchestrator's `targets`."
  value       = aws_iam_role.this["reader"].arn
}
