"""Prepare: register the new revisions of one batch."""

from __future__ import annotations

from typing import Any

from ecs_release.observability import about_release, logger
from ecs_release.steps.prepare import prepare
from ecs_release.steps.work import Worker


@logger.inject_lambda_context(log_event=False)
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """``{"release", "epoch", "batch"}`` in, ``{"batch", "failed"}`` out."""
    release, epoch, batch = str(event["release"]), int(event["epoch"]), int(event["batch"])
    about_release(release, batch=batch)
    return prepare(Worker.create("prepare", context), release, epoch, batch)
