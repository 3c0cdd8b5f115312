"""The lock: which release may write, and which workers of a closed one may still be in the middle of a call.

``steps/lock.py`` takes it, also from a holder that has died.
"""

from __future__ import annotations

import time

from ecs_release.errors import LockLostError, RecordChangedError
from ecs_release.record.models import Lock
from ecs_release.record.table import Table, serialized


class Locks(Table):
    """Who may write, and who may still be at it."""

    def lock(self) -> Lock:
        found = self._get("LOCK", "LOCK") or {}
        return Lock(
            found.get("holder"),
            found.get("execution"),
            int(found.get("epoch", 0)),
            found.get("left_by"),
            bool(found.get("closed")),
            found.get("freed_at"),
        )

    def release_lock(self, release: str, *, by_force: bool = False) -> int:
        """Give the lock back; nothing happens when somebody else holds it. Returns the epoch that is over with it.

        Parameters
        ----------
        by_force : the release was stopped; its workers may still be in the middle of a call.
        """
        lock = self.lock()
        if lock.holder != release:
            return lock.epoch
        left = {"left_by": release} if by_force else {}
        try:
            self._put(
                {"pk": "LOCK", "sk": "LOCK", "epoch": lock.epoch + 1, "freed_at": int(time.time()), **left},
                condition="epoch = :seen AND holder = :me",
                values={":seen": lock.epoch, ":me": release},
            )
        except RecordChangedError:
            return self.lock().epoch
        return lock.epoch + 1

    def left_is_closed(self, release: str) -> None:
        """Say that nothing is left to be written about a release that lost the lock by force."""
        try:
            self._update(
                {"pk": "LOCK", "sk": "LOCK"},
                {"closed": True},
                condition="left_by = :release",
                values={":release": release},
            )
        except RecordChangedError:
            return

    def check_lock(self, release: str, epoch: int) -> None:
        """Read the lock right before a write to production.

        Raises
        ------
        LockLostError
            when this release does not hold it any more.
        """
        lock = self.lock()
        if lock.holder != release or lock.epoch != epoch:
            raise LockLostError(
                f"release {release} no longer holds the lock (now: {lock.holder or 'nobody'}); it stops writing."
            )

    def worker_begins(self, release: str, request: str, until: float) -> None:
        """Say that a worker may be in the middle of a call until it says otherwise, or ``until`` (epoch seconds)."""
        self._put({"pk": f"RELEASE#{release}", "sk": f"WORKER#{request}", "until": int(until) + 1})

    def worker_ends(self, release: str, request: str) -> None:
        self._client.delete_item(
            TableName=self._table, Key=serialized({"pk": f"RELEASE#{release}", "sk": f"WORKER#{request}"})
        )

    def workers(self, release: str) -> list[float]:
        """Until when each worker of a release may still be running."""
        now = time.time()
        found = self._query(f"RELEASE#{release}", begins="WORKER#")
        return [float(worker["until"]) for worker in found if float(worker["until"]) > now]
