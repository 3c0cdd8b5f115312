variable "name" {
  description = "Prefix of every resource's name."
  type        = string
  default     = "ecs-release-terraform"
}

variable "subnet_ids" {
  description = "Public subnets that the tasks run in."
  type        = list(string)
}

variable "first_image" {
  description = "Image of the first revisions, before any release."
  type        = string
  default     = "public.ecr.aws/docker/library/busybox:1.36"
}

variable "log_level" {
  description = "Something that Terraform goes on to change: an environment variable of every task."
  type        = string
  default     = "info"
}

variable "poll_seconds" {
  description = "Seconds between two looks at the rollouts."
  type        = number
  default     = 15
}
