"""One number for a deployment and its service revision, who is PRIMARY after ECS's own rollback, and what a tag meant."""

from __future__ import annotations

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError
from ecs_estate import Estate, eventually
from local_aws.client import LocalAws

FAST = 0.4
BREAKER = {"deploymentCircuitBreaker": {"enable": True, "rollback": True}}
REGISTRY = "123456789012.dkr.ecr.us-east-1.amazonaws.com"


@pytest.fixture
def estate(aws: LocalAws) -> Estate:
    aws.control("deployments", {"visibility": 0})
    return Estate(aws)


def number(identity: str) -> str:
    return identity.rpartition("/")[2]


def primary(estate: Estate) -> dict[str, Any]:
    return next(entry for entry in estate.deployments() if entry["status"] == "PRIMARY")


def revisions(estate: Estate, *arns: str) -> list[dict[str, Any]]:
    answer = estate.ecs.describe_service_revisions(serviceRevisionArns=list(arns))
    found: list[dict[str, Any]] = answer["serviceRevisions"]
    return found


def test_a_deployment_and_its_service_revision_share_a_number(estate: Estate) -> None:
    estate.create()
    updated = estate.update(taskDefinition=estate.register(image="app:2"))
    record = estate.records()[0]
    assert number(updated["deployments"][0]["id"]) == number(record["targetServiceRevision"]["arn"])
    assert updated["currentServiceDeployment"] == record["serviceDeploymentArn"]
    running = {number(entry["arn"]) for entry in updated["currentServiceRevisions"]}
    assert running == {number(entry["id"]) for entry in updated["deployments"]}


@pytest.mark.parametrize("variant", ["new", "promoted"])
def test_after_a_rollback_the_primary_is_the_deployment_that_is_named(estate: Estate, variant: str) -> None:
    estate.aws.control("deployments", {"rollback": variant})
    old = estate.create(deploymentConfiguration=BREAKER)["deployments"][0]
    estate.aws.rollouts([{"image": "crash", "outcome": "circuit_breaker_rollback", "seconds": FAST}])
    started = estate.update(taskDefinition=estate.register(image="crash:1"))["deployments"][0]["id"]
    eventually(lambda: primary(estate)["id"] != started)
    back = primary(estate)
    if back["rolloutState"] == "IN_PROGRESS":
        assert back["rolloutStateReason"].endswith(f"rolling back to deploymentId {back['id']}.")
    said = [event["message"] for event in estate.service()["events"]]
    assert any(f"rolling back to deployment {back['id']}." in message for message in said)
    assert (back["id"] == old["id"]) is (variant == "promoted")
    assert back["createdAt"] > old["createdAt"]
    eventually(lambda: primary(estate)["rolloutState"] == "COMPLETED")
    assert [entry["id"] for entry in estate.deployments()] == [back["id"]]
    assert estate.service()["taskDefinition"] == old["taskDefinition"]


def test_a_deployment_that_gave_way_can_be_seen_draining(estate: Estate) -> None:
    estate.aws.control("deployments", {"draining": 0.5})
    old = estate.create()["deployments"][0]["id"]
    estate.aws.rollouts([{"seconds": FAST}])
    estate.update(taskDefinition=estate.register(image="app:2"))
    eventually(lambda: [d["id"] for d in estate.deployments() if d["status"] == "DRAINING"] == [old])
    eventually(lambda: [d["status"] for d in estate.deployments()] == ["PRIMARY"])


def test_a_sixth_active_deployment_is_refused(estate: Estate) -> None:
    estate.create(desired=100)
    estate.aws.rollouts([{"seconds": 60}])
    for version in range(2, 6):
        estate.update(taskDefinition=estate.register(image=f"app:{version}"))
        eventually(lambda: estate.deployments()[0]["runningCount"] > 0)
    sixth = estate.register(image="app:6")
    before = estate.service()
    with pytest.raises(ClientError, match="5 active deployments exist, unable to create new deployment"):
        estate.update(taskDefinition=sixth)
    assert estate.service()["taskDefinition"] == before["taskDefinition"]
    assert estate.update(desiredCount=99)["desiredCount"] == 99  # which starts none


def test_a_deployment_without_tasks_does_not_stay(estate: Estate) -> None:
    """Such as those that stalled: any number may follow one another."""
    ran = estate.create()["deployments"][0]["id"]
    estate.aws.rollouts([{"outcome": "stall"}])
    for version in range(2, 9):
        newest = estate.update(taskDefinition=estate.register(image=f"app:{version}"))["deployments"][0]["id"]
        assert [d["id"] for d in estate.deployments()] == [newest, ran]


