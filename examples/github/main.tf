# The manifest lives at GitHub. GitLab and Bitbucket differ by connection_provider.
module "ecs_release" {
  source = "../.."

  repository = {
    type                = "CONNECTION"
    full_repository_id  = "octo/deployments"
    branch              = "main"
    file                = "deployment.yaml"
    connection_provider = "GitHub"

    # A connection that exists, instead of making one:
    # connection_arn = "arn:aws:codeconnections:us-east-1:111111111111:connection/..."
  }
}
