"""Naming the release to go back to, to show, to repair: an empty name, as an unset shell variable leaves it, names none."""

from __future__ import annotations

from typing import Any

import pytest
from ecs_release.cli.main import main
from ecs_release.cli.orchestrator import Orchestrator
from ecs_release.errors import ManifestInvalidError
from ecs_release.plan.request import read_request

EMPTY = ("", " ", "\t", "\n", "\u3000")
NAMING = (
    ("rollback", "--to", "{}"),
    ("rollback", "--to", "{}", "--dry-run"),
    ("status", "{}"),
    ("repair", "--release", "{}"),
    ("repair", "{}"),
    ("repair", "api", "{}"),
    ("unhold", "{}"),
    *(
        (command, "--state-machine-arn", "{}")
        for command in ("rollback", "status", "history", "repair", "unhold")
    ),
    *((command, "FILE", "--state-machine-arn", "{}") for command in ("deploy", "plan")),
)


@pytest.fixture(autouse=True)
def _nothing_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    def find(_: Any) -> None:
        pytest.fail("the command went on")

    monkeypatch.setattr(Orchestrator, "find", find)


@pytest.mark.parametrize("empty", EMPTY, ids=repr)
@pytest.mark.parametrize("arguments", NAMING, ids=" ".join)
def test_an_empty_name_is_a_wrong_call(
    arguments: tuple[str, ...], empty: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main([argument.format(empty) for argument in arguments])
    assert ended.value.code == 2
    assert "is empty" in capsys.readouterr().err


@pytest.mark.parametrize("empty", EMPTY, ids=repr)
def test_an_execution_that_goes_back_to_an_empty_name_is_refused(empty: str) -> None:
    with pytest.raises(ManifestInvalidError, match='"to" is empty'):
        read_request({"version": 1, "mode": "rollback", "to": empty})


def test_without_a_name_it_is_the_newest() -> None:
    assert read_request({"version": 1, "mode": "rollback"}).to is None
    assert read_request({"version": 1, "mode": "rollback", "to": "cli-x"}).to == "cli-x"
