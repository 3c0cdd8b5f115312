"""Whatever an answer of AWS lacks or holds unexpectedly is the problem of the one item that it is about, said in words."""

from __future__ import annotations

import copy
import dataclasses
import json
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ecs_release.aws.services import Services
from ecs_release.aws.task_definitions import TaskDefinitions, copy_with_images
from ecs_release.cli.repair import FAILED, look
from ecs_release.errors import ItemError, OddAnswerError, TargetUnreachableError, UnfinishedError
from ecs_release.manifest import Service
from ecs_release.plan import live as live_reading
from ecs_release.plan.back import Step, items_back, plan_back
from ecs_release.plan.decide import PlannedItem, make_plan
from ecs_release.plan.live import read_live
from ecs_release.plan.make import read_goals
from ecs_release.record.models import ItemRecord
from ecs_release.record.statuses import Status
from ecs_release.settings import Settings
from ecs_release.steps import judging, turn
from ecs_release.steps.rollback import put_service_back
from ecs_release.steps.turn import Turn
from ecs_release.steps.update_service import start_rollout
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from wire import ACCOUNT, PREFIX, odd, wired

CREATED = 1_790_000_000.5
CASES = Path(__file__).parent / "cases"
ODD = "odd"
NAMES = ("api", ODD, "web")
examples = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def service(name: str) -> dict[str, Any]:
    """A service as DescribeServices answers it, with its rollout of revision 2 completed."""
    return {
        "serviceName": name,
        "serviceArn": f"arn:aws:ecs:eu-west-1:{ACCOUNT}:service/c/{name}",
        "status": "ACTIVE",
        "desiredCount": 2,
        "runningCount": 2,
        "launchType": "FARGATE",
        "schedulingStrategy": "REPLICA",
        "taskDefinition": f"{PREFIX}{name}:2",
        "deploymentController": {"type": "ECS"},
        "deploymentConfiguration": {
            "strategy": "ROLLING",
            "maximumPercent": 200,
            "minimumHealthyPercent": 100,
            "deploymentCircuitBreaker": {"enable": True, "rollback": True},
            "alarms": {"enable": False, "rollback": False, "alarmNames": []},
            "bakeTimeInMinutes": 0,
            "lifecycleHooks": [],
        },
        "loadBalancers": [{"targetGroupArn": "tg", "containerName": "app", "containerPort": 80}],
        "events": [
            {"id": "e", "createdAt": CREATED + 5, "message": f"(service {name}) has reached a steady state."}
        ],
        "deployments": [
            {
                "id": "ecs-svc/2",
                "status": "PRIMARY",
                "taskDefinition": f"{PREFIX}{name}:2",
                "rolloutState": "COMPLETED",
                "createdAt": CREATED,
                "failedTasks": 0,
            },
            {
                "id": "ecs-svc/1",
                "status": "ACTIVE",
                "taskDefinition": f"{PREFIX}{name}:1",
                "createdAt": CREATED - 9,
            },
        ],
    }


def definition(reference: str) -> dict[str, Any]:
    family = reference.rpartition("/")[2].partition(":")[0]
    return {
        "taskDefinition": {
            "taskDefinitionArn": reference,
            "family": family,
            "revision": int(reference.rpartition(":")[2]),
            "status": "ACTIVE",
            "runtimePlatform": {"cpuArchitecture": "X86_64", "operatingSystemFamily": "LINUX"},
            "taskRoleArn": f"arn:aws:iam::{ACCOUNT}:role/task",
            "containerDefinitions": [
                {"name": "app", "image": f"{family}:1", "healthCheck": {"command": ["CMD"]}}
            ],
        },
        "tags": [{"key": "owner", "value": "team"}],
    }


