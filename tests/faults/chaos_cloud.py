"""The embedded AWS in this very process, without sockets: botocore hands its requests straight to the WSGI application.

The code under test runs unchanged; what is replaced is around it: the transport, the clock, and the making of clients (one
set for all workers, because making one costs more than a whole release's calls).
"""

from __future__ import annotations

import functools
import importlib
import io
import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock
from urllib.parse import unquote, urlsplit

import boto3
import botocore.awsrequest
import botocore.endpoint
import botocore.httpsession
import botocore.retries.quota
from botocore.exceptions import ConnectionClosedError
from chaos_clock import CLOCK, VirtualDatetime
from chaos_table import Client, Lost, Tables, python

from local_aws import control
from local_aws.services.ecs.state import Estate
from local_aws.services import ecs
from local_aws.services import events
from local_aws.services.iam.simulator import simulate
from local_aws.services import scheduler
from local_aws.kernel.calls import Answer, ApiError, Call
from local_aws.kernel.server import Server

ACCOUNT, REGION = "123456789012", "us-east-1"
TABLE, IDEMPOTENCY = "chaos-releases", "chaos-idempotency"
STEPS = (
    *("parse", "prepare", "update_task", "update_service", "check_rollouts", "rollback", "report"),
    "clean_up",
)

_ROLE = f"arn:aws:iam::{ACCOUNT}:role/chaos"
_CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "chaos",
    "AWS_SECRET_ACCESS_KEY": "chaos",
    "AWS_REGION": REGION,
    "AWS_DEFAULT_REGION": REGION,
    "AWS_EC2_METADATA_DISABLED": "true",
}
_ENVIRONMENT = {
    "ECS_RELEASE_TABLE": TABLE,
    "ECS_RELEASE_IDEMPOTENCY_TABLE": IDEMPOTENCY,
    "ECS_RELEASE_POLL_SECONDS": "15",
    "ECS_RELEASE_SOAK_SECONDS": "0",
    "ECS_RELEASE_NAME": "chaos",
    "POWERTOOLS_SERVICE_NAME": "ecs-release",
    "POWERTOOLS_METRICS_NAMESPACE": "EcsRelease",
    "POWERTOOLS_METRICS_DISABLED": "true",
    "POWERTOOLS_TRACE_DISABLED": "true",
    "POWERTOOLS_LOG_LEVEL": "CRITICAL",
}


Handler = Callable[[dict[str, Any], Any], dict[str, Any]]


class Cloud:
    """One embedded AWS for all examples."""

    def __init__(self, server: Server, handlers: dict[str, Handler]) -> None:
        self.server = server
        self.handlers = handlers
        self.world: Any = None
        self.tables = Tables({TABLE: ("pk", "sk"), IDEMPOTENCY: ("id",)})
        self.table_client = Client(self.tables, server, self.guard)

    def guard(self, call: Call, inner: Callable[[Call], Answer]) -> Answer:
        if call.internal or self.world is None:
            return inner(call)
        answer: Answer = self.world.api(call, inner)
        return answer

    def client(self, service: str) -> Any:
        """A client that meets no faults."""
        return self.server.client(service)

    def reset(self) -> None:
        """An account as it is after ``terraform apply``."""
        from moto.ecs.models import ecs_backends
        from moto.events.models import events_backends
        from moto.scheduler.models import scheduler_backends

        for backends in (ecs_backends, events_backends, scheduler_backends):
            backends.reset()
        self.server.part(Estate)._stores.clear()
        self.server.reset()
        self.tables.reset()
        targets = {
            "default": {
                "account": ACCOUNT,
                "region": REGION,
                "roleArn": f"{_ROLE}-deployment",
                "readerRoleArn": f"{_ROLE}-reader",
                "externalId": None,
            }
        }
        row = {"pk": {"S": "CONFIG"}, "sk": {"S": "TARGETS"}, "targets": {"S": json.dumps(targets)}}
        self.tables.PutItem({"TableName": TABLE, "Item": row})

    def rows(self, pk: str, prefix: str = "") -> dict[str, dict[str, Any]]:
        """Rows of the releases table by their range key, read past every fault."""
        found = self.tables.rows[TABLE].items()
        return {
            sk: python(row) for (owner, sk), row in sorted(found) if owner == pk and sk.startswith(prefix)
        }

    def row(self, pk: str, sk: str) -> dict[str, Any] | None:
        row = self.tables.rows[TABLE].get((pk, sk))
        return None if row is None else python(row)

    def forget(self, members: Sequence[str]) -> None:
        """Make the rows what a version without these members would have written."""
        for row in self.tables.rows[TABLE].values():
            for name in members:
                row.pop(name, None)

    def forget_cache(self) -> None:
        """Empty the idempotency table."""
        self.tables.rows[IDEMPOTENCY].clear()


