"""A write is on record before it is done, so a worker that dies in it leaves no lie behind."""

from __future__ import annotations

import dataclasses
import json
import re
import time
from contextvars import copy_context
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import ClientError, ReadTimeoutError
from ecs_release import manifest
from ecs_release.aws import patience
from ecs_release.aws.raw import RAW
from ecs_release.aws.raw import _body as raw_body_variable
from ecs_release.aws.retries import ThrottleCount
from ecs_release.aws.task_definitions import TaskDefinition, TaskDefinitions
from ecs_release.errors import (
    ItemError,
    RecordChangedError,
    RefusedError,
    SupersededError,
    UnavailableError,
    UnfinishedError,
)
from ecs_release.manifest import Service
from ecs_release.record.models import Found, ItemRecord, ReleaseRecord
from ecs_release.report.repair import repair_command
from ecs_release.rollout.release import judge_release, touched
from ecs_release.settings import Settings
from ecs_release.steps import turn as turns
from ecs_release.steps import update_task
from ecs_release.steps.batch import run_batch
from ecs_release.steps.revisions import register
from ecs_release.steps.rollback import put_service_back, put_task_back
from ecs_release.steps.turn import LEASE_SECONDS, NO_CLAIM, Turn
from ecs_release.steps.update_service import start_rollout
from ecs_release.steps.update_task import point_at_new_revision

ITEM = ItemRecord(
    "r",
    0,
    0,
    1,
    Service(cluster="c", service="s"),
    "update",
    {},
    before="api:1",
    live="api:1",
    after="api:2",
    previous_deployment="ecs-svc/1",
)


class Fake:
    """What a worker is beside the AWS that it sees."""

    request = "me"
    settings = Settings("releases", poll_seconds=0, settle_seconds=0)

    def remember(self, item: ItemRecord, *more: str) -> None:
        pass

    def check_lock(self, release: str, epoch: int) -> None:
        pass

    def wait_for_turn(self, *_: Any) -> None:
        pass


class World(Fake):
    """Worker, store, connections and ECS in one: a service on a task definition, and what was recorded of its item."""

    def __init__(self, *, live: str = "api:1", fails: Exception | None = None, applied: bool = False) -> None:
        self.live, self.number = live, 1
        self.fails, self.applied = fails, applied
        self.item = ITEM
        self.at_write: ItemRecord | None = None
        self.started: list[str] = []
        self.status = "IN_PROGRESS"  # of what was started
        self.looks_at_history = 0
        self.store = self.connections = self

    def client(self, *_: Any, **__: Any) -> World:
        return self

    def update_item(self, item: ItemRecord, changes: dict[str, Any], **_: Any) -> ItemRecord:
        self.item = dataclasses.replace(item, **changes)
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
                    "desiredCount": 1,
                    "taskDefinition": self.live,
                    "deployments": [primary],
                }
            ]
        }

    def update_service(self, **asked: Any) -> dict[str, Any]:
        self.at_write = self.item
        if self.fails is None or self.applied:
            self.live, self.number = asked["taskDefinition"], self.number + 1
            self.started.append(self.live)
        if self.fails is not None:
            raise self.fails
        return {"service": self.describe_services()["services"][0]}

    def list_service_deployments(self, **_: Any) -> dict[str, Any]:
        self.looks_at_history += 1
        return {
            "serviceDeployments": [
                {"serviceDeploymentArn": runs, "createdAt": number}
                for number, runs in enumerate(self.started)
            ]
        }

    def describe_service_deployments(self, serviceDeploymentArns: list[str]) -> dict[str, Any]:
        return {
            "serviceDeployments": [
                {
                    "serviceDeploymentArn": runs,
                    "status": self.status,
                    "targetServiceRevision": {"arn": f"to {runs}"},
                }
                for runs in serviceDeploymentArns
            ]
        }

    def describe_service_revisions(self, serviceRevisionArns: list[str]) -> dict[str, Any]:
        return {
            "serviceRevisions": [
                {"serviceRevisionArn": arn, "taskDefinition": arn.removeprefix("to ")}
                for arn in serviceRevisionArns
            ]
        }


def test_a_rollout_is_on_record_before_it_is_started() -> None:
    world: Any = World()
    assert start_rollout(Turn(world, ITEM))["deployment_id"] == "ecs-svc/2"
    assert world.at_write.started_at is not None


