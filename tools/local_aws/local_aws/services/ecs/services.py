"""Amazon ECS services: created, updated and described as on AWS, with deployments that take their time.

Stands for CreateService, UpdateService, DescribeServices, ListServices and DeleteService:
https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_UpdateService.html
"""

from __future__ import annotations

import copy
from typing import Any

from local_aws.kernel.calls import ApiError, Call
from local_aws.services.ecs import rollouts as ecs_rollouts
from local_aws.services.ecs.state import (
    Deployment,
    Estate,
    Service,
    Store,
    TaskDefinition,
    check_tags,
    page,
)

_NOT_MEMBERS = (
    "cluster",
    "service",
    "serviceName",
    "taskDefinition",
    "desiredCount",
    "tags",
    "clientToken",
    "forceNewDeployment",
    "role",
)


def _not_found() -> ApiError:
    return ApiError("ServiceNotFoundException", "Service not found.")


def _definition(store: Store, reference: Any) -> TaskDefinition:
    entry = store.task_definition(str(reference or ""))
    if entry is None or entry.status == "DELETED":
        raise ApiError("ClientException", "TaskDefinition not found.")
    if entry.status != "ACTIVE":
        raise ApiError("ClientException", "TaskDefinition is inactive")
    return entry


def _deployment(service: Service, deployment: Deployment) -> dict[str, Any]:
    fargate = service.members.get("launchType") == "FARGATE"
    document: dict[str, Any] = {
        "id": deployment.id,
        "status": deployment.status,
        "taskDefinition": deployment.revision.task_definition.arn,
        "desiredCount": service.desired_count if deployment.status == "PRIMARY" else deployment.running,
        "pendingCount": deployment.pending,
        "runningCount": deployment.running,
        "failedTasks": deployment.failed,
        "createdAt": deployment.created_at,
        "updatedAt": deployment.updated_at,
    }
    for member in (
        "launchType",
        "capacityProviderStrategy",
        "networkConfiguration",
        "serviceConnectConfiguration",
        "volumeConfigurations",
    ):
        if member in deployment.revision.members:
            document[member] = copy.deepcopy(deployment.revision.members[member])
    if fargate:
        document.update(platformVersion="1.4.0", platformFamily="Linux")
    if ecs_rollouts.tells_rollout_state(service):
        document["rolloutState"] = deployment.rollout_state
        document["rolloutStateReason"] = deployment.rollout_state_reason
    return document


def describe(estate: Estate, service: Service, with_tags: bool) -> dict[str, Any]:
    """Return a service as DescribeServices shows it."""
    now = estate.clock()
    deployments = [] if service.controller != "ECS" else service.deployments
    document: dict[str, Any] = {
        "serviceArn": service.arn,
        "serviceName": service.name,
        "clusterArn": service.cluster_arn,
        "status": service.status,
        "desiredCount": service.desired_count,
        "runningCount": sum(entry.running for entry in service.deployments),
        "pendingCount": sum(entry.pending for entry in service.deployments),
        "taskDefinition": service.task_definition.arn,
        "deploymentConfiguration": service.configuration,
        "deployments": [_deployment(service, entry) for entry in deployments],
        "events": service.events,
        "createdAt": service.created_at,
        "createdBy": ":".join(("arn", service.arn.split(":")[1], "iam:", service.arn.split(":")[4], "root")),
        "loadBalancers": [],
        "serviceRegistries": [],
        "placementConstraints": [],
        "placementStrategy": [],
        "schedulingStrategy": "REPLICA",
        "deploymentController": {"type": service.controller},
        "enableECSManagedTags": False,
        "propagateTags": "NONE",
        "enableExecuteCommand": False,
        "availabilityZoneRebalancing": "DISABLED",
    }
    document.update(
        {key: value for key, value in service.members.items() if key != "deploymentConfiguration"}
    )
    if service.members.get("launchType") == "FARGATE":
        document.setdefault("platformVersion", "LATEST")
        document.setdefault("platformFamily", "Linux")
    if service.status == "ACTIVE" and service.controller == "ECS":
        visible = [
            entry
            for entry in service.service_deployments
            if now - entry.created_at >= estate.visibility_delay
        ]
        if visible:
            document["currentServiceDeployment"] = visible[-1].arn
        document["currentServiceRevisions"] = [
            {
                "arn": entry.revision.arn,
                "requestedTaskCount": service.desired_count if entry.status == "PRIMARY" else entry.running,
                "runningTaskCount": entry.running,
                "pendingTaskCount": entry.pending,
            }
            for entry in service.deployments
        ]
    if service.controller != "ECS":
        document["taskSets"] = []
    if with_tags:
        document["tags"] = service.tags
    return copy.deepcopy(document)


