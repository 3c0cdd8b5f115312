"""The targets of a rule, or the schedule, that an item means: read and written, forward and back."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ecs_release.aws.ecs_targets import reference_of, with_task_definition
from ecs_release.aws.patience import jittered, pause
from ecs_release.aws.scheduled_tasks import FailedEntry, Rules, Schedules, read_targets, starts_when_written
from ecs_release.errors import ItemError, MissingError, RefusedError
from ecs_release.manifest.item import Schedule
from ecs_release.record.before import recorded_targets
from ecs_release.record.models import ItemRecord
from ecs_release.steps.turn import Turn
from ecs_release.steps.worker import Worker

_PUT_TARGETS_ATTEMPTS = 5


def set_meanwhile(reference: str | None) -> str:
    """What somebody else made of a target, in words."""
    return f"{reference or 'something that is no ECS task'} was set meanwhile"


def write_task_definition(
    turn: Turn,
    current: Sequence[Mapping[str, Any]],
    arn: str,
    *,
    look_again: Callable[[bool], Sequence[Mapping[str, Any]]],
    again: bool = False,
    **changes: Any,
) -> None:
    """Write the raw targets (or the schedule) that do not run ``arn`` yet, or all of them ``again``.

    Entries that EventBridge did not take are tried again, throttled ones for as long as it takes. ``changes`` are on record
    before the first attempt.

    Parameters
    ----------
    current : the item's targets, or its schedule, as they were read last.
    look_again : reads them anew before an attempt that does not follow at once, because a write replaces all that somebody may have
        changed since; told whether an earlier attempt may have been applied. Raises to stop.

    Raises
    ------
    RefusedError
        when AWS refuses it and nothing of it was applied.
    ItemError
        when AWS refuses it, or keeps refusing some of the targets.
    """
    item, task = turn.item, turn.item.task
    left = [target for target in current if again or reference_of(target) != arn]
    if not left:
        return
    taken = False

    def read_again(applied: bool) -> bool:
        now = {target.get("Id"): target for target in look_again(applied or taken)}
        kept = [target for target in left if target.get("Id") in now]
        left[:] = [now[target.get("Id")] for target in kept]
        return left == kept

    def take_in(applied: bool) -> None:
        if not read_again(applied):  # a single read may lag behind the change, or behind the read before
            time.sleep(turn.worker.settings.settle_seconds)
            read_again(applied)

    def wanted() -> list[dict[str, Any]]:
        return [with_task_definition(target, arn) for target in left]

    if isinstance(task, Schedule):
        schedules = Schedules(turn.worker.connections, item.target)

        def put() -> None:
            (schedule,) = left
            if moment := starts_when_written(schedule, time.time()):
                if reference_of(schedule) == arn:
                    return
                raise RefusedError(
                    f"its moment has passed ({moment}), so it starts nothing any more, and Scheduler may start its task at once "
                    "when it is changed; it was left as it is. To change it, give it a later moment first."
                )
            schedules.put(task.group, task.schedule, wanted()[0])

        turn.write(put, look_again=take_in, **changes)
        return
    rules = Rules(turn.worker.connections, item.target)

    def put_left() -> dict[str, FailedEntry]:
        return rules.put(task.event_bus, task.rule, wanted()) if left else {}

    for attempt in itertools.count(1):
        failed = turn.write(put_left, look_again=take_in, **changes)
        if not failed:
            return
        taken = taken or len(failed) < len(left)
        turn.looked_at = -math.inf
        left = [target for target in left if target["Id"] in failed]
        reasons = "; ".join(f"{target_id}: {entry}" for target_id, entry in failed.items())
        why = f'EventBridge did not take targets of rule "{task.rule}": {reasons}'
        throttled = any(entry.throttled for entry in failed.values())
        if attempt >= _PUT_TARGETS_ATTEMPTS and not throttled:
            raise ItemError(why)
        pause(max(0.2, jittered(attempt, 5.0)), why)


def current_targets(worker: Worker, item: ItemRecord) -> list[dict[str, Any]]:
    """The item's own targets as they are now, in the order recorded.

    Raises
    ------
    MissingError
        when one of them is gone.
    """
    found = read_targets(item.task, worker.connections)
    if isinstance(item.task, Schedule):
        return found
    by_id = {target.get("Id"): target for target in found}
    wanted = [target["Id"] for target in recorded_targets(item)]
    missing = [target_id for target_id in wanted if target_id not in by_id]
    if missing:
        raise MissingError(f'the rule "{item.task.rule}" has no target "{missing[0]}" any more.')
    return [by_id[target_id] for target_id in wanted]
