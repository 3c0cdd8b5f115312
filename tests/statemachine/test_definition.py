"""The rendered state machine keeps the rules of its README, whatever is added to it."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Any

import pytest
from ecs_release import errors
from ecs_release.plan.batches import BATCH_SIZE
from ecs_release.record.machine import Next
from ecs_release.record.models import ReleaseRecord
from ecs_release.settings import Settings
from ecs_release.steps import check_rollouts
from ecs_release.steps.worker import Worker
from machine import FOLDER, STEPS, Machine, machines, nexts, render

DEFINITION = render()
ALL = list(machines(DEFINITION))
STATES = [(machine, name) for machine in ALL for name in machine.states]
TASKS = [(machine, name) for machine, name in STATES if machine.states[name]["Type"] == "Task"]
MAPS = [machine for machine in ALL if machine.path]
RETRY = json.loads((FOLDER / "retry.json").read_text())

HISTORY_LIMIT = 25_000  # https://docs.aws.amazon.com/step-functions/latest/dg/service-quotas.html
MOST_ITEMS = 5_000
DAY = 24 * 3600


def name_of(value: Any) -> str | None:
    return "/".join(value.path) or "machine" if isinstance(value, Machine) else None


def test_the_source_is_valid_json_with_quoted_placeholders_only() -> None:
    text = (FOLDER / "release.asl.json").read_text()
    json.loads(text)
    known = {"partition", "retry", *(f"{step}_arn" for step in STEPS)}
    assert set(re.findall(r"\$\{(\w+)\}", text)) == known


@pytest.mark.parametrize(("machine", "name"), STATES, ids=name_of)
def test_what_follows_a_state_exists(machine: Machine, name: str) -> None:
    state = machine.states[name]
    assert set(nexts(state)) <= set(machine.states)
    ends = state.get("End", False) or state["Type"] in ("Succeed", "Fail")
    assert ends or "Next" in state or state["Type"] == "Choice"


@pytest.mark.parametrize("machine", ALL, ids=name_of)
def test_every_state_can_be_reached(machine: Machine) -> None:
    reached, left = set(), [machine.start]
    while left:
        name = left.pop()
        if name not in reached:
            reached.add(name)
            left += nexts(machine.states[name])
    assert reached == set(machine.states)


@pytest.mark.parametrize(("machine", "name"), TASKS, ids=name_of)
def test_a_task_says_what_it_does_ends_in_time_retries_and_catches(machine: Machine, name: str) -> None:
    state = machine.states[name]
    assert state["Comment"]
    assert state["TimeoutSeconds"] > 0
    assert state["Retry"] == RETRY
    assert state["Catch"][-1]["ErrorEquals"] == ["States.ALL"]
    assert state["Resource"] == "arn:aws:states:::lambda:invoke"


def test_the_machine_ends_by_itself_when_the_pipeline_s_action_would_give_up() -> None:
    assert DEFINITION["TimeoutSeconds"] == 7 * DAY


def test_fatal_errors_come_first_and_are_not_retried() -> None:
    assert RETRY[0]["MaxAttempts"] == 0
    assert {"ManifestInvalidError", "ReleaseRejectedError", "ReleaseLockedError", "LockLostError"} <= set(
        RETRY[0]["ErrorEquals"]
    )
    assert RETRY[-1]["ErrorEquals"] == ["States.ALL"]
    for rule in RETRY[1:]:
        assert rule["MaxAttempts"] > 0
        assert rule["BackoffRate"] >= 2
        assert rule["JitterStrategy"] == "FULL"


def test_fatal_errors_are_the_names_of_our_exceptions() -> None:
    assert all(hasattr(errors, name) for name in RETRY[0]["ErrorEquals"])


def test_what_ran_out_of_time_is_gone_on_with_for_most_of_a_day() -> None:
    """A throttle is no verdict; an invocation that waits for its turn takes the five minutes that it has, or more."""
    rule = next(rule for rule in RETRY if "UnfinishedError" in rule["ErrorEquals"])
    assert all(hasattr(errors, name) for name in rule["ErrorEquals"] if not name.startswith("Lambda."))
    assert rule["MaxAttempts"] * 270 > 12 * 3600
    # As many batches side by side as a Map runs.
    assert rule["MaxAttempts"] * 8 * ATTEMPT_EVENTS < HISTORY_LIMIT / 4


def test_no_more_is_a_function_that_has_no_concurrency_left() -> None:
    """A new account has ten for all its functions: https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html."""
    rule = next(rule for rule in RETRY if "Lambda.TooManyRequestsException" in rule["ErrorEquals"])
    # With full jitter an attempt waits half of its interval on average.
    waits = [min(rule["MaxDelaySeconds"], rule["BackoffRate"] ** n) / 2 for n in range(rule["MaxAttempts"])]
    assert sum(waits) > 1800


@pytest.mark.parametrize("machine", MAPS, ids=name_of)
def test_an_iteration_always_ends_normally(machine: Machine) -> None:
    """A failing batch never aborts its siblings in the middle of a write."""
    for name, state in machine.states.items():
        assert state["Type"] in ("Task", "Pass", "Map"), name
        if state["Type"] == "Task":
            catcher = state["Catch"][-1]
            assert machine.states[catcher["Next"]]["Type"] == "Pass"
            assert machine.states[catcher["Next"]]["End"] is True


@pytest.mark.parametrize("name", [n for n, state in DEFINITION["States"].items() if state["Type"] == "Map"])
def test_a_map_hands_on_batches_by_number_and_goes_to_the_decision_maker(name: str) -> None:
    state = DEFINITION["States"][name]
    assert state["Next"] == "CheckRollouts"
    assert state["ResultPath"] == "$.results"
    assert state["MaxConcurrency"] <= 40
    assert [catcher["Next"] for catcher in state["Catch"]] == ["CheckRollouts"]


def test_every_way_out_is_a_result_that_report_gave() -> None:
    ends = {
        name: state for name, state in DEFINITION["States"].items() if state["Type"] in ("Succeed", "Fail")
    }
    assert set(ends) == {"ReleaseSucceeded", "ReleaseFailed", "ReportingFailed"}
    assert ends["ReleaseFailed"]["ErrorPath"] == "$.error"
    before = {name: [n for n, state in DEFINITION["States"].items() if name in nexts(state)] for name in ends}
    assert before["ReleaseSucceeded"] == before["ReleaseFailed"] == ["ChooseResult"]
    assert before["ReportingFailed"] == ["Report"]


# --- the history's length ------------------------------------------------------------------------------------------

# Events of https://docs.aws.amazon.com/step-functions/latest/apireference/API_HistoryEvent.html
TASK_EVENTS = 5  # entered, scheduled, started, succeeded, exited
ATTEMPT_EVENTS = 3  # scheduled, started, failed
ITERATION_EVENTS = 2 + TASK_EVENTS  # started, succeeded
LOOP_EVENTS = 2 + TASK_EVENTS + 2  # Wait, CheckRollouts, ChooseNextStep


def loops_of_a_day(poll_seconds: int) -> int:
    """How often CheckRollouts looks in a day of waiting."""
    started = ReleaseRecord("r", "arn", 1, started="2026-01-01T00:00:00+00:00")
    worker = Worker("check_rollouts", Settings("table", poll_seconds=poll_seconds), None, None)  # type: ignore[arg-type]
    begin = 1767225600.0
    now, loops = begin, 0
    while now < begin + DAY:
        now += check_rollouts._pause(worker, replace(started), now)
        loops += 1
    return loops


@pytest.mark.parametrize("poll_seconds", [1, 15])
def test_a_day_of_waiting_and_five_thousand_items_stay_below_the_limit(poll_seconds: int) -> None:
    waiting = loops_of_a_day(poll_seconds) * LOOP_EVENTS
    batches = -(-MOST_ITEMS // BATCH_SIZE)
    attempts = sum(rule["MaxAttempts"] for rule in RETRY[-1:])
    # Each batch prepared, updated, put back and cleaned up, and each time every retry was needed.
    writing = batches * 4 * (ITERATION_EVENTS + attempts * ATTEMPT_EVENTS)
    assert waiting < HISTORY_LIMIT / 5
    assert waiting + writing < HISTORY_LIMIT


def test_the_looks_of_a_day_grow_apart() -> None:
    assert 200 < loops_of_a_day(15) < 400


def test_the_machine_knows_every_next_step_and_no_other() -> None:
    choice = DEFINITION["States"]["ChooseNextStep"]
    assert choice["Default"] == "Report", "REPORT, and whatever nobody knows"
    known = {rule["StringEquals"] for rule in choice["Choices"]}
    assert known | {"REPORT"} == set(Next)
