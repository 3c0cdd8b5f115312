variable "name" {
  description = "Prefix of every resource's name. Two of these in one account need two names, also in two Regions, because IAM roles are global."
  type        = string
  default     = "ecs-release"
  nullable    = false

  validation {
    # 24: the bucket's name, <name>-artifacts-<account>-<region>, must fit into 63 characters.
    condition     = can(regex("^[a-z][a-z0-9-]{1,22}[a-z0-9]$", var.name)) && !strcontains(var.name, "--")
    error_message = "name is \"${var.name}\". Write 3 to 24 lower-case letters, digits and single hyphens, a letter first and no hyphen last, for example \"ecs-release\"."
  }

  validation {
    # CodePipeline keeps its artifacts in the bucket under the pipeline's name, and these are the prefixes of what else is kept there.
    condition     = !contains(["manifests", "package", "plans"], var.name)
    error_message = "name is \"${var.name}\", which is a folder of the artifact bucket already. Write another one than \"manifests\", \"package\" and \"plans\", for example \"ecs-release\"."
  }
}

variable "tags" {
  description = "Tags of every resource. Task definitions, services, rules and schedules that are released keep their own."
  type        = map(string)
  default     = {}
  nullable    = false

  validation {
    condition     = !anytrue([for key in keys(var.tags) : startswith(lower(key), "aws:")])
    error_message = "tags holds a key that begins with \"aws:\", which AWS keeps for itself. Write it without that prefix."
  }
}

variable "repository" {
  description = <<-EOT
    Where the manifest lives, and what starts a release.
    type: CODECOMMIT makes a repository; CONNECTION uses one at GitHub, GitLab or Bitbucket.
    name: the CodeCommit repository's name; null is `name`.
    branch, file: a push to this branch releases this file.
    full_repository_id: owner and repository at the provider, for example "octo/deployments" (CONNECTION).
    connection_arn: a connection that exists (CONNECTION).
    connection_provider: GitHub, GitHubEnterpriseServer, GitLab, GitLabSelfManaged or Bitbucket makes a connection instead; complete its handshake in the console (CONNECTION).
    connection_host_arn: the host of a self-managed provider (GitHubEnterpriseServer, GitLabSelfManaged).
  EOT
  type = object({
    type                = optional(string, "CODECOMMIT")
    name                = optional(string)
    branch              = optional(string, "main")
    file                = optional(string, "deployment.yaml")
    full_repository_id  = optional(string)
    connection_arn      = optional(string)
    connection_provider = optional(string)
    connection_host_arn = optional(string)
  })
  default  = {}
  nullable = false

  validation {
    condition     = contains(["CODECOMMIT", "CONNECTION"], var.repository.type)
    error_message = "repository.type is \"${var.repository.type}\". Write \"CODECOMMIT\" or \"CONNECTION\"."
  }

  validation {
    condition = var.repository.name == null ? true : (
      can(regex("^[A-Za-z0-9._-]{1,100}$", var.repository.name)) && !endswith(var.repository.name, ".git")
    )
    error_message = "repository.name has a character that CodeCommit does not take, or ends in \".git\". Write 1 to 100 letters, digits, dots, hyphens and underscores."
  }

  validation {
    condition     = can(regex("^[^\\s~^:?*\\[\\\\]{1,255}$", var.repository.branch))
    error_message = "repository.branch is \"${var.repository.branch}\", which is no branch. Write one branch's name without wildcards, for example \"main\"."
  }

  validation {
    condition     = can(regex("^[A-Za-z0-9._-]+(/[A-Za-z0-9._-]+)*$", var.repository.file)) && !strcontains("/${var.repository.file}/", "/../")
    error_message = "repository.file is \"${var.repository.file}\". Write a path inside the repository, without a slash in front, for example \"deployment.yaml\" or \"releases/deployment.yaml\"."
  }

  validation {
    condition     = var.repository.type != "CONNECTION" || can(regex("^[^/\\s]+(/[^/\\s]+)+$", var.repository.full_repository_id))
    error_message = "repository.full_repository_id is missing or has no slash. With type CONNECTION write owner and repository, for example \"octo/deployments\"."
  }

  validation {
    condition     = var.repository.type != "CONNECTION" || (var.repository.connection_arn == null) != (var.repository.connection_provider == null)
    error_message = "repository of type CONNECTION needs either connection_arn (a connection that exists) or connection_provider (to make one), and not both."
  }

  validation {
    condition = var.repository.connection_provider == null ? true : contains(
      ["GitHub", "GitHubEnterpriseServer", "GitLab", "GitLabSelfManaged", "Bitbucket"], var.repository.connection_provider
    )
    error_message = "repository.connection_provider is no provider that AWS connects to. Write GitHub, GitHubEnterpriseServer, GitLab, GitLabSelfManaged or Bitbucket."
  }
}

