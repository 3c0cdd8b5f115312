"""The proof of a scheduled task: of what its targets name tasks can be started, and the role that starts them may do so."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ecs_release.aws.ecs_targets import reference_of
from ecs_release.aws.principal_policies import Decision, PrincipalPolicies
from ecs_release.aws.task_definitions import TaskDefinition, parse_reference
from ecs_release.errors import ItemError
from ecs_release.plan.definitions import Definitions
from ecs_release.plan.starter import Account, demands, judge_starter
from ecs_release.record.models import ItemRecord
from ecs_release.record.statuses import Status
from ecs_release.rollout.judge import Judgement
from ecs_release.steps.worker import Worker

_SECONDS = 30
"""How long one round waits for IAM in all."""


class Starting:
    """What one round of judging reads about revisions and roles, each once."""

    def __init__(self, worker: Worker) -> None:
        self._connections = worker.connections
        self._definitions = Definitions(worker.connections)
        self._policies = PrincipalPolicies(worker.connections, _SECONDS)

    def judge(self, item: ItemRecord, targets: Sequence[Mapping[str, Any]]) -> Judgement:
        """The verdict on targets that name what they are meant to name.

        Raises
        ------
        PassingError, ClientError, BotoCoreError, TargetUnreachableError
            when what they name can't be read now.
        """
        reference = next(filter(None, map(reference_of, targets)), item.live)
        try:
            definition = self._definitions.describe(item.target, reference)
        except ItemError as error:
            return Judgement(Status.FAILED, str(error), needs_second_look=True)
        if not definition.startable:
            reason = f"{definition.arn} is {definition.body['status']}: nothing can be started of it"
            return Judgement(Status.FAILED, reason, needs_second_look=True)
        if definition.arn == item.startable:
            return Judgement(Status.SUCCEEDED)
        return self._by_role(item, targets, definition, reference)

    def _by_role(
        self,
        item: ItemRecord,
        targets: Sequence[Mapping[str, Any]],
        definition: TaskDefinition,
        reference: str,
    ) -> Judgement:
        """What IAM says now; what it can't say now, and did say when the release began, still holds."""
        named = None if parse_reference(reference)[1] is not None else definition.arn.rpartition(":")[0]
        account = Account.of(self._connections.targets[item.target])
        asked = demands(account, targets, definition, definition.arn, named=named)
        answers = self._policies.ask([question for demand in asked for question in demand.questions])
        starter = judge_starter(definition.arn, asked, answers)
        match starter.decision:
            case Decision.ALLOWED:
                return Judgement(Status.SUCCEEDED)
            case Decision.DENIED if item.action == "update":
                return Judgement(Status.FAILED, starter.doubt, needs_second_look=True)
            case Decision.NOT_KNOWN if not item.start_doubt and item.rollback_started_at is None:
                return Judgement(Status.SUCCEEDED)
        return Judgement(Status.UNVERIFIED, starter.doubt or item.start_doubt)
