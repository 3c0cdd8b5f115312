"""The before-image of a scheduled task: its targets or schedule as the release found them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ecs_release.record.models import ItemRecord
from ecs_release.aws.scheduled_tasks import reference_of


def recorded_targets(item: ItemRecord) -> list[dict[str, Any]]:
    """The raw targets (or the schedule alone) as the release found them."""
    targets: list[dict[str, Any]] = json.loads(item.before_raw or "[]")
    return targets


def original_reference(item: ItemRecord) -> str:
    """The text that named the task definition when the release began: an ARN, or a family alone."""
    return next(filter(None, map(reference_of, recorded_targets(item))), item.live)


def reference_before(item: ItemRecord) -> str:
    """The text that is to name the task definition after a rollback.

    It is the original one, but for two cases in which it names what is undone: a family without a revision, and what an
    earlier release left behind.
    """
    return original_reference(item) if item.pinned and not item.inherited else item.before
