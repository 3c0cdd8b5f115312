"""What a rule's target or a schedule starts: read, and written with another task definition and nothing else changed.

ECS tasks are started by a rule's target and by a schedule's templated target, which both have ``EcsParameters``, and by a
schedule's universal target for RunTask, whose ``Input`` is the call's parameters as JSON
(https://docs.aws.amazon.com/scheduler/latest/UserGuide/managing-targets-universal.html).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ecs_release.errors import ItemError

_UNIVERSAL = re.compile(r"arn:[^:]+:scheduler:::aws-sdk:([^:]+):(.+)")

# What Scheduler fills in when it calls; without quotation marks around it the Input is no JSON before that
# (https://docs.aws.amazon.com/scheduler/latest/UserGuide/managing-schedule-context-attributes.html).
_FILLED_IN = re.compile(r"<aws\.scheduler\.[a-z-]+>")

_KINDS = {
    "batch": "an AWS Batch job",
    "codebuild": "a CodeBuild build",
    "codepipeline": "a pipeline of CodePipeline",
    "ecs": "something of ECS that is no task definition",
    "events": "another event bus, or an API destination",
    "execute-api": "an API of API Gateway",
    "firehose": "a Firehose stream",
    "kinesis": "a Kinesis stream",
    "lambda": "a Lambda function",
    "logs": "a log group",
    "redshift": "a Redshift cluster",
    "sagemaker": "a SageMaker pipeline",
    "sns": "an SNS topic",
    "sqs": "an SQS queue",
    "ssm": "a Systems Manager document",
    "states": "a Step Functions state machine",
}


@dataclass(frozen=True)
class TaskStart:
    """How a target starts its task, as far as permissions ask for it.

    Attributes
    ----------
    role : ARN of the role that starts it; None where the target names none.
    cluster : its name or ARN.
    tags : whether the task gets tags with its start.
    task_role, execution_role : of the overrides; None: the task definition's.
    """

    role: str | None
    cluster: str
    tags: bool
    task_role: str | None = None
    execution_role: str | None = None


def reference_of(target: Mapping[str, Any]) -> str | None:
    """The task definition a raw rule target, or a raw schedule, runs; None when it runs something else, or can't be told."""
    inner = _inner(target)
    if is_universal_run_task(inner):
        try:
            return _named_in(_input_of(inner))[0]
        except ItemError:
            return None
    parameters = inner.get("EcsParameters")
    reference = parameters.get("TaskDefinitionArn") if isinstance(parameters, Mapping) else None
    return reference if isinstance(reference, str) and reference else None


def with_task_definition(target: Mapping[str, Any], arn: str) -> dict[str, Any]:
    """The same raw target or schedule with nothing changed but its task definition.

    Of a universal target's Input every other character stays as it is: it is somebody's text, not only JSON.

    Raises
    ------
    ItemError
        when it can't be told where a universal target names its task definition.
    """
    if isinstance(target.get("Target"), Mapping):
        return {**target, "Target": with_task_definition(target["Target"], arn)}
    if is_universal_run_task(target):
        text = _input_of(target)
        _, start, end = _named_in(text)
        return {**target, "Input": text[:start] + json.dumps(arn) + text[end:]}
    return {**target, "EcsParameters": {**target["EcsParameters"], "TaskDefinitionArn": arn}}


def is_universal_run_task(target: Mapping[str, Any]) -> bool:
    """Whether a raw target, or a raw schedule, calls RunTask by itself."""
    return _call_of(_inner(target)) == ("ecs", "runtask")


def what_is_odd(target: Mapping[str, Any]) -> str | None:
    """Why a target that is there to start an ECS task names no task definition, in words; None of any other target."""
    inner = _inner(target)
    if is_universal_run_task(inner):
        try:
            _named_in(_input_of(inner))
        except ItemError as error:
            return str(error)
        return None
    parameters = inner.get("EcsParameters")
    if parameters is not None and reference_of(target) is None:
        return "its EcsParameters name no task definition"
    return None


def what_it_starts(target: Mapping[str, Any]) -> str:
    """What a target starts that starts no ECS task, for a person."""
    inner = _inner(target)
    if call := _call_of(inner):
        return f"the API call {call[0]}:{str(inner['Arn']).rpartition(':')[2]} (a universal target)"
    arn = str(inner.get("Arn") or "")
    parts = arn.split(":", 5)
    kind = _KINDS.get(parts[2]) if len(parts) == 6 else None
    if kind is None:
        return arn or "nothing that it names"
    return f"{kind} ({parts[5]})"


