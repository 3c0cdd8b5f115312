"""A Lambda worker is killed before and after each API call of update_service and update_task.

The state machine's retry ends with one new revision and one deployment, with the idempotency table and without it. Which
calls there are is learned from a release without kills. Then each call has an item of its own, in a batch of its own
(a batch never mixes targets, so each item has its own target), whose first worker dies there: all in one release.
"""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import pytest
from ecs_release.errors import RecordChangedError
from local_aws.client import HANG_SECONDS
from stack import Outcome, Stack
from world import World, container, image

CLUSTER = "killed"


WRITES = ("ecs:RegisterTaskDefinition", "ecs:UpdateService", "events:PutTargets", "scheduler:UpdateSchedule")


@dataclass(frozen=True)
class Kill:
    """One death: before or after the n-th call of an operation in one invocation."""

    function: str
    operation: str
    nth: int
    when: str

    def __str__(self) -> str:
        return f"{self.when} {self.operation}[{self.nth}] of {self.function}"

    def fault(self, batch: int) -> dict[str, Any]:
        return {
            "operation": self.operation,
            "kind": "kill",
            "when": self.when,
            "function": f"-{self.function}$",
            "event": rf'"batch": ?{batch}\b',
            "skip": self.nth,
        }


@pytest.fixture(scope="module")
def world(stack: Stack) -> Iterator[World]:
    stack.aws.reset()
    stack.aws.rollouts([{"seconds": 0.5}])
    world = World(stack)
    world.cluster(CLUSTER)
    yield world
    stack.aws.reset()


class Estate:
    """Services, rules and schedules with one item each for a target of its own."""

    def __init__(self, world: World, prefix: str) -> None:
        self.world = world
        self.prefix = prefix
        self.tasks: list[dict[str, str]] = []
        self.services: list[dict[str, str]] = []

    def service(self) -> str:
        name = f"{self.prefix}-service-{len(self.services):02d}"
        self.world.service(CLUSTER, name)
        entry = {"service": "app", "clusterName": CLUSTER, "serviceName": name, "image": image(f"{name}:2")}
        self.services.append({**entry, "target": name})
        return name

    def rule(self) -> str:
        """A rule without revision: its worker registers, too, and writes the target."""
        name = f"{self.prefix}-task-{len(self.tasks):02d}"
        family = self.world.family(name, [container("app", f"{name}:1")]).rpartition(":")[0]
        self.world.rule(name, [self.world.ecs_target("1", CLUSTER, family)])
        self.tasks.append({"service": "app", "cwRuleName": name, "image": image(f"{name}:2"), "target": name})
        return name

    def schedule(self) -> str:
        name = f"{self.prefix}-task-{len(self.tasks):02d}"
        definition = self.world.family(name, [container("app", f"{name}:1")])
        self.world.schedule(name, CLUSTER, definition)
        self.tasks.append(
            {"service": "app", "scheduleName": name, "image": image(f"{name}:2"), "target": name}
        )
        return name

    @property
    def manifest(self) -> dict[str, Any]:
        return {"tasks": self.tasks, "services": self.services, "onFailure": "stop"}

    @property
    def targets(self) -> list[str]:
        return [entry["target"] for entry in (*self.tasks, *self.services)]

    def wrong(self, name: str) -> str:
        """What is not as it must be after one release, "" if all is well."""
        revisions = [arn.rpartition(":")[2] for arn in self.world.revisions(name)]
        if len(revisions) != 2:
            return f"revisions {revisions}"
        new = self.world.revisions(name)[1]
        if "-service-" in name:
            deployments = self.world.count_deployments(CLUSTER, name)
            if deployments != 2:  # its creation, and this release
                return f"{deployments} deployments"
            live = self.world.primary(CLUSTER, name)["taskDefinition"]
        elif any(entry.get("scheduleName") == name for entry in self.tasks):
            live = self.world.stack.raw_schedule(name)["Target"]["EcsParameters"]["TaskDefinitionArn"]
        else:
            live = self.world.targets(name)["1"]["EcsParameters"]["TaskDefinitionArn"]
        return "" if live == new else f"{live} is live"


@contextmanager
def targets(stack: Stack, names: Sequence[str]) -> Iterator[None]:
    """The module's own account under further names, as its input ``targets`` can have it."""
    key = {"pk": {"S": "CONFIG"}, "sk": {"S": "TARGETS"}}
    table, dynamodb = stack.outputs["releases_table_name"], stack.client("dynamodb")
    row = dynamodb.get_item(TableName=table, Key=key)["Item"]
    known = json.loads(row["targets"]["S"])
    more = dict.fromkeys(names, known["default"])
    dynamodb.put_item(TableName=table, Item={**row, "targets": {"S": json.dumps({**known, **more})}})
    yield
    dynamodb.put_item(TableName=table, Item=row)


@contextmanager
def emptied(stack: Stack, wanted: bool) -> Iterator[None]:
    """Delete whatever is in the idempotency table, again and again."""
    done = threading.Event()
    dynamodb, table = stack.aws.client("dynamodb"), stack.idempotency_table

    def run() -> None:
        while not done.wait(0.1):
            for row in dynamodb.scan(TableName=table, ProjectionExpression="id")["Items"]:
                dynamodb.delete_item(TableName=table, Key=row)

    thread = threading.Thread(target=run, daemon=True)
    if wanted:
        thread.start()
    yield
    done.set()
    if wanted:
        thread.join(HANG_SECONDS)


