"""Revisions that a release registered and nothing uses.

They are deregistered without the lock, while a later release may want one of them (docs/adr/0008). The row decides: that
release takes the revision up, or the clean-up condemns it, whichever is written first, and neither is taken back.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from ecs_release.aws.patience import side_by_side
from ecs_release.errors import RecordChangedError
from ecs_release.record.models import Found, UnusedRevision
from ecs_release.record.table import WRITERS, Table, serialized


def _unused_key(target: str, arn: str) -> dict[str, str]:
    return {"pk": "UNUSED", "sk": f"{target}#{arn}"}


def _unused_revision(row: Mapping[str, Any]) -> UnusedRevision:
    target, _, arn = row["sk"].rpartition("#")
    return UnusedRevision(
        target, arn, row["release"], row["state"], int(row["since"]), str(row.get("reason", ""))
    )


class UnusedRevisions(Table):
    """The rows of revisions that are to be deregistered."""

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

        with ThreadPoolExecutor(WRITERS) as pool:
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
        self._client.delete_item(
            TableName=self._table, Key=serialized(_unused_key(revision.target, revision.arn))
        )

    def _unused_revision(self, target: str, arn: str) -> UnusedRevision | None:
        row = self._get(**_unused_key(target, arn))
        return None if row is None else _unused_revision(row)

    def _move(self, target: str, arn: str, changes: Mapping[str, Any], **condition: Any) -> None:
        self._update(_unused_key(target, arn), {**changes, "since": int(time.time())}, **condition)
