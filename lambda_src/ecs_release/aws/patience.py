"""How long an invocation may wait for AWS, and how fast it calls.

A throttled account makes a release slower and nothing else: a call waits for its turn for as long as the running function
has time.
"""

from __future__ import annotations

import math
import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from contextlib import contextmanager
from contextvars import ContextVar, copy_context
from typing import Any, TypeVar

from ecs_release.errors import UnfinishedError

FIRST_PAUSE_SECONDS = 0.5
_RESERVE_SECONDS = 20.0
"""What a function keeps back to write down how far it got: more than one attempt at an API call takes."""

# https://docs.aws.amazon.com/AmazonECS/latest/APIReference/request-throttling.html: burst and calls a second. The APIs of
# a row share a bucket, per account and Region. IAM documents no rate; a tool that called the simulator without a pause was
# throttled after 183 calls (https://github.com/nccgroup/PMapper/issues/1).
_BUCKETS: tuple[tuple[str, float, float, frozenset[str]], ...] = (
    ("ecs", 20, 1, frozenset({"RegisterTaskDefinition", "DeregisterTaskDefinition"})),
    ("ecs", 50, 20, frozenset({"DescribeTaskDefinition", "ListTaskDefinitions"})),
    ("ecs", 50, 5, frozenset({"UpdateService"})),
    ("ecs", 100, 20, frozenset({"DescribeServices"})),
    ("ecs", 50, 20, frozenset({"DescribeServiceDeployments", "ListServiceDeployments"})),
    ("ecs", 100, 20, frozenset({"DescribeTasks", "ListTasks"})),
    ("iam", 20, 10, frozenset({"SimulatePrincipalPolicy"})),
)

_T = TypeVar("_T")
_R = TypeVar("_R")


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

    def until(self, end: float) -> Patience:
        """The same, with an end (monotonic seconds) that may come before the invocation's."""
        shorter = Patience(lambda: min(self._remaining(), end - time.monotonic()))
        shorter._paces, shorter._making = self._paces, self._making
        return shorter

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


@contextmanager
def at_most(seconds: float) -> Iterator[None]:
    """Within this block calls wait no longer than this in all: for what a release can do without."""
    token = _patience.set(_patience.get().until(time.monotonic() + seconds))
    try:
        yield
    finally:
        _patience.reset(token)


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
    return random.uniform(0.0, min(longest, FIRST_PAUSE_SECONDS * 2.0 ** min(attempt, 16)))  # noqa: S311 - spreads load


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


def pace_of(service: str, operation: str, where: Any) -> Pace | None:
    for number, (owner, burst, per_second, operations) in enumerate(_BUCKETS):
        if service == owner and operation in operations:
            return _patience.get().pace((where, number), burst, per_second)
    return None


def wait_for_turn(service: str, operation: str, where: Any) -> None:
    """Wait until a call is in its turn; clients that try again do so by themselves.

    Raises
    ------
    UnfinishedError
        when that is later than this invocation ends.
    """
    pace = pace_of(service, operation, where)
    wait = pace.take() if pace else 0.0
    if wait > 0:
        pause(wait, f"{service}:{operation} waits for its turn")
