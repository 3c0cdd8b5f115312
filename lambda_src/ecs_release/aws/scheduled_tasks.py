"""Scheduled tasks: targets of EventBridge rules, and EventBridge Scheduler schedules, that run a task definition."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple
from zoneinfo import ZoneInfo

from botocore.exceptions import ClientError

from ecs_release.aws.answers import text
from ecs_release.aws.clients import Connections
from ecs_release.aws.raw import raw_body, send_raw
from ecs_release.aws.trouble import error_code, explain, trouble
from ecs_release.errors import MissingError, RefusedError
from ecs_release.manifest.item import Rule, ScheduledTask

if TYPE_CHECKING:
    from mypy_boto3_events import EventBridgeClient
    from mypy_boto3_events.type_defs import ListTargetsByRuleRequestTypeDef
    from mypy_boto3_scheduler import EventBridgeSchedulerClient

_SCHEDULE_OUTPUT_ONLY = frozenset({"Arn", "CreationDate", "LastModificationDate", "Name"})


def same_schedule(left: Mapping[str, Any], right: Mapping[str, Any]) -> bool:
    """Whether two raw schedules are equal but for the time of their last change."""
    return bool(without_nulls(_settable(left)) == without_nulls(_settable(right)))


class FailedEntry(NamedTuple):
    """Why EventBridge did not take a target."""

    code: str
    message: str

    @property
    def throttled(self) -> bool:
        return trouble({"Error": {"Code": self.code}}) == "throttled"

    def __str__(self) -> str:
        return f"{self.code} {self.message}".strip()


class RuleState(NamedTuple):
    """What is to be known of a rule beside its targets.

    Attributes
    ----------
    managed_by : the AWS service whose rule it is; None: the account's own.
    """

    disabled: bool
    managed_by: str | None


class Rules:
    """EventBridge rules of one target."""

    def __init__(self, connections: Connections, target: str) -> None:
        self._connections = connections
        self._target = target

    @property
    def _client(self) -> EventBridgeClient:
        return self._connections.client(self._target, "events")

    def targets(self, bus: str, rule: str) -> list[dict[str, Any]]:
        """All raw targets of a rule.

        Raises
        ------
        MissingError
            when the rule does not exist.
        """
        targets: list[dict[str, Any]] = []
        request: ListTargetsByRuleRequestTypeDef = {"Rule": rule, "EventBusName": bus}
        while True:
            try:
                answer = raw_body(self._client.list_targets_by_rule(**request))
            except ClientError as error:
                if error_code(error) == "ResourceNotFoundException":
                    raise MissingError(
                        f'there is no EventBridge rule "{rule}" on the event bus "{bus}".'
                    ) from error
                raise
            targets += [target for target in answer.get("Targets") or () if isinstance(target, dict)]
            # A token that comes again leads nowhere.
            if not answer.get("NextToken") or request.get("NextToken") == answer["NextToken"]:
                return targets
            request["NextToken"] = answer["NextToken"]

    def about(self, bus: str, rule: str) -> RuleState:
        """Whether the rule is enabled, and whose it is.

        Raises
        ------
        ClientError
            when EventBridge refuses to tell.
        OddAnswerError
            when what it tells is not understood.
        """
        answer = self._client.describe_rule(Name=rule, EventBusName=bus)
        return RuleState(answer.get("State") == "DISABLED", text(answer, "ManagedBy") or None)

    def put(self, bus: str, rule: str, targets: Sequence[Mapping[str, Any]]) -> dict[str, FailedEntry]:
        """Write whole raw targets, in one attempt; by id each one that EventBridge did not take.

        PutTargets can answer 200 and still have failed entries
        (https://docs.aws.amazon.com/eventbridge/latest/APIReference/API_PutTargets.html).

        Raises
        ------
        RefusedError
            when EventBridge refuses the call for good.
        """
        client = self._connections.client(self._target, "events", retry=False)
        try:
            with send_raw({"Rule": rule, "EventBusName": bus, "Targets": list(targets)}):
                # The arguments only satisfy botocore's own check of required members; the raw body is what travels.
                answer = client.put_targets(Rule=rule, EventBusName=bus, Targets=[{"Id": "-", "Arn": "-"}])
        except ClientError as error:
            if error_code(error) in (
                "ResourceNotFoundException",
                "ManagedRuleException",
                "AccessDeniedException",
                "ValidationException",
            ):
                raise RefusedError(
                    f'EventBridge refused the targets of rule "{rule}": {explain(error)}'
                ) from error
            raise
        if not answer.get("FailedEntryCount"):
            return {}
        return {
            entry["TargetId"]: FailedEntry(str(entry.get("ErrorCode")), entry.get("ErrorMessage", ""))
            for entry in answer.get("FailedEntries", ())
        }


class Schedules:
    """EventBridge Scheduler schedules of one target."""

    def __init__(self, connections: Connections, target: str) -> None:
        self._connections = connections
        self._target = target

    @property
    def _client(self) -> EventBridgeSchedulerClient:
        return self._connections.client(self._target, "scheduler")

    def get(self, group: str, name: str) -> dict[str, Any]:
        """The raw schedule.

        Raises
        ------
        MissingError
            when it does not exist.
        """
        try:
            return raw_body(self._client.get_schedule(Name=name, GroupName=group))
        except ClientError as error:
            if error_code(error) == "ResourceNotFoundException":
                raise MissingError(
                    f'there is no schedule "{name}" in the schedule group "{group}".'
                ) from error
            raise

    def put(self, group: str, name: str, schedule: Mapping[str, Any]) -> None:
        """Write a whole raw schedule, in one attempt: UpdateSchedule resets every optional member that is left out.

        Raises
        ------
        RefusedError
            when Scheduler refuses for good.
        """
        body = {**without_nulls(_settable(schedule)), "GroupName": group}
        try:
            try:
                self._update(name, body)
            except ClientError as error:
                if not _is_about_start(error) or not start_may_go(schedule):
                    raise
                self._update(name, {key: value for key, value in body.items() if key != "StartDate"})
        except ClientError as error:
            if error_code(error) in (
                "ResourceNotFoundException",
                "ValidationException",
                "AccessDeniedException",
            ):
                raise RefusedError(
                    f'Scheduler refused the schedule "{group}/{name}": {explain(error)}'
                ) from error
            raise

    def _update(self, name: str, body: Mapping[str, Any]) -> None:
        with send_raw(body):
            # The arguments only satisfy botocore's own check of required members; the raw body is what travels.
            self._connections.client(self._target, "scheduler", retry=False).update_schedule(
                Name=name,
                ScheduleExpression=str(body["ScheduleExpression"]),
                FlexibleTimeWindow={"Mode": "OFF"},
                Target={"Arn": "-", "RoleArn": "-"},
            )


def without_nulls(value: Any) -> Any:
    """JSON without the members that are null.

    In AWS's protocols such a member is the same as none (https://smithy.io/2.0/spec/aggregate-types.html#structure-member-optionality),
    and what reads requests may refuse it. Scheduler is not known to send one; if it does, the schedule is written all the same.
    """
    if isinstance(value, Mapping):
        return {key: without_nulls(member) for key, member in value.items() if member is not None}
    if isinstance(value, list):
        return [without_nulls(entry) for entry in value]
    return value


def _is_about_start(error: ClientError) -> bool:
    # "The StartDate you specify cannot be earlier than 5 minutes ago.", seen by users of UpdateSchedule and in no AWS document.
    return error_code(error) == "ValidationException" and "StartDate" in explain(error)


def start_may_go(schedule: Mapping[str, Any]) -> bool:
    """Whether a schedule does the same without the StartDate it has had: a rate counts from it, a cron expression does not."""
    return not str(schedule.get("ScheduleExpression", "")).startswith("rate(")


def end_of(schedule: Mapping[str, Any]) -> float | None:
    """Epoch seconds at which a schedule starts its task no more, or None where there is no such moment, or it can't be told."""
    end = schedule.get("EndDate")
    ends = [float(end) if isinstance(end, int | float) else None, _once(schedule)]
    return min((moment for moment in ends if moment is not None), default=None)


def starts_when_written(schedule: Mapping[str, Any], now: float) -> str | None:
    """The moment of a one-time schedule that has passed, in words; None of any other one.

    Scheduler has been seen to start such a one at once when it is changed (https://iret.media/116859), forward and back.
    """
    moment = _once(schedule)
    if moment is None or moment >= now or schedule.get("State") == "DISABLED":
        return None
    return f"{datetime.fromtimestamp(moment, UTC):%Y-%m-%d %H:%M} UTC"


def _once(schedule: Mapping[str, Any]) -> float | None:
    """Epoch seconds at which a one-time schedule starts its task; None of any other one, or where it can't be told."""
    once = re.fullmatch(r"at\((.+)\)", str(schedule.get("ScheduleExpression", "")).strip())
    if once is None:
        return None
    try:
        zone = ZoneInfo(str(schedule.get("ScheduleExpressionTimezone") or "UTC"))
        return datetime.fromisoformat(once.group(1).strip()).replace(tzinfo=zone).timestamp()
    except (ValueError, KeyError, OSError):  # no such moment, or a zone that this machine does not know
        return None


def _settable(schedule: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in schedule.items() if key not in _SCHEDULE_OUTPUT_ONLY}


def read_targets(item: ScheduledTask, connections: Connections) -> list[dict[str, Any]]:
    """The raw targets of a rule, or the raw schedule alone."""
    if isinstance(item, Rule):
        return Rules(connections, item.target).targets(item.event_bus, item.rule)
    return [Schedules(connections, item.target).get(item.group, item.schedule)]
