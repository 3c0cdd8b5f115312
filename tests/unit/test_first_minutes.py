"""The minutes after a bucket's versioning was first switched on, when S3 may answer 404 for objects that are there.

https://docs.aws.amazon.com/AmazonS3/latest/userguide/manage-versioning-examples.html
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from ecs_release.errors import ManifestInvalidError, ObjectNotThereYetError
from ecs_release.plan import request as request_module

ROOT = Path(__file__).resolve().parents[2]
OBJECTS = ROOT / "modules" / "pipeline" / "objects.py"
MANIFEST = json.dumps(
    {"services": [{"service": "a", "clusterName": "c", "serviceName": "a", "image": "r/a:1"}]}
).encode()
INPUT = {
    "version": 1,
    "mode": "deploy",
    "manifest": {
        "bucket": "b",
        "key": "manifests/1/deployment.json",
        "versionId": "v1",
        "sha256": hashlib.sha256(MANIFEST).hexdigest(),
    },
}


class Clock:
    """Time that passes by sleeping alone."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        monkeypatch.setattr(time, "monotonic", lambda: self.now)
        monkeypatch.setattr(time, "sleep", self.sleep)

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


# --- the functions ---------------------------------------------------------------------------------------------


def error(code: str, status: int) -> ClientError:
    return ClientError(
        {"Error": {"Code": code, "Message": "no"}, "ResponseMetadata": {"HTTPStatusCode": status}},  # type: ignore[typeddict-item]
        "GetObject",
    )


class S3:
    """Answers with an error until a moment, then with the manifest."""

    def __init__(self, fails: ClientError, until: float, clock: Clock) -> None:
        self.fails, self.until, self.clock = fails, until, clock
        self.asked: list[dict[str, str]] = []

    def get_object(self, **wanted: str) -> Any:
        self.asked.append(wanted)
        if self.clock.now < self.until:
            raise self.fails
        return {"Body": io.BytesIO(MANIFEST)}


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch, clock: Clock) -> Callable[..., S3]:
    def read(fails: ClientError, until: float, patience: float = 150) -> S3:
        s3 = S3(fails, until, clock)
        monkeypatch.setattr(request_module, "own_client", lambda _: s3)
        request = request_module.read_request(INPUT, patience=patience)
        assert request.manifest is not None
        return s3

    return read


@pytest.mark.parametrize("code", ["NoSuchKey", "NoSuchVersion"])
def test_a_manifest_that_s3_does_not_show_yet_is_looked_for_again(
    code: str, read: Callable[..., S3], clock: Clock
) -> None:
    s3 = read(error(code, 404), until=60)
    assert 60 <= clock.now <= 75
    assert len(s3.asked) < 12
    assert {entry["VersionId"] for entry in s3.asked} == {"v1"}


def test_one_that_s3_does_not_show_for_long_is_passing_trouble_and_no_refusal(
    read: Callable[..., S3], clock: Clock
) -> None:
    with pytest.raises(ObjectNotThereYetError, match="release the change again"):
        read(error("NoSuchVersion", 404), until=float("inf"), patience=100)
    assert 85 <= clock.now <= 100


def test_the_machine_looks_again_for_a_quarter_of_an_hour() -> None:
    """Parse is run again for what its Retry does not name as final; AWS names 15 minutes."""
    rules = json.loads((ROOT / "statemachine" / "retry.json").read_text(encoding="utf-8"))
    final = {name for rule in rules if rule["MaxAttempts"] == 0 for name in rule["ErrorEquals"]}
    (last,) = [rule for rule in rules if rule["ErrorEquals"] == ["States.ALL"]]
    assert ObjectNotThereYetError.__name__ not in final
    assert (last["MaxAttempts"] + 1) * request_module.OBJECT_WAIT_SECONDS >= 15 * 60


@pytest.mark.parametrize(("code", "status"), [("AccessDenied", 403), ("NoSuchBucket", 404)])
def test_another_refusal_is_one_at_once(
    code: str, status: int, read: Callable[..., S3], clock: Clock
) -> None:
    with pytest.raises(ManifestInvalidError, match=code):
        read(error(code, status), until=float("inf"))
    assert clock.now == 0