variable "build" {
  description = <<-EOT
    The build that validates the manifest.
    compute: "lambda" starts in seconds, "ec2" in about a minute. null is "lambda" in the Regions that had it when this was written (us-east-1,
      us-east-2, us-west-2, ap-northeast-1, ap-south-1, ap-southeast-1, ap-southeast-2, eu-central-1, eu-west-1, sa-east-1) and "ec2" elsewhere:
      https://docs.aws.amazon.com/codebuild/latest/userguide/lambda.html#lambda.regions
    timeout_minutes: for "ec2"; a build on Lambda compute ends after 15 minutes at the latest.
  EOT
  type = object({
    compute         = optional(string)
    timeout_minutes = optional(number, 15)
  })
  default  = {}
  nullable = false

  validation {
    condition     = var.build.compute == null ? true : contains(["lambda", "ec2"], var.build.compute)
    error_message = "build.compute is \"${coalesce(var.build.compute, "null")}\". Write \"lambda\" or \"ec2\", or leave it out for what the Region has."
  }

  validation {
    condition     = var.build.timeout_minutes >= 5 && var.build.timeout_minutes <= 60 && floor(var.build.timeout_minutes) == var.build.timeout_minutes
    error_message = "build.timeout_minutes is ${var.build.timeout_minutes}. Write a whole number from 5 to 60."
  }
}

variable "targets" {
  description = <<-EOT
    Further accounts and Regions to release to, by the name the manifest gives them (`target:`). The module's own account and Region is "default".
    role_arn, reader_role_arn: the outputs role_arn and reader_role_arn of modules/deployment_role, applied in the target account.
    region: Region of the services and schedules.
    external_id: what the roles there ask for, if they do.
    passable_role_arns: that module's input of the same name, if it was given one; a role outside it is then refused before a release begins.
  EOT
  type = map(object({
    role_arn        = string
    reader_role_arn = string
    region          = string
    external_id     = optional(string)

    passable_role_arns = optional(list(string))
  }))
  default  = {}
  nullable = false

  validation {
    condition     = !contains(keys(var.targets), "default")
    error_message = "targets holds \"default\", which is the name of the module's own account and Region. Give the target another name."
  }

  validation {
    condition     = alltrue([for name in keys(var.targets) : can(regex("^[A-Za-z0-9][A-Za-z0-9_-]{0,62}$", name))])
    error_message = "targets holds a name that a manifest can't write. Write 1 to 63 letters, digits, hyphens and underscores, a letter or digit first, for example \"production-eu\"."
  }

  validation {
    condition = alltrue([
      for arn in flatten([for target in values(var.targets) : [target.role_arn, target.reader_role_arn]]) :
      can(regex("^arn:[a-z-]+:iam::[0-9]{12}:role/.+$", arn))
    ])
    error_message = "targets holds a role_arn or reader_role_arn that is no IAM role ARN. Write the outputs of modules/deployment_role, for example \"arn:aws:iam::222222222222:role/ecs-release-deployment\"."
  }

  validation {
    # A function's inline policies hold 10,240 characters in all, and less than 3,000 of them say something else than what it may assume.
    # https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html#reference_iam-quotas-entity-length
    # docs/adr/0012-limits-that-stay.md says why they are not spread over several policies.
    condition = alltrue([
      for arns in [values(var.targets)[*].role_arn, values(var.targets)[*].reader_role_arn] : length(jsonencode(distinct(arns))) <= 7000
    ])
    error_message = "targets names ${length(var.targets)} targets, whose roles need ${max(length(jsonencode(distinct(values(var.targets)[*].role_arn))), length(jsonencode(distinct(values(var.targets)[*].reader_role_arn))))} characters in a function's policy; IAM leaves room for 7,000, some 120 roles. Regions of one account can share its two roles, and shorter names help (`name` of modules/deployment_role); otherwise divide the targets among several of this module."
  }

  validation {
    condition     = alltrue([for target in values(var.targets) : can(regex("^[a-z]{2,4}(-[a-z]+)+-[0-9]+$", target.region))])
    error_message = "targets holds a region that is no Region. Write its code, for example \"eu-west-1\"."
  }
}

