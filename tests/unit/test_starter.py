"""A rule or schedule whose role may not start what it names: said in the plan, and never a plain success."""

from __future__ import annotations

import dataclasses
import json
import time
from typing import Any

import pytest
from ecs_release.aws import patience
from ecs_release.aws.principal_policies import Answer, Decision, PrincipalPolicies, Question, _answers_in
from ecs_release.errors import UnfinishedError
from ecs_release.manifest import Rule, Schedule
from ecs_release.manifest.item import ScheduledTask
from ecs_release.plan.decide import PlannedItem, make_plan
from ecs_release.plan.definitions import Definitions
from ecs_release.plan.document import plan_document
from ecs_release.plan.live import read_live
from ecs_release.plan.starters import with_starters
from ecs_release.record.models import ItemRecord
from ecs_release.record.statuses import Status
from ecs_release.steps.starting import Starting
from starters import (
    ACCOUNT,
    CLUSTER,
    ENOUGH,
    PREFIX,
    ROLE,
    TASK_ROLE,
    Aws,
    allow,
    rule_target,
    schedule_of,
    universal_of,
)

NIGHTLY = f"{PREFIX}nightly"
Shape = str


def aws(shape: Shape, reference: str = f"{NIGHTLY}:42", **more: Any) -> Any:
    """The account of one scheduled task, in each of the three shapes that there are."""
    parameters = more.pop("parameters", {})
    match shape:
        case "rule":
            return Aws(targets=[rule_target(reference, **parameters)], **more)
        case "schedule":
            return Aws(schedule=schedule_of(reference, **parameters), **more)
    return Aws(schedule=universal_of(reference, **parameters), **more)


SHAPES = ("rule", "schedule", "universal")


def item(shape: Shape, image: str = "job:2") -> ScheduledTask:
    if shape == "rule":
        return Rule(images={"job": image}, rule="nightly")
    return Schedule(images={"job": image}, schedule="nightly")


def plan(shape: Shape, account: Any, image: str = "job:2") -> PlannedItem:
    items, definitions = [item(shape, image)], Definitions(account)
    live = with_starters(read_live(items, account, definitions), items, account, definitions)
    (planned,) = make_plan(items, live)
    return planned


def codes(planned: PlannedItem) -> list[str]:
    # No registry is asked in these tests.
    return [finding.code for finding in planned.findings if finding.code != "W224"]


def said(planned: PlannedItem) -> str:
    """The last thing that is found, but that no registry was asked."""
    return [finding.message for finding in planned.findings if finding.code != "W224"][-1]


def recorded(planned: PlannedItem, account: Any, after: int | None = None) -> ItemRecord:
    """The record of an item, written to its revision where it changes."""
    raw = json.loads(planned.before_raw or "[]")
    return dataclasses.replace(
        ItemRecord("r", 0, 0, 1, planned.item, planned.action, {}),  # type: ignore[arg-type]
        before_raw=json.dumps(raw),
        live=planned.live,
        after=f"{NIGHTLY}:{after}" if after else planned.live,
        startable=planned.startable,
        start_doubt=planned.start_doubt,
    )


def verdict(planned: PlannedItem, account: Any, after: int = 43) -> Any:
    """The verdict once the targets were written and read back."""
    if planned.action == "update":
        account.revisions = max(account.revisions, after)
        written = aws(shape_of(planned, account), f"{NIGHTLY}:{after}")
        account.rule_targets, account.schedule = written.rule_targets, written.schedule
        record = recorded(planned, account, after)
    else:
        record = recorded(planned, account)
    targets = account.rule_targets or [account.schedule]
    return Starting(account).judge(record, targets)


def shape_of(planned: PlannedItem, account: Any) -> Shape:
    if isinstance(planned.item, Rule):
        return "rule"
    return "schedule" if "EcsParameters" in account.schedule["Target"] else "universal"


