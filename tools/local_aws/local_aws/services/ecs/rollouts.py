"""How Amazon ECS rolls a service out: the deployments of a service, brought up to the clock at each look.

Stands for
- PRIMARY and ACTIVE deployments and their rollout states:
  https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_Deployment.html
- the circuit breaker, which fails a deployment and may roll back to the last completed one; with none it stalls:
  https://docs.aws.amazon.com/AmazonECS/latest/developerguide/deployment-circuit-breaker.html
- service deployments and service revisions:
  https://docs.aws.amazon.com/AmazonECS/latest/developerguide/service-deployment.html

How a rollout ends is told by the rules of ``POST /_local/rollouts``; without one it completes in two seconds. The
first deployment of a new service completes at once, unless a rule with ``"creation": true`` says otherwise, so that
an estate is settled when it is made. A desired count of 0 completes at once whatever the rules say. A blue/green, linear
or canary deployment that completes goes through the stages of ``lifecycle.py``; a rule's seconds are what its scaling up takes.

A deployment, the service revision that it brings out and so its service deployment bear one number:
https://github.com/hashicorp/terraform-provider-aws/blob/main/internal/service/ecs/service.go finds the one by the other.
"""

from __future__ import annotations

import copy
import math
from dataclasses import replace
from typing import Any

from local_aws.kernel.calls import ApiError
from local_aws.services.ecs import after_completion, lifecycle
from local_aws.services.ecs import tasks as ecs_tasks
from local_aws.services.ecs.image_digests import resolve_all
from local_aws.services.ecs.rollout_rules import RolloutRule, RolloutRules
from local_aws.services.ecs.state import (
    Deployment,
    Estate,
    Service,
    ServiceDeployment,
    ServiceRevision,
    Store,
    Task,
    new_deployment_name,
    new_number,
)

# Members of a service that make up its revision; changing one of them starts a deployment
REVISION_MEMBERS = (
    "capacityProviderStrategy",
    "launchType",
    "platformVersion",
    "loadBalancers",
    "serviceRegistries",
    "networkConfiguration",
    "serviceConnectConfiguration",
    "volumeConfigurations",
    "vpcLatticeConfigurations",
)
BREAKER_REASON = "Service deployment rolled back because the circuit breaker threshold was exceeded."
FAILED_REASON = "ECS deployment circuit breaker: tasks failed to start."
STOPPED_REASON = "Service deployment rolled back because of user request."
MOST_DEPLOYMENTS = 5
"""https://github.com/aws/containers-roadmap/issues/2836: the message is from there, the error's code is not told."""

_ROLLBACK_BEGINS_AFTER = 0.2  # seconds that a service deployment is ROLLBACK_REQUESTED


def threshold(desired: int) -> int:
    """Return how many failed tasks trip the circuit breaker: half the desired count, at least 3, at most 200.

    https://docs.aws.amazon.com/AmazonECS/latest/developerguide/deployment-circuit-breaker.html, "failure threshold".
    """
    return min(200, max(3, math.ceil(desired * 0.5)))


def tells_rollout_state(service: Service) -> bool:
    """Only rolling updates tell a rollout state, and not behind a Classic Load Balancer."""
    classic = any(entry.get("loadBalancerName") for entry in service.members.get("loadBalancers") or ())
    return service.configuration.get("strategy", "ROLLING") == "ROLLING" and not classic


def begin(estate: Estate, store: Store, service: Service, creation: bool = False) -> Deployment:
    """Start a deployment of the service as it is now; what ran before is on its way out."""
    now = estate.clock()
    definition = service.task_definition
    number = new_number()
    digests = resolve_all(definition.members["containerDefinitions"])
    revision = ServiceRevision(
        arn=store.arn(f"service-revision/{service.cluster_name}/{service.name}/{number}"),
        task_definition=definition,
        members={key: service.members[key] for key in REVISION_MEMBERS if key in service.members},
        created_at=now,
        digests=digests,
    )
    sources = [
        entry.revision
        for entry in service.deployments
        if entry.status != "DRAINING" and (entry.running or entry.rollout_state == "COMPLETED")
    ]
    record = ServiceDeployment(
        arn=store.arn(f"service-deployment/{service.cluster_name}/{service.name}/{new_deployment_name()}"),
        target=revision,
        sources=sources,
        configuration=copy.deepcopy(service.configuration),
        created_at=now,
        updated_at=now,
    )
    for older in service.service_deployments:
        if not older.over:
            _end(
                older,
                "STOPPED",
                now,
                "Service deployment stopped because a newer service deployment started.",
            )
    service.service_deployments.append(record)
    rule = estate.server.part(RolloutRules).choose(service.name, definition.images, creation)
    return _add(service, revision, record, rule, now, f"ecs-svc/{number}", digests)


