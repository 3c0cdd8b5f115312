"""AWS CodeBuild: projects are kept as given, builds run the buildspec and say how they failed."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from local_aws.client import HANG_SECONDS, LocalAws
from local_aws.services.codebuild import buildspec
from pipelines import project, unique
from roles import role


def run(aws: LocalAws, spec: str, *, stop: bool = False, **override: Any) -> dict[str, Any]:
    """Run a buildspec in a project without a source, to its end."""
    name = project(
        aws, spec, source={"type": "NO_SOURCE", "buildspec": spec}, artifacts={"type": "NO_ARTIFACTS"}
    )
    client = aws.client("codebuild")
    build = client.start_build(projectName=name, **override)["build"]
    if stop:
        client.stop_build(id=build["id"])
    deadline = time.monotonic() + HANG_SECONDS
    while not build["buildComplete"]:
        assert time.monotonic() < deadline, build
        time.sleep(0.05)
        (build,) = client.batch_get_builds(ids=[build["id"]])["builds"]
    return dict(build)


def phases(build: dict[str, Any]) -> dict[str, str]:
    return {phase["phaseType"]: phase.get("phaseStatus", "") for phase in build["phases"]}


def context(build: dict[str, Any], phase: str) -> dict[str, str]:
    found: dict[str, str] = next(p for p in build["phases"] if p["phaseType"] == phase)["contexts"][0]
    return found


def log(aws: LocalAws, build: dict[str, Any]) -> str:
    events = aws.client("logs").get_log_events(
        logGroupName=build["logs"]["groupName"], logStreamName=build["logs"]["streamName"], startFromHead=True
    )["events"]
    return "".join(event["message"] for event in events)


def test_a_project_keeps_what_it_was_given(aws: LocalAws) -> None:
    client = aws.client("codebuild")
    key = "arn:aws:kms:us-east-1:123456789012:key/11111111-2222-3333-4444-555555555555"
    name = project(aws, "version: 0.2\n", encryptionKey=key, tags=[{"key": "team", "value": "a"}])
    (made,) = client.batch_get_projects(names=[name])["projects"]
    assert made["source"] == {"type": "CODEPIPELINE", "buildspec": "version: 0.2\n"}
    assert made["artifacts"] == {"type": "CODEPIPELINE"}
    assert made["environment"]["computeType"] == "BUILD_LAMBDA_1GB"
    assert (made["encryptionKey"], made["tags"]) == (key, [{"key": "team", "value": "a"}])
    client.update_project(name=name, description="words", timeoutInMinutes=10)
    (changed,) = client.batch_get_projects(names=[name])["projects"]
    assert (changed["description"], changed["timeoutInMinutes"], changed["encryptionKey"]) == (
        "words",
        10,
        key,
    )
    client.delete_project(name=name)
    assert client.batch_get_projects(names=[name]) | {"ResponseMetadata": None} == {
        "projects": [],
        "projectsNotFound": [name],
        "ResponseMetadata": None,
    }


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({"type": "ARM_LAMBDA_CONTAINER", "computeType": "BUILD_GENERAL1_SMALL"}, "compute type"),
        ({"type": "ARM_CONTAINER", "computeType": "BUILD_LAMBDA_1GB"}, "compute type"),
        (
            {"type": "LINUX_LAMBDA_CONTAINER", "computeType": "BUILD_LAMBDA_1GB", "privilegedMode": True},
            "Privileged",
        ),
    ],
)
def test_lambda_compute_has_its_own_types(aws: LocalAws, environment: dict[str, Any], said: str) -> None:
    with pytest.raises(ClientError, match=said):
        project(aws, "version: 0.2\n", environment={"image": "some", **environment})


def test_all_commands_run_in_one_shell_in_a_clean_environment(
    aws: LocalAws, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_DIR", "/nonexistent")
    build = run(
        aws,
        """
version: 0.2
env:
  variables: {FROM_SPEC: spec, BOTH: spec}
  exported-variables: [RESULT, BOTH]
phases:
  install: {commands: [mkdir sub, cd sub]}
  build:
    commands:
      - export RESULT="$(basename "$PWD") $FROM_SPEC"
      - aws sts get-caller-identity --query Arn --output text
      - echo "id $CODEBUILD_BUILD_ID dir ${CODEBUILD_SRC_DIR:+set} git ${GIT_DIR-none}"
      - cat
