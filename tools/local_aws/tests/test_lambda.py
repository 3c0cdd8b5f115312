"""Lambda runs the package that was deployed, in warm workers, with Lambda's errors and time-outs."""

from __future__ import annotations

import json
import threading
import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from functions import Function, FunctionError, package
from local_aws.client import HANG_SECONDS, LocalAws

SOURCE = """
import importlib.util, os, sys, time
import boto3

class OutOfLuck(Exception):
    pass

count = 0

def handler(event, context):
    global count
    count += 1
    action = (event or {}).get("do")
    if action == "raise":
        raise OutOfLuck("no more")
    if action == "exit":
        os._exit(3)
    if action == "sleep":
        time.sleep(event["seconds"])
    if action == "meet":
        open(os.path.join(event["folder"], str(os.getpid())), "x").close()
        while len(os.listdir(event["folder"])) < event["number"]:
            time.sleep(0.02)
    if action == "environment":
        return {"environment": dict(os.environ), "found": [
            name for name in ("boto3", "moto", "pytest", "flask") if importlib.util.find_spec(name)]}
    if action == "clusters":
        boto3.client("ecs").list_clusters()
    if action == "tell":
        boto3.client("sns").publish(TopicArn=event["topic"], Message="done")
    print("worked", event)
    return {
        "pid": os.getpid(),
        "count": count,
        "left": context.get_remaining_time_in_millis(),
        "arn": context.invoked_function_arn,
        "version": context.function_version,
    }
"""


@pytest.fixture(scope="module")
def function(aws_server: LocalAws) -> Function:
    return Function(aws_server, SOURCE, Environment={"Variables": {"COLOUR": "red"}}, MemorySize=256)


def test_a_worker_stays_warm(function: Function) -> None:
    first = function.invoke()
    second = function.invoke()
    assert second["pid"] == first["pid"]
    assert second["count"] == first["count"] + 1
    assert 25_000 < second["left"] <= 30_000
    assert second["arn"] == function.arn
    assert second["version"] == "1"


def test_a_published_function_is_initialized_before_its_first_call(aws: LocalAws, tmp_path: Path) -> None:
    mark = tmp_path / "initialized"
    function = Function(aws, f"import os; open({str(mark)!r}, 'w').close(); handler = lambda *_: os.getpid()")
    deadline = time.monotonic() + HANG_SECONDS
    while not mark.exists():
        assert time.monotonic() < deadline, "it waits for a call"
        time.sleep(0.02)
    assert function.invoke() == function.invoke()


def test_a_warm_call_takes_milliseconds(function: Function) -> None:
    """Nagle's algorithm and delayed acknowledgements would cost each call 40 ms; a busy machine costs some calls more."""
    function.invoke()
    deadline = time.monotonic() + HANG_SECONDS
    while True:
        started = time.perf_counter()
        function.invoke()
        if time.perf_counter() - started < 0.035:
            break
        assert time.monotonic() < deadline


def test_environment_is_the_functions_and_what_lambda_sets(aws: LocalAws, function: Function) -> None:
    answer = function.invoke({"do": "environment"})
    environment = answer["environment"]
    assert environment["COLOUR"] == "red"
    assert environment["AWS_LAMBDA_FUNCTION_NAME"] == function.name
    assert environment["AWS_LAMBDA_FUNCTION_VERSION"] == "1"
    assert environment["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"] == "256"
    assert environment["AWS_EXECUTION_ENV"] == "AWS_Lambda_python3.13"
    assert environment["_HANDLER"] == "app.handler"
    assert environment["TZ"] == ":UTC"
    assert environment["AWS_ENDPOINT_URL"] == aws.endpoint
    assert environment["AWS_ACCESS_KEY_ID"].startswith("ASIA")
    assert "PYTEST_CURRENT_TEST" not in environment
    assert answer["found"] == ["boto3"]


def test_an_exception_is_a_function_error_with_its_class_name(function: Function) -> None:
    with pytest.raises(FunctionError) as caught:
        function.invoke({"do": "raise"})
    assert (caught.value.type, caught.value.message) == ("OutOfLuck", "no more")


def test_an_exit_is_a_runtime_exit_error(function: Function) -> None:
    with pytest.raises(FunctionError) as caught:
        function.invoke({"do": "exit"})
    assert caught.value.type == "Runtime.ExitError"
    assert "exit status 3" in caught.value.message
    assert function.invoke()["count"] == 1


