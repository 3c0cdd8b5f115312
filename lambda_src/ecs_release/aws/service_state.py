"""One service, as DescribeServices and UpdateService answer it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from ecs_release.aws.answers import entries, flag, mapping, moment, needed_text, number, text
from ecs_release.errors import OddAnswerError

ROLLING = "ROLLING"
"""The one strategy whose deployments have a rolloutState
(https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_Deployment.html)."""

_NUMBER = re.compile(r"(?:ecs-svc/|arn:[^/]+:service-revision/[^/]+/[^/]+/)(\d+)")


def number_of(identity: object) -> str:
    """The number that a deployment's id and the ARN of the service revision it brings out share; "" where there is none.

    ``ecs-svc/<n>`` deploys ``arn:...:service-revision/<cluster>/<service>/<n>``, by which Terraform's provider finds the service
    deployment of a deployment
    (https://github.com/hashicorp/terraform-provider-aws/blob/main/internal/service/ecs/service.go).
    """
    found = _NUMBER.fullmatch(str(identity))
    return found[1] if found else ""


@dataclass(frozen=True)
class ServiceState:
    """One service of a DescribeServices or UpdateService answer, with the members that the SDK in use does not know.

    Every property raises OddAnswerError where the answer has another shape than AWS documents; what
    :meth:`Services.describe` hands out has been looked through.
    """

    body: Mapping[str, Any]

    @property
    def status(self) -> str:
        return text(self.body, "status")

    @property
    def task_definition(self) -> str:
        """What it is to run. A service of ECS Express Mode names it in its PRIMARY deployment alone (kayac/ecspresso#902)."""
        return text(self.body, "taskDefinition") or needed_text(
            self.primary or {}, "taskDefinition", "the PRIMARY deployment"
        )

    @property
    def is_express(self) -> bool:
        """Whether ECS manages what is around it: load balancer, scaling, deployment configuration."""
        return text(self.body, "resourceManagementType") == "ECS"

    @property
    def deployments(self) -> list[Mapping[str, Any]]:
        return entries(self.body, "deployments")

    @property
    def runs(self) -> set[str]:
        """Every task definition that it or a deployment of it names."""
        return {text(body, "taskDefinition") for body in (self.body, *self.deployments)} - {""}

    @property
    def controller(self) -> str:
        return text(mapping(self.body, "deploymentController"), "type", "ECS")

    @property
    def desired_count(self) -> int:
        return number(self.body, "desiredCount")

    @property
    def configuration(self) -> Mapping[str, Any]:
        return mapping(self.body, "deploymentConfiguration")

    @property
    def strategy(self) -> str:
        return text(self.configuration, "strategy", ROLLING)

    @property
    def current_service_deployment(self) -> str:
        """ARN of the service deployment that ECS calls current; "" where it names none."""
        return text(self.body, "currentServiceDeployment")

    @property
    def current_service_revisions(self) -> tuple[str, ...]:
        """ARNs of the service revisions that run."""
        return tuple(text(entry, "arn") for entry in entries(self.body, "currentServiceRevisions"))

    def rollout_state(self, deployment: Mapping[str, Any] | None) -> str | None:
        """A deployment's rolloutState, which says something of rolling updates alone; None where there is none."""
        if deployment is None or self.strategy != ROLLING:
            return None
        return text(deployment, "rolloutState") or None

    @property
    def rolls_back_by_itself(self) -> bool:
        """Whether ECS goes back to the last completed deployment when the new one fails."""
        watches = (mapping(self.configuration, name) for name in ("deploymentCircuitBreaker", "alarms"))
        return any(flag(watch, "enable") and flag(watch, "rollback") for watch in watches)

    @property
    def has_circuit_breaker(self) -> bool:
        return flag(mapping(self.configuration, "deploymentCircuitBreaker"), "enable")

    @property
    def primary(self) -> Mapping[str, Any] | None:
        return next((d for d in self.deployments if text(d, "status") == "PRIMARY"), None)

    def deployment(self, deployment_id: str | None) -> Mapping[str, Any] | None:
        return next((d for d in self.deployments if d.get("id") == deployment_id), None)

    @property
    def completed(self) -> Mapping[str, Any] | None:
        """The newest deployment in sight that is known to have completed, if any."""
        return next((d for d in self.deployments if self.rollout_state(d) == "COMPLETED"), None)

    def ensure_understood(self) -> None:
        """Look through everything that is read of it.

        Raises
        ------
        OddAnswerError
            when something that is needed is not there, or something is not what it is documented to be.
        """
        needed_text(self.body, "status", "the service")
        if self.status != "ACTIVE" or self.controller != "ECS":
            return  # nothing else of it is read
        if self.body.get("desiredCount") is None:  # 0 would be a verdict
            raise OddAnswerError("the service has no desiredCount")
        for deployment in self.deployments:
            for name in ("id", "taskDefinition", "rolloutState", "rolloutStateReason"):
                text(deployment, name)
            moment(deployment, "createdAt")
        if self.primary is None:
            raise OddAnswerError("the service has no PRIMARY deployment")
        needed_text(self.primary, "id", "the PRIMARY deployment")
        needed_text(self.primary, "taskDefinition", "the PRIMARY deployment")
        for name in type(self)._PROPERTIES:
            getattr(self, name)

    _PROPERTIES: ClassVar[tuple[str, ...]] = (
        *("task_definition", "is_express", "runs", "desired_count", "strategy", "rolls_back_by_itself"),
        *("has_circuit_breaker", "completed", "current_service_deployment", "current_service_revisions"),
    )
