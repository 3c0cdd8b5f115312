"""Parse: everything that comes before the first write."""

from __future__ import annotations

from typing import Any

from ecs_release.observability import about_release, logger
from ecs_release.steps.parse import parse
from ecs_release.steps.work import Worker


@logger.inject_lambda_context(log_event=False)
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """``{"release", "execution", "startedAt", "input"}`` in, the machine's first state out."""
    release = str(event["release"])
    about_release(release)
    worker = Worker.create("parse", context)
    return parse(worker, release, str(event["execution"]), str(event["startedAt"]), event["input"])
