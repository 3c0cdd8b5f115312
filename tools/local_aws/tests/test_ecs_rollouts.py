"""Amazon ECS services roll out, fail, roll back, stall and are superseded as AWS documents it."""

from __future__ import annotations

import re
from typing import Any

import pytest
from botocore.exceptions import ClientError
from ecs_estate import Estate, eventually
from local_aws.client import HANG_SECONDS, LocalAws

BREAKER = {"deploymentCircuitBreaker": {"enable": True, "rollback": False}}
FAST = 0.4


@pytest.fixture
def estate(aws: LocalAws) -> Estate:
    return Estate(aws)


def primary(estate: Estate) -> dict[str, Any]:
    return next(entry for entry in estate.deployments() if entry["status"] == "PRIMARY")


def test_a_new_service_is_completed_at_once(estate: Estate) -> None:
    service = estate.create(tags=[{"key": "team", "value": "a"}])
    (deployment,) = service["deployments"]
    assert deployment["rolloutState"] == "COMPLETED"
    assert re.fullmatch(r"ecs-svc/\d{19}", deployment["id"])
    assert (service["runningCount"], service["pendingCount"]) == (2, 0)
    assert "tags" not in estate.service()
    assert estate.service(include=["TAGS"])["tags"] == [{"key": "team", "value": "a"}]


def test_creation_takes_its_time_by_a_rule_for_creations(estate: Estate) -> None:
    estate.aws.rollouts([{"creation": True, "outcome": "stall"}])
    assert estate.create()["deployments"][0]["rolloutState"] == "IN_PROGRESS"


def test_a_rollout_completes_and_the_old_deployment_goes(estate: Estate) -> None:
    old = estate.create()["deployments"][0]
    estate.aws.rollouts([{"seconds": FAST}])
    new = estate.register(image="app:2")
    service = estate.update(taskDefinition=new)
    assert service["taskDefinition"] == new
    assert [entry["status"] for entry in service["deployments"]] == ["PRIMARY", "ACTIVE"]
    started = service["deployments"][0]
    assert started["rolloutState"] == "IN_PROGRESS"
    assert started["taskDefinition"] == new
    eventually(lambda: primary(estate)["rolloutState"] == "COMPLETED")
    (deployment,) = estate.deployments()
    assert deployment["id"] == started["id"] != old["id"]
    assert deployment["runningCount"] == 2


def test_the_same_definition_starts_nothing_and_force_does(estate: Estate) -> None:
    before = estate.create()
    same = estate.update(taskDefinition=before["taskDefinition"], desiredCount=3)
    assert [entry["id"] for entry in same["deployments"]] == [before["deployments"][0]["id"]]
    assert same["desiredCount"] == 3
    forced = estate.update(forceNewDeployment=True)
    assert forced["deployments"][0]["id"] != before["deployments"][0]["id"]


def test_a_family_without_revision_becomes_a_full_arn(estate: Estate) -> None:
    arn = estate.register()
    assert estate.create(taskDefinition=estate.cluster)["taskDefinition"] == arn


def test_with_the_circuit_breaker_a_failing_rollout_ends_failed(estate: Estate) -> None:
    estate.create(deploymentConfiguration=BREAKER)
    estate.aws.rollouts([{"image": "crash", "outcome": "fail", "seconds": FAST}])
    started = estate.update(taskDefinition=estate.register(image="crash:1"))["deployments"][0]["id"]
    eventually(lambda: primary(estate)["rolloutState"] == "FAILED")
    failed = primary(estate)
    assert failed["id"] == started
    assert failed["rolloutStateReason"] == "ECS deployment circuit breaker: tasks failed to start."
    assert failed["failedTasks"] >= 3


def test_without_the_circuit_breaker_it_stays_in_progress_and_failed_tasks_grow(estate: Estate) -> None:
    estate.create()
    estate.aws.rollouts([{"image": "crash", "outcome": "fail", "seconds": FAST}])
    estate.update(taskDefinition=estate.register(image="crash:1"))
    counts = {eventually(lambda: primary(estate)["failedTasks"])}
    counts.add(
        eventually(lambda: max(primary(estate)["failedTasks"], 4) > 4 and primary(estate)["failedTasks"])
    )
    assert len(counts) == 2
    assert primary(estate)["rolloutState"] == "IN_PROGRESS"


