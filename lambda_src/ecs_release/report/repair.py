"""The commands that finish a rollback by hand, complete enough to be pasted into a shell.

They name things and repeat nothing of what a rule's targets or a schedule hold: overrides and inputs carry secrets, and these
commands go into mails, logs and the execution's cause. The record and AWS hold what is to be written.
"""

from __future__ import annotations

import re
import shlex

from ecs_release.manifest.item import command_name
from ecs_release.record.models import ItemRecord


def repair_command(item: ItemRecord, region: str | None, execution: str) -> str:
    """The command that puts one item back to its before-image.

    Parameters
    ----------
    region : of the item's target; None where the module is not given that target any more. Nothing can be pasted then before it
        is, and the line says so as a shell's comment.
    execution : ARN of the release's execution, which names the state machine.
    """
    by_name = repair_items(item.release, execution, command_name(item.state_key))
    if region is None:
        return f'# the module has no target "{item.target}" any more; give it to the module again, then: {by_name}'
    if item.is_service:
        service = item.service
        return shlex.join(
            [
                *("aws", "ecs", "update-service", "--region", region, "--cluster", service.cluster),
                *("--service", service.service, "--task-definition", item.rollback_to or item.before),
            ]
        )
    return by_name


def repair_items(release: str, execution: str, *names: str) -> str:
    """The command that puts back items of a release by their names; without a name all that are not back."""
    machine = state_machine_of(execution)
    where = ["--state-machine-arn", machine] if machine else []
    return shlex.join(["ecs-release", "repair", *where, "--release", release, *names])


def state_machine_of(execution: str) -> str | None:
    """ARN of the state machine that an execution runs; None when that is no execution's ARN."""
    found = re.fullmatch(r"(arn:[^:]+:states:[^:]*:\d{12}):execution:([^:]+):[^:]+", execution)
    return f"{found[1]}:stateMachine:{found[2]}" if found else None
