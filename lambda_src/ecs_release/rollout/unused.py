"""Revisions that a release registered and that nothing uses: which they are, and how far the clean-up after them is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ecs_release.aws.task_definitions import parse_reference
from ecs_release.record.models import ItemRecord, ReleaseRecord, UnusedRevision
from ecs_release.record.statuses import Status


def to_deregister(items: Sequence[ItemRecord]) -> list[ItemRecord]:
    """The items whose new revision this release registered and no item of it runs: never written, or proven back. Pure.

    Two items of one family may share a revision; it stays while one of them has not come back. What an item ran when the
    release began, or is to go back to, stays as well.
    """
    in_use = {item.after for item in items if not _left_its_revision(item)}
    in_use |= {arn for item in items for arn in (item.live, item.before, item.rollback_to)}
    return [item for item in items if item.registered and item.after is not None and item.after not in in_use]


def copies_never_set(items: Sequence[ItemRecord]) -> list[ItemRecord]:
    """The items for whose way back this release registered a copy that it then did not set. Pure."""
    in_use = {item.rollback_to for item in items if item.rollback_started_at is not None}
    in_use |= {arn for item in items for arn in (item.live, item.before, item.after)}
    return [
        item
        for item in items
        if item.rollback_registered and item.rollback_to is not None and item.rollback_to not in in_use
    ]


def runs_without_being_named(items: Sequence[ItemRecord]) -> list[ItemRecord]:
    """Those of :func:`to_deregister` in a family that an item named without a revision. Pure.

    The newest ACTIVE revision of such a family runs, so as long as the undone one is ACTIVE, whoever else names the family
    runs it: deregistering is part of going back there, and comes before the verdict.
    """
    families = {(item.target, parse_reference(item.live)[0]) for item in items if not item.pinned}
    return [
        item
        for item in to_deregister(items)
        if (item.target, parse_reference(str(item.after))[0]) in families
    ]


def is_named(revision: UnusedRevision, items: Sequence[ItemRecord]) -> bool:
    """Whether the release that took a revision up has said for which of its items; one that was stopped may not have. Pure."""
    return any(
        item.target == revision.target and revision.arn in (item.after, item.rollback_to) for item in items
    )


@dataclass(frozen=True)
class CleanUp:
    """How far the clean-up after a release is.

    Attributes
    ----------
    revisions : how many the release left unused.
    left : how many of them are still to be deregistered.
    reason : why the last attempt at one of those failed, "" where none did.
    """

    revisions: int
    left: int
    reason: str = ""

    @classmethod
    def after(cls, record: ReleaseRecord, unused: Sequence[UnusedRevision]) -> CleanUp | None:
        """Of one release, from the rows of all; None where nothing was left unused."""
        if not record.unused:
            return None
        left = [revision for revision in unused if revision.release == record.release and revision.left]
        reason = next((revision.reason for revision in left if revision.reason), "")
        return cls(record.unused, min(len(left), record.unused), reason)

    def __str__(self) -> str:
        done = f"{self.revisions - self.left} of {self.revisions} unused revisions"
        if not self.left:
            return f"clean-up: {done} are done with"
        trouble = f"; the last attempt failed: {self.reason}" if self.reason else ""
        return f"clean-up: {done} are done with; the end of the next release takes up the rest{trouble}"


def _left_its_revision(item: ItemRecord) -> bool:
    if item.status == Status.ROLLED_BACK:
        return True
    # In an unpinned family the registration alone has deployed.
    return (
        item.action == "update"
        and item.pinned
        and item.started_at is None
        and item.status != Status.ROLLBACK_FAILED
    )
