"""The revision an item needs: found, registered, or made ACTIVE again."""

from __future__ import annotations

import time
from collections.abc import Callable

from botocore.exceptions import ClientError

from ecs_release.aws.task_definitions import TaskDefinition
from ecs_release.errors import (
    ItemBusyError,
    PassingError,
)
from ecs_release.observability import logger
from ecs_release.record.models import Found
from ecs_release.record.statuses import OPEN
from ecs_release.steps.turn import Turn


def register(turn: Turn) -> None:
    """Find or register the item's new revision and record it.

    Only one worker at a time registers for an item: two at once would both find no revision and make two.
    """
    turn.claim()
    item, worker = turn.item, turn.worker
    if item.after is not None:
        return
    if item.same_as is not None:
        # Two items with the same content need one revision, and what was registered a moment ago may not be listed yet.
        first = worker.store.item_at(item.release, item.same_as)
        if first.after is not None:
            turn.update({"after": first.after})
            return
        if first.verdict in OPEN:
            # Prepare does a target's batches one after another: what an earlier one has left open, its worker has given up.
            busy = PassingError if worker.step == "prepare" else ItemBusyError
            raise busy(f"{item.name} needs the revision of {first.name}, which is not registered yet")
    definitions = worker.task_definitions(item)
    base = definitions.describe(item.base)
    turn.unsure = True
    try:
        copy, registered = definitions.register_copy(
            base,
            item.new_images,
            # There is none so far: what a later attempt finds is this release's own.
            before_attempt=lambda: turn.ready(registering=True),
            usable=_usable(turn),
        )
    except ClientError:
        turn.unsure = False  # AWS has answered, so the next attempt need not sit the lease out
        raise
    turn.unsure = False
    registered = registered or is_ours(turn, copy.arn)
    logger.info("revision ready", extra={"revision": copy.arn, "registered": registered})
    turn.update({"after": copy.arn, "registered": registered})


def _usable(turn: Turn) -> Callable[[str], bool]:
    """Whether a revision that was found may be used; from the answer on the clean-up of an earlier release leaves it alone."""
    store, item = turn.worker.store, turn.item
    return lambda arn: store.take_up(item.release, item.target, arn) is not Found.CONDEMNED


def is_ours(turn: Turn, arn: str) -> bool:
    """Whether this release may deregister a revision that it found: it made it, or nothing used it and it took it over.

    Any other one may be what another item runs.
    """
    item = turn.item
    return item.registering or turn.worker.store.take_up(item.release, item.target, arn) is Found.TAKEN


def ensure_active(turn: Turn, arn: str) -> str:
    """``arn``, or an equal ACTIVE copy of it when it was deregistered: ECS refuses to start an INACTIVE revision."""
    definitions = turn.worker.task_definitions(turn.item)
    definition: TaskDefinition = definitions.describe(arn)
    if definition.active:
        return arn
    if definitions.find_copy(definition, {}) is None:
        # What another item of this release needed a moment ago is registered, and may not be listed yet.
        time.sleep(turn.worker.settings.settle_seconds)
    copy, _ = definitions.register_copy(definition, {}, before_attempt=turn.ready, usable=_usable(turn))
    return copy.arn
