"""Plan: the plan of a manifest as it is shown and approved. Reads only, also from the record."""

from __future__ import annotations

from typing import Any

from ecs_release.aws import Connections
from ecs_release.errors import ManifestInvalidError
from ecs_release.estimate import estimate_seconds, rollout_seconds
from ecs_release.plan_document import plan_document
from ecs_release.steps.parse import Request, plan_release
from ecs_release.store import Store

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
        estimate_seconds=estimate_seconds(decided, past),
    )
