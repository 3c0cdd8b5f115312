"""A Deploy action that fails before a release began is told of once; a release that began tells of itself."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import ClientError
from dying import Died, die
from ecs_release.errors import NotDueError
from ecs_release.record.models import ReleaseRecord
from ecs_release.record.store import Store
from ecs_release.settings import Settings
from ecs_release.steps import not_started, report

STARTED = datetime(2026, 1, 1, 12, tzinfo=UTC)
PIPELINE_EXECUTION = "6ba7b810-9dad-11d1-80b4-00c04fd430c8"
RELEASE = "r1"
EXECUTION = f"arn:aws:states:eu-west-1:111111111111:execution:unit-release:{RELEASE}"
SETTINGS = Settings("releases", topic_arn="arn:aws:sns:eu-west-1:111111111111:unit", name="unit")
EVENT = {
    "source": "aws.codepipeline",
    "detail": {"pipeline": "unit", "stage": "Deploy", "execution-id": PIPELINE_EXECUTION},
}
REFUSED: dict[str, Any] = {
    "errorDetails": {
        "code": "JobFailed",
        "message": "User is not authorized to perform: states:StartExecution",
    }
}


def run(
    result: Mapping[str, Any] = {}, started: datetime = STARTED, status: str = "Failed", stage: str = "Deploy"
) -> Any:
    return {
        "actionExecutionId": f"{stage} at {started}",
        "stageName": stage,
        "startTime": started,
        "status": status,
        "output": {"executionResult": result},
    }


class Account:
    """What CodePipeline and Step Functions answer, and what the topic was sent."""

    def __init__(
        self,
        *runs: Any,
        executions: tuple[str, ...] = (),
        fails: str | None = None,
        publish: Callable[[], None] = lambda: None,
    ) -> None:
        self.runs, self.executions, self.fails, self.publishing = list(runs), executions, fails, publish
        self.published: list[dict[str, Any]] = []
        self.asked: list[dict[str, Any]] = []

    def client(self, service: str) -> Any:
        clients: dict[str, Callable[[], Any]] = {
            "codepipeline": lambda: SimpleNamespace(
                meta=SimpleNamespace(region_name="eu-west-1"),
                get_paginator=lambda _: SimpleNamespace(paginate=self.actions),
            ),
            "stepfunctions": lambda: SimpleNamespace(describe_execution=self.describe),
            "sns": lambda: SimpleNamespace(publish=self.publish),
        }
        return clients[service]()

    def publish(self, **asked: Any) -> None:
        self.publishing()
        self.published.append(asked)

    def actions(self, **asked: Any) -> list[Any]:
        self.asked.append(asked)
        return [{"actionExecutionDetails": [run]} for run in self.runs]  # a page for each

    def describe(self, executionArn: str) -> dict[str, Any]:
        if self.fails:
            raise ClientError({"Error": {"Code": self.fails}}, "DescribeExecution")
        if executionArn not in self.executions:
            raise ClientError({"Error": {"Code": "ExecutionDoesNotExist"}}, "DescribeExecution")
        return {"status": "FAILED"}


def tell(monkeypatch: pytest.MonkeyPatch, store: Store, account: Account) -> list[dict[str, Any]]:
    for module in (not_started, report):
        monkeypatch.setattr(module, "own_client", account.client)
    report.report_failed_deploy(SETTINGS, store, EVENT)
    return account.published


def record(store: Store, started: datetime, pipeline_execution: str = PIPELINE_EXECUTION) -> None:
    release = f"r{started:%d%H%M%S}"
    found = ReleaseRecord(
        release, f"{EXECUTION[:-2]}{release}", 1, started.isoformat(timespec="milliseconds")
    )
    store.put_release(dataclasses.replace(found, source={"pipelineExecutionId": pipeline_execution}))


@pytest.mark.parametrize(
    ("result", "reason"),
    [
        (REFUSED, "User is not authorized to perform: states:StartExecution"),
        ({"externalExecutionSummary": "no such file"}, "no such file"),
        ({"errorDetails": {"code": "PermissionError"}}, "PermissionError"),
        ({}, "AWS gives no reason"),
        # AWS may name an execution that it could not start, or anything else.
        ({**REFUSED, "externalExecutionId": EXECUTION}, "states:StartExecution"),
        ({**REFUSED, "externalExecutionId": "1f2e"}, "states:StartExecution"),
    ],
)
def test_a_release_that_could_not_begin_is_told_of(
    store: Store, monkeypatch: pytest.MonkeyPatch, result: dict[str, Any], reason: str
) -> None:
    account = Account(run(result))
    (message,) = tell(monkeypatch, store, account)
    assert account.asked == [{"pipelineName": "unit", "filter": {"pipelineExecutionId": PIPELINE_EXECUTION}}]
    assert message["Subject"].startswith("[unit] NOT STARTED")
    assert len(message["Subject"]) <= 100
    assert reason in message["Message"]
    assert f"pipelineExecutionId={PIPELINE_EXECUTION}" in message["Message"]


def test_a_release_that_began_tells_of_itself_by_its_execution(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    account = Account(run({"externalExecutionId": EXECUTION}), executions=(EXECUTION,))
    assert tell(monkeypatch, store, account) == []


@pytest.mark.parametrize(
    "after", [timedelta(0), timedelta(seconds=1), timedelta(hours=3), -timedelta(seconds=2)]
)
def test_a_release_that_began_tells_of_itself_by_its_record(
    store: Store, monkeypatch: pytest.MonkeyPatch, after: timedelta
) -> None:
    record(store, STARTED - timedelta(days=1), "another")
    record(store, STARTED + after)
    record(store, STARTED + after + timedelta(days=1), "another")
    assert tell(monkeypatch, store, Account(run(REFUSED))) == []


def test_a_stage_that_was_tried_again_and_could_not_start_is_told_of(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first attempt's release has the same pipeline execution, and ended an hour before."""
    record(store, STARTED - timedelta(hours=1))
    earlier = run({"externalExecutionId": EXECUTION}, STARTED - timedelta(hours=1))
    account = Account(run(REFUSED), earlier, run(stage="Build"), executions=(EXECUTION,))
    assert len(tell(monkeypatch, store, account)) == 1


