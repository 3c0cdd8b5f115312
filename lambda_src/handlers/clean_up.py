"""CleanUp: deregister what nothing uses, when an execution has ended."""

from __future__ import annotations

from typing import Any

from ecs_release.observability import about_release, logger
from ecs_release.steps.clean_up import clean_up
from ecs_release.steps.work import Worker


@logger.inject_lambda_context(log_event=False)
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """EventBridge's event of an execution that ended in, ``{"deregistered", "left"}`` out."""
    release = str(event["detail"]["name"])
    about_release(release)
    return clean_up(Worker.create("clean_up", context), release)
