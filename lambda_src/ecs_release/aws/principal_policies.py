"""What the policies of a role allow, as IAM's policy simulator says.

The simulator knows the role's policies, its permissions boundary and the organization's service control policies. It knows no trust
policy, and of the keys of a condition only those that it is told
(https://docs.aws.amazon.com/IAM/latest/APIReference/API_SimulatePrincipalPolicy.html).
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from ecs_release.aws.clients import Connections
from ecs_release.aws.patience import at_most, side_by_side
from ecs_release.aws.trouble import error_code, explain
from ecs_release.errors import PassingError, TargetUnreachableError

# IAM throttles early, and what it refuses then it refuses to everybody in the account.
_ASKING = 4
_RESOURCES = 20
"""Resources of one call: with more of them in one the simulator has refused (https://github.com/nccgroup/PMapper/pull/6)."""


class Decision(IntEnum):
    """What the simulator says of one call, the best first."""

    ALLOWED = 0
    NOT_KNOWN = 1
    NOT_GRANTED = 2
    """No statement allows it: an implicit deny."""
    DENIED = 3
    """A statement denies it."""


@dataclass(frozen=True)
class Answer:
    """What is known of one question.

    Attributes
    ----------
    why : what is not known, or what stands in the way beside the role's own policies.
    """

    decision: Decision
    why: str = ""


@dataclass(frozen=True)
class Question:
    """May a role make a call?

    Attributes
    ----------
    target : name of the target whose account the role is in.
    context : keys of conditions and their values, as AWS knows them when the call is made.
    """

    target: str
    role: str
    action: str
    resource: str
    context: tuple[tuple[str, str], ...] = ()


_Group = tuple[str, str, str, tuple[tuple[str, str], ...]]


class PrincipalPolicies:
    """Asks each distinct question once, and gives up in time: what is not known then is said, and holds nothing up.

    Parameters
    ----------
    seconds : how long all questions together may take.
    """

    def __init__(self, connections: Connections, seconds: float) -> None:
        self._connections = connections
        self._until = time.monotonic() + seconds
        self._known: dict[Question, Answer] = {}
        self._refused: dict[tuple[str, str], Answer] = {}

    def ask(self, questions: Sequence[Question]) -> Mapping[Question, Answer]:
        """An answer for each question; never raises."""
        groups: dict[_Group, list[Question]] = {}
        for question in dict.fromkeys(questions):
            if question not in self._known:
                group = (question.target, question.role, question.action, question.context)
                groups.setdefault(group, []).append(question)
        calls = [
            members[start : start + _RESOURCES]
            for members in groups.values()
            for start in range(0, len(members), _RESOURCES)
        ]
        with at_most(self._until - time.monotonic()), ThreadPoolExecutor(_ASKING) as pool:
            for answers in side_by_side(pool, self._answers, calls):
                self._known |= answers
        return {question: self._known[question] for question in questions}

    def _answers(self, questions: Sequence[Question]) -> dict[Question, Answer]:
        """The answers to questions that differ in their resource alone."""
        first = questions[0]
        who = (first.target, first.role)
        if who in self._refused:
            return dict.fromkeys(questions, self._refused[who])
        if time.monotonic() > self._until:
            return dict.fromkeys(questions, Answer(Decision.NOT_KNOWN, "no time was left to ask IAM"))
        try:
            found = dict(self._simulate(questions))
        except ClientError as error:
            if error_code(error) == "NoSuchEntity":
                answer = Answer(
                    Decision.NOT_GRANTED, "the role does not exist; give the target one that does"
                )
            else:
                why = f"IAM could not be asked: {explain(error).rstrip('.')}"
                if error_code(error) == "AccessDenied":
                    why += "; allow iam:SimulatePrincipalPolicy to whoever makes the plan"
                answer = Answer(Decision.NOT_KNOWN, why)
            self._refused[who] = answer
            return dict.fromkeys(questions, answer)
        except (BotoCoreError, PassingError, TargetUnreachableError) as error:
            answer = Answer(Decision.NOT_KNOWN, f"IAM gave no answer in time: {explain(error)}")
            return dict.fromkeys(questions, answer)
        silent = Answer(Decision.NOT_KNOWN, "IAM left it out of its answer")
        return {question: found.get(question.resource, silent) for question in questions}

    def _simulate(self, questions: Sequence[Question]) -> Iterator[tuple[str, Answer]]:
        first = questions[0]
        pages = (
            self._connections.client(first.target, "iam")
            .get_paginator("simulate_principal_policy")
            .paginate(
                PolicySourceArn=first.role,
                ActionNames=[first.action],
                ResourceArns=[question.resource for question in questions],
                ContextEntries=[
                    {"ContextKeyName": key, "ContextKeyValues": [value], "ContextKeyType": "string"}
                    for key, value in first.context
                ],
            )
        )
        for page in pages:
            for result in page.get("EvaluationResults") or ():
                yield from _answers_in(result)


def _answers_in(result: Mapping[str, Any]) -> Iterator[tuple[str, Answer]]:
    """Resource and answer: of one action there is one result that tells its resources apart; there used to be one for each."""
    specific = result.get("ResourceSpecificResults") or ()
    for one in specific:
        merged = {**result, **one, "EvalDecision": one.get("EvalResourceDecision")}
        yield str(one.get("EvalResourceName")), _answer(merged)
    if not specific:
        yield str(result.get("EvalResourceName")), _answer(result)


def _answer(result: Mapping[str, Any]) -> Answer:
    missing = sorted(result.get("MissingContextValues") or ())
    if missing:
        # An allow or a deny that depends on them may turn out otherwise.
        return Answer(
            Decision.NOT_KNOWN, f"its policies ask for {', '.join(missing)}, which is only known then"
        )
    boundary = (result.get("PermissionsBoundaryDecisionDetail") or {}).get("AllowedByPermissionsBoundary")
    organization = (result.get("OrganizationsDecisionDetail") or {}).get("AllowedByOrganizations")
    why = "its permissions boundary does not allow it" if boundary is False else ""
    if organization is False:
        why = "a service control policy of the organization does not allow it"
    match result.get("EvalDecision"):
        case "explicitDeny":
            return Answer(Decision.DENIED, why)
        case "allowed" if not why:
            return Answer(Decision.ALLOWED)
        case "allowed" | "implicitDeny":
            return Answer(Decision.NOT_GRANTED, why)
        case decision:
            return Answer(Decision.NOT_KNOWN, f'IAM answered "{decision}"')
