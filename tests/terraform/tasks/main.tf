# Flattens the Task states of a definition; HCL has no recursion, so nesting ends at three Maps and a deeper one is counted.

variable "definition" {
  description = "A state machine's definition."
  type        = string
}

locals {
  top = jsondecode(var.definition).States

  states = concat(
    [for name, state in local.top : { name = name, state = jsonencode(state) }],
    flatten([for state in values(local.top) : [for name, inner in try(state.ItemProcessor.States, {}) : { name = name, state = jsonencode(inner) }]]),
    flatten([for state in values(local.top) : [for inner in values(try(state.ItemProcessor.States, {})) : [for name, innermost in try(inner.ItemProcessor.States, {}) : { name = name, state = jsonencode(innermost) }]]]),
  )
}

output "tasks" {
  description = "The Task states by name, each as JSON text."
  value       = { for entry in local.states : entry.name => entry.state if jsondecode(entry.state).Type == "Task" }
}

output "task_count" {
  description = "How often \"Type\":\"Task\" stands in the text; more than tasks has means that the nesting is deeper than this module looks."
  value       = length(regexall("\"Type\":\"Task\"", var.definition))
}
