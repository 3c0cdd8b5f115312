"""Rollback: put one batch back to its before-images, or clean up after it."""

from __future__ import annotations

from typing import Any

from ecs_release.observability import about_release, logger
from ecs_release.steps.rollback import rollback
from ecs_release.steps.work import Worker


@logger.inject_lambda_context(log_event=False)
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """``{"release", "epoch", "batch", "phase"}`` in, ``{"batch", "failed"}`` out."""
    release, epoch, batch = str(event["release"]), int(event["epoch"]), int(event["batch"])
    about_release(release, batch=batch, phase=event["phase"])
    return rollback(Worker.create("rollback", context), release, epoch, batch, str(event["phase"]))
