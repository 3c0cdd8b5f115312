"""Retries: what passes is waited for as long as there is time, and never taken for a verdict. Drawn, on a clock of its own."""

from __future__ import annotations

import itertools
import json
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from contextvars import copy_context
from typing import Any
from unittest import mock

import boto3
import botocore.endpoint
import pytest
from botocore.awsrequest import AWSResponse, HeadersDict
from botocore.config import Config
from botocore.exceptions import ClientError, ConnectionClosedError, NoCredentialsError, ParamValidationError
from ecs_release.aws import patience, retries
from ecs_release.aws.patience import Pace, be_patient_for
from ecs_release.aws.retries import ThrottleCount, checked
from ecs_release.aws.trouble import THROTTLING_CODES, trouble
from ecs_release.errors import LockLostError, UnavailableError, UnfinishedError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

CALL_SECONDS = 0.05
LONGEST_PAUSE = 20.0 + 5.0  # the longest pause beside the longest wait for a turn

# How AWS says that it is throttling: https://docs.aws.amazon.com/sdkref/latest/guide/feature-retry-behavior.html
THROTTLED = st.sampled_from(sorted(THROTTLING_CODES))
FAULT = st.sampled_from(
    ["lost", (500, "InternalError"), (503, "ServiceUnavailable"), (400, "ServerException")]
)
VERDICT = st.sampled_from(
    [
        "AccessDeniedException",
        "ClientException",
        "ClusterNotFoundException",
        "InvalidParameterException",
        "LimitExceededException",
        (501, "UnknownOperationException"),
    ]
)
# An operation of every bucket, one without, and of a service whose rates nobody documents; each with arguments that it takes.
OPERATIONS = [
    ("ecs", "describe_services", {"services": ["s"]}),
    ("ecs", "describe_task_definition", {"taskDefinition": "t"}),
    ("ecs", "update_service", {"service": "s"}),
    ("ecs", "deregister_task_definition", {"taskDefinition": "t"}),
    ("ecs", "list_service_deployments", {"service": "s"}),
    ("ecs", "describe_tasks", {"tasks": ["t"]}),
    ("ecs", "describe_service_revisions", {"serviceRevisionArns": ["r"]}),
    ("dynamodb", "get_item", {"TableName": "t", "Key": {"pk": {"S": "x"}}}),
    ("events", "list_targets_by_rule", {"Rule": "r"}),
    ("stepfunctions", "describe_execution", {"executionArn": "e"}),
]


