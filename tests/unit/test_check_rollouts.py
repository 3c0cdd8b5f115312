"""What CheckRollouts takes for proof of a scheduled task, and what for a passing failure."""

from __future__ import annotations

import dataclasses
import time
from typing import Any

import pytest
from botocore.exceptions import ClientError
from ecs_release import manifest
from ecs_release.aws.raw import RAW
from ecs_release.aws.service_state import ServiceState
from ecs_release.errors import TargetUnreachableError
from ecs_release.manifest import Service
from ecs_release.record.models import ItemRecord, ReleaseRecord
from ecs_release.record.statuses import Status
from ecs_release.report.notification import message
from ecs_release.rollout.judge import Judgement, Rollout
from ecs_release.rollout.release import judge_release
from ecs_release.rollout.unused import to_deregister
from ecs_release.settings import Settings
from ecs_release.steps import check_rollouts, judging
from ecs_release.steps.starting import Starting

PREFIX = "arn:aws:ecs:eu-west-1:111111111111:task-definition/"


def item(**members: Any) -> ItemRecord:
    return dataclasses.replace(
        ItemRecord("r", 0, 0, 1, manifest.Rule(rule="nightly"), "unchanged", {}), **members
    )


@pytest.mark.parametrize(
    ("reference", "pinned", "meant"),
    [
        (f"{PREFIX}job:2", True, True),
        ("job:2", True, True),
        (f"{PREFIX}job:1", True, False),
        (f"{PREFIX}other:2", True, False),
        (f"{PREFIX}job", True, False),
        (f"{PREFIX}job", False, True),
        (None, True, False),
    ],
)
def test_an_unchanged_task_runs_what_was_live_also_where_back_means_an_earlier_release(
    reference: str | None, pinned: bool, meant: bool
) -> None:
    inherited = item(
        live=f"{PREFIX}job:2",
        pinned=pinned,
        inherited=True,
        before=f"{PREFIX}job:1",
        before_raw=f'[{{"Id":"t","EcsParameters":{{"TaskDefinitionArn":"{PREFIX}job:1"}}}}]',
    )
    assert judging.runs_as_meant(inherited, reference) is meant


def test_a_changed_task_runs_the_very_revision_that_was_set() -> None:
    changed = item(action="update", live=f"{PREFIX}job:2", after=f"{PREFIX}job:3")
    assert judging.runs_as_meant(changed, f"{PREFIX}job:3")
    assert not judging.runs_as_meant(changed, f"{PREFIX}job:2")


def target(reference: str | None) -> dict[str, Any]:
    """A raw target of a rule; without a reference it is somebody's function."""
    return {"Id": "t", "Arn": "a"} | (
        {"EcsParameters": {"TaskDefinitionArn": reference}} if reference else {}
    )


class Rule:
    """A worker, its connections and EventBridge in one: a rule with one target, or none."""

    def __init__(self, *targets: dict[str, Any]) -> None:
        self.connections = self
        self.targets = list(targets)

    def client(self, *_: Any, **__: Any) -> Rule:
        return self

    def list_targets_by_rule(self, **_: Any) -> Any:
        return {RAW: {"Targets": self.targets}}

    def describe_task_definition(self, taskDefinition: str, **_: Any) -> Any:
        body = {
            "taskDefinitionArn": taskDefinition,
            "family": "job",
            "revision": 2,
            "status": "ACTIVE",
            "containerDefinitions": [{"name": "job", "image": "job:1"}],
        }
        return {RAW: {"taskDefinition": body}}


RECORDED = f'[{{"Id":"t","EcsParameters":{{"TaskDefinitionArn":"{PREFIX}job:1"}}}}]'


@pytest.mark.parametrize(
    ("targets", "forward", "back"),
    [
        ([target(f"{PREFIX}job:2")], Status.SUCCEEDED, Status.SUPERSEDED),
        ([target(f"{PREFIX}job:1")], Status.SUPERSEDED, Status.SUCCEEDED),
        ([target(None)], Status.SUPERSEDED, Status.SUPERSEDED),
        ([], Status.FAILED, Status.SUPERSEDED),
    ],
)
def test_a_target_that_runs_something_else_or_is_gone_is_no_proof(
    targets: list[dict[str, Any]], forward: Status, back: Status
) -> None:
    worker: Any = Rule(*targets)
    changed = item(
        action="update",
        before_raw=RECORDED,
        before=f"{PREFIX}job:1",
        live=f"{PREFIX}job:1",
        after=f"{PREFIX}job:2",
        startable=f"{PREFIX}job:2",
        rollback_to=f"{PREFIX}job:1",
    )
    assert judging._judge_task(worker, changed, Starting(worker), 1.0).status is forward
    assert judging._judge_task_back(worker, changed, Starting(worker), 1.0).status is back