variable "passable_role_arns" {
  description = "Roles that a new task definition, rule or schedule may name: task roles, execution roles, and the roles with which EventBridge and Scheduler start tasks. Wildcards are allowed. null is every role of this account, held to these services by iam:PassedToService; narrow it."
  type        = list(string)
  default     = null

  validation {
    condition = var.passable_role_arns == null ? true : alltrue([
      for arn in var.passable_role_arns : can(regex("^arn:[a-z-]+:iam::[0-9]{12}:role/.+$", arn))
    ])
    error_message = "passable_role_arns holds what is no IAM role ARN. Write for example \"arn:aws:iam::111111111111:role/service-a-*\"."
  }

  validation {
    condition     = var.passable_role_arns == null ? true : length(var.passable_role_arns) > 0
    error_message = "passable_role_arns is empty, so no task definition with a role could be registered. Write at least one ARN, or null for every role of this account."
  }
}

variable "base" {
  description = "Which task definition revision a release copies where the manifest does not say: \"live\", what runs, or \"newest\", the newest one that somebody else (Terraform, CDK, a person) registered after it. See docs/living-with-iac.md."
  type        = string
  default     = "live"
  nullable    = false

  validation {
    condition     = contains(["live", "newest"], var.base)
    error_message = "base is \"${var.base}\". Write \"live\" or \"newest\"."
  }
}

variable "permissions_boundary_arn" {
  description = "Permissions boundary of every role that the module makes."
  type        = string
  default     = null

  validation {
    condition = var.permissions_boundary_arn == null ? true : (
      can(regex("^arn:[a-z-]+:iam::([0-9]{12}|aws):policy/.+$", var.permissions_boundary_arn))
    )
    error_message = "permissions_boundary_arn is no IAM policy ARN. Write for example \"arn:aws:iam::111111111111:policy/boundary\"."
  }
}

variable "kms_key" {
  description = <<-EOT
    A customer managed key to use instead of the one the module makes. Its policy must allow what the README lists under "A key of your own".
    Set it from the first apply on: on an installed module it schedules the module's own key for deletion at once, and what that key encrypted (logs,
    artifacts, backups of the tables, older versions of the functions, so a running release too) can't be read any more.
    An object, so that a key made in the same apply works.
  EOT
  type = object({
    arn = string
  })
  default = null

  validation {
    condition     = var.kms_key == null ? true : can(regex("^arn:[a-z-]+:kms:[a-z0-9-]+:[0-9]{12}:key/.+$", var.kms_key.arn))
    error_message = "kms_key.arn is no key ARN (an alias does not do, because policies name it). Write for example \"arn:aws:kms:us-east-1:111111111111:key/1234abcd-12ab-34cd-56ef-1234567890ab\"."
  }
}

variable "kms_key_deletion_window_days" {
  description = "Days that AWS keeps the module's key after terraform destroy."
  type        = number
  default     = 30
  nullable    = false

  validation {
    condition     = contains(range(7, 31), var.kms_key_deletion_window_days)
    error_message = "kms_key_deletion_window_days is ${var.kms_key_deletion_window_days}. Write a whole number from 7 to 30, as AWS KMS takes it."
  }
}

variable "notification" {
  description = <<-EOT
    Who hears of each release's end.
    emails: addresses subscribed to the topic; each gets a mail with a link to confirm.
  EOT
  type = object({
    emails = optional(set(string), [])
  })
  default  = {}
  nullable = false

  validation {
    condition     = alltrue([for address in var.notification.emails : can(regex("^[^@\\s]+@[^@\\s]+\\.[^@\\s]+$", address))])
    error_message = "notification.emails holds what is no mail address. Write for example \"platform@example.com\"."
  }
}

