"""Plan: what the manifest would change, read only; the Build stage asks before the approval."""

from __future__ import annotations

from typing import Any

from ecs_release.observability import about_release, logger
from ecs_release.plan_document import packed
from ecs_release.retries import be_patient_for
from ecs_release.steps.parse import read_request
from ecs_release.steps.plan import plan
from ecs_release.steps.work import Worker


@logger.inject_lambda_context(log_event=False)
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """An execution input (``{"version", "mode", "manifest", "source"}``) in, the plan's JSON form out.

    One that is too large for an answer goes out as ``{"gzip": ...}``; the build unpacks it (modules/pipeline/plan_answer.py).
    """
    be_patient_for(lambda: context.get_remaining_time_in_millis() / 1000)
    # Nobody tries the plan again, so it looks for the manifest for longer than Parse does at once.
    request = read_request(event, patience=context.get_remaining_time_in_millis() / 2000)
    about_release(request.source.get("pipelineExecutionId", "plan"))
    worker = Worker.create("plan", context)
    return packed(plan(worker.store, worker.connections, request))
