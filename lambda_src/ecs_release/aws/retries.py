"""Retries: passing trouble is told from a verdict here, and nowhere else.

A throttle passes, so a call waits for its turn as long as the running function has time. A service's own fault and a
broken connection may pass; they get as many attempts as the SDKs give them. What outlives that is raised as a
:class:`PassingError`, which no handler of AWS's refusals takes for one: a ``ClientError`` that reaches the rest of the
package is a refusal.

botocore's own retries are switched off: they give up on a throttle after a minute, and nobody can look at the lock
between two of their attempts
(https://boto3.amazonaws.com/v1/documentation/api/latest/guide/retries.html#standard-retry-mode).
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from ecs_release.aws.patience import has_time_for, jittered, pace_of, pause, wait_for_turn
from ecs_release.aws.trouble import explain, trouble
from ecs_release.errors import UnavailableError

if TYPE_CHECKING:
    from botocore.client import BaseClient

_ATTEMPTS_AT_A_FAULT = 10
_LONGEST_PAUSE_SECONDS = {"throttled": 5.0, "fault": 20.0}
_LOCK_LOOK_SECONDS = 1.0
"""How old a look at the lock may be when a write goes out."""


class _Watch:
    def __init__(self, check: Callable[[], None]) -> None:
        self._check = check
        self._checked_at = -math.inf

    def look(self) -> None:
        if time.monotonic() - self._checked_at > _LOCK_LOOK_SECONDS:
            token = _watch.set(None)  # the check calls AWS as well
            try:
                self._check()
                self._checked_at = time.monotonic()
            finally:
                _watch.reset(token)


_watch: ContextVar[_Watch | None] = ContextVar("ecs_release_watch", default=None)


@contextmanager
def checked(check: Callable[[], None]) -> Iterator[None]:
    """Within this block no attempt at a call goes out without a fresh look: ``check`` raises to stop.

    A call that waits for its turn may go out minutes after it was asked for.
    """
    watch = _Watch(check)
    watch.look()
    token = _watch.set(watch)
    try:
        yield
    finally:
        _watch.reset(token)


class ThrottleCount:
    """Counts throttled answers of every client it watches, also of calls that went through in the end."""

    def __init__(self) -> None:
        self.count = 0
        self._lock = threading.Lock()

    def watch(self, client: BaseClient) -> None:
        client.meta.events.register_first("needs-retry.*", self._see)

    def take(self) -> int:
        """The count so far, which begins at 0 again."""
        with self._lock:
            count, self.count = self.count, 0
            return count

    def _see(self, response: Any = None, **_: Any) -> None:
        if response is not None and trouble(response[1]) == "throttled":
            with self._lock:
                self.count += 1


class _Retries:
    """The retries of one client: hears of each attempt before it goes out and of what came of it."""

    def __init__(self, service: str, where: Any) -> None:
        self._service = service
        self._where = where

    def before_attempt(self, operation_name: str, **_: Any) -> None:
        wait_for_turn(self._service, operation_name, self._where)
        watch = _watch.get()
        if watch is not None:
            watch.look()

    def hear(
        self,
        response: Any = None,
        caught_exception: Exception | None = None,
        operation: Any = None,
        **_: Any,
    ) -> str:
        """Go slower or faster by what came of an attempt; what is passing about it, as :func:`trouble` says."""
        kind = trouble(caught_exception if response is None else response[1])
        pace = pace_of(self._service, operation.name, self._where)
        if pace and kind == "throttled":
            pace.throttled()
        elif pace and response is not None:
            pace.answered()
        return kind

    def after_attempt(
        self,
        response: Any = None,
        caught_exception: Exception | None = None,
        operation: Any = None,
        request_dict: Any = None,
        **_: Any,
    ) -> float | None:
        """What botocore takes for an answer to whether it should try again: seconds to wait, or None for no."""
        kind = self.hear(response, caught_exception, operation)
        if not kind:
            return None
        said = explain(caught_exception or ClientError(response[1], operation.name))
        what = f"{self._service}:{operation.name}: {said}"
        met = request_dict["context"].setdefault("ecs_release_trouble", {"throttled": 0, "fault": 0})
        if kind == "expired":  # the next invocation assumes its role again
            raise UnavailableError(what) from caught_exception
        met[kind] += 1
        seconds = jittered(met[kind], _LONGEST_PAUSE_SECONDS[kind])
        if kind == "throttled":
            pause(seconds, what)
        elif met[kind] >= _ATTEMPTS_AT_A_FAULT or not has_time_for(seconds):
            raise UnavailableError(f"{what} ({met[kind]} attempts)") from caught_exception
        else:
            time.sleep(seconds)
        return 0.0


def install(client: BaseClient, service: str, where: Any = None, *, again: bool = True) -> None:
    """Let a client wait and try again as this module says.

    Parameters
    ----------
    where : what the buckets of its account and Region are told apart by.
    again : False: whoever calls waits and tries again, and only the pace hears of what came of it.
    """
    retries = _Retries(service, where)
    if not again:

        def only_hear(**heard: Any) -> None:
            retries.hear(**heard)

        client.meta.events.register("needs-retry.*", only_hear)
        return
    client.meta.events.register_first("request-created.*", retries.before_attempt)
    # The stubs say that a handler answers nothing; this event takes seconds (botocore/endpoint.py, _needs_retry).
    client.meta.events.register("needs-retry.*", retries.after_attempt)  # type: ignore[arg-type]
