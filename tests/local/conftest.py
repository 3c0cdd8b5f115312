"""One embedded AWS for the whole run."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from ecs_release.cli.main import main
from local_aws.client import LocalAws
from local_aws.testing import aws, aws_server, eventually  # noqa: F401 - fixtures
from stack import Command, Stack


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


@pytest.fixture
def command(stack: Stack, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Run ``ecs-release``; its exit status and all that it printed, which is never a traceback."""
    for name, value in stack.aws.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("ECS_RELEASE_STATE_MACHINE_ARN", stack.outputs["state_machine_arn"])

    def run(*arguments: str) -> tuple[int, str]:
        status = main(list(arguments))
        captured = capsys.readouterr()
        printed = captured.out + captured.err
        assert "Traceback" not in printed
        return status, printed

    return run