def test_an_image_that_dies_after_completion_is_started_again_and_the_deployment_stays_completed(
    estate: Estate,
) -> None:
    """Nothing of it is counted any more: aws/containers-roadmap#1206."""
    estate.create(deploymentConfiguration={"deploymentCircuitBreaker": {"enable": True, "rollback": True}})
    estate.aws.rollouts([{"image": "dies", "seconds": FAST, "dies_after": 0.5}])
    started = estate.update(taskDefinition=estate.register(image="dies:1"))["deployments"][0]["id"]
    eventually(lambda: primary(estate)["rolloutState"] == "COMPLETED")
    eventually(lambda: primary(estate)["runningCount"] == 0)
    eventually(lambda: primary(estate)["runningCount"] == 2)  # replaced
    listed = eventually(
        lambda: [
            task
            for task in stopped(estate)
            if task["startedBy"] == started and task["stopCode"] == "EssentialContainerExited"
        ]
    )
    assert {c["exitCode"] for task in listed for c in task["containers"]} == {1}
    found = primary(estate)
    assert (found["id"], found["rolloutState"], found["failedTasks"]) == (started, "COMPLETED", 0)
    assert found["runningCount"] + found["pendingCount"] == 2


def test_what_takes_the_place_of_an_image_that_dies_lives(estate: Estate) -> None:
    estate.create()
    estate.aws.rollouts([{"image": "dies", "seconds": FAST, "dies_after": 0.2}, {"seconds": FAST}])
    estate.update(taskDefinition=estate.register(image="dies:1"))
    eventually(lambda: primary(estate)["runningCount"] == 0 and stopped(estate))
    back = estate.update(taskDefinition=estate.register(image="app:2"))["deployments"][0]["id"]
    eventually(lambda: primary(estate)["rolloutState"] == "COMPLETED")
    running = estate.ecs.list_tasks(cluster=estate.cluster, serviceName="web")["taskArns"]
    tasks = estate.ecs.describe_tasks(cluster=estate.cluster, tasks=running)["tasks"]
    assert [task["startedBy"] for task in tasks] == [back, back]


def stopped(estate: Estate) -> list[dict[str, Any]]:
    arns = estate.ecs.list_tasks(cluster=estate.cluster, serviceName="web", desiredStatus="STOPPED")
    if not arns["taskArns"]:
        return []
    found: list[dict[str, Any]] = estate.ecs.describe_tasks(cluster=estate.cluster, tasks=arns["taskArns"])[
        "tasks"
    ]
    return found


def test_crashed_tasks_say_why(estate: Estate) -> None:
    estate.create()
    containers = [
        {"name": "proxy", "image": "proxy:1", "memory": 64},
        {"name": "app", "image": "crash:1", "memory": 64},
    ]
    estate.aws.rollouts([{"image": "crash", "outcome": "fail", "seconds": FAST}])
    started = estate.update(taskDefinition=estate.register(containerDefinitions=containers))["deployments"][
        0
    ]["id"]
    arns = eventually(
        lambda: estate.ecs.list_tasks(cluster=estate.cluster, serviceName="web", desiredStatus="STOPPED")[
            "taskArns"
        ]
    )
    task = estate.ecs.describe_tasks(cluster=estate.cluster, tasks=arns[:1])["tasks"][0]
    assert task["startedBy"] == started
    assert task["stopCode"] == "EssentialContainerExited"
    assert task["stoppedReason"] == "Essential container in task exited"
    assert {c["name"]: c["exitCode"] for c in task["containers"]} == {"proxy": 0, "app": 1}


def test_the_circuit_breaker_rolls_back_to_the_last_completed_deployment(estate: Estate) -> None:
    old = estate.create()
    estate.aws.rollouts([{"image": "crash", "outcome": "circuit_breaker_rollback", "seconds": FAST}])
    broken = estate.register(image="crash:1")
    started = estate.update(taskDefinition=broken)["deployments"][0]["id"]
    eventually(lambda: primary(estate)["id"] != started)
    service = estate.service()
    assert service["taskDefinition"] == old["taskDefinition"]
    back, failed = service["deployments"][0], next(d for d in service["deployments"] if d["id"] == started)
    assert (failed["status"], failed["rolloutState"]) == ("ACTIVE", "FAILED")
    assert back["rolloutStateReason"].endswith(f"rolling back to deploymentId {back['id']}.")
    assert back["id"] not in (started, old["deployments"][0]["id"])
    eventually(lambda: primary(estate)["rolloutState"] == "COMPLETED")
    assert [entry["id"] for entry in estate.deployments()] == [back["id"]]
    record = eventually(lambda: [r for r in estate.records() if r["status"] == "ROLLBACK_SUCCESSFUL"])[0]
    assert "circuit breaker" in record["rollback"]["reason"]
    arns = [record["targetServiceRevision"]["arn"], record["rollback"]["serviceRevisionArn"]]
    revisions = estate.ecs.describe_service_revisions(serviceRevisionArns=arns)["serviceRevisions"]
    assert [entry["taskDefinition"] for entry in revisions] == [broken, old["taskDefinition"]]


