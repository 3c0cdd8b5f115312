"""Finishing a rollback by hand: what ``ecs-release repair`` does for each item that a release did not bring back.

The steps that put an item back are those of Rollback. They write the rule's targets or the schedule as AWS sends them now,
with the task definition changed, and leave alone what somebody else has set since.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from ecs_release.aws.ecs_targets import reference_of
from ecs_release.aws.services import Services
from ecs_release.aws.trouble import explain
from ecs_release.cli.named import named
from ecs_release.cli.orchestrator import Orchestrator
from ecs_release.errors import (
    EcsReleaseError,
    ItemError,
    LockLostError,
    MissingError,
    OddAnswerError,
    PassingError,
    RecordChangedError,
    SupersededError,
    TargetUnreachableError,
)
from ecs_release.record.before import original_reference, reference_before
from ecs_release.record.models import ItemRecord, ReleaseRecord
from ecs_release.record.store import Store
from ecs_release.rollout.release import not_back
from ecs_release.settings import Settings
from ecs_release.steps.rollback import put_service_back, put_task_back
from ecs_release.steps.targets import current_targets, set_meanwhile
from ecs_release.steps.turn import Turn
from ecs_release.steps.worker import Worker

TO_DO, DONE, BACK, LEFT_ALONE, FAILED = "to do", "done", "already back", "left alone", "failed"
GOOD = frozenset({DONE, BACK})
_UNREACHABLE = (ClientError, BotoCoreError, TargetUnreachableError, PassingError, OddAnswerError)


@dataclass(frozen=True)
class Repair:
    """One item to put back.

    Attributes
    ----------
    live : what it runs now, as its service, targets or schedule name it.
    goal : what it is to run.
    outcome : "to do", "done", "already back", "left alone" or "failed".
    reason : why, in words; "" where there is nothing to say.
    """

    item: ItemRecord
    live: tuple[str, ...]
    goal: str
    outcome: str
    reason: str = ""

    def as_document(self) -> dict[str, Any]:
        """An entry of ``repair --json`` (``schemas/repair.schema.json``)."""
        return {
            "kind": self.item.kind,
            "name": self.item.state_key[2],
            "target": self.item.target,
            "from": list(self.live),
            "to": self.goal,
            "outcome": self.outcome,
            "reason": self.reason,
        }


class ByHand(Store):
    """The releases table for whoever writes without the lock: nobody may hold it."""

    def update_item(self, item: ItemRecord, changes: Mapping[str, Any], **_: Any) -> ItemRecord:
        """The item as it would be: the release is closed, and its record stays what it was."""
        return replace(item, **changes)

    def check_lock(self, release: str, epoch: int) -> None:  # noqa: ARG002 - the release is closed, its epoch is over
        """Refuse to write beside a release.

        Raises
        ------
        LockLostError
            when one is running.
        """
        lock = self.lock()
        if lock.holder is not None:
            raise LockLostError(f"release {lock.holder} is running; repair what is left when it has ended.")


def by_hand(orchestrator: Orchestrator) -> Worker:
    """Rollback's own means in the hands of a person."""
    table = orchestrator.table()
    store = ByHand(orchestrator.dynamodb(), table)
    return Worker("rollback", Settings(table), store, orchestrator.writer(store))


def left_over(record: ReleaseRecord, items: Sequence[ItemRecord], names: Sequence[str]) -> list[ItemRecord]:
    """The items of a release that a rollback did not bring back; of those named, when some are.

    Raises
    ------
    EcsReleaseError
        when a name is none of them, or may mean a service, a rule or a schedule.
    """
    left = not_back(record, items)
    chosen, unknown = named(names, [item.state_key for item in left])
    if unknown:
        rest = f"; left are {', '.join(sorted(item.state_key[2] for item in left))}" if left else ""
        raise EcsReleaseError(
            f"{', '.join(unknown)} is no item that release {record.release} did not bring back{rest}."
        )
    return [item for item in left if not names or item.state_key in chosen]


def look(worker: Worker, item: ItemRecord) -> Repair:
    """What there is to do for one item. Reads only."""
    goal = item.rollback_to or (item.before if item.is_service else reference_before(item))
    try:
        memory = worker.store.memory(item.state_key)
        live, trouble = _service(worker, item, goal) if item.is_service else _task(worker, item)
    except ItemError as error:
        return Repair(item, (), goal, LEFT_ALONE, str(error))
    except _UNREACHABLE as error:
        return Repair(item, (), goal, FAILED, explain(error))
    if set(live) == {goal}:
        return Repair(item, live, goal, FAILED if trouble else BACK, trouble)
    if memory is None:
        return Repair(item, live, goal, LEFT_ALONE, "a later release has made it whole")
    ours = {item.after, item.live, item.before, goal, *memory.get("ours", ())}
    if not item.is_service:
        ours.add(original_reference(item))
    foreign = sorted(set(live) - ours)
    if foreign:
        return Repair(item, live, goal, LEFT_ALONE, set_meanwhile(foreign[0] or None))
    return Repair(item, live, goal, TO_DO)


def _write(turn: Turn) -> Mapping[str, Any]:
    while True:
        try:
            return (put_service_back if turn.item.is_service else put_task_back)(turn)
        except RecordChangedError:  # a worker that was still at it has ended
            turn.read_again()


def put_back(worker: Worker, item: ItemRecord) -> Repair:
    """Put one item back, and read back what it runs then.

    Raises
    ------
    LockLostError
        when a release has begun meanwhile.
    """
    before = look(worker, item)
    try:
        written = _write(Turn(worker, item))
    except (SupersededError, MissingError) as error:
        return Repair(item, before.live, before.goal, LEFT_ALONE, str(error))
    except (ItemError, *_UNREACHABLE) as error:
        return Repair(item, before.live, before.goal, FAILED, explain(error))
    goal = str(written.get("rollback_to") or before.goal)
    if written.get("rollback_stop"):
        return Repair(item, before.live, goal, DONE, f"ECS is rolling {written['rollback_stop']} back")
    now = look(worker, item)
    if set(now.live) != {goal}:
        return Repair(item, now.live, goal, FAILED, now.reason or "AWS took it and shows something else")
    rollout = written.get("rollback_deployment")
    return Repair(item, before.live, goal, DONE, f"ECS is rolling it out as {rollout}" if rollout else "")


def _service(worker: Worker, item: ItemRecord, goal: str) -> tuple[tuple[str, ...], str]:
    """What a service runs, and what is wrong with it although that is the goal."""
    cluster, name = item.service.cluster, item.service.service
    state = Services(worker.connections, item.target).find(cluster, name)
    primary = state.primary or {}
    live = str(primary.get("taskDefinition", state.task_definition))
    failed = live == goal and state.rollout_state(primary) == "FAILED"
    return (live,), f"its rollout failed: {primary.get('rolloutStateReason', '')}" if failed else ""


def _task(worker: Worker, item: ItemRecord) -> tuple[tuple[str, ...], str]:
    """What the item's targets or its schedule run; "" for one that is no ECS task any more."""
    return tuple(dict.fromkeys(reference_of(target) or "" for target in current_targets(worker, item))), ""
