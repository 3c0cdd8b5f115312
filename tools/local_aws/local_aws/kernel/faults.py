"""Faults that tests inject into AWS calls, set through ``POST /_local/faults``.

What each kind stands for: ``error`` an answer of the service; ``response_lost`` a connection that breaks after
(or before) the service did its work; ``delay`` a slow service; ``hold`` one that takes as long as the fault stands in the
list, but no longer than its ``seconds`` (9 without): an SDK that has waited too long sends the request again;
``failed_entries`` a batch call that answers 200 and names entries it did not apply
(https://docs.aws.amazon.com/eventbridge/latest/APIReference/API_PutTargets.html); ``kill`` the end of the
Lambda execution environment in the middle of a call; ``hang`` one that stops there and runs no further, until Lambda ends it at
the function's time-out (https://docs.aws.amazon.com/lambda/latest/dg/configuration-timeout.html); ``odd_answer`` an answer in which
a member is missing, null or of a kind that AWS brought out later.

An ``error`` NoSuchKey of ``s3:GetObject`` is a bucket in the minutes after its versioning was first switched on, when S3 may
answer 404 for objects that are there: https://docs.aws.amazon.com/AmazonS3/latest/userguide/manage-versioning-examples.html
"""

from __future__ import annotations

import contextlib
import fnmatch
import json
import re
import socket
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from local_aws.kernel.calls import Answer, ApiError, Call, success

if TYPE_CHECKING:
    from local_aws.kernel.server import Server

KINDS = ("error", "response_lost", "delay", "hold", "failed_entries", "kill", "hang", "odd_answer")
_WHEN = {
    "error": "before",
    "response_lost": "after",
    "delay": "before",
    "hold": "before",
    "failed_entries": "before",
    "kill": "before",
    "hang": "before",
    "odd_answer": "after",
}
_HOLD_SECONDS = 9.0
_LOOK_SECONDS = 0.2  # how soon the server's own end is noticed
# operation -> (member with the entries, id of an entry)
_BATCHES = {
    "events:PutTargets": ("Targets", "Id"),
    "events:RemoveTargets": ("Ids", None),
    "events:PutEvents": ("Entries", None),
}


@dataclass
class Fault:
    """One fault; ``times`` counts down to 0, None means every time.

    Attributes
    ----------
    match
        Pattern searched in the request's body, or in its URI where it has no body.
    function, event
        Patterns for calls of Lambda workers alone, searched in the function's name and in the event it works on.
    skip
        How many calls that fit are let through first.
    changes
        Of an odd answer: patterns that are looked for in its body, and what stands in the place of each find.
    """

    operation: str
    kind: str
    match: str | None = None
    function: str | None = None
    event: str | None = None
    skip: int = 0
    when: str = ""
    error: str = "ThrottlingException"
    message: str | None = None
    status: int | None = None
    seconds: float = 0.0
    times: int | None = 1
    changes: dict[str, str] | None = None


def parse(document: Mapping[str, Any]) -> Fault:
    """Read one fault.

    Raises
    ------
    ValueError
        If it would never happen as it is written.
    """
    unknown = set(document) - set(Fault.__dataclass_fields__)
    if unknown:
        raise ValueError(f"a fault has no {', '.join(sorted(unknown))}")
    if "operation" not in document or "kind" not in document:
        raise ValueError('a fault needs "operation" (such as "ecs:UpdateService") and "kind"')
    fault = Fault(**document)
    if fault.kind not in KINDS:
        raise ValueError(f"kind {fault.kind!r} is none of {', '.join(KINDS)}")
    fault.when = fault.when or _WHEN[fault.kind]
    if fault.when not in ("before", "after"):
        raise ValueError(f'when {fault.when!r} is neither "before" nor "after"')
    if fault.kind == "failed_entries" and fault.operation not in _BATCHES:
        raise ValueError(f"failed_entries is for {', '.join(_BATCHES)} only")
    if (fault.kind == "odd_answer") != bool(fault.changes):
        raise ValueError('odd_answer needs "changes", and no other kind has them')
    for pattern in (fault.match, fault.function, fault.event, *(fault.changes or ())):
        try:
            re.compile(pattern or "")
        except re.error as error:
            raise ValueError(f"{pattern!r} is not a regular expression: {error}") from None
    return fault


