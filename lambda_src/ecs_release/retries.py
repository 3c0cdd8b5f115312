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
import random
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import contextmanager
from contextvars import ContextVar, copy_context
from typing import Any, TypeVar

from botocore.exceptions import ClientError, HTTPClientError
from botocore.exceptions import ConnectionError as NoConnectionError
from botocore.parsers import ResponseParserError

from ecs_release.errors import UnavailableError, UnfinishedError

# The SDKs' list (https://docs.aws.amazon.com/sdkref/latest/guide/feature-retry-behavior.html) without LimitExceededException,
# by which ECS means a quota of resources, and that does not pass
# (https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_CreateCluster.html). SlowDown is Amazon S3's.
THROTTLING_CODES = frozenset(
    {
        "BandwidthLimitExceeded",
        "EC2ThrottledException",
        "PriorRequestNotComplete",
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "RequestThrottled",
        "RequestThrottledException",
        "SlowDown",
        "ThrottledException",
        "Throttling",
        "ThrottlingException",
        "TooManyRequestsException",
        "TransactionInProgressException",
    }
)

# https://docs.aws.amazon.com/AmazonECS/latest/APIReference/CommonErrors.html and its like in the other services
EXPIRED_CODES = frozenset({"ExpiredToken", "ExpiredTokenException", "RequestExpired"})

# Faults of the service that may come with a status below 500: ECS's ServerException
# (https://docs.aws.amazon.com/AmazonECS/latest/APIReference/CommonErrors.html), the SDKs' list, and a write to DynamoDB that
# meets a transaction (https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_UpdateItem.html).
_FAULT_CODES = frozenset(
    {
        "InternalError",
        "RequestTimeout",
        "RequestTimeoutException",
        "ServerException",
        "TransactionConflictException",
    }
)

# Why DynamoDB cancels a transaction, where that passes; a condition that does not hold is a verdict
# (https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_TransactWriteItems.html).
_CANCELLED = "TransactionCanceledException"
_CANCELLED_BY_THROTTLE = frozenset({"ThrottlingError", "ProvisionedThroughputExceeded"})
_CANCELLED_BY_ANOTHER = frozenset({"TransactionConflict"})

# Not 501: what a service does not know it will not know in a minute.
_FAULT_STATUSES = frozenset({500, 502, 503, 504})

_ATTEMPTS_AT_A_FAULT = 10
_FIRST_PAUSE_SECONDS = 0.5
_LONGEST_PAUSE_SECONDS = {"throttled": 5.0, "fault": 20.0}

_RESERVE_SECONDS = 20.0
"""What a function keeps back to write down how far it got: more than one attempt at an API call takes."""

_LOCK_LOOK_SECONDS = 1.0
"""How old a look at the lock may be when a write goes out."""

# https://docs.aws.amazon.com/AmazonECS/latest/APIReference/request-throttling.html: burst and calls a second. The APIs of
# a row share a bucket, per account and Region.
_ECS_BUCKETS: tuple[tuple[float, float, frozenset[str]], ...] = (
    (20, 1, frozenset({"RegisterTaskDefinition", "DeregisterTaskDefinition"})),
    (50, 20, frozenset({"DescribeTaskDefinition", "ListTaskDefinitions"})),
    (50, 5, frozenset({"UpdateService"})),
    (100, 20, frozenset({"DescribeServices"})),
    (50, 20, frozenset({"DescribeServiceDeployments", "ListServiceDeployments"})),
    (100, 20, frozenset({"DescribeTasks", "ListTasks"})),
)


_T = TypeVar("_T")
_R = TypeVar("_R")


def error_code(answer: Any) -> str:
    """The error code of a parsed answer, a ClientError, or ""."""
    response = answer.response if isinstance(answer, ClientError) else answer
    if not isinstance(response, Mapping):
        return ""
    error = response.get("Error")
    return str(error.get("Code", "")) if isinstance(error, Mapping) else ""


def explain(error: Exception) -> str:
    """One line for a person: the service's own code and words, without the SDK's wrapping."""
    if isinstance(error, ClientError):
        details = error.response.get("Error", {})
        message = str(details.get("Message") or details.get("message") or "").strip()
        return f"{details.get('Code', 'error')}: {message}" if message else str(details.get("Code", error))
    return str(error) or type(error).__name__


def trouble(answer: Any) -> str:
    """What is passing about an answer or an error: "throttled", "fault", "expired", or "" for a verdict.

    Parameters
    ----------
    answer : a parsed answer, a ClientError, or what was raised instead of an answer.
    """
    if isinstance(answer, Exception) and not isinstance(answer, ClientError):
        # No connection, no answer, or one that breaks off. Anything else was never sent: no credentials, a wrong argument.
        broken = isinstance(answer, HTTPClientError | NoConnectionError | ResponseParserError)
        return "fault" if broken else ""
    code = error_code(answer)
    if code == _CANCELLED:
        return _why_cancelled(answer)
    if code in THROTTLING_CODES:
        return "throttled"
    if code in EXPIRED_CODES:
        return "expired"
    response = answer.response if isinstance(answer, ClientError) else answer
    status = response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    return "fault" if code in _FAULT_CODES or status in _FAULT_STATUSES else ""


def _why_cancelled(answer: Any) -> str:
    response = answer.response if isinstance(answer, ClientError) else answer
    reasons = {str(reason.get("Code")) for reason in response.get("CancellationReasons", ())} - {"None"}
    if not reasons or reasons - _CANCELLED_BY_THROTTLE - _CANCELLED_BY_ANOTHER:
        return ""
    return "throttled" if reasons & _CANCELLED_BY_THROTTLE else "fault"


