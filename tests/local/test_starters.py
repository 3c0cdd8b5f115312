"""Scheduled tasks that can't run: each kind beside the others in one release through the command, forward and back.

Roles as people have them: AWS CDK's that may run one revision (aws-cdk#22673), one that lists a family without a revision
(terraform-provider-aws#10711), one that may not tag (aws-cdk#28854); a revision that somebody deregistered
(terraform-provider-aws#11294); a universal target (terraform-provider-aws#34057).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from local_aws.estate import policy
from stack import Command, Outcome, Stack
from world import ACCOUNT, World, container, image, role

CLUSTER = "ticks"
FAMILIES = f"arn:aws:ecs:us-east-1:{ACCOUNT}:task-definition"
PASSED = {"StringEquals": {"iam:PassedToService": "ecs-tasks.amazonaws.com"}}
UNIVERSAL_INPUT = (
    '{ "Cluster":"ticks", "TaskDefinition" :\t"%s",\n "Count":1.0, "Overrides":{"ContainerOverrides":'
    '[{"Name":"app","Environment":[{"Name":"TOKEN","Value":"tick-secret"}]}]} }'
)


def statement(action: str, resource: str, effect: str = "Allow", **more: Any) -> dict[str, Any]:
    return {"Effect": effect, "Action": action, "Resource": resource, **more}


PASS = statement("iam:PassRole", "*", Condition=PASSED)
RUN = statement("ecs:RunTask", f"{FAMILIES}/*")
ROLES = {
    "ticks-one-revision": [statement("ecs:RunTask", f"{FAMILIES}/ticks-cdk:1"), PASS],
    "ticks-bare-family": [statement("ecs:RunTask", f"{FAMILIES}/ticks-bare"), PASS],
    "ticks-no-tags": [RUN, PASS],
    "ticks-passes-nothing": [RUN],
    "ticks-vpc": [statement("*", "*", Condition={"StringEquals": {"aws:SourceVpc": "vpc-1"}})],
    "ticks-denied": [RUN, PASS, statement("ecs:RunTask", "*", "Deny")],
}
UNVERIFIED = ("ticks-cdk", "ticks-bare", "ticks-tags", "ticks-passes")
PROVEN = ("ticks-inactive", "default/ticks-universal", "default/ticks-disabled", "ticks-unknown")


def task(name: str, tag: str) -> dict[str, Any]:
    where = (
        {"scheduleName": name.removeprefix("default/")}
        if name.startswith("default/")
        else {"cwRuleName": name}
    )
    return {"service": "app", **where, "image": image(f"{name.removeprefix('default/')}:{tag}")}


def manifest(tag: str = "2", *more: dict[str, Any]) -> dict[str, Any]:
    # The deregistered one has its image already.
    tasks = [task(name, "1" if name == "ticks-inactive" else tag) for name in (*UNVERIFIED, *PROVEN)]
    return {"tasks": [*tasks, *more]}


@pytest.fixture(scope="module")
def world(stack: Stack) -> Iterator[World]:
    stack.aws.reset()
    stack.aws.rollouts([{"seconds": 0.5}])
    world = World(stack)
    world.cluster(CLUSTER)
    trust = {"Effect": "Allow", "Principal": {"Service": "events.amazonaws.com"}, "Action": "sts:AssumeRole"}
    for name, statements in ROLES.items():
        world.iam.create_role(RoleName=name, AssumeRolePolicyDocument=policy(trust))
        world.iam.put_role_policy(RoleName=name, PolicyName="p", PolicyDocument=policy(*statements))
    roles = {"executionRoleArn": role("ecs-execution")}

    def family(name: str) -> str:
        return world.family(name, [container("app", f"{name}:1")], **roles)

    def rule(name: str, starter: str, reference: str | None = None, **parameters: Any) -> None:
        target = world.ecs_target("own", CLUSTER, reference or family(name), RoleArn=role(starter))
        target["EcsParameters"] |= parameters
        world.rule(name, [target])

    rule("ticks-cdk", "ticks-one-revision")
    rule("ticks-bare", "ticks-bare-family", family("ticks-bare").rpartition(":")[0])
    rule("ticks-tags", "ticks-no-tags", PropagateTags="TASK_DEFINITION")
    rule("ticks-passes", "ticks-passes-nothing")
    rule("ticks-unknown", "ticks-vpc")
    rule("ticks-denied", "ticks-denied")
    rule("ticks-inactive", "events-run-task")
    world.ecs.deregister_task_definition(taskDefinition="ticks-inactive:1")
    world.schedule("ticks-disabled", CLUSTER, family("ticks-disabled"), State="DISABLED")
    world.scheduler.create_schedule(
        Name="ticks-universal",
        ScheduleExpression="cron(0 3 * * ? *)",
        FlexibleTimeWindow={"Mode": "OFF"},
        Target={
            "Arn": "arn:aws:scheduler:::aws-sdk:ecs:runTask",
            "RoleArn": role("scheduler-run-task"),
            "Input": UNIVERSAL_INPUT % family("ticks-universal"),
            "RetryPolicy": {"MaximumRetryAttempts": 5, "MaximumEventAgeInSeconds": 600},
        },
    )
    world.rule("ticks-function", [{"Id": "f", "Arn": f"arn:aws:lambda:us-east-1:{ACCOUNT}:function:tick"}])
    yield world
    stack.aws.reset()


def planned(
    command: Command, folder: Path, document: dict[str, Any], *, status: int
) -> dict[str, dict[str, Any]]:
    """What the plan says of each item."""
    path = folder / "deployment.yaml"
    path.write_text(json.dumps(document), encoding="utf-8")
    ended, printed = command("plan", str(path), "--json")
    assert ended == status, printed
    assert "tick-secret" not in printed
    return {item["name"]: item for item in json.loads(printed)["items"]}


# What no registry was asked, or could tell: the images are another vendor's.
_OF_IMAGES = ("W223", "W224", "W225", "W266")


def codes(item: dict[str, Any]) -> list[str]:
    return [finding["code"] for finding in item["findings"] if finding["code"] not in _OF_IMAGES]


def test_the_plan_says_of_each_what_keeps_it_from_running(
    world: World, command: Command, tmp_path: Path
) -> None:
    found = planned(command, tmp_path, manifest(), status=3)
    assert {name: codes(item) for name, item in found.items()} == {
        "ticks-cdk": ["W210"],
        "ticks-bare": ["W202", "W210"],
        "ticks-tags": ["W210"],
        "ticks-passes": ["W210"],
        "ticks-unknown": ["W211"],
        "ticks-inactive": ["W206"],
        "default/ticks-universal": [],
        "default/ticks-disabled": ["W207"],
    }
    assert all(item["action"] == "update" for item in found.values())
    said = {name: " ".join(w for w in found[name]["warnings"] if "Allow " in w) for name in UNVERIFIED}
    assert f"Allow ecs:RunTask on {FAMILIES}/ticks-cdk:*" in said["ticks-cdk"]
    assert f"Allow ecs:RunTask on {FAMILIES}/ticks-bare:*" in said["ticks-bare"]
    assert f"Allow ecs:TagResource on arn:aws:ecs:us-east-1:{ACCOUNT}:task/{CLUSTER}/*" in said["ticks-tags"]
    assert f"Allow iam:PassRole on {role('ecs-execution')}" in said["ticks-passes"]


def test_what_is_denied_or_is_no_ecs_task_blocks(world: World, command: Command, tmp_path: Path) -> None:
    document = manifest("2", task("ticks-denied", "2"), task("ticks-function", "2"))
    found = planned(command, tmp_path, document, status=2)
    assert codes(found["ticks-denied"]) == ["E210"]
    assert codes(found["ticks-function"]) == ["E227"]
    assert "a Lambda function" in found["ticks-function"]["problems"][0]
    assert found["ticks-cdk"]["action"] == "update"


def test_with_every_new_question_refused_the_plan_says_what_it_could_not_ask(
    world: World, command: Command, tmp_path: Path
) -> None:
    refused = {"kind": "error", "error": "AccessDenied", "times": None}
    operations = ("iam:SimulatePrincipalPolicy", "events:DescribeRule")
    world.stack.aws.control("faults", [{"operation": operation, **refused} for operation in operations])
    try:
        found = planned(command, tmp_path, manifest(), status=3)
    finally:
        world.stack.aws.control("faults", [])
    assert all("W211" in codes(item) for item in found.values())
    assert {name for name, item in found.items() if "W209" in codes(item)} == {
        name for name in found if not name.startswith("default/")
    }


@pytest.fixture(scope="module")
def released(world: World) -> tuple[dict[str, Any], Outcome]:
    """The account before, and the release."""
    return world.picture(), world.stack.release(manifest())


def test_nothing_that_can_not_run_is_succeeded(released: tuple[dict[str, Any], Outcome]) -> None:
    _, outcome = released
    assert outcome.status == "SUCCEEDED", outcome.cause
    assert outcome.verdicts == {
        **dict.fromkeys(UNVERIFIED, "UNVERIFIED"),
        **dict.fromkeys(PROVEN, "SUCCEEDED"),
    }
    reasons = {name: outcome.items[name].reason for name in UNVERIFIED}
    assert "ecs:RunTask" in reasons["ticks-cdk"]
    assert "ecs:RunTask" in reasons["ticks-bare"]
    assert "ecs:TagResource" in reasons["ticks-tags"]
    assert "iam:PassRole" in reasons["ticks-passes"]


def test_of_a_universal_target_nothing_but_the_task_definition_changes(
    world: World, released: tuple[dict[str, Any], Outcome]
) -> None:
    before, _ = released
    old, new = world.revisions("ticks-universal")
    now = world.stack.raw_schedule("ticks-universal")
    assert now["Target"]["Input"] == UNIVERSAL_INPUT % new
    then = before["schedule default/ticks-universal"]
    assert then["Target"]["Input"] == UNIVERSAL_INPUT % old
    moving = {"LastModificationDate", "Target"}
    assert {k: v for k, v in now.items() if k not in moving} == {
        k: v for k, v in then.items() if k not in moving
    }
    assert {**now["Target"], "Input": ""} == {**then["Target"], "Input": ""}


def test_a_deregistered_revision_is_registered_anew(
    world: World, released: tuple[dict[str, Any], Outcome]
) -> None:
    old, new = world.revisions("ticks-inactive")
    assert world.targets("ticks-inactive")["own"]["EcsParameters"]["TaskDefinitionArn"] == new
    assert world.definition(new)["taskDefinition"]["status"] == "ACTIVE"
    assert world.images(new) == world.images(old)


def test_the_same_release_again_still_says_what_can_not_run(
    world: World, released: tuple[dict[str, Any], Outcome]
) -> None:
    again = world.stack.release(manifest())
    assert again.output["status"] == "NO_CHANGE"
    assert again.verdicts == {
        **dict.fromkeys(UNVERIFIED, "UNVERIFIED"),
        **dict.fromkeys(PROVEN, "UNCHANGED"),
    }


def test_back_by_hand_starts_what_can_be_started(
    world: World, released: tuple[dict[str, Any], Outcome]
) -> None:
    before, _ = released
    outcome = world.stack.release({"version": 1, "mode": "rollback"})
    assert outcome.status == "SUCCEEDED", outcome.cause
    old = world.revisions("ticks-universal")[0]
    universal = world.stack.raw_schedule("ticks-universal")["Target"]
    assert universal == before["schedule default/ticks-universal"]["Target"]
    assert universal["Input"] == UNIVERSAL_INPUT % old
    # What ran before can't be started any more, so going back names an equal copy.
    named = world.targets("ticks-inactive")["own"]["EcsParameters"]["TaskDefinitionArn"]
    definition = world.definition(named)["taskDefinition"]
    assert definition["status"] == "ACTIVE"
    assert named != world.revisions("ticks-inactive")[0]
    # Granted for one revision: what ran before may be started again.
    assert outcome.verdicts["ticks-cdk"] == "SUCCEEDED"
