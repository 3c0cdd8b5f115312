"""The releases table: the record of every release, its items, and the lock.

One DynamoDB table with the keys ``pk`` and ``sk``:

=====================  ==========================  ================================================
pk                     sk                          what
=====================  ==========================  ================================================
``LOCK``               ``LOCK``                    who may write, and since which epoch
``CONFIG``             ``TARGETS``                 accounts and Regions (written by Terraform)
``RELEASES``           ``<started>#<release>``     index for listing, newest last
``RELEASE#<release>``  ``RELEASE``                 a release
``RELEASE#<release>``  ``ITEM#<batch>#<number>``   its items; a batch is one contiguous key range
``RELEASE#<release>``  ``WORKER#<request>``        a worker that may still be in the middle of a call
``RELEASE#<release>``  ``READ#<number>``           what Parse has read when its time was up, until it is done
``ITEM``               ``<target>#<kind>#<name>``  an item that is not whole: what "back" means for it
``HOLD``               ``<target>#<kind>#<name>``  images that a rollback by hand undid
``UNUSED``             ``<target>#<ARN>``          a revision that a release registered and nothing used
=====================  ==========================  ================================================

Every write to an item carries the epoch its release got with the lock; closing a release by force raises the epoch,
so a worker that has lost the lock can't write any more.

Unused revisions are deregistered without the lock, while a later release may want one of them (docs/adr/0008). The row
decides: that release takes the revision up, or the clean-up condemns it, whichever is written first, and neither is
taken back.
"""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from decimal import Decimal
from enum import Enum, auto
from typing import TYPE_CHECKING, Any, NoReturn

from boto3.dynamodb.types import TypeDeserializer, TypeSerializer
from botocore.exceptions import ClientError

from ecs_release.aws import Target, error_code
from ecs_release.errors import LockLostError, RecordChangedError, SettingsError
from ecs_release.retries import jittered, pause, side_by_side
from ecs_release.task_definition import TaskDefinition

if TYPE_CHECKING:  # the writing steps start without the parser
    from ecs_release.manifest import Item

SCHEMA = 1
"""Version of the records; a reader refuses a newer one instead of misreading it."""

DEFAULT_TARGET = "default"

# An item of DynamoDB holds 400 KB. Three lists of a release grow with its items; each item's own record has its share whole.
_LIST_BYTES = 100_000

# A transaction holds 100 items and 4 MB: https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_TransactWriteItems.html
_TRANSACTION_ITEMS = 99
_TRANSACTION_BYTES = 3_000_000
# People wait while the record of a large release is closed, so its many small writes go side by side.
_WRITERS = 8

_serialize = TypeSerializer().serialize
_deserialize = TypeDeserializer().deserialize


@dataclass(frozen=True)
class ReleaseRecord:
    """One release.

    Attributes
    ----------
    release : the execution's name.
    mode : "deploy", or "rollback" for one by hand.
    on_failure : "rollback", "stop", or for a rollback by hand "continue": as far back as possible.
    undid : of a rollback by hand, the oldest release that it undoes; the next one goes on from there.
    status : RUNNING until Report closes it.
    started, ended : ISO 8601, UTC.
    source : commit, author and pipeline execution, as far as known.
    waves : ``[{"wave", "batches": [first, last], "tasks": [...], "services": [...]}]``, batch numbers.
    prepare : batch numbers to prepare, one list a target.
    problems : why it was REJECTED.
    culprits : ``name: reason`` of the items that made it fail.
    unused : how many revisions it registered and did not use when it ended; the clean-up's work.
    failing_since : epoch seconds of the first bad verdict; None while there is none.
    begun_at : epoch seconds at which the first wave began; from then on production may have been touched.
    cut_by : the worker that writes the items, or has written them.
    turn, turn_before : names of the machine's present decision and of the one before, see :mod:`ecs_release.due`.
    due : the machine's state as it was decided last: its next step, phase, wave and batches.
    """

    release: str
    execution: str
    epoch: int
    started: str
    status: str = "RUNNING"
    label: str | None = None
    mode: str = "deploy"
    ended: str | None = None
    on_failure: str = "rollback"
    undid: str | None = None
    source: dict[str, str] = field(default_factory=dict)
    waves: list[dict[str, Any]] = field(default_factory=list)
    prepare: list[list[int]] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    culprits: list[str] = field(default_factory=list)
    failing_since: int | None = None
    begun_at: int | None = None
    cut_by: str | None = None
    unused: int = 0
    throttles: int = 0
    turn: str | None = None
    turn_before: str | None = None
    due: dict[str, Any] = field(default_factory=dict)
    schema: int = SCHEMA


