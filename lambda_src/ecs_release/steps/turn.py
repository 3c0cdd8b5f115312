"""One item in the hands of one worker.

Any invocation may run twice, late, or beside another. So every change of a record is made from the record as it was read
(:meth:`Store.update_item`), a worker has an item to itself from before its first write until it knows what became of it, and
whoever finds that the record has moved on starts over from what it says now.
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, TypeVar

from aws_lambda_powertools.utilities.idempotency import (
    IdempotencyConfig,
    idempotent_function,
)
from aws_lambda_powertools.utilities.idempotency.exceptions import (
    IdempotencyAlreadyInProgressError,
    IdempotencyInconsistentStateError,
    IdempotencyPersistenceLayerError,
)
from botocore.exceptions import BotoCoreError, ClientError

from ecs_release.aws.clients import CONNECT_TIMEOUT_SECONDS, READ_TIMEOUT_SECONDS
from ecs_release.aws.patience import has_time_for, jittered, pause
from ecs_release.aws.retries import checked
from ecs_release.aws.trouble import explain, trouble
from ecs_release.errors import (
    ItemBusyError,
    ItemError,
    LockLostError,
    PassingError,
    RecordChangedError,
    RefusedError,
    UnfinishedError,
)
from ecs_release.observability import logger
from ecs_release.record.models import ItemRecord
from ecs_release.steps.worker import Worker

_FRESH_SECONDS = 2
LEASE_SECONDS = CONNECT_TIMEOUT_SECONDS + READ_TIMEOUT_SECONDS + _FRESH_SECONDS
"""How long a claim holds: one attempt at an API call can't last longer, so a worker that died is not waited for."""

_BUSY_SECONDS = 2 * LEASE_SECONDS
_WRITE_SECONDS = 120  # a write that meets faults for longer than this is left to the next turn of the batch
_LONGEST_PAUSE_SECONDS = 10.0
_REMEMBER_SECONDS = 24 * 3600
NO_CLAIM: Mapping[str, Any] = {"claim_by": None, "claim_until": None}
_Result = TypeVar("_Result")


@dataclass
class Turn:
    """One item in the hands of one worker.

    Attributes
    ----------
    item : the record as this worker last read or wrote it.
    unsure : whether a call of this worker may still be on its way or not show yet, because no answer came, or one about a fault.
    looked_at : when what is to be written was read last, on the monotonic clock.
    """

    worker: Worker
    item: ItemRecord
    unsure: bool = False
    looked_at: float = -math.inf

    def update(self, changes: Mapping[str, Any], *, verdict_open: bool = False) -> None:
        """Change the record.

        Raises
        ------
        RecordChangedError
            when another worker has changed it since this one read it.
        """
        self.item = self.worker.store.update_item(self.item, changes, verdict_open=verdict_open)

    def read_again(self) -> None:
        """Take the record as it is now.

        Raises
        ------
        LockLostError
            when the release was closed meanwhile.
        """
        item = self.worker.store.item(self.item)
        if item.epoch != self.item.epoch:
            raise LockLostError(f"release {item.release} was closed while this worker ran; it stops writing.")
        self.item = item

    def claim(self, **changes: Any) -> None:
        """Have the item to oneself for as long as one attempt at an API call takes.

        Raises
        ------
        RecordChangedError
            when another worker had it: what it did is in the record now, so the decision has to be made again.
        ItemBusyError
            when another worker keeps it.
        """
        me, now = self.worker.request, int(time.time())
        if self.item.claim_by in (None, me) or int(self.item.claim_until or 0) < now:
            taken_over = self.left_by_another
            self.update({**changes, "claim_by": me, "claim_until": now + LEASE_SECONDS})
            if taken_over:  # what its call did may not be read yet
                time.sleep(self.worker.settings.settle_seconds)
            return
        until = time.monotonic() + _BUSY_SECONDS
        while time.monotonic() < until:
            time.sleep(0.5)
            self.read_again()
            if self.item.claim_by is None or int(self.item.claim_until or 0) < time.time():
                raise RecordChangedError(f"another worker had {self.item.name}")
        raise ItemBusyError(f"another worker is at {self.item.name}")

    def release(self) -> Mapping[str, Any]:
        """The change of the record that lets others have the item; a call that may be on its way is waited for."""
        return {} if self.unsure else NO_CLAIM

    @property
    def left_by_another(self) -> bool:
        """Whether a worker had the item and never said what became of its last call."""
        return self.item.claim_by not in (None, self.worker.request)

    def ready(self, **changes: Any) -> None:
        """Have the item and the lock in hand, with ``changes`` on record, for an attempt that goes out at once.

        Both have to be fresh then, and the table can be slow to answer, too.
        """
        began = -math.inf
        while time.monotonic() - began > _FRESH_SECONDS:
            began = time.monotonic()
            self.claim(**changes)
            self.worker.store.check_lock(self.item.release, self.item.epoch)

    def write(
        self,
        call: Callable[[], _Result],
        *,
        wait: Callable[[], None] = lambda: None,
        look_again: Callable[[bool], None] = lambda _: None,
        **changes: Any,
    ) -> _Result:
        """Do one write to production, attempt by attempt; ``changes`` are on record before the first one.

        Its client must not repeat it: before each attempt the lock is looked at and the claim renewed, so that none is on its way
        once another worker may have the item.

        Parameters
        ----------
        wait : waits until an attempt is in its turn.
        look_again : called before each attempt, because somebody else may deploy while one waits, but not before a first one that
            follows a look at what is live at once; told whether an earlier attempt may have been applied. Raises to stop.

        Raises
        ------
        RefusedError
            when AWS refuses it and nothing of it was applied.
        ItemError
            when AWS refuses it, and an earlier attempt may have been applied.
        UnfinishedError
            when AWS throttles it for as long as this invocation has time.
        ClientError, BotoCoreError
            other passing trouble; whether it was applied is not known.
        """
        applied = self.item.started_at is not None  # as far as can be known
        until = time.monotonic() + _WRITE_SECONDS
        for attempt in itertools.count(1):
            wait()
            if attempt > 1 or time.monotonic() - self.looked_at > _FRESH_SECONDS:
                look_again(applied)
            self.ready(**changes)
            try:
                return call()
            except RefusedError as error:
                if not applied:
                    raise
                raise ItemError(str(error)) from error
            except (ClientError, BotoCoreError) as error:
                kind = trouble(error)
                self.unsure = self.unsure or kind == "fault"
                applied = applied or kind != "throttled"
                seconds = jittered(attempt, _LONGEST_PAUSE_SECONDS)
                late = time.monotonic() + seconds > until or not has_time_for(seconds)
                if kind == "expired" or (kind != "throttled" and late):
                    raise
                logger.info("write will be tried again", extra={"reason": explain(error)})
                pause(seconds, f"{self.item.name} is not written yet: {explain(error)}")
        raise AssertionError("unreachable")


