"""The plan: what a release would change, what blocks it, in which waves and batches. Data in, data out."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from ecs_release.estate import Live
from ecs_release.manifest import Item
from ecs_release.store import ItemRecord, state_key
from ecs_release.task_definition import choose_containers, tag_problem

BATCH_SIZE = 25
"""Items one worker writes: small enough to end well within a function's time, large enough to keep the machine's history short."""

ItemKey = tuple[str, str, str]


@dataclass(frozen=True)
class PlannedItem:
    """One item, decided.

    Attributes
    ----------
    action : "update", "unchanged" or "blocked".
    images : container -> {"from", "to"}; all named containers, changed or not.
    before : ARN that "back" means.
    live : ARN that is live.
    before_raw : JSON of the rule targets or the schedule as they are.
    """

    item: Item
    action: str
    images: Mapping[str, dict[str, str]]
    base: str = ""
    before: str = ""
    live: str = ""
    before_raw: str | None = None
    pinned: bool = True
    inherited: bool = False
    previous_deployment: str | None = None
    warnings: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()


def make_plan(
    items: Sequence[Item], live: Sequence[Live], unwhole: Mapping[ItemKey, Mapping[str, Any]] | None = None
) -> list[PlannedItem]:
    """Decide every item.

    Parameters
    ----------
    live : what was found for each item, in the same order.
    unwhole : before-images left by releases that did not end whole, by (target, kind, name).
    """
    left = unwhole or {}
    return [_decide(item, found, left.get(state_key(item))) for item, found in zip(items, live, strict=True)]


def _decide(item: Item, live: Live, left: Mapping[str, Any] | None) -> PlannedItem:
    if live.problems or live.definition is None:
        wanted = {container: {"from": "", "to": image} for container, image in item.images.items()}
        return PlannedItem(item, "blocked", wanted, problems=live.problems or ("it can't be read.",))
    definition = live.definition
    warnings: list[str] = []
    if live.selection is not None:
        images = dict(live.selection.images or {})
        warnings += live.selection.warnings
    else:
        choice = choose_containers(definition, item.images, exact=item.exact)
        if choice.problems:
            wanted = {container: {"from": "", "to": image} for container, image in item.images.items()}
            return PlannedItem(item, "blocked", wanted, problems=choice.problems)
        images = dict(choice.images)
        warnings += choice.warnings
    changes = {name: {"from": definition.images[name], "to": image} for name, image in images.items()}
    changed = any(change["from"] != change["to"] for change in changes.values())
    problem = tag_problem(definition) if changed else None
    if problem:
        return PlannedItem(item, "blocked", changes, problems=(problem,))

    before, before_raw, previous = definition.arn, None, None
    if live.service is not None:
        primary = live.service.primary
        previous = str(primary["id"]) if primary else None
        before = live.completed or definition.arn
        warnings += _service_warnings(live, before)
    elif live.selection is not None:
        before_raw = json.dumps(list(live.selection.targets), separators=(",", ":"))
    if left is not None:
        before, before_raw = str(left["before"]), left.get("before_raw") or before_raw
        warnings.append(f"release {left['release']} did not end whole; back means {before}.")
    return PlannedItem(
        item,
        "update" if changed else "unchanged",
        changes,
        base=definition.arn,
        before=before,
        live=definition.arn,
        before_raw=before_raw,
        pinned=live.selection is None or live.selection.pinned,
        inherited=left is not None,
        previous_deployment=previous,
        warnings=tuple(warnings),
    )


def _service_warnings(live: Live, before: str) -> list[str]:
    assert live.service is not None  # noqa: S101 - for the type checker
    warnings = []
    if live.completed is None:
        warnings.append("ECS remembers no completed deployment; back means what is live now.")
    elif before != live.service.task_definition:
        warnings.append(
            f"what is live ({live.service.task_definition}) never completed; back means {before}."
        )
    if live.service.desired_count == 0:
        warnings.append("desired count is 0, so its rollout can't be proven.")
    return warnings


@dataclass(frozen=True)
class Batches:
    """Items cut into batches, and batches into waves.

    Attributes
    ----------
    records : every item, in batch order.
    waves : ``[{"wave", "batches": [first, last], "tasks": [...], "services": [...]}]`` with the numbers of the
        batches that have something to write.
    prepare : numbers of the batches to prepare, one list a target, in wave order.
    """

    records: list[ItemRecord]
    waves: list[dict[str, Any]]
    prepare: list[list[int]]


def cut(plan: Sequence[PlannedItem], release: str, epoch: int) -> Batches:
    """Cut the plan into waves and batches: tasks before services, never two targets or actions in one batch."""

    def place(planned: PlannedItem) -> tuple[int, bool, bool, str]:
        return (
            planned.item.wave,
            planned.item.kind != "task",
            planned.action != "update",
            planned.item.target,
        )

    records: list[ItemRecord] = []
    waves: dict[int, dict[str, Any]] = {}
    prepare: dict[str, list[int]] = {}
    batch = -1
    for (wave, is_service, unchanged, target), group in groupby(sorted(plan, key=place), key=place):
        members = list(group)
        for start in range(0, len(members), BATCH_SIZE):
            batch += 1
            entry = waves.setdefault(
                wave, {"wave": wave, "batches": [batch, batch], "tasks": [], "services": []}
            )
            entry["batches"][1] = batch
            if not unchanged:
                entry["services" if is_service else "tasks"].append(batch)
                prepare.setdefault(target, []).append(batch)
            records += [
                _record(planned, release, epoch, batch, number)
                for number, planned in enumerate(members[start : start + BATCH_SIZE])
            ]
    # Batches of different targets side by side, so that no account waits for another one's throttle.
    for entry in waves.values():
        for kind in ("tasks", "services"):
            entry[kind] = _interleave([[b for b in entry[kind] if b in mine] for mine in prepare.values()])
    return Batches(records, [waves[wave] for wave in sorted(waves)], list(prepare.values()))


def _interleave(lists: Sequence[Sequence[int]]) -> list[int]:
    longest = max(map(len, lists), default=0)
    return [numbers[place] for place in range(longest) for numbers in lists if place < len(numbers)]


def _record(planned: PlannedItem, release: str, epoch: int, batch: int, number: int) -> ItemRecord:
    item = planned.item
    return ItemRecord(
        release=release,
        batch=batch,
        number=number,
        epoch=epoch,
        kind=item.kind,
        name=item.name,
        target=item.target,
        wave=item.wave,
        action=planned.action,
        timeout_minutes=item.timeout_minutes,
        images=dict(planned.images),
        cluster=item.cluster,
        service=item.service,
        rule=item.rule,
        event_bus=item.event_bus,
        target_id=item.target_id,
        schedule=item.schedule,
        schedule_group=item.schedule_group,
        base=planned.base,
        pinned=planned.pinned,
        before=planned.before,
        live=planned.live,
        before_raw=planned.before_raw,
        inherited=planned.inherited,
        after=planned.live if planned.action == "unchanged" else None,
        previous_deployment=planned.previous_deployment,
        deployment_id=planned.previous_deployment if planned.action == "unchanged" else None,
        warnings=list(planned.warnings),
    )
