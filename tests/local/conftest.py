"""One embedded AWS for the whole run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from local_aws.client import LocalAws


@pytest.fixture(scope="session")
def aws_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalAws]:
    """Embedded AWS in a process of its own; its logs are under pytest's temporary directory."""
    state: Path = tmp_path_factory.mktemp("local-aws")
    with LocalAws.start(state_dir=state, log=state / "server.log") as server:
        yield server


@pytest.fixture
def aws(aws_server: LocalAws) -> Iterator[LocalAws]:
    """The same server with no rules, faults, limits or counts, before and after."""
    aws_server.reset()
    yield aws_server
    aws_server.reset()
