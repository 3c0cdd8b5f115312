"""EventBridge delivers to its targets and keeps them as they were put."""

from __future__ import annotations

import json
import urllib.request
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError
from ecs_estate import Estate
from functions import Function
from local_aws.client import LocalAws
from roles import role, topic_for_rules

FORWARD = """
import boto3, json
def handler(event, context):
    boto3.client("sns").publish(TopicArn="%s", Message=json.dumps(event))
"""


@pytest.fixture
def topic(aws: LocalAws) -> str:
    """A topic that EventBridge may publish to."""
    return topic_for_rules(aws)


@pytest.fixture
def rule(aws: LocalAws) -> str:
    name = f"r-{uuid.uuid4().hex[:8]}"
    aws.client("events").put_rule(Name=name, EventPattern=json.dumps({"source": [name]}))
    return name


def put(aws: LocalAws, rule: str, detail: dict[str, Any]) -> None:
    entry = {"Source": rule, "DetailType": "Test", "Detail": json.dumps(detail)}
    assert aws.client("events").put_events(Entries=[entry])["FailedEntryCount"] == 0


def messages(aws: LocalAws) -> list[Any]:
    return [json.loads(entry["message"]) for entry in aws.notifications()]


def test_an_event_reaches_a_function(
    aws: LocalAws, rule: str, topic: str, eventually: Callable[..., Any]
) -> None:
    function = Function(aws, FORWARD % topic)
    function.permit("events.amazonaws.com")
    aws.client("events").put_targets(Rule=rule, Targets=[{"Id": "f", "Arn": function.arn}])
    put(aws, rule, {"colour": "red"})
    (event,) = eventually(lambda: messages(aws))
    assert (event["source"], event["detail-type"], event["detail"]) == (rule, "Test", {"colour": "red"})
    assert event["time"].endswith("Z")


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        ({"Input": '{"fixed": 1}'}, {"fixed": 1}),
        ({"InputPath": "$.detail"}, {"colour": "red", "list": [1]}),
        (
            {
                "InputTransformer": {
                    "InputPathsMap": {"c": "$.detail.colour", "l": "$.detail.list", "s": "$.source"},
                    "InputTemplate": '{"text": "it is <c>", "colour": <c>, "list": <l>}',
                }
            },
            {"text": "it is red", "colour": "red", "list": [1]},
        ),
    ],
)
def test_a_target_gets_the_input_it_asked_for(
    *,
    aws: LocalAws,
    rule: str,
    topic: str,
    eventually: Callable[..., Any],
    how: dict[str, Any],
    expected: dict[str, Any],
) -> None:
    aws.client("events").put_targets(Rule=rule, Targets=[{"Id": "t", "Arn": topic, **how}])
    put(aws, rule, {"colour": "red", "list": [1]})
    assert eventually(lambda: messages(aws)) == [expected]


def test_an_event_starts_a_state_machine(aws: LocalAws, rule: str, eventually: Callable[..., Any]) -> None:
    states = aws.client("stepfunctions")
    definition = {"StartAt": "P", "States": {"P": {"Type": "Pass", "End": True}}}
    arn = states.create_state_machine(
        name=f"m-{rule}", definition=json.dumps(definition), roleArn=role(aws, "states.amazonaws.com")
    )["stateMachineArn"]
    starter = role(aws, "events.amazonaws.com")
    target = {"Id": "m", "Arn": arn, "InputPath": "$.detail", "RoleArn": starter}
    aws.client("events").put_targets(Rule=rule, Targets=[target])
    put(aws, rule, {"colour": "red"})
    (execution,) = eventually(lambda: states.list_executions(stateMachineArn=arn)["executions"])
    described = states.describe_execution(executionArn=execution["executionArn"])
    assert json.loads(described["input"]) == {"colour": "red"}


def test_an_event_runs_a_task_of_the_newest_revision(
    aws: LocalAws, rule: str, eventually: Callable[..., Any]
) -> None:
    estate = Estate(aws)
    estate.register()
    newest = estate.register(image="app:2")
    cluster = estate.ecs.describe_clusters(clusters=[estate.cluster])["clusters"][0]["clusterArn"]
    target = {
        "Id": "job",
        "Arn": cluster,
        "RoleArn": role(aws, "events.amazonaws.com"),
        "EcsParameters": {"TaskDefinitionArn": newest.rpartition(":")[0]},
    }
    aws.client("events").put_targets(Rule=rule, Targets=[target])
    put(aws, rule, {})
    arns = eventually(lambda: estate.ecs.list_tasks(cluster=estate.cluster)["taskArns"])
    task = estate.ecs.describe_tasks(cluster=estate.cluster, tasks=arns)["tasks"][0]
    assert task["taskDefinitionArn"] == newest


def test_a_function_subscribes_to_a_topic(aws: LocalAws, topic: str, eventually: Callable[..., Any]) -> None:
    sns = aws.client("sns")
    heard = sns.create_topic(Name=f"heard-{uuid.uuid4().hex[:8]}")["TopicArn"]
    function = Function(aws, FORWARD % heard)
    unqualified = function.arn.rpartition(":")[0]
    function.permit("sns.amazonaws.com", qualified=False)
    sns.subscribe(TopicArn=topic, Protocol="lambda", Endpoint=unqualified)
    sns.publish(TopicArn=topic, Message="hello")
    entry = eventually(lambda: [e for e in aws.notifications() if e["topicArn"] == heard])[0]
    assert json.loads(entry["message"])["Records"][0]["Sns"]["Message"] == "hello"


