"""What later releases must know: items that are not whole, with what "back" means for them, and holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ecs_release.errors import RecordChangedError
from ecs_release.manifest.item import Key
from ecs_release.record.models import ItemRecord
from ecs_release.record.table import Table, deserialized, serialized, wait_for_the_rest

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.type_defs import KeysAndAttributesUnionTypeDef


class Memory(Table):
    """The rows of items that are not whole, and of holds."""

    def memories(self, keys: Sequence[Key]) -> dict[Key, dict[str, Any]]:
        """For (target, kind, name): what an earlier release left behind.

        ``{"before", "release", "ours", "digests"}``; ``ours`` are the ARNs and content digests that releases set since, ``digests``
        what ran as ``before``, by container, where ECS told.
        """
        return self._by_state_key("ITEM", keys)

    def memory(self, key: Key) -> dict[str, Any] | None:
        """What :meth:`memories` says of one item."""
        return self._get("ITEM", "#".join(key))

    def holds(self, keys: Sequence[Key]) -> dict[Key, dict[str, Any]]:
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

    def lift_hold(self, key: Key) -> None:
        self._client.delete_item(TableName=self._table, Key=serialized({"pk": "HOLD", "sk": "#".join(key)}))

    def _by_state_key(self, pk: str, keys: Sequence[Key]) -> dict[Key, dict[str, Any]]:
        result: dict[Key, dict[str, Any]] = {}
        wanted = list(dict.fromkeys(keys))
        for start in range(0, len(wanted), 100):
            names = {"#".join(key): key for key in wanted[start : start + 100]}
            request: Mapping[str, KeysAndAttributesUnionTypeDef] = {
                self._table: {
                    "Keys": [serialized({"pk": pk, "sk": sk}) for sk in names],
                    "ConsistentRead": True,
                }
            }
            attempt = 0
            while request:
                answer = self._client.batch_get_item(RequestItems=request)
                for row in answer["Responses"].get(self._table, ()):
                    plain = deserialized(row)
                    result[names[plain["sk"]]] = plain
                request = answer.get("UnprocessedKeys") or {}
                if request:
                    attempt += 1
                    wait_for_the_rest(attempt)
        return result

    def remember(self, item: ItemRecord, *more: str) -> None:
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
        if item.before_digests:
            row["digests"] = item.before_digests
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
                    Key=serialized(key),
                    UpdateExpression="ADD ours :ours",
                    ExpressionAttributeValues=serialized({":ours": ours}),
                )

    def forget(self, item: ItemRecord) -> None:
        self._client.delete_item(
            TableName=self._table,
            Key=serialized({"pk": "ITEM", "sk": "#".join(item.state_key)}),
        )
