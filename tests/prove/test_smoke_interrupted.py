"""``make smoke`` that is interrupted in the middle removes what it made, which it asks AWS to confirm."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from local_aws.client import HANG_SECONDS, LocalAws

from scripts.checkout import ROOT

PLACES = {
    "while Terraform applies": ("terraform apply: ", signal.SIGINT),
    "while a release runs": ("Deploy InProgress", signal.SIGTERM),
}


def exists(aws: LocalAws) -> dict[str, list[str]]:
    """What is in the account that a run makes."""
    ecs = aws.client("ecs")
    # a deleted cluster stays in sight for a while, INACTIVE:
    # https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_DeleteCluster.html
    clusters = ecs.describe_clusters(clusters=ecs.list_clusters()["clusterArns"])["clusters"]
    return {
        "clusters": [cluster["clusterName"] for cluster in clusters if cluster["status"] == "ACTIVE"],
        "revisions": ecs.list_task_definitions()["taskDefinitionArns"],
        "machines": [m["name"] for m in aws.client("stepfunctions").list_state_machines()["stateMachines"]],
        "functions": [f["FunctionName"] for f in aws.client("lambda").list_functions()["Functions"]],
        "roles": [role["RoleName"] for role in aws.client("iam").list_roles()["Roles"]],
        "tables": aws.client("dynamodb").list_tables()["TableNames"],
        "buckets": [bucket["Name"] for bucket in aws.client("s3").list_buckets()["Buckets"]],
        "repositories": [
            r["repositoryName"] for r in aws.client("codecommit").list_repositories()["repositories"]
        ],
        "pipelines": [p["name"] for p in aws.client("codepipeline").list_pipelines()["pipelines"]],
        "rules": [rule["Name"] for rule in aws.client("events").list_rules()["Rules"]],
        "schedules": [s["Name"] for s in aws.client("scheduler").list_schedules()["Schedules"]],
        "topics": [topic["TopicArn"] for topic in aws.client("sns").list_topics()["Topics"]],
    }


@pytest.mark.parametrize("place", PLACES)
def test_nothing_is_left(place: str, tmp_path: Path) -> None:
    text, number = PLACES[place]
    with LocalAws.start(state_dir=tmp_path / "aws", log=tmp_path / "log") as aws:
        before = exists(aws)
        said = tmp_path / "said"
        with said.open("wb") as output:
            run = subprocess.Popen(
                [sys.executable, "-m", "scripts.smoke", "--yes"],
                cwd=ROOT,
                env={**os.environ, **aws.environment(), "TF_VARS": "-var poll_seconds=1"},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            deadline = time.monotonic() + HANG_SECONDS
            while text not in said.read_text():
                assert run.poll() is None, said.read_text()
                assert time.monotonic() < deadline, said.read_text()
                time.sleep(0.05)
            os.killpg(run.pid, number)
            assert run.wait(HANG_SECONDS) == 128 + number, said.read_text()
        finally:
            run.kill()
        assert "Everything is removed" in said.read_text()
        assert exists(aws) == before
