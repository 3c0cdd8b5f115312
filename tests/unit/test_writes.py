"""A write is on record before it is done, so a worker that dies in it leaves no lie behind."""

from __future__ import annotations

import dataclasses
import json
import re
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import ClientError, ReadTimeoutError
from ecs_release.aws import RAW
from ecs_release.aws import _body as raw_body_variable
from ecs_release.errors import ItemError, SupersededError, UnavailableError, UnfinishedError
from ecs_release.repair import repair_command
from ecs_release.retries import ThrottleCount
from ecs_release.steps import work
from ecs_release.steps.report import judge_release
from ecs_release.steps.rollback import put_service_back, put_task_back
from ecs_release.steps.update_service import start_rollout
from ecs_release.steps.update_task import point_at_new_revision
from ecs_release.steps.work import run_batch
from ecs_release.store import ItemRecord, ReleaseRecord
from ecs_release.task_definition import TaskDefinition

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


class WentBack(World):
    """ECS's circuit breaker went back to what was live, under a deployment of its own; or somebody deployed that again."""

    def __init__(self, by_ecs: bool) -> None:
        super().__init__(live="api:1")
        self.number = 3
        self.by_ecs = by_ecs

    def list_service_deployments(self, **_: Any) -> dict[str, Any]:
        return {"serviceDeployments": [{"serviceDeploymentArn": "d", "createdAt": 1}]}

    def describe_service_deployments(self, **_: Any) -> dict[str, Any]:
        rollback = {"rollback": {"serviceRevisionArn": "to api:1", "reason": ""}} if self.by_ecs else {}
        target = "to api:2" if self.by_ecs else "to api:1"
        deployment = {"serviceDeploymentArn": "d", "status": "ROLLBACK_SUCCESSFUL", **rollback}
        return {"serviceDeployments": [{**deployment, "targetServiceRevision": {"arn": target}}]}

    def describe_service_revisions(self, serviceRevisionArns: list[str]) -> dict[str, Any]:
        return {
            "serviceRevisions": [
                {"serviceRevisionArn": arn, "taskDefinition": arn.removeprefix("to ")}
                for arn in serviceRevisionArns
            ]
        }

    def task_definitions(self, _: ItemRecord) -> Any:
        return self

    def describe(self, arn: str) -> Any:
        return TaskDefinition({"taskDefinitionArn": arn, "status": "ACTIVE", "containerDefinitions": []})


def test_what_ecs_went_back_to_is_not_the_last_whole_state_after_a_release_that_was_not_whole() -> None:
    world: Any = WentBack(by_ecs=True)
    left = dataclasses.replace(
        ITEM,
        inherited=True,
        before="api:0",
        started_at=1,
        deployment_id="ecs-svc/2",
        verdict="ROLLED_BACK_BY_ECS",
    )
    assert put_service_back(world, left)["rollback_to"] == "api:0"
    assert world.live == "api:0"


def test_what_somebody_deployed_again_is_theirs() -> None:
    world: Any = WentBack(by_ecs=False)
    left = dataclasses.replace(ITEM, inherited=True, before="api:0", started_at=1, deployment_id="ecs-svc/2")
    with pytest.raises(SupersededError):
        put_service_back(world, left)
    assert world.live == "api:1"


PREFIX = "arn:aws:ecs:eu-west-1:111111111111:task-definition/"
JOB = ItemRecord(
    "r",
    *(0, 0, 1, "task", "nightly", "default", 0, "update", 60, {}),
    rule="nightly",
    base=f"{PREFIX}job:1",
    before=f"{PREFIX}job:1",
    live=f"{PREFIX}job:1",
    after=f"{PREFIX}job:2",
    started_at=1,
)


def recorded(reference: str) -> str:
    return json.dumps([{"Id": "t", "EcsParameters": {"TaskDefinitionArn": reference}}])