def rolls(record: ServiceDeployment) -> bool:
    """Whether it is a rolling update."""
    return bool(record.configuration.get("strategy", "ROLLING") == "ROLLING")


def refuse_one_more(service: Service) -> None:
    """Refuse a deployment beyond the most that a service takes at a time.

    Raises
    ------
    ApiError
    """
    active = [entry for entry in service.deployments if entry.status in ("PRIMARY", "ACTIVE", "DRAINING")]
    if len(active) >= MOST_DEPLOYMENTS:
        raise ApiError(
            "InvalidParameterException",
            f"{MOST_DEPLOYMENTS} active deployments exist, unable to create new deployment.",
        )


def _add(  # noqa: PLR0917
    service: Service,
    revision: ServiceRevision,
    record: ServiceDeployment,
    rule: RolloutRule,
    now: float,
    name: str,
    digests: dict[str, str],
) -> Deployment:
    _step_down(service, now)
    deployment = Deployment(
        id=name,
        revision=revision,
        service_deployment=record,
        rule=rule,
        created_at=now,
        updated_at=now,
        pending=service.desired_count,
        digests=digests,
    )
    deployment.rollout_state_reason = f"ECS deployment {deployment.id} in progress."
    service.deployments.insert(0, deployment)
    return deployment


def _step_down(service: Service, now: float) -> None:
    """A deployment stays ACTIVE until its tasks have stopped, says AWS's support in
    https://github.com/aws/containers-roadmap/issues/2836: one that has none leaves. One that failed is seen beside the rollback
    (https://docs.aws.amazon.com/AmazonECS/latest/developerguide/deployment-circuit-breaker.html), and its tasks have stopped when
    the next deployment begins."""
    for older in service.deployments:
        if older.status == "ACTIVE" and not older.running and older.drained_at is None:
            older.drained_at = now
        if older.status == "PRIMARY":
            older.status = "ACTIVE"
            older.pending = 0
            older.updated_at = now
            if not older.running and older.rollout_state == "IN_PROGRESS":
                older.drained_at = now


def _end(record: ServiceDeployment, status: str, now: float, reason: str | None = None) -> None:
    record.status = status
    record.status_reason = reason
    record.updated_at = now
    if status == "STOPPED":
        record.stopped_at = now
    record.finished_at = now


def roll_back(  # noqa: PLR0917
    estate: Estate,
    service: Service,
    failed: Deployment,
    target: ServiceRevision | None,
    reason: str,
    now: float,
) -> None:
    """Go back to a service revision; without one, stall.

    The PRIMARY deployment is then the one that its rolloutStateReason names
    (https://github.com/aws/copilot-cli/issues/4838): a new one, or the old one again with a new createdAt, see
    :attr:`Estate.rollback_primary`.
    """
    record = failed.service_deployment
    if target is None:
        _end(record, "ROLLBACK_FAILED", now, "No completed deployment to roll back to.")
        return
    record.status = "ROLLBACK_IN_PROGRESS"
    record.status_reason = reason
    record.updated_at = now
    record.rollback = {"reason": reason, "startedAt": now, "serviceRevisionArn": target.arn}
    rule = RolloutRule(seconds=failed.rule.seconds)
    old = next((d for d in service.deployments if d.revision is target and d is not failed), None)
    digests = resolve_all(target.task_definition.members["containerDefinitions"])
    if old is None and service.last_completed is target:
        old = service.last_completed_deployment
    if estate.rollback_primary == "promoted" and old is not None:
        _step_down(service, now)
        deployment = old
        deployment.status, deployment.rollout_state = "PRIMARY", "IN_PROGRESS"
        deployment.service_deployment, deployment.rule, deployment.digests = record, rule, digests
        deployment.created_at = deployment.updated_at = now
        deployment.drained_at = None
        service.deployments = [deployment, *(d for d in service.deployments if d is not deployment)]
    else:
        deployment = _add(service, target, record, rule, now, f"ecs-svc/{new_number()}", digests)
    deployment.is_rollback = True
    after_completion.forget(deployment)
    why = "circuit breaker: " if not record.rollback_asked_at else ""
    deployment.rollout_state_reason = f"ECS deployment {why}rolling back to deploymentId {deployment.id}."
    service.task_definition = target.task_definition
    service.members.update(target.members)
    service.say(f"rolling back to deployment {deployment.id}.", now)


def settle(estate: Estate, store: Store) -> None:
    """Bring every service of a store up to the clock."""
    for service in store.services.values():
        settle_service(estate, store, service)


