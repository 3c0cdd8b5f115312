variable "name" {
  description = "Prefix of the two roles' names. Several orchestrators may release to one account, each with roles of its own name."
  type        = string
  default     = "ecs-release"
  nullable    = false

  validation {
    condition     = can(regex("^[A-Za-z0-9+=,.@_-]{1,53}$", var.name))
    error_message = "name is \"${var.name}\". Write 1 to 53 characters that IAM takes in a role's name, for example \"ecs-release\"."
  }
}

variable "orchestrator" {
  description = <<-EOT
    Who may assume the roles: the functions of one ECS Release.
    account_id: the account it runs in.
    name: its `name`.
  EOT
  type = object({
    account_id = string
    name       = optional(string, "ecs-release")
  })
  nullable = false

  validation {
    condition     = can(regex("^[0-9]{12}$", var.orchestrator.account_id))
    error_message = "orchestrator.account_id is \"${var.orchestrator.account_id}\". Write the account's 12 digits in quotation marks, for example \"111111111111\"."
  }

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,22}[a-z0-9]$", var.orchestrator.name))
    error_message = "orchestrator.name is \"${var.orchestrator.name}\". Write the name that the orchestrator was given, for example \"ecs-release\"."
  }
}

variable "external_id" {
  description = "What the orchestrator must send along to assume the roles. Write the same into its `targets`."
  type        = string
  default     = null

  validation {
    # https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html
    condition = var.external_id == null ? true : (
      can(regex("^[A-Za-z0-9_+=,.@:/-]+$", var.external_id)) && length(var.external_id) >= 2 && length(var.external_id) <= 1224
    )
    error_message = "external_id has a character that AWS STS does not take. Write 2 to 1,224 letters, digits and any of _+=,.@:/-"
  }
}

variable "passable_role_arns" {
  description = "Roles that a new task definition, rule or schedule may name. Wildcards are allowed. null is every role of this account, held to these services by iam:PassedToService; narrow it."
  type        = list(string)
  default     = null

  validation {
    condition = var.passable_role_arns == null ? true : length(var.passable_role_arns) > 0 && alltrue([
      for arn in var.passable_role_arns : can(regex("^arn:[a-z-]+:iam::[0-9]{12}:role/.+$", arn))
    ])
    error_message = "passable_role_arns is empty or holds what is no IAM role ARN. Write for example \"arn:aws:iam::222222222222:role/service-a-*\", or null for every role of this account."
  }
}

variable "permissions_boundary_arn" {
  description = "Permissions boundary of every role that this module makes."
  type        = string
  default     = null
}

variable "tags" {
  description = "Tags of every resource."
  type        = map(string)
  default     = {}
  nullable    = false
}
