"""What ECS's own record of deployments says, as AWS really answers."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError
from ecs_release.aws.service_deployments import ServiceDeployment
from ecs_release.aws.services import Services

NOW = datetime.now(UTC)


class Ecs:
    """Service deployments in pages of one, in no order, with AWS's limit of three months."""

    def __init__(self, deployments: list[dict[str, Any]], *, too_long_ago: bool = False) -> None:
        self.deployments = deployments
        self.too_long_ago = too_long_ago

    def client(self, target: str, service: str, **_: Any) -> Ecs:
        return self

    def list_service_deployments(self, **asked: Any) -> dict[str, Any]:
        after = asked.get("createdAt", {}).get("after")
        if self.too_long_ago or (after is not None and after < NOW - timedelta(days=89)):
            message = "Before and After time filter must be within the last 3 months."
            error = {"Code": "InvalidParameterException", "Message": message}
            raise ClientError({"Error": error}, "ListServiceDeployments")
        place = int(asked.get("nextToken", 0))
        more = {"nextToken": str(place + 1)} if place + 1 < len(self.deployments) else {}
        return {"serviceDeployments": self.deployments[place : place + 1], **more}

    def describe_service_deployments(self, serviceDeploymentArns: list[str]) -> dict[str, Any]:
        found = [d for d in self.deployments if d["serviceDeploymentArn"] in serviceDeploymentArns]
        return {"serviceDeployments": found}

    def describe_service_revisions(self, serviceRevisionArns: list[str]) -> dict[str, Any]:
        assert len(serviceRevisionArns) <= 20
        return {
            "serviceRevisions": [
                {"serviceRevisionArn": arn, "taskDefinition": arn.replace("revision", "api")}
                for arn in serviceRevisionArns
            ]
        }


def deployment(number: int, days: int, **more: Any) -> dict[str, Any]:
    return {
        "serviceDeploymentArn": f"sd/{number}",
        "createdAt": NOW - timedelta(days=days),
        "status": "SUCCESSFUL",
        "targetServiceRevision": {"arn": f"revision:{number}"},
        **more,
    }


def services(ecs: Ecs) -> Services:
    return Services(ecs, "default")  # type: ignore[arg-type]


def test_the_newest_deployment_is_found_on_whatever_page_it_stands() -> None:
    found = services(Ecs([deployment(1, 3), deployment(3, 1), deployment(2, 2)])).newest_successful("c", "s")
    assert found == ServiceDeployment("sd/3", "SUCCESSFUL", "api:3", revision="revision:3")


def test_a_service_that_was_not_deployed_for_months_has_no_history() -> None:
    old = services(Ecs([], too_long_ago=True))
    assert old.newest_successful("c", "s") is None
    assert old.deployments_since("c", "s", NOW - timedelta(days=400)) == []


def test_a_filter_never_reaches_back_further_than_ecs_allows() -> None:
    found = services(Ecs([deployment(1, 2)])).deployments_since("c", "s", NOW - timedelta(days=400))
    assert [entry.arn for entry in found] == ["sd/1"]


def test_where_ecs_rolled_back_to_is_told() -> None:
    rolled_back = deployment(
        2, 1, status="ROLLBACK_SUCCESSFUL", rollback={"reason": "broke", "serviceRevisionArn": "revision:1"}
    )
    found = services(Ecs([rolled_back])).newest("c", "s")
    assert found == ServiceDeployment(
        *("sd/2", "ROLLBACK_SUCCESSFUL", "api:2", "broke", "api:1"),
        revision="revision:2",
        rollback_revision="revision:1",
    )


def test_what_ran_when_a_deployment_began_is_told() -> None:
    sources = [{"arn": "revision:1"}, {"arn": "revision:7"}]
    found = services(Ecs([deployment(2, 1, sourceServiceRevisions=sources)])).newest("c", "s")
    assert found is not None
    assert found.sources == ("api:1", "api:7")


def test_twenty_revisions_are_asked_for_at_a_time() -> None:
    many = [deployment(n, 1, rollback={"serviceRevisionArn": f"revision:{n + 100}"}) for n in range(20)]
    assert len(services(Ecs(many)).deployments_since("c", "s", NOW - timedelta(days=2))) == 20


def test_another_refusal_is_not_taken_for_an_empty_history() -> None:
    class Refusing(Ecs):
        def list_service_deployments(self, **asked: Any) -> dict[str, Any]:
            error = {"Code": "InvalidParameterException", "Message": "Identifier is too long."}
            raise ClientError({"Error": error}, "ListServiceDeployments")

    with pytest.raises(ClientError):
        services(Refusing([])).newest("c", "s")


@pytest.mark.parametrize("code", ["AccessDeniedException", "ThrottlingException"])
def test_a_rollout_is_told_by_its_number_where_service_revisions_may_not_be_read(code: str) -> None:
    """Its verdict needs no more; what else asks what a deployment runs is told that nobody knows. A throttle passes."""

    class Refusing(Ecs):
        def describe_service_revisions(self, serviceRevisionArns: list[str]) -> dict[str, Any]:
            raise ClientError({"Error": {"Code": code, "Message": "no"}}, "DescribeServiceRevisions")

    told = services(Refusing([deployment(2, 1)]))
    since = NOW - timedelta(days=2)
    if code == "AccessDeniedException":
        for found in (
            told.deployments_since("c", "s", since, by_number=True),
            told.service_deployments(["sd/2"], by_number=True),
        ):
            assert found == [ServiceDeployment("sd/2", "SUCCESSFUL", "", revision="revision:2")]
    else:
        with pytest.raises(ClientError):
            told.deployments_since("c", "s", since, by_number=True)
    with pytest.raises(ClientError):
        told.deployments_since("c", "s", since)
    with pytest.raises(ClientError):
        told.newest_successful("c", "s")