@pytest.mark.parametrize("shape", SHAPES)
def test_a_role_that_may_start_it_is_silent_and_proven(shape: Shape) -> None:
    account = aws(shape)
    planned = plan(shape, account)
    assert codes(planned) == []
    assert planned.startable == f"{NIGHTLY}:43"
    asked = account.calls["SimulatePrincipalPolicy"]
    assert verdict(planned, account).status is Status.SUCCEEDED
    assert account.calls["SimulatePrincipalPolicy"] == asked  # what is known is not asked again


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(
    ("reference", "statements", "missing"),
    [
        # what CDK grants: the one revision that the rule was made with
        (
            ":42",
            [allow("ecs:RunTask", f"{NIGHTLY}:42"), allow("iam:PassRole")],
            f"ecs:RunTask on {NIGHTLY}:43",
        ),
        # what a hand-written policy of a family without a revision grants
        ("", [allow("ecs:RunTask", NIGHTLY), allow("iam:PassRole")], f"ecs:RunTask on {NIGHTLY}:43"),
        (":42", [allow("ecs:RunTask")], f"iam:PassRole on {TASK_ROLE}"),
        (
            ":42",
            [allow("ecs:RunTask"), allow("iam:PassRole", TASK_ROLE)],
            f"iam:PassRole on arn:aws:iam::{ACCOUNT}:role/ecsTaskExecutionRole",
        ),
        (
            ":42",
            [allow("ecs:RunTask"), allow("iam:PassRole", iam_PassedToService="ec2.amazonaws.com")],
            "iam:PassRole",
        ),
        (":42", [allow("ecs:RunTask", ecs_cluster=CLUSTER + "-other"), allow("iam:PassRole")], "ecs:RunTask"),
        (":42", [], "ecs:RunTask"),
    ],
)
def test_what_the_role_lacks_is_said_and_its_verdict_is_unverified(
    shape: Shape, reference: str, statements: list[dict[str, Any]], missing: str
) -> None:
    account = aws(shape, NIGHTLY + reference, statements=statements)
    planned = plan(shape, account)
    assert "W210" in codes(planned)
    assert planned.action == "update"
    assert missing in planned.start_doubt
    # The permission, on every revision of the family.
    assert f"Allow {missing.replace(':43', ':*')}" in said(planned)
    judgement = verdict(planned, account)
    assert judgement.status is Status.UNVERIFIED
    assert missing in judgement.reason


@pytest.mark.parametrize("shape", SHAPES)
def test_the_role_is_asked_again_once_it_is_written(shape: Shape) -> None:
    """Somebody may have granted it meanwhile, or taken it away."""
    account = aws(shape, statements=[allow("iam:PassRole")])
    planned = plan(shape, account)
    account.statements = ENOUGH
    assert verdict(planned, account).status is Status.SUCCEEDED
    account.statements = [*ENOUGH, allow("ecs:*", effect="Deny")]
    judgement = verdict(planned, account)
    assert (judgement.status, judgement.needs_second_look) == (Status.FAILED, True)


@pytest.mark.parametrize("shape", SHAPES)
def test_another_revision_than_the_one_that_was_asked_about_is_asked_about(shape: Shape) -> None:
    account = aws(shape, statements=[allow("ecs:RunTask", f"{NIGHTLY}:43"), allow("iam:PassRole")])
    planned = plan(shape, account)
    assert codes(planned) == []
    assert verdict(planned, account, after=43).status is Status.SUCCEEDED
    assert verdict(planned, account, after=45).status is Status.UNVERIFIED


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("action", ["ecs:RunTask", "iam:PassRole", "*"])
def test_an_explicit_deny_blocks_what_changes_and_is_said_of_what_does_not(shape: Shape, action: str) -> None:
    account = aws(shape, statements=[*ENOUGH, allow(action, effect="Deny")])
    planned = plan(shape, account)
    assert planned.action == "blocked"
    assert codes(planned) == ["E210"]
    unchanged = plan(shape, account, "job:1")
    assert (unchanged.action, codes(unchanged)) == ("unchanged", ["W212"])
    assert verdict(unchanged, account).status is Status.UNVERIFIED


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("reference", "granted"), [(":42", ":42"), ("", ""), ("", ":42"), ("", ":*")])
def test_of_what_does_not_change_what_it_names_is_asked(shape: Shape, reference: str, granted: str) -> None:
    statements = [allow("ecs:RunTask", NIGHTLY + granted), allow("iam:PassRole")]
    account = aws(shape, NIGHTLY + reference, statements=statements)
    planned = plan(shape, account, "job:1")
    assert planned.action == "unchanged"
    assert set(codes(planned)) <= {"W202"}
    assert verdict(planned, account).status is Status.SUCCEEDED


@pytest.mark.parametrize(
    ("shape", "parameters"),
    [
        ("rule", {"PropagateTags": "TASK_DEFINITION"}),
        ("rule", {"Tags": [{"Key": "a", "Value": "b"}]}),
        ("schedule", {"PropagateTags": "TASK_DEFINITION"}),
        ("universal", {"PropagateTags": "TASK_DEFINITION"}),
        ("universal", {"tags": [{"key": "a"}]}),
    ],
)
def test_a_start_with_tags_asks_for_tagging(shape: Shape, parameters: dict[str, Any]) -> None:
    statements = [allow("ecs:RunTask"), allow("iam:PassRole")]
    planned = plan(shape, aws(shape, statements=statements, parameters=parameters))
    assert codes(planned) == ["W210"]
    assert "ecs:TagResource" in said(planned)
    narrow = allow(
        "ecs:TagResource", f"arn:aws:ecs:eu-west-1:{ACCOUNT}:task/prod/*", ecs_CreateAction="RunTask"
    )
    assert codes(plan(shape, aws(shape, statements=[*statements, narrow], parameters=parameters))) == []


