"""CheckRollouts: judge the items of the wave and name the next step."""

from __future__ import annotations

from typing import Any

from ecs_release.observability import about_release, logger
from ecs_release.steps.check_rollouts import check_rollouts
from ecs_release.steps.work import Worker


@logger.inject_lambda_context(log_event=False)
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """``{"release", "state"}`` in, the machine's next state out."""
    release, state = str(event["release"]), event["state"]
    about_release(release, wave=state["wave"], phase=state["phase"])
    return check_rollouts(Worker.create("check_rollouts", context), release, state)
