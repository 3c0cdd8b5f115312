"""Policy documents as AWS reads them: statements, wildcards, policy variables, principals.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements.html
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from local_aws.kernel.iam.conditions import Condition, Context, PolicyError, holds, parse_conditions

_VARIABLE = re.compile(r"\$\{([^}]*)\}")
_PARTS = 6  # arn:partition:service:region:account:resource
_ELEMENTS = frozenset(
    {
        *("Sid", "Effect", "Condition", "Principal", "NotPrincipal"),
        *("Action", "NotAction", "Resource", "NotResource"),
    }
)


@dataclass(frozen=True)
class Caller:
    """Who makes a request.

    Attributes
    ----------
    arn : of the role's session, of the account's root for its administrator, or a service such as ``events.amazonaws.com``.
    account : "" for a service.
    role_arn : of the role whose session this is.
    """

    arn: str
    account: str = ""
    role_arn: str | None = None

    @property
    def is_service(self) -> bool:
        return not self.account


@dataclass(frozen=True)
class Statement:
    """One statement.

    Attributes
    ----------
    name : its Sid, or its place in the policy, from 0.
    grants_by : set by whoever matches it: "session", "role", "account" or "service".
    """

    name: str
    allows: bool
    actions: tuple[str, ...]
    but_actions: tuple[str, ...]
    resources: tuple[str, ...]
    but_resources: tuple[str, ...]
    principals: Mapping[str, tuple[str, ...]] | None
    conditions: tuple[Condition, ...]

    def concerns(self, action: str, resource: str, context: Context) -> bool:
        """Tell whether action, resource and conditions fit; principals are another question."""
        if self.actions and not any(_action(pattern).match(action) for pattern in self.actions):
            return False
        if any(_action(pattern).match(action) for pattern in self.but_actions):
            return False
        if self.resources and not any(matches(pattern, resource, context) for pattern in self.resources):
            return False
        if any(matches(pattern, resource, context) for pattern in self.but_resources):
            return False
        return all(holds(condition, context) for condition in self.conditions)

    def names(self, caller: Caller) -> str | None:
        """How the statement names a caller: "session", "role", "account", "service"; None where it does not.

        https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_principal.html
        """
        if self.principals is None:
            return None
        found: set[str] = set()
        for kind, values in self.principals.items():
            for value in values:
                if value == "*" and kind in ("*", "AWS"):
                    found.add("service" if caller.is_service else "session")
                elif kind == "Service" and caller.is_service and value == caller.arn:
                    found.add("service")
                elif kind == "AWS" and not caller.is_service:
                    if value == caller.arn and not value.endswith(":root"):
                        found.add("session")
                    elif value == caller.role_arn:
                        found.add("role")
                    elif value in (caller.account, f"arn:aws:iam::{caller.account}:root"):
                        found.add("account")
        return next((way for way in ("service", "session", "role", "account") if way in found), None)


@dataclass(frozen=True)
class Policy:
    """A policy document."""

    text: str
    statements: tuple[Statement, ...]


@functools.lru_cache(8192)
def parse(text: str) -> Policy:
    """Read a policy document.

    Raises
    ------
    PolicyError
        when it holds what is no policy, or what can't be evaluated here.
    """
    try:
        document = json.loads(text)
        given = document["Statement"]
    except (ValueError, KeyError, TypeError) as error:
        raise PolicyError(f"no policy document: {error!r}: {text[:200]}") from None
    statements = [given] if isinstance(given, dict) else given
    return Policy(text, tuple(_statement(str(number), body) for number, body in enumerate(statements)))


def _statement(number: str, body: Mapping[str, Any]) -> Statement:
    unknown = set(body) - _ELEMENTS
    if unknown or body.get("Effect") not in ("Allow", "Deny"):
        raise PolicyError(f"statement {number}: Effect is {body.get('Effect')!r}, unknown: {sorted(unknown)}")
    if "NotPrincipal" in body:
        raise PolicyError(f"statement {number}: NotPrincipal is not evaluated here")
    principal = body.get("Principal")
    if isinstance(principal, str):
        principal = {"*": principal}
    return Statement(
        name=str(body.get("Sid") or number),
        allows=body["Effect"] == "Allow",
        actions=listed(body.get("Action")),
        but_actions=listed(body.get("NotAction")),
        resources=listed(body.get("Resource")),
        but_resources=listed(body.get("NotResource")),
        principals=None if principal is None else {kind: listed(value) for kind, value in principal.items()},
        conditions=parse_conditions(body.get("Condition") or {}),
    )


def listed(value: Any) -> tuple[str, ...]:
    """An element of a policy, which may be one value or a list."""
    if value is None:
        return ()
    return tuple(map(str, value)) if isinstance(value, list) else (str(value),)


def without(text: str, number: int) -> str | None:
    """A policy document without one of its statements; None where nothing is left."""
    document = json.loads(text)
    given = document["Statement"]
    statements = [given] if isinstance(given, dict) else list(given)
    del statements[number]
    return json.dumps({**document, "Statement": statements}) if statements else None


@functools.lru_cache(8192)
def _action(pattern: str) -> re.Pattern[str]:
    """Actions are compared without regard to case.

    https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_action.html
    """
    return re.compile(_wild(pattern) + r"\Z", re.IGNORECASE)


def matches(pattern: str, resource: str, context: Context) -> bool:
    """Tell whether an ARN, or ``*``, is what a statement's resource means.

    Each of the six parts is compared by itself, and an ARN that ends early goes on with ``*``.
    https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_resource.html
    """
    if "${" in pattern:
        filled = fill(pattern, context)
        return filled is not None and _arn(filled).match(resource) is not None
    return pattern == "*" or _arn(pattern).match(resource) is not None


@functools.lru_cache(16384)
def _arn(pattern: str) -> re.Pattern[str]:
    if pattern == "*":
        return re.compile(".*", re.DOTALL)
    parts = pattern.split(":", _PARTS - 1)
    parts += ["*"] * (_PARTS - len(parts))
    head = [_wild(part, "[^:]") for part in parts[:-1]]
    return re.compile(":".join([*head, _wild(parts[-1])]) + r"\Z", re.DOTALL)


def _wild(pattern: str, any_character: str = ".") -> str:
    translated = {"*": any_character + "*", "?": any_character}
    parts = re.split(r"(\x00[*?$]|[*?])", pattern)
    return "".join(
        translated.get(part) or re.escape(part[1:] if part.startswith("\0") else part) for part in parts
    )


def fill(pattern: str, context: Context) -> str | None:
    """Put a request's values in the place of policy variables; None where one has no value.

    https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_variables.html
    """
    missing = False

    def value(match: re.Match[str]) -> str:
        nonlocal missing
        name, _, default = match.group(1).partition(",")
        if name in ("*", "?", "$"):
            return "\0" + name
        found = context.get(name.strip().lower())
        if found and len(found) == 1:
            return re.sub(r"([*?])", "\0\\1", found[0])
        if default:
            return default.strip().strip("'")
        missing = True
        return ""

    filled = _VARIABLE.sub(value, pattern)
    return None if missing else filled
