# Everything by default: a CodeCommit repository, a pipeline, the orchestrator, all in this account and Region.
module "ecs_release" {
  source = "../.."
}
