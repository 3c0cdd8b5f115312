"""Report: close the record, give the lock back, and tell people what came of the release."""

from __future__ import annotations

import dataclasses
import json
import time
import uuid
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from ecs_release.aws import explain, own_client
from ecs_release.due import ensure_report, ensure_running, has_ended, was_refused
from ecs_release.errors import NotDueError, PassingError, RecordChangedError, UnavailableError
from ecs_release.notification import message, subject
from ecs_release.observability import MetricUnit, logger, metrics
from ecs_release.repair import repair_command
from ecs_release.rollout import BAD, GOOD, Status
from ecs_release.settings import Settings
from ecs_release.store import ItemRecord, ReleaseRecord, Store
from ecs_release.unused import to_deregister

_CLOSING_SECONDS = 120
"""Closing a record takes at most this long: the time-out of the report function."""

WHOLE = frozenset({"SUCCEEDED", "NO_CHANGE"})
_CAUSE_CHARACTERS = 32_000  # a Fail state's cause holds 32,768: https://docs.aws.amazon.com/step-functions/latest/apireference/API_FailStateExecution.html


def report(
    settings: Settings, store: Store, release: str, execution: str, state: Mapping[str, Any]
) -> dict[str, Any]:
    """Close the release and say how it ended.

    Parameters
    ----------
    state : the machine's state; what Parse raised (``{"Error", "Cause"}``) when it got no further.

    Returns
    -------
    dict
        ``{"release", "status", "counts"}``, and ``error`` and ``cause`` when the release is not whole.

    Raises
    ------
    NotDueError
        when the release is not at its end, or the execution is not its own.
    """
    if "Error" in state:  # Parse got no further; who says so has no turn to show
        ensure_running(release, execution)
    try:
        record, items = _closed(store, release, execution, state)
    except (ClientError, BotoCoreError, UnavailableError) as error:
        if "Error" not in state:
            raise
        # Without a record there is no way back, so the release was refused before it touched anything.
        problems = [*_problems(state), f"the record can't be written: {explain(error)}"]
        record = ReleaseRecord(release, execution, 0, _now(), status="REJECTED", problems=problems)
        items = []
    text = message(record, items, _commands(store, not_back(record, items), record.execution))
    if settings.topic_arn:
        _notify(settings, record, text)
    metrics.add_dimension(name="Status", value=record.status)
    metrics.add_metric(name="Releases", unit=MetricUnit.Count, value=1)
    metrics.add_metric(name="Throttles", unit=MetricUnit.Count, value=record.throttles)
    logger.info("release closed", extra={"status": record.status, "counts": record.counts})
    result: dict[str, Any] = {"release": release, "status": record.status, "counts": record.counts}
    if record.status not in WHOLE:
        result["error"] = f"EcsRelease.{record.status}"
        result["cause"] = text[:_CAUSE_CHARACTERS]
    return result


def _closed(
    store: Store, release: str, execution: str, state: Mapping[str, Any]
) -> tuple[ReleaseRecord, list[ItemRecord]]:
    refusal = state.get("Error")
    record = store.release(release)
    if record is not None:
        ensure_report(record, store.items(release), execution, state)
    elif not refusal:
        raise NotDueError(f"there is no release {release}; nothing was closed.")
    if record is None:
        record = ReleaseRecord(
            release=release, execution=execution, epoch=0, started=_now(), problems=_problems(state)
        )
        store.put_release(record)
    elif refusal and not record.problems and record.status == "RUNNING":
        store.update_release(release, {"problems": _problems(state)})
    if record.status != "RUNNING" and store.lock().holder == release:
        close(store, release, record.status)  # an earlier attempt died after it had written the status
    elif record.status == "RUNNING":
        items = store.items(release)
        # Parse got no further, and ensure_report has seen that no item was begun.
        status = "REJECTED" if refusal else judge_release(record, items)
        if error := state.get("error"):
            logger.error(
                "the machine stopped early", extra={"error": error.get("Error"), "cause": error.get("Cause")}
            )
            stopped = f"the release stopped early: {error.get('Error')}: {_problems(error)[0]}"
            store.update_release(release, {"problems": [stopped]})
        close(store, release, status)
    closed = store.release(release)
    assert closed is not None  # noqa: S101 - written above
    return closed, store.items(release)


