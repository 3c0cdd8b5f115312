"""What a person should know before approving: each warning and each block of a plan, and when it is silent."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from ecs_release.aws.registry import RegistryImage
from ecs_release.aws.service_state import ServiceState
from ecs_release.aws.task_definitions import TaskDefinition, outline
from ecs_release.manifest import Service
from ecs_release.plan.decide import PlannedItem, make_plan
from ecs_release.plan.document import differences, plan_document
from ecs_release.plan.live import Live

ARN = "arn:aws:ecs:eu-west-1:111111111111:task-definition/api:7"
BREAKER = {"deploymentCircuitBreaker": {"enable": True, "rollback": True}}
DIGEST = "sha256:" + "a" * 64


def decide(
    to: str = "api:1.1",
    live: str = "api:1.0",
    *,
    service: dict[str, Any] | None = None,
    body: dict[str, Any] | None = None,
    registry: RegistryImage | None = None,
    hold: dict[str, Any] | None = None,
    timeout: int = 60,
    ignore: tuple[str, ...] = (),
    **more: Any,
) -> PlannedItem:
    """The plan of one service with a circuit breaker and a completed deployment."""
    state: Any = {
        "status": "ACTIVE",
        "desiredCount": 1,
        "taskDefinition": ARN,
        "deploymentConfiguration": BREAKER,
        "loadBalancers": [{"targetGroupArn": "tg"}],
        "deployments": [{"id": "ecs-svc/1", "status": "PRIMARY"}],
        **(service or {}),
    }
    definition = TaskDefinition(
        {
            "taskDefinitionArn": ARN,
            "family": "api",
            "revision": 7,
            "containerDefinitions": [{"name": "api", "image": live}],
            **(body or {}),
        }
    )
    found = Live(
        service=ServiceState(state),
        definition=definition,
        **{"completed": ARN, "registry": {to: registry or RegistryImage(DIGEST)}, **more},
    )
    item = Service(
        images={"api": to}, exact=False, cluster="c", service="api", timeout_minutes=timeout, ignore=ignore
    )
    holds = {("default", "service", "c/api"): hold} if hold else {}
    (planned,) = make_plan([item], [found], None, holds)
    return planned


def codes(planned: PlannedItem) -> list[str]:
    return [finding.code for finding in planned.findings]


def test_a_sound_change_has_no_warnings() -> None:
    assert decide().warnings == ()


@pytest.mark.parametrize(
    ("live", "to"),
    [
        ("api:1.10", "api:1.9"),
        ("api:v2.0.0", "api:v1.9.9"),
        ("r.example:5000/api:2", "r.example:5000/api:1"),
        ("api:1.0.1", "api:1.0"),
    ],
)
def test_a_downgrade_is_said(live: str, to: str) -> None:
    old, new = live.rpartition(":")[2], to.rpartition(":")[2]
    assert f"downgrade: {old} -> {new}; make sure that it is meant." in decide(to, live).warnings


@pytest.mark.parametrize(
    ("live", "to"),
    [
        ("api:1.9", "api:1.10"),
        ("api:1.0", "api:a1b2c3d"),
        ("api:latest", "api:1.0"),
        ("api:2.0", f"api@{DIGEST}"),
        ("api:1.0-rc1", "api:1.0"),
    ],
)
def test_what_is_no_downgrade_or_can_not_be_told_is_silent(live: str, to: str) -> None:
    assert decide(to, live).warnings == ()


def test_a_movable_tag_is_said_and_its_digest_is_noted() -> None:
    planned = decide(registry=RegistryImage(DIGEST, movable=True))
    assert codes(planned) == ["W223"]
    assert planned.images["api"]["digest"] == DIGEST


def test_a_service_without_circuit_breaker_is_said() -> None:
    assert codes(decide(service={"deploymentConfiguration": {}})) == ["W240"]


def test_a_strategy_that_has_none_is_not_blamed_for_it() -> None:
    assert decide(service={"deploymentConfiguration": {"strategy": "BLUE_GREEN"}}).warnings == ()


def test_no_way_back_is_said_and_the_document_says_it_as_a_whole() -> None:
    planned = decide(completed=None)
    assert codes(planned) == ["W241"]
    assert plan_document([planned], "rollback")["wayBack"] is False
    assert plan_document([decide()], "rollback")["wayBack"] is True


def test_no_way_back_of_what_does_not_change_matters_to_nobody() -> None:
    assert plan_document([decide("api:1.0", completed=None)], "rollback")["wayBack"] is True


def test_desired_count_0_is_said() -> None:
    (warning,) = decide(service={"desiredCount": 0}).warnings
    assert "can't be proven" in warning


def test_a_registry_that_can_not_tell_is_a_warning_and_a_missing_image_blocks() -> None:
    assert decide(registry=RegistryImage(untold="AccessDenied: no")).warnings == (
        "ECR can't tell all about api:1.1 (AccessDenied: no); look it up yourself.",
    )
    planned = decide(registry=RegistryImage(missing="ImageNotFound"))
    assert planned.action == "blocked"
    assert planned.problems == (
        "ECR has no image api:1.1 (ImageNotFound); push it first, or correct its name.",
    )


def test_an_image_for_another_architecture_blocks() -> None:
    intel = RegistryImage(DIGEST, platforms=("linux/amd64",))
    assert codes(decide(registry=intel, service={"launchType": "FARGATE"})) == []
    planned = decide(registry=intel, body={"runtimePlatform": {"cpuArchitecture": "ARM64"}})
    assert planned.action == "blocked"
    assert planned.problems == (
        "api:1.1 was built for linux/amd64, and its tasks run on linux/arm64; build it for that platform, or name another "
        "image.",
    )


def test_a_role_that_may_not_be_passed_on_blocks() -> None:
    roles = {"taskRoleArn": "arn:aws:iam::111111111111:role/api", "executionRoleArn": "ecsTaskExecutionRole"}
    allowed = ("arn:aws:iam::111111111111:role/a*",)
    assert decide(body=roles).action == "update"  # not known: IAM has the word
    assert decide(body=roles, passable=allowed).action == "update"
    planned = decide(body=roles, passable=("arn:aws:iam::111111111111:role/b*",))
    assert planned.problems == (
        f"the deployment role may not pass {roles['taskRoleArn']} on; add it to passable_role_arns.",
    )


def test_what_a_rollback_by_hand_undid_is_not_put_back() -> None:
    planned = decide(hold={"images": {"api": "api:1.1"}, "release": "back-1"})
    assert planned.action == "blocked"
    assert "ecs-release unhold c/api" in planned.problems[0]
    assert decide("api:1.2", hold={"images": {"api": "api:1.1"}, "release": "back-1"}).action == "update"


def test_all_that_is_wrong_with_an_item_is_said_at_once() -> None:
    planned = decide(
        registry=RegistryImage(missing="ImageNotFound"),
        body={"taskRoleArn": "arn:aws:iam::111111111111:role/api"},
        passable=("arn:aws:iam::111111111111:role/b*",),
    )
    assert len(planned.problems) == 2


# --- what has changed since a plan was made ------------------------------------------------------------------------


def since(before: PlannedItem, now: PlannedItem) -> list[str]:
    return differences(plan_document([before], "rollback"), plan_document([now], "rollback"))


def test_an_image_that_is_gone_since_is_said_in_its_own_words() -> None:
    known = decide(registry=RegistryImage(DIGEST))
    assert since(known, decide(registry=RegistryImage(missing="ImageNotFound"))) == [
        "c/api: was update, is blocked (ECR has no image api:1.1 (ImageNotFound); push it first, "
        "or correct its name.)"
    ]


def test_a_tag_that_can_not_be_checked_any_more_is_said_so() -> None:
    known = decide(registry=RegistryImage(DIGEST))
    unknown = decide(registry=RegistryImage(untold="AccessDenied: no"))
    assert since(known, unknown) == ["c/api: ECR can't tell any more what the tag of api:1.1 means"]
    assert since(unknown, known) == [
        "c/api: the tag of api:1.1 means sha256:aaaaaaaaaaaa now; the plan could not tell"
    ]


def test_a_rollout_that_completed_since_changes_nothing_that_was_approved() -> None:
    assert since(decide(completed=None), decide()) == []


# --- what DescribeServices says of how the rollout will go ----------------------------------------------------


def configured(**configuration: Any) -> dict[str, Any]:
    return {"deploymentConfiguration": {**BREAKER, **configuration}}


PAUSE = {
    "targetType": "PAUSE",
    "lifecycleStages": ["POST_TEST_TRAFFIC_SHIFT"],
    "timeoutConfiguration": {"timeoutInMinutes": 2880, "action": "ROLLBACK"},
}


TWO_STAGES = {"targetType": "PAUSE", "lifecycleStages": ["A", "B"]}


@pytest.mark.parametrize(
    ("configuration", "timeout", "code", "write"),
    [
        ({"strategy": "BLUE_GREEN", "bakeTimeInMinutes": 1380}, 60, "E249", "timeoutMinutes: 1440"),
        ({"strategy": "BLUE_GREEN", "bakeTimeInMinutes": 60}, 60, "E249", "timeoutMinutes: 120"),
        ({"strategy": "BLUE_GREEN", "bakeTimeInMinutes": 59}, 60, None, ""),
        ({"strategy": "CANARY", "canaryConfiguration": {"canaryBakeTimeInMinutes": 90}}, 60, "E249", ": 150"),
        ({"strategy": "CANARY", "canaryConfiguration": {}}, 10, "E249", ": 70"),
        # ten steps, nine waits between them
        ({"strategy": "LINEAR", "linearConfiguration": {"stepBakeTimeInMinutes": 10}}, 60, "E249", ": 150"),
        ({"strategy": "LINEAR", "linearConfiguration": {"stepPercent": 100.0}}, 60, None, ""),
        (
            {"strategy": "LINEAR", "linearConfiguration": {"stepPercent": 3.0}, "bakeTimeInMinutes": 4900},
            4980,
            "E251",
            "4980",
        ),
        ({"strategy": "ROLLING", "bakeTimeInMinutes": 500}, 60, None, ""),
        ({"strategy": "BLUE_GREEN", "lifecycleHooks": [PAUSE]}, 60, "E250", "timeoutMinutes: 2940"),
        (
            {"strategy": "BLUE_GREEN", "lifecycleHooks": [PAUSE], "bakeTimeInMinutes": 10},
            2890,
            "E250",
            ": 2950",
        ),
        ({"strategy": "BLUE_GREEN", "lifecycleHooks": [PAUSE]}, 2881, "W246", "POST_TEST_TRAFFIC_SHIFT"),
        ({"strategy": "BLUE_GREEN", "lifecycleHooks": [TWO_STAGES]}, 2880, "E250", "1440"),
        (
            {
                "strategy": "BLUE_GREEN",
                "lifecycleHooks": [{"targetType": "AWS_LAMBDA", "hookTargetArn": "f"}],
            },
            60,
            None,
            "",
        ),
    ],
)
def test_a_deadline_that_ecs_itself_exceeds_blocks_and_the_number_is_said(
    configuration: dict[str, Any], timeout: int, code: str | None, write: str
) -> None:
    planned = decide(service=configured(**configuration), timeout=timeout)
    assert codes(planned) == ([code] if code else [])
    assert planned.action == ("blocked" if code and code.startswith("E") else "update")
    assert write in "".join((*planned.problems, *planned.warnings))


def test_the_blue_green_service_that_was_met_is_told_both_numbers() -> None:
    case = json.loads((Path(__file__).parent / "cases" / "s01-bluegreen-service.json").read_text())
    assert codes(decide(service={"deploymentConfiguration": case["deploymentConfiguration"]})) == [
        "E249",
        "E250",
    ]
    # 1,380 to bake, 2,880 to pause, and an hour for the rollout itself
    right = decide(service={"deploymentConfiguration": case["deploymentConfiguration"]}, timeout=4320)
    assert (right.action, codes(right)) == ("update", ["W246"])


@pytest.mark.parametrize(
    ("desired", "least", "most", "scheduling", "stands"),
    [
        (4, 100, 100, "REPLICA", True),
        (1, 100, 100, "REPLICA", True),
        (1, 100, 150, "REPLICA", True),
        (1, 50, 100, "REPLICA", True),
        (2, 50, 100, "REPLICA", False),
        (2, 100, 150, "REPLICA", False),
        (1, 100, 200, "REPLICA", False),
        (1, 0, 100, "REPLICA", False),
        (3, 67, 133, "REPLICA", True),
        (1, None, None, "REPLICA", False),
        (4, 100, 100, "DAEMON", True),
        (4, 100, None, "DAEMON", True),
        (4, None, None, "DAEMON", False),
    ],
)
def test_a_configuration_that_lets_no_task_start_or_stop_is_said(
    desired: int, least: int | None, most: int | None, scheduling: str, *, stands: bool
) -> None:
    limits = {"minimumHealthyPercent": least, "maximumPercent": most}
    service = {
        **configured(**{name: value for name, value in limits.items() if value is not None}),
        "desiredCount": desired,
        "schedulingStrategy": scheduling,
    }
    assert codes(decide(service=service)) == (["W245"] if stands else [])


CHECK = {"containerDefinitions": [{"name": "api", "image": "api:1.0", "healthCheck": True}]}


@pytest.mark.parametrize(
    ("service", "body", "said"),
    [
        ({"loadBalancers": []}, {}, True),
        ({"loadBalancers": [], "serviceRegistries": [{"registryArn": "r"}]}, {}, False),
        ({"loadBalancers": []}, CHECK, False),
        ({"loadBalancers": [], **configured(alarms={"enable": True, "alarmNames": ["a"]})}, {}, False),
        ({"loadBalancers": [], **configured(alarms={"enable": False, "alarmNames": ["a"]})}, {}, True),
        ({"loadBalancers": [], "desiredCount": 0}, {}, False),
    ],
)
def test_a_service_whose_health_nothing_checks_is_said(
    service: dict[str, Any], body: dict[str, Any], *, said: bool
) -> None:
    assert ("W248" in codes(decide(service=service, body=body))) is said


@pytest.mark.parametrize(
    ("soak_seconds", "said"),
    [
        (0, "deployment alarms, or set soak_seconds to have releases watch it after its rollout."),
        (90, "for 90 seconds after its rollout (soak_seconds) this release sees only what exits; give it a"),
    ],
)
def test_what_else_can_be_done_about_health_that_nothing_checks(soak_seconds: int, said: str) -> None:
    (warning,) = decide(service={"loadBalancers": []}, soak_seconds=soak_seconds).warnings
    assert said in warning


@pytest.mark.parametrize(
    ("command", "checks"), [(["CMD-SHELL", "true"], True), (["NONE"], False), ([], False), (None, False)]
)
def test_a_health_check_that_is_switched_off_is_none(command: list[str] | None, *, checks: bool) -> None:
    container = {"name": "api", "image": "api:1", "healthCheck": {"command": command}}
    found = outline(TaskDefinition({"containerDefinitions": [container]}))
    assert found.body["containerDefinitions"][0]["healthCheck"] is checks
    assert "true" not in json.dumps(found.body).replace("true", "", 1) or checks


def test_what_runs_now_and_what_ecs_says_of_it_is_told() -> None:
    event = {
        "createdAt": datetime.now(UTC),
        "message": "(service api) was unable to place a task because no container instance met all of its requirements.",
    }
    few = decide(service={"runningCount": 1, "desiredCount": 2, "events": [event]})
    assert codes(few) == ["W252"]
    assert "1 of 2 tasks run now" in few.warnings[0]
    assert "ECS says: was unable to place a task" in few.warnings[0]
    assert codes(decide(service={"runningCount": 2, "desiredCount": 2, "events": [event]})) == []


def test_a_rollout_that_is_running_and_early_success_are_said() -> None:
    running = {"deployments": [{"id": "ecs-svc/7", "status": "PRIMARY", "rolloutState": "IN_PROGRESS"}]}
    assert codes(decide(service=running)) == ["W249"]
    early = {"enable": True, "healthyPercent": 80, "sourceServiceRevisionCleanup": "DEFERRED"}
    assert codes(decide(service=configured(earlySuccessCriteria=early))) == ["W253"]