def test_deployments_that_failed_do_not_add_up(estate: Estate) -> None:
    """Where nobody goes back from them: the last one is seen beside the next, and no other."""
    breaker = {"deploymentCircuitBreaker": {"enable": True, "rollback": False}}
    ran = estate.create(deploymentConfiguration=breaker)["deployments"][0]["id"]
    estate.aws.rollouts([{"outcome": "fail", "seconds": FAST}])
    seen = [ran]
    for version in range(2, 9):
        newest = estate.update(taskDefinition=estate.register(image=f"app:{version}"))["deployments"][0]["id"]
        assert [d["id"] for d in estate.deployments()] == [newest, *reversed(seen[1:][-1:]), ran]
        eventually(lambda: estate.deployments()[0]["rolloutState"] == "FAILED")
        seen.append(newest)


def put_image(estate: Estate, repository: str, tag: str, content: str) -> str:
    ecr = estate.aws.client("ecr")
    manifest = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
        "config": {"mediaType": "x", "size": 1, "digest": f"sha256:{content * 64}"},
        "layers": [],
    }
    answer = ecr.put_image(repositoryName=repository, imageTag=tag, imageManifest=json.dumps(manifest))
    return str(answer["image"]["imageId"]["imageDigest"])


def running(estate: Estate) -> list[str | None]:
    arns = estate.ecs.list_tasks(cluster=estate.cluster, serviceName="web")["taskArns"]
    tasks = estate.ecs.describe_tasks(cluster=estate.cluster, tasks=arns)["tasks"]
    return [container.get("imageDigest") for task in tasks for container in task["containers"]]


def test_a_tag_is_resolved_once_for_each_deployment(estate: Estate) -> None:
    """A tag that moves changes nothing that runs, nor what is started of that deployment; the next one takes the new image."""
    estate.aws.client("ecr").create_repository(repositoryName=estate.cluster)
    first = put_image(estate, estate.cluster, "1", "a")
    image = f"{REGISTRY}/{estate.cluster}:1"
    estate.aws.rollouts([{"seconds": 0}])
    made = estate.create(taskDefinition=estate.register(image=image), desired=1)
    (revision,) = revisions(estate, made["currentServiceRevisions"][0]["arn"])
    assert revision["containerImages"] == [{"containerName": "app", "image": image, "imageDigest": first}]
    second = put_image(estate, estate.cluster, "1", "b")
    estate.update(desiredCount=2)
    assert running(estate) == [first, first]
    forced = estate.update(forceNewDeployment=True)
    assert set(eventually(lambda: set(running(estate)) == {second} and running(estate))) == {second}
    named = revisions(estate, made["currentServiceRevisions"][0]["arn"], *_arns(forced))
    assert [entry["containerImages"][0]["imageDigest"] for entry in named[:2]] == [first, second]


def _arns(service: dict[str, Any]) -> list[str]:
    return [entry["arn"] for entry in service["currentServiceRevisions"]]


def test_what_a_registry_does_not_have_and_what_is_not_resolved_has_no_digest(estate: Estate) -> None:
    containers = [
        {"name": "gone", "image": f"{REGISTRY}/{estate.cluster}-none:1", "memory": 64},
        {"name": "pinned", "image": "nginx@sha256:" + "c" * 64, "memory": 64},
        {"name": "loose", "image": "nginx:1", "memory": 64, "versionConsistency": "disabled"},
        {"name": "public", "image": "nginx:1", "memory": 64},
    ]
    made = estate.create(taskDefinition=estate.register(containerDefinitions=containers), desired=1)
    (revision,) = revisions(estate, *_arns(made))
    digests = {entry["containerName"]: entry.get("imageDigest") for entry in revision["containerImages"]}
    assert digests["gone"] is digests["loose"] is None
    assert digests["pinned"] == "sha256:" + "c" * 64
    assert digests["public"] is not None


def test_a_stopped_task_tells_the_digest_that_it_ran(estate: Estate) -> None:
    estate.create()
    estate.aws.rollouts([{"image": "crash", "outcome": "fail", "seconds": FAST}])
    estate.update(taskDefinition=estate.register(image="crash:1"))

    def stopped() -> list[str]:
        arns = estate.ecs.list_tasks(cluster=estate.cluster, serviceName="web", desiredStatus="STOPPED")
        return list(arns["taskArns"])

    tasks = estate.ecs.describe_tasks(cluster=estate.cluster, tasks=eventually(stopped))["tasks"]
    assert all(task["containers"][0]["imageDigest"].startswith("sha256:") for task in tasks)
