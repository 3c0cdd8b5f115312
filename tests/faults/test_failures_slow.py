"""facts/failures.md, the rows in which time has to pass: these releases run beside the others, on orchestrators of their own."""

from __future__ import annotations

import io
import time
import zipfile
from typing import Any

import pytest
from arena import CLUSTER, PACKAGE, Arena, service, until
from local_aws.client import HANG_SECONDS
from stack import Outcome

pytestmark = pytest.mark.takes_long

NEW_CODE = """
def handler(event, context):
    raise RuntimeError("the code of the upgrade")
"""


def deadline(main: Arena) -> dict[str, Any]:
    """Rollouts that never come to an end, and an upgrade of the module meanwhile."""
    arena = main.another("patient")
    arena.services("r11-crashing", "r11-stalled", "r11-fine")
    arena.rollouts(
        {
            "image": "/r11-crashing:2$",
            "outcome": "fail",
            "seconds": 3,
            "reason": "Essential container in task exited",
        },
        {"image": "/r11-stalled:2$", "outcome": "stall"},
    )
    execution = arena.start(
        {
            "services": [
                service("r11-crashing", timeoutMinutes=1),
                service("r11-stalled", timeoutMinutes=1),
                service("r11-fine"),
            ]
        }
    )
    until("waiting", lambda: (i := arena.item(execution, "r11-fine")) and i.verdict == "SUCCEEDED")
    arena.upgrade(with_new_code())
    upgraded_at = time.time()
    outcome = arena.wait(execution)
    after = arena.release({"services": [service("r11-fine", "3")]})
    return {
        "outcome": outcome,
        "upgraded at": upgraded_at,
        "after": after,
        "status": arena.status(outcome.id),
    }


def with_new_code() -> bytes:
    """The package of another version: one whose Parse and CheckRollouts do nothing but say so."""
    new = io.BytesIO()
    with zipfile.ZipFile(PACKAGE) as old, zipfile.ZipFile(new, "w") as archive:
        for entry in old.infolist():
            changed = entry.filename in (
                "ecs_release/steps/parse.py",
                "ecs_release/steps/check_rollouts.py",
                "ecs_release/steps/rollback.py",
            )
            archive.writestr(entry, NEW_CODE.encode() if changed else old.read(entry))
    return new.getvalue()


def retries(main: Arena) -> dict[str, Outcome]:
    """Workers that die or run out of time, and a table that is not there."""
    arena = main.another("impatient", timeouts={"update-service": 40})
    arena.services("r03", "r03-after", "r01")
    arena.faults(
        {"operation": "ecs:RegisterTaskDefinition", "match": '"r01"', "kind": "kill", "when": "after"},
        {"operation": "ecs:UpdateService", "match": '"r03"', "kind": "hang", "when": "after"},
    )
    outcome = arena.release({"services": [service("r03"), service("r03-after"), service("r01")]})
    arena.free()
    arena.services("r29")
    arena.faults(
        {
            "operation": "dynamodb:*",
            "match": "impatient-releases",
            "kind": "error",
            "error": "ResourceNotFoundException",
            "times": None,
        }
    )
    refused = arena.start({"services": [service("r29")]})
    unavailable = arena.wait(refused)
    arena.no_more("impatient-releases")
    return {"outcome": outcome, "unavailable": unavailable}


IN_THE_BACKGROUND = {"deadline": deadline, "retries": retries}


@pytest.fixture(scope="module")
def patient(arena: Arena) -> dict[str, Any]:
    found: dict[str, Any] = arena.background["deadline"].result(HANG_SECONDS)
    return found


@pytest.fixture(scope="module")
def impatient(arena: Arena) -> dict[str, Outcome]:
    found: dict[str, Outcome] = arena.background["retries"].result(HANG_SECONDS)
    return found


def failed_attempts(outcome: Outcome, error: str) -> int:
    """How often the machine saw a function's invocation end with this error."""
    return sum(
        error
        in str(event.get("taskFailedEventDetails") or event.get("lambdaFunctionFailedEventDetails") or "")
        for event in outcome.history
    )


def test_01_crash_after_register_before_it_was_recorded(arena: Arena, impatient: dict[str, Outcome]) -> None:
    outcome = impatient["outcome"]
    assert outcome.status == "SUCCEEDED", outcome.cause
    assert failed_attempts(outcome, "Runtime.ExitError") == 1
    assert arena.all_revisions("r01") == ["r01:1", "r01:2"], "the retry found it by its tag"
    assert arena.runs("r01") == "r01:2"
    assert arena.deployments("r01") == 2


def test_03_lambda_times_out(arena: Arena, impatient: dict[str, Outcome]) -> None:
    outcome = impatient["outcome"]
    assert outcome.status == "SUCCEEDED", outcome.cause
    assert failed_attempts(outcome, "Sandbox.Timedout") == 1
    for name in ("r03", "r03-after"):
        assert arena.all_revisions(name) == [f"{name}:1", f"{name}:2"]
        assert arena.runs(name) == f"{name}:2"
        assert arena.deployments(name) == 2, (
            "the calls that nobody waited for any more began no second rollout"
        )


def test_29_releases_table_unavailable_at_the_start(arena: Arena, impatient: dict[str, Outcome]) -> None:
    outcome = impatient["unavailable"]
    assert outcome.error == "EcsRelease.REJECTED", outcome.cause
    assert "the record can't be written: ResourceNotFoundException" in outcome.cause
    # The table may be there again when Step Functions tells of the execution's end; then the refusal is on record.
    record = outcome.stack.store.release(outcome.id)
    assert record is None or (record.status, record.waves) == ("REJECTED", [])
    assert set(outcome.states) == {"Parse", "Report", "ChooseResult", "ReleaseFailed"}, "no rollback either"
    assert arena.all_revisions("r29") == ["r29:1"]
    (message,) = outcome.messages
    assert "REJECTED" in message["subject"]


def test_11_tasks_crash_and_no_circuit_breaker(arena: Arena, patient: dict[str, Any]) -> None:
    outcome = patient["outcome"]
    assert outcome.error == "EcsRelease.ROLLED_BACK"
    items = {item.name.rpartition("/")[2]: item for item in outcome.items.values()}
    assert items["r11-crashing"].verdict == items["r11-stalled"].verdict == "TIMED_OUT"
    assert "not completed within 1 minutes; last task stopped: " in items["r11-crashing"].reason
    assert "Essential container in task exited" in items["r11-crashing"].reason
    assert items["r11-crashing"].reason in outcome.cause
    shown = {item["name"]: item for item in patient["status"]["items"]}
    assert shown[f"{CLUSTER}/r11-crashing"]["reason"] == items["r11-crashing"].reason
    for name in items:
        assert arena.runs(name) == f"{name}:1"
    (message,) = outcome.messages
    assert items["r11-crashing"].reason in message["message"]


def test_34_the_module_is_upgraded_while_a_release_runs(patient: dict[str, Any]) -> None:
    outcome = patient["outcome"]
    later = [e for e in outcome.history if e["timestamp"].timestamp() > patient["upgraded at"]]
    entered = [e["stateEnteredEventDetails"]["name"] for e in later if "stateEnteredEventDetails" in e]
    assert {"CheckRollouts", "Rollback", "Report"} <= set(entered), "most of it came after the upgrade"
    assert outcome.error == "EcsRelease.ROLLED_BACK", "and was done by the code it began with"
    assert patient["after"].error == "EcsRelease.REJECTED"
    assert "the code of the upgrade" in patient["after"].cause, "the next one runs the new code"
