"""Promises under random faults: drawn estates, manifests, rollouts and interference, in virtual time.

``make chaos`` runs more of the same (``CHAOS_EXAMPLES``, ``CHAOS_SEED``); a failure prints what happened, call by call, and
how to run the very same example again (``CHAOS_REPLAY``).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace

import hypothesis
import pytest
from chaos_cloud import Cloud, cloud
from chaos_regressions import SCHEDULES
from chaos_world import Entry, Job, Release, Scenario, Service, Thing, Trouble, World
from hypothesis import HealthCheck, currently_in_test_context, given, note, seed, settings
from hypothesis import strategies as st

SHARDS = 2
EXAMPLES = int(os.environ.get("CHAOS_EXAMPLES", "20"))
SEED = int(os.environ.get("CHAOS_SEED", "1"))
REPLAY = os.environ.get("CHAOS_REPLAY", "")

# What each step calls, so that most of what is drawn really strikes.
_RECORD = ("dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:UpdateItem", "dynamodb:Query")
_READ_TASK = ("events:ListTargetsByRule", "scheduler:GetSchedule")
_WRITE_TASK = (*_READ_TASK, "events:PutTargets", "scheduler:UpdateSchedule")
_REGISTER = ("ecs:DescribeTaskDefinition", "ecs:ListTaskDefinitions", "ecs:RegisterTaskDefinition")
_CALLS = {
    "parse": (
        *_RECORD,
        "dynamodb:BatchGetItem",
        "dynamodb:TransactWriteItems",
        "ecs:DescribeServices",
        "ecs:DescribeTaskDefinition",
        "events:DescribeRule",
        "iam:SimulatePrincipalPolicy",
        *_READ_TASK,
    ),
    "prepare": (*_RECORD, "dynamodb:DeleteItem", *_REGISTER, "ecs:RegisterTaskDefinition"),
    "update_task": (*_RECORD, "dynamodb:DeleteItem", *_WRITE_TASK, *_REGISTER),
    "update_service": (*_RECORD, "dynamodb:DeleteItem", "ecs:DescribeServices", *["ecs:UpdateService"] * 4),
    "check_rollouts": (
        *(*_RECORD, "ecs:DescribeServices", "ecs:DescribeTaskDefinition", *_READ_TASK),
        *("ecs:ListServiceDeployments", "ecs:DescribeServiceDeployments"),
    ),
    "rollback": (
        *(*_RECORD, "dynamodb:DeleteItem", *_WRITE_TASK, "ecs:DescribeServices"),
        *(
            *["ecs:UpdateService", "ecs:StopServiceDeployment"] * 2,
            *("ecs:DescribeServiceDeployments", "ecs:DescribeServiceRevisions"),
            "ecs:DeregisterTaskDefinition",
            "ecs:RegisterTaskDefinition",
        ),
    ),
    "report": (*_RECORD, "dynamodb:DeleteItem"),
    "clean_up": (
        *(*_RECORD, "dynamodb:UpdateItem", "ecs:DescribeServices", *_READ_TASK),
        *["ecs:DeregisterTaskDefinition"] * 4,
    ),
}
_STEPS = tuple(_CALLS)
_IN_THE_MACHINE = tuple(step for step in _STEPS if step != "clean_up")
_STATES = ("Parse", "Prepare", "UpdateTasks", "UpdateServices", "CheckRollouts", "Wait", "Rollback", "Report")


@st.composite
def things(draw: st.DrawFn) -> tuple[Thing, ...]:
    services = [
        Service(
            number,
            family=draw(st.sampled_from([number, 0])),
            breaker=draw(st.sampled_from(["rollback", "none", "alone"])),
            strategy=(strategy := draw(st.sampled_from(["ROLLING", "ROLLING", "BLUE_GREEN", "CANARY"]))),
            desired=draw(st.sampled_from([2, 2, 2, 0])),
            sidecar=number == 1,
            # A release meets its deadline within it, or waits it out.
            bake=0 if strategy == "ROLLING" else draw(st.sampled_from([0, 1, 30])),
        )
        for number in range(draw(st.sampled_from([2, 3, 1])))
    ]
    jobs = [
        Job(
            number,
            kind=draw(st.sampled_from(["rule", "schedule"])),
            pinned=draw(st.booleans()),
            targets=draw(st.sampled_from(["own", "queue", "twin", "other"])),
        )
        for number in range(draw(st.sampled_from([1, 2, 0])))
    ]
    if jobs and jobs[0].kind == "rule" and draw(st.booleans()):
        # Two targets of one rule, each an item of its own.
        jobs[0] = replace(jobs[0], targets="own", shared=True)
        jobs.append(Job(len(jobs), pinned=draw(st.booleans()), host=0))
    return (*services, *jobs)


@st.composite
def troubles(draw: st.DrawFn) -> Trouble:
    """One thing that goes wrong."""
    group = draw(
        st.sampled_from(
            ["call", "call", "call", "others", "others", "others", "lambda", "lambda", "state", "event"]
        )
    )
    few = draw(st.integers(0, 2))
    thing = draw(st.integers(0, 4))
    if group == "lambda":
        kind = draw(st.sampled_from(["duplicate", "duplicate", "duplicate", "lost", "throttle", "stop"]))
        seconds = draw(
            st.sampled_from([0.0, 0.2, 3.0] if kind == "lost" else [0.0, 0.0, 2.0, 10.0, 40.0, 200.0])
        )
        step = draw(st.sampled_from([*_IN_THE_MACHINE, "prepare", "prepare", "update_service", "rollback"]))
        return Trouble(kind, f"lambda:{step}", nth=draw(st.integers(0, 1)), seconds=seconds)
    if group == "event":
        if draw(st.booleans()):
            return Trouble("duplicate", f"event:{draw(st.sampled_from(['report', 'clean_up']))}")
        return Trouble("lost", "event", nth=draw(st.integers(0, 1)))
    if group == "state":
        kind = draw(st.sampled_from(["stop", "stop", "intruder", "foreign", "forget"]))
        return Trouble(kind, f"state:{draw(st.sampled_from(_STATES))}", nth=few, thing=thing)
    step = draw(st.sampled_from(["", *_STEPS]))
    if not step:
        call, nth = "*", draw(st.integers(0, 150))
    elif draw(st.booleans()):
        call, nth = "*", draw(st.integers(0, 30))
    else:
        call, nth = draw(st.sampled_from(_CALLS[step])), few
    after = draw(st.booleans())
    if group == "others":
        kinds = ["stop", "stop", "foreign", "foreign", "force", "delete", "deregister", "forget", "intruder"]
        kind = draw(st.sampled_from(kinds))
        seconds = draw(st.sampled_from([0.0, 2.0, 9.0])) if kind == "stop" else 0.0
        return Trouble(kind, call, step, nth, thing=thing, after=after, seconds=seconds)
    kind = draw(
        st.sampled_from(
            ["kill", "kill", "lost", "lost", "throttle", "error", "refuse", "delay", "failed_entries"]
        )
    )
    if kind == "failed_entries":
        return Trouble(kind, "events:PutTargets", "", few, times=draw(st.sampled_from([1, 3, 20])))
    if kind == "refuse":
        write = draw(
            st.sampled_from(
                [
                    *("ecs:UpdateService", "ecs:StopServiceDeployment", "ecs:RegisterTaskDefinition"),
                    *("events:PutTargets", "*"),
                ]
            )
        )
        return Trouble(kind, write, draw(st.sampled_from(["", "rollback"])), few)
    if kind in ("throttle", "error"):
        # A fault of the service may come when it has done its work; what it throttles it has not begun.
        after = after and kind == "error"
        return Trouble(kind, call, step, nth, times=draw(st.sampled_from([1, 2, 11, 40])), after=after)
    # The clean-up holds no lock: a call of it that is held up meets the next release in all its states.
    seconds = draw(st.sampled_from([0.0, 1.0, 9.0, 90.0] if step == "clean_up" else [0.0, 1.0, 9.0]))
    times = draw(st.sampled_from([1, 1, 3])) if kind != "delay" else 1
    return Trouble(kind, call, step, nth, times=times, seconds=seconds, after=after)


@st.composite
def releases(draw: st.DrawFn, estate: tuple[Thing, ...], number: int) -> Release:
    kind = draw(st.sampled_from(["deploy", "deploy", "again", "by_hand"])) if number else "deploy"
    # Half of the releases meet a bad rollout; of those some meet one on the way back as well.
    mood = draw(st.sampled_from(["bad", "bad", "good", "good"]))
    outcome = st.sampled_from(["bad", "complete", "stall", "dies"] if mood == "bad" else ["complete"])
    back = st.sampled_from(
        ["complete", "complete", "complete", "bad", "stall"] if mood == "bad" else ["complete"]
    )
    chosen = draw(
        st.lists(st.integers(0, len(estate) - 1), min_size=1, max_size=len(estate), unique=True).map(sorted)
    )
    entries = [
        Entry(
            thing,
            version=draw(st.sampled_from([number + 1, number + 1, number + 1, number])),
            wave=draw(st.integers(0, 2)),
            forward=draw(outcome),
            back=draw(back),
            seconds=draw(st.sampled_from([2.0, 40.0])),
        )
        for thing in chosen
    ]
    return Release(
        kind,
        tuple(entries),
        on_failure=draw(st.sampled_from(["rollback", "rollback", "rollback", "stop"])),
        timeout_minutes=draw(st.sampled_from([2, 4])),
        troubles=tuple(draw(st.lists(troubles(), min_size=1, max_size=5))),
        pause=draw(st.sampled_from([1200.0, 1200.0, 5.0, 0.0])),
        upgraded=draw(st.sampled_from([False, False, False, True])),
    )


@st.composite
def scenarios(draw: st.DrawFn) -> Scenario:
    estate = draw(things())
    return Scenario(
        estate,
        tuple(draw(releases(estate, number)) for number in range(draw(st.sampled_from([2, 3, 1, 4, 5])))),
        order=draw(st.integers(0, 10_000)),
        preempt=draw(st.sampled_from([0.05, 0.3, 0.7])),
        lag=draw(st.sampled_from([0.0, 5.0])),
        primary=draw(st.sampled_from(["new", "promoted"])),
        soak=draw(st.sampled_from([0, 0, 0, 30])),
    )


@pytest.fixture(scope="module")
def aws() -> Iterator[Cloud]:
    with cloud() as made:
        yield made


def _play(aws: Cloud, scenario: Scenario) -> World:
    world = World(aws, scenario)
    try:
        world.run()
    except BaseException:
        if currently_in_test_context():
            note(world.story())
        raise
    finally:
        world.close()
    return world


# Where the clean-up is held up, after it has seen that no release runs.
_HELD_UP = (
    ("ecs:DescribeServices", False),
    ("ecs:DescribeServices", True),
    ("dynamodb:UpdateItem", False),
    ("dynamodb:UpdateItem", True),
    ("ecs:DeregisterTaskDefinition", False),
    ("ecs:DeregisterTaskDefinition", True),
)


@pytest.mark.parametrize(("call", "after"), _HELD_UP)
def test_the_clean_up_and_the_next_release_never_want_the_same(aws: Cloud, call: str, after: bool) -> None:
    """The release after a rolled back one wants the very revision that is being cleaned up, in each of its steps."""
    estate = (Service(0, family=0),)
    entry = Entry(0, version=1)
    for seconds in (0.3, 1.0, 9.0):
        failed = Release(entries=(replace(entry, forward="bad"),), timeout_minutes=2, pause=0.0)
        troubles = (
            # The clean-up, which waits until reads have caught up, is first.
            Trouble("delay", "dynamodb:TransactWriteItems", "parse", seconds=9.0),
            Trouble("delay", call, "clean_up", seconds=seconds + 2.0, after=after),
        )
        wants_it = Release("again", (entry,), timeout_minutes=2, troubles=troubles)
        world = _play(aws, Scenario(estate, (failed, wants_it)))
        assert world.struck["delay"] == 2, "the clean-up did not get that far"
        assert world.oracle.ended["r1"] == "ROLLED_BACK"
        assert world.oracle.ended["r2"] == "SUCCEEDED"


@pytest.mark.parametrize("name", SCHEDULES)
def test_a_schedule_that_broke_a_promise_once_breaks_none(aws: Cloud, name: str) -> None:
    _play(aws, SCHEDULES[name])


@pytest.mark.parametrize("shard", range(SHARDS))
def test_every_promise_holds_whatever_happens(aws: Cloud, shard: int) -> None:
    """Draw scenarios and play them; the oracle holds every call and every row to the promises of DESIGN.md."""

    @settings(
        max_examples=max(1, EXAMPLES // SHARDS),
        deadline=None,
        database=None,
        print_blob=True,
        suppress_health_check=list(HealthCheck),
    )
    @given(scenarios())
    def play(scenario: Scenario) -> None:
        _play(aws, scenario)

    test = seed(SEED * 1000 + shard)(play)
    if REPLAY:
        test = hypothesis.reproduce_failure(hypothesis.__version__, REPLAY.encode())(test)
    test()