@pytest.mark.parametrize("override", ["taskRoleArn", "TaskRoleArn"])
def test_a_role_that_the_target_overrides_is_the_one_that_is_passed(override: str) -> None:
    other = f"arn:aws:iam::{ACCOUNT}:role/other"
    account = aws("rule", statements=[allow("ecs:RunTask"), allow("iam:PassRole", "*ecsTaskExecutionRole")])
    account.rule_targets[0]["Input"] = json.dumps({override: other})
    assert f"iam:PassRole on {other}" in said(plan("rule", account))
    account.statements.append(allow("iam:PassRole", other))
    assert codes(plan("rule", account)) == []


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"refuse": {"SimulatePrincipalPolicy": "AccessDenied"}}, "IAM could not be asked"),
        ({"refuse": {"SimulatePrincipalPolicy": "InvalidInput"}}, "IAM could not be asked"),
        ({"statements": [allow("*", aws_SourceVpc="vpc-1")]}, "aws:SourceVpc"),
        ({"statements": [*ENOUGH, allow("ecs:RunTask", effect="Deny", aws_SourceIp="x")]}, "aws:SourceIp"),
        ({"detail": {"EvalResourceDecision": "perhaps"}}, "perhaps"),
        ({"detail": {"EvalResourceName": "another"}}, "left it out"),
    ],
)
@pytest.mark.parametrize("shape", SHAPES)
def test_what_is_not_known_is_said_and_holds_nothing_up(
    shape: Shape, change: dict[str, Any], why: str
) -> None:
    account = aws(shape, **change)
    planned = plan(shape, account)
    assert (planned.action, codes(planned)) == ("update", ["W211"])
    assert why in said(planned)
    assert verdict(planned, account).status is Status.SUCCEEDED


@pytest.mark.parametrize("shape", SHAPES)
def test_what_was_lacking_and_can_not_be_asked_any_more_stays_unverified(shape: Shape) -> None:
    account = aws(shape, statements=[])
    planned = plan(shape, account)
    account.refuse = {"SimulatePrincipalPolicy": "AccessDenied"}
    judgement = verdict(planned, account)
    assert judgement.status is Status.UNVERIFIED
    assert judgement.reason == planned.start_doubt


@pytest.mark.parametrize(
    ("detail", "why"),
    [
        (
            {"PermissionsBoundaryDecisionDetail": {"AllowedByPermissionsBoundary": False}},
            "permissions boundary",
        ),
        ({"OrganizationsDecisionDetail": {"AllowedByOrganizations": False}}, "service control policy"),
    ],
)
def test_what_stands_in_the_way_beside_the_role_is_named(detail: dict[str, Any], why: str) -> None:
    planned = plan("rule", aws("rule", detail=detail))
    assert codes(planned) == ["W210"]
    assert why in said(planned)


@pytest.mark.parametrize("shape", SHAPES)
def test_a_role_of_another_account_or_none_can_not_be_asked(shape: Shape) -> None:
    account = aws(shape)
    target = account.rule_targets[0] if shape == "rule" else account.schedule["Target"]
    target["RoleArn"] = ROLE.replace(ACCOUNT, "222222222222")
    planned = plan(shape, account)
    assert "another account" in said(planned)
    del target["RoleArn"]
    assert "names no role" in said(plan(shape, account))
    assert account.asked == []


def test_a_role_that_does_not_exist_is_no_permission() -> None:
    planned = plan("rule", aws("rule", refuse={"SimulatePrincipalPolicy": "NoSuchEntity"}))
    assert codes(planned) == ["W210"]
    assert "does not exist" in said(planned)


def test_each_distinct_question_is_asked_once_and_many_in_one_call() -> None:
    account = aws("rule")
    policies = PrincipalPolicies(account, 60)
    questions = [Question("default", ROLE, "ecs:RunTask", f"{PREFIX}f{n % 50}:2") for n in range(500)]
    answers = policies.ask(questions)
    assert {answer.decision for answer in answers.values()} == {Decision.ALLOWED}
    assert sorted(len(asked["ResourceArns"]) for asked in account.asked) == [10, 20, 20]
    policies.ask(questions)
    assert len(account.asked) == 3


