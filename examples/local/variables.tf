# The module's inputs that tests and demos change, passed through; the module's own variables.tf describes and checks them.

variable "name" {
  description = "Prefix of every resource's name."
  type        = string
  default     = "ecs-release"
}

variable "tags" {
  description = "Tags of every resource."
  type        = map(string)
  default     = { environment = "local" }
}

variable "repository" {
  description = "Where the manifest lives."
  type = object({
    type                = optional(string)
    name                = optional(string)
    branch              = optional(string)
    file                = optional(string)
    full_repository_id  = optional(string)
    connection_arn      = optional(string)
    connection_provider = optional(string)
    connection_host_arn = optional(string)
  })
  default = {}
}

variable "build" {
  description = "The build that validates the manifest."
  type = object({
    compute         = optional(string)
    timeout_minutes = optional(number)
  })
  default = {}
}

variable "targets" {
  description = "Further accounts and Regions."
  type = map(object({
    role_arn        = string
    reader_role_arn = string
    region          = string
    external_id     = optional(string)

    passable_role_arns = optional(list(string))
  }))
  default = {}
}

variable "passable_role_arns" {
  description = "Roles that task definitions, rules and schedules may name."
  type        = list(string)
  default     = null
}

variable "notification" {
  description = "Who hears of each release's end."
  type = object({
    emails = optional(set(string))
  })
  default = {}
}

variable "poll_seconds" {
  description = "Seconds between two looks at the rollouts of a wave; short, because embedded rollouts are."
  type        = number
  default     = 1
}

variable "log_retention_days" {
  description = "Days that logs are kept."
  type        = number
  default     = 1
}

variable "artifact_retention_days" {
  description = "null: the provider waits 55 seconds for a lifecycle rule, whatever answers."
  type        = number
  default     = null
}

variable "force_destroy" {
  description = "Whether terraform destroy may delete repository and bucket with what is in them."
  type        = bool
  default     = true
}

variable "approval" {
  description = "See the module's input of the same name."
  type = object({
    topic_arn       = optional(string)
    timeout_minutes = optional(number)
    link_base_url   = optional(string)
  })
  default = null
}
