"""Which targets of a rule or schedule are meant, and that nothing else of them changes."""

from __future__ import annotations

import copy
import json
from collections.abc import Collection
from typing import Any

import pytest
from botocore.exceptions import ClientError
from ecs_release.aws import raw
from ecs_release.aws.ecs_targets import reference_of, with_task_definition
from ecs_release.aws.scheduled_tasks import Schedules, same_schedule
from ecs_release.aws.task_definitions import CONTENT_TAG, TaskDefinition, parse_reference
from ecs_release.errors import ItemError
from ecs_release.plan.choose import Selection, schedule_findings, select

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


def universal(text: str, **more: Any) -> dict[str, Any]:
    """A schedule that calls RunTask itself."""
    arn = "arn:aws:scheduler:::aws-sdk:ecs:runTask"
    role = "arn:aws:iam::111111111111:role/r"
    return {"Name": "reconcile", "Target": {"Arn": arn, "RoleArn": role, "Input": text, **more}}


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


LAMBDA = "arn:aws:lambda:eu-west-1:111111111111:function:f"
UNIVERSAL = "arn:aws:scheduler:::aws-sdk:"


@pytest.mark.parametrize(
    ("target", "what"),
    [
        (SQS, "an SQS queue (q)"),
        ({"Id": "x", "Arn": LAMBDA}, "a Lambda function (function:f)"),
        (
            {"Id": "x", "Arn": "arn:aws:states:eu-west-1:111111111111:stateMachine:m"},
            "a Step Functions state machine",
        ),
        ({"Id": "x", "Arn": "arn:aws:batch:eu-west-1:111111111111:job-queue/q"}, "an AWS Batch job"),
        (
            {"Target": {"Arn": f"{UNIVERSAL}sqs:createQueue", "Input": '{"QueueName":"q"}'}},
            "the API call sqs:createQueue",
        ),
        (
            {"Target": {"Arn": f"{UNIVERSAL}ecs:updateService", "Input": "{}"}},
            "the API call ecs:updateService",
        ),
        ({"Id": "x", "Arn": "arn:aws:quantum:eu-west-1:111111111111:leap/1"}, "arn:aws:quantum"),
        ({"Name": "schedule", "Target": None}, "nothing that it names"),
    ],
)
def test_what_starts_no_ecs_task_is_named_as_what_it_is(target: dict[str, Any], what: str) -> None:
    selection = chosen([target], "cleanup")
    assert what in said(selection)
    assert selection.findings[0].code == "E227"


@pytest.mark.parametrize(
    ("target", "what"),
    [
        (universal("{"), "no JSON"),
        (universal("[1]"), "no JSON object"),
        (universal('{"Cluster":"c"}'), "names no TaskDefinition"),
        (universal('{"TaskDefinition":"a:1","taskDefinition":"a:2"}'), "more than once"),
        (universal('{"TaskDefinition":"a:1","TaskDefinition":"a:2"}'), "more than once"),
        (universal('{"TaskDefinition":7}'), "no name of a task definition"),
        (universal('{"TaskDefinition":"<aws.scheduler.execution-id>"}'), "no name of a task definition"),
        ({"Target": {"Arn": f"{UNIVERSAL}ecs:runTask"}}, "no Input"),
        ({"Id": "x", "Arn": "c", "EcsParameters": {"TaskCount": 1}}, "name no task definition"),
        ({"Id": "x", "Arn": "c", "EcsParameters": {"TaskDefinitionArn": None}}, "name no task definition"),
    ],
)
def test_a_target_for_an_ecs_task_that_names_none_says_so(target: dict[str, Any], what: str) -> None:
    selection = chosen([target], "cleanup")
    assert what in said(selection)
    assert selection.findings[0].code == "E228"


def test_a_rule_without_any_target_or_without_the_named_one_is_a_problem() -> None:
    assert "no target that runs an ECS task" in said(chosen([], "cleanup"))
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


ODD_INPUTS = [
    '{"Cluster":"prod","TaskDefinition":"%s","LaunchType":"FARGATE"}',
    ' {\n\t"taskDefinition" : "%s" ,"Count":1.0,"Overrides":{"ContainerOverrides":[{"Name":"ops","Command":["x"]}]} }\n',
    '{"Overrides":{"TaskDefinition":"no","Environment":"\\u00e9<aws.scheduler.scheduled-time>"},"TaskDefinition":"%s"}',
    '{"Count":<aws.scheduler.attempt-number>,"A":{},"B":[],"TaskDefinition":"%s","Count":2,"Big":1e400}',
]


@pytest.mark.parametrize("text", ODD_INPUTS)
@pytest.mark.parametrize("reference", [PREFIX + "cleanup:5", "cleanup:5", "cleanup"])
def test_of_a_universal_target_s_input_only_the_task_definition_changes(text: str, reference: str) -> None:
    before = universal(text % reference, RetryPolicy={"MaximumRetryAttempts": 5})
    assert reference_of(before) == reference
    selection = chosen([before], "cleanup")
    assert selection.definition is not None
    assert selection.pinned == (reference != "cleanup")
    after = with_task_definition(before, PREFIX + "cleanup:6")
    assert after["Target"]["Input"] == text % (PREFIX + "cleanup:6")
    assert reference_of(after) == PREFIX + "cleanup:6"
    assert with_task_definition(after, reference) == before


