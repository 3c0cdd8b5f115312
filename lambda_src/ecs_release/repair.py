"""The commands that finish a rollback by hand, complete enough to be pasted into a shell with the AWS CLI."""

from __future__ import annotations

import json
import shlex
import time
from collections.abc import Mapping, Sequence
from typing import Any

from ecs_release.rollout import Status
from ecs_release.scheduled_task import reference_of, start_may_go, start_warning, with_task_definition
from ecs_release.store import ItemRecord
from ecs_release.task_definition import parse_reference

_NOT_AN_ARGUMENT = ("Arn", "CreationDate", "LastModificationDate")


def repair_commands(items: Sequence[ItemRecord], regions: Mapping[str, str]) -> list[str]:
    """One command for each item that should be back and is not.

    Parameters
    ----------
    regions : Region of each target, by the target's name.
    """
    return [
        repair_command(item, regions[item.target]) for item in items if item.status == Status.ROLLBACK_FAILED
    ]


def repair_command(item: ItemRecord, region: str) -> str:
    """The command that puts one item back to its before-image."""
    where = ["--region", region]
    if item.kind == "service":
        return shlex.join(
            [
                *("aws", "ecs", "update-service", *where, "--cluster", str(item.cluster)),
                *("--service", str(item.service), "--task-definition", item.rollback_to or item.before),
            ]
        )
    targets = [_back(target, item) for target in json.loads(item.before_raw or "[]")]
    if item.rule is not None:
        return shlex.join(
            [
                *(
                    "aws",
                    "events",
                    "put-targets",
                    *where,
                    "--rule",
                    item.rule,
                    "--event-bus-name",
                    item.event_bus,
                ),
                *("--targets", json.dumps(targets)),
            ]
        )
    body = {key: value for key, value in targets[0].items() if key not in _NOT_AN_ARGUMENT}
    if start_warning(body, time.time()) and start_may_go(body):
        del body["StartDate"]
    return shlex.join(["aws", "scheduler", "update-schedule", *where, "--cli-input-json", json.dumps(body)])


def _back(target: dict[str, Any], item: ItemRecord) -> dict[str, Any]:
    """The raw target as it was; one that named a family without revision is pinned, because the newest is undone."""
    original = reference_of(target) or item.before
    pinned = parse_reference(original)[1] is not None
    return with_task_definition(target, item.rollback_to or (original if pinned else item.before))
