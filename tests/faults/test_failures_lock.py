"""facts/failures.md, the rows about who may release, releases that were stopped, and what was undone by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from arena import CLUSTER, Arena, service, until


@pytest.fixture(scope="module")
def stopped(arena: Arena) -> dict[str, Any]:
    """A release that is refused a companion, stopped while its worker is in the middle of a call, and run again."""
    arena.services("l-0", "l-1", "l-2", "l-3")
    document = {"services": [service("l-0"), *(service(name, wave=1) for name in ("l-1", "l-2", "l-3"))]}
    arena.rollouts({"image": "/l-0:2$", "outcome": "wait"})
    first = arena.start(document)
    until("waiting for l-0", lambda: arena.runs("l-0") == "l-0:2")
    refused = arena.release({"services": [service("l-3", "3")]})
    arena.faults({"operation": "ecs:UpdateService", "match": '"l-1"', "kind": "hold"})
    arena.rollouts({"image": "/l-0:2$", "seconds": 1})
    arena.struck("ecs:UpdateService", '"l-1"')
    before = arena.log("update-service").count("LockLostError")
    arena.stop(first)
    record = arena.closed(first)
    arena.no_more('"l-1"')
    until("given up", lambda: arena.log("update-service").count("LockLostError") > before)
    at_the_stop = {name: arena.deployments(name) for name in ("l-1", "l-2", "l-3")}
    again = arena.release(document)
    return {
        "first": first.rpartition(":")[2],
        "refused": refused,
        "record": record,
        "at the stop": at_the_stop,
        "again": again,
        "status": arena.status(first),
    }


def test_15_two_releases_at_once(arena: Arena, stopped: dict[str, Any]) -> None:
    refused = stopped["refused"]
    assert refused.error == "EcsRelease.REJECTED"
    assert f"release {stopped['first']} is running" in refused.cause
    assert f"release {stopped['first']} is running" in refused.record.problems[0]
    assert arena.revisions("l-3") == ["l-3:1", "l-3:2"]


def test_27_an_operator_stops_the_execution(arena: Arena, stopped: dict[str, Any]) -> None:
    assert stopped["record"].status == "ABORTED"
    assert stopped["record"].problems == ["its execution ended as ABORTED"]
    assert stopped["status"]["status"] == "ABORTED"
    (message,) = [n for n in arena.aws.notifications() if stopped["first"] in n["subject"]]
    assert "ABORTED" in message["subject"]
    assert stopped["again"].status == "SUCCEEDED", stopped["again"].cause
    for name in ("l-1", "l-2", "l-3"):
        assert arena.runs(name) == f"{name}:2"
        assert arena.all_revisions(name) == [f"{name}:1", f"{name}:2"], "nothing was done twice"
        assert arena.deployments(name) == 2


def test_31_stopped_while_a_lambda_is_writing(arena: Arena, stopped: dict[str, Any]) -> None:
    # The call that was under way was done; the worker stopped before its next write.
    assert stopped["at the stop"] == {"l-1": 2, "l-2": 1, "l-3": 1}
    again = stopped["again"]
    assert again.record.status == "SUCCEEDED"
    actions = {name.rpartition("/")[2]: item.action for name, item in again.items.items()}
    assert actions == {"l-0": "unchanged", "l-1": "unchanged", "l-2": "update", "l-3": "update"}


def test_16_the_locks_holder_died(arena: Arena) -> None:
    arena.services("r16-a", "r16-b")
    arena.rollouts({"image": "/r16-a:2$", "outcome": "stall"})
    # The event that tells of the end is lost.
    arena.events.disable_rule(Name="ecs-release-ended")
    try:
        dead = arena.start({"services": [service("r16-a")]})
        until("updated", lambda: arena.runs("r16-a") == "r16-a:2")
        arena.stop(dead)
        release = dead.rpartition(":")[2]
        assert arena.stack.store.lock().holder == release
        outcome = arena.release({"services": [service("r16-b")]})
    finally:
        arena.events.enable_rule(Name="ecs-release-ended")
    assert outcome.status == "SUCCEEDED", outcome.cause
    closed = arena.stack.store.release(release)
    assert closed is not None
    assert closed.status == "ABORTED"
    assert arena.status(dead)["status"] == "ABORTED"
    assert arena.stack.store.lock().holder is None


def test_30_git_still_names_what_a_rollback_by_hand_undid(arena: Arena, tmp_path: Path) -> None:
    arena.services("r30", "r30-other")
    document = {"services": [service("r30"), service("r30-other")]}
    assert arena.release(document).status == "SUCCEEDED"
    arena.free()
    status, printed = arena.command("rollback", "--yes", "--json")
    assert status == 0
    assert json.loads(printed)["status"] == "SUCCEEDED"
    assert (arena.runs("r30"), arena.runs("r30-other")) == ("r30:1", "r30-other:1")

    refused = arena.release(document)
    assert refused.error == "EcsRelease.REJECTED"
    assert "undid" in refused.cause
    assert f"ecs-release unhold {CLUSTER}/r30\n" in refused.cause + "\n"
    assert arena.runs("r30") == "r30:1"

    moved_on = arena.release({"services": [service("r30-other", "3")]})
    assert moved_on.status == "SUCCEEDED", "a manifest that moves on lifts the hold by itself"
    assert arena.command("unhold", f"{CLUSTER}/r30")[0] == 0
    assert arena.release({"services": [service("r30"), service("r30-other", "3")]}).status == "SUCCEEDED"
    assert (arena.runs("r30"), arena.runs("r30-other")) == ("r30:2", "r30-other:3")


def test_30_after_an_automatic_rollback_the_same_commit_may_run_again(arena: Arena) -> None:
    arena.services(
        "r30-flaky", deploymentConfiguration={"deploymentCircuitBreaker": {"enable": True, "rollback": False}}
    )
    document = {"services": [service("r30-flaky")]}
    arena.rollouts({"image": "/r30-flaky:2$", "outcome": "fail"})
    failed = arena.release(document)
    assert failed.error == "EcsRelease.ROLLED_BACK"
    arena.rollouts({"image": "/r30-flaky:2$", "outcome": "complete", "seconds": 1})
    again = arena.release(document)
    assert again.status == "SUCCEEDED", again.cause
    assert again.id != failed.id
    first = arena.stack.store.release(failed.id)
    assert first is not None
    assert first.status == "ROLLED_BACK", "both are on record"
