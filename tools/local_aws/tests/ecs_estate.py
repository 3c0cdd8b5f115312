"""An ECS estate made of one cluster per test, through the AWS API."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from typing import Any

from local_aws.client import HANG_SECONDS, LocalAws


class Estate:
    """A cluster with a name of its own; whatever it holds is reached through boto3."""

    def __init__(self, aws: LocalAws) -> None:
        self.aws = aws
        self.ecs = aws.client("ecs")
        self.cluster = f"c-{uuid.uuid4().hex[:8]}"
        self.ecs.create_cluster(clusterName=self.cluster)

    def register(self, family: str = "", image: str = "app:1", **members: Any) -> str:
        """Register a revision of a family (the cluster's name by default); its ARN."""
        containers = members.pop("containerDefinitions", [{"name": "app", "image": image, "memory": 64}])
        answer = self.ecs.register_task_definition(
            family=family or self.cluster, containerDefinitions=containers, **members
        )
        return str(answer["taskDefinition"]["taskDefinitionArn"])

    def create(self, name: str = "web", desired: int = 2, **members: Any) -> dict[str, Any]:
        definition = members.pop("taskDefinition", None) or self.register()
        service: dict[str, Any] = self.ecs.create_service(
            cluster=self.cluster, serviceName=name, taskDefinition=definition, desiredCount=desired, **members
        )["service"]
        return service

    def update(self, name: str = "web", **members: Any) -> dict[str, Any]:
        service: dict[str, Any] = self.ecs.update_service(cluster=self.cluster, service=name, **members)[
            "service"
        ]
        return service

    def service(self, name: str = "web", **asked: Any) -> dict[str, Any]:
        service: dict[str, Any] = self.ecs.describe_services(cluster=self.cluster, services=[name], **asked)[
            "services"
        ][0]
        return service

    def deployments(self, name: str = "web") -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.service(name)["deployments"]
        return found

    def records(self, name: str = "web") -> list[dict[str, Any]]:
        """The service deployments, newest first, in full."""
        briefs = self.ecs.list_service_deployments(cluster=self.cluster, service=name)["serviceDeployments"]
        arns = [brief["serviceDeploymentArn"] for brief in briefs]
        if not arns:
            return []
        full = self.ecs.describe_service_deployments(serviceDeploymentArns=arns)["serviceDeployments"]
        by_arn = {entry["serviceDeploymentArn"]: entry for entry in full}
        return [by_arn[arn] for arn in arns]


def eventually(check: Callable[[], Any], seconds: float = HANG_SECONDS) -> Any:
    """Return the first true value of a check; fail with the last one after the time is over."""
    deadline = time.monotonic() + seconds
    while True:
        value = check()
        if value:
            return value
        assert time.monotonic() < deadline, f"still {value!r} after {seconds} s"
        time.sleep(0.05)
