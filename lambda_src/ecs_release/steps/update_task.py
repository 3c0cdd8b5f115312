"""UpdateTasks: point the EventBridge rules and schedules of one batch at their new revisions."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from ecs_release.errors import ItemError, SupersededError
from ecs_release.estate import read_targets
from ecs_release.rollout import Status
from ecs_release.scheduled_task import (
    Rules,
    Schedules,
    original_reference,
    recorded_targets,
    reference_of,
    with_task_definition,
)
from ecs_release.steps.work import Worker, once, register, run_batch, under_lock
from ecs_release.store import ItemRecord
from ecs_release.task_definition import content_digest


def update_task(worker: Worker, release: str, epoch: int, batch: int) -> dict[str, Any]:
    """Write the targets and schedules of a batch."""
    return run_batch(worker, release, epoch, batch, _update_item)


def _update_item(worker: Worker, item: ItemRecord) -> None:
    ready = Status.PREPARED if item.pinned else Status.PENDING
    if item.action != "update" or item.verdict != ready:
        return
    result = once(worker, item, "forward", lambda: point_at_new_revision(worker, item))
    worker.store.update_item(
        item, {**result, "verdict": Status.UPDATED, "status": Status.UPDATED, "reason": ""}, verdict_open=True
    )


def point_at_new_revision(worker: Worker, item: ItemRecord) -> dict[str, Any]:
    """Write the item's targets with their new task definition and nothing else changed.

    Raises
    ------
    SupersededError
        when somebody else pointed them elsewhere since the release read them.
    ItemError
        when the rule or schedule is gone, or AWS refuses.
    """
    current = current_targets(worker, item)
    references = [reference_of(target) for target in current]
    ours = {item.live, item.after, *map(reference_of, recorded_targets(item))} - {None}
    foreign = [reference for reference in references if reference not in ours]
    if foreign:
        raise SupersededError(set_meanwhile(foreign[0]))
    if not item.pinned and original_reference(item) in references:
        _ensure_nobody_registered(worker, item)
    # The ARN of a revision that is still to be registered is not known yet; its content is.
    worker.store.mark_unwhole(item, content_digest(item.base, item.new_images))
    started_at = item.started_at or int(time.time())
    # Recorded before it is done: should this worker die now, nobody may say later that the task was not touched.
    item = worker.store.update_item(item, {"started_at": started_at})
    if item.after is None:
        # Unpinned: from the registration on, the newest revision is what runs.
        item = register(worker, item)
    try:
        write_task_definition(worker, item, current, str(item.after))
    except ItemError:
        if _still_as_it_was(worker, item):
            worker.store.update_item(item, {"started_at": None})
        raise
    return {"after": item.after, "registered": item.registered, "started_at": started_at}


def _ensure_nobody_registered(worker: Worker, item: ItemRecord) -> None:
    """Of a family named without a revision the newest one runs: who registers in it deploys."""
    definitions = worker.task_definitions(item)
    newest = definitions.describe(original_reference(item))
    if newest.arn in (item.live, item.after):
        return
    copy = definitions.find_copy(definitions.describe(item.base), item.new_images)
    if copy is None or copy.arn != newest.arn:
        raise SupersededError(f"{newest.arn} was registered meanwhile, and the family's newest revision runs")


def set_meanwhile(reference: str | None) -> str:
    """What somebody else made of a target, in words."""
    return f"{reference or 'something that is no ECS task'} was set meanwhile"


def _still_as_it_was(worker: Worker, item: ItemRecord) -> bool:
    """Whether a refused write left every target alone: PutTargets may have taken some of them."""
    try:
        return all(reference_of(target) != item.after for target in current_targets(worker, item))
    except (ItemError, ClientError, BotoCoreError):
        return False


def write_task_definition(
    worker: Worker, item: ItemRecord, current: Sequence[Mapping[str, Any]], arn: str
) -> None:
    """Write the raw targets (or the schedule) that do not run ``arn`` yet."""
    stale = [with_task_definition(target, arn) for target in current if reference_of(target) != arn]
    if not stale:
        return
    with under_lock(worker, item):
        if item.rule is not None:
            Rules(worker.connections, item.target).put(item.event_bus, item.rule, stale)
        else:
            Schedules(worker.connections, item.target).put(item.schedule_group, str(item.schedule), stale[0])


def current_targets(worker: Worker, item: ItemRecord) -> list[dict[str, Any]]:
    """The item's own targets as they are now, in the order recorded.

    Raises
    ------
    ItemError
        when one of them is gone.
    """
    found = read_targets(item, worker.connections)
    if item.rule is None:
        return found
    by_id = {target["Id"]: target for target in found}
    wanted = [target["Id"] for target in recorded_targets(item)]
    missing = [target_id for target_id in wanted if target_id not in by_id]
    if missing:
        raise ItemError(f'the rule "{item.rule}" has no target "{missing[0]}" any more.')
    return [by_id[target_id] for target_id in wanted]
