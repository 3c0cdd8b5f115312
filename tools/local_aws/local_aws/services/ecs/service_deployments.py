"""Amazon ECS service deployments and revisions: what became of a rollout, told apart from what runs now.

Stands for ListServiceDeployments (which shows a deployment only after a delay), DescribeServiceDeployments,
DescribeServiceRevisions and StopServiceDeployment:
https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_DescribeServiceDeployments.html
``POST /_local/visibility {"seconds": 1}`` sets the delay.
"""

from __future__ import annotations

import copy
from datetime import datetime
from typing import Any

from local_aws.kernel.calls import ApiError, Call
from local_aws.services.ecs import rollouts as ecs_rollouts
from local_aws.services.ecs.state import Estate, Service, ServiceDeployment, ServiceRevision, Store, page


def _counts(service: Service, revision: ServiceRevision) -> dict[str, Any]:
    entries = [entry for entry in service.deployments if entry.revision is revision]
    primary = any(entry.status == "PRIMARY" for entry in entries)
    running = sum(entry.running for entry in entries)
    return {
        "arn": revision.arn,
        "requestedTaskCount": service.desired_count if primary else running,
        "runningTaskCount": running,
        "pendingTaskCount": sum(entry.pending for entry in entries),
    }


def _brief(service: Service, record: ServiceDeployment) -> dict[str, Any]:
    document = {
        "serviceDeploymentArn": record.arn,
        "serviceArn": service.arn,
        "clusterArn": service.cluster_arn,
        "createdAt": record.created_at,
        "startedAt": record.created_at,
        "finishedAt": record.finished_at,
        "targetServiceRevisionArn": record.target.arn,
        "status": record.status,
        "statusReason": record.status_reason,
    }
    return {key: value for key, value in document.items() if value is not None}


def _full(service: Service, record: ServiceDeployment) -> dict[str, Any]:
    document = _brief(service, record)
    del document["targetServiceRevisionArn"]
    document.update(
        updatedAt=record.updated_at,
        sourceServiceRevisions=[_counts(service, source) for source in record.sources],
        targetServiceRevision=_counts(service, record.target),
        deploymentConfiguration=copy.deepcopy(record.configuration),
    )
    breaker = record.configuration.get("deploymentCircuitBreaker") or {}
    if breaker.get("enable") or record.failure_count:
        watching = "MONITORING_COMPLETE" if record.over else "MONITORING"
        document["deploymentCircuitBreaker"] = {
            "status": "TRIGGERED" if record.failure_count else watching,
            "failureCount": record.failure_count,
            "threshold": ecs_rollouts.threshold(service.desired_count),
        }
    if record.stopped_at is not None:
        document["stoppedAt"] = record.stopped_at
    if record.rollback:
        document["rollback"] = dict(record.rollback)
    if record.stage is not None:
        document["lifecycleStage"] = record.stage
    if record.paused_until is not None and not record.over:
        document["lifecycleHookDetails"] = [
            {
                "hookId": _hook_id(record),
                "targetType": "PAUSE",
                "status": "AWAITING_ACTION",
                "expiresAt": record.paused_until,
            }
        ]
    return document


def _hook_id(record: ServiceDeployment) -> str:
    return f"{record.arn.rpartition('/')[2]}-{record.stage}"


def _seconds(value: Any) -> float:
    if isinstance(value, str):
        return datetime.fromisoformat(value.replace("Z", "+00:00")).timestamp()
    return float(value)


def _find(store: Store, arn: str) -> tuple[Service, ServiceDeployment] | None:
    for service in store.services.values():
        for record in service.service_deployments:
            if record.arn == arn:
                return service, record
    return None


def _asked(call: Call, name: str) -> list[str]:
    arns = call.input.get(name) or []
    if not 1 <= len(arns) <= 20:
        raise ApiError("InvalidParameterException", f"{name} must have 1 to 20 members.")
    return list(arns)


