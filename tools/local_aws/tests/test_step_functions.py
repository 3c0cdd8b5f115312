"""Step Functions reaches Lambda, gives its errors their names, and tells EventBridge how executions end."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from functions import Function
from local_aws.client import LocalAws
from roles import role, topic_for_rules

SOURCE = """
import os, time

class OutOfLuck(Exception):
    pass

def handler(event, context):
    if event.get("do") == "raise":
        raise OutOfLuck("no more")
    if event.get("do") == "exit":
        os._exit(1)
    time.sleep(event.get("seconds", 0))
    return {"got": event}
"""


def machine(aws: LocalAws, states: dict[str, Any]) -> str:
    name = f"m-{uuid.uuid4().hex[:8]}"
    definition = {"StartAt": next(iter(states)), "States": states}
    answer = aws.client("stepfunctions").create_state_machine(
        name=name, definition=json.dumps(definition), roleArn=role(aws, "states.amazonaws.com")
    )
    return str(answer["stateMachineArn"])


def task(arn: str) -> dict[str, Any]:
    return {
        "Type": "Task",
        "Resource": "arn:aws:states:::lambda:invoke",
        "Parameters": {"FunctionName": arn, "Payload.$": "$"},
        "OutputPath": "$.Payload",
        "End": True,
    }


def start(aws: LocalAws, arn: str, event: Any) -> str:
    answer = aws.client("stepfunctions").start_execution(
        stateMachineArn=arn, name=uuid.uuid4().hex, input=json.dumps(event)
    )
    return str(answer["executionArn"])


def ended(aws: LocalAws, execution: str) -> dict[str, Any] | None:
    answer: dict[str, Any] = aws.client("stepfunctions").describe_execution(executionArn=execution)
    return None if answer["status"] == "RUNNING" else answer


def test_a_task_invokes_the_function(aws: LocalAws, eventually: Callable[..., Any]) -> None:
    arn = machine(aws, {"Work": task(Function(aws, SOURCE).arn)})
    execution = start(aws, arn, {"a": 1})
    answer = eventually(lambda: ended(aws, execution))
    assert answer["status"] == "SUCCEEDED"
    assert json.loads(answer["output"]) == {"got": {"a": 1}}


@pytest.mark.parametrize(
    ("event", "error"),
    [
        ({"do": "raise"}, "OutOfLuck"),
        ({"do": "exit"}, "Runtime.ExitError"),
        ({"seconds": 20}, "Sandbox.Timedout"),
    ],
)
def test_function_errors_keep_their_names(
    aws: LocalAws, eventually: Callable[..., Any], event: dict[str, Any], error: str
) -> None:
    arn = machine(aws, {"Work": task(Function(aws, SOURCE, Timeout=1).arn)})
    execution = start(aws, arn, event)
    answer = eventually(lambda: ended(aws, execution))
    assert (answer["status"], answer["error"]) == ("FAILED", error)
    assert json.loads(answer["cause"])["errorType"] == error


def test_a_retry_and_a_catch_go_by_the_error_name(aws: LocalAws, eventually: Callable[..., Any]) -> None:
    work = task(Function(aws, SOURCE).arn)
    work["Retry"] = [{"ErrorEquals": ["OutOfLuck"], "IntervalSeconds": 1, "MaxAttempts": 1}]
    work["Catch"] = [{"ErrorEquals": ["OutOfLuck"], "Next": "Caught"}]
    arn = machine(aws, {"Work": work, "Caught": {"Type": "Pass", "End": True}})
    execution = start(aws, arn, {"do": "raise"})
    answer = eventually(lambda: ended(aws, execution))
    assert answer["status"] == "SUCCEEDED"
    assert aws.count("lambda:Invoke") == 2


def test_stopping_is_immediate_and_leaves_the_function_running(
    aws: LocalAws, eventually: Callable[..., Any]
) -> None:
    topic = topic_for_rules(aws)
    queue = aws.client("sqs").create_queue(QueueName="go-on")["QueueUrl"]
    source = (
        "import boto3, time\n"
        "def handler(event, context):\n"
        f"    while not boto3.client('sqs').receive_message(QueueUrl='{queue}').get('Messages'):\n"
        "        time.sleep(0.05)\n"
        f"    boto3.client('sns').publish(TopicArn='{topic}', Message='still here')\n"
    )
    arn = machine(aws, {"Work": task(Function(aws, source, Timeout=900).arn)})
    execution = start(aws, arn, {})
    eventually(lambda: aws.count("lambda:Invoke"))
    client = aws.client("stepfunctions")
    client.stop_execution(executionArn=execution, error="Operator", cause="enough")
    answer = client.describe_execution(executionArn=execution)
    assert (answer["status"], answer["error"], answer["cause"]) == ("ABORTED", "Operator", "enough")
    aws.client("sqs").send_message(QueueUrl=queue, MessageBody="go on")
    eventually(lambda: [entry["message"] for entry in aws.notifications()] == ["still here"])
    assert client.describe_execution(executionArn=execution)["status"] == "ABORTED"


@pytest.mark.parametrize("status", ["SUCCEEDED", "FAILED", "ABORTED", "TIMED_OUT"])
def test_ends_reach_rules_on_status_changes(
    aws: LocalAws, eventually: Callable[..., Any], status: str
) -> None:
    topic = topic_for_rules(aws)
    by_status: dict[str, Any] = {
        "SUCCEEDED": {"Only": {"Type": "Pass", "End": True}},
        "FAILED": {"Only": {"Type": "Fail", "Error": "Bad", "Cause": "luck"}},
        "ABORTED": {"Only": {"Type": "Wait", "Seconds": 30, "End": True}},
        "TIMED_OUT": {"Only": {"Type": "Wait", "Seconds": 30, "End": True}},
    }
    definition: dict[str, Any] = {"StartAt": "Only", "States": by_status[status]}
    if status == "TIMED_OUT":
        definition["TimeoutSeconds"] = 1
    client = aws.client("stepfunctions")
    arn = client.create_state_machine(
        name=f"m-{uuid.uuid4().hex[:8]}",
        definition=json.dumps(definition),
        roleArn=role(aws, "states.amazonaws.com"),
    )["stateMachineArn"]
    pattern = {
        "source": ["aws.states"],
        "detail-type": ["Step Functions Execution Status Change"],
        "detail": {"stateMachineArn": [arn], "status": [status]},
    }
    events, rule = aws.client("events"), f"ends-{uuid.uuid4().hex[:8]}"
    events.put_rule(Name=rule, EventPattern=json.dumps(pattern))
    events.put_targets(Rule=rule, Targets=[{"Id": "topic", "Arn": topic}])
    execution = start(aws, arn, {"a": 1})
    if status == "ABORTED":
        client.stop_execution(executionArn=execution)
    told, *more = eventually(aws.notifications)
    assert more == []
    detail = json.loads(told["message"])["detail"]
    assert (detail["executionArn"], detail["status"]) == (execution, status)
    assert isinstance(detail["stopDate"], int)
    assert json.loads(detail["input"]) == {"a": 1}
