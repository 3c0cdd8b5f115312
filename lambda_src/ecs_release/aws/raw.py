"""JSON as AWS sent it.

botocore drops members that its service model does not know. A copy of a task definition, a rule target or a
schedule must not lose them, so reads that are copied hand out the raw response body (``RAW``) and writes that
carry a copy send a raw request body (:func:`send_raw`). An explicit null in them is read as absent.

These bodies hold environment values, overrides and inputs, and with them secrets. They stay between the account's own ECS,
EventBridge and the releases table: what AWS answers to them is cleared of their values before anybody sees it, and the
SDK's own log, which would show them, is not switched on with somebody's root logger.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from ecs_release.errors import EcsReleaseError

if TYPE_CHECKING:
    from botocore.client import BaseClient

RAW = "RawBody"
"""Key under which a read's parsed answer carries the body that AWS sent, as a dict."""

# At DEBUG they log requests and responses whole, and the root logger's level is often somebody else's choice.
for _name in ("botocore", "boto3", "urllib3"):
    logging.getLogger(_name).setLevel(logging.INFO)

HIDDEN = "***"
"""What stands for a value of a raw body in an error of AWS."""

# Members of raw bodies that name things of the account or are words of an API. The values of all others are somebody's own.
_PLAIN_MEMBERS = frozenset(
    {
        *("ActionAfterCompletion", "Arn", "AssignPublicIp", "EventBusName", "GroupName", "Id", "KmsKeyArn"),
        *(
            "LaunchType",
            "Mode",
            "Name",
            "NetworkMode",
            "PlatformVersion",
            "RoleArn",
            "Rule",
            "ScheduleExpression",
        ),
        *("ScheduleExpressionTimezone", "SecurityGroups", "State", "Subnets", "TaskDefinitionArn"),
        *(
            "containerName",
            "cpu",
            "executionRoleArn",
            "family",
            "image",
            "key",
            "logDriver",
            "memory",
            "name",
        ),
        *("networkMode", "protocol", "requiresCompatibilities", "taskRoleArn"),
        *("awslogs-group", "awslogs-region", "awslogs-stream-prefix"),
    }
)

# "1 validation error detected: Value '...' at 'targets.1.member.input' failed to satisfy constraint: ..."
_ECHO = re.compile(r"Value '.*?' at '", re.DOTALL)
_SHORTEST_HIDDEN = 4

# A part of a value may be the secret in it, and may be what AWS repeats.
_PART = re.compile(r"[\w.+/=-]{6,}")
_body: ContextVar[bytes | None] = ContextVar("ecs_release_raw_body", default=None)

# Beside what is copied, the answers whose newest members an older SDK would drop: who a deployment is (currentServiceDeployment,
# in botocore since 1.42) and how it goes (deploymentConfiguration, which grows with every strategy).
_RAW_READS = {
    "ecs": ("DescribeTaskDefinition", "DescribeServices", "UpdateService", "DescribeServiceDeployments"),
    "events": ("ListTargetsByRule",),
    "scheduler": ("GetSchedule",),
}

_RAW_WRITES = {
    "ecs": ("RegisterTaskDefinition",),
    "events": ("PutTargets",),
    "scheduler": ("UpdateSchedule",),
}


def raw_body(answer: Mapping[str, object]) -> dict[str, Any]:
    """The body that AWS sent with the answer of a read in ``_RAW_READS``."""
    body = answer[RAW]
    assert isinstance(body, dict)  # noqa: S101 - _keep_body put it there
    return body


@contextmanager
def send_raw(body: Mapping[str, Any]) -> Iterator[None]:
    """Within this block the next raw-capable write sends exactly ``body`` instead of its serialised arguments."""
    token = _body.set(json.dumps(body, separators=(",", ":")).encode())
    try:
        yield
    finally:
        _body.reset(token)


def completed(parsed: Any, raw: Any) -> Any:
    """What the SDK made of an answer, and beside it the members that its model does not know, as AWS sent them.

    A time among those is a number: seconds since 1970.
    """
    if isinstance(parsed, dict) and isinstance(raw, dict):
        unknown = {name: value for name, value in raw.items() if name not in parsed and value is not None}
        return {**unknown, **{name: completed(value, raw.get(name)) for name, value in parsed.items()}}
    if isinstance(parsed, list) and isinstance(raw, list) and len(parsed) == len(raw):
        return [completed(*entries) for entries in zip(parsed, raw, strict=True)]
    return parsed