def task_start(target: Mapping[str, Any]) -> TaskStart:
    """How a target that runs an ECS task starts it."""
    inner = _inner(target)
    role = inner.get("RoleArn")
    asked: Any
    if is_universal_run_task(inner):
        try:
            asked = _parameters(_input_of(inner))
        except ItemError:
            asked = {}
        cluster = _member(asked, "Cluster") or "default"
        overrides = _member(asked, "Overrides")
    else:
        asked = inner.get("EcsParameters")
        asked = asked if isinstance(asked, Mapping) else {}
        cluster = inner.get("Arn") or "default"
        overrides = _json_object(inner.get("Input"))
    overrides = overrides if isinstance(overrides, Mapping) else {}
    return TaskStart(
        role=role if isinstance(role, str) and role else None,
        cluster=str(cluster),
        tags=_member(asked, "PropagateTags") == "TASK_DEFINITION" or bool(_member(asked, "Tags")),
        task_role=_text(_member(overrides, "TaskRoleArn")),
        execution_role=_text(_member(overrides, "ExecutionRoleArn")),
    )


def _inner(target: Mapping[str, Any]) -> Mapping[str, Any]:
    """A rule's target, or the target of a schedule; empty where AWS told none."""
    if "Target" not in target:
        return target
    inner = target["Target"]
    return inner if isinstance(inner, Mapping) else {}


def _call_of(target: Mapping[str, Any]) -> tuple[str, str] | None:
    match = _UNIVERSAL.fullmatch(str(target.get("Arn") or ""))
    return (match.group(1).lower(), match.group(2).lower()) if match else None


def _input_of(target: Mapping[str, Any]) -> str:
    text = target.get("Input")
    if not isinstance(text, str):
        raise ItemError("it has no Input, which would name the task definition")
    return text


def _named_in(text: str) -> tuple[str, int, int]:
    """The task definition that the Input of a universal target names, and where its value begins and ends.

    Raises
    ------
    ItemError
        what is wrong with it, without a word of what it holds.
    """
    found = [(start, end) for name, _, start, end in _members(text) if _is(name, "TaskDefinition")]
    if len(found) != 1:
        raise ItemError(
            "its Input names TaskDefinition more than once" if found else "its Input names no TaskDefinition"
        )
    ((start, end),) = found
    value = _json(text[start:end])
    if not isinstance(value, str) or not value or _FILLED_IN.search(value):
        raise ItemError("the TaskDefinition in its Input is no name of a task definition")
    return value, start, end


def _parameters(text: str) -> dict[str, Any]:
    return {name: value for name, value, _, _ in _members(text)}


def _members(text: str) -> Iterator[tuple[str, Any, int, int]]:
    """Name and value of each member of a JSON object, and where the value begins and ends.

    Raises
    ------
    ItemError
        when the text is no JSON object.
    """
    # Digits are JSON inside of quotation marks and outside of them, and take as much room.
    masked = _FILLED_IN.sub(lambda match: "1" * len(match.group()), text)
    if not isinstance(_json(masked), dict):
        raise ItemError("its Input is no JSON object")
    decoder, place = json.JSONDecoder(), _space(masked, 0) + 1
    while masked[place := _space(masked, place)] != "}":
        name, place = decoder.raw_decode(masked, place)
        start = _space(masked, _space(masked, place) + 1)
        value, place = decoder.raw_decode(masked, start)
        yield name, value, start, place
        place = _space(masked, place)
        place += masked[place] == ","


def _space(text: str, place: int) -> int:
    while text[place] in " \t\n\r":
        place += 1
    return place


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ItemError("its Input is no JSON") from error


def _json_object(text: Any) -> Mapping[str, Any]:
    try:
        value = _json(text) if isinstance(text, str) else {}
    except ItemError:
        return {}
    return value if isinstance(value, dict) else {}


def _is(name: str, wanted: str) -> bool:
    """Scheduler documents its calls in PascalCase; the API's own members begin small, and overrides are given as those."""
    return name[:1].upper() + name[1:] == wanted


def _member(members: Mapping[str, Any], wanted: str) -> Any:
    return next((value for name, value in members.items() if _is(name, wanted)), None)


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None
