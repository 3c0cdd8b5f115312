"""Estates for the end-to-end tests, made raw, and a picture of everything in an account to compare before and after."""

from __future__ import annotations

import copy
import json
import os
import time
from collections.abc import Sequence
from typing import Any

from local_aws.estate import starter_role
from local_aws.kernel.lag import ALWAYS
from stack import Stack

ACCOUNT = "123456789012"
# No Amazon ECR: nobody is asked whether the image exists, as with any other vendor's registry.
REGISTRY = "registry.example.com"

# ListServiceDeployments shows a deployment only after a delay, in seconds (``POST /_local/visibility``).
_LISTED_AFTER = 1.1

# What a rollout changes of a service beside its task definition: what runs right now, and since when.
_MOVING = frozenset(
    {
        "deployments",
        "events",
        "runningCount",
        "pendingCount",
        "currentServiceDeployment",
        "currentServiceRevisions",
    }
)


def role(name: str) -> str:
    return f"arn:aws:iam::{ACCOUNT}:role/{name}"


def image(name: str) -> str:
    """Such as ``api:1.1``."""
    return f"{REGISTRY}/{name}"


def container(name: str, tag: str, **members: Any) -> dict[str, Any]:
    """A container that runs ``image(tag)``, or ``tag`` itself where it names a registry."""
    return {"name": name, "image": tag if "/" in tag else image(tag), "essential": True, **members}


def settle() -> None:
    """Wait until reads that lag show what was done: a release that follows at once sees it late, and touches nothing."""
    time.sleep(float(os.environ.get(ALWAYS) or 0))


