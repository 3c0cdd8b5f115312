"""Somebody starts the pipeline with a crafted ALLOW_STALE_PLAN, or pushes files that look like something the build uses.

Neither decides what the build runs. The value means yes or no, and where it is something else the build ends.
"""

from __future__ import annotations

import contextlib
import json
import re
import shlex
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from ecs_release.build import main
from ecs_release.plan.document import digest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from local_aws.services import codepipeline

ROOT = Path(__file__).parents[2]
PIPELINE = ROOT / "modules" / "pipeline"
EXECUTION = "11111111-2222-3333-4444-555555555555"
COMMIT = "a" * 40

# What AWS takes as a value: any characters but line breaks, 1 to 1,000 of them.
# https://docs.aws.amazon.com/codepipeline/latest/APIReference/API_PipelineVariable.html
VALUE = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\n"), min_size=1, max_size=200)
FURTHER_VARIABLE = st.builds(
    '{}","type":"PLAINTEXT"}},{{"name":"{}","type":"PLAINTEXT","value":"{}'.format,
    st.sampled_from(["yes", "no"]),
    st.sampled_from(
        ["PACKAGE_KEY", "PACKAGE_SHA256", "BASH_ENV", "PYTHONPATH", "MANIFEST_FILE", "AWS_CONFIG_FILE"]
    ),
    st.from_regex(r"[A-Za-z0-9/._-]{1,20}", fullmatch=True),
)
CLOSE_TO_YES = st.sampled_from(
    [
        "YES",
        "Yes",
        "true",
        "1",
        "on",
        "y",
        " yes",
        "yes ",
        "yes\t",
        "yes\x00",
        "nо",
        "yes; id",
        "$(id)",
        "`id`",
    ]
)
CRAFTED = st.one_of(VALUE, FURTHER_VARIABLE, CLOSE_TO_YES)


# --- the texts that CodePipeline fills in and then reads as JSON


def environment_variables() -> str:
    """``EnvironmentVariables`` of the Build action, as modules/pipeline/main.tf makes it with every option on."""
    text = (PIPELINE / "main.tf").read_text(encoding="utf-8")
    block = text[text.index("EnvironmentVariables = jsonencode(") :]
    block = block[: block.index("  stage {")] if "  stage {" in block else block
    entries = re.findall(r'\{ name = "(\w+)", type = "(\w+)", value = "([^"]*)" \}', block)
    assert entries
    return json.dumps([{"name": name, "type": kind, "value": value} for name, kind, value in entries])


@given(CRAFTED)
@example('no"},{"name":"BASH_ENV","type":"PLAINTEXT","value":"/codebuild/output/src/evil.sh')
@settings(max_examples=200, deadline=None, derandomize=True)
def test_a_crafted_value_defines_no_variable_of_the_build(value: str) -> None:
    namespaces = {
        "SourceVariables": {"CommitId": COMMIT},
        "codepipeline": {"PipelineExecutionId": EXECUTION},
        "variables": {"ALLOW_STALE_PLAN": value},
    }
    resolved = json.loads(codepipeline._resolve(environment_variables(), namespaces))
    assert {entry["name"]: entry["value"] for entry in resolved} == {
        "COMMIT_ID": COMMIT,
        "PIPELINE_EXECUTION_ID": EXECUTION,
    }


# --- the build's commands


def build_commands() -> list[str]:
    """The commands of modules/pipeline/build.tf, with approval on, as CodeBuild gets them; the author is nobody's."""
    own = [
        'cd "$(mktemp -d)"',
        'export OBJECTS="$PWD/objects.py"',
        f"printf %s '{(PIPELINE / 'objects.py').read_text(encoding='utf-8')}' > \"$OBJECTS\"",
        'export AUTHOR=""',
    ]
    terraform = (PIPELINE / "build.tf").read_text(encoding="utf-8")
    assert all(command.partition("'")[0].replace('"', '\\"') in terraform for command in own)
    files = [(PIPELINE / "commands" / f"{name}.sh") for name in ("validate", "plan", "hand_over")]
    lines = [line for file in files for line in file.read_text(encoding="utf-8").splitlines()]
    return [*own, *(line for line in lines if line and not line.startswith("#"))]