class Rule:
    """Worker, store, EventBridge and ECS in one: a rule with one target, and a family with its newest revision.

    Attributes
    ----------
    written : what the target was given, in order.
    """

    def __init__(self, reference: str | None, *, newest: int = 2, copy: int | None = None) -> None:
        ecs = {"EcsParameters": {"TaskDefinitionArn": reference}} if reference else {}
        self.target: dict[str, Any] = {"Id": "t", "Arn": "a", **ecs}
        self.newest, self.copy = newest, copy
        self.store = self.connections = self
        self.written: list[str] = []

    def client(self, *_: Any, **__: Any) -> Rule:
        return self

    def task_definitions(self, _: ItemRecord) -> Rule:
        return self

    def list_targets_by_rule(self, **_: Any) -> Any:
        return {RAW: {"Targets": [self.target]}}

    def put_targets(self, **_: Any) -> dict[str, Any]:
        (target,) = json.loads(raw_body_variable.get() or b"")["Targets"]
        self.written.append(target["EcsParameters"]["TaskDefinitionArn"])
        return {"FailedEntryCount": 0}

    def describe(self, reference: str) -> TaskDefinition:
        family_alone = not re.search(r":\d+$", reference)
        arn = f"{PREFIX}job:{self.newest}" if family_alone else reference
        return TaskDefinition({"taskDefinitionArn": arn, "status": "ACTIVE", "containerDefinitions": []})

    def find_copy(self, *_: Any) -> TaskDefinition | None:
        return self.describe(f"{PREFIX}job:{self.copy}") if self.copy else None

    def mark_unwhole(self, item: ItemRecord, *more: str) -> None:
        pass

    def check_lock(self, release: str, epoch: int) -> None:
        pass

    def update_item(self, item: ItemRecord, changes: dict[str, Any], **_: Any) -> ItemRecord:
        return dataclasses.replace(item, **changes)


def test_a_target_that_became_something_else_is_left_alone_both_ways() -> None:
    rule: Any = Rule(None)
    item = dataclasses.replace(JOB, before_raw=recorded(f"{PREFIX}job:1"), after=None)
    for write in (point_at_new_revision, put_task_back):
        with pytest.raises(SupersededError, match="something that is no ECS task"):
            write(rule, item)
    assert rule.written == []


def test_what_an_earlier_release_left_is_not_what_a_rule_goes_back_to() -> None:
    rule: Any = Rule(f"{PREFIX}job:2")
    left = dataclasses.replace(
        JOB,
        inherited=True,
        live=f"{PREFIX}job:2",
        after=f"{PREFIX}job:3",
        before_raw=recorded(f"{PREFIX}job:2"),
        started_at=None,
    )
    assert put_task_back(rule, left)["rollback_to"] == f"{PREFIX}job:1"
    assert rule.written == [f"{PREFIX}job:1"]
    assert f"{PREFIX}job:1" in repair_command(left, "eu-west-1")


UNPINNED = dataclasses.replace(JOB, pinned=False, before_raw=recorded(f"{PREFIX}job"))


def test_whoever_registers_in_a_family_without_revision_has_deployed() -> None:
    for write in (point_at_new_revision, put_task_back):
        rule: Any = Rule(f"{PREFIX}job", newest=3)
        with pytest.raises(SupersededError, match=r"job:3 was registered meanwhile"):
            write(rule, UNPINNED)
        assert rule.written == []


def test_our_own_revision_is_nobody_elses() -> None:
    rule: Any = Rule(f"{PREFIX}job", newest=2, copy=2)
    assert point_at_new_revision(rule, UNPINNED)["after"] == f"{PREFIX}job:2"
    assert put_task_back(rule, dataclasses.replace(UNPINNED, after=None))["rollback_to"] == f"{PREFIX}job:1"
    assert rule.written == [f"{PREFIX}job:2", f"{PREFIX}job:1"]


