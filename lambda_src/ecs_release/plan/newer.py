"""A revision that somebody else registered after the one that is live: taken as the base or not (docs/living-with-iac.md)."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

from ecs_release.aws.comparison import Difference
from ecs_release.aws.task_definitions import TaskDefinition
from ecs_release.plan.choose import choose_containers
from ecs_release.plan.definitions import Newer
from ecs_release.plan.findings import Finding

NEWEST = "newest"

_SHOWN = 12


def choose_base(
    live: TaskDefinition,
    newer: Newer | Finding | None,
    base: str,
    images: Mapping[str, str],
) -> tuple[TaskDefinition, list[Finding]]:
    """Which revision is copied, and what has to be said of it.

    Parameters
    ----------
    newer : what somebody else registered after the live revision; a finding where that could not be asked.
    base : "live" or "newest".
    images : container -> image that the item sets.
    """
    if newer is None:
        return live, []
    if isinstance(newer, Finding):
        return live, [Finding("E233", newer.values) if base == NEWEST else newer]
    differences = newer.beside(images)
    if not differences:  # either one would become the same
        return live, []
    there = newer.definition
    values = {
        "newer": f"{there.family}:{there.revision}",
        "live": f"{live.family}:{live.revision}",
        "differences": in_words(differences),
    }
    if base != NEWEST:
        return live, [Finding("W232", values)]
    missing = choose_containers(there, images, exact=True).findings
    if missing:
        lacking = ", ".join(f'"{finding.values["container"]}"' for finding in missing)
        return live, [Finding("E232", {**values, "missing": lacking, "containers": ", ".join(there.images)})]
    return there, [Finding("W233", values)]


def in_words(differences: Sequence[Difference]) -> str:
    """``cpu; container api: environment LOG_LEVEL, command``

    >>> in_words([(None, "cpu"), ("api", "environment LOG_LEVEL"), ("api", "command")])
    'cpu; container api: environment LOG_LEVEL, command'
    """
    shown = differences[:_SHOWN]
    parts = [
        (f"container {container}: " if container else "") + ", ".join(label for _, label in group)
        for container, group in itertools.groupby(shown, key=lambda difference: difference[0])
    ]
    more = len(differences) - len(shown)
    return "; ".join([*parts, *([f"{more} more"] if more else [])])
