"""Releases: opening, deciding, refusing and listing them."""

from __future__ import annotations

import dataclasses
import itertools
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ecs_release.aws.task_definitions import TaskDefinition
from ecs_release.errors import RecordChangedError, fitting
from ecs_release.record.models import Lock, ReleaseRecord, release_record
from ecs_release.record.statuses import ReleaseStatus
from ecs_release.record.table import (
    LIST_BYTES,
    Table,
    deserialized,
    fitting_value,
    serialized,
    together,
    without_none,
)

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.type_defs import PutTypeDef, TransactWriteItemTypeDef

_PAGE = 25  # releases that are looked at together


class Releases(Table):
    """The rows of releases."""

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
        take: PutTypeDef = {"TableName": self._table, "Item": serialized(without_none(lock))}
        if seen.epoch:
            take |= {
                "ConditionExpression": "epoch = :seen",
                "ExpressionAttributeValues": serialized({":seen": seen.epoch}),
            }
        else:
            take["ConditionExpression"] = "attribute_not_exists(pk)"
        self._transact([{"Put": take}, *self._opening(record)])
        return record

    def _opening(self, record: ReleaseRecord) -> list[TransactWriteItemTypeDef]:
        row = {"pk": f"RELEASE#{record.release}", "sk": "RELEASE", **dataclasses.asdict(record)}
        fitting_row = {name: fitting_value(value) for name, value in row.items()}
        index = {"pk": "RELEASES", "sk": f"{record.started}#{record.release}", "release": record.release}
        return [
            {
                "Put": {
                    "TableName": self._table,
                    "Item": serialized(without_none(fitting_row)),
                    "ConditionExpression": "attribute_not_exists(pk)",
                }
            },
            {"Put": {"TableName": self._table, "Item": serialized(index)}},
        ]

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
        return None if found is None else release_record(found)

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
            values[":running"] = ReleaseStatus.RUNNING
        self._update(
            {"pk": f"RELEASE#{release}", "sk": "RELEASE"},
            {name: fitting_value(value) for name, value in changes.items()},
            condition=condition,
            values=values,
            names={"#condition_status": "status"} if only_running else {},
        )

    def refuse(self, release: str, problems: Sequence[str]) -> None:
        """Note why a release is REJECTED; nothing happens once its items are complete, or it is closed."""
        try:
            self._update(
                {"pk": f"RELEASE#{release}", "sk": "RELEASE"},
                {"problems": fitting(problems, LIST_BYTES)},
                condition="#condition_status = :running AND attribute_not_exists(turn)",
                values={":running": ReleaseStatus.RUNNING},
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
        values: dict[str, Any] = {":running": ReleaseStatus.RUNNING}
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
                **{name: fitting_value(value) for name, value in changes.items()},
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
                Key=serialized({"pk": f"RELEASE#{release}", "sk": "RELEASE"}),
                UpdateExpression="ADD throttles :count",
                ExpressionAttributeValues=serialized({":count": count}),
            )

    def releases(self, limit: int = 20) -> list[ReleaseRecord]:
        """The newest releases, newest first."""
        return list(itertools.islice(self.newest_first(), limit))

    def newest_first(self) -> Iterator[ReleaseRecord]:
        """Every release, newest first, each read when it is asked for."""
        pages = self._client.get_paginator("query").paginate(
            TableName=self._table,
            KeyConditionExpression="pk = :pk",
            ExpressionAttributeValues=serialized({":pk": "RELEASES"}),
            # A rollback by hand right after a release must see that release.
            ConsistentRead=True,
            ScanIndexForward=False,
            PaginationConfig={"PageSize": _PAGE},
        )
        for page in pages:
            for row in page["Items"]:
                record = self.release(deserialized(row)["release"])
                if record is not None:
                    yield record

    def keep_definitions(self, release: str, found: Iterable[tuple[str, TaskDefinition]]) -> None:
        """Keep (target, outline) of task definitions for the attempt that goes on from here."""
        rows = [json.dumps([target, d.body, d.tags], separators=(",", ":")) for target, d in found]
        number = len(list(self._query(f"RELEASE#{release}", begins="READ#")))
        for text in together(rows, LIST_BYTES):
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
            self._client.delete_item(
                TableName=self._table, Key=serialized({"pk": row["pk"], "sk": row["sk"]})
            )