def report_ended_execution(settings: Settings, store: Store, detail: Mapping[str, Any]) -> dict[str, Any]:
    """Close what an execution left open that was stopped, timed out, or failed before Report.

    Parameters
    ----------
    detail : of the event "Step Functions Execution Status Change"
        (https://docs.aws.amazon.com/step-functions/latest/dg/eventbridge-integration.html).

    Raises
    ------
    NotDueError
        when the execution is not the release's, or Step Functions does not say that it has ended. It may not say so yet;
        Lambda tries an event again a minute later.
    """
    release, execution = str(detail["name"]), str(detail["executionArn"])
    record = store.release(release)
    if execution.rpartition(":")[2] != release or (record is not None and record.execution != execution):
        raise NotDueError(f"release {release} is not {execution}; its record stays as it is.")
    if record is not None and record.status != "RUNNING" and store.lock().holder != release:
        return {"release": release, "status": record.status, "counts": {}}
    ended = has_ended(store, release, execution)
    if ended is None:
        raise NotDueError(f"{execution} is not known to have ended; its record stays as it is.")
    # Without a first turn nothing was begun. What failed then is Parse, and Report after it because it could not write the record.
    refused = ended == "FAILED" and (record is None or record.turn is None)
    status, reason = "REJECTED" if refused else "ABORTED", f"its execution ended as {ended}"
    if record is None:
        # Noted, so that a worker of it that is still on its way can't begin what nobody would close.
        now = _now()
        never = ReleaseRecord(release, execution, 0, now, status=status, ended=now)
        store.put_release(dataclasses.replace(never, problems=[f"{reason} before it began"]))
    else:
        close(store, release, status, reason)
    closed = store.release(release)
    assert closed is not None  # noqa: S101 - written above
    if settings.topic_arn and not (refused and was_refused(execution)):
        _notify(settings, closed, message(closed, store.items(release)))
    return {"release": release, "status": closed.status, "counts": closed.counts}


def judge_release(record: ReleaseRecord, items: Sequence[ItemRecord]) -> str:
    """The release's status from its items. Pure."""
    if not items:
        return "REJECTED"
    if all(item.verdict in GOOD for item in items):
        return "SUCCEEDED" if any(item.action == "update" for item in items) else "NO_CHANGE"
    touches = any(touched(item) or item.rollback_started_at is not None for item in items)
    if record.begun_at is None and not touches:
        return "REJECTED"  # once a wave has begun, nobody may say any more that nothing was touched
    if record.on_failure != "rollback":
        return "FAILED"
    if any(item.status == Status.ROLLBACK_FAILED or _waits_for_rollback(item) for item in items):
        return "ROLLBACK_INCOMPLETE"
    return "ROLLED_BACK" if any(item.status == Status.ROLLED_BACK for item in items) else "FAILED"


def touched(item: ItemRecord) -> bool:
    """Whether this release may have written this item to production."""
    deployed_by_registering = not item.pinned and item.after is not None
    return item.action == "update" and (item.started_at is not None or deployed_by_registering)


def needs_rollback(item: ItemRecord) -> bool:
    """Whether "back" means something for this item: this release changed it, or found it not whole."""
    return touched(item) or (item.inherited and item.before != item.live)


def close(store: Store, release: str, status: str, reason: str | None = None) -> None:
    """Close a record that is still open and give the lock back; harmless when it was done before."""
    if status == "ABORTED":
        _close_by_force(store, release, reason)
        return
    items = store.items(release)
    _write_status(store, release, status, items, reason)
    _remember(store, release, items)
    store.note_unused(release, _unused(items))
    store.release_lock(release)


