"""The product, applied to embedded AWS: what tests do with it and what they see of it, as a user would."""

from __future__ import annotations

import json
import os
import subprocess
import time
import urllib.error
import urllib.request
import uuid
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from ecs_release.manifest import load, to_document
from ecs_release.record.models import ItemRecord, ReleaseRecord
from ecs_release.record.store import Store
from local_aws.client import HANG_SECONDS, LocalAws

# https://docs.aws.amazon.com/AmazonECS/latest/APIReference/making-api-requests.html and the like: the JSON protocols'
# target header, or the path of a REST API. Raw, because boto3 drops what its service model does not know.
_TARGETS = {"ecs": "AmazonEC2ContainerServiceV20141113", "events": "AWSEvents"}
_POLL_SECONDS = 0.4

Command = Callable[..., tuple[int, str]]
"""``ecs-release`` with these arguments: its exit status and all that it printed."""


@dataclass(frozen=True)
class Outcome:
    """A release that has ended."""

    stack: Stack
    execution: dict[str, Any]
    seconds: float

    @property
    def id(self) -> str:
        return str(self.execution["name"])

    @property
    def status(self) -> str:
        """Of the execution: SUCCEEDED, FAILED, ABORTED."""
        return str(self.execution["status"])

    @property
    def error(self) -> str | None:
        return self.execution.get("error")

    @property
    def cause(self) -> str:
        return str(self.execution.get("cause", ""))

    @property
    def output(self) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(self.execution["output"])
        return document

    @cached_property
    def record(self) -> ReleaseRecord:
        record = self.stack.store.release(self.id)
        assert record is not None, f"no record of {self.id}"
        return record

    @cached_property
    def items(self) -> dict[str, ItemRecord]:
        return {item.name: item for item in self.stack.store.items(self.id)}

    @property
    def verdicts(self) -> dict[str, str]:
        return {name: item.verdict for name, item in self.items.items()}

    @cached_property
    def history(self) -> list[dict[str, Any]]:
        pages = self.stack.client("stepfunctions").get_paginator("get_execution_history")
        arn = self.execution["executionArn"]
        return [event for page in pages.paginate(executionArn=arn) for event in page["events"]]

    @property
    def states(self) -> Counter[str]:
        """How often each state was entered."""
        return Counter(
            event["stateEnteredEventDetails"]["name"]
            for event in self.history
            if "stateEnteredEventDetails" in event
        )

    @property
    def messages(self) -> list[dict[str, Any]]:
        """What the topic was told about this release."""
        return [n for n in self.stack.aws.notifications() if self.id in f"{n['subject']} {n['message']}"]