class Clock:
    """Time that goes by only where it is said to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now

    time = monotonic

    def sleep(self, seconds: float) -> None:
        self.now += seconds


class Aws:
    """Clients whose calls are answered from a list; once it is used up, with success.

    Attributes
    ----------
    sent : when each attempt went out.
    """

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.answers: Iterator[Any] = iter(())
        self.sent: list[float] = []
        self.throttles = ThrottleCount()
        self._clients: dict[str, Any] = {}

    def client(self, service: str) -> Any:
        if service not in self._clients:
            client = boto3.client(
                service,
                region_name="eu-west-1",
                aws_access_key_id="x",
                aws_secret_access_key="x",
                config=Config(retries={"mode": "standard", "total_max_attempts": 1}),
            )
            retries.install(client, service)
            self.throttles.watch(client)
            client.meta.events.register("before-send.*", self._answer)
            self._clients[service] = client
        return self._clients[service]

    def _answer(self, request: Any, **_: Any) -> Any:
        self.sent.append(self.clock.now)
        self.clock.sleep(CALL_SECONDS)
        answer = next(self.answers, (200, ""))
        if answer == "lost":
            raise ConnectionClosedError(endpoint_url=request.url)
        status, code = answer if isinstance(answer, tuple) else (400, answer)
        headers: Any = HeadersDict({})
        response: Any = AWSResponse(request.url, status, headers, None)
        response._content = json.dumps({"__type": code, "message": "drawn"} if code else {}).encode()
        return response


@pytest.fixture(scope="module")
def world() -> Iterator[tuple[Clock, Aws]]:
    clock = Clock()
    modules = (retries, patience, botocore.endpoint)
    with ExitStack() as patched:
        for module in modules:
            patched.enter_context(mock.patch.object(module, "time", clock))
        yield clock, Aws(clock)


@contextmanager
def no_context() -> Iterator[None]:
    yield


def play(
    world: tuple[Clock, Aws],
    answers: Sequence[Any],
    seconds: float,
    operation: tuple[str, str, dict[str, Any]],
    around: Callable[[], Any] = no_context,
) -> tuple[Any, int]:
    """Make one call in an invocation that has ``seconds``: what it returned or raised, and how many attempts there were."""
    clock, aws = world
    service, name, arguments = operation
    aws.answers, aws.sent[:] = iter(answers), []
    aws.throttles.take()
    deadline = clock.now + seconds

    def call() -> Any:
        be_patient_for(lambda: deadline - clock.now)
        try:
            with around():
                return getattr(aws.client(service), name)(**arguments)
        except Exception as error:
            return error

    return copy_context().run(call), len(aws.sent)


quick = settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))


@quick
@given(
    troubles=st.lists(THROTTLED | FAULT, max_size=300).filter(
        lambda drawn: sum(not isinstance(one, str) or one == "lost" for one in drawn) < 10
    ),
    operation=st.sampled_from(OPERATIONS),
)
def test_with_time_enough_any_throttle_ends_in_the_answer(
    world: tuple[Clock, Aws], troubles: list[Any], operation: Any
) -> None:
    answer, attempts = play(world, troubles, 1e6, operation)
    assert not isinstance(answer, Exception), answer
    assert attempts == len(troubles) + 1
    assert world[1].throttles.count == sum(isinstance(one, str) and one != "lost" for one in troubles)


@quick
@given(code=THROTTLED, seconds=st.floats(1, 900), operation=st.sampled_from(OPERATIONS))
def test_a_throttle_that_outlasts_the_function_leaves_time_to_say_so(
    world: tuple[Clock, Aws], code: str, seconds: float, operation: Any
) -> None:
    began = world[0].now
    answer, attempts = play(world, [code] * 10_000, seconds, operation)
    left = began + seconds - world[0].now
    assert isinstance(answer, UnfinishedError), answer
    assert attempts >= 1
    assert left > min(20.0, seconds / 10) - 2 * CALL_SECONDS
    assert left < min(20.0, seconds / 10) + LONGEST_PAUSE, "it gave up although there was time"
    assert world[1].throttles.count == attempts


@quick
@given(code=VERDICT, throttled=st.lists(THROTTLED, max_size=5), operation=st.sampled_from(OPERATIONS))
def test_a_refusal_is_a_verdict_at_once(
    world: tuple[Clock, Aws], code: Any, throttled: list[str], operation: Any
) -> None:
    answer, attempts = play(world, [*throttled, code], 900, operation)
    assert isinstance(answer, ClientError)
    assert answer.response["Error"]["Code"] == (code if isinstance(code, str) else code[1])
    assert attempts == len(throttled) + 1


@quick
@given(fault=FAULT, throttled=st.lists(THROTTLED, max_size=30), operation=st.sampled_from(OPERATIONS))
def test_a_fault_that_stays_is_told_as_one_that_may_pass(
    world: tuple[Clock, Aws], fault: Any, throttled: list[str], operation: Any
) -> None:
    answer, attempts = play(world, [*throttled, *[fault] * 100], 900, operation)
    assert isinstance(answer, UnavailableError)
    assert attempts == len(throttled) + 10, "throttles do not use up the attempts at a fault"


def test_what_was_never_sent_does_not_pass() -> None:
    assert trouble(NoCredentialsError()) == ""
    assert trouble(ParamValidationError(report="x")) == ""


@quick
@given(throttled=st.integers(0, 200), lost_after=st.floats(0, 400))
def test_a_write_that_waits_looks_at_the_lock_before_each_attempt(
    world: tuple[Clock, Aws], throttled: int, lost_after: float
) -> None:
    clock = world[0]
    began = clock.now

    def check() -> None:
        if clock.now - began > lost_after:
            raise LockLostError("taken over")

    update = ("ecs", "update_service", {"service": "s"})
    answer, _ = play(world, ["ThrottlingException"] * throttled, 900, update, around=lambda: checked(check))
    # A look may be a second old.
    assert all(sent - began <= lost_after + 1 for sent in world[1].sent)
    assert isinstance(answer, LockLostError) or clock.now - began <= lost_after + 1 + CALL_SECONDS


class Bucket:
    """AWS's side: a token bucket that others drink from, too."""

    def __init__(self, clock: Clock, burst: float, per_second: float) -> None:
        self.clock, self.burst, self.rate = clock, burst, per_second
        self.tokens, self.since = burst, clock.now

    def takes(self) -> bool:
        self.tokens = min(self.burst, self.tokens + (self.clock.now - self.since) * self.rate)
        self.since = self.clock.now
        allowed = self.tokens >= 1
        self.tokens -= allowed
        return allowed


