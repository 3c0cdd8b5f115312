"""UpdateServices: start the rollouts of one batch of services and remember the deployments to prove."""

from __future__ import annotations

import time
from typing import Any

from ecs_release.errors import ItemError, SupersededError
from ecs_release.observability import logger
from ecs_release.rollout import Status
from ecs_release.service import Services
from ecs_release.steps.work import Worker, once, run_batch, under_lock
from ecs_release.store import ItemRecord


def update_service(worker: Worker, release: str, epoch: int, batch: int) -> dict[str, Any]:
    """Start the rollouts of a batch; waits for none of them."""
    return run_batch(worker, release, epoch, batch, _update_item)


def _update_item(worker: Worker, item: ItemRecord) -> None:
    if item.action != "update" or item.verdict != Status.PREPARED:
        return
    result = once(worker, item, "forward", lambda: start_rollout(worker, item))
    worker.store.update_item(
        item, {**result, "verdict": Status.UPDATED, "status": Status.UPDATED, "reason": ""}, verdict_open=True
    )


def start_rollout(worker: Worker, item: ItemRecord) -> dict[str, Any]:
    """Point the service at the new revision, or adopt the deployment that an earlier attempt started.

    Raises
    ------
    SupersededError
        when somebody else deployed since the release read the service: never overwritten.
    ItemError
        when the service is gone or ECS refuses.
    """
    cluster, name, after = str(item.cluster), str(item.service), str(item.after)
    services = Services(worker.connections, item.target)
    state = services.describe(cluster, [name]).get(name)
    if state is None or state.status != "ACTIVE":
        raise ItemError(f"the service is {state.status if state else 'gone'}.")
    primary = state.primary or {}
    if primary.get("taskDefinition") == after and primary.get("id") != item.previous_deployment:
        logger.info("adopting the deployment of an earlier attempt", extra={"deployment": primary["id"]})
        return {"deployment_id": str(primary["id"]), "started_at": int(primary["createdAt"].timestamp())}
    if state.task_definition != item.live or primary.get("id") != item.previous_deployment:
        raise SupersededError(f"{state.task_definition} was deployed meanwhile, as {primary.get('id')}")
    worker.store.mark_unwhole(item)
    started_at = item.started_at or int(time.time())
    # Recorded before it is done: should this worker die now, nobody may say later that the service was not touched.
    worker.store.update_item(item, {"started_at": started_at})
    try:
        with under_lock(worker, item):
            updated = services.update(cluster, name, after).primary or {}
    except ItemError:
        worker.store.update_item(item, {"started_at": item.started_at})
        raise
    deployment_id = updated.get("id")
    if deployment_id in (None, item.previous_deployment):
        raise ItemError("ECS took the new task definition but started no deployment.")
    logger.info("rollout started", extra={"deployment": deployment_id, "revision": after})
    return {"deployment_id": str(deployment_id), "started_at": started_at}