class Aws:
    """What ECS answers; a test puts something odd in its place."""

    def __init__(self) -> None:
        self.services = {name: service(name) for name in NAMES}
        self.definitions: dict[str, Any] = {}
        self.history: dict[str, Any] = {
            "ListServiceDeployments": {
                "serviceDeployments": [{"serviceDeploymentArn": "sd/2", "createdAt": CREATED}]
            },
            "DescribeServiceDeployments": {
                "serviceDeployments": [
                    {
                        "serviceDeploymentArn": "sd/2",
                        "status": "SUCCESSFUL",
                        "createdAt": CREATED,
                        "targetServiceRevision": {"arn": "sr/2"},
                        "rollback": {"reason": "", "serviceRevisionArn": "sr/1"},
                    }
                ]
            },
            "DescribeServiceRevisions": {
                "serviceRevisions": [
                    {"serviceRevisionArn": f"sr/{n}", "taskDefinition": f"{PREFIX}{ODD}:{n}"} for n in (1, 2)
                ]
            },
            "ListTasks": {"taskArns": ["t"]},
            "DescribeTasks": {
                "tasks": [
                    {
                        "startedBy": "ecs-svc/2",
                        "stoppedAt": CREATED,
                        "stoppedReason": "Essential container in task exited",
                        "containers": [{"name": "app", "exitCode": 1, "reason": "broke"}],
                    }
                ]
            },
        }

    def answers(self) -> dict[str, Any]:
        def describe_services(asked: dict[str, Any]) -> Any:
            found = [self.services[name] for name in asked["services"] if name in self.services]
            return {"services": found, "failures": []}

        def describe_task_definition(asked: dict[str, Any]) -> Any:
            reference = asked["taskDefinition"]
            return self.definitions.get(reference) or definition(reference)

        def update_service(asked: dict[str, Any]) -> Any:
            return {"service": self.services[asked["service"]]}

        return {
            "DescribeServices": describe_services,
            "DescribeTaskDefinition": describe_task_definition,
            "UpdateService": update_service,
            **{operation: lambda _, o=operation: self.history[o] for operation in self.history},
        }


def plan(connections: Any) -> dict[str, PlannedItem]:
    items = [Service(images={"app": f"{name}:2"}, cluster="c", service=name) for name in NAMES]
    planned = make_plan(items, read_live(items, connections))
    return {one.item.service: one for one in planned if isinstance(one.item, Service)}


def check_the_others(planned: dict[str, PlannedItem]) -> None:
    assert [planned[name].action for name in NAMES if name != ODD] == ["update", "update"]
    strange = planned[ODD]
    assert bool(strange.problems) == (strange.action == "blocked")
    assert not any("Traceback" in problem for problem in strange.problems)


@examples
@given(answer=odd(service(ODD)))
def test_an_odd_service_leaves_the_others_planned(monkeypatch: pytest.MonkeyPatch, answer: Any) -> None:
    aws = Aws()
    aws.services[ODD] = answer
    check_the_others(plan(wired(monkeypatch, aws.answers())))


@examples
@given(answer=odd(definition(f"{PREFIX}{ODD}:2")))
def test_an_odd_task_definition_leaves_the_others_planned(
    monkeypatch: pytest.MonkeyPatch, answer: Any
) -> None:
    aws = Aws()
    aws.definitions[f"{PREFIX}{ODD}:2"] = answer
    check_the_others(plan(wired(monkeypatch, aws.answers())))


@settings(examples, max_examples=30)
@given(data=st.data())
def test_an_odd_history_leaves_the_others_planned(monkeypatch: pytest.MonkeyPatch, data: Any) -> None:
    """Where no completed deployment is in sight, ECS's own record of deployments is asked."""
    aws = Aws()
    aws.services[ODD]["deployments"] = [
        {"id": "ecs-svc/2", "status": "PRIMARY", "taskDefinition": f"{PREFIX}{ODD}:2"}
    ]
    operation = data.draw(st.sampled_from(sorted(aws.history)))
    aws.history[operation] = data.draw(odd(aws.history[operation]))
    check_the_others(plan(wired(monkeypatch, aws.answers())))


class Worker:
    """A worker, and a store that keeps what is written."""

    step = "check_rollouts"
    request = "me"
    settings = Settings("releases", poll_seconds=0, settle_seconds=0)

    def __init__(self, connections: Any) -> None:
        self.connections = connections
        self.store = self

    def remaining(self) -> float:
        return 900.0

    def update_item(self, item: ItemRecord, changes: dict[str, Any], **_: Any) -> ItemRecord:
        return dataclasses.replace(item, **changes)

    settle_item = update_item

    def memory(self, _: Any) -> None:
        return None

    def remember(self, *_: Any) -> None:
        pass

    def check_lock(self, *_: Any) -> None:
        pass

    def task_definitions(self, item: ItemRecord) -> TaskDefinitions:
        return TaskDefinitions(self.connections, item.target)


