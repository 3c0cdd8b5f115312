"""Amazon ECS task definitions lose nothing on the way in and out."""

from __future__ import annotations

import json
import urllib.request
from typing import Any

import pytest
from botocore.exceptions import ClientError
from ecs_estate import Estate
from local_aws.client import LocalAws

OUTPUT_ONLY = {
    "taskDefinitionArn",
    "revision",
    "status",
    "requiresAttributes",
    "compatibilities",
    "registeredAt",
    "registeredBy",
}


@pytest.fixture
def estate(aws: LocalAws) -> Estate:
    return Estate(aws)


def raw(aws: LocalAws, operation: str, body: dict[str, Any]) -> dict[str, Any]:
    """Call ECS without botocore, which would drop members that it does not know."""
    request = urllib.request.Request(
        aws.endpoint,
        data=json.dumps(body).encode(),
        headers={
            "X-Amz-Target": f"AmazonEC2ContainerServiceV20141113.{operation}",
            "Content-Type": "application/x-amz-json-1.1",
            "Authorization": "AWS4-HMAC-SHA256 Credential=local/20261123/us-east-1/ecs/aws4_request, "
            "SignedHeaders=host, Signature=0",
        },
    )
    with urllib.request.urlopen(request) as answer:
        document: dict[str, Any] = json.load(answer)
    return document


def test_unknown_members_come_back_also_nested_ones(estate: Estate) -> None:
    body = {
        "family": estate.cluster,
        "newTopLevel": {"a": [1, {"b": None}]},
        "containerDefinitions": [{"name": "app", "image": "app:1", "quantumLink": {"qubits": 3}}],
    }
    raw(estate.aws, "RegisterTaskDefinition", body)
    answer = raw(estate.aws, "DescribeTaskDefinition", {"taskDefinition": estate.cluster})["taskDefinition"]
    assert answer["newTopLevel"] == {"a": [1, {"b": None}]}
    assert answer["containerDefinitions"][0]["quantumLink"] == {"qubits": 3}


def test_answer_is_the_request_with_the_defaults_and_outputs_that_aws_adds(estate: Estate) -> None:
    body = {
        "family": estate.cluster,
        "networkMode": "awsvpc",
        "requiresCompatibilities": ["FARGATE"],
        "cpu": "256",
        "memory": "512",
        "runtimePlatform": {"cpuArchitecture": "ARM64"},
        "ephemeralStorage": {"sizeInGiB": 30},
        "containerDefinitions": [{"name": "app", "image": "app:1", "portMappings": [{"containerPort": 80}]}],
    }
    raw(estate.aws, "RegisterTaskDefinition", body)
    answer = raw(estate.aws, "DescribeTaskDefinition", {"taskDefinition": estate.cluster})["taskDefinition"]
    assert set(answer) - set(body) == OUTPUT_ONLY | {"volumes", "placementConstraints"}
    container = answer["containerDefinitions"][0]
    assert container == {
        "name": "app",
        "image": "app:1",
        "cpu": 0,
        "essential": True,
        "environment": [],
        "mountPoints": [],
        "volumesFrom": [],
        "systemControls": [],
        "portMappings": [{"containerPort": 80, "hostPort": 80, "protocol": "tcp"}],
    }
    assert answer["compatibilities"] == ["EC2", "FARGATE"]


def test_copying_an_answer_gives_an_equal_revision(estate: Estate) -> None:
    estate.register(image="app:1", cpu="256")
    first = raw(estate.aws, "DescribeTaskDefinition", {"taskDefinition": estate.cluster})["taskDefinition"]
    copied = {key: value for key, value in first.items() if key not in OUTPUT_ONLY}
    second = raw(estate.aws, "RegisterTaskDefinition", copied)["taskDefinition"]
    strip = OUTPUT_ONLY - {"compatibilities", "requiresAttributes", "status"}
    assert {k: v for k, v in second.items() if k not in strip} == {
        k: v for k, v in first.items() if k not in strip
    }


def test_tags_stand_beside_and_only_when_asked_for(estate: Estate) -> None:
    arn = estate.register(tags=[{"key": "team", "value": "a"}])
    assert "tags" not in estate.ecs.describe_task_definition(taskDefinition=arn)
    asked = estate.ecs.describe_task_definition(taskDefinition=arn, include=["TAGS"])
    assert asked["tags"] == [{"key": "team", "value": "a"}]
    estate.ecs.tag_resource(resourceArn=arn, tags=[{"key": "more", "value": "b"}])
    assert len(estate.ecs.list_tags_for_resource(resourceArn=arn)["tags"]) == 2


def test_more_than_fifty_tags_are_refused(estate: Estate) -> None:
    with pytest.raises(ClientError, match="InvalidParameterException"):
        estate.register(tags=[{"key": f"k{n}", "value": "v"} for n in range(51)])


def test_revisions_are_not_reused_and_a_family_means_its_newest_active_one(estate: Estate) -> None:
    first, second, third = (estate.register() for _ in range(3))
    estate.ecs.deregister_task_definition(taskDefinition=third)
    described = estate.ecs.describe_task_definition(taskDefinition=estate.cluster)["taskDefinition"]
    assert described["taskDefinitionArn"] == second
    assert estate.register().endswith(":4")
    inactive = estate.ecs.describe_task_definition(taskDefinition=third)["taskDefinition"]
    assert inactive["status"] == "INACTIVE"
    assert inactive["deregisteredAt"]
    assert first.endswith(":1")


def test_list_takes_the_exact_family_and_sorts(estate: Estate) -> None:
    arns = [estate.register() for _ in range(3)]
    estate.register(family=estate.cluster + "-more")
    listed = estate.ecs.list_task_definitions(familyPrefix=estate.cluster, sort="DESC")["taskDefinitionArns"]
    assert listed == arns[::-1]
    estate.ecs.deregister_task_definition(taskDefinition=arns[0])
    inactive = estate.ecs.list_task_definitions(familyPrefix=estate.cluster, status="INACTIVE")
    assert inactive["taskDefinitionArns"] == arns[:1]
    pages = estate.ecs.get_paginator("list_task_definitions").paginate(
        familyPrefix=estate.cluster, PaginationConfig={"PageSize": 1}
    )
    assert [arn for page in pages for arn in page["taskDefinitionArns"]] == arns[1:]


@pytest.mark.parametrize("reference", ["no-such-family", "no-such-family:7"])
def test_an_unknown_definition_is_a_client_exception(estate: Estate, reference: str) -> None:
    with pytest.raises(ClientError, match="Unable to describe task definition") as caught:
        estate.ecs.describe_task_definition(taskDefinition=reference)
    assert caught.value.response["Error"]["Code"] == "ClientException"


def test_each_account_has_its_own_families(estate: Estate) -> None:
    estate.register()
    other = estate.aws.client("ecs", account="222222222222")
    assert other.list_task_definitions(familyPrefix=estate.cluster)["taskDefinitionArns"] == []
    elsewhere = estate.aws.client("ecs", region="eu-west-1")
    assert elsewhere.list_task_definitions(familyPrefix=estate.cluster)["taskDefinitionArns"] == []
