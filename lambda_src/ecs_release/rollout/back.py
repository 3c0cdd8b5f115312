"""How a service goes back whose rollout is still on its way: by ECS's own rollback, where that leads to the before-image.

A blue/green, linear or canary deployment keeps the tasks of the service revision before it, and ECS's own rollback shifts the
traffic back to them at once. UpdateService instead begins another whole deployment, with hooks and bake time, by reconciling the
one that runs (https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_ServiceDeployment.html, RECONCILE_SERVICE), while what
is bad takes the traffic. But that rollback goes to "the previous service revision", whatever that is
(https://docs.aws.amazon.com/AmazonECS/latest/developerguide/stop-service-deployment.html).
"""

from __future__ import annotations

from enum import Enum, auto

from ecs_release.aws.service_deployments import ServiceDeployment
from ecs_release.aws.service_state import ServiceState
from ecs_release.record.statuses import Status
from ecs_release.rollout.judge import Judgement, Rollout, gone, set_by_another, timed_out

_RUNNING = ("PENDING", "IN_PROGRESS")
_ON_ITS_WAY_BACK = ("ROLLBACK_REQUESTED", "ROLLBACK_IN_PROGRESS")


class WayBack(Enum):
    """What brings a service back."""

    STOP = auto()  # StopServiceDeployment, which has ECS go back by itself
    WAIT = auto()  # nothing: ECS is on its way there already, or has arrived
    UPDATE = auto()  # UpdateService


def way_back(deployment: ServiceDeployment | None, goal: str) -> WayBack:
    """What brings a service back to the task definition ``goal`` from a service deployment; None: ECS shows none."""
    if deployment is None:
        return WayBack.UPDATE
    if deployment.status in _RUNNING:
        return WayBack.STOP if _came_from(deployment, goal) else WayBack.UPDATE
    if deployment.status in _ON_ITS_WAY_BACK or deployment.status == "ROLLBACK_SUCCESSFUL":
        return WayBack.WAIT if _goes_to(deployment, goal) else WayBack.UPDATE
    return WayBack.UPDATE


def judge_rollback(
    rollout: Rollout, service: ServiceState | None, deployment: ServiceDeployment | None
) -> Judgement:
    """The verdict on ECS's own rollback.

    Parameters
    ----------
    rollout : its task definition is the one to go back to.
    deployment : the service deployment that was stopped; None when ECS does not show it now.
    """
    if lost := gone(service):
        return lost
    if deployment is not None:
        match deployment.status:
            case "ROLLBACK_SUCCESSFUL" if _goes_to(deployment, rollout.task_definition):
                return Judgement(Status.SUCCEEDED)
            case "ROLLBACK_SUCCESSFUL":
                to = deployment.rolled_back_to or "a service revision that it can't describe"
                return Judgement(Status.FAILED, f"ECS went back to {to}")
            case "ROLLBACK_FAILED":
                return Judgement(Status.FAILED, f"ECS's own rollback failed: {deployment.reason}")
            case "SUCCESSFUL":
                return Judgement(Status.FAILED, "ECS completed the rollout instead of going back")
            case "STOPPED" if service is not None:
                return set_by_another(rollout, service)
    return timed_out(rollout) if rollout.overdue else Judgement()


def _came_from(deployment: ServiceDeployment, goal: str) -> bool:
    """Whether all that ran when it began ran the goal: of several ECS does not say which is the previous one."""
    return bool(deployment.sources) and set(deployment.sources) == {goal}


def _goes_to(deployment: ServiceDeployment, goal: str) -> bool:
    """Whether its rollback leads to the goal, or as long as ECS names no service revision must do so."""
    if deployment.rollback_revision:
        return deployment.rolled_back_to == goal
    return deployment.status in _ON_ITS_WAY_BACK and _came_from(deployment, goal)