def test_a_family_in_which_nothing_was_registered_was_never_written() -> None:
    rule: Any = Rule(f"{PREFIX}job", newest=1)
    assert put_task_back(rule, dataclasses.replace(UNPINNED, after=None)) == {"started_at": None}
    assert rule.written == []


def test_a_failure_that_nobody_expected_costs_the_siblings_nothing() -> None:
    done = []

    def write(_: Any, item: ItemRecord) -> None:
        if item.number == 0:
            raise KeyError("EcsParameters")
        done.append(item.number)

    worker: Any = Batch()
    with pytest.raises(KeyError):
        run_batch(worker, "r", 1, 0, write)
    assert done == [1]


class Batch(World):
    """Two items of one batch."""

    request = "me"

    def __init__(self, seconds: float = 900.0) -> None:
        super().__init__()
        self.throttles = ThrottleCount()
        self.seconds = seconds
        self.added = 0

    def remaining(self) -> float:
        return self.seconds

    def items(self, *_: Any) -> list[ItemRecord]:
        return [ITEM, dataclasses.replace(ITEM, number=1)]

    def add_throttles(self, _: str, count: int) -> None:
        self.added += count

    def worker_begins(self, *_: Any) -> None:
        pass

    worker_ends = worker_begins


def test_a_batch_without_time_for_all_is_gone_on_with_and_its_throttles_are_counted() -> None:
    worker: Any = Batch()

    def write(_: Any, item: ItemRecord) -> None:
        worker.throttles.count += 3
        worker.seconds = 10.0
        raise UnavailableError("a fault of ECS")

    with pytest.raises(UnfinishedError):
        run_batch(worker, "r", 1, 0, write)
    assert worker.added == 3


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_a_throttle_among_other_trouble_is_gone_on_with(order: tuple[int, int]) -> None:
    worker: Any = Batch()
    errors = [UnavailableError("a fault of ECS"), UnfinishedError("throttled")]

    def write(_: Any, item: ItemRecord) -> None:
        raise errors[order[item.number]]

    with pytest.raises(UnfinishedError):
        run_batch(worker, "r", 1, 0, write)


def test_a_registration_goes_out_with_lock_and_claim_in_hand_however_slow_the_table_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A throttled table may answer so late that the claim is over by then, and two workers would register."""
    now = [1000.0]
    clock = SimpleNamespace(time=lambda: now[0], monotonic=lambda: now[0], sleep=lambda s: None)
    monkeypatch.setattr(work, "time", clock)
    slow = [0.0, 40.0, 40.0, 0.0, 5.0, 0.0, 0.0]  # the first is taken when the claim is made
    looks: list[float] = []
    claims: list[int] = []

    class Slow(World):
        request = "me"

        def item(self, item: ItemRecord) -> ItemRecord:  # type: ignore[override]
            return dataclasses.replace(ITEM, after=None, base="api:1")

        def check_lock(self, release: str, epoch: int) -> None:
            now[0] += slow.pop(0) if slow else 0.0
            looks.append(now[0])

        def update_item(self, item: ItemRecord, changes: dict[str, Any], **_: Any) -> ItemRecord:
            if changes.get("claim_until"):
                claims.append(changes["claim_until"])
                now[0] += slow.pop(0) if slow else 0.0
            return dataclasses.replace(item, **changes)

        def task_definitions(self, item: ItemRecord) -> Any:
            return self

        def describe(self, reference: str) -> Any:
            return None

        def register_copy(self, base: Any, images: Any, *, before_attempt: Any) -> Any:
            before_attempt()
            assert now[0] - looks[-1] <= 2
            assert claims[-1] - now[0] >= work.LEASE_SECONDS - 3
            return SimpleNamespace(arn="api:2"), True

    world = Slow()
    world.item = Slow.item.__get__(world)  # type: ignore[method-assign]
    assert work.register(world, dataclasses.replace(ITEM, after=None)).after == "api:2"  # type: ignore[arg-type]
    assert not slow
