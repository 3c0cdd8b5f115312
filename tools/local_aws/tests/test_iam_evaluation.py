"""AWS's evaluation logic, row by row of the documents that ``kernel/iam`` names."""

from __future__ import annotations

import json
from typing import Any

import pytest
from local_aws.kernel.iam.conditions import PolicyError
from local_aws.kernel.iam.decision import Decision, Policies, Request, decide, sentence
from local_aws.kernel.iam.policies import Caller, parse, without

ACCOUNT, OTHER = "111111111111", "222222222222"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/worker"
SESSION = Caller(f"arn:aws:sts::{ACCOUNT}:assumed-role/worker/one", ACCOUNT, ROLE)
TOPIC = f"arn:aws:sns:us-east-1:{ACCOUNT}:topic"


def policy(**statement: Any) -> str:
    return json.dumps(
        {
            "Version": "2012-10-17",
            "Statement": {"Effect": "Allow", "Action": "*", "Resource": "*", **statement},
        }
    )


def resource_policy(principal: Any, **statement: Any) -> str:
    return policy(Principal=principal, **statement)


def ask(
    *,
    identity: str | None = policy(),
    boundary: str | None = None,
    session: str | None = None,
    resource: str | None = None,
    caller: Caller = SESSION,
    action: str = "sns:Publish",
    on: str = TOPIC,
    owner: str = ACCOUNT,
    **context: str | tuple[str, ...],
) -> Decision:
    keys = {k.lower(): (v,) if isinstance(v, str) else v for k, v in context.items()}
    request = Request(caller, action, on, owner, tuple(sorted(keys.items())))
    named = (("inline", identity),) if identity else ()
    return decide(request, Policies(named, boundary, (session,) if session else None, resource))


def _source(rule: str) -> dict[str, Any]:
    return {"aws:SourceArn": f"arn:aws:events:us-east-1:{ACCOUNT}:rule/{rule}"}


NOTHING = policy(Action="s3:ListBucket")
NO_IDENTITY = "because no identity-based policy allows the sns:Publish action"
NO_BOUNDARY = "because no permissions boundary allows the sns:Publish action"
NO_SESSION = "because no session policy allows the sns:Publish action"
NO_RESOURCE = "because no resource-based policy allows the sns:Publish action"


@pytest.mark.parametrize(
    ("policies", "reason"),
    [
        ({}, ""),
        ({"identity": None}, NO_IDENTITY),
        ({"identity": NOTHING}, NO_IDENTITY),
        ({"boundary": NOTHING}, NO_BOUNDARY),
        ({"session": NOTHING}, NO_SESSION),
        ({"boundary": policy(), "session": policy()}, ""),
        ({"identity": policy(Effect="Deny")}, "with an explicit deny in an identity-based policy"),
        ({"boundary": policy(Effect="Deny")}, "with an explicit deny in a permissions boundary"),
        ({"session": policy(Effect="Deny")}, "with an explicit deny in a session policy"),
        (
            {"resource": resource_policy("*", Effect="Deny")},
            "with an explicit deny in a resource-based policy",
        ),
        # of the same account: the resource's policy is enough, but to a role's ARN boundary and session policy are limits
        ({"identity": None, "resource": resource_policy({"AWS": ROLE})}, ""),
        ({"identity": None, "boundary": NOTHING, "resource": resource_policy({"AWS": ROLE})}, NO_BOUNDARY),
        ({"identity": None, "session": NOTHING, "resource": resource_policy({"AWS": ROLE})}, NO_SESSION),
        ({"identity": None, "session": NOTHING, "resource": resource_policy({"AWS": SESSION.arn})}, ""),
        ({"identity": None, "boundary": NOTHING, "resource": resource_policy({"AWS": "*"})}, ""),
        # the account as principal hands the question to identity policies
        ({"identity": None, "resource": resource_policy({"AWS": ACCOUNT})}, NO_IDENTITY),
        ({"identity": None, "resource": resource_policy({"AWS": f"arn:aws:iam::{OTHER}:root"})}, NO_IDENTITY),
    ],
)
def test_what_has_a_say_in_one_account(policies: dict[str, Any], reason: str) -> None:
    decision = ask(**policies)

    assert decision.allowed is not bool(reason)
    assert decision.reason == reason


