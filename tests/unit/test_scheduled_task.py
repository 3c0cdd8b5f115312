"""Which targets of a rule or schedule are meant, and that nothing else of them changes."""

from __future__ import annotations

import copy
import json
from collections.abc import Collection
from typing import Any

import pytest
from botocore.exceptions import ClientError
from ecs_release.aws import raw
from ecs_release.aws.scheduled_tasks import (
    Schedules,
    reference_of,
    same_schedule,
    with_task_definition,
)
from ecs_release.aws.task_definitions import CONTENT_TAG, TaskDefinition, parse_reference
from ecs_release.errors import ItemError
from ecs_release.plan.choose import Selection, select, start_finding
from ecs_release.plan.findings import Finding

PREFIX = "arn:aws:ecs:eu-west-1:111111111111:task-definition/"
CONTAINERS = {"cleanup": ["cleanup"], "report": ["report", "proxy"], "twin": ["cleanup"], "single": ["main"]}


def describe(reference: str) -> TaskDefinition:
    family, revision = parse_reference(reference)
    if family not in CONTAINERS:
        raise ItemError(f"no {family}")
    revision = revision or 9
    containers = [{"name": name, "image": f"{name}:1"} for name in CONTAINERS[family]]
    return TaskDefinition(
        {
            "taskDefinitionArn": f"{PREFIX}{family}:{revision}",
            "family": family,
            "revision": revision,
            "containerDefinitions": containers,
        },
        ({"key": CONTENT_TAG, "value": f"content of {family}:{revision}"},),
    )


def ecs(target_id: str, reference: str) -> dict[str, Any]:
    return {
        "Id": target_id,
        "Arn": "arn:aws:ecs:eu-west-1:111111111111:cluster/c",
        "RoleArn": "arn:aws:iam::111111111111:role/r",
        "Input": "{}",
        "EcsParameters": {"TaskDefinitionArn": PREFIX + reference, "TaskCount": 2, "Tomorrow": [1]},
    }


def chosen(
    targets: list[dict[str, Any]],
    container: str,
    *,
    exact: bool = True,
    target_id: str | None = None,
    ours: Collection[str] = (),
) -> Selection:
    return select(
        "the rule",
        targets,
        {container: "x:2"},
        exact=exact,
        target_id=target_id,
        describe=describe,
        ours=ours,
    )


def said(selection: Selection) -> str:
    """What is found, where that is one thing."""
    (finding,) = selection.findings
    assert (selection.definition is None) is finding.blocks
    return finding.message


SQS = {"Id": "queue", "Arn": "arn:aws:sqs:eu-west-1:111111111111:q", "SqsParameters": {}}


def test_one_of_five_targets_is_ours() -> None:
    targets = [
        SQS,
        ecs("a", "report:3"),
        {"Id": "fn", "Arn": "arn:aws:lambda:x"},
        ecs("b", "cleanup:5"),
        {**SQS, "Id": "q2"},
    ]
    selection = chosen(targets, "cleanup")
    assert [target["Id"] for target in selection.targets] == ["b"]
    assert selection.pinned
    assert selection.definition is not None
    assert selection.definition.arn == PREFIX + "cleanup:5"


def test_all_targets_of_the_family_change_together() -> None:
    assert len(chosen([ecs("a", "cleanup:5"), ecs("b", "cleanup:5")], "cleanup").targets) == 2


def test_ambiguity_is_a_problem_that_names_the_way_out() -> None:
    for targets in (
        [ecs("a", "cleanup:5"), ecs("b", "twin:1")],
        [ecs("a", "cleanup:5"), ecs("b", "cleanup:4")],
    ):
        selection = chosen(targets, "cleanup")
        assert "targetId" in said(selection)
        assert not selection.targets
        assert [t["Id"] for t in chosen(targets, "cleanup", target_id="a").targets] == ["a"]


HALF_DONE = [ecs("a", "cleanup:4"), SQS, ecs("b", "cleanup:5"), ecs("c", "cleanup:4")]


def test_a_write_of_ours_that_was_not_finished_is_no_riddle() -> None:
    """PutTargets takes some of the targets and not others; the next release, or a rollback, goes on from there."""
    selection = chosen(HALF_DONE, "cleanup", ours={PREFIX + "cleanup:4", PREFIX + "cleanup:5"})
    assert [target["Id"] for target in selection.targets] == ["a", "b", "c"]
    assert selection.half_done
    assert "earlier releases set" in said(selection)


def test_a_revision_of_ours_is_known_by_its_content_where_it_runs_as_the_newest_of_its_family() -> None:
    """The memory is written before the registration, when the revision has no ARN yet."""
    half_done = [ecs("a", "cleanup:4"), ecs("b", "cleanup")]
    content = "content of cleanup:9"
    assert chosen(half_done, "cleanup", ours={PREFIX + "cleanup:4", content}).half_done
    assert "targetId" in said(chosen(half_done, "cleanup", ours={PREFIX + "cleanup:4", "other content"}))


@pytest.mark.parametrize("ours", [(), {PREFIX + "cleanup:4"}, {PREFIX + "cleanup:5", PREFIX + "twin:4"}])
def test_a_revision_that_somebody_else_set_beside_ours_stays_one(ours: Collection[str]) -> None:
    assert "targetId" in said(chosen(HALF_DONE, "cleanup", ours=ours))


