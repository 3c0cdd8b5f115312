"""The IAM actions each step uses in a target account: session policies are made from it, and tests hold Terraform's roles to it."""

from __future__ import annotations

READ_SERVICE = ("ecs:DescribeServices",)
READ_TASK_DEFINITION = ("ecs:DescribeTaskDefinition", "ecs:ListTaskDefinitions")
READ_DEPLOYMENTS = (
    "ecs:DescribeServiceDeployments",
    "ecs:DescribeServiceRevisions",
    "ecs:ListServiceDeployments",
)
READ_ROLLOUT = (*READ_DEPLOYMENTS, "ecs:DescribeTasks", "ecs:ListTasks")
# A schedule with a customer managed key is decrypted and encrypted for the caller; the roles hold kms: through Scheduler only
# (https://docs.aws.amazon.com/scheduler/latest/UserGuide/security_iam_id-based-policy-examples.html, UpdateSchedule).
READ_SCHEDULED_TASK = ("events:ListTargetsByRule", "kms:Decrypt", "scheduler:GetSchedule")
READ_IMAGE = (
    "ecr:BatchGetImage",
    "ecr:DescribeImages",
    "ecr:DescribePullThroughCacheRules",
    "ecr:DescribeRepositories",
)
# Registering passes the task's roles on, and setting tags is authorised as ecs:TagResource as well
# (https://docs.aws.amazon.com/AmazonECS/latest/developerguide/supported-iam-actions-tagging.html).
REGISTER = (*READ_TASK_DEFINITION, "ecs:RegisterTaskDefinition", "ecs:TagResource", "iam:PassRole")
# A target or schedule is written whole, with the role that EventBridge or Scheduler is to use.
WRITE_SCHEDULED_TASK = (
    *READ_SCHEDULED_TASK,
    "events:PutTargets",
    "iam:PassRole",
    "kms:DescribeKey",
    "kms:GenerateDataKey",
    "scheduler:UpdateSchedule",
)

STEPS: dict[str, tuple[str, ...]] = {
    "parse": (*READ_SERVICE, "ecs:DescribeTaskDefinition", *READ_ROLLOUT, *READ_SCHEDULED_TASK, *READ_IMAGE),
    "plan": (*READ_SERVICE, "ecs:DescribeTaskDefinition", *READ_ROLLOUT, *READ_SCHEDULED_TASK, *READ_IMAGE),
    "prepare": REGISTER,
    "update_task": (*REGISTER, *WRITE_SCHEDULED_TASK),
    "update_service": (*READ_SERVICE, "ecs:UpdateService"),
    "check_rollouts": (*READ_SERVICE, *READ_ROLLOUT, *READ_SCHEDULED_TASK),
    "rollback": (
        *READ_SERVICE,
        *READ_DEPLOYMENTS,
        "ecs:DeregisterTaskDefinition",
        *REGISTER,
        *WRITE_SCHEDULED_TASK,
        "ecs:UpdateService",
    ),
    "clean_up": (
        *READ_SERVICE,
        "ecs:DeregisterTaskDefinition",
        "ecs:DescribeTaskDefinition",
        *READ_SCHEDULED_TASK,
    ),
}
READERS = ("parse", "plan", "check_rollouts")
WRITERS = ("prepare", "update_task", "update_service", "rollback", "clean_up")
