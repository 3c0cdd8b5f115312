"""Watching a service for a while after its rollout is complete, before its verdict is written."""

from __future__ import annotations

import dataclasses
from typing import Any

from ecs_release.aws.answers import understanding
from ecs_release.aws.service_state import ServiceState
from ecs_release.aws.services import Services
from ecs_release.aws.trouble import PASSING, explain
from ecs_release.errors import OddAnswerError
from ecs_release.observability import logger
from ecs_release.record.models import ItemRecord
from ecs_release.rollout.judge import Judgement
from ecs_release.rollout.soak import Soak, completion, judge_soak, not_known
from ecs_release.steps.worker import Worker


def watched(
    worker: Worker, item: ItemRecord, state: ServiceState | Exception | None, now: float, seconds: int
) -> tuple[ItemRecord, dict[str, Any], Judgement]:
    """A service whose rollout is complete, the changes of its record that say so, and its verdict by now."""
    changes: dict[str, Any] = {}
    if item.completed_at is None:
        # Of what was judged complete there is an answer.
        assert isinstance(state, ServiceState)  # noqa: S101
        changes = _completion(item, state, now)
        item = dataclasses.replace(item, **changes)
    return item, changes, _judge(worker, item, state, now, seconds)


def _completion(item: ItemRecord, state: ServiceState, now: float) -> dict[str, Any]:
    try:
        with understanding("what ECS says of it"):
            at, count = completion(str(item.deployment_id), state, now)
    except OddAnswerError:  # its events do not tell: from now on
        at, count = int(now), None
    return {"completed_at": max(at, int(item.started_at or 0)), "completed_count": count}


def _judge(
    worker: Worker, item: ItemRecord, state: ServiceState | Exception | None, now: float, seconds: int
) -> Judgement:
    soak = Soak(str(item.deployment_id), int(item.completed_at or now), item.completed_count, seconds)
    what = "the service"
    try:
        if isinstance(state, Exception):
            raise state
        with understanding("what ECS says of it"):
            judgement = judge_soak(soak, state, now)
        if judgement.needs_tasks:
            what = "its stopped tasks"
            services = Services(worker.connections, item.target)
            failed = services.failed_tasks(
                item.service.cluster, item.service.service, soak.deployment_id, soak.completed_at
            )
            judgement = judge_soak(soak, state, now, failed)
    except PASSING as error:
        logger.warning("can't be read now", extra={"what": what, "reason": explain(error)})
        return not_known(soak, now, f"{what} could not be read: {explain(error)}")
    return judgement