def record(name: str, **members: Any) -> ItemRecord:
    known = {
        "before": f"{PREFIX}{name}:1",
        "live": f"{PREFIX}{name}:1",
        "after": f"{PREFIX}{name}:2",
        "previous_deployment": "ecs-svc/1",
        "deployment_id": "ecs-svc/2",
        "verdict": "UPDATED",
        "status": "UPDATED",
        "started_at": int(time.time()),
        **members,
    }
    return ItemRecord("r", 0, NAMES.index(name), 1, Service(cluster="c", service=name), "update", {}, **known)


@examples
@given(data=st.data(), overdue=st.booleans())
def test_an_odd_answer_is_no_verdict_before_the_deadline(
    monkeypatch: pytest.MonkeyPatch, data: Any, overdue: bool
) -> None:
    """And never a traceback: the others of the same round get theirs."""
    aws = Aws()
    aws.services[ODD]["deployments"][0]["rolloutState"] = data.draw(
        st.sampled_from(["FAILED", "IN_PROGRESS", "-"])
    )
    aws.services[ODD] = data.draw(odd(aws.services[ODD]))
    operation = data.draw(st.sampled_from(sorted(aws.history)))
    aws.history[operation] = data.draw(odd(aws.history[operation]))
    connections = wired(monkeypatch, aws.answers())
    worker: Any = Worker(connections)
    since = int(time.time()) - (3600 if overdue else 0)
    judged = judging.judge_all(worker, [record(name, started_at=since) for name in NAMES], time.time())
    by_name = dict(zip(NAMES, judged, strict=True))
    assert {by_name["api"].verdict, by_name["web"].verdict} == {"SUCCEEDED"}
    if isinstance(Services(connections, "default").describe("c", [ODD]).get(ODD), OddAnswerError):
        assert by_name[ODD].verdict == (Status.TIMED_OUT if overdue else "UPDATED")


@settings(examples, max_examples=40)
@given(answer=odd(service(ODD)), back=st.booleans())
def test_an_odd_answer_ends_a_write_in_words(
    monkeypatch: pytest.MonkeyPatch, answer: Any, back: bool
) -> None:
    monkeypatch.setattr(
        turn, "time", SimpleNamespace(time=time.time, monotonic=time.monotonic, sleep=lambda _: None)
    )
    aws = Aws()
    aws.services[ODD] = answer
    worker: Any = Worker(wired(monkeypatch, aws.answers()))
    begun = record(ODD, started_at=None, deployment_id=None, verdict="PREPARED")
    try:
        (put_service_back if back else start_rollout)(Turn(worker, record(ODD) if back else begun))
    except (ItemError, OddAnswerError, UnfinishedError) as error:
        said = str(error)
    else:
        return
    assert said


