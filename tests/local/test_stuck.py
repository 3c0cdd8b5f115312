"""Rollouts that do not get on, through the command: what the plan says before, and a release while it waits and at its end.

As people met them: no room, or a role that can't be assumed, so that no task ever starts
(aws-actions/amazon-ecs-deploy-task-definition#447, reproio/ecs_deploy#81); a bake time of 1,380 minutes (kayac/ecspresso#1063); a
pause of up to 2,880 minutes (hashicorp/terraform-provider-aws#48075).
"""

from __future__ import annotations

import json
import shlex
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from local_aws.client import HANG_SECONDS
from stack import Command, Stack
from world import World, image

CLUSTER = "queue"
# https://docs.aws.amazon.com/AmazonECS/latest/developerguide/service-event-messages-list.html
NO_ROOM = "was unable to place a task. Reason: You've reached the limit on the number of vCPUs you can run concurrently."
NO_ROLE = "failed to launch a task with (error ECS was unable to assume the role 'arn:aws:iam::1:role/gone')."
PAUSE = {
    "targetType": "PAUSE",
    "lifecycleStages": ["POST_TEST_TRAFFIC_SHIFT"],
    "timeoutConfiguration": {"timeoutInMinutes": 2880, "action": "ROLLBACK"},
}
SERVICES: dict[str, dict[str, Any]] = {
    "crowded": {},
    "roleless": {},
    "pauses": {"strategy": "BLUE_GREEN", "lifecycleHooks": [PAUSE]},
    "bakes": {"strategy": "BLUE_GREEN", "bakeTimeInMinutes": 1380},
    "shifts": {"strategy": "CANARY", "canaryConfiguration": {"canaryBakeTimeInMinutes": 90}},
    "stands": {"minimumHealthyPercent": 100, "maximumPercent": 100},
    "stands-alone": {"minimumHealthyPercent": 50, "maximumPercent": 150},
}


def manifest(services: dict[str, int]) -> dict[str, Any]:
    """A release of these services with their deadlines in minutes."""
    return {
        "services": [
            {
                "service": "app",
                "clusterName": CLUSTER,
                "serviceName": name,
                "image": image(f"{name}:2"),
                "timeoutMinutes": minutes,
            }
            for name, minutes in services.items()
        ]
    }


@pytest.fixture(scope="module")
def world(stack: Stack) -> Iterator[World]:
    stack.aws.reset()
    world = World(stack)
    world.cluster(CLUSTER)
    for name, configuration in SERVICES.items():
        world.service(CLUSTER, name, deploymentConfiguration=configuration)
    stack.aws.rollouts(
        [
            {"service": "^crowded$", "image": ":2", "outcome": "stall", "reason": NO_ROOM},
            {"service": "^roleless$", "image": ":2", "outcome": "stall", "reason": NO_ROLE},
            {"outcome": "complete", "seconds": 1},
        ]
    )
    yield world
    stack.aws.reset()


def planned(
    command: Command, folder: Path, services: dict[str, int]
) -> tuple[int, dict[str, dict[str, str]]]:
    """The command's exit status, and of each service what was found about its rollout: code -> message."""
    path = folder / "deployment.yaml"
    path.write_text(json.dumps(manifest(services)), encoding="utf-8")
    status, printed = command("plan", str(path), "--json")
    return status, {
        item["name"].partition("/")[2]: {
            finding["code"]: finding["message"]
            for finding in item["findings"]
            if finding["code"] in ("E249", "E250", "E251", "W245", "W246")
        }
        for item in json.loads(printed)["items"]
    }


def test_what_can_not_end_in_time_blocks_and_the_plan_says_which_number_to_write(
    world: World, command: Command, tmp_path: Path
) -> None:
    status, found = planned(command, tmp_path, dict.fromkeys(SERVICES, 60))
    assert status == 2
    assert {name: list(codes) for name, codes in found.items()} == {
        "crowded": [],
        "roleless": [],
        "pauses": ["E250"],
        "bakes": ["E249"],
        "shifts": ["E249"],
        "stands": ["W245"],
        "stands-alone": ["W245"],
    }
    assert "write timeoutMinutes: 2940" in found["pauses"]["E250"]
    assert "write timeoutMinutes: 1440" in found["bakes"]["E249"]
    assert "write timeoutMinutes: 150" in found["shifts"]["E249"]


def test_with_those_numbers_it_is_planned(world: World, command: Command, tmp_path: Path) -> None:
    status, found = planned(command, tmp_path, {"pauses": 2940, "bakes": 1440, "shifts": 150})
    assert (status, {name: list(codes) for name, codes in found.items()}) == (
        3,
        {"pauses": ["W246"], "bakes": [], "shifts": []},
    )


def reasons(world: World, command: Command, services: dict[str, int]) -> tuple[str, dict[str, str]]:
    """Start a release; its execution, and what ``ecs-release status`` says of each service once it says something of all."""
    execution = world.stack.start(manifest(services))
    deadline = time.monotonic() + HANG_SECONDS
    while True:
        status, printed = command("status", execution.rpartition(":")[2], "--json")
        # Its record comes with its first step.
        items = json.loads(printed)["items"] if status == 0 else []
        said = {item["name"].partition("/")[2]: item["reason"] for item in items if item["reason"]}
        if said.keys() == services.keys():
            return execution, said
        assert time.monotonic() < deadline, printed
        time.sleep(0.5)


def test_a_pause_is_named_and_continued_in_the_words_of_the_reason(world: World, command: Command) -> None:
    execution, said = reasons(world, command, {"pauses": 2940})
    assert "ECS has paused it at POST_TEST_TRAFFIC_SHIFT" in said["pauses"]
    typed = shlex.split(said["pauses"].partition("continue it with: ")[2])
    assert typed[:3] == ["aws", "ecs", "continue-service-deployment"]
    named = dict(zip(typed[3::2], typed[4::2], strict=True))
    world.ecs.continue_service_deployment(
        serviceDeploymentArn=named["--service-deployment-arn"],
        hookId=named["--hook-id"],
        action=named["--action"],
    )
    outcome = world.stack.wait(execution)
    assert outcome.status == "SUCCEEDED", outcome.cause


def test_what_keeps_tasks_from_starting_is_quoted_while_it_waits_and_at_its_end(
    world: World, command: Command
) -> None:
    services = {"crowded": 60, "roleless": 60}
    execution, said = reasons(world, command, services)
    assert said == {"crowded": f"ECS says: {NO_ROOM}", "roleless": f"ECS says: {NO_ROLE}"}
    for item in world.stack.store.items(execution.rpartition(":")[2]):
        # The hour passes at once.
        world.stack.store.update_item(item, {"started_at": int(item.started_at or 0) - 3600})
    outcome = world.stack.wait(execution)
    assert outcome.error == "EcsRelease.ROLLED_BACK", outcome.cause
    assert set(outcome.verdicts.values()) == {"TIMED_OUT"}
    for said_by_ecs in said.values():
        assert f"not completed within 60 minutes; {said_by_ecs}" in outcome.cause
