"""What the slow proofs share: each module of them has an embedded AWS of its own, with ``examples/local`` applied."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "local"))

from local_aws.client import LocalAws
from stack import Stack

from scripts.terraform import Terraform


@pytest.fixture(scope="module")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalAws]:
    """An embedded AWS in a process of its own; its logs are under pytest's temporary directory."""
    state: Path = tmp_path_factory.mktemp("aws")
    with LocalAws.start(state_dir=state, log=state / "server.log") as server:
        yield server


@pytest.fixture(scope="module")
def stack(aws: LocalAws, tmp_path_factory: pytest.TempPathFactory) -> Stack:
    """The module of ``examples/local``, applied to it."""
    folder = tmp_path_factory.mktemp("stack")
    terraform = Terraform(folder, aws.environment())
    terraform.init()
    terraform.apply()
    return Stack(aws, {name: output["value"] for name, output in terraform.outputs().items()}, folder)


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str]) -> Callable[[str], None]:
    """Show how far a long test is, at once."""

    def show(text: str) -> None:
        with capsys.disabled():
            print(f"   {text}", flush=True)

    return show


_notes: list[str] = []


@pytest.fixture(scope="session")
def note() -> Callable[[str], None]:
    """Say something in the summary of the test run."""
    return _notes.append


def pytest_terminal_summary(terminalreporter: Any) -> None:
    if _notes:
        terminalreporter.section("measured")
        for line in _notes:
            terminalreporter.write_line(line)
