"""UpdateServices: start the rollouts of one batch of services and remember the deployments to prove."""

from __future__ import annotations

import time
from typing import Any

from ecs_release.aws.service_state import ServiceState
from ecs_release.aws.services import Services
from ecs_release.errors import ItemError, RefusedError, SupersededError
from ecs_release.observability import about_release, logger
from ecs_release.record.models import ItemRecord
from ecs_release.record.statuses import Status
from ecs_release.steps.batch import run_batch
from ecs_release.steps.history import given_up_by_ecs, started_before, started_by_an_attempt
from ecs_release.steps.turn import NO_CLAIM, Turn, once, seen_twice
from ecs_release.steps.worker import Worker


def update_service(worker: Worker, release: str, epoch: int, batch: int) -> dict[str, Any]:
    """Start the rollouts of a batch; waits for none of them."""
    return run_batch(worker, release, epoch, batch, _update_item)


def _update_item(turn: Turn) -> None:
    if turn.item.action != "update" or turn.item.verdict != Status.PREPARED:
        return
    result = once(turn, "forward", lambda: start_rollout(turn))
    turn.update(
        {**result, **NO_CLAIM, "verdict": Status.UPDATED, "status": Status.UPDATED, "reason": ""},
        verdict_open=True,
    )


def start_rollout(turn: Turn) -> dict[str, Any]:
    """Point the service at the new revision, or adopt the deployment that an earlier attempt started.

    Raises
    ------
    SupersededError
        when somebody else deployed since the release read the service: never overwritten.
    MissingError
        when the service or its cluster is gone.
    ItemError
        when ECS refuses.
    """
    if turn.left_by_another:
        turn.claim()
    cluster, name, after = turn.item.service.cluster, turn.item.service.service, str(turn.item.after)
    services = Services(turn.worker.connections, turn.item.target)
    may_have_started = turn.item.started_at is not None
    found: list[ServiceState] = []

    def look() -> str | None:
        turn.looked_at = time.monotonic()
        state = services.find(cluster, name)
        found[:] = [state]
        if _is_ours(turn.item, state) or _is_as_found(turn.item, state):
            return None
        if _was_restarted(turn.item, state) and not may_have_started:
            return None
        return f"{state.task_definition} was deployed meanwhile, as {(state.primary or {}).get('id')}"

    def look_again(applied: bool) -> None:
        nonlocal may_have_started
        may_have_started = may_have_started or applied
        odd = seen_twice(turn, look)
        if odd is not None:
            if may_have_started and started_before(services, turn.item):
                raise ItemError(f"the rollout that an earlier attempt started is over, and {odd}")
            raise SupersededError(odd)
        if _is_ours(turn.item, found[0]):
            return
        if _was_restarted(turn.item, found[0]):
            restarted = str((found[0].primary or {})["id"])
            logger.info(
                "somebody restarted the service before it was written", extra={"deployment": restarted}
            )
            turn.update({"previous_deployment": restarted})
        # The deployment that ECS went back to may be the very one that was found.
        if may_have_started and given_up_by_ecs(services, turn.item):
            raise ItemError("the rollout that an earlier attempt started is over: ECS went back from it.")

    look_again(may_have_started)
    if _is_ours(turn.item, found[0]):
        return _adopted(services, turn.item, found[0])
    turn.worker.store.remember(turn.item)
    started_at = turn.item.started_at or int(time.time())
    try:
        # Recorded before it is done: should this worker die in it, nobody may say later that the service was not touched.
        updated = turn.write(
            lambda: services.update(cluster, name, after),
            wait=services.wait_for_update,
            look_again=look_again,
            started_at=started_at,
        )
    except (RefusedError, SupersededError):
        if not may_have_started:
            turn.update({"started_at": None})
        raise
    if not _is_ours(turn.item, updated):
        # The answer need not show yet what the call has done: https://github.com/aws/containers-roadmap/issues/2709
        time.sleep(turn.worker.settings.settle_seconds)
        look_again(True)
        updated = found[0]
        if not _is_ours(turn.item, updated):
            raise ItemError("ECS took the new task definition but started no deployment.")
    if may_have_started:
        return _adopted(services, turn.item, updated)
    logger.info("rollout started", extra={"deployment": _named(updated)["deployment_id"], "revision": after})
    return _started(updated, started_at)


def _adopted(services: Services, item: ItemRecord, state: ServiceState) -> dict[str, Any]:
    """The deployment that an earlier attempt started; without such an attempt the one by which somebody made our revision live."""
    primary = state.primary or {}
    named, deployment = _named(state), primary
    ours = None if item.started_at is None else started_by_an_attempt(services, item, state)
    if ours is not None and ours.deployment not in ("", primary["id"]):
        logger.info("somebody has deployed the same revision again", extra={"deployment": primary["id"]})
        named = {"deployment_id": ours.deployment, "service_deployment": ours.arn}
        deployment = state.deployment(ours.deployment) or {}
    logger.info("adopting a deployment", extra={"deployment": named["deployment_id"]})
    created = deployment.get("createdAt")
    return {
        **named,
        "started_at": int(created.timestamp()) if created else item.started_at or int(time.time()),
    }


def _started(state: ServiceState, started_at: int) -> dict[str, Any]:
    return {**_named(state), "started_at": started_at}


def _named(state: ServiceState) -> dict[str, Any]:
    """Who ECS says the rollout is; its deployment's id is the proof, and the service deployment a way to it."""
    return {
        "deployment_id": str((state.primary or {}).get("id")),
        "service_deployment": state.current_service_deployment or None,
    }


def _is_ours(item: ItemRecord, state: ServiceState) -> bool:
    primary = state.primary or {}
    return bool(primary.get("taskDefinition") == item.after and primary.get("id") != item.previous_deployment)


def _is_as_found(item: ItemRecord, state: ServiceState) -> bool:
    primary = state.primary or {}
    return bool(state.task_definition == item.live and primary.get("id") == item.previous_deployment)


def _was_restarted(item: ItemRecord, state: ServiceState) -> bool:
    """Whether the very revision was deployed again that was found.

    Before this release has written, by somebody, and it is as found. Once this release may have written, it is somebody's
    deployment over ours, or ECS's own way back.
    """
    primary = state.primary or {}
    return bool(
        primary.get("taskDefinition") == state.task_definition == item.live
        and primary.get("id") != item.previous_deployment
    )


@logger.inject_lambda_context(log_event=False, clear_state=True)
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """``{"release", "epoch", "batch"}`` in, ``{"batch", "failed"}`` out."""
    release, epoch, batch = str(event["release"]), int(event["epoch"]), int(event["batch"])
    about_release(release, batch=batch)
    return update_service(Worker.create("update_service", context), release, epoch, batch)
