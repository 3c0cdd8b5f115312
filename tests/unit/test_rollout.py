"""The verdict on a rollout, rule by rule."""

from __future__ import annotations

from typing import Any

import pytest
from ecs_release.aws.service_deployments import ServiceDeployment
from ecs_release.aws.service_state import ServiceState
from ecs_release.record.statuses import Status
from ecs_release.rollout.judge import Judgement, Rollout, judge
from hypothesis import given
from hypothesis import strategies as st

OLD, NEW, OTHER = (f"arn:aws:ecs:eu-west-1:111111111111:task-definition/api:{n}" for n in (1, 2, 3))
OURS = "ecs-svc/2"


def rollout(
    age: float = 10, timeout: float = 600, task_definition: str = NEW, deployment: str = OURS
) -> Rollout:
    return Rollout(deployment, task_definition, age, timeout)


def deployment(
    id: str = OURS,
    status: str = "PRIMARY",
    task_definition: str = NEW,
    state: str | None = "IN_PROGRESS",
    reason: str = "",
) -> dict[str, Any]:
    body: dict[str, Any] = {
        "id": id,
        "status": status,
        "taskDefinition": task_definition,
        "rolloutStateReason": reason,
    }
    return body if state is None else {**body, "rolloutState": state}


def service(
    *deployments: Any, desired: int = 2, status: str = "ACTIVE", rollback: bool = False
) -> ServiceState:
    breaker = {"enable": True, "rollback": rollback}
    return ServiceState(
        {
            "status": status,
            "desiredCount": desired,
            "taskDefinition": deployments[0]["taskDefinition"] if deployments else NEW,
            "deployments": list(deployments),
            "deploymentConfiguration": {"deploymentCircuitBreaker": breaker},
        }
    )


def history(status: str, task_definition: str = NEW, reason: str = "") -> list[ServiceDeployment]:
    return [ServiceDeployment("arn:sd/1", status, task_definition, reason)]


def test_of_an_unchanged_service_the_last_deployment_counts() -> None:
    # Somebody deployed the same revision again, seconds after another deployment of it.
    seen = [*history("STOPPED"), *history("SUCCESSFUL")]
    now = service(deployment(state=None))
    found = Rollout(OURS, NEW, 10, 600, found=True)
    assert judge(found, now, seen) == Judgement(Status.SUCCEEDED)
    assert judge(rollout(), now, seen).status is Status.FAILED


def test_our_own_deployment_completed_is_success() -> None:
    assert judge(rollout(), service(deployment(state="COMPLETED"))) == Judgement(Status.SUCCEEDED)


def test_in_progress_is_no_verdict_until_the_deadline() -> None:
    assert judge(rollout(age=599), service(deployment())).status is None
    late = judge(rollout(age=600), service(deployment()))
    assert late == Judgement(Status.TIMED_OUT, "not completed within 10 minutes")


def test_failed_without_automatic_rollback_is_failed_with_ecs_reason() -> None:
    state = service(deployment(state="FAILED", reason="tasks failed to start"))
    assert judge(rollout(), state) == Judgement(Status.FAILED, "tasks failed to start")


def test_stable_after_a_rollback_is_not_success() -> None:
    """What the services_stable waiter calls success: one deployment, all tasks running, but of the old revision."""
    state = service(deployment("ecs-svc/3", task_definition=OLD, state="COMPLETED"), rollback=True)
    assert judge(rollout(), state).needs_history
    verdict = judge(
        rollout(), state, history("ROLLBACK_SUCCESSFUL", reason="circuit breaker: 3 tasks failed")
    )
    assert verdict == Judgement(Status.ROLLED_BACK_BY_ECS, "circuit breaker: 3 tasks failed")


def test_a_service_deployment_that_is_not_visible_yet_is_no_verdict() -> None:
    state = service(deployment("ecs-svc/3", task_definition=OLD, state="COMPLETED"))
    assert judge(rollout(), state, []).status is None
    assert judge(rollout(age=601), state, []).status is Status.SUPERSEDED


def test_another_deployment_meanwhile_is_superseded_with_its_arn() -> None:
    state = service(deployment("ecs-svc/3", task_definition=OTHER))
    verdict = judge(rollout(), state, history("STOPPED"))
    assert verdict.status is Status.SUPERSEDED
    assert OTHER in verdict.reason
    assert "ecs-svc/3" in verdict.reason


def test_the_same_revision_deployed_again_by_somebody_is_superseded() -> None:
    state = service(deployment("ecs-svc/3", task_definition=NEW))
    verdict = judge(rollout(), state, [*history("STOPPED"), *history("IN_PROGRESS")])
    assert verdict.status is Status.SUPERSEDED
    assert "deployed again" in verdict.reason