def test_with_nothing_completed_before_the_circuit_breaker_stalls(estate: Estate) -> None:
    estate.aws.rollouts([{"creation": True, "outcome": "circuit_breaker_rollback", "seconds": FAST}])
    started = estate.create()["deployments"][0]["id"]
    eventually(lambda: primary(estate)["rolloutState"] == "FAILED")
    assert primary(estate)["id"] == started
    assert primary(estate)["runningCount"] == 0


def test_a_stalled_rollout_stays_in_progress(estate: Estate) -> None:
    estate.create()
    estate.create("other")
    estate.aws.rollouts([{"service": "^web$", "outcome": "stall"}, {"seconds": FAST}])
    estate.update(taskDefinition=estate.register(image="app:2"))
    estate.update("other", taskDefinition=estate.register(image="app:2"))
    eventually(lambda: estate.deployments("other")[0]["rolloutState"] == "COMPLETED")
    assert primary(estate)["rolloutState"] == "IN_PROGRESS"
    assert primary(estate)["failedTasks"] == 0
    assert estate.service()["runningCount"] == 2  # the old ones


def test_what_keeps_tasks_from_starting_stands_in_the_events_once(estate: Estate) -> None:
    estate.create()
    said = "was unable to place a task because no container instance met all of its requirements."
    estate.aws.rollouts([{"outcome": "stall", "reason": said}])
    estate.update(taskDefinition=estate.register(image="app:2"))
    eventually(lambda: any(said in event["message"] for event in estate.service()["events"]))
    assert [event["message"] for event in estate.service()["events"]].count(f"(service web) {said}") == 1


def test_a_newer_rollout_supersedes(estate: Estate) -> None:
    estate.create()
    estate.aws.rollouts([{"image": "app:2", "outcome": "stall"}, {"seconds": FAST}])
    first = estate.update(taskDefinition=estate.register(image="app:2"))["deployments"][0]["id"]
    second = estate.update(taskDefinition=estate.register(image="app:3"))
    assert first not in [entry["id"] for entry in second["deployments"]]  # it never had a task
    newest = second["deployments"][0]["id"]
    eventually(lambda: [entry["id"] for entry in estate.deployments()] == [newest])
    records = eventually(lambda: len(estate.records()) == 3 and estate.records())
    assert [record["status"] for record in records] == ["SUCCESSFUL", "STOPPED", "SUCCESSFUL"]


def test_desired_count_zero_completes_at_once_with_no_task(estate: Estate) -> None:
    estate.create(desired=0)
    estate.aws.rollouts([{"outcome": "stall"}])
    deployment = estate.update(taskDefinition=estate.register(image="app:2"))["deployments"][0]
    assert deployment["rolloutState"] == "COMPLETED"
    assert deployment["runningCount"] == 0


@pytest.mark.parametrize("strategy", ["BLUE_GREEN", "LINEAR", "CANARY"])
def test_other_strategies_tell_through_the_service_deployment_only(estate: Estate, strategy: str) -> None:
    configuration = {"strategy": strategy, "bakeTimeInMinutes": 0}
    service = estate.create(deploymentConfiguration=configuration)
    assert service["deploymentConfiguration"]["strategy"] == strategy
    estate.aws.rollouts([{"outcome": "circuit_breaker_rollback", "seconds": FAST}])
    started = estate.update(taskDefinition=estate.register(image="app:2"))
    assert all("rolloutState" not in entry for entry in started["deployments"])
    record = eventually(lambda: [r for r in estate.records() if r["status"] == "ROLLBACK_SUCCESSFUL"])[0]
    assert record["deploymentConfiguration"]["strategy"] == strategy
    assert all("rolloutState" not in entry for entry in estate.deployments())


def test_service_deployments_become_visible_after_a_delay(estate: Estate) -> None:
    estate.create()
    estate.aws.rollouts([{"outcome": "stall"}])
    estate.aws.control("visibility", {"seconds": HANG_SECONDS})
    estate.update(taskDefinition=estate.register(image="app:2"))
    assert len(estate.records()) < 2
    estate.aws.control("visibility", {"seconds": 0.1})
    newest = eventually(lambda: len(estate.records()) == 2 and estate.records()[0])
    assert newest["status"] == "IN_PROGRESS"
    assert estate.service()["currentServiceDeployment"] == newest["serviceDeploymentArn"]


