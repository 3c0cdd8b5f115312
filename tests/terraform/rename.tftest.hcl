# Another name for what is applied: refused while it is planned, unless force_destroy was applied.

# Without override_during: what is mocked in the plan would be mocked anew at apply, and Terraform compares the two.
mock_provider "aws" {
  source = "./tests/terraform/mocks"
}

run "applied" {
  assert {
    condition     = terraform_data.applied_name.output == "ecs-release"
    error_message = "The name that was applied is not noted."
  }
}

run "another_name_is_refused" {
  command = plan
  variables {
    name = "other"
  }
  expect_failures = [terraform_data.applied_name]
}

run "the_same_name_is_not" {
  command = plan
  variables {
    poll_seconds = 20
  }
}

run "force_destroy_applied" {
  variables {
    force_destroy = true
  }
}

run "another_name_after_force_destroy" {
  variables {
    name          = "other"
    force_destroy = true
  }

  assert {
    condition     = output.pipeline_name == "other"
    error_message = "Another name is refused although force_destroy was applied."
  }
}

run "the_new_name_is_noted" {
  variables {
    name = "other"
  }

  assert {
    condition     = terraform_data.applied_name.output == "other"
    error_message = "The new name is not noted once force_destroy is off again."
  }
}

# Or the guard would refuse the end of this test.
run "force_destroy_for_the_end" {
  variables {
    name          = "other"
    force_destroy = true
  }
}
