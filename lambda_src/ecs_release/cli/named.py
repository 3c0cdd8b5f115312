"""Which items a person means who names some to a command."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ecs_release.errors import EcsReleaseError
from ecs_release.manifest.item import Key, full_name, names_of


def named(names: Iterable[str], keys: Sequence[Key]) -> tuple[set[Key], list[str]]:
    """The keys that are named, and the names that are nobody's.

    A rule's name means all of its targets that are there, and every name means the item in each account and Region. Where services,
    rules and schedules have nothing in common but a name, it is refused.

    Raises
    ------
    EcsReleaseError
        with what to write for each of those that a name may mean.
    """
    chosen: set[Key] = set()
    unknown: list[str] = []
    for name in sorted(set(names)):
        found = {key for key in keys if name in names_of(key)}
        ways = sorted({full_name(key) for key in found})
        if len({way.partition(":")[0] for way in ways}) > 1:
            raise EcsReleaseError(f"{name} may mean more than one item; write {' or '.join(ways)}.")
        if not found:
            unknown.append(name)
        chosen |= found
    return chosen, unknown
