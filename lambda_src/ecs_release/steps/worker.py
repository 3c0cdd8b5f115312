"""A worker: one invocation of a step, with the record and the connections it may use."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from aws_lambda_powertools.utilities.idempotency import (
    DynamoDBPersistenceLayer,
)

from ecs_release.aws.clients import Connections, own_client
from ecs_release.aws.patience import be_patient_for
from ecs_release.aws.permissions import ROLES, STEPS
from ecs_release.aws.task_definitions import TaskDefinitions
from ecs_release.record.models import ItemRecord
from ecs_release.record.store import Store
from ecs_release.settings import Settings


@dataclass
class Worker:
    """One invocation of a step.

    Attributes
    ----------
    step : name of the step, as in :mod:`ecs_release.aws.permissions`.
    remaining : seconds this invocation may still run.
    request : id of this invocation.
    context : the Lambda context, for the idempotency layer; None outside Lambda.
    """

    step: str
    settings: Settings
    store: Store
    connections: Connections
    remaining: Callable[[], float] = lambda: 3600.0
    request: str = field(default_factory=lambda: uuid.uuid4().hex)
    context: Any = None

    @classmethod
    def create(cls, step: str, context: Any = None) -> Worker:
        def remaining() -> float:
            return float(context.get_remaining_time_in_millis()) / 1000

        if context is not None:
            be_patient_for(remaining)
        settings = Settings.from_environment()
        store = Store(own_client("dynamodb"), settings.table)
        connections = Connections(
            store.targets(),
            STEPS[step],
            write=ROLES[step] == "deployment",
            session_name=f"ecs-release-{step}",
        )
        if context is None:
            return cls(step, settings, store, connections)
        return cls(
            step,
            settings,
            store,
            connections,
            remaining=remaining,
            # The same invocation may run twice in parallel, so the request id alone does not tell workers apart.
            request=f"{context.aws_request_id}-{uuid.uuid4().hex[:8]}",
            context=context,
        )

    @cached_property
    def idempotency(self) -> DynamoDBPersistenceLayer:
        """The idempotency table, one client for all items of a batch."""
        table = str(self.settings.idempotency_table)
        return DynamoDBPersistenceLayer(table_name=table, boto3_client=own_client("dynamodb"))

    def task_definitions(self, item: ItemRecord) -> TaskDefinitions:
        return TaskDefinitions(self.connections, item.target)