def test_ours_completed_before_somebody_deployed_again_is_success() -> None:
    state = service(deployment("ecs-svc/3", task_definition=OTHER))
    assert judge(rollout(), state, history("SUCCESSFUL")).status is Status.SUCCEEDED


@pytest.mark.parametrize(
    "deployments",
    [
        [deployment(state="COMPLETED")],
        [deployment(state="IN_PROGRESS")],
        [
            deployment("ecs-svc/1", task_definition=OLD, state="COMPLETED")
        ],  # an answer that lags behind our write
        [
            deployment("ecs-svc/3", task_definition=OTHER),
            deployment(status="ACTIVE", state="COMPLETED"),
        ],  # somebody deployed
        [deployment(state=None)],  # a strategy without rolloutState
    ],
    ids=["completed", "in progress", "lagging", "replaced", "no rollout state"],
)
def test_desired_count_zero_is_unverified_whatever_ecs_calls_successful(
    deployments: list[dict[str, Any]],
) -> None:
    judged = judge(rollout(), service(*deployments, desired=0), history("SUCCESSFUL"))
    assert judged.status is Status.UNVERIFIED
    running = judge(rollout(), service(*deployments, desired=1), history("SUCCESSFUL"))
    assert running.status in (Status.SUCCEEDED, None)


@pytest.mark.parametrize(
    "gone", [None, service(deployment(), status="INACTIVE"), service(deployment(), status="DRAINING")]
)
def test_a_deleted_service_is_failed(gone: ServiceState | None) -> None:
    assert judge(rollout(), gone).status is Status.FAILED


@pytest.mark.parametrize(
    ("status", "verdict"),
    [
        ("PENDING", None),
        ("IN_PROGRESS", None),
        ("SUCCESSFUL", Status.SUCCEEDED),
        ("STOPPED", Status.FAILED),
        ("ROLLBACK_IN_PROGRESS", None),
        ("ROLLBACK_SUCCESSFUL", Status.ROLLED_BACK_BY_ECS),
        ("ROLLBACK_FAILED", Status.FAILED),
    ],
)
def test_a_strategy_without_rollout_state_is_judged_by_its_service_deployment(
    status: str, verdict: Status | None
) -> None:
    state = service(deployment(state=None))
    assert judge(rollout(), state).needs_history
    assert judge(rollout(), state, history(status)).status is verdict


def test_failed_while_ecs_is_about_to_roll_back_waits_for_its_end() -> None:
    state = service(deployment(state="FAILED", reason="broke"), rollback=True)
    assert judge(rollout(), state, history("ROLLBACK_IN_PROGRESS")).status is None
    assert judge(rollout(), state, []).status is None
    assert judge(rollout(age=601), state, []) == Judgement(Status.FAILED, "broke")


@pytest.mark.parametrize(
    ("status", "verdict"),
    [
        ("ROLLBACK_IN_PROGRESS", None),
        ("ROLLBACK_SUCCESSFUL", Status.SUCCEEDED),
        ("ROLLBACK_FAILED", Status.FAILED),
    ],
)
def test_what_ecs_put_back_itself_is_proven_by_the_service_deployment_that_failed(
    status: str, verdict: Status | None
) -> None:
    state = service(deployment("ecs-svc/3", task_definition=OLD, state=None))
    back = rollout(task_definition=OLD, deployment="ecs-svc/3")
    failed = [ServiceDeployment("arn:sd/2", status, NEW, "broke", OLD)]
    assert judge(back, state, failed).status is verdict


# By the number of a service revision, of the deployment that the release found, or of nothing that ECS tells of: it may be an
# old deployment that was promoted, or a new one (https://github.com/aws/copilot-cli/issues/4838).
@pytest.mark.parametrize("primary", [OURS, "ecs-svc/1", "ecs-svc/3", "ecs-svc/9"])
@pytest.mark.parametrize("gave_up", [NEW, OTHER])
@pytest.mark.parametrize("state", ["COMPLETED", None], ids=["ROLLING", "another strategy"])
@pytest.mark.parametrize(
    ("status", "verdict"),
    [
        ("ROLLBACK_REQUESTED", None),
        ("ROLLBACK_IN_PROGRESS", None),
        ("ROLLBACK_SUCCESSFUL", Status.SUCCEEDED),
        ("ROLLBACK_FAILED", Status.FAILED),
    ],
)
def test_an_unchanged_service_is_well_where_ecs_went_back_to_what_it_runs(
    status: str, verdict: Status | None, state: str | None, gave_up: str, primary: str
) -> None:
    """Also where ECS went back from the very revision to which it went back."""
    revision = "arn:aws:ecs:eu-west-1:111111111111:service-revision/shop/api"
    before = ServiceDeployment("arn:sd/1", "ROLLBACK_FAILED", gave_up, "broke", NEW)
    last = ServiceDeployment(
        *("arn:sd/2", status, gave_up, "broke", NEW),
        revision=f"{revision}/2",
        rollback_revision=f"{revision}/1",
    )
    now = service(deployment(primary, state=state))
    found = Rollout(OURS, NEW, 10, 600, found=True)
    judged = judge(found, now, [before, last])
    assert judged.status is (Status.SUCCEEDED if state and primary == OURS else verdict)
    late = judge(Rollout(OURS, NEW, 601, 600, found=True), now, [before, last])
    assert late.status is not None
    assert late.status is not Status.ROLLED_BACK_BY_ECS


