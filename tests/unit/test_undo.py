"""Which releases a rollback by hand undoes, from the records alone."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import pytest
from ecs_release.errors import ReleaseRejectedError
from ecs_release.manifest import Service
from ecs_release.plan.back import releases_to_undo, steps_back
from ecs_release.record.models import ItemRecord, ReleaseRecord


def record(release: str, status: str = "SUCCEEDED", **members: Any) -> ReleaseRecord:
    return ReleaseRecord(release, f"arn:{release}", 1, "2026-01-01T00:00:00.000Z", status=status, **members)


def by_hand(release: str, undid: str | None, status: str = "SUCCEEDED") -> ReleaseRecord:
    return record(release, status, mode="rollback", undid=undid)


def item(release: str, before: str = "v1", after: str = "v2", **members: Any) -> ItemRecord:
    written = ItemRecord(
        release,
        *(0, 0, 1, Service(cluster="c", service="s"), "update", {}),
        before=before,
        live=before,
        after=after,
        started_at=1,
        verdict="SUCCEEDED",
        status="SUCCEEDED",
    )
    return dataclasses.replace(written, **members)


def undone(newest_first: list[ReleaseRecord], to: str | None = None, **items: list[ItemRecord]) -> list[str]:
    def items_of(release: str) -> list[ItemRecord]:
        return items.get(release, [item(release)])

    return [r.release for r in releases_to_undo(newest_first, to, items_of, this="now")]


GOOD, BAD = record("good"), record("bad")


def test_the_newest_release_that_changed_something_is_undone() -> None:
    assert undone([BAD, GOOD]) == ["bad"]
    assert undone([record("same", "NO_CHANGE"), BAD, GOOD]) == ["same", "bad"]
    assert undone([record("back", "ROLLED_BACK"), record("no", "REJECTED"), BAD]) == ["back", "bad"]


@pytest.mark.parametrize("status", ["ABORTED", "FAILED"])
def test_a_release_that_wrote_nothing_is_passed_over(status: str) -> None:
    never = [item("stopped", started_at=None, status="PREPARED"), item("stopped", action="unchanged")]
    assert undone([record("stopped", status), BAD, GOOD], stopped=never) == ["stopped", "bad"]
    some = [*never, item("stopped")]
    assert undone([record("stopped", status), BAD, GOOD], stopped=some) == ["stopped"]


@pytest.mark.parametrize("status", ["FAILED", "ABORTED", "SUCCEEDED", "NO_CHANGE"])
def test_a_rollback_that_is_run_again_goes_on_and_not_forward(status: str) -> None:
    assert undone([by_hand("back", "bad", status), BAD, GOOD]) == ["back", "bad"]
    items = [[item("back", before="v2", after="v1")], [item("bad")]]
    (step,) = steps_back(items)
    assert step.item.before == "v1"
    assert step.ours == {"v1", "v2"}


def test_a_rollback_further_back_is_run_again_to_the_same_place() -> None:
    newest_first = [by_hand("back", "bad", "FAILED"), record("worse"), BAD, GOOD]
    assert undone(newest_first) == ["back", "worse", "bad"]


def test_a_release_after_the_rollback_is_undone_by_itself() -> None:
    assert undone([record("next"), by_hand("back", "bad"), BAD, GOOD]) == ["next"]


def test_a_rollback_is_undone_by_the_name_of_what_it_undid() -> None:
    assert undone([by_hand("back", "bad"), BAD, GOOD], "bad") == ["back"]


def test_a_rollback_that_was_stopped_before_it_knew_what_to_undo_does_not_count() -> None:
    assert undone([by_hand("back", None, "ABORTED"), BAD, GOOD]) == ["back", "bad"]


def test_what_cannot_be_undone_is_said() -> None:
    with pytest.raises(ReleaseRejectedError, match="no release is on record"):
        undone([record("same", "NO_CHANGE")])
    with pytest.raises(ReleaseRejectedError, match="not on record"):
        undone([GOOD], "gone")
    with pytest.raises(ReleaseRejectedError, match="newest"):
        undone([GOOD], "good")
    with pytest.raises(ReleaseRejectedError, match="undid release bad, which is not on record any more"):
        undone([by_hand("back", "bad")])


@pytest.mark.parametrize(
    ("newest_first", "to", "read"),
    [
        ([BAD], None, 1),
        ([record("same", "NO_CHANGE"), BAD], None, 2),
        ([by_hand("back", "bad"), record("worse"), BAD], None, 3),
        ([record("worse"), BAD, GOOD], "good", 3),
    ],
)
def test_no_more_releases_are_read_than_it_takes(
    newest_first: list[ReleaseRecord], to: str | None, read: int
) -> None:
    """A rollback must not get slower with the years, nor end at a thousand releases."""
    taken: list[str] = []

    def all_of_history() -> Iterator[ReleaseRecord]:
        for one in (*newest_first, *(record(f"old-{n}") for n in range(10_000))):
            taken.append(one.release)
            yield one

    assert releases_to_undo(all_of_history(), to, lambda release: [item(release)])
    assert len(taken) == read
    far = releases_to_undo(all_of_history(), "old-5000", lambda release: [item(release)])
    assert len(far) == len(newest_first) + 5000
