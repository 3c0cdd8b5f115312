"""Amazon ECS: task definitions, services, rollouts and tasks are this package's own; clusters stay moto's.

Stands for https://docs.aws.amazon.com/AmazonECS/latest/APIReference/Welcome.html. Every account and Region has its
own state, so the credentials of an assumed role reach the estate of their account.
"""

from __future__ import annotations

import copy
from typing import Any

from local_aws.kernel.calls import Answer, ApiError, Call
from local_aws.kernel.server import Server
from local_aws.services.ecs import rollouts as ecs_rollouts
from local_aws.services.ecs import service_deployments as ecs_service_deployments
from local_aws.services.ecs import services as ecs_services
from local_aws.services.ecs import task_definitions as ecs_task_definitions
from local_aws.services.ecs import tasks as ecs_tasks
from local_aws.services.ecs.state import Estate, Store, check_tags


def _tags_of(store: Store, arn: str) -> list[dict[str, str]] | None:
    """Return the tags of a service, task definition or task, for change in place; None for other resources."""
    kind, _, rest = arn.split(":", 5)[5].partition("/") if arn.count(":") >= 5 else ("", "", "")
    if kind == "service":
        found: Any = next((service for service in store.services.values() if service.arn == arn), None)
        found = found if found is None or found.status == "ACTIVE" else None
    elif kind == "task-definition":
        found = store.task_definition(rest) if ":" in rest else None
    elif kind == "task":
        found = store.tasks.get(arn)
    else:
        return None
    if found is None:
        raise ApiError(
            "InvalidParameterException", f"The specified resource is not valid or was not found: {arn}"
        )
    tags: list[dict[str, str]] = found.tags
    return tags


def _install_tags(estate: Estate) -> None:
    operation = estate.server.operation

    @operation("ecs", "ListTagsForResource")
    def list_tags(call: Call) -> dict[str, Any] | Answer:
        with estate.lock:
            tags = _tags_of(estate.store(call), str(call.input.get("resourceArn") or ""))
            return call.forward() if tags is None else {"tags": copy.deepcopy(tags)}

    @operation("ecs", "TagResource")
    def tag(call: Call) -> dict[str, Any] | Answer:
        with estate.lock:
            tags = _tags_of(estate.store(call), str(call.input.get("resourceArn") or ""))
            if tags is None:
                return call.forward()
            new = {entry["key"]: entry for entry in call.input.get("tags") or ()}
            tags[:] = check_tags([entry for entry in tags if entry["key"] not in new] + list(new.values()))
            return {}

    @operation("ecs", "UntagResource")
    def untag(call: Call) -> dict[str, Any] | Answer:
        with estate.lock:
            tags = _tags_of(estate.store(call), str(call.input.get("resourceArn") or ""))
            if tags is None:
                return call.forward()
            tags[:] = [entry for entry in tags if entry["key"] not in (call.input.get("tagKeys") or ())]
            return {}


def _install_clusters(estate: Estate) -> None:
    operation = estate.server.operation

    @operation("ecs", "CreateCluster")
    def create(call: Call) -> Answer | dict[str, Any]:
        try:
            cluster = estate.store(call).cluster(call.input.get("clusterName"))
        except ApiError:
            return call.forward()
        # creating what exists answers with it and changes nothing
        client = estate.server.client("ecs", call.region, call.account)
        clusters = client.describe_clusters(clusters=[cluster.name], include=["TAGS", "SETTINGS"])["clusters"]
        return {"cluster": clusters[0]}

    @operation("ecs", "DescribeClusters")
    def describe(call: Call) -> Answer:
        with estate.lock:
            store = estate.store(call)
            for reference in call.input.get("clusters") or ["default"]:
                try:
                    cluster = store.cluster(reference)
                except ApiError:
                    continue
                services = [
                    s
                    for s in store.services.values()
                    if s.cluster_name == cluster.name and s.status == "ACTIVE"
                ]
                for service in services:
                    ecs_rollouts.settle_service(estate, store, service)
                cluster.active_services_count = len(services)
                cluster.running_tasks_count = sum(
                    1
                    for t in store.tasks.values()
                    if not t.stopped and t.document["clusterArn"] == cluster.arn
                )
        return call.forward()

    @operation("ecs", "DeleteCluster")
    def delete(call: Call) -> Answer:
        with estate.lock:
            store = estate.store(call)
            cluster = store.cluster(call.input.get("cluster"))
            if any(s.cluster_name == cluster.name and s.status == "ACTIVE" for s in store.services.values()):
                raise ApiError(
                    "ClusterContainsServicesException",
                    "The Cluster cannot be deleted while Services are active.",
                )
            store.services = {key: s for key, s in store.services.items() if key[0] != cluster.name}
            store.tasks = {a: t for a, t in store.tasks.items() if t.document["clusterArn"] != cluster.arn}
        return call.forward()


def install(server: Server) -> None:
    """Take ECS over from moto, clusters aside."""
    estate = Estate(server)
    server.add(estate)
    server.on_reset(estate.reset)
    ecs_task_definitions.install(estate)
    ecs_services.install(estate)
    ecs_service_deployments.install(estate)
    ecs_tasks.install(estate, lambda store: ecs_rollouts.settle(estate, store))
    _install_tags(estate)
    _install_clusters(estate)
