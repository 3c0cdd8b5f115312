"""A Deploy action that fails before a release began is told of once; a release that began tells of itself."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import ClientError
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
        "stageName": stage,
        "startTime": started,
        "status": status,
        "output": {"executionResult": result},
    }


class Account:
    """What CodePipeline and Step Functions answer, and what the topic was sent."""

    def __init__(self, *runs: Any, executions: tuple[str, ...] = (), fails: str | None = None) -> None:
        self.runs, self.executions, self.fails = list(runs), executions, fails
        self.published: list[dict[str, Any]] = []
        self.asked: list[dict[str, Any]] = []

    def client(self, service: str) -> Any:
        clients: dict[str, Callable[[], Any]] = {
            "codepipeline": lambda: SimpleNamespace(
                meta=SimpleNamespace(region_name="eu-west-1"),
                get_paginator=lambda _: SimpleNamespace(paginate=self.actions),
            ),
            "stepfunctions": lambda: SimpleNamespace(describe_execution=self.describe),
            "sns": lambda: SimpleNamespace(publish=lambda **asked: self.published.append(asked)),
        }
        return clients[service]()

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