def install_raw(client: BaseClient, service: str) -> None:
    for operation in _RAW_READS.get(service, ()):
        client.meta.events.register(f"after-call.{service}.{operation}", _keep_body)
    for operation in _RAW_WRITES.get(service, ()):
        client.meta.events.register(f"before-call.{service}.{operation}", _replace_body)
        client.meta.events.register(f"after-call.{service}.{operation}", _hide_values)


def _keep_body(http_response: Any, parsed: dict[str, Any], **_: Any) -> None:
    if http_response.status_code < 300:
        parsed[RAW] = without_nulls(_json(http_response.content))


def without_nulls(value: Any) -> Any:
    """JSON without its nulls, which say the same as an absent member.

    A client of AWS's JSON protocols tolerates them in what it reads, and drops them
    (https://smithy.io/2.0/spec/type-refinement-traits.html#sparse-trait, https://github.com/aws/aws-sdk-js-v3/pull/2771);
    botocore does so with members. A server may refuse them, so a copy goes without.
    """
    if isinstance(value, dict):
        return {name: without_nulls(member) for name, member in value.items() if member is not None}
    if isinstance(value, list):
        return [without_nulls(entry) for entry in value if entry is not None]
    return value


def _replace_body(params: dict[str, Any], **_: Any) -> None:
    body = _body.get()
    if body is None:
        return
    _json(params["body"])  # a protocol other than JSON would silently ignore what we send
    params["body"] = body


def _hide_values(parsed: dict[str, Any], **_: Any) -> None:
    """Clear what AWS says about a raw body of the values in it, before it becomes an exception, a reason or a log line."""
    body = _body.get()
    if body is None:
        return
    said = [parsed["Error"]] if isinstance(parsed.get("Error"), dict) else []
    said += [entry for entry in parsed.get("FailedEntries", ()) if isinstance(entry, dict)]
    for answer in said:
        for member in ("Message", "message", "ErrorMessage"):
            if isinstance(answer.get(member), str):
                answer[member] = without_values(answer[member], json.loads(body))


def without_values(text: str, body: Any) -> str:
    """``text`` with every value of a raw body hidden, but those that name things."""
    for value in sorted(_values(body), key=len, reverse=True):
        for written in (value, json.dumps(value)[1:-1], json.dumps(value, ensure_ascii=False)[1:-1]):
            text = text.replace(written, HIDDEN)
    return _ECHO.sub(f"Value {HIDDEN} at '", text)


def _values(body: Any) -> set[str]:
    """The texts in a raw body that are somebody's own, also those within JSON in a text."""
    if isinstance(body, dict):
        return {
            value
            for name, member in body.items()
            if not (name in _PLAIN_MEMBERS and isinstance(member, str | list))
            for value in _values(member)
        }
    if isinstance(body, list):
        return {value for entry in body for value in _values(entry)}
    if not isinstance(body, str):
        return set()
    return _parts(body)


def _parts(value: str) -> set[str]:
    """A text, the texts within it where it is JSON, and its longer words; of an ARN no part is a secret."""
    if len(value) < _SHORTEST_HIDDEN:
        return set()
    found = {value} if value.startswith("arn:") else {value, *_PART.findall(value)}
    try:
        within = json.loads(value)
    except ValueError:
        return found
    return found | _texts(within)


def _texts(value: Any) -> set[str]:
    """Every text within JSON: of an input nothing is known to be a name."""
    if isinstance(value, dict):
        return {text for member in value.values() for text in _texts(member)}
    if isinstance(value, list):
        return {text for entry in value for text in _texts(entry)}
    return _parts(value) if isinstance(value, str) else set()


def _json(body: bytes) -> dict[str, Any]:
    try:
        value = json.loads(body)
    except ValueError as error:
        raise EcsReleaseError(
            "The AWS SDK in use no longer speaks JSON with this service, so a lossless copy can't be made. "
            "Pin boto3 in lambda_src/requirements.txt to the version the tests ran with."
        ) from error
    if not isinstance(value, dict):
        raise EcsReleaseError("AWS answered with JSON that is not an object.")
    return value
