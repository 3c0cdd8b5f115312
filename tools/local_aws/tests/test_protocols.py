"""Calls come in the protocols that AWS clients speak, and errors go back in the same."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import Any

import pytest
from botocore.exceptions import ClientError
from local_aws.client import LocalAws
from local_aws.kernel import calls, cbor


def send(
    aws: LocalAws, service: str, path: str, body: bytes, headers: dict[str, str]
) -> tuple[int, Any, bytes]:
    scope = f"Credential=local/20261123/us-east-1/{service}/aws4_request"
    request = urllib.request.Request(
        aws.endpoint + path,
        data=body,
        headers={"Authorization": f"AWS4-HMAC-SHA256 {scope}, SignedHeaders=host, Signature=0", **headers},
    )
    try:
        with urllib.request.urlopen(request) as answer:
            return answer.status, answer.headers, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.headers, error.read()


def rpc(aws: LocalAws, target: str, operation: str, body: dict[str, Any]) -> tuple[int, Any]:
    """Call CodePipeline or CloudWatch the way newer SDKs do: RPC v2 with CBOR."""
    service = {"CodePipeline_20150709": "codepipeline", "GraniteServiceVersion20100801": "monitoring"}[target]
    status, headers, content = send(
        aws,
        service,
        f"/service/{target}/operation/{operation}",
        cbor.dumps(body),
        {"smithy-protocol": "rpc-v2-cbor", "Content-Type": "application/cbor"},
    )
    assert headers["smithy-protocol"] == "rpc-v2-cbor"
    return status, cbor.loads(content)


def test_cbor_is_answered_with_cbor(aws: LocalAws) -> None:
    status, answer = rpc(aws, "CodePipeline_20150709", "ListPipelines", {})
    assert (status, list(answer)) == (200, ["pipelines"])
    status, error = rpc(aws, "CodePipeline_20150709", "GetPipeline", {"name": "nothing"})
    assert status == 400
    assert error["__type"].endswith("PipelineNotFoundException")
    assert aws.count("codepipeline:GetPipeline") == 1


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        0,
        23,
        24,
        255,
        256,
        -1,
        -500,
        2**40,
        1.5,
        "",
        "text" * 100,
        b"bytes",
        [1, [2, {"a": None}]],
        {"k": {"n": [True, False]}},
    ],
)
def test_cbor_reads_what_it_writes(value: Any) -> None:
    assert cbor.loads(cbor.dumps(value)) == value


def test_cbor_reads_indefinite_lengths() -> None:
    assert cbor.loads(bytes.fromhex("bf616101616202ff")) == {"a": 1, "b": 2}
    assert cbor.loads(bytes.fromhex("9f0102ff")) == [1, 2]
    assert cbor.loads(bytes.fromhex("7f61616162ff")) == "ab"


def test_json_errors_carry_their_type(aws: LocalAws) -> None:
    status, headers, content = send(
        aws,
        "ecs",
        "/",
        b'{"cluster": "nowhere", "services": ["s"]}',
        {
            "X-Amz-Target": "AmazonEC2ContainerServiceV20141113.DescribeServices",
            "Content-Type": "application/x-amz-json-1.1",
        },
    )
    assert status == 400
    assert headers["Content-Type"] == "application/x-amz-json-1.1"
    assert json.loads(content) == {"__type": "ClusterNotFoundException", "message": "Cluster not found."}


def test_what_goes_wrong_inside_is_an_error_of_the_service(aws: LocalAws) -> None:
    status, _, content = send(
        aws,
        "ecs",
        "/",
        b"this is not JSON",
        {
            "X-Amz-Target": "AmazonEC2ContainerServiceV20141113.DescribeServices",
            "Content-Type": "application/x-amz-json-1.1",
        },
    )
    assert (status, json.loads(content)["__type"]) == (400, "SerializationException")
    status, _, content = send(
        aws,
        "dynamodb",
        "/",
        b'{"TableName": 7}',
        {"X-Amz-Target": "DynamoDB_20120810.PutItem", "Content-Type": "application/x-amz-json-1.0"},
    )
    assert status >= 400
    assert json.loads(content)["__type"]


@pytest.mark.parametrize("arn", ["arn:nothing-of-the-kind", "arn:aws:iam::123456789012", "arn:" + "x" * 30])
@pytest.mark.parametrize(
    ("service", "operation", "members"),
    [
        ("ecs", "describe_service_revisions", {"serviceRevisionArns": ["{}"]}),
        ("ecs", "describe_service_deployments", {"serviceDeploymentArns": ["{}"]}),
        ("ecs", "list_tags_for_resource", {"resourceArn": "{}"}),
        ("sts", "assume_role", {"RoleArn": "{}", "RoleSessionName": "who"}),
        ("stepfunctions", "describe_execution", {"executionArn": "{}"}),
        ("iam", "simulate_principal_policy", {"PolicySourceArn": "{}", "ActionNames": ["ecs:RunTask"]}),
    ],
)
def test_what_is_no_arn_is_answered_by_the_service(
    aws: LocalAws, service: str, operation: str, members: dict[str, Any], arn: str
) -> None:
    given = json.loads(json.dumps(members).replace("{}", arn))
    answer: Any = {}
    try:
        answer = getattr(aws.client(service), operation)(**given)
    except ClientError as error:
        answer = error.response
    assert answer["ResponseMetadata"]["HTTPStatusCode"] < 500


@pytest.mark.parametrize(
    ("service", "method", "path", "query", "operation", "params"),
    [
        ("scheduler", "PUT", "/schedules/nightly", "", "UpdateSchedule", {"Name": "nightly"}),
        ("scheduler", "POST", "/schedules/nightly", "", "CreateSchedule", {"Name": "nightly"}),
        (
            "scheduler",
            "GET",
            "/schedules/nightly",
            "groupName=jobs",
            "GetSchedule",
            {"Name": "nightly", "groupName": "jobs"},
        ),
        (
            "lambda",
            "POST",
            "/2015-03-31/functions/arn%3Aaws%3Alambda%3Aus-east-1%3A1%3Afunction%3Af%3A2/invocations",
            "",
            "Invoke",
            {"FunctionName": "arn:aws:lambda:us-east-1:1:function:f:2"},
        ),
        ("s3", "GET", "/bucket/a/b", "", "GetObject", {"Bucket": "bucket", "Key": "a/b"}),
        ("s3", "GET", "/bucket", "list-type=2", "ListObjectsV2", {"Bucket": "bucket", "list-type": "2"}),
        ("s3", "PUT", "/bucket", "", "CreateBucket", {"Bucket": "bucket"}),
    ],
)
def test_rest_calls_are_told_apart(
    *, service: str, method: str, path: str, query: str, operation: str, params: dict[str, str]
) -> None:
    environ = {"REQUEST_METHOD": method, "PATH_INFO": path, "RAW_URI": path, "QUERY_STRING": query}
    assert calls.match_route(service, environ) == (operation, params)
