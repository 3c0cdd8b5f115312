"""The one gate: what was approved is what is deployed, and nothing else is."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from local_aws.client import LocalAws
from local_aws.estate import ACCOUNT, Estate, container
from world import settle

from scripts import terraform_cli_config
from scripts.stack import Stack
from scripts.terraform import Terraform

REPOSITORY = f"{ACCOUNT}.dkr.ecr.us-east-1.amazonaws.com/gate-api"
CLUSTER = "gate"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
WRITES = (
    "ecs:RegisterTaskDefinition",
    "ecs:UpdateService",
    "ecs:DeregisterTaskDefinition",
    "events:PutTargets",
    "scheduler:UpdateSchedule",
)
ENDED = ("Succeeded", "Failed", "Stopped")
HANG_SECONDS = 300  # nothing takes so long on a busy machine either


@pytest.fixture(scope="module")
def gate(aws_server: LocalAws, tmp_path_factory: pytest.TempPathFactory) -> Gate:
    """A second instance of the module, with ``approval`` on, and a service to release."""
    folder = tmp_path_factory.mktemp("gate")
    os.environ.setdefault("TF_CLI_CONFIG_FILE", str(terraform_cli_config.main()))
    terraform = Terraform(folder, aws_server.environment(), ["-var", "name=gate", "-var", "approval={}"])
    terraform.init()
    terraform.apply()
    outputs = {name: output["value"] for name, output in terraform.outputs().items()}
    return Gate(Stack(aws_server, outputs, folder))


class Gate:
    """The pipeline with its approval, driven as a person drives it."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.pipeline = stack.client("codepipeline")
        self.ecs = stack.client("ecs")
        self.ecr = stack.client("ecr")
        estate = Estate(stack.aws)
        estate.cluster(CLUSTER)
        arn = estate.family("gate-api", [container("api", f"{REPOSITORY}:1.0")])
        estate.service(CLUSTER, "api", arn)
        self.ecr.create_repository(repositoryName="gate-api")
        for tag in ("1.0", "1.1", "1.2", "1.3", "1.4", "1.5", "1.6"):
            self.put_image(tag, tag)

    def push_along(self, file: str, text: str) -> None:
        """Put a file beside the manifest, into the next push and all that follow."""
        folder = self.stack.clone().folder
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).write_text(text, encoding="utf-8")
        subprocess.run(["git", "add", "--", file], cwd=folder, check=True)

    def put_image(self, tag: str, content: str) -> None:
        """Push an image: another content under the same tag moves the tag."""
        manifest = {
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": {
                "digest": "sha256:" + "0" * 64,
                "size": 1,
                "mediaType": "application/vnd.oci.image.config.v1+json",
            },
            "layers": [
                {
                    "digest": f"sha256:{hashlib.sha256(content.encode()).hexdigest()}",
                    "size": 1,
                    "mediaType": LAYER,
                }
            ],
        }
        self.ecr.put_image(repositoryName="gate-api", imageTag=tag, imageManifest=json.dumps(manifest))

    def live(self) -> str:
        """What the service runs."""
        return str(
            self.ecs.describe_services(cluster=CLUSTER, services=["api"])["services"][0]["taskDefinition"]
        )

    def live_image(self) -> str:
        definition = self.ecs.describe_task_definition(taskDefinition=self.live())["taskDefinition"]
        return str(definition["containerDefinitions"][0]["image"])

    def push(self, tag: str) -> str:
        """Push a manifest; the pipeline execution, waiting at the gate (or ended)."""
        manifest = {
            "release": tag,
            "services": [
                {
                    "service": "api",
                    "clusterName": CLUSTER,
                    "serviceName": "api",
                    "image": f"{REPOSITORY}:{tag}",
                }
            ],
        }
        earlier = self.stack.executions()
        commit = self.stack.clone().push(yaml.safe_dump(manifest, sort_keys=False), f"release {tag}")
        execution = self.stack.pipeline_execution(commit, earlier)
        self.stack.until(
            "approval", lambda: self.waiting(execution) or self.status(execution) in ENDED, HANG_SECONDS
        )
        return execution

    def somebody_deploys(self, **members: Any) -> str:
        """A revision of the service that no plan has seen, deployed; its ARN."""
        revision = Estate(self.stack.aws).family(
            "gate-api", [container("api", f"{REPOSITORY}:1.1")], **members
        )
        self.ecs.update_service(cluster=CLUSTER, service="api", taskDefinition=revision)
        settle()
        return revision

    def status(self, execution: str) -> str:
        return self.stack.pipeline_status(execution)

    def waiting(self, execution: str) -> dict[str, Any] | None:
        """The action state of the approval that waits, of this execution."""
        stages = self.pipeline.get_pipeline_state(name=self.stack.pipeline)["stageStates"]
        stage = next(s for s in stages if s["stageName"] == "Approve")
        latest = stage["actionStates"][0].get("latestExecution", {})
        ours = stage.get("latestExecution", {}).get("pipelineExecutionId") == execution
        return latest if ours and latest.get("status") == "InProgress" and latest.get("token") else None

    def decide(self, execution: str, status: str) -> None:
        """Approve or reject, and wait for the pipeline's end."""
        waiting = self.waiting(execution)
        assert waiting is not None, [
            (a["actionName"], a["status"], a.get("output")) for a in self.stack.actions(execution)
        ]
        self.pipeline.put_approval_result(
            pipelineName=self.stack.pipeline,
            stageName="Approve",
            actionName="Approve",
            result={"summary": "seen", "status": status},
            token=waiting["token"],
        )
        self.stack.until("end of the pipeline", lambda: self.status(execution) in ENDED, HANG_SECONDS)

    def shown(self, execution: str) -> dict[str, Any]:
        """What the approval shows: the action's resolved configuration."""
        action = next(a for a in self.stack.actions(execution) if a["actionName"] == "Approve")
        return dict(action["input"]["resolvedConfiguration"])

    def release(self, execution: str) -> dict[str, Any]:
        """The state machine's execution that Deploy started."""
        arn = self.stack.release_of(self.stack.actions(execution))
        assert arn is not None
        return self.stack.execution(arn)

    def start(self, document: dict[str, Any], name: str) -> dict[str, Any]:
        machine = self.stack.client("stepfunctions")
        arn = machine.start_execution(
            stateMachineArn=self.stack.state_machine, name=name, input=json.dumps(document)
        )
        self.stack.until(
            "end", lambda: self.stack.execution(arn["executionArn"])["status"] != "RUNNING", HANG_SECONDS
        )
        return self.stack.execution(arn["executionArn"])

    def writes(self) -> dict[str, int]:
        calls = self.stack.aws.calls()
        return {operation: calls.get(operation, {}).get("calls", 0) for operation in WRITES}


