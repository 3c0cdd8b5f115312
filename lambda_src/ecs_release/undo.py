"""Going back by hand: which items an earlier state means, from the record alone; Git is not asked.

Every release recorded, before it wrote, what each item was. So the state at the end of a release is, for every item
that a later release touched, what the *first* of the later ones recorded as its before-image.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
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
    newest_first: Sequence[ReleaseRecord], to: str | None, this: str | None = None
) -> list[ReleaseRecord]:
    """The releases whose work is to be undone, newest first.

    Parameters
    ----------
    to : go back to the end of this release; None: to the state before the newest release that changed something.
    this : the rollback's own release id, which is none of them.

    Raises
    ------
    ReleaseRejectedError
        when there is nothing to undo, or no such release.
    """
    others = [record for record in newest_first if record.release != this and record.status != "REJECTED"]
    if to is None:
        changing = next((r for r in others if r.status not in ("NO_CHANGE", "ROLLED_BACK", "RUNNING")), None)
        if changing is None:
            raise ReleaseRejectedError("no release is on record whose changes could be undone.")
        return others[: others.index(changing) + 1]
    for place, record in enumerate(others):
        if record.release == to:
            if place == 0:
                raise ReleaseRejectedError(
                    f"release {to} is the newest one; there is nothing to undo after it."
                )
            return others[:place]
    raise ReleaseRejectedError(f"release {to} is not on record; ecs-release history lists them.")


def steps_back(items_newest_first: Iterable[Sequence[ItemRecord]]) -> list[Step]:
    """What to put back, from the items of the releases to undo, newest release first."""
    oldest: dict[tuple[str, str, str], ItemRecord] = {}
    ours: dict[tuple[str, str, str], set[str]] = {}
    for items in items_newest_first:
        for item in items:
            written = item.started_at is not None and item.action == "update"
            if not written:
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