def _close_by_force(store: Store, release: str, reason: str | None) -> None:
    """Take the lock from a release whose execution has ended, then close its record.

    The lock is free before the record is closed, so whoever takes it waits for this as for a worker: a memory that is
    brought up to date late must not wipe out what the next release has noted.
    """
    request = f"close-{uuid.uuid4().hex}"
    store.worker_begins(release, request, time.time() + _CLOSING_SECONDS)
    try:
        epoch = store.release_lock(release, by_force=True)
        store.fence_items(release, epoch)
        items = store.items(release)
        _write_status(store, release, "ABORTED", items, reason)
        _remember(store, release, items)
        store.note_unused(release, _unused(items))
        store.left_is_closed(release)
    finally:
        store.worker_ends(release, request)


def _write_status(
    store: Store, release: str, status: str, items: Sequence[ItemRecord], reason: str | None
) -> None:
    changes: dict[str, Any] = {
        "status": status,
        "ended": _now(),
        "counts": dict(Counter(str(item.status) for item in items)),
        "culprits": [f"{item.name}: {item.reason or item.verdict}" for item in items if item.verdict in BAD],
        "unused": len(_unused(items)),
    }
    if reason:
        changes["problems"] = [reason]
    try:
        store.update_release(release, changes, only_running=True)
    except RecordChangedError:
        logger.info("the record was closed before")


def _unused(items: Sequence[ItemRecord]) -> set[tuple[str, str]]:
    """What the clean-up is to deregister, as (target, ARN)."""
    return {(item.target, str(item.after)) for item in to_deregister(items)}


def _remember(store: Store, release: str, items: Sequence[ItemRecord]) -> None:
    """What later releases must know: which items are whole again, and what was undone by hand.

    What the release ended as is what its record says, whoever wrote that first: two may close it at once.
    """
    record = store.release(release)
    status = record.status if record is not None else "ABORTED"
    by_hand = record is not None and record.mode == "rollback"
    keys = [item.state_key for item in items]
    # A release of thousands of unchanged items has nothing to forget, and a call for each of them takes longer than Report has.
    held, left = store.holds(keys), store.unwhole(keys)
    for item in items:
        done = item.action == "update" and item.verdict in (Status.SUCCEEDED, Status.UNVERIFIED)
        whole = (item.verdict in GOOD and (status in WHOLE or by_hand)) or item.status == Status.ROLLED_BACK
        if whole and item.state_key in left:
            store.mark_whole(item)
        if by_hand and done:
            store.hold(item)
        elif item.state_key in held and done and status in WHOLE:
            store.lift_hold(item.state_key)  # the manifest has moved on


def _problems(state: Mapping[str, Any]) -> list[str]:
    """The lines of what Parse raised: Lambda puts the message of an exception into the cause as JSON."""
    cause = str(state.get("Cause", ""))
    try:
        text = str(json.loads(cause)["errorMessage"])
    except (ValueError, KeyError, TypeError):
        text = cause or str(state.get("Error", "Parse failed"))
    return [line for line in text.splitlines() if line] or [str(state.get("Error"))]


def not_back(record: ReleaseRecord, items: Sequence[ItemRecord]) -> list[ItemRecord]:
    """The items that a rollback did not bring back: it failed, or the machine stopped before their turn."""
    if record.status != "ROLLBACK_INCOMPLETE":
        return []
    return [item for item in items if item.status == Status.ROLLBACK_FAILED or _waits_for_rollback(item)]


def _waits_for_rollback(item: ItemRecord) -> bool:
    return needs_rollback(item) and item.status not in (Status.ROLLED_BACK, Status.SUPERSEDED)


def _commands(store: Store, items: Sequence[ItemRecord], execution: str) -> list[str]:
    """One command for each item that should be back and is not."""
    if not items:
        return []
    targets = store.targets()
    return [repair_command(item, targets[item.target].region, execution) for item in items]


def _notify(settings: Settings, record: ReleaseRecord, text: str) -> None:
    try:
        own_client("sns").publish(
            TopicArn=settings.topic_arn,
            Subject=subject(settings.name, record),
            Message=text,
            MessageAttributes={"status": {"DataType": "String", "StringValue": record.status}},
        )
    except (ClientError, BotoCoreError, PassingError) as error:
        # The release ended as it ended; a topic that can't be reached does not change that.
        logger.error("notification failed", extra={"reason": explain(error)})
        metrics.add_metric(name="NotificationsFailed", unit=MetricUnit.Count, value=1)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
