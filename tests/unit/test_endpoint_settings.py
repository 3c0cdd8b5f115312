"""An address of AWS that is none, in the environment of a terminal: a sentence with what to do, and no traceback."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import boto3
import pytest
from ecs_release.aws.clients import Connections, Target, own_client
from ecs_release.cli.main import main
from ecs_release.errors import SettingsError

ARN = "arn:aws:states:eu-west-1:111111111111:stateMachine:x"
NO_ADDRESSES = (
    *(
        "localhost:4566",
        "localhost",
        "http://",
        "https://",
        "http://[::1",
        "http://a b",
        "http://:80",
        "4566",
    ),
    *("http://localhost:port", "http://localhost:99999", "http://localhost:-1"),
)


@pytest.fixture(autouse=True)
def _credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)


@pytest.mark.parametrize("address", NO_ADDRESSES)
def test_a_command_says_which_setting_is_wrong(
    address: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", address)
    assert main(["status", "--state-machine-arn", ARN]) == 1
    said = capsys.readouterr().err
    assert "AWS_ENDPOINT_URL" in said
    assert "https://host:port" in said
    assert said.count("\n") == 1


@pytest.mark.parametrize("service", ["dynamodb", "ecs"])
@pytest.mark.parametrize("address", NO_ADDRESSES)
def test_so_it_is_with_one_service_s_own_address(
    address: str, service: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"AWS_ENDPOINT_URL_{service.upper()}", address)
    target = Target("default", "111111111111", "eu-west-1", "role", "reader")
    connections = Connections(
        {"default": target}, (), write=False, session_name="s", own_account=target.account
    )
    made: dict[str, Callable[..., Any]] = {
        "ecs": connections.client,
        "dynamodb": lambda *_: own_client("dynamodb", region_name="eu-west-1"),
    }
    with pytest.raises(SettingsError, match="AWS_ENDPOINT_URL"):
        made[service]("default", service)


def test_an_address_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://localhost:4566")
    assert own_client("dynamodb", region_name="eu-west-1").meta.endpoint_url == "http://localhost:4566"
