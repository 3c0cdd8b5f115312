"""Prepare: register the new revisions of one batch. Nothing that runs in production changes."""

from __future__ import annotations

from typing import Any

from ecs_release.observability import about_release, logger
from ecs_release.record.statuses import Status
from ecs_release.steps.batch import run_batch
from ecs_release.steps.revisions import ensure_active, register
from ecs_release.steps.turn import NO_CLAIM, Turn, once
from ecs_release.steps.worker import Worker


def prepare(worker: Worker, release: str, epoch: int, batch: int) -> dict[str, Any]:
    """Register what the batch needs, one after another: AWS allows one registration a second."""
    return run_batch(worker, release, epoch, batch, _prepare_item)


def _prepare_item(turn: Turn) -> None:
    item = turn.item
    # Registering in an unpinned family is deploying, so UpdateTasks does that in the item's turn.
    if item.action != "update" or not item.pinned or item.verdict != Status.PENDING:
        return

    def write() -> dict[str, Any]:
        if item.after is not None and not item.base:  # a rollback by hand goes to a revision that exists
            return {"after": ensure_active(turn, item.after), "registered": False}
        register(turn)
        return {"after": turn.item.after, "registered": turn.item.registered}

    result = once(turn, "forward", write)
    turn.update(
        {**result, **NO_CLAIM, "verdict": Status.PREPARED, "status": Status.PREPARED, "reason": ""},
        verdict_open=True,
    )


@logger.inject_lambda_context(log_event=False, clear_state=True)
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """``{"release", "epoch", "batch"}`` in, ``{"batch", "failed"}`` out."""
    release, epoch, batch = str(event["release"]), int(event["epoch"]), int(event["batch"])
    about_release(release, batch=batch)
    return prepare(Worker.create("prepare", context), release, epoch, batch)
