"""The gate: whether a plan was approved in the very pipeline execution that wants to deploy it, and still is the plan.

Parse asks CodePipeline itself and takes nothing on trust from its input: the Approve action of that execution has
succeeded, its Deploy action is running, and what Build exported is the manifest and the plan that came in.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from ecs_release.aws.clients import Connections
from ecs_release.aws.trouble import explain
from ecs_release.errors import ReleaseRejectedError
from ecs_release.observability import logger
from ecs_release.plan.decide import PlannedItem
from ecs_release.plan.document import compare, plan_document
from ecs_release.plan.live import read_digests
from ecs_release.plan.request import Request

if TYPE_CHECKING:
    from mypy_boto3_codepipeline import CodePipelineClient

_LOOKS = 5
_PAUSE_SECONDS = 2.0


def check_approval(
    codepipeline: CodePipelineClient,
    pipeline: str,
    execution_id: str | None,
    *,
    plan_digest: str | None,
    manifest_sha256: str | None,
    allow_stale: bool = False,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Refuse what was not approved.

    Parameters
    ----------
    codepipeline : client with the function's own credentials.
    execution_id : the pipeline execution the input names.
    plan_digest, manifest_sha256 : of the plan and the manifest that would be released.
    allow_stale : whether the input asks to deploy a stale plan; the approver must have been shown that.

    Raises
    ------
    ReleaseRejectedError
        saying what is missing.
    """
    if not execution_id or not plan_digest or not manifest_sha256:
        raise ReleaseRejectedError(
            f"this orchestrator releases only what was approved in its pipeline {pipeline}; push the manifest and approve "
            "it there. (A rollback by hand stays possible: ecs-release rollback.)"
        )
    why = ""
    for look in range(_LOOKS):
        if look:
            sleep(_PAUSE_SECONDS)  # the Deploy action becomes visible shortly after it started this execution
        try:
            actions = _actions(codepipeline, pipeline, execution_id)
        except ClientError as error:
            raise ReleaseRejectedError(f"the approval can't be checked: {explain(error)}") from error
        why = _objection(actions, plan_digest, manifest_sha256, allow_stale)
        if not why:
            return
    raise ReleaseRejectedError(f"pipeline execution {execution_id}: {why}")


def _actions(
    codepipeline: CodePipelineClient, pipeline: str, execution_id: str
) -> dict[str, Mapping[str, Any]]:
    """The newest run of every action of one pipeline execution, by action name."""
    found: dict[str, Mapping[str, Any]] = {}
    pages = codepipeline.get_paginator("list_action_executions").paginate(
        pipelineName=pipeline, filter={"pipelineExecutionId": execution_id}
    )
    for page in pages:
        for detail in page["actionExecutionDetails"]:  # newest first
            found.setdefault(detail["actionName"], detail)
    return found


def _objection(
    actions: Mapping[str, Mapping[str, Any]], plan_digest: str, manifest_sha256: str, allow_stale: bool
) -> str:
    status = {name: detail.get("status") for name, detail in actions.items()}
    if status.get("Approve") != "Succeeded":
        return "its plan was not approved."
    if status.get("Deploy") != "InProgress":
        return "its Deploy action is not running, so nothing it approved may be deployed now."
    exported = actions["Build"].get("output", {}).get("outputVariables", {}) if "Build" in actions else {}
    if exported.get("PLAN_DIGEST") != plan_digest:
        return "the plan that was approved is another one."
    if exported.get("MANIFEST_SHA256") != manifest_sha256:
        return "the manifest that was approved is another one."
    if allow_stale and exported.get("ALLOW_STALE_PLAN") != "yes":
        return "it was not started with ALLOW_STALE_PLAN, so a stale plan may not be deployed."
    return ""


def stale(connections: Connections, request: Request, plan: list[PlannedItem]) -> list[str]:
    """What has changed since the plan that was approved, and is not forgiven; nothing when there was no plan.

    Where a stale plan is allowed, what is live may have changed and nothing else: the images, the digests behind their tags
    and the set of items stay the ones that the approver saw.
    """
    if request.plan is None or request.manifest is None:
        return []
    now = plan_document(plan, request.manifest.on_failure)
    if not compare(request.plan, now):
        return []
    _look_up_what_is_live_already(connections, request.plan, now)
    changed = compare(request.plan, now)
    beyond = [difference.text for difference in changed if not difference.drift]
    if request.allow_stale and not beyond:
        logger.warning("releasing a stale plan, as asked", extra={"changed": [d.text for d in changed]})
        return []
    if request.allow_stale:
        first, lines = (
            "ALLOW_STALE_PLAN forgives a change of what is live, and this is more than that:",
            beyond,
        )
    else:
        first, lines = "the plan is stale; what changed since it was made:", [d.text for d in changed]
    return [first, *lines, "run the pipeline again for a new plan."]


def _look_up_what_is_live_already(
    connections: Connections, approved: Mapping[str, Any], now: Mapping[str, Any]
) -> None:
    """Note the digests of approved images that somebody else deployed meanwhile; a plan asks only about what it changes."""
    approved_with_digest = {
        (item["target"], change["to"])
        for item in approved["items"]
        for change in item["images"].values()
        if change.get("digest")
    }
    live_already = [
        (item["target"], change)
        for item in now["items"]
        if item["action"] == "unchanged"
        for change in item["images"].values()
        if (item["target"], change["to"]) in approved_with_digest
    ]
    found = read_digests({(target, change["to"]) for target, change in live_already}, connections)
    for target, change in live_already:
        if known := found[target, change["to"]]:
            change["digest"] = known