def install(estate: Estate) -> None:
    """Answer the service calls."""
    operation = estate.server.operation

    @operation("ecs", "CreateService")
    def create(call: Call) -> dict[str, Any]:
        asked = call.input
        tags = check_tags(asked.get("tags"))
        with estate.lock:
            store = estate.store(call)
            cluster = store.cluster(asked.get("cluster"))
            name = asked.get("serviceName")
            if not name:
                raise ApiError("InvalidParameterException", "Service name should not be null or empty.")
            existing = store.service(cluster, name)
            if existing is not None and existing.status == "ACTIVE":
                raise ApiError("InvalidParameterException", "Creation of service was not idempotent.")
            members = {key: value for key, value in asked.items() if key not in _NOT_MEMBERS}
            if not members.get("capacityProviderStrategy"):
                members.setdefault("launchType", "EC2")
            service = Service(
                arn=store.arn(f"service/{cluster.name}/{name}"),
                name=name,
                cluster_name=cluster.name,
                cluster_arn=cluster.arn,
                members=copy.deepcopy(members),
                task_definition=_definition(store, asked.get("taskDefinition")),
                desired_count=int(asked.get("desiredCount") or 0),
                tags=tags,
                created_at=estate.clock(),
            )
            store.services[cluster.name, name] = service
            ecs_rollouts.begin(estate, store, service, creation=True)
            ecs_rollouts.settle_service(estate, store, service)
            return {"service": describe(estate, service, True)}

    @operation("ecs", "UpdateService")
    def update(call: Call) -> dict[str, Any]:
        asked = call.input
        with estate.lock:
            store = estate.store(call)
            cluster = store.cluster(asked.get("cluster"))
            service = store.service(cluster, str(asked.get("service") or ""))
            if service is None:
                raise _not_found()
            if service.status != "ACTIVE":
                raise ApiError("ServiceNotActiveException", "Service was not ACTIVE.")
            ecs_rollouts.settle_service(estate, store, service)
            _refuse_other_controllers(service, asked)
            definition = service.task_definition
            if asked.get("taskDefinition"):
                definition = _definition(store, asked["taskDefinition"])
            if service.controller == "ECS" and (
                definition is not service.task_definition or asked.get("forceNewDeployment")
            ):
                ecs_rollouts.refuse_one_more(service)
            before = {key: service.members.get(key) for key in ecs_rollouts.REVISION_MEMBERS}
            service.members.update(
                copy.deepcopy({key: value for key, value in asked.items() if key not in _NOT_MEMBERS})
            )
            after = {key: service.members.get(key) for key in ecs_rollouts.REVISION_MEMBERS}
            if asked.get("desiredCount") is not None:
                _scale(service, int(asked["desiredCount"]))
            changed = definition is not service.task_definition or before != after
            service.task_definition = definition
            if service.controller == "ECS" and (changed or asked.get("forceNewDeployment")):
                ecs_rollouts.begin(estate, store, service)
            ecs_rollouts.settle_service(estate, store, service)
            return {"service": describe(estate, service, False)}

    @operation("ecs", "DescribeServices")
    def describe_services(call: Call) -> dict[str, Any]:
        names = call.input.get("services") or []
        if not names:
            raise ApiError("InvalidParameterException", "Services cannot be empty.")
        if len(names) > 10:
            raise ApiError("InvalidParameterException", "Services cannot be more than 10.")
        with_tags = "TAGS" in (call.input.get("include") or ())
        found, failures = [], []
        with estate.lock:
            store = estate.store(call)
            cluster = store.cluster(call.input.get("cluster"))
            for name in names:
                service = store.service(cluster, name)
                if service is None:
                    arn = store.arn(f"service/{cluster.name}/{name.rpartition('/')[2]}")
                    failures.append({"arn": arn, "reason": "MISSING"})
                    continue
                ecs_rollouts.settle_service(estate, store, service)
                found.append(describe(estate, service, with_tags))
        return {"services": found, "failures": failures}

    @operation("ecs", "ListServices")
    def list_services(call: Call) -> dict[str, Any]:
        asked = call.input
        with estate.lock:
            store = estate.store(call)
            cluster = store.cluster(asked.get("cluster"))
            arns = [
                service.arn
                for (cluster_name, _), service in sorted(store.services.items())
                if cluster_name == cluster.name
                and service.status == "ACTIVE"
                and (not asked.get("launchType") or service.members.get("launchType") == asked["launchType"])
            ]
        return page(arns, call, "serviceArns", 10, 100)

    @operation("ecs", "DeleteService")
    def delete(call: Call) -> dict[str, Any]:
        asked = call.input
        with estate.lock:
            store = estate.store(call)
            cluster = store.cluster(asked.get("cluster"))
            service = store.service(cluster, str(asked.get("service") or ""))
            if service is None:
                raise _not_found()
            if service.status != "ACTIVE":
                raise ApiError("ServiceNotActiveException", "Service was not ACTIVE.")
            ecs_rollouts.settle_service(estate, store, service)
            if service.desired_count and not asked.get("force"):
                raise ApiError(
                    "InvalidParameterException", "The service cannot be stopped while it is scaled above 0."
                )
            service.desired_count = 0
            for deployment in service.deployments:
                deployment.running = deployment.pending = 0
            for record in service.service_deployments:
                if not record.over:
                    record.status, record.stopped_at = "STOPPED", estate.clock()
            ecs_rollouts.settle_service(estate, store, service)
            service.status = "DRAINING"
            answer = describe(estate, service, True)
            service.deployments = []
            service.status = "INACTIVE"
            return {"service": answer}


def _scale(service: Service, desired: int) -> None:
    """Change the desired count; a completed deployment follows at once."""
    service.desired_count = desired
    primary = service.primary
    if primary and primary.rollout_state == "COMPLETED" and primary.died_at is None:
        primary.running = desired


def _refuse_other_controllers(service: Service, asked: dict[str, Any]) -> None:
    """Refuse what belongs to CodeDeploy or to task sets, in AWS's words."""
    if service.controller == "ECS":
        return
    if asked.get("taskDefinition"):
        what = "Unable to update task definition"
    elif asked.get("networkConfiguration") or asked.get("platformVersion"):
        what = "Unable to update network parameters"
    elif asked.get("forceNewDeployment"):
        what = "Cannot force a new deployment"
    else:
        return
    article, instead = ("a", "AWS CodeDeploy") if service.controller == "CODE_DEPLOY" else ("an", "task sets")
    raise ApiError(
        "InvalidParameterException",
        f"{what} on services with {article} {service.controller} deployment controller. "
        f"Use {instead} to trigger a new deployment.",
    )
