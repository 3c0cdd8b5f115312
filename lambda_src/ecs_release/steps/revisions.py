"""The revision an item needs: found, registered, or made ACTIVE again."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from botocore.exceptions import ClientError

from ecs_release.aws.registry import Registry
from ecs_release.aws.task_definitions import TaskDefinition
from ecs_release.errors import (
    ItemBusyError,
    ItemError,
    PassingError,
)
from ecs_release.observability import logger
from ecs_release.plan.image_back import ImageBack, Outcome, image_back, images_to_look_up
from ecs_release.record.models import Found
from ecs_release.record.statuses import OPEN
from ecs_release.steps.turn import Turn


def register(turn: Turn, before_attempt: Callable[[], None] = lambda: None) -> None:
    """Find or register the item's new revision and record it.

    Only one worker at a time registers for an item: two at once would both find no revision and make two.

    Parameters
    ----------
    before_attempt : called before each one, which may have waited for minutes; raises to stop.
    """

    def ready() -> None:
        before_attempt()
        # There is none so far: what a later attempt finds is this release's own.
        turn.ready(registering=True)

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
            before_attempt=ready,
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
    definition = turn.worker.task_definitions(turn.item).describe(arn)
    return arn if definition.active else _copy(turn, definition, {}, turn.ready).arn


@dataclass(frozen=True)
class RevisionBack:
    """The revision to go back to.

    Attributes
    ----------
    arn : the one recorded, or a copy of it.
    note : why it is a copy, in words; "" where it is none.
    unproven : whether nobody can tell if its tags still mean what ran.
    """

    arn: str
    note: str = ""
    unproven: bool = False


def revision_back(turn: Turn, before: str) -> RevisionBack:
    """What to go back to: ``before`` itself, or a copy of it where it was deregistered, or where a tag in it does not mean any more
    what ran; the copy names that by its digest.

    Raises
    ------
    ItemError
        when what ran is gone: a rollout that can't succeed, or of something else, is not begun.
    """
    item = turn.item
    definitions = turn.worker.task_definitions(item)
    definition = definitions.describe(before)
    if item.rollback_to not in (None, before):
        decided = definitions.describe(str(item.rollback_to))
        if decided.active and _usable(turn)(decided.arn):  # what an earlier attempt decided
            return RevisionBack(decided.arn, _about_copy(decided, definition), item.rollback_unproven)
    found = _images_back(turn, definition)
    lost = [one for one in found.values() if one.outcome is Outcome.LOST]
    if lost:
        why = "; ".join(map(_why_lost, lost))
        raise ItemError(f"not put back: {why}; push what ran again, then run: ecs-release repair")
    pins = {name: one.pinned for name, one in found.items() if one.outcome is Outcome.MOVED}
    unproven = _unproven(found)
    if definition.active and not pins:
        return RevisionBack(before, unproven=unproven)
    # There is none so far: what a later attempt finds is this release's own.
    copy = _copy(turn, definition, pins, lambda: turn.ready(rollback_registered=True))
    # An attempt that dies now must know the copy for its own.
    turn.update({"rollback_to": copy.arn, "rollback_unproven": unproven})
    turn.worker.store.remember(turn.item)
    return RevisionBack(copy.arn, _about_copy(copy, definition), unproven)


def _about_copy(copy: TaskDefinition, before: TaskDefinition) -> str:
    moved = [image for name, image in before.images.items() if copy.images.get(name) != image]
    if not moved:
        return f"put back on {copy.arn}, an equal copy of {before.arn}, which was deregistered meanwhile"
    tags = f"{', '.join(moved)} {'does' if len(moved) == 1 else 'do'} not mean any more what ran"
    return f"put back on {copy.arn}, a copy of {before.arn} that names the digest that ran: {tags}"


def _unproven(found: Mapping[str, ImageBack]) -> bool:
    """Whether it is known what ran, and not whether the tag still means that."""
    return any(one.outcome is Outcome.UNKNOWN and one.ran is not None for one in found.values())


def still_means_what_ran(turn: Turn, before: str) -> RevisionBack | None:
    """``before``, which is live again by itself; None where a tag in it is known not to mean any more what ran."""
    found = _images_back(turn, turn.worker.task_definitions(turn.item).describe(before))
    if any(one.outcome in (Outcome.MOVED, Outcome.LOST) for one in found.values()):
        return None
    return RevisionBack(before, unproven=_unproven(found))


def _images_back(turn: Turn, definition: TaskDefinition) -> dict[str, ImageBack]:
    item = turn.item
    asked = images_to_look_up(definition, item.before_digests)
    meanings = Registry(turn.worker.connections, item.target).look_up(asked)
    return {
        name: image_back(image, item.before_digests.get(name), meanings, resolved=item.is_service)
        for name, image in definition.images.items()
    }


def _why_lost(one: ImageBack) -> str:
    if one.now:
        return f"{one.image} means {one.now} by now, and {one.ran}, which ran, is gone from ECR"
    return f"{one.image} is gone from ECR ({one.why})"


def _copy(
    turn: Turn, definition: TaskDefinition, images: Mapping[str, str], before_attempt: Callable[[], None]
) -> TaskDefinition:
    """An ACTIVE copy with these images, found or registered."""
    definitions, usable = turn.worker.task_definitions(turn.item), _usable(turn)
    found = definitions.find_copy(definition, images, usable=usable)
    if found is not None:
        return found  # a second list may be older than this one
    # What another item of this release needed a moment ago is registered, and may not be listed yet.
    time.sleep(turn.worker.settings.settle_seconds)
    return definitions.register_copy(definition, images, before_attempt=before_attempt, usable=usable)[0]
