"""Which deployment is the one that an attempt started and could not say so, when somebody has deployed the same revision since."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Any

import pytest
from botocore.exceptions import ClientError, ReadTimeoutError
from ecs_release.manifest import Service
from ecs_release.record.models import ItemRecord
from ecs_release.settings import Settings
from ecs_release.steps import turn as turns
from ecs_release.steps.turn import Turn
from ecs_release.steps.update_service import start_rollout

PREFIX = "arn:aws:ecs:eu-west-1:111111111111:"
BEFORE, AFTER = f"{PREFIX}task-definition/api:1", f"{PREFIX}task-definition/api:2"
FOUND = "7"
ITEM = ItemRecord(
    *("r", 0, 0, 1, Service(cluster="c", service="s"), "update", {}),
    live=BEFORE,
    before=BEFORE,
    after=AFTER,
    previous_deployment=f"ecs-svc/{FOUND}",
)
BEGUN = dataclasses.replace(ITEM, started_at=int(time.time()))


def refusal(code: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": "no"}}, "ListServiceDeployments")


class Ecs:
    """Worker, store and ECS in one.

    Attributes
    ----------
    history : service deployments as (number, what it deploys, status), oldest first; the last one's deployment is PRIMARY.
    meanwhile : what happens at the next UpdateService, after it was done and before anybody hears of it.
    trouble : what ListServiceDeployments answers instead.
    """

    request = "me"
    settings = Settings("releases", poll_seconds=0, settle_seconds=0)

    def __init__(self, *history: tuple[str, str, str]) -> None:
        self.history = list(history)
        self.meanwhile: Callable[[], None] | None = None
        self.trouble: ClientError | None = None
        self.store = self.connections = self

    def client(self, *_: Any, **__: Any) -> Ecs:
        return self

    def update_item(self, item: ItemRecord, changes: dict[str, Any], **_: Any) -> ItemRecord:
        return dataclasses.replace(item, **changes)

    def remember(self, *_: Any) -> None: ...

    def check_lock(self, *_: Any) -> None: ...

    def wait_for_turn(self, *_: Any) -> None: ...

    def describe_services(self, **_: Any) -> dict[str, Any]:
        number, runs, _ = self.history[-1]
        primary = {
            "id": f"ecs-svc/{number}",
            "status": "PRIMARY",
            "taskDefinition": runs,
            "createdAt": datetime.now(UTC),
        }
        service = {"serviceName": "s", "status": "ACTIVE", "desiredCount": 1, "taskDefinition": runs}
        return {"services": [{**service, "deployments": [primary]}]}

    def update_service(self, taskDefinition: str, **_: Any) -> dict[str, Any]:
        if self.history[-1][1] != taskDefinition:
            self.history.append(("8", taskDefinition, "IN_PROGRESS"))
        if self.meanwhile is not None:
            meanwhile, self.meanwhile = self.meanwhile, None
            meanwhile()
            raise ReadTimeoutError(endpoint_url="ecs")
        return {"service": self.describe_services()["services"][0]}

    def list_service_deployments(self, **_: Any) -> dict[str, Any]:
        if self.trouble is not None:
            raise self.trouble
        begun = datetime.now(UTC)
        return {
            "serviceDeployments": [
                {"serviceDeploymentArn": number, "createdAt": begun + timedelta(seconds=place)}
                for place, (number, _, status) in enumerate(self.history)
                if status != "not listed"
            ]
        }

    def describe_service_deployments(self, serviceDeploymentArns: list[str]) -> dict[str, Any]:
        return {
            "serviceDeployments": [
                {
                    "serviceDeploymentArn": number,
                    "status": status,
                    "targetServiceRevision": {"arn": f"{PREFIX}service-revision/c/s/{number}"},
                }
                for number, _, status in self.history
                if number in serviceDeploymentArns
            ]
        }

    def describe_service_revisions(self, serviceRevisionArns: list[str]) -> dict[str, Any]:
        runs = {number: arn for number, arn, _ in self.history}
        return {
            "serviceRevisions": [
                {"serviceRevisionArn": arn, "taskDefinition": runs[arn.rpartition("/")[2]]}
                for arn in serviceRevisionArns
            ]
        }


# What was there right before the release: the same revision at an earlier time, and then what the release found. That is no service
# deployment of its own where ECS went back to it, and is not listed where it is older than the release.
EARLIER = [
    [(FOUND, BEFORE, "not listed")],
    [(FOUND, BEFORE, "SUCCESSFUL")],
    [("6", AFTER, "SUCCESSFUL"), (FOUND, BEFORE, "SUCCESSFUL")],
    [("6", AFTER, "STOPPED"), (FOUND, BEFORE, "IN_PROGRESS")],
    [("6", AFTER, "ROLLBACK_SUCCESSFUL"), (FOUND, BEFORE, "not listed")],
    [("5", AFTER, "SUCCESSFUL"), ("6", AFTER, "SUCCESSFUL"), (FOUND, BEFORE, "SUCCESSFUL")],
]
SINCE = [
    [],
    [("9", AFTER, "IN_PROGRESS")],
    [("9", AFTER, "STOPPED"), ("10", AFTER, "SUCCESSFUL")],
    [("9", AFTER, "ROLLBACK_SUCCESSFUL"), ("10", AFTER, "SUCCESSFUL")],
]


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns.time, "sleep", lambda _: None)


@pytest.mark.parametrize("status", ["PENDING", "IN_PROGRESS", "SUCCESSFUL", "STOPPED"])
@pytest.mark.parametrize(("earlier", "since"), list(product(EARLIER, SINCE)))
def test_a_worker_that_died_has_started_the_first_one_after_what_was_found(
    earlier: list[Any], since: list[Any], status: str
) -> None:
    world: Any = Ecs(*earlier, ("8", AFTER, status), *since)
    started = start_rollout(Turn(world, BEGUN))
    assert started["deployment_id"] == "ecs-svc/8"
    assert started["started_at"] >= BEGUN.started_at


# One that ECS went back from is taken for ours by an attempt that comes again: tests/unit/test_writes.py.
@pytest.mark.parametrize(
    ("earlier", "since"),
    [
        case
        for case in product(EARLIER, SINCE)
        if not any(status.startswith("ROLLBACK_") for part in case for _, _, status in part)
    ],
)
def test_so_has_an_attempt_whose_answer_was_lost(earlier: list[Any], since: list[Any]) -> None:
    world: Any = Ecs(*earlier)
    world.meanwhile = lambda: world.history.extend(since)
    assert start_rollout(Turn(world, ITEM))["deployment_id"] == "ecs-svc/8"


def test_where_the_history_may_not_be_read_what_is_live_counts() -> None:
    world: Any = Ecs(*EARLIER[0], ("8", AFTER, "SUCCESSFUL"), ("9", AFTER, "SUCCESSFUL"))
    world.trouble = refusal("AccessDeniedException")
    assert start_rollout(Turn(world, BEGUN))["deployment_id"] == "ecs-svc/9"


def test_where_it_can_not_be_read_at_the_moment_another_attempt_has_to() -> None:
    world: Any = Ecs(*EARLIER[0], ("8", AFTER, "SUCCESSFUL"), ("9", AFTER, "SUCCESSFUL"))
    world.trouble = refusal("ThrottlingException")
    with pytest.raises(ClientError, match="Throttling"):
        start_rollout(Turn(world, BEGUN))


@pytest.mark.parametrize("earlier", EARLIER)
def test_where_it_is_not_listed_yet_what_is_live_counts(earlier: list[Any]) -> None:
    world: Any = Ecs(*earlier, ("8", AFTER, "not listed"))
    assert start_rollout(Turn(world, BEGUN))["deployment_id"] == "ecs-svc/8"