@pytest.mark.parametrize(
    ("policies", "reason"),
    [
        ({}, NO_RESOURCE),
        ({"identity": None}, NO_IDENTITY),
        ({"resource": resource_policy({"AWS": ACCOUNT})}, ""),
        ({"resource": resource_policy({"AWS": ROLE})}, ""),
        ({"identity": None, "resource": resource_policy({"AWS": ROLE})}, NO_IDENTITY),
        ({"identity": None, "resource": resource_policy({"AWS": SESSION.arn})}, NO_IDENTITY),
    ],
)
def test_another_account_s_resource_takes_both_sides(policies: dict[str, Any], reason: str) -> None:
    decision = ask(owner=OTHER, **policies)

    assert decision.allowed is not bool(reason)
    assert decision.reason == reason


@pytest.mark.parametrize("action", ["kms:Decrypt", "sts:AssumeRole"])
def test_a_key_and_a_role_are_nobody_s_without_their_own_policy(action: str) -> None:
    kind = "role trust policy" if action == "sts:AssumeRole" else "resource-based policy"
    refused = ask(action=action, resource=resource_policy({"AWS": f"arn:aws:iam::{ACCOUNT}:role/other"}))

    assert refused.reason == f"because no {kind} allows the {action} action"
    assert ask(action=action, resource=resource_policy({"AWS": ACCOUNT})).allowed
    assert not ask(action=action, identity=None, resource=resource_policy({"AWS": ACCOUNT})).allowed
    assert ask(action=action, identity=None, resource=resource_policy({"AWS": ROLE})).allowed


def test_a_service_is_let_in_by_the_resource_alone() -> None:
    events = Caller("events.amazonaws.com")
    rule = {"ArnEquals": {"aws:SourceArn": "arn:aws:events:us-east-1:111111111111:rule/r"}}
    theirs = resource_policy({"Service": "events.amazonaws.com"}, Condition=rule)

    assert not ask(caller=events).allowed
    assert ask(
        caller=events,
        resource=theirs,
        **_source("r"),
    ).allowed
    assert not ask(caller=events, resource=theirs, **_source("s")).allowed
    assert not ask(caller=events, resource=resource_policy({"Service": "sns.amazonaws.com"})).allowed


def test_the_statements_that_allowed_it_are_told() -> None:
    decision = ask(identity=policy(Sid="Notify"), session=policy(Sid="Step"), boundary=policy())

    assert decision.by == (
        ("identity", "inline", "Notify"),
        ("boundary", "boundary", "0"),
        ("session", "0", "Step"),
    )


@pytest.mark.parametrize(
    ("pattern", "resource", "fits"),
    [
        ("*", "*", True),
        ("arn:aws:s3:::bucket/*", "arn:aws:s3:::bucket/a/b", True),
        ("arn:aws:s3:::bucket", "arn:aws:s3:::bucket/a", False),
        ("arn:aws:s3:::bucket/*", "*", False),
        ("arn:aws:ecs:*:111111111111:service/*", "arn:aws:ecs:eu-west-1:111111111111:service/a/b", True),
        ("arn:aws:ecs:*:service/*", "arn:aws:ecs:eu-west-1:111111111111:service/a/b", False),
        (
            "arn:aws:lambda:us-east-1:111111111111:function:f:*",
            "arn:aws:lambda:us-east-1:111111111111:function:f",
            False,
        ),
        (
            "arn:aws:lambda:us-east-1:111111111111:function:f:*",
            "arn:aws:lambda:us-east-1:111111111111:function:f:7",
            True,
        ),
        ("arn:aws:sns", TOPIC, True),
        ("arn:aws:sqs", TOPIC, False),
        ("arn:aws:iam::111111111111:role/service-?-*", "arn:aws:iam::111111111111:role/service-a-task", True),
        ("arn:aws:sns:us-east-1:111111111111:${aws:PrincipalTag/team}", TOPIC, False),
        ("arn:aws:sns:us-east-1:111111111111:${aws:SourceVpc, 'topic'}", TOPIC, True),
        ("arn:aws:sns:us-east-1:${aws:PrincipalAccount}:topic", TOPIC, True),
        ("arn:aws:sns:us-east-1:111111111111:top${*}", TOPIC, False),
    ],
)
def test_resources(pattern: str, resource: str, fits: bool) -> None:
    context: dict[str, Any] = {"aws:PrincipalAccount": ACCOUNT}

    decision = ask(identity=policy(Resource=pattern), on=resource, **context)

    assert decision.allowed is fits