variable "approval" {
  description = <<-EOT
    One approval for the whole release, between Build and Deploy; null for none. Build then plans against what is live and stores the plan in the
    artifact bucket; the approver sees a summary and a link to the page; Deploy releases that plan and nothing else.
    - `topic_arn`: standard topic of the pipeline's Region that CodePipeline tells of a waiting approval; the module's own by default. Its policy must
      let the pipeline's role publish where it is another account's, and so must the policy of its key where it has one.
    - `timeout_minutes`: how long it waits; CodePipeline's default is seven days.
    - `link_base_url`: where the bucket's objects can be read, for example https://plans.example.com; the S3 console by default.
  EOT
  type = object({
    topic_arn       = optional(string)
    timeout_minutes = optional(number)
    link_base_url   = optional(string)
  })
  default = null

  validation {
    # A message without a group can't be published to a FIFO topic: https://docs.aws.amazon.com/sns/latest/api/API_Publish.html
    condition = var.approval == null ? true : var.approval.topic_arn == null ? true : (
      can(regex("^arn:[a-z-]+:sns:[a-z0-9-]+:[0-9]{12}:[A-Za-z0-9_-]{1,256}$", var.approval.topic_arn))
    )
    error_message = "approval.topic_arn is no ARN of a standard topic (CodePipeline can't publish to a FIFO topic). Write for example \"arn:aws:sns:us-east-1:111111111111:approvers\", or leave it out for the module's own topic."
  }

  validation {
    condition = var.approval == null ? true : var.approval.timeout_minutes == null ? true : (
      var.approval.timeout_minutes >= 5 && var.approval.timeout_minutes <= 86400
    )
    error_message = "approval.timeout_minutes is not possible in CodePipeline; write 5 to 86400 minutes."
  }

  validation {
    condition = var.approval == null ? true : var.approval.link_base_url == null ? true : (
      can(regex("^https://[^ ]+[^/ ]$", var.approval.link_base_url))
    )
    error_message = "approval.link_base_url is no address of a page; write it like https://plans.example.com, without a slash at its end."
  }
}

variable "poll_seconds" {
  description = "Seconds between two looks at the rollouts of a wave."
  type        = number
  default     = 15
  nullable    = false

  validation {
    condition     = var.poll_seconds >= 1 && var.poll_seconds <= 300 && floor(var.poll_seconds) == var.poll_seconds
    error_message = "poll_seconds is ${var.poll_seconds}. Write a whole number from 1 to 300."
  }
}

variable "soak_seconds" {
  description = "Seconds for which a release watches a service after its rollout is complete: if a container of it exits or a health check fails meanwhile, the release goes back. 0 is not at all. Each wave takes that much longer."
  type        = number
  default     = 0
  nullable    = false

  validation {
    # ECS shows a stopped task for an hour: https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_DescribeTasks.html
    condition     = var.soak_seconds >= 0 && var.soak_seconds <= 3600 && floor(var.soak_seconds) == var.soak_seconds
    error_message = "soak_seconds is ${var.soak_seconds}. Write a whole number from 0 to 3600."
  }
}

variable "log_retention_days" {
  description = "Days that CloudWatch Logs keeps the logs of functions, builds and the state machine."
  type        = number
  default     = 365
  nullable    = false

  validation {
    # https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_PutRetentionPolicy.html
    condition = contains(
      [1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653], var.log_retention_days
    )
    error_message = "log_retention_days is ${var.log_retention_days}, which CloudWatch Logs does not take. Write 1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288 or 3653."
  }
}

variable "artifact_retention_days" {
  description = "Days that pipeline artifacts and compiled manifests are kept in the bucket. null keeps them for ever. The record of a release is in the releases table and is not touched."
  type        = number
  default     = 365

  validation {
    condition = var.artifact_retention_days == null ? true : (
      var.artifact_retention_days >= 8 && floor(var.artifact_retention_days) == var.artifact_retention_days
    )
    error_message = "artifact_retention_days is too small or no whole number. Write at least 8, because a release may run for 7 days, or null to keep everything."
  }
}

variable "force_destroy" {
  description = "Whether terraform destroy may delete the CodeCommit repository with its history and the bucket with its objects. While it is false, destroy refuses and touches nothing; apply it as true first."
  type        = bool
  default     = false
  nullable    = false
}