def let_leases_lapse(stack: Stack, release: str, done: threading.Event) -> None:
    """Let the fifteen seconds pass at once for which a worker that died holds its claim to register.

    Nobody but the dead is robbed: an item's claim is taken once, after the kill that was meant for it.
    """
    lapsed: set[int] = set()
    while not done.wait(0.5):
        struck = {batch for batch, fault in enumerate(stack.aws.control("faults")) if fault["times"] == 0}
        for item in stack.store.items(release):
            if item.batch in struck - lapsed and item.claim_until is not None:
                lapsed.add(item.batch)
                with suppress(RecordChangedError):
                    stack.store.update_item(item, {"claim_until": 0})


@pytest.fixture(scope="module")
def calls(world: World) -> dict[str, list[str]]:
    """The API calls of one invocation, in order, by what it writes."""
    stack = world.stack
    found = {}
    for kinds in (("service", "rule"), ("schedule",)):
        estate = Estate(world, f"learn-{kinds[-1]}")
        for kind in kinds:
            getattr(estate, kind)()
        with targets(stack, estate.targets):
            seen = len(stack.aws.control("calls/log"))
            assert stack.release(estate.manifest).status == "SUCCEEDED"
            log = stack.aws.control("calls/log")[seen:]
        for kind in kinds:
            function = f"ecs-release-update-{'service' if kind == 'service' else 'task'}"
            found[kind] = [entry["call"] for entry in log if entry["function"] == function]
    return found


def kills(function: str, calls: Sequence[str], *, empty: bool) -> list[Kill]:
    """Each death worth dying.

    With the idempotency table emptied all the time nothing is left of a worker but what AWS has been asked for, so dying before
    a call is dying after the call before it; only the calls that write production die both ways there.
    """
    counted: Counter[str] = Counter()
    result: list[Any] = []
    for operation in calls:
        both = not empty or not result or operation in WRITES
        result += [
            Kill(function, operation, counted[operation], when)
            for when in ("before", "after")
            if both or when == "after"
        ]
        counted[operation] += 1
    return result


def test_the_calls_are_all_there(calls: dict[str, list[str]]) -> None:
    """What is killed below is what writes: a call that is missing here would not be tested there."""
    assert calls["service"].count("ecs:UpdateService") == 1
    assert {"dynamodb:PutItem", "dynamodb:UpdateItem", "ecs:DescribeServices", "sts:AssumeRole"} <= set(
        calls["service"]
    )
    assert {
        "events:ListTargetsByRule",
        "events:PutTargets",
        "ecs:DescribeTaskDefinition",
        "ecs:ListTaskDefinitions",
        "ecs:RegisterTaskDefinition",
    } <= set(calls["rule"])
    assert {"scheduler:GetSchedule", "scheduler:UpdateSchedule"} <= set(calls["schedule"])


@dataclass(frozen=True)
class Survived:
    estate: Estate
    outcome: Outcome
    killed: dict[str, Kill]
    left: list[dict[str, Any]]


@pytest.fixture(scope="module", params=["with the idempotency table", "with it emptied all the time"])
def survived(request: pytest.FixtureRequest, world: World, calls: dict[str, list[str]]) -> Survived:
    stack = world.stack
    empty = "emptied" in request.param
    estate = Estate(world, "emptied" if empty else "kept")
    of_schedules = [call for call in calls["schedule"] if call.startswith("scheduler:")]
    killed = {estate.rule(): kill for kill in kills("update-task", calls["rule"], empty=empty)}
    killed |= {estate.schedule(): kill for kill in kills("update-task", of_schedules, empty=empty)}
    killed |= {estate.service(): kill for kill in kills("update-service", calls["service"], empty=empty)}
    # Tasks come before services, and targets in the order of their names: one batch each.
    stack.aws.faults([kill.fault(batch) for batch, kill in enumerate(killed.values())])
    with targets(stack, estate.targets), emptied(stack, empty):
        execution = stack.start(estate.manifest)
        done = threading.Event()
        lapsing = threading.Thread(
            target=let_leases_lapse, args=(stack, execution.rpartition(":")[2], done), daemon=True
        )
        lapsing.start()
        outcome = stack.wait(execution)
        done.set()
        lapsing.join(HANG_SECONDS)
    left = [fault for fault in stack.aws.control("faults") if fault["times"] != 0]
    stack.aws.faults([])
    return Survived(estate, outcome, killed, left)


def test_every_worker_was_killed_where_it_should_be(survived: Survived) -> None:
    assert survived.left == []
    deaths = [e for e in survived.outcome.history if e.get("taskFailedEventDetails", {}).get("error")]
    assert len(deaths) == len(survived.killed)
    assert {event["taskFailedEventDetails"]["error"] for event in deaths} == {"Runtime.ExitError"}


def test_the_release_succeeds_all_the_same(survived: Survived) -> None:
    assert survived.outcome.status == "SUCCEEDED", survived.outcome.cause
    assert survived.outcome.output["counts"] == {"SUCCEEDED": len(survived.killed)}


def test_one_new_revision_and_one_deployment_an_item(survived: Survived) -> None:
    wrong = {
        f"{name}, killed {kill}": problem
        for name, kill in survived.killed.items()
        if (problem := survived.estate.wrong(name))
    }
    assert wrong == {}


def test_the_record_names_the_deployment_that_is_live(survived: Survived) -> None:
    for item in survived.outcome.items.values():
        if item.is_service:
            primary = survived.estate.world.primary(CLUSTER, item.service.service)
            assert item.deployment_id == primary["id"]
            assert item.after == primary["taskDefinition"]
