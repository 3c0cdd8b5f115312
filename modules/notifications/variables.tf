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

variable "publishers" {
  description = "Principals of AWS services that may publish to the topic for this account; the key lets the same ones in."
  type        = list(string)
  nullable    = false
}

variable "pipeline_name" {
  description = "The pipeline whose failures before a release are told of."
  type        = string
  nullable    = false
}

variable "deliveries" {
  description = "What must not fail in silence: names of the EventBridge rules of this installation, and of the functions that they call."
  type = object({
    rules     = list(string)
    functions = list(string)
  })
  nullable = false
}

variable "kms_key_arn" {
  description = "Customer managed key that encrypts what this module stores."
  type        = string
  nullable    = false
}

variable "emails" {
  description = "Mail addresses subscribed to the topic; each gets a mail with a link to confirm."
  type        = set(string)
  default     = []
  nullable    = false
}

variable "tags" {
  description = "Tags of every resource."
  type        = map(string)
  default     = {}
  nullable    = false
}
