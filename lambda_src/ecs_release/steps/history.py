"""What ECS's own record of deployments says of a rollout that a release started, or may have started."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from itertools import takewhile

from botocore.exceptions import ClientError

from ecs_release.aws.service_deployments import ServiceDeployment
from ecs_release.aws.service_state import ServiceState, number_of
from ecs_release.aws.services import CLOCK_SKEW_SECONDS, Services
from ecs_release.aws.trouble import error_code, refused
from ecs_release.errors import OddAnswerError
from ecs_release.observability import logger
from ecs_release.record.models import ItemRecord
from ecs_release.rollout.judge import Rollout


def deployments_of(
    services: Services, item: ItemRecord, rollout: Rollout, state: ServiceState, since: float
) -> list[ServiceDeployment]:
    """The service deployment of a rollout alone where ECS names it, else those since then, oldest first.

    Parameters
    ----------
    since : epoch seconds at which the rollout began by AWS's clock, or by ours.
    """
    known = [state.current_service_deployment, rollout.service_deployment]
    named = services.service_deployments(known, by_number=True)
    ours = [d for d in named if d.number and d.number == number_of(rollout.deployment_id)]
    begun = datetime.fromtimestamp(since - CLOCK_SKEW_SECONDS, UTC)
    if ours:
        return ours
    return services.deployments_since(item.service.cluster, item.service.service, begun, by_number=True)


def started_before(services: Services, item: ItemRecord) -> list[ServiceDeployment]:
    """What an attempt may have started that could not say so: of our revision, since it set out."""
    since = datetime.fromtimestamp(float(item.started_at or 0) - CLOCK_SKEW_SECONDS, UTC)
    try:
        history = services.deployments_since(item.service.cluster, item.service.service, since)
    except ClientError as error:
        if error_code(error) not in ("ServiceNotFoundException", "ClusterNotFoundException"):
            raise
        return []  # deleted meanwhile, as the next call about it will find
    return [deployment for deployment in history if deployment.task_definition == item.after]


def started_by_an_attempt(
    services: Services, item: ItemRecord, state: ServiceState
) -> ServiceDeployment | None:
    """What an attempt started that died, or lost the answer, before it could record it, where our revision is live.

    It is the first of the deployments of our revision, one after another, that lead to the one that is live: those after it are
    somebody's force-new-deployments. None where ECS does not list it yet, or may not be asked; what is live counts then.
    """
    begun = datetime.fromtimestamp(float(item.started_at or time.time()) - CLOCK_SKEW_SECONDS, UTC)
    try:
        history = services.deployments_since(
            item.service.cluster, item.service.service, begun, by_number=True
        )
    except (ClientError, OddAnswerError) as error:
        if isinstance(error, ClientError) and not refused(error):
            raise
        logger.warning("service deployments can't be read", extra={"reason": str(error)})
        return None
    revisions = (*state.current_service_revisions, *(deployment.revision for deployment in history))
    if number_of((state.primary or {}).get("id")) not in set(map(number_of, revisions)) - {""}:
        return None
    found = number_of(item.previous_deployment)
    ours = takewhile(lambda d: d.task_definition == item.after and d.number != found, reversed(history))
    return next(reversed(list(ours)), None)


def given_up_by_ecs(services: Services, item: ItemRecord) -> bool:
    """Whether ECS has given up on what an earlier attempt started."""
    return any(d.status.startswith("ROLLBACK_") for d in started_before(services, item))
