"""Which deployment an attempt started that died or lost the answer, when somebody has deployed the same revision since."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Any

import pytest
from botocore.exceptions import ClientError, ReadTimeoutError
from ecs_release.errors import ItemError
from ecs_release.manifest import Service
from ecs_release.record.models import ItemRecord
from ecs_release.settings import Settings
from ecs_release.steps import turn as turns
from ecs_release.steps.turn import Turn
from ecs_release.steps.update_service import start_rollout

PREFIX = "arn:aws:ecs:eu-west-1:111111111111:"
BEFORE, AFTER = f"{PREFIX}task-definition/api:1", f"{PREFIX}task-definition/api:2"
OTHER = f"{PREFIX}task-definition/api:9"
FOUND = "70"
ITEM = ItemRecord(
    *("r", 0, 0, 1, Service(cluster="c", service="s"), "update", {}),
    live=BEFORE,
    before=BEFORE,
    after=AFTER,
    previous_deployment=f"ecs-svc/{FOUND}",
)


def refusal(code: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": "no"}}, "ListServiceDeployments")


class Ecs:
    """Worker, store and ECS in one.

    Attributes
    ----------
    history : service deployments as (number, what it deploys, status, seconds since the release began), oldest first; the last
        one's deployment is PRIMARY. One that is "not listed" is the way back that ECS went by itself, or does not show yet.
    meanwhile : what happens at the next UpdateService, after it was done and before anybody hears of it.
    trouble : what ListServiceDeployments answers instead.
    odd : whether it answers something that AWS documents nowhere.
    prefix : of the numbers of service revisions; not empty: they are others than those of deployments.
    """

    request = "me"
    settings = Settings("releases", poll_seconds=0, settle_seconds=0)

    def __init__(self, *history: tuple[str, str, str, int]) -> None:
        self.history, self.began = list(history), datetime.now(UTC)
        self.odd = False
        self.prefix = ""
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
        number, runs = self.history[-1][:2]
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
            self.history.append((str(int(self.history[-1][0]) + 1), taskDefinition, "IN_PROGRESS", 0))
        if self.meanwhile is not None:
            meanwhile, self.meanwhile = self.meanwhile, None
            meanwhile()
            raise ReadTimeoutError(endpoint_url="ecs")
        return {"service": self.describe_services()["services"][0]}

    def list_service_deployments(self, createdAt: dict[str, datetime], **_: Any) -> dict[str, Any]:
        if self.trouble is not None:
            raise self.trouble
        if self.odd:
            return {"serviceDeployments": [{"serviceDeploymentArn": "8"}]}
        created = [
            (number, status, self.began + timedelta(seconds=at)) for number, _, status, at in self.history
        ]
        return {
            "serviceDeployments": [
                {"serviceDeploymentArn": number, "createdAt": at}
                for number, status, at in created
                if status != "not listed" and at >= createdAt["after"]
            ]
        }

    def describe_service_deployments(self, serviceDeploymentArns: list[str]) -> dict[str, Any]:
        return {
            "serviceDeployments": [
                {
                    "serviceDeploymentArn": number,
                    "status": status,
                    "targetServiceRevision": {"arn": f"{PREFIX}service-revision/c/s/{self.prefix}{number}"},
                }
                for number, _, status, _ in self.history
                if number in serviceDeploymentArns
            ]
        }

    def describe_service_revisions(self, serviceRevisionArns: list[str]) -> dict[str, Any]:
        runs = {f"{self.prefix}{number}": arn for number, arn, _, _ in self.history}
        return {
            "serviceRevisions": [
                {"serviceRevisionArn": arn, "taskDefinition": runs[arn.rpartition("/")[2]]}
                for arn in serviceRevisionArns
            ]
        }


# What was there when the release began, perhaps the same revision at an earlier time. What it found is no service deployment of its
# own where ECS went back to it. AWS's clock may be some seconds behind ours.
OLD = [(str(n), AFTER if n % 2 else BEFORE, "SUCCESSFUL", n - 90_000) for n in range(40, 69)]
EARLIER = [
    [(FOUND, BEFORE, "SUCCESSFUL", -3600)],
    [(FOUND, BEFORE, "SUCCESSFUL", -1)],
    [("69", AFTER, "SUCCESSFUL", -3600), (FOUND, BEFORE, "SUCCESSFUL", -60)],
    [("69", AFTER, "SUCCESSFUL", -3), (FOUND, BEFORE, "SUCCESSFUL", -1)],
    [("69", AFTER, "STOPPED", -3), (FOUND, BEFORE, "IN_PROGRESS", -1)],
    [("69", AFTER, "ROLLBACK_SUCCESSFUL", -600), (FOUND, BEFORE, "not listed", -60)],
    [*OLD, ("69", AFTER, "SUCCESSFUL", -4), (FOUND, BEFORE, "SUCCESSFUL", -1)],
]
SINCE = [
    [],
    [("72", AFTER, "IN_PROGRESS", 1)],
    [("72", AFTER, "STOPPED", 1), ("73", AFTER, "SUCCESSFUL", 2)],
]
CASES = list(product(EARLIER, SINCE))


def begun(world: Any) -> Turn:
    """The turn of a worker that takes over from one that has set out."""
    return Turn(world, dataclasses.replace(ITEM, started_at=int(world.began.timestamp())))


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns.time, "sleep", lambda _: None)


@pytest.mark.parametrize("status", ["PENDING", "IN_PROGRESS", "SUCCESSFUL", "STOPPED", "ROLLBACK_SUCCESSFUL"])
@pytest.mark.parametrize(("earlier", "since"), CASES)
def test_a_worker_that_died_has_started_the_first_one_after_what_was_found(
    earlier: list[Any], since: list[Any], status: str
) -> None:
    world: Any = Ecs(*earlier, ("71", AFTER, status, 0), *since)
    started = start_rollout(begun(world))
    assert started["deployment_id"] == "ecs-svc/71"
    assert started["started_at"] >= int(world.began.timestamp())


@pytest.mark.parametrize(("earlier", "since"), CASES)
def test_so_has_an_attempt_whose_answer_was_lost(earlier: list[Any], since: list[Any]) -> None:
    world: Any = Ecs(*earlier)
    world.meanwhile = lambda: world.history.extend(since)
    assert start_rollout(Turn(world, ITEM))["deployment_id"] == "ecs-svc/71"


@pytest.mark.parametrize("earlier", EARLIER)
def test_what_somebody_deployed_after_an_attempt_whose_answer_was_lost_stays(earlier: list[Any]) -> None:
    world: Any = Ecs(*earlier)
    world.meanwhile = lambda: world.history.append(("72", OTHER, "IN_PROGRESS", 1))
    with pytest.raises(ItemError, match=r"an earlier attempt started is over, and .*api:9 was deployed"):
        start_rollout(Turn(world, ITEM))
    assert world.history[-1][1] == OTHER


@pytest.mark.parametrize(("earlier", "since"), CASES)
def test_without_an_attempt_what_is_live_counts(earlier: list[Any], since: list[Any]) -> None:
    """Somebody made the very revision live before this release wrote; what ran weeks ago proves nothing."""
    world: Any = Ecs(*OLD, *earlier, ("71", AFTER, "IN_PROGRESS", 0), *since)
    assert start_rollout(Turn(world, ITEM))["deployment_id"] == f"ecs-svc/{world.history[-1][0]}"


def denied(world: Any) -> None:
    world.trouble = refusal("AccessDeniedException")


def odd(world: Any) -> None:
    world.odd = True


def other_numbers(world: Any) -> None:
    world.prefix = "9"


@pytest.mark.parametrize("tells", [denied, odd, other_numbers])
@pytest.mark.parametrize(("earlier", "since"), CASES)
def test_where_ecs_can_not_tell_what_is_live_counts(
    earlier: list[Any], since: list[Any], tells: Callable[[Any], None]
) -> None:
    world: Any = Ecs(*earlier, ("71", AFTER, "SUCCESSFUL", 0), *since)
    tells(world)
    assert start_rollout(begun(world))["deployment_id"] == f"ecs-svc/{world.history[-1][0]}"


def test_where_it_can_not_tell_at_the_moment_another_attempt_has_to() -> None:
    world: Any = Ecs(*EARLIER[0], ("71", AFTER, "SUCCESSFUL", 0), ("72", AFTER, "SUCCESSFUL", 1))
    world.trouble = refusal("ThrottlingException")
    with pytest.raises(ClientError, match="Throttling"):
        start_rollout(begun(world))


@pytest.mark.parametrize("earlier", EARLIER)
def test_what_is_not_listed_yet_counts_where_it_is_live(earlier: list[Any]) -> None:
    world: Any = Ecs(*earlier, ("71", AFTER, "not listed", 0))
    assert start_rollout(begun(world))["deployment_id"] == "ecs-svc/71"
