"""AWS Lambda runs functions: warm workers under AWS's own runtime client and a local Runtime API.

Stands for
- the Runtime API and the life of an execution environment, one invocation at a time each, kept warm per
  function version: https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtime-environment.html and
  https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html
- the environment variables a function finds:
  https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html
- function errors in the answer of Invoke (``X-Amz-Function-Error``), ``Sandbox.Timedout``, ``Runtime.ExitError``:
  https://docs.aws.amazon.com/lambda/latest/dg/python-exceptions.html and
  https://docs.aws.amazon.com/lambda/latest/dg/troubleshooting-invocation.html
- an environment that is initialized ahead of the first invocation, which AWS does occasionally and does not promise:
  https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtime-environment.html
- asynchronous invocations and their two retries (after one and two minutes on AWS, seconds here):
  https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-error-handling.html

An invocation belongs to the function, not to its caller: stopping a Step Functions execution leaves it running.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import threading
import time
import uuid
import zipfile
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

from moto.awslambda.models import LambdaFunction

from local_aws.kernel.calls import Answer, ApiError, Call
from local_aws.kernel.patches import patch
from local_aws.kernel.processes import Child
from local_aws.kernel.server import MOTO_LOCK, Server
from local_aws.services.iam import principals
from local_aws.services.iam.authority import Authority
from local_aws.services.iam.principals import Principal
from local_aws.services.lambda_ import configuration as lambda_configuration
from local_aws.services.lambda_.environment import runtime_directory

WORKER_SCRIPT = Path(__file__).with_name("worker.py")
MAX_WORKERS = 40  # of one version of a function; further invocations wait for a free one
MAX_STARTING = 2 * (os.cpu_count() or 2)
INIT_SECONDS = 600.0  # ten on AWS; here many cold starts share the cores with other programs
IDLE_SECONDS = 600.0
MAX_PAYLOAD = 6 * 1024 * 1024
_RETRY_DELAYS = (1.0, 2.0)


@dataclass(eq=False)
class Invocation:
    """One run of a function, from the queue to its result."""

    arn: str
    payload: bytes
    timeout: float
    client_context: str | None = None
    request_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    taken: threading.Event = field(default_factory=threading.Event)
    done: threading.Event = field(default_factory=threading.Event)
    started: float = 0.0
    result: bytes = b""
    failed: bool = False

    def finish(self, result: bytes, failed: bool) -> None:
        if not self.done.is_set():
            self.result, self.failed = result, failed
            self.taken.set()
            self.done.set()

    def fail(self, error_type: str, message: str) -> None:
        self.finish(json.dumps({"errorType": error_type, "errorMessage": message}).encode(), True)


class Worker:
    """One execution environment: a process, the invocation it works on, its log stream."""

    def __init__(self, pool: Pool, number: int, log_stream: str) -> None:
        self.id = f"worker-{uuid.uuid4().hex[:16]}"
        self.pool = pool
        self.number = number
        self.log_stream = log_stream
        self.child: Child | None = None
        self.principal: Principal | None = None
        self.ready = False
        self.dead = False
        self.invocation: Invocation | None = None
        self.init_error: bytes | None = None
        self.created = self.idle_since = time.monotonic()

    def kill(self) -> None:
        self.dead = True
        if self.child:
            self.child.kill()


class Pool:
    """The workers of one version of a function, and the invocations that wait for one of them."""

    def __init__(self, lambdas: Lambdas, function: Any) -> None:
        self.lambdas = lambdas
        self.name: str = function.function_name
        self.version = str(function.version)
        self.function = function
        self.condition = threading.Condition()
        self.waiting: deque[Invocation] = deque()
        self.workers: set[Worker] = set()
        self.retired = False

    def submit(self, invocation: Invocation) -> None:
        with self.condition:
            self.waiting.append(invocation)
            self._start_workers()
            self.condition.notify()

    def start_ahead(self) -> None:
        """Start a worker for the first invocation before it comes."""
        with self.condition:
            if not self.workers and not self.retired:
                self._start_worker()

    def _start_workers(self) -> None:
        """Start what the waiting invocations need; a few at a time, since cold starts share the cores."""
        while not self.lambdas.closed:
            free = sum(1 for worker in self.workers if not worker.dead and worker.invocation is None)
            starting = sum(1 for worker in self.workers if not worker.dead and not worker.ready)
            if len(self.waiting) <= free or len(self.workers) >= MAX_WORKERS or starting >= MAX_STARTING:
                return
            self._start_worker()

    def _start_worker(self) -> None:
        now = datetime.now(UTC)
        stream = f"{now:%Y/%m/%d}/[{self.version}]{uuid.uuid4().hex}"
        worker = Worker(self, len(self.workers), stream)
        self.workers.add(worker)
        self.lambdas.launch(worker)

    def next_for(self, worker: Worker, gone: Any) -> Invocation | None:
        """Give a polling worker its next invocation; None once it shall end."""
        with self.condition:
            worker.ready = True
            worker.invocation = None
            worker.idle_since = time.monotonic()
            while not worker.dead:
                if self.waiting:
                    invocation = self.waiting.popleft()
                    invocation.started = time.time()
                    worker.invocation = invocation
                    invocation.taken.set()
                    self._start_workers()
                    return invocation
                idle = time.monotonic() - worker.idle_since
                if gone() or self.retired or idle > IDLE_SECONDS:
                    worker.dead = True
                    break
                self.condition.wait(1.0)
        return None

    def ended(self, worker: Worker, status: int) -> None:
        """Tell whoever waits that a worker's process ended, and replace it where invocations still wait."""
        with self.condition:
            was_stopped = worker.dead
            worker.dead = True
            self.workers.discard(worker)
            invocation = worker.invocation
            if invocation is None and not worker.ready and self.waiting and not was_stopped:
                invocation = self.waiting.popleft()  # the cold start that failed was for this one
            if invocation is not None and not invocation.done.is_set():
                if worker.init_error is not None:
                    invocation.finish(worker.init_error, True)
                else:
                    invocation.fail(
                        "Runtime.ExitError",
                        f"RequestId: {invocation.request_id} Error: Runtime exited {_describe(status)}",
                    )
            self._start_workers()

    def retire(self) -> None:
        """End the workers that are idle; one at work ends after its invocation."""
        with self.condition:
            self.retired = True
            idle = [worker for worker in self.workers if worker.ready and worker.invocation is None]
            for worker in idle:
                worker.dead = True
            self.condition.notify_all()
        for worker in idle:
            worker.kill()