def test_a_timeout_kills_the_worker(aws: LocalAws) -> None:
    function = Function(aws, SOURCE, Timeout=1)
    pid = function.invoke()["pid"]
    with pytest.raises(FunctionError) as caught:
        function.invoke({"do": "sleep", "seconds": 30})
    assert caught.value.type == "Sandbox.Timedout"
    assert "Task timed out after 1.00 seconds" in caught.value.message
    assert function.invoke()["pid"] != pid


@pytest.mark.parametrize(
    ("handler", "error"),
    [("app.nothing", "Runtime.HandlerNotFound"), ("nowhere.handler", "Runtime.ImportModuleError")],
)
def test_what_can_not_start_says_why(aws: LocalAws, handler: str, error: str) -> None:
    with pytest.raises(FunctionError) as caught:
        Function(aws, SOURCE, Handler=handler).invoke()
    assert caught.value.type == error


def test_parallel_calls_have_workers_of_their_own(aws: LocalAws, tmp_path: Path) -> None:
    function = Function(aws, SOURCE, Timeout=HANG_SECONDS)
    event = {"do": "meet", "folder": str(tmp_path), "number": 6}
    with ThreadPoolExecutor(6) as threads:
        results = list(threads.map(lambda _: function.invoke(event), range(6)))
    assert len({result["pid"] for result in results}) == 6


def test_versions_keep_their_code_and_environment(aws: LocalAws) -> None:
    function = Function(
        aws,
        "import os\ndef handler(e, c): return 'old ' + os.environ['COLOUR']",
        Environment={"Variables": {"COLOUR": "red"}},
    )
    client = function.client
    client.update_function_configuration(
        FunctionName=function.name, Environment={"Variables": {"COLOUR": "blue"}}
    )
    new = "import os\ndef handler(e, c): return 'new ' + os.environ['COLOUR']"
    client.update_function_code(FunctionName=function.name, ZipFile=package(new))
    version = client.publish_version(FunctionName=function.name)["Version"]
    assert version == "2"
    assert function.invoke() == "old red"
    assert function.invoke(arn=function.arn.removesuffix(":1") + ":2") == "new blue"
    assert function.invoke(arn=function.name) == "new blue"
    assert function.invoke(arn=function.name, Qualifier="1") == "old red"


def test_each_version_has_a_policy_of_its_own(aws: LocalAws) -> None:
    function = Function(aws, "def handler(e, c): return 1")
    client = function.client
    client.update_function_code(FunctionName=function.name, ZipFile=package("def handler(e, c): return 2"))
    assert client.publish_version(FunctionName=function.name)["Version"] == "2"
    for version in ("1", "2"):
        client.add_permission(
            FunctionName=function.name,
            Qualifier=version,
            StatementId="Rule",
            Action="lambda:InvokeFunction",
            Principal="events.amazonaws.com",
        )
    client.remove_permission(FunctionName=function.name, StatementId="Rule", Qualifier="1")

    (statement,) = json.loads(client.get_policy(FunctionName=function.name, Qualifier="2")["Policy"])[
        "Statement"
    ]
    assert statement["Resource"].endswith(f":{function.name}:2")
    for qualifier in ({"Qualifier": "1"}, {}):
        with pytest.raises(client.exceptions.ResourceNotFoundException):
            client.get_policy(FunctionName=function.name, **qualifier)
    with pytest.raises(client.exceptions.ResourceNotFoundException):
        client.remove_permission(FunctionName=function.name, StatementId="Rule", Qualifier="1")


def test_functions_are_made_while_others_log(aws: LocalAws) -> None:
    logs = aws.client("logs")
    group = f"/aws/lambda/busy-{uuid.uuid4().hex[:8]}"
    logs.create_log_group(logGroupName=group)
    done = threading.Event()

    def log() -> None:
        while not done.is_set():
            stream = uuid.uuid4().hex
            logs.create_log_stream(logGroupName=group, logStreamName=stream)
            event = {"timestamp": int(time.time() * 1000), "message": "busy"}
            logs.put_log_events(logGroupName=group, logStreamName=stream, logEvents=[event])

    with ThreadPoolExecutor(4) as pool:
        loggers = [pool.submit(log) for _ in range(4)]
        try:
            made = [Function(aws, SOURCE) for _ in range(20)]
        finally:
            done.set()
    assert all(logger.exception() is None for logger in loggers)
    assert {function.arn.rpartition(":")[2] for function in made} == {"1"}


