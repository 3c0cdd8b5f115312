"""UpdateTasks: point the EventBridge rules and schedules of one batch at their new revisions."""

from __future__ import annotations

import itertools
import time
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from ecs_release.errors import ItemError, RefusedError, SupersededError
from ecs_release.estate import read_targets
from ecs_release.retries import jittered, pause
from ecs_release.rollout import Status
from ecs_release.scheduled_task import (
    Rules,
    Schedules,
    original_reference,
    recorded_targets,
    reference_of,
    with_task_definition,
)
from ecs_release.steps.work import NO_CLAIM, Turn, Worker, once, register, run_batch, seen_twice
from ecs_release.store import ItemRecord
from ecs_release.task_definition import content_digest

_PUT_TARGETS_ATTEMPTS = 5


def update_task(worker: Worker, release: str, epoch: int, batch: int) -> dict[str, Any]:
    """Write the targets and schedules of a batch."""
    return run_batch(worker, release, epoch, batch, _update_item)


def _update_item(turn: Turn) -> None:
    ready = Status.PREPARED if turn.item.pinned else Status.PENDING
    if turn.item.action != "update" or turn.item.verdict != ready:
        return
    result = once(turn, "forward", lambda: point_at_new_revision(turn))
    turn.update(
        {**result, **NO_CLAIM, "verdict": Status.UPDATED, "status": Status.UPDATED, "reason": ""},
        verdict_open=True,
    )


def point_at_new_revision(turn: Turn) -> dict[str, Any]:
    """Write the item's targets with their new task definition and nothing else changed.

    Raises
    ------
    SupersededError
        when somebody else pointed them elsewhere since the release read them.
    ItemError
        when the rule or schedule is gone, or AWS refuses.
    """
    if turn.left_by_another:
        turn.claim()
    item = turn.item
    ours = {item.live, item.after, *map(reference_of, recorded_targets(item))} - {None}
    current: list[dict[str, Any]] = []

    def look() -> str | None:
        current[:] = current_targets(turn.worker, item)
        foreign = [reference for reference in map(reference_of, current) if reference not in ours]
        return set_meanwhile(foreign[0]) if foreign else None

    if odd := seen_twice(turn, look):
        raise SupersededError(odd)
    if not item.pinned and original_reference(item) in map(reference_of, current):
        _ensure_nobody_registered(turn)
    # The ARN of a revision that is still to be registered is not known yet; its content is.
    turn.worker.store.mark_unwhole(item, content_digest(item.base, item.new_images))
    started_at = item.started_at or int(time.time())
    if item.after is None:
        # Unpinned: from the registration on, the newest revision is what runs. Recorded before it is done: should this worker
        # die in it, nobody may say later that the task was not touched.
        turn.claim(started_at=started_at)
        register(turn)
    try:
        write_task_definition(turn, current, str(turn.item.after), started_at=started_at)
    except RefusedError:
        turn.update({"started_at": None})
        raise
    return {
        "after": turn.item.after,
        "registered": turn.item.registered,
        "started_at": started_at,
        "written_at": int(time.time()),
    }


def _ensure_nobody_registered(turn: Turn) -> None:
    """Of a family named without a revision the newest one runs: who registers in it deploys."""
    item = turn.item
    definitions = turn.worker.task_definitions(item)

    def look() -> str | None:
        newest = definitions.describe(original_reference(item))
        if newest.arn in (item.live, item.after):
            return None
        copy = definitions.find_copy(definitions.describe(item.base), item.new_images)
        if copy is not None and copy.arn == newest.arn:
            return None
        return f"{newest.arn} was registered meanwhile, and the family's newest revision runs"

    if odd := seen_twice(turn, look):
        raise SupersededError(odd)


def set_meanwhile(reference: str | None) -> str:
    """What somebody else made of a target, in words."""
    return f"{reference or 'something that is no ECS task'} was set meanwhile"


def write_task_definition(
    turn: Turn, current: Sequence[Mapping[str, Any]], arn: str, *, again: bool = False, **changes: Any
) -> None:
    """Write the raw targets (or the schedule) that do not run ``arn`` yet, or all of them ``again``.

    Entries that EventBridge did not take are tried again, throttled ones for as long as it takes. ``changes`` are on record
    before the first attempt.

    Raises
    ------
    RefusedError
        when AWS refuses it and nothing of it was applied.
    ItemError
        when AWS refuses it, or keeps refusing some of the targets.
    """
    item = turn.item
    left = [with_task_definition(t, arn) for t in current if again or reference_of(t) != arn]
    if not left:
        return
    if item.rule is None:
        schedules = Schedules(turn.worker.connections, item.target)
        turn.write(
            lambda: schedules.put(item.schedule_group, str(item.schedule), left[0]),
            **changes,
        )
        return
    rules = Rules(turn.worker.connections, item.target)
    put = partial(rules.put, item.event_bus, item.rule)
    for attempt in itertools.count(1):
        failed = turn.write(partial(put, left), **changes)
        if not failed:
            return
        left = [target for target in left if target["Id"] in failed]
        reasons = "; ".join(f"{target_id}: {entry}" for target_id, entry in failed.items())
        why = f'EventBridge did not take targets of rule "{item.rule}": {reasons}'
        throttled = any(entry.throttled for entry in failed.values())
        if attempt >= _PUT_TARGETS_ATTEMPTS and not throttled:
            raise ItemError(why)
        pause(max(0.2, jittered(attempt, 5.0)), why)


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
