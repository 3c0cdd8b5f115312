"""AWS CodePipeline: pipelines that run.

Stands for, with its source:

- the API's pipelines, executions, actions and states; dates are numbers, and a definition comes back as it was given
  https://docs.aws.amazon.com/codepipeline/latest/APIReference/Welcome.html
- a new pipeline starts once at its creation
  https://docs.aws.amazon.com/codepipeline/latest/userguide/pipelines-about-starting.html
- the execution modes: each stage is locked while an execution is in it; QUEUED executions wait in order, SUPERSEDED
  ones are overtaken by newer ones between stages, PARALLEL ones know no lock
  https://docs.aws.amazon.com/codepipeline/latest/userguide/concepts-how-it-works.html
- variables, ``#{namespace.name}`` https://docs.aws.amazon.com/codepipeline/latest/userguide/reference-variables.html
  Their values are put into a configuration's text as they are, also where that text is JSON, which is read afterwards
  https://github.com/aws/aws-cdk/issues/8458 https://github.com/aws/aws-cdk/issues/31213
- stopping an execution, and waiting for its actions or abandoning them
  https://docs.aws.amazon.com/codepipeline/latest/userguide/concepts.html#concepts-executions-stopped
- events on the default bus for pipelines, stages and actions
  https://docs.aws.amazon.com/codepipeline/latest/userguide/detect-state-changes-cloudwatch-events.html

What single actions do is in ``pipeline_actions.py``.
"""

from __future__ import annotations

import copy
import functools
import json
import re
import secrets
import string
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from botocore.exceptions import ClientError
from moto.events.models import events_backends

from local_aws.kernel.calls import ApiError, Call
from local_aws.kernel.server import MOTO_LOCK, Server
from local_aws.kernel.shared import one_of
from local_aws.services import codeconnections as connections
from local_aws.services.codepipeline.actions import PROVIDERS
from local_aws.services.codepipeline.model import (
    FINAL,
    Abandoned,
    ActionContext,
    ActionFailed,
    ActionRun,
    Execution,
    Pipeline,
    Stage,
)
from local_aws.services.events import role_of_target
from local_aws.services.git import BareRepository, RefChange
from local_aws.services.iam.authority import Authority
from local_aws.services.iam.principals import Principal

_VARIABLE = re.compile(r"#\{([A-Za-z0-9@\-_]+)\.([A-Za-z0-9@\-_]+)\}")
_NAME = re.compile(r"[A-Za-z0-9.@\-_]{1,100}")
# https://docs.aws.amazon.com/codepipeline/latest/APIReference/API_PipelineVariable.html
_VALUE = re.compile(r".{1,1000}")
_EVENT_STATES = {
    "InProgress": "STARTED",
    "Succeeded": "SUCCEEDED",
    "Failed": "FAILED",
    "Stopping": "STOPPING",
    "Stopped": "STOPPED",
    "Superseded": "SUPERSEDED",
    "Cancelled": "CANCELED",
    "Abandoned": "ABANDONED",
}
_KEY_CHARACTERS = string.ascii_letters + string.digits