def once(turn: Turn, direction: str, write: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Do one item's write, or return what it returned when it was done before.

    The idempotency table only saves calls: when it is empty, or says that another worker is at it, the write itself
    is done, and finds out from AWS what an earlier attempt got done.
    """
    worker, item = turn.worker, turn.item
    if worker.settings.idempotency_table is None:
        return write()
    config = IdempotencyConfig(expires_after_seconds=_REMEMBER_SECONDS, lambda_context=worker.context)

    @idempotent_function(  # type: ignore[untyped-decorator]  # Powertools does not type it
        data_keyword_argument="key", persistence_store=worker.idempotency, config=config
    )
    def write_once(*, key: Mapping[str, str]) -> dict[str, Any]:  # noqa: ARG001 - the layer hashes it
        return write()

    key = {"execution": item.release, "direction": direction, "step": worker.step, "item": item.key["sk"]}
    try:
        result: dict[str, Any] = write_once(key=key)
    except (IdempotencyAlreadyInProgressError, IdempotencyInconsistentStateError):
        return write()
    except IdempotencyPersistenceLayerError as error:
        if isinstance(error.__cause__, PassingError):  # the machine knows it by its own name
            raise error.__cause__ from error
        raise
    return result


def under_lock(turn: Turn) -> AbstractContextManager[None]:
    """Around a write that is no :meth:`Turn.write`: each attempt at it is made with the lock in hand, or LockLostError stops it."""
    return checked(lambda: turn.worker.store.check_lock(turn.item.release, turn.item.epoch))


def doubted(item: ItemRecord, doubt: str, now: float, settle_seconds: int) -> tuple[dict[str, Any], bool]:
    """What the record is to say of something that no single answer of AWS can prove, and whether it is still to be seen again.

    Rounds are so far apart that a read that lags has caught up.

    Parameters
    ----------
    doubt : what was seen, the same for each look that sees the same.
    """
    if item.doubt != doubt or item.doubted_at is None:
        return {"doubt": doubt, "doubted_at": int(now)}, True
    return {}, now - item.doubted_at < settle_seconds


def ensure_seen_before(turn: Turn, doubt: str, said: str) -> None:
    """Let something final be decided only where the round before has seen the same.

    Raises
    ------
    UnfinishedError
        when it has to be looked for once more.
    """
    changes, doubtful = doubted(turn.item, doubt, time.time(), turn.worker.settings.settle_seconds)
    if doubtful:
        turn.update({**changes, **turn.release()})
        raise UnfinishedError(f"{said} It is looked for once more.")


def seen_twice(turn: Turn, look: Callable[[], str | None]) -> str | None:
    """What is wrong with what is live, in words; None when a second look finds nothing wrong.

    AWS's reads lag behind writes by a few seconds, so a single one that shows something odd proves nothing.
    """
    odd = look()
    if odd is None:
        return None
    time.sleep(turn.worker.settings.settle_seconds)
    return look()