# --- kinds that were met --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["s01-bluegreen-service", "t06-express-service"])
def test_a_service_that_was_met_is_planned(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Of Express Mode from its PRIMARY deployment."""
    aws = Aws()
    case = json.loads((CASES / f"{name}.json").read_text())
    aws.services[ODD] = {**case, "serviceName": ODD}
    planned = plan(wired(monkeypatch, aws.answers()))
    check_the_others(planned)
    if case.get("resourceManagementType") == "ECS":
        assert planned[ODD].live == case["deployments"][0]["taskDefinition"]


def without(body: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in body.items() if name not in names}


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (without(service(ODD), "desiredCount"), "no desiredCount"),
        (without(service(ODD), "deployments"), "no PRIMARY deployment"),
        ({**service(ODD), "deployments": [{"status": "PRIMARY"}]}, "the PRIMARY deployment has no id"),
        ({**service(ODD), "deploymentConfiguration": {"strategy": 7}}, "strategy is a number, not a text"),
        ({**service(ODD), "desiredCount": "two"}, "desiredCount is a text, not a number"),
        ({**service(ODD), "deployments": "none"}, "AWS's answer to DescribeServices has an unexpected form"),
        (
            {**service(ODD), "createdAt": "yesterday-ish"},
            "AWS's answer to DescribeServices has an unexpected form",
        ),
    ],
)
def test_what_is_odd_is_said(monkeypatch: pytest.MonkeyPatch, answer: Any, said: str) -> None:
    aws = Aws()
    aws.services[ODD] = answer
    planned = plan(wired(monkeypatch, aws.answers()))
    check_the_others(planned)
    assert said in planned[ODD].problems[0]
    assert planned[ODD].findings[0].code == "E248"


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (
            {"services": [], "failures": [{"arn": f"arn:aws:ecs:x:1:service/c/{ODD}", "reason": "MISSING"}]},
            "E205",
        ),
        ({"services": []}, "E205"),
        (
            {"services": [], "failures": [{"arn": f"arn:aws:ecs:x:1:service/c/{ODD}", "reason": "ODD"}]},
            "E248",
        ),
        ({}, "E248"),
        ({"services": [{"status": "ACTIVE"}]}, "E248"),
    ],
)
def test_a_service_is_missing_where_ecs_says_so(
    monkeypatch: pytest.MonkeyPatch, answer: Any, code: str
) -> None:
    monkeypatch.setattr(live_reading, "LOOK_AGAIN_SECONDS", 0)
    connections = wired(monkeypatch, {"DescribeServices": lambda _: answer})
    items = [Service(images={"app": "app:2"}, cluster="c", service=ODD)]
    (live,) = read_live(items, connections)
    assert [finding.code for finding in live.findings] == [code]


def test_nulls_are_read_as_absent_and_not_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    answer = definition(f"{PREFIX}app:1")
    answer["taskDefinition"] |= {"taskRoleArn": None, "volumes": None, "runtimePlatform": None}
    answer["taskDefinition"]["containerDefinitions"][0] |= {
        "dockerLabels": {"a": "1", "b": None},
        "command": ["x", None],
        "environment": [{"name": "A", "value": "null"}, None],
        "newMember": {"within": None, "kept": 0},
        "cpu": 0,
        "essential": False,
        "entryPoint": [],
    }
    answer["tags"] = None
    connections = wired(monkeypatch, {"DescribeTaskDefinition": lambda _: copy.deepcopy(answer)})
    found = TaskDefinitions(connections, "default").describe("app:1")
    sent = copy_with_images(found, {"app": "app:2"})
    assert "null" not in json.dumps(sent).replace('"null"', "")
    container = sent["containerDefinitions"][0]
    assert container["newMember"] == {"kept": 0}
    assert (container["command"], container["dockerLabels"]) == (["x"], {"a": "1"})
    assert (container["cpu"], container["essential"], container["entryPoint"]) == (0, False, [])


# --- a target that the module is no longer given --------------------------------------------------------------


GONE = dataclasses.replace(record("api"), item=Service(cluster="c", service="api", target="gone"))


def test_going_back_over_a_target_that_is_gone_says_so_and_plans_the_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    connections = wired(monkeypatch, Aws().answers())
    steps = [Step(r, frozenset({f"{PREFIX}{r.name[2:]}:2"})) for r in (GONE, record("web"))]
    items = items_back(steps)
    gone, web = plan_back(steps, items, read_live(items, connections), read_goals(steps, connections))
    assert (gone.action, web.action, web.lost) == ("update", "update", None)
    assert gone.lost is not None
    assert 'there is no target "gone"' in gone.lost


@pytest.mark.parametrize("overdue", [False, True])
def test_a_target_that_is_gone_can_not_be_judged(monkeypatch: pytest.MonkeyPatch, overdue: bool) -> None:
    worker: Any = Worker(wired(monkeypatch, Aws().answers()))
    item = dataclasses.replace(GONE, started_at=int(time.time()) - (3600 if overdue else 0))
    (judged,) = judging.judge_all(worker, [item], time.time())
    assert judged.verdict == ("TIMED_OUT" if overdue else "UPDATED")
    if overdue:
        assert 'there is no target "gone"' in judged.reason


def test_repair_and_the_way_back_name_a_target_that_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    worker: Any = Worker(wired(monkeypatch, Aws().answers()))
    found = look(worker, GONE)
    assert (found.outcome, "no target" in found.reason) == (FAILED, True)
    with pytest.raises(TargetUnreachableError, match="no target"):
        put_service_back(Turn(worker, GONE))
