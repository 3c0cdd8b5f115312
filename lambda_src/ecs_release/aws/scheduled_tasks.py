"""Scheduled tasks: targets of EventBridge rules, and EventBridge Scheduler schedules, that run a task definition."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from botocore.exceptions import ClientError

from ecs_release.aws.clients import Connections
from ecs_release.aws.raw import RAW, send_raw
from ecs_release.aws.task_definitions import TaskDefinition, choose_containers, parse_reference
from ecs_release.aws.trouble import error_code, explain, trouble
from ecs_release.errors import ItemError, RefusedError

_SCHEDULE_OUTPUT_ONLY = frozenset({"Arn", "CreationDate", "LastModificationDate", "Name"})


@dataclass(frozen=True)
class Selection:
    """The targets of one rule (or the schedule) that an item means.

    Attributes
    ----------
    targets : raw targets, all of one family and one reference; for a schedule its whole raw body, alone.
    definition : what they run now.
    pinned : False when the reference names no revision, so that the newest ACTIVE one runs.
    images : container name -> image to set.
    """

    targets: tuple[Mapping[str, Any], ...] = ()
    definition: TaskDefinition | None = None
    pinned: bool = True
    images: Mapping[str, str] | None = None
    problems: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def reference_of(target: Mapping[str, Any]) -> str | None:
    """The task definition a raw rule target, or a raw schedule, runs; None when it runs something else."""
    parameters = target.get("Target", target).get("EcsParameters")
    return parameters.get("TaskDefinitionArn") if parameters else None


def with_task_definition(target: Mapping[str, Any], arn: str) -> dict[str, Any]:
    """The same raw target or schedule with nothing changed but its task definition."""
    if "Target" in target:
        return {**target, "Target": with_task_definition(target["Target"], arn)}
    return {**target, "EcsParameters": {**target["EcsParameters"], "TaskDefinitionArn": arn}}


def same_schedule(left: Mapping[str, Any], right: Mapping[str, Any]) -> bool:
    """Whether two raw schedules are equal but for the time of their last change."""
    return _settable(left) == _settable(right)


def select(
    where: str,
    targets: Sequence[Mapping[str, Any]],
    wanted: Mapping[str, str],
    *,
    exact: bool,
    target_id: str | None,
    describe: Callable[[str], TaskDefinition],
) -> Selection:
    """Choose the targets that run the named containers; anything ambiguous is a problem, never a guess.

    Parameters
    ----------
    where : the rule or schedule in words, for messages.
    targets : raw targets of the rule, or the raw schedule alone.
    describe : reads a task definition; raises ItemError where there is none.
    """
    if target_id is not None:
        targets = [target for target in targets if target.get("Id") == target_id]
        if not targets:
            return Selection(problems=(f'{where} has no target with the id "{target_id}".',))
    references: dict[str, dict[str, list[Mapping[str, Any]]]] = {}
    for target in targets:
        reference = reference_of(target)
        if reference is not None:
            references.setdefault(parse_reference(reference)[0], {}).setdefault(reference, []).append(target)
    if not references:
        return Selection(problems=(f"{where} has no target that runs an ECS task.",))

    definitions = {family: describe(next(iter(by_reference))) for family, by_reference in references.items()}
    exactly = [family for family, definition in definitions.items() if set(wanted) <= set(definition.images)]
    if len(exactly) > 1:
        return Selection(
            problems=(
                f"{where} has targets of several task definition families with these containers "
                f"({', '.join(exactly)}); name one with targetId.",
            )
        )
    if not exactly and len(definitions) > 1:
        have = "; ".join(f"{family}: {', '.join(d.images)}" for family, d in definitions.items())
        names = ", ".join(f'"{name}"' for name in wanted)
        return Selection(problems=(f"no target of {where} has the container {names}; they have {have}.",))
    family = exactly[0] if exactly else next(iter(definitions))
    choice = choose_containers(definitions[family], wanted, exact=exact)
    if choice.problems:
        return Selection(problems=tuple(f"{where}: {problem}" for problem in choice.problems))
    if len(references[family]) > 1:
        return Selection(
            problems=(
                f"{where} has targets at different revisions ({', '.join(references[family])}); "
                "name one with targetId.",
            )
        )
    reference, chosen = next(iter(references[family].items()))
    pinned = parse_reference(reference)[1] is not None
    warnings = list(choice.warnings)
    warnings += filter(None, (start_warning(target, time.time()) for target in chosen))
    if not pinned:
        warnings.append(
            f"{where} names the family {family} without a revision, so registering is deploying: its revision is "
            "registered in its turn, and it is pinned to a revision from then on."
        )
    return Selection(tuple(chosen), definitions[family], pinned, dict(choice.images), (), tuple(warnings))


class FailedEntry(NamedTuple):
    """Why EventBridge did not take a target."""

    code: str
    message: str

    @property
    def throttled(self) -> bool:
        return trouble({"Error": {"Code": self.code}}) == "throttled"

    def __str__(self) -> str:
        return f"{self.code} {self.message}".strip()


class Rules:
    """EventBridge rules of one target."""

    def __init__(self, connections: Connections, target: str) -> None:
        self._connections = connections
        self._target = target

    @property
    def _client(self) -> Any:
        return self._connections.client(self._target, "events")

    def targets(self, bus: str, rule: str) -> list[dict[str, Any]]:
        """All raw targets of a rule.

        Raises
        ------
        ItemError
            when the rule does not exist.
        """
        targets: list[dict[str, Any]] = []
        token: dict[str, str] = {}
        while True:
            try:
                answer = self._client.list_targets_by_rule(Rule=rule, EventBusName=bus, **token)[RAW]
            except ClientError as error:
                if error_code(error) == "ResourceNotFoundException":
                    raise ItemError(
                        f'there is no EventBridge rule "{rule}" on the event bus "{bus}".'
                    ) from error
                raise
            targets += answer.get("Targets", [])
            if not answer.get("NextToken"):
                return targets
            token = {"NextToken": answer["NextToken"]}

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
    def _client(self) -> Any:
        return self._connections.client(self._target, "scheduler")

    def get(self, group: str, name: str) -> dict[str, Any]:
        """The raw schedule.

        Raises
        ------
        ItemError
            when it does not exist.
        """
        try:
            raw: dict[str, Any] = self._client.get_schedule(Name=name, GroupName=group)[RAW]
        except ClientError as error:
            if error_code(error) == "ResourceNotFoundException":
                raise ItemError(f'there is no schedule "{name}" in the schedule group "{group}".') from error
            raise
        return raw

    def put(self, group: str, name: str, schedule: Mapping[str, Any]) -> None:
        """Write a whole raw schedule, in one attempt: UpdateSchedule resets every optional member that is left out.

        Raises
        ------
        RefusedError
            when Scheduler refuses for good.
        """
        body = {**_settable(schedule), "GroupName": group}
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


def _is_about_start(error: ClientError) -> bool:
    # "The StartDate you specify cannot be earlier than 5 minutes ago.", seen by users of UpdateSchedule and in no AWS document.
    return error_code(error) == "ValidationException" and "StartDate" in explain(error)


def start_may_go(schedule: Mapping[str, Any]) -> bool:
    """Whether a schedule does the same without the StartDate it has had: a rate counts from it, a cron expression does not."""
    return not str(schedule.get("ScheduleExpression", "")).startswith("rate(")


def start_warning(schedule: Mapping[str, Any], now: float) -> str | None:
    """What has to be said of a schedule that began in the past, or None."""
    start = schedule.get("StartDate")
    if not isinstance(start, int | float) or start > now:
        return None
    if start_may_go(schedule):
        return "its start date has passed; where Scheduler refuses to take it again it is left out, which changes nothing."
    return (
        "its start date has passed, and Scheduler may refuse to take it again; a rate counts from it, so it is not left out. "
        "If that happens, give the schedule a new start date."
    )


def _settable(schedule: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in schedule.items() if key not in _SCHEDULE_OUTPUT_ONLY}
