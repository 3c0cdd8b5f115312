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


OPEN = frozenset({Status.PENDING, Status.PREPARED, Status.UPDATED})

GOOD = frozenset({Status.UNCHANGED, Status.SUCCEEDED, Status.UNVERIFIED})

BAD = frozenset({Status.FAILED, Status.TIMED_OUT, Status.SUPERSEDED, Status.ROLLED_BACK_BY_ECS})
