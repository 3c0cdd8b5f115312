"""One embedded AWS for the whole run."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from stack import Stack

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
            assert time.monotonic() < deadline, f"still {value!r} after {seconds} s"
            time.sleep(0.05)

    return wait


@pytest.fixture(scope="session")
def stack(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Stack:
    """The module of ``examples/local``, applied once per run."""
    folder = tmp_path_factory.mktemp("stack")
    if kept := os.environ.get("ECS_RELEASE_TEST_STACK"):
        # While tests are written: a folder with the outputs.json of an embedded AWS that already runs.
        document = json.loads((Path(kept) / "outputs.json").read_text())
        aws = LocalAws((Path(kept) / "endpoint").read_text().strip())
    else:
        aws = request.getfixturevalue("aws_server")
        from scripts import terraform_cli_config
        from scripts.terraform import Terraform

        os.environ.setdefault("TF_CLI_CONFIG_FILE", str(terraform_cli_config.main()))
        terraform = Terraform(folder, aws.environment())
        terraform.init()
        terraform.apply()
        document = terraform.outputs()
    aws.reset()
    return Stack(aws, {name: output["value"] for name, output in document.items()}, folder)