class Items:
    """A worker and its store in one: the items of a release by batch."""

    def __init__(self, *items: ItemRecord) -> None:
        self.store = self
        self._items = items

    def items(self, _: str, first: int = 0, last: int = 99) -> list[ItemRecord]:
        return [item for item in self._items if first <= item.batch <= last]


def test_a_wave_that_has_not_begun_gives_back_what_an_earlier_release_left_there() -> None:
    left = item(
        action="update", batch=1, inherited=True, before="v1", live="v2", after="v3", verdict="PREPARED"
    )
    clean = item(action="update", batch=2, before="v2", live="v2", after="v3", verdict="PREPARED")
    failed = item(
        action="update", batch=0, before="v2", live="v2", after="v3", started_at=1, verdict="FAILED"
    )
    waves = [{"wave": n, "batches": [n, n], "tasks": [], "services": [n]} for n in range(3)]
    release = ReleaseRecord("r", "arn", 1, "2026-01-01T00:00:00.000Z", waves=waves)
    worker: Any = Items(left, clean, failed)
    state = check_rollouts._fail(worker, release, {"wave": 0})
    assert (state["next"], state["wave"], state["rollback"]) == ("ROLLBACK", 1, [1])


class Wave(Items):
    """A wave of services that is being watched: nothing new is seen of them."""

    settings = Settings("releases", soak_seconds=600)

    def __init__(self, on_failure: str, failing_for: int, *items: ItemRecord) -> None:
        super().__init__(*items)
        waves = [{"wave": 0, "batches": [0, 0], "tasks": [], "services": [0]}]
        self.now = time.time()
        self.record = ReleaseRecord(
            "r",
            "arn",
            1,
            "2026-01-01T00:00:00.000Z",
            waves=waves,
            on_failure=on_failure,
            failing_since=int(self.now - failing_for),
        )
        self.reasons: dict[str, str] = {}

    def update_item(self, item: ItemRecord, changes: dict[str, Any]) -> ItemRecord:
        assert set(changes) == {"reason"}, "an item without a verdict gets none"
        self.reasons[item.name] = changes["reason"]
        return item

    def next(self, monkeypatch: pytest.MonkeyPatch) -> str:
        monkeypatch.setattr(check_rollouts, "judge_all", lambda worker, items, *_: list(items))
        worker: Any = self
        state: Any = {"wave": 0, "phase": "services", "seconds": 15}
        return str(check_rollouts._after_update(worker, self.record, state, {}, self.now)["next"])


def written(name: str, **members: Any) -> ItemRecord:
    service = Service(cluster="c", service=name)
    return item(
        item=service,
        action="update",
        before="v1",
        live="v1",
        after="v2",
        started_at=1,
        deployment_id="ecs-svc/2",
        **{"verdict": Status.UPDATED, "status": Status.UPDATED, **members},
    )


FAILED = written("failed", verdict=Status.FAILED, status=Status.FAILED)
BAKES, ROLLS = written("bakes", bakes=True), written("rolls")
SOAKS = written("soaks", completed_at=int(time.time()), reason="its rollout is complete; it is watched")
PAUSED = written("paused", bakes=True, reason="ECS has paused it; continue it with: aws ecs")


