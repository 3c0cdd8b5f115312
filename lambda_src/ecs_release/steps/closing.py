"""Closing a record and giving the lock back. Report does it, and Parse for a release whose execution ended without."""

from __future__ import annotations

import time
import uuid
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from ecs_release.errors import RecordChangedError
from ecs_release.observability import logger
from ecs_release.record.models import ItemRecord, in_utc
from ecs_release.record.statuses import BAD, GOOD, WHOLE, ReleaseStatus, Status
from ecs_release.record.store import Store
from ecs_release.rollout.unused import copies_never_set, to_deregister

_CLOSING_SECONDS = 120
"""Closing a record takes at most this long: the time-out of the report function."""


def close(store: Store, release: str, status: str, reason: str | None = None) -> None:
    """Close a record that is still open and give the lock back; harmless when it was done before."""
    if status == ReleaseStatus.ABORTED:
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
        _write_status(store, release, ReleaseStatus.ABORTED, items, reason)
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
        "ended": utc_now(),
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
    registered = {(item.target, str(item.after)) for item in to_deregister(items)}
    return registered | {(item.target, str(item.rollback_to)) for item in copies_never_set(items)}


def _remember(store: Store, release: str, items: Sequence[ItemRecord]) -> None:
    """What later releases must know: which items are whole again, and what was undone by hand.

    What the release ended as is what its record says, whoever wrote that first: two may close it at once.
    """
    record = store.release(release)
    status = record.status if record is not None else ReleaseStatus.ABORTED
    by_hand = record is not None and record.mode == "rollback"
    keys = [item.state_key for item in items]
    # A release of thousands of unchanged items has nothing to forget, and a call for each of them takes longer than Report has.
    held, left = store.holds(keys), store.memories(keys)
    for item in items:
        done = item.action == "update" and item.verdict in (Status.SUCCEEDED, Status.UNVERIFIED)
        whole = (item.verdict in GOOD and (status in WHOLE or by_hand)) or item.status == Status.ROLLED_BACK
        if whole and item.state_key in left:
            store.forget(item)
        if by_hand and done:
            store.hold(item)
        elif item.state_key in held and done and status in WHOLE:
            store.lift_hold(item.state_key)  # the manifest has moved on


def utc_now() -> str:
    return in_utc(datetime.now(UTC))
