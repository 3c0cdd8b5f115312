"""The record at its limits, and a Report that died between two of its writes."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import ClientError
from dying import Died, die
from ecs_release.aws.task_definitions import TaskDefinition
from ecs_release.errors import LockLostError, NotDueError, RecordChangedError, UnavailableError, fitting
from ecs_release.manifest import Service
from ecs_release.manifest.item import Rule, Schedule
from ecs_release.record.models import ItemRecord, ReleaseRecord
from ecs_release.record.store import Store
from ecs_release.report.notification import message
from ecs_release.settings import Settings
from ecs_release.steps import due, lock
from ecs_release.steps import report as report_step
from ecs_release.steps.closing import close
from ecs_release.steps.report import report, report_ended_execution

RELEASE = ReleaseRecord(
    "r1", "arn:execution:r1", 1, "2026-01-01T00:00:00.000Z", turn="last", due={"next": "REPORT"}
)
MACHINE = Path(__file__).parents[2] / "statemachine" / "release.asl.json"
TELLS = Settings("releases", topic_arn="arn:aws:sns:eu-west-1:111111111111:unit", name="unit")
LAST: dict[str, Any] = {"turn": "last"}
FRESH = dataclasses.replace(RELEASE, turn=None, due={})
ITEM = ItemRecord(
    "r1", 0, 0, 1, Service(cluster="c", service="s"), "update", {}, before="api:1", after="api:2"
)


def test_lists_of_a_release_fit_into_one_item_of_the_table(store: Store) -> None:
    store.put_release(RELEASE)
    store.update_release(
        "r1",
        {
            name: [f"cluster/service-{n}: {'x' * 200}" for n in range(5000)]
            for name in ("problems", "warnings")
        },
    )
    found = store.release("r1")
    assert found is not None
    assert 100 < len(found.problems) < 5000
    assert found.problems[-1] == f"... and {5000 - len(found.problems) + 1} more"


def test_short_lists_stay_whole() -> None:
    assert fitting(["a", "b"], 100) == ["a", "b"]
    assert fitting([], 100) == []


def test_cutting_again_leaves_no_row_of_the_first_cut(store: Store) -> None:
    store.put_release(FRESH)
    _cut(store, ITEM, dataclasses.replace(ITEM, number=1, item=Service(cluster="c", service="t")))
    _cut(
        store,
        ITEM,
        dataclasses.replace(ITEM, batch=1, item=Service(cluster="c", service="t"), action="unchanged"),
    )
    assert [(i.batch, i.number, i.name) for i in store.items("r1")] == [(0, 0, "c/s"), (1, 0, "c/t")]


def _cut(store: Store, *items: ItemRecord, worker: str = "w") -> None:
    store.claim_cut("r1", worker)
    store.put_items("r1", items, worker)


def test_a_late_verdict_changes_nothing_of_a_release_that_is_closed(store: Store) -> None:
    _begun(store, RELEASE, dataclasses.replace(ITEM, verdict="UPDATED", status="UPDATED"))
    (item,) = store.items("r1")
    close(store, "r1", "FAILED")
    with pytest.raises(RecordChangedError):
        store.settle_item(item, {"verdict": "SUCCEEDED"})
    assert store.items("r1") == [item]


def _begun(store: Store, record: ReleaseRecord, *items: ItemRecord) -> None:
    """A release that is at its last turn."""
    store.open_release(dataclasses.replace(record, turn=None, due={}), store.lock())
    _cut(store, *items)
    store.update_release("r1", {"turn": record.turn, "due": record.due})


def test_a_late_attempt_at_cutting_changes_nothing_of_what_another_has_cut(store: Store) -> None:
    store.put_release(FRESH)
    late = dataclasses.replace(ITEM, before="api:7")
    store.claim_cut("r1", "late")
    _cut(store, ITEM, worker="first")
    with pytest.raises(RecordChangedError):
        store.put_items("r1", [late], "late")
    due.next_turn(store, "r1", None, {"next": "PREPARE"}, cut_by="first", waves=[{"wave": 0}])
    attempts: tuple[Callable[[], Any], ...] = (
        lambda: store.claim_cut("r1", "late"),
        lambda: store.put_items("r1", [late], "late"),
        lambda: store.put_items("r1", [late], "first"),
        lambda: store.take_turn("r1", None, "t", {"waves": []}, cut_by="late"),
    )
    for attempt in attempts:
        with pytest.raises(RecordChangedError):
            attempt()
    with pytest.raises(RecordChangedError):
        store.put_release(RELEASE)
    store.refuse("r1", ["what it found later is no reason"])
    assert [item.before for item in store.items("r1")] == ["api:1"]
    found = store.release("r1")
    assert found is not None
    assert (found.waves, found.problems) == ([{"wave": 0}], [])


def test_a_release_is_cut_in_transactions_that_dynamodb_takes(store: Store) -> None:
    large = [dataclasses.replace(ITEM, number=n, before_raw="x" * 250_000) for n in range(30)]
    many = [dataclasses.replace(ITEM, batch=1 + n // 25, number=n % 25) for n in range(230)]
    store.put_release(FRESH)
    _cut(store, *large, *many)
    assert len(store.items("r1")) == 260


def test_a_decision_from_an_older_copy_is_never_written(store: Store) -> None:
    store.put_release(FRESH)
    _cut(store, ITEM)
    newer = store.update_item(ITEM, {"started_at": 1})
    for changes in ({"verdict": "SUPERSEDED"}, {"claim_by": "me"}, {"after": "api:9"}):
        with pytest.raises(RecordChangedError):
            store.update_item(ITEM, changes)
    assert store.item(ITEM) == newer
    assert store.update_item(newer, {"verdict": "SUPERSEDED"}).verdict == "SUPERSEDED"


def _released(store: Store) -> None:
    done = dataclasses.replace(ITEM, started_at=1, verdict="SUCCEEDED", status="SUCCEEDED")
    _begun(store, RELEASE, done)
    store.remember(done)


def _died_after_the_status_was_written(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def dies(*_: Any) -> None:
        raise KeyboardInterrupt

    _released(store)
    with monkeypatch.context() as patch:
        patch.setattr(Store, "forget", dies)
        with pytest.raises(KeyboardInterrupt):
            close(store, "r1", "SUCCEEDED")


def test_report_finishes_what_an_attempt_began_that_died_after_the_status(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    _died_after_the_status_was_written(store, monkeypatch)
    assert report(Settings("releases"), store, "r1", "arn:execution:r1", LAST)["status"] == "SUCCEEDED"
    assert store.lock().holder is None
    assert store.memories([ITEM.state_key]) == {}


def test_a_takeover_remembers_a_release_as_what_it_ended_as(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    _died_after_the_status_was_written(store, monkeypatch)
    close(store, "r1", "ABORTED", "its execution ended without closing the record")
    found = store.release("r1")
    assert found is not None
    assert found.status == "SUCCEEDED"
    assert store.memories([ITEM.state_key]) == {}


def test_two_that_close_a_release_at_once_remember_it_as_the_same(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Report is about to write SUCCEEDED when the execution is stopped, and whoever closes it then is first."""
    _released(store)
    written = Store.update_release

    def stopped_first(me: Store, release: str, changes: Any, **more: Any) -> None:
        monkeypatch.setattr(Store, "update_release", written)
        close(store, release, "ABORTED", "stopped")
        written(me, release, changes, **more)

    monkeypatch.setattr(Store, "update_release", stopped_first)
    assert report(Settings("releases"), store, "r1", "arn:execution:r1", LAST)["status"] == "ABORTED"
    assert store.memories([ITEM.state_key])[ITEM.state_key]["before"] == "api:1"


