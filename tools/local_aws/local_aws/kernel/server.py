"""The server: one WSGI application that a request passes from outside to inside.

Path handlers (``/_local/``, ``/_runtime/``, ``/git/``), then guards (counts, limits, faults, lag), then the
additions' own operations, then moto.
"""

from __future__ import annotations

import contextlib
import functools
import io
import os
import re
import socket
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, Protocol, TypeVar

import boto3
from botocore.config import Config
from moto.core.config import default_user_config
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app

from local_aws.kernel.calls import (
    DEFAULT_ACCOUNT,
    DEFAULT_REGION,
    INTERNAL_APP_ID,
    Answer,
    ApiError,
    Call,
    failure,
    finish,
    identify,
    reason,
    success,
)
from local_aws.kernel.http_server import HttpServer, RequestHandler
from local_aws.kernel.processes import Processes

if TYPE_CHECKING:
    from local_aws.kernel.faults import Faults
    from local_aws.kernel.lag import Lag
    from local_aws.kernel.limits import Limits

Handler = Callable[[Call], "Answer | dict[str, Any] | None"]
WSGIApplication = Callable[[dict[str, Any], Any], Iterable[bytes]]
Guard = Callable[[Call, Callable[[Call], Answer]], Answer]
Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")
Part = TypeVar("Part")
TargetHook = Callable[[dict[str, Any], Any, "Sender"], None]

# Held by whoever looks into moto's backends or changes them. moto answers one request at a time as it is made for tests in one
# thread; side by side, one request walks a dictionary that another one changes. That ended in "dictionary changed size
# during iteration" and status 500, now and then on a quiet machine and often on a busy one, and an AWS client sends the
# request again: https://docs.aws.amazon.com/sdkref/latest/guide/feature-retry-behavior.html. What had been done by then,
# such as CreateRole, was done twice. Innermost of all locks: nobody waits for another request while holding it.
MOTO_LOCK = threading.RLock()

# What a loop gets to notice the end; it is a daemon thread and ends with the process at the latest.
_JOIN_SECONDS = 2.0


def one_at_a_time(function: Callable[Parameters, Result]) -> Callable[Parameters, Result]:
    """Let a function that works on moto's backends run while nobody else does."""

    @functools.wraps(function)
    def held(*arguments: Parameters.args, **named: Parameters.kwargs) -> Result:
        with MOTO_LOCK:
            return function(*arguments, **named)

    return held


class Sender(Protocol):
    """Where an event comes from."""

    account: str
    region: str


class _Dispatcher(DomainDispatcherApplication):  # type: ignore[misc]
    """Moto's, which lists the folders of its package for each request, as it finds nothing new there."""

    def __init__(self) -> None:
        super().__init__(create_backend_app)
        self.get_backend_for_host = functools.lru_cache(1024)(super().get_backend_for_host)


