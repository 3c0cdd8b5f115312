output "state_machine_arn" {
  description = "ARN of the state machine."
  value       = aws_sfn_state_machine.this.arn
}

output "releases_table_name" {
  description = "Name of the releases table."
  value       = aws_dynamodb_table.releases.name
}

output "definition" {
  description = "The rendered definition of the state machine."
  value       = aws_sfn_state_machine.this.definition
}

output "rules" {
  description = "The names of the EventBridge rules that call functions."
  value = [
    aws_cloudwatch_event_rule.clean_up.name,
    aws_cloudwatch_event_rule.deploy_failed.name,
    aws_cloudwatch_event_rule.ended.name,
  ]
}

output "functions_of_rules" {
  description = "The names of the functions that those rules call."
  value       = [for step in ["clean-up", "report"] : aws_lambda_function.this[step].function_name]
}

output "functions" {
  description = "The functions by step: name, ARN, published version's ARN, time-out in seconds."
  value = {
    for step, function in aws_lambda_function.this : step => {
      name          = function.function_name
      arn           = function.arn
      qualified_arn = function.qualified_arn
      timeout       = function.timeout
    }
  }
}
