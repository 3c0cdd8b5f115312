"""What later releases must know: items that are not whole, with what "back" means for them, and holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ecs_release.errors import RecordChangedError
from ecs_release.manifest.item import Key, key_of_rule, shared_key
from ecs_release.observability import logger
from ecs_release.record.models import ItemRecord, item_record
from ecs_release.record.table import Table, deserialized, serialized, wait_for_the_rest

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.type_defs import KeysAndAttributesUnionTypeDef


class Memory(Table):
    """The rows of items that are not whole, and of holds.

    Earlier versions had one row for a rule on a bus and for the schedule in a group of that name (``docs/adr/0013``). Whose such
    a row is, the items of its release say, and whoever writes gives it to them first; a row that says ``own`` is its key's.
    """

    def memories(self, keys: Sequence[Key]) -> dict[Key, dict[str, Any]]:
        """For (target, kind, name): what an earlier release left behind.

        ``{"before", "release", "ours", "digests"}``; ``ours`` are the ARNs and content digests that releases set since, ``digests``
        what ran as ``before``, by container, where ECS told.
        """
        return self._of("ITEM", keys)

    def memory(self, key: Key) -> dict[str, Any] | None:
        """What :meth:`memories` says of one item."""
        for place in _places(key):
            row = self._get("ITEM", "#".join(place))
            if row is not None and key in self._owners(row, {}):
                return row
        return None

    def holds(self, keys: Sequence[Key]) -> dict[Key, dict[str, Any]]:
        """For (target, kind, name): what a rollback by hand undid, ``{"images": {container: image}, "release"}``."""
        return self._of("HOLD", keys)

    def all_holds(self) -> list[dict[str, Any]]:
        """Every hold, with its item's ``target``, ``kind`` and ``name``, which together are its key."""
        found = []
        known: dict[str, list[ItemRecord]] = {}
        for row in self._query("HOLD", begins=""):
            for target, kind, name in sorted(self._owners(row, known)):
                found.append({**row, "target": target, "kind": kind, "name": name})
        return found

    def hold(self, item: ItemRecord) -> None:
        """Remember that a rollback by hand undid these images of an item."""
        self._part("HOLD", item.state_key)
        row = {"pk": "HOLD", "sk": "#".join(item.state_key), "own": True}
        self._put({**row, "images": _undone(item), "release": item.release})

    def lift_hold(self, key: Key) -> None:
        self._part("HOLD", key)
        self._client.delete_item(TableName=self._table, Key=serialized({"pk": "HOLD", "sk": "#".join(key)}))

    def _of(self, pk: str, keys: Sequence[Key]) -> dict[Key, dict[str, Any]]:
        """The rows of items, by key."""
        rows = self._by_state_key(pk, [place for key in keys for place in _places(key)])
        known: dict[str, list[ItemRecord]] = {}
        found: dict[Key, dict[str, Any]] = {}
        for key in keys:
            for place in _places(key):
                if place in rows and key in self._owners(rows[place], known):
                    found[key] = rows[place]
                    break
        return found

    def _owners(self, row: Mapping[str, Any], known: dict[str, list[ItemRecord]]) -> set[Key]:
        """The keys of the items that a row is about: one, or where the same was noted of a rule and a schedule, both.

        Parameters
        ----------
        known : the items of releases that were read already.
        """
        target, kind, name = str(row["sk"]).split("#", 2)
        key = (target, kind, name)
        if row.get("own") or shared_key(key) != key:
            return {key}
        release = str(row["release"])
        if release not in known:
            known[release] = [item_record(r) for r in self._query(f"RELEASE#{release}", begins="ITEM#")]
        # Each of the two wrote into the row: it is about the one that was what it says.
        about = {item.state_key for item in known[release] if _says(row, item)}
        return about & {key, key_of_rule(key)} or {key}

    def _part(self, pk: str, key: Key) -> None:
        """Before a row is written or removed: give the one that a rule and a schedule shared to whose it is."""
        shared = shared_key(key)
        row = self._get(pk, "#".join(shared)) if shared else None
        if shared is None or row is None or row.get("own"):
            return
        owners = self._owners(row, {})
        still = {
            "ConditionExpression": "#release = :release AND attribute_not_exists(#own)",
            "ExpressionAttributeNames": {"#release": "release", "#own": "own"},
            "ExpressionAttributeValues": serialized({":release": row["release"]}),
        }
        place = {"TableName": self._table, "Key": serialized({"pk": pk, "sk": row["sk"]})}
        row["own"] = True
        writes: list[Any] = []
        if shared in owners:
            writes.append({"Put": {"TableName": self._table, "Item": serialized(row), **still}})
        else:
            writes.append({"Delete": {**place, **still}})
        if key_of_rule(shared) in owners:
            of_rule = {**row, "sk": "#".join(key_of_rule(shared))}
            writes.append({"Put": {"TableName": self._table, "Item": serialized(of_rule)}})
        try:
            self._transact(writes)
        except RecordChangedError:
            logger.info("another worker gave the row to whose it is")

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
        self._part("ITEM", item.state_key)
        key = {"pk": "ITEM", "sk": "#".join(item.state_key)}
        ours = {*more, *filter(None, (item.after, item.rollback_to))}
        row: dict[str, Any] = {**key, "release": item.release, "before": item.before, "own": True}
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
        self._part("ITEM", item.state_key)
        self._client.delete_item(
            TableName=self._table,
            Key=serialized({"pk": "ITEM", "sk": "#".join(item.state_key)}),
        )


def _places(key: Key) -> list[Key]:
    """The keys under which a row of an item may be: its own, and the one that it once shared."""
    shared = shared_key(key)
    return [key] if shared in (None, key) else [key, shared]


def _undone(item: ItemRecord) -> dict[str, str]:
    return {container: change["from"] for container, change in item.images.items()}


def _says(row: Mapping[str, Any], item: ItemRecord) -> bool:
    """Whether a memory or a hold says of an item what its release recorded of it."""
    return (row.get("before", item.before), row.get("images", _undone(item))) == (item.before, _undone(item))
