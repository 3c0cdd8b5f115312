"""A release is one unit: forty items in three waves go back whole; two never run at once; one that was stopped is finished."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pytest
from arena import CLUSTER, Arena, scheduled, service, task, until
from local_aws.client import HANG_SECONDS
from stack import Outcome

from scripts.checkout import ROOT

RULES = [f"u-rule-{number}" for number in range(1, 5)]
SCHEDULES = ["u-schedule-1", "u-schedule-2"]
SERVICES = [f"u{number:02}" for number in range(1, 35)]
CULPRIT = "u31"  # the thirty-seventh of forty items, in the last of three waves
BREAKER = {"deploymentCircuitBreaker": {"enable": True, "rollback": False}}


@dataclass
class Pushed:
    """A push of the manifest of forty items, and what came of it."""

    pipeline: dict[str, Any]
    outcome: Outcome
    seconds: float


def forty_items(tag: str) -> dict[str, Any]:
    def wave(place: int, of: int) -> int:
        return 3 * place // of

    return {
        "release": tag,
        "tasks": [
            *(task(name, tag, wave=wave(n, 4)) for n, name in enumerate(RULES)),
            *(scheduled(name, tag, wave=1 + n) for n, name in enumerate(SCHEDULES)),
        ],
        "services": [service(name, tag, wave=wave(n, 34)) for n, name in enumerate(SERVICES)],
    }


def push(arena: Arena, tag: str) -> Pushed:
    started = time.monotonic()
    # JSON is YAML too.
    commit = arena.stack.push(json.dumps(forty_items(tag), indent=1), f"Release {tag}")
    pipeline = arena.stack.wait_for_pipeline(commit)
    return Pushed(pipeline, arena.stack.release_of(pipeline), time.monotonic() - started)


def settings(arena: Arena) -> dict[str, Any]:
    """Everything about the rules and schedules, but for when a schedule was last written."""
    schedules = {name: arena.stack.raw_schedule(name) for name in SCHEDULES}
    for schedule in schedules.values():
        schedule.pop("LastModificationDate")
    rules = {name: arena.events.describe_rule(Name=name) for name in RULES}
    for rule in rules.values():
        rule.pop("ResponseMetadata")
    return {
        "schedules": schedules,
        "rules": rules,
        "targets": {name: arena.world.targets(name) for name in RULES},
    }


@pytest.fixture(scope="module")
def before(arena: Arena) -> dict[str, Any]:
    for name in SERVICES:
        arena.services(name, deploymentConfiguration=BREAKER)
    for name in RULES:
        arena.rule(name)
    for name in SCHEDULES:
        arena.schedule(name)
    arena.rollouts(
        {"image": f"/{CULPRIT}:[23]$", "outcome": "fail", "reason": "Essential container in task exited"}
    )
    return settings(arena)


@pytest.fixture(scope="module")
def put_back(arena: Arena, before: dict[str, Any]) -> Pushed:
    return push(arena, "2")


def test_forty_items_go_back_when_the_thirty_seventh_fails(
    arena: Arena, before: dict[str, Any], put_back: Pushed, capsys: pytest.CaptureFixture[str]
) -> None:
    outcome = put_back.outcome
    assert len(outcome.items) == 40
    assert put_back.pipeline["status"] == "Failed"
    assert put_back.pipeline["actions"]["Deploy.Deploy"]["status"] == "Failed"
    assert outcome.error == "EcsRelease.ROLLED_BACK"
    assert outcome.record.status == "ROLLED_BACK"
    assert outcome.record.counts == {"ROLLED_BACK": 40}
    (culprit,) = outcome.record.culprits
    assert culprit.startswith(f"{CLUSTER}/{CULPRIT}: ECS deployment circuit breaker: tasks failed to start.")
    assert "Essential container in task exited" in culprit
    (message,) = outcome.messages
    for text in (outcome.cause, message["message"]):
        assert f"{CLUSTER}/{CULPRIT}: FAILED (now ROLLED_BACK): ECS deployment circuit breaker" in text
    for name in SERVICES:
        assert arena.runs(name) == f"{name}:1"
        assert arena.rollout_state(name) == "COMPLETED"
    assert settings(arena) == before
    with capsys.disabled():
        print(
            f"\nforty items in three waves, the 37th fails: all back in {outcome.seconds:.1f} s, "
            f"{put_back.seconds:.1f} s from the push"
        )


def test_people_hear_of_it_at_the_first_look_that_finds_all_back(arena: Arena, put_back: Pushed) -> None:
    """What cleans up afterwards stands in nobody's way: forty revisions are deregistered at one a second."""
    entered = states(arena, put_back.outcome.execution["executionArn"])
    # From the last look on. On a busy machine it may be the one right after the last Rollback, without a Wait between.
    last_look = len(entered) - 1 - entered[::-1].index("CheckRollouts")
    assert entered[last_look:] == [
        "CheckRollouts",
        "ChooseNextStep",
        "Report",
        "ChooseResult",
        "ReleaseFailed",
    ]
    assert put_back.outcome.record.unused == 40
    assert arena.status(put_back.outcome.id)["cleanUp"]["revisions"] == 40


