"""The whole way: services in their bake time, and at a pause, when a sibling fails. ECS itself rolls them back, at once.

The service is the one that users showed: 1,380 minutes of bake time (kayac/ecspresso#1063), a pause of up to 2,880 minutes
(hashicorp/terraform-provider-aws#48075).
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
from local_aws.client import HANG_SECONDS
from stack import Outcome, Stack
from world import World, image

CLUSTER = "bakery"
POLL_SECONDS = 1  # examples/local
BAKE = {"strategy": "BLUE_GREEN", "bakeTimeInMinutes": 1380}
PAUSE = {
    "targetType": "PAUSE",
    "lifecycleStages": ["POST_TEST_TRAFFIC_SHIFT"],
    "timeoutConfiguration": {"timeoutInMinutes": 2880, "action": "ROLLBACK"},
}
SERVICES: dict[str, dict[str, Any]] = {
    "bakes": {"deploymentConfiguration": BAKE},
    "shifts": {"deploymentConfiguration": {**BAKE, "strategy": "CANARY"}},
    "waits": {"deploymentConfiguration": {"strategy": "BLUE_GREEN", "lifecycleHooks": [PAUSE]}},
    "sibling": {
        "deploymentConfiguration": {"deploymentCircuitBreaker": {"enable": True, "rollback": True}},
    },
}
UNDER_WAY = [name for name in SERVICES if name != "sibling"]


@pytest.fixture(scope="module")
def world(stack: Stack) -> Iterator[World]:
    stack.aws.reset()
    world = World(stack)
    world.cluster(CLUSTER)
    for name, members in SERVICES.items():
        world.service(CLUSTER, name, **members)
    yield world
    stack.aws.reset()


def newest(world: World, name: str) -> dict[str, Any]:
    """The last service deployment, once ECS lists one."""
    briefs = world.service_deployments(CLUSTER, name)
    if not briefs:
        return {}
    (found,) = world.ecs.describe_service_deployments(
        serviceDeploymentArns=[briefs[0]["serviceDeploymentArn"]]
    )["serviceDeployments"]
    return dict(found)


def reach(world: World, name: str, stage: str) -> None:
    deadline = time.monotonic() + HANG_SECONDS
    while (found := newest(world, name)).get("lifecycleStage") != stage:
        assert time.monotonic() < deadline, f"{name} is at {found.get('lifecycleStage')}, not at {stage}"
        time.sleep(0.1)


@pytest.fixture(scope="module", params=["new", "promoted"])
def release(world: World, request: pytest.FixtureRequest) -> tuple[Outcome, dict[str, str]]:
    """A release whose sibling fails when the others are where ECS keeps them; what ran before."""
    stack, tag = world.stack, f"2-{request.param}"
    stack.aws.control("deployments", {"visibility": 1, "rollback": request.param})
    # The sibling fails when the test says so.
    held = [{"service": "^sibling$", "outcome": "wait"}, {"outcome": "complete", "seconds": 1}]
    stack.aws.rollouts(held)
    before = {name: world.primary(CLUSTER, name)["taskDefinition"] for name in SERVICES}
    execution = stack.start(
        {
            "services": [
                {
                    "service": "app",
                    "clusterName": CLUSTER,
                    "serviceName": name,
                    "image": image(f"{name}:{tag}"),
                    "timeoutMinutes": 4320,
                }
                for name in SERVICES
            ]
        }
    )
    reach(world, "bakes", "BAKE_TIME")
    reach(world, "shifts", "BAKE_TIME")
    reach(world, "waits", "POST_TEST_TRAFFIC_SHIFT")
    stack.aws.rollouts(
        [
            {"service": "^sibling$", "outcome": "circuit_breaker_rollback", "seconds": 1},
            {"outcome": "complete", "seconds": 1},
        ]
    )
    return stack.wait(execution), before


def test_all_of_it_is_back(world: World, release: tuple[Outcome, dict[str, str]]) -> None:
    outcome, before = release
    assert outcome.error == "EcsRelease.ROLLED_BACK", outcome.cause
    assert {item.status for item in outcome.items.values()} == {"ROLLED_BACK"}
    assert {name: world.primary(CLUSTER, name)["taskDefinition"] for name in SERVICES} == before


@pytest.mark.parametrize("name", UNDER_WAY)
def test_ecs_rolled_it_back_and_no_other_deployment_was_started(
    world: World, release: tuple[Outcome, dict[str, str]], name: str
) -> None:
    outcome, before = release
    item = outcome.items[f"{CLUSTER}/{name}"]
    found = newest(world, name)
    assert found["serviceDeploymentArn"] == item.rollback_stop
    assert found["status"] == "ROLLBACK_SUCCESSFUL"
    (revision,) = world.ecs.describe_service_revisions(
        serviceRevisionArns=[found["rollback"]["serviceRevisionArn"]]
    )["serviceRevisions"]
    assert revision["taskDefinition"] == before[name]
    # The last service deployment is this release's own: an UpdateService on the way back would have started another one.
    assert (
        found["targetServiceRevision"]["arn"].rpartition("/")[2] == str(item.deployment_id).rpartition("/")[2]
    )


def test_ecs_was_asked_within_one_poll_of_the_failure(release: tuple[Outcome, dict[str, str]]) -> None:
    """From the sight of the sibling to the first rollback: a poll, and what the machine takes for its own steps.

    Exactly, in virtual time: ``tests/faults/test_bake_time.py``.
    """
    outcome, _ = release
    assert outcome.record.failing_since is not None
    begun = [int(outcome.items[f"{CLUSTER}/{name}"].rollback_started_at or 0) for name in UNDER_WAY]
    assert min(begun) - outcome.record.failing_since <= POLL_SECONDS + 10
