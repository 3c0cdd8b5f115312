"""Repositories, projects and pipelines for contract tests."""

from __future__ import annotations

import json
import os
import subprocess
import time
import uuid
from pathlib import Path
from typing import Any

from local_aws.client import HANG_SECONDS, LocalAws
from roles import role

SUCCEED = {"StartAt": "Done", "States": {"Done": {"Type": "Succeed"}}}
FINAL = ("Succeeded", "Failed", "Stopped", "Superseded", "Cancelled")


def unique(prefix: str) -> str:
    return f"{prefix}-{uuid.uuid4().hex[:8]}"


class WorkingCopy:
    """A clone, made and used with plain Git, with a home directory of its own."""

    def __init__(self, url: str, path: Path) -> None:
        self.path = path
        # Whoever runs the tests may name an author in the environment, which goes before the clone's own configuration.
        inherited = {
            k: v for k, v in os.environ.items() if not k.startswith(("GIT_AUTHOR_", "GIT_COMMITTER_"))
        }
        self.environment = {**inherited, "HOME": str(path.parent), "GIT_TERMINAL_PROMPT": "0"}
        self.environment |= {"GIT_CONFIG_NOSYSTEM": "1"}
        self.git("clone", "--quiet", url, str(path), cwd=path.parent)

    def git(self, *arguments: str, cwd: Path | None = None) -> str:
        done = subprocess.run(
            ["git", "-c", "user.name=Zoë Doe", "-c", "user.email=zoe@example.com", *arguments],
            cwd=cwd or self.path,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def commit(self, files: dict[str, str], message: str = "change") -> str:
        for name, content in files.items():
            target = self.path / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(content)
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "--message", message)
        return self.git("rev-parse", "HEAD")

    def push(self, files: dict[str, str], message: str = "change") -> str:
        commit = self.commit(files, message)
        self.git("push", "--quiet", "origin", "HEAD")
        return commit


def repository(aws: LocalAws, tmp_path: Path) -> tuple[str, WorkingCopy]:
    name = unique("repository")
    made = aws.client("codecommit").create_repository(repositoryName=name)["repositoryMetadata"]
    return name, WorkingCopy(made["cloneUrlHttp"], tmp_path / name)


def project(aws: LocalAws, spec: str, **settings: Any) -> str:
    name = unique("project")
    aws.client("codebuild").create_project(
        **{
            "name": name,
            "source": {"type": "CODEPIPELINE", "buildspec": spec},
            "artifacts": {"type": "CODEPIPELINE"},
            "environment": {
                "type": "ARM_LAMBDA_CONTAINER",
                "computeType": "BUILD_LAMBDA_1GB",
                "image": "aws/codebuild/amazonlinux-aarch64-lambda-standard:python3.13",
            },
            "serviceRole": role(aws, "codebuild.amazonaws.com"),
            **settings,
        }
    )
    return name


def machine(aws: LocalAws, definition: dict[str, Any]) -> str:
    made = aws.client("stepfunctions").create_state_machine(
        name=unique("machine"), definition=json.dumps(definition), roleArn=role(aws, "states.amazonaws.com")
    )
    return str(made["stateMachineArn"])


def action(category: str, provider: str, configuration: dict[str, str], **members: Any) -> dict[str, Any]:
    for key in ("inputArtifacts", "outputArtifacts"):
        members[key] = [{"name": name} for name in members.get(key, ())]
    kind = {"category": category, "owner": "AWS", "provider": provider, "version": "1"}
    return {
        "name": members.pop("name", provider),
        "actionTypeId": kind,
        "configuration": configuration,
        **members,
    }


def source_action(repository_name: str) -> dict[str, Any]:
    configuration = {"RepositoryName": repository_name, "BranchName": "main", "PollForSourceChanges": "false"}
    return action(
        "Source", "CodeCommit", configuration, name="Source", outputArtifacts=["source"], namespace="Source"
    )


def build_action(project_name: str, **configuration: str) -> dict[str, Any]:
    return action(
        "Build",
        "CodeBuild",
        {"ProjectName": project_name, **configuration},
        name="Build",
        inputArtifacts=["source"],
        outputArtifacts=["built"],
        namespace="Build",
    )


def deploy_action(machine_arn: str, **configuration: str) -> dict[str, Any]:
    return action(
        "Invoke",
        "StepFunctions",
        {"StateMachineArn": machine_arn, **configuration},
        name="Deploy",
        inputArtifacts=["source"],
        namespace="Deploy",
    )


class Pipeline:
    """A pipeline whose stages have one action each, named as the action is."""

    def __init__(self, aws: LocalAws, *actions: dict[str, Any], mode: str = "QUEUED", **members: Any) -> None:
        self.aws = aws
        self.client = aws.client("codepipeline")
        self.name = unique("pipeline")
        bucket = unique("artifacts")
        aws.client("s3").create_bucket(Bucket=bucket)
        self.declaration = {
            "name": self.name,
            "roleArn": role(aws, "codepipeline.amazonaws.com"),
            "artifactStore": {"type": "S3", "location": bucket},
            "stages": [{"name": entry["name"], "actions": [entry]} for entry in actions],
            "pipelineType": "V2",
            "executionMode": mode,
            **members,
        }
        self.client.create_pipeline(pipeline=self.declaration, tags=[{"key": "team", "value": "a"}])
        self.arn = self.client.get_pipeline(name=self.name)["metadata"]["pipelineArn"]

    def executions(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.client.list_pipeline_executions(pipelineName=self.name)[
            "pipelineExecutionSummaries"
        ]
        return found

    def start(self, **arguments: Any) -> str:
        return str(self.client.start_pipeline_execution(name=self.name, **arguments)["pipelineExecutionId"])

    def execution(self, execution: str) -> dict[str, Any]:
        found: dict[str, Any] = self.client.get_pipeline_execution(
            pipelineName=self.name, pipelineExecutionId=execution
        )["pipelineExecution"]
        return found

    def ended(self, execution: str, seconds: float = HANG_SECONDS) -> str:
        deadline = time.monotonic() + seconds
        while (status := self.execution(execution)["status"]) not in FINAL:
            assert time.monotonic() < deadline, f"still {status}"
            time.sleep(0.05)
        return str(status)

    def actions(self, execution: str) -> dict[str, dict[str, Any]]:
        """The latest execution of each action, by the action's name."""
        details = self.client.list_action_executions(
            pipelineName=self.name, filter={"pipelineExecutionId": execution}
        )["actionExecutionDetails"]
        return {detail["actionName"]: detail for detail in reversed(details)}

    def error(self, execution: str, name: str) -> dict[str, str]:
        found: dict[str, str] = self.actions(execution)[name]["output"]["executionResult"]["errorDetails"]
        return found

    def stage(self, name: str) -> dict[str, Any]:
        states = self.client.get_pipeline_state(name=self.name)["stageStates"]
        return next(state for state in states if state["stageName"] == name)

    def token(self, name: str = "Manual", seconds: float = HANG_SECONDS) -> str:
        deadline = time.monotonic() + seconds
        while True:
            latest = self.stage(name)["actionStates"][0].get("latestExecution", {})
            if latest.get("token"):
                return str(latest["token"])
            assert time.monotonic() < deadline, f"no approval waits: {latest}"
            time.sleep(0.05)

    def answer(self, token: str, status: str, summary: str = "", name: str = "Manual") -> None:
        self.client.put_approval_result(
            pipelineName=self.name,
            stageName=name,
            actionName=name,
            result={"summary": summary, "status": status},
            token=token,
        )