class Faults:
    """The list of faults; a call meets the first that fits it and has times left."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._lock = threading.Lock()
        self._replaced = threading.Condition(self._lock)
        self._faults: list[Fault] = []

    def replace(self, documents: list[dict[str, Any]]) -> None:
        faults = [parse(document) for document in documents]
        with self._replaced:
            self._faults = faults
            self._replaced.notify_all()

    def reset(self) -> None:
        self.replace([])

    def as_documents(self) -> list[dict[str, Any]]:
        """Return the faults with the times they have left."""
        with self._lock:
            return [asdict(fault) for fault in self._faults]

    def guard(self, call: Call, inner: Callable[[Call], Answer]) -> Answer:
        fault = None if call.internal else self._take(call)
        if fault is None:
            return inner(call)
        if fault.when == "before":
            return self._strike(fault, call, inner)
        answer = inner(call)
        return self._strike(fault, call, lambda _: answer)

    def _take(self, call: Call) -> Fault | None:
        if not self._faults:
            return None
        text = call.body.decode("utf-8", "replace") or str(call.environ.get("RAW_URI") or "")
        function, event = self._server.invocation_of(call.worker) if call.worker else ("", "")
        with self._lock:
            for fault in self._faults:
                if (
                    fault.times != 0
                    and fnmatch.fnmatchcase(call.key, fault.operation)
                    and (fault.match is None or re.search(fault.match, text))
                    and (fault.kind not in ("kill", "hang") or call.worker)
                    and (fault.function is None or (function and re.search(fault.function, function)))
                    and (fault.event is None or (event and re.search(fault.event, event)))
                ):
                    if fault.skip:
                        fault.skip -= 1
                        continue
                    if fault.times is not None:
                        fault.times -= 1
                    return fault
        return None

    def _hold(self, fault: Fault) -> None:
        """Wait until nobody's list has the fault any more, or its time is over."""
        deadline = time.monotonic() + (fault.seconds or _HOLD_SECONDS)

        def over() -> bool:
            stands = any(
                (f.kind, f.operation, f.match) == ("hold", fault.operation, fault.match) for f in self._faults
            )
            return not stands or self._server.stopping.is_set() or time.monotonic() >= deadline

        with self._replaced:
            while not over():
                self._replaced.wait(_LOOK_SECONDS)

    def _strike(self, fault: Fault, call: Call, inner: Callable[[Call], Answer]) -> Answer:
        if fault.kind == "delay":
            self._server.stopping.wait(fault.seconds)
            return inner(call)
        if fault.kind == "hold":
            self._hold(fault)
            return inner(call)
        if fault.kind == "failed_entries":
            return _fail_entries(fault, call, inner)
        if fault.kind == "odd_answer":
            answer = inner(call)
            body = answer.body.decode("utf-8")
            for pattern, text in (fault.changes or {}).items():
                body = re.sub(pattern, text, body)
            return replace(answer, body=body.encode("utf-8"))
        if fault.seconds:
            time.sleep(fault.seconds)
        if fault.kind == "error":
            raise ApiError(
                fault.error, fault.message or _text_of(fault.error), fault.status or _status_of(fault.error)
            )
        if fault.kind == "kill":
            self._server.kill_worker(call.worker or "")
        if fault.kind == "hang":
            self._server.halt_worker(call.worker or "")
        _break_connection(call)
        raise ConnectionResetError(f"{fault.kind} of {call.key}")


def _break_connection(call: Call) -> None:
    connection = call.environ.get("werkzeug.socket")
    if isinstance(connection, socket.socket):
        with contextlib.suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)


def _status_of(error: str) -> int:
    if error.startswith("NoSuch"):
        return 404  # https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html
    if "Unavailable" in error:
        return 503
    return 500 if error.startswith(("Internal", "Server", "Service")) and "Not" not in error else 400


def _text_of(error: str) -> str:
    return "Rate exceeded" if error.startswith(("Throttl", "TooMany")) else f"{error} (a fault set by a test)"


def _fail_entries(fault: Fault, call: Call, inner: Callable[[Call], Answer]) -> Answer:
    """Fail the entries that the fault's pattern fits, or all if it fits none of them by itself."""
    member, id_member = _BATCHES[call.key]
    entries = call.input.get(member, [])
    failing = [
        index
        for index, entry in enumerate(entries)
        if fault.match is None or re.search(fault.match, json.dumps(entry))
    ] or list(range(len(entries)))
    passing = [entry for index, entry in enumerate(entries) if index not in failing]
    if passing:
        call.body = json.dumps({**call.input, member: passing}).encode()
        del call.input
        answer = inner(call)
        if answer.status != 200:
            return answer
        applied = iter(answer.json().get("Entries", []))
    else:
        applied = iter(())
    error = {"ErrorCode": fault.error, "ErrorMessage": fault.message or _text_of(fault.error)}
    if call.operation == "PutEvents":
        results = [error if index in failing else next(applied) for index in range(len(entries))]
        return success(call, {"FailedEntryCount": len(failing), "Entries": results})
    failed = [
        {"TargetId": entries[index][id_member] if id_member else entries[index], **error} for index in failing
    ]
    return success(call, {"FailedEntryCount": len(failed), "FailedEntries": failed})