""",
        environmentVariablesOverride=[{"name": "BOTH", "value": "start", "type": "PLAINTEXT"}],
    )
    said = log(aws, build)
    assert build["buildStatus"] == "SUCCEEDED", said
    assert build["exportedEnvironmentVariables"] == [
        {"name": "RESULT", "value": "sub spec"},
        {"name": "BOTH", "value": "start"},
    ]
    assert ":assumed-role/role-" in said
    assert f"id {build['id']} dir set git none" in said
    assert build["logs"]["groupName"] == f"/aws/codebuild/{build['projectName']}"
    assert build["id"].endswith(build["logs"]["streamName"])
    assert list(phases(build)) == [
        "SUBMITTED",
        "QUEUED",
        "PROVISIONING",
        "DOWNLOAD_SOURCE",
        "INSTALL",
        "PRE_BUILD",
        "BUILD",
        "POST_BUILD",
        "UPLOAD_ARTIFACTS",
        "FINALIZING",
        "COMPLETED",
    ]


def test_a_failing_command_is_named_with_its_exit_status(aws: LocalAws) -> None:
    build = run(
        aws,
        "version: 0.2\nphases:\n  pre_build: {commands: [echo oops >&2; (exit 3), echo never], "
        "finally: [echo last]}\n  build: {commands: [echo no]}\n",
    )
    assert build["buildStatus"] == "FAILED"
    assert context(build, "PRE_BUILD") == {
        "statusCode": "COMMAND_EXECUTION_ERROR",
        "message": "Error while executing command: echo oops >&2; (exit 3). Reason: exit status 3",
    }
    assert "BUILD" not in phases(build)
    said = log(aws, build).splitlines()
    assert "oops" in said
    assert "last" in said
    assert "never" not in said


def test_post_build_follows_a_failed_build(aws: LocalAws) -> None:
    build = run(
        aws,
        "version: 0.2\nphases:\n  build: {commands: [exit 4]}\n"
        '  post_build: {commands: ["echo succeeding $CODEBUILD_BUILD_SUCCEEDING"]}\n',
    )
    assert (phases(build)["BUILD"], phases(build)["POST_BUILD"]) == ("FAILED", "SUCCEEDED")
    assert build["buildStatus"] == "FAILED"
    assert "succeeding 0\n" in log(aws, build)


def test_a_buildspec_that_cannot_be_read_fails_the_download(aws: LocalAws) -> None:
    build = run(aws, "version: 0.2\nphases:\n  build: {commands: ['a': b]}\n")
    assert context(build, "DOWNLOAD_SOURCE")["statusCode"] == "YAML_FILE_ERROR"
    assert build["buildStatus"] == "FAILED"


def test_a_stopped_build_ends_at_once(aws: LocalAws) -> None:
    build = run(aws, "version: 0.2\nphases: {build: {commands: [sleep 3600]}}\n", stop=True)
    assert build["buildStatus"] == "STOPPED"


def test_the_log_group_of_the_project_is_used(aws: LocalAws) -> None:
    group = unique("/own/group")
    spec = "version: 0.2\nphases: {build: {commands: [echo hello]}}\n"
    name = project(
        aws,
        spec,
        source={"type": "NO_SOURCE", "buildspec": spec},
        artifacts={"type": "NO_ARTIFACTS"},
        logsConfig={"cloudWatchLogs": {"status": "ENABLED", "groupName": group, "streamName": "builds"}},
    )
    build = aws.client("codebuild").start_build(projectName=name)["build"]
    assert build["logs"]["groupName"] == group
    assert build["logs"]["streamName"].startswith("builds/")


def test_a_project_of_codepipeline_is_not_started_by_hand(aws: LocalAws) -> None:
    name = project(aws, "version: 0.2\nphases: {build: {commands: [ls]}}\n")
    with pytest.raises(ClientError, match="CodePipeline only"):
        aws.client("codebuild").start_build(projectName=name)


def test_artifacts_are_chosen_by_pattern(tmp_path: Path) -> None:
    for name in ("out/a.json", "out/deep/b.json", "out/c.txt", "other.json"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)

    def names(text: str) -> list[str]:
        import io
        import zipfile

        spec = buildspec.parse(f"version: 0.2\nphases: {{build: {{commands: [ls]}}}}\nartifacts: {text}\n")
        return zipfile.ZipFile(io.BytesIO(spec.artifacts[""].pack(tmp_path))).namelist()

    assert names("{files: ['**/*'], base-directory: out}") == ["a.json", "c.txt", "deep/b.json"]
    assert names("{files: ['out/*.json', other.json]}") == ["out/a.json", "other.json"]
    assert names("{files: ['**/*.json'], exclude-paths: ['out/deep/*']}") == ["other.json", "out/a.json"]
    assert names("{files: ['out/**/*'], discard-paths: yes}") == ["a.json", "c.txt", "b.json"]
    with pytest.raises(buildspec.NoArtifacts, match="no matching artifact paths found"):
        names("{files: [nothing]}")


def test_an_unknown_key_of_a_buildspec_is_refused_by_name() -> None:
    with pytest.raises(buildspec.BuildspecError, match="parameter-store"):
        buildspec.parse("version: 0.2\nenv: {parameter-store: {A: b}}\nphases: {build: {commands: [ls]}}\n")


def test_a_service_role_is_required(aws: LocalAws) -> None:
    assert role(aws, "codebuild.amazonaws.com").startswith("arn:aws:iam::")
    with pytest.raises(ClientError, match="Invalid service role"):
        project(aws, "version: 0.2\n", serviceRole="nobody")
