"""Blue/green, linear and canary deployments go through AWS's stages, wait where AWS waits, and go back when they are stopped."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import ClientError
from ecs_estate import Estate, eventually
from local_aws.client import HANG_SECONDS, LocalAws
from local_aws.services.ecs.lifecycle import STAGES, place

FAST = 0.3
DAYS = 24 * 60


@pytest.fixture
def estate(aws: LocalAws) -> Estate:
    aws.control("deployments", {"visibility": 0})
    aws.rollouts([{"seconds": FAST}])
    return Estate(aws)


def blue_green(bake: int = 0, **more: Any) -> dict[str, Any]:
    return {"strategy": "BLUE_GREEN", "bakeTimeInMinutes": bake, **more}


def pause(stage: str, minutes: int = 2 * DAYS, action: str = "ROLLBACK") -> dict[str, Any]:
    timeout = {"timeoutInMinutes": minutes, "action": action}
    return {"targetType": "PAUSE", "lifecycleStages": [stage], "timeoutConfiguration": timeout}


def newest(estate: Estate) -> dict[str, Any]:
    return estate.records()[0]


def reaches(estate: Estate, stage: str) -> dict[str, Any]:
    return dict(eventually(lambda: newest(estate).get("lifecycleStage") == stage and newest(estate)))


def ends(estate: Estate, status: str) -> dict[str, Any]:
    return dict(eventually(lambda: newest(estate)["status"] == status and newest(estate)))


def deploy(estate: Estate, version: int = 2) -> dict[str, Any]:
    return estate.update(taskDefinition=estate.register(image=f"app:{version}"))


def test_it_is_in_progress_through_its_bake_time_with_both_revisions(estate: Estate) -> None:
    estate.create(deploymentConfiguration=blue_green(bake=1380))
    deploy(estate)
    record = reaches(estate, "BAKE_TIME")
    assert record["status"] == "IN_PROGRESS"
    assert [entry["runningCount"] for entry in estate.deployments()] == [2, 2]
    assert all("rolloutState" not in entry for entry in estate.deployments())


def test_it_ends_with_its_bake_time(estate: Estate) -> None:
    estate.aws.control("deployments", {"minute": FAST})
    estate.create(deploymentConfiguration=blue_green(bake=2))
    started = deploy(estate)["deployments"][0]["id"]
    ends(estate, "SUCCESSFUL")
    assert [entry["id"] for entry in estate.deployments()] == [started]


@pytest.mark.parametrize("variant", ["new", "promoted"])
def test_stopped_in_its_bake_time_it_goes_back_to_its_source(estate: Estate, variant: str) -> None:
    estate.aws.control("deployments", {"rollback": variant})
    old = estate.create(deploymentConfiguration=blue_green(bake=1380))
    deploy(estate)
    record = reaches(estate, "BAKE_TIME")
    arn = record["serviceDeploymentArn"]
    assert estate.ecs.stop_service_deployment(serviceDeploymentArn=arn)["serviceDeploymentArn"] == arn
    assert newest(estate)["status"] in ("ROLLBACK_REQUESTED", "ROLLBACK_IN_PROGRESS")
    estate.ecs.stop_service_deployment(serviceDeploymentArn=arn)  # it continues the rollback
    record = ends(estate, "ROLLBACK_SUCCESSFUL")
    assert record["rollback"]["serviceRevisionArn"] == record["sourceServiceRevisions"][0]["arn"]
    assert estate.service()["taskDefinition"] == old["taskDefinition"]
    assert len(estate.records()) == 2, "a rollback is no service deployment of its own"
    with pytest.raises(ClientError, match="ConflictException"):
        estate.ecs.stop_service_deployment(serviceDeploymentArn=arn)


def test_what_is_unknown_and_what_is_over_cannot_be_stopped(estate: Estate) -> None:
    estate.create(deploymentConfiguration=blue_green())
    arn = newest(estate)["serviceDeploymentArn"]
    with pytest.raises(ClientError, match="ConflictException"):
        estate.ecs.stop_service_deployment(serviceDeploymentArn=arn, stopType="ROLLBACK")
    with pytest.raises(ClientError, match="ServiceDeploymentNotFoundException"):
        estate.ecs.stop_service_deployment(serviceDeploymentArn=f"{arn}x")


def test_an_update_meanwhile_begins_by_reconciling_and_goes_back_to_what_was_not_done(estate: Estate) -> None:
    """ "The previous service revision" is then the one that was on its way, not the one before it."""
    estate.create(deploymentConfiguration=blue_green(bake=1380))
    deploy(estate, 2)
    reaches(estate, "BAKE_TIME")
    second = estate.service()["taskDefinition"]
    estate.aws.rollouts([{"seconds": 60}])
    deploy(estate, 3)
    record = newest(estate)
    assert record["lifecycleStage"] == "RECONCILE_SERVICE"
    assert len(record["sourceServiceRevisions"]) == 2
    assert estate.records()[1]["status"] == "STOPPED"
    estate.ecs.stop_service_deployment(serviceDeploymentArn=record["serviceDeploymentArn"])
    eventually(lambda: estate.service()["taskDefinition"] == second)


def test_a_pause_hook_waits_for_somebody(estate: Estate) -> None:
    hooks = [pause("POST_TEST_TRAFFIC_SHIFT")]
    estate.create(deploymentConfiguration=blue_green(lifecycleHooks=hooks))
    deploy(estate)
    record = reaches(estate, "POST_TEST_TRAFFIC_SHIFT")
    assert record["status"] == "IN_PROGRESS"
    (hook,) = record["lifecycleHookDetails"]
    assert (hook["targetType"], hook["status"]) == ("PAUSE", "AWAITING_ACTION")
    arn = record["serviceDeploymentArn"]
    with pytest.raises(ClientError, match="InvalidParameterException"):
        estate.ecs.continue_service_deployment(serviceDeploymentArn=arn, hookId="another")
    estate.ecs.continue_service_deployment(serviceDeploymentArn=arn, hookId=hook["hookId"], action="CONTINUE")
    ends(estate, "SUCCESSFUL")


@pytest.mark.parametrize(
    ("action", "status"), [("ROLLBACK", "ROLLBACK_SUCCESSFUL"), ("CONTINUE", "SUCCESSFUL")]
)
def test_a_pause_hook_that_nobody_answers_does_what_it_was_told(
    estate: Estate, action: str, status: str
) -> None:
    estate.aws.control("deployments", {"minute": FAST})
    hooks = [pause("POST_PRODUCTION_TRAFFIC_SHIFT", minutes=1, action=action)]
    estate.create(deploymentConfiguration=blue_green(lifecycleHooks=hooks))
    deploy(estate)
    ends(estate, status)


def test_reads_of_a_service_deployment_lag_behind_its_stop(estate: Estate) -> None:
    estate.create(deploymentConfiguration=blue_green(bake=1380))
    deploy(estate)
    arn = reaches(estate, "BAKE_TIME")["serviceDeploymentArn"]
    estate.aws.control("lag", {"seconds": 100 * HANG_SECONDS})
    estate.service()
    eventually(lambda: newest(estate)["status"] == "IN_PROGRESS")
    estate.ecs.stop_service_deployment(serviceDeploymentArn=arn)
    old = [newest(estate)["status"] for _ in range(10)]
    assert "IN_PROGRESS" in old
    estate.aws.control("lag", {"seconds": 0})
    ends(estate, "ROLLBACK_SUCCESSFUL")


@pytest.mark.parametrize("reconciles", [False, True])
def test_the_stages_come_in_awss_order_and_last_what_they_are_told(reconciles: bool) -> None:
    configuration = {
        "bakeTimeInMinutes": 3,
        "lifecycleHooks": [pause("PRE_SCALE_UP", minutes=1, action="CONTINUE")],
    }
    seen: list[str] = []
    age = 0.0
    while True:
        now = place(age, configuration, seconds=5, minute=60, reconciles=reconciles, continued={})
        if now.over:
            break
        seen.append(now.stage)
        assert now.until is not None
        age = now.until
    assert seen == [
        s for s in STAGES if s in {"PRE_SCALE_UP", "SCALE_UP", "BAKE_TIME"} or (reconciles and s == STAGES[0])
    ]
    assert age == 60 + 5 + 180 + (5 if reconciles else 0)