def test_stopping_a_service_deployment_rolls_back(estate: Estate) -> None:
    old = estate.create()["taskDefinition"]
    estate.aws.control("visibility", {"seconds": 0})
    estate.aws.rollouts([{"outcome": "stall", "seconds": FAST}])
    estate.update(taskDefinition=estate.register(image="app:2"))
    arn = estate.service()["currentServiceDeployment"]
    estate.ecs.stop_service_deployment(serviceDeploymentArn=arn)
    eventually(lambda: estate.records()[0]["status"] == "ROLLBACK_SUCCESSFUL")
    assert estate.service()["taskDefinition"] == old


def test_an_inactive_revision_is_refused(estate: Estate) -> None:
    estate.create()
    arn = estate.register(image="app:2")
    estate.ecs.deregister_task_definition(taskDefinition=arn)
    with pytest.raises(ClientError, match="inactive") as caught:
        estate.update(taskDefinition=arn)
    assert caught.value.response["Error"]["Code"] == "ClientException"


@pytest.mark.parametrize("controller", ["CODE_DEPLOY", "EXTERNAL"])
def test_other_deployment_controllers_refuse_a_task_definition(estate: Estate, controller: str) -> None:
    estate.create(deploymentController={"type": controller})
    assert estate.service()["deploymentController"] == {"type": controller}
    with pytest.raises(ClientError, match=f"{controller} deployment controller") as caught:
        estate.update(taskDefinition=estate.register(image="app:2"))
    assert caught.value.response["Error"]["Code"] == "InvalidParameterException"
    with pytest.raises(ClientError, match="Cannot force a new deployment"):
        estate.update(forceNewDeployment=True)
    assert estate.update(desiredCount=3)["desiredCount"] == 3


def test_missing_and_deleted_services_and_clusters(estate: Estate) -> None:
    estate.create()
    with pytest.raises(ClientError, match="ServiceNotFoundException"):
        estate.update("nothing")
    with pytest.raises(ClientError, match="ClusterNotFoundException"):
        estate.ecs.update_service(cluster="nowhere", service="web")
    answer = estate.ecs.describe_services(cluster=estate.cluster, services=["web", "nothing"])
    assert [failure["reason"] for failure in answer["failures"]] == ["MISSING"]
    with pytest.raises(ClientError, match="scaled above 0"):
        estate.ecs.delete_service(cluster=estate.cluster, service="web")
    estate.ecs.delete_service(cluster=estate.cluster, service="web", force=True)
    deleted = estate.service()
    assert (deleted["status"], deleted["deployments"]) == ("INACTIVE", [])
    with pytest.raises(ClientError, match="ServiceNotActiveException"):
        estate.update()
    assert estate.create()["status"] == "ACTIVE"


def test_describe_takes_at_most_ten_services(estate: Estate) -> None:
    with pytest.raises(ClientError, match="InvalidParameterException"):
        estate.ecs.describe_services(cluster=estate.cluster, services=[f"s{n}" for n in range(11)])


def test_arns_and_names_reach_the_same_service(estate: Estate) -> None:
    service = estate.create()
    answer = estate.ecs.describe_services(cluster=service["clusterArn"], services=[service["serviceArn"]])
    assert answer["services"][0]["serviceName"] == "web"


def test_a_rule_means_the_name_and_the_image_that_it_says(estate: Estate) -> None:
    estate.create("web")
    estate.create("api")
    estate.aws.rollouts([{"service": "^api$", "image": "app:2", "outcome": "stall"}, {"seconds": 0}])
    definition = estate.register(image="app:2")
    assert estate.update("web", taskDefinition=definition)["deployments"][0]["rolloutState"] == "COMPLETED"
    assert estate.update("api", taskDefinition=definition)["deployments"][0]["rolloutState"] == "IN_PROGRESS"


def test_run_task_takes_the_newest_active_revision(estate: Estate) -> None:
    estate.register()
    newest = estate.register(image="app:2")
    task = estate.ecs.run_task(cluster=estate.cluster, taskDefinition=estate.cluster)["tasks"][0]
    assert task["taskDefinitionArn"] == newest
    estate.ecs.deregister_task_definition(taskDefinition=newest)
    with pytest.raises(ClientError, match="TaskDefinition is inactive"):
        estate.ecs.run_task(cluster=estate.cluster, taskDefinition=newest)
