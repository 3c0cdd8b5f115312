"""Calls are counted, limited, and meet the faults that a test sets."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from botocore.exceptions import ClientError, ConnectionClosedError, HTTPClientError
from ecs_estate import Estate
from functions import Function
from local_aws.client import LocalAws


def test_calls_are_counted_by_service_and_operation(aws: LocalAws) -> None:
    aws.client("ecs").list_clusters()
    aws.client("scheduler").list_schedules()
    aws.client("stepfunctions").list_state_machines()
    aws.client("sts").get_caller_identity()
    aws.client("s3").list_buckets()
    aws.client("lambda").list_functions()
    aws.client("dynamodb").list_tables()
    with pytest.raises(ClientError):
        aws.client("scheduler").get_schedule(Name="nothing")
    assert {key: value["calls"] for key, value in aws.calls().items()} == {
        "dynamodb:ListTables": 1,
        "ecs:ListClusters": 1,
        "lambda:ListFunctions": 1,
        "s3:ListBuckets": 1,
        "scheduler:GetSchedule": 1,
        "scheduler:ListSchedules": 1,
        "states:ListStateMachines": 1,
        "sts:GetCallerIdentity": 1,
    }
    aws.reset()
    assert aws.calls() == {}


def test_ecs_buckets_are_those_that_aws_documents(aws: LocalAws) -> None:
    estate = Estate(aws)
    aws.reset()
    aws.limits(enabled=True)

    def is_refused(_: int) -> bool:
        try:
            estate.register()
        except estate.ecs.exceptions.ClientError as error:
            return bool(error.response["Error"]["Code"] == "ThrottlingException")
        return False

    began = time.monotonic()
    with ThreadPoolExecutor(8) as pool:
        refused = sum(pool.map(is_refused, range(80)))
    # a burst of 20, and one more with each second that it took
    assert 60 - (time.monotonic() - began) - 1 <= refused <= 60
    assert aws.calls()["ecs:RegisterTaskDefinition"] == {"calls": 80, "throttled": refused}
    estate.ecs.list_clusters()


def test_the_scale_multiplies_the_rates(aws: LocalAws) -> None:
    estate = Estate(aws)
    aws.limits(enabled=True, scale=1000)
    for _ in range(25):
        estate.register()
    assert aws.calls()["ecs:RegisterTaskDefinition"]["throttled"] == 0


def test_each_account_and_region_has_its_own_buckets(aws: LocalAws) -> None:
    aws.limits(enabled=True)
    containers = [{"name": "a", "image": "a:1", "memory": 64}]
    for region in ("us-east-1", "eu-west-1"):
        ecs = aws.client("ecs", region=region)
        for _ in range(15):
            ecs.register_task_definition(family="limits", containerDefinitions=containers)


@pytest.mark.parametrize(
    ("service", "operation", "method", "code"),
    [
        ("ecs", "ecs:ListClusters", "list_clusters", "ThrottlingException"),
        ("scheduler", "scheduler:ListSchedules", "list_schedules", "InternalServerException"),
        ("sns", "sns:ListTopics", "list_topics", "Throttling"),
        ("s3", "s3:ListBuckets", "list_buckets", "SlowDown"),
        ("dynamodb", "dynamodb:ListTables", "list_tables", "ProvisionedThroughputExceededException"),
        ("lambda", "lambda:ListFunctions", "list_functions", "TooManyRequestsException"),
        ("codepipeline", "codepipeline:ListPipelines", "list_pipelines", "InvalidNextTokenException"),
    ],
)
def test_an_error_fault_comes_in_the_services_protocol(
    aws: LocalAws, service: str, operation: str, method: str, code: str
) -> None:
    aws.faults([{"operation": operation, "kind": "error", "error": code, "times": 1}])
    client = aws.client(service)
    with pytest.raises(ClientError) as caught:
        getattr(client, method)()
    assert caught.value.response["Error"]["Code"] == code
    getattr(client, method)()


def test_a_lost_response_was_applied(aws: LocalAws) -> None:
    estate = Estate(aws)
    aws.faults([{"operation": "ecs:RegisterTaskDefinition", "kind": "response_lost"}])
    with pytest.raises((ConnectionClosedError, HTTPClientError)):
        estate.register()
    assert estate.register().endswith(":2")


def test_a_lost_request_was_not(aws: LocalAws) -> None:
    estate = Estate(aws)
    aws.faults([{"operation": "ecs:RegisterTaskDefinition", "kind": "response_lost", "when": "before"}])
    with pytest.raises((ConnectionClosedError, HTTPClientError)):
        estate.register()
    assert estate.register().endswith(":1")


def test_a_fault_waits_for_the_body_it_names_and_wears_off(aws: LocalAws) -> None:
    estate = Estate(aws)
    fault = {"operation": "ecs:RegisterTaskDefinition", "kind": "error", "match": "special", "times": 2}
    aws.faults([fault])
    estate.register()
    for _ in range(2):
        with pytest.raises(ClientError):
            estate.register(family=f"{estate.cluster}-special")
    estate.register(family=f"{estate.cluster}-special")


def test_a_hold_lasts_as_long_as_it_stands(aws: LocalAws, eventually: Callable[..., Any]) -> None:
    hold = {"operation": "ecs:ListClusters", "kind": "hold"}
    aws.faults([hold])
    with ThreadPoolExecutor(1) as pool:
        call = pool.submit(aws.client("ecs").list_clusters)
        eventually(lambda: aws.control("faults")[0]["times"] == 0)
        assert not call.done()
        aws.faults([])
        call.result(30)


def test_a_hold_ends_by_itself(aws: LocalAws) -> None:
    aws.faults([{"operation": "ecs:ListClusters", "kind": "hold", "seconds": 0.2}])
    assert "clusterArns" in aws.client("ecs").list_clusters()


def test_a_delay_delays(aws: LocalAws) -> None:
    aws.faults([{"operation": "ecs:ListClusters", "kind": "delay", "seconds": 0.4}])
    started = time.monotonic()
    aws.client("ecs").list_clusters()
    assert time.monotonic() - started >= 0.4


def test_failed_entries_are_named_and_not_applied(aws: LocalAws) -> None:
    events = aws.client("events")
    events.put_rule(Name="entries", ScheduleExpression="rate(1 day)")
    targets = [{"Id": name, "Arn": f"arn:aws:sns:us-east-1:123456789012:{name}"} for name in ("one", "two")]
    fault: dict[str, Any] = {
        "operation": "events:PutTargets",
        "kind": "failed_entries",
        "match": "two",
        "error": "ConcurrentModificationException",
    }
    aws.faults([fault])
    answer = events.put_targets(Rule="entries", Targets=targets)
    assert answer["FailedEntryCount"] == 1
    assert [entry["TargetId"] for entry in answer["FailedEntries"]] == ["two"]
    listed = events.list_targets_by_rule(Rule="entries")["Targets"]
    assert [target["Id"] for target in listed] == ["one"]
    aws.faults([{**fault, "match": None}])
    assert events.put_targets(Rule="entries", Targets=targets)["FailedEntryCount"] == 2


def test_an_odd_answer_is_the_service_s_own_with_something_else_in_it(aws: LocalAws) -> None:
    ecs = aws.client("ecs")
    ecs.create_cluster(clusterName="odd")
    changes = {r'"status":\s*"ACTIVE"': '"newMember": 1', "clusterArn": "arn"}
    aws.faults([{"operation": "ecs:DescribeClusters", "kind": "odd_answer", "changes": changes}])
    (found,) = ecs.describe_clusters(clusters=["odd"])["clusters"]
    assert (found["clusterName"], found.get("status"), found.get("clusterArn")) == ("odd", None, None)
    (again,) = ecs.describe_clusters(clusters=["odd"])["clusters"]
    assert again["status"] == "ACTIVE"


@pytest.mark.parametrize(
    ("path", "body", "said"),
    [
        ("faults", [{"operation": "ecs:DescribeServices", "kind": "odd_answer"}], "changes"),
        ("rollouts", [{"outcome": "explode"}], "explode"),
        ("rollouts", [{"image": "("}], "regular expression"),
        ("rollouts", {"outcome": "fail"}, "list"),
        ("faults", [{"operation": "ecs:UpdateService", "kind": "meteor"}], "meteor"),
        ("faults", [{"kind": "error"}], "operation"),
        ("limits", {"enabled": True, "speed": 3}, "speed"),
        ("nothing", {}, "nothing"),
    ],
)
def test_a_wrong_control_call_says_what_is_wrong(aws: LocalAws, path: str, body: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        aws.control(path, body)


def test_an_operation_that_is_not_there_is_not_an_html_page(aws: LocalAws) -> None:
    with pytest.raises(ClientError) as caught:
        aws.client("ecs").list_services_by_namespace(namespace="n")
    assert caught.value.response["Error"]["Code"] == "UnknownOperationException"


def test_a_fault_can_name_the_function_its_event_and_how_many_calls_pass_first(aws: LocalAws) -> None:
    source = """
import boto3

def handler(event, context):
    client, refused = boto3.client("dynamodb"), []
    for number in range(4):
        try:
            client.list_tables()
        except client.exceptions.ClientError:
            refused.append(number)
    return refused
"""
    one, other = Function(aws, source), Function(aws, source)
    fault = {"operation": "dynamodb:ListTables", "kind": "error", "error": "ValidationException", "skip": 2}
    aws.faults([{**fault, "function": one.name, "event": '"batch": 7'}])
    assert other.invoke({"batch": 7}) == []
    assert one.invoke({"batch": 8}) == []
    assert one.invoke({"batch": 7}) == [2]
    aws.client("dynamodb").list_tables()
    functions = {
        entry["function"] for entry in aws.control("calls/log") if entry["call"] == "dynamodb:ListTables"
    }
    assert functions == {one.name, other.name, None}