def _no_metrics(provider: Any, raise_on_empty_metrics: bool = False) -> None:
    provider.clear_metrics()


class _Inline:
    """ThreadPoolExecutor that does the work at once: the order of calls must not depend on the machine."""

    def __init__(self, *_: Any) -> None: ...

    def __enter__(self) -> _Inline:
        return self

    def __exit__(self, *_: object) -> None: ...

    def map(self, function: Callable[[Any], Any], *lists: Any) -> Iterator[Any]:
        return iter([function(*entries) for entries in zip(*lists, strict=False)])


def _send(server: Server) -> Callable[[Any, Any], Any]:
    elsewhere = botocore.httpsession.URLLib3Session.send

    def send(session: Any, request: Any) -> Any:
        if not request.url.startswith(server.endpoint):
            return elsewhere(session, request)  # another test's
        url = urlsplit(request.url)
        body = request.body or b""
        if hasattr(body, "read"):
            body = body.read()
        if isinstance(body, str):
            body = body.encode()
        environ: dict[str, Any] = {
            "REQUEST_METHOD": request.method,
            "SCRIPT_NAME": "",
            "PATH_INFO": unquote(url.path) or "/",
            "RAW_URI": request.url.split(url.netloc, 1)[1] or "/",
            "REQUEST_URI": request.url.split(url.netloc, 1)[1] or "/",
            "QUERY_STRING": url.query,
            "SERVER_NAME": "127.0.0.1",
            "SERVER_PORT": str(url.port or 80),
            "SERVER_PROTOCOL": "HTTP/1.1",
            "HTTP_HOST": url.netloc,
            "REMOTE_ADDR": "127.0.0.1",
            "wsgi.url_scheme": "http",
            "wsgi.input": io.BytesIO(body),
            "wsgi.errors": sys.stderr,
            "wsgi.version": (1, 0),
            "wsgi.multithread": True,
            "wsgi.multiprocess": False,
            "wsgi.run_once": False,
            "CONTENT_LENGTH": str(len(body)),
        }
        for key, value in request.headers.items():
            name = key.upper().replace("-", "_")
            text = value.decode() if isinstance(value, bytes) else str(value)
            environ["CONTENT_TYPE" if name == "CONTENT_TYPE" else f"HTTP_{name}"] = text
        started: list[Any] = []
        try:
            content = b"".join(server(environ, lambda status, headers: started.append((status, headers))))
        except Lost as error:
            raise ConnectionClosedError(error=error, endpoint_url=request.url) from error
        status, headers = started[0]
        sent: Any = botocore.awsrequest.HeadersDict(headers)
        response: Any = botocore.awsrequest.AWSResponse(request.url, int(status.split()[0]), sent, None)
        response._content = content
        return response

    return send


