"""The commands that finish a rollback by hand, complete enough to be pasted into a shell with the AWS CLI."""

from __future__ import annotations

import json
import shlex
import time

from ecs_release.scheduled_task import (
    recorded_targets,
    reference_before,
    start_may_go,
    start_warning,
    with_task_definition,
)
from ecs_release.store import ItemRecord

_NOT_AN_ARGUMENT = ("Arn", "CreationDate", "LastModificationDate")


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
    back = item.rollback_to or reference_before(item)
    targets = [with_task_definition(target, back) for target in recorded_targets(item)]
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
