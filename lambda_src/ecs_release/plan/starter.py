"""Whether the role that starts a scheduled task may start it: what to ask IAM, and what its answers mean. Data in, data out.

A rule or a schedule whose role may not run what it names goes on, and starts nothing, and nobody is told
(https://github.com/aws/aws-cdk/issues/22673).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ecs_release.aws.clients import Target
from ecs_release.aws.ecs_targets import TaskStart, task_start
from ecs_release.aws.principal_policies import Answer, Decision, Question
from ecs_release.aws.task_definitions import TaskDefinition
from ecs_release.plan.findings import Finding

_SOME_TASK = "0" * 32


@dataclass(frozen=True)
class Demand:
    """What the start of a task asks of a role.

    Attributes
    ----------
    questions : any of them allowed is enough.
    grant : what to allow where none is, for a person.
    unknown : why it can't be asked; "" where it can.
    """

    role: str
    questions: tuple[Question, ...] = ()
    grant: str = ""
    unknown: str = ""


@dataclass(frozen=True)
class Starter:
    """What was found of the roles that start one scheduled task.

    Attributes
    ----------
    decision : the worst of all answers.
    revision : ARN of the task definition that was asked about.
    role : of the worst answer.
    missing, grant : what the role may not do, and what to allow it.
    why : what is not known, or what else stands in the way.
    """

    decision: Decision
    revision: str
    role: str = ""
    missing: str = ""
    grant: str = ""
    why: str = ""

    @property
    def doubt(self) -> str:
        """Why it may start nothing, in words; "" where nothing speaks against it."""
        because = f" ({self.why})" if self.why else ""
        match self.decision:
            case Decision.DENIED:
                return f"a policy denies {self.role} {self.missing}{because}"
            case Decision.NOT_GRANTED:
                return f"IAM finds nothing that allows {self.role} {self.missing}{because}"
        return ""

    def findings(self, *, changes: bool) -> Iterator[Finding]:
        """What the plan says of it; what a release does not change, it can't hold up either."""
        values = {"role": self.role, "missing": self.missing, "grant": self.grant}
        values["because"] = f" ({self.why})" if self.why else ""
        match self.decision:
            case Decision.DENIED:
                yield Finding("E210" if changes else "W212", values)
            case Decision.NOT_GRANTED:
                yield Finding("W210", values)
            case Decision.NOT_KNOWN:
                yield Finding("W211", {"role": self.role or "the role", "why": self.why.rstrip(".")})


@dataclass(frozen=True)
class Account:
    """Where the targets are."""

    target: str
    number: str
    region: str

    @classmethod
    def of(cls, target: Target) -> Account:
        return cls(target.name, target.account, target.region)


def next_revision(live: TaskDefinition, newest: TaskDefinition | None) -> str:
    """ARN that the next revision of a family gets, as far as that is known: the number of a deregistered one is not used again."""
    number = max(live.revision, newest.revision if newest else 0) + 1
    return f"{live.arn.rpartition(':')[0]}:{number}"


def demands(
    account: Account,
    targets: Iterable[Mapping[str, Any]],
    definition: TaskDefinition,
    revision: str,
    *,
    named: str | None = None,
) -> list[Demand]:
    """What starting a revision through these targets asks of their roles.

    Parameters
    ----------
    definition : whose roles are passed; those of a copy are the same.
    revision : ARN of the revision that will be run.
    named : what the targets name instead, where that is the family alone. Which of the two IAM judges by has changed
        (https://github.com/aws/aws-cdk/issues/30368), so either of them is enough.
    """
    found: dict[Demand, None] = {}
    for target in targets:
        found |= dict.fromkeys(_demands(account, task_start(target), definition, revision, named))
    return list(found)


def _demands(
    account: Account, start: TaskStart, definition: TaskDefinition, revision: str, named: str | None
) -> Iterator[Demand]:
    if start.role is None:
        yield Demand("", unknown="the target names no role; give it one")
        return
    if _account_of(start.role) != account.number:
        yield Demand(start.role, unknown="it is in another account, where this release can't ask")
        return
    prefix = f"{revision.partition(':ecs:')[0]}:ecs:{account.region}:{account.number}"
    cluster = start.cluster if start.cluster.startswith("arn:") else f"{prefix}:cluster/{start.cluster}"
    region = ("aws:RequestedRegion", account.region)

    def ask(action: str, resources: Sequence[str], *context: tuple[str, str]) -> tuple[Question, ...]:
        return tuple(Question(account.target, str(start.role), action, r, context) for r in resources)

    # https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonelasticcontainerservice.html
    run = ask("ecs:RunTask", list(filter(None, (revision, named))), ("ecs:cluster", cluster), region)
    yield Demand(start.role, run, f"ecs:RunTask on {revision.rpartition(':')[0]}:*")
    for role in dict.fromkeys(_passed(start, definition)):
        # A role that is named without its path has none.
        arn = role if role.startswith("arn:") else f"{start.role.partition(':role/')[0]}:role/{role}"
        # https://docs.aws.amazon.com/AmazonECS/latest/developerguide/CWE_IAM_role.html
        passing = ask("iam:PassRole", [arn], ("iam:PassedToService", "ecs-tasks.amazonaws.com"))
        yield Demand(start.role, passing, f"iam:PassRole on {arn}")
    if start.tags:
        # With tags a start is authorised as tagging as well, and a revision of a release has one at least
        # (https://github.com/aws/aws-cdk/issues/28854).
        name = cluster.rpartition("/")[2]
        task = f"{prefix}:task/{name}/{_SOME_TASK}"
        tagging = ask("ecs:TagResource", [task], ("ecs:CreateAction", "RunTask"), region)
        yield Demand(start.role, tagging, f"ecs:TagResource on {prefix}:task/{name}/*")


def _passed(start: TaskStart, definition: TaskDefinition) -> Iterator[str]:
    for override, own in (
        (start.task_role, definition.body.get("taskRoleArn")),
        (start.execution_role, definition.body.get("executionRoleArn")),
    ):
        role = override or own
        if isinstance(role, str) and role:
            yield role


def _account_of(arn: str) -> str:
    parts = arn.split(":")
    return parts[4] if len(parts) > 5 else ""


def judge_starter(revision: str, asked: Sequence[Demand], answers: Mapping[Question, Answer]) -> Starter:
    """What the answers mean for one scheduled task: the worst one decides, and all that are as bad are named."""
    judged = [(demand, _best(demand, answers)) for demand in asked]
    worst = max((answer.decision for _, answer in judged), default=Decision.ALLOWED)
    if worst is Decision.ALLOWED:
        return Starter(worst, revision)
    bad = [(demand, answer) for demand, answer in judged if answer.decision is worst]
    role = bad[0][0].role
    same = [(demand, answer) for demand, answer in bad if demand.role == role]
    return Starter(
        worst,
        revision,
        role=role,
        missing=", ".join(_missing(demand) for demand, _ in same),
        grant=", ".join(demand.grant for demand, _ in same),
        why="; ".join(dict.fromkeys(answer.why for _, answer in same if answer.why)),
    )


def _best(demand: Demand, answers: Mapping[Question, Answer]) -> Answer:
    if demand.unknown:
        return Answer(Decision.NOT_KNOWN, demand.unknown)
    found = [answers[question] for question in demand.questions]
    denied = [answer for answer in found if answer.decision is Decision.DENIED]
    return denied[0] if denied else min(found, key=lambda answer: answer.decision)


def _missing(demand: Demand) -> str:
    question = next(iter(demand.questions), None)
    return f"{question.action} on {question.resource.replace(_SOME_TASK, '*')}" if question else demand.grant