@pytest.mark.parametrize(
    ("statement", "fits"),
    [
        ({"Action": "SNS:publish"}, True),
        ({"Action": "sns:P*"}, True),
        ({"Action": "sns:Publish?"}, False),
        ({"Action": ["s3:*", "sns:*"]}, True),
        ({"NotAction": "sns:*"}, False),
        ({"NotAction": "s3:*"}, True),
        ({"Resource": ["arn:aws:s3:::b", TOPIC]}, True),
    ],
)
def test_actions_and_what_is_not_one(statement: dict[str, Any], fits: bool) -> None:
    document = json.loads(policy(**statement))
    if "NotAction" in statement:
        del document["Statement"]["Action"]

    assert ask(identity=json.dumps(document)).allowed is fits


@pytest.mark.parametrize(
    ("condition", "given", "holds"),
    [
        ({"StringEquals": {"k": "a"}}, "a", True),
        ({"StringEquals": {"K": ["b", "a"]}}, "a", True),
        ({"StringEquals": {"k": "a"}}, "A", False),
        ({"StringEquals": {"k": "a"}}, None, False),
        ({"StringEqualsIfExists": {"k": "a"}}, None, True),
        ({"StringEqualsIfExists": {"k": "a"}}, "b", False),
        ({"StringEqualsIgnoreCase": {"k": "a"}}, "A", True),
        ({"StringNotEquals": {"k": "a"}}, None, True),
        ({"StringNotEquals": {"k": ["a", "b"]}}, "b", False),
        ({"StringNotEquals": {"k": ["a", "b"]}}, "c", True),
        ({"StringLike": {"k": "scheduler.*.amazonaws.com"}}, "scheduler.eu-west-1.amazonaws.com", True),
        ({"StringNotLike": {"k": "a*"}}, "abc", False),
        ({"ArnLike": {"k": "arn:aws:iam::111111111111:role/a*"}}, "arn:aws:iam::111111111111:role/abc", True),
        ({"ArnEquals": {"k": "arn:aws:events:*:1:rule/r"}}, "arn:aws:events:us-east-1:1:rule/r", True),
        ({"ArnLike": {"k": "arn:aws:*:rule/r"}}, "arn:aws:events:us-east-1:1:rule/r", False),
        ({"ArnNotLike": {"k": "arn:aws:events:*:*:rule/r"}}, "arn:aws:events:us-east-1:1:rule/r", False),
        ({"Bool": {"k": "false"}}, "true", False),
        ({"Bool": {"k": False}}, "false", True),
        ({"BoolIfExists": {"k": "true"}}, None, True),
        ({"NumericLessThan": {"k": "10"}}, "9", True),
        ({"NumericGreaterThanEquals": {"k": 10}}, "9", False),
        ({"DateGreaterThan": {"k": "2026-01-01T00:00:00Z"}}, "2026-02-01T00:00:00Z", True),
        ({"IpAddress": {"k": "127.0.0.0/8"}}, "127.0.0.1", True),
        ({"NotIpAddress": {"k": "127.0.0.0/8"}}, "127.0.0.1", False),
        ({"Null": {"k": "true"}}, None, True),
        ({"Null": {"k": "false"}}, None, False),
        ({"ForAllValues:StringEquals": {"k": ["a", "b"]}}, ("a", "b"), True),
        ({"ForAllValues:StringEquals": {"k": ["a", "b"]}}, ("a", "c"), False),
        ({"ForAllValues:StringEquals": {"k": ["a"]}}, None, True),
        ({"ForAnyValue:StringEquals": {"k": ["a"]}}, ("a", "c"), True),
        ({"ForAnyValue:StringEquals": {"k": ["a"]}}, None, False),
        ({"StringEquals": {"k": "a"}, "Bool": {"j": "true"}}, "a", False),
        ({"StringEquals": {"k": "${other}"}}, "x", False),
    ],
)
def test_conditions(condition: dict[str, Any], given: str | tuple[str, ...] | None, holds: bool) -> None:
    context: dict[str, Any] = {} if given is None else {"k": given}

    assert ask(identity=policy(Condition=condition), **context).allowed is holds


