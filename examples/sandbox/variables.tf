variable "name" {
  description = "Prefix of every resource's name, the module's and the estate's."
  type        = string
  default     = "ecs-release-sandbox"
}

variable "codecommit" {
  description = "Whether the manifest lives in CodeCommit. false where the account can't make a repository; releases are then started by hand."
  type        = bool
  default     = true
}

variable "images" {
  description = <<-EOT
    Images that Fargate can pull without a role: first is what runs before any release, next is what is released, and broken is one in which the
    command "sleep" can't start. The first two need "sleep" and "true".
  EOT
  type = object({
    first  = optional(string, "public.ecr.aws/docker/library/busybox:1.36")
    next   = optional(string, "public.ecr.aws/docker/library/busybox:1.37")
    broken = optional(string, "public.ecr.aws/docker/library/hello-world:linux")
  })
  default  = {}
  nullable = false
}

variable "subnet_ids" {
  description = "Subnets with a way to the images; null is those of the default VPC."
  type        = list(string)
  default     = null
}

variable "poll_seconds" {
  description = "Seconds between two looks at the rollouts."
  type        = number
  default     = 15
}
