"""What CheckRollouts takes for proof of a scheduled task, and what for a passing failure."""

from __future__ import annotations

import dataclasses
import time
from typing import Any

import pytest
from botocore.exceptions import ClientError
from ecs_release.errors import TargetUnreachableError
from ecs_release.rollout import Judgement, Rollout, Status
from ecs_release.service import ServiceState
from ecs_release.steps import check_rollouts
from ecs_release.store import ItemRecord

PREFIX = "arn:aws:ecs:eu-west-1:111111111111:task-definition/"


def item(**members: Any) -> ItemRecord:
    return dataclasses.replace(
        ItemRecord("r", 0, 0, 1, "task", "nightly", "default", 0, "unchanged", 60, {}), **members
    )


@pytest.mark.parametrize(
    ("reference", "pinned", "meant"),
    [
        (f"{PREFIX}job:2", True, True),
        ("job:2", True, True),
        (f"{PREFIX}job:1", True, False),
        (f"{PREFIX}other:2", True, False),
        (f"{PREFIX}job", True, False),
        (f"{PREFIX}job", False, True),
        (None, True, False),
    ],
)
def test_an_unchanged_task_runs_what_was_live_also_where_back_means_an_earlier_release(
    reference: str | None, pinned: bool, meant: bool
) -> None:
    inherited = item(
        live=f"{PREFIX}job:2",
        pinned=pinned,
        inherited=True,
        before=f"{PREFIX}job:1",
        before_raw=f'[{{"Id":"t","EcsParameters":{{"TaskDefinitionArn":"{PREFIX}job:1"}}}}]',
    )
    assert check_rollouts.runs_as_meant(inherited, reference) is meant


def test_a_changed_task_runs_the_very_revision_that_was_set() -> None:
    changed = item(action="update", live=f"{PREFIX}job:2", after=f"{PREFIX}job:3")
    assert check_rollouts.runs_as_meant(changed, f"{PREFIX}job:3")
    assert not check_rollouts.runs_as_meant(changed, f"{PREFIX}job:2")


class Worker:
    """A worker whose every call fails."""

    def __init__(self, error: Exception) -> None:
        self.error = error
        self.connections = self

    def client(self, *_: Any, **__: Any) -> Any:
        raise self.error


DENIED = ClientError({"Error": {"Code": "AccessDeniedException", "Message": "no"}}, "ListTasks")


@pytest.mark.parametrize("error", [DENIED, TargetUnreachableError("no role")])
@pytest.mark.parametrize(("age", "status"), [(10, None), (3600, Status.TIMED_OUT)])
def test_what_cannot_be_read_is_no_verdict_before_the_deadline(
    error: Exception, age: int, status: Status | None
) -> None:
    worker: Any = Worker(error)
    now = time.time()
    task = item(rule="nightly", started_at=int(now - age))
    assert check_rollouts._judge_task(worker, task, now).status is status
    service = item(kind="service", cluster="c", service="s", action="update")
    rollout = Rollout("ecs-svc/2", f"{PREFIX}job:3", age, 3600)
    without_state = ServiceState(
        {"status": "ACTIVE", "desiredCount": 1, "deployments": [{"id": "ecs-svc/2", "status": "PRIMARY"}]}
    )
    assert check_rollouts._judge(worker, service, rollout, without_state).status is status


def test_a_verdict_stands_where_stopped_tasks_cannot_be_read() -> None:
    worker: Any = Worker(DENIED)
    failed = {
        "id": "ecs-svc/2",
        "status": "PRIMARY",
        "rolloutState": "FAILED",
        "rolloutStateReason": "tasks failed to start",
    }
    state = ServiceState({"status": "ACTIVE", "desiredCount": 1, "deployments": [failed]})
    rollout = Rollout("ecs-svc/2", f"{PREFIX}job:3", 10, 3600)
    verdict = check_rollouts._judge(worker, item(kind="service", cluster="c", service="s"), rollout, state)
    assert verdict == Judgement(Status.FAILED, "tasks failed to start")
