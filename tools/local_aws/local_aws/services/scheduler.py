"""Amazon EventBridge Scheduler: a schedule comes back as it was put, and UpdateSchedule replaces all of it.

Stands for https://docs.aws.amazon.com/scheduler/latest/APIReference/API_UpdateSchedule.html: optional members that
an update omits go back to their defaults. moto never updates ActionAfterCompletion, drops members it does not know
and answers 500 for a group that does not exist. Schedules do not fire here.
"""

from __future__ import annotations

import copy
from typing import Any

from moto.core.utils import unix_time
from moto.scheduler.models import Schedule, scheduler_backends

from local_aws.kernel.calls import ApiError, Call
from local_aws.kernel.patches import patch
from local_aws.kernel.server import Server, one_at_a_time

_DEFAULTS: dict[str, Any] = {
    "ActionAfterCompletion": "NONE",
    "ScheduleExpressionTimezone": "UTC",
    "State": "ENABLED",
}
_RETRY_POLICY = {"MaximumEventAgeInSeconds": 86400, "MaximumRetryAttempts": 185}
_REQUIRED = ("FlexibleTimeWindow", "ScheduleExpression", "Target")


def _members(call: Call) -> dict[str, Any]:
    """Return the schedule that a request describes, with AWS's defaults for what it omits."""
    given = {
        k: v for k, v in call.input.items() if k not in ("ClientToken", "GroupName", "Name") and v is not None
    }
    missing = [name for name in _REQUIRED if name not in given]
    if missing:
        raise ApiError("ValidationException", f"{', '.join(missing)} must not be null.")
    if not given["Target"].get("Arn") or not given["Target"].get("RoleArn"):
        raise ApiError("ValidationException", "Target needs Arn and RoleArn.")
    members = {**_DEFAULTS, **copy.deepcopy(given)}
    members["Target"] = {"RetryPolicy": dict(_RETRY_POLICY), **members["Target"]}
    return members


def _group(call: Call, name: str | None) -> Any:
    group = scheduler_backends[call.account][call.region].schedule_groups.get(name or "default")
    if group is None:
        raise ApiError("ResourceNotFoundException", f"Schedule group {name} does not exist.", 404)
    return group


def _schedule(call: Call, group_name: str | None) -> Any:
    name = call.params["Name"]
    schedule = _group(call, group_name).schedules.get(name)
    if schedule is None:
        raise ApiError("ResourceNotFoundException", f"Schedule {name} does not exist.", 404)
    return schedule


def _document(schedule: Any) -> dict[str, Any]:
    return {
        "Arn": schedule.arn,
        "CreationDate": schedule.creation_date,
        "GroupName": schedule.group_name,
        "LastModificationDate": schedule.last_modified_date,
        "Name": schedule.name,
        **copy.deepcopy(schedule.local_members),
    }


def _to_dict(schedule: Any, short: bool = False) -> dict[str, Any]:
    document = _document(schedule)
    if short:
        names = ("Arn", "CreationDate", "GroupName", "LastModificationDate", "Name", "State")
        return {**{name: document[name] for name in names}, "Target": {"Arn": document["Target"]["Arn"]}}
    return document


def install(server: Server) -> None:
    """Answer for single schedules; moto keeps groups, lists and tags."""
    patch(
        Schedule,
        "to_dict",
        _to_dict,
        because="members of a schedule that moto does not know are lost",
        upstream="moto should keep every member of CreateSchedule",
    )

    @server.operation("scheduler", "CreateSchedule")
    @one_at_a_time
    def create(call: Call) -> dict[str, Any]:
        name, asked = call.params["Name"], call.input
        members = _members(call)
        group = _group(call, asked.get("GroupName"))
        existing = group.schedules.get(name)
        if existing is not None:
            if asked.get("ClientToken") and existing.local_token == asked["ClientToken"]:
                return {"ScheduleArn": existing.arn}
            raise ApiError("ConflictException", f"Schedule {name} already exists.", 409)
        schedule = Schedule(
            region=call.region,
            account_id=call.account,
            group_name=group.name,
            name=name,
            description=None,
            schedule_expression=members["ScheduleExpression"],
            schedule_expression_timezone=None,
            flexible_time_window=members["FlexibleTimeWindow"],
            target=copy.deepcopy(members["Target"]),
            state=members["State"],
            kms_key_arn=None,
            start_date=None,
            end_date=None,
            action_after_completion=None,
        )
        schedule.local_members = members
        schedule.local_token = asked.get("ClientToken")
        group.add_schedule(schedule)
        return {"ScheduleArn": schedule.arn}

    @server.operation("scheduler", "UpdateSchedule")
    @one_at_a_time
    def update(call: Call) -> dict[str, Any]:
        schedule = _schedule(call, call.input.get("GroupName"))
        schedule.local_members = _members(call)
        schedule.state = schedule.local_members["State"]
        schedule.last_modified_date = unix_time()
        return {"ScheduleArn": schedule.arn}

    @server.operation("scheduler", "GetSchedule")
    @one_at_a_time
    def get(call: Call) -> dict[str, Any]:
        return _document(_schedule(call, call.params.get("groupName")))