def test_what_does_not_come_back_is_named_with_the_command_that_finishes_it(
    arena: Arena, before: dict[str, Any], put_back: Pushed
) -> None:
    refused = {
        "kind": "error",
        "error": "AccessDeniedException",
        "message": "denied by a policy",
        "times": None,
    }
    arena.faults(
        {"operation": "ecs:UpdateService", "match": "/u05:1", **refused},
        {"operation": "scheduler:UpdateSchedule", "match": "/u-schedule-1:1", **refused},
    )
    pushed = push(arena, "3")
    arena.no_more("/u05:1")
    arena.no_more("/u-schedule-1:1")
    outcome = pushed.outcome
    assert pushed.pipeline["status"] == "Failed"
    assert outcome.error == "EcsRelease.ROLLBACK_INCOMPLETE"
    assert outcome.record.counts == {"ROLLED_BACK": 38, "ROLLBACK_FAILED": 2}
    status = arena.status(outcome.id)
    assert status["status"] == "ROLLBACK_INCOMPLETE"
    assert {item["name"] for item in status["items"] if item["status"] == "ROLLBACK_FAILED"} == {
        f"{CLUSTER}/u05",
        "default/u-schedule-1",
    }
    for name in SERVICES:
        assert arena.rollout_state(name) == "COMPLETED"
        revision = arena.runs(name).rpartition(":")[2]
        assert (revision == "1") == (name != "u05")

    (message,) = outcome.messages
    lines = [line.strip() for line in message["message"].splitlines()]
    # A person at a terminal is asked; a script is not.
    commands = [line for line in lines if line.startswith("aws ecs update-service ")]
    commands += [f"{line} --yes" for line in lines if line.startswith("ecs-release repair ")]
    assert len(commands) == 2
    path = f"{ROOT / '.venv' / 'bin'}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, **arena.aws.environment(), "PATH": path}
    for command in commands:
        done = subprocess.run(
            ["sh", "-c", command],
            env=environment,
            capture_output=True,
            text=True,
            timeout=HANG_SECONDS,
            check=False,
        )
        assert done.returncode == 0, done.stderr
    assert settings(arena) == before
    assert arena.runs("u05") == "u05:1"
    until("completed", lambda: arena.rollout_state("u05") == "COMPLETED")


def test_two_executions_started_in_the_same_second(arena: Arena) -> None:
    arena.services("twin-a", "twin-b", "twin-c")
    arena.free()

    def start(name: str) -> str:
        return arena.start({"services": [service(f"twin-{name}")]}, f"twin-{name}-{time.time_ns()}")

    with ThreadPoolExecutor(3) as pool:
        started = list(pool.map(start, "abc"))
    outcomes = [arena.wait(execution) for execution in started]
    (done,) = [o for o in outcomes if o.status == "SUCCEEDED"]
    refused = [o for o in outcomes if o is not done]
    for other in refused:
        assert other.error == "EcsRelease.REJECTED"
        assert f"release {done.id} is running" in other.cause
        assert other.record.status == "REJECTED"
        assert other.items == {}
    assert done.record.status == "SUCCEEDED"
    assert list(done.verdicts.values()) == ["SUCCEEDED"]
    lock = arena.stack.store.lock()
    assert lock.holder is None
    assert lock.left_by is None
    for name in "abc":
        mine = done.id.startswith(f"twin-{name}")
        assert arena.all_revisions(f"twin-{name}") == [f"twin-{name}:{n}" for n in ((1, 2) if mine else (1,))]
    listed = json.loads(arena.command("history", "--json")[1])
    assert {o.id for o in outcomes} <= {entry["release"] for entry in listed}