def _describe(status: int) -> str:
    if status == 0:
        return "without providing a reason"
    if status < 0:
        name = {9: "killed", 11: "segmentation fault", 6: "aborted", 15: "terminated"}.get(
            -status, str(-status)
        )
        return f"with error: signal: {name}"
    return f"with error: exit status {status}"


def _function(account: str, region: str, name: str, qualifier: str | None = None) -> Any:
    """The function, as moto keeps it, by its name or ARN."""
    from moto.awslambda.utils import get_backend  # noqa: PLC0415 (moto loads backends on demand)

    with MOTO_LOCK:
        return get_backend(account, region).get_function(name, qualifier)


class Lambdas:
    """All pools, the Runtime API, and Invoke."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.closed = False
        self._lock = threading.Lock()
        self._pools: dict[str, Pool] = {}
        self._workers: dict[str, Worker] = {}
        self._running: dict[str, int] = {}
        self._code_lock = threading.Lock()
        self._runtime: Path | None = None
        (server.state_dir / "logs").mkdir(parents=True, exist_ok=True)

    # --- Invoke -------------------------------------------------------------------------------------------

    def invoke(self, call: Call) -> Answer:
        name = call.params["FunctionName"]
        try:
            function = _function(call.account, call.region, name, call.params.get("Qualifier"))
        except Exception:
            arn = (
                name
                if name.startswith("arn:")
                else f"arn:aws:lambda:{call.region}:{call.account}:function:{name}"
            )
            raise ApiError(
                "ResourceNotFoundException", f"Function not found: {arn}", 404, Type="User"
            ) from None
        if len(call.body) > MAX_PAYLOAD:
            raise ApiError(
                "RequestEntityTooLargeException",
                f"{len(call.body)} byte payload is too large for the RequestResponse invocation type "
                f"(limit {MAX_PAYLOAD} bytes)",
                413,
                Type="User",
            )
        try:
            json.loads(call.body or b"{}")
        except ValueError as error:
            raise ApiError(
                "InvalidRequestContentException",
                f"Could not parse request body into json: {error}",
                Type="User",
            ) from None
        kind = call.header("X-Amz-Invocation-Type") or "RequestResponse"
        if kind == "DryRun":
            return Answer(204, [], b"")
        invocation = self._new_invocation(function, call.body or b"{}", call.header("X-Amz-Client-Context"))
        if kind == "Event":
            threading.Thread(target=self.run_event, args=(function, invocation), daemon=True).start()
            return Answer(202, [("x-amzn-RequestId", invocation.request_id)], b"")
        with self._concurrency(function):
            self._run(function, invocation)
        headers = [
            ("Content-Type", "application/json"),
            ("x-amzn-RequestId", invocation.request_id),
            ("X-Amz-Executed-Version", str(function.version)),
        ]
        if invocation.failed:
            headers.append(("X-Amz-Function-Error", "Unhandled"))
        return Answer(200, headers, invocation.result)

    def invoke_event(self, arn: str, payload: bytes) -> None:
        """Invoke a function asynchronously, as EventBridge and SNS do."""
        _, _, _, region, account, *_ = arn.split(":")
        function = _function(account, region, arn)
        invocation = self._new_invocation(function, payload, None)
        threading.Thread(target=self.run_event, args=(function, invocation), daemon=True).start()

    def run_event(self, function: Any, invocation: Invocation) -> None:
        retries = _RETRY_DELAYS[: lambda_configuration.maximum_retries(function)]
        for delay in (*retries, None):
            self._run(function, invocation)
            if not invocation.failed or delay is None or self.server.stopping.wait(delay):
                return
            # the retries of an event keep its request id
            again = self._new_invocation(function, invocation.payload, invocation.client_context)
            again.request_id = invocation.request_id
            invocation = again

    def _new_invocation(self, function: Any, payload: bytes, context: str | None) -> Invocation:
        decoded = base64.b64decode(context).decode() if context else None
        return Invocation(function.function_arn, payload, float(function.timeout), decoded)

    @contextlib.contextmanager
    def _concurrency(self, function: Any) -> Any:
        arn = function.function_arn.partition(":function:")[0] + function.function_name
        with self._lock:
            running = self._running.get(arn, 0)
            reserved = function.reserved_concurrency
            if reserved is not None and running >= int(reserved):
                raise ApiError(
                    "TooManyRequestsException",
                    "Rate Exceeded.",
                    429,
                    Reason="ReservedFunctionConcurrentInvocationLimitExceeded",
                    Type="User",
                )
            self._running[arn] = running + 1
        try:
            yield
        finally:
            with self._lock:
                self._running[arn] -= 1

    def _run(self, function: Any, invocation: Invocation) -> None:
        pool = self._pool_of(function)
        pool.submit(invocation)
        invocation.taken.wait()
        left = invocation.started + invocation.timeout - time.time() if invocation.started else 0
        if not invocation.done.wait(max(0.0, left)):
            with pool.condition:
                if not invocation.done.is_set():
                    invocation.fail(
                        "Sandbox.Timedout",
                        f"RequestId: {invocation.request_id} Error: Task timed out after "
                        f"{invocation.timeout:.2f} seconds",
                    )
                workers = [worker for worker in pool.workers if worker.invocation is invocation]
            for worker in workers:
                worker.kill()
        if len(invocation.result) > MAX_PAYLOAD:
            invocation.failed = True
            invocation.result = json.dumps(
                {
                    "errorType": "Function.ResponseSizeTooLarge",
                    "errorMessage": "Response payload size exceeded maximum allowed payload size "
                    f"({MAX_PAYLOAD} bytes).",
                }
            ).encode()

    def _pool_of(self, function: Any) -> Pool:
        settings = json.dumps(
            [
                function.environment_vars,
                function.handler,
                function.memory_size,
                function.role,
                function.timeout,
            ],
            sort_keys=True,
        )
        key = f"{function.function_arn}|{function.code_sha_256}|{settings}"
        with self._lock:
            pool = self._pools.get(key)
            if pool is None:
                pool = self._pools[key] = Pool(self, function)
                outdated = [k for k in self._pools if k != key and k.startswith(f"{function.function_arn}|")]
                retired = [self._pools.pop(k) for k in outdated]
            else:
                retired = []
        for old in retired:
            old.retire()
        return pool

    def forget(self, function_name: str) -> None:
        """End the idle workers of a deleted function."""
        with self._lock:
            keys = [key for key, pool in self._pools.items() if pool.name == function_name]
            pools = [self._pools.pop(key) for key in keys]
        for pool in pools:
            pool.retire()

    # --- workers ------------------------------------------------------------------------------------------

    def start_ahead(self, call: Call, made: Mapping[str, Any]) -> None:
        """Start a worker for a function that was just published."""
        function = _function(call.account, call.region, made["FunctionName"], made["Version"])
        self._pool_of(function).start_ahead()

    def launch(self, worker: Worker) -> None:
        self._workers[worker.id] = worker
        threading.Thread(target=self._live, args=(worker,), name=worker.id, daemon=True).start()

    def _live(self, worker: Worker) -> None:
        """Start a worker's process and stay with it to its end."""
        status = 1
        scratch = self.server.state_dir / "tmp" / worker.id
        try:
            with self._code_lock:
                code = self._unzipped(worker.pool.function)
                if self._runtime is None:
                    self._runtime = runtime_directory(self.server.state_dir / "runtime")
            scratch.mkdir(parents=True)
            environment = self._environment(worker, code, self._runtime, scratch)
            child = self.server.processes.start(
                [sys.executable, "-P", "-S", str(WORKER_SCRIPT), worker.pool.function.handler],
                env=environment,
                cwd=code,
                output=subprocess.PIPE,
                leashed=True,
            )
            worker.child = child
            if worker.dead:
                child.kill()
            out = child.popen.stdout
            reader = threading.Thread(target=self._collect_logs, args=(worker, out), daemon=True)
            reader.start()
            try:
                status = child.wait(INIT_SECONDS)
            except subprocess.TimeoutExpired:
                if not worker.ready:
                    worker.init_error = json.dumps(
                        {
                            "errorType": "Sandbox.Timedout",
                            "errorMessage": f"Init timed out after {INIT_SECONDS:.2f} seconds",
                        }
                    ).encode()
                    child.kill()
                status = child.wait()
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(child.pid, 9)  # what the function started and left behind
            reader.join(2)
        except Exception as error:
            if not self.closed:
                self.server.log_error(f"Lambda worker of {worker.pool.name}")
                worker.init_error = json.dumps(
                    {"errorType": "Runtime.Unknown", "errorMessage": f"{type(error).__name__}: {error}"}
                ).encode()
        finally:
            self._workers.pop(worker.id, None)
            worker.pool.ended(worker, status)
            shutil.rmtree(scratch, ignore_errors=True)

    def _unzipped(self, function: Any) -> Path:
        digest = hashlib.sha256(function.code_bytes).hexdigest()
        target = self.server.state_dir / "code" / digest
        if not target.exists():
            partial = target.with_suffix(".partial")
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir(parents=True)
            with zipfile.ZipFile(io.BytesIO(function.code_bytes)) as archive:
                archive.extractall(partial)
            partial.rename(target)
        return target

    def _environment(self, worker: Worker, code: Path, runtime: Path, scratch: Path) -> dict[str, str]:
        function = worker.pool.function
        key, secret, token = self._credentials(worker)
        server = self.server
        reserved = {
            "_HANDLER": str(function.handler),
            "_X_AMZN_TRACE_ID": "",
            "AWS_DEFAULT_REGION": str(function.region),
            "AWS_REGION": str(function.region),
            "AWS_EXECUTION_ENV": f"AWS_Lambda_{function.run_time}",
            "AWS_LAMBDA_FUNCTION_NAME": str(function.function_name),
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(function.memory_size),
            "AWS_LAMBDA_FUNCTION_VERSION": str(function.version),
            "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
            "AWS_LAMBDA_LOG_GROUP_NAME": lambda_configuration.log_group(function),
            "AWS_LAMBDA_LOG_STREAM_NAME": worker.log_stream,
            "AWS_ACCESS_KEY_ID": key,
            "AWS_SECRET_ACCESS_KEY": secret,
            "AWS_SESSION_TOKEN": token,
            "AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{server.port}/_runtime/{worker.id}",
            "AWS_XRAY_CONTEXT_MISSING": "LOG_ERROR",
            "AWS_XRAY_DAEMON_ADDRESS": "127.0.0.1:2000",
            "LAMBDA_TASK_ROOT": str(code),
            "LAMBDA_RUNTIME_DIR": str(runtime),
            "LANG": "en_US.UTF-8",
            "TZ": ":UTC",
            "PATH": os.environ.get("PATH", os.defpath),
            "PYTHONPATH": f"{code}{os.pathsep}{runtime}",
        }
        if lambda_configuration.json_logs(function):
            reserved["AWS_LAMBDA_LOG_FORMAT"] = "JSON"
        here = {
            # what a laptop needs beside: the endpoint, the mark that tells whose call it is, and no files of the
            # person at the laptop (~/.aws) in reach
            "AWS_ENDPOINT_URL": server.endpoint,
            "AWS_SDK_UA_APP_ID": worker.id,
            "HOME": str(scratch),
            "TMPDIR": str(scratch),
        }
        return {**here, **{k: str(v) for k, v in function.environment_vars.items()}, **reserved}

    def _credentials(self, worker: Worker) -> tuple[str, str, str]:
        """Credentials of the function's role, as Lambda assumes it; with tracing on it asks whether that may write traces.

        https://docs.aws.amazon.com/lambda/latest/dg/lambda-intro-execution-role.html
        """
        function, authority = worker.pool.function, self.server.part(Authority)
        worker.principal = authority.act_as(
            "lambda.amazonaws.com", function.role, function.function_name, function.region
        )
        if str((function.tracing_config or {}).get("Mode")) == "Active":
            for action in ("xray:PutTraceSegments", "xray:PutTelemetryRecords"):
                with contextlib.suppress(ApiError):  # no traces then
                    authority.demand(worker.principal, action, "*", region=function.region)
        assert worker.principal.keys is not None  # noqa: S101 - for the type checker
        return worker.principal.keys

    def kill_worker(self, worker_id: str) -> None:
        worker = self._workers.get(worker_id)
        if worker:
            worker.kill()

    def halt_worker(self, worker_id: str) -> None:
        """Stop a worker where it is; its invocation's time-out ends it."""
        worker = self._workers.get(worker_id)
        if worker and worker.child:
            worker.child.halt()

    def invocation_of(self, worker_id: str) -> tuple[str, str]:
        """Return the function that a worker runs and the event of what it runs right now, both as text."""
        worker = self._workers.get(worker_id)
        if worker is None:
            return "", ""
        invocation = worker.invocation
        return worker.pool.name, invocation.payload.decode("utf-8", "replace") if invocation else ""

    def close(self) -> None:
        self.closed = True

    # --- logs ---------------------------------------------------------------------------------------------

    def _collect_logs(self, worker: Worker, out: IO[bytes] | None) -> None:
        if out is None:
            return
        with contextlib.suppress(OSError, ValueError):
            for line in iter(out.readline, b""):
                self.log(worker, line.decode("utf-8", "replace").rstrip("\n"))
        out.close()

    def log(self, worker: Worker, message: str) -> None:
        """Write a line to the function's file in the state directory and to its log group."""
        function = worker.pool.function
        path = self.server.state_dir / "logs" / f"{worker.pool.name}.log"
        with self._lock, contextlib.suppress(OSError), path.open("a", encoding="utf-8") as log:
            log.write(message + "\n")
        group = lambda_configuration.log_group(function)
        if not self._may_log(worker, group):
            return
        with MOTO_LOCK, contextlib.suppress(Exception):  # a deleted log group must not end the worker
            logs = function.logs_backend
            logs.ensure_log_group(group)
            logs.ensure_log_stream(group, worker.log_stream)
            logs.put_log_events(
                group, worker.log_stream, [{"timestamp": int(time.time() * 1000), "message": message}]
            )

    def _may_log(self, worker: Worker, group: str) -> bool:
        """Without the permission a function runs and leaves no log."""
        function = worker.pool.function
        arn = f"arn:aws:logs:{function.region}:{function.account_id}:log-group:{group}:log-stream:{worker.log_stream}"
        try:
            if worker.principal is not None:
                for action in ("logs:CreateLogStream", "logs:PutLogEvents"):
                    self.server.part(Authority).demand(worker.principal, action, arn, region=function.region)
        except ApiError:
            return False
        return True

    # --- Runtime API --------------------------------------------------------------------------------------

    def runtime_api(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        _, _, worker_id, _, *path = str(environ["PATH_INFO"]).split("/")
        worker = self._workers.get(worker_id)
        length = int(environ.get("CONTENT_LENGTH") or 0)
        if environ.get("wsgi.input_terminated"):
            body = environ["wsgi.input"].read()
        else:
            body = environ["wsgi.input"].read(length) if length else b""
        status, content = 403, b"{}"
        headers: dict[str, str] = {}
        if worker is not None:
            match path:
                case ["runtime", "invocation", "next"]:
                    status, headers, content = self._next(worker)
                case ["runtime", "invocation", request_id, "response"]:
                    status = self._done(worker, request_id, body, False)
                case ["runtime", "invocation", request_id, "error"]:
                    status = self._done(worker, request_id, body, True)
                case ["runtime", "init", "error"]:
                    worker.init_error = body
                    status = 202
        answer = [
            ("Content-Type", "application/json"),
            ("Content-Length", str(len(content))),
            *headers.items(),
        ]
        start_response(f"{status} {'OK' if status < 300 else 'Forbidden'}", answer)
        return [content]

    def _next(self, worker: Worker) -> tuple[int, dict[str, str], bytes]:
        invocation = worker.pool.next_for(worker, lambda: self.closed)
        if invocation is None:
            worker.kill()
            return 403, {}, b"{}"
        self.log(worker, f"START RequestId: {invocation.request_id} Version: {worker.pool.version}")
        deadline = int((invocation.started + invocation.timeout) * 1000)
        trace = uuid.uuid4().hex
        headers = {
            "Lambda-Runtime-Aws-Request-Id": invocation.request_id,
            "Lambda-Runtime-Deadline-Ms": str(deadline),
            "Lambda-Runtime-Invoked-Function-Arn": invocation.arn,
            "Lambda-Runtime-Trace-Id": f"Root=1-{int(invocation.started):08x}-{trace[:24]};"
            f"Parent={trace[16:]};Sampled=0",
        }
        if invocation.client_context:
            headers["Lambda-Runtime-Client-Context"] = invocation.client_context
        return 200, headers, invocation.payload

    def _done(self, worker: Worker, request_id: str, body: bytes, failed: bool) -> int:
        invocation = worker.invocation
        if invocation is None or invocation.request_id != request_id:
            return 403
        took = (time.time() - invocation.started) * 1000
        self.log(worker, f"END RequestId: {request_id}")
        self.log(
            worker,
            f"REPORT RequestId: {request_id}\tDuration: {took:.2f} ms\tBilled Duration: {int(took) + 1} ms\t"
            f"Memory Size: {worker.pool.function.memory_size} MB",
        )
        with worker.pool.condition:
            # free from here on: it polls for the next invocation before whoever waits for this result can
            # send one, so a call after a call needs no second worker
            worker.invocation = None
            invocation.finish(body, failed)
        return 202


def install(server: Server) -> None:
    """Take over Invoke; moto keeps the functions, versions, aliases and their code."""
    lambda_configuration.install(server)
    lambdas = Lambdas(server)
    server.kill_worker = lambdas.kill_worker
    server.halt_worker = lambdas.halt_worker
    server.invocation_of = lambdas.invocation_of
    server.route("/_runtime/", lambdas.runtime_api)
    server.on_shutdown(lambdas.close)
    server.operation("lambda", "Invoke")(lambdas.invoke)

    @server.operation("lambda", "CreateFunction")
    def create_function(call: Call) -> Answer:
        answer = call.forward()
        made = json.loads(answer.body) if answer.status < 300 else {}
        if made.get("Version", "$LATEST") != "$LATEST":
            lambdas.start_ahead(call, made)
        return answer

    @server.operation("lambda", "DeleteFunction")
    def delete_function(call: Call) -> Answer:
        answer = call.forward()
        if answer.status < 300 and "Qualifier" not in call.params:
            lambdas.forget(call.params["FunctionName"].rpartition(":")[2])
        return answer

    @server.operation("lambda", "RemovePermission")
    def remove_permission(call: Call) -> Answer:
        """Where a version is named, from its own policy. https://docs.aws.amazon.com/lambda/latest/api/API_RemovePermission.html"""
        if "Qualifier" not in call.params:
            return call.forward()
        name, sid = call.params["FunctionName"].rpartition(":")[2], call.params["StatementId"]
        function = _function(call.account, call.region, name, call.params["Qualifier"])
        with MOTO_LOCK:
            kept = [statement for statement in function.policy.statements if statement["Sid"] != sid]
            if len(kept) == len(function.policy.statements):
                raise ApiError(
                    "ResourceNotFoundException", f"Statement {sid} is not found in resource policy.", 404
                )
            function.policy.statements = kept
        return Answer(204, [], b"")

    def target(target: dict[str, Any], event: dict[str, Any], origin: Any) -> None:
        # By the function's policy. EventBridge sends the rule's ARN and no account:
        # https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-troubleshooting.html
        server.part(Authority).demand(
            principals.service("events.amazonaws.com"),
            "lambda:InvokeFunction",
            target["Arn"],
            region=origin.region,
            context={"aws:SourceArn": origin.rule},
        )
        lambdas.invoke_event(target["Arn"], json.dumps(event).encode())

    server.targets["lambda"] = target

    def from_inside_moto(function: Any, body: str, *_: Any) -> bytes:
        """Stand in for moto's containers: subscriptions of SNS topics and log groups come this way."""
        lambdas.invoke_event(function.function_arn, body.encode())
        return b""

    patch(
        LambdaFunction,
        "invoke",
        from_inside_moto,
        because="moto runs functions in containers",
        upstream="none: there is no Docker here",
    )
