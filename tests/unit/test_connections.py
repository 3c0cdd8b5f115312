"""Clients for targets."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from ecs_release.aws import Connections, Target


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
    clients = [connections.client(name, "ecs") for name in ("a", "b")]

    loaders = {
        id(session._session.get_component("data_loader")) for session in connections._sessions.values()
    }
    assert len(loaders) == 1
    assert [client._request_signer._credentials.access_key for client in clients] == ["a", "b"]