def test_iam_that_throttles_for_good_holds_a_plan_up_for_a_while_only() -> None:
    class Throttled(Aws):
        def _simulate(self, **asked: Any) -> Any:
            patience.pause(10_000, "Rate exceeded")
            yield from super()._simulate(**asked)

    account: Any = Throttled(targets=[rule_target(f"{NIGHTLY}:42")])
    planned = plan("rule", account)
    assert codes(planned) == ["W211"]
    assert "in time" in said(planned)


def test_no_question_goes_out_when_the_time_is_up() -> None:
    account = aws("rule")
    answers = PrincipalPolicies(account, -1).ask([Question("default", ROLE, "ecs:RunTask", "*")])
    assert [answer.decision for answer in answers.values()] == [Decision.NOT_KNOWN]
    assert account.asked == []


def test_waiting_ends_with_the_block_and_not_later_than_the_invocation() -> None:
    with patience.at_most(5):
        assert patience.has_time_for(1)
        with pytest.raises(UnfinishedError):
            patience.pause(6, "long")
        end = time.monotonic() + 2
        inner = patience.Patience(lambda: end - time.monotonic()).until(time.monotonic() + 100)
        assert not inner.allows(3)
    assert patience.has_time_for(1e9)


def test_both_forms_of_the_simulators_answer_are_read() -> None:
    """One result for each resource, as it was, and one that tells its resources apart."""
    old = {"EvalActionName": "a", "EvalResourceName": "r1", "EvalDecision": "allowed"}
    assert list(_answers_in(old)) == [("r1", Answer(Decision.ALLOWED))]
    new = {
        **old,
        "EvalResourceName": "*",
        "EvalDecision": "explicitDeny",
        "ResourceSpecificResults": [
            {"EvalResourceName": "r1", "EvalResourceDecision": "allowed"},
            {"EvalResourceName": "r2", "EvalResourceDecision": "explicitDeny"},
        ],
    }
    assert [(name, answer.decision) for name, answer in _answers_in(new)] == [
        ("r1", Decision.ALLOWED),
        ("r2", Decision.DENIED),
    ]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("status", ["INACTIVE", "DELETE_IN_PROGRESS"])
def test_a_deregistered_revision_with_the_wanted_image_is_a_change(shape: Shape, status: str) -> None:
    account = aws(shape, revisions=43, states={42: status})
    planned = plan(shape, account, "job:1")
    assert (planned.action, codes(planned)) == ("update", ["W206"])
    assert status in planned.warnings[0]
    assert (planned.before, planned.base, planned.startable) == (
        f"{NIGHTLY}:42",
        f"{NIGHTLY}:42",
        f"{NIGHTLY}:44",
    )


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("changes", [True, False])
def test_a_revision_that_is_deregistered_later_is_no_success(shape: Shape, changes: bool) -> None:
    account = aws(shape)
    planned = plan(shape, account, "job:2" if changes else "job:1")
    account.states = {43 if changes else 42: "INACTIVE"}
    judgement = verdict(planned, account)
    assert (judgement.status, judgement.needs_second_look) == (Status.FAILED, True)
    assert "INACTIVE" in judgement.reason
    account.gone = frozenset(account.states)
    assert verdict(planned, account).status is Status.FAILED


@pytest.mark.parametrize(
    ("rule", "refuse", "expected"),
    [
        ({"State": "DISABLED"}, {}, ["W207"]),
        ({"State": "ENABLED_WITH_ALL_CLOUDTRAIL_MANAGEMENT_EVENTS"}, {}, []),
        ({}, {}, []),
        ({"State": None, "ManagedBy": None}, {}, []),
        ({"State": "ENABLED"}, {"DescribeRule": "AccessDeniedException"}, ["W209"]),
        ({"State": "ENABLED", "ManagedBy": "autoscaling.amazonaws.com"}, {}, ["E211"]),
    ],
)
def test_what_a_rule_says_of_itself(
    rule: dict[str, Any], refuse: dict[str, str], expected: list[str]
) -> None:
    account = aws("rule", refuse=refuse)
    account.rule = rule
    planned = plan("rule", account)
    assert codes(planned) == expected
    assert planned.action == ("blocked" if "E211" in expected else "update")


def test_the_plan_s_document_says_all_of_it() -> None:
    document = plan_document([plan("rule", aws("rule", statements=[]))], "rollback")
    findings = {finding["code"]: finding for finding in document["items"][0]["findings"]}
    assert findings["W210"]["values"]["role"] == ROLE
    assert findings["W210"]["values"]["grant"].startswith(f"ecs:RunTask on {NIGHTLY}:*")
