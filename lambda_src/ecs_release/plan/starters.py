"""Asking IAM whether the roles that start scheduled tasks may start what they would name. Reads only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from botocore.exceptions import BotoCoreError, ClientError

from ecs_release.aws.clients import Connections
from ecs_release.aws.principal_policies import PrincipalPolicies
from ecs_release.aws.task_definitions import TaskDefinition
from ecs_release.errors import ItemError, OddAnswerError, TargetUnreachableError
from ecs_release.manifest.item import Item
from ecs_release.plan.definitions import Definitions
from ecs_release.plan.findings import Finding
from ecs_release.plan.live import Live
from ecs_release.plan.starter import Account, Demand, demands, judge_starter, next_revision

_UNREADABLE = (ItemError, OddAnswerError, TargetUnreachableError, ClientError, BotoCoreError)

SECONDS = 60
"""How long a plan waits for IAM in all; what is not answered by then is not known, and said."""


def with_starters(
    live: Sequence[Live],
    items: Sequence[Item],
    connections: Connections,
    definitions: Definitions,
    goals: Sequence[TaskDefinition | Finding] | None = None,
) -> list[Live]:
    """What is live, with what IAM says of the roles that start the scheduled tasks; nothing else of it is changed.

    Parameters
    ----------
    goals : of a rollback by hand, what each item goes back to.

    Raises
    ------
    PassingError
        when AWS does not let a family's newest revision be read now.
    """
    asked: list[tuple[str, list[Demand]] | None] = [
        _demands(item, found, connections, definitions, goals[place] if goals else None)
        for place, (item, found) in enumerate(zip(items, live, strict=True))
    ]
    policies = PrincipalPolicies(connections, SECONDS)
    answers = policies.ask([q for one in asked if one for demand in one[1] for q in demand.questions])
    return [
        replace(found, starter=judge_starter(*one, answers)) if one else found
        for found, one in zip(live, asked, strict=True)
    ]


def _demands(
    item: Item,
    found: Live,
    connections: Connections,
    definitions: Definitions,
    goal: TaskDefinition | Finding | None,
) -> tuple[str, list[Demand]] | None:
    """What the start of one item will ask of its roles; None of a service, and of what can't be read."""
    selection, definition = found.selection, found.definition
    if selection is None or definition is None or isinstance(goal, Finding):
        return None
    named = None
    if goal is not None:
        revision = goal.arn if goal.startable else next_revision(goal, definition)
    elif selection.changes:
        revision = next_revision(definition, _newest(definitions, item.target, definition.family))
    else:
        revision = definition.arn
        named = None if selection.pinned else revision.rpartition(":")[0]
    account = Account.of(connections.targets[item.target])
    return revision, demands(account, selection.targets, goal or definition, revision, named=named)


def _newest(definitions: Definitions, target: str, family: str) -> TaskDefinition | None:
    try:
        return definitions.describe(target, family)
    except _UNREADABLE:  # the number is only a guess without it
        return None