_DEPLOYMENTS = st.lists(
    st.builds(
        deployment,
        id=st.sampled_from([OURS, "ecs-svc/1", "ecs-svc/3"]),
        status=st.sampled_from(["PRIMARY", "ACTIVE", "INACTIVE"]),
        task_definition=st.sampled_from([OLD, NEW, OTHER]),
        state=st.sampled_from([None, "IN_PROGRESS", "COMPLETED", "FAILED"]),
    ),
    max_size=3,
)
_HISTORY = st.lists(
    st.builds(
        ServiceDeployment,
        st.just("arn:sd/1"),
        st.sampled_from(
            ["PENDING", "IN_PROGRESS", "SUCCESSFUL", "STOPPED", "STOP_REQUESTED", "ROLLBACK_SUCCESSFUL"]
        ),
        st.sampled_from([OLD, NEW, OTHER]),
    ),
    max_size=3,
)


@given(
    st.none()
    | st.builds(
        lambda d, status: service(*d, status=status), _DEPLOYMENTS, st.sampled_from(["ACTIVE", "INACTIVE"])
    ),
    st.none() | _HISTORY,
    st.sampled_from([10.0, 700.0]),
)
def test_that_somebody_else_was_there_or_the_service_is_gone_is_never_proved_by_one_look(
    state: ServiceState | None, seen: list[ServiceDeployment] | None, age: float
) -> None:
    """A read that lags behind our own write shows what was live before it."""
    verdict = judge(rollout(age=age), state, seen)
    gone = state is None or state.status != "ACTIVE"
    assert verdict.needs_second_look == (verdict.status is Status.SUPERSEDED or gone)


SCALED_DOWN = [
    (deployment(state="FAILED", reason="circuit breaker"), Status.FAILED),
    ({**deployment(state="FAILED", reason="circuit breaker"), "failedTasks": 12}, Status.FAILED),
    ({**deployment(state="IN_PROGRESS"), "failedTasks": 12}, None),
    ({**deployment(state="COMPLETED"), "failedTasks": 12}, Status.UNVERIFIED),
    (deployment(state="COMPLETED"), Status.UNVERIFIED),
    (deployment(state="IN_PROGRESS"), Status.UNVERIFIED),
]


@pytest.mark.parametrize(("seen", "status"), SCALED_DOWN)
def test_a_service_scaled_to_nothing_is_not_excused_from_what_its_tasks_did_before(
    seen: dict[str, Any], status: Status | None
) -> None:
    judged = judge(rollout(), service(seen, desired=0))
    assert judged.status is status
    if status is Status.UNVERIFIED:
        assert ("12 of its tasks failed" in judged.reason) == ("failedTasks" in seen)


@pytest.mark.parametrize(
    ("ended", "status"),
    [
        ("ROLLBACK_SUCCESSFUL", Status.ROLLED_BACK_BY_ECS),
        ("ROLLBACK_FAILED", Status.FAILED),
        ("STOPPED", Status.FAILED),
        ("SUCCESSFUL", Status.UNVERIFIED),
        ("IN_PROGRESS", Status.UNVERIFIED),
        ("ROLLBACK_REQUESTED", None),
        ("ROLLBACK_IN_PROGRESS", None),
        ("STOP_REQUESTED", None),
    ],
)
def test_nor_from_what_ecs_says_of_its_service_deployment(ended: str, status: Status | None) -> None:
    found = service(deployment(state=None), desired=0)
    assert judge(rollout(), found).needs_history
    assert judge(rollout(), found, history(ended)).status is status


def test_what_fails_until_the_deadline_while_nothing_is_wanted_has_timed_out() -> None:
    found = service({**deployment(), "failedTasks": 3}, desired=0)
    assert judge(rollout(age=600), found).status is Status.TIMED_OUT


def test_an_alarm_that_has_ecs_go_back_is_no_failed_task() -> None:
    """FAILED for an alarm: https://docs.aws.amazon.com/AmazonECS/latest/developerguide/deployment-alarm-failure.html."""
    found = service(deployment(state="FAILED"), desired=0, rollback=True)
    assert judge(rollout(), found).needs_history
    assert judge(rollout(), found, history("ROLLBACK_IN_PROGRESS")).status is None
    assert judge(rollout(), found, history("ROLLBACK_SUCCESSFUL")).status is Status.ROLLED_BACK_BY_ECS