def test_a_refused_rollout_has_not_touched_the_service() -> None:
    refusal = ClientError({"Error": {"Code": "AccessDeniedException", "Message": "no"}}, "UpdateService")
    world: Any = World(fails=refusal)
    with pytest.raises(ItemError):
        start_rollout(Turn(world, ITEM))
    assert world.item.started_at is None


def test_a_lost_answer_leaves_the_service_touched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "_WRITE_SECONDS", 0)
    world: Any = World(fails=ReadTimeoutError(endpoint_url="ecs"), applied=True)
    with pytest.raises(ReadTimeoutError):
        start_rollout(Turn(world, ITEM))
    assert world.item.started_at is not None


# A call that may have been applied: no answer came, or one about a fault of the service
# (https://docs.aws.amazon.com/AmazonECS/latest/APIReference/CommonErrors.html).
FAULTS = [
    ReadTimeoutError(endpoint_url="ecs"),
    ClientError(
        {"Error": {"Code": "InternalFailure"}, "ResponseMetadata": {"HTTPStatusCode": 500}}, "UpdateService"
    ),
    ClientError({"Error": {"Code": "ServerException"}}, "UpdateService"),
    ClientError(
        {"Error": {"Code": "ServiceUnavailable"}, "ResponseMetadata": {"HTTPStatusCode": 503}},
        "UpdateService",
    ),
]


@pytest.mark.parametrize("fault", FAULTS, ids=str)
def test_whoever_has_the_item_next_waits_until_what_may_have_been_applied_shows(
    monkeypatch: pytest.MonkeyPatch, fault: Exception
) -> None:
    monkeypatch.setattr(turns, "_WRITE_SECONDS", 0)
    world: Any = World(fails=fault, applied=True)
    turn = Turn(world, ITEM)
    with pytest.raises(type(fault)):
        start_rollout(turn)
    assert world.item.started_at is not None
    assert turn.release() == {}, "the claim is given up while the write may not show yet"


@pytest.mark.parametrize("fault", FAULTS, ids=str)
@pytest.mark.parametrize("applied", [1, 2, 0])
def test_a_registration_that_may_have_been_made_is_not_made_twice(fault: Exception, applied: int) -> None:
    """A revision that was made shows in lists five seconds later; ``applied`` is the attempt that made it, 0: each does."""
    now = [1000.0]

    def sleep(seconds: float) -> None:
        now[0] += seconds

    base = {"taskDefinitionArn": f"{PREFIX}api:1", "family": "api", "revision": 1, "status": "ACTIVE"}
    base["containerDefinitions"] = [{"name": "api", "image": "api:1"}]
    made: list[tuple[float, dict[str, Any]]] = []
    attempts: list[float] = []

    class Ecs:
        meta: Any = SimpleNamespace(service_model=SimpleNamespace(protocol="json"))

        def get_paginator(self, _: str) -> Any:
            shown = [body["taskDefinitionArn"] for since, body in made if now[0] - since > 5]
            return SimpleNamespace(
                paginate=lambda **_: [{"taskDefinitionArns": [*reversed(shown), base["taskDefinitionArn"]]}]
            )

        def describe_task_definition(self, taskDefinition: str, include: list[str]) -> Any:
            (body,) = [body for _, body in made if body["taskDefinitionArn"] == taskDefinition]
            return {RAW: {"taskDefinition": body, "tags": body["tags"]}}

        def register_task_definition(self, **_: Any) -> Any:
            attempts.append(now[0])
            if applied in (0, len(attempts)):
                body = json.loads(raw_body_variable.get() or "{}")
                arn = f"{PREFIX}api:{len(made) + 2}"
                made.append((now[0], {**base, **body, "taskDefinitionArn": arn, "revision": len(made) + 2}))
            if len(attempts) <= 2:
                raise fault
            return {"taskDefinition": made[-1][1]}

    ecs = Ecs()
    definitions = TaskDefinitions(
        SimpleNamespace(client=lambda *_, **__: ecs),  # type: ignore[arg-type]
        "default",
        sleep=sleep,
        clock=lambda: now[0],
    )
    copy, ours = definitions.register_copy(
        TaskDefinition(base, ()), {"api": "api:2"}, before_attempt=lambda: None
    )
    assert ours
    assert len(made) == 1, "two revisions of one content"
    assert copy.arn == made[0][1]["taskDefinitionArn"]