def test_a_late_report_takes_nothing_from_the_release_after_it(store: Store) -> None:
    _released(store)
    close(store, "r1", "SUCCEEDED")
    store.open_release(dataclasses.replace(RELEASE, release="r2"), store.lock())
    store.remember(dataclasses.replace(ITEM, release="r2", before="api:2"))
    report(Settings("releases"), store, "r1", "arn:execution:r1", LAST)
    assert store.lock().holder == "r2"
    assert store.memories([ITEM.state_key])[ITEM.state_key]["before"] == "api:2"


TARGET = {"account": "1", "region": "eu-west-1", "roleArn": "arn:w", "readerRoleArn": "arn:r"}


def _settled(store: Store, *items: ItemRecord, on_failure: str = "rollback") -> None:
    _begun(store, dataclasses.replace(RELEASE, on_failure=on_failure), *items)
    store._put({"pk": "CONFIG", "sk": "TARGETS", "targets": json.dumps({"default": TARGET})})


WRITTEN = dataclasses.replace(
    ITEM,
    live="api:1",
    started_at=1,
    deployment_id="ecs-svc/2",
    verdict="SUCCEEDED",
    status="SUCCEEDED",
)


def test_a_machine_that_stopped_early_says_what_is_where_and_how_to_finish(store: Store) -> None:
    never = dataclasses.replace(
        WRITTEN,
        number=1,
        item=Service(cluster="c", service="t"),
        started_at=None,
        verdict="PREPARED",
        status="PREPARED",
    )
    _settled(store, WRITTEN, never)
    error = {"Error": "Sandbox.Timedout", "Cause": '{"errorMessage": "the function took too long"}'}
    result = report(Settings("releases"), store, "r1", "arn:execution:r1", {**LAST, "error": error})
    assert result["status"] == "ROLLBACK_INCOMPLETE"
    lines = result["cause"].splitlines()
    assert "the release stopped early: Sandbox.Timedout: the function took too long" in lines
    assert "  c/s: SUCCEEDED, on api:2" in lines
    assert (
        "  aws ecs update-service --region eu-west-1 --cluster c --service s --task-definition api:1" in lines
    )
    assert "c/t" not in result["cause"], "it was never written"


