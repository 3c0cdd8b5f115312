"""A write is on record before it is done, so a worker that dies in it leaves no lie behind."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime
from typing import Any

import pytest
from botocore.exceptions import ClientError, ReadTimeoutError
from ecs_release.errors import ItemError
from ecs_release.steps.report import judge_release
from ecs_release.steps.rollback import put_service_back
from ecs_release.steps.update_service import start_rollout
from ecs_release.store import ItemRecord, ReleaseRecord

ITEM = ItemRecord(
    "r",
    0,
    0,
    1,
    "service",
    "c/s",
    "default",
    0,
    "update",
    60,
    {},
    cluster="c",
    service="s",
    before="api:1",
    live="api:1",
    after="api:2",
    previous_deployment="ecs-svc/1",
)


class World:
    """Worker, store, connections and ECS in one: a service on a task definition, and what was recorded of its item."""

    def __init__(self, *, live: str = "api:1", fails: Exception | None = None, applied: bool = False) -> None:
        self.live, self.number = live, 1
        self.fails, self.applied = fails, applied
        self.item = ITEM
        self.at_write: ItemRecord | None = None
        self.store = self.connections = self

    def client(self, *_: Any, **__: Any) -> World:
        return self

    def mark_unwhole(self, item: ItemRecord, *more: str) -> None:
        pass

    def check_lock(self, release: str, epoch: int) -> None:
        pass

    def update_item(self, item: ItemRecord, changes: dict[str, Any]) -> ItemRecord:
        self.item = dataclasses.replace(self.item, **changes)
        return self.item

    def describe_services(self, **_: Any) -> dict[str, Any]:
        primary = {
            "id": f"ecs-svc/{self.number}",
            "status": "PRIMARY",
            "taskDefinition": self.live,
            "createdAt": datetime.now(UTC),
        }
        return {
            "services": [
                {
                    "serviceName": "s",
                    "status": "ACTIVE",
                    "taskDefinition": self.live,
                    "deployments": [primary],
                }
            ]
        }

    def update_service(self, **asked: Any) -> dict[str, Any]:
        self.at_write = self.item
        if self.fails is None or self.applied:
            self.live, self.number = asked["taskDefinition"], self.number + 1
        if self.fails is not None:
            raise self.fails
        return {"service": self.describe_services()["services"][0]}


def test_a_rollout_is_on_record_before_it_is_started() -> None:
    world: Any = World()
    assert start_rollout(world, ITEM)["deployment_id"] == "ecs-svc/2"
    assert world.at_write.started_at is not None


def test_a_refused_rollout_has_not_touched_the_service() -> None:
    refusal = ClientError({"Error": {"Code": "AccessDeniedException", "Message": "no"}}, "UpdateService")
    world: Any = World(fails=refusal)
    with pytest.raises(ItemError):
        start_rollout(world, ITEM)
    assert world.item.started_at is None


def test_a_lost_answer_leaves_the_service_touched() -> None:
    world: Any = World(fails=ReadTimeoutError(endpoint_url="ecs"), applied=True)
    with pytest.raises(ReadTimeoutError):
        start_rollout(world, ITEM)
    assert world.item.started_at is not None


def test_a_release_that_put_back_what_another_left_was_not_refused() -> None:
    refused = dataclasses.replace(ITEM, verdict="FAILED", status="FAILED")
    back = dataclasses.replace(ITEM, inherited=True, before="api:0", verdict="PREPARED", status="ROLLED_BACK")
    release = ReleaseRecord("r", "arn", 1, "2026-01-01T00:00:00.000Z")
    assert (
        judge_release(release, [refused, dataclasses.replace(back, rollback_started_at=1)]) == "ROLLED_BACK"
    )
    assert judge_release(release, [refused]) == "REJECTED"


@pytest.mark.parametrize("before", ["api:1", "api:0"])
def test_a_write_that_never_arrived_is_taken_off_the_record(before: str) -> None:
    world: Any = World()
    item = dataclasses.replace(ITEM, started_at=1, before=before)
    assert put_service_back(world, item) == {"started_at": None}
    assert put_service_back(world, dataclasses.replace(item, started_at=None)) == {}


def test_a_copy_that_an_earlier_attempt_went_back_to_is_ours() -> None:
    world: Any = World(live="api:3")
    world.number = 3
    item = dataclasses.replace(ITEM, started_at=1, deployment_id="ecs-svc/2", rollback_to="api:3")
    assert put_service_back(world, item)["rollback_deployment"] == "ecs-svc/3"
