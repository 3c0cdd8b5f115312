"""A connection that the module made is kept as long as it can be: a new one is PENDING until somebody completes its handshake."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from local_aws.client import LocalAws

from scripts.checkout import ROOT
from scripts.terraform import Terraform, one_provider

PROVIDER = "module.source.terraform_data.provider[0]"
CONNECTION = "module.source.aws_codeconnections_connection.this[0]"
HOSTS = "arn:aws:codeconnections:us-east-1:123456789012:host"
GITHUB, GITLAB = {"connection_provider": "GitHub"}, {"connection_provider": "GitLab"}
HOSTED, OTHER_HOST = (
    {"connection_provider": "GitHubEnterpriseServer", "connection_host_arn": f"{HOSTS}/{name}"}
    for name in ("one", "other")
)


class Source:
    """``modules/source`` alone, applied to embedded AWS, with the repository and the tags of the moment."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        # Relative: of an absolute path Terraform copies the module's folder alone.
        source = os.path.relpath(ROOT / "modules" / "source", folder.resolve())
        (folder / "main.tf").write_text(
            f"""
            provider "aws" {{
              skip_credentials_validation = true
              skip_region_validation      = true
              max_retries                 = 2
            }}
            variable "repository" {{
              type = object({{
                type                = optional(string, "CONNECTION")
                branch              = optional(string, "main")
                file                = optional(string, "deployment.yaml")
                full_repository_id  = optional(string, "octo/deployments")
                connection_provider = optional(string)
                connection_host_arn = optional(string)
              }})
            }}
            variable "tags" {{ type = map(string) }}
            module "source" {{
              source       = "{source}"
              name         = "connected"
              repository   = var.repository
              pipeline_arn = "arn:aws:codepipeline:us-east-1:123456789012:connected"
              tags         = var.tags
            }}
            """
        )
        self._folder = folder
        self._environment = environment
        self.terraform({}).init()

    def terraform(self, repository: dict[str, str], team: str = "a") -> Terraform:
        values = {"repository": repository, "tags": {"team": team}}
        arguments = [
            word for name, value in values.items() for word in ("-var", f"{name}={json.dumps(value)}")
        ]
        return Terraform(self._folder, self._environment, arguments, example=self._folder)

    def provider_type(self) -> str:
        """What AWS says of the connection, as Terraform read it last."""
        document = json.loads(self.terraform({}).state.read_text())
        (made,) = [r for r in document["resources"] if r["type"] == "aws_codeconnections_connection"]
        (instance,) = made["instances"]
        return str(instance["attributes"]["provider_type"])

    def forget(self, address: str) -> None:
        """Take a resource out of the state, as if a version had been applied that has none."""
        state = self.terraform({}).state
        document: dict[str, Any] = json.loads(state.read_text())
        kept = [
            r
            for r in document["resources"]
            if not address.startswith(f"{r['module']}.{r['type']}.{r['name']}")
        ]
        assert len(kept) == len(document["resources"]) - 1
        state.write_text(json.dumps({**document, "resources": kept}))


@pytest.fixture(scope="module")
def source(aws: LocalAws, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Source]:
    folder = tmp_path_factory.mktemp("source")
    with one_provider(folder, aws.environment(), folder) as attached:
        yield Source(folder, {**aws.environment(), **attached})


@pytest.mark.parametrize("repository", [GITHUB, HOSTED], ids=["provider", "host"])
def test_it_is_replaced_only_for_another_provider_or_host(source: Source, repository: dict[str, str]) -> None:
    source.terraform(repository).apply()
    assert source.terraform(repository).plan() == {}
    assert source.terraform(repository, team="b").plan() == {CONNECTION: "update"}
    for other in (GITHUB, GITLAB, HOSTED, OTHER_HOST):
        assert source.terraform(other).plan().get(CONNECTION) == (None if other == repository else "replace")
    source.terraform(GITLAB).apply()
    assert source.provider_type() == "GitLab"


@pytest.mark.parametrize("repository", [GITHUB, HOSTED], ids=["provider", "host"])
def test_an_upgrade_keeps_it(source: Source, repository: dict[str, str]) -> None:
    source.terraform(repository).apply()
    source.forget(PROVIDER)
    assert source.terraform(repository).plan() == {PROVIDER: "create"}
