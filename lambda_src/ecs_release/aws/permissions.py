"""What each step calls in a target account, and what AWS authorises each call as.

Session policies are made from this, and tests hold the code's calls and Terraform's roles to it.
"""

from __future__ import annotations

# IAM actions that AWS asks for at a call. Most calls are one action of the same name
# (https://docs.aws.amazon.com/service-authorization/latest/reference/reference_policies_actions-resources-contextkeys.html);
# what is more than that has its source beside it.
AUTHORISED_AS: dict[str, tuple[str, ...]] = {
    "ecr:BatchGetImage": ("ecr:BatchGetImage",),
    "ecr:DescribeImages": ("ecr:DescribeImages",),
    "ecr:DescribePullThroughCacheRules": ("ecr:DescribePullThroughCacheRules",),
    "ecr:DescribeRepositories": ("ecr:DescribeRepositories",),
    "ecs:DeregisterTaskDefinition": ("ecs:DeregisterTaskDefinition",),
    "ecs:DescribeServiceDeployments": ("ecs:DescribeServiceDeployments",),
    "ecs:DescribeServiceRevisions": ("ecs:DescribeServiceRevisions",),
    "ecs:DescribeServices": ("ecs:DescribeServices",),
    # It is asked for the tags as well. Whether that is authorised as listing them, no AWS document says, so it is granted:
    # https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_DescribeTaskDefinition.html (include)
    "ecs:DescribeTaskDefinition": ("ecs:DescribeTaskDefinition", "ecs:ListTagsForResource"),
    "ecs:DescribeTasks": ("ecs:DescribeTasks",),
    "ecs:ListServiceDeployments": ("ecs:ListServiceDeployments",),
    "ecs:ListTaskDefinitions": ("ecs:ListTaskDefinitions",),
    "ecs:ListTasks": ("ecs:ListTasks",),
    # The task's roles are passed on; setting tags is tagging as well. The first is in no AWS reference of the call's actions:
    # https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task_execution_IAM_role.html
    # https://github.com/ministryofjustice/modernisation-platform/pull/8443
    # https://docs.aws.amazon.com/AmazonECS/latest/developerguide/supported-iam-actions-tagging.html
    "ecs:RegisterTaskDefinition": ("ecs:RegisterTaskDefinition", "ecs:TagResource", "iam:PassRole"),
    # Naming a task definition passes its roles on, also when the service has them already; a call that names none needs no
    # iam:PassRole. In no AWS reference either: https://github.com/keidarcy/e1s/issues/429 and the pull request 430 that closed it.
    "ecs:UpdateService": ("ecs:UpdateService", "iam:PassRole"),
    "events:ListTargetsByRule": ("events:ListTargetsByRule",),
    # A target is written whole, with the role that EventBridge is to use:
    # https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-use-identity-based.html
    "events:PutTargets": ("events:PutTargets", "iam:PassRole"),
    # A schedule with a customer managed key is decrypted and encrypted for the caller; the roles hold kms: through Scheduler only.
    # https://docs.aws.amazon.com/scheduler/latest/UserGuide/security_iam_id-based-policy-examples.html
    "scheduler:GetSchedule": ("scheduler:GetSchedule", "kms:Decrypt"),
    # Written whole, with the role that Scheduler is to use:
    # https://docs.aws.amazon.com/scheduler/latest/UserGuide/setting-up.html
    "scheduler:UpdateSchedule": (
        "scheduler:UpdateSchedule",
        "iam:PassRole",
        "kms:Decrypt",
        "kms:DescribeKey",
        "kms:GenerateDataKey",
    ),
}

# Whom a call passes roles on to: iam:PassedToService of the deployment role's policy. UpdateService hands no role to ECS itself
# (load balancers, volumes): those are named by other members than the task definition, and no step sends them.
# https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_iam-condition-keys.html#ck_PassedToService
PASSES_ROLES_TO: dict[str, str] = {
    "ecs:RegisterTaskDefinition": "ecs-tasks.amazonaws.com",
    "ecs:UpdateService": "ecs-tasks.amazonaws.com",
    "events:PutTargets": "events.amazonaws.com",
    "scheduler:UpdateSchedule": "scheduler.amazonaws.com",
}

_DEPLOYMENTS = (
    "ecs:DescribeServiceDeployments",
    "ecs:DescribeServiceRevisions",
    "ecs:ListServiceDeployments",
)

_SCHEDULED_TASK = ("events:ListTargetsByRule", "scheduler:GetSchedule")
_REGISTER = ("ecs:DescribeTaskDefinition", "ecs:ListTaskDefinitions", "ecs:RegisterTaskDefinition")
_WRITE_SCHEDULED_TASK = (*_SCHEDULED_TASK, "events:PutTargets", "scheduler:UpdateSchedule")

_PLAN = (
    "ecs:DescribeServices",
    "ecs:DescribeTaskDefinition",
    *_DEPLOYMENTS,
    *_SCHEDULED_TASK,
    "ecr:BatchGetImage",
    "ecr:DescribeImages",
    "ecr:DescribePullThroughCacheRules",
    "ecr:DescribeRepositories",
)

CALLS: dict[str, tuple[str, ...]] = {
    "parse": _PLAN,
    "plan": _PLAN,
    "prepare": _REGISTER,
    "update_task": (*_REGISTER, *_WRITE_SCHEDULED_TASK),
    "update_service": ("ecs:DescribeServices", "ecs:UpdateService", *_DEPLOYMENTS),
    "check_rollouts": (
        "ecs:DescribeServices",
        "ecs:DescribeTasks",
        "ecs:ListTasks",
        *_DEPLOYMENTS,
        *_SCHEDULED_TASK,
    ),
    "rollback": (
        "ecs:DeregisterTaskDefinition",
        "ecs:DescribeServices",
        "ecs:UpdateService",
        *_DEPLOYMENTS,
        *_REGISTER,
        *_WRITE_SCHEDULED_TASK,
    ),
    "clean_up": (
        "ecs:DeregisterTaskDefinition",
        "ecs:DescribeServices",
        "ecs:DescribeTaskDefinition",
        *_SCHEDULED_TASK,
    ),
}

STEPS: dict[str, tuple[str, ...]] = {
    step: tuple(dict.fromkeys(action for call in calls for action in AUTHORISED_AS[call]))
    for step, calls in CALLS.items()
}
"""The IAM actions that each step needs in a target account."""

READERS = ("parse", "plan", "check_rollouts")
WRITERS = ("prepare", "update_task", "update_service", "rollback", "clean_up")
