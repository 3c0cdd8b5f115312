variable "name" {
  description = "Prefix of every resource's name."
  type        = string
  nullable    = false
}

variable "repository" {
  description = "Where the manifest lives; described in the root module."
  type = object({
    type                = string
    name                = optional(string)
    branch              = string
    file                = string
    full_repository_id  = optional(string)
    connection_arn      = optional(string)
    connection_provider = optional(string)
    connection_host_arn = optional(string)
  })
  nullable = false
}

variable "pipeline_arn" {
  description = "The pipeline that a push to the branch starts."
  type        = string
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
