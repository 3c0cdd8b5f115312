"""Fixtures for tests that use an embedded AWS: import them in a ``conftest.py``."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from local_aws.client import HANG_SECONDS, LocalAws


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


@pytest.fixture
def eventually() -> Callable[..., Any]:
    """Wait for the first true value of a check; fail with the last one when the time is over."""

    def wait(check: Callable[[], Any], seconds: float = HANG_SECONDS) -> Any:
        deadline = time.monotonic() + seconds
        while True:
            value = check()
            if value:
                return value
            if time.monotonic() > deadline:
                pytest.fail(f"still {value!r} after {seconds} s")
            time.sleep(0.05)

    return wait
