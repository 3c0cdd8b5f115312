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

variable "package" {
  description = "The package that every function runs, as an object in the artifact bucket: output `package` of modules/pipeline."
  type = object({
    bucket        = string
    key           = string
    version_id    = string
    sha256_base64 = string
  })
  nullable = false
}

variable "targets" {
  description = "Accounts and Regions that a manifest may name, \"default\" among them, as the releases table holds them."
  type = map(object({
    account       = string
    region        = string
    roleArn       = string
    readerRoleArn = string
    externalId    = string
    # which revision is copied where the manifest does not say: "live" or "newest"
    base = string
    # what the plan counts in; how long is really watched, check-rollouts is told
    soakSeconds = optional(number, 0)
    # null: not checked before a release
    passableRoleArns = optional(list(string))
  }))
  nullable = false
}

variable "artifact_bucket_arn" {
  description = "Bucket with the compiled manifests."
  type        = string
  nullable    = false
}

variable "topic_arn" {
  description = "Topic that hears of each release's end."
  type        = string
  nullable    = false
}

variable "poll_seconds" {
  description = "Seconds between two looks at the rollouts of a wave."
  type        = number
  default     = 15
  nullable    = false
}

variable "soak_seconds" {
  description = "Seconds for which a release watches a service after its rollout is complete. 0 is not at all."
  type        = number
  default     = 0
  nullable    = false
}

variable "approval" {
  description = "Whether Parse takes only what was approved in the pipeline; the function plan exists only then."
  type        = bool
  default     = false
  nullable    = false
}

variable "force_destroy" {
  description = "Whether terraform destroy may delete the releases table. While it is false, DynamoDB itself refuses, also where no Terraform is asked."
  type        = bool
  default     = false
  nullable    = false
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
