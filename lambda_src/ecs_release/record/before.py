"""The before-image of a scheduled task: its targets or schedule as the release found them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ecs_release.record.models import ItemRecord
from ecs_release.aws.ecs_targets import reference_of
from ecs_release.aws.task_definitions import parse_reference


def recorded_targets(item: ItemRecord) -> list[dict[str, Any]]:
    """The raw targets (or the schedule alone) as the release found them."""
    targets: list[dict[str, Any]] = json.loads(item.before_raw or "[]")
    return targets


def recorded_references(item: ItemRecord) -> list[str]:
    """The texts that named task definitions when the release began."""
    return [reference for reference in map(reference_of, recorded_targets(item)) if reference is not None]


def original_reference(item: ItemRecord) -> str:
    """The text that named the task definition when the release began: an ARN, or a family alone.

    Where an earlier release did not finish its write there are several; of those it is a family alone, if one is.
    """
    references = recorded_references(item)
    bare = [reference for reference in references if parse_reference(reference)[1] is None]
    return next(iter([*bare, *references]), item.live)


def reference_before(item: ItemRecord) -> str:
    """The text that is to name the task definition after a rollback.

    It is the original one, but for two cases in which it names what is undone: a family without a revision, and what an
    earlier release left behind.
    """
    return original_reference(item) if item.pinned and not item.inherited else item.before
