"""SimulatePrincipalPolicy answers from a role's policies, and knows no trust policy and no context that it was not told."""

from __future__ import annotations

import json
import uuid
from typing import Any

import pytest
from botocore.exceptions import ClientError
from local_aws.client import LocalAws

FAMILY = "arn:aws:ecs:us-east-1:123456789012:task-definition/nightly"
CLUSTER = "arn:aws:ecs:us-east-1:123456789012:cluster/prod"


@pytest.fixture
def iam(aws: LocalAws) -> Any:
    return aws.client("iam")


def statement(
    resource: str, effect: str = "Allow", action: str = "ecs:RunTask", **more: Any
) -> dict[str, Any]:
    return {"Effect": effect, "Action": action, "Resource": resource, **more}


def document(*statements: dict[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


@pytest.fixture
def role(iam: Any) -> Any:
    """Makes a role with these statements; its ARN."""

    def make(*statements: dict[str, Any], boundary: str | None = None) -> str:
        name = f"r-{uuid.uuid4().hex[:8]}"
        more = {}
        if boundary is not None:
            made = iam.create_policy(PolicyName=f"{name}-boundary", PolicyDocument=boundary)
            more["PermissionsBoundary"] = made["Policy"]["Arn"]
        # A trust policy that trusts nobody: the simulator does not look at it.
        created = iam.create_role(RoleName=name, AssumeRolePolicyDocument=document(), **more)
        if statements:
            iam.put_role_policy(RoleName=name, PolicyName="p", PolicyDocument=document(*statements))
        return str(created["Role"]["Arn"])

    return make


def ask(iam: Any, role: str, *resources: str, action: str = "ecs:RunTask", **context: str) -> dict[str, Any]:
    """Resource -> its result."""
    entries = [
        {"ContextKeyName": key.replace("_", ":"), "ContextKeyValues": [value], "ContextKeyType": "string"}
        for key, value in context.items()
    ]
    answer = iam.simulate_principal_policy(
        PolicySourceArn=role, ActionNames=[action], ResourceArns=list(resources), ContextEntries=entries
    )
    (result,) = answer["EvaluationResults"]
    assert result["EvalActionName"] == action
    return {one["EvalResourceName"]: one for one in result["ResourceSpecificResults"]}


def test_each_resource_is_judged_by_itself(iam: Any, role: Any) -> None:
    found = ask(iam, role(statement(f"{FAMILY}:42")), f"{FAMILY}:42", f"{FAMILY}:43", FAMILY)
    assert [one["EvalResourceDecision"] for one in found.values()] == [
        "allowed",
        "implicitDeny",
        "implicitDeny",
    ]


def test_a_deny_wins_and_is_told_apart(iam: Any, role: Any) -> None:
    arn = role(statement("*"), statement(f"{FAMILY}:*", "Deny"))
    assert ask(iam, arn, f"{FAMILY}:1")[f"{FAMILY}:1"]["EvalResourceDecision"] == "explicitDeny"


def test_a_key_that_is_not_given_is_missing_and_a_given_one_decides(iam: Any, role: Any) -> None:
    arn = role(statement(f"{FAMILY}:*", Condition={"ArnEquals": {"ecs:cluster": CLUSTER}}))
    one = f"{FAMILY}:1"
    without = ask(iam, arn, one)[one]
    assert (without["EvalResourceDecision"], without["MissingContextValues"]) == (
        "implicitDeny",
        ["ecs:cluster"],
    )
    assert ask(iam, arn, one, ecs_cluster=CLUSTER)[one]["EvalResourceDecision"] == "allowed"
    assert ask(iam, arn, one, ecs_cluster=CLUSTER + "x")[one]["EvalResourceDecision"] == "implicitDeny"


def test_a_boundary_limits_and_is_told(iam: Any, role: Any) -> None:
    arn = role(statement("*"), boundary=document(statement(f"{FAMILY}:1")))
    found = ask(iam, arn, f"{FAMILY}:1", f"{FAMILY}:2")
    told = [
        (
            one["EvalResourceDecision"],
            one["PermissionsBoundaryDecisionDetail"]["AllowedByPermissionsBoundary"],
        )
        for one in found.values()
    ]
    assert told == [("allowed", True), ("implicitDeny", False)]


def test_a_role_that_is_not_there_is_an_error(iam: Any) -> None:
    with pytest.raises(ClientError) as error:
        ask(iam, "arn:aws:iam::123456789012:role/nobody", "*")
    assert error.value.response["Error"]["Code"] == "NoSuchEntity"
