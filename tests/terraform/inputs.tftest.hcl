# What the inputs refuse, one run per value that is wrong in its own way. The root's variables stand alone here, without the provider, which
# costs seconds a run.

run "refuses_names_that_aws_would_refuse" {
  command = plan
  module {
    source = "./tests/terraform/inputs"
  }
  variables {
    name                         = "ECS_Release"
    tags                         = { "aws:team" = "x" }
    poll_seconds                 = 0
    soak_seconds                 = 3601
    log_retention_days           = 100
    artifact_retention_days      = 1
    kms_key_deletion_window_days = 3
    permissions_boundary_arn     = "boundary"
    kms_key                      = { arn = "alias/mine" }
    passable_role_arns           = []
    notification                 = { emails = ["nobody"] }
    build                        = { compute = "fargate", timeout_minutes = 2 }
    repository                   = { type = "GITHUB", name = "a b", branch = "release/*", file = "/deployment.yaml" }
    targets                      = { default = { role_arn = "role", reader_role_arn = "role", region = "Ireland" } }
  }
  expect_failures = [
    var.name, var.tags, var.poll_seconds, var.soak_seconds, var.log_retention_days, var.artifact_retention_days, var.kms_key_deletion_window_days, var.permissions_boundary_arn,
    var.kms_key, var.passable_role_arns, var.notification, var.build, var.repository, var.targets,
  ]
}

run "refuses_a_name_too_long_for_the_bucket" {
  command = plan
  module {
    source = "./tests/terraform/inputs"
  }
  variables {
    name = "a-name-of-twenty-five-chr"
  }
  expect_failures = [var.name]
}

run "refuses_a_name_that_is_a_folder_of_the_bucket" {
  command = plan
  module {
    source = "./tests/terraform/inputs"
  }
  variables {
    name = "package"
  }
  expect_failures = [var.name]
}

run "refuses_a_connection_without_a_repository" {
  command = plan
  module {
    source = "./tests/terraform/inputs"
  }
  variables {
    repository = { type = "CONNECTION", connection_provider = "GitHub" }
  }
  expect_failures = [var.repository]
}

run "refuses_a_connection_both_given_and_made" {
  command = plan
  module {
    source = "./tests/terraform/inputs"
  }
  variables {
    repository = { type = "CONNECTION", full_repository_id = "octo/deployments", connection_provider = "GitHub", connection_arn = "arn:aws:codeconnections:us-east-1:111111111111:connection/1" }
  }
  expect_failures = [var.repository]
}

run "refuses_a_connection_to_nowhere" {
  command = plan
  module {
    source = "./tests/terraform/inputs"
  }
  variables {
    repository = { type = "CONNECTION", full_repository_id = "octo/deployments" }
  }
  expect_failures = [var.repository]
}

run "refuses_a_provider_without_connections" {
  command = plan
  module {
    source = "./tests/terraform/inputs"
  }
  variables {
    repository = { type = "CONNECTION", full_repository_id = "octo/deployments", connection_provider = "Gitea" }
  }
  expect_failures = [var.repository]
}

run "refuses_a_file_outside_the_repository" {
  command = plan
  module {
    source = "./tests/terraform/inputs"
  }
  variables {
    repository = { file = "../deployment.yaml" }
  }
  expect_failures = [var.repository]
}

run "refuses_a_target_with_a_role_of_no_account" {
  command = plan
  module {
    source = "./tests/terraform/inputs"
  }
  variables {
    targets = { eu = { role_arn = "ecs-release-deployment", reader_role_arn = "ecs-release-reader", region = "eu-west-1" } }
  }
  expect_failures = [var.targets]
}

# IAM would refuse the functions' policies, in the middle of an apply.
run "refuses_more_targets_than_a_policy_holds" {
  command = plan
  module {
    source = "./tests/terraform/inputs"
  }
  variables {
    targets = { for number in range(200) : "t${number}" => {
      role_arn        = "arn:aws:iam::${222222222222 + number}:role/ecs-release-deployment"
      reader_role_arn = "arn:aws:iam::${222222222222 + number}:role/ecs-release-reader"
      region          = "eu-west-1"
    } }
  }
  expect_failures = [var.targets]
}

run "refuses_a_passable_role_that_is_none" {
  command = plan
  module {
    source = "./tests/terraform/inputs"
  }
  variables {
    passable_role_arns = ["*"]
  }
  expect_failures = [var.passable_role_arns]
}

run "refuses_a_target_named_default" {
  command = plan
  module {
    source = "./tests/terraform/inputs"
  }
  variables {
    targets = { default = { role_arn = "arn:aws:iam::222222222222:role/a", reader_role_arn = "arn:aws:iam::222222222222:role/b", region = "eu-west-1" } }
  }
  expect_failures = [var.targets]
}

run "refuses_a_target_that_a_manifest_can_not_write" {
  command = plan
  module {
    source = "./tests/terraform/inputs"
  }
  variables {
    targets = { "production eu" = { role_arn = "arn:aws:iam::222222222222:role/a", reader_role_arn = "arn:aws:iam::222222222222:role/b", region = "eu-west-1" } }
  }
  expect_failures = [var.targets]
}

run "refuses_a_branch_pattern" {
  command = plan
  module {
    source = "./tests/terraform/inputs"
  }
  variables {
    repository = { branch = "release/*" }
  }
  expect_failures = [var.repository]
}

run "refuses_a_fifo_topic" {
  command = plan
  module {
    source = "./tests/terraform/inputs"
  }
  variables {
    approval = { topic_arn = "arn:aws:sns:us-east-1:111111111111:approvers.fifo" }
  }
  expect_failures = [var.approval]
}

run "refuses_a_timeout_that_codepipeline_does_not_take" {
  command = plan
  module {
    source = "./tests/terraform/inputs"
  }
  variables {
    approval = { timeout_minutes = 1 }
  }
  expect_failures = [var.approval]
}

run "refuses_a_link_without_tls" {
  command = plan
  module {
    source = "./tests/terraform/inputs"
  }
  variables {
    approval = { link_base_url = "http://plans.example.com" }
  }
  expect_failures = [var.approval]
}

run "refuses_a_link_with_a_slash_at_its_end" {
  command = plan
  module {
    source = "./tests/terraform/inputs"
  }
  variables {
    approval = { link_base_url = "https://plans.example.com/" }
  }
  expect_failures = [var.approval]
}