def install(estate: Estate) -> None:
    """Answer the service deployment calls."""
    operation = estate.server.operation

    @operation("ecs", "ListServiceDeployments")
    def list_deployments(call: Call) -> dict[str, Any]:
        asked = call.input
        created = asked.get("createdAt") or {}
        after = _seconds(created.get("after", 0))
        before = _seconds(created.get("before", 1e12))
        with estate.lock:
            store = estate.store(call)
            reference = str(asked.get("service") or "")
            cluster_name = asked.get("cluster")
            if cluster_name is None and reference.count("/") == 2:
                cluster_name = reference.split("/")[1]
            cluster = store.cluster(cluster_name)
            service = store.service(cluster, reference)
            if service is None:
                raise ApiError("ServiceNotFoundException", "Service not found.")
            ecs_rollouts.settle_service(estate, store, service)
            now = estate.clock()
            shown = [
                _brief(service, record)
                for record in reversed(service.service_deployments)
                if now - record.created_at >= estate.visibility_delay
                and after <= record.created_at <= before
                and (not asked.get("status") or record.status in asked["status"])
            ]
        return page(shown, call, "serviceDeployments", 20, 100)

    @operation("ecs", "DescribeServiceDeployments")
    def describe_deployments(call: Call) -> dict[str, Any]:
        found, failures = [], []
        with estate.lock:
            store = estate.store(call)
            for arn in _asked(call, "serviceDeploymentArns"):
                entry = _find(store, arn)
                if entry is None:
                    failures.append({"arn": arn, "reason": "MISSING"})
                    continue
                ecs_rollouts.settle_service(estate, store, entry[0])
                found.append(_full(*entry))
        return {"serviceDeployments": found, "failures": failures}

    @operation("ecs", "DescribeServiceRevisions")
    def describe_revisions(call: Call) -> dict[str, Any]:
        found, failures = [], []
        with estate.lock:
            store = estate.store(call)
            known = {
                revision.arn: (service, revision)
                for service in store.services.values()
                for record in service.service_deployments
                for revision in (record.target, *record.sources)
            }
            for arn in _asked(call, "serviceRevisionArns"):
                if arn not in known:
                    failures.append({"arn": arn, "reason": "MISSING"})
                    continue
                service, revision = known[arn]
                containers = revision.task_definition.members["containerDefinitions"]
                found.append(
                    {
                        "serviceRevisionArn": arn,
                        "serviceArn": service.arn,
                        "clusterArn": service.cluster_arn,
                        "taskDefinition": revision.task_definition.arn,
                        "containerImages": [
                            {
                                "containerName": c["name"],
                                "image": c["image"],
                                **(
                                    {"imageDigest": revision.digests[c["name"]]}
                                    if c["name"] in revision.digests
                                    else {}
                                ),
                            }
                            for c in containers
                        ],
                        "guardDutyEnabled": False,
                        "createdAt": revision.created_at,
                        **copy.deepcopy(revision.members),
                    }
                )
        return {"serviceRevisions": found, "failures": failures}

    @operation("ecs", "StopServiceDeployment")
    def stop(call: Call) -> dict[str, Any]:
        arn = str(call.input.get("serviceDeploymentArn") or "")
        with estate.lock:
            store = estate.store(call)
            entry = _find(store, arn)
            if entry is None:
                raise ApiError("ServiceDeploymentNotFoundException", "Service deployment not found.")
            service, record = entry
            ecs_rollouts.settle_service(estate, store, service)
            # "The service deployment continues the rollback operation": asking twice changes nothing
            # (https://docs.aws.amazon.com/AmazonECS/latest/developerguide/stop-service-deployment.html).
            if record.status in ("STOP_REQUESTED", "ROLLBACK_REQUESTED", "ROLLBACK_IN_PROGRESS"):
                return {"serviceDeploymentArn": arn}
            if record.status not in ("PENDING", "IN_PROGRESS"):
                raise ApiError(
                    "ConflictException", f"The service deployment is {record.status} and can't be stopped."
                )
            now = estate.clock()
            record.updated_at = record.stopped_at = now
            if call.input.get("stopType", "ROLLBACK") == "ROLLBACK":
                record.status, record.rollback_asked_at = "ROLLBACK_REQUESTED", now
            else:
                record.status, record.finished_at = "STOPPED", now
                record.status_reason = "Service deployment stopped because of user request."
        return {"serviceDeploymentArn": arn}

    @operation("ecs", "ContinueServiceDeployment")
    def go_on(call: Call) -> dict[str, Any]:
        arn = str(call.input.get("serviceDeploymentArn") or "")
        with estate.lock:
            store = estate.store(call)
            entry = _find(store, arn)
            if entry is None:
                raise ApiError("ServiceDeploymentNotFoundException", "Service deployment not found.")
            service, record = entry
            ecs_rollouts.settle_service(estate, store, service)
            if record.over or record.paused_until is None or call.input.get("hookId") != _hook_id(record):
                raise ApiError(
                    "InvalidParameterException", "The service deployment is not paused at this hook."
                )
            if call.input.get("action") == "ROLLBACK":
                record.status, record.rollback_asked_at = "ROLLBACK_REQUESTED", estate.clock()
            else:
                record.continued[str(record.stage)] = estate.clock()
        return {"serviceDeploymentArn": arn}
