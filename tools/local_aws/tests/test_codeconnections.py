"""AWS CodeConnections: the handshake, the source action behind a connection, triggers with filters."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from local_aws.client import LocalAws
from pipelines import SUCCEED, Pipeline, WorkingCopy, action, deploy_action, machine, unique

SERVICES = ("codeconnections", "codestar-connections")


def connect(aws: LocalAws, service: str = "codeconnections") -> str:
    made = aws.client(service).create_connection(ProviderType="GitHub", ConnectionName=unique("connection"))
    return str(made["ConnectionArn"])


def source(arn: str, **configuration: str) -> dict[str, Any]:
    configuration = {
        "ConnectionArn": arn,
        "FullRepositoryId": "owner/name",
        "BranchName": "main",
        **configuration,
    }
    return action(
        "Source",
        "CodeStarSourceConnection",
        configuration,
        name="Source",
        outputArtifacts=["source"],
        namespace="Source",
    )


@pytest.mark.parametrize("service", SERVICES)
def test_a_new_connection_is_pending_until_the_handshake(aws: LocalAws, service: str) -> None:
    client = aws.client(service)
    made = client.create_connection(
        ProviderType="GitLab", ConnectionName="mine", Tags=[{"Key": "team", "Value": "a"}]
    )
    arn = made["ConnectionArn"]
    assert arn.startswith(f"arn:aws:{service}:us-east-1:123456789012:connection/")
    found = client.get_connection(ConnectionArn=arn)["Connection"]
    assert (found["ConnectionStatus"], found["ProviderType"], found["ConnectionName"]) == (
        "PENDING",
        "GitLab",
        "mine",
    )
    assert client.list_tags_for_resource(ResourceArn=arn)["Tags"] == [{"Key": "team", "Value": "a"}]
    aws.control("connections", {"arn": arn, "status": "AVAILABLE"})
    assert client.get_connection(ConnectionArn=arn)["Connection"]["ConnectionStatus"] == "AVAILABLE"
    client.delete_connection(ConnectionArn=arn)
    with pytest.raises(ClientError) as gone:
        client.get_connection(ConnectionArn=arn)
    assert gone.value.response["Error"]["Code"] == "ResourceNotFoundException"


def test_a_pending_connection_fails_the_source_and_says_what_to_do(aws: LocalAws) -> None:
    pipeline = Pipeline(aws, source(connect(aws)), deploy_action(machine(aws, SUCCEED)))
    execution = pipeline.executions()[0]["pipelineExecutionId"]
    assert pipeline.ended(execution) == "Failed"
    message = pipeline.error(execution, "Source")["message"]
    assert "PENDING" in message
    assert "handshake" in message


def test_an_available_connection_reads_the_registered_repository(aws: LocalAws, tmp_path: Path) -> None:
    bare = tmp_path / "bare.git"
    subprocess.run(["git", "init", "--quiet", "--bare", "--initial-branch=main", str(bare)], check=True)
    copy = WorkingCopy(str(bare), tmp_path / "copy")
    commit = copy.push({"deployment.yaml": "a: 1"}, "from afar")
    arn = connect(aws)
    aws.control("connections", {"arn": arn, "status": "AVAILABLE", "repository": str(bare)})
    push = [{"branches": {"includes": ["main"]}, "filePaths": {"includes": ["deployment.yaml"]}}]
    trigger = {
        "providerType": "CodeStarSourceConnection",
        "gitConfiguration": {"sourceActionName": "Source", "push": push},
    }
    pipeline = Pipeline(aws, source(arn), deploy_action(machine(aws, SUCCEED)), triggers=[trigger])
    first = pipeline.executions()[0]["pipelineExecutionId"]
    assert pipeline.ended(first) == "Succeeded"
    variables = pipeline.actions(first)["Source"]["output"]["outputVariables"]
    assert (variables["CommitId"], variables["CommitMessage"]) == (commit, "from afar")
    assert variables["FullRepositoryName"] == "owner/name"

    copy.push({"other.txt": "1"})
    assert aws.control("connections", {"arn": arn, "push": True})["Executions"] == []
    copy.push({"deployment.yaml": "a: 2"})
    (second,) = aws.control("connections", {"arn": arn, "push": True})["Executions"]
    assert pipeline.ended(second) == "Succeeded"
    assert pipeline.execution(second)["trigger"]["triggerType"] == "WebhookV2"


def test_an_unknown_connection_is_refused_by_the_control_call(aws: LocalAws) -> None:
    with pytest.raises(ValueError, match="not found"):
        aws.control("connections", {"arn": "arn:aws:codeconnections:us-east-1:123456789012:connection/none"})
