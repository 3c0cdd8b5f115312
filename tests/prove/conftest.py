"""One embedded AWS with the module applied once, as for the end-to-end tests."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "local"))

from stack import Stack

from local_aws.client import LocalAws
from scripts import terraform_cli_config
from scripts.terraform import Terraform


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The module of ``examples/local``, applied once for these tests to an embedded AWS of their own."""
    folder = tmp_path_factory.mktemp("prove")
    os.environ.setdefault("TF_CLI_CONFIG_FILE", str(terraform_cli_config.main()))
    with LocalAws.start(state_dir=folder / "aws", log=folder / "server.log") as aws:
        terraform = Terraform(folder, aws.environment())
        terraform.init()
        terraform.apply()
        outputs = {name: output["value"] for name, output in terraform.outputs().items()}
        yield Stack(aws, outputs, folder)


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str]) -> Callable[[str], None]:
    """Show how far a long test is, at once."""

    def show(text: str) -> None:
        with capsys.disabled():
            print(f"   {text}", flush=True)

    return show