def test_settings_come_back_and_can_be_changed(aws: LocalAws) -> None:
    settings: dict[str, Any] = {
        "LoggingConfig": {"LogFormat": "JSON", "LogGroup": "/aws/lambda/elsewhere"},
        "TracingConfig": {"Mode": "Active"},
        "EphemeralStorage": {"Size": 1024},
        "KMSKeyArn": "arn:aws:kms:us-east-1:123456789012:key/1",
        "Architectures": ["arm64"],
    }
    function = Function(aws, SOURCE, **settings)
    read = function.client.get_function(FunctionName=function.name)["Configuration"]
    assert {key: read[key] for key in settings if key != "LoggingConfig"} == {
        key: value for key, value in settings.items() if key != "LoggingConfig"
    }
    assert read["LoggingConfig"]["LogGroup"] == "/aws/lambda/elsewhere"
    changed = {
        "LoggingConfig": {"LogFormat": "Text", "LogGroup": "/aws/lambda/else"},
        "TracingConfig": {"Mode": "PassThrough"},
        "EphemeralStorage": {"Size": 512},
    }
    function.client.update_function_configuration(FunctionName=function.name, **changed)
    read = function.client.get_function_configuration(FunctionName=function.name)
    assert {key: read[key] for key in changed} == changed
    old = function.client.get_function_configuration(FunctionName=function.name, Qualifier="1")
    assert old["TracingConfig"] == {"Mode": "Active"}
    assert old["LoggingConfig"]["LogFormat"] == "JSON"


def test_output_goes_to_the_log_group(
    aws: LocalAws, function: Function, eventually: Callable[..., Any]
) -> None:
    mark = uuid.uuid4().hex
    function.invoke({"mark": mark})
    logs = aws.client("logs")

    def lines() -> list[str]:
        events = logs.filter_log_events(logGroupName=f"/aws/lambda/{function.name}")["events"]
        return [event["message"] for event in events]

    eventually(lambda: any(mark in line for line in lines()))
    assert any(line.startswith("REPORT RequestId") for line in lines())


def test_events_are_taken_at_once_and_tried_again(
    aws: LocalAws, function: Function, eventually: Callable[..., Any]
) -> None:
    topic = aws.client("sns").create_topic(Name="done")["TopicArn"]
    answer = function.client.invoke(
        FunctionName=function.arn,
        InvocationType="Event",
        Payload=json.dumps({"do": "tell", "topic": topic}),
    )
    assert answer["StatusCode"] == 202
    eventually(lambda: [entry["message"] for entry in aws.notifications()] == ["done"])
    aws.faults([{"operation": "sns:Publish", "kind": "error", "error": "InvalidParameter", "times": 1}])
    function.client.invoke(
        FunctionName=function.arn,
        InvocationType="Event",
        Payload=json.dumps({"do": "tell", "topic": topic}),
    )
    eventually(lambda: len(aws.notifications()) == 2)


def test_reserved_concurrency_throttles(aws: LocalAws) -> None:
    function = Function(aws, SOURCE)
    function.client.put_function_concurrency(FunctionName=function.name, ReservedConcurrentExecutions=0)
    with pytest.raises(ClientError, match="TooManyRequestsException"):
        function.invoke(arn=function.name)


def test_an_unknown_function_is_not_found(function: Function) -> None:
    with pytest.raises(ClientError, match="ResourceNotFoundException"):
        function.invoke(arn="no-such-function")


@pytest.mark.parametrize(("when", "calls"), [("before", 0), ("after", 1)])
def test_kill_ends_the_worker_that_made_the_call(
    aws: LocalAws, function: Function, when: str, calls: int
) -> None:
    topic = aws.client("sns").create_topic(Name="kill")["TopicArn"]
    aws.faults([{"operation": "sns:Publish", "kind": "kill", "when": when}])
    with pytest.raises(FunctionError) as caught:
        function.invoke({"do": "tell", "topic": topic})
    assert caught.value.type == "Runtime.ExitError"
    assert len(aws.notifications()) == calls
    function.invoke({"do": "tell", "topic": topic})
    assert len(aws.notifications()) == calls + 1


def test_a_worker_that_hangs_is_ended_at_the_time_out(aws: LocalAws) -> None:
    function = Function(aws, SOURCE, Timeout=8)
    topic = aws.client("sns").create_topic(Name="hang")["TopicArn"]
    aws.faults([{"operation": "sns:Publish", "kind": "hang", "when": "after"}])
    with pytest.raises(FunctionError) as caught:
        function.invoke({"do": "tell", "topic": topic})
    assert caught.value.type == "Sandbox.Timedout"
    assert len(aws.notifications()) == 1
