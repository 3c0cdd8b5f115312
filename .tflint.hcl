# tflint --init && tflint --recursive --config "$PWD/.tflint.hcl"
config {
  call_module_type = "local"
}

plugin "terraform" {
  enabled = true
  preset  = "all"
}

plugin "aws" {
  enabled = true
  version = "0.38.0"
  source  = "github.com/terraform-linters/tflint-ruleset-aws"
}

# Modules are split by concern: functions.tf, tables.tf, iam.tf say more than one main.tf.
rule "terraform_standard_module_structure" {
  enabled = false
}
