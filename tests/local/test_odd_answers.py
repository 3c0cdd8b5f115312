"""One odd item is one item's problem, through the command: whatever AWS says of it, the others are planned and released.

An Express Mode service, whose task definition its PRIMARY deployment alone names (kayac/ecspresso#902); explicit nulls, as other
implementations of AWS's API send them; members of an unexpected kind.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from stack import Command, Stack
from world import World, container, image

CLUSTER = "fair"
SERVICES = ("express", "headless", "uncounted", "hollow", "sound")
RULES = ("fair-numbered", "fair-tick")


def of_service(name: str, pattern: str) -> str:
    """Where in DescribeServices' answer something stands that is said of this service."""
    return rf'("serviceName":\s*"{name}"(?:(?!"serviceName").)*?){pattern}'


ODD: list[dict[str, Any]] = [
    {
        "operation": "ecs:DescribeServices",
        "changes": {
            # The service's own task definition stands before those of its deployments.
            of_service(
                "express", r'"taskDefinition":\s*"[^"]*"'
            ): r'\1"taskDefinition": null, "resourceManagementType": "ECS"',
            of_service("headless", r'"status":\s*"PRIMARY"'): r'\1"status": "NEWEST"',
            of_service("uncounted", r'"desiredCount":\s*\d+'): r'\1"desiredCount": null',
        },
    },
    {
        "operation": "ecs:DescribeTaskDefinition",
        "match": "hollow",
        "changes": {r'"containerDefinitions":\s*\[': '"containerDefinitions": null, "newMember": ['},
    },
    {
        "operation": "events:ListTargetsByRule",
        "match": "fair-numbered",
        "changes": {r'"TaskDefinitionArn":\s*"[^"]*"': '"TaskDefinitionArn": 7'},
    },
]


def manifest(services: tuple[str, ...] = SERVICES, rules: tuple[str, ...] = RULES) -> dict[str, Any]:
    return {
        "tasks": [{"service": "app", "cwRuleName": name, "image": image(f"{name}:2")} for name in rules],
        "services": [
            {
                "service": "app",
                "clusterName": CLUSTER,
                "serviceName": name,
                "image": image(f"{name}:2"),
            }
            for name in services
        ],
    }


@pytest.fixture(scope="module")
def world(stack: Stack) -> Iterator[World]:
    stack.aws.reset()
    stack.aws.rollouts([{"seconds": 0.5}])
    world = World(stack)
    world.cluster(CLUSTER)
    for name in SERVICES:
        world.service(CLUSTER, name)
    for name in RULES:
        world.rule(
            name, [world.ecs_target("own", CLUSTER, world.family(name, [container("app", f"{name}:1")]))]
        )
    stack.aws.faults([{"kind": "odd_answer", "times": None, **odd} for odd in ODD])
    yield world
    stack.aws.reset()


def test_each_odd_item_is_blocked_in_words_and_the_others_are_planned(
    world: World, command: Command, tmp_path: Path
) -> None:
    path = tmp_path / "deployment.yaml"
    path.write_text(json.dumps(manifest()), encoding="utf-8")
    status, printed = command("plan", str(path), "--json")
    items = {item["name"].rpartition("/")[2]: item for item in json.loads(printed)["items"]}
    assert status == 2
    assert {name: item["action"] for name, item in items.items()} == {
        **dict.fromkeys(("express", "sound", "fair-tick"), "update"),
        **dict.fromkeys(("headless", "uncounted", "hollow", "fair-numbered"), "blocked"),
    }
    said = {name: " ".join(item["problems"]) for name, item in items.items() if item["problems"]}
    assert "the service has no PRIMARY deployment" in said["headless"]
    assert "the service has no desiredCount" in said["uncounted"]
    assert "has no containers" in said["hollow"]
    assert "name no task definition" in said["fair-numbered"]
    assert [f["code"] for f in items["express"]["findings"] if f["code"] == "W244"] == ["W244"]


def test_a_release_with_an_odd_item_touches_nothing_and_names_it(world: World) -> None:
    before = world.picture()
    outcome = world.stack.release(manifest(("uncounted", "sound"), ("fair-tick",)))
    assert outcome.error == "EcsRelease.REJECTED"
    assert "the service has no desiredCount" in outcome.cause
    assert world.picture() == before


def test_an_express_service_is_released_beside_the_others(world: World) -> None:
    outcome = world.stack.release(manifest(("express", "sound"), ("fair-tick",)))
    assert outcome.status == "SUCCEEDED", outcome.cause
    assert set(outcome.verdicts.values()) == {"SUCCEEDED"}
    assert world.images(world.primary(CLUSTER, "express")["taskDefinition"]) == {"app": image("express:2")}
