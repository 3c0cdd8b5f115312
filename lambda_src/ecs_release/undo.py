"""Going back by hand: which items an earlier state means, from the record alone; Git is not asked.

Every release recorded, before it wrote, what each item was. So the state at the end of a release is, for every item
that a later release touched, what the *first* of the later ones recorded as its before-image.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from ecs_release.errors import ReleaseRejectedError
from ecs_release.rollout import Status
from ecs_release.store import ItemRecord, ReleaseRecord


@dataclass(frozen=True)
class Step:
    """One item to put back.

    Attributes
    ----------
    item : the record that holds the state to go back to (``before``).
    ours : ARNs that releases set since; whatever else is live was set by somebody else.
    """

    item: ItemRecord
    ours: frozenset[str]


def releases_to_undo(
    newest_first: Sequence[ReleaseRecord],
    to: str | None,
    items_of: Callable[[str], Sequence[ItemRecord]],
    this: str | None = None,
) -> list[ReleaseRecord]:
    """The releases whose work is to be undone, newest first.

    Parameters
    ----------
    to : go back to the end of this release; None: to the state before the newest release that changed something, or
        where a rollback by hand came after it, to where that one went: so it can be run again until all is back.
    items_of : reads the items of a release.
    this : the rollback's own release id, which is none of them.

    Raises
    ------
    ReleaseRejectedError
        when there is nothing to undo, or no such release.
    """
    others = [record for record in newest_first if record.release != this and record.status != "REJECTED"]
    if to is None:
        for place, record in enumerate(others):
            if record.undid is not None:
                return _up_to(others, record.undid)
            if record.mode == "deploy" and _left_something(record, items_of):
                return others[: place + 1]
        raise ReleaseRejectedError("no release is on record whose changes could be undone.")
    for place, record in enumerate(others):
        if record.release == to:
            if place == 0:
                raise ReleaseRejectedError(
                    f"release {to} is the newest one; there is nothing to undo after it."
                )
            return others[:place]
    raise ReleaseRejectedError(f"release {to} is not on record; ecs-release history lists them.")


def _up_to(others: Sequence[ReleaseRecord], release: str) -> list[ReleaseRecord]:
    for place, record in enumerate(others):
        if record.release == release:
            return list(others[: place + 1])
    raise ReleaseRejectedError(
        f"the rollback before this one undid release {release}, which is not on record any more; "
        "name with --to the release to go back to."
    )


def _left_something(record: ReleaseRecord, items_of: Callable[[str], Sequence[ItemRecord]]) -> bool:
    """Whether a release may have left something behind: it wrote an item, and has not put it back."""
    if record.status in ("NO_CHANGE", "ROLLED_BACK", "RUNNING"):
        return False
    return any(_was_written(item) and item.status != Status.ROLLED_BACK for item in items_of(record.release))


def _was_written(item: ItemRecord) -> bool:
    return item.started_at is not None and item.action == "update"


def steps_back(items_newest_first: Iterable[Sequence[ItemRecord]]) -> list[Step]:
    """What to put back, from the items of the releases to undo, newest release first."""
    oldest: dict[tuple[str, str, str], ItemRecord] = {}
    ours: dict[tuple[str, str, str], set[str]] = {}
    for items in items_newest_first:
        for item in items:
            if not _was_written(item):
                continue
            known = ours.setdefault(item.state_key, set())
            known.update(filter(None, (item.after, item.before, item.live, item.rollback_to)))
            oldest[item.state_key] = item
    return [
        Step(item, frozenset(ours[key]))
        for key, item in oldest.items()
        if not _is_back_already(item, ours[key])
    ]


def _is_back_already(item: ItemRecord, ours: set[str]) -> bool:
    # One release alone touched it, and that one has put it back.
    return item.status == Status.ROLLED_BACK and ours <= {
        item.after,
        item.before,
        item.live,
        item.rollback_to,
    }