@pytest.mark.parametrize(
    ("code", "status"),
    [("SlowDown", 503), ("InternalError", 500), ("ThrottlingException", 400), ("ExpiredToken", 400)],
)
def test_a_busy_s3_says_nothing_about_the_manifest(code: str, status: int, read: Callable[..., S3]) -> None:
    with pytest.raises(ClientError, match=code):
        read(error(code, status), until=float("inf"))


# --- the build -------------------------------------------------------------------------------------------------


class Build:
    """Runs modules/pipeline/objects.py as the build does, with an ``aws`` of the test's own."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, clock: Clock) -> None:
        self.clock = clock
        self.commands: list[list[str]] = []
        self.answer: Callable[[], tuple[int, str, str]] = lambda: (0, "v1\n", "")
        self._monkeypatch = monkeypatch
        monkeypatch.setenv("ARTIFACT_BUCKET", "b")
        monkeypatch.setattr(subprocess, "run", self._aws)

    def _aws(self, command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        self.commands.append(command)
        status, out, err = self.answer()
        return subprocess.CompletedProcess(command, status, out, err)

    def run(self, *arguments: str) -> None:
        self._monkeypatch.setattr("sys.argv", ["-c", *arguments])
        exec(compile(OBJECTS.read_text(encoding="utf-8"), str(OBJECTS), "exec"), {})

    def missing_until(self, until: float, code: str = "NoSuchKey") -> None:
        text = f"An error occurred ({code}) when calling the GetObject operation: no.\n"
        self.answer = lambda: (0, "v1\n", "") if self.clock.now >= until else (254, "", text)


@pytest.fixture
def build(monkeypatch: pytest.MonkeyPatch, clock: Clock) -> Build:
    return Build(monkeypatch, clock)


@pytest.mark.parametrize("code", ["NoSuchKey", "NoSuchVersion"])
def test_the_build_looks_again_for_the_package_and_says_so(
    code: str, build: Build, capsys: pytest.CaptureFixture[str]
) -> None:
    build.missing_until(45, code)
    build.run("get-object", "package/1.zip", "here.zip")
    assert 45 <= build.clock.now <= 60
    lines = re.findall(r"s3://b/package/1\.zip yet; again in \d+ s, for \d+ s more", capsys.readouterr().err)
    assert len(lines) == len(build.commands) - 1 > 3
    options = ["--bucket", "b", "--key", "package/1.zip", "--query", "VersionId", "--output", "text"]
    assert build.commands[0] == ["aws", "s3api", "get-object", *options, "here.zip"]


def test_a_package_that_stays_missing_fails_the_build(build: Build) -> None:
    build.missing_until(float("inf"))
    with pytest.raises(SystemExit, match="release the change again"):
        build.run("get-object", "package/1.zip", "here.zip")
    assert 225 <= build.clock.now <= 240


@pytest.mark.parametrize("verb", ["get-object", "put-object"])
def test_another_answer_fails_the_build_at_once(
    verb: str, build: Build, capsys: pytest.CaptureFixture[str]
) -> None:
    build.missing_until(float("inf"), "AccessDenied")
    with pytest.raises(SystemExit, match=f"{verb} of s3://b/k failed\\.$"):
        build.run(verb, "k", "file", "application/json")
    assert (build.clock.now, len(build.commands)) == (0, 1)
    assert "AccessDenied" in capsys.readouterr().err


@pytest.mark.parametrize("none", ["None\n", "null\n", "\n"])
def test_what_was_put_without_a_version_is_put_again(
    none: str, build: Build, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without its version the manifest could be exchanged between validation and release."""
    build.answer = lambda: (0, "v2\n" if build.clock.now >= 20 else none, "")
    build.run("put-object", "manifests/1/deployment.json", "deployment.json", "application/json")
    assert capsys.readouterr().out == "v2\n"
    assert build.commands[-1][-4:] == ["--body", "deployment.json", "--content-type", "application/json"]


# --- the apply -------------------------------------------------------------------------------------------------


def test_the_package_is_put_before_versioning_is_switched_on() -> None:
    """The functions are made from it in the same apply, and Terraform does not look twice."""
    text = (ROOT / "modules/pipeline/bucket.tf").read_text(encoding="utf-8")
    blocks = dict(re.findall(r'^resource "(\w+)" "\w+" \{\n(.*?)^\}', text, re.M | re.S))
    assert "aws_s3_bucket_versioning" not in blocks["aws_s3_object"]
    assert "depends_on = [aws_s3_object.package]" in blocks["aws_s3_bucket_versioning"]
