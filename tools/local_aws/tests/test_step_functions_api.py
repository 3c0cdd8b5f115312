"""AWS Step Functions: the API around the interpreter, and the parts of the language that the product uses."""

from __future__ import annotations

import json
import re
import time
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError
from functions import Function
from local_aws.client import HANG_SECONDS, LocalAws
from pipelines import unique
from roles import role

WAIT = {"StartAt": "Wait", "States": {"Wait": {"Type": "Wait", "Seconds": 30, "End": True}}}

FAILING = """
import time

class Fatal(Exception):
    pass

def handler(event, context):
    if event.get("seconds"):
        time.sleep(event["seconds"])
    raise (Fatal if event.get("fatal") else RuntimeError)("no luck")
"""


def create(aws: LocalAws, definition: dict[str, Any], **settings: Any) -> str:
    made = aws.client("stepfunctions").create_state_machine(
        name=unique("machine"),
        definition=json.dumps(definition),
        roleArn=role(aws, "states.amazonaws.com"),
        **settings,
    )
    return str(made["stateMachineArn"])


def start(aws: LocalAws, definition: dict[str, Any], given: Any = None) -> str:
    arn = create(aws, definition)
    answer = aws.client("stepfunctions").start_execution(stateMachineArn=arn, input=json.dumps(given or {}))
    return str(answer["executionArn"])


def run(
    aws: LocalAws, definition: dict[str, Any], given: Any = None, seconds: float = HANG_SECONDS
) -> dict[str, Any]:
    """Run a machine to its end."""
    arn, client = start(aws, definition, given), aws.client("stepfunctions")
    deadline = time.monotonic() + seconds
    while True:
        answer: dict[str, Any] = client.describe_execution(executionArn=arn)
        if answer["status"] != "RUNNING":
            return answer
        assert time.monotonic() < deadline
        time.sleep(0.05)


def one(state: dict[str, Any]) -> dict[str, Any]:
    return {
        "StartAt": "One",
        "States": {"One": {**state, **({} if state["Type"] == "Fail" else {"End": True})}},
    }


def task(function: str, **members: Any) -> dict[str, Any]:
    return {
        "Type": "Task",
        "Resource": "arn:aws:states:::lambda:invoke",
        "Parameters": {"FunctionName": function, "Payload.$": "$"},
        **members,
    }


# --- the API ----------------------------------------------------------------------------------------------


def test_a_wrong_definition_is_diagnosed_and_refused(aws: LocalAws) -> None:
    client = aws.client("stepfunctions")
    wrong = {"StartAt": "A", "States": {"A": {"Type": "Pass", "Next": "B"}}}
    answer = client.validate_state_machine_definition(definition=json.dumps(wrong))
    assert answer["result"] == "FAIL"
    (diagnostic,) = answer["diagnostics"]
    assert (diagnostic["code"], diagnostic["location"]) == ("MISSING_TRANSITION_TARGET", "/States/A/Next")
    assert client.validate_state_machine_definition(definition="{")["diagnostics"][0]["code"].startswith(
        "INVALID"
    )
    unknown = {"StartAt": "A", "States": {"A": {"Type": "Sleep", "End": True}}}
    for _ in range(2):  # a text is parsed once; what is wrong with it is said each time
        (diagnostic,) = client.validate_state_machine_definition(definition=json.dumps(unknown))[
            "diagnostics"
        ]
        assert diagnostic["code"] == "SCHEMA_VALIDATION_FAILED"
    assert client.validate_state_machine_definition(definition=json.dumps(WAIT))["result"] == "OK"
    with pytest.raises(ClientError, match="MISSING_TRANSITION_TARGET") as refused:
        create(aws, wrong)
    assert refused.value.response["Error"]["Code"] == "InvalidDefinition"


