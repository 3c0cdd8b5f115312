"""The items of a release. Every change demands the revision of the record it was decided from."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ecs_release.errors import RecordChangedError
from ecs_release.record.models import ItemRecord, item_record, item_row
from ecs_release.record.statuses import ReleaseStatus
from ecs_release.record.table import Table, serialized, transactions, without_none

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.type_defs import TransactWriteItemTypeDef, UpdateTypeDef


class Items(Table):
    """The rows of a release's items."""

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
            values={":running": ReleaseStatus.RUNNING},
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
        rows = {item.key["sk"]: {**item.key, **without_none(item_row(item))} for item in items}
        left = [row["sk"] for row in self._query(f"RELEASE#{release}", begins="ITEM#")]
        writes: list[TransactWriteItemTypeDef] = [
            {"Delete": {"TableName": self._table, "Key": serialized({"pk": f"RELEASE#{release}", "sk": sk})}}
            for sk in left
            if sk not in rows
        ]
        writes += [{"Put": {"TableName": self._table, "Item": serialized(row)}} for row in rows.values()]
        mine: TransactWriteItemTypeDef = {
            "ConditionCheck": {
                "TableName": self._table,
                "Key": serialized({"pk": f"RELEASE#{release}", "sk": "RELEASE"}),
                "ConditionExpression": "cut_by = :worker AND attribute_not_exists(turn)",
                "ExpressionAttributeValues": serialized({":worker": worker}),
            }
        }
        for some in transactions(writes):
            self._transact([mine, *some])

    def items(self, release: str, first: int | None = None, last: int | None = None) -> list[ItemRecord]:
        """Items in order; of the batches ``first`` to ``last`` when they are given."""
        if first is None:
            found = self._query(f"RELEASE#{release}", begins="ITEM#")
        else:
            end = first if last is None else last
            found = self._query(f"RELEASE#{release}", between=(f"ITEM#{first:05d}#", f"ITEM#{end:05d}#~"))
        return [item_record(row) for row in found]

    def item(self, item: ItemRecord) -> ItemRecord:
        """The item as it is recorded now."""
        return self.item_at(item.release, item.key["sk"])

    def item_at(self, release: str, place: str) -> ItemRecord:
        """The item with this range key as it is recorded now."""
        found = self._get(f"RELEASE#{release}", place)
        if found is None:
            raise RecordChangedError(f"the record of {place} of release {release} is gone")
        return item_record(found)

    def update_item(
        self,
        item: ItemRecord,
        changes: Mapping[str, Any],
        *,
        verdict_open: bool = False,
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
            when the epoch was raised, or another worker has changed the item since.
        """
        request, changed = self._item_request(item, changes, verdict_open)
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
    ) -> tuple[UpdateTypeDef, ItemRecord]:
        """The request that changes an item, and the item after it."""
        conditions = ["epoch = :epoch", "#revision = :revision"]
        if not item.revision:  # of a version that did not count
            conditions[1] = "(attribute_not_exists(#revision) OR #revision = :revision)"
        changes = {**changes, "revision": item.revision + 1}
        all_values: dict[str, Any] = {
            ":epoch": item.epoch,
            ":revision": item.revision,
        }
        if verdict_open:
            conditions.append("verdict IN (:pending, :prepared, :updated)")
            all_values |= {":pending": "PENDING", ":prepared": "PREPARED", ":updated": "UPDATED"}
        request = self._update_request(
            item.key, changes, condition=" AND ".join(conditions), values=all_values
        )
        return request, dataclasses.replace(item, **changes)

    def _is_running(self, release: str) -> TransactWriteItemTypeDef:
        return {
            "ConditionCheck": {
                "TableName": self._table,
                "Key": serialized({"pk": f"RELEASE#{release}", "sk": "RELEASE"}),
                "ConditionExpression": "#status = :running",
                "ExpressionAttributeNames": {"#status": "status"},
                "ExpressionAttributeValues": serialized({":running": ReleaseStatus.RUNNING}),
            }
        }

    def fence_items(self, release: str, epoch: int) -> None:
        """Raise the epoch of all items, so that workers of a release that was closed by force can't write to them."""
        for item in self.items(release):
            self._update(item.key, {"epoch": epoch}, condition="attribute_exists(pk)")
