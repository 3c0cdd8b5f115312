"""What the four writing steps share: going through a batch, having an item to oneself, doing a write once.

A worker never lets one item's failure abort its siblings: a failure that is final becomes the item's reason, any
other is raised at the end, so that the state machine runs the batch again and finds the finished items done.

Any invocation may run twice, late, or beside another. So every change of a record is made from the record as it was read
(:meth:`Store.update_item`), a worker has an item to itself from before its first write until it knows what became of it, and
whoever finds that the record has moved on starts over from what it says now.
"""

from __future__ import annotations

import itertools
import math
import time
import uuid
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import cached_property
from types import TracebackType
from typing import Any, TypeVar

from aws_lambda_powertools.utilities.idempotency import (
    DynamoDBPersistenceLayer,
    IdempotencyConfig,
    idempotent_function,
)
from aws_lambda_powertools.utilities.idempotency.exceptions import (
    IdempotencyAlreadyInProgressError,
    IdempotencyInconsistentStateError,
    IdempotencyPersistenceLayerError,
)
from botocore.exceptions import BotoCoreError, ClientError

from ecs_release.aws import (
    CONNECT_TIMEOUT_SECONDS,
    READ_TIMEOUT_SECONDS,
    Connections,
    explain,
    own_client,
)
from ecs_release.due import ensure_batch
from ecs_release.errors import (
    ItemBusyError,
    ItemError,
    LockLostError,
    PassingError,
    RecordChangedError,
    RefusedError,
    SupersededError,
    UnfinishedError,
)
from ecs_release.observability import about_item, logger
from ecs_release.permissions import STEPS, WRITERS
from ecs_release.retries import be_patient_for, checked, has_time_for, jittered, pause, trouble
from ecs_release.rollout import BAD, OPEN, Status
from ecs_release.settings import Settings
from ecs_release.store import Found, ItemRecord, Store
from ecs_release.task_definition import TaskDefinition, TaskDefinitions

_FRESH_SECONDS = 2
LEASE_SECONDS = CONNECT_TIMEOUT_SECONDS + READ_TIMEOUT_SECONDS + _FRESH_SECONDS
"""How long a claim holds: one attempt at an API call can't last longer, so a worker that died is not waited for."""

_BUSY_SECONDS = 2 * LEASE_SECONDS
_WRITE_SECONDS = 120  # a write that meets faults for longer than this is left to the next turn of the batch
_LONGEST_PAUSE_SECONDS = 10.0
_STARTS_OVER = 20
_SPARE_SECONDS = 30
_REMEMBER_SECONDS = 24 * 3600


@dataclass
class Worker:
    """One invocation of a step.

    Attributes
    ----------
    step : name of the step, as in :mod:`ecs_release.permissions`.
    remaining : seconds this invocation may still run.
    request : id of this invocation.
    context : the Lambda context, for the idempotency layer; None outside Lambda.
    """

    step: str
    settings: Settings
    store: Store
    connections: Connections
    remaining: Callable[[], float] = lambda: 3600.0
    request: str = field(default_factory=lambda: uuid.uuid4().hex)
    context: Any = None

    @classmethod
    def create(cls, step: str, context: Any = None) -> Worker:
        def remaining() -> float:
            return float(context.get_remaining_time_in_millis()) / 1000

        if context is not None:
            be_patient_for(remaining)
        settings = Settings.from_environment()
        store = Store(own_client("dynamodb"), settings.table)
        connections = Connections(
            store.targets(), STEPS[step], write=step in WRITERS, session_name=f"ecs-release-{step}"
        )
        if context is None:
            return cls(step, settings, store, connections)
        return cls(
            step,
            settings,
            store,
            connections,
            remaining=remaining,
            # The same invocation may run twice in parallel, so the request id alone does not tell workers apart.
            request=f"{context.aws_request_id}-{uuid.uuid4().hex[:8]}",
            context=context,
        )

    @cached_property
    def idempotency(self) -> DynamoDBPersistenceLayer:
        """The idempotency table, one client for all items of a batch."""
        table = str(self.settings.idempotency_table)
        return DynamoDBPersistenceLayer(table_name=table, boto3_client=own_client("dynamodb"))

    def task_definitions(self, item: ItemRecord) -> TaskDefinitions:
        return TaskDefinitions(self.connections, item.target)


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


NO_CLAIM: Mapping[str, Any] = {"claim_by": None, "claim_until": None}
_Result = TypeVar("_Result")


