"""Making a plan: read what is live and what earlier releases left, then decide. Reads only."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from botocore.exceptions import BotoCoreError, ClientError

from ecs_release.aws.clients import Connections
from ecs_release.aws.patience import side_by_side
from ecs_release.aws.task_definitions import TaskDefinition
from ecs_release.aws.trouble import explain
from ecs_release.errors import (
    ItemError,
    OddAnswerError,
    ReleaseRejectedError,
    TargetUnreachableError,
)
from ecs_release.manifest import Item, Manifest, Service
from ecs_release.plan.back import Step, items_back, plan_back, releases_to_undo, steps_back
from ecs_release.plan.decide import UNREADABLE, PlannedItem, make_plan
from ecs_release.plan.definitions import LOOK_AGAIN_SECONDS, Definitions
from ecs_release.plan.estimate import with_time_limit
from ecs_release.plan.findings import Finding
from ecs_release.plan.live import READERS, Live, is_gone, odd, read_live
from ecs_release.plan.starters import with_starters
from ecs_release.plan.way_back import NO_REVISION, Found, Goal, look_at, with_way_back
from ecs_release.record.models import ReleaseRecord
from ecs_release.record.store import Store

_T = TypeVar("_T")


def plan_release(
    store: Store,
    connections: Connections,
    manifest: Manifest,
    definitions: Definitions | None = None,
) -> list[PlannedItem]:
    """The plan of a manifest against what is live. Reads only.

    Parameters
    ----------
    definitions : task definitions that are known already.
    """
    keys = [item.key for item in manifest.items]
    left = store.memories(keys)
    ours = {key: {memory["before"], *memory.get("ours", ())} for key, memory in left.items()}
    definitions = definitions or Definitions(connections)
    live = read_live(manifest.items, connections, definitions, ours)
    live = with_starters(live, manifest.items, connections, definitions)
    plan = make_plan(manifest.items, live, left, store.holds(keys))
    plan = with_way_back(plan, live, left, connections, definitions)
    return with_time_limit(plan, soak_seconds(connections))


def soak_seconds(connections: Connections) -> int:
    """How long releases watch a service after its rollout: a setting of the module, which its targets bear."""
    return max((target.soak_seconds for target in connections.targets.values()), default=0)


def releases_undone(store: Store, to: str | None, this: str | None = None) -> list[ReleaseRecord]:
    """The releases that going back by hand undoes, newest first; see :func:`releases_to_undo`."""
    return releases_to_undo(store.newest_first(), to, store.items, this)


def plan_rollback(
    store: Store,
    connections: Connections,
    undone: Sequence[ReleaseRecord],
    definitions: Definitions | None = None,
) -> list[PlannedItem]:
    """The plan of going back by hand. Reads only.

    Parameters
    ----------
    definitions : task definitions that are known already.

    Raises
    ------
    ReleaseRejectedError
        when there is nothing to go back to.
    """
    steps = steps_back(store.items(record.release) for record in undone)
    if not steps:
        raise ReleaseRejectedError("the releases to undo changed nothing that is not back already.")
    items = items_back(steps)
    definitions = definitions or Definitions(connections)
    ours = {step.item.state_key: step.ours for step in steps}
    live = read_live(items, connections, definitions, ours, newer=False)
    _look_again(
        live,
        # Services that are gone were looked for twice already.
        [p for p, item in enumerate(items) if live[p].findings and not _is_gone_service(item, live[p])],
        lambda places: read_live([items[p] for p in places], connections, definitions, ours, newer=False),
    )
    # Of what can't be looked at nobody asks what it goes back to: its account may refuse each call, and it has time.
    there = [place for place, found in enumerate(live) if not found.findings]
    goals: list[TaskDefinition | Finding] = [UNREADABLE] * len(steps)
    for place, goal in zip(
        there, read_goals([steps[p] for p in there], connections, definitions), strict=True
    ):
        goals[place] = goal
    _look_again(
        goals,
        [place for place in there if isinstance(goals[place], Finding)],
        lambda places: read_goals([steps[p] for p in places], connections, definitions),
    )
    live = with_starters(live, items, connections, definitions, goals)
    looked_at = [
        Goal(
            step.item.target,
            step.item.before,
            step.item.is_service,
            goal,
            step.item.before_digests,
        )
        for step, goal in zip(steps, goals, strict=True)
        if isinstance(goal, TaskDefinition)
    ]
    looked = iter(look_at(looked_at, connections, definitions))
    found = [next(looked) if isinstance(goal, TaskDefinition) else Found() for goal in goals]
    return plan_back(steps, items, live, goals, found)


def _is_gone_service(item: Item, live: Live) -> bool:
    return isinstance(item, Service) and is_gone(live)


def _look_again(
    answers: list[_T], doubtful: Sequence[int], read: Callable[[Sequence[int]], list[_T]]
) -> None:
    """Read what is doubtful once more: one answer that something is not there, refused or odd proves nothing, and who is left
    out because of it is not put back."""
    if doubtful:
        time.sleep(LOOK_AGAIN_SECONDS)
        for place, answer in zip(doubtful, read(doubtful), strict=True):
            answers[place] = answer


def read_goals(
    steps: Sequence[Step], connections: Connections, definitions: Definitions | None = None
) -> list[TaskDefinition | Finding]:
    """What each step goes back to, or why it can't be read.

    Raises
    ------
    PassingError
        as :func:`read_live` does.
    """
    found = definitions or Definitions(connections)

    def one(step: Step) -> TaskDefinition | Finding:
        try:
            return found.describe(step.item.target, step.item.before)
        except OddAnswerError as error:
            return odd(error)
        except ItemError:
            return Finding(NO_REVISION, {"before": step.item.before, "why": "is gone"})
        except TargetUnreachableError as error:
            return Finding("E202", {"why": str(error)})
        except (ClientError, BotoCoreError) as error:
            return Finding("E203", {"why": f"{step.item.before}: {explain(error).rstrip('.')}"})

    with ThreadPoolExecutor(READERS) as pool:
        return list(side_by_side(pool, one, steps))