MANIFEST = {
    "services": [{"service": "api", "clusterName": "c", "serviceName": "api", "image": "shop/api:1.1"}]
}
ITEM: dict[str, Any] = {
    "kind": "service",
    "name": "c/api",
    "target": "default",
    "targetId": None,
    "targets": None,
    "wave": 0,
    "action": "update",
    "images": {"api": {"from": "shop/api:1.0", "to": "shop/api:1.1"}},
    "live": "arn:aws:ecs:eu-west-1:111111111111:task-definition/api:7",
    "before": "",
    "warnings": [],
    "problems": [],
}
PLAN = {
    "digest": digest([ITEM], "rollback"),
    "release": None,
    "onFailure": "rollback",
    "counts": {"update": 1, "unchanged": 0, "blocked": 0},
    "estimateSeconds": 60,
    "wayBack": True,
    "warnings": [],
    "items": [ITEM],
}

AWS = """#!{python} -I
import json, pathlib, shutil, sys
given = sys.argv[1:]
state = pathlib.Path({state!r})
if given[:2] == ["s3api", "get-object"]:
    shutil.copy(state / "package.zip", given[-1])
elif given[:2] == ["s3api", "put-object"]:
    body = pathlib.Path(given[given.index("--body") + 1])
    shutil.copy(body, state / ("stored-" + body.name))
    print("version-1")
elif given[:2] == ["codepipeline", "get-pipeline-execution"]:
    print((state / "execution.json").read_text())
elif given[:2] == ["lambda", "invoke"]:
    pathlib.Path(given[-1]).write_text((state / "plan.json").read_text())
    print(json.dumps({{"StatusCode": 200}}))
else:
    sys.exit("unknown: " + repr(given))
"""

# pyenv's python3, which the images of CodeBuild have: the nearest .python-version says which Python runs, as a path to it.
PYTHON3 = """#!/bin/bash
folder="$PWD"
while true; do
  test -e "$folder/.python-version" && exec "{versions}/$(cat "$folder/.python-version")/bin/python3" "$@"
  test "$folder" = / && break
  folder="$(dirname "$folder")"
done
exec {python} "$@"
"""


@dataclass(frozen=True)
class Built:
    """What a build left behind."""

    status: int
    output: str
    exported: dict[str, str]
    artifact: dict[str, Any] | None


