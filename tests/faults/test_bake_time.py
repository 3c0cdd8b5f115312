"""A blue/green service in its bake time when a sibling fails: ECS's own rollback is asked for at once, whatever becomes of it.

Played in virtual time (``chaos_world.py``), where every call and its moment can be seen, and judged by the same oracle.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from chaos_cloud import Cloud, cloud
from chaos_world import Entry, Release, Scenario, Service, Trouble, World

STOP, UPDATE = "ecs:StopServiceDeployment", "ecs:UpdateService"
POLL_SECONDS = 15
BAKES, FAILS = 0, 1


@pytest.fixture(scope="module")
def aws() -> Iterator[Cloud]:
    with cloud() as made:
        yield made


def estate(strategy: str = "BLUE_GREEN", bake: int = 1380) -> tuple[Service, Service]:
    return (Service(0, family=0, strategy=strategy, bake=bake), Service(1, family=1, breaker="alone"))


def release(*troubles: Trouble, version: int = 1, bad: bool = True, **members: Any) -> Release:
    entries = (
        Entry(BAKES, version, seconds=2.0),
        Entry(FAILS, version, forward="bad" if bad else "complete", seconds=40.0),
    )
    return Release(entries=entries, troubles=troubles, timeout_minutes=60, **members)


def play(aws: Cloud, *releases: Release, things: Sequence[Service] = (), **members: Any) -> World:
    world = World(aws, Scenario(tuple(things or estate()), releases, **members))
    try:
        world.run()
    finally:
        world.close()
    return world


def calls(world: World, key: str, release: str = "r1", step: str = "rollback") -> list[float]:
    """When a step of a release made a call about the service that bakes."""
    name = estate()[BAKES].service
    workers = {
        task.name
        for task in world.simulation.tasks
        if getattr(task.about, "release", None) == release and getattr(task.about, "step", None) == step
    }
    return [
        moment
        for moment, task, what, call, _ in world.trace
        if what == key and task in workers and call is not None and f"{name}" in call.body.decode()
    ]


def seen_failing(world: World) -> float:
    """When the release saw that the sibling fails, to the second."""
    return float((world.cloud.row("RELEASE#r1", "RELEASE") or {})["failing_since"])


def item(world: World, release: str = "r1", thing: int = BAKES) -> dict[str, Any]:
    rows = world.cloud.rows(f"RELEASE#{release}", "ITEM#").values()
    return next(row for row in rows if row["service"] == f"service-{thing}")


@pytest.mark.parametrize("primary", ["new", "promoted"])
@pytest.mark.parametrize("strategy", ["BLUE_GREEN", "LINEAR", "CANARY"])
def test_ecs_is_asked_to_roll_back_within_one_poll_and_no_new_deployment_is_started(
    aws: Cloud, strategy: str, primary: str
) -> None:
    world = play(aws, release(), things=estate(strategy), primary=primary)
    assert world.oracle.ended["r1"] == "ROLLED_BACK"
    (stopped,) = calls(world, STOP)
    assert stopped - seen_failing(world) <= POLL_SECONDS
    assert calls(world, UPDATE) == []
    found = item(world)
    assert (found["verdict"], found["status"]) == ("UPDATED", "ROLLED_BACK")
    assert "service-deployment" in found["rollback_stop"]
    assert found["rollback_to"] == found["before"]


@pytest.mark.parametrize(
    "trouble",
    [
        Trouble("kill", STOP, "rollback"),
        Trouble("kill", STOP, "rollback", after=True),
        Trouble("lost", STOP, "rollback", seconds=1.0),
        Trouble("lost", STOP, "rollback", seconds=9.0, after=True),
        Trouble("lost", STOP, "rollback", times=3, after=True),
        Trouble("throttle", STOP, "rollback", times=11),
        Trouble("error", STOP, "rollback", times=2),
        Trouble("duplicate", "lambda:rollback"),
        Trouble("duplicate", "lambda:rollback", seconds=10.0),
        Trouble("kill", "ecs:DescribeServiceDeployments", "rollback", after=True),
        Trouble("kill", "dynamodb:UpdateItem", "rollback", nth=1, after=True),
        Trouble("kill", "dynamodb:UpdateItem", "rollback", nth=2),
        Trouble("forget", STOP, "rollback", after=True),
        Trouble("kill", "ecs:UpdateService", "update_service", after=True),
    ],
    ids=lambda value: f"{value.kind}-{value.call}-{value.after}-{value.seconds:g}",
)
def test_whatever_happens_to_the_asking_it_goes_back_by_one_rollback_of_ecss(
    aws: Cloud, trouble: Trouble
) -> None:
    world = play(aws, release(trouble), lag=5.0 if trouble.after else 0.0)
    assert sum(world.struck.values()), "nothing was met"
    assert world.oracle.ended["r1"] == "ROLLED_BACK"
    assert item(world)["status"] == "ROLLED_BACK"
    assert calls(world, UPDATE) == []


def test_where_ecs_does_not_take_it_a_new_deployment_goes_back(aws: Cloud) -> None:
    world = play(aws, release(Trouble("refuse", STOP, "rollback")), things=estate(bake=0))
    assert world.oracle.ended["r1"] == "ROLLED_BACK"
    slow = play(aws, release(Trouble("refuse", STOP, "rollback", times=9)), things=estate(bake=1))
    assert slow.oracle.ended["r1"] == "ROLLED_BACK"
    assert len(calls(slow, UPDATE)) == 1
    assert not item(slow).get("rollback_stop")


def test_after_an_unwhole_release_it_goes_back_to_the_last_whole_state_and_not_to_the_source(
    aws: Cloud,
) -> None:
    """The service revision before it is what the first release has left."""
    left = release(version=1, on_failure="stop")
    world = play(aws, left, release(version=2), things=estate(bake=2))
    assert world.oracle.ended == {**world.oracle.ended, "r1": "FAILED", "r2": "ROLLED_BACK"}
    assert calls(world, STOP, "r2") == []
    assert len(calls(world, UPDATE, "r2")) == 1
    found = item(world, "r2")
    assert found["before"] != found["live"]
    assert found["rollback_to"] == found["before"]


def test_a_release_that_stops_does_not_hold_the_lock_for_a_day_of_bake_time(aws: Cloud) -> None:
    """What bakes has no verdict; the next release finds it on its way, and goes back to the last whole state."""
    world = play(aws, release(on_failure="stop"), release(version=2), things=estate(bake=1380))
    assert world.oracle.ended == {**world.oracle.ended, "r1": "FAILED", "r2": "ROLLED_BACK"}
    left = item(world, "r1")
    assert (left["verdict"], left["status"]) == ("UPDATED", "UPDATED")
    assert "ECS goes on with it" in left["reason"]
    found = item(world, "r2")
    assert found["before"] == left["before"]


def test_a_rollout_of_an_earlier_release_that_is_still_under_way_goes_back_by_ecs_too(aws: Cloud) -> None:
    """The second release finds its image running already, in the bake time of the first one's deployment, whose source is whole."""
    stopped = Release(
        entries=(Entry(BAKES, 1, seconds=2.0),),
        timeout_minutes=60,
        troubles=(Trouble("stop", "state:Wait"),),
        pause=60.0,
    )
    world = play(aws, stopped, release(version=1), things=estate(bake=1380))
    assert world.oracle.ended["r1"] == "ABORTED"
    assert world.oracle.ended["r2"] == "ROLLED_BACK"
    assert len(calls(world, STOP, "r2")) == 1
    assert calls(world, UPDATE, "r2") == []


def test_siblings_that_can_still_reach_a_verdict_are_waited_for(aws: Cloud) -> None:
    third = Service(2, family=2)
    entries = (*release().entries, Entry(2, 1, seconds=100.0))
    world = play(aws, Release(entries=entries, timeout_minutes=60), things=(*estate(), third))
    assert item(world, thing=2)["verdict"] == "SUCCEEDED"
    (stopped,) = calls(world, STOP)
    assert stopped - seen_failing(world) > POLL_SECONDS