def test_a_disabled_rule_and_another_source_reach_nobody(aws: LocalAws, rule: str, topic: str) -> None:
    events = aws.client("events")
    events.put_targets(Rule=rule, Targets=[{"Id": "t", "Arn": topic}])
    put(aws, "somebody.else", {})
    events.disable_rule(Name=rule)
    put(aws, rule, {})
    assert messages(aws) == []


def test_targets_come_back_as_they_were_put(aws: LocalAws, rule: str) -> None:
    target = {
        "Id": "job",
        "Arn": "arn:aws:ecs:us-east-1:123456789012:cluster/c",
        "RoleArn": "arn:aws:iam::123456789012:role/r",
        "Input": "{}",
        "EcsParameters": {
            "TaskDefinitionArn": "arn:aws:ecs:us-east-1:123456789012:task-definition/f",
            "TaskCount": 1,
            "LaunchType": "FARGATE",
            "NetworkConfiguration": {"awsvpcConfiguration": {"Subnets": ["s"], "AssignPublicIp": "ENABLED"}},
            "PropagateTags": "TASK_DEFINITION",
            "NewMember": {"x": [1]},
        },
        "DeadLetterConfig": {"Arn": "arn:aws:sqs:us-east-1:123456789012:q"},
        "RetryPolicy": {"MaximumRetryAttempts": 1},
        "AnotherNewMember": True,
    }
    raw(aws, "PutTargets", {"Rule": rule, "Targets": [target]})
    assert raw(aws, "ListTargetsByRule", {"Rule": rule})["Targets"] == [target]


def test_a_sixth_target_is_refused(aws: LocalAws, rule: str) -> None:
    events = aws.client("events")
    targets = [{"Id": f"t{n}", "Arn": f"arn:aws:sns:us-east-1:123456789012:t{n}"} for n in range(6)]
    events.put_targets(Rule=rule, Targets=targets[:5])
    events.put_targets(Rule=rule, Targets=targets[2:5])
    with pytest.raises(ClientError, match="LimitExceededException"):
        events.put_targets(Rule=rule, Targets=targets[5:])


def test_an_unknown_rule_or_bus_is_not_found(aws: LocalAws) -> None:
    events = aws.client("events")
    for asked in ({"Rule": "nothing"}, {"Rule": "nothing", "EventBusName": "nowhere"}):
        with pytest.raises(ClientError, match="ResourceNotFoundException"):
            events.list_targets_by_rule(**asked)


def raw(aws: LocalAws, operation: str, body: dict[str, Any]) -> dict[str, Any]:
    request = urllib.request.Request(
        aws.endpoint,
        data=json.dumps(body).encode(),
        headers={
            "X-Amz-Target": f"AWSEvents.{operation}",
            "Content-Type": "application/x-amz-json-1.1",
            "Authorization": "AWS4-HMAC-SHA256 Credential=local/20261123/us-east-1/events/aws4_request, "
            "SignedHeaders=host, Signature=0",
        },
    )
    with urllib.request.urlopen(request) as answer:
        document: dict[str, Any] = json.load(answer)
    return document


def failed(aws: LocalAws, dimensions: dict[str, str]) -> float:
    """The sum of FailedInvocations."""
    now = datetime.now(UTC)
    points = aws.client("cloudwatch").get_metric_statistics(
        Namespace="AWS/Events",
        MetricName="FailedInvocations",
        Dimensions=[{"Name": name, "Value": value} for name, value in dimensions.items()],
        StartTime=now - timedelta(hours=1),
        EndTime=now + timedelta(minutes=5),
        Period=7200,
        Statistics=["Sum"],
    )["Datapoints"]
    return float(sum(point["Sum"] for point in points))


def test_an_event_that_reaches_nobody_is_counted(
    aws: LocalAws, rule: str, topic: str, eventually: Callable[..., Any]
) -> None:
    aws.client("events").put_targets(
        Rule=rule, Targets=[{"Id": "gone", "Arn": f"{topic}-gone"}, {"Id": "there", "Arn": topic}]
    )
    put(aws, rule, {})
    assert eventually(lambda: failed(aws, {"RuleName": rule})) == 1
    eventually(lambda: messages(aws))
    assert failed(aws, {"RuleName": rule}) == 1
    # Of another bus, the metric names the bus as well.
    bus, other = f"bus-{rule}", f"{rule}-on-bus"
    aws.client("events").create_event_bus(Name=bus)
    aws.client("events").put_rule(Name=other, EventBusName=bus, EventPattern=json.dumps({"source": [rule]}))
    aws.client("events").put_targets(
        Rule=other, EventBusName=bus, Targets=[{"Id": "gone", "Arn": f"{topic}-gone"}]
    )
    entry = {"Source": rule, "DetailType": "Test", "Detail": "{}", "EventBusName": bus}
    aws.client("events").put_events(Entries=[entry])
    assert eventually(lambda: failed(aws, {"RuleName": other, "EventBusName": bus})) == 1
