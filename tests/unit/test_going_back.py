"""Rollback goes to what ran: the revision itself, or a copy that names the digest; what is gone is not begun."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import chain, product, repeat
from typing import Any

import pytest
from dying import Died
from ecs_release.aws.clients import Target
from ecs_release.aws.raw import RAW
from ecs_release.aws.raw import _body as raw_body_variable
from ecs_release.aws.service_state import ServiceState
from ecs_release.aws.task_definitions import TaskDefinitions
from ecs_release.errors import ItemError, UnavailableError
from ecs_release.manifest import Service
from ecs_release.record.models import Found, ItemRecord
from ecs_release.record.statuses import Status
from ecs_release.settings import Settings
from ecs_release.steps import revisions
from ecs_release.steps.judging import judge_back
from ecs_release.steps.revisions import revision_back
from ecs_release.steps.rollback import put_service_back
from ecs_release.steps.starting import Starting
from ecs_release.steps.turn import Turn

A, B = ("sha256:" + letter * 64 for letter in "ab")
REPOSITORY = "111111111111.dkr.ecr.eu-west-1.amazonaws.com/api"
PREFIX = "arn:aws:ecs:eu-west-1:111111111111:task-definition/api:"
BEFORE, AFTER, COPY = f"{PREFIX}1", f"{PREFIX}2", f"{PREFIX}3"
ITEM = ItemRecord(
    *("r", 0, 0, 1, Service(cluster="c", service="s"), "update", {}),
    before=BEFORE,
    before_digests={"app": A},
    live=BEFORE,
    after=AFTER,
    previous_deployment="ecs-svc/1",
    deployment_id="ecs-svc/2",
    started_at=1,
    verdict="FAILED",
    status="FAILED",
    reason="it crashed",
)


class World:
    """Worker, store, ECS and ECR in one: a service that was released, and a registry that went on.

    Attributes
    ----------
    tag : what the tag of the before-image means now; None where it is gone.
    there : the digests that the registry has.
    listed : whether ECS lists what was registered last, one answer a list: its reads may lag behind its writes.
    remembered : items as they were when they were remembered.
    dies_after : the write after which the worker dies once.
    """

    request = "me"
    settings = Settings("releases", poll_seconds=0, settle_seconds=0)

    def __init__(self, tag: str | None = A, there: frozenset[str] = frozenset({A, B})) -> None:
        self.tag, self.there = tag, there
        self.targets = {"default": Target("default", "111111111111", "eu-west-1", "arn:write", "arn:read")}
        self.item = ITEM
        self.live, self.number = AFTER, 2
        self.remembered: list[ItemRecord] = []
        self.dies_after: str | None = None
        self.refuses = False
        self.runs_now = A
        self.listed: Iterator[bool] = repeat(True)
        self.definitions: dict[str, dict[str, Any]] = {
            BEFORE: self.revision(1, f"{REPOSITORY}:stable"),
            AFTER: self.revision(2, f"{REPOSITORY}:2"),
        }
        self.tags: dict[str, list[Any]] = {}
        self.store = self.connections = self

    @staticmethod
    def revision(number: int, image: str) -> dict[str, Any]:
        return {
            "taskDefinitionArn": f"{PREFIX}{number}",
            "family": "api",
            "revision": number,
            "status": "ACTIVE",
            "containerDefinitions": [{"name": "app", "image": image}],
        }

    # --- worker and store

    def client(self, *_: Any, **__: Any) -> World:
        return self

    def task_definitions(self, _: Any) -> TaskDefinitions:
        return TaskDefinitions(self, "default")  # type: ignore[arg-type]

    def update_item(self, item: ItemRecord, changes: dict[str, Any], **_: Any) -> ItemRecord:
        self.item = dataclasses.replace(item, **changes)
        return self.item

    def remember(self, item: ItemRecord, *_: str) -> None:
        self.remembered.append(item)

    def take_up(self, *_: Any) -> Found:
        return Found.FREE

    def check_lock(self, *_: Any) -> None: ...

    def wait_for_turn(self, *_: Any) -> None: ...

    # --- ECS and ECR

    def describe_services(self, **_: Any) -> dict[str, Any]:
        deployment = {
            "id": f"ecs-svc/{self.number}",
            "status": "PRIMARY",
            "taskDefinition": self.live,
            "rolloutState": "COMPLETED",
            "createdAt": datetime.now(UTC),
        }
        service = {"serviceName": "s", "status": "ACTIVE", "desiredCount": 1, "taskDefinition": self.live}
        return {
            "services": [
                {**service, "deployments": [deployment], "currentServiceRevisions": [{"arn": "revision"}]}
            ]
        }

    def update_service(self, taskDefinition: str, **_: Any) -> Any:
        self.live, self.number = taskDefinition, self.number + 1
        return {"service": self.describe_services()["services"][0]}

    def describe_service_revisions(self, **_: Any) -> Any:
        images = [{"containerName": "app", "imageDigest": self.runs_now}]
        revision = {"serviceRevisionArn": "revision", "taskDefinition": self.live, "containerImages": images}
        return {"serviceRevisions": [revision]}

    def describe_task_definition(self, taskDefinition: str, **_: Any) -> Any:
        tags = self.tags.get(taskDefinition, [])
        return {RAW: {"taskDefinition": self.definitions[taskDefinition], "tags": tags}}

    def get_paginator(self, _: str) -> World:
        return self

    def paginate(self, **_: Any) -> Any:
        found = sorted(self.definitions, reverse=True)
        return [{"taskDefinitionArns": found if next(self.listed) else found[1:]}]

    def register_task_definition(self, **_: Any) -> Any:
        sent = raw_body_variable.get()
        assert sent is not None
        body = dict(sent) if not isinstance(sent, bytes | str) else json.loads(sent)
        number = len(self.definitions) + 1
        arn = f"{PREFIX}{number}"
        self.tags[arn] = body.pop("tags")
        self.definitions[arn] = {**body, "taskDefinitionArn": arn, "revision": number, "status": "ACTIVE"}
        if self.dies_after == "register":
            self.dies_after = None
            raise Died
        return {"taskDefinition": self.definitions[arn]}

    def batch_get_image(self, imageIds: list[dict[str, str]], **_: Any) -> Any:
        if self.refuses:
            raise UnavailableError("no answer")
        images, failures = [], []
        for asked in imageIds:
            digest = asked.get("imageDigest") or {"stable": self.tag}.get(asked["imageTag"])
            if digest is None or digest not in self.there:
                failures.append({"imageId": asked, "failureCode": "ImageNotFound"})
            else:
                images.append({"imageId": {**asked, "imageDigest": digest}, "imageManifest": "{}"})
        return {"images": images, "failures": failures}

    def describe_pull_through_cache_rules(self, **_: Any) -> Any:
        return {"pullThroughCacheRules": []}


def go_back(world: World) -> dict[str, Any]:
    worker: Any = world
    result = put_service_back(Turn(worker, world.item))
    world.item = dataclasses.replace(world.item, **result)
    return result


def image_of(world: World, arn: str) -> str:
    return str(world.definitions[arn]["containerDefinitions"][0]["image"])


def test_a_tag_that_means_what_ran_goes_back_to_the_revision_itself() -> None:
    world = World()
    assert go_back(world)["rollback_to"] == BEFORE
    assert (world.live, len(world.definitions)) == (BEFORE, 2)
    assert world.item.rollback_unproven is False


@pytest.mark.parametrize("tag", [B, None])
def test_a_moved_tag_goes_back_to_a_copy_by_digest_that_is_known_as_ours(tag: str | None) -> None:
    world = World(tag)
    result = go_back(world)
    assert world.live == result["rollback_to"] == COPY
    assert image_of(world, COPY) == f"{REPOSITORY}@{A}"
    assert [item.rollback_to for item in world.remembered] == [COPY]
    assert world.item.rollback_registered is True
    assert result["reason"].startswith("it crashed; ")
    assert "names the digest that ran" in result["reason"]


def test_a_worker_that_dies_after_registering_leaves_one_copy_and_finds_it() -> None:
    world = World(B)
    world.dies_after = "register"
    with pytest.raises(Died):
        go_back(world)
    assert world.live == AFTER
    assert go_back(world)["rollback_to"] == COPY
    assert sorted(world.definitions) == [BEFORE, AFTER, COPY]
    assert world.item.rollback_registered is True


@pytest.mark.parametrize("listed", list(product([True, False], repeat=3)))
@pytest.mark.parametrize(("status", "tag"), [("INACTIVE", A), ("INACTIVE", B), ("ACTIVE", B)])
@pytest.mark.parametrize("by_hand", [True, False])
def test_two_items_that_need_one_copy_share_it_however_the_lists_lag(
    monkeypatch: pytest.MonkeyPatch, listed: tuple[bool, ...], status: str, tag: str, by_hand: bool
) -> None:
    world = World(tag)
    world.definitions[BEFORE]["status"] = status
    turn: Any = Turn(world, world.item)  # type: ignore[arg-type]

    def back() -> str:
        return revisions.ensure_active(turn, BEFORE) if by_hand else revision_back(turn, BEFORE).arn

    first = back()
    world.listed = chain(listed, repeat(True))

    def settle(_: float) -> None:
        world.listed = repeat(True)

    monkeypatch.setattr(revisions.time, "sleep", settle)
    turn.item = ITEM
    assert back() == first
    assert len(world.definitions) == (2 if first == BEFORE else 3)


def test_what_an_earlier_attempt_decided_stays_also_when_nobody_can_be_asked_any_more() -> None:
    world = World(B)
    go_back(world)
    world.live, world.number, world.refuses = AFTER, 9, True
    world.item = dataclasses.replace(world.item, rollback_started_at=None, deployment_id="ecs-svc/9")
    result = go_back(world)
    assert result["rollback_to"] == COPY
    assert len(world.definitions) == 3
    assert "names the digest that ran" in result["reason"]


@pytest.mark.parametrize(
    ("tag", "there", "says"),
    [(B, {B}, f"means {B} by now, and {A}, which ran, is gone"), (None, set(), "is gone from ECR")],
)
def test_what_is_gone_is_not_begun(tag: str | None, there: set[str], says: str) -> None:
    world = World(tag, frozenset(there))
    with pytest.raises(ItemError, match="not put back") as failed:
        go_back(world)
    assert says in str(failed.value)
    assert "ecs-release repair" in str(failed.value)
    assert (world.live, len(world.definitions)) == (AFTER, 2)


@pytest.mark.parametrize(("tag", "expected"), [(A, BEFORE), (B, COPY)])
def test_what_ecs_went_back_to_itself_is_taken_where_it_means_what_ran(tag: str, expected: str) -> None:
    world = World(tag)
    world.live, world.number = BEFORE, 3
    go_back(world)
    assert world.live == expected
    assert world.number == (3 if expected == BEFORE else 4)


def judged(world: World) -> Any:
    (body,) = world.describe_services()["services"]
    worker: Any = world
    item = dataclasses.replace(world.item, rollback_started_at=1)
    return judge_back(worker, item, {("default", "c", "s"): ServiceState(body)}, Starting(worker), 2.0)


@pytest.mark.parametrize(("runs", "status"), [(A, Status.SUCCEEDED), (B, Status.FAILED)])
def test_where_nobody_could_be_asked_ecs_says_what_runs_then(runs: str, status: Status) -> None:
    world = World(B)
    world.refuses, world.runs_now = True, runs
    assert go_back(world)["rollback_to"] == BEFORE
    assert world.item.rollback_unproven is True
    verdict = judged(world)
    assert verdict.status is status
    if runs == B:
        assert A in verdict.reason
        assert B in verdict.reason


def test_what_a_registry_answered_for_needs_no_more_proof() -> None:
    world = World()
    go_back(world)
    world.runs_now = B
    assert judged(world).status is Status.SUCCEEDED
