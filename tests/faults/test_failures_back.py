"""facts/failures.md, the rows in which a release fails and what it did is put back, or left as it is on purpose."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pytest
from arena import CLUSTER, Arena, scheduled, service, task, until
from local_aws.client import HANG_SECONDS
from stack import Outcome
from world import container

from scripts.checkout import ROOT

BREAKER = {"deploymentCircuitBreaker": {"enable": True, "rollback": False}}


@dataclass
class Failed:
    """A release that has failed."""

    outcome: Outcome
    notes: dict[str, Any] = field(default_factory=dict)

    def item(self, name: str) -> Any:
        return next(i for i in self.outcome.items.values() if i.name.rpartition("/")[2] == name)


def _runs(arena: Arena, name: str, revision: str) -> bool:
    return arena.runs(name) == revision


def _only(arena: Arena, family: str, revision: str) -> bool:
    return bool(arena.revisions(family) == [revision])


def assert_told(arena: Arena, outcome: Outcome, status: str, *texts: str) -> None:
    """Execution, record, command and message agree on how it ended, and why."""
    assert outcome.error == f"EcsRelease.{status}", outcome.cause
    assert outcome.record.status == status
    document = arena.status(outcome.id)
    assert document["status"] == status
    reasons = "\n".join(f"{item['name']}: {item['reason']}" for item in document["items"])
    (message,) = outcome.messages
    assert status in message["subject"]
    for text in texts:
        assert text in outcome.cause
        assert text in message["message"]
        assert text.split(": ", 2)[2] in reasons


@pytest.fixture(scope="module")
def failing(arena: Arena) -> Failed:
    """Three waves; the second one fails in several ways at once, and everything goes back."""
    arena.services("b-first", "r17-first", "r07", "r13", "r19", "b-later")
    arena.services(
        "r12", deploymentConfiguration={"deploymentCircuitBreaker": {"enable": True, "rollback": True}}
    )
    arena.rule("r17-job")
    arena.rule("r17-unpinned", pinned=False)
    arena.schedule("r17-nightly")
    arena.rollouts(
        {"image": "/(r07|r13):2$", "outcome": "stall"},
        {"image": "/r12:2$", "outcome": "circuit_breaker_rollback", "reason": "OutOfMemoryError: killed"},
    )
    theirs = arena.world.family("r13-theirs", [container("app", "r13:hotfix")])
    targets = {rule: arena.world.targets(rule) for rule in ("r17-job", "r17-unpinned")}
    schedule = arena.stack.raw_schedule("r17-nightly")
    execution = arena.start(
        {
            "release": "2",
            "tasks": [task("r17-job"), task("r17-unpinned"), scheduled("r17-nightly")],
            "services": [
                service("b-first"),
                service("r17-first"),
                *(service(name, wave=1) for name in ("r07", "r12", "r13", "r19")),
                service("b-later", wave=2),
            ],
        }
    )
    for name in ("r07", "r13", "r19"):
        until(f"updated: {name}", partial(_runs, arena, name, f"{name}:2"))
    # The before-image goes first: later it would already be needed.
    arena.ecs.deregister_task_definition(taskDefinition="r19:1")
    arena.ecs.update_service(cluster=CLUSTER, service="r13", taskDefinition=theirs)
    arena.ecs.delete_service(cluster=CLUSTER, service="r07", force=True)
    return Failed(arena.wait(execution), {"targets": targets, "schedule": schedule})


def test_07_service_deleted_while_waiting(arena: Arena, failing: Failed) -> None:
    assert failing.item("r07").verdict == "FAILED"
    assert_told(
        arena,
        failing.outcome,
        "ROLLED_BACK",
        f"{CLUSTER}/r07: FAILED (now SUPERSEDED): the service is INACTIVE",
    )
    assert failing.item("r19").verdict == "SUCCEEDED", "the others are watched on"


def test_12_circuit_breaker_rolls_back(arena: Arena, failing: Failed) -> None:
    item = failing.item("r12")
    assert (item.verdict, item.status) == ("ROLLED_BACK_BY_ECS", "ROLLED_BACK")
    assert_told(
        arena,
        failing.outcome,
        "ROLLED_BACK",
        f"{CLUSTER}/r12: ROLLED_BACK_BY_ECS (now ROLLED_BACK): Service deployment rolled back because the circuit "
        "breaker threshold was exceeded.",
    )
    assert "OutOfMemoryError: killed" in item.reason
    assert arena.runs("r12") == "r12:1"


def test_13_somebody_else_deploys_meanwhile(arena: Arena, failing: Failed) -> None:
    item = failing.item("r13")
    assert (item.verdict, item.status) == ("SUPERSEDED", "SUPERSEDED")
    assert "r13-theirs:1 was deployed meanwhile" in item.reason
    assert arena.runs("r13") == "r13-theirs:1", "not overwritten, not by the rollback either"
    assert arena.deployments("r13") == 3


def test_17_half_done_then_a_failure_and_rolled_back(arena: Arena, failing: Failed) -> None:
    for name in ("b-first", "r17-first"):
        assert arena.runs(name) == f"{name}:1"
        assert (failing.item(name).verdict, failing.item(name).status) == ("SUCCEEDED", "ROLLED_BACK")
    assert arena.world.targets("r17-job") == failing.notes["targets"]["r17-job"]
    # What named no revision ran the newest one, which is undone: it is pinned to what it ran.
    assert arena.rule_runs("r17-unpinned") == "r17-unpinned:1"
    now = arena.stack.raw_schedule("r17-nightly")
    was = failing.notes["schedule"]
    assert {k: v for k, v in now.items() if k != "LastModificationDate"} == {
        k: v for k, v in was.items() if k != "LastModificationDate"
    }
    assert failing.outcome.record.counts == {"ROLLED_BACK": 7, "SUPERSEDED": 2, "PREPARED": 1}
    assert arena.deployments("b-later") == 1, "its wave never began"


def test_17_no_revision_of_the_failed_release_is_left(arena: Arena, failing: Failed) -> None:
    for family in ("b-first", "r17-first", "r12", "b-later", "r17-job", "r17-unpinned", "r17-nightly"):
        # What cleans up comes after the report, and gives way to every release that runs meanwhile.
        until(f"cleaned up: {family}", partial(_only, arena, family, f"{family}:1"), seconds=300)


def test_19_the_before_images_revision_was_deregistered(arena: Arena, failing: Failed) -> None:
    item = failing.item("r19")
    assert item.status == "ROLLED_BACK"
    assert arena.runs("r19") == "r19:3"
    assert f"put back on {item.rollback_to}, an equal copy of {item.before}" in item.reason
    copy, original = (arena.world.definition(f"r19:{n}")["taskDefinition"] for n in (3, 1))
    assert copy["containerDefinitions"] == original["containerDefinitions"]
    assert item.rollback_to == copy["taskDefinitionArn"]


# --- one after the other -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def stopped(arena: Arena) -> Failed:
    """``onFailure: stop``: a service fails after others have succeeded."""
    arena.services("s-good", "s-late")
    arena.services("s-bad", deploymentConfiguration=BREAKER)
    arena.rule("s-job")
    arena.rule("r21-stubborn")
    arena.rollouts({"image": "/s-bad:2$", "outcome": "fail"})
    outcome = arena.release(
        {
            "onFailure": "stop",
            "tasks": [task("s-job")],
            "services": [service("s-good"), service("s-bad"), service("s-late", wave=1)],
        }
    )
    runs = {name: arena.runs(name) for name in ("s-good", "s-bad", "s-late")}
    return Failed(outcome, {"runs": runs, "job": arena.rule_runs("s-job")})


def test_17_half_done_then_a_failure_and_left_as_it_is(arena: Arena, stopped: Failed) -> None:
    assert stopped.notes["runs"] == {"s-good": "s-good:2", "s-bad": "s-bad:2", "s-late": "s-late:1"}
    assert stopped.notes["job"] == "s-job:2"
    assert_told(arena, stopped.outcome, "FAILED", f"{CLUSTER}/s-bad: FAILED: ECS deployment circuit breaker")
    assert stopped.outcome.record.counts == {"SUCCEEDED": 2, "FAILED": 1, "PREPARED": 1}
    for name, arn in (("s-good", "s-good:2"), ("s-bad", "s-bad:2"), ("s-late", "s-late:1")):
        line = next(
            line for line in stopped.outcome.cause.splitlines() if f"{name}: " in line and ", on " in line
        )
        assert line.endswith(arn), "it says exactly what is where"


@pytest.fixture(scope="module")
def second(arena: Arena, stopped: Failed) -> Failed:
    """The next release, with the leftovers of the one before it: its rule keeps refusing."""
    arena.faults(
        {
            "operation": "events:PutTargets",
            "match": "r21-stubborn:2",
            "kind": "failed_entries",
            "error": "ConcurrentModificationException",
            "times": None,
        }
    )
    outcome = arena.release(
        {
            "tasks": [task("s-job", "3"), task("r21-stubborn", wave=1)],
            "services": [service("s-good", "3"), service("s-bad", "3")],
        }
    )
    return Failed(outcome)


def test_21_put_targets_whose_entries_keep_failing(arena: Arena, second: Failed) -> None:
    assert second.item("r21-stubborn").verdict == "FAILED"
    assert_told(
        arena,
        second.outcome,
        "ROLLED_BACK",
        'r21-stubborn: FAILED (now ROLLED_BACK): EventBridge did not take targets of rule "r21-stubborn": '
        "task: ConcurrentModificationException",
    )
    assert arena.rule_runs("r21-stubborn") == "r21-stubborn:1"


def test_32_two_releases_in_a_row_fail(arena: Arena, second: Failed) -> None:
    assert second.outcome.error == "EcsRelease.ROLLED_BACK"
    for name in ("s-good", "s-bad"):
        assert second.item(name).live.endswith(f"{name}:2"), "it found the first one's leftovers"
        assert arena.runs(name) == f"{name}:1", "and went back to the last whole state"
        assert arena.rollout_state(name) == "COMPLETED"
    assert arena.rule_runs("s-job") == "s-job:1"


@pytest.fixture(scope="module")
def incomplete(arena: Arena, second: Failed) -> Failed:
    """A release that fails, and whose way back fails for two items."""
    arena.services("r18-stuck", "r18-good")
    arena.services("r18-bad", deploymentConfiguration=BREAKER)
    arena.rule("r18-job")
    arena.rollouts({"image": "/r18-bad:2$", "outcome": "fail"})
    refused = {
        "kind": "error",
        "error": "AccessDeniedException",
        "message": "not allowed any more",
        "times": None,
    }
    arena.faults(
        {"operation": "ecs:UpdateService", "match": "r18-stuck:1", **refused},
        {"operation": "events:PutTargets", "match": "r18-job:1", **refused},
    )
    execution = arena.start(
        {
            "tasks": [task("r18-job")],
            "services": [service("r18-stuck"), service("r18-good"), service("r18-bad")],
        }
    )
    outcome = arena.wait(execution)
    for match in ("r18-stuck:1", "r18-job:1"):
        arena.no_more(match)
    return Failed(outcome, {"runs": {n: arena.runs(n) for n in ("r18-stuck", "r18-good", "r18-bad")}})


def test_18_part_of_the_rollback_fails(arena: Arena, incomplete: Failed) -> None:
    outcome = incomplete.outcome
    assert_told(
        arena,
        outcome,
        "ROLLBACK_INCOMPLETE",
        f"{CLUSTER}/r18-bad: FAILED (now ROLLED_BACK): ECS deployment circuit breaker",
        f"{CLUSTER}/r18-stuck: SUCCEEDED (now ROLLBACK_FAILED): ECS refused to update",
        "r18-job: SUCCEEDED (now ROLLBACK_FAILED): EventBridge refused",
    )
    assert incomplete.notes["runs"] == {
        "r18-stuck": "r18-stuck:2",
        "r18-good": "r18-good:1",
        "r18-bad": "r18-bad:1",
    }
    assert outcome.record.counts == {"ROLLED_BACK": 2, "ROLLBACK_FAILED": 2}
    lines = [line.strip() for line in outcome.cause.splitlines()]
    commands = [line for line in lines if line.startswith("aws ecs update-service ")]
    commands += [f"{line} --yes" for line in lines if line.startswith("ecs-release repair ")]
    assert len(commands) == 2
    environment = os.environ | arena.aws.environment() | {"PATH": f"{ROOT}/.venv/bin:{os.environ['PATH']}"}
    for command in commands:
        subprocess.run(
            ["sh", "-c", command], env=environment, check=True, capture_output=True, timeout=HANG_SECONDS
        )
    assert arena.runs("r18-stuck") == "r18-stuck:1"
    assert arena.rule_runs("r18-job") == "r18-job:1"


# --- back by hand, and more leftovers ----------------------------------------------------------------------------


def leftovers(main: Arena) -> dict[str, Any]:
    """Leftovers that ECS itself goes back to, leftovers of a wave that never begins, and a rollback by hand, twice."""
    arena = main.another("leftovers")
    own_way_back = {"deploymentCircuitBreaker": {"enable": True, "rollback": True}}
    arena.services("t-back", deploymentConfiguration=own_way_back)
    arena.services("t-far", "t-stuck")
    arena.services("t-bad", deploymentConfiguration=BREAKER)
    arena.rollouts(
        {"image": "/t-bad:2$", "outcome": "fail"},
        {"image": "/t-back:3$", "outcome": "circuit_breaker_rollback"},
    )
    names = ("t-back", "t-far", "t-stuck", "t-bad")

    def running() -> dict[str, str]:
        return {name: arena.runs(name) for name in names}

    first = arena.release({"onFailure": "stop", "services": [service(name) for name in names]})
    left = running()
    second = arena.release({"services": [service("t-back", "3"), service("t-far", "3", wave=1)]})
    after_second = running()

    arena.release({"services": [service("t-back", "4"), service("t-stuck", "4")]})
    arena.faults(
        {
            "operation": "ecs:UpdateService",
            "match": "t-stuck:1",
            "kind": "error",
            "error": "AccessDeniedException",
            "message": "not allowed any more",
        }
    )
    by_hand = []
    for _ in range(3):
        arena.free()
        status, printed = arena.command("rollback", "--yes", "--json")
        by_hand.append((status, json.loads(printed)["status"], running()))
    return {
        "first": first,
        "left": left,
        "second": second,
        "after second": after_second,
        "by hand": by_hand,
        "holds": arena.command("unhold")[1],
    }


IN_THE_BACKGROUND = {"leftovers": leftovers}


@pytest.fixture(scope="module")
def left_behind(arena: Arena) -> dict[str, Any]:
    found: dict[str, Any] = arena.background["leftovers"].result(HANG_SECONDS)
    return found


@pytest.mark.takes_long
def test_32_what_ecs_itself_went_back_to_and_what_never_began_are_put_back_too(
    left_behind: dict[str, Any],
) -> None:
    assert left_behind["first"].error == "EcsRelease.FAILED"
    assert left_behind["left"]["t-back"] == "t-back:2"
    assert left_behind["left"]["t-far"] == "t-far:2"
    second = left_behind["second"]
    assert second.error == "EcsRelease.ROLLED_BACK", second.cause
    assert second.items[f"{CLUSTER}/t-back"].verdict == "ROLLED_BACK_BY_ECS"
    assert {i.status for i in second.items.values()} == {"ROLLED_BACK"}
    assert left_behind["after second"]["t-back"] == "t-back:1"
    assert left_behind["after second"]["t-far"] == "t-far:1", "its wave never began"


@pytest.mark.takes_long
def test_30_a_rollback_by_hand_is_run_again_until_all_is_back(left_behind: dict[str, Any]) -> None:
    """The first one can't put one item back, the second one does, and the third finds all of it back."""
    goal = {"t-back": "t-back:1", "t-stuck": "t-stuck:1"}
    (status, release, runs), again, once_more = left_behind["by hand"]
    assert (status, release, runs["t-back"]) == (1, "FAILED", "t-back:1")
    assert runs["t-stuck"] != goal["t-stuck"]
    assert again[:2] == (0, "SUCCEEDED")
    assert {name: again[2][name] for name in goal} == goal
    assert once_more[:2] == (0, "NO_CHANGE")
    assert {name: once_more[2][name] for name in goal} == goal
    assert "t-back:4" in left_behind["holds"]
    assert "t-back:1" not in left_behind["holds"], "what it went back to is not held"