def test_a_release_that_was_stopped_says_what_is_where(store: Store) -> None:
    _settled(store, WRITTEN)
    close(store, "r1", "ABORTED", "its execution ended as ABORTED")
    record = store.release("r1")
    assert record is not None
    assert "  c/s: SUCCEEDED, on api:2" in message(record, store.items("r1")).splitlines()


def test_a_rollback_by_hand_remembers_what_it_undid(store: Store) -> None:
    _settled(store, WRITTEN)
    store.update_release("r1", {"undid": "r0"})
    found = store.release("r1")
    assert found is not None
    assert found.undid == "r0"


def test_a_memory_stays_and_learns_what_is_ours(store: Store) -> None:
    store.remember(ITEM)
    store.remember(dataclasses.replace(ITEM, release="r2", before="api:2", after="api:3"), "digest")
    found = store.memories([ITEM.state_key])[ITEM.state_key]
    assert (found["release"], found["before"], found["ours"]) == ("r1", "api:1", {"api:2", "api:3", "digest"})


def test_a_void_memory_is_replaced_once(store: Store) -> None:
    store.remember(ITEM)
    again = dataclasses.replace(ITEM, release="r2", before="foreign:9", after="api:3", memory_void=True)
    for _ in range(2):
        store.remember(again, "digest")
    found = store.memories([ITEM.state_key])[ITEM.state_key]
    assert (found["release"], found["before"], found["ours"]) == ("r2", "foreign:9", {"api:3", "digest"})


def test_a_hold_that_was_lifted_after_a_stop_does_not_come_back(store: Store) -> None:
    _begun(
        store,
        dataclasses.replace(RELEASE, mode="rollback"),
        dataclasses.replace(ITEM, verdict="SUCCEEDED", status="SUCCEEDED"),
    )
    close(store, "r1", "ABORTED", "stopped")
    assert store.holds([ITEM.state_key])
    assert store.lock().left_by == "r1"
    assert store.lock().closed  # so the next Parse does not close it again