class World:
    """What one test module releases to, in clusters with names of its own."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.ecs = stack.client("ecs")
        self.events = stack.client("events")
        self.scheduler = stack.client("scheduler")
        self.iam = stack.client("iam")
        starter_role(self.iam, "events-run-task", "events.amazonaws.com")
        starter_role(self.iam, "scheduler-run-task", "scheduler.amazonaws.com")

    def cluster(self, name: str) -> str:
        self.ecs.create_cluster(clusterName=name)
        return name

    def family(self, name: str, containers: Sequence[dict[str, Any]], **members: Any) -> str:
        """Register a revision with exactly these members on a small Fargate task; its ARN."""
        body = {
            "family": name,
            "containerDefinitions": list(containers),
            "networkMode": "awsvpc",
            "requiresCompatibilities": ["FARGATE"],
            "cpu": "256",
            "memory": "512",
            **members,
        }
        return str(
            self.stack.raw("ecs", "RegisterTaskDefinition", body)["taskDefinition"]["taskDefinitionArn"]
        )

    def service(self, cluster: str, name: str, definition: str | None = None, **members: Any) -> str:
        """Make a service; without a task definition its family bears its name and has one container ``app``."""
        definition = definition or self.family(name, [container("app", f"{name}:1")])
        self.ecs.create_service(
            cluster=cluster,
            serviceName=name,
            taskDefinition=definition,
            **{"desiredCount": 1, "launchType": "FARGATE", **members},
        )
        return name

    def rule(
        self, name: str, targets: Sequence[dict[str, Any]], bus: str = "default", **members: Any
    ) -> None:
        if bus != "default" and bus not in {b["Name"] for b in self.events.list_event_buses()["EventBuses"]}:
            self.events.create_event_bus(Name=bus)
        trigger = (
            {"ScheduleExpression": "rate(1 day)"}
            if bus == "default"
            else {"EventPattern": '{"source":["x"]}'}
        )
        self.events.put_rule(Name=name, EventBusName=bus, State="ENABLED", **{**trigger, **members})
        self.stack.raw("events", "PutTargets", {"Rule": name, "EventBusName": bus, "Targets": list(targets)})

    def ecs_target(self, target_id: str, cluster: str, definition: str, **members: Any) -> dict[str, Any]:
        """A rule's target that runs a task."""
        return {
            "Id": target_id,
            "Arn": f"arn:aws:ecs:us-east-1:{ACCOUNT}:cluster/{cluster}",
            "RoleArn": role("events-run-task"),
            "EcsParameters": {"TaskDefinitionArn": definition, "TaskCount": 1, "LaunchType": "FARGATE"},
            **members,
        }

    def schedule(self, name: str, cluster: str, definition: str, **members: Any) -> None:
        target = {
            "Arn": f"arn:aws:ecs:us-east-1:{ACCOUNT}:cluster/{cluster}",
            "RoleArn": role("scheduler-run-task"),
            "EcsParameters": {"TaskDefinitionArn": definition, "TaskCount": 1, "LaunchType": "FARGATE"},
            **members.pop("Target", {}),
        }
        self.scheduler.create_schedule(
            **{
                "Name": name,
                "ScheduleExpression": "rate(1 day)",
                "FlexibleTimeWindow": {"Mode": "OFF"},
                "Target": target,
                **members,
            }
        )

    # --- what is there -----------------------------------------------------------------------------------------

    def describe(self, cluster: str, name: str) -> dict[str, Any]:
        """A service, raw, with tags."""
        body = {"cluster": cluster, "services": [name], "include": ["TAGS"]}
        (service,) = self.stack.raw("ecs", "DescribeServices", body)["services"]
        found: dict[str, Any] = service
        return found

    def primary(self, cluster: str, name: str) -> dict[str, Any]:
        deployments = self.describe(cluster, name)["deployments"]
        return next(d for d in deployments if d["status"] == "PRIMARY")

    def definition(self, reference: str) -> dict[str, Any]:
        """A task definition, raw, with its tags."""
        return self.stack.raw(
            "ecs", "DescribeTaskDefinition", {"taskDefinition": reference, "include": ["TAGS"]}
        )

    def images(self, reference: str) -> dict[str, str]:
        containers = self.definition(reference)["taskDefinition"]["containerDefinitions"]
        return {c["name"]: c["image"] for c in containers}

    def revisions(self, family: str) -> list[str]:
        """ARNs of a family's revisions, oldest first, the inactive ones too."""
        found = []
        for status in ("ACTIVE", "INACTIVE"):
            answer = self.ecs.list_task_definitions(familyPrefix=family, status=status)
            found += answer["taskDefinitionArns"]
        return sorted(found, key=lambda arn: int(arn.rpartition(":")[2]))

    def targets(self, rule: str, bus: str = "default") -> dict[str, dict[str, Any]]:
        """A rule's targets, raw, by id."""
        answer = self.stack.raw("events", "ListTargetsByRule", {"Rule": rule, "EventBusName": bus})
        return {target["Id"]: target for target in answer["Targets"]}

    def service_deployments(self, cluster: str, name: str) -> list[dict[str, Any]]:
        answer: list[dict[str, Any]] = self.ecs.list_service_deployments(cluster=cluster, service=name)[
            "serviceDeployments"
        ]
        return answer

    def count_deployments(self, cluster: str, name: str) -> int:
        """How many deployments a service has had, the one at its creation included, once ECS lists the newest."""
        young = self.primary(cluster, name)["createdAt"] + _LISTED_AFTER - time.time()
        time.sleep(max(0.0, young))
        return len(self.service_deployments(cluster, name))

    def picture(self) -> dict[str, Any]:
        """Everything in the account that a release could change, flat: what it is -> its raw JSON."""
        found: dict[str, Any] = {}
        for cluster in self.ecs.list_clusters()["clusterArns"]:
            for page in self.ecs.get_paginator("list_services").paginate(cluster=cluster):
                for arn in page["serviceArns"]:
                    body = self.describe(cluster, arn)
                    found[f"service {arn}"] = {k: v for k, v in body.items() if k not in _MOVING}
        for status in ("ACTIVE", "INACTIVE"):
            for page in self.ecs.get_paginator("list_task_definitions").paginate(status=status):
                for arn in page["taskDefinitionArns"]:
                    found[f"task definition {arn}"] = self.definition(arn)
        for bus in self.events.list_event_buses()["EventBuses"]:
            for rule in self.events.list_rules(EventBusName=bus["Name"])["Rules"]:
                found[f"rule {bus['Name']}/{rule['Name']}"] = rule
                for target_id, target in self.targets(rule["Name"], bus["Name"]).items():
                    found[f"target {bus['Name']}/{rule['Name']}/{target_id}"] = target
        for page in self.scheduler.get_paginator("list_schedules").paginate():
            for schedule in page["Schedules"]:
                key = f"schedule {schedule['GroupName']}/{schedule['Name']}"
                found[key] = self.stack.raw_schedule(schedule["Name"], schedule["GroupName"])
        return copy.deepcopy(found)


def difference(before: dict[str, Any], after: dict[str, Any]) -> dict[str, dict[str, tuple[Any, Any]]]:
    """Of two pictures: what differs -> path in it -> what stood there before and after."""
    return {
        what: changes(before.get(what), after.get(what))
        for what in {**before, **after}
        if before.get(what) != after.get(what)
    }


def changes(before: Any, after: Any, path: str = "") -> dict[str, tuple[Any, Any]]:
    """Path -> what stood there before and after (None: nothing), for everything that differs."""
    if isinstance(before, dict) and isinstance(after, dict):
        found: dict[str, Any] = {}
        for key in {**before, **after}:
            found |= changes(before.get(key), after.get(key), f"{path}/{key}" if path else key)
        return found
    if isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        found = {}
        for number, (left, right) in enumerate(zip(before, after, strict=True)):
            found |= changes(left, right, f"{path}/{number}")
        return found
    return (
        {}
        if json.dumps(before, sort_keys=True) == json.dumps(after, sort_keys=True)
        else {path: (before, after)}
    )