def test_a_machine_keeps_its_configuration_tags_and_versions(
    aws: LocalAws, eventually: Callable[..., Any]
) -> None:
    client = aws.client("stepfunctions")
    group = unique("/machines/log")
    aws.client("logs").create_log_group(logGroupName=group)
    log_arn = f"arn:aws:logs:us-east-1:123456789012:log-group:{group}:*"
    settings = {
        "loggingConfiguration": {
            "level": "ALL",
            "includeExecutionData": False,
            "destinations": [{"cloudWatchLogsLogGroup": {"logGroupArn": log_arn}}],
        },
        "tracingConfiguration": {"enabled": True},
        "encryptionConfiguration": {"type": "AWS_OWNED_KEY"},
    }
    arn = create(aws, WAIT, tags=[{"key": "team", "value": "a"}], **settings)
    described = client.describe_state_machine(stateMachineArn=arn)
    assert {key: described[key] for key in settings} == settings
    client.tag_resource(resourceArn=arn, tags=[{"key": "more", "value": "b"}])
    client.untag_resource(resourceArn=arn, tagKeys=["team"])
    assert client.list_tags_for_resource(resourceArn=arn)["tags"] == [{"key": "more", "value": "b"}]
    execution = client.start_execution(stateMachineArn=arn)["executionArn"]
    eventually(
        lambda: any(
            event["type"] == "WaitStateEntered"
            for event in client.get_execution_history(executionArn=execution)["events"]
        )
    )
    client.stop_execution(executionArn=execution)
    events = aws.client("logs").filter_log_events(logGroupName=group)["events"]
    types = [json.loads(event["message"])["type"] for event in events]
    assert types == ["ExecutionStarted", "WaitStateEntered", "ExecutionAborted"]
    assert "input" not in json.loads(events[0]["message"])["details"]


def test_an_execution_without_a_name_gets_one(aws: LocalAws) -> None:
    name = start(aws, WAIT).rpartition(":")[2]
    assert str(uuid.UUID(name)) == name


def test_a_name_is_used_once_but_the_same_start_can_be_repeated(aws: LocalAws) -> None:
    client = aws.client("stepfunctions")
    arn = create(aws, WAIT)
    first = client.start_execution(stateMachineArn=arn, name="same", input='{"a": 1}')
    again = client.start_execution(stateMachineArn=arn, name="same", input='{"a": 1}')
    assert (first["executionArn"], first["startDate"]) == (again["executionArn"], again["startDate"])
    for given, stopped in (('{"a": 2}', False), ('{"a": 1}', True)):
        if stopped:
            client.stop_execution(executionArn=first["executionArn"])
        with pytest.raises(ClientError) as taken:
            client.start_execution(stateMachineArn=arn, name="same", input=given)
        assert taken.value.response["Error"]["Code"] == "ExecutionAlreadyExists"
    with pytest.raises(ClientError) as invalid:
        client.start_execution(stateMachineArn=arn, name="x" * 81)
    assert invalid.value.response["Error"]["Code"] == "InvalidName"


def test_a_stopped_execution_is_aborted_at_once_while_its_function_runs_on(
    aws: LocalAws, eventually: Callable[..., Any]
) -> None:
    client = aws.client("stepfunctions")
    function = Function(aws, FAILING, Timeout=900)
    execution = start(aws, one(task(function.arn)), {"seconds": 3600})
    eventually(lambda: aws.count("lambda:Invoke"))
    client.stop_execution(executionArn=execution, error="Operator", cause="by hand")
    found = client.describe_execution(executionArn=execution)
    assert (found["status"], found["error"], found["cause"]) == ("ABORTED", "Operator", "by hand")
    assert found["stopDate"] >= found["startDate"]
    assert found["redriveStatus"] == "REDRIVABLE"
    last = client.get_execution_history(executionArn=execution, reverseOrder=True, maxResults=1)["events"][0]
    assert last["type"] == "ExecutionAborted"
    assert last["executionAbortedEventDetails"] == {"error": "Operator", "cause": "by hand"}