def test_a_family_without_revision_is_said() -> None:
    selection = chosen([ecs("a", "cleanup")], "cleanup")
    assert not selection.pinned
    assert "without a revision" in said(selection)


def test_a_wrong_container_is_a_problem_and_in_a_one_container_family_a_warning() -> None:
    assert "report, proxy" in said(chosen([ecs("a", "report:1"), ecs("b", "cleanup:1")], "clean"))
    assert said(chosen([ecs("a", "report:1")], "clean", exact=False)).startswith(
        'the rule: no container "clean"'
    )
    loose = chosen([SQS, ecs("a", "single:1")], "cleanup", exact=False)
    assert loose.images == {"main": "x:2"}
    assert "is not the name of the only container" in said(loose)
    assert chosen([ecs("a", "single:1")], "cleanup").findings[0].blocks


def test_a_rule_without_ecs_target_or_without_the_named_one_is_a_problem() -> None:
    assert "no target that runs an ECS task" in said(chosen([SQS], "cleanup"))
    assert 'with the id "zzz"' in said(chosen([ecs("a", "cleanup:1")], "cleanup", target_id="zzz"))


def test_only_the_task_definition_of_a_target_changes() -> None:
    target = ecs("a", "cleanup:5")
    before = copy.deepcopy(target)
    changed = with_task_definition(target, PREFIX + "cleanup:6")
    assert target == before
    assert reference_of(changed) == PREFIX + "cleanup:6"
    changed["EcsParameters"]["TaskDefinitionArn"] = before["EcsParameters"]["TaskDefinitionArn"]
    assert changed == before


def test_only_the_task_definition_of_a_schedule_changes() -> None:
    schedule = {
        "Name": "nightly",
        "Arn": "arn",
        "EndDate": 1.5,
        "LastModificationDate": 1,
        "FlexibleTimeWindow": {"Mode": "FLEXIBLE", "MaximumWindowInMinutes": 5},
        "Target": {
            **ecs("a", "cleanup:5"),
            "DeadLetterConfig": {"Arn": "q"},
            "RetryPolicy": {"MaximumRetryAttempts": 3},
        },
    }
    changed = with_task_definition(schedule, PREFIX + "cleanup:6")
    assert reference_of(changed) == PREFIX + "cleanup:6"
    assert same_schedule(
        {**with_task_definition(changed, PREFIX + "cleanup:5"), "LastModificationDate": 2}, schedule
    )


class Scheduler:
    """A Scheduler that takes no start date of the past, as the real one is said to."""

    def __init__(self) -> None:
        self.sent: list[dict[str, Any]] = []

    def client(self, *_: Any, **__: Any) -> Any:
        return self

    def update_schedule(self, **_: Any) -> None:
        body = json.loads(raw._body.get() or b"{}")
        self.sent.append(body)
        if "StartDate" in body:
            message = "The StartDate you specify cannot be earlier than 5 minutes ago."
            raise ClientError(
                {"Error": {"Code": "ValidationException", "Message": message}}, "UpdateSchedule"
            )


def schedule(expression: str) -> dict[str, Any]:
    return {
        "Name": "n",
        "ScheduleExpression": expression,
        "StartDate": 1.7e9,
        "EndDate": 4e9,
        "Target": {"Arn": "a"},
    }


def test_a_start_date_that_scheduler_refuses_to_take_again_is_left_out_of_a_cron_schedule() -> None:
    scheduler: Any = Scheduler()
    Schedules(scheduler, "default").put("default", "n", schedule("cron(0 3 * * ? *)"))
    assert "StartDate" in scheduler.sent[0]
    expected = {**schedule("cron(0 3 * * ? *)"), "GroupName": "default"}
    del expected["StartDate"], expected["Name"]
    assert scheduler.sent[1] == expected


def test_a_member_that_is_null_is_no_member() -> None:
    """Scheduler is not known to send any; what it sends is written back whole, and a null would be refused."""
    scheduler: Any = Scheduler()
    nulls = {
        "Description": None,
        "Target": {"Arn": "a", "Input": None, "EcsParameters": {"Tags": [{"Key": None}]}},
    }
    given = {"Name": "n", "ScheduleExpression": "rate(1 day)", **nulls}
    Schedules(scheduler, "default").put("default", "n", given)
    assert scheduler.sent == [
        {
            "ScheduleExpression": "rate(1 day)",
            "Target": {"Arn": "a", "EcsParameters": {"Tags": [{}]}},
            "GroupName": "default",
        }
    ]
    assert same_schedule(given, {key: value for key, value in given.items() if value is not None})


def test_a_rate_counts_from_its_start_date_so_the_refusal_stands() -> None:
    scheduler: Any = Scheduler()
    with pytest.raises(ItemError, match="StartDate"):
        Schedules(scheduler, "default").put("default", "n", schedule("rate(1 day)"))
    assert len(scheduler.sent) == 1


def test_a_start_date_that_has_passed_is_said_in_the_plan() -> None:
    assert start_finding(schedule("cron(0 3 * * ? *)"), 1.8e9) == Finding("W203")
    assert start_finding(schedule("rate(1 day)"), 1.8e9) == Finding("W204")
    assert start_finding(schedule("rate(1 day)"), 1.6e9) is None
    assert start_finding({"Id": "t"}, 1.8e9) is None
