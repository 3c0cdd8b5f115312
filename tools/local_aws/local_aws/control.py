"""The control calls under ``/_local/``: rollout rules, faults, limits, counts of calls, reset, notifications.

They stand for nothing that AWS has; they are how tests and demos say what shall happen.

=============================  =========================================================================
``POST rollouts``              rules of ``rollout_rules.py``; the list replaces the one before
``POST faults``                faults of ``faults.py``; the list replaces the one before
``POST limits``                ``{"enabled": true, "scale": 1}``: see ``limits.py``
``POST visibility``            ``{"seconds": 1}``: how late a service deployment can be seen
``POST deployments``           ``{"minute": 0.1, "rollback": "promoted", "draining": 2}``: how ECS rolls out; see ``ecs/state.py``
``POST lag``                   ``{"seconds": 5}``: how far reads may lag behind writes; see ``lag.py``
``POST pages``                 ``{"size": 1}``: see ``pages.py``
``GET calls``                  calls and throttles per ``service:Operation`` since the last reset
``GET calls/log``              each of those calls: time, account, Region, Lambda worker, status, error
``GET notifications``          messages published to SNS topics since the last reset
``GET rollouts``, ``faults``   what is in force; faults with the times they have left
``GET iam``                    what was authorised and refused so far, with the policies; see ``services/iam/report.py``
``POST iam``                   ``{"enabled": false}``: allow everything, and record nothing
``POST reset``                 back to no rules, faults, limits, counts and notifications
=============================  =========================================================================

The service is the signing name: ``ecs``, ``events``, ``scheduler``, ``states``, ``lambda``, ``dynamodb``.
"""

from __future__ import annotations

import json
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

from local_aws.kernel.calls import Answer, Call
from local_aws.kernel.faults import Faults
from local_aws.kernel.lag import Lag
from local_aws.kernel.limits import Limits
from local_aws.kernel.pages import Pages
from local_aws.kernel.server import Server
from local_aws.services.ecs.rollout_rules import RolloutRules
from local_aws.services.ecs.state import Estate
from local_aws.services.iam.authority import Authority

# What the services answer when a rate is exceeded, by the documents of the services named in limits.py
_THROTTLES = ("Throttling", "ThrottlingException", "TooManyRequestsException", "RequestLimitExceeded")


class Calls:
    """Counts of calls per ``service:Operation`` and a log of the latest ones."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._lock = threading.Lock()
        self.reset()

    def reset(self) -> None:
        with self._lock:
            self._counts: dict[str, dict[str, int]] = {}
            self._log: deque[dict[str, Any]] = deque(maxlen=50_000)

    def guard(self, call: Call, inner: Callable[[Call], Answer]) -> Answer:
        if call.internal:
            return inner(call)
        with self._lock:
            count = self._counts.setdefault(call.key, {"calls": 0, "throttled": 0})
            count["calls"] += 1
        entry = {
            "time": time.time(),
            "call": call.key,
            "account": call.account,
            "region": call.region,
            "worker": call.worker,
            "function": self._function_of(call),
            "status": None,
            "error": None,
        }
        self._log.append(entry)
        answer = inner(call)
        entry["status"] = answer.status
        if answer.status >= 400:
            entry["error"] = answer.header("x-amzn-ErrorType")
            if entry["error"] in _THROTTLES:
                with self._lock:
                    count["throttled"] += 1
        return answer

    def _function_of(self, call: Call) -> str | None:
        return self._server.invocation_of(call.worker)[0] if call.worker else None

    def counts(self) -> dict[str, dict[str, int]]:
        with self._lock:
            return {key: dict(value) for key, value in sorted(self._counts.items())}

    def log(self) -> list[dict[str, Any]]:
        return list(self._log)


class Control:
    """Answers the paths under ``/_local/``."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self.calls = Calls(server)
        self.pages = Pages()

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        path = str(environ["PATH_INFO"]).removeprefix("/_local/").rstrip("/")
        method = str(environ["REQUEST_METHOD"])
        try:
            length = int(environ.get("CONTENT_LENGTH") or 0)
            body = json.loads(environ["wsgi.input"].read(length) or b"null") if length else None
            status, document = self._answer(method, path, body)
        except (ValueError, TypeError, KeyError) as error:
            status, document = "400 Bad Request", {"message": f"/_local/{path}: {error}"}
        content = json.dumps(document).encode()
        start_response(status, [("Content-Type", "application/json"), ("Content-Length", str(len(content)))])
        return [content]

    def _answer(self, method: str, path: str, body: Any) -> tuple[str, Any]:
        server = self._server
        match method, path:
            case "POST", "rollouts":
                server.part(RolloutRules).replace(_list(body))
            case "GET", "rollouts":
                return "200 OK", server.part(RolloutRules).as_documents()
            case "POST", "faults":
                server.faults.replace(_list(body))
            case "GET", "faults":
                return "200 OK", server.faults.as_documents()
            case "POST", "limits":
                if not isinstance(body, dict):
                    raise ValueError('write {"enabled": true, "scale": 1}')
                server.limits.configure(body)
            case "POST", "visibility":
                server.part(Estate).visibility_delay = float(body["seconds"])
            case "POST", "deployments":
                server.part(Estate).configure(body)
            case "POST", "lag":
                server.lag.seconds = float(body["seconds"])
                server.lag.workers_only = bool(body.get("workers"))
            case "POST", "pages":
                self.pages.size = int(body["size"])
            case "GET", "calls":
                return "200 OK", self.calls.counts()
            case "GET", "calls/log":
                return "200 OK", self.calls.log()
            case "GET", "notifications":
                return "200 OK", server.notifications()
            case "GET", "iam":
                return "200 OK", server.part(Authority).document()
            case "POST", "iam":
                server.part(Authority).enabled = bool(body["enabled"])
            case "GET", "health":
                return "200 OK", {"port": server.port}
            case "POST", "reset":
                server.reset()
            case _:
                return "404 Not Found", {"message": f"there is no {method} /_local/{path}"}
        return "200 OK", {}


def _list(body: Any) -> list[dict[str, Any]]:
    if not isinstance(body, list) or not all(isinstance(entry, dict) for entry in body):
        raise ValueError("write a JSON list of objects")
    return body


def install(server: Server) -> None:
    """Put counts outermost, then limits, faults and the lag: a throttled call meets no fault."""
    control = Control(server)
    rules = RolloutRules()
    server.add(rules)
    server.faults = Faults(server)
    server.limits = Limits()
    server.lag = Lag()
    server.guards += [
        *(control.calls.guard, server.limits.guard, server.faults.guard),
        *(control.pages.guard, server.lag.guard),
    ]
    for part in (
        *(control.calls, control.pages, rules),
        *(server.faults, server.limits, server.lag),
    ):
        server.on_reset(part.reset)
    server.route("/_local/", control)