def test_the_history_comes_in_pages(aws: LocalAws) -> None:
    client = aws.client("stepfunctions")
    states = {f"P{number}": {"Type": "Pass", "Next": f"P{number + 1}"} for number in range(60)}
    done = run(aws, {"StartAt": "P0", "States": {**states, "P60": {"Type": "Pass", "End": True}}})
    pages = client.get_paginator("get_execution_history").paginate(
        executionArn=done["executionArn"], PaginationConfig={"PageSize": 50}
    )
    sizes, ids = [], []
    for page in pages:
        sizes.append(len(page["events"]))
        ids += [event["id"] for event in page["events"]]
    assert sizes == [50, 50, 24]
    assert ids == list(range(1, 125))
    without = client.get_execution_history(executionArn=done["executionArn"], includeExecutionData=False)[
        "events"
    ]
    assert "input" not in without[1]["stateEnteredEventDetails"]


def test_every_end_is_described(aws: LocalAws) -> None:
    succeeded = run(aws, one({"Type": "Pass", "Result": "text"}))
    assert (succeeded["status"], succeeded["output"], succeeded["redriveStatus"]) == (
        "SUCCEEDED",
        '"text"',
        "NOT_REDRIVABLE",
    )
    timed_out = run(aws, {**WAIT, "TimeoutSeconds": 1})
    assert (timed_out["status"], timed_out["redriveStatus"]) == ("TIMED_OUT", "REDRIVABLE")
    assert timed_out["stopDate"] > timed_out["startDate"]
    listed = aws.client("stepfunctions").list_executions(
        stateMachineArn=timed_out["stateMachineArn"], statusFilter="TIMED_OUT"
    )["executions"]
    assert [entry["executionArn"] for entry in listed] == [timed_out["executionArn"]]
    assert listed[0]["stopDate"] == timed_out["stopDate"]


# --- the language -----------------------------------------------------------------------------------------


def test_wait_takes_its_seconds_from_a_path(aws: LocalAws) -> None:
    begun = time.monotonic()
    assert (
        run(aws, one({"Type": "Wait", "SecondsPath": "$.seconds"}), {"seconds": 2})["status"] == "SUCCEEDED"
    )
    assert time.monotonic() - begun > 1.8


def test_fail_takes_error_and_cause_from_paths(aws: LocalAws) -> None:
    state = {"Type": "Fail", "ErrorPath": "States.Format('EcsRelease.{}', $.status)", "CausePath": "$.cause"}
    done = run(aws, one(state), {"status": "FAILED", "cause": "why"})
    assert (done["status"], done["error"], done["cause"]) == ("FAILED", "EcsRelease.FAILED", "why")


def test_maps_nest_in_order_with_item_selectors(aws: LocalAws) -> None:
    inner = {
        "Type": "Map",
        "ItemsPath": "$.items",
        "MaxConcurrency": 1,
        "ItemSelector": {
            "value.$": "$$.Map.Item.Value",
            "index.$": "$$.Map.Item.Index",
            "label.$": "$.label",
        },
        "ItemProcessor": {
            "ProcessorConfig": {"Mode": "INLINE"},
            "StartAt": "P",
            "States": {"P": {"Type": "Pass", "OutputPath": "$", "End": True}},
        },
        "ResultSelector": {"all.$": "$"},
        "End": True,
    }
    outer = {
        "Type": "Map",
        "ItemsPath": "$.waves",
        "MaxConcurrency": 8,
        "ItemSelector": {"items.$": "$$.Map.Item.Value", "label.$": "$.label"},
        "ItemProcessor": {"StartAt": "Inner", "States": {"Inner": inner}},
        "ResultPath": "$.results",
    }
    done = run(aws, one(outer), {"waves": [["a", "b"], [], ["c"]], "label": "L"})
    results = json.loads(done["output"])["results"]
    assert [[entry["value"] for entry in wave["all"]] for wave in results] == [["a", "b"], [], ["c"]]
    assert results[0]["all"][1] == {"value": "b", "index": 1, "label": "L"}


