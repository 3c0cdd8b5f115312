"""What ECS answers here has no member that AWS's own service model does not know, and none of another type."""

from __future__ import annotations

import json
import urllib.request
from typing import Any

import botocore.session
import pytest
from ecs_estate import Estate, eventually
from local_aws.client import LocalAws

MODEL = botocore.session.get_session().get_service_model("ecs")
TYPES: dict[str, Any] = {
    "string": str,
    "integer": int,
    "long": int,
    "boolean": bool,
    "double": (int, float),
    "float": (int, float),
    "timestamp": (int, float),
}


def raw(aws: LocalAws, operation: str, body: dict[str, Any]) -> Any:
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
        return json.load(answer)


def differences(shape: Any, value: Any, path: str) -> list[str]:
    """Return what of a value does not fit its shape."""
    if shape.type_name == "structure":
        found = [f"{path}.{key} is not in the model" for key in value if key not in shape.members]
        for key, member in shape.members.items():
            if key in value:
                found += differences(member, value[key], f"{path}.{key}")
        return found
    if shape.type_name == "list":
        return [text for item in value for text in differences(shape.member, item, path + "[]")]
    if shape.type_name == "map":
        return [text for item in value.values() for text in differences(shape.value, item, path + "{}")]
    if not isinstance(value, TYPES[shape.type_name]):
        return [f"{path} is {value!r}, not of type {shape.type_name}"]
    if getattr(shape, "enum", None) and value not in shape.enum:
        return [f"{path} is {value!r}, none of {shape.enum}"]
    return []


def check(aws: LocalAws, operation: str, body: dict[str, Any]) -> Any:
    answer = raw(aws, operation, body)
    assert differences(MODEL.operation_model(operation).output_shape, answer, operation) == []
    return answer


@pytest.mark.parametrize("strategy", ["ROLLING", "BLUE_GREEN"])
def test_answers_fit_the_model(aws: LocalAws, strategy: str) -> None:
    estate = Estate(aws)
    cluster = estate.cluster
    containers = [{"name": "app", "image": "app:1", "portMappings": [{"containerPort": 80}]}]
    fargate = {
        "family": cluster,
        "networkMode": "awsvpc",
        "cpu": "256",
        "memory": "512",
        "requiresCompatibilities": ["FARGATE"],
        "taskRoleArn": "arn:aws:iam::123456789012:role/t",
        "executionRoleArn": "arn:aws:iam::123456789012:role/e",
        "tags": [{"key": "a", "value": "b"}],
    }
    check(aws, "RegisterTaskDefinition", {**fargate, "containerDefinitions": containers})
    check(aws, "DescribeTaskDefinition", {"taskDefinition": cluster, "include": ["TAGS"]})
    breaker = {"deploymentCircuitBreaker": {"enable": True, "rollback": True}, "strategy": strategy}
    service = {
        "cluster": cluster,
        "serviceName": "web",
        "taskDefinition": cluster,
        "desiredCount": 2,
        "launchType": "FARGATE",
        "deploymentConfiguration": breaker,
        "networkConfiguration": {"awsvpcConfiguration": {"subnets": ["s"]}},
        "tags": [{"key": "a", "value": "b"}],
    }
    check(aws, "CreateService", service)
    check(aws, "DescribeTaskDefinition", {"taskDefinition": cluster})
    aws.control("visibility", {"seconds": 0})
    aws.rollouts([{"outcome": "circuit_breaker_rollback", "seconds": 0.3}])
    crash = [{"name": "app", "image": "crash:1"}]
    check(aws, "RegisterTaskDefinition", {**fargate, "containerDefinitions": crash})
    check(aws, "UpdateService", {"cluster": cluster, "service": "web", "taskDefinition": cluster})
    named = {"cluster": cluster, "services": ["web", "nothing"], "include": ["TAGS"]}

    def over() -> Any:
        check(aws, "DescribeServices", named)
        listed = check(aws, "ListServiceDeployments", {"cluster": cluster, "service": "web"})
        arns = [entry["serviceDeploymentArn"] for entry in listed["serviceDeployments"]]
        records = check(aws, "DescribeServiceDeployments", {"serviceDeploymentArns": arns})[
            "serviceDeployments"
        ]
        revisions = [record["targetServiceRevision"]["arn"] for record in records]
        check(aws, "DescribeServiceRevisions", {"serviceRevisionArns": [*revisions, "arn:nothing"]})
        return any(record["status"] == "ROLLBACK_SUCCESSFUL" for record in records)

    eventually(over)
    for status in ("RUNNING", "STOPPED"):
        tasks = check(aws, "ListTasks", {"cluster": cluster, "serviceName": "web", "desiredStatus": status})
        assert tasks["taskArns"]
        check(aws, "DescribeTasks", {"cluster": cluster, "tasks": tasks["taskArns"], "include": ["TAGS"]})
    check(aws, "DeleteService", {"cluster": cluster, "service": "web", "force": True})
    check(aws, "DescribeServices", named)
    check(aws, "DeregisterTaskDefinition", {"taskDefinition": f"{cluster}:2"})
    check(aws, "DeleteTaskDefinitions", {"taskDefinitions": [f"{cluster}:2", f"{cluster}:1"]})
