"""What became of a deployment: the verdict on one service, from data alone.

The rules are those of AWS's own documents:
https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_Deployment.html (rolloutState exists for rolling updates,
and not behind a Classic Load Balancer),
https://docs.aws.amazon.com/AmazonECS/latest/developerguide/deployment-circuit-breaker.html (FAILED is only reached with
the circuit breaker on; it goes back to the latest COMPLETED deployment) and
https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_ServiceDeployment.html.

"The service looks stable" is not among them: it is also true after a rollback.

Which service deployment is that of a deployment, ECS itself tells: they share a number (``aws.services.number_of``). Where it
tells none, the first one of our revision since we started is taken for ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ecs_release.aws.service_deployments import ServiceDeployment
from ecs_release.aws.service_state import ServiceState, number_of
from ecs_release.record.statuses import Status


@dataclass(frozen=True)
class Rollout:
    """What is being watched.

    Attributes
    ----------
    deployment_id : the deployment this release started, or for an unchanged service the one it found.
    task_definition : what that deployment runs.
    age_seconds : time since it was started, or since watching began.
    timeout_seconds : the item's own deadline, bake time included.
    found : the release found it and did not start it: the service is unchanged.
    service_deployment : ARN of the service deployment that UpdateService named when it started it; "" where it named none.
    """

    deployment_id: str
    task_definition: str
    age_seconds: float
    timeout_seconds: float
    found: bool = False
    service_deployment: str = ""

    @property
    def overdue(self) -> bool:
        return self.age_seconds >= self.timeout_seconds


@dataclass(frozen=True)
class Judgement:
    """The verdict, or none yet.

    Attributes
    ----------
    status : SUCCEEDED, UNVERIFIED, FAILED, TIMED_OUT, SUPERSEDED or ROLLED_BACK_BY_ECS; None: look again later.
    needs_history : the service's own record of deployments is needed to decide; look at it and judge again.
    needs_second_look : one answer of AWS does not prove it; the round after has to see the same.
    needs_tasks : the tasks that failed since it was complete are needed to decide (:mod:`ecs_release.rollout.soak`).
    bakes : none yet, and none soon: its tasks run, and only its bake time or somebody's word is waited for.
    """

    status: Status | None = None
    reason: str = ""
    needs_history: bool = False
    needs_second_look: bool = False
    bakes: bool = False
    needs_tasks: bool = False


_UNDECIDED = Judgement()
_LOOK_AT_HISTORY = Judgement(needs_history=True)


def judge(
    rollout: Rollout, service: ServiceState | None, history: Sequence[ServiceDeployment] | None = None
) -> Judgement:
    """The verdict on one rollout.

    Parameters
    ----------
    service : what DescribeServices says now; None when it has no such service any more.
    history : service deployments since the rollout was started, oldest first; None: not looked at yet. An empty
        list is never a verdict, because a service deployment becomes visible with a delay.
    """
    if lost := gone(service):
        return lost
    assert service is not None  # noqa: S101 - for the type checker
    judgement = _judge(rollout, service, history)
    if service.desired_count:
        return judgement
    return _with_nothing_running(judgement, rollout, service, history or ())


def _with_nothing_running(
    judgement: Judgement, rollout: Rollout, service: ServiceState, history: Sequence[ServiceDeployment]
) -> Judgement:
    """What a verdict is worth where ECS is to run nothing: a bad one stands, a good one proves nothing.

    Also of a deployment that is no longer PRIMARY, or not yet in an answer that lags: ECS calls it successful all the same.
    """
    deployment = service.deployment(rollout.deployment_id) or {}
    failed = deployment.get("failedTasks", 0)
    if judgement.status is not Status.SUCCEEDED:
        told = find_ours(rollout, service, history)
        goes_well = (
            service.rollout_state(deployment) != "FAILED"
            and (told is None or told.status in ("PENDING", "IN_PROGRESS", "SUCCESSFUL"))
            and not failed
        )
        open_still = judgement.status in (None, Status.TIMED_OUT) and not judgement.needs_history
        if not (open_still and goes_well and _is_primary(rollout, service)):
            return judgement
    if failed:
        reason = f"desired count is 0, so nothing runs that could prove the rollout; before, {failed} of its tasks failed"
    else:
        reason = "desired count is 0, so nothing ran that could prove the rollout"
    return Judgement(Status.UNVERIFIED, reason)


def _judge(rollout: Rollout, service: ServiceState, history: Sequence[ServiceDeployment] | None) -> Judgement:
    ours = service.deployment(rollout.deployment_id)
    if _is_primary(rollout, service):
        state = service.rollout_state(ours)
        if state == "COMPLETED":
            return Judgement(Status.SUCCEEDED)
        if state == "FAILED" and not service.rolls_back_by_itself:
            return Judgement(Status.FAILED, _reason(ours))
        if state == "IN_PROGRESS":
            return timed_out(rollout) if rollout.overdue else _UNDECIDED
        # FAILED while ECS is about to roll back by itself, or a strategy that has no rolloutState.
        if history is None:
            return _LOOK_AT_HISTORY
        verdict = _from_history(rollout, service, history)
        if verdict is not None:
            return verdict
        if not rollout.overdue:
            running = find_ours(rollout, service, history)
            return Judgement(bakes=running is not None and running.bakes)
        return Judgement(Status.FAILED, _reason(ours)) if state == "FAILED" else timed_out(rollout)

    if history is None:
        return _LOOK_AT_HISTORY
    verdict = _from_history(rollout, service, history)
    if verdict is not None:
        return verdict
    state = service.rollout_state(ours)
    if state == "COMPLETED":
        # Replaced before its completion was seen; the proof is still on it.
        return Judgement(Status.SUCCEEDED)
    if state == "FAILED" and service.rolls_back_by_itself:
        return Judgement(Status.ROLLED_BACK_BY_ECS, _reason(ours))
    if rollout.overdue:
        return set_by_another(rollout, service)
    return _UNDECIDED


def gone(service: ServiceState | None) -> Judgement | None:
    """The verdict on a service that is not there any more; None while it is."""
    if service is None:
        return Judgement(Status.FAILED, "the service is gone", needs_second_look=True)
    if service.status != "ACTIVE":
        return Judgement(
            Status.FAILED,
            f"the service is {service.status}: it was deleted while the release waited for it",
            needs_second_look=True,
        )
    return None


def _is_primary(rollout: Rollout, service: ServiceState) -> bool:
    return service.primary is not None and service.primary.get("id") == rollout.deployment_id


def _from_history(
    rollout: Rollout, service: ServiceState, history: Sequence[ServiceDeployment]
) -> Judgement | None:
    ours = find_ours(rollout, service, history)
    if ours is None or (rollout.found and ours.rolled_back_to == rollout.task_definition):
        # An unchanged service runs what it is meant to run, also where ECS went back from that to the very same.
        return _from_own_rollback(rollout, service, history)
    match ours.status:
        case "SUCCESSFUL":
            return Judgement(Status.SUCCEEDED)
        case "ROLLBACK_SUCCESSFUL":
            return Judgement(Status.ROLLED_BACK_BY_ECS, ours.reason or "ECS rolled the service back")
        case "ROLLBACK_FAILED":
            return Judgement(
                Status.FAILED, f"the rollout failed, and so did ECS's own rollback: {ours.reason}"
            )
        case "ROLLBACK_REQUESTED" | "ROLLBACK_IN_PROGRESS":
            return Judgement(Status.ROLLED_BACK_BY_ECS, ours.reason) if rollout.overdue else _UNDECIDED
        case "STOPPED":
            if _is_primary(rollout, service):
                return Judgement(Status.FAILED, ours.reason or "the service deployment was stopped")
            return set_by_another(rollout, service)
        case "STOP_REQUESTED":
            return None if _is_primary(rollout, service) else set_by_another(rollout, service)
        case _:  # PENDING, IN_PROGRESS
            return (
                None
                if _is_primary(rollout, service) or not rollout.overdue
                else set_by_another(rollout, service)
            )


def find_ours(
    rollout: Rollout, service: ServiceState, history: Sequence[ServiceDeployment]
) -> ServiceDeployment | None:
    """The service deployment of the deployment that is watched; None when it can't be seen yet.

    Parameters
    ----------
    history : oldest first, since the rollout was started.
    """
    number = number_of(_watched(rollout, service))
    if number:
        ours = next((d for d in history if d.number == number), None)
        if ours is not None or number in _numbers(service, history):
            return ours
    alike = [d for d in history if d.task_definition == rollout.task_definition]
    named = next((d for d in alike if d.arn == rollout.service_deployment), None)
    if named is not None:
        return named
    # ECS tells nothing of it by its number: the first one of our revision since we started is ours; a later one of the same
    # revision is somebody's force-new-deployment. Of an unchanged service the last one counts, because one right before it may
    # have given way to it.
    others = {number_of(d.get("id")) for d in service.body.get("deployments", ())} - {number, ""}
    in_turn = [d for d in alike if d.number not in others]
    return next(reversed(in_turn) if rollout.found else iter(in_turn), None)


def _watched(rollout: Rollout, service: ServiceState) -> str:
    """The deployment's id; of an unchanged service the present one's, if it runs the same."""
    primary = service.primary or {}
    if rollout.found and primary.get("taskDefinition") == rollout.task_definition:
        return str(primary.get("id"))
    return rollout.deployment_id


def _numbers(service: ServiceState, history: Sequence[ServiceDeployment]) -> set[str]:
    """Every number by which ECS tells of a service revision of this service."""
    revisions = [arn for d in history for arn in (d.revision, d.rollback_revision)]
    return {number_of(arn) for arn in (*service.current_service_revisions, *revisions)}


def _from_own_rollback(
    rollout: Rollout, service: ServiceState, history: Sequence[ServiceDeployment]
) -> Judgement | None:
    """What ECS put back itself is part of the service deployment that failed, not one of its own."""
    back = next((d for d in reversed(history) if d.rolled_back_to == rollout.task_definition), None)
    if back is None or (service.primary or {}).get("id") != _watched(rollout, service):
        return None
    match back.status:
        case "ROLLBACK_SUCCESSFUL":
            return Judgement(Status.SUCCEEDED)
        case "ROLLBACK_FAILED":
            return Judgement(Status.FAILED, back.reason or "ECS's own rollback failed")
        case _:
            return None


def set_by_another(rollout: Rollout, service: ServiceState) -> Judgement:
    """The verdict where another deployment has taken the place of the one that is watched."""
    primary = service.primary or {}
    other = primary.get("taskDefinition", service.task_definition)
    how = (
        "the same revision was deployed again"
        if other == rollout.task_definition
        else f"{other} was deployed"
    )
    reason = f"{how} meanwhile, as {primary.get('id', 'another deployment')}"
    # A lagging read may still show what was live before our deployment.
    return Judgement(Status.SUPERSEDED, reason, needs_second_look=True)


def timed_out(rollout: Rollout) -> Judgement:
    """The verdict at the item's own deadline."""
    return Judgement(Status.TIMED_OUT, f"not completed within {rollout.timeout_seconds / 60:g} minutes")


def _reason(deployment: object) -> str:
    if isinstance(deployment, dict):
        return str(deployment.get("rolloutStateReason") or "ECS gives no reason")
    return "ECS gives no reason"