def test_a_takeover_waits_for_whoever_closes_the_record(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    _released(store)
    seen: list[int] = []
    remembered = Store.forget
    monkeypatch.setattr(
        Store, "forget", lambda me, item: (seen.append(len(store.workers("r1"))), remembered(me, item))[1]
    )
    store.update_item(ITEM, {"status": "ROLLED_BACK"})
    close(store, "r1", "ABORTED", "stopped")
    assert seen == [1]
    assert store.workers("r1") == []


def test_a_release_has_its_record_and_the_lock_at_once_or_neither(store: Store) -> None:
    seen = store.lock()
    opened = store.open_release(RELEASE, seen)
    assert store.release("r1") == opened
    assert (store.lock().holder, store.lock().epoch) == ("r1", opened.epoch)
    other = dataclasses.replace(RELEASE, release="r2")
    with pytest.raises(RecordChangedError):
        store.open_release(other, seen)
    assert store.release("r2") is None
    close(store, "r1", "REJECTED")
    with pytest.raises(RecordChangedError):
        store.open_release(RELEASE, store.lock())
    assert store.lock().holder is None


def test_an_execution_that_was_stopped_before_it_began_can_not_begin_any_more(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = SimpleNamespace(describe_execution=lambda **_: {"status": "ABORTED"})
    monkeypatch.setattr(due, "own_client", lambda _: ended)
    detail = {"name": "r1", "executionArn": "arn:execution:r1", "status": "ABORTED"}
    report_ended_execution(Settings("releases"), store, detail)
    found = store.release("r1")
    assert found is not None
    assert (found.status, found.problems) == (
        "ABORTED",
        ["its execution ended as ABORTED before it began"],
    )
    worker: Any = SimpleNamespace(store=store, remaining=lambda: 600.0, settings=Settings("releases"))
    with pytest.raises(LockLostError, match="is over"):
        lock.take_lock(worker, RELEASE)
    assert store.lock().holder is None


STOPPED = {"name": "r1", "executionArn": "arn:execution:r1", "status": "ABORTED"}


class Listener:
    """Step Functions, and the topic: what happens when they are asked, and what was published."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.told: list[str] = []
        self.on_describe: Callable[[], None] = lambda: None
        self.on_publish: Callable[[], None] = lambda: None
        for module in (due, report_step):
            monkeypatch.setattr(module, "own_client", lambda _: self)
        self.ended: dict[str, str] = {"status": "ABORTED"}

    def describe_execution(self, **_: Any) -> dict[str, str]:
        self.on_describe()
        return self.ended

    def publish(self, **asked: Any) -> None:
        self.on_publish()
        self.told.append(asked["Subject"])


@pytest.mark.parametrize("recorded", [True, False])
def test_a_stopped_release_is_told_of_once_however_often_its_event_comes(
    store: Store, monkeypatch: pytest.MonkeyPatch, recorded: bool
) -> None:
    """Events come at least once, and two of one at a time may both find the record open."""
    listener = Listener(monkeypatch)
    if recorded:
        store.open_release(RELEASE, store.lock())

    def again() -> None:
        listener.on_describe = lambda: None
        report_ended_execution(TELLS, store, STOPPED)

    listener.on_describe = again
    with contextlib.nullcontext() if recorded else pytest.raises(RecordChangedError):
        report_ended_execution(TELLS, store, STOPPED)
    report_ended_execution(TELLS, store, STOPPED)

    assert len(listener.told) == 1


def test_a_stopped_release_is_told_of_by_whoever_comes_after_an_invocation_that_died(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    listener = Listener(monkeypatch)
    store.open_release(RELEASE, store.lock())
    listener.on_publish = die
    with pytest.raises(Died):
        report_ended_execution(TELLS, store, STOPPED)
    found = store.release("r1")
    assert found is not None
    assert found.status == "ABORTED"
    listener.on_publish = lambda: None
    with pytest.raises(NotDueError, match="another invocation tells"):  # it may still be at it
        report_ended_execution(TELLS, store, STOPPED)
    later = time.time() + report_step._TELLING_SECONDS + 2
    monkeypatch.setattr(time, "time", lambda: later)
    for _ in range(2):
        report_ended_execution(TELLS, store, STOPPED)

    assert len(listener.told) == 1


FAILED = {**STOPPED, "status": "FAILED"}
NOT_BACK = dataclasses.replace(WRITTEN, verdict="FAILED", status="ROLLBACK_FAILED", reason="no room")


@pytest.fixture
def listener(monkeypatch: pytest.MonkeyPatch) -> Listener:
    """An execution that has failed, of a release that did not go back whole."""
    listener = Listener(monkeypatch)
    states = json.loads(MACHINE.read_text(encoding="utf-8"))["States"]
    listener.ended = {"status": "FAILED", "error": states["ReportingFailed"]["Error"]}
    return listener


def _event_until_done(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """The event that the execution failed, as often as Lambda tries it, and once more."""
    with contextlib.suppress(NotDueError):
        report_ended_execution(TELLS, store, FAILED)
    later = time.time() + report_step._TELLING_SECONDS + 2
    with monkeypatch.context() as patch:
        patch.setattr(time, "time", lambda: later)
        for _ in range(2):
            report_ended_execution(TELLS, store, FAILED)


@pytest.mark.parametrize("kind", ["service", "rule", "schedule"])
def test_a_report_without_the_target_of_an_item_says_what_to_do(
    store: Store, listener: Listener, kind: str
) -> None:
    """``terraform apply`` may take a target out while a release runs."""
    item: Any = {
        "service": Service(cluster="c", service="there", target="taken-out"),
        "rule": Rule(rule="there", target="taken-out"),
        "schedule": Schedule(schedule="there", target="taken-out"),
    }[kind]
    _settled(store, NOT_BACK, dataclasses.replace(NOT_BACK, number=1, item=item))
    result = report(TELLS, store, "r1", "arn:execution:r1", LAST)
    assert result["status"] == "ROLLBACK_INCOMPLETE"
    lines = result["cause"].splitlines()
    (said,) = [line for line in lines if 'the module has no target "taken-out"' in line]
    assert said.startswith("  # "), "it may be pasted into a shell with the others"
    assert f"ecs-release repair --release r1 {item.key[2]}" in said
    assert any(line.startswith("  aws ecs update-service") for line in lines)
    assert len(listener.told) == 1


def _while_closing(patch: pytest.MonkeyPatch, listener: Listener) -> None:
    patch.setattr(Store, "update_release", lambda *_, **__: die())


def _in_the_middle_of_closing(patch: pytest.MonkeyPatch, listener: Listener) -> None:
    patch.setattr(Store, "note_unused", lambda *_, **__: die())


def _after_closing(patch: pytest.MonkeyPatch, listener: Listener) -> None:
    patch.setattr(report_step, "message", lambda *_, **__: die())


def _before_it_says_that_it_tells(patch: pytest.MonkeyPatch, listener: Listener) -> None:
    patch.setattr(Store, "begin_notice", lambda *_: die())


def _before_it_tells(patch: pytest.MonkeyPatch, listener: Listener) -> None:
    listener.on_publish = die


def _once_it_has_told(patch: pytest.MonkeyPatch, listener: Listener) -> None:
    patch.setattr(Store, "notice_given", lambda *_: die())


def _at_its_end(patch: pytest.MonkeyPatch, listener: Listener) -> None:
    patch.setattr(report_step.metrics, "add_metric", lambda **_: die())


@pytest.mark.parametrize(
    ("dies", "messages"),
    [
        (_while_closing, 1),
        (_in_the_middle_of_closing, 1),
        (_after_closing, 1),
        (_before_it_says_that_it_tells, 1),
        (_before_it_tells, 1),
        (_once_it_has_told, 2),  # nobody knows that it has
        (_at_its_end, 1),
    ],
)
def test_a_report_that_dies_is_told_of_by_whoever_hears_that_its_execution_failed(
    store: Store, monkeypatch: pytest.MonkeyPatch, listener: Listener, dies: Any, messages: int
) -> None:
    """The record is closed and the lock is free by then, and Report was the one to tell."""
    _settled(store, NOT_BACK)
    with monkeypatch.context() as patch:
        dies(patch, listener)
        with pytest.raises(Died):
            report(TELLS, store, "r1", "arn:execution:r1", LAST)
    listener.on_publish = lambda: None
    _event_until_done(store, monkeypatch)
    assert len(listener.told) == messages
    assert store.lock().holder is None


@pytest.mark.parametrize(
    ("dies", "messages"), [(_before_it_tells, 1), (_once_it_has_told, 2), (_at_its_end, 1)]
)
def test_a_report_that_died_is_made_up_for_by_the_next_attempt(
    store: Store, monkeypatch: pytest.MonkeyPatch, listener: Listener, dies: Any, messages: int
) -> None:
    """Of a release that is whole no event comes, and the machine waits for nobody."""
    _released(store)
    with monkeypatch.context() as patch:
        dies(patch, listener)
        with pytest.raises(Died):
            report(TELLS, store, "r1", "arn:execution:r1", LAST)
    listener.on_publish = lambda: None
    for _ in range(2):
        assert report(TELLS, store, "r1", "arn:execution:r1", LAST)["status"] == "SUCCEEDED"
    assert len(listener.told) == messages


@pytest.mark.parametrize("topic", [None, TELLS.topic_arn])
def test_what_report_has_told_no_event_tells_again(
    store: Store, monkeypatch: pytest.MonkeyPatch, listener: Listener, topic: str | None
) -> None:
    _settled(store, NOT_BACK)
    for _ in range(2):
        report(dataclasses.replace(TELLS, topic_arn=topic), store, "r1", "arn:execution:r1", LAST)
    _event_until_done(store, monkeypatch)
    assert listener.told == (["[unit] ROLLBACK_INCOMPLETE: release r1"] if topic else [])


@pytest.mark.parametrize("refused", [False, True])
def test_a_topic_that_report_did_not_reach_is_tried_again_when_the_event_comes(
    store: Store, monkeypatch: pytest.MonkeyPatch, listener: Listener, refused: bool
) -> None:
    def fails() -> None:
        raise ClientError({"Error": {"Code": "InternalError"}}, "Publish")

    state = LAST
    if refused:
        store.open_release(FRESH, store.lock())
        state = {"Error": "ReleaseRejectedError", "Cause": "no"}
        monkeypatch.setattr(report_step, "ensure_running", lambda *_: None)
        listener.ended = {"status": "FAILED", "error": "EcsRelease.REJECTED"}
    else:
        _settled(store, NOT_BACK)
    listener.on_publish = fails
    report(TELLS, store, "r1", "arn:execution:r1", state)
    listener.on_publish = lambda: None
    _event_until_done(store, monkeypatch)
    assert len(listener.told) == 1


@pytest.mark.parametrize(("operation", "messages"), [("begin_notice", 1), ("notice_given", 2)])
def test_a_report_tells_also_while_nobody_can_note_it(
    store: Store, monkeypatch: pytest.MonkeyPatch, listener: Listener, operation: str, messages: int
) -> None:
    def unavailable(*_: Any) -> None:
        raise UnavailableError("DynamoDB gives no answer")

    _settled(store, NOT_BACK)
    with monkeypatch.context() as patch:
        patch.setattr(Store, operation, unavailable)
        result = report(TELLS, store, "r1", "arn:execution:r1", LAST)
    assert result["status"] == "ROLLBACK_INCOMPLETE"
    assert len(listener.told) == 1
    listener.ended["error"] = result["error"]
    _event_until_done(store, monkeypatch)
    assert len(listener.told) == messages


def test_a_version_that_noted_nothing_has_told_all_the_same(
    store: Store, monkeypatch: pytest.MonkeyPatch, listener: Listener
) -> None:
    _settled(store, NOT_BACK)
    close(store, "r1", "ROLLBACK_INCOMPLETE")
    listener.ended["error"] = "EcsRelease.ROLLBACK_INCOMPLETE"
    _event_until_done(store, monkeypatch)
    assert listener.told == []


def test_whoever_tells_in_the_place_of_report_says_how_to_finish(
    store: Store, monkeypatch: pytest.MonkeyPatch, listener: Listener
) -> None:
    _settled(store, NOT_BACK)
    close(store, "r1", "ROLLBACK_INCOMPLETE")
    texts: list[str] = []
    monkeypatch.setattr(report_step, "_publish", lambda *said, **_: texts.append(said[2]) or True)
    report_ended_execution(TELLS, store, FAILED)
    (text,) = texts
    assert "  ecs-release repair --release r1" in text.splitlines()


@pytest.mark.parametrize(
    ("status", "turn", "recorded"),
    [
        ("FAILED", None, "REJECTED"),
        ("ABORTED", None, "ABORTED"),
        ("TIMED_OUT", None, "ABORTED"),
        ("FAILED", "last", "ABORTED"),
    ],
)
def test_a_release_that_was_refused_while_its_record_could_not_be_written_is_recorded_as_refused(
    store: Store, monkeypatch: pytest.MonkeyPatch, status: str, turn: str | None, recorded: str
) -> None:
    ended = SimpleNamespace(describe_execution=lambda **_: {"status": status})
    monkeypatch.setattr(due, "own_client", lambda _: ended)
    store.open_release(dataclasses.replace(RELEASE, turn=turn), store.lock())
    detail = {"name": "r1", "executionArn": "arn:execution:r1", "status": status}
    assert report_ended_execution(Settings("releases"), store, detail)["status"] == recorded
    assert store.lock().holder is None


@pytest.mark.parametrize(("age_days", "ended"), [(0, False), (91, True)])
def test_an_execution_that_is_not_known_has_ended_only_when_it_began_long_ago(
    store: Store, monkeypatch: pytest.MonkeyPatch, age_days: int, ended: bool
) -> None:
    """DescribeExecution is eventually consistent: a release that has just begun must not be taken for a forgotten one."""
    from datetime import UTC, datetime, timedelta

    from botocore.exceptions import ClientError
    from ecs_release.record.models import Lock

    class Forgetful:
        def describe_execution(self, **_: Any) -> Any:
            raise ClientError({"Error": {"Code": "ExecutionDoesNotExist"}}, "DescribeExecution")

    monkeypatch.setattr(due, "own_client", lambda _: Forgetful())
    started = (datetime.now(UTC) - timedelta(days=age_days)).isoformat()
    store.put_release(dataclasses.replace(RELEASE, started=started))
    assert lock._ended(store, Lock(RELEASE.release, "arn:execution", 1)) is ended
    assert lock._ended(store, Lock("unknown", "arn:execution", 1)) is False


def test_what_parse_has_read_is_kept_in_rows_that_fit_and_goes_when_it_is_done(store: Store) -> None:
    def made(number: int) -> tuple[str, TaskDefinition]:
        arn = f"arn:aws:ecs:eu-west-1:111111111111:task-definition/{'x' * 200}-{number}:1"
        return "default", TaskDefinition({"taskDefinitionArn": arn}, ({"key": "team", "value": ""},))

    first, second = [made(n) for n in range(3000)], [made(n) for n in range(3000, 3010)]
    store.keep_definitions("r1", first)
    store.keep_definitions("r1", second)
    assert sorted(store.definitions("r1"), key=str) == sorted([*first, *second], key=str)
    store.forget_definitions("r1")
    assert store.definitions("r1") == []


def test_report_only_forgets_what_there_is_to_forget(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A no-op of thousands would otherwise take a call for each item, and Report has two minutes."""
    unchanged = [
        dataclasses.replace(
            ITEM, item=Service(cluster="c", service=str(n)), number=n, action="unchanged", verdict="UNCHANGED"
        )
        for n in range(40)
    ]
    _begun(store, RELEASE, *unchanged)
    store.remember(dataclasses.replace(unchanged[7], release="r0"))
    deleted: list[str] = []
    delete = Store.forget
    monkeypatch.setattr(Store, "forget", lambda self, item: (deleted.append(item.name), delete(self, item)))
    close(store, "r1", "NO_CHANGE")
    assert deleted == ["c/7"]
    assert store.memories([item.state_key for item in unchanged]) == {}
