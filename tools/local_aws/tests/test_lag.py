"""Reads show what was there a while ago: on request, or, with a variable in the server's environment, what workers read always."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ecs_estate import Estate
from functions import Function
from local_aws.client import HANG_SECONDS, LocalAws
from local_aws.kernel.lag import ALWAYS
from roles import role

# Each read draws a lag of up to this: that all of ten are younger than the write before them does not happen.
LONG = 1000 * HANG_SECONDS
READS = 10
READS_A_SERVICE = """
import boto3
def handler(event, context):
    ask = lambda: boto3.client("ecs").describe_services(cluster=event["cluster"], services=["web"])
    return [ask()["services"][0]["taskDefinition"] for _ in range(event["times"])]
"""

Thing = tuple[Callable[[int], Any], Callable[[], Any]]
"""Writes a version of something, and reads which one is there."""


def service(aws: LocalAws) -> Thing:
    estate = Estate(aws)
    revisions = [estate.register(), estate.register()]
    estate.create(taskDefinition=revisions[0])
    return (
        lambda version: estate.update(taskDefinition=revisions[version]),
        lambda: revisions.index(estate.service()["taskDefinition"]),
    )


def targets_of_a_rule(aws: LocalAws) -> Thing:
    events, name = aws.client("events"), uuid.uuid4().hex
    events.put_rule(Name=name, ScheduleExpression="rate(1 day)")
    target = {"Id": "t", "Arn": "arn:aws:sqs:us-east-1:123456789012:queue"}

    def write(version: int) -> None:
        events.put_targets(Rule=name, Targets=[{**target, "Input": str(version)}])

    write(0)
    return write, lambda: int(events.list_targets_by_rule(Rule=name)["Targets"][0]["Input"])


def schedule(aws: LocalAws) -> Thing:
    scheduler, name = aws.client("scheduler"), uuid.uuid4().hex
    members: dict[str, Any] = {
        "Name": name,
        "ScheduleExpression": "rate(1 day)",
        "FlexibleTimeWindow": {"Mode": "OFF"},
        "Target": {
            "Arn": "arn:aws:sqs:us-east-1:123456789012:queue",
            "RoleArn": role(aws, "scheduler.amazonaws.com"),
        },
    }
    scheduler.create_schedule(**members, Description="0")
    return (
        lambda version: scheduler.update_schedule(**members, Description=str(version)),
        lambda: int(scheduler.get_schedule(Name=name)["Description"]),
    )


def newest_of_a_family(aws: LocalAws) -> Thing:
    estate = Estate(aws)
    estate.register("family-" + estate.cluster)
    return (
        lambda _: estate.register("family-" + estate.cluster),
        lambda: (
            estate.ecs.describe_task_definition(taskDefinition="family-" + estate.cluster)["taskDefinition"][
                "revision"
            ]
            - 1
        ),
    )


def list_of_a_family(aws: LocalAws) -> Thing:
    estate = Estate(aws)
    estate.register("family-" + estate.cluster)
    asked = {"familyPrefix": "family-" + estate.cluster}
    return (
        lambda _: estate.register("family-" + estate.cluster),
        lambda: len(estate.ecs.list_task_definitions(**asked)["taskDefinitionArns"]) - 1,
    )


@pytest.mark.parametrize(
    "thing", [service, targets_of_a_rule, schedule, newest_of_a_family, list_of_a_family]
)
def test_a_read_shows_what_was_there_before_the_write(
    aws: LocalAws, thing: Callable[[LocalAws], Thing]
) -> None:
    write, read = thing(aws)
    aws.control("lag", {"seconds": LONG})
    assert read() == 0
    write(1)
    assert {read() for _ in range(READS)} >= {0}
    aws.control("lag", {"seconds": LONG, "workers": True})
    assert {read() for _ in range(READS)} == {1}, "this is no worker"
    aws.control("lag", {"seconds": 0})
    assert read() == 1


@pytest.fixture
def lagging(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalAws]:
    monkeypatch.setenv(ALWAYS, str(LONG))
    with LocalAws.start(state_dir=tmp_path, log=tmp_path / "server.log") as aws:
        yield aws


def test_with_the_variable_what_workers_read_lags_from_the_start_and_after_a_reset(lagging: LocalAws) -> None:
    estate, worker = Estate(lagging), Function(lagging, READS_A_SERVICE)
    estate.create()

    def seen(times: int) -> set[str]:
        return set(worker.invoke({"cluster": estate.cluster, "times": times}))

    for number in (2, 3):
        old = estate.service()["taskDefinition"]
        assert seen(1) == {old}
        new = estate.register(image=f"app:{number}")
        answered = estate.update(taskDefinition=new)
        assert answered["taskDefinition"] == new, "an answer to a write is never old"
        assert old in seen(READS)
        assert estate.service()["taskDefinition"] == new, "the test sees what is"
        lagging.control("lag", {"seconds": 0})
        assert seen(READS) == {new}
        lagging.reset()