class Build:
    """The build in a shell of this machine, with an ``aws`` that knows the five calls."""

    def __init__(self, folder: Path, package: Path) -> None:
        self.checkout = folder / "src"
        self.owned = folder / "owned"
        self.victim = folder / "victim"
        self._state, self._bin, self._tmp = folder / "state", folder / "bin", folder / "tmp"
        for one in (self.checkout, self._state, self._bin, self._tmp):
            one.mkdir()
        self.victim.write_text("as it was")
        (self.checkout / "deployment.yaml").write_text(yaml.safe_dump(MANIFEST))
        (self._state / "package.zip").write_bytes(package.read_bytes())
        (self._state / "plan.json").write_text(json.dumps(PLAN))
        self._program("aws", AWS.format(python=sys.executable, state=str(self._state)))
        self._program("python3", PYTHON3.format(python=sys.executable, versions=folder / "versions"))
        (folder / "versions").mkdir()

    def _program(self, name: str, text: str) -> None:
        (self._bin / name).write_text(text)
        (self._bin / name).chmod(0o755)

    def run(self, value: str = "no", **environment: str) -> Built:
        execution = {
            "pipelineExecutionId": EXECUTION,
            "variables": [{"name": "ALLOW_STALE_PLAN", "resolvedValue": value}],
        }
        (self._state / "execution.json").write_text(json.dumps({"pipelineExecution": execution}))
        dump = self._state / "environment"
        script = "set -e\n" + "\n".join(build_commands()) + f"\nenv -0 > {shlex.quote(str(dump))}\n"
        package = subprocess.run(
            ["sha256sum", str(self._state / "package.zip")], capture_output=True, text=True, check=True
        )
        # Only what the build is given: what a variable of this process says must not decide the test.
        given = {
            "PATH": f"{self._bin}:/usr/local/bin:/usr/bin:/bin",
            "HOME": str(self._tmp),
            "TMPDIR": str(self._tmp),
            "LANG": "C.UTF-8",
            "CODEBUILD_SRC_DIR": str(self.checkout),
            "ARTIFACT_BUCKET": "bucket",
            "COMMIT_ID": COMMIT,
            "PIPELINE_EXECUTION_ID": EXECUTION,
            "PIPELINE_NAME": "pipeline",
            "PLAN_FUNCTION": "plan:1",
            "PLAN_SECONDS": "630",
            "MANIFEST_FILE": "deployment.yaml",
            "PACKAGE_KEY": "package/x.zip",
            "PACKAGE_SHA256": package.stdout.split()[0],
            "REPOSITORY_NAME": "deployments",
            "ALLOW_STALE_PLAN": value.replace("\x00", ""),  # as the action's configuration gave it before
            **environment,
        }
        done = subprocess.run(
            ["bash", "--posix", "-c", script],
            cwd=self.checkout,
            env=given,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        exported = {}
        if dump.exists():
            pairs = (entry.partition("=") for entry in dump.read_text().split("\0") if entry)
            exported = {name: text for name, _, text in pairs}
        artifact = self.checkout / "execution-input.json"
        return Built(
            done.returncode,
            done.stdout + done.stderr,
            exported,
            json.loads(artifact.read_text()) if artifact.is_file() else None,
        )


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sources as they are, zipped as the package is."""
    path = tmp_path_factory.mktemp("package") / "package.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.write(ROOT / "lambda_src" / "__main__.py", "__main__.py")
        for directory in (ROOT / "lambda_src" / "ecs_release", Path(yaml.__file__).parent):
            for source in sorted(directory.rglob("*.*")):
                if source.suffix in (".py", ".json", ".css"):
                    archive.write(source, source.relative_to(directory.parent))
    return path


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory, package: Path) -> Built:
    """What a build makes of a checkout that holds the manifest alone."""
    return Build(tmp_path_factory.mktemp("honest"), package).run("yes")


@pytest.fixture
def build(tmp_path: Path, package: Path) -> Build:
    return Build(tmp_path, package)


@pytest.mark.parametrize("value", ["yes", "no"])
def test_yes_is_yes_and_no_is_no_all_the_way(build: Build, value: str) -> None:
    built = build.run(value)
    assert built.status == 0, built.output
    assert built.exported["ALLOW_STALE_PLAN"] == value
    assert built.artifact is not None
    assert built.artifact.get("allowStale", False) is (value == "yes")
    assert ("ATTENTION" in built.exported["PLAN_SUMMARY"]) is (value == "yes")


@pytest.mark.parametrize(
    "value",
    [
        'yes"},{"name":"PACKAGE_KEY","type":"PLAINTEXT","value":"evil',
        "YES",
        "yes; touch owned",
        "yes\nno",
    ],
)
def test_any_other_value_ends_the_build_and_says_what_to_write(build: Build, value: str) -> None:
    built = build.run(value)
    assert built.status != 0
    assert "start the pipeline with yes or no" in built.output
    assert built.artifact is None
    assert not list(build.checkout.parent.rglob("owned"))


@given(CRAFTED)
@example("yes")
@example("no")
@settings(max_examples=100, deadline=None, derandomize=True)
def test_the_value_means_no_more_than_yes_or_no(tmp_path_factory: pytest.TempPathFactory, value: str) -> None:
    folder = tmp_path_factory.mktemp("value")
    variables = [{"name": "ALLOW_STALE_PLAN", "resolvedValue": value}]
    (folder / "pipeline-execution.json").write_text(
        json.dumps({"pipelineExecution": {"variables": variables}})
    )
    answer = folder / "allow-stale.txt"
    with contextlib.chdir(folder):
        assert main(["allow-stale"]) == (0 if value in ("yes", "no") else 1)
    assert (answer.read_text() if answer.exists() else None) == (value if value in ("yes", "no") else None)


# --- files that somebody pushed

OWN = "import pathlib; pathlib.Path({owned!r}).touch(); raise SystemExit('a file of the repository ran in the build')\n"
MODULES = (
    "json",
    "hashlib",
    "pathlib",
    "os",
    "re",
    "yaml",
    "sitecustomize",
    "usercustomize",
    "runpy",
    "encodings",
)
RESULTS = (
    *("deployment.json", "execution-input.json", "plan.json", "plan.html", "summary.txt", "digest.txt"),
    *("invocation.json", "pipeline-execution.json", "allow-stale.txt", "package.zip", "package"),
)


def modules_beside(build: Build) -> dict[str, str]:
    """Python would find them in the current folder, or where PYTHONPATH or the home directory points."""
    for name in (
        *MODULES,
        "ecs_release/__init__",
        "ecs_release/__main__",
        "ecs_release/cli/main",
        "ecs_release/plan/page",
    ):
        path = build.checkout / f"{name}.py"
        path.parent.mkdir(exist_ok=True)
        path.write_text(OWN.format(owned=str(build.owned)))
    return {"PYTHONPATH": str(build.checkout), "PYTHONUSERBASE": str(build.checkout), "PYTHONINSPECT": "1"}


def another_python(build: Build) -> dict[str, str]:
    """pyenv takes the version for a part of a path (CVE-2022-35861), and the checkout's place is known."""
    (build.checkout / ".python-version").write_text("../src/evil\n")
    evil = build.checkout / "evil" / "bin"
    evil.mkdir(parents=True)
    (evil / "python3").write_text(f"#!/bin/sh\ntouch {shlex.quote(str(build.owned))}\n")
    (evil / "python3").chmod(0o755)
    return {}


def links_for_results(build: Build) -> dict[str, str]:
    """What the build writes would land where they point."""
    for name in RESULTS:
        (build.checkout / name).symlink_to(build.victim)
    return {}


def folders_for_results(build: Build) -> dict[str, str]:
    """What the build writes would land in them, or not at all."""
    for name in RESULTS:
        (build.checkout / name).mkdir()
    return {}


def forged_results(build: Build) -> dict[str, str]:
    """They would be taken for what the build made."""
    for name in RESULTS:
        (build.checkout / name).write_text(json.dumps({"forged": True}))
    return {}


@pytest.mark.parametrize(
    "attack", [modules_beside, another_python, links_for_results, folders_for_results, forged_results]
)
def test_what_somebody_pushed_neither_runs_nor_leads_elsewhere(
    build: Build, honest: Built, attack: Callable[[Build], dict[str, str]]
) -> None:
    built = build.run("yes", **attack(build))
    assert not build.owned.exists()
    assert built.status == 0, built.output
    assert build.victim.read_text() == "as it was"
    assert not (build.checkout / "execution-input.json").is_symlink()
    assert honest.artifact is not None
    assert built.artifact == honest.artifact
    for name in ("PLAN_SUMMARY", "PLAN_DIGEST", "MANIFEST_SHA256", "ALLOW_STALE_PLAN"):
        assert built.exported[name] == honest.exported[name]


def test_mistakes_in_the_manifest_are_told_by_the_name_it_has_in_the_repository(build: Build) -> None:
    (build.checkout / "deployment.yaml").write_text("services:\n  - service: api\n")
    built = build.run()
    assert built.status != 0
    assert re.search(r"^E\d+ deployment\.yaml:2:", built.output, re.MULTILINE), built.output


def test_no_command_lets_python_look_for_modules_and_no_quotation_mark_ends_one_early() -> None:
    assert "'" not in (PIPELINE / "objects.py").read_text(encoding="utf-8")
    for command in build_commands():
        assert not re.search(r"python3?\b(?! -I )", re.sub(r"'.*'", "", command, flags=re.S)), command
