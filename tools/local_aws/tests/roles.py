"""Roles for contract tests that are not about what a role may do."""

from __future__ import annotations

import json
import uuid
from typing import Any

from local_aws.client import LocalAws

EVERYTHING = {"Effect": "Allow", "Action": "*", "Resource": "*"}


def policy(*statements: dict[str, Any]) -> str:
    """A policy document."""
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


def role(
    aws: LocalAws,
    principal: str | dict[str, Any],
    *allowed: dict[str, Any],
    account: str = "",
    **members: Any,
) -> str:
    """Make a role that a service, or another principal, may assume; its ARN. Without statements it may do everything."""
    iam = aws.client("iam", account=account)
    who = {"Service": principal} if isinstance(principal, str) else principal
    trust = {"Effect": "Allow", "Principal": who, "Action": "sts:AssumeRole", **members.pop("trust", {})}
    name = f"role-{uuid.uuid4().hex[:8]}"
    made = iam.create_role(RoleName=name, AssumeRolePolicyDocument=policy(trust), **members)
    iam.put_role_policy(
        RoleName=name, PolicyName="inline", PolicyDocument=policy(*(allowed or (EVERYTHING,)))
    )
    return str(made["Role"]["Arn"])


def topic_for_rules(aws: LocalAws) -> str:
    """Make a topic that EventBridge may publish to; its ARN."""
    sns = aws.client("sns")
    arn = str(sns.create_topic(Name=f"t-{uuid.uuid4().hex[:8]}")["TopicArn"])
    letting_in = {
        "Effect": "Allow",
        "Principal": {"Service": "events.amazonaws.com"},
        "Action": "sns:Publish",
    }
    document = policy({**letting_in, "Resource": arn})
    sns.set_topic_attributes(TopicArn=arn, AttributeName="Policy", AttributeValue=document)
    return arn