@pytest.mark.parametrize(
    "document",
    [
        "{",
        json.dumps({"Version": "2012-10-17"}),
        policy(Condition={"StringSounds": {"k": "a"}}),
        policy(Effect="allow"),
        policy(Actions="s3:*"),
        resource_policy("*", NotPrincipal={"AWS": "*"}),
    ],
)
def test_what_can_not_be_evaluated_is_said_and_not_passed_over(document: str) -> None:
    with pytest.raises(PolicyError):
        parse(document)


def test_a_denial_in_aws_s_words() -> None:
    def said(**arguments: Any) -> str:
        request = Request(
            SESSION, arguments.pop("action"), arguments.pop("on"), arguments.pop("owner", ACCOUNT), ()
        )
        return sentence(request, decide(request, Policies(**arguments)))

    who = f"User: {SESSION.arn} is not authorized to perform:"
    service = f"arn:aws:ecs:us-east-1:{ACCOUNT}:service/c/s"
    assert said(action="ecs:UpdateService", on=service) == (
        f"{who} ecs:UpdateService on resource: {service} because no identity-based policy allows the ecs:UpdateService action"
    )
    assert said(action="ecs:ListTaskDefinitions", on="*") == (
        f"{who} ecs:ListTaskDefinitions on resource: * because no identity-based policy allows the ecs:ListTaskDefinitions action"
    )
    assert said(action="s3:GetObject", on="arn:aws:s3:::b/k") == (
        f'{who} s3:GetObject on resource: "arn:aws:s3:::b/k" because no identity-based policy allows the s3:GetObject action'
    )
    assert said(action="sns:Publish", on=TOPIC) == (
        f"{who} SNS:Publish on resource: {TOPIC} because no identity-based policy allows the SNS:Publish action"
    )
    assert said(action="sts:AssumeRole", on=ROLE, identity=(("i", policy()),)) == (
        f"{who} sts:AssumeRole because no role trust policy allows the sts:AssumeRole action"
    )

    service_asks = Request(Caller("events.amazonaws.com"), "sns:Publish", TOPIC, ACCOUNT)
    assert sentence(service_asks, decide(service_asks, Policies())) == (
        f"events.amazonaws.com is not authorized to perform: SNS:Publish on resource: {TOPIC} "
        "because no resource-based policy allows the SNS:Publish action"
    )


def test_a_policy_without_one_of_its_statements() -> None:
    two = json.dumps(
        {"Version": "2012-10-17", "Statement": [json.loads(policy(Sid=s))["Statement"] for s in "AB"]}
    )

    shorter = without(two, 0)
    assert shorter is not None
    assert [s.name for s in parse(shorter).statements] == ["B"]
    assert without(shorter, 0) is None
