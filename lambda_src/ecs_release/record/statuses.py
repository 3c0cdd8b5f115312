"""Statuses of items and of releases."""

from __future__ import annotations

from enum import StrEnum


class Status(StrEnum):
    """Verdict (forward) and status (now) of one item."""

    PENDING = "PENDING"
    UNCHANGED = "UNCHANGED"
    PREPARED = "PREPARED"
    UPDATED = "UPDATED"
    SUCCEEDED = "SUCCEEDED"
    UNVERIFIED = "UNVERIFIED"
    FAILED = "FAILED"
    TIMED_OUT = "TIMED_OUT"
    SUPERSEDED = "SUPERSEDED"
    ROLLED_BACK_BY_ECS = "ROLLED_BACK_BY_ECS"
    ROLLED_BACK = "ROLLED_BACK"
    ROLLBACK_FAILED = "ROLLBACK_FAILED"


class ReleaseStatus(StrEnum):
    """How a release ended; RUNNING until then."""

    RUNNING = "RUNNING"
    SUCCEEDED = "SUCCEEDED"
    NO_CHANGE = "NO_CHANGE"
    FAILED = "FAILED"
    ROLLED_BACK = "ROLLED_BACK"
    ROLLBACK_INCOMPLETE = "ROLLBACK_INCOMPLETE"
    REJECTED = "REJECTED"
    ABORTED = "ABORTED"


WHOLE = frozenset({ReleaseStatus.SUCCEEDED, ReleaseStatus.NO_CHANGE})
"""Every item of the release is as it was meant."""

OPEN = frozenset({Status.PENDING, Status.PREPARED, Status.UPDATED})
GOOD = frozenset({Status.UNCHANGED, Status.SUCCEEDED, Status.UNVERIFIED})
BAD = frozenset({Status.FAILED, Status.TIMED_OUT, Status.SUPERSEDED, Status.ROLLED_BACK_BY_ECS})