@quick
@given(share=st.floats(0.1, 1.0), empty=st.booleans())
def test_the_pace_uses_up_what_the_account_has_left_and_little_is_asked_in_vain(
    world: tuple[Clock, Aws], share: float, empty: bool
) -> None:
    clock, wanted = world[0], 600
    bucket = Bucket(clock, 50, 20 * share)
    bucket.tokens = 0.0 if empty else 50.0
    pace = Pace(50, 20)
    began, done, throttled = clock.now, 0, 0
    while done < wanted:
        clock.sleep(pace.take())
        if bucket.takes():
            pace.answered()
            done += 1
        else:
            pace.throttled()
            throttled += 1
    at_least = (wanted - 50 * (not empty)) / (20 * share)
    assert clock.now - began < 1.3 * at_least + 10
    assert throttled < wanted / 4 + 10


def test_after_a_storm_the_pace_is_the_documented_one_again(world: tuple[Clock, Aws]) -> None:
    clock = world[0]
    pace = Pace(50, 20)
    for _ in range(100):
        clock.sleep(pace.take())
        pace.throttled()
    began = clock.now
    for _ in range(1200):
        clock.sleep(pace.take())
        pace.answered()
    assert clock.now - began < 1200 / 20 + 60


def test_pauses_are_spread(world: tuple[Clock, Aws]) -> None:
    random.seed(1)
    pauses = [patience.jittered(n, 5.0) for n in itertools.chain.from_iterable([range(1, 40)] * 20)]
    assert min(pauses) < 0.2
    assert max(pauses) <= 5.0
    assert len({round(p, 3) for p in pauses}) > 300


CANCELLED = st.sampled_from(["ThrottlingError", "ProvisionedThroughputExceeded", "TransactionConflict"])


@quick
@given(
    passing=st.lists(st.none() | CANCELLED, min_size=1, max_size=5).filter(any),
    verdict=st.sampled_from(["ConditionalCheckFailed", "ItemCollectionSizeLimitExceeded", "ValidationError"]),
)
def test_a_cancelled_transaction_passes_unless_a_verdict_is_among_its_reasons(
    passing: list[str | None], verdict: str
) -> None:
    def answer(*codes: str | None) -> dict[str, Any]:
        reasons = [{"Code": code or "None"} for code in codes]
        return {"Error": {"Code": "TransactionCanceledException"}, "CancellationReasons": reasons}

    throttled = bool({"ThrottlingError", "ProvisionedThroughputExceeded"} & set(passing))
    assert trouble(answer(*passing)) == ("throttled" if throttled else "fault")
    assert trouble(answer(*passing, verdict)) == ""
    assert trouble(answer()) == ""
