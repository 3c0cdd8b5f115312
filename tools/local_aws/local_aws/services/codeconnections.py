"""AWS CodeConnections, also under its older name AWS CodeStar Connections.

Stands for, with its source:

- a new connection is PENDING until somebody completes the handshake in the console
  https://docs.aws.amazon.com/dtconsole/latest/userguide/connections-update.html
- create, get, delete and tags, under both service names, each with its own ARNs
  https://docs.aws.amazon.com/codeconnections/latest/APIReference/Welcome.html
- a push to a connected repository starts the pipelines whose trigger it passes: branches, tags and file paths
  https://docs.aws.amazon.com/codepipeline/latest/userguide/pipelines-filter.html

In place of the console and of a Git provider there is one control call::

    POST /_local/connections {"arn": "...", "status": "AVAILABLE", "repository": "/path/to/bare.git"}

Both ``status`` and ``repository`` may be left out. ``{"arn": "...", "push": true}`` tells that the repository
was pushed to, as the provider's web hook would; its answer names the executions that were started.
"""

from __future__ import annotations

import fnmatch
import functools
import json
import threading
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from local_aws.kernel.calls import ApiError, Call
from local_aws.kernel.server import Server
from local_aws.kernel.shared import one_of
from local_aws.services.git import BareRepository, GitError, RefChange, compare_refs

SERVICES = ("codeconnections", "codestar-connections")
PROVIDERS = ("Bitbucket", "GitHub", "GitHubEnterpriseServer", "GitLab", "GitLabSelfManaged", "AzureDevOps")
_STATUSES = ("PENDING", "AVAILABLE", "ERROR")


@dataclass
class Connection:
    """A connection, and the bare repository that stands for what is behind it."""

    arn: str
    account: str
    name: str
    provider: str
    host_arn: str | None = None
    status: str = "PENDING"
    tags: list[dict[str, str]] = field(default_factory=list)
    repository: BareRepository | None = None
    known: dict[str, str] = field(default_factory=dict)

    def describe(self) -> dict[str, Any]:
        members = {
            "ConnectionName": self.name,
            "ConnectionArn": self.arn,
            "ProviderType": self.provider,
            "OwnerAccountId": self.account,
            "ConnectionStatus": self.status,
            "HostArn": self.host_arn,
        }
        return {key: value for key, value in members.items() if value is not None}


PushHook = Callable[[Connection, list[RefChange]], list[str]]


class Connections:
    """All connections of all accounts and Regions."""

    def __init__(self) -> None:
        self._connections: dict[str, Connection] = {}
        self._lock = threading.Lock()
        self.on_push: PushHook = lambda *_: []

    def get(self, arn: str) -> Connection | None:
        return self._connections.get(arn)

    def _find(self, arn: str) -> Connection:
        connection = self._connections.get(arn)
        if connection is None:
            raise ApiError("ResourceNotFoundException", f"Connection {arn} not found")
        return connection

    def create(self, call: Call) -> dict[str, Any]:
        name, provider = call.input.get("ConnectionName") or "", call.input.get("ProviderType")
        host = call.input.get("HostArn")
        if provider is None and host is None:
            raise ApiError("ValidationException", "Either ProviderType or HostArn is required")
        if provider is not None and provider not in PROVIDERS:
            raise ApiError(
                "ValidationException", f"ProviderType {provider!r} is none of {', '.join(PROVIDERS)}"
            )
        arn = f"arn:aws:{call.service}:{call.region}:{call.account}:connection/{uuid.uuid4()}"
        tags = list(call.input.get("Tags") or [])
        self._connections[arn] = Connection(
            arn, call.account, name, provider or "GitHubEnterpriseServer", host, tags=tags
        )
        return {"ConnectionArn": arn, "Tags": tags}

    def describe(self, call: Call) -> dict[str, Any]:
        return {"Connection": self._find(call.input.get("ConnectionArn") or "").describe()}

    def delete(self, call: Call) -> dict[str, Any]:
        self._find(call.input.get("ConnectionArn") or "")
        self._connections.pop(call.input["ConnectionArn"], None)
        return {}

    def list_tags(self, call: Call) -> dict[str, Any]:
        return {"Tags": self._find(call.input.get("ResourceArn") or "").tags}

    def tag(self, call: Call) -> dict[str, Any]:
        connection = self._find(call.input.get("ResourceArn") or "")
        tags = {entry["Key"]: entry for entry in [*connection.tags, *(call.input.get("Tags") or [])]}
        connection.tags = [*tags.values()]
        return {}

    def untag(self, call: Call) -> dict[str, Any]:
        connection = self._find(call.input.get("ResourceArn") or "")
        keys = call.input.get("TagKeys") or ()
        connection.tags = [entry for entry in connection.tags if entry["Key"] not in keys]
        return {}

    def control(self, body: dict[str, Any]) -> dict[str, Any]:
        """Complete a handshake, name the repository, or tell of a push."""
        connection = self._find(str(body.get("arn")))
        if "status" in body:
            if body["status"] not in _STATUSES:
                raise ApiError("ValidationException", f"status is one of {', '.join(_STATUSES)}")
            connection.status = body["status"]
        with self._lock:
            if "repository" in body:
                connection.repository = BareRepository(Path(body["repository"]).resolve())
                connection.known = connection.repository.refs()
            started: list[str] = []
            if body.get("push") and connection.repository:
                changes = compare_refs(connection.known, connection.repository.refs())
                connection.known = connection.repository.refs()
                started = self.on_push(connection, changes)
        return {**connection.describe(), "Executions": started}