@dataclass
class Turn:
    """One item in the hands of one worker.

    Attributes
    ----------
    item : the record as this worker last read or wrote it.
    unsure : whether a call of this worker may still be on its way, because no answer came.
    """

    worker: Worker
    item: ItemRecord
    unsure: bool = False

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
        self, call: Callable[[], _Result], *, wait: Callable[[], None] = lambda: None, **changes: Any
    ) -> _Result:
        """Do one write to production, attempt by attempt; ``changes`` are on record before the first one.

        Its client must not repeat it: before each attempt the lock is looked at and the claim renewed, so that none is on its way
        once another worker may have the item.

        Parameters
        ----------
        wait : waits until an attempt is in its turn.

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
            self.ready(**changes)
            try:
                return call()
            except RefusedError as error:
                if not applied:
                    raise
                raise ItemError(str(error)) from error
            except (ClientError, BotoCoreError) as error:
                kind = trouble(error)
                self.unsure = self.unsure or isinstance(error, BotoCoreError)
                applied = applied or kind != "throttled"
                seconds = jittered(attempt, _LONGEST_PAUSE_SECONDS)
                late = time.monotonic() + seconds > until or not has_time_for(seconds)
                if kind == "expired" or (kind != "throttled" and late):
                    raise
                logger.info("write will be tried again", extra={"reason": explain(error)})
                pause(seconds, f"{self.item.name} is not written yet: {explain(error)}")
        raise AssertionError("unreachable")


def _take_turn(turn: Turn, write: Callable[[Turn], None], failed: Status) -> int:
    """One item's turn, started over whenever another worker has changed its record; 1 when it failed for good."""
    for _ in range(_STARTS_OVER):
        try:
            try:
                write(turn)
            except ItemError as error:
                status = Status.SUPERSEDED if isinstance(error, SupersededError) else failed
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
        both = f"{item.reason}; {reason}" if item.verdict in BAD and item.reason else reason
        turn.update({"status": status, "reason": both, **settled})


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


def register(turn: Turn) -> None:
    """Find or register the item's new revision and record it.

    Only one worker at a time registers for an item: two at once would both find no revision and make two.
    """
    turn.claim()
    item, worker = turn.item, turn.worker
    if item.after is not None:
        return
    if item.same_as is not None:
        # Two items with the same content need one revision, and what was registered a moment ago may not be listed yet.
        first = worker.store.item_at(item.release, item.same_as)
        if first.after is not None:
            turn.update({"after": first.after})
            return
        if first.verdict in OPEN:
            # Prepare does a target's batches one after another: what an earlier one has left open, its worker has given up.
            busy = PassingError if worker.step == "prepare" else ItemBusyError
            raise busy(f"{item.name} needs the revision of {first.name}, which is not registered yet")
    definitions = worker.task_definitions(item)
    base = definitions.describe(item.base)
    turn.unsure = True
    try:
        copy, registered = definitions.register_copy(
            base,
            item.new_images,
            # There is none so far: what a later attempt finds is this release's own.
            before_attempt=lambda: turn.ready(registering=True),
            usable=_usable(turn),
        )
    except ClientError:
        turn.unsure = False  # AWS has answered, so the next attempt need not sit the lease out
        raise
    turn.unsure = False
    registered = registered or is_ours(turn, copy.arn)
    logger.info("revision ready", extra={"revision": copy.arn, "registered": registered})
    turn.update({"after": copy.arn, "registered": registered})


def under_lock(turn: Turn) -> AbstractContextManager[None]:
    """Around a write that is no :meth:`Turn.write`: each attempt at it is made with the lock in hand, or LockLostError stops it."""
    return checked(lambda: turn.worker.store.check_lock(turn.item.release, turn.item.epoch))


def _usable(turn: Turn) -> Callable[[str], bool]:
    """Whether a revision that was found may be used; from the answer on the clean-up of an earlier release leaves it alone."""
    store, item = turn.worker.store, turn.item
    return lambda arn: store.take_up(item.release, item.target, arn) is not Found.CONDEMNED


def is_ours(turn: Turn, arn: str) -> bool:
    """Whether this release may deregister a revision that it found: it made it, or nothing used it and it took it over.

    Any other one may be what another item runs.
    """
    item = turn.item
    return item.registering or turn.worker.store.take_up(item.release, item.target, arn) is Found.TAKEN


def ensure_active(turn: Turn, arn: str) -> str:
    """``arn``, or an equal ACTIVE copy of it when it was deregistered: ECS refuses to start an INACTIVE revision."""
    definitions = turn.worker.task_definitions(turn.item)
    definition: TaskDefinition = definitions.describe(arn)
    if definition.active:
        return arn
    copy, _ = definitions.register_copy(definition, {}, before_attempt=turn.ready, usable=_usable(turn))
    return copy.arn


def seen_twice(turn: Turn, look: Callable[[], str | None]) -> str | None:
    """What is wrong with what is live, in words; None when a second look finds nothing wrong.

    AWS's reads lag behind writes by a few seconds, so a single one that shows something odd proves nothing.
    """
    odd = look()
    if odd is None:
        return None
    time.sleep(turn.worker.settings.settle_seconds)
    return look()