# --- stopped by an operator, in each state -----------------------------------------------------------------------


@dataclass
class Stop:
    """How to catch the machine in a state with a worker in the middle of a call.

    Attributes
    ----------
    held_up : operation that is held up and, of its body, a pattern in which ``NAME`` stands for the items' prefix.
    once : says when the call to hold up is the next one of that operation; at once without it.
    """

    state: str
    held_up: tuple[str, str] | None
    once: Callable[[Arena, str], Any] | None = None
    outcome: str = "complete"


def rolled_out(arena: Arena, prefix: str) -> bool:
    return arena.runs(f"{prefix}-b") == f"{prefix}-b:2"


STOPS = (
    Stop("Parse", ("ecs:DescribeServices", '"NAME-a"')),
    Stop("Prepare", ("ecs:RegisterTaskDefinition", '"NAME-a"')),
    Stop("UpdateTasks", ("events:PutTargets", "NAME-job")),
    Stop("UpdateServices", ("ecs:UpdateService", '"NAME-a"')),
    Stop("CheckRollouts", ("ecs:DescribeServices", '"NAME-a"'), once=rolled_out, outcome="wait"),
    Stop("Wait", None, once=rolled_out, outcome="wait"),
    Stop("Rollback", ("ecs:UpdateService", "NAME-a:1"), outcome="fail"),
    Stop("Report", ("sns:Publish", "stopped-NAME")),
)


@dataclass
class Stopped:
    """What was seen at the stop, and the run after it."""

    seen: dict[str, Any]
    again: Outcome
    history: list[str]
    status: str


def stop_in(arena: Arena, stop: Stop) -> Stopped:
    """Release, stop in the state, release again."""
    prefix = f"in-{stop.state.lower()}"
    arena.services(f"{prefix}-a", f"{prefix}-b", deploymentConfiguration=BREAKER)
    arena.rule(f"{prefix}-job")
    arena.rollouts({"image": f"/{prefix}-b:2$", "outcome": stop.outcome, "seconds": 2})
    document = {
        "tasks": [task(f"{prefix}-job")],
        "services": [service(f"{prefix}-a"), service(f"{prefix}-b")],
    }

    def hold_up() -> None:
        if stop.held_up:
            operation, match = stop.held_up
            arena.faults(
                {
                    "operation": operation,
                    "match": match.replace("NAME", prefix),
                    "kind": "hold",
                }
            )

    if stop.once is None:
        hold_up()
    execution = arena.start(document, f"stopped-{prefix}-{time.time_ns()}")
    if once := stop.once:
        until(f"there: {stop.state}", lambda: once(arena, prefix))
        hold_up()
    if stop.held_up:
        arena.struck(stop.held_up[0], stop.held_up[1].replace("NAME", prefix))
    else:
        until("waiting", lambda: "Wait" in states(arena, execution))
    store = arena.stack.store
    items = store.items(execution.rpartition(":")[2])
    seen = {
        "items": {item.name.rpartition("/")[2]: item for item in items},
        "remembered": store.memories([item.state_key for item in items]),
        "service": arena.runs(f"{prefix}-a"),
        "rule": arena.rule_runs(f"{prefix}-job"),
    }
    arena.stop(execution)
    entered = states(arena, execution)
    if stop.outcome != "fail":
        arena.rollouts({"image": f"/{prefix}-b:2$", "outcome": "complete", "seconds": 1})
    status = arena.closed(execution).status
    if stop.held_up:
        arena.no_more(stop.held_up[1].replace("NAME", prefix))
    return Stopped(seen, arena.release(document), entered, status)


def states(arena: Arena, execution: str) -> list[str]:
    """The machine's own states in the order entered, without those inside a Map."""
    pages = arena.states.get_paginator("get_execution_history").paginate(executionArn=execution)
    entered = [
        event["stateEnteredEventDetails"]["name"]
        for page in pages
        for event in page["events"]
        if "stateEnteredEventDetails" in event
    ]
    return [name for name in entered if not name.endswith(("Batch", "Target"))]


