"""Two task definitions compared: whether they run the same, and in which members they differ. Names only, never a value."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

# Members that DescribeTaskDefinition adds and RegisterTaskDefinition refuses: a member missing from this list
# that AWS adds one day fails the registration loudly; a list of what may go in would lose it silently.
OUTPUT_ONLY = frozenset(
    {
        "taskDefinitionArn",
        "revision",
        "status",
        "requiresAttributes",
        "compatibilities",
        "registeredAt",
        "deregisteredAt",
        "deleteRequestedAt",
        "registeredBy",
    }
)

# Members of a container that are lists of named values; a name tells what differs, a value may be a secret.
_NAMED_LISTS = ("environment", "secrets")

Difference = tuple[str | None, str]
"""Container (None: of the task definition) and what differs there, such as ``cpu`` or ``environment LOG_LEVEL``."""


def same_definition(left: Mapping[str, Any], right: Mapping[str, Any]) -> bool:
    """Whether two definitions run the same, tags aside.

    AWS hands some lists out in another order than it got them, and adds empty members and zeros to what was registered
    (https://github.com/hashicorp/terraform-provider-aws/blob/main/internal/service/ecs/container_definitions.go).
    """
    return bool(_essence(_settable(left)) == _essence(_settable(right)))


def _settable(body: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in body.items() if key not in OUTPUT_ONLY and key != "tags"}


def _essence(value: Any) -> Any:
    """The value without its empty members; lists of objects in one order whatever theirs is."""
    if isinstance(value, Mapping):
        return {key: inner for key in sorted(value) if (inner := _essence(value[key])) is not None} or None
    if isinstance(value, list):
        entries = [_essence(entry) for entry in value]
        if any(isinstance(entry, dict) for entry in entries):
            entries.sort(key=lambda entry: json.dumps(entry, sort_keys=True))
        return entries or None
    return value or None


def differing_members(left: Mapping[str, Any], right: Mapping[str, Any]) -> list[Difference]:
    """What differs from one definition to another, by name.

    Examples
    --------
    >>> old = {"cpu": "256", "containerDefinitions": [{"name": "api", "environment": [{"name": "A", "value": "1"}]}]}
    >>> new = {"cpu": "512", "containerDefinitions": [{"name": "api", "environment": [{"name": "A", "value": "2"}]}]}
    >>> differing_members(old, new)
    [(None, 'cpu'), ('api', 'environment A')]
    """
    old, new = _settable(left), _settable(right)
    found: list[Difference] = [
        (None, name)
        for name in sorted({*old, *new} - {"containerDefinitions"})
        if _essence(old.get(name)) != _essence(new.get(name))
    ]
    was, now = _by_name(left.get("containerDefinitions")), _by_name(right.get("containerDefinitions"))
    for name in [*was, *(name for name in now if name not in was)]:
        if name not in now:
            found.append((name, "removed"))
        elif name not in was:
            found.append((name, "added"))
        else:
            found += [(name, label) for label in _differing(was[name], now[name])]
    return found


def _differing(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
    """What differs in one container."""
    for member in sorted({*old, *new}):
        if _essence(old.get(member)) == _essence(new.get(member)):
            continue
        if member in _NAMED_LISTS:
            was, now = _by_name(old.get(member)), _by_name(new.get(member))
            names = sorted(name for name in {*was, *now} if was.get(name) != now.get(name))
            yield f"{member} {', '.join(names)}" if names else member
        else:
            yield member


def _by_name(entries: Any) -> dict[str, Mapping[str, Any]]:
    """A list's entries by their names; what has none, or is no list, says nothing here."""
    if not isinstance(entries, list):
        return {}
    named = (entry for entry in entries if isinstance(entry, Mapping) and isinstance(entry.get("name"), str))
    return {str(entry["name"]): entry for entry in named}
