"""ARNs where the manifest takes names: which key takes which part of an ARN."""

from __future__ import annotations

import re

from ecs_release.manifest.keys import SERVICE_FIELDS, TASK_FIELDS, Field
from ecs_release.manifest.problem import plain

# What an ARN names, its service and its resource (Service Authorization Reference: Amazon ECS, EventBridge, EventBridge
# Scheduler). Each group is called like the key that takes it. The buses of partners have slashes in their names.
_RESOURCES = (
    ("an ECS cluster", "ecs", r"cluster/(?P<clusterName>[^/:]+)"),
    ("an ECS service", "ecs", r"service/(?:(?P<clusterName>[^/:]+)/)?(?P<serviceName>[^/:]+)"),
    ("an EventBridge rule", "events", r"rule/(?:(?P<eventBusName>[^:]+)/)?(?P<cwRuleName>[^/:]+)"),
    ("an event bus", "events", r"event-bus/(?P<eventBusName>[^:]+)"),
    ("a schedule", "scheduler", r"schedule/(?P<scheduleGroup>[^/:]+)/(?P<scheduleName>[^/:]+)"),
    ("a schedule group", "scheduler", r"schedule-group/(?P<scheduleGroup>[^/:]+)"),
)
_FIELDS = {one.name: one for one in (*TASK_FIELDS, *SERVICE_FIELDS)}
_INSTEAD = {"cwRuleName": "scheduleName", "scheduleName": "cwRuleName"}


def arn_message(one: Field, arn: str) -> str:
    """Tell what an ARN names, which part of it is the name that ``one`` takes, and where the other parts go."""
    what, parts = _parsed(arn)
    found = f"{plain(arn, longest=100)} is {what}"
    if one.name in parts:
        others = [name for name in parts if name != one.name]
        rest = f"the rest goes into {_pairs(parts, others)}" if others else _ELSEWHERE
        return f"{found}; write the name alone, {_pairs(parts, [one.name])} ({rest})"
    if _INSTEAD.get(one.name) in parts:
        return f"{found}; instead of {one.name} write {_pairs(parts, list(parts))}"
    taken = f", which goes into {_pairs(parts, list(parts))}" if parts else ""
    return f"{found}{taken}; {_advice(one)}"


_ELSEWHERE = "another account or Region is chosen with target"


def _advice(one: Field) -> str:
    if one.name == "target":
        return (
            "write the name that the module's input targets gives to the account, Region and role, "
            f"for example target: {one.example}"
        )
    return f"write a name here, for example {one.name}: {one.example}"


def _parsed(arn: str) -> tuple[str, dict[str, str]]:
    """Return what an ARN is, and key -> name for the parts that the manifest has keys for."""
    _, _, service, _, _, resource = (*arn.split(":", 5), "", "", "", "", "")[:6]
    for what, of_service, pattern in _RESOURCES:
        if service == of_service and (found := re.fullmatch(pattern, resource)):
            return f"the ARN of {what}", {name: part for name, part in found.groupdict().items() if part}
    return "an ARN", {}


# How `ecs-release` itself names what a manifest names with several keys: `status`, the plan and the record (`item.py`).
_WRITTEN_TOGETHER = tuple(
    re.compile(pattern)
    for pattern in (
        r"(?P<clusterName>[^/]+)/(?P<serviceName>[^/]+)",
        r"(?P<scheduleGroup>[^/]+)/(?P<scheduleName>[^/]+)",
        r"(?:(?P<eventBusName>.+)/)?(?P<cwRuleName>[^/#]+)(?:#(?P<targetId>[^/#]+))?",
    )
)


def apart(one: Field, text: str) -> str | None:
    """Return the keys and names to write for what our own output writes as one name; None when it is no such name."""
    for pattern in _WRITTEN_TOGETHER:
        if one.name in pattern.groupindex and (found := pattern.fullmatch(text)):
            parts = {name: part for name, part in found.groupdict().items() if part}
            is_right = all(re.fullmatch(_FIELDS[name].pattern, part) for name, part in parts.items())
            return _pairs(parts, list(parts)) if is_right and len(parts) > 1 else None
    return None


def _pairs(parts: dict[str, str], names: list[str]) -> str:
    return " and ".join(f"{name}: {plain(parts[name], longest=100)}" for name in names)