@dataclass(frozen=True)
class ItemRecord:
    """One item of a release.

    Attributes
    ----------
    batch, number : its place; batches never mix waves, kinds or targets.
    action : "update" or "unchanged".
    images : container -> {"from", "to"}.
    base : ARN that the new revision is copied from.
    pinned : False for a rule or schedule that named a family without revision.
    before : ARN that "back" means: of a service its last completed deployment's.
    live : ARN that was live when the release began; differs from ``before`` after an unwhole release.
    before_raw : JSON of the rule targets or of the schedule as they were.
    after : ARN of the new revision, once known.
    registered : whether this release registered it (and so may deregister it).
    same_as : range key of the item before it that needs the very same revision.
    previous_deployment : the service's PRIMARY deployment before the write.
    deployment_id : the deployment to prove.
    started_at : epoch seconds at which watching it began; of a changed item recorded right before it is written.
    written_at : epoch seconds at which a scheduled task's write was done; a read soon after may not show it yet.
    doubted_at : epoch seconds of the first of two looks that a verdict needs which no single look can give.
    settled_at : epoch seconds at which its verdict was written, for the estimate of later plans.
    claim_by, claim_until : the worker that registers or writes it right now, and until when (epoch seconds).
    registering : whether a worker found no revision and set out to register one: what is found from then on is ours.
    rollback_to : what Rollback set: ``before``, or the equal copy made because ``before`` was deregistered.
    rollback_deployment, rollback_started_at : the deployment that goes back, to be proven like any other.
    inherited : whether ``before`` comes from an earlier release that did not end whole.
    memory_void : whether what an earlier release left is void, because somebody else has deployed since.
    revision : counts the changes of this record: whoever judges from an older copy can't write.
    """

    release: str
    batch: int
    number: int
    epoch: int
    kind: str
    name: str
    target: str
    wave: int
    action: str
    timeout_minutes: int
    images: dict[str, dict[str, str]]
    cluster: str | None = None
    service: str | None = None
    rule: str | None = None
    event_bus: str = "default"
    target_id: str | None = None
    schedule: str | None = None
    schedule_group: str = "default"
    base: str = ""
    pinned: bool = True
    before: str = ""
    live: str = ""
    before_raw: str | None = None
    inherited: bool = False
    memory_void: bool = False
    after: str | None = None
    registered: bool = False
    same_as: str | None = None
    previous_deployment: str | None = None
    deployment_id: str | None = None
    started_at: int | None = None
    written_at: int | None = None
    doubted_at: int | None = None
    settled_at: int | None = None
    verdict: str = "PENDING"
    status: str = "PENDING"
    reason: str = ""
    claim_by: str | None = None
    claim_until: int | None = None
    registering: bool = False
    warnings: list[str] = field(default_factory=list)
    rollback_to: str | None = None
    rollback_deployment: str | None = None
    rollback_started_at: int | None = None
    revision: int = 0

    @property
    def key(self) -> dict[str, str]:
        return {"pk": f"RELEASE#{self.release}", "sk": f"ITEM#{self.batch:05d}#{self.number:03d}"}

    @property
    def state_key(self) -> tuple[str, str, str]:
        """What this item is across releases: (target, kind, name)."""
        return state_key(self)

    @property
    def new_images(self) -> dict[str, str]:
        return {container: change["to"] for container, change in self.images.items()}


def state_key(item: Item | ItemRecord) -> tuple[str, str, str]:
    """What an item is across releases: (target, kind, name); two targets of one rule are two items."""
    name = f"{item.name}#{item.target_id}" if item.target_id else item.name
    return (item.target, item.kind, name)


@dataclass(frozen=True)
class Lock:
    """Who may write.

    Attributes
    ----------
    holder : the release that may write; None once the lock was given back.
    left_by : the release it was taken from by force, whose workers may still be in the middle of a call.
    closed : whether everything that later releases must know of ``left_by`` is written.
    freed_at : epoch seconds at which it was given back; what was written before may not be read yet.
    """

    holder: str | None
    execution: str | None
    epoch: int
    left_by: str | None = None
    closed: bool = False
    freed_at: int | None = None


class Found(Enum):
    """What becomes of a revision that a release finds and would use."""

    FREE = auto()  # nobody is about to deregister it, and it is not this release's to deregister either
    TAKEN = auto()  # nothing used it, and this release has taken it over
    CONDEMNED = auto()  # it is being deregistered, or was a moment ago


@dataclass(frozen=True)
class UnusedRevision:
    """A revision that a release registered and that nothing used when the release ended.

    Attributes
    ----------
    state : "unused"; "taken" or "kept" by a later release, or by whom the clean-up found to run it; "condemned" from right
        before it is deregistered; "deregistered".
    release : whose it is to clean up; the one that has taken it.
    since : epoch seconds at which it came into this state.
    reason : why it could not be deregistered at the last attempt.
    """

    target: str
    arn: str
    release: str
    state: str
    since: int
    reason: str = ""

    @property
    def left(self) -> bool:
        """Whether it is still to be deregistered."""
        return self.state in ("unused", "condemned")