def settle_service(estate: Estate, store: Store, service: Service) -> None:
    """Bring one service up to the clock: a rollback that began meanwhile is followed too."""
    now = estate.clock()
    for _ in range(3):
        primary = service.primary
        if primary is None or primary.rollout_state != "IN_PROGRESS" or primary.service_deployment.over:
            break
        asked = primary.service_deployment.rollback_asked_at
        if asked is not None and not primary.is_rollback:
            if now < asked + _ROLLBACK_BEGINS_AFTER:
                break
            fail(estate, service, primary, STOPPED_REASON, asked + _ROLLBACK_BEGINS_AFTER)
            continue
        if primary.rule.outcome == "wait":
            images = primary.revision.task_definition.images
            rule = estate.server.part(RolloutRules).choose(service.name, images, primary.rule.creation)
            if rule.outcome != "wait":
                primary.rule = replace(rule, seconds=now - primary.created_at + rule.seconds)
        if not _advance(estate, store, service, primary, now):
            break
    for deployment in service.deployments:
        _match_tasks(estate, store, service, deployment, now)
        _live_and_die(store, service, deployment, now)


def fail(estate: Estate, service: Service, deployment: Deployment, reason: str, at: float) -> None:
    """Give a deployment up and go back to the service revision that ran before it, "the previous service revision"
    (https://docs.aws.amazon.com/AmazonECS/latest/developerguide/stop-service-deployment.html): of several the newest."""
    deployment.rollout_state = "FAILED"
    deployment.rollout_state_reason = reason
    deployment.updated_at = at
    sources = deployment.service_deployment.sources
    roll_back(estate, service, deployment, sources[0] if sources else None, reason, at)


def _advance(estate: Estate, store: Store, service: Service, deployment: Deployment, now: float) -> bool:
    """Move a deployment on; True if it came to an end."""
    rule = deployment.rule
    desired = service.desired_count
    elapsed = now - deployment.created_at
    due = deployment.created_at + rule.seconds
    outcome = "complete" if desired == 0 else rule.outcome
    record = deployment.service_deployment
    if desired and not deployment.is_rollback and not rule.creation and not rolls(record):
        where = lifecycle.place(
            elapsed,
            record.configuration,
            seconds=rule.seconds,
            minute=estate.minute_seconds,
            reconciles=len(record.sources) > 1,
            continued={stage: at - deployment.created_at for stage, at in record.continued.items()},
        )
        if outcome == "complete":
            record.stage = where.stage
            record.paused_until = deployment.created_at + float(where.until or 0) if where.paused else None
            if where.gives_up:
                reason = (
                    f"Service deployment rolled back because a lifecycle hook timed out in {where.stage}."
                )
                fail(estate, service, deployment, reason, deployment.created_at + float(where.until or 0))
                return True
            if where.over:
                _complete(estate, service, deployment, deployment.created_at + float(where.until or 0))
                return True
            scaling = where.stage in (lifecycle.RECONCILE, "PRE_SCALE_UP", lifecycle.SCALE_UP)
            deployment.running = 0 if scaling else desired
            deployment.pending = desired - deployment.running
            return False
        record.stage = where.stage if where.stage == lifecycle.RECONCILE else lifecycle.SCALE_UP
    if outcome == "complete":
        if desired == 0 or elapsed >= rule.seconds:
            _complete(estate, service, deployment, now if desired == 0 else due)
            return True
        deployment.running = int(desired * elapsed / rule.seconds)
        deployment.pending = desired - deployment.running
        return False
    deployment.running = 0
    deployment.pending = desired
    if outcome in ("stall", "wait"):
        if outcome == "stall" and rule.reason and deployment.stalled_at is None:
            # https://docs.aws.amazon.com/AmazonECS/latest/developerguide/service-event-messages-list.html
            deployment.stalled_at = now
            service.say(rule.reason, now)
        return False
    limit = threshold(desired)
    breaker = outcome == "circuit_breaker_rollback" or bool(
        (service.configuration.get("deploymentCircuitBreaker") or {}).get("enable")
    )
    interval = max(rule.seconds / limit, 0.001 if breaker else 0.2)
    failed = int(elapsed / interval)
    _crash_tasks(store, service, deployment, min(failed, limit) if breaker else failed, interval)
    if not breaker or elapsed < rule.seconds:
        return False
    deployment.rollout_state = "FAILED"
    deployment.rollout_state_reason = FAILED_REASON
    deployment.updated_at = due
    deployment.pending = 0
    deployment.service_deployment.failure_count = limit
    service.say(f"(deployment {deployment.id}) deployment failed: tasks failed to start.", due)
    if outcome == "circuit_breaker_rollback":
        roll_back(estate, service, deployment, service.last_completed, BREAKER_REASON, due)
    else:
        # AWS has no FAILED among the states of a service deployment
        _end(
            deployment.service_deployment, "STOPPED", due, "Service deployment failed: tasks failed to start."
        )
    return True