def passes(configuration: dict[str, Any], repository: BareRepository, change: RefChange) -> bool:
    """Tell whether a changed reference passes a trigger's filters; one of several push filters is enough."""
    filters = configuration.get("push") or [{}]
    return any(_passes(entry, repository, change) for entry in filters)


def _passes(entry: dict[str, Any], repository: BareRepository, change: RefChange) -> bool:
    kind, _, name = change.ref.removeprefix("refs/").partition("/")
    if change.new is None:
        return False
    if kind == "tags":
        return "tags" in entry and _matches(entry["tags"], [name])
    if "tags" in entry:
        return False
    if "branches" in entry and not _matches(entry["branches"], [name]):
        return False
    if "filePaths" not in entry:
        return True
    return _matches(entry["filePaths"], repository.changed_paths(change.old, change.new))


def _matches(patterns: dict[str, Iterable[str]], names: Iterable[str]) -> bool:
    """Excludes win over includes; without includes everything is included."""
    includes, excludes = list(patterns.get("includes") or ()), list(patterns.get("excludes") or ())
    return any(
        (not includes or any(fnmatch.fnmatchcase(name, pattern) for pattern in includes))
        and not any(fnmatch.fnmatchcase(name, pattern) for pattern in excludes)
        for name in names
    )


OPERATIONS: dict[str, Callable[[Connections, Call], dict[str, Any]]] = {
    "CreateConnection": Connections.create,
    "GetConnection": Connections.describe,
    "DeleteConnection": Connections.delete,
    "ListTagsForResource": Connections.list_tags,
    "TagResource": Connections.tag,
    "UntagResource": Connections.untag,
}


def of(server: Server) -> Connections:
    """Return the server's connections, for the pipeline's source action."""
    return one_of(server, Connections, Connections)


def install(server: Server) -> None:
    connections = of(server)
    for service in SERVICES:
        for name, operation in OPERATIONS.items():
            server.operation(service, name)(functools.partial(operation, connections))

    def control(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        status = "200 OK"
        try:
            length = int(environ.get("CONTENT_LENGTH") or 0)
            answer = connections.control(json.loads(environ["wsgi.input"].read(length) or b"{}"))
        except (ApiError, GitError, OSError, ValueError) as error:
            status, answer = "400 Bad Request", {"message": str(error)}
        body = json.dumps(answer).encode()
        start_response(status, [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
        return [body]

    server.route("/_local/connections", control)
