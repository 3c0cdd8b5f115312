"""What ECS's own record of deployments says of a rollout that a release started, or may have started."""

from __future__ import annotations

from datetime import UTC, datetime

from botocore.exceptions import ClientError

from ecs_release.aws.service_deployments import ServiceDeployment
from ecs_release.aws.service_state import ServiceState, number_of
from ecs_release.aws.services import CLOCK_SKEW_SECONDS, Services
from ecs_release.aws.trouble import error_code, refused
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


def first_of_ours(services: Services, item: ItemRecord) -> ServiceDeployment | None:
    """What an attempt started that could not say so: the first one of our revision after what the release found.

    A later one of the same revision is somebody's force-new-deployment, which may have taken its place. None where ECS does not
    tell, may not be asked, or went back from it.
    """
    since = datetime.fromtimestamp(float(item.started_at or 0) - CLOCK_SKEW_SECONDS, UTC)
    try:
        history = services.deployments_since(
            item.service.cluster, item.service.service, since, by_number=True
        )
    except ClientError as error:
        if not refused(error):
            raise
        return None
    found = number_of(item.previous_deployment)
    for deployment in reversed(history) if found else ():
        if deployment.number == found:
            history = history[history.index(deployment) + 1 :]
            break
    ours = (d for d in history if d.task_definition == item.after and d.number)
    return next((d for d in ours if not d.status.startswith("ROLLBACK_")), None)


def given_up_by_ecs(services: Services, item: ItemRecord) -> bool:
    """Whether ECS has given up on what an earlier attempt started."""
    return any(d.status.startswith("ROLLBACK_") for d in started_before(services, item))