# --- time ----------------------------------------------------------------------------------------------------------


class Patience:
    """How long one invocation may wait, and how fast it calls: each has its own.

    Parameters
    ----------
    remaining : seconds it may still run.
    """

    def __init__(self, remaining: Callable[[], float] = lambda: math.inf) -> None:
        self._remaining = remaining
        self._reserve = min(_RESERVE_SECONDS, remaining() / 10)
        self._paces: dict[Any, Pace] = {}
        self._making = threading.Lock()

    def allows(self, seconds: float) -> bool:
        """Whether there is time for a pause, and for a call and a few words after it."""
        return self._remaining() - seconds > self._reserve

    def pace(self, key: Any, burst: float, per_second: float) -> Pace:
        with self._making:
            if key not in self._paces:
                self._paces[key] = Pace(burst, per_second)
            return self._paces[key]


_patience: ContextVar[Patience] = ContextVar("ecs_release_patience", default=Patience())  # noqa: B039 - one for a terminal


def be_patient_for(remaining: Callable[[], float]) -> None:
    """From here on calls of this invocation wait as long as it has time; a person at a terminal can wait for ever."""
    _patience.set(Patience(remaining))


def pause(seconds: float, why: str, sleep: Callable[[float], None] | None = None) -> None:
    """Wait before another try.

    Raises
    ------
    UnfinishedError
        when there is no time left for it; ``why`` says what the wait was for.
    """
    if not _patience.get().allows(seconds):
        raise UnfinishedError(f"{why}; this invocation's time is up")
    (sleep or time.sleep)(seconds)


def has_time_for(seconds: float) -> bool:
    """Whether there is time left for a pause, and for another try after it."""
    return _patience.get().allows(seconds)


def side_by_side(pool: Executor, function: Callable[[_T], _R], entries: Sequence[_T]) -> Iterator[_R]:
    """``pool.map`` that takes along how long this invocation may wait; the first exception ends it for all."""
    contexts = [copy_context() for _ in entries]
    return pool.map(lambda context, entry: context.run(function, entry), contexts, entries)


def jittered(attempt: int, longest: float) -> float:
    """Full jitter, so that several callers do not meet again."""
    return random.uniform(0.0, min(longest, _FIRST_PAUSE_SECONDS * 2.0 ** min(attempt, 16)))  # noqa: S311 - spreads load


# --- pace ----------------------------------------------------------------------------------------------------------


class Pace:
    """How fast the calls of one bucket go out: AWS's documented rate, and slower where others use some of it.

    Every throttle takes a quarter off the rate, every answer gives a little back, so that the callers of one account
    share what there is without knowing of each other.
    """

    _SLOWEST = 0.05  # of the documented rate
    _BACK = 0.005  # of the documented rate, for each answer
    _CUT = 0.75
    _CUTS_APART_SECONDS = 1.0  # what was on its way together is throttled together, and counts once

    def __init__(self, burst: float, per_second: float) -> None:
        self._most, self._rate = per_second, per_second
        self._burst, self._tokens = burst, burst
        self._since = time.monotonic()
        self._cut_at = -math.inf
        self._lock = threading.Lock()

    def take(self) -> float:
        """Take a token; seconds to wait until it is there."""
        with self._lock:
            self._refill()
            self._tokens -= 1
            return max(0.0, -self._tokens / self._rate)

    def answered(self) -> None:
        with self._lock:
            self._refill()
            self._rate = min(self._most, self._rate + self._BACK * self._most)

    def throttled(self) -> None:
        with self._lock:
            self._refill()
            self._tokens = min(self._tokens, 0.0)
            if time.monotonic() - self._cut_at >= self._CUTS_APART_SECONDS:
                self._cut_at = time.monotonic()
                self._rate = max(self._SLOWEST * self._most, self._CUT * self._rate)

    def _refill(self) -> None:
        now = time.monotonic()
        self._tokens = min(self._burst, self._tokens + (now - self._since) * self._rate)
        self._since = now


# --- the lock between attempts ---------------------------------------------------------------------------------------


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


# --- clients ---------------------------------------------------------------------------------------------------------


class ThrottleCount:
    """Counts throttled answers of every client it watches, also of calls that went through in the end."""

    def __init__(self) -> None:
        self.count = 0
        self._lock = threading.Lock()

    def watch(self, client: Any) -> None:
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


def _pace(service: str, operation: str, where: Any) -> Pace | None:
    for number, (burst, per_second, operations) in enumerate(_ECS_BUCKETS):
        if service == "ecs" and operation in operations:
            return _patience.get().pace((where, number), burst, per_second)
    return None


def wait_for_turn(service: str, operation: str, where: Any) -> None:
    """Wait until a call is in its turn; clients that try again do so by themselves.

    Raises
    ------
    UnfinishedError
        when that is later than this invocation ends.
    """
    pace = _pace(service, operation, where)
    wait = pace.take() if pace else 0.0
    if wait > 0:
        pause(wait, f"{service}:{operation} waits for its turn")


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
        pace = _pace(self._service, operation.name, self._where)
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
        elif met[kind] >= _ATTEMPTS_AT_A_FAULT or not _patience.get().allows(seconds):
            raise UnavailableError(f"{what} ({met[kind]} attempts)") from caught_exception
        else:
            time.sleep(seconds)
        return 0.0


def install(client: Any, service: str, where: Any = None, *, again: bool = True) -> None:
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
    client.meta.events.register("needs-retry.*", retries.after_attempt)