@contextmanager
def cloud() -> Iterator[Cloud]:
    """The embedded AWS and the product's handlers, patched for virtual time while the block runs."""
    kept = {name: os.environ.get(name) for name in ("TMPDIR", "MOTO_PORT")}
    kept_directory = tempfile.tempdir
    with tempfile.TemporaryDirectory() as folder:
        server = Server(0, Path(folder))
        _restore(kept, kept_directory)
        for part in (control, ecs, events, scheduler):
            part.install(server)
        server.operation("iam", "SimulatePrincipalPolicy")(simulate)
        server.part(Estate).clock = CLOCK.time
        from ecs_release import observability
        from ecs_release.aws import clients as aws
        from ecs_release.steps import worker

        functions = {step: importlib.import_module(f"ecs_release.steps.{step}") for step in STEPS}
        observability.logger.setLevel("CRITICAL")
        own_client = functools.cache(aws.own_client)

        def one_client(service: str, **options: Any) -> Any:
            return made.table_client if service == "dynamodb" else own_client(service, **options)

        environment = mock.patch.dict(os.environ, _ENVIRONMENT)
        connections: dict[bool, Any] = {}

        def one_connections(targets: Any, actions: Any, *, write: bool, session_name: str, **_: Any) -> Any:
            if write not in connections:
                connections[write] = aws.Connections(targets, actions, write=write, session_name=session_name)
            return connections[write]

        patches: list[Any] = [
            mock.patch.object(botocore.httpsession.URLLib3Session, "send", _send(server)),
            mock.patch.object(botocore.retries.quota.RetryQuota, "acquire", lambda *_: True),
            mock.patch.object(botocore.endpoint, "time", CLOCK),
            mock.patch.object(worker, "Connections", one_connections),
            mock.patch.object(type(observability.metrics.provider), "flush_metrics", _no_metrics),
        ]
        patches += _virtual_time(aws.own_client, one_client)
        for patch in [environment, *patches]:
            patch.start()
        # Clients are made now, while nothing else looks at the environment.
        session = mock.patch.object(boto3, "DEFAULT_SESSION", boto3.Session(region_name=REGION))
        with session, mock.patch.dict(os.environ, {**_CREDENTIALS, "AWS_ENDPOINT_URL": server.endpoint}):
            one_client("stepfunctions")
            target = aws.Target("default", ACCOUNT, REGION, f"{_ROLE}-deployment", f"{_ROLE}-reader")
            for write in (True, False):
                made_connections = one_connections({"default": target}, (), write=write, session_name="chaos")
                for service in ("ecs", "events", "scheduler", "iam"):
                    for retry in (True, False):
                        made_connections.client("default", service, retry=retry)
        made = Cloud(server, {step: module.handler for step, module in functions.items()})
        server.guards[:] = [made.guard, server.lag.guard]
        server.lag.clock = CLOCK.time
        server.account_of = functools.cache(server.account_of)  # type: ignore[method-assign]  # moto lists folders

        @server.operation("states", "DescribeExecution")
        def describe_execution(call: Call) -> dict[str, Any]:
            name = str(call.input["executionArn"]).rpartition(":")[2]
            execution = made.world.executions.get(name) if made.world else None
            if execution is None:
                raise ApiError("ExecutionDoesNotExist", f"no execution {name}")
            return {
                "executionArn": execution.arn,
                "stateMachineArn": "arn:aws:states:us-east-1:123456789012:stateMachine:release",
                "name": name,
                "status": execution.status,
                "startDate": execution.started,
                "input": json.dumps(execution.document),
            }

        try:
            yield made
        finally:
            for patch in reversed([environment, *patches]):
                patch.stop()
            server._wsgi.server_close()


def _restore(kept: dict[str, str | None], directory: str | None) -> None:
    """Undo what making a server does to its process: this one is not the server's alone."""
    tempfile.tempdir = directory
    for name, value in kept.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


def _virtual_time(own_client: Any, one_client: Any) -> list[Any]:
    """Patches of every module under test that knows a clock, and of the client factory they share."""
    import datetime
    import time
    from types import SimpleNamespace

    patches: list[Any] = []
    virtual = SimpleNamespace(**{name: getattr(datetime, name) for name in dir(datetime) if name[0] != "_"})
    virtual.datetime = VirtualDatetime
    stand_ins: dict[int, Any] = {
        id(time): CLOCK,
        id(time.time): CLOCK.time,
        id(time.monotonic): CLOCK.monotonic,
        id(time.sleep): CLOCK.sleep,
        id(datetime.datetime): VirtualDatetime,
        id(datetime): virtual,
        id(own_client): one_client,
    }
    prefixes = ("ecs_release", "aws_lambda_powertools.utilities.idempotency")
    for name, module in list(sys.modules.items()):
        if not name.startswith(prefixes):
            continue
        for attribute, value in list(vars(module).items()):
            if id(value) in stand_ins:
                patches.append(mock.patch.object(module, attribute, stand_ins[id(value)]))
            elif attribute == "ThreadPoolExecutor":
                patches.append(mock.patch.object(module, attribute, _Inline))
            if name.startswith("ecs_release") and isinstance(value, type):
                for function in vars(value).values():
                    defaults = getattr(function, "__kwdefaults__", None) or {}
                    changed = {k: stand_ins[id(v)] for k, v in defaults.items() if id(v) in stand_ins}
                    if changed:
                        patches.append(mock.patch.dict(defaults, changed))
            defaults = getattr(value, "__kwdefaults__", None) or {} if callable(value) else {}
            changed = {k: stand_ins[id(v)] for k, v in defaults.items() if id(v) in stand_ins}
            if changed and name.startswith("ecs_release"):
                patches.append(mock.patch.dict(defaults, changed))
    return patches
