"""What the four writing steps share: going through a batch, claiming a registration, doing a write once.

A worker never lets one item's failure abort its siblings: a failure that is final becomes the item's reason, any
other is raised at the end, so that the state machine runs the batch again and finds the finished items done.
"""

from __future__ import annotations

import dataclasses
import math
import time
import uuid
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import cached_property
from types import TracebackType
from typing import Any

from aws_lambda_powertools.utilities.idempotency import (
    DynamoDBPersistenceLayer,
    IdempotencyConfig,
    idempotent_function,
)
from aws_lambda_powertools.utilities.idempotency.exceptions import (
    IdempotencyAlreadyInProgressError,
    IdempotencyInconsistentStateError,
)
from botocore.exceptions import ClientError

from ecs_release.aws import CONNECT_TIMEOUT_SECONDS, READ_TIMEOUT_SECONDS, Connections, explain, own_client
from ecs_release.errors import (
    ItemBusyError,
    ItemError,
    LockLostError,
    RecordChangedError,
    SupersededError,
    UnfinishedError,
)
from ecs_release.observability import about_item, logger
from ecs_release.permissions import STEPS, WRITERS
from ecs_release.retries import be_patient_for, checked
from ecs_release.rollout import BAD, Status
from ecs_release.settings import Settings
from ecs_release.store import ItemRecord, Store
from ecs_release.task_definition import TaskDefinition, TaskDefinitions

_FRESH_SECONDS = 2
LEASE_SECONDS = CONNECT_TIMEOUT_SECONDS + READ_TIMEOUT_SECONDS + _FRESH_SECONDS
"""How long a claim holds: one attempt at an API call can't last longer, so a worker that died is not waited for."""

_BUSY_SECONDS = 2 * LEASE_SECONDS
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
    write: Callable[[Worker, ItemRecord], None],
    *,
    failed: Status = Status.FAILED,
) -> dict[str, Any]:
    """Run ``write`` for every item of a batch that has something to write.

    Parameters
    ----------
    epoch : the epoch this release got with the lock; items that carry another one belong to a closed release.
    failed : what a final failure is called in this direction.

    Returns
    -------
    dict
        ``{"batch": n, "failed": number of items that failed for good}``.

    Raises
    ------
    LockLostError
        at once, before another write.
    Exception
        a passing failure, after every item had its turn; UnfinishedError when some had none.
    """
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
                write(worker, item)
            except ItemError as error:
                count += 1
                status = Status.SUPERSEDED if isinstance(error, SupersededError) else failed
                logger.warning("item failed", extra={"status": status, "reason": str(error)})
                _record_failure(worker, item, status, str(error), forward=failed is Status.FAILED)
            except (LockLostError, RecordChangedError) as error:
                raise LockLostError(str(error)) from error
            except Exception as error:  # whatever it is, the siblings have their turn before it is raised
                logger.warning("item will be tried again", extra={"reason": explain(error)})
                if item.verdict not in BAD:  # the culprit's reason outlives the trouble of putting it back
                    worker.store.update_item(item, {"reason": explain(error)})
                # What only ran out of time goes on as often as it takes, and with it whatever else is to be tried again.
                passing = error if passing is None or isinstance(error, UnfinishedError) else passing
    worker.store.add_throttles(release, worker.connections.throttles.take())
    if passing is not None:
        raise passing
    return {"batch": batch, "failed": count}


def _record_failure(worker: Worker, item: ItemRecord, status: Status, reason: str, *, forward: bool) -> None:
    if forward:
        changes = {"verdict": status, "status": status, "reason": reason}
        worker.store.update_item(item, changes, verdict_open=True)
    else:
        # The verdict says how the item went forward and stays; only where it is now changes.
        # So does the reason of a culprit; what went wrong on the way back comes after it.
        both = f"{item.reason}; {reason}" if item.verdict in BAD and item.reason else reason
        worker.store.update_item(item, {"status": status, "reason": both})


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


def once(
    worker: Worker, item: ItemRecord, direction: str, write: Callable[[], dict[str, Any]]
) -> dict[str, Any]:
    """Do one item's write, or return what it returned when it was done before.

    The idempotency table only saves calls: when it is empty, or says that another worker is at it, the write itself
    is done, and finds out from AWS what an earlier attempt got done.
    """
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
    return result


def register(worker: Worker, item: ItemRecord) -> ItemRecord:
    """Find or register the item's new revision and record it; the item as recorded.

    Only one worker at a time registers for an item: two at once would both find no revision and make two.
    """
    item, begun_before = _claim(worker, item)
    if item.after is not None:
        return item
    definitions = worker.task_definitions(item)
    base = definitions.describe(item.base)

    def before_attempt() -> None:
        # Both must be fresh when the call goes out, and the table can be slow to answer, too.
        began = -math.inf
        while time.monotonic() - began > _FRESH_SECONDS:
            began = time.monotonic()
            worker.store.check_lock(item.release, item.epoch)
            _renew(worker, item)

    try:
        copy, registered = definitions.register_copy(base, item.new_images, before_attempt=before_attempt)
    except ClientError:
        # AWS has answered, so nothing is on its way any more, and the next attempt need not sit the lease out.
        worker.store.update_item(item, {"claim_by": None, "claim_until": None})
        raise
    # A copy that was found may be the work of an attempt of this release that died before it could say so.
    registered = registered or begun_before
    logger.info("revision ready", extra={"revision": copy.arn, "registered": registered})
    return worker.store.update_item(
        item, {"after": copy.arn, "registered": registered, "claim_by": None, "claim_until": None}
    )


def under_lock(worker: Worker, item: ItemRecord) -> AbstractContextManager[None]:
    """Around a write to production: every attempt at it is made with the lock in hand, or LockLostError stops it."""
    return checked(lambda: worker.store.check_lock(item.release, item.epoch))


def ensure_active(worker: Worker, item: ItemRecord, arn: str) -> str:
    """``arn``, or an equal ACTIVE copy of it when it was deregistered: ECS refuses to start an INACTIVE revision."""
    definitions = worker.task_definitions(item)
    definition: TaskDefinition = definitions.describe(arn)
    if definition.active:
        return arn

    def before_attempt() -> None:
        worker.store.check_lock(item.release, item.epoch)

    copy, _ = definitions.register_copy(definition, {}, before_attempt=before_attempt)
    return copy.arn


def _claim(worker: Worker, item: ItemRecord) -> tuple[ItemRecord, bool]:
    """Claim the registration; the item as recorded, and whether an earlier attempt had claimed it."""
    until = time.monotonic() + _BUSY_SECONDS
    while True:
        fresh = dataclasses.replace(worker.store.item(item), epoch=item.epoch)
        if fresh.after is not None:
            return fresh, False
        try:
            return _renew(worker, fresh), fresh.claim_by is not None
        except RecordChangedError:
            worker.store.check_lock(item.release, item.epoch)
        if time.monotonic() > until:
            raise ItemBusyError(f"another worker registers for {item.name}")
        time.sleep(0.5)


def _renew(worker: Worker, item: ItemRecord) -> ItemRecord:
    now = int(time.time())
    return worker.store.update_item(
        item,
        {"claim_by": worker.request, "claim_until": now + LEASE_SECONDS},
        condition="attribute_not_exists(claim_by) OR claim_by = :me OR claim_until < :now",
        values={":me": worker.request, ":now": now},
    )
