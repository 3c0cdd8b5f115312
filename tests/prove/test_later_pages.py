"""A release, forward and back, while every list comes in pages of one and every batch is done one by one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from stack import Stack
from world import World, container, image

CLUSTER = "pages"
BREAKER = {"deploymentCircuitBreaker": {"enable": True, "rollback": True}}
SERVICES = ("api", "web", "worker")


def manifest(tag: str, **tags: str) -> dict[str, Any]:
    services = [
        {
            "service": "app",
            "clusterName": CLUSTER,
            "serviceName": name,
            "image": image(f"{name}:{tags.get(name, tag)}"),
        }
        for name in SERVICES
    ]
    tasks = [
        {"service": "app", "cwRuleName": "nightly", "image": image(f"nightly:{tag}")},
        {"service": "app", "scheduleName": "hourly", "image": image(f"hourly:{tag}")},
    ]
    return {"services": services, "tasks": tasks}


@pytest.fixture(scope="module")
def world(stack: Stack) -> Iterator[World]:
    world = World(stack)
    world.cluster(CLUSTER)
    for name in SERVICES:
        world.service(CLUSTER, name, deploymentConfiguration=BREAKER)
    nightly = world.family("nightly", [container("app", "nightly:1")])
    # The target to change comes last, on the third page.
    queues = [{"Id": f"queue-{n}", "Arn": f"arn:aws:sqs:us-east-1:123456789012:q{n}"} for n in range(2)]
    world.rule("nightly", [*queues, world.ecs_target("task", CLUSTER, nightly)])
    world.schedule("hourly", CLUSTER, world.family("hourly", [container("app", "hourly:1")]))
    for tag in ("2", "3"):  # more revisions and more deployments than one page has
        assert stack.release(manifest(tag)).output["status"] == "SUCCEEDED"
    stack.aws.reset()
    stack.aws.control("pages", {"size": 1})
    yield world
    stack.aws.reset()


def picture(world: World) -> dict[str, Any]:
    """What runs and what is scheduled."""
    services = {
        name: world.images(world.describe(CLUSTER, name)["taskDefinition"])["app"] for name in SERVICES
    }
    targets: list[dict[str, Any]] = []
    token: dict[str, str] = {}
    while True:
        page = world.events.list_targets_by_rule(Rule="nightly", **token)
        assert len(page["Targets"]) <= 1
        targets += page["Targets"]
        if not page.get("NextToken"):
            break
        token = {"NextToken": page["NextToken"]}
    rule = {t["Id"]: t.get("EcsParameters", {}).get("TaskDefinitionArn") for t in targets}
    schedule = world.scheduler.get_schedule(Name="hourly")["Target"]["EcsParameters"]["TaskDefinitionArn"]
    return {**services, "nightly": rule, "hourly": world.images(schedule)["app"]}


def test_a_release_lands_whole(world: World) -> None:
    before = picture(world)
    outcome = world.stack.release(manifest("4"))
    assert outcome.output == {
        "release": outcome.id,
        "status": "SUCCEEDED",
        "counts": {"SUCCEEDED": len(SERVICES) + 2},
    }
    after = picture(world)
    assert [after[name] for name in SERVICES] == [image(f"{name}:4") for name in SERVICES]
    assert after["hourly"] == image("hourly:4")
    assert world.images(after["nightly"]["task"])["app"] == image("nightly:4")
    assert {i: arn for i, arn in after["nightly"].items() if i != "task"} == {
        i: arn for i, arn in before["nightly"].items() if i != "task"
    }
    calls = world.stack.aws.calls()
    assert calls["events:ListTargetsByRule"]["calls"] >= 3
    assert calls["dynamodb:BatchGetItem"]["calls"] >= len(SERVICES) + 2


def test_one_failure_takes_all_of_it_back(world: World) -> None:
    before = picture(world)
    world.stack.aws.rollouts(
        [{"service": "^worker$", "image": ":5", "outcome": "circuit_breaker_rollback", "seconds": 1}]
    )
    outcome = world.stack.release(manifest("5"))
    assert outcome.error == "EcsRelease.ROLLED_BACK", outcome.cause
    assert outcome.verdicts[f"{CLUSTER}/worker"] == "ROLLED_BACK_BY_ECS"
    assert picture(world) == before


def test_the_same_again_finds_nothing_to_do(world: World) -> None:
    world.stack.aws.rollouts([])
    assert world.stack.release(manifest("4")).output["status"] == "NO_CHANGE"


def test_a_release_by_hand_goes_back_the_whole_way(world: World) -> None:
    before = picture(world)
    assert world.stack.release(manifest("6")).output["status"] == "SUCCEEDED"
    machine = world.stack.client("stepfunctions")
    execution = machine.start_execution(
        stateMachineArn=world.stack.outputs["state_machine_arn"],
        name="back-by-hand",
        input='{"version": 1, "mode": "rollback"}',
    )["executionArn"]
    assert world.stack.wait(execution).output["status"] == "SUCCEEDED"
    assert picture(world) == before
