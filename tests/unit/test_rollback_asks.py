"""The command ``ecs-release rollback`` asks before it starts anything; where nobody can be asked it wants ``--yes``."""

from __future__ import annotations

import dataclasses
import json
import sys
from types import SimpleNamespace
from typing import Any

import pytest
from ecs_release.cli import follow as following
from ecs_release.cli.main import main
from ecs_release.cli.orchestrator import Orchestrator
from ecs_release.plan import make
from ecs_release.record.models import ReleaseRecord

FIRST = ReleaseRecord("r1", "arn", 1, "2026-01-01T00:00:00.000Z", status="SUCCEEDED")
SECOND = dataclasses.replace(FIRST, release="r2", label="4.1", status="FAILED")


class Machine:
    """Notes what is started."""

    def __init__(self) -> None:
        self.started: list[dict[str, Any]] = []
        self.asked: list[str | None] = []

    def store(self) -> Machine:
        return self

    def start(self, document: dict[str, Any]) -> tuple[str, str]:
        self.started.append(document)
        return "cli-1", "arn"

    def undone(self, _: Any, to: str | None) -> list[ReleaseRecord]:
        self.asked.append(to)
        return [SECOND, FIRST] if to else [SECOND]


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    made = Machine()
    monkeypatch.setattr(Orchestrator, "find", lambda _: made)
    monkeypatch.setattr(make, "releases_undone", made.undone)
    monkeypatch.setattr(following, "follow", lambda *_: True)
    return made


def stdin(monkeypatch: pytest.MonkeyPatch, said: str | None) -> None:
    """What the person at the terminal says; None: nobody is there."""
    terminal = SimpleNamespace(isatty=lambda: said is not None, readline=lambda: f"{said}\n")
    monkeypatch.setattr(sys, "stdin", terminal)


@pytest.mark.parametrize("to", [None, "r0"])
@pytest.mark.parametrize("said", ["y", "YES", "n", "", "r2"])
def test_a_person_sees_which_releases_it_undoes_and_is_asked(
    machine: Machine,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    said: str,
    to: str | None,
) -> None:
    stdin(monkeypatch, said)
    agreed = said.lower().startswith("y")
    assert main(["rollback", *(["--to", to] if to else [])]) == (0 if agreed else 1)
    document = {"version": 1, "mode": "rollback", **({"to": to} if to else {})}
    assert machine.started == ([document] if agreed else [])
    assert machine.asked == [to]
    printed = capsys.readouterr()
    lines = printed.out.splitlines()
    assert [line.split()[1] for line in lines if line.startswith("2026")] == (["r2", "r1"] if to else ["r2"])
    assert printed.err == f"Undo {'2 releases' if to else '1 release'}? [y/N] "
    assert ("Nothing was changed." in lines) is not agreed


@pytest.mark.parametrize("to", [None, "r0"])
@pytest.mark.parametrize("more", [[], ["--json"]])
def test_where_nobody_can_be_asked_it_wants_yes(
    machine: Machine,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    to: str | None,
    more: list[str],
) -> None:
    stdin(monkeypatch, None)
    command = ["rollback", *(["--to", to] if to else []), *more]
    assert main(command) == 1
    assert "write --yes" in capsys.readouterr().err
    assert machine.started == []
    assert main([*command, "--yes"]) == 0
    assert len(machine.started) == 1


def test_json_says_nothing_but_json_where_it_was_not_wanted(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stdin(monkeypatch, "n")
    assert main(["rollback", "--json"]) == 1
    assert json.loads(capsys.readouterr().out) is None
    assert machine.started == []


def test_deploy_keeps_working_without_a_question(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    """It is what scripts call."""
    stdin(monkeypatch, None)
    manifest = tmp_path / "deployment.yaml"
    manifest.write_text("services: [{service: a, clusterName: c, serviceName: a, image: 'r/a:1'}]\n")
    assert main(["deploy", str(manifest)]) == 0
    assert len(machine.started) == 1