@pytest.mark.parametrize("throttles", [1, 300])
def test_a_throttled_write_was_not_applied_and_goes_out_with_lock_and_claim_each_time(
    monkeypatch: pytest.MonkeyPatch, throttles: int
) -> None:
    """However long it is throttled: a refusal after that has not touched the service."""
    now = [1000.0]

    def sleep(seconds: float) -> None:
        now[0] += seconds

    clock = SimpleNamespace(time=lambda: now[0], monotonic=lambda: now[0], sleep=sleep)
    monkeypatch.setattr(turns, "time", clock)
    monkeypatch.setattr(patience, "time", clock)
    looks: list[float] = []

    class Throttled(World):
        def check_lock(self, release: str, epoch: int) -> None:
            looks.append(now[0])

        def update_service(self, **asked: Any) -> dict[str, Any]:
            assert looks[-1] == now[0]
            assert (self.item.claim_by, self.item.claim_until) == ("me", int(now[0]) + LEASE_SECONDS)
            code = "ThrottlingException" if len(looks) <= throttles else "AccessDeniedException"
            self.fails = ClientError({"Error": {"Code": code}}, "UpdateService")
            return super().update_service(**asked)

    world: Any = Throttled()
    turn = Turn(world, ITEM)
    with pytest.raises(RefusedError):
        start_rollout(turn)
    assert len(looks) == throttles + 1
    assert world.looks_at_history == 0, "nothing was applied that could have been given up"
    assert world.item.started_at is None
    assert turn.release() == NO_CLAIM


