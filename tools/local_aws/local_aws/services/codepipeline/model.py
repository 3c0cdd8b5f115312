"""What AWS CodePipeline remembers: pipelines, their executions and the executions of their actions.

Source: https://docs.aws.amazon.com/codepipeline/latest/APIReference/API_Types.html
"""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from local_aws.services.iam.principals import Principal

FINAL = ("Succeeded", "Failed", "Stopped", "Superseded", "Cancelled")


class ActionFailed(Exception):
    """An action failed; ``code`` and text become its errorDetails.

    Codes: https://docs.aws.amazon.com/codepipeline/latest/APIReference/API_FailureDetails.html
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code, self.message = code, message[:5000]


class Abandoned(Exception):
    """The execution was stopped without waiting for the action."""


@dataclass
class ActionRun:
    """One execution of an action."""

    stage: str
    declaration: dict[str, Any]
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    status: str = "InProgress"
    summary: str | None = None
    started: float = field(default_factory=time.time)
    updated: float = field(default_factory=time.time)
    updated_by: str | None = None
    token: str | None = None
    decision: str | None = None
    """Approved or Rejected, once PutApprovalResult has said so."""
    external_id: str | None = None
    external_url: str | None = None
    error: tuple[str, str] | None = None
    configuration: dict[str, str] = field(default_factory=dict)
    inputs: list[dict[str, Any]] = field(default_factory=list)
    outputs: list[dict[str, Any]] = field(default_factory=list)
    variables: dict[str, str] = field(default_factory=dict)
    revision: dict[str, Any] | None = None

    @property
    def name(self) -> str:
        return str(self.declaration["name"])

    def latest(self) -> dict[str, Any]:
        """Return what GetPipelineState says of it."""
        members = {
            "actionExecutionId": self.id,
            "status": self.status,
            "summary": self.summary,
            "lastStatusChange": round(self.updated, 3),
            "token": self.token if self.status == "InProgress" else None,
            "lastUpdatedBy": self.updated_by,
            "externalExecutionId": self.external_id,
            "externalExecutionUrl": self.external_url,
            "errorDetails": self._error(),
        }
        return {key: value for key, value in members.items() if value is not None}

    def detail(self, execution: Execution, region: str) -> dict[str, Any]:
        """Return what ListActionExecutions says of it."""
        result = {
            "externalExecutionId": self.external_id,
            "externalExecutionSummary": self.summary,
            "externalExecutionUrl": self.external_url,
            "errorDetails": self._error(),
        }
        given = {
            "actionTypeId": self.declaration["actionTypeId"],
            "configuration": self.declaration.get("configuration") or {},
            "resolvedConfiguration": self.configuration,
            "roleArn": self.declaration.get("roleArn"),
            "region": self.declaration.get("region") or region,
            "inputArtifacts": self.inputs,
            "namespace": self.declaration.get("namespace"),
        }
        members = {
            "pipelineExecutionId": execution.id,
            "actionExecutionId": self.id,
            "pipelineVersion": execution.declaration["version"],
            "stageName": self.stage,
            "actionName": self.name,
            "startTime": round(self.started, 3),
            "lastUpdateTime": round(self.updated, 3),
            "updatedBy": self.updated_by,
            "status": self.status,
            "input": {key: value for key, value in given.items() if value is not None},
            "output": {
                "outputArtifacts": self.outputs,
                "executionResult": {key: value for key, value in result.items() if value is not None},
                "outputVariables": self.variables,
            },
        }
        return {key: value for key, value in members.items() if value is not None}

    def _error(self) -> dict[str, str] | None:
        return {"code": self.error[0], "message": self.error[1]} if self.error else None


@dataclass
class Execution:
    """One execution of a pipeline, with the definition it began with."""

    declaration: dict[str, Any]
    trigger: tuple[str, str]
    variables: dict[str, str]
    source_overrides: dict[str, str] = field(default_factory=dict)
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    status: str = "InProgress"
    summary: str | None = None
    attempt: int = 1
    started: float = field(default_factory=time.time)
    updated: float = field(default_factory=time.time)
    stop_reason: str | None = None
    stopping: threading.Event = field(default_factory=threading.Event)
    abandoned: threading.Event = field(default_factory=threading.Event)
    superseded: bool = False
    artifacts: dict[str, tuple[str, str]] = field(default_factory=dict)
    """Bucket and key of each artifact, by its name."""
    commits: dict[str, str] = field(default_factory=dict)
    """The revision that an artifact was made from, where it has one."""
    namespaces: dict[str, dict[str, str]] = field(default_factory=dict)
    revisions: list[dict[str, Any]] = field(default_factory=list)
    source_revisions: list[dict[str, Any]] = field(default_factory=list)
    actions: list[ActionRun] = field(default_factory=list)

    @property
    def mode(self) -> str:
        return str(self.declaration.get("executionMode", "SUPERSEDED"))

    def describe(self) -> dict[str, Any]:
        """Return the PipelineExecution structure."""
        return {
            "pipelineName": self.declaration["name"],
            "pipelineVersion": self.declaration["version"],
            "pipelineExecutionId": self.id,
            "status": self.status,
            **({"statusSummary": self.summary} if self.summary else {}),
            "artifactRevisions": self.revisions,
            "variables": [{"name": n, "resolvedValue": v} for n, v in self.variables.items()],
            "trigger": {"triggerType": self.trigger[0], "triggerDetail": self.trigger[1]},
            "executionMode": self.mode,
            "executionType": "STANDARD",
        }

    def summarise(self) -> dict[str, Any]:
        """Return the PipelineExecutionSummary structure."""
        return {
            "pipelineExecutionId": self.id,
            "status": self.status,
            **({"statusSummary": self.summary} if self.summary else {}),
            "startTime": round(self.started, 3),
            "lastUpdateTime": round(self.updated, 3),
            "sourceRevisions": self.source_revisions,
            "trigger": {"triggerType": self.trigger[0], "triggerDetail": self.trigger[1]},
            **({"stopTrigger": {"reason": self.stop_reason}} if self.stop_reason else {}),
            "executionMode": self.mode,
            "executionType": "STANDARD",
        }


@dataclass
class Stage:
    """A stage's lock, who waits for it, and what went through it last."""

    holder: Execution | None = None
    inbound: list[Execution] = field(default_factory=list)
    latest: Execution | None = None
    latest_status: str = "InProgress"
    actions: dict[str, ActionRun] = field(default_factory=dict)
    revisions: dict[str, dict[str, Any]] = field(default_factory=dict)