@pytest.mark.parametrize("partition", ["aws", "aws-cn", "aws-us-gov"])
@pytest.mark.parametrize("action", ["runTask", "RunTask"])
def test_a_universal_target_is_known_in_every_partition(partition: str, action: str) -> None:
    target = universal(
        '{"TaskDefinition":"cleanup:5"}', Arn=f"arn:{partition}:scheduler:::aws-sdk:ecs:{action}"
    )
    assert reference_of(target) == "cleanup:5"


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


def codes(schedule: dict[str, Any], now: float) -> list[str]:
    return [finding.code for finding in schedule_findings(schedule, now)]


def test_a_start_date_that_has_passed_is_said_in_the_plan() -> None:
    assert codes(schedule("cron(0 3 * * ? *)"), 1.8e9) == ["W203"]
    assert codes(schedule("rate(1 day)"), 1.8e9) == ["W204"]
    assert codes(schedule("rate(1 day)"), 1.6e9) == []
    assert codes({"Id": "t"}, 1.8e9) == []


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        ({"State": "DISABLED"}, ["W207"]),
        ({"State": "ENABLED"}, []),
        ({"EndDate": 1.5e9}, ["W208"]),
        ({"EndDate": 1.9e9}, []),
        ({"EndDate": 1.5e9, "State": "DISABLED"}, ["W207", "W208"]),
        ({"ScheduleExpression": "at(2020-01-01T00:00:00)"}, ["W208"]),
        ({"ScheduleExpression": "at(2090-01-01T00:00:00)", "EndDate": None}, []),
        # Noon in Auckland is before noon in UTC: 2027-01-15T08:00:00 UTC is "now".
        (
            {
                "ScheduleExpression": "at(2027-01-15T12:00:00)",
                "ScheduleExpressionTimezone": "Pacific/Auckland",
            },
            ["W208"],
        ),
        ({"ScheduleExpression": "at(2027-01-15T12:00:00)", "ScheduleExpressionTimezone": "UTC"}, []),
        ({"ScheduleExpression": "at(2027-01-15T12:00:00)", "ScheduleExpressionTimezone": "Mars/Olympus"}, []),
        ({"ScheduleExpression": "at(soon)", "EndDate": "never", "State": None}, []),
    ],
)
def test_a_schedule_that_starts_nothing_is_said(members: dict[str, Any], expected: list[str]) -> None:
    quiet = {"ScheduleExpression": "rate(1 day)", "Target": {"Arn": "a"}}
    assert codes({**quiet, **members}, 1.8e9) == expected


def described(status: str | None, **more: Any) -> Any:
    def one(reference: str) -> TaskDefinition:
        found = describe(reference)
        return TaskDefinition({**found.body, "status": status, **more})

    return one


@pytest.mark.parametrize(
    ("status", "image", "changes"),
    [
        ("ACTIVE", "cleanup:1", False),
        ("ACTIVE", "cleanup:2", True),
        ("INACTIVE", "cleanup:1", True),
        ("INACTIVE", "cleanup:2", True),
        ("DELETE_IN_PROGRESS", "cleanup:1", True),
        (None, "cleanup:1", False),
    ],
)
def test_what_names_a_revision_of_which_nothing_can_be_started_is_a_change(
    status: str | None, image: str, changes: bool
) -> None:
    for targets in ([ecs("a", "cleanup:5")], [universal('{"TaskDefinition":"cleanup:5"}')]):
        selection = select(
            "the rule", targets, {"cleanup": image}, exact=True, target_id=None, describe=described(status)
        )
        assert selection.changes is changes


def test_a_revision_that_is_gone_blocks_and_the_newest_one_is_named() -> None:
    def gone(reference: str) -> TaskDefinition:
        if parse_reference(reference)[1] is not None:
            raise ItemError(f"task definition {reference} can't be read: it is not there.")
        return describe(reference)

    def nothing(reference: str) -> TaskDefinition:
        raise ItemError(f"task definition {reference} can't be read: it is not there.")

    for target in (ecs("a", "cleanup:5"), universal('{"TaskDefinition":"cleanup:5"}')):
        for read, advice in ((gone, "cleanup:9, the newest"), (nothing, "Register a revision of cleanup")):
            selection = select(
                "the rule", [target], {"cleanup": "x:2"}, exact=True, target_id=None, describe=read
            )
            assert selection.findings[0].code == "E209"
            assert advice in said(selection)


def test_a_family_that_is_gone_beside_the_one_that_is_meant_is_nobody_s_problem() -> None:
    selection = chosen([ecs("a", "unknown:5"), ecs("b", "cleanup:5")], "cleanup")
    assert [target["Id"] for target in selection.targets] == ["b"]