def test_a_write_that_is_throttled_until_the_time_is_up_is_gone_on_with(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = [1000.0]

    def sleep(seconds: float) -> None:
        now[0] += seconds

    clock = SimpleNamespace(time=lambda: now[0], monotonic=lambda: now[0], sleep=sleep)
    monkeypatch.setattr(turns, "time", clock)
    monkeypatch.setattr(patience, "time", clock)
    throttle = ClientError({"Error": {"Code": "ThrottlingException"}}, "UpdateService")
    world: Any = World(fails=throttle)
    turn = Turn(world, ITEM)

    def run() -> None:
        patience.be_patient_for(lambda: 1900.0 - now[0])
        start_rollout(turn)

    with pytest.raises(UnfinishedError):
        copy_context().run(run)
    assert 1900.0 - 40 < now[0] < 1900.0
    assert turn.release() == NO_CLAIM, "nothing is on its way: the next invocation need not wait"


@pytest.mark.parametrize("remembered", [True, False])
@pytest.mark.parametrize("before", [ReadTimeoutError(endpoint_url="ecs"), "an earlier worker"])
def test_a_refusal_after_an_attempt_that_may_have_been_applied_proves_nothing(
    monkeypatch: pytest.MonkeyPatch, before: Any, remembered: bool
) -> None:
    """Deleted between two attempts: the second one is refused, and the first one may have started a rollout.

    Whether ECS then still lists its deployments or not
    (https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_ListServiceDeployments.html, ServiceNotFoundException).
    """
    monkeypatch.setattr(patience.time, "sleep", lambda _: None)
    answers = [before] if isinstance(before, Exception) else []

    class Deleted(World):
        def update_service(self, **asked: Any) -> dict[str, Any]:
            self.fails = (
                answers.pop()
                if answers
                else ClientError({"Error": {"Code": "ServiceNotFoundException"}}, "UpdateService")
            )
            return super().update_service(**asked)

        def list_service_deployments(self, **asked: Any) -> dict[str, Any]:
            if not remembered:
                raise ClientError({"Error": {"Code": "ServiceNotFoundException"}}, "ListServiceDeployments")
            return super().list_service_deployments(**asked)

    world: Any = Deleted()
    item = ITEM if answers else dataclasses.replace(ITEM, started_at=1)
    with pytest.raises(ItemError):
        start_rollout(Turn(world, item))
    assert world.item.started_at is not None


@pytest.mark.parametrize("status", ["ROLLBACK_REQUESTED", "ROLLBACK_IN_PROGRESS", "ROLLBACK_SUCCESSFUL"])
@pytest.mark.parametrize("answered", ["lost", "worker died"])
def test_what_ecs_has_given_up_is_not_started_a_second_time(
    monkeypatch: pytest.MonkeyPatch, status: str, answered: str
) -> None:
    """ECS went back to the very deployment that was found: the service looks as if nothing had been written."""
    monkeypatch.setattr(patience.time, "sleep", lambda _: None)

    class GivenUp(World):
        def update_service(self, **asked: Any) -> dict[str, Any]:
            try:
                return super().update_service(**asked)
            finally:
                self.live, self.number, self.status = "api:1", 1, status

    world: Any = GivenUp(fails=ReadTimeoutError(endpoint_url="ecs"), applied=True)
    item = ITEM
    if answered == "worker died":
        item = dataclasses.replace(ITEM, started_at=int(time.time()))
        world.started, world.status = ["api:2"], status
    with pytest.raises(ItemError, match="ECS went back from it"):
        start_rollout(Turn(world, item))
    assert world.started == ["api:2"]


def test_a_worker_waits_for_another_one_and_starts_over_from_what_that_one_did(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    held = dataclasses.replace(ITEM, claim_by="another", claim_until=int(time.time()) + 60)
    done = dataclasses.replace(ITEM, verdict="UPDATED", deployment_id="ecs-svc/2")

    class Shared(World):
        def item_now(self, _: ItemRecord) -> ItemRecord:
            return done

    world: Any = Shared()
    world.store = SimpleNamespace(item=world.item_now, update_item=world.update_item)
    monkeypatch.setattr(turns.time, "sleep", lambda _: None)
    turn = Turn(world, held)
    with pytest.raises(RecordChangedError):
        turn.claim()
    assert turn.item == done
    assert world.at_write is None


def test_entries_that_eventbridge_keeps_refusing_may_have_been_written(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(patience.time, "sleep", lambda _: None)
    kept: list[ItemRecord] = []

    class Failing(Rule):
        def put_targets(self, **asked: Any) -> dict[str, Any]:
            super().put_targets(**asked)
            return {"FailedEntryCount": 1, "FailedEntries": [{"TargetId": "t", "ErrorCode": "Internal"}]}

        def update_item(self, item: ItemRecord, changes: dict[str, Any], **_: Any) -> ItemRecord:
            kept.append(super().update_item(item, changes))
            return kept[-1]

    rule: Any = Failing(f"{PREFIX}job:1")
    item = dataclasses.replace(JOB, before_raw=recorded(f"{PREFIX}job:1"), started_at=None)
    with pytest.raises(ItemError, match="did not take targets"):
        point_at_new_revision(Turn(rule, item))
    assert len(rule.written) == 5
    assert touched(kept[-1])


def test_a_release_that_put_back_what_another_left_was_not_refused() -> None:
    refused = dataclasses.replace(ITEM, verdict="FAILED", status="FAILED")
    back = dataclasses.replace(ITEM, inherited=True, before="api:0", verdict="PREPARED", status="ROLLED_BACK")
    release = ReleaseRecord("r", "arn", 1, "2026-01-01T00:00:00.000Z")
    assert (
        judge_release(release, [refused, dataclasses.replace(back, rollback_started_at=1)]) == "ROLLED_BACK"
    )
    assert judge_release(release, [refused]) == "REJECTED"
    assert judge_release(dataclasses.replace(release, begun_at=1), [refused]) == "FAILED"


@pytest.mark.parametrize("before", ["api:1", "api:0"])
def test_a_write_that_never_arrived_is_taken_off_the_record(before: str) -> None:
    world: Any = World()
    item = dataclasses.replace(ITEM, started_at=1, before=before)
    assert put_service_back(Turn(world, item)) == {"started_at": None}
    assert put_service_back(Turn(world, dataclasses.replace(item, started_at=None))) == {}


def test_a_copy_that_an_earlier_attempt_went_back_to_is_ours() -> None:
    world: Any = World(live="api:3")
    world.number = 3
    item = dataclasses.replace(ITEM, started_at=1, deployment_id="ecs-svc/2", rollback_to="api:3")
    assert put_service_back(Turn(world, item))["rollback_deployment"] == "ecs-svc/3"


class WentBack(World):
    """ECS's circuit breaker went back to what was live, under a deployment of its own; or somebody deployed that again."""

    def __init__(self, by_ecs: bool) -> None:
        super().__init__(live="api:1")
        self.number = 3
        self.by_ecs = by_ecs

    def list_service_deployments(self, **_: Any) -> dict[str, Any]:
        return {"serviceDeployments": [{"serviceDeploymentArn": "d", "createdAt": 1}]}

    def describe_service_deployments(self, serviceDeploymentArns: list[str]) -> dict[str, Any]:
        rollback = {"rollback": {"serviceRevisionArn": "to api:1", "reason": ""}} if self.by_ecs else {}
        target = "to api:2" if self.by_ecs else "to api:1"
        deployment = {"serviceDeploymentArn": "d", "status": "ROLLBACK_SUCCESSFUL", **rollback}
        return {"serviceDeployments": [{**deployment, "targetServiceRevision": {"arn": target}}]}

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
    assert put_service_back(Turn(world, left))["rollback_to"] == "api:0"
    assert world.live == "api:0"


def test_what_somebody_deployed_again_is_theirs() -> None:
    world: Any = WentBack(by_ecs=False)
    left = dataclasses.replace(ITEM, inherited=True, before="api:0", started_at=1, deployment_id="ecs-svc/2")
    with pytest.raises(SupersededError):
        put_service_back(Turn(world, left))
    assert world.live == "api:1"


PREFIX = "arn:aws:ecs:eu-west-1:111111111111:task-definition/"
JOB = ItemRecord(
    "r",
    *(0, 0, 1, manifest.Rule(rule="nightly"), "update", {}),
    base=f"{PREFIX}job:1",
    before=f"{PREFIX}job:1",
    live=f"{PREFIX}job:1",
    after=f"{PREFIX}job:2",
    started_at=1,
)


def recorded(reference: str) -> str:
    return json.dumps([{"Id": "t", "EcsParameters": {"TaskDefinitionArn": reference}}])


class Rule(Fake):
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

    def take_up(self, *_: Any) -> Found:
        return Found.FREE

    def update_item(self, item: ItemRecord, changes: dict[str, Any], **_: Any) -> ItemRecord:
        return dataclasses.replace(item, **changes)


class Bridge(Rule):
    """EventBridge that does not take the target ``times`` times."""

    def __init__(self, code: str, times: int) -> None:
        super().__init__(f"{PREFIX}job:1")
        self.code, self.times = code, times

    def put_targets(self, **asked: Any) -> dict[str, Any]:
        super().put_targets(**asked)
        if len(self.written) > self.times:
            return {"FailedEntryCount": 0}
        return {"FailedEntryCount": 1, "FailedEntries": [{"TargetId": "t", "ErrorCode": self.code}]}


def write(bridge: Any) -> None:
    targets = [bridge.target]
    update_task.write_task_definition(
        Turn(bridge, JOB), targets, f"{PREFIX}job:2", look_again=lambda _: targets
    )


def test_throttled_entries_are_sent_again_for_as_long_as_it_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience.time, "sleep", lambda _: None)
    bridge: Any = Bridge("ThrottlingException", 40)
    write(bridge)
    assert len(bridge.written) == 41


def test_entries_that_keep_failing_otherwise_are_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience.time, "sleep", lambda _: None)
    bridge: Any = Bridge("ConcurrentModificationException", 40)
    with pytest.raises(ItemError, match="ConcurrentModificationException"):
        write(bridge)
    assert len(bridge.written) == 5


def test_a_target_that_became_something_else_is_left_alone_both_ways() -> None:
    rule: Any = Rule(None)
    item = dataclasses.replace(JOB, before_raw=recorded(f"{PREFIX}job:1"), after=None)
    for write in (point_at_new_revision, put_task_back):
        with pytest.raises(SupersededError, match="something that is no ECS task"):
            write(Turn(rule, item))
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
    assert put_task_back(Turn(rule, left))["rollback_to"] == f"{PREFIX}job:1"
    assert rule.written == [f"{PREFIX}job:1"]
    execution = "arn:aws:states:eu-west-1:111111111111:execution:release:r"
    machine = "arn:aws:states:eu-west-1:111111111111:stateMachine:release"
    assert (
        repair_command(left, "eu-west-1", execution)
        == f"ecs-release repair --state-machine-arn {machine} --release r nightly"
    )


UNPINNED = dataclasses.replace(JOB, pinned=False, before_raw=recorded(f"{PREFIX}job"))


def test_whoever_registers_in_a_family_without_revision_has_deployed() -> None:
    for write in (point_at_new_revision, put_task_back):
        rule: Any = Rule(f"{PREFIX}job", newest=3)
        with pytest.raises(SupersededError, match=r"job:3 was registered meanwhile"):
            write(Turn(rule, UNPINNED))
        assert rule.written == []


def test_our_own_revision_is_nobody_elses() -> None:
    rule: Any = Rule(f"{PREFIX}job", newest=2, copy=2)
    assert point_at_new_revision(Turn(rule, UNPINNED))["after"] == f"{PREFIX}job:2"
    assert (
        put_task_back(Turn(rule, dataclasses.replace(UNPINNED, after=None)))["rollback_to"]
        == f"{PREFIX}job:1"
    )
    assert rule.written == [f"{PREFIX}job:2", f"{PREFIX}job:1"]


def test_a_family_in_which_nothing_was_registered_was_never_written() -> None:
    rule: Any = Rule(f"{PREFIX}job", newest=1)
    assert put_task_back(Turn(rule, dataclasses.replace(UNPINNED, after=None))) == {"started_at": None}
    assert rule.written == []


def test_a_failure_that_nobody_expected_costs_the_siblings_nothing() -> None:
    done = []

    def write(turn: Turn) -> None:
        if turn.item.number == 0:
            raise KeyError("EcsParameters")
        done.append(turn.item.number)

    worker: Any = Batch()
    with pytest.raises(KeyError):
        run_batch(worker, "r", 1, 0, write)
    assert done == [1]


class Batch(World):
    """Two items of one batch."""

    step = "update_service"

    def __init__(self, seconds: float = 900.0) -> None:
        super().__init__()
        self.throttles = ThrottleCount()
        self.seconds = seconds
        self.added = 0

    def remaining(self) -> float:
        return self.seconds

    def release(self, _: str) -> ReleaseRecord:
        due: Any = {"next": "UPDATE_SERVICES", "phase": "services", "services": [0]}
        return ReleaseRecord("r", "arn", 1, "2026-01-01T00:00:00.000Z", due=due)

    def items(self, *_: Any) -> list[ItemRecord]:
        return [ITEM, dataclasses.replace(ITEM, number=1)]

    def add_throttles(self, _: str, count: int) -> None:
        self.added += count

    def worker_begins(self, *_: Any) -> None:
        pass

    worker_ends = worker_begins


def test_a_batch_without_time_for_all_is_gone_on_with_and_its_throttles_are_counted() -> None:
    worker: Any = Batch()

    def write(_: Turn) -> None:
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

    def write(turn: Turn) -> None:
        raise errors[order[turn.item.number]]

    with pytest.raises(UnfinishedError):
        run_batch(worker, "r", 1, 0, write)


def test_a_registration_goes_out_with_lock_and_claim_in_hand_however_slow_the_table_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A throttled table may answer so late that the claim is over by then, and two workers would register."""
    now = [1000.0]
    clock = SimpleNamespace(time=lambda: now[0], monotonic=lambda: now[0], sleep=lambda s: None)
    monkeypatch.setattr(turns, "time", clock)
    slow = [0.0, 40.0, 40.0, 0.0, 5.0, 0.0, 0.0]  # the first is taken when the claim is made
    looks: list[float] = []
    claims: list[int] = []

    class Slow(World):
        def take_up(self, *_: Any) -> Found:
            return Found.FREE

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

        def register_copy(self, base: Any, images: Any, *, before_attempt: Any, **_: Any) -> Any:
            before_attempt()
            assert now[0] - looks[-1] <= 2
            assert claims[-1] - now[0] >= LEASE_SECONDS - 3
            return SimpleNamespace(arn="api:2"), True

    world: Any = Slow()
    turn = Turn(world, dataclasses.replace(ITEM, after=None, base="api:1"))
    register(turn)
    assert turn.item.after == "api:2"
    assert turn.item.registered
    assert not slow


@pytest.mark.parametrize("times", [1, 3])
def test_a_service_that_somebody_restarts_before_the_write_is_as_it_was_found(times: int) -> None:
    """A new deployment of the same revision, not somebody else's release."""
    world: Any = World()
    world.number += times
    turn = Turn(world, ITEM)
    assert start_rollout(turn)["deployment_id"] == f"ecs-svc/{times + 2}"
    assert turn.item.previous_deployment == f"ecs-svc/{times + 1}"


def test_a_restart_after_the_write_may_have_begun_is_not_taken_for_what_was_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """ECS's own way back looks the same then."""
    world: Any = WentBack(by_ecs=True)
    monkeypatch.setattr(turns.time, "sleep", lambda _: None)
    with pytest.raises(ItemError):
        start_rollout(Turn(world, dataclasses.replace(ITEM, started_at=int(time.time()))))
    assert world.at_write is None


def test_another_revision_deployed_before_the_write_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    world: Any = World(live="api:9")
    world.number = 2
    monkeypatch.setattr(turns.time, "sleep", lambda _: None)
    with pytest.raises(SupersededError):
        start_rollout(Turn(world, ITEM))
    assert world.at_write is None