class Store:
    """The releases table.

    Parameters
    ----------
    client : a low-level DynamoDB client.
    table : the table's name.
    """

    def __init__(self, client: Any, table: str) -> None:
        self._client = client
        self._table = table

    # --- targets -----------------------------------------------------------------------------------------------

    def targets(self) -> dict[str, Target]:
        """Accounts and Regions by name.

        Raises
        ------
        SettingsError
            when Terraform has not written them.
        """
        found = self._get("CONFIG", "TARGETS")
        if found is None:
            raise SettingsError(f"The table {self._table} has no targets. Run terraform apply to the end.")
        return {
            name: Target.from_config(name, config) for name, config in json.loads(found["targets"]).items()
        }

    # --- lock --------------------------------------------------------------------------------------------------

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

    def open_release(self, record: ReleaseRecord, seen: Lock) -> ReleaseRecord:
        """Take the lock from the state that was ``seen`` and open the release's record, both or neither; the record.

        So whoever looks for a release that has ended finds its record with its lock, or can note that it never began.

        Raises
        ------
        RecordChangedError
            when somebody else took the lock since, or the release has a record.
        """
        record = dataclasses.replace(record, epoch=seen.epoch + 1)
        lock = {
            "pk": "LOCK",
            "sk": "LOCK",
            "holder": record.release,
            "execution": record.execution,
            "epoch": record.epoch,
            "freed_at": seen.freed_at,
        }
        take: dict[str, Any] = {"TableName": self._table, "Item": _item(_without_none(lock))}
        if seen.epoch:
            take |= {
                "ConditionExpression": "epoch = :seen",
                "ExpressionAttributeValues": _item({":seen": seen.epoch}),
            }
        else:
            take["ConditionExpression"] = "attribute_not_exists(pk)"
        self._transact([{"Put": take}, *self._opening(record)])
        return record

    def _opening(self, record: ReleaseRecord) -> list[dict[str, Any]]:
        row = {"pk": f"RELEASE#{record.release}", "sk": "RELEASE", **dataclasses.asdict(record)}
        fitting_row = {name: _fitting_value(value) for name, value in row.items()}
        index = {"pk": "RELEASES", "sk": f"{record.started}#{record.release}", "release": record.release}
        return [
            {
                "Put": {
                    "TableName": self._table,
                    "Item": _item(_without_none(fitting_row)),
                    "ConditionExpression": "attribute_not_exists(pk)",
                }
            },
            {"Put": {"TableName": self._table, "Item": _item(index)}},
        ]

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

    # --- workers -----------------------------------------------------------------------------------------------

    def worker_begins(self, release: str, request: str, until: float) -> None:
        """Say that a worker may be in the middle of a call until it says otherwise, or ``until`` (epoch seconds)."""
        self._put({"pk": f"RELEASE#{release}", "sk": f"WORKER#{request}", "until": int(until) + 1})

    def worker_ends(self, release: str, request: str) -> None:
        self._client.delete_item(
            TableName=self._table, Key=_item({"pk": f"RELEASE#{release}", "sk": f"WORKER#{request}"})
        )

    def workers(self, release: str) -> list[float]:
        """Until when each worker of a release may still be running."""
        now = time.time()
        found = self._query(f"RELEASE#{release}", begins="WORKER#")
        return [float(worker["until"]) for worker in found if float(worker["until"]) > now]

    # --- releases ----------------------------------------------------------------------------------------------

    def put_release(self, record: ReleaseRecord) -> None:
        """Write the record of a release that never got the lock.

        Raises
        ------
        RecordChangedError
            when it has one.
        """
        self._transact(self._opening(record))

    def release(self, release: str) -> ReleaseRecord | None:
        found = self._get(f"RELEASE#{release}", "RELEASE")
        return None if found is None else _release_record(found)

    def update_release(self, release: str, changes: Mapping[str, Any], *, only_running: bool = False) -> None:
        """Set attributes of a release.

        Raises
        ------
        RecordChangedError
            when there is none, or ``only_running`` and it is closed.
        """
        condition = "attribute_exists(pk)"
        values: dict[str, Any] = {}
        if only_running:
            condition += " AND #condition_status = :running"
            values[":running"] = "RUNNING"
        self._update(
            {"pk": f"RELEASE#{release}", "sk": "RELEASE"},
            {name: _fitting_value(value) for name, value in changes.items()},
            condition=condition,
            values=values,
            names={"#condition_status": "status"} if only_running else {},
        )

    def refuse(self, release: str, problems: Sequence[str]) -> None:
        """Note why a release is REJECTED; nothing happens once its items are complete, or it is closed."""
        try:
            self._update(
                {"pk": f"RELEASE#{release}", "sk": "RELEASE"},
                {"problems": fitting(problems)},
                condition="#condition_status = :running AND attribute_not_exists(turn)",
                values={":running": "RUNNING"},
                names={"#condition_status": "status"},
            )
        except RecordChangedError:
            return

    def take_turn(
        self,
        release: str,
        seen: str | None,
        turn: str,
        changes: Mapping[str, Any],
        *,
        cut_by: str | None = None,
    ) -> None:
        """Set attributes of a running release together with its next turn.

        Parameters
        ----------
        cut_by : of the first turn, the worker whose items count with it.

        Raises
        ------
        RecordChangedError
            when it is closed, its turn is another one than ``seen`` (None: it has had none), or another worker writes its items.
        """
        conditions = ["#status = :running"]
        values: dict[str, Any] = {":running": "RUNNING"}
        if seen is None:
            conditions.append("attribute_not_exists(#turn)")
        else:
            conditions.append("#turn = :seen")
            values[":seen"] = seen
        if cut_by is not None:
            conditions.append("cut_by = :cut_by")
            values[":cut_by"] = cut_by
        self._update(
            {"pk": f"RELEASE#{release}", "sk": "RELEASE"},
            {
                **{name: _fitting_value(value) for name, value in changes.items()},
                "turn": turn,
                "turn_before": seen,
            },
            condition=" AND ".join(conditions),
            values=values,
            names={"#status": "status"},
        )

    def add_throttles(self, release: str, count: int) -> None:
        if count:
            self._client.update_item(
                TableName=self._table,
                Key=_item({"pk": f"RELEASE#{release}", "sk": "RELEASE"}),
                UpdateExpression="ADD throttles :count",
                ExpressionAttributeValues=_item({":count": count}),
            )

    def releases(self, limit: int = 20) -> list[ReleaseRecord]:
        """The newest releases, newest first; at most ``limit`` or what a page of DynamoDB holds (thousands)."""
        answer = self._client.query(
            TableName=self._table,
            KeyConditionExpression="pk = :pk",
            ExpressionAttributeValues=_item({":pk": "RELEASES"}),
            # A rollback by hand right after a release must see that release.
            ConsistentRead=True,
            ScanIndexForward=False,
            Limit=limit,
        )
        ids = [_plain(found)["release"] for found in answer["Items"]]
        return [record for record in map(self.release, ids) if record is not None]

    # --- items -------------------------------------------------------------------------------------------------

    def claim_cut(self, release: str, worker: str) -> None:
        """Say that this worker writes the items of a release; nothing of any other attempt is taken any more.

        Raises
        ------
        RecordChangedError
            when the release is closed, or its items are complete.
        """
        self._update(
            {"pk": f"RELEASE#{release}", "sk": "RELEASE"},
            {"cut_by": worker},
            condition="#condition_status = :running AND attribute_not_exists(turn)",
            values={":running": "RUNNING"},
            names={"#condition_status": "status"},
        )

    def put_items(self, release: str, items: Sequence[ItemRecord], worker: str) -> None:
        """Write all items of a release, as the worker that has claimed to.

        An earlier attempt may have died after it had cut the release another way: its rows go. One that is still at it is
        refused with the first of its transactions that comes after the claim.

        Raises
        ------
        RecordChangedError
            when another worker has claimed it since, or the items are complete.
        """
        rows = {item.key["sk"]: {**item.key, **_without_none(dataclasses.asdict(item))} for item in items}
        left = [row["sk"] for row in self._query(f"RELEASE#{release}", begins="ITEM#")]
        writes: list[dict[str, Any]] = [
            {"Delete": {"TableName": self._table, "Key": _item({"pk": f"RELEASE#{release}", "sk": sk})}}
            for sk in left
            if sk not in rows
        ]
        writes += [{"Put": {"TableName": self._table, "Item": _item(row)}} for row in rows.values()]
        mine = {
            "ConditionCheck": {
                "TableName": self._table,
                "Key": _item({"pk": f"RELEASE#{release}", "sk": "RELEASE"}),
                "ConditionExpression": "cut_by = :worker AND attribute_not_exists(turn)",
                "ExpressionAttributeValues": _item({":worker": worker}),
            }
        }
        for some in _transactions(writes):
            self._transact([mine, *some])

    def _transact(self, writes: Sequence[Mapping[str, Any]]) -> None:
        """One transaction, whole or not at all; one that collides with another's is tried again (:mod:`ecs_release.retries`)."""
        try:
            self._client.transact_write_items(TransactItems=list(writes))
        except ClientError as error:
            reasons = {reason.get("Code") for reason in error.response.get("CancellationReasons", ())}
            if error_code(error) == "TransactionCanceledException" and "ConditionalCheckFailed" in reasons:
                raise RecordChangedError("somebody else changed this record first") from error
            raise

    # --- what Parse has read --------------------------------------------------------------------------------------

    def keep_definitions(self, release: str, found: Iterable[tuple[str, TaskDefinition]]) -> None:
        """Keep (target, outline) of task definitions for the attempt that goes on from here."""
        rows = [json.dumps([target, d.body, d.tags], separators=(",", ":")) for target, d in found]
        number = len(list(self._query(f"RELEASE#{release}", begins="READ#")))
        for text in _together(rows, _LIST_BYTES):
            self._put({"pk": f"RELEASE#{release}", "sk": f"READ#{number:05d}", "definitions": text})
            number += 1

    def definitions(self, release: str) -> list[tuple[str, TaskDefinition]]:
        """What :meth:`keep_definitions` has kept."""
        return [
            (target, TaskDefinition(body, tuple(tags)))
            for row in self._query(f"RELEASE#{release}", begins="READ#")
            for target, body, tags in json.loads(row["definitions"])
        ]

    def forget_definitions(self, release: str) -> None:
        for row in list(self._query(f"RELEASE#{release}", begins="READ#")):
            self._client.delete_item(TableName=self._table, Key=_item({"pk": row["pk"], "sk": row["sk"]}))

    def items(self, release: str, first: int | None = None, last: int | None = None) -> list[ItemRecord]:
        """Items in order; of the batches ``first`` to ``last`` when they are given."""
        if first is None:
            found = self._query(f"RELEASE#{release}", begins="ITEM#")
        else:
            end = first if last is None else last
            found = self._query(f"RELEASE#{release}", between=(f"ITEM#{first:05d}#", f"ITEM#{end:05d}#~"))
        return [_item_record(row) for row in found]

    def item(self, item: ItemRecord) -> ItemRecord:
        """The item as it is recorded now."""
        return self.item_at(item.release, item.key["sk"])

    def item_at(self, release: str, place: str) -> ItemRecord:
        """The item with this range key as it is recorded now."""
        found = self._get(f"RELEASE#{release}", place)
        if found is None:
            raise RecordChangedError(f"the record of {place} of release {release} is gone")
        return _item_record(found)

    def update_item(
        self,
        item: ItemRecord,
        changes: Mapping[str, Any],
        *,
        verdict_open: bool = False,
        condition: str | None = None,
        values: Mapping[str, Any] | None = None,
    ) -> ItemRecord:
        """Change an item as it was read, under the epoch its release got with the lock.

        Parameters
        ----------
        item : the record that the change was decided from: a decision from an older one is never written.
        changes : attributes to set; None removes one.
        verdict_open : also demand that no final verdict was written yet.

        Raises
        ------
        RecordChangedError
            when the epoch was raised, another worker has changed the item since, or the condition does not hold.
        """
        request, changed = self._item_request(item, changes, verdict_open, condition, values)
        self._send_update(request)
        return changed

    def settle_item(
        self, item: ItemRecord, changes: Mapping[str, Any], *, verdict_open: bool = False
    ) -> ItemRecord:
        """Change an item as :meth:`update_item` does, and demand that its release is not closed."""
        request, changed = self._item_request(item, changes, verdict_open)
        self._transact([{"Update": request}, self._is_running(item.release)])
        return changed

    def _item_request(
        self,
        item: ItemRecord,
        changes: Mapping[str, Any],
        verdict_open: bool,
        condition: str | None = None,
        values: Mapping[str, Any] | None = None,
    ) -> tuple[dict[str, Any], ItemRecord]:
        """The request that changes an item, and the item after it."""
        conditions = ["epoch = :epoch", "#revision = :revision"]
        if not item.revision:  # of a version that did not count
            conditions[1] = "(attribute_not_exists(#revision) OR #revision = :revision)"
        changes = {**changes, "revision": item.revision + 1}
        all_values: dict[str, Any] = {
            ":epoch": item.epoch,
            ":revision": item.revision,
            **(values or {}),
        }
        if verdict_open:
            conditions.append("verdict IN (:pending, :prepared, :updated)")
            all_values |= {":pending": "PENDING", ":prepared": "PREPARED", ":updated": "UPDATED"}
        if condition:
            conditions.append(f"({condition})")
        request = self._update_request(
            item.key, changes, condition=" AND ".join(conditions), values=all_values
        )
        return request, dataclasses.replace(item, **changes)

    def _is_running(self, release: str) -> dict[str, Any]:
        return {
            "ConditionCheck": {
                "TableName": self._table,
                "Key": _item({"pk": f"RELEASE#{release}", "sk": "RELEASE"}),
                "ConditionExpression": "#status = :running",
                "ExpressionAttributeNames": {"#status": "status"},
                "ExpressionAttributeValues": _item({":running": "RUNNING"}),
            }
        }

    def fence_items(self, release: str, epoch: int) -> None:
        """Raise the epoch of all items, so that workers of a release that was closed by force can't write to them."""
        for item in self.items(release):
            self._update(item.key, {"epoch": epoch}, condition="attribute_exists(pk)")

    # --- items that are not whole ------------------------------------------------------------------------------

    def unwhole(self, keys: Sequence[tuple[str, str, str]]) -> dict[tuple[str, str, str], dict[str, Any]]:
        """For (target, kind, name): what an earlier release left behind.

        ``{"before", "release", "ours", ...}``; ``ours`` are the ARNs and content digests that releases set since.
        """
        return self._by_state_key("ITEM", keys)

    def holds(self, keys: Sequence[tuple[str, str, str]]) -> dict[tuple[str, str, str], dict[str, Any]]:
        """For (target, kind, name): what a rollback by hand undid, ``{"images": {container: image}, "release"}``."""
        return self._by_state_key("HOLD", keys)

    def all_holds(self) -> list[dict[str, Any]]:
        """Every hold, with its item's ``target``, ``kind`` and ``name``."""
        found = []
        for row in self._query("HOLD", begins=""):
            target, kind, name = row["sk"].split("#", 2)
            found.append({**row, "target": target, "kind": kind, "name": name})
        return found

    def hold(self, item: ItemRecord) -> None:
        """Remember that a rollback by hand undid these images of an item."""
        undone = {container: change["from"] for container, change in item.images.items()}
        self._put({"pk": "HOLD", "sk": "#".join(item.state_key), "images": undone, "release": item.release})

    def lift_hold(self, key: tuple[str, str, str]) -> None:
        self._client.delete_item(TableName=self._table, Key=_item({"pk": "HOLD", "sk": "#".join(key)}))

    def _by_state_key(
        self, pk: str, keys: Sequence[tuple[str, str, str]]
    ) -> dict[tuple[str, str, str], dict[str, Any]]:
        result: dict[tuple[str, str, str], dict[str, Any]] = {}
        wanted = list(dict.fromkeys(keys))
        for start in range(0, len(wanted), 100):
            names = {"#".join(key): key for key in wanted[start : start + 100]}
            request: dict[str, Any] = {
                self._table: {"Keys": [_item({"pk": pk, "sk": sk}) for sk in names], "ConsistentRead": True}
            }
            attempt = 0
            while request:
                answer = self._client.batch_get_item(RequestItems=request)
                for row in answer["Responses"].get(self._table, ()):
                    plain = _plain(row)
                    result[names[plain["sk"]]] = plain
                request = answer.get("UnprocessedKeys") or {}
                if request:
                    attempt += 1
                    _wait_for_the_rest(attempt)
        return result

    def mark_unwhole(self, item: ItemRecord, *more: str) -> None:
        """Remember, before the first write to production, what "back" means for an item, and what is ours there.

        An older memory stays, unless it is void because somebody else has deployed since.

        Parameters
        ----------
        more : ARNs or content digests that are about to be set, beside the item's new revision.
        """
        key = {"pk": "ITEM", "sk": "#".join(item.state_key)}
        ours = {*more, *filter(None, (item.after, item.rollback_to))}
        row: dict[str, Any] = {**key, "release": item.release, "before": item.before}
        if ours:
            row["ours"] = ours
        fresh = "attribute_not_exists(pk)"
        try:
            if item.memory_void:
                self._put(
                    row,
                    condition=f"{fresh} OR #release <> :release",
                    values={":release": item.release},
                    names={"#release": "release"},
                )
            else:
                self._put(row, condition=fresh)
        except RecordChangedError:
            if ours:
                self._client.update_item(
                    TableName=self._table,
                    Key=_item(key),
                    UpdateExpression="ADD ours :ours",
                    ExpressionAttributeValues=_item({":ours": ours}),
                )

    def mark_whole(self, item: ItemRecord) -> None:
        self._client.delete_item(
            TableName=self._table,
            Key=_item({"pk": "ITEM", "sk": "#".join(item.state_key)}),
        )

    # --- revisions that nothing uses ---------------------------------------------------------------------------

    def unused(self) -> list[UnusedRevision]:
        """Every revision that some release left unused, also those that are done with, for a while."""
        return [_unused_revision(row) for row in self._query("UNUSED")]

    def note_unused(self, release: str, revisions: Iterable[tuple[str, str]]) -> None:
        """Hand revisions over to the clean-up, as (target, ARN); harmless when it was done before.

        To be done under the lock: from then on a later release may take one, and a late second attempt changes nothing.
        """

        def note(revision: tuple[str, str]) -> None:
            row = {**_unused_key(*revision), "release": release, "state": "unused", "since": int(time.time())}
            try:
                self._put(
                    row,
                    condition="attribute_not_exists(pk) OR (#release = :release AND #state IN (:unused, :taken))",
                    values={":release": release, ":unused": "unused", ":taken": "taken"},
                    names={"#release": "release", "#state": "state"},
                )
            except RecordChangedError:  # a later release has it, or it is condemned already
                return

        with ThreadPoolExecutor(_WRITERS) as pool:
            list(side_by_side(pool, note, sorted(set(revisions))))

    def take_up(self, release: str, target: str, arn: str) -> Found:
        """Ask for a revision that was found, before it is used."""
        row = self._unused_revision(target, arn)
        if row is None:
            return Found.FREE
        try:
            self._move(
                target,
                arn,
                {"state": "taken", "release": release},
                condition="#state = :unused OR (#state = :taken AND #release = :release)",
                values={":unused": "unused", ":taken": "taken", ":release": release},
                names={"#state": "state", "#release": "release"},
            )
        except RecordChangedError:
            row = self._unused_revision(target, arn)
            kept = row is None or row.state in ("taken", "kept")
            return Found.FREE if kept else Found.CONDEMNED
        return Found.TAKEN

    def keep(self, target: str, arn: str, release: str) -> bool:
        """Take a revision out of the clean-up because something runs it; False: it is too late."""
        try:
            self._move(
                target,
                arn,
                {"state": "kept", "release": release},
                condition="#state = :unused",
                values={":unused": "unused"},
                names={"#state": "state"},
            )
        except RecordChangedError:
            row = self._unused_revision(target, arn)
            return row is None or row.state in ("taken", "kept")
        return True

    def condemn(self, target: str, arn: str) -> bool:
        """Say, before it is done, that a revision is deregistered; False: somebody uses it by now."""
        try:
            self._move(
                target,
                arn,
                {"state": "condemned"},
                condition="#state IN (:unused, :condemned)",
                values={":unused": "unused", ":condemned": "condemned"},
                names={"#state": "state"},
            )
        except RecordChangedError:
            return False
        return True

    def note_deregistered(self, target: str, arn: str) -> None:
        """Say that a condemned revision is gone. The row stays a while: reads of ECS lag behind."""
        self._move(
            target,
            arn,
            {"state": "deregistered", "reason": None},
            condition="attribute_exists(pk)",
        )

    def note_trouble(self, revision: UnusedRevision, reason: str) -> None:
        """Say why a revision could not be deregistered."""
        try:
            self._update(
                _unused_key(revision.target, revision.arn),
                {"reason": reason},
                condition="attribute_exists(pk)",
            )
        except RecordChangedError:
            return

    def forget_unused(self, revision: UnusedRevision) -> None:
        """Remove the row of a revision that is done with."""
        self._client.delete_item(TableName=self._table, Key=_item(_unused_key(revision.target, revision.arn)))

    def _unused_revision(self, target: str, arn: str) -> UnusedRevision | None:
        row = self._get(**_unused_key(target, arn))
        return None if row is None else _unused_revision(row)

    def _move(self, target: str, arn: str, changes: Mapping[str, Any], **condition: Any) -> None:
        self._update(_unused_key(target, arn), {**changes, "since": int(time.time())}, **condition)

    # --- DynamoDB ----------------------------------------------------------------------------------------------

    def _get(self, pk: str, sk: str) -> dict[str, Any] | None:
        answer = self._client.get_item(
            TableName=self._table, Key=_item({"pk": pk, "sk": sk}), ConsistentRead=True
        )
        return _plain(answer["Item"]) if "Item" in answer else None

    def _put(
        self,
        row: Mapping[str, Any],
        *,
        condition: str | None = None,
        values: Mapping[str, Any] | None = None,
        names: Mapping[str, str] | None = None,
    ) -> None:
        request: dict[str, Any] = {"TableName": self._table, "Item": _item(_without_none(row))}
        if condition:
            request["ConditionExpression"] = condition
        if values:
            request["ExpressionAttributeValues"] = _item(values)
        if names:
            request["ExpressionAttributeNames"] = dict(names)
        try:
            self._client.put_item(**request)
        except ClientError as error:
            _raise_conditional(error)

    def _update(
        self,
        key: Mapping[str, str],
        changes: Mapping[str, Any],
        *,
        condition: str,
        values: Mapping[str, Any] | None = None,
        names: Mapping[str, str] | None = None,
    ) -> None:
        self._send_update(self._update_request(key, changes, condition=condition, values=values, names=names))

    def _send_update(self, request: Mapping[str, Any]) -> None:
        try:
            self._client.update_item(**request)
        except ClientError as error:
            _raise_conditional(error)

    def _update_request(
        self,
        key: Mapping[str, str],
        changes: Mapping[str, Any],
        *,
        condition: str,
        values: Mapping[str, Any] | None = None,
        names: Mapping[str, str] | None = None,
    ) -> dict[str, Any]:
        sets = {name: value for name, value in changes.items() if value is not None}
        removes = [name for name, value in changes.items() if value is None]
        expression = ""
        if sets:
            expression += "SET " + ", ".join(f"#{name} = :new_{name}" for name in sets)
        if removes:
            expression += " REMOVE " + ", ".join(f"#{name}" for name in removes)
        all_values = {**{f":new_{name}": value for name, value in sets.items()}, **(values or {})}
        request: dict[str, Any] = {
            "TableName": self._table,
            "Key": _item(key),
            "UpdateExpression": expression.strip(),
            "ConditionExpression": condition,
            "ExpressionAttributeNames": {**{f"#{name}": name for name in changes}, **(names or {})},
        }
        if all_values:
            request["ExpressionAttributeValues"] = _item(all_values)
        return request

    def _query(
        self, pk: str, *, begins: str | None = None, between: tuple[str, str] | None = None
    ) -> Iterator[dict[str, Any]]:
        if between:
            expression = "pk = :pk AND sk BETWEEN :first AND :last"
            values: dict[str, Any] = {":pk": pk, ":first": between[0], ":last": between[1]}
        else:
            expression = "pk = :pk" + (" AND begins_with(sk, :begins)" if begins else "")
            values = {":pk": pk} | ({":begins": begins} if begins else {})
        pages = self._client.get_paginator("query").paginate(
            TableName=self._table,
            KeyConditionExpression=expression,
            ExpressionAttributeValues=_item(values),
            ConsistentRead=True,
        )
        for page in pages:
            for row in page["Items"]:
                yield _plain(row)