class CodePipeline:
    """All pipelines of all accounts and Regions."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self._lock = threading.Lock()
        self._pipelines: dict[tuple[str, str, str], Pipeline] = {}

    def find(self, account: str, region: str, name: str) -> Pipeline:
        """Return a pipeline, or raise what the API answers when there is none."""
        try:
            return self._pipelines[account, region, name]
        except KeyError:
            raise ApiError(
                "PipelineNotFoundException",
                f"Account '{account}' does not have a pipeline with name '{name}'",
            ) from None

    def all(self) -> list[Pipeline]:
        return list(self._pipelines.values())

    # --- running ------------------------------------------------------------------------------------------

    def start(
        self,
        pipeline: Pipeline,
        trigger: tuple[str, str],
        variables: Mapping[str, str] | None = None,
        source_overrides: Mapping[str, str] | None = None,
    ) -> Execution:
        """Start an execution; it runs in a thread of its own."""
        with pipeline.changed:
            values = {}
            for declared in pipeline.declaration.get("variables") or ():
                value = (variables or {}).get(declared["name"], declared.get("defaultValue"))
                if value is None:
                    raise _invalid(f"the variable {declared['name']} has no default and was not given")
                values[declared["name"]] = value
            execution = Execution(
                declaration=copy.deepcopy(pipeline.declaration),
                trigger=trigger,
                variables=values,
                source_overrides=dict(source_overrides or {}),
            )
            execution.namespaces["variables"] = values
            execution.namespaces["codepipeline"] = {"PipelineExecutionId": execution.id}
            pipeline.executions.append(execution)
            self._queue(pipeline, execution, execution.declaration["stages"][0]["name"])
        self._pipeline_event(pipeline, execution, "STARTED")
        self._launch(pipeline, execution, 0)
        return execution

    def _launch(
        self, pipeline: Pipeline, execution: Execution, first: int, done: frozenset[str] = frozenset()
    ) -> None:
        threading.Thread(
            target=self._run,
            args=(pipeline, execution, first, done),
            name=f"pipeline {pipeline.name} {execution.id}",
            daemon=True,
        ).start()

    def _queue(self, pipeline: Pipeline, execution: Execution, stage_name: str) -> None:
        stage = pipeline.stage(stage_name)
        stage.inbound.append(execution)
        if execution.mode == "SUPERSEDED":
            for older in stage.inbound[:-1]:
                older.superseded = True
        pipeline.changed.notify_all()

    def _run(self, pipeline: Pipeline, execution: Execution, first: int, done: frozenset[str]) -> None:
        stages = execution.declaration["stages"]
        status = "Failed"
        try:
            for number, declaration in enumerate(stages[first:], first):
                stage = pipeline.stage(declaration["name"])
                if not self._enter(pipeline, execution, stage):
                    status = "Superseded" if execution.superseded else "Stopped"
                    break
                status = self._run_stage(pipeline, execution, declaration, done)
                done = frozenset()
                with pipeline.changed:
                    stage.latest_status = status
                    if stage.holder is execution:
                        stage.holder = None
                    if status == "Succeeded" and number + 1 < len(stages):
                        self._queue(pipeline, execution, stages[number + 1]["name"])
                    pipeline.changed.notify_all()
                if status != "Succeeded":
                    break
        except Exception as error:
            if not self.server.stopping.is_set():
                self.server.log_error(f"pipeline {pipeline.name} {execution.id}")
            execution.summary = f"local_aws: {type(error).__name__}: {error}"
        finally:
            with pipeline.changed:
                for stage in pipeline.stages.values():
                    if execution in stage.inbound:
                        stage.inbound.remove(execution)
                    if stage.holder is execution:
                        stage.holder = None
                execution.status = status
                execution.updated = time.time()
                pipeline.changed.notify_all()
        self._pipeline_event(pipeline, execution, _EVENT_STATES[status])

    def _enter(self, pipeline: Pipeline, execution: Execution, stage: Stage) -> bool:
        """Wait for the stage; False where the execution was stopped or superseded meanwhile."""
        with pipeline.changed:
            while True:
                if execution.stopping.is_set() or execution.superseded:
                    stage.inbound.remove(execution)
                    pipeline.changed.notify_all()
                    return False
                free = stage.holder is None and stage.inbound[0] is execution
                if free or execution.mode == "PARALLEL":
                    stage.inbound.remove(execution)
                    stage.holder = stage.latest = execution
                    stage.latest_status = "InProgress"
                    execution.updated = time.time()
                    return True
                pipeline.changed.wait(1)
                if self.server.stopping.is_set():
                    execution.stopping.set()

    def _run_stage(
        self, pipeline: Pipeline, execution: Execution, declaration: dict[str, Any], done: frozenset[str]
    ) -> str:
        """Run a stage's actions by runOrder, those of one runOrder at the same time; the stage's status."""
        name = declaration["name"]
        self._stage_event(pipeline, execution, name, "STARTED")
        status = "Succeeded"
        for order in sorted({action["runOrder"] for action in declaration["actions"]}):
            if execution.stopping.is_set():
                status = "Stopped"
                break
            runs = [
                ActionRun(stage=name, declaration=action)
                for action in declaration["actions"]
                if action["runOrder"] == order and action["name"] not in done
            ]
            threads = [
                threading.Thread(target=self._run_action, args=(pipeline, execution, run), daemon=True)
                for run in runs
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            if any(run.status == "Failed" for run in runs):
                status = "Failed"
                break
            if any(run.status == "Abandoned" for run in runs):
                status = "Stopped"
                break
        self._stage_event(pipeline, execution, name, _EVENT_STATES[status])
        return status

    def _run_action(self, pipeline: Pipeline, execution: Execution, run: ActionRun) -> None:
        with pipeline.changed:
            execution.actions.append(run)
            pipeline.stage(run.stage).actions[run.name] = run
        self._action_event(pipeline, execution, run)
        status, error = "Succeeded", None
        try:
            self._perform(pipeline, execution, run)
        except ActionFailed as failed:
            status, error = "Failed", (failed.code, failed.message)
        except Abandoned:
            status = "Abandoned"
        except Exception as fault:
            if not self.server.stopping.is_set():
                self.server.log_error(f"action {run.name} of {pipeline.name}")
            status, error = "Failed", ("JobFailed", f"local_aws: {type(fault).__name__}: {fault}")
        with pipeline.changed:
            run.status, run.error, run.updated = status, error, time.time()
            execution.updated = run.updated
            namespace = run.declaration.get("namespace")
            if namespace and status == "Succeeded":
                execution.namespaces[namespace] = dict(run.variables)
            if run.revision:
                pipeline.stage(run.stage).revisions[run.name] = run.revision
            pipeline.changed.notify_all()
        self._action_event(pipeline, execution, run)

    def _perform(self, pipeline: Pipeline, execution: Execution, run: ActionRun) -> None:
        kind = run.declaration["actionTypeId"]
        authority = self.server.part(Authority)
        provider = PROVIDERS.get((kind["category"], kind["provider"]))
        if provider is None:
            raise ActionFailed(
                "ConfigurationError", f"local_aws has no action {kind['category']}/{kind['provider']}"
            )
        run.configuration = {
            key: _resolve(value, execution.namespaces)
            for key, value in (run.declaration.get("configuration") or {}).items()
        }
        for entry in run.declaration.get("inputArtifacts") or ():
            if entry["name"] not in execution.artifacts:
                raise ActionFailed("ConfigurationError", f"the input artifact {entry['name']} was not made")
            bucket, key = execution.artifacts[entry["name"]]
            run.inputs.append({"name": entry["name"], "s3location": {"bucket": bucket, "key": key}})

        try:
            # For which pipeline it assumes a role, CodePipeline is documented to say nowhere.
            principal = authority.act_as(
                "codepipeline.amazonaws.com",
                run.declaration.get("roleArn") or pipeline.declaration["roleArn"],
                execution.id,
                pipeline.region,
            )
        except ApiError as error:
            raise ActionFailed("PermissionError", error.message) from None

        def read(name: str) -> bytes:
            bucket, key = execution.artifacts[name]
            try:
                s3 = authority.client(principal, "s3", pipeline.region)
                return bytes(s3.get_object(Bucket=bucket, Key=key)["Body"].read())
            except ClientError as error:
                raise ActionFailed("PermissionError", str(error)) from None

        def write(name: str, data: bytes, by: Principal | None = None) -> None:
            bucket, key = self._store(pipeline, name, data, by or principal)
            execution.artifacts[name] = (bucket, key)
            run.outputs.append({"name": name, "s3location": {"bucket": bucket, "key": key}})

        def changed() -> None:
            with pipeline.changed:
                run.updated = time.time()
                pipeline.changed.notify_all()

        context = ActionContext(pipeline, execution, run, read, write, changed, principal)
        try:
            provider(self.server, context)
        except ApiError as error:  # a permission that the role lacks
            raise ActionFailed("PermissionError", error.message) from None

    def _store(self, pipeline: Pipeline, name: str, data: bytes, by: Principal) -> tuple[str, str]:
        store = pipeline.store()
        unique = "".join(secrets.choice(_KEY_CHARACTERS) for _ in range(7))
        # CodePipeline cuts both names: see "Folder names are truncated" in its troubleshooting guide.
        key = f"{pipeline.name[:20]}/{name[:10]}/{unique}"
        encryption = {"ServerSideEncryption": "aws:kms"}
        if store.get("encryptionKey"):
            encryption["SSEKMSKeyId"] = store["encryptionKey"]["id"]
        try:
            self.server.part(Authority).client(by, "s3", pipeline.region).put_object(
                Bucket=store["location"], Key=key, Body=data, ContentType="application/zip", **encryption
            )
        except Exception as error:  # whatever S3 refuses it for
            raise ActionFailed(
                "PermissionError",
                f"The artifact {name} could not be stored in {store.get('location')}: {error}",
            ) from None
        return store["location"], key

    # --- events -------------------------------------------------------------------------------------------

    def _event(
        self, pipeline: Pipeline, execution: Execution, kind: str, state: str, members: dict[str, Any]
    ) -> None:
        detail = {
            "pipeline": pipeline.name,
            "execution-id": execution.id,
            "start-time": _iso(execution.started),
            **members,
            "state": state,
            "version": execution.declaration["version"],
            "pipeline-execution-attempt": execution.attempt,
        }
        self.server.put_event(
            pipeline.account,
            pipeline.region,
            "aws.codepipeline",
            f"CodePipeline {kind} Execution State Change",
            detail,
            [pipeline.arn],
        )

    def _pipeline_event(self, pipeline: Pipeline, execution: Execution, state: str) -> None:
        trigger = {"trigger-type": execution.trigger[0], "trigger-detail": execution.trigger[1]}
        self._event(pipeline, execution, "Pipeline", state, {"execution-trigger": trigger})

    def _stage_event(self, pipeline: Pipeline, execution: Execution, stage: str, state: str) -> None:
        self._event(pipeline, execution, "Stage", state, {"stage": stage})

    def _action_event(self, pipeline: Pipeline, execution: Execution, run: ActionRun) -> None:
        kind = run.declaration["actionTypeId"]
        members: dict[str, Any] = {
            "stage": run.stage,
            "action": run.name,
            "action-execution-id": run.id,
            "region": pipeline.region,
            "type": {key: kind[key] for key in ("owner", "provider", "category", "version") if key in kind},
        }
        if run.status != "InProgress":
            result = {"external-execution-url": run.external_url, "external-execution-id": run.external_id}
            if run.error:
                result |= {"error-code": run.error[0], "external-execution-summary": run.error[1]}
            members["execution-result"] = {key: value for key, value in result.items() if value}
        self._event(pipeline, execution, "Action", _EVENT_STATES[run.status], members)

    # --- operations: pipelines ----------------------------------------------------------------------------

    def create_pipeline(self, call: Call) -> dict[str, Any]:
        declaration = copy.deepcopy(call.input.get("pipeline") or {})
        _check(declaration)
        self._check_role(call, declaration["roleArn"])
        declaration["version"] = 1
        pipeline = Pipeline(call.account, call.region, _complete(declaration))
        pipeline.tags = {tag["key"]: tag["value"] for tag in call.input.get("tags") or ()}
        key = (call.account, call.region, pipeline.name)
        with self._lock:
            if key in self._pipelines:
                raise ApiError(
                    "PipelineNameInUseException",
                    f"A pipeline with the name '{pipeline.name}' already exists in account '{call.account}'",
                )
            self._pipelines[key] = pipeline
        if not any("defaultValue" not in variable for variable in declaration.get("variables") or ()):
            self.start(pipeline, ("CreatePipeline", _caller(call)))
        return {"pipeline": pipeline.declaration, "tags": call.input.get("tags") or []}

    def _check_role(self, call: Call, arn: str) -> None:
        """The role has to exist and to let CodePipeline assume it."""
        iam = self.server.client("iam", call.region, call.account)
        trusted = False
        try:
            document = iam.get_role(RoleName=arn.rpartition("/")[2])["Role"]["AssumeRolePolicyDocument"]
            document = json.loads(document) if isinstance(document, str) else document
            statements = document["Statement"]
            for statement in [statements] if isinstance(statements, dict) else statements:
                services = (statement.get("Principal") or {}).get("Service") or []
                services = [services] if isinstance(services, str) else services
                trusted = trusted or "codepipeline.amazonaws.com" in services
        except iam.exceptions.NoSuchEntityException:
            pass
        if not trusted:
            raise ApiError(
                "InvalidStructureException",
                f"CodePipeline is not authorized to perform AssumeRole on role {arn}",
            )

    def get_pipeline(self, call: Call) -> dict[str, Any]:
        pipeline = self._named(call, "name")
        metadata = {"pipelineArn": pipeline.arn, **_dates(pipeline)}
        return {"pipeline": pipeline.declaration, "metadata": metadata}

    def update_pipeline(self, call: Call) -> dict[str, Any]:
        declaration = copy.deepcopy(call.input.get("pipeline") or {})
        pipeline = self.find(call.account, call.region, declaration.get("name", ""))
        _check(declaration)
        self._check_role(call, declaration["roleArn"])
        with pipeline.changed:
            declaration["version"] = pipeline.declaration["version"] + 1
            pipeline.declaration = _complete(declaration)
            pipeline.updated = time.time()
        return {"pipeline": pipeline.declaration}

    def delete_pipeline(self, call: Call) -> dict[str, Any]:
        pipeline = self._pipelines.pop((call.account, call.region, call.input.get("name", "")), None)
        if pipeline:
            with pipeline.changed:
                for execution in pipeline.executions:
                    execution.stopping.set()
                    execution.abandoned.set()
                pipeline.changed.notify_all()
        return {}

    def list_pipelines(self, call: Call) -> dict[str, Any]:
        here = [p for p in self.all() if (p.account, p.region) == (call.account, call.region)]
        return {
            "pipelines": [
                {
                    "name": pipeline.name,
                    "version": pipeline.declaration["version"],
                    "pipelineType": pipeline.declaration["pipelineType"],
                    "executionMode": pipeline.declaration["executionMode"],
                    **_dates(pipeline),
                }
                for pipeline in sorted(here, key=lambda pipeline: pipeline.name)
            ]
        }

    def get_pipeline_state(self, call: Call) -> dict[str, Any]:
        pipeline = self._named(call, "name")
        with pipeline.changed:
            stages = [_stage_state(pipeline, declared) for declared in pipeline.declaration["stages"]]
        return {
            "pipelineName": pipeline.name,
            "pipelineVersion": pipeline.declaration["version"],
            "stageStates": stages,
            **_dates(pipeline),
        }

    def _named(self, call: Call, member: str) -> Pipeline:
        return self.find(call.account, call.region, call.input.get(member) or "")

    def _by_arn(self, call: Call) -> Pipeline:
        arn = call.input.get("resourceArn") or ""
        for pipeline in self.all():
            if pipeline.arn == arn:
                return pipeline
        raise ApiError("ResourceNotFoundException", f"There is no pipeline {arn}")

    def list_tags_for_resource(self, call: Call) -> dict[str, Any]:
        tags = sorted(self._by_arn(call).tags.items())
        return {"tags": [{"key": key, "value": value} for key, value in tags]}

    def tag_resource(self, call: Call) -> dict[str, Any]:
        self._by_arn(call).tags.update({tag["key"]: tag["value"] for tag in call.input.get("tags") or ()})
        return {}

    def untag_resource(self, call: Call) -> dict[str, Any]:
        tags = self._by_arn(call).tags
        for key in call.input.get("tagKeys") or ():
            tags.pop(key, None)
        return {}

    # --- operations: executions ---------------------------------------------------------------------------

    def start_pipeline_execution(self, call: Call) -> dict[str, Any]:
        pipeline = self._named(call, "name")
        for entry in call.input.get("variables") or ():
            if not _VALUE.fullmatch(entry["value"]):
                raise _invalid(
                    f"the value of the variable {entry['name']} has to have 1 to 1000 characters, and no line break"
                )
        execution = self.start(
            pipeline,
            ("StartPipelineExecution", _caller(call)),
            {entry["name"]: entry["value"] for entry in call.input.get("variables") or ()},
            {
                entry["actionName"]: entry["revisionValue"]
                for entry in call.input.get("sourceRevisions") or ()
            },
        )
        return {"pipelineExecutionId": execution.id}

    def _execution(self, call: Call) -> tuple[Pipeline, Execution]:
        pipeline = self._named(call, "pipelineName")
        wanted = call.input.get("pipelineExecutionId")
        for execution in pipeline.executions:
            if execution.id == wanted:
                return pipeline, execution
        raise ApiError(
            "PipelineExecutionNotFoundException",
            f"The pipeline {pipeline.name} has no execution with the ID {wanted}",
        )

    def get_pipeline_execution(self, call: Call) -> dict[str, Any]:
        pipeline, execution = self._execution(call)
        with pipeline.changed:
            return {"pipelineExecution": execution.describe()}

    def list_pipeline_executions(self, call: Call) -> dict[str, Any]:
        pipeline = self._named(call, "pipelineName")
        with pipeline.changed:
            summaries = [execution.summarise() for execution in reversed(pipeline.executions)]
        return _page(call, "pipelineExecutionSummaries", summaries)

    def list_action_executions(self, call: Call) -> dict[str, Any]:
        pipeline = self._named(call, "pipelineName")
        chosen = call.input.get("filter") or {}
        wanted = chosen.get("pipelineExecutionId") or (chosen.get("latestInPipelineExecution") or {}).get(
            "pipelineExecutionId"
        )
        with pipeline.changed:
            runs = [
                (run, execution)
                for execution in pipeline.executions
                for run in execution.actions
                if wanted in (None, execution.id)
            ]
            runs.sort(key=lambda pair: pair[0].started, reverse=True)
            details = [run.detail(execution, pipeline.region) for run, execution in runs]
        return _page(call, "actionExecutionDetails", details)

    def stop_pipeline_execution(self, call: Call) -> dict[str, Any]:
        pipeline, execution = self._execution(call)
        with pipeline.changed:
            if execution.status in FINAL:
                raise ApiError(
                    "PipelineExecutionNotStoppableException",
                    f"The execution {execution.id} can't be stopped: it is {execution.status}",
                )
            abandon = bool(call.input.get("abandon"))
            if execution.stopping.is_set() and not (abandon and not execution.abandoned.is_set()):
                raise ApiError(
                    "DuplicatedStopRequestException", f"The execution {execution.id} is being stopped"
                )
            execution.stop_reason = call.input.get("reason") or ""
            execution.status = "Stopping"
            execution.updated = time.time()
            execution.stopping.set()
            if abandon:
                execution.abandoned.set()
            pipeline.changed.notify_all()
        self._pipeline_event(pipeline, execution, "STOPPING")
        return {"pipelineExecutionId": execution.id}

    def retry_stage_execution(self, call: Call) -> dict[str, Any]:
        pipeline, execution = self._execution(call)
        names = [stage["name"] for stage in execution.declaration["stages"]]
        name = call.input.get("stageName") or ""
        if name not in names:
            raise ApiError("StageNotFoundException", f"The pipeline {pipeline.name} has no stage {name}")
        with pipeline.changed:
            stage = pipeline.stage(name)
            if stage.latest is not execution:
                raise ApiError(
                    "NotLatestPipelineExecutionException",
                    f"{execution.id} is not the latest in the stage {name}",
                )
            if stage.latest_status not in ("Failed", "Stopped") or execution.status not in (
                "Failed",
                "Stopped",
            ):
                raise ApiError("StageNotRetryableException", f"The stage {name} has not failed")
            done: frozenset[str] = frozenset()
            if call.input.get("retryMode") != "ALL_ACTIONS":
                done = frozenset(
                    run.name
                    for run in execution.actions
                    if run.stage == name and run.status == "Succeeded" and stage.actions.get(run.name) is run
                )
            execution.attempt += 1
            execution.status = "InProgress"
            execution.stopping.clear()
            execution.abandoned.clear()
            self._queue(pipeline, execution, name)
        self._pipeline_event(pipeline, execution, "RESUMED")
        self._launch(pipeline, execution, names.index(name), done)
        return {"pipelineExecutionId": execution.id}

    # --- operations: stages and approvals -----------------------------------------------------------------

    def _declared_stage(self, call: Call) -> tuple[Pipeline, dict[str, Any]]:
        pipeline = self._named(call, "pipelineName")
        name = call.input.get("stageName")
        for declared in pipeline.declaration["stages"]:
            if declared["name"] == name:
                return pipeline, declared
        raise ApiError("StageNotFoundException", f"The pipeline {pipeline.name} has no stage {name}")

    def put_approval_result(self, call: Call) -> dict[str, Any]:
        pipeline, declared = self._declared_stage(call)
        action = call.input.get("actionName")
        if action not in [entry["name"] for entry in declared["actions"]]:
            raise ApiError("ActionNotFoundException", f"The stage {declared['name']} has no action {action}")
        result = call.input.get("result") or {}
        if result.get("status") not in ("Approved", "Rejected"):
            raise ApiError("ValidationException", "result.status is Approved or Rejected")
        now = round(time.time(), 3)
        with pipeline.changed:
            run = pipeline.stage(declared["name"]).actions.get(str(action))
            if run is None or run.token is None or run.token != call.input.get("token"):
                raise ApiError("InvalidApprovalTokenException", "The approval token is not valid")
            if run.status != "InProgress" or run.decision is not None:
                raise ApiError("ApprovalAlreadyCompletedException", "The approval has already been completed")
            run.summary = result.get("summary", "")
            run.updated_by = _caller(call)
            run.decision = result["status"]
        return {"approvedAt": now}


def _iso(moment: float) -> str:
    whole = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(moment))
    return f"{whole}.{int(moment * 1000) % 1000:03d}Z"


def _dates(pipeline: Pipeline) -> dict[str, float]:
    return {"created": round(pipeline.created, 3), "updated": round(pipeline.updated, 3)}


def _caller(call: Call) -> str:
    return f"arn:aws:iam::{call.account}:root"


def _invalid(message: str) -> ApiError:
    return ApiError("ValidationException", message)


def _page(call: Call, member: str, entries: list[dict[str, Any]]) -> dict[str, Any]:
    token = call.input.get("nextToken") or "0"
    if not token.isdigit():
        raise ApiError("InvalidNextTokenException", f"The next token is not valid: {token}")
    first, size = int(token), int(call.input.get("maxResults") or 100)
    answer: dict[str, Any] = {member: entries[first : first + size]}
    if first + size < len(entries):
        answer["nextToken"] = str(first + size)
    return answer


def _resolve(text: str, namespaces: Mapping[str, Mapping[str, str]]) -> str:
    def value(match: re.Match[str]) -> str:
        found = namespaces.get(match.group(1), {}).get(match.group(2))
        if found is None:
            raise ActionFailed(
                "ConfigurationError",
                f"The variable {match.group(0)} can't be resolved: no action gave it a value",
            )
        return found

    return _VARIABLE.sub(value, text)


def _stage_state(pipeline: Pipeline, declared: dict[str, Any]) -> dict[str, Any]:
    stage = pipeline.stage(declared["name"])
    waiting = [{"pipelineExecutionId": execution.id, "status": "InProgress"} for execution in stage.inbound]
    state: dict[str, Any] = {
        "stageName": declared["name"],
        "inboundExecutions": waiting,
        "inboundTransitionState": {"enabled": True},
        "actionStates": [],
    }
    if waiting:
        state["inboundExecution"] = waiting[0]
    for action in declared["actions"]:
        entry: dict[str, Any] = {"actionName": action["name"]}
        run = stage.actions.get(action["name"])
        if run:
            entry["latestExecution"] = run.latest()
        if action["name"] in stage.revisions:
            entry["currentRevision"] = stage.revisions[action["name"]]
        state["actionStates"].append(entry)
    if stage.latest:
        state["latestExecution"] = {
            "pipelineExecutionId": stage.latest.id,
            "status": "Stopping" if stage.latest.status == "Stopping" else stage.latest_status,
        }
    return state


def _complete(declaration: dict[str, Any]) -> dict[str, Any]:
    """Set what CodePipeline sets where nothing was given."""
    declaration.setdefault("executionMode", "SUPERSEDED")
    declaration.setdefault("pipelineType", "V1")
    for stage in declaration["stages"]:
        for action in stage["actions"]:
            action.setdefault("runOrder", 1)
            action.setdefault("configuration", {})
            action.setdefault("outputArtifacts", [])
            action.setdefault("inputArtifacts", [])
    return declaration


def _check(declaration: dict[str, Any]) -> None:
    """Refuse what CreatePipeline refuses.

    https://docs.aws.amazon.com/codepipeline/latest/userguide/reference-pipeline-structure.html
    """

    def refuse(message: str) -> ApiError:
        return ApiError("InvalidStructureException", message)

    if not _NAME.fullmatch(declaration.get("name") or ""):
        raise _invalid(f"the pipeline's name {declaration.get('name')!r} is not valid")
    if not declaration.get("roleArn"):
        raise _invalid("the pipeline has no roleArn")
    stages = declaration.get("stages") or []
    if len(stages) < 2:
        raise refuse(
            f"Pipeline has only {len(stages)} stage(s). There should be a minimum of 2 stages in a pipeline"
        )
    if declaration.get("pipelineType", "V1") == "V1" and (
        declaration.get("executionMode", "SUPERSEDED") != "SUPERSEDED"
        or declaration.get("triggers")
        or declaration.get("variables")
    ):
        raise refuse("Execution modes, triggers and variables need a pipeline of type V2")
    seen: set[str] = set()
    made: set[str] = set()
    for number, stage in enumerate(stages):
        if stage["name"] in seen:
            raise refuse(f"Duplicate stage name {stage['name']}")
        seen.add(stage["name"])
        names = [action["name"] for action in stage.get("actions") or ()]
        if not names or len(set(names)) < len(names):
            raise refuse(f"The stage {stage['name']} has no actions, or two of one name")
        for action in sorted(stage["actions"], key=lambda action: int(action.get("runOrder") or 1)):
            _check_action(action, number == 0, made)


def _check_action(action: dict[str, Any], first_stage: bool, made: set[str]) -> None:
    kind, name = action["actionTypeId"], action["name"]
    configuration = action.get("configuration") or {}
    if (kind["category"] == "Source") != first_stage:
        raise ApiError(
            "InvalidActionDeclarationException",
            f"The action {name}: source actions belong into the first stage, others into a later one",
        )
    for entry in action.get("inputArtifacts") or ():
        if entry["name"] not in made:
            raise ApiError(
                "InvalidStructureException",
                f"The action {name} has the input artifact {entry['name']}, which no earlier action makes",
            )
    for entry in action.get("outputArtifacts") or ():
        if entry["name"] in made:
            raise ApiError("InvalidStructureException", f"The artifact {entry['name']} is made twice")
        made.add(entry["name"])
    limits = {"StepFunctions": "Input", "Manual": "CustomData"}
    limited = limits.get(kind["provider"])
    if limited and len(configuration.get(limited) or "") > 1000:
        raise ApiError(
            "InvalidActionDeclarationException", f"The action {name}: {limited} has more than 1000 characters"
        )


OPERATIONS: dict[str, Callable[[CodePipeline, Call], dict[str, Any]]] = {
    "CreatePipeline": CodePipeline.create_pipeline,
    "GetPipeline": CodePipeline.get_pipeline,
    "UpdatePipeline": CodePipeline.update_pipeline,
    "DeletePipeline": CodePipeline.delete_pipeline,
    "ListPipelines": CodePipeline.list_pipelines,
    "GetPipelineState": CodePipeline.get_pipeline_state,
    "ListTagsForResource": CodePipeline.list_tags_for_resource,
    "TagResource": CodePipeline.tag_resource,
    "UntagResource": CodePipeline.untag_resource,
    "StartPipelineExecution": CodePipeline.start_pipeline_execution,
    "GetPipelineExecution": CodePipeline.get_pipeline_execution,
    "ListPipelineExecutions": CodePipeline.list_pipeline_executions,
    "ListActionExecutions": CodePipeline.list_action_executions,
    "StopPipelineExecution": CodePipeline.stop_pipeline_execution,
    "RetryStageExecution": CodePipeline.retry_stage_execution,
    "PutApprovalResult": CodePipeline.put_approval_result,
}


def of(server: Server) -> CodePipeline:
    """Return the server's CodePipeline."""
    return one_of(server, CodePipeline, lambda: CodePipeline(server))