def test_the_gate_shows_the_plan_and_approving_deploys_precisely_that(gate: Gate) -> None:
    gate.stack.aws.reset()
    before = gate.live()
    # Whoever may push must not be able to forge what the approver sees: none of this runs in the build.
    for shadow in ("json.py", "hashlib.py", "ecs_release/__init__.py", "ecs_release/__main__.py"):
        gate.push_along(shadow, "raise SystemExit('a file of the repository ran in the build')")
    execution = gate.push("1.1")
    assert gate.waiting(execution), gate.stack.actions(execution)

    shown = gate.shown(execution)
    assert "1 update" in shown["CustomData"]
    assert "api 1.0 -> 1.1" in shown["CustomData"]
    assert len(shown["CustomData"]) <= 1000
    assert f"plans/{execution}/plan.html" in shown["ExternalEntityLink"]
    assert "X-Amz-" not in shown["ExternalEntityLink"]
    page = gate.stack.client("s3").get_object(
        Bucket=gate.stack.outputs["artifact_bucket_name"], Key=f"plans/{execution}/plan.html"
    )
    assert b"<b>api</b>" in page["Body"].read()
    assert gate.live() == before
    assert set(gate.writes().values()) == {0}

    gate.decide(execution, "Approved")
    assert gate.status(execution) == "Succeeded"
    assert gate.live_image() == f"{REPOSITORY}:1.1"


