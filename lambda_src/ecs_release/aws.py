"""Clients for the accounts a release reaches, and JSON as AWS sent it.

botocore drops members that its service model does not know. A copy of a task definition, a rule target or a
schedule must not lose them, so reads that are copied hand out the raw response body (``RAW``) and writes that
carry a copy send a raw request body (:func:`send_raw`).

These bodies hold environment values, overrides and inputs, and with them secrets. They stay between the account's own ECS,
EventBridge and the releases table: what AWS answers to them is cleared of their values before anybody sees it, and the
SDK's own log, which would show them, is not switched on with somebody's root logger.
"""

from __future__ import annotations

import functools
import json
import logging
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import boto3
import botocore.session
from botocore.config import Config
from botocore.credentials import RefreshableCredentials
from botocore.exceptions import BotoCoreError, ClientError

from ecs_release import retries
from ecs_release.errors import EcsReleaseError, TargetUnreachableError
from ecs_release.retries import ThrottleCount, error_code, explain

__all__ = [
    "CONNECT_TIMEOUT_SECONDS",
    "RAW",
    "READ_TIMEOUT_SECONDS",
    "Connections",
    "Target",
    "error_code",
    "explain",
    "own_client",
    "send_raw",
]

RAW = "RawBody"
"""Key under which a read's parsed answer carries the body that AWS sent, as a dict."""

# One attempt at an API call ends, answered or not, within this many seconds. Leases and Lambda time-outs build on it.
CONNECT_TIMEOUT_SECONDS = 3
READ_TIMEOUT_SECONDS = 10

# Retries are this package's own, see :mod:`ecs_release.retries`.
_CONFIG = Config(
    connect_timeout=CONNECT_TIMEOUT_SECONDS,
    read_timeout=READ_TIMEOUT_SECONDS,
    retries={"mode": "standard", "total_max_attempts": 1},
    max_pool_connections=20,
)

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

_RAW_READS = {
    "ecs": ("DescribeTaskDefinition",),
    "events": ("ListTargetsByRule",),
    "scheduler": ("GetSchedule",),
}
_RAW_WRITES = {
    "ecs": ("RegisterTaskDefinition",),
    "events": ("PutTargets",),
    "scheduler": ("UpdateSchedule",),
}


@dataclass(frozen=True)
class Target:
    """An account and Region the module was given, with the roles it offers.

    Attributes
    ----------
    passable_role_arns : ARN patterns (``*``, ``?``) of the roles the deployment role may pass on; None: not known here.
    """

    name: str
    account: str
    region: str
    role_arn: str
    reader_role_arn: str
    external_id: str | None = None
    passable_role_arns: tuple[str, ...] | None = None

    @classmethod
    def from_config(cls, name: str, config: Mapping[str, Any]) -> Target:
        return cls(
            name=name,
            account=config["account"],
            region=config["region"],
            role_arn=config["roleArn"],
            reader_role_arn=config["readerRoleArn"],
            external_id=config.get("externalId") or None,
            passable_role_arns=tuple(config["passableRoleArns"]) if config.get("passableRoleArns") else None,
        )


