"""Amazon ECS task definitions: registered and described as JSON that loses nothing.

moto keeps the members it knows and answers through its copy of the service model. Here every member of the
request, known or not, nested or not, comes back, and absent members stay absent; AWS adds what
https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_TaskDefinition.html marks as output, and the defaults
of https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_ContainerDefinition.html.
"""

from __future__ import annotations

import copy
import json
import re
from typing import Any

from local_aws.kernel.calls import ApiError, Call
from local_aws.services.ecs.state import Estate, Store, TaskDefinition, check_tags, page

MAX_BYTES = 64 * 1024
_CONTAINER_DEFAULTS: dict[str, Any] = {
    "cpu": 0,
    "portMappings": [],
    "essential": True,
    "environment": [],
    "mountPoints": [],
    "volumesFrom": [],
    "systemControls": [],
}


def _client_error(message: str) -> ApiError:
    return ApiError("ClientException", message)


def _with_defaults(members: dict[str, Any]) -> dict[str, Any]:
    """Add what AWS adds to every registration, and nothing where a value was given."""
    members = copy.deepcopy(members)
    host_ports = members.get("networkMode") in ("awsvpc", "host")
    for container in members["containerDefinitions"]:
        for key, value in _CONTAINER_DEFAULTS.items():
            container.setdefault(key, copy.deepcopy(value))
        for mapping in container["portMappings"]:
            if "containerPort" in mapping:
                mapping.setdefault("hostPort", mapping["containerPort"] if host_ports else 0)
            mapping.setdefault("protocol", "tcp")
    members.setdefault("volumes", [])
    members.setdefault("placementConstraints", [])
    return members


def _check(members: dict[str, Any], size: int) -> None:
    family = members.get("family")
    if not isinstance(family, str) or not re.fullmatch(r"[A-Za-z0-9_-]{1,255}", family):
        raise _client_error("Family contains invalid characters or is empty.")
    containers = members.get("containerDefinitions")
    if not isinstance(containers, list) or not containers:
        raise _client_error("Container list cannot be empty.")
    names = [container.get("name") for container in containers]
    for member in ("name", "image"):
        if not all(container.get(member) for container in containers):
            raise _client_error(f"Container.{member} should not be null or empty.")
    if len(set(names)) != len(names):
        raise _client_error("Container names must be unique within a task definition.")
    if not any(container.get("essential", True) for container in containers):
        raise _client_error("At least one container must be essential.")
    if "FARGATE" in (members.get("requiresCompatibilities") or ()):
        if members.get("networkMode") != "awsvpc":
            raise _client_error("Fargate only supports network mode 'awsvpc'.")
        if not members.get("cpu") or not members.get("memory"):
            raise _client_error("Fargate requires that 'cpu' and 'memory' be defined at the task level.")
    if size > MAX_BYTES:
        raise _client_error(f"Actual length: {size}. Max allowed length is {MAX_BYTES} bytes.")


def _outputs(entry: TaskDefinition) -> dict[str, Any]:
    members = entry.members
    fargate = members.get("networkMode") == "awsvpc" and members.get("cpu") and members.get("memory")
    names = {"com.amazonaws.ecs.capability.docker-remote-api.1.18"}
    if members.get("networkMode") == "awsvpc":
        names.add("ecs.capability.task-eni")
    if members.get("taskRoleArn"):
        names.add("com.amazonaws.ecs.capability.task-iam-role")
    if members.get("executionRoleArn"):
        names.add("ecs.capability.execution-role-ecr-pull")
    outputs = {
        "taskDefinitionArn": entry.arn,
        "revision": entry.revision,
        "status": entry.status,
        "requiresAttributes": [{"name": name} for name in sorted(names)],
        "compatibilities": ["EC2", "FARGATE"] if fargate else ["EXTERNAL", "EC2"],
        "registeredAt": entry.registered_at,
        "registeredBy": entry.registered_by,
    }
    if entry.deregistered_at is not None:
        outputs["deregisteredAt"] = entry.deregistered_at
    return outputs


def describe(entry: TaskDefinition) -> dict[str, Any]:
    """Return the ``taskDefinition`` of an answer."""
    return {**copy.deepcopy(entry.members), **_outputs(entry)}


