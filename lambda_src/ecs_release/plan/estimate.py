"""How long a release will take: the slowest rollout of each wave, plus what AWS's own API limits add; and how long it may take."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from statistics import median

from ecs_release.manifest.item import Key, Service
from ecs_release.manifest.keys import LONGEST_MINUTES
from ecs_release.plan.decide import PlannedItem
from ecs_release.plan.findings import Finding, accepted
from ecs_release.record.models import ItemRecord
from ecs_release.record.statuses import Status

UNKNOWN_ROLLOUT_SECONDS = 300
"""For a service that has no release on record; Fargate rollouts with a load balancer take about this long."""

# https://docs.aws.amazon.com/AmazonECS/latest/APIReference/request-throttling.html: burst, then sustained per second
_REGISTER = (20, 1.0)
_UPDATE_SERVICE = (50, 5.0)


def rollout_seconds(history: Iterable[Sequence[ItemRecord]]) -> dict[Key, float]:
    """Median time of each service's proven rollouts in past releases, without what they were watched afterwards."""
    seen: dict[Key, list[float]] = {}
    for items in history:
        for item in items:
            proven = item.is_service and item.action == "update" and item.verdict == Status.SUCCEEDED
            ended = item.settled_at if item.completed_at is None else item.completed_at
            if proven and item.started_at is not None and ended is not None:
                seen.setdefault(item.state_key, []).append(float(ended - item.started_at))
    return {key: median(times) for key, times in seen.items()}


def estimate_seconds(plan: Sequence[PlannedItem], past: Mapping[Key, float], soak_seconds: int = 0) -> int:
    """Expected time of a release in seconds; 0 when nothing changes.

    Parameters
    ----------
    soak_seconds : how long the services of a wave are watched after their rollouts.
    """
    changing = [planned for planned in plan if planned.action == "update"]
    by_target: dict[str, int] = {}
    for planned in changing:
        by_target[planned.item.target] = by_target.get(planned.item.target, 0) + 1
    total = max((_queue(count, *_REGISTER) for count in by_target.values()), default=0.0)
    for wave in sorted({planned.item.wave for planned in changing}):
        services = [p for p in changing if p.item.wave == wave and isinstance(p.item, Service)]
        counts: dict[str, int] = {}
        for planned in services:
            counts[planned.item.target] = counts.get(planned.item.target, 0) + 1
        total += max((_queue(count, *_UPDATE_SERVICE) for count in counts.values()), default=0.0)
        total += max((past.get(p.item.key, UNKNOWN_ROLLOUT_SECONDS) for p in services), default=0.0)
        total += soak_seconds if services else 0
    return round(total)


def with_time_limit(plan: Sequence[PlannedItem], soak_seconds: int) -> list[PlannedItem]:
    """The plan, with a warning in the wave whose deadlines may meet the machine's end instead.

    A wave waits for its tasks, then for its services, each until their longest deadline, and its services are watched for a while
    after that. All of it comes out of the machine's seven days, the deadlines twice: they hold on the way back as well
    (:data:`ecs_release.manifest.keys.LONGEST_MINUTES`).
    """
    changing = [planned for planned in plan if planned.action == "update"]
    deadlines = soaks = 0
    for wave in sorted({planned.item.wave for planned in changing}):
        for services in (False, True):
            members = [p for p in changing if p.item.wave == wave and isinstance(p.item, Service) is services]
            deadlines += max((p.item.timeout_minutes for p in members), default=0)
            soaks += soak_seconds if services and members else 0
        longest = LONGEST_MINUTES - math.ceil(soaks / 60 / 2)
        if deadlines > longest:
            values = {"wave": str(wave), "minutes": str(deadlines), "longest": str(longest)}
            return [
                _with(p, Finding("W247", values)) if p.action == "update" and p.item.wave == wave else p
                for p in plan
            ]
    return list(plan)


def _with(planned: PlannedItem, finding: Finding) -> PlannedItem:
    return replace(planned, findings=(*planned.findings, *accepted([finding], planned.item.ignore)))


def _queue(count: int, burst: int, rate: float) -> float:
    return max(0.0, (count - burst) / rate)
