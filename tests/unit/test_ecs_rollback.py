"""How a service goes back whose rollout is under way, and when ECS's own rollback is proven."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import ClientError
from ecs_release.aws.service_deployments import ServiceDeployment
from ecs_release.aws.service_state import ServiceState
from ecs_release.aws.services import Services
from ecs_release.record.statuses import Status
from ecs_release.rollout.back import WayBack, judge_rollback, way_back
from ecs_release.rollout.judge import Rollout
from hypothesis import given
from hypothesis import strategies as st

GOAL, NEW, OTHER = "api:1", "api:2", "api:3"
RUNNING = ["PENDING", "IN_PROGRESS"]
GOING_BACK = ["ROLLBACK_REQUESTED", "ROLLBACK_IN_PROGRESS"]
STATUSES = [
    *(*RUNNING, *GOING_BACK),
    *("SUCCESSFUL", "STOP_REQUESTED", "STOPPED", "ROLLBACK_SUCCESSFUL", "ROLLBACK_FAILED"),
]


def deployment(
    status: str, sources: tuple[str, ...] = (GOAL,), back: str | None = None, *, named: bool = True
) -> ServiceDeployment:
    rolled: Any = (
        {} if back is None else {"rolled_back_to": back if named else "", "rollback_revision": "revision:1"}
    )
    return ServiceDeployment("sd/1", status, NEW, "why", revision="revision:2", sources=sources, **rolled)


@given(
    st.sampled_from(STATUSES),
    st.lists(st.sampled_from([GOAL, OTHER, ""]), max_size=3).map(tuple),
    st.sampled_from([None, GOAL, OTHER, ""]),
)
def test_ecs_is_asked_only_where_it_must_lead_to_the_goal(
    status: str, sources: tuple[str, ...], back: str | None
) -> None:
    way = way_back(deployment(status, sources, back), GOAL)
    leads_there = bool(sources) and all(source == GOAL for source in sources)
    if status in RUNNING:
        assert way is (WayBack.STOP if leads_there else WayBack.UPDATE)
    elif status in (*GOING_BACK, "ROLLBACK_SUCCESSFUL"):
        known = back == GOAL if back is not None else leads_there and status in GOING_BACK
        assert way is (WayBack.WAIT if known else WayBack.UPDATE)
    else:
        assert way is WayBack.UPDATE


def test_what_ecs_does_not_show_is_no_reason_to_ask_it() -> None:
    assert way_back(None, GOAL) is WayBack.UPDATE


def service(live: str = NEW, status: str = "ACTIVE") -> ServiceState:
    primary = {"id": "ecs-svc/9", "status": "PRIMARY", "taskDefinition": live}
    return ServiceState({"status": status, "taskDefinition": live, "deployments": [primary]})  # type: ignore[typeddict-item]


def rollout(age: float = 10) -> Rollout:
    return Rollout("", GOAL, age, 600)


@pytest.mark.parametrize(
    ("found", "verdict"),
    [
        (deployment("ROLLBACK_SUCCESSFUL", back=GOAL), Status.SUCCEEDED),
        (deployment("ROLLBACK_SUCCESSFUL", back=OTHER), Status.FAILED),
        (deployment("ROLLBACK_SUCCESSFUL", back=GOAL, named=False), Status.FAILED),
        (deployment("ROLLBACK_SUCCESSFUL"), Status.FAILED),
        (deployment("ROLLBACK_FAILED", back=GOAL), Status.FAILED),
        (deployment("SUCCESSFUL"), Status.FAILED),
        (deployment("STOPPED"), Status.SUPERSEDED),
        (deployment("IN_PROGRESS"), None),
        (deployment("ROLLBACK_REQUESTED"), None),
        (deployment("ROLLBACK_IN_PROGRESS", back=GOAL), None),
        (None, None),
    ],
)
def test_only_a_rollback_that_ended_at_the_goal_is_proof(
    found: ServiceDeployment | None, verdict: Status | None
) -> None:
    assert judge_rollback(rollout(), service(), found).status is verdict
    late = judge_rollback(rollout(age=600), service(), found).status
    assert late is (verdict or Status.TIMED_OUT)


@pytest.mark.parametrize("gone", [None, service(status="INACTIVE")])
def test_a_service_that_is_gone_is_not_back(gone: ServiceState | None) -> None:
    judged = judge_rollback(rollout(), gone, deployment("ROLLBACK_SUCCESSFUL", back=GOAL))
    assert (judged.status, judged.needs_second_look) == (Status.FAILED, True)


class Ecs:
    def __init__(self, code: str | None) -> None:
        self.code, self.asked = code, []  # type: ignore[var-annotated]

    def client(self, *_: object, retry: bool = True) -> Ecs:
        assert not retry
        return self

    def stop_service_deployment(self, **asked: object) -> None:
        self.asked.append(asked)
        if self.code is not None:
            raise ClientError({"Error": {"Code": self.code, "Message": "no"}}, "StopServiceDeployment")


@pytest.mark.parametrize(
    ("code", "taken"),
    [
        (None, True),
        ("ConflictException", False),
        ("ServiceDeploymentNotFoundException", False),
        ("AccessDeniedException", False),
        ("UnsupportedFeatureException", False),
    ],
)
def test_whether_ecs_takes_the_stop_is_told(code: str | None, taken: bool) -> None:
    ecs = Ecs(code)
    assert Services(ecs, "default").roll_back("sd/1") is taken  # type: ignore[arg-type]
    assert ecs.asked == [{"serviceDeploymentArn": "sd/1", "stopType": "ROLLBACK"}]


@pytest.mark.parametrize("code", ["ThrottlingException", "ServerException"])
def test_passing_trouble_says_nothing_of_it(code: str) -> None:
    with pytest.raises(ClientError):
        Services(Ecs(code), "default").roll_back("sd/1")  # type: ignore[arg-type]


def test_an_sdk_that_does_not_know_the_call_is_not_asked() -> None:
    class Older:
        def client(self, *_: object, **__: object) -> object:
            return object()

    assert Services(Older(), "default").roll_back("sd/1") is False  # type: ignore[arg-type]