@dataclass
class Pipeline:
    """A pipeline and everything that ever ran in it."""

    account: str
    region: str
    declaration: dict[str, Any]
    tags: dict[str, str] = field(default_factory=dict)
    created: float = field(default_factory=time.time)
    updated: float = field(default_factory=time.time)
    executions: list[Execution] = field(default_factory=list)
    stages: dict[str, Stage] = field(default_factory=dict)
    changed: threading.Condition = field(default_factory=threading.Condition)
    """Held while anything here is read or written; notified at each change."""

    @property
    def name(self) -> str:
        return str(self.declaration["name"])

    @property
    def arn(self) -> str:
        return f"arn:aws:codepipeline:{self.region}:{self.account}:{self.name}"

    def stage(self, name: str) -> Stage:
        return self.stages.setdefault(name, Stage())

    def store(self) -> dict[str, Any]:
        """Return the artifact store."""
        stores = self.declaration.get("artifactStores") or {}
        found = self.declaration.get("artifactStore") or stores.get(self.region) or {}
        return dict(found)


@dataclass
class ActionContext:
    """What an action's provider gets: where it runs, its resolved configuration, its artifacts."""

    pipeline: Pipeline
    execution: Execution
    run: ActionRun
    read: Callable[[str], bytes]
    """The zip of an input artifact."""
    write: Callable[..., None]
    """Store the zip of an output artifact: its name, its bytes, and by whom where that is not the pipeline's role."""
    changed: Callable[[], None]
    """Tell that the run's members have changed."""
    principal: Principal
    """The pipeline's role, or the action's own."""

    @property
    def configuration(self) -> dict[str, str]:
        return self.run.configuration

    @property
    def input_names(self) -> list[str]:
        return [entry["name"] for entry in self.run.declaration.get("inputArtifacts") or ()]

    @property
    def output_names(self) -> list[str]:
        return [entry["name"] for entry in self.run.declaration.get("outputArtifacts") or ()]

    def wait(self, seconds: float = 0.1) -> None:
        """Wait a moment; `Abandoned` when nobody waits for this action any longer."""
        if self.execution.abandoned.wait(seconds):
            raise Abandoned

    def required(self, key: str) -> str:
        value = self.configuration.get(key)
        if not value:
            raise ActionFailed("ConfigurationError", f"the action's configuration lacks {key}")
        return value
