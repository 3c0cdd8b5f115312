"""ECS services: what ECS says of them and of their deployments, and the one write a release makes to a service."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from ecs_release.aws.answers import entries, mapping, text, understanding
from ecs_release.aws.clients import Connections
from ecs_release.aws.raw import RAW, completed
from ecs_release.aws.service_deployments import ServiceDeployment, as_told, revisions_of
from ecs_release.aws.service_revisions import REVISIONS_MOST, ServiceRevision
from ecs_release.aws.service_state import ServiceState
from ecs_release.aws.stopped_tasks import StoppedTask
from ecs_release.aws.trouble import error_code, explain, refused
from ecs_release.errors import MissingError, OddAnswerError, RefusedError
from ecs_release.observability import logger

if TYPE_CHECKING:
    from mypy_boto3_ecs import ECSClient
    from mypy_boto3_ecs.literals import ServiceDeploymentStatusType
    from mypy_boto3_ecs.type_defs import (
        ListServiceDeploymentsRequestTypeDef,
        ServiceDeploymentBriefTypeDef,
    )

DESCRIBE_SERVICES_MOST = 10
"""https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_DescribeServices.html"""

# ListServiceDeployments refuses a filter that reaches back further than three months, and a service that was not deployed
# for so long also without one (https://github.com/hashicorp/terraform-provider-aws/issues/43445).
_HISTORY = timedelta(days=88)
_TOO_LONG_AGO = "must be within the last"
CLOCK_SKEW_SECONDS = 5
"""How far AWS's clock may be ahead of ours, where a record of ours says since when AWS's are to be read."""


class Services:
    """The services of one target."""

    def __init__(self, connections: Connections, target: str) -> None:
        self._connections = connections
        self._target = target

    @property
    def _client(self) -> ECSClient:
        return self._connections.client(self._target, "ecs")

    def describe(self, cluster: str, names: Sequence[str]) -> dict[str, ServiceState | OddAnswerError]:
        """The services found, by name, asked for in tens; one that ECS does not have is just not in the answer.

        Of a missing cluster ECS says ClusterNotFoundException.

        In the place of a service of which nothing can be understood stands what is odd about it.
        """
        found: dict[str, ServiceState | OddAnswerError] = {}
        for chunk in in_tens(names):
            try:
                found |= self._describe(cluster, chunk)
            except OddAnswerError as error:
                # One of the ten, and botocore does not say which.
                found |= (
                    {chunk[0]: error}
                    if len(chunk) == 1
                    else {
                        name: state for one in chunk for name, state in self.describe(cluster, [one]).items()
                    }
                )
        return found

    def one(self, cluster: str, name: str) -> ServiceState | None:
        """One service; None when ECS does not have it.

        Raises
        ------
        OddAnswerError
            when nothing can be understood of it.
        """
        state = self.describe(cluster, [name]).get(name)
        if isinstance(state, OddAnswerError):
            raise state
        return state

    def _describe(self, cluster: str, names: Sequence[str]) -> dict[str, ServiceState | OddAnswerError]:
        parsed = self._client.describe_services(cluster=cluster, services=list(names))
        answer = completed(parsed, parsed.get(RAW))
        found: dict[str, ServiceState | OddAnswerError] = {}
        nameless = 0
        for body in entries(answer, "services"):
            try:
                name = text(body, "serviceName") or text(body, "serviceArn").rpartition("/")[2]
            except OddAnswerError:
                name = ""
            if not name:
                nameless += 1
                continue
            state = ServiceState(body)
            try:
                state.ensure_understood()
                found[name] = state
            except OddAnswerError as error:
                found[name] = error
        failed = {
            text(failure, "arn").rpartition("/")[2]: text(failure, "reason")
            for failure in entries(answer, "failures")
        }
        for name in names:
            # https://docs.aws.amazon.com/AmazonECS/latest/developerguide/api_failures_messages.html
            if name not in found and failed.get(name, "MISSING") != "MISSING":
                found[name] = OddAnswerError(f"ECS does not describe it: {failed[name]}")
            elif name not in found and (nameless or ("services" not in answer and name not in failed)):
                found[name] = OddAnswerError("ECS's answer does not say whether it has the service")
        return found

    def find(self, cluster: str, name: str) -> ServiceState:
        """One service.

        Raises
        ------
        MissingError
            when ECS knows no such service or no such cluster, or has it no longer ACTIVE.
        OddAnswerError
            when nothing can be understood of it.
        """
        try:
            state = self.one(cluster, name)
        except ClientError as error:
            if error_code(error) != "ClusterNotFoundException":
                raise
            raise MissingError(f"the cluster {cluster} is gone.") from error
        if state is None or state.status != "ACTIVE":
            raise MissingError(f"the service is {state.status if state else 'gone'}.")
        return state

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
        state = ServiceState(mapping(completed(answer, answer.get(RAW)), "service"))
        state.ensure_understood()
        return state

    def roll_back(self, service_deployment: str) -> bool:
        """Have ECS stop a service deployment and go back by itself, in one attempt; whether it takes that.

        It does not when the service deployment is over, is unknown, or may not be stopped with the role at hand, which may be that
        of an earlier version of this module. Safe to repeat: one that goes back already goes on with it
        (https://docs.aws.amazon.com/AmazonECS/latest/developerguide/stop-service-deployment.html).
        """
        client = self._connections.client(self._target, "ecs", retry=False)
        if not hasattr(client, "stop_service_deployment"):  # an SDK from before May 2025
            return False
        try:
            client.stop_service_deployment(serviceDeploymentArn=service_deployment, stopType="ROLLBACK")
        except ClientError as error:
            if error_code(error) not in _NOT_STOPPED:
                raise
            logger.warning("ECS does not stop it", extra={"reason": explain(error)})
            return False
        return True

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

    def deployments_since(
        self, cluster: str, name: str, since: datetime, *, by_number: bool = False
    ) -> list[ServiceDeployment]:
        """Service deployments created at or after ``since``, oldest first.

        One becomes visible some time after UpdateService returned, so absence says nothing.

        Parameters
        ----------
        by_number : their numbers are enough. Where the service revisions may not be read, what they run is "" then, and no error.
        """
        remembered = datetime.now(UTC) - _HISTORY
        briefs = self._briefs(cluster, name, since=max(since, remembered))
        return self._detail(list(reversed(briefs)), by_number=by_number)

    def service_deployments(self, arns: Iterable[str], *, by_number: bool = False) -> list[ServiceDeployment]:
        """Service deployments by ARN, those that ECS knows; see :meth:`deployments_since`."""
        briefs: list[ServiceDeploymentBriefTypeDef] = [
            {"serviceDeploymentArn": arn} for arn in dict.fromkeys(arns) if arn
        ]
        return self._detail(briefs, by_number=by_number)

    @understanding("service revisions")
    def revisions(self, arns: Sequence[str]) -> dict[str, ServiceRevision]:
        """Service revisions by ARN, twenty a call; one that ECS does not know is just not in the answer."""
        found: dict[str, ServiceRevision] = {}
        for start in range(0, len(arns), REVISIONS_MOST):
            answer = self._client.describe_service_revisions(
                serviceRevisionArns=list(arns[start : start + REVISIONS_MOST])
            )
            for body in answer.get("serviceRevisions") or ():
                found[str(body["serviceRevisionArn"])] = ServiceRevision.of(body)
        return found

    @understanding("what ECS says of its stopped tasks")
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
        return StoppedTask.of(max(ours, key=lambda task: str(task.get("stoppedAt", "")))).why

    @understanding("what ECS says of its stopped tasks")
    def failed_tasks(self, cluster: str, name: str, deployment_id: str, since: float) -> list[StoppedTask]:
        """Tasks of a deployment that failed since then (epoch seconds), oldest first: some of those that ECS still shows, or none.

        A page of a hundred at a time, because those of earlier deployments are among them.
        """
        pages = self._client.get_paginator("list_tasks").paginate(
            cluster=cluster, serviceName=name, desiredStatus="STOPPED"
        )
        for page in pages:
            if not page.get("taskArns"):
                continue
            tasks = self._client.describe_tasks(cluster=cluster, tasks=page["taskArns"]).get("tasks", ())
            stopped = map(StoppedTask.of, tasks)
            ours = [
                t for t in stopped if t.deployment == deployment_id and t.failed and t.stopped_at >= since
            ]
            if ours:
                return sorted(ours, key=lambda task: task.stopped_at)
        return []

    @understanding("ECS's record of its deployments")
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

    @understanding("ECS's record of its deployments")
    def _detail(
        self, briefs: Sequence[ServiceDeploymentBriefTypeDef], *, by_number: bool = False
    ) -> list[ServiceDeployment]:
        if not briefs:
            return []
        arns = [str(brief["serviceDeploymentArn"]) for brief in briefs][:20]
        answer = self._client.describe_service_deployments(serviceDeploymentArns=arns)
        described = {
            d["serviceDeploymentArn"]: d for d in completed(answer, answer.get(RAW))["serviceDeployments"]
        }
        try:
            found = self.revisions(sorted({arn for body in described.values() for arn in revisions_of(body)}))
        except ClientError as error:
            if not by_number or not (why := refused(error)):
                raise
            logger.warning("service revisions can't be read", extra={"reason": why})
            found = {}
        return [as_told(described[arn], found) for arn in arns if arn in described]


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


_NOT_STOPPED = frozenset(
    {
        "AccessDeniedException",
        "ClientException",
        "ConflictException",
        "InvalidParameterException",
        "ServiceDeploymentNotFoundException",
        "UnsupportedFeatureException",
    }
)


def in_tens(names: Sequence[str]) -> Iterator[Sequence[str]]:
    """DescribeServices takes at most ten services a call."""
    for start in range(0, len(names), DESCRIBE_SERVICES_MOST):
        yield names[start : start + DESCRIBE_SERVICES_MOST]
