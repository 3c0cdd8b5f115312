"""A Deploy action of the pipeline that failed before a release began: StartExecution was refused, or its input is not there.

A release tells of its own end. This is told by nobody else: Step Functions has no execution, and the table no record.
https://docs.aws.amazon.com/codepipeline/latest/userguide/action-reference-StepFunctions.html
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from botocore.exceptions import ClientError

from ecs_release.aws.clients import own_client
from ecs_release.aws.trouble import error_code
from ecs_release.errors import NotDueError
from ecs_release.record.store import Store

_STAGE = "Deploy"
_EXECUTION = re.compile(r"arn:[^:]+:states:[^:]*:\d{12}:execution:[^:]+:[^:]+")
# CodePipeline's clock and that of Step Functions.
_CLOCKS_APART = timedelta(seconds=5)


@dataclass(frozen=True)
class NotStarted:
    """A run of the Deploy action that failed without a release.

    Attributes
    ----------
    action : the run's id; a stage that is tried again has another one.
    reason : what CodePipeline says.
    """

    action: str
    reason: str


def why_not_started(store: Store, pipeline: str, pipeline_execution: str) -> NotStarted | None:
    """The Deploy action's run that failed without a release; None when a release tells of itself.

    Nothing is taken on trust from the event: CodePipeline is asked. Whether there was a release is looked up twice, because no AWS
    document says whether a refused StartExecution leaves an external execution id: by that id, and by the record.

    Raises
    ------
    NotDueError
        when CodePipeline does not show that failure, or not yet. Lambda tries an event again a minute later.
    """
    action = _latest_deploy(pipeline, pipeline_execution)
    if action is None or action.get("status") != "Failed":
        raise NotDueError(
            f"the Deploy action of {pipeline} in its execution {pipeline_execution} is not known to have failed; nothing was told."
        )
    result = action.get("output", {}).get("executionResult", {})
    if _is_known(str(result.get("externalExecutionId", ""))) or _has_record(
        store, pipeline_execution, action["startTime"]
    ):
        return None
    # https://docs.aws.amazon.com/codepipeline/latest/APIReference/API_ErrorDetails.html
    details = result.get("errorDetails", {})
    said = details.get("message") or result.get("externalExecutionSummary") or details.get("code")
    return NotStarted(action["actionExecutionId"], str(said or "AWS gives no reason"))


def _latest_deploy(pipeline: str, pipeline_execution: str) -> Mapping[str, Any] | None:
    """The Deploy action's latest run: a stage that is tried again runs it once more in the same execution."""
    pages = (
        own_client("codepipeline")
        .get_paginator("list_action_executions")
        .paginate(pipelineName=pipeline, filter={"pipelineExecutionId": pipeline_execution})
    )
    runs = [run for page in pages for run in page["actionExecutionDetails"] if run["stageName"] == _STAGE]
    return max(runs, key=lambda run: run["startTime"], default=None)


def _is_known(execution: str) -> bool:
    """Whether the action started an execution; Report tells of its end, or the rule on executions that ended without."""
    if not _EXECUTION.fullmatch(execution):
        return False
    try:
        own_client("stepfunctions").describe_execution(executionArn=execution)
    except ClientError as error:
        if error_code(error) == "ExecutionDoesNotExist":
            return False
        raise
    return True


def _has_record(store: Store, pipeline_execution: str, since: datetime) -> bool:
    """Whether a release of the pipeline's execution began since then. Those of earlier attempts began before."""
    for record in store.newest_first():
        if datetime.fromisoformat(record.started) < since - _CLOCKS_APART:
            return False
        if record.source.get("pipelineExecutionId") == pipeline_execution:
            return True
    return False
