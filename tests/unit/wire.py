"""AWS as it answers on the wire: real clients, whose requests never leave, and answers that a test changes."""

from __future__ import annotations

import copy
import functools
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from botocore.awsrequest import AWSResponse
from ecs_release.aws import patience, retries
from ecs_release.aws.clients import Connections, Target
from hypothesis import strategies as st

ACCOUNT = "111111111111"
PREFIX = f"arn:aws:ecs:eu-west-1:{ACCOUNT}:task-definition/"
Answer = Callable[[dict[str, Any]], Any]


class _Body:
    def __init__(self, content: bytes) -> None:
        self._content = content

    def stream(self, **_: Any) -> Iterator[bytes]:
        yield self._content


@functools.cache
def _connections() -> tuple[Connections, dict[str, Answer]]:
    """Made once: a client takes a tenth of a second."""
    target = Target("default", ACCOUNT, "eu-west-1", "role", "reader")
    connections = Connections({"default": target}, (), write=False, session_name="test", own_account=ACCOUNT)
    answers: dict[str, Answer] = {}

    def respond(request: Any, **_: Any) -> AWSResponse:
        operation = request.headers["X-Amz-Target"].decode().rpartition(".")[2]
        content: Any = _Body(json.dumps(answers[operation](json.loads(request.body))).encode())
        headers: Any = {"Content-Type": "application/x-amz-json-1.1"}
        return AWSResponse(request.url, 200, headers, content)

    for retry in (True, False):
        client: Any = connections.client("default", "ecs", retry=retry)
        client.meta.events.register_first("before-send.ecs", respond)
    return connections, answers


def wired(monkeypatch: pytest.MonkeyPatch, answers: dict[str, Answer]) -> Connections:
    """Connections whose ECS answers each operation with JSON made from the request."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    connections, known = _connections()
    known.clear()
    known.update(answers)
    # ECS's documented rates are not what is tried here.
    monkeypatch.setattr(retries, "wait_for_turn", lambda *_: None)
    monkeypatch.setattr(patience, "wait_for_turn", lambda *_: None)
    return connections


_VALUES: st.SearchStrategy[Any] = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-5, 10**6),
    st.floats(allow_nan=False, allow_infinity=False, width=16),
    st.text(max_size=8),
    st.just([]),
    st.just({}),
    st.just(["x", None, 7]),
    st.just({"unknown": {"member": [1]}}),
)


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every (container, key) within JSON."""
    members = (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    )
    for key, member in members:
        yield value, key
        yield from _places(member)


@st.composite
def odd(draw: st.DrawFn, body: Any) -> Any:
    """A copy of some JSON in which members are dropped, null, of another type, or unknown."""
    changed = copy.deepcopy(body)
    for _ in range(draw(st.integers(1, 4))):
        places = list(_places(changed))
        if not places:
            break
        holder, key = places[draw(st.integers(0, len(places) - 1))]
        match draw(st.sampled_from(["drop", "null", "other", "unknown"])):
            case "drop":
                del holder[key]
            case "null":
                holder[key] = None
            case "other":
                holder[key] = copy.deepcopy(draw(_VALUES))
            case "unknown" if isinstance(holder, dict):
                holder["newlyAddedByAws"] = copy.deepcopy(draw(_VALUES))
            case _:
                holder.append(copy.deepcopy(draw(_VALUES)))
    return changed