@pytest.mark.parametrize(
    "runs",
    [
        [],
        [run(status="InProgress")],
        [run(status="Succeeded")],
        [run(stage="Build")],
        [run(started=STARTED - timedelta(hours=1)), run(status="InProgress")],
    ],
)
def test_what_codepipeline_does_not_show_is_not_told(
    store: Store, monkeypatch: pytest.MonkeyPatch, runs: list[Any]
) -> None:
    """Whoever may invoke the function can send it any event, and CodePipeline may lag behind its own."""
    account = Account(*runs)
    with pytest.raises(NotDueError, match="nothing was told"):
        tell(monkeypatch, store, account)
    assert account.published == []


def test_when_step_functions_does_not_answer_the_event_is_tried_again(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    account = Account(run({"externalExecutionId": EXECUTION}), fails="InternalServerError")
    with pytest.raises(ClientError):
        tell(monkeypatch, store, account)
    assert account.published == []


def test_an_event_that_comes_again_is_told_once(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """EventBridge delivers at least once: https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-service-event-delivery-level.html"""
    account = Account(run(REFUSED))
    for _ in range(3):
        assert len(tell(monkeypatch, store, account)) == 1

    account.runs.append(
        run(REFUSED, STARTED + timedelta(hours=1))
    )  # the stage was tried again, and failed again
    for _ in range(2):
        assert len(tell(monkeypatch, store, account)) == 2


def test_an_event_that_comes_twice_at_a_time_is_told_once(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def meanwhile() -> None:
        with pytest.raises(NotDueError, match="another invocation tells"):
            report.report_failed_deploy(SETTINGS, store, EVENT)

    account = Account(run(REFUSED), publish=meanwhile)
    assert len(tell(monkeypatch, store, account)) == 1
    assert len(tell(monkeypatch, store, account)) == 1  # which Lambda tries again a minute later


def test_what_an_invocation_that_died_did_not_tell_is_told_by_the_next_one(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    account = Account(run(REFUSED), publish=die)
    with pytest.raises(Died):
        tell(monkeypatch, store, account)
    account.publishing = lambda: None
    with pytest.raises(NotDueError):  # it may still be at it
        tell(monkeypatch, store, account)
    now = time.time() + report._TELLING_SECONDS + 2
    monkeypatch.setattr(time, "time", lambda: now)
    assert len(tell(monkeypatch, store, account)) == 1


def test_a_topic_that_was_not_reached_is_no_notice(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise ClientError({"Error": {"Code": "InternalError"}}, "Publish")

    account = Account(run(REFUSED), publish=fail)
    assert tell(monkeypatch, store, account) == []
    account.publishing = lambda: None
    now = time.time() + report._TELLING_SECONDS + 2
    monkeypatch.setattr(time, "time", lambda: now)
    assert len(tell(monkeypatch, store, account)) == 1
