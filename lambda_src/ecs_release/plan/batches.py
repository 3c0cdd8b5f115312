"""Waves and batches: the plan cut into what one worker writes. Data in, data out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

from ecs_release.aws.task_definitions import content_digest
from ecs_release.manifest.item import Service
from ecs_release.plan.decide import PlannedItem
from ecs_release.record.models import ItemRecord
from ecs_release.record.statuses import Status

BATCH_SIZE = 25
"""Items one worker writes: small enough to end well within a function's time, large enough to keep the machine's history short."""


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
            isinstance(planned.item, Service),
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
    return Batches(_sharing(records), [waves[wave] for wave in sorted(waves)], list(prepare.values()))


def _sharing(records: Sequence[ItemRecord]) -> list[ItemRecord]:
    """The records, each one that needs the very revision of an earlier one pointing to that."""
    first: dict[tuple[str, str], ItemRecord] = {}
    result = []
    for record in records:
        if record.action == "update" and record.base:
            content = (record.target, content_digest(record.base, record.new_images))
            leader = first.setdefault(content, record)
            if leader is not record:
                record = replace(record, same_as=leader.key["sk"])  # noqa: PLW2901
        result.append(record)
    return result


def _interleave(lists: Sequence[Sequence[int]]) -> list[int]:
    longest = max(map(len, lists), default=0)
    return [numbers[place] for place in range(longest) for numbers in lists if place < len(numbers)]


def _record(planned: PlannedItem, release: str, epoch: int, batch: int, number: int) -> ItemRecord:
    status = Status.SUPERSEDED if planned.superseded else Status.FAILED if planned.lost else Status.PENDING
    return ItemRecord(
        release=release,
        batch=batch,
        number=number,
        epoch=epoch,
        item=planned.item,
        action=planned.action,
        images=dict(planned.images),
        base=planned.base,
        pinned=planned.pinned,
        before=planned.before,
        live=planned.live,
        before_raw=planned.before_raw,
        inherited=planned.inherited,
        memory_void=planned.memory_void,
        after=planned.live if planned.action == "unchanged" else planned.after,
        previous_deployment=planned.previous_deployment,
        deployment_id=planned.previous_deployment if planned.action == "unchanged" else None,
        startable=planned.startable,
        start_doubt=planned.start_doubt,
        warnings=list(planned.warnings),
        ignored=list(planned.ignored),
        before_digests=dict(planned.digests),
        verdict=status,
        status=status,
        reason=planned.superseded or planned.lost or "",
    )
