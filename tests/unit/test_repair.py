"""The command ``ecs-release repair``: whom it asks, what it prints, and its exit status."""

from __future__ import annotations

import dataclasses
import json
import sys
from types import SimpleNamespace
from typing import Any

import pytest
from ecs_release.cli import repair as finishing
from ecs_release.cli.main import main
from ecs_release.cli.orchestrator import Orchestrator
from ecs_release.errors import LockLostError
from ecs_release.manifest import Rule
from ecs_release.record.models import ItemRecord, ReleaseRecord

RECORD = ReleaseRecord("r1", "arn", 1, "2026-01-01T00:00:00.000Z", status="ROLLBACK_INCOMPLETE")
ITEM = ItemRecord(
    *("r1", 0, 0, 1, Rule(rule="nightly"), "update", {}),
    before="job:1",
    live="job:1",
    after="job:2",
    started_at=1,
    verdict="SUCCEEDED",
    status="ROLLBACK_FAILED",
)
OTHER = dataclasses.replace(ITEM, number=1, item=Rule(rule="hourly"))


class Table:
    """The record of one release, and what is done to its items."""

    def __init__(self, record: ReleaseRecord | None = RECORD, outcomes: dict[str, str] | None = None) -> None:
        self.record = record
        self.outcomes = outcomes or {}
        self.put: list[str] = []
        self.holder: str | None = None
        self.store = self

    def check_lock(self, release: str, epoch: int) -> None:
        if self.holder:
            raise LockLostError(f"release {self.holder} is running; repair what is left when it has ended.")

    def release(self, release: str) -> ReleaseRecord | None:
        return self.record if self.record and release == self.record.release else None

    def releases(self, limit: int) -> list[ReleaseRecord]:
        return [self.record] if self.record else []

    def items(self, release: str) -> list[ItemRecord]:
        return [
            ITEM,
            OTHER,
            dataclasses.replace(ITEM, number=2, item=Rule(rule="back"), status="ROLLED_BACK"),
        ]

    def look(self, _: Any, item: ItemRecord) -> finishing.Repair:
        return finishing.Repair(item, ("job:2",), "job:1", self.outcomes.get(item.name, finishing.TO_DO))

    def put_back(self, _: Any, item: ItemRecord) -> finishing.Repair:
        self.put.append(item.name)
        return finishing.Repair(item, ("job:2",), "job:1", finishing.DONE)


@pytest.fixture
def table(monkeypatch: pytest.MonkeyPatch) -> Table:
    made = Table()
    monkeypatch.setattr(Orchestrator, "find", lambda _: None)
    monkeypatch.setattr(finishing, "by_hand", lambda _: made)
    monkeypatch.setattr(finishing, "look", made.look)
    monkeypatch.setattr(finishing, "put_back", made.put_back)
    return made


def answers(monkeypatch: pytest.MonkeyPatch, text: str | None) -> None:
    """What the person at the terminal says; None: nobody is there."""
    stdin = SimpleNamespace(isatty=lambda: text is not None, readline=lambda: f"{text}\n")
    monkeypatch.setattr(sys, "stdin", stdin)


@pytest.mark.parametrize("said", ["y", "YES", "n", ""])
def test_a_person_sees_what_it_would_do_and_is_asked(
    table: Table, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], said: str
) -> None:
    agreed = said.lower().startswith("y")
    answers(monkeypatch, said)
    assert main(["repair"]) == (0 if agreed else 1)
    assert table.put == (["nightly", "hourly"] if agreed else [])
    printed = capsys.readouterr()
    assert printed.out.splitlines()[:2] == [
        "to do        nightly  job:2 -> job:1",
        "to do        hourly  job:2 -> job:1",
    ]
    assert printed.err == "Put 2 items back? [y/N] "


def test_where_nobody_can_be_asked_it_wants_yes(
    table: Table, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    answers(monkeypatch, None)
    assert main(["repair"]) == 1
    assert "write --yes" in capsys.readouterr().err
    assert table.put == []
    assert main(["repair", "--yes"]) == 0
    assert table.put == ["nightly", "hourly"]


def test_it_repairs_the_items_that_are_named_and_no_other(
    table: Table, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["repair", "hourly", "--release", "r1", "--yes", "--json"]) == 0
    assert table.put == ["hourly"]
    (entry,) = json.loads(capsys.readouterr().out)
    assert (entry["name"], entry["outcome"], entry["from"], entry["to"]) == (
        "hourly",
        "done",
        ["job:2"],
        "job:1",
    )


@pytest.mark.parametrize("name", ["back", "unknown"])
def test_an_item_that_is_back_or_unknown_is_told(
    table: Table, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    assert main(["repair", name, "--yes"]) == 1
    assert (
        f"{name} is no item that release r1 did not bring back; left are hourly, nightly."
        in capsys.readouterr().err
    )
    assert table.put == []


@pytest.mark.parametrize(
    ("outcome", "status"), [(finishing.BACK, 0), (finishing.LEFT_ALONE, 1), (finishing.FAILED, 1)]
)
def test_what_needs_nothing_is_left_and_what_can_t_be_done_fails(
    table: Table, outcome: str, status: int
) -> None:
    table.outcomes = {"nightly": outcome}
    assert main(["repair", "--yes"]) == status
    assert table.put == ["hourly"]


@pytest.mark.parametrize("ended", ["SUCCEEDED", "ROLLED_BACK", "REJECTED"])
def test_a_release_that_left_nothing_behind_needs_no_repair(
    table: Table, capsys: pytest.CaptureFixture[str], ended: str
) -> None:
    table.record = dataclasses.replace(RECORD, status=ended)
    assert main(["repair"]) == 0
    assert capsys.readouterr().out == f"Release r1 is {ended}; nothing of it is left to put back.\n"


def test_there_must_be_such_a_release_and_none_may_run(
    table: Table, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["repair", "--release", "r7"]) == 1
    assert "there is no release r7" in capsys.readouterr().err
    table.holder = "r2"
    assert main(["repair", "--yes"]) == 1
    assert "release r2 is running" in capsys.readouterr().err
    assert table.put == []
