"""The look after a rollout is complete: whether its tasks go on running for a while (the module's soak_seconds). Data in, data out.

ECS calls a deployment COMPLETED when the service reaches a steady state, and evaluates nothing of it any more: "once a service
deployment has one or more successfully running tasks, the failed task count resets to zero and stops being evaluated"
(https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_Deployment.html). What dies afterwards is started again, for ever,
and the deployment stays COMPLETED (https://github.com/aws/containers-roadmap/issues/1206).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from ecs_release.aws.answers import entries, moment, number, text
from ecs_release.aws.service_state import ServiceState
from ecs_release.aws.stopped_tasks import StoppedTask
from ecs_release.record.statuses import Status
from ecs_release.rollout.events import trouble_since
from ecs_release.rollout.judge import Judgement, gone

PATIENCE_SECONDS = 300
"""How long after its end a look that can't be taken is tried again, and tasks that stopped without a fault are waited for."""


@dataclass(frozen=True)
class Soak:
    """A deployment of ours that is complete, and is watched.

    Attributes
    ----------
    completed_at : epoch seconds at which it was complete.
    count : how many tasks of it ran then; None where ECS did not tell.
    seconds : how long it is watched.
    """

    deployment_id: str
    completed_at: int
    count: int | None
    seconds: int

    @property
    def until(self) -> int:
        return self.completed_at + self.seconds

    def open(self, now: float) -> Judgement:
        """No verdict yet, and until when there is none."""
        if now < self.until:
            return Judgement(reason=f"its rollout is complete; it is watched until {_clock(self.until)}")
        return Judgement(reason="its rollout is complete; one last look at it is due")


def completion(deployment_id: str, service: ServiceState, now: float) -> tuple[int, int | None]:
    """When ECS completed a deployment (epoch seconds), and how many tasks of it run.

    The service's events tell when (https://docs.aws.amazon.com/AmazonECS/latest/developerguide/service-event-messages-list.html);
    where they do not, it is now, when it is first seen. A task that died between the two is one that failed since.
    """
    said = (
        moment(event, "createdAt")
        for event in entries(service.body, "events")
        if deployment_id in text(event, "message") and "deployment completed" in text(event, "message")
    )
    at = next(filter(None, said), None)
    return int(min(at.timestamp(), now) if at else now), _running(service.deployment(deployment_id))


def judge_soak(
    soak: Soak, service: ServiceState | None, now: float, failed: Sequence[StoppedTask] | None = None
) -> Judgement:
    """The verdict on a deployment that is complete.

    Another deployment in its place takes nothing away from that: what counts is whether a task of this one failed.

    Parameters
    ----------
    service : what DescribeServices says now; None when it has no such service any more.
    failed : tasks of the deployment that failed since it was complete; None: not looked at yet. They are needed when something is
        odd, and at the last look, because a task that dies may be replaced between two looks.
    """
    if lost := gone(service):
        return lost
    assert service is not None  # noqa: S101 - for the type checker
    short = _short(soak, service)
    if now < soak.until and not short:
        return soak.open(now)
    if failed is None:
        return Judgement(needs_tasks=True)
    if failed:
        return Judgement(Status.FAILED, _why(failed[0], soak))
    if now < soak.until:
        return soak.open(now)
    if not short:
        return Judgement(Status.SUCCEEDED)
    patience = soak.until + PATIENCE_SECONDS
    if now < patience:
        return Judgement(
            reason=f"its rollout is complete, and {short}; ECS has until {_clock(patience)} to start the others"
        )
    events = trouble_since(service, datetime.fromtimestamp(soak.completed_at, UTC))
    said = f"; ECS says: {'; '.join(events)}" if events else ""
    return Judgement(Status.FAILED, f"its rollout was complete, and {short}{said}")


def not_known(soak: Soak, now: float, what: str) -> Judgement:
    """The verdict where nobody can look: it is complete, and it is not said that it is well.

    Parameters
    ----------
    what : what can't be read, and why.
    """
    if now < soak.until + PATIENCE_SECONDS:
        return soak.open(now)
    reason = f"its rollout is complete; whether a task of it failed since is not known: {what}"
    return Judgement(Status.UNVERIFIED, reason)


def seconds_left(until: float, now: float) -> int:
    """Whole seconds until then, none when it is past."""
    return max(0, math.ceil(until - now))


def _short(soak: Soak, service: ServiceState) -> str:
    """That fewer tasks run than are to run, in words; "" where not, or where another deployment has taken its place.

    No more are to run than ran when it was complete: what has been scaled out since may still be on its way, and ECS may have
    called it complete with fewer than all (earlySuccessCriteria).
    """
    ours = service.deployment(soak.deployment_id)
    running = _running(ours)
    if ours is None or running is None or soak.count is None or text(ours, "status") != "PRIMARY":
        return ""
    wanted = min(soak.count, service.desired_count)
    return f"only {running} of {wanted} tasks run" if running < wanted else ""


def _running(deployment: Mapping[str, object] | None) -> int | None:
    if deployment is None or deployment.get("runningCount") is None:
        return None
    return number(deployment, "runningCount")


def _why(task: StoppedTask, soak: Soak) -> str:
    name = task.arn.rpartition("/")[2]
    # A container that ends well lists no exit code.
    ended = "" if task.containers or task.code != "EssentialContainerExited" else "; exit code 0"
    after = max(0, round(task.stopped_at - soak.completed_at))
    return (
        f"its rollout was complete, and {after} s later task {name} stopped: {task.why or task.code}{ended}"
    )


def _clock(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).strftime("%H:%M:%S UTC")
