"""What became of a release: its status from those of its items. Data in, data out."""

from __future__ import annotations

from collections.abc import Sequence

from ecs_release.record.models import ItemRecord, ReleaseRecord
from ecs_release.record.statuses import GOOD, ReleaseStatus, Status


def judge_release(record: ReleaseRecord, items: Sequence[ItemRecord]) -> str:
    """The release's status from its items. Pure."""
    if not items:
        return ReleaseStatus.REJECTED
    if all(item.verdict in GOOD for item in items):
        return (
            ReleaseStatus.SUCCEEDED
            if any(item.action == "update" for item in items)
            else ReleaseStatus.NO_CHANGE
        )
    touches = any(touched(item) or item.rollback_started_at is not None for item in items)
    if record.begun_at is None and not touches:
        return (
            ReleaseStatus.REJECTED
        )  # once a wave has begun, nobody may say any more that nothing was touched
    if record.on_failure != "rollback":
        return ReleaseStatus.FAILED
    if any(item.status == Status.ROLLBACK_FAILED or waits_for_rollback(item) for item in items):
        return ReleaseStatus.ROLLBACK_INCOMPLETE
    return (
        ReleaseStatus.ROLLED_BACK
        if any(item.status == Status.ROLLED_BACK for item in items)
        else ReleaseStatus.FAILED
    )


def touched(item: ItemRecord) -> bool:
    """Whether this release may have written this item to production."""
    deployed_by_registering = not item.pinned and item.after is not None
    return item.action == "update" and (item.started_at is not None or deployed_by_registering)


def needs_rollback(item: ItemRecord) -> bool:
    """Whether "back" means something for this item: this release changed it, or found it not whole."""
    return touched(item) or (item.inherited and item.before != item.live)


def not_back(record: ReleaseRecord, items: Sequence[ItemRecord]) -> list[ItemRecord]:
    """The items that a rollback did not bring back: it failed, or the machine stopped before their turn."""
    if record.status != ReleaseStatus.ROLLBACK_INCOMPLETE:
        return []
    return [item for item in items if item.status == Status.ROLLBACK_FAILED or waits_for_rollback(item)]


def waits_for_rollback(item: ItemRecord) -> bool:
    return needs_rollback(item) and not is_settled_back(item)


def is_settled_back(item: ItemRecord) -> bool:
    """Whether Rollback is done with it, however that ended. SUPERSEDED alone says nothing of that: it is a verdict forward, too."""
    return item.status in (Status.ROLLED_BACK, Status.ROLLBACK_FAILED) or item.left_alone