def test_a_push_survives_the_minutes_after_versioning_was_switched_on(gate: Gate) -> None:
    """S3 answers 404 for objects that are there: to the build, to the plan and to Parse, one after another."""
    missing = {"operation": "s3:GetObject", "kind": "error", "error": "NoSuchKey"}
    faults = [
        {**missing, "match": "/package/", "times": 2},
        {**missing, "match": "/manifests/", "function": "gate-plan", "times": 2},
        {**missing, "match": "/manifests/", "function": "gate-parse", "times": 2},
        {**missing, "match": "/plans/", "function": "gate-parse", "times": 2, "error": "NoSuchVersion"},
    ]
    gate.stack.aws.faults(faults)
    before = gate.live_image()
    execution = gate.push("1.2")
    assert gate.waiting(execution), gate.stack.actions(execution)
    assert gate.live_image() == before
    gate.decide(execution, "Approved")
    assert gate.status(execution) == "Succeeded"
    assert gate.live_image() == f"{REPOSITORY}:1.2"
    assert [fault["times"] for fault in gate.stack.aws.control("faults")] == [0, 0, 0, 0]
    gate.stack.aws.reset()


def test_rejecting_ends_it_with_nothing_touched(gate: Gate) -> None:
    gate.stack.aws.reset()
    before = gate.live()
    execution = gate.push("1.0")
    gate.decide(execution, "Rejected")
    assert gate.status(execution) == "Failed"
    assert gate.live() == before
    assert set(gate.writes().values()) == {0}


def test_14_a_service_that_changed_since_the_plan_is_refused_as_stale(gate: Gate) -> None:
    execution = gate.push("1.3")
    other = gate.somebody_deploys(cpu="512", memory="1024")
    gate.decide(execution, "Approved")
    assert gate.status(execution) == "Failed"
    answer = gate.release(execution)
    assert answer["error"] == "EcsRelease.REJECTED"
    assert "stale" in answer["cause"]
    assert f"now {other} is" in answer["cause"]
    assert gate.live() == other


def test_25_a_tag_that_moved_since_the_plan_is_refused(gate: Gate) -> None:
    execution = gate.push("1.4")
    before = gate.live()
    gate.put_image("1.4", "something else")
    gate.decide(execution, "Approved")
    answer = gate.release(execution)
    assert answer["error"] == "EcsRelease.REJECTED"
    assert "moved from sha256:" in answer["cause"]
    assert gate.live() == before


def start_with(gate: Gate, value: str) -> str:
    """Start the pipeline by hand with a value of the override; its execution, waiting at the gate (or ended)."""
    started = gate.pipeline.start_pipeline_execution(
        name=gate.stack.pipeline, variables=[{"name": "ALLOW_STALE_PLAN", "value": value}]
    )["pipelineExecutionId"]
    gate.stack.until("approval", lambda: gate.waiting(started) or gate.status(started) in ENDED, HANG_SECONDS)
    return str(started)


def test_a_crafted_override_decides_nothing_about_the_build(gate: Gate) -> None:
    item = {"service": "api", "clusterName": CLUSTER, "serviceName": "api", "image": f"{REPOSITORY}:1.6"}
    gate.push_along("other.yaml", yaml.safe_dump({"services": [item]}))
    gate.decide(gate.push("1.4"), "Rejected")
    for value in ('yes"},{"name":"MANIFEST_FILE","value":"other.yaml', 'no"', "YES"):
        started = start_with(gate, value)
        assert gate.status(started) == "Failed"
        build = next(a for a in gate.stack.actions(started) if a["actionName"] == "Build")
        message = build["output"]["executionResult"]["errorDetails"]["message"]
        assert "Code: COMMAND_EXECUTION_ERROR" in message, value
        assert '"$PACKAGE" allow-stale' in message, "it was another command than the one that reads the value"


def test_the_override_does_not_forgive_a_tag_that_moved(gate: Gate) -> None:
    before = gate.live()
    started = start_with(gate, "yes")
    gate.put_image("1.4", "moved once more")
    gate.decide(started, "Approved")
    answer = gate.release(started)
    assert answer["error"] == "EcsRelease.REJECTED"
    assert "ALLOW_STALE_PLAN forgives a change of what is live" in answer["cause"]
    assert "moved from sha256:" in answer["cause"]
    assert gate.live() == before


