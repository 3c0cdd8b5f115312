"""Who calls: the sessions of roles, AWS's services, and the person at the laptop.

A session is made by AssumeRole, or by a service that acts as the role it was given. Whoever signs with a key that no session has is
the administrator of an account: of the one that the key names, if it is an account's twelve digits, else of the default one.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

from local_aws.kernel.iam.policies import Caller

ADMINISTRATOR = json.dumps(
    {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}
)


@dataclass(frozen=True)
class Principal:
    """Somebody who makes requests.

    Attributes
    ----------
    user_id : the condition key ``aws:userid``.
    session_policies : None where the session was made without any.
    keys : access key, secret and token of a session.
    """

    caller: Caller
    user_id: str = ""
    session_policies: tuple[str, ...] | None = None
    keys: tuple[str, str, str] | None = None

    @property
    def is_administrator(self) -> bool:
        return self.caller.role_arn is None and not self.caller.is_service

    @property
    def is_service(self) -> bool:
        return self.caller.is_service


def service(name: str) -> Principal:
    """A service principal, such as ``events.amazonaws.com``."""
    return Principal(Caller(name))


def administrator(account: str) -> Principal:
    """Under the name that GetCallerIdentity answers for such a key."""
    return Principal(Caller(f"arn:aws:iam::{account}:user/moto", account))


def session(
    role_arn: str, role_id: str, name: str, keys: tuple[str, str, str], policies: tuple[str, ...] | None
) -> Principal:
    """A role's session; a role's path is no part of its ARN.

    https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_identifiers.html
    """
    account = role_arn.split(":")[4]
    arn = f"arn:aws:sts::{account}:assumed-role/{role_arn.rpartition('/')[2]}/{name}"
    return Principal(Caller(arn, account, role_arn), f"{role_id}:{name}", policies, keys)


def session_name(text: str) -> str:
    """What AWS takes as RoleSessionName. https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html"""
    return re.sub(r"[^\w+=,.@-]", "-", text)[:64].ljust(2, "-")