class Connections:
    """boto3 clients for targets, one per (target, service), made when first asked for.

    Parameters
    ----------
    targets : the accounts and Regions the module was given, by name.
    actions : IAM actions the running step needs. They go into the session policy of AssumeRole, so that a step
        holds the intersection of the role's permissions and its own needs.
    write : assume the deployment role; otherwise the reader role.
    own_account : account whose targets are reached with the caller's own credentials; None: roles everywhere. For a
        person at a terminal, who may read but is nobody that the roles trust.
    session_name : RoleSessionName seen in the target's CloudTrail (at most 64 characters).
    """

    def __init__(
        self,
        targets: Mapping[str, Target],
        actions: tuple[str, ...],
        *,
        write: bool,
        session_name: str,
        own_account: str | None = None,
    ) -> None:
        self.targets = targets
        self.throttles = ThrottleCount()
        self._actions = actions
        self._write = write
        self._own_account = own_account
        self._session_name = session_name[:64]
        self._sessions: dict[str, boto3.Session] = {}
        self._clients: dict[tuple[str, str, bool, str | None], Any] = {}
        # Clients are safe for threads, making one from a session is not
        # (https://boto3.amazonaws.com/v1/documentation/api/latest/guide/session.html#multithreading-or-multiprocessing-with-sessions).
        self._making = threading.RLock()

    def role_arn(self, target_name: str) -> str:
        target = self.targets[target_name]
        return target.role_arn if self._write else target.reader_role_arn

    def client(self, target_name: str, service: str, *, retry: bool = True, region: str | None = None) -> Any:
        """The client of one target; in another Region than the target's own where ``region`` says so.

        Parameters
        ----------
        retry : False for a call that may do its work twice: RegisterTaskDefinition has no idempotency token. Whoever
            makes it looks first what came of the attempt before.

        Raises
        ------
        TargetUnreachableError
            when the role can't be assumed.
        """
        key = (target_name, service, retry, region)
        with self._making:
            if key not in self._clients:
                session = self._session(target_name)
                client = session.client(service, config=_CONFIG, region_name=region)
                _install_raw(client, service)
                retries.install(
                    client,
                    service,
                    (self.targets[target_name].account, client.meta.region_name),
                    again=retry,
                )
                self.throttles.watch(client)
                self._clients[key] = client
            return self._clients[key]

    def wait_for_turn(self, target_name: str, service: str, operation: str) -> None:
        """Before a call through a client that does not try again: wait until AWS's documented rates allow for it."""
        target = self.targets[target_name]
        retries.wait_for_turn(service, operation, (target.account, target.region))

    def _session(self, target_name: str) -> boto3.Session:
        if target_name not in self._sessions:
            target = self.targets[target_name]
            if target.account == self._own_account:
                self._sessions[target_name] = boto3.Session(region_name=target.region)
                return self._sessions[target_name]
            assume = self._assume(target)
            # Role chaining limits a session to one hour, so credentials renew themselves
            # (https://docs.aws.amazon.com/IAM/latest/UserGuide/id_roles.html#iam-term-role-chaining).
            core = botocore.session.get_session()
            core.register_component("data_loader", _loader())
            core._credentials = RefreshableCredentials.create_from_metadata(
                metadata=assume(), refresh_using=assume, method="sts-assume-role"
            )
            core.set_config_variable("region", target.region)
            self._sessions[target_name] = boto3.Session(botocore_session=core, region_name=target.region)
        return self._sessions[target_name]

    def _assume(self, target: Target) -> Callable[[], dict[str, str]]:
        role_arn = self.role_arn(target.name)
        policy = {
            "Version": "2012-10-17",
            "Statement": [{"Effect": "Allow", "Action": sorted(self._actions), "Resource": "*"}],
        }
        request: dict[str, Any] = {
            "RoleArn": role_arn,
            "RoleSessionName": self._session_name,
            "Policy": json.dumps(policy, separators=(",", ":")),
        }
        if target.external_id:
            request["ExternalId"] = target.external_id
        # The caller's own Region, not the target's: that may be one that only the target account has opted in to, and STS
        # there would refuse this one. A session from any regional endpoint is valid in every Region
        # (https://docs.aws.amazon.com/IAM/latest/UserGuide/id_credentials_temp_enable-regions.html).
        # Only a terminal may have no Region of its own.
        sts = own_client("sts", region_name=boto3.Session().region_name or target.region)
        self.throttles.watch(sts)

        def assume() -> dict[str, str]:
            try:
                credentials = sts.assume_role(**request)["Credentials"]
            except (ClientError, BotoCoreError) as error:
                raise TargetUnreachableError(
                    f'target "{target.name}": can\'t assume {role_arn} in account {target.account}: {explain(error)}. '
                    "Check that the role exists and trusts the orchestrator's roles."
                ) from error
            expiration: datetime = credentials["Expiration"]
            return {
                "access_key": credentials["AccessKeyId"],
                "secret_key": credentials["SecretAccessKey"],
                "token": credentials["SessionToken"],
                "expiry_time": expiration.isoformat(),
            }

        return assume


@functools.cache
def _loader() -> Any:
    """One for all sessions: each would parse the same service models again, a tenth of a second a target."""
    return botocore.session.get_session().get_component("data_loader")


def own_client(service: str, **options: Any) -> Any:
    """A client with the function's own credentials, in its own Region."""
    client = boto3.client(service, config=_CONFIG, **options)
    retries.install(client, service)
    return client


@contextmanager
def send_raw(body: Mapping[str, Any]) -> Iterator[None]:
    """Within this block the next raw-capable write sends exactly ``body`` instead of its serialised arguments."""
    token = _body.set(json.dumps(body, separators=(",", ":")).encode())
    try:
        yield
    finally:
        _body.reset(token)


def _install_raw(client: Any, service: str) -> None:
    for operation in _RAW_READS.get(service, ()):
        client.meta.events.register(f"after-call.{service}.{operation}", _keep_body)
    for operation in _RAW_WRITES.get(service, ()):
        client.meta.events.register(f"before-call.{service}.{operation}", _replace_body)
        client.meta.events.register(f"after-call.{service}.{operation}", _hide_values)


def _keep_body(http_response: Any, parsed: dict[str, Any], **_: Any) -> None:
    if http_response.status_code < 300:
        parsed[RAW] = _json(http_response.content)


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
