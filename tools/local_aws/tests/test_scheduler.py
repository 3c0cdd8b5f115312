"""EventBridge Scheduler keeps every member of a schedule, and an update replaces all of it."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError
from local_aws.client import LocalAws

TARGET: dict[str, Any] = {
    "Arn": "arn:aws:ecs:us-east-1:123456789012:cluster/c",
    "RoleArn": "arn:aws:iam::123456789012:role/r",
    "DeadLetterConfig": {"Arn": "arn:aws:sqs:us-east-1:123456789012:q"},
    "RetryPolicy": {"MaximumEventAgeInSeconds": 120, "MaximumRetryAttempts": 3},
    "Input": "{}",
    "EcsParameters": {
        "TaskDefinitionArn": "arn:aws:ecs:us-east-1:123456789012:task-definition/f:1",
        "TaskCount": 2,
        "LaunchType": "FARGATE",
        "EnableExecuteCommand": True,
        "Tags": [{"key": "a", "value": "b"}],
        "NetworkConfiguration": {"awsvpcConfiguration": {"Subnets": ["s"]}},
    },
}
WHOLE: dict[str, Any] = {
    "Description": "nightly",
    "ScheduleExpression": "rate(1 day)",
    "ScheduleExpressionTimezone": "Europe/Zurich",
    "StartDate": datetime.now(UTC).replace(microsecond=0) + timedelta(days=1),
    "EndDate": datetime.now(UTC).replace(microsecond=0) + timedelta(days=9),
    "FlexibleTimeWindow": {"Mode": "FLEXIBLE", "MaximumWindowInMinutes": 15},
    "ActionAfterCompletion": "DELETE",
    "State": "DISABLED",
    "KmsKeyArn": "arn:aws:kms:us-east-1:123456789012:key/1",
    "Target": TARGET,
}
LEAST: dict[str, Any] = {
    "ScheduleExpression": "rate(2 days)",
    "FlexibleTimeWindow": {"Mode": "OFF"},
    "Target": {"Arn": TARGET["Arn"], "RoleArn": TARGET["RoleArn"]},
}
ADDED = {"Arn", "GroupName", "Name", "CreationDate", "LastModificationDate", "ResponseMetadata"}


@pytest.fixture
def scheduler(aws: LocalAws) -> Any:
    return aws.client("scheduler")


@pytest.fixture
def name() -> str:
    return f"s-{uuid.uuid4().hex[:8]}"


def members(answer: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in answer.items() if key not in ADDED}


def test_every_member_comes_back(scheduler: Any, name: str) -> None:
    scheduler.create_schedule(Name=name, **WHOLE)
    assert members(scheduler.get_schedule(Name=name)) == WHOLE


def test_writing_back_what_was_read_changes_nothing(scheduler: Any, name: str) -> None:
    scheduler.create_schedule(Name=name, **WHOLE)
    read = members(scheduler.get_schedule(Name=name))
    scheduler.update_schedule(Name=name, ClientToken=uuid.uuid4().hex, **read)
    assert members(scheduler.get_schedule(Name=name)) == WHOLE


def test_an_update_resets_what_it_omits(scheduler: Any, name: str) -> None:
    scheduler.create_schedule(Name=name, **WHOLE)
    scheduler.update_schedule(Name=name, **LEAST)
    assert members(scheduler.get_schedule(Name=name)) == {
        **LEAST,
        "ScheduleExpressionTimezone": "UTC",
        "State": "ENABLED",
        "ActionAfterCompletion": "NONE",
        "Target": {
            **LEAST["Target"],
            "RetryPolicy": {"MaximumEventAgeInSeconds": 86400, "MaximumRetryAttempts": 185},
        },
    }


def test_groups_hold_schedules_of_their_own(scheduler: Any, name: str) -> None:
    scheduler.create_schedule_group(Name=f"g-{name}")
    scheduler.create_schedule(Name=name, GroupName=f"g-{name}", **LEAST)
    assert scheduler.get_schedule(Name=name, GroupName=f"g-{name}")["GroupName"] == f"g-{name}"
    with pytest.raises(ClientError, match="ResourceNotFoundException"):
        scheduler.get_schedule(Name=name)
    listed = scheduler.list_schedules(GroupName=f"g-{name}")["Schedules"]
    assert [entry["Name"] for entry in listed] == [name]
    scheduler.delete_schedule(Name=name, GroupName=f"g-{name}")
    assert scheduler.list_schedules(GroupName=f"g-{name}")["Schedules"] == []


def test_what_exists_is_a_conflict_unless_the_token_is_the_same(scheduler: Any, name: str) -> None:
    token = uuid.uuid4().hex
    first = scheduler.create_schedule(Name=name, ClientToken=token, **LEAST)
    again = scheduler.create_schedule(Name=name, ClientToken=token, **LEAST)
    assert again["ScheduleArn"] == first["ScheduleArn"]
    with pytest.raises(ClientError, match="ConflictException"):
        scheduler.create_schedule(Name=name, ClientToken=uuid.uuid4().hex, **LEAST)


def test_what_is_missing_is_not_found(scheduler: Any, name: str) -> None:
    with pytest.raises(ClientError, match="ResourceNotFoundException"):
        scheduler.update_schedule(Name=name, **LEAST)
    with pytest.raises(ClientError, match="ResourceNotFoundException"):
        scheduler.create_schedule(Name=name, GroupName="nowhere", **LEAST)
    with pytest.raises(ClientError, match="ResourceNotFoundException"):
        scheduler.delete_schedule(Name=name)
