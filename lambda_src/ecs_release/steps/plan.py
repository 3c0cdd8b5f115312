"""Plan: the plan of a manifest as it is shown and approved. Reads only, also from the record."""

from __future__ import annotations

from typing import Any

from ecs_release.aws.clients import Connections
from ecs_release.aws.patience import be_patient_for
from ecs_release.errors import ManifestInvalidError
from ecs_release.observability import about_release, logger
from ecs_release.plan.document import packed, plan_document
from ecs_release.plan.estimate import estimate_seconds, rollout_seconds
from ecs_release.plan.make import plan_release, soak_seconds
from ecs_release.plan.request import Request, read_request
from ecs_release.record.store import Store
from ecs_release.steps.worker import Worker

_RELEASES_LOOKED_AT = 5


def plan(store: Store, connections: Connections, request: Request) -> dict[str, Any]:
    """The plan's JSON form, with an estimate from past releases.

    Raises
    ------
    ManifestInvalidError
        for a request that has no manifest.
    """
    if request.manifest is None:
        raise ManifestInvalidError("a plan needs a manifest.")
    decided = plan_release(store, connections, request.manifest)
    past = rollout_seconds(store.items(record.release) for record in store.releases(_RELEASES_LOOKED_AT))
    return plan_document(
        decided,
        request.manifest.on_failure,
        label=request.manifest.release,
        estimate_seconds=estimate_seconds(decided, past, soak_seconds(connections)),
    )


@logger.inject_lambda_context(log_event=False, clear_state=True)
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """An execution input (``{"version", "mode", "manifest", "source"}``) in, the plan's JSON form out.

    One that is too large for an answer goes out as ``{"gzip": ...}``; the build unpacks it (ecs_release.build).
    """
    be_patient_for(lambda: context.get_remaining_time_in_millis() / 1000)
    # Nobody tries the plan again, so it looks for the manifest for longer than Parse does at once.
    request = read_request(event, patience=context.get_remaining_time_in_millis() / 2000)
    about_release(request.source.get("pipelineExecutionId", "plan"))
    worker = Worker.create("plan", context)
    return packed(plan(worker.store, worker.connections, request))
