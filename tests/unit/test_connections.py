"""Clients for targets."""

from __future__ import annotations

import os
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest
from ecs_release.aws.clients import Connections, Target


def target(name: str) -> Target:
    role = f"arn:aws:iam::111111111111:role/{name}"
    return Target(name, "111111111111", "us-east-1", role_arn=role, reader_role_arn=role)


def test_sessions_of_many_targets_parse_the_service_models_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def assume(_connections: Connections, wanted: Target) -> Any:
        soon = datetime.now(UTC) + timedelta(hours=1)
        return lambda: {
            "access_key": wanted.name,
            "secret_key": "secret",
            "token": "token",
            "expiry_time": soon.isoformat(),
        }

    monkeypatch.setattr(Connections, "_assume", assume)
    connections = Connections({n: target(n) for n in ("a", "b")}, (), write=False, session_name="test")
    clients: list[Any] = [connections.client(name, "ecs") for name in ("a", "b")]

    loaders = {
        id(session._session.get_component("data_loader")) for session in connections._sessions.values()
    }
    assert len(loaders) == 1
    assert [client._request_signer._credentials.access_key for client in clients] == ["a", "b"]


@pytest.mark.parametrize(
    ("own", "asked"),
    [("eu-west-1", "sts.eu-west-1.amazonaws.com"), (None, "sts.me-central-1.amazonaws.com")],
)
def test_a_role_is_assumed_in_the_caller_s_own_region(
    monkeypatch: pytest.MonkeyPatch, own: str | None, asked: str
) -> None:
    """The target's Region may be one that this account has not opted in to; a terminal may have no Region."""
    for name in ("AWS_ENDPOINT_URL", "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, os.devnull)
    if own:
        monkeypatch.setenv("AWS_DEFAULT_REGION", own)
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    clients: list[Any] = []
    make = boto3.client

    def client(*arguments: Any, **options: Any) -> Any:
        clients.append(make(*arguments, **options))
        return clients[-1]

    monkeypatch.setattr(boto3, "client", client)
    there = replace(target("a"), region="me-central-1")
    Connections({"a": there}, (), write=False, session_name="test")._assume(there)
    assert [sts.meta.endpoint_url for sts in clients] == [f"https://{asked}"]