def install(server: Server) -> None:
    service = of(server)
    for name, operation in OPERATIONS.items():
        server.operation("codepipeline", name)(functools.partial(operation, service))

    def target(rule_target: dict[str, Any], event: dict[str, Any], sender: Any) -> None:
        """Start the pipeline that an EventBridge rule has as its target."""
        del event
        _, _, _, region, account, name = str(rule_target["Arn"]).split(":", 5)
        server.part(Authority).demand(
            role_of_target(server, rule_target, sender),
            "codepipeline:StartPipelineExecution",
            rule_target["Arn"],
            region=region,
        )
        rule = _rule_of(sender.account, sender.region, rule_target)
        service.start(service.find(account, region, name), ("CloudWatchEvent", rule))

    server.targets["codepipeline"] = target

    def pushed(connection: connections.Connection, changes: list[RefChange]) -> list[str]:
        """Start what a push to a connected repository starts."""
        started = []
        for pipeline in service.all():
            action = _connected_action(pipeline.declaration, connection.arn)
            bare = connection.repository
            if bare and action and any(_is_triggered(pipeline, action, bare, change) for change in changes):
                started.append(service.start(pipeline, ("WebhookV2", connection.arn)).id)
        return started

    connections.of(server).on_push = pushed


def _rule_of(account: str, region: str, rule_target: Mapping[str, Any]) -> str:
    """Return the ARN of the rule that has a target."""
    with MOTO_LOCK:
        for bus in events_backends[account][region].event_buses.values():
            for rule in bus.rules.values():
                if any(
                    (target["Arn"], target["Id"]) == (rule_target["Arn"], rule_target["Id"])
                    for target in rule.targets
                ):
                    return str(rule.arn)
    return ""


def _connected_action(declaration: Mapping[str, Any], connection_arn: str) -> dict[str, Any] | None:
    for action in declaration["stages"][0]["actions"]:
        if action["configuration"].get("ConnectionArn") == connection_arn:
            return dict(action)
    return None


def _is_triggered(
    pipeline: Pipeline, action: dict[str, Any], bare: BareRepository, change: RefChange
) -> bool:
    """A trigger of the definition decides; without one, any push to the action's branch starts it."""
    for trigger in pipeline.declaration.get("triggers") or ():
        configuration = trigger.get("gitConfiguration") or {}
        if configuration.get("sourceActionName") == action["name"]:
            return connections.passes(configuration, bare, change)
    if action["configuration"].get("DetectChanges", "true").lower() != "true":
        return False
    return change.new is not None and change.ref == f"refs/heads/{action['configuration']['BranchName']}"