def _complete(estate: Estate, service: Service, deployment: Deployment, at: float) -> None:
    deployment.running = service.desired_count
    deployment.pending = 0
    deployment.rollout_state = "COMPLETED"
    deployment.rollout_state_reason = f"ECS deployment {deployment.id} completed."
    deployment.updated_at = at
    for older in service.deployments:
        if older is not deployment and older.drained_at is None:
            # https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_Deployment.html has PRIMARY, ACTIVE and INACTIVE.
            # DRAINING stands in no document: only on request, as a status that nobody may depend on.
            older.status = "DRAINING" if estate.draining_seconds else "INACTIVE"
            older.drained_at = at + estate.draining_seconds
            older.running = older.pending = 0
    after_completion.complete(deployment, at)
    record = deployment.service_deployment
    if not rolls(record):
        record.stage = lifecycle.CLEAN_UP
    if deployment.is_rollback:
        _end(record, "ROLLBACK_SUCCESSFUL", at, record.status_reason)
    else:
        _end(record, "SUCCESSFUL", at)
    service.last_completed = deployment.revision
    service.last_completed_deployment = deployment
    service.say(f"(deployment {deployment.id}) deployment completed.", at)
    service.say("has reached a steady state.", at)


def _crashing_container(deployment: Deployment) -> str:
    containers = deployment.revision.task_definition.members["containerDefinitions"]
    for container in containers:
        if deployment.rule.image is not None and deployment.rule.fits("", [container["image"]]):
            return str(container["name"])
    return str(next((c for c in containers if c.get("essential", True)), containers[0])["name"])


def _crash_tasks(
    store: Store, service: Service, deployment: Deployment, failed: int, interval: float
) -> None:
    """Count tasks that failed, and keep the latest of them for DescribeTasks."""
    for number in range(max(deployment.failed, failed - ecs_tasks.KEPT_STOPPED) + 1, failed + 1):
        at = deployment.created_at + number * interval
        task = _start_task(store, service, deployment, at)
        ecs_tasks.crash(task, _crashing_container(deployment), deployment.rule.reason, at)
        _keep(store, deployment, task)
    if failed > deployment.failed:
        deployment.failed = failed
        deployment.updated_at = deployment.created_at + failed * interval


def _live_and_die(store: Store, service: Service, deployment: Deployment, now: float) -> None:
    """Let the tasks of a deployment that is complete die, if its rule says so."""

    def crash(task: Task, at: float) -> None:
        ecs_tasks.crash(task, _crashing_container(deployment), None, at)
        _keep(store, deployment, task)

    after_completion.live_and_die(
        deployment,
        service.desired_count,
        now,
        lambda at: _start_task(store, service, deployment, at),
        crash,
    )


def _keep(store: Store, deployment: Deployment, task: Task) -> None:
    """Keep a crashed task for DescribeTasks, among the latest ones."""
    deployment.crashed.append(task)
    while len(deployment.crashed) > ecs_tasks.KEPT_STOPPED:
        store.tasks.pop(deployment.crashed.pop(0).arn, None)


def _start_task(store: Store, service: Service, deployment: Deployment, now: float) -> Any:
    return ecs_tasks.start(
        store,
        (service.cluster_name, service.cluster_arn),
        deployment.revision.task_definition,
        group=f"service:{service.name}",
        started_by=deployment.id,
        launch_type=str(service.members.get("launchType") or "EC2"),
        now=now,
        digests=deployment.digests,
    )


def _match_tasks(estate: Estate, store: Store, service: Service, deployment: Deployment, now: float) -> None:
    """Have as many running tasks as the deployment counts; drop deployments that are INACTIVE."""
    running = [task for task in deployment.tasks if not task.stopped]
    for task in running[deployment.running :]:
        ecs_tasks.stop(
            task,
            "ServiceSchedulerInitiated",
            f"Scaling activity initiated by (deployment {deployment.id})",
            now,
        )
    deployment.tasks = running[: deployment.running]
    while len(deployment.tasks) < deployment.running:
        deployment.tasks.append(_start_task(store, service, deployment, now))
    if deployment.drained_at is not None and estate.clock() >= deployment.drained_at:
        deployment.status = "INACTIVE"
        service.deployments = [entry for entry in service.deployments if entry is not deployment]