def install(estate: Estate) -> None:
    """Answer the task definition calls."""
    operation = estate.server.operation

    @operation("ecs", "RegisterTaskDefinition")
    def register(call: Call) -> dict[str, Any]:
        members = {key: value for key, value in call.input.items() if key != "tags"}
        tags = check_tags(call.input.get("tags"))
        _check(members, len(json.dumps(members, separators=(",", ":")).encode()))
        with estate.lock:
            store = estate.store(call)
            family = members["family"]
            entries = store.families.setdefault(family, [])
            revision = len(entries) + 1
            entry = TaskDefinition(
                arn=store.arn(f"task-definition/{family}:{revision}"),
                family=family,
                revision=revision,
                members=_with_defaults(members),
                tags=tags,
                registered_at=estate.clock(),
                registered_by=f"arn:aws:iam::{store.account}:root",
            )
            entries.append(entry)
            answer: dict[str, Any] = {"taskDefinition": describe(entry)}
            if tags:
                answer["tags"] = copy.deepcopy(tags)
            return answer

    @operation("ecs", "DescribeTaskDefinition")
    def describe_one(call: Call) -> dict[str, Any]:
        with estate.lock:
            entry = estate.store(call).task_definition(_reference(call))
            if entry is None or entry.status == "DELETED":
                raise _client_error("Unable to describe task definition.")
            answer: dict[str, Any] = {"taskDefinition": describe(entry)}
            if "TAGS" in (call.input.get("include") or ()):
                answer["tags"] = copy.deepcopy(entry.tags)
            return answer

    @operation("ecs", "DeregisterTaskDefinition")
    def deregister(call: Call) -> dict[str, Any]:
        reference = _reference(call)
        if not re.search(r":\d+$", reference):
            raise _client_error("Deregistering a task definition requires its revision.")
        with estate.lock:
            entry = estate.store(call).task_definition(reference)
            if entry is None or entry.status == "DELETED":
                raise _client_error("The specified task definition does not exist.")
            if entry.status == "ACTIVE":
                entry.status = "INACTIVE"
                entry.deregistered_at = estate.clock()
            return {"taskDefinition": describe(entry)}

    @operation("ecs", "DeleteTaskDefinitions")
    def delete(call: Call) -> dict[str, Any]:
        deleted, failures = [], []
        with estate.lock:
            for reference in call.input.get("taskDefinitions") or ():
                entry = estate.store(call).task_definition(reference)
                if entry is None or entry.status == "DELETED":
                    failures.append(
                        {"arn": reference, "reason": "The specified task definition does not exist."}
                    )
                elif entry.status == "ACTIVE":
                    failures.append(
                        {
                            "arn": entry.arn,
                            "reason": "The specified task definition is still in ACTIVE status. Please deregister "
                            "the target and try again.",
                        }
                    )
                else:
                    entry.status = "DELETED"
                    deleted.append({**describe(entry), "status": "DELETE_IN_PROGRESS"})
        return {"taskDefinitions": deleted, "failures": failures}

    @operation("ecs", "ListTaskDefinitions")
    def list_all(call: Call) -> dict[str, Any]:
        status = call.input.get("status") or "ACTIVE"
        family = call.input.get("familyPrefix")  # by its name a prefix, by its documentation the full name
        with estate.lock:
            store = estate.store(call)
            names = sorted(store.families) if family is None else [family]
            entries = [
                entry for name in names for entry in store.families.get(name, ()) if entry.status == status
            ]
        if call.input.get("sort") == "DESC":
            entries.reverse()
        return page([entry.arn for entry in entries], call, "taskDefinitionArns", 100, 100)

    @operation("ecs", "ListTaskDefinitionFamilies")
    def list_families(call: Call) -> dict[str, Any]:
        status = call.input.get("status") or "ACTIVE"
        prefix = call.input.get("familyPrefix") or ""
        with estate.lock:
            store = estate.store(call)
            names = [
                name
                for name in sorted(store.families)
                if name.startswith(prefix)
                and _family_status(store, name)
                in (status, *(("ACTIVE", "INACTIVE") if status == "ALL" else ()))
            ]
        return page(names, call, "families", 100, 100)


def _family_status(store: Store, family: str) -> str:
    statuses = {entry.status for entry in store.families[family]}
    if "ACTIVE" in statuses:
        return "ACTIVE"
    return "INACTIVE" if "INACTIVE" in statuses else "DELETED"


def _reference(call: Call) -> str:
    reference = call.input.get("taskDefinition")
    if not isinstance(reference, str) or not reference:
        raise ApiError("InvalidParameterException", "taskDefinition should not be null or empty.")
    return reference
