"""What the pipeline's build does with the package: ``python3 -I package compile | input | allow-stale | show | submit``.

``modules/pipeline/commands`` calls them in this order, in an empty folder that nothing pushed lies in. Each reads what the one
before has written there, and the environment that the build has. Needs no boto3, which the build's image may not have.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ecs_release.cli.main import main as command
from ecs_release.plan.document import unpacked
from ecs_release.plan.page import page
from ecs_release.plan.summary import approval_summary

_MANIFEST = Path("deployment.json")
_INPUT = Path("execution-input.json")
_PLAN = Path("plan.json")
_SUMMARY = Path("summary.txt")
_ALLOW_STALE = Path("allow-stale.txt")


def main(arguments: Sequence[str]) -> int:
    """Do one step; its exit status."""
    (step,) = arguments
    return STEPS[step]()


def compile_manifest() -> int:
    """Validate ``MANIFEST_FILE`` of the checkout and write ``deployment.json``."""
    compiled = _MANIFEST.absolute()
    os.chdir(os.environ["CODEBUILD_SRC_DIR"])  # so that messages name the file as the repository does
    return command(["compile", os.environ["MANIFEST_FILE"], "-o", str(compiled)])


def write_input() -> int:
    """Write ``execution-input.json``: where the manifest is, and whose commit it came with."""
    env = os.environ
    source = {
        "commit": env["COMMIT_ID"],
        "author": env["AUTHOR"],
        "pipelineExecutionId": env["PIPELINE_EXECUTION_ID"],
    }
    manifest = _stored(_MANIFEST.read_bytes(), env["MANIFEST_KEY"], env["MANIFEST_VERSION_ID"])
    _write(_INPUT, {"version": 1, "mode": "deploy", "manifest": manifest, "source": source})
    return 0


def read_allow_stale() -> int:
    """Write ``allow-stale.txt``: what ``pipeline-execution.json`` says of ALLOW_STALE_PLAN, yes or no and nothing else."""
    execution = _read(Path("pipeline-execution.json"))["pipelineExecution"]
    variables = execution.get("variables", [])
    values = [one["resolvedValue"] for one in variables if one["name"] == "ALLOW_STALE_PLAN"]
    value = values[0] if values else "no"
    if value not in ("yes", "no"):
        return _stop(f"ALLOW_STALE_PLAN is {json.dumps(value)[:200]}; start the pipeline with yes or no.")
    _ALLOW_STALE.write_text(value, encoding="utf-8")
    return 0


def _allows_stale() -> bool:
    return _ALLOW_STALE.read_text(encoding="utf-8") == "yes"


def show_plan() -> int:
    """Unpack the plan function's answer in ``plan.json``; write ``plan.html`` and ``summary.txt``."""
    answer = _read(_PLAN)
    if _read(Path("invocation.json")).get("FunctionError"):
        return _stop(f"The plan could not be made: {answer.get('errorMessage', answer)}")
    plan = unpacked(answer)
    if plan is not answer:
        _write(_PLAN, plan)
    Path("plan.html").write_text(page(plan), encoding="utf-8")
    _SUMMARY.write_text(approval_summary(plan, _allows_stale()) + "\n", encoding="utf-8")
    return 0


def submit_plan() -> int:
    """Add the plan to ``execution-input.json`` and write ``digest.txt``; stop where it is blocked."""
    body = _PLAN.read_bytes()
    plan = json.loads(body)
    print(_SUMMARY.read_text(encoding="utf-8"))
    problems = [f"{item['name']}: {problem}" for item in plan["items"] for problem in item["problems"]]
    if problems:
        return _stop("\n".join(["Blocked, so there is nothing to approve:", *problems]))
    document = _read(_INPUT)
    document["plan"] = _stored(body, os.environ["PLAN_KEY"], os.environ["PLAN_VERSION_ID"])
    if _allows_stale():
        document["allowStale"] = True
    _write(_INPUT, document)
    Path("digest.txt").write_text(plan["digest"], encoding="utf-8")
    return 0


STEPS: Mapping[str, Callable[[], int]] = {
    "compile": compile_manifest,
    "input": write_input,
    "allow-stale": read_allow_stale,
    "show": show_plan,
    "submit": submit_plan,
}


def _stored(body: bytes, key: str, version: str) -> dict[str, str]:
    """The reference to an object, by which Parse reads it and nothing else."""
    return {
        "bucket": os.environ["ARTIFACT_BUCKET"],
        "key": key,
        "versionId": version,
        "sha256": hashlib.sha256(body).hexdigest(),
    }


def _stop(text: str) -> int:
    print(text, file=sys.stderr)
    return 1


def _read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def _write(path: Path, document: Any) -> None:
    path.write_text(json.dumps(document), encoding="utf-8")
