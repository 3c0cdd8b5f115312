"""ECS services: what a DescribeServices answer says, and the one write a release makes to a service."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from ecs_release.aws.clients import Connections
from ecs_release.aws.raw import RAW, completed
from ecs_release.aws.trouble import error_code, explain
from ecs_release.errors import RefusedError

if TYPE_CHECKING:
    from mypy_boto3_ecs import ECSClient
    from mypy_boto3_ecs.literals import ServiceDeploymentStatusType
    from mypy_boto3_ecs.type_defs import (
        DeploymentTypeDef,
        ListServiceDeploymentsRequestTypeDef,
        ServiceDeploymentBriefTypeDef,
        ServiceDeploymentTypeDef,
        ServiceTypeDef,
    )

DESCRIBE_SERVICES_MOST = 10
"""https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_DescribeServices.html"""

# ListServiceDeployments refuses a filter that reaches back further than three months, and a service that was not deployed
# for so long also without one (https://github.com/hashicorp/terraform-provider-aws/issues/43445).
_HISTORY = timedelta(days=88)
_TOO_LONG_AGO = "must be within the last"
_REVISIONS_MOST = 20
CLOCK_SKEW_SECONDS = 5
"""How far AWS's clock may be ahead of ours, where a record of ours says since when AWS's are to be read."""


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
    """One service of a DescribeServices or UpdateService answer, with the members that the SDK in use does not know."""

    body: ServiceTypeDef

    @property
    def status(self) -> str:
        return str(self.body.get("status", ""))

    @property
    def task_definition(self) -> str:
        return str(self.body["taskDefinition"])

    @property
    def runs(self) -> set[str]:
        """Every task definition that a deployment of it runs."""
        return {self.task_definition, *(str(d["taskDefinition"]) for d in self.body.get("deployments", ()))}

    @property
    def controller(self) -> str:
        return str(self.body.get("deploymentController", {}).get("type", "ECS"))

    @property
    def desired_count(self) -> int:
        return int(self.body.get("desiredCount", 0))

    @property
    def strategy(self) -> str:
        return str(self.body.get("deploymentConfiguration", {}).get("strategy", ROLLING))

    @property
    def current_service_deployment(self) -> str:
        """ARN of the service deployment that ECS calls current; "" where it names none."""
        return str(self.body.get("currentServiceDeployment") or "")

    @property
    def current_service_revisions(self) -> tuple[str, ...]:
        """ARNs of the service revisions that run."""
        return tuple(str(entry.get("arn", "")) for entry in self.body.get("currentServiceRevisions") or ())

    def rollout_state(self, deployment: DeploymentTypeDef | None) -> str | None:
        """A deployment's rolloutState, which says something of rolling updates alone; None where there is none."""
        if deployment is None or self.strategy != ROLLING:
            return None
        state = deployment.get("rolloutState")
        return None if state is None else str(state)

    @property
    def rolls_back_by_itself(self) -> bool:
        """Whether ECS goes back to the last completed deployment when the new one fails."""
        configuration = self.body.get("deploymentConfiguration", {})
        breaker = configuration.get("deploymentCircuitBreaker", {})
        alarms = configuration.get("alarms", {})
        return bool(
            (breaker.get("enable") and breaker.get("rollback"))
            or (alarms.get("enable") and alarms.get("rollback"))
        )

    @property
    def has_circuit_breaker(self) -> bool:
        return bool(
            self.body.get("deploymentConfiguration", {}).get("deploymentCircuitBreaker", {}).get("enable")
        )

    @property
    def primary(self) -> DeploymentTypeDef | None:
        return next((d for d in self.body.get("deployments", ()) if d.get("status") == "PRIMARY"), None)

    def deployment(self, deployment_id: str | None) -> DeploymentTypeDef | None:
        return next((d for d in self.body.get("deployments", ()) if d.get("id") == deployment_id), None)

    @property
    def completed(self) -> DeploymentTypeDef | None:
        """The newest deployment in sight that is known to have completed, if any."""
        done = [d for d in self.body.get("deployments", ()) if self.rollout_state(d) == "COMPLETED"]
        return done[0] if done else None


