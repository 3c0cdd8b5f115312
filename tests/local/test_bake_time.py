"""The whole way: services in their bake time, and at a pause, when a sibling fails. ECS itself rolls them back, at once.

The service is the one that users showed: 1,380 minutes of bake time (kayac/ecspresso#1063), a pause of up to 2,880 minutes
(hashicorp/terraform-provider-aws#48075).
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from local_aws.client import HANG_SECONDS
from stack import Outcome, Stack
from world import World, image, settle

CLUSTER = "bakery"
# examples/local, or what the proof of reads that lag sets
POLL_SECONDS = int(os.environ.get("TF_VAR_poll_seconds") or 1)  # noqa: SIM112 - Terraform's name for it
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
STAYS = {"bakes": "BAKE_TIME", "shifts": "BAKE_TIME", "waits": "POST_TEST_TRAFFIC_SHIFT"}


@pytest.fixture(scope="module")
def world(stack: Stack) -> Iterator[World]:
    stack.aws.reset()
    world = World(stack)
    world.cluster(CLUSTER)
    for name, members in SERVICES.items():
        world.service(CLUSTER, name, **members)
    settle()
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


def runs(world: World, deployment: dict[str, Any]) -> str:
    """The task definition that a service deployment deploys."""
    return revision(world, deployment["targetServiceRevision"]["arn"])


def revision(world: World, arn: str) -> str:
    (found,) = world.ecs.describe_service_revisions(serviceRevisionArns=[arn])["serviceRevisions"]
    return str(found["taskDefinition"])


def reach(world: World, name: str, stage: str, tag: str) -> dict[str, Any]:
    """The service deployment of ``image(tag)`` once it is at a stage."""
    deadline = time.monotonic() + HANG_SECONDS
    while True:
        found = newest(world, name)
        if found.get("lifecycleStage") == stage and image(tag) in world.images(runs(world, found)).values():
            return found
        assert time.monotonic() < deadline, f"{name} is at {found.get('lifecycleStage')}, not at {stage}"
        time.sleep(0.1)


def continue_from_its_pause(world: World, name: str, tag: str) -> None:
    found = reach(world, name, STAYS[name], tag)
    (hook,) = found["lifecycleHookDetails"]
    world.ecs.continue_service_deployment(
        serviceDeploymentArn=found["serviceDeploymentArn"], hookId=hook["hookId"], action="CONTINUE"
    )


def release_until_they_stay(world: World, names: Sequence[str], tag: str, **members: Any) -> str:
    """Start a release whose sibling fails once the others are where ECS keeps them; its execution's ARN."""
    stack = world.stack
    # The sibling fails when the test says so.
    others = {"outcome": "complete", "seconds": 1}
    stack.aws.rollouts([{"service": "^sibling$", "outcome": "wait"}, others])
    services = [
        {
            "service": "app",
            "clusterName": CLUSTER,
            "serviceName": name,
            "image": image(f"{name}:{tag}"),
            "timeoutMinutes": 4320,
        }
        for name in names
    ]
    execution = stack.start({"services": services, **members})
    for name in names:
        if name in STAYS:
            reach(world, name, STAYS[name], f"{name}:{tag}")
    stack.aws.rollouts(
        [{"service": "^sibling$", "outcome": "circuit_breaker_rollback", "seconds": 1}, others]
    )
    return execution


def ran(world: World) -> dict[str, str]:
    return {name: str(world.primary(CLUSTER, name)["taskDefinition"]) for name in SERVICES}


@pytest.fixture(scope="module", params=["new", "promoted"])
def release(world: World, request: pytest.FixtureRequest) -> tuple[Outcome, dict[str, str]]:
    """A release whose sibling fails; what ran before."""
    world.stack.aws.control("deployments", {"visibility": 1, "rollback": request.param})
    before = ran(world)
    execution = release_until_they_stay(world, list(SERVICES), f"2-{request.param}")
    started = {name: newest(world, name)["serviceDeploymentArn"] for name in STAYS}
    while world.stack.runs(execution):
        # Another one would bake for a day before it is back.
        assert {name: newest(world, name)["serviceDeploymentArn"] for name in STAYS} == started
    return world.stack.wait(execution), before


def test_all_of_it_is_back(world: World, release: tuple[Outcome, dict[str, str]]) -> None:
    outcome, before = release
    assert outcome.error == "EcsRelease.ROLLED_BACK", outcome.cause
    assert {item.status for item in outcome.items.values()} == {"ROLLED_BACK"}
    assert ran(world) == before


@pytest.mark.parametrize("name", STAYS)
def test_ecs_rolled_it_back_and_no_other_deployment_was_started(
    world: World, release: tuple[Outcome, dict[str, str]], name: str
) -> None:
    outcome, before = release
    item = outcome.items[f"{CLUSTER}/{name}"]
    found = newest(world, name)
    assert found["serviceDeploymentArn"] == item.rollback_stop
    assert found["status"] == "ROLLBACK_SUCCESSFUL"
    assert revision(world, found["rollback"]["serviceRevisionArn"]) == before[name]
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
    begun = [int(outcome.items[f"{CLUSTER}/{name}"].rollback_started_at or 0) for name in STAYS]
    assert min(begun) - outcome.record.failing_since <= POLL_SECONDS + 10


def test_after_an_unwhole_release_it_goes_back_to_the_last_whole_state(
    world: World,
) -> None:
    """ECS's own rollback would lead to what that release has left, so a new deployment goes back, which stops at the pause, too."""
    stack, names = world.stack, ("waits", "sibling")
    whole = ran(world)
    execution = release_until_they_stay(world, names, "3", onFailure="stop")
    continue_from_its_pause(world, "waits", "waits:3")
    left = stack.wait(execution)
    assert left.error == "EcsRelease.FAILED", left.cause
    assert ran(world)["waits"] == left.items[f"{CLUSTER}/waits"].after != whole["waits"]

    execution = release_until_they_stay(world, names, "4")
    deployed = newest(world, "waits")
    (before,) = world.images(whole["waits"]).values()
    continue_from_its_pause(world, "waits", before.rpartition("/")[2])
    outcome = stack.wait(execution)
    assert outcome.error == "EcsRelease.ROLLED_BACK", outcome.cause
    assert ran(world) == whole
    item = outcome.items[f"{CLUSTER}/waits"]
    assert (item.before, item.rollback_to, item.rollback_stop) == (whole["waits"], whole["waits"], None)
    (given_up,) = world.ecs.describe_service_deployments(
        serviceDeploymentArns=[deployed["serviceDeploymentArn"]]
    )["serviceDeployments"]
    assert "rollback" not in given_up
    assert revision(world, deployed["sourceServiceRevisions"][0]["arn"]) == left.items[item.name].after
