"""How long a release will take: the slowest rollout of each wave, plus what AWS's own API limits add."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from statistics import median

from ecs_release.manifest.item import Key, Service
from ecs_release.plan.decide import PlannedItem
from ecs_release.record.models import ItemRecord
from ecs_release.record.statuses import Status

UNKNOWN_ROLLOUT_SECONDS = 300
"""For a service that has no release on record; Fargate rollouts with a load balancer take about this long."""

# https://docs.aws.amazon.com/AmazonECS/latest/APIReference/request-throttling.html: burst, then sustained per second
_REGISTER = (20, 1.0)
_UPDATE_SERVICE = (50, 5.0)


def rollout_seconds(history: Iterable[Sequence[ItemRecord]]) -> dict[Key, float]:
    """Median time of each service's proven rollouts in past releases."""
    seen: dict[Key, list[float]] = {}
    for items in history:
        for item in items:
            proven = item.is_service and item.action == "update" and item.verdict == Status.SUCCEEDED
            if proven and item.started_at is not None and item.settled_at is not None:
                seen.setdefault(item.state_key, []).append(float(item.settled_at - item.started_at))
    return {key: median(times) for key, times in seen.items()}


def estimate_seconds(plan: Sequence[PlannedItem], past: Mapping[Key, float]) -> int:
    """Expected time of a release in seconds; 0 when nothing changes."""
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
    return round(total)


def _queue(count: int, burst: int, rate: float) -> float:
    return max(0.0, (count - burst) / rate)
