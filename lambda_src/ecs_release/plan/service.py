"""What the plan says of a service: from what DescribeServices answers, member by member (docs/services.md)."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from ecs_release.aws.answers import moment, number, text
from ecs_release.aws.service_state import ServiceState
from ecs_release.aws.task_definitions import TaskDefinition
from ecs_release.manifest.item import Item
from ecs_release.manifest.keys import LONGEST_MINUTES
from ecs_release.plan.findings import Finding
from ecs_release.rollout.course import (
    bake_minutes,
    checks_health,
    early_success_percent,
    pauses,
    standstill,
)
from ecs_release.rollout.events import trouble_since

NO_WAY_BACK = "W241"
ROLLOUT_MINUTES = 60
"""What a rollout itself is given beside the times that ECS waits: the default deadline."""


def deadline_findings(item: Item, service: ServiceState) -> Iterator[Finding]:
    """Whether the rollout can end before its deadline."""
    bake = bake_minutes(service)
    stops = pauses(service)
    needed = bake + sum(stop.longest_minutes for stop in stops) + ROLLOUT_MINUTES
    write = min(needed, LONGEST_MINUTES)
    values = {"timeout": str(item.timeout_minutes), "write": str(write), "bake": str(bake)}
    if bake >= LONGEST_MINUTES:
        yield Finding("E251", {"bake": str(bake), "longest": str(LONGEST_MINUTES)})
    elif bake and item.timeout_minutes <= bake:
        yield Finding("E249", values)
    for stop in stops:
        at = {"stages": ", ".join(stop.stages), "minutes": str(stop.minutes), "then": stop.action}
        if item.timeout_minutes <= bake + stop.longest_minutes:
            yield Finding("E250", {**values, **at})
        else:
            yield Finding("W246", at)


def service_findings(
    service: ServiceState,
    definition: TaskDefinition,
    completed: str | None,
    before: str,
    soak_seconds: int = 0,
) -> Iterator[Finding]:
    """What whoever approves has to know of the service itself.

    Parameters
    ----------
    completed : what its last completed deployment runs, None when ECS remembers none.
    before : what "back" means.
    soak_seconds : how long a release watches it after its rollout is complete.
    """
    if not service.has_circuit_breaker and service.strategy == "ROLLING":
        yield Finding("W240")
    if completed is None:
        yield Finding(NO_WAY_BACK)
    elif before != service.task_definition:
        yield Finding("W242", {"live": service.task_definition, "before": before})
    elif text(service.primary or {}, "rolloutState") == "IN_PROGRESS":
        yield Finding("W249", {"deployment": text(service.primary or {}, "id")})
    if service.is_express:
        yield Finding("W244")
    if service.desired_count == 0:
        yield Finding("W243")
        return
    if (why := standstill(service)) is not None:
        yield Finding("W245", {"why": why})
    if not checks_health(service, definition):
        yield Finding("W248", _watched(soak_seconds))
    if (percent := early_success_percent(service)) is not None:
        yield Finding("W253", {"percent": str(percent)})
    running = service.body.get("runningCount")
    if running is not None and number(service.body, "runningCount") < service.desired_count:
        yield _not_all_run(service)


def _watched(soak_seconds: int) -> dict[str, str]:
    if not soak_seconds:
        return {"watched": "", "else": ", or set soak_seconds to have releases watch it after its rollout"}
    seen = (
        f", and for {soak_seconds} seconds after its rollout (soak_seconds) this release sees only what exits"
    )
    return {"watched": seen, "else": ""}


def _not_all_run(service: ServiceState) -> Finding:
    since = moment(service.primary or {}, "createdAt") or datetime.fromtimestamp(0, UTC)
    said = trouble_since(service, since, most=1)
    counts = {"running": str(number(service.body, "runningCount")), "desired": str(service.desired_count)}
    return Finding("W252", {**counts, "said": f" ECS says: {said[0]}" if said else ""})
