"""A throttled account makes a release slower, and nothing else: in every step, at every call, for as long as it is drawn.

The throttles outlast botocore's patience and most of them the function's own time, so several invocations share them.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from chaos_cloud import Cloud, cloud
from chaos_world import Entry, Job, Release, Scenario, Service, Trouble, World
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st
from test_chaos import _CALLS

EXAMPLES = 3  # of each step
TARGETS = ("ecs:", "events:", "scheduler:")  # what a release's count of throttles is about

ESTATE = (
    Service(0, 0, breaker="alone"),
    Service(1, 1, breaker="rollback"),
    Job(2, "rule", pinned=True),
    Job(3, "rule", pinned=False),
    Job(4, "schedule"),
)


@st.composite
def throttles(draw: st.DrawFn, step: str) -> Trouble:
    """One call of a step, or all of them, throttled so many times in a row."""
    call = draw(st.sampled_from(["*", *sorted(set(_CALLS[step]))]))
    return Trouble(
        "throttle", call, step, nth=draw(st.integers(0, 3)), times=draw(st.sampled_from([12, 60, 150, 400]))
    )


@pytest.fixture(scope="module")
def aws() -> Iterator[Cloud]:
    with cloud() as made:
        yield made


def play(aws: Cloud, release: Release) -> tuple[World, str, int]:
    """Run one release; the world, the release's status and the throttles on its record."""
    world = World(aws, Scenario(ESTATE, (release,), order=0))
    try:
        world.run()
        record = aws.row("RELEASE#r1", "RELEASE") or {}
        return world, str(record.get("status")), int(record.get("throttles", 0))
    except BaseException:
        note(world.story())
        raise
    finally:
        world.close()


def counted(world: World) -> int:
    """How many calls about the release's targets were throttled while it ran."""
    return sum(what.startswith(TARGETS) and "<throttle>" in outcome for _, _, what, _, outcome in world.trace)


@pytest.mark.parametrize("step", sorted(set(_CALLS) - {"rollback"}))
def test_a_throttled_step_ends_as_it_would_have(aws: Cloud, step: str) -> None:
    entries = tuple(Entry(thing, version=1, wave=thing % 2) for thing in range(len(ESTATE)))

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    @given(trouble=throttles(step))
    def check(trouble: Trouble) -> None:
        release = Release(entries=entries, timeout_minutes=600, troubles=(trouble,))
        world, status, throttled = play(aws, release)
        assert status == "SUCCEEDED", world.story()
        assert throttled == counted(world)

    check()


def test_a_throttled_way_back_ends_as_it_would_have(aws: Cloud) -> None:
    entries = tuple(
        Entry(thing, version=1, wave=int(thing > 1), forward="bad" if thing == 0 else "complete")
        for thing in range(len(ESTATE))
    )

    @settings(
        max_examples=2 * EXAMPLES,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    @given(trouble=st.sampled_from(["rollback", "rollback", "check_rollouts", "report"]).flatmap(throttles))
    def check(trouble: Trouble) -> None:
        release = Release(entries=entries, timeout_minutes=600, troubles=(trouble,))
        world, status, throttled = play(aws, release)
        assert status == "ROLLED_BACK", world.story()
        assert throttled == counted(world)

    check()