class Server:
    """Embedded AWS on 127.0.0.1.

    Parameters
    ----------
    port
        Port to listen on; 0 takes a free one.
    state_dir
        The only directory that is written to.
    """

    def __init__(self, port: int, state_dir: Path) -> None:
        self.state_dir = state_dir.resolve()
        temporary = self.state_dir / "tmp"
        temporary.mkdir(parents=True, exist_ok=True)
        os.environ["TMPDIR"] = str(temporary)
        tempfile.tempdir = str(temporary)
        default_user_config["lambda"] = {"use_docker": False}
        default_user_config["stepfunctions"] = {"execute_state_machine": True}
        with socket.socket() as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(("127.0.0.1", port))
            listener.listen(128)
            self._wsgi = HttpServer("127.0.0.1", port, self, RequestHandler, fd=listener.fileno())
        self.port: int = self._wsgi.server_address[1]
        self.endpoint = f"http://127.0.0.1:{self.port}"
        # moto's Step Functions interpreter calls other services on this port
        os.environ["MOTO_PORT"] = str(self.port)
        self.processes = Processes()
        self.targets: dict[str, TargetHook] = {}
        self.put_event: Callable[[str, str, str, str, dict[str, Any], list[str]], None] = lambda *_: None
        self.guards: list[Guard] = []
        self.kill_worker: Callable[[str], None] = lambda _: None
        self.halt_worker: Callable[[str], None] = lambda _: None
        self.invocation_of: Callable[[str], tuple[str, str]] = lambda _: ("", "")
        self.notifications: Callable[[], list[dict[str, Any]]] = list
        # these three are set by the control part
        self.faults: Faults
        self.limits: Limits
        self.lag: Lag
        self.stopping = threading.Event()
        self._parts: dict[type, Any] = {}
        self._moto = _Dispatcher()
        self._routes: list[tuple[str, WSGIApplication]] = []
        self._operations: dict[tuple[str, str], Handler] = {}
        self._resets: list[Callable[[], None]] = []
        self._shutdowns: list[Callable[[], None]] = []
        self._threads: list[threading.Thread] = []
        self._log_lock = threading.Lock()
        self._client_lock = threading.Lock()
        self._session = boto3.session.Session()  # one reads the endpoints of AWS once
        self._clients: dict[tuple[str, str, str], Any] = {}

    # --- what additions use -------------------------------------------------------------------------------

    def add(self, part: object) -> None:
        """Keep what a service holds, for others to find by its class."""
        self._parts[type(part)] = part

    def part(self, kind: type[Part]) -> Part:
        """What a service has added: ``server.part(Estate)``."""
        found: Part = self._parts[kind]
        return found

    def route(self, prefix: str, application: WSGIApplication) -> None:
        """Serve every path under ``prefix`` (such as ``/git/``) with a WSGI application; the longest one wins."""
        self._routes.append((prefix, application))
        self._routes.sort(key=lambda route: len(route[0]), reverse=True)

    def operation(self, service: str, *names: str) -> Callable[[Handler], Handler]:
        """Answer operations of a service (its signing name) with the decorated function instead of moto."""

        def register(handler: Handler) -> Handler:
            for name in names:
                self._operations[service, name] = handler
            return handler

        return register

    def on_reset(self, function: Callable[[], None]) -> None:
        """Call a function at ``POST /_local/reset``: back to no rules, faults, limits or counts."""
        self._resets.append(function)

    def on_shutdown(self, function: Callable[[], None]) -> None:
        """Call a function when the server ends, before its processes are killed."""
        self._shutdowns.append(function)

    def background(self, name: str, loop: Callable[[threading.Event], None]) -> threading.Thread:
        """Run a loop in a thread until the event that it is given is set."""

        def run() -> None:
            try:
                loop(self.stopping)
            except Exception:
                self.log_error(f"background {name}")

        thread = threading.Thread(target=run, name=name, daemon=True)
        self._threads.append(thread)
        thread.start()
        return thread

    def client(self, service: str, region: str = DEFAULT_REGION, account: str = DEFAULT_ACCOUNT) -> Any:
        """Return a boto3 client of this server in any account; its calls meet no counts, limits or faults."""
        with self._client_lock:
            key = (service, region, account)
            if key not in self._clients:
                self._clients[key] = self._new_client(*key)
            return self._clients[key]

    def _new_client(self, service: str, region: str, account: str) -> Any:
        client = self._session.client(
            service,
            region_name=region,
            endpoint_url=self.endpoint,
            aws_access_key_id="local",
            aws_secret_access_key="local",  # noqa: S106 (any text will do)
            config=Config(
                user_agent_appid=INTERNAL_APP_ID,  # type: ignore[call-arg]  # the stubs do not know it
                retries={"total_max_attempts": 1},
                s3={"addressing_style": "path"},
                connect_timeout=900,
                read_timeout=900,
            ),
        )
        client.meta.events.register(
            "before-sign.*.*",
            lambda request, **_: request.headers.__setitem__("x-moto-account-id", account),
        )
        return client

    def reset(self) -> None:
        for function in self._resets:
            function()

    def account_of(self, access_key: str) -> str:
        """Return the account that an access key belongs to, as moto sees it; twelve digits are an account's own key."""
        if re.fullmatch(r"\d{12}", access_key):
            return access_key
        from moto.iam.models import get_account_id_from  # noqa: PLC0415 (moto's backends load on demand)

        return str(get_account_id_from(access_key)) if access_key else DEFAULT_ACCOUNT

    def log_error(self, about: str) -> None:
        """Keep the traceback of the error being handled in ``errors.log`` of the state directory."""
        text = f"--- {about}\n{traceback.format_exc()}"
        with self._log_lock, contextlib.suppress(OSError), (self.state_dir / "errors.log").open("a") as log:
            log.write(text)
        print(text, file=sys.stderr, flush=True)

    # --- life ---------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Serve, in a thread of its own."""
        thread = threading.Thread(target=self._wsgi.serve_forever, args=(0.1,), name="http", daemon=True)
        thread.start()
        self._threads.append(thread)

    def stop(self) -> None:
        """End loops, kill processes, close the port."""
        self.stopping.set()
        for function in self._shutdowns:
            try:
                function()
            except Exception:
                self.log_error("shutdown")
        self.processes.close()
        self._wsgi.shutdown()
        self._wsgi.server_close()
        deadline = time.monotonic() + _JOIN_SECONDS
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))

    # --- a request's way ----------------------------------------------------------------------------------

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        path = str(environ["PATH_INFO"])
        for prefix, application in self._routes:
            if path.startswith(prefix):
                return application(environ, start_response)
        call = identify(self, environ, _read_body(environ))
        answer = finish(call, self.perform(call))
        headers = [(key, value) for key, value in answer.headers if key.lower() != "connection"]
        if environ["REQUEST_METHOD"] != "HEAD":
            headers = [(key, value) for key, value in headers if key.lower() != "content-length"]
            headers.append(("Content-Length", str(len(answer.body))))
        start_response(f"{answer.status} {reason(answer.status)}", headers)
        return [answer.body]

    def perform(self, call: Call) -> Answer:
        """Take a call through the guards to whoever answers it."""
        inner: Callable[[Call], Answer] = self._answer
        for guard in reversed(self.guards):
            inner = self._guarded(guard, inner)
        return inner(call)

    def _answer(self, call: Call) -> Answer:
        handler = self._operations.get((call.service, call.operation))
        try:
            if handler is None:
                return call.forward()
            result = handler(call)
            return result if isinstance(result, Answer) else success(call, result)
        except ApiError as error:
            return failure(call, error)
        except NotImplementedError as error:
            # not a 5xx: clients would retry it for minutes
            return failure(call, ApiError("UnknownOperationException", f"{call.key}: {error}", 501))
        except Exception as error:
            return self._went_wrong(call, error)

    def _guarded(self, guard: Guard, inner: Callable[[Call], Answer]) -> Callable[[Call], Answer]:
        def guarded(call: Call) -> Answer:
            try:
                return guard(call, inner)
            except ApiError as error:
                return failure(call, error)
            except ConnectionError:  # a fault: no answer at all
                raise
            except Exception as error:
                return self._went_wrong(call, error)

        return guarded

    def _went_wrong(self, call: Call, error: Exception) -> Answer:
        self.log_error(call.key)
        return failure(call, ApiError("InternalFailure", f"{type(error).__name__}: {error}", 500))

    @one_at_a_time
    def ask_moto(self, environ: dict[str, Any], body: bytes) -> Answer:
        """Run moto's application on a request; raises what it does not catch."""
        inner = {**environ, "wsgi.input": io.BytesIO(body), "CONTENT_LENGTH": str(len(body))}
        inner.pop("HTTP_TRANSFER_ENCODING", None)
        inner.pop("wsgi.input_terminated", None)
        started: list[tuple[int, list[tuple[str, str]]]] = []

        def start_response(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> None:
            if exc_info:
                raise exc_info[1]
            started.append((int(status.split(maxsplit=1)[0]), headers))

        result = self._moto(inner, start_response)
        try:
            content = b"".join(result)
        finally:
            close = getattr(result, "close", None)
            if close:
                close()
        status, headers = started[-1]
        return Answer(status, headers, content)


def _read_body(environ: dict[str, Any]) -> bytes:
    if environ.get("wsgi.input_terminated"):
        return bytes(environ["wsgi.input"].read())
    length = int(environ.get("CONTENT_LENGTH") or 0)
    return bytes(environ["wsgi.input"].read(length)) if length else b""