@pytest.mark.parametrize(
    ("on_failure", "failing_for", "others", "then"),
    [
        ("stop", 10, [BAKES], "WAIT"),
        ("stop", 121, [BAKES, PAUSED], "REPORT"),
        ("stop", 121, [BAKES, ROLLS], "WAIT"),
        ("stop", 100_000, [ROLLS], "WAIT"),
        ("stop", 121, [BAKES, SOAKS], "WAIT"),
        ("rollback", 10, [BAKES], "ROLLBACK"),
        ("rollback", 10, [ROLLS], "WAIT"),
        ("rollback", 10, [SOAKS, BAKES], "ROLLBACK"),
        ("rollback", 121, [ROLLS], "ROLLBACK"),
        ("continue", 100_000, [BAKES], "WAIT"),
        ("continue", 100_000, [SOAKS], "WAIT"),
    ],
)
def test_how_long_the_others_of_a_failing_wave_are_watched(
    on_failure: str, failing_for: int, others: list[ItemRecord], then: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert Wave(on_failure, failing_for, FAILED, *others).next(monkeypatch) == then


def test_what_goes_on_without_a_release_that_stops_is_said_and_has_no_verdict(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    wave = Wave("stop", 121, FAILED, BAKES, PAUSED)
    assert wave.next(monkeypatch) == "REPORT"
    assert wave.reasons == {
        "c/bakes": check_rollouts.STILL_UNDER_WAY,
        "c/paused": f"{check_rollouts.STILL_UNDER_WAY}; {PAUSED.reason}",
    }
    again = Wave("stop", 121, FAILED, dataclasses.replace(PAUSED, reason=wave.reasons["c/paused"]))
    assert (again.next(monkeypatch), again.reasons) == ("REPORT", {})
    closed = dataclasses.replace(wave.record, status="FAILED")
    said = message(closed, [FAILED, dataclasses.replace(PAUSED, reason=wave.reasons["c/paused"])])
    assert f"c/paused: UPDATED, on v2: {check_rollouts.STILL_UNDER_WAY}; ECS has paused it" in said
    # Nothing that runs, or is about to, is deregistered, and what earlier releases remember stays.
    assert to_deregister([FAILED, dataclasses.replace(BAKES, registered=True)]) == []
    assert judge_release(dataclasses.replace(wave.record, begun_at=1), [FAILED, BAKES]) == "FAILED"


class Worker:
    """A worker whose every call fails."""

    def __init__(self, error: Exception) -> None:
        self.error = error
        self.connections = self

    def client(self, *_: Any, **__: Any) -> Any:
        raise self.error


DENIED = ClientError({"Error": {"Code": "AccessDeniedException", "Message": "no"}}, "ListTasks")


@pytest.mark.parametrize("error", [DENIED, TargetUnreachableError("no role")])
@pytest.mark.parametrize(("age", "status"), [(10, None), (3600, Status.TIMED_OUT)])
def test_what_cannot_be_read_is_no_verdict_before_the_deadline(
    error: Exception, age: int, status: Status | None
) -> None:
    worker: Any = Worker(error)
    now = time.time()
    task = item(started_at=int(now - age))
    assert judging._judge_task(worker, task, Starting(worker), now).status is status
    service = item(item=Service(cluster="c", service="s"), action="update")
    rollout = Rollout("ecs-svc/2", f"{PREFIX}job:3", age, 3600)
    without_state = ServiceState(
        {"status": "ACTIVE", "desiredCount": 1, "deployments": [{"id": "ecs-svc/2", "status": "PRIMARY"}]}
    )
    assert judging._judge(worker, service, rollout, without_state).status is status


def test_a_verdict_stands_where_stopped_tasks_cannot_be_read() -> None:
    worker: Any = Worker(DENIED)
    failed: Any = {
        "id": "ecs-svc/2",
        "status": "PRIMARY",
        "rolloutState": "FAILED",
        "rolloutStateReason": "tasks failed to start",
    }
    state = ServiceState({"status": "ACTIVE", "desiredCount": 1, "deployments": [failed]})
    rollout = Rollout("ecs-svc/2", f"{PREFIX}job:3", 10, 3600)
    verdict = judging._judge(worker, item(item=Service(cluster="c", service="s")), rollout, state)
    assert verdict.status is Status.FAILED
    assert verdict.reason == (
        "tasks failed to start; why its last task stopped can't be read: AccessDeniedException: no"
    )


def test_what_it_waits_for_says_which_permission_is_missing() -> None:
    """A refusal does not pass by itself, as a throttle or a lost connection does."""
    for error, said in ((DENIED, "AccessDeniedException: no"), (TargetUnreachableError("no role"), "")):
        worker: Any = Worker(error)
        waits = judging._judge_task(worker, item(started_at=int(time.time())), Starting(worker), time.time())
        assert waits == Judgement(reason=f"it can't be read now: {said}" if said else "")


class Slow:
    """Worker, store and ECS in one: each look at ten services takes so many seconds of an invocation's time."""

    def __init__(self, items: list[ItemRecord], seconds: float) -> None:
        self.store = self.connections = self
        self.rows = {i.key["sk"]: i for i in items}
        self.writes = 0
        self.seconds, self.left = seconds, 0.0
        self.looks: list[list[str]] = []

    def remaining(self) -> float:
        return self.left

    def client(self, *_: Any, **__: Any) -> Any:
        return self

    def settle_item(self, item: ItemRecord, changes: dict[str, Any], **_: Any) -> ItemRecord:
        self.writes += 1
        self.rows[item.key["sk"]] = dataclasses.replace(self.rows[item.key["sk"]], **changes)
        return self.rows[item.key["sk"]]

    def describe_services(self, services: list[str], **_: Any) -> dict[str, Any]:
        self.looks.append(services)
        self.left -= self.seconds
        return {
            "services": [
                {
                    "serviceName": name,
                    "status": "ACTIVE",
                    "desiredCount": 1,
                    "runningCount": 1,
                    "taskDefinition": "t:1",
                    "deployments": [
                        {
                            "id": "d",
                            "status": "PRIMARY",
                            "rolloutState": "COMPLETED",
                            "taskDefinition": "t:1",
                            "desiredCount": 1,
                            "runningCount": 1,
                        }
                    ],
                }
                for name in services
            ]
        }


@pytest.mark.parametrize("seconds", [0.1, 30.0, 100.0, 240.0])
def test_however_slowly_aws_answers_each_round_settles_what_it_read(seconds: float) -> None:
    """5,000 services on a throttled account do not fit into one look at all of them."""
    services = [
        item(
            item=Service(cluster="c", service=str(n)),
            number=n,
            after="t:1",
            deployment_id="d",
        )
        for n in range(95)
    ]
    worker: Any = Slow(services, seconds)
    rounds = 0
    while any(row.verdict == "PENDING" for row in worker.rows.values()):
        worker.left = 300.0
        before = sum(row.verdict == "PENDING" for row in worker.rows.values())
        judging.judge_all(worker, list(worker.rows.values()), time.time())
        rounds += 1
        assert sum(row.verdict == "PENDING" for row in worker.rows.values()) < before
    assert {row.verdict for row in worker.rows.values()} == {"UNCHANGED"}
    assert all(row.started_at for row in worker.rows.values())
    assert worker.writes == 95, "the first look and the verdict are one write"
    asked = [name for look in worker.looks for name in look]
    assert len(asked) < 95 + 10 * rounds
    assert max(map(len, worker.looks)) == 10


# --- what Rollback looks at -------------------------------------------------------------------------------------------

THEIRS_FIRST = {"verdict": Status.SUPERSEDED, "status": Status.SUPERSEDED}


@pytest.mark.parametrize(
    ("members", "looked_at"),
    [
        ({"verdict": Status.SUCCEEDED}, True),
        ({"verdict": Status.FAILED}, True),
        # Restarted, or some targets of its rule set by somebody: the rest of it may run what the release brought out.
        (THEIRS_FIRST, True),
        ({**THEIRS_FIRST, "started_at": None}, False),
        ({**THEIRS_FIRST, "started_at": None, "claim_by": "a worker that died"}, True),
        ({**THEIRS_FIRST, "started_at": None, "pinned": False}, True),
        ({**THEIRS_FIRST, "started_at": None, "pinned": False, "after": None}, False),
        ({**THEIRS_FIRST, "started_at": None, "inherited": True, "live": "left"}, True),
        ({"verdict": Status.PREPARED, "started_at": None}, False),
        ({"verdict": Status.FAILED, "started_at": None, "after": None}, False),
    ],
)
def test_rollback_looks_at_whatever_may_still_run_the_release(
    members: dict[str, Any], looked_at: bool
) -> None:
    assert check_rollouts._may_go_back(dataclasses.replace(written("s"), **members)) is looked_at


def test_a_superseded_item_that_was_written_waits_until_rollback_has_looked_at_it() -> None:
    release = ReleaseRecord("r", "arn", 1, "2026-01-01T00:00:00.000Z", begun_at=1)
    back = written("back", verdict=Status.FAILED, status=Status.ROLLED_BACK)
    superseded = written("restarted", **THEIRS_FIRST)
    assert judge_release(release, [back, superseded]) == "ROLLBACK_INCOMPLETE"
    left = dataclasses.replace(superseded, left_alone=True)
    assert judge_release(release, [back, left]) == "ROLLED_BACK"