def _transactions(writes: Sequence[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    """The writes in as few transactions as DynamoDB's limits allow."""
    some: list[dict[str, Any]] = []
    size = 0
    for write in writes:
        length = len(json.dumps(write))
        if some and (len(some) == _TRANSACTION_ITEMS or size + length > _TRANSACTION_BYTES):
            yield some
            some, size = [], 0
        some.append(write)
        size += length
    if some:
        yield some


def _unused_key(target: str, arn: str) -> dict[str, str]:
    return {"pk": "UNUSED", "sk": f"{target}#{arn}"}


def _unused_revision(row: Mapping[str, Any]) -> UnusedRevision:
    target, _, arn = row["sk"].rpartition("#")
    return UnusedRevision(
        target, arn, row["release"], row["state"], int(row["since"]), str(row.get("reason", ""))
    )


def fitting(lines: Sequence[str], room: int = _LIST_BYTES) -> list[str]:
    """As many lines as ``room`` bytes hold, and how many more there were."""
    kept: list[str] = []
    used = 0
    for line in lines:
        used += len(line.encode()) + 3
        if used > room:
            return [*kept, f"... and {len(lines) - len(kept)} more"]
        kept.append(line)
    return kept


def _wait_for_the_rest(attempt: int) -> None:
    """DynamoDB throttles a part of a batch by giving it back
    (https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_BatchWriteItem.html)."""
    pause(jittered(attempt, 5.0), "DynamoDB throttles the releases table")


def _fitting_value(value: Any) -> Any:
    return fitting(value) if isinstance(value, list) and all(isinstance(v, str) for v in value) else value


def _together(texts: Sequence[str], room: int) -> Iterator[str]:
    """JSON texts in as few JSON lists as hold about ``room`` bytes each."""
    some: list[str] = []
    used = 0
    for text in texts:
        if some and used + len(text.encode()) > room:
            yield f"[{','.join(some)}]"
            some, used = [], 0
        some.append(text)
        used += len(text.encode())
    if some:
        yield f"[{','.join(some)}]"


def _raise_conditional(error: ClientError) -> NoReturn:
    if error_code(error) == "ConditionalCheckFailedException":
        raise RecordChangedError("somebody else changed this record first") from error
    raise error


def _item(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _serialize(value) for name, value in row.items()}


def _plain(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _numbers(_deserialize(value)) for name, value in row.items()}


def _numbers(value: Any) -> Any:
    """DynamoDB hands out Decimals; every number in these records is a whole one."""
    if isinstance(value, Decimal):
        return int(value)
    if isinstance(value, list):
        return [_numbers(entry) for entry in value]
    if isinstance(value, dict):
        return {key: _numbers(entry) for key, entry in value.items()}
    return value


def _without_none(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if value is not None}


_RELEASE_FIELDS = {f.name for f in dataclasses.fields(ReleaseRecord)}
_ITEM_FIELDS = {f.name for f in dataclasses.fields(ItemRecord)}


def _release_record(row: Mapping[str, Any]) -> ReleaseRecord:
    if int(row.get("schema", SCHEMA)) > SCHEMA:
        raise SettingsError(
            f"release {row.get('release')} was recorded by a newer version (schema {row['schema']}, known: {SCHEMA}); "
            "update the ecs-release command."
        )
    return ReleaseRecord(**{name: value for name, value in row.items() if name in _RELEASE_FIELDS})


def _item_record(row: Mapping[str, Any]) -> ItemRecord:
    return ItemRecord(**{name: value for name, value in row.items() if name in _ITEM_FIELDS})
