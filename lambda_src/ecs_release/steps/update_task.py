"""UpdateTasks: point the EventBridge rules and schedules of one batch at their new revisions."""

from __future__ import annotations

import time
from typing import Any

from ecs_release.aws.ecs_targets import reference_of
from ecs_release.aws.task_definitions import content_digest
from ecs_release.errors import RefusedError, SupersededError
from ecs_release.observability import about_release, logger
from ecs_release.record.before import original_reference, recorded_references
from ecs_release.record.statuses import Status
from ecs_release.steps.batch import run_batch
from ecs_release.steps.revisions import register
from ecs_release.steps.targets import current_targets, set_meanwhile, write_task_definition
from ecs_release.steps.turn import NO_CLAIM, Turn, once, seen_twice
from ecs_release.steps.worker import Worker


def update_task(worker: Worker, release: str, epoch: int, batch: int) -> dict[str, Any]:
    """Write the targets and schedules of a batch."""
    return run_batch(worker, release, epoch, batch, _update_item)


def _update_item(turn: Turn) -> None:
    ready = Status.PREPARED if turn.item.pinned else Status.PENDING
    if turn.item.action != "update" or turn.item.verdict != ready:
        return
    result = once(turn, "forward", lambda: point_at_new_revision(turn))
    turn.update(
        {**result, **NO_CLAIM, "verdict": Status.UPDATED, "status": Status.UPDATED, "reason": ""},
        verdict_open=True,
    )


def point_at_new_revision(turn: Turn) -> dict[str, Any]:
    """Write the item's targets with their new task definition and nothing else changed.

    Raises
    ------
    SupersededError
        when somebody else pointed them elsewhere since the release read them.
    MissingError
        when the rule or schedule is gone.
    ItemError
        when AWS refuses.
    """
    if turn.left_by_another:
        turn.claim()
    item = turn.item
    may_be_written = item.started_at is not None
    current: list[dict[str, Any]] = []

    def look() -> str | None:
        turn.looked_at = time.monotonic()
        current[:] = current_targets(turn.worker, item)
        ours = {item.live, turn.item.after, *recorded_references(item)} - {None}
        foreign = [reference for reference in map(reference_of, current) if reference not in ours]
        return set_meanwhile(foreign[0]) if foreign else None

    def look_again(applied: bool) -> list[dict[str, Any]]:
        nonlocal may_be_written
        may_be_written = may_be_written or applied
        if odd := seen_twice(turn, look):
            raise SupersededError(odd)
        if not item.pinned and original_reference(item) in map(reference_of, current):
            _ensure_nobody_registered(turn)
        return current

    look_again(may_be_written)
    # The ARN of a revision that is still to be registered is not known yet; its content is.
    turn.worker.store.remember(item, content_digest(item.base, item.new_images))
    started_at = item.started_at or int(time.time())
    if item.after is None:
        # Unpinned: from the registration on, the newest revision is what runs. Recorded before it is done: should this worker
        # die in it, nobody may say later that the task was not touched.
        turn.claim(started_at=started_at)
        register(turn, before_attempt=lambda: _ensure_nobody_registered(turn))
    try:
        write_task_definition(
            turn, current, str(turn.item.after), look_again=look_again, started_at=started_at
        )
    except (RefusedError, SupersededError):
        if not may_be_written:
            turn.update({"started_at": None})
        raise
    return {
        "after": turn.item.after,
        "registered": turn.item.registered,
        "started_at": started_at,
        "written_at": int(time.time()),
    }


def _ensure_nobody_registered(turn: Turn) -> None:
    """Of a family named without a revision the newest one runs: who registers in it deploys."""
    item = turn.item
    definitions = turn.worker.task_definitions(item)

    def look() -> str | None:
        newest = definitions.describe(original_reference(item))
        if newest.arn in (item.live, item.after, *recorded_references(item)):
            return None
        copy = definitions.find_copy(definitions.describe(item.base), item.new_images)
        if copy is not None and copy.arn == newest.arn:
            return None
        return f"{newest.arn} was registered meanwhile, and the family's newest revision runs"

    if odd := seen_twice(turn, look):
        raise SupersededError(odd)


@logger.inject_lambda_context(log_event=False, clear_state=True)
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """``{"release", "epoch", "batch"}`` in, ``{"batch", "failed"}`` out."""
    release, epoch, batch = str(event["release"]), int(event["epoch"]), int(event["batch"])
    about_release(release, batch=batch)
    return update_task(Worker.create("update_task", context), release, epoch, batch)
