"""What is live, read through the AWS API: what runs, on which images, and everything beside the images.

For proofs that a release changed what it named and nothing else: two observations of one thing, before and after,
are compared member by member. Written without the code that releases, so that one mistake can't hide another.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

RELEASE_TAG = "ecs-release:content"

_OUTPUTS = frozenset(
    {
        *("taskDefinitionArn", "revision", "status", "requiresAttributes", "compatibilities"),
        *("registeredAt", "registeredBy", "deregisteredAt"),
    }
)
_SERVICE_MOVES = frozenset(
    {
        *("taskDefinition", "deployments", "events", "runningCount", "pendingCount", "createdAt", "taskSets"),
        *("currentServiceDeployment", "currentServiceRevisions"),
    }
)
_SCHEDULE_MOVES = frozenset({"LastModificationDate", "CreationDate", "ResponseMetadata"})


class Clients(Protocol):
    """What makes boto3 clients; :class:`local_aws.client.LocalAws` does."""

    def client(self, service: str) -> Any: ...


@dataclass(frozen=True)
class Observed:
    """One service, rule or schedule at one moment.

    Attributes
    ----------
    task_definition
        ARN of what runs, or the reference that a rule or schedule holds.
    images
        Container name -> image.
    rest
        Every member of definition, tags, service, rule, targets or schedule, images and references aside.
    exact
        A rule's targets or a schedule as they are, references included; None for services.
    deployment
        Of a service, its PRIMARY deployment: id, rolloutState, runningCount, desiredCount.
    """

    task_definition: str
    images: dict[str, str]
    rest: dict[str, Any]
    exact: Any = None
    deployment: dict[str, Any] | None = None

    @property
    def revision(self) -> str:
        """``family:revision``."""
        return self.task_definition.rpartition("/")[2]


class Observer:
    """Reads one account and Region."""

    def __init__(self, aws: Clients) -> None:
        self._ecs = aws.client("ecs")
        self._events = aws.client("events")
        self._scheduler = aws.client("scheduler")

    def service(self, cluster: str, name: str) -> Observed:
        """Read a service and what its PRIMARY deployment runs."""
        found = self._ecs.describe_services(cluster=cluster, services=[name], include=["TAGS"])["services"][0]
        primary = next(d for d in found["deployments"] if d["status"] == "PRIMARY")
        images, definition = self._definition(primary["taskDefinition"])
        settings = {key: value for key, value in found.items() if key not in _SERVICE_MOVES}
        kept = ("id", "rolloutState", "rolloutStateReason", "runningCount", "desiredCount", "taskDefinition")
        return Observed(
            primary["taskDefinition"],
            images,
            {"definition": definition, "service": settings},
            deployment={key: primary.get(key) for key in kept},
        )

    def rule(self, name: str, bus: str = "default", target_id: str | None = None) -> Observed:
        """Read a rule with all its targets; the first that runs a task, or the one named, is the one observed."""
        rule = self._events.describe_rule(Name=name, EventBusName=bus)
        rule.pop("ResponseMetadata")
        targets = self._events.list_targets_by_rule(Rule=name, EventBusName=bus)["Targets"]
        ours = next(
            t for t in targets if "EcsParameters" in t and (target_id is None or t["Id"] == target_id)
        )
        reference = ours["EcsParameters"]["TaskDefinitionArn"]
        images, definition = self._definition(reference)
        masked = [
            {**t, "EcsParameters": {**t["EcsParameters"], "TaskDefinitionArn": "..."}} if t is ours else t
            for t in targets
        ]
        rest = {"definition": definition, "rule": rule, "targets": masked}
        return Observed(reference, images, rest, exact=targets)

    def schedule(self, name: str, group: str = "default") -> Observed:
        """Read a schedule."""
        found = self._scheduler.get_schedule(Name=name, GroupName=group)
        schedule = {key: value for key, value in found.items() if key not in _SCHEDULE_MOVES}
        target = schedule["Target"]
        reference = target["EcsParameters"]["TaskDefinitionArn"]
        images, definition = self._definition(reference)
        masked = {**target, "EcsParameters": {**target["EcsParameters"], "TaskDefinitionArn": "..."}}
        rest = {"definition": definition, "schedule": {**schedule, "Target": masked}}
        return Observed(reference, images, rest, exact=schedule)

    def revisions(self, family: str, status: str = "ACTIVE") -> list[str]:
        """ARNs of a family's revisions, oldest first."""
        pages = self._ecs.get_paginator("list_task_definitions").paginate(familyPrefix=family, status=status)
        found = [arn for page in pages for arn in page["taskDefinitionArns"]]
        return [arn for arn in found if arn.rpartition("/")[2].rpartition(":")[0] == family]

    def _definition(self, reference: str) -> tuple[dict[str, str], dict[str, Any]]:
        answer = self._ecs.describe_task_definition(taskDefinition=reference, include=["TAGS"])
        body = answer["taskDefinition"]
        images = {c["name"]: c["image"] for c in body["containerDefinitions"]}
        rest = {key: value for key, value in body.items() if key not in _OUTPUTS}
        rest["containerDefinitions"] = [{**c, "image": "..."} for c in body["containerDefinitions"]]
        rest["tags"] = [tag for tag in answer.get("tags", ()) if tag["key"] != RELEASE_TAG]
        return images, rest


def differences(before: Any, after: Any, path: str = "") -> list[str]:
    """Where two observations' members differ, as ``definition.cpu: '256' is now '512'``."""
    if isinstance(before, dict) and isinstance(after, dict):
        return [
            line
            for key in sorted({*before, *after})
            for line in differences(before.get(key), after.get(key), f"{path}.{key}" if path else str(key))
        ]
    if isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        pairs = enumerate(zip(before, after, strict=True))
        return [line for i, (old, new) in pairs for line in differences(old, new, f"{path}[{i}]")]
    return [] if before == after else [f"{path}: {before!r} is now {after!r}"]


def count_members(value: Any) -> int:
    """How many single values an observation holds: what a comparison compared."""
    if isinstance(value, dict):
        return sum(map(count_members, value.values()))
    if isinstance(value, list):
        return sum(map(count_members, value))
    return 1
