"""One embedded AWS for the whole run."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from local_aws.client import LocalAws
from local_aws.testing import aws, aws_server, eventually  # noqa: F401 - fixtures
from stack import Stack


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