def test_a_map_of_hundreds_with_one_at_a_time_works(aws: LocalAws) -> None:
    state = {
        "Type": "Map",
        "ItemsPath": "$.items",
        "MaxConcurrency": 1,
        "ItemProcessor": {"StartAt": "P", "States": {"P": {"Type": "Pass", "End": True}}},
    }
    done = run(aws, one(state), {"items": list(range(600))})
    assert json.loads(done["output"]) == list(range(600))


def test_context_object_and_intrinsic_functions(aws: LocalAws) -> None:
    parameters = {
        "name.$": "$$.Execution.Name",
        "id.$": "$$.Execution.Id",
        "input.$": "$$.Execution.Input",
        "started.$": "$$.Execution.StartTime",
        "state.$": "$$.State.Name",
        "contains.$": "States.ArrayContains($.list, 'b')",
        "lacks.$": "States.ArrayContains($.list, 'z')",
        "format.$": "States.Format('{} of {}', $.list[0], $.list[1])",
        "length.$": "States.ArrayLength($.list)",
    }
    done = run(aws, one({"Type": "Pass", "Parameters": parameters}), {"list": ["a", "b"]})
    output = json.loads(done["output"])
    assert (output["id"], output["name"]) == (done["executionArn"], done["name"])
    assert output["input"] == {"list": ["a", "b"]}
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", output["started"])
    assert (output["contains"], output["lacks"], output["format"], output["length"]) == (
        True,
        False,
        "a of b",
        2,
    )
    assert output["state"] == "One"


def test_retry_passes_over_fatal_errors_and_is_counted_anew_at_each_visit(aws: LocalAws) -> None:
    function = Function(aws, FAILING)
    retry = [
        {"ErrorEquals": ["Fatal"], "MaxAttempts": 0},
        {
            "ErrorEquals": ["States.ALL"],
            "IntervalSeconds": 1,
            "MaxAttempts": 2,
            "BackoffRate": 2,
            "MaxDelaySeconds": 1,
            "JitterStrategy": "FULL",
        },
    ]
    catch = [{"ErrorEquals": ["States.ALL"], "ResultPath": "$.error", "Next": "Again"}]
    definition = {
        "StartAt": "Try",
        "States": {
            "Try": task(function.arn, Retry=retry, Catch=catch, End=True),
            "Again": {
                "Type": "Choice",
                "Choices": [{"Variable": "$.visits[0]", "IsPresent": True, "Next": "Count"}],
                "Default": "Done",
            },
            "Count": {
                "Type": "Pass",
                "Parameters": {"visits.$": "$.visits[1:]", "fatal.$": "$.fatal", "error.$": "$.error"},
                "Next": "Try",
            },
            "Done": {"Type": "Succeed"},
        },
    }

    def invocations(given: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        before = aws.count("lambda:Invoke")
        done = run(aws, definition, given)
        assert done["status"] == "SUCCEEDED", done
        return aws.count("lambda:Invoke") - before, json.loads(done["output"])

    count, output = invocations({"visits": [1], "fatal": False})
    assert count == 6
    assert output["error"]["Error"] == "RuntimeError"
    assert json.loads(output["error"]["Cause"])["errorMessage"] == "no luck"
    count, output = invocations({"visits": [], "fatal": True})
    assert (count, output["error"]["Error"]) == (1, "Fatal")


def test_a_states_time_out_is_caught(aws: LocalAws, eventually: Callable[..., Any]) -> None:
    function = Function(aws, FAILING, Timeout=900)
    definition = {
        "StartAt": "Slow",
        "States": {
            "Slow": task(
                function.arn,
                TimeoutSeconds=1,
                Catch=[{"ErrorEquals": ["States.Timeout"], "ResultPath": "$.error", "Next": "Late"}],
                End=True,
            ),
            "Late": {"Type": "Pass", "End": True},
        },
    }
    done = run(aws, definition, {"seconds": 900})
    assert json.loads(done["output"])["error"]["Error"] == "States.Timeout"
    assert (done["stopDate"] - done["startDate"]).total_seconds() < HANG_SECONDS