def all_stops(arena: Arena) -> dict[str, Stopped | AssertionError]:
    """One after another, on an orchestrator of their own."""
    own = arena.another("interrupted")
    found: dict[str, Stopped | AssertionError] = {}
    for stop in STOPS:
        try:
            found[stop.state] = stop_in(own, stop)
        except AssertionError as error:
            found[stop.state] = error
    return found


IN_THE_BACKGROUND = {"stops": all_stops}


@pytest.fixture
def stops(arena: Arena) -> dict[str, Stopped | AssertionError]:
    found: dict[str, Stopped | AssertionError] = arena.background["stops"].result(HANG_SECONDS)
    return found


def of(stops: dict[str, Stopped | AssertionError], state: str) -> Stopped:
    found = stops[state]
    if isinstance(found, AssertionError):
        raise found
    return found


@pytest.mark.takes_long
@pytest.mark.parametrize("stop", STOPS, ids=lambda stop: stop.state)
def test_a_release_stopped_in_any_state_is_finished_by_the_next(
    arena: Arena, stops: dict[str, Stopped | AssertionError], stop: Stop
) -> None:
    stopped = of(stops, stop.state)
    # Nothing holds up a Wait of one second: on a busy machine it is over before StopExecution arrives.
    passed = {"Wait": "CheckRollouts"}.get(stop.state)
    assert stopped.history[-1] in (stop.state, passed)
    assert stop.state in stopped.history
    # Report had closed the record when it was held up in telling people.
    assert stopped.status == ("SUCCEEDED" if stop.state == "Report" else "ABORTED")
    prefix = f"in-{stop.state.lower()}"
    if stop.outcome == "fail":
        # The next release finishes the way back, whether the image that fails is still live or is rolled out once more.
        assert stopped.again.error == "EcsRelease.ROLLED_BACK"
        for name in (f"{prefix}-a", f"{prefix}-b"):
            assert arena.runs(name) == f"{name}:1"
            assert arena.rollout_state(name) == "COMPLETED"
            assert arena.all_revisions(name) == [f"{name}:1", f"{name}:2"], "one new revision"
        assert arena.rule_runs(f"{prefix}-job") == f"{prefix}-job:1"
        return
    assert stopped.again.status == "SUCCEEDED", stopped.again.cause
    assert arena.rule_runs(f"{prefix}-job") == f"{prefix}-job:2"
    for name in (f"{prefix}-a", f"{prefix}-b"):
        assert arena.runs(name) == f"{name}:2"
        assert arena.rollout_state(name) == "COMPLETED"
        assert arena.all_revisions(name) == [f"{name}:1", f"{name}:2"], "one new revision"
        assert arena.deployments(name) == 2, "one new deployment"
    assert arena.all_revisions(f"{prefix}-job") == [f"{prefix}-job:1", f"{prefix}-job:2"]


@pytest.mark.takes_long
def test_the_before_image_is_on_record_before_the_first_write(
    stops: dict[str, Stopped | AssertionError],
) -> None:
    prepare = of(stops, "Prepare").seen
    assert {name: item.before.rpartition("/")[2] for name, item in prepare["items"].items()} == {
        name: f"{name}:1" for name in ("in-prepare-a", "in-prepare-b", "in-prepare-job")
    }
    assert json.loads(prepare["items"]["in-prepare-job"].before_raw)[0]["Id"] == "task"
    assert prepare["items"]["in-prepare-a"].previous_deployment.startswith("ecs-svc/")
    # Held up right before the write: what "back" means is there already, and nothing was written.
    tasks = of(stops, "UpdateTasks").seen
    (kept,) = tasks["remembered"].values()
    assert (kept["before"].rpartition("/")[2], tasks["rule"]) == (
        "in-updatetasks-job:1",
        "in-updatetasks-job:1",
    )
    services = of(stops, "UpdateServices").seen
    remembered = {key[2]: row["before"].rpartition("/")[2] for key, row in services["remembered"].items()}
    assert remembered[f"{CLUSTER}/in-updateservices-a"] == "in-updateservices-a:1"
    assert services["service"] == "in-updateservices-a:1"
