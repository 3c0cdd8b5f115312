"""What a rollout that does not get on waits for: ECS's events, a pause, and how long a release can wait."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ecs_release.aws.service_state import ServiceState
from ecs_release.manifest.keys import LONGEST_MINUTES
from ecs_release.record.models import ReleaseRecord, in_utc
from ecs_release.record.statuses import Status
from ecs_release.rollout.events import MOST_EVENTS, trouble_since
from ecs_release.settings import Settings
from ecs_release.steps import check_rollouts, judging
from test_odd_answers import ODD, Aws, Worker, record
from wire import wired

NOW = datetime.now(UTC)
NO_ROOM = "was unable to place a task because no container instance met all of its requirements."


def events(*messages: str, ago: int = 10) -> list[dict[str, Any]]:
    """Newest first, as ECS has them; a message each second."""
    return [
        {"id": str(n), "createdAt": NOW - timedelta(seconds=ago + n), "message": f"(service api) {message}"}
        for n, message in enumerate(messages)
    ]


def said(found: list[dict[str, Any]], since: datetime = NOW - timedelta(minutes=5)) -> list[str]:
    return trouble_since(ServiceState({"events": found}), since)


@pytest.mark.parametrize(
    "message",
    [
        NO_ROOM,
        "was unable to place a task. Reason: You've reached the limit on the number of vCPUs you can run concurrently.",
        "failed to launch a task with (error ECS was unable to assume the role 'arn:aws:iam::1:role/x').",
        "(port 80) is unhealthy in (target-group tg) due to (reason Health checks failed).",
        "(deployment ecs-svc/2) deployment failed: tasks failed to start.",
        "is unable to place a task in eu-west-1a because no container instance met all of its requirements.",
    ],
)
def test_what_keeps_tasks_from_starting_is_quoted(message: str) -> None:
    assert said(events("has started 1 tasks: (task 0123).", message)) == [message]


@pytest.mark.parametrize(
    "message",
    [
        "has reached a steady state.",
        "has started 2 tasks: (task 1) (task 2).",
        "has stopped 1 running tasks: (task 1).",
        "registered 1 targets in (target-group tg)",
        "deregistered 1 targets in (target-group tg)",
        "has begun draining connections on 1 tasks.",
        "(deployment ecs-svc/2) deployment completed.",
        # https://docs.aws.amazon.com/AmazonECS/latest/developerguide/service-rebalancing-event-messages-list.html
        "is AZ balanced with 1 tasks in eu-west-1a and 1 tasks in eu-west-1b.",
        "is not AZ balanced with 2 tasks in eu-west-1a, 0 in eu-west-1b. AZ Rebalancing in progress.",
    ],
)
def test_what_gets_on_is_not(message: str) -> None:
    assert said(events(message)) == []


def test_events_of_earlier_deployments_are_not_quoted() -> None:
    assert said(events(NO_ROOM, ago=600)) == []
    assert said(events(NO_ROOM, ago=600), NOW - timedelta(hours=1)) == [NO_ROOM]


def test_what_is_quoted_is_bounded_and_says_each_trouble_once() -> None:
    many = [f"(task {n:032x}) failed to start" for n in range(60)] + [
        f"trouble {n}\n\x1b[31m{'x' * 999}" for n in range(60)
    ]
    found = said(events(*many))
    assert len(found) == MOST_EVENTS
    assert found[0] == "(task ...) failed to start"
    assert all(len(line) <= 300 and line.isprintable() for line in found)


def waiting(monkeypatch: pytest.MonkeyPatch, aws: Aws, *, since: int, reason: str = "") -> Any:
    worker: Any = Worker(wired(monkeypatch, aws.answers()))
    worker.writes = []
    store = SimpleNamespace(
        update_item=lambda item, changes, **_: (
            worker.writes.append(changes) or Worker.update_item(worker, item, changes)
        ),
        settle_item=Worker(None).update_item,
    )
    worker.store = store
    (judged,) = judging.judge_all(
        worker, [record(ODD, started_at=int(time.time()) - since, reason=reason)], time.time()
    )
    return judged, worker.writes


def stuck(state: str = "IN_PROGRESS") -> Aws:
    aws = Aws()
    created = time.time() - 120
    aws.services[ODD]["deployments"][0] |= {"rolloutState": state, "createdAt": created}
    aws.services[ODD]["events"] = [
        {"id": "2", "createdAt": created + 60, "message": f"(service {ODD}) {NO_ROOM}"},
        {
            "id": "1",
            "createdAt": created - 60,
            "message": f"(service {ODD}) failed in an earlier deployment.",
        },
    ]
    aws.history["ListTasks"] = {"taskArns": []}
    return aws


def test_a_rollout_that_waits_says_what_for_once(monkeypatch: pytest.MonkeyPatch) -> None:
    judged, writes = waiting(monkeypatch, stuck(), since=100)
    assert (judged.verdict, judged.reason) == ("UPDATED", f"ECS says: {NO_ROOM}")
    assert writes == [{"reason": judged.reason}]
    again, writes = waiting(monkeypatch, stuck(), since=115, reason=judged.reason)
    assert (again.reason, writes) == (judged.reason, [])


@pytest.mark.parametrize(("state", "verdict"), [("IN_PROGRESS", Status.TIMED_OUT), ("FAILED", Status.FAILED)])
def test_a_stuck_rollout_s_reason_quotes_ecs(
    monkeypatch: pytest.MonkeyPatch, state: str, verdict: str
) -> None:
    aws = stuck(state)
    aws.services[ODD]["deploymentConfiguration"] |= {
        "deploymentCircuitBreaker": {"enable": True, "rollback": False}
    }
    judged, _ = waiting(monkeypatch, aws, since=3600)
    assert judged.verdict == verdict
    assert judged.reason.endswith(f"; ECS says: {NO_ROOM}")
    assert "earlier deployment" not in judged.reason


@pytest.mark.parametrize("overdue", [False, True])
def test_a_pause_is_named_with_how_to_continue_it(monkeypatch: pytest.MonkeyPatch, *, overdue: bool) -> None:
    aws = stuck()
    aws.services[ODD]["deploymentConfiguration"]["strategy"] = "BLUE_GREEN"
    (deployment,) = aws.history["DescribeServiceDeployments"]["serviceDeployments"]
    hook = {"hookId": "ecs-pause-1", "targetType": "PAUSE", "status": "AWAITING_ACTION"}
    deployment |= {
        "status": "IN_PROGRESS",
        "lifecycleStage": "POST_TEST_TRAFFIC_SHIFT",
        "lifecycleHookDetails": [{"targetType": "AWS_LAMBDA", "status": "SUCCEEDED"}, hook],
    }
    judged, _ = waiting(monkeypatch, aws, since=3600 if overdue else 100)
    assert judged.verdict == ("TIMED_OUT" if overdue else "UPDATED")
    assert "ECS has paused it at POST_TEST_TRAFFIC_SHIFT" in judged.reason
    assert "--service-deployment-arn sd/2 --hook-id ecs-pause-1 --action CONTINUE" in judged.reason


@pytest.mark.parametrize("poll", [1, 15, 60])
def test_seven_days_of_looking_fit_into_an_execution_s_history(poll: int) -> None:
    """https://docs.aws.amazon.com/step-functions/latest/dg/service-quotas.html#service-limits-state-machine-executions"""
    worker: Any = SimpleNamespace(settings=Settings("releases", poll_seconds=poll))
    begun, age, looks = time.time(), 0.0, 0
    release = ReleaseRecord("r", "arn", 1, in_utc(datetime.fromtimestamp(begun, UTC)))
    while age < 7 * 86400:
        age += check_rollouts._pause(worker, release, begun + age)
        looks += 1
    # A Wait, a Task with a function, a Choice: 2 + 5 + 2.
    assert looks * 9 < 20_000
    assert check_rollouts._pause(worker, release, begun + 6 * 86400) <= 600


def test_the_longest_deadline_and_the_way_back_fit_into_the_machine() -> None:
    machine = json.loads(
        (Path(__file__).parents[2] / "statemachine" / "release.asl.json").read_text(encoding="utf-8")
    )
    assert machine["TimeoutSeconds"] >= 2 * LONGEST_MINUTES * 60 + 2 * 3600
