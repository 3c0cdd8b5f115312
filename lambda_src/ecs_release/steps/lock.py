"""Taking the lock: from nobody, or from a release whose execution has ended and left it behind.

Such a release is closed as ABORTED first, and the workers that it may have left in the middle of a call are waited for.
"""

from __future__ import annotations

import time

from ecs_release.errors import LockLostError, NotDueError, RecordChangedError, ReleaseLockedError
from ecs_release.observability import logger
from ecs_release.record.models import Lock, ReleaseRecord
from ecs_release.record.statuses import ReleaseStatus
from ecs_release.record.store import Store
from ecs_release.steps.closing import close
from ecs_release.steps.due import has_ended
from ecs_release.steps.worker import Worker

LONGEST_FUNCTION_SECONDS = 900
"""A stopped execution leaves its workers running for at most this long (Lambda's own limit)."""

_TAKEOVER_WAIT_SECONDS = 120


def take_lock(worker: Worker, record: ReleaseRecord) -> ReleaseRecord:
    """Open a release: take the lock, if need be from a holder that is known to have ended; the record as it is.

    Raises
    ------
    ReleaseLockedError
        naming the holder.
    LockLostError
        when the release is closed: it was stopped while it began.
    NotDueError
        when it is another execution's, or past its beginning.
    """
    store, release = worker.store, record.release
    until = time.monotonic() + min(_TAKEOVER_WAIT_SECONDS, worker.remaining() / 2)
    while True:
        opened = store.release(release)
        if opened is not None:
            if opened.execution != record.execution or opened.turn_before is not None:
                raise NotDueError(f"release {release} has begun, as {opened.execution}.")
            if opened.status != ReleaseStatus.RUNNING:
                raise LockLostError(f"release {release} is over ({opened.status}); nothing was touched.")
            return opened
        seen = store.lock()
        if seen.holder is not None:
            if not _ended(store, seen):
                raise ReleaseLockedError(
                    f"release {seen.holder} is running ({seen.execution}); one release at a time. "
                    "Wait for it, or stop it."
                )
            logger.info(
                "closing the record of a release that ended without closing it", extra={"holder": seen.holder}
            )
            close(store, seen.holder, ReleaseStatus.ABORTED, "its execution ended without closing the record")
            continue
        if seen.left_by is not None and store.workers(seen.left_by):
            if time.monotonic() > until:
                raise ReleaseLockedError(
                    f"release {seen.left_by} was stopped, and a worker of it may still be in the middle of a call; "
                    f"try again in {LONGEST_FUNCTION_SECONDS // 60} minutes at the latest."
                )
            time.sleep(1)
            continue
        if seen.left_by is not None and not seen.closed:
            close(
                store, seen.left_by, ReleaseStatus.ABORTED, "its execution ended without closing the record"
            )
        try:
            record = store.open_release(record, seen)
        except RecordChangedError:
            continue
        # What the release before wrote last may not be read yet, and a before-image must not be older than that.
        # Of a lock that was given back by a version before this one, nobody knows when that was.
        just_now = seen.left_by is not None or (seen.epoch > 0 and seen.freed_at is None)
        last = time.time() if just_now else float(seen.freed_at or 0)
        time.sleep(max(0.0, last + worker.settings.settle_seconds - time.time()))
        return record


def _ended(store: Store, lock: Lock) -> bool:
    """Whether the holder's execution is known to have ended."""
    return has_ended(store, str(lock.holder), str(lock.execution)) is not None
