"""What ``deploy`` and ``rollback`` print where nobody watches: one line for each change, and the end."""

from __future__ import annotations

import dataclasses
import io
from typing import Any

import pytest
from ecs_release.cli import follow as module
from ecs_release.cli.console import Console
from ecs_release.manifest import Rule, Service
from ecs_release.record.models import ItemRecord, ReleaseRecord

RECORD = ReleaseRecord("r", "arn", 1, "2026-01-01T00:00:00.000Z")
ITEM = ItemRecord(
    "r", 0, 0, 1, Service(cluster="shop", service="api", target="eu"), "update", {}, status="UPDATED"
)


class Orchestrator:
    """Answers, one a look: the execution's status, the record's and the items'."""

    def __init__(self, *looks: tuple[str, str, list[ItemRecord]]) -> None:
        self._looks = list(looks)
        self._now = looks[0]

    def store(self) -> Orchestrator:
        return self

    def execution(self, _: str) -> dict[str, Any]:
        self._now = self._looks.pop(0) if len(self._looks) > 1 else self._looks[0]
        return {"status": self._now[0]}

    def release(self, _: str) -> ReleaseRecord:
        return dataclasses.replace(RECORD, status=self._now[1])

    def items(self, _: str) -> list[ItemRecord]:
        return self._now[2]


def followed(monkeypatch: pytest.MonkeyPatch, *looks: tuple[str, str, list[ItemRecord]]) -> list[str]:
    monkeypatch.setattr(module.time, "sleep", lambda _: None)
    out = io.StringIO()
    module.follow(Orchestrator(*looks), "r", "arn", Console(out=out))  # type: ignore[arg-type]
    return out.getvalue().splitlines()


def test_two_items_of_one_name_are_told_apart_and_said_once(monkeypatch: pytest.MonkeyPatch) -> None:
    there = dataclasses.replace(
        ITEM, item=dataclasses.replace(ITEM.item, target="us"), number=1, status="SUCCEEDED"
    )
    look = ("RUNNING", "RUNNING", [ITEM, there])
    lines = followed(monkeypatch, look, look, look, ("SUCCEEDED", "SUCCEEDED", [ITEM, there]))
    assert lines[1:3] == ["UPDATED            shop/api [eu]", "SUCCEEDED          shop/api [us]"]
    assert lines[3].startswith("release r  SUCCEEDED")


def test_two_targets_of_one_rule_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    items = [
        dataclasses.replace(ITEM, item=Rule(rule="nightly", target_id=target_id), number=number)
        for number, target_id in enumerate("ab")
    ]
    lines = followed(monkeypatch, ("SUCCEEDED", "SUCCEEDED", items))
    assert [line.split()[1] for line in lines[1:3]] == ["nightly#a", "nightly#b"]


def test_a_stopped_execution_is_followed_until_its_record_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = followed(
        monkeypatch,
        ("ABORTED", "RUNNING", [ITEM]),
        ("ABORTED", "RUNNING", [ITEM]),
        ("ABORTED", "ABORTED", [ITEM]),
    )
    assert lines[2].startswith("release r  ABORTED")


def test_a_record_that_nobody_closes_is_not_waited_for_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = followed(monkeypatch, ("ABORTED", "RUNNING", [ITEM]))
    assert lines[2].startswith("release r  RUNNING")
