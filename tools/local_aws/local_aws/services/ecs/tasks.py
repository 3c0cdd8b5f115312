"""Amazon ECS tasks: those of services, those run by hand, and the stopped ones that say why a rollout fails.

Stands for ListTasks, DescribeTasks, RunTask, and the stop codes and reasons of
https://docs.aws.amazon.com/AmazonECS/latest/developerguide/stopped-task-error-codes.html. AWS shows a stopped
task for at least an hour; here the latest ten of a deployment stay.
"""

from __future__ import annotations

import copy
import secrets
from collections.abc import Mapping
from typing import Any

from local_aws.kernel.calls import ApiError, Call
from local_aws.services.ecs.image_digests import resolve_all
from local_aws.services.ecs.state import Estate, Store, Task, TaskDefinition, check_tags, page

KEPT_STOPPED = 10


def start(
    store: Store,
    cluster: tuple[str, str],
    definition: TaskDefinition,
    *,
    group: str,
    started_by: str,
    launch_type: str,
    now: float,
    digests: Mapping[str, str],
) -> Task:
    """Add a running task; ``digests`` are those of the images that its containers run, by container."""
    name, cluster_arn = cluster
    task_id = secrets.token_hex(16)
    arn = store.arn(f"task/{name}/{task_id}")
    containers = [
        {
            "containerArn": store.arn(f"container/{name}/{task_id}/{secrets.token_hex(8)}"),
            "taskArn": arn,
            "name": container["name"],
            "image": container["image"],
            "lastStatus": "RUNNING",
            "networkInterfaces": [],
            "healthStatus": "UNKNOWN",
            "cpu": str(container.get("cpu", 0)),
            **({"imageDigest": digests[container["name"]]} if container["name"] in digests else {}),
        }
        for container in definition.members["containerDefinitions"]
    ]
    document = {
        "attachments": [],
        "attributes": [],
        "availabilityZone": f"{store.region}a",
        "clusterArn": cluster_arn,
        "connectivity": "CONNECTED",
        "containers": containers,
        "cpu": str(definition.members.get("cpu") or 0),
        "memory": str(definition.members.get("memory") or 0),
        "createdAt": now,
        "startedAt": now,
        "desiredStatus": "RUNNING",
        "lastStatus": "RUNNING",
        "healthStatus": "UNKNOWN",
        "group": group,
        "launchType": launch_type,
        "overrides": {"containerOverrides": [], "inferenceAcceleratorOverrides": []},
        "startedBy": started_by,
        "taskArn": arn,
        "taskDefinitionArn": definition.arn,
        "version": 1,
    }
    task = Task(arn, group, started_by, document)
    store.tasks[arn] = task
    return task


def stop(task: Task, code: str, reason: str, now: float) -> None:
    """Stop a running task in good order."""
    task.document.update(
        desiredStatus="STOPPED",
        lastStatus="STOPPED",
        stopCode=code,
        stoppedReason=reason,
        stoppingAt=now,
        stoppedAt=now,
        executionStoppedAt=now,
        version=task.document["version"] + 1,
    )
    for container in task.document["containers"]:
        container.update(lastStatus="STOPPED")
        container.setdefault("exitCode", 0)


def crash(task: Task, container_name: str, reason: str | None, now: float) -> None:
    """Let a container exit with status 1, or the task not start at all where a reason is given."""
    for container in task.document["containers"]:
        if container["name"] == container_name:
            if reason:
                container["reason"] = reason
                container.pop("imageDigest", None)  # nothing was pulled
            else:
                container["exitCode"] = 1
    if reason:
        stop(task, "TaskFailedToStart", reason, now)
    else:
        stop(task, "EssentialContainerExited", "Essential container in task exited", now)


def describe(task: Task, with_tags: bool) -> dict[str, Any]:
    document: dict[str, Any] = copy.deepcopy(task.document)
    document["tags"] = copy.deepcopy(task.tags) if with_tags else []
    return document


def install(estate: Estate, settle: Any) -> None:
    """Answer the task calls; ``settle`` brings a store's services up to the clock first."""
    operation = estate.server.operation

    @operation("ecs", "ListTasks")
    def list_tasks(call: Call) -> dict[str, Any]:
        asked = call.input
        with estate.lock:
            store = estate.store(call)
            cluster = store.cluster(asked.get("cluster"))
            settle(store)
            if asked.get("serviceName"):
                service = store.service(cluster, asked["serviceName"])
                if service is None:
                    raise ApiError("ServiceNotFoundException", "Service not found.")
            status = asked.get("desiredStatus") or "RUNNING"
            arns = [
                task.arn
                for task in store.tasks.values()
                if task.document["clusterArn"] == cluster.arn
                and task.document["desiredStatus"] == status
                and (
                    not asked.get("serviceName")
                    or task.group == "service:" + asked["serviceName"].rpartition("/")[2]
                )
                and (not asked.get("family") or _family(task) == asked["family"])
                and (not asked.get("startedBy") or task.started_by == asked["startedBy"])
                and (not asked.get("launchType") or task.document["launchType"] == asked["launchType"])
            ]
        return page(arns, call, "taskArns", 100, 100)

    @operation("ecs", "DescribeTasks")
    def describe_tasks(call: Call) -> dict[str, Any]:
        references = call.input.get("tasks") or []
        if not 1 <= len(references) <= 100:
            raise ApiError("InvalidParameterException", "Tasks cannot be empty or more than 100.")
        with_tags = "TAGS" in (call.input.get("include") or ())
        found, failures = [], []
        with estate.lock:
            store = estate.store(call)
            cluster = store.cluster(call.input.get("cluster"))
            settle(store)
            for reference in references:
                arn = store.arn(f"task/{cluster.name}/{reference.rpartition('/')[2]}")
                task = store.tasks.get(arn)
                if task is None:
                    failures.append({"arn": arn, "reason": "MISSING"})
                else:
                    found.append(describe(task, with_tags))
        return {"tasks": found, "failures": failures}

    @operation("ecs", "RunTask")
    def run_task(call: Call) -> dict[str, Any]:
        asked = call.input
        with estate.lock:
            store = estate.store(call)
            cluster = store.cluster(asked.get("cluster"))
            definition = store.task_definition(str(asked.get("taskDefinition") or ""))
            if definition is None:
                raise ApiError("ClientException", "TaskDefinition not found.")
            if definition.status != "ACTIVE":
                raise ApiError("InvalidParameterException", "TaskDefinition is inactive")
            tasks = []
            for _ in range(int(asked.get("count") or 1)):
                task = start(
                    store,
                    (cluster.name, cluster.arn),
                    definition,
                    group=asked.get("group") or f"family:{definition.family}",
                    started_by=asked.get("startedBy") or "",
                    launch_type=asked.get("launchType") or "EC2",
                    now=estate.clock(),
                    digests=resolve_all(definition.members["containerDefinitions"]),
                )
                task.tags = check_tags(asked.get("tags"))
                task.document["overrides"] = asked.get("overrides") or {"containerOverrides": []}
                tasks.append(describe(task, True))
        return {"tasks": tasks, "failures": []}


def _family(task: Task) -> str:
    return str(task.document["taskDefinitionArn"]).rpartition("/")[2].partition(":")[0]
