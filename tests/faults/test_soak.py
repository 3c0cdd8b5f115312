"""A service whose image dies seconds after ECS called its rollout complete: with ``soak_seconds`` the release goes back.

Once on the applied module, and in virtual time (``chaos_world.py``) with all that can go wrong while it is watched, judged by the
oracle: nothing is called SUCCEEDED before its time, or although a task of it died.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from arena import Arena, service, task
from chaos_cloud import Cloud, cloud
from chaos_world import Entry, Job, Release, Scenario, Service, Thing, Trouble, World
from stack import Outcome

SOAK, POLL_SECONDS = 30, 15
CHECK = "check_rollouts"


# --- on the applied module ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def watching(arena: Arena) -> Arena:
    """An orchestrator that watches each service for eight seconds."""
    return arena.another("watching", settings={"ECS_RELEASE_SOAK_SECONDS": "8"})


def release(arena: Arena, name: str, *others: str) -> Outcome:
    """Of services whose first one runs an image that dies four seconds after its rollout, and of a rule."""
    arena.services(name, *others, deploymentConfiguration={"strategy": "ROLLING"})
    arena.rule(f"{name}-rule")
    arena.rollouts({"image": f"/{name}:2$", "seconds": 1, "dies_after": 4})
    services = [service(each) for each in (name, *others)]
    return arena.release({"services": services, "tasks": [task(f"{name}-rule")]})


def test_what_dies_while_it_is_watched_goes_back_with_all_of_the_release(watching: Arena) -> None:
    outcome = release(watching, "soak-dies", "soak-well")
    assert outcome.error == "EcsRelease.ROLLED_BACK", outcome.cause
    item = watching.item(outcome.id, "soak-dies")
    assert (item.verdict, item.status) == ("FAILED", "ROLLED_BACK")
    assert "its rollout was complete, and" in item.reason
    assert item.reason.endswith("stopped: Essential container in task exited; app exit code 1")
    assert "soak-dies: FAILED (now ROLLED_BACK): its rollout was complete" in outcome.cause
    assert [watching.runs(name) for name in ("soak-dies", "soak-well")] == ["soak-dies:1", "soak-well:1"]
    assert watching.rule_runs("soak-dies-rule") == "soak-dies-rule:1"


def test_what_goes_on_running_has_its_verdict_when_it_was_watched(watching: Arena) -> None:
    watching.services("soak-fine")
    outcome = watching.release({"services": [service("soak-fine")]})
    assert outcome.error is None, outcome.cause
    item = watching.item(outcome.id, "soak-fine")
    assert (item.verdict, item.reason) == ("SUCCEEDED", "")
    assert item.settled_at - item.completed_at >= 8


def test_without_the_setting_ecs_s_word_is_the_last(arena: Arena) -> None:
    outcome = release(arena, "soak-off")
    assert outcome.error is None, outcome.cause
    item = arena.item(outcome.id, "soak-off")
    assert (item.verdict, item.completed_at) == ("SUCCEEDED", None)
    assert arena.runs("soak-off") == "soak-off:2"
    assert arena.rollout_state("soak-off") == "COMPLETED"


# --- in virtual time ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def aws() -> Iterator[Cloud]:
    with cloud() as made:
        yield made


ESTATE: tuple[Thing, ...] = (Service(0, family=0), Service(1, family=1, breaker="alone"), Job(0))


def play(aws: Cloud, *entries: Entry, things: Sequence[Thing] = ESTATE, **members: Any) -> World:
    about = {name: members.pop(name) for name in ("troubles", "on_failure") if name in members}
    scenario = Scenario(
        tuple(things), (Release(entries=entries, timeout_minutes=60, **about),), soak=SOAK, **members
    )
    world = World(aws, scenario)
    try:
        world.run()
    finally:
        world.close()
    return world


def item(world: World, thing: int = 0) -> dict[str, Any]:
    rows = world.cloud.rows("RELEASE#r1", "ITEM#").values()
    return next(row for row in rows if row["name"] == f"chaos/service-{thing}")


TROUBLES = [
    Trouble("kill", "dynamodb:UpdateItem", CHECK, nth=1),
    Trouble("kill", "dynamodb:UpdateItem", CHECK, nth=1, after=True),
    Trouble("kill", "dynamodb:TransactWriteItems", CHECK),
    Trouble("kill", "dynamodb:TransactWriteItems", CHECK, nth=1, after=True),
    Trouble("kill", "ecs:ListTasks", CHECK, after=True),
    Trouble("throttle", "ecs:ListTasks", CHECK, times=11),
    Trouble("error", "ecs:DescribeTasks", CHECK, times=3),
    Trouble("lost", "ecs:ListTasks", CHECK, seconds=9.0),
    Trouble("duplicate", "lambda:check_rollouts", nth=2),
    Trouble("duplicate", "lambda:check_rollouts", nth=2, seconds=10.0),
    Trouble("duplicate", "lambda:check_rollouts", nth=3, seconds=40.0),
    Trouble("delay", "ecs:DescribeServices", CHECK, nth=2, seconds=9.0),
]


@pytest.mark.parametrize("forward", ["dies", "complete"])
@pytest.mark.parametrize(
    "trouble", TROUBLES, ids=lambda t: f"{t.kind}-{t.call}-{t.nth}-{t.after}-{t.seconds:g}"
)
def test_whatever_happens_to_the_look_it_ends_the_same(aws: Cloud, trouble: Trouble, forward: str) -> None:
    world = play(aws, Entry(0, 1, forward=forward), Entry(1, 1), Entry(2, 1), troubles=(trouble,), lag=5.0)
    dies = forward == "dies"
    needs_a_task = trouble.call == "ecs:DescribeTasks" and not dies  # none has stopped
    assert needs_a_task or any(world.struck.values()), "nothing was met"
    assert world.oracle.ended["r1"] == ("ROLLED_BACK" if dies else "SUCCEEDED")
    assert item(world)["verdict"] == ("FAILED" if dies else "SUCCEEDED")


@pytest.mark.parametrize("primary", ["new", "promoted"])
@pytest.mark.parametrize("strategy", ["ROLLING", "BLUE_GREEN", "LINEAR", "CANARY"])
def test_it_goes_back_whatever_brought_it_forward(aws: Cloud, strategy: str, primary: str) -> None:
    things = (Service(0, family=0, strategy=strategy), *ESTATE[1:])
    world = play(aws, Entry(0, 1, forward="dies"), Entry(1, 1), things=things, primary=primary)
    assert world.oracle.ended["r1"] == "ROLLED_BACK"
    assert (item(world)["verdict"], item(world)["status"]) == ("FAILED", "ROLLED_BACK")


def test_the_release_ends_when_the_watch_does(aws: Cloud) -> None:
    world = play(aws, Entry(0, 1, seconds=2.0), Entry(1, 1, seconds=2.0))
    settled = [item(world, thing)["settled_at"] for thing in (0, 1)]
    over = max(item(world, thing)["completed_at"] for thing in (0, 1)) + SOAK
    assert 0 <= max(settled) - over <= POLL_SECONDS + 3  # calls take their time


def test_a_sibling_s_failure_sends_back_at_once_what_is_watched(aws: Cloud) -> None:
    world = play(aws, Entry(0, 1, seconds=2.0), Entry(1, 1, forward="bad", seconds=20.0))
    assert world.oracle.ended["r1"] == "ROLLED_BACK"
    watched = item(world)
    assert (watched["verdict"], watched["status"]) == ("UPDATED", "ROLLED_BACK")
    assert not watched.get("reason")
    failing = (world.cloud.row("RELEASE#r1", "RELEASE") or {})["failing_since"]
    assert watched["rollback_started_at"] - failing <= POLL_SECONDS


def test_what_stays_as_it_is_after_a_failure_is_watched_to_the_end(aws: Cloud) -> None:
    world = play(aws, Entry(0, 1, seconds=2.0), Entry(1, 1, forward="bad", seconds=9.0), on_failure="stop")
    assert world.oracle.ended["r1"] == "FAILED"
    assert item(world)["verdict"] == "SUCCEEDED"
