variable "name" {
  description = "Prefix of every resource's name."
  type        = string
  nullable    = false
}

variable "aws" {
  description = "Where this runs, from the data sources of the root module."
  type = object({
    account_id = string
    dns_suffix = string
    partition  = string
    region     = string
  })
  nullable = false
}

variable "origin" {
  description = "Output `origin` of modules/source."
  type = object({
    provider           = string
    repository_name    = string
    branch             = string
    file               = string
    trigger            = bool
    configuration      = map(string)
    pipeline_actions   = list(string)
    pipeline_resources = list(string)
    build_actions      = list(string)
    build_resources    = list(string)
  })
  nullable = false
}

variable "build" {
  description = "Compute (\"lambda\", \"ec2\", or null for what the Region has) and time-out of the build; described in the root module."
  type = object({
    compute         = optional(string)
    timeout_minutes = optional(number, 15)
  })
  default  = {}
  nullable = false
}

variable "package_path" {
  description = "The package whose code validates the manifest; the functions run the same file."
  type        = string
  nullable    = false
}

variable "state_machine_arn" {
  description = "State machine that the Deploy stage starts."
  type        = string
  nullable    = false
}

variable "approval" {
  description = "The gate between Build and Deploy, with the function that makes the plan; null for none. See the root module's input."
  type = object({
    topic_arn       = string
    own_topic       = optional(bool, false)
    timeout_minutes = optional(number)
    link_base_url   = optional(string)
    plan_function = object({
      arn           = string
      qualified_arn = string
      timeout       = number
    })
  })
  default = null
}

variable "kms_key_arn" {
  description = "Customer managed key that encrypts what this module stores."
  type        = string
  nullable    = false
}

variable "log_retention_days" {
  description = "Days that CloudWatch Logs keeps what this module logs."
  type        = number
  default     = 365
  nullable    = false
}

variable "artifact_retention_days" {
  description = "Days that artifacts and compiled manifests are kept; null keeps them for ever."
  type        = number
  default     = 365
}

variable "force_destroy" {
  description = "Whether terraform destroy may delete a bucket with objects in it."
  type        = bool
  default     = false
  nullable    = false
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