def test_the_override_of_a_stale_plan_is_said_to_the_approver_and_forgives_drift(gate: Gate) -> None:
    started = start_with(gate, "yes")
    assert "ATTENTION" in gate.shown(started)["CustomData"]
    gate.somebody_deploys(cpu="1024", memory="2048")
    gate.decide(started, "Approved")
    assert gate.status(started) == "Succeeded"
    assert gate.live_image() == f"{REPOSITORY}:1.4"


def test_what_is_blocked_does_not_reach_the_approver(gate: Gate) -> None:
    execution = gate.push("9.9")
    assert gate.status(execution) == "Failed"
    build = next(a for a in gate.stack.actions(execution) if a["actionName"] == "Build")
    assert build["status"] == "Failed"


def test_only_the_pipeline_releases_and_only_what_it_approved(gate: Gate) -> None:
    before = gate.live()
    item = {"service": "api", "clusterName": CLUSTER, "serviceName": "api", "image": f"{REPOSITORY}:1.5"}
    by_hand = gate.start({"services": [item]}, "by-hand")
    assert by_hand["error"] == "EcsRelease.REJECTED"
    assert "approved in its pipeline gate" in by_hand["cause"]

    approved = gate.stack.client("codepipeline").list_pipeline_executions(pipelineName=gate.stack.pipeline)
    done = next(e for e in approved["pipelineExecutionSummaries"] if e["status"] == "Succeeded")
    stolen = json.loads(gate.release(done["pipelineExecutionId"])["input"])
    copied = gate.start(stolen, "copied")
    assert copied["error"] == "EcsRelease.REJECTED"
    assert "Deploy action is not running" in copied["cause"]
    assert gate.live() == before


def test_a_rollback_by_hand_stays_possible_and_is_recorded(gate: Gate) -> None:
    answer = gate.start({"version": 1, "mode": "rollback"}, "back-by-hand")
    assert answer["status"] == "SUCCEEDED", answer
    record, _ = gate.stack.release_record("back-by-hand")
    assert record is not None
    assert record.mode == "rollback"
    assert gate.live_image() == f"{REPOSITORY}:1.1"


def test_a_plan_without_changes_says_so_and_approving_it_writes_nothing(gate: Gate) -> None:
    gate.stack.aws.reset()
    execution = gate.push("1.1")
    assert "1 unchanged, 0 blocked; nothing to change" in gate.shown(execution)["CustomData"]
    gate.decide(execution, "Approved")
    assert gate.status(execution) == "Succeeded"
    assert json.loads(gate.release(execution)["output"])["status"] == "NO_CHANGE"
    assert set(gate.writes().values()) == {0}


def test_the_plan_command_only_reads(gate: Gate, tmp_path: Path) -> None:
    item = {"service": "api", "clusterName": CLUSTER, "serviceName": "api", "image": f"{REPOSITORY}:1.6"}
    manifest = tmp_path / "deployment.yaml"
    manifest.write_text(yaml.safe_dump({"services": [item]}), encoding="utf-8")
    page = tmp_path / "plan.html"
    gate.stack.aws.reset()
    command = [sys.executable, "-m", "ecs_release", "plan", str(manifest), "--json", "--html", str(page)]
    environment = {
        **os.environ,
        **gate.stack.aws.environment(),
        "ECS_RELEASE_STATE_MACHINE_ARN": gate.stack.state_machine,
        "PYTHONPATH": str(Path(__file__).parents[2] / "lambda_src"),
    }
    answer = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert answer.returncode == 3, answer.stderr
    plan = json.loads(answer.stdout)
    assert plan["counts"] == {"update": 1, "unchanged": 0, "blocked": 0}
    assert plan["items"][0]["images"]["api"]["to"] == f"{REPOSITORY}:1.6"
    assert "<b>api</b>" in page.read_text(encoding="utf-8")
    reading = ("Describe", "List", "Get", "BatchGet", "Query", "Simulate", "AssumeRole")
    writing = [
        operation for operation in gate.stack.aws.calls() if not operation.split(":")[1].startswith(reading)
    ]
    assert writing == []
