"""How a rollout of a service will go as the service is configured: how long at least, who has to do something, whether it can move.

From DescribeServices alone. The rules are those of
https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_DeploymentConfiguration.html and the types in it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from ecs_release.aws.answers import entries, flag, fraction, mapping, number, text
from ecs_release.aws.service_state import ServiceState
from ecs_release.aws.task_definitions import TaskDefinition

_PAUSE_MINUTES = 1440
"""https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_DeploymentLifecycleHookTimeoutConfiguration.html"""


@dataclass(frozen=True)
class Pause:
    """A lifecycle hook at which ECS waits for somebody.

    Attributes
    ----------
    stages : the stages at which it waits.
    minutes : how long it waits at each.
    action : what ECS does then, ROLLBACK or CONTINUE.
    """

    stages: tuple[str, ...]
    minutes: int
    action: str

    @property
    def longest_minutes(self) -> int:
        return self.minutes * len(self.stages)


def bake_minutes(service: ServiceState) -> int:
    """How long ECS waits between the steps of a rollout and after it, whatever happens: its rollout takes longer than this."""
    configuration = service.configuration
    bake = number(configuration, "bakeTimeInMinutes")
    match service.strategy:
        case "BLUE_GREEN":
            return bake
        case "CANARY":
            return bake + number(mapping(configuration, "canaryConfiguration"), "canaryBakeTimeInMinutes", 10)
        case "LINEAR":
            linear = mapping(configuration, "linearConfiguration")
            percent = fraction(linear, "stepPercent", 10.0)
            steps = math.ceil(100 / percent) if percent > 0 else 1
            # "This bake time is not applied after reaching 100 percent traffic."
            return bake + (steps - 1) * number(linear, "stepBakeTimeInMinutes", 6)
        case _:
            return bake if flag(mapping(configuration, "earlySuccessCriteria"), "enable") else 0


def pauses(service: ServiceState) -> list[Pause]:
    """Where its rollouts wait for somebody to call ContinueServiceDeployment
    (https://docs.aws.amazon.com/AmazonECS/latest/developerguide/pause-lifecycle-hooks.html).
    """
    found = []
    for hook in entries(service.configuration, "lifecycleHooks"):
        if text(hook, "targetType") != "PAUSE":
            continue
        timeout = mapping(hook, "timeoutConfiguration")
        stages = tuple(stage for stage in hook.get("lifecycleStages") or () if isinstance(stage, str))
        minutes = number(timeout, "timeoutInMinutes", _PAUSE_MINUTES)
        found.append(Pause(stages, minutes, text(timeout, "action", "ROLLBACK")))
    return found


def standstill(service: ServiceState) -> str | None:
    """Why a rolling update can neither start a task nor stop one, in words; None when it can.

    The lower limit is rounded up and the upper one down.
    """
    if service.strategy != "ROLLING" or service.desired_count < 1:
        return None
    daemon = text(service.body, "schedulingStrategy") == "DAEMON"
    # A daemon has at most one task on an instance, so a new one starts where the old one has stopped.
    least = number(service.configuration, "minimumHealthyPercent", 0 if daemon else 100)
    most = number(service.configuration, "maximumPercent", 100 if daemon else 200)
    wanted = service.desired_count
    may_stop = math.ceil(wanted * least / 100) < wanted
    may_start = math.floor(wanted * most / 100) > wanted
    if may_stop or may_start:
        return None
    kind = "a daemon" if daemon else f"{wanted} task{'' if wanted == 1 else 's'}"
    return f"minimumHealthyPercent {least} and maximumPercent {most} of {kind}"


def checks_health(service: ServiceState, definition: TaskDefinition) -> bool:
    """Whether anything but a running process decides that a new task is well.

    The circuit breaker alone does not: it stops counting once a task of the deployment runs
    (https://docs.aws.amazon.com/AmazonECS/latest/developerguide/deployment-circuit-breaker.html).
    """
    return bool(
        entries(service.body, "loadBalancers")
        or entries(service.body, "serviceRegistries")
        or entries(service.primary or {}, "vpcLatticeConfigurations")
        or flag(mapping(service.configuration, "alarms"), "enable")
        or any(container.get("healthCheck") for container in entries(definition.body, "containerDefinitions"))
    )


def early_success_percent(service: ServiceState) -> int | None:
    """The share of healthy tasks at which ECS calls a rolling update successful; None: all of them."""
    early = mapping(service.configuration, "earlySuccessCriteria")
    percent = number(early, "healthyPercent", 100)
    return percent if flag(early, "enable") and percent < 100 else None
