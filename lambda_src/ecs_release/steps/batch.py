"""Going through a batch: what the four writing steps share.

A worker never lets one item's failure abort its siblings: a failure that is final becomes the item's reason, any
other is raised at the end, so that the state machine runs the batch again and finds the finished items done.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Any

from ecs_release.aws.trouble import explain
from ecs_release.errors import (
    ItemBusyError,
    ItemError,
    LockLostError,
    MissingError,
    RecordChangedError,
    SupersededError,
    UnfinishedError,
)
from ecs_release.observability import about_item, logger
from ecs_release.record.statuses import BAD, Status
from ecs_release.steps.due import ensure_batch
from ecs_release.steps.turn import Turn, ensure_seen_before
from ecs_release.steps.worker import Worker

_STARTS_OVER = 20
_SPARE_SECONDS = 30


def run_batch(
    worker: Worker,
    release: str,
    epoch: int,
    batch: int,
    write: Callable[[Turn], None],
    *,
    failed: Status = Status.FAILED,
    phase: str | None = None,
) -> dict[str, Any]:
    """Run ``write`` for every item of a batch that has something to write, if the batch is due.

    Parameters
    ----------
    epoch : the epoch this release got with the lock; items that carry another one belong to a closed release.
    failed : what a final failure is called in this direction.
    phase : the machine's phase, where the step has several.

    Returns
    -------
    dict
        ``{"batch": n, "failed": number of items that failed for good}``.

    Raises
    ------
    LockLostError
        at once, before another write.
    NotDueError
        before the first one.
    Exception
        a passing failure, after every item had its turn; UnfinishedError when some had none.
    """
    record = worker.store.release(release)
    ensure_batch(record, release, epoch=epoch, step=worker.step, batch=batch, phase=phase)
    passing: Exception | None = None
    count = 0
    with _Presence(worker, release):
        for item in worker.store.items(release, batch):
            if item.epoch != epoch:
                raise LockLostError(f"release {release} was closed while this worker ran; it stops writing.")
            about_item(item)
            if worker.remaining() < _SPARE_SECONDS:
                passing = UnfinishedError(f"batch {batch} needs another turn to finish")
                break
            try:
                count += _take_turn(Turn(worker, item), write, failed)
            except LockLostError:
                raise
            except Exception as error:  # whatever it is, the siblings have their turn before it is raised
                # What only ran out of time goes on as often as it takes, and with it whatever else is to be tried again.
                passing = error if passing is None or isinstance(error, UnfinishedError) else passing
    worker.store.add_throttles(release, worker.connections.throttles.take())
    if passing is not None:
        raise passing
    return {"batch": batch, "failed": count}


def _take_turn(turn: Turn, write: Callable[[Turn], None], failed: Status) -> int:
    """One item's turn, started over whenever another worker has changed its record; 1 when it failed for good."""
    for _ in range(_STARTS_OVER):
        try:
            try:
                write(turn)
            except ItemError as error:
                if isinstance(error, MissingError):
                    # Terraform's provider believes that a service is gone only after two minutes of such answers
                    # (findServiceByTwoPartKeyWaitForActive in
                    # https://github.com/hashicorp/terraform-provider-aws/blob/main/internal/service/ecs/service.go).
                    direction = "forward" if failed is Status.FAILED else "back"
                    ensure_seen_before(turn, f"{direction}: missing", str(error))
                status = _status_of(error, failed)
                logger.warning("item failed", extra={"status": status, "reason": str(error)})
                _record_failure(turn, status, str(error), forward=failed is Status.FAILED)
                return 1
            except (LockLostError, RecordChangedError):
                raise
            except Exception as error:
                logger.warning("item will be tried again", extra={"reason": explain(error)})
                reason = {} if turn.item.verdict in BAD else {"reason": explain(error)}
                turn.update(
                    {**reason, **turn.release()}
                )  # a culprit's reason outlives the trouble of putting it back
                raise
        except RecordChangedError:
            turn.read_again()
        else:
            return 0
    raise ItemBusyError(f"other workers keep changing {turn.item.name}")


def _status_of(error: ItemError, failed: Status) -> Status:
    """What a final failure makes of an item; what is gone is left alone on the way back."""
    gone = isinstance(error, MissingError) and failed is not Status.FAILED
    return Status.SUPERSEDED if gone or isinstance(error, SupersededError) else failed


def _record_failure(turn: Turn, status: Status, reason: str, *, forward: bool) -> None:
    item, settled = turn.item, turn.release()
    if forward:
        turn.update(
            {"verdict": status, "status": status, "reason": reason, **settled},
            verdict_open=True,
        )
    else:
        # The verdict says how the item went forward and stays; only where it is now changes.
        # So does the reason of a culprit; what went wrong on the way back comes after it.
        told = reason.removeprefix("not put back: ") in item.reason
        both = (
            f"{item.reason}; {'not put back' if told else reason}"
            if item.verdict in BAD and item.reason
            else reason
        )
        left_alone = status is Status.SUPERSEDED
        turn.update({"status": status, "reason": both, "left_alone": left_alone, **settled})


class _Presence(AbstractContextManager[None]):
    """Says in the table that this worker may be in the middle of a call, so that a takeover waits for it."""

    def __init__(self, worker: Worker, release: str) -> None:
        self._worker = worker
        self._release = release

    def __enter__(self) -> None:
        self._worker.store.worker_begins(
            self._release, self._worker.request, time.time() + self._worker.remaining()
        )

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._worker.store.worker_ends(self._release, self._worker.request)