@dataclass
class Stack:
    """The applied module.

    Attributes
    ----------
    outputs : the module's outputs by name.
    folder : where clones go.
    """

    aws: LocalAws
    outputs: dict[str, Any]
    folder: Path
    _clients: dict[str, Any] = field(default_factory=dict)

    def client(self, service: str) -> Any:
        if service not in self._clients:
            self._clients[service] = self.aws.client(service, max_pool_connections=20)
        return self._clients[service]

    @cached_property
    def store(self) -> Store:
        return Store(self.client("dynamodb"), self.outputs["releases_table_name"])

    @property
    def idempotency_table(self) -> str:
        return str(self.outputs["releases_table_name"]).replace("-releases", "-idempotency")

    # --- releases ----------------------------------------------------------------------------------------------

    def start(self, manifest: str | dict[str, Any]) -> str:
        """Start a release by hand, from YAML or from the compiled form; its execution's ARN."""
        document = compiled(manifest) if isinstance(manifest, str) else manifest
        answer = self.client("stepfunctions").start_execution(
            stateMachineArn=self.outputs["state_machine_arn"],
            name=f"test-{uuid.uuid4().hex[:12]}",
            input=json.dumps(document),
        )
        return str(answer["executionArn"])

    def runs(self, execution: str) -> bool:
        """Whether a release still runs; some time passes while it does."""
        answer = self.client("stepfunctions").describe_execution(executionArn=execution)
        if answer["status"] == "RUNNING":
            time.sleep(_POLL_SECONDS)
        return bool(answer["status"] == "RUNNING")

    def wait(self, execution: str, seconds: float = HANG_SECONDS) -> Outcome:
        """Wait for a release's end."""
        started = time.monotonic()
        while True:
            answer = self.client("stepfunctions").describe_execution(executionArn=execution)
            if answer["status"] != "RUNNING":
                took = (answer["stopDate"] - answer["startDate"]).total_seconds()
                return Outcome(self, answer, took)
            assert time.monotonic() - started < seconds, f"{execution} still runs after {seconds} s"
            time.sleep(_POLL_SECONDS)

    def wait_for_clean_up(self, seconds: float = HANG_SECONDS) -> None:
        """Wait until nothing of any release is left to be deregistered: that comes after a release's end."""
        deadline = time.monotonic() + seconds
        while left := [revision for revision in self.store.unused() if revision.left]:
            assert time.monotonic() < deadline, f"still unused: {left}"
            time.sleep(_POLL_SECONDS)

    def release(self, manifest: str | dict[str, Any], seconds: float = HANG_SECONDS) -> Outcome:
        """Run a release from start to end."""
        return self.wait(self.start(manifest), seconds)

    # --- the pipeline ------------------------------------------------------------------------------------------

    def push(self, manifest: str, message: str = "release") -> str:
        """Commit the manifest to the repository's main branch and push it; the commit's id."""
        clone = self.folder / "clone"
        if not clone.exists():
            _git(self.folder, "clone", "--quiet", self.outputs["repository_clone_url_http"], str(clone))
            _git(clone, "checkout", "--quiet", "-B", "main")
        (clone / "deployment.yaml").write_text(manifest, encoding="utf-8")
        _git(clone, "add", "deployment.yaml")
        _git(clone, "commit", "--quiet", "--allow-empty", "-m", message)
        _git(clone, "push", "--quiet", "origin", "main")
        return _git(clone, "rev-parse", "HEAD").strip()

    def wait_for_pipeline(self, commit: str, seconds: float = HANG_SECONDS) -> dict[str, Any]:
        """Wait until the pipeline execution of a commit ends: its status, and each action's by ``Stage.Action``."""
        pipeline, name = self.client("codepipeline"), self.outputs["pipeline_name"]
        deadline = time.monotonic() + seconds
        while True:
            mine = self._pipeline_executions(commit)
            if mine and mine[0]["status"] not in ("InProgress", "Stopping"):
                break
            assert time.monotonic() < deadline, f"no pipeline execution of {commit} ended: {mine}"
            time.sleep(_POLL_SECONDS)
        run = mine[0]["pipelineExecutionId"]
        actions = pipeline.list_action_executions(pipelineName=name, filter={"pipelineExecutionId": run})[
            "actionExecutionDetails"
        ]
        return {
            "id": run,
            "status": mine[0]["status"],
            "actions": {f"{a['stageName']}.{a['actionName']}": a for a in actions},
        }

    def _pipeline_executions(self, commit: str) -> list[dict[str, Any]]:
        """The pipeline executions of a commit, newest first."""
        runs = self.client("codepipeline").list_pipeline_executions(
            pipelineName=self.outputs["pipeline_name"]
        )["pipelineExecutionSummaries"]
        return [r for r in runs if any(s.get("revisionId") == commit for s in r.get("sourceRevisions", ()))]

    def has_failed(self, commit: str) -> bool:
        """Whether the pipeline execution of a commit has failed by now."""
        return any(run["status"] == "Failed" for run in self._pipeline_executions(commit)[:1])

    def release_of(self, pipeline: dict[str, Any]) -> Outcome:
        """The release that a pipeline's Deploy action ran."""
        result = pipeline["actions"]["Deploy.Deploy"]["output"]["executionResult"]
        return self.wait(result["externalExecutionId"])

    # --- raw JSON ----------------------------------------------------------------------------------------------

    def raw(self, service: str, operation: str, body: dict[str, Any]) -> dict[str, Any]:
        """Call ECS or EventBridge and give the JSON that comes back, whole."""
        headers = {
            "Content-Type": "application/x-amz-json-1.1",
            "X-Amz-Target": f"{_TARGETS[service]}.{operation}",
        }
        return self._http(service, "/", headers, json.dumps(body).encode())

    def raw_schedule(self, name: str, group: str = "default") -> dict[str, Any]:
        return self._http("scheduler", f"/schedules/{name}?groupName={group}", {}, None)

    def _http(self, service: str, path: str, headers: dict[str, str], body: bytes | None) -> dict[str, Any]:
        scope = f"local/20260101/us-east-1/{service}/aws4_request"
        signed = {
            **headers,
            "Authorization": f"AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=0",
        }
        request = urllib.request.Request(self.aws.endpoint + path, data=body, headers=signed)
        try:
            with urllib.request.urlopen(request, timeout=HANG_SECONDS) as answer:
                document: dict[str, Any] = json.load(answer)
        except urllib.error.HTTPError as error:
            error.add_note(error.read().decode())
            raise
        return document


def compiled(manifest: str) -> dict[str, Any]:
    """What the build makes of YAML."""
    validation = load(manifest.encode())
    assert validation.manifest is not None, validation.errors
    return to_document(validation.manifest)


def _git(folder: Path, *arguments: str) -> str:
    environment = {
        **os.environ,
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_AUTHOR_NAME": "A Developer",
        "GIT_AUTHOR_EMAIL": "developer@example.com",
        "GIT_COMMITTER_NAME": "A Developer",
        "GIT_COMMITTER_EMAIL": "developer@example.com",
    }
    done = subprocess.run(
        ["git", *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=HANG_SECONDS,
        check=False,
    )
    assert done.returncode == 0, f"git {arguments[0]}: {done.stderr}"
    return done.stdout