@dataclass(frozen=True)
class ServiceDeployment:
    """A service deployment with what it deploys; the record ECS keeps also after the deployment is gone.

    Attributes
    ----------
    status : PENDING, IN_PROGRESS, SUCCESSFUL, STOP_REQUESTED, STOPPED, ROLLBACK_REQUESTED, ROLLBACK_IN_PROGRESS,
        ROLLBACK_SUCCESSFUL or ROLLBACK_FAILED.
    task_definition : ARN that its target revision runs.
    reason : ECS's own words, "" when it has none.
    rolled_back_to : ARN of the task definition that ECS's own rollback runs, "" when there was none. Such a rollback is no
        service deployment of its own.
    revision, rollback_revision : ARNs of the service revisions that it deploys and that its rollback deploys.
    sources : ARNs of the task definitions that ran when it began, one for each source revision; "" for one that ECS can't
        describe any more.
    """

    arn: str
    status: str
    task_definition: str
    reason: str = ""
    rolled_back_to: str = ""
    revision: str = ""
    rollback_revision: str = ""
    sources: tuple[str, ...] = ()

    @property
    def number(self) -> str:
        """What the id of its deployment ends in, see :func:`number_of`."""
        return number_of(self.revision)


class Services:
    """The services of one target."""

    def __init__(self, connections: Connections, target: str) -> None:
        self._connections = connections
        self._target = target

    @property
    def _client(self) -> ECSClient:
        return self._connections.client(self._target, "ecs")

    def describe(self, cluster: str, names: Sequence[str]) -> dict[str, ServiceState]:
        """The services found, by name, asked for in tens; a missing cluster or service is just not in the answer.

        The cluster's own absence is told apart by :meth:`cluster_problem`.
        """
        found: dict[str, ServiceState] = {}
        for chunk in in_tens(names):
            answer = self._client.describe_services(cluster=cluster, services=list(chunk))
            for body in completed(answer, answer.get(RAW)).get("services", ()):
                found[body["serviceName"]] = ServiceState(body)
        return found

    def update(self, cluster: str, name: str, task_definition: str) -> ServiceState:
        """Start a rollout, in one attempt; only the task definition is named, so every other setting stays.

        Safe to repeat: naming the task definition that is already set starts no deployment.

        Raises
        ------
        RefusedError
            when ECS refuses for good.
        """
        try:
            answer = self._connections.client(self._target, "ecs", retry=False).update_service(
                cluster=cluster, service=name, taskDefinition=task_definition
            )
        except ClientError as error:
            if error_code(error) in _FINAL:
                raise RefusedError(f"ECS refused to update {cluster}/{name}: {explain(error)}") from error
            raise
        return ServiceState(completed(answer, answer.get(RAW))["service"])

    def wait_for_update(self) -> None:
        """Wait until an UpdateService is in its turn."""
        self._connections.wait_for_turn(self._target, "ecs", "UpdateService")

    def newest_successful(self, cluster: str, name: str) -> ServiceDeployment | None:
        """The last service deployment that ended well, of those ECS remembers (90 days)."""
        briefs = self._briefs(cluster, name, status=["SUCCESSFUL"])
        return self._detail(briefs[:1])[0] if briefs else None

    def newest(self, cluster: str, name: str) -> ServiceDeployment | None:
        """The last service deployment that ECS remembers, however it ended."""
        briefs = self._briefs(cluster, name)
        return self._detail(briefs[:1])[0] if briefs else None

    def deployments_since(self, cluster: str, name: str, since: datetime) -> list[ServiceDeployment]:
        """Service deployments created at or after ``since``, oldest first.

        One becomes visible some time after UpdateService returned, so absence says nothing.
        """
        remembered = datetime.now(UTC) - _HISTORY
        briefs = self._briefs(cluster, name, since=max(since, remembered))
        return self._detail(list(reversed(briefs)))

    def service_deployments(self, arns: Iterable[str]) -> list[ServiceDeployment]:
        """Service deployments by ARN, those that ECS knows."""
        return self._detail([{"serviceDeploymentArn": arn} for arn in dict.fromkeys(arns) if arn])

    def last_stop(self, cluster: str, name: str, deployment_id: str | None) -> str:
        """Why the newest stopped task of a deployment stopped, in ECS's words; "" when none is in sight.

        ECS shows stopped tasks for about an hour.
        """
        arns = self._client.list_tasks(
            cluster=cluster, serviceName=name, desiredStatus="STOPPED", maxResults=100
        )
        if not arns.get("taskArns"):
            return ""
        tasks = self._client.describe_tasks(cluster=cluster, tasks=arns["taskArns"][:100]).get("tasks", ())
        ours = [t for t in tasks if deployment_id is None or t.get("startedBy") == deployment_id]
        if not ours:
            return ""
        last = max(ours, key=lambda task: str(task.get("stoppedAt", "")))
        containers = [
            f"{c['name']} exit code {c['exitCode']}" if "exitCode" in c else f"{c['name']}: {c['reason']}"
            for c in last.get("containers", ())
            if c.get("exitCode") not in (None, 0) or c.get("reason")
        ]
        return "; ".join(filter(None, [str(last.get("stoppedReason", "")), *containers]))

    def _briefs(
        self,
        cluster: str,
        name: str,
        *,
        status: Sequence[ServiceDeploymentStatusType] = (),
        since: datetime | None = None,
    ) -> list[ServiceDeploymentBriefTypeDef]:
        """Newest first. All pages are read, because AWS documents no order of them."""
        briefs: list[ServiceDeploymentBriefTypeDef] = []
        request: ListServiceDeploymentsRequestTypeDef = {
            "cluster": cluster,
            "service": name,
            "maxResults": 100,
        }
        if status:
            request["status"] = status
        if since:
            request["createdAt"] = {"after": since}
        while True:
            try:
                answer = self._client.list_service_deployments(**request)
            except ClientError as error:
                if error_code(error) == "InvalidParameterException" and _TOO_LONG_AGO in explain(error):
                    return []
                raise
            briefs += answer.get("serviceDeployments", [])
            if not answer.get("nextToken"):
                return sorted(briefs, key=lambda brief: brief["createdAt"], reverse=True)
            request["nextToken"] = answer["nextToken"]

    def _detail(self, briefs: Sequence[ServiceDeploymentBriefTypeDef]) -> list[ServiceDeployment]:
        if not briefs:
            return []
        arns = [str(brief["serviceDeploymentArn"]) for brief in briefs][:20]
        described = {
            d["serviceDeploymentArn"]: d
            for d in self._client.describe_service_deployments(serviceDeploymentArns=arns)[
                "serviceDeployments"
            ]
        }
        revisions = sorted(
            filter(None, {arn for d in described.values() for arn in (*_revisions(d), *_sources(d))})
        )
        runs = {
            r["serviceRevisionArn"]: r["taskDefinition"]
            for start in range(0, len(revisions), _REVISIONS_MOST)
            for r in self._client.describe_service_revisions(
                serviceRevisionArns=revisions[start : start + _REVISIONS_MOST]
            )["serviceRevisions"]
        }
        details = []
        for arn in arns:
            body = described.get(arn)
            if body is None:
                continue
            target, back = _revisions(body)
            reason = body.get("rollback", {}).get("reason") or body.get("statusReason") or ""
            details.append(
                ServiceDeployment(
                    arn,
                    str(body["status"]),
                    runs.get(target, ""),
                    str(reason),
                    runs.get(back, ""),
                    revision=target,
                    rollback_revision=back,
                    sources=tuple(runs.get(source, "") for source in _sources(body)),
                )
            )
        return details


def _revisions(deployment: ServiceDeploymentTypeDef) -> tuple[str, str]:
    """The service revision that is deployed, and the one that ECS's rollback goes to; "" for none."""
    return (
        deployment.get("targetServiceRevision", {}).get("arn", ""),
        deployment.get("rollback", {}).get("serviceRevisionArn", ""),
    )


def _sources(deployment: ServiceDeploymentTypeDef) -> list[str]:
    """The service revisions that were deployed when it began."""
    return [str(entry.get("arn", "")) for entry in deployment.get("sourceServiceRevisions", ())]


_FINAL = frozenset(
    {
        "AccessDeniedException",
        "ClientException",
        "ClusterNotFoundException",
        "InvalidParameterException",
        "NamespaceNotFoundException",
        "PlatformTaskDefinitionIncompatibilityException",
        "PlatformUnknownException",
        "ServiceNotActiveException",
        "ServiceNotFoundException",
        "UnsupportedFeatureException",
    }
)


def in_tens(names: Sequence[str]) -> Iterator[Sequence[str]]:
    """DescribeServices takes at most ten services a call."""
    for start in range(0, len(names), DESCRIBE_SERVICES_MOST):
        yield names[start : start + DESCRIBE_SERVICES_MOST]
