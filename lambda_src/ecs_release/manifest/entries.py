"""From entries to items: entries for one service, rule or schedule are one item, and must not contradict each other."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ecs_release.manifest.item import Item, Rule, Schedule, Service
from ecs_release.manifest.nodes import Mapping, Scalar, key_path
from ecs_release.manifest.problem import Problem, shown
from ecs_release.manifest.values import Keys

# What tells items apart: (kind, target, cluster, service) | (kind, target, bus, rule, targetId) | (kind, target, group, schedule)
Identity = tuple[str | None, ...]

_IDENTIFYING = {
    "service": ("clusterName", "serviceName", "target"),
    "task": ("cwRuleName", "eventBusName", "targetId", "scheduleName", "scheduleGroup", "target"),
}


def items_of(entries: list[Keys]) -> tuple[list[Item], list[Problem]]:
    """Merge the entries that name the same thing; entries of which that is not certain are left out."""
    groups: dict[Identity, list[Keys]] = {}
    for entry in entries:
        if _is_identified(entry):
            groups.setdefault(_identity(entry), []).append(entry)
    problems: list[Problem] = []
    for group in groups.values():
        problems += _same_container_twice(group)
        problems += _disagreements(group)
    problems += _target_id_sometimes(groups)
    return [_item(group) for group in groups.values()], problems


def _is_identified(entry: Keys) -> bool:
    """Return whether it is certain which service, rule or schedule the entry names."""
    right = entry.texts
    if any(entry.has(name) and name not in right for name in _IDENTIFYING[entry.kind]):
        return False
    if entry.kind == "service":
        return "clusterName" in right and "serviceName" in right
    return ("cwRuleName" in right) != ("scheduleName" in right)


def _identity(entry: Keys) -> Identity:
    text = entry.texts.get
    target = text("target", "default")
    if entry.kind == "service":
        return "service", target, text("clusterName"), text("serviceName")
    if entry.has("scheduleName"):
        return "schedule", target, text("scheduleGroup", "default"), text("scheduleName")
    return "rule", target, text("eventBusName", "default"), text("cwRuleName"), text("targetId")


def _named(entry: Keys) -> str:
    if entry.kind == "service":
        return f"service {entry.texts['clusterName']}/{entry.texts['serviceName']}"
    if entry.has("scheduleName"):
        return f"schedule {entry.texts.get('scheduleGroup', 'default')}/{entry.texts['scheduleName']}"
    return f"rule {entry.texts['cwRuleName']}"


def _both(first: tuple[Scalar | Mapping, str], second: tuple[Scalar | Mapping, str]) -> str:
    """Name two places: by line, or by path where there are no lines."""
    (one, one_path), (other, other_path) = sorted((first, second), key=lambda place: place[0].line)
    if one.line != other.line:  # an alias brings one line to several places
        return f"in line {one.line} and in line {other.line}"
    return f"in {one_path} and in {other_path}"


def _containers(entry: Keys) -> dict[str, Scalar]:
    """Container name -> where it is written."""
    place = entry.values.get("service")
    if "service" in entry.texts and isinstance(place, Scalar):
        return {entry.texts["service"]: place}
    return entry.containers


def _same_container_twice(group: list[Keys]) -> Iterator[Problem]:
    first: dict[str, tuple[Scalar, str]] = {}
    for entry in group:
        for container, place in _containers(entry).items():
            if container not in first:
                first[container] = place, entry.path
                continue
            places = _both(first[container], (place, entry.path))
            message = (
                f"the container {shown(container)} of {_named(entry)} is named twice, {places}; remove one"
            )
            path = key_path(entry.path, "service" if entry.has("service") else "images")
            yield Problem("E090", place.line, place.column, path, message)


def _disagreements(group: list[Keys]) -> Iterator[Problem]:
    for name in ("wave", "timeoutMinutes", "base"):
        given = [entry for entry in group if name in entry.texts]
        for entry in given[1:]:
            one, other = given[0].texts[name], entry.texts[name]
            if one != other:
                places = _both((given[0].keys[name], given[0].path), (entry.keys[name], entry.path))
                message = (
                    f"{name} is {one} and {other} for {_named(entry)}, {places}; "
                    f"its entries are one item, so write {name} once"
                )
                yield entry.problem("E091", name, message)


def _target_id_sometimes(groups: dict[Identity, list[Keys]]) -> Iterator[Problem]:
    """Without targetId the one fitting target of the rule is meant, which may be the one that another entry names."""
    of_rule: dict[Identity, list[Keys]] = {}
    for identity, group in groups.items():
        if identity[0] == "rule":
            of_rule.setdefault(identity[:-1], []).append(group[0])
    for entries in of_rule.values():
        without = [entry for entry in entries if not entry.has("targetId")]
        if without and len(entries) > 1:
            entry = without[0]
            other = next(other for other in entries if other.has("targetId"))
            places = _both((other.keys["cwRuleName"], other.path), (entry.keys["cwRuleName"], entry.path))
            message = f"{_named(entry)} is named with targetId and without, {places}; write targetId in each"
            yield entry.problem("E092", "cwRuleName", message)


def _item(group: list[Keys]) -> Item:
    texts: dict[str, str] = {}
    images: dict[str, str] = {}
    for entry in group:
        texts = {**entry.texts, **texts}
        images |= entry.images
        if "service" in entry.texts and "image" in entry.texts:
            images[entry.texts["service"]] = entry.texts["image"]
    common: dict[str, Any] = {
        "images": images,
        "exact": any(entry.has("images") for entry in group),
        "target": texts.get("target", "default"),
        "wave": int(texts.get("wave", "0")),
        "timeout_minutes": int(texts.get("timeoutMinutes", "60")),
        "ignore": tuple(sorted({code for entry in group for code in entry.codes})),
        "base": texts.get("base"),
        "path": group[0].path,
    }
    if group[0].kind == "service":
        return Service(cluster=texts["clusterName"], service=texts["serviceName"], **common)
    if "scheduleName" in texts:
        group_name = texts.get("scheduleGroup", "default")
        return Schedule(schedule=texts["scheduleName"], group=group_name, **common)
    bus, target_id = texts.get("eventBusName", "default"), texts.get("targetId")
    return Rule(rule=texts["cwRuleName"], event_bus=bus, target_id=target_id, **common)
