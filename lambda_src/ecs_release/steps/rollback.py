"""Rollback: put what this release changed back to its before-image, and clean up once that is proven."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from ecs_release.errors import ItemError, SupersededError
from ecs_release.observability import logger
from ecs_release.rollout import Status
from ecs_release.scheduled_task import original_reference, reference_before, reference_of
from ecs_release.service import Services
from ecs_release.steps.update_task import current_targets, set_meanwhile, write_task_definition
from ecs_release.steps.work import Worker, ensure_active, once, run_batch, under_lock
from ecs_release.store import ItemRecord

_DONE = frozenset({Status.ROLLED_BACK, Status.ROLLBACK_FAILED, Status.SUPERSEDED})


def rollback(worker: Worker, release: str, epoch: int, batch: int, phase: str) -> dict[str, Any]:
    """Put a batch back, or with the phase ``cleanup`` deregister the revisions it no longer needs."""
    if phase != "cleanup":
        return run_batch(worker, release, epoch, batch, _put_back, failed=Status.ROLLBACK_FAILED)
    unused = {item.after for item in to_deregister(worker.store.items(release))}

    def clean_up(worker: Worker, item: ItemRecord) -> None:
        if item.registered and item.after in unused:
            _deregister(worker, item)

    return run_batch(worker, release, epoch, batch, clean_up, failed=Status.ROLLBACK_FAILED)


def to_deregister(items: Sequence[ItemRecord]) -> list[ItemRecord]:
    """The items whose new revision this release registered and no item of it runs: never written, or proven back. Pure.

    Two items of one family may share a revision; it stays while one of them has not come back.
    """
    in_use = {item.after for item in items if not _left_its_revision(item)} | {
        item.rollback_to for item in items
    }
    return [item for item in items if item.registered and item.after is not None and item.after not in in_use]


def _left_its_revision(item: ItemRecord) -> bool:
    if item.status == Status.ROLLED_BACK:
        return True
    # In an unpinned family the registration alone has deployed.
    return item.pinned and item.started_at is None and item.status != Status.ROLLBACK_FAILED


def _put_back(worker: Worker, item: ItemRecord) -> None:
    if item.status in _DONE or item.rollback_started_at is not None:
        return
    if item.action != "update" and not (item.inherited and item.before != item.live):
        return
    back = put_service_back if item.kind == "service" else put_task_back
    result = once(worker, item, "back", lambda: back(worker, item))
    if result:
        worker.store.update_item(item, result)


def put_service_back(worker: Worker, item: ItemRecord) -> dict[str, Any]:
    """Start the rollout back, or adopt one that goes there already; no rollout when there is nothing to put back.

    Raises
    ------
    SupersededError
        when somebody else's deployment is live, or the service was deleted: left alone.
    ItemError
        when ECS refuses.
    """
    cluster, name = str(item.cluster), str(item.service)
    services = Services(worker.connections, item.target)
    state = services.describe(cluster, [name]).get(name)
    if state is None or state.status != "ACTIVE":
        raise SupersededError("not put back: the service was deleted meanwhile")
    primary = state.primary or {}
    live, deployment = str(primary.get("taskDefinition", state.task_definition)), str(primary.get("id"))
    now = int(time.time())
    if live in (item.before, item.rollback_to):
        # ECS itself went back, an earlier attempt did, or nothing was ever written.
        if item.deployment_id is None and deployment == item.previous_deployment:
            return _never_written(item)
        return {"rollback_to": live, "rollback_deployment": deployment, "rollback_started_at": now}
    untouched = live == item.live and deployment == item.previous_deployment
    if untouched and not item.inherited:
        return _never_written(item)
    if live != item.after and not untouched and not _ecs_went_back(services, item, live):
        raise SupersededError(f"not put back: {live} was deployed meanwhile, as {deployment}")
    target = ensure_active(worker, item, item.before)
    if target != item.before:  # an attempt that dies now must know the copy for its own
        item = worker.store.update_item(item, {"rollback_to": target})
        worker.store.mark_unwhole(item)
    with under_lock(worker, item):
        updated = services.update(cluster, name, target).primary or {}
    logger.info("going back", extra={"deployment": updated.get("id"), "revision": target})
    return {
        "rollback_to": target,
        "rollback_deployment": str(updated.get("id")),
        "rollback_started_at": now,
        **_about_copy(item, target, item.before),
    }


def _ecs_went_back(services: Services, item: ItemRecord, live: str) -> bool:
    """Whether ECS itself went back from this release's revision to what an earlier release had left there.

    That is the newest of the service's deployments then; after a later one somebody else has deployed.
    """
    if not item.inherited or live != item.live:
        return False
    newest = services.newest(str(item.cluster), str(item.service))
    return newest is not None and (newest.task_definition, newest.rolled_back_to) == (item.after, live)


def put_task_back(worker: Worker, item: ItemRecord) -> dict[str, Any]:
    """Put the task definition of the item's targets back, and nothing else of them; {} when nothing was written.

    A rule or schedule that named a family without a revision stays pinned, to the revision it ran before: the family's
    newest one is what is being undone.
    """
    try:
        current = current_targets(worker, item)
    except ItemError as error:
        raise SupersededError(f"not put back: {error}") from error
    original, back = original_reference(item), reference_before(item)
    references = {reference_of(target) for target in current}
    if not item.pinned and references == {original}:
        definitions = worker.task_definitions(item)
        if item.after is None and item.base:
            copy = definitions.find_copy(definitions.describe(item.base), item.new_images)
            if copy is not None:
                # Registered, but the worker died before it could say so: the family's newest revision is live.
                item = worker.store.update_item(item, {"after": copy.arn, "registered": True})
        if item.after is None and not item.inherited:
            return _never_written(item)
        newest = definitions.describe(original).arn
        if newest not in (item.after, item.live, item.before):
            raise SupersededError(f"not put back: {newest} was registered meanwhile")
    foreign = references - ({item.after, item.live, original, back, item.rollback_to} - {None})
    if foreign:
        raise SupersededError(f"not put back: {set_meanwhile(foreign.pop())}")
    if item.pinned and not item.inherited and references == {original} and item.started_at is None:
        return {}
    target = ensure_active(worker, item, back)
    if target != back:
        item = worker.store.update_item(item, {"rollback_to": target})
        worker.store.mark_unwhole(item)
    write_task_definition(worker, item, current, target)
    return {"rollback_to": target, "rollback_started_at": int(time.time()), **_about_copy(item, target, back)}


def _never_written(item: ItemRecord) -> dict[str, Any]:
    """It was about to be written when its worker died, and AWS shows that it was not."""
    return {} if item.started_at is None else {"started_at": None}


def _about_copy(item: ItemRecord, target: str, before: str) -> dict[str, str]:
    if target == before:
        return {}
    note = f"put back on {target}, an equal copy of {before}, which was deregistered meanwhile"
    return {"reason": f"{item.reason}; {note}" if item.reason else note}


def _deregister(worker: Worker, item: ItemRecord) -> None:
    with under_lock(worker, item):
        worker.task_definitions(item).deregister(str(item.after))
    worker.store.update_item(item, {"registered": False})
