"""``python -m scripts.lint_terraform``: lint what Terraform and Step Functions read; 1 when something is wrong.

Checks, each skipped with one line that says so where its tool is not installed, never silently:

- ``terraform fmt -check``, and ``terraform validate`` of the root, every module and every example;
- the rendered state machine through asl-validator, by npx;
- checkov, from a virtual environment of its own (``.venv/checkov``, made at need: it pins an old boto3);
- tflint.

Working files stay in ``.build/``.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import venv
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from scripts.checkout import BUILD, ROOT, VENV, environment, keep_pip_here

CHECKOV = VENV / "checkov"
CHECKOV_REQUIREMENT = "checkov==3.3.30"
ASL_VALIDATOR = "asl-validator@4.0.0"
RETRY_MARKER = "@@retry@@"


class SkippedError(Exception):
    """A check can't run here; the message says what is missing."""


def run(command: list[str], *, env: Mapping[str, str] | None = None, quiet: bool = True) -> bool:
    """Run a command in the repository; show what it said when it fails."""
    done = subprocess.run(command, cwd=ROOT, env=env, check=False, capture_output=quiet, text=True)
    if done.returncode and quiet:
        print(done.stdout + done.stderr, end="")
    return done.returncode == 0


def configurations() -> list[Path]:
    """Give every directory that is a Terraform configuration of its own."""
    return [
        ROOT,
        *sorted(
            path.parent for part in ("modules", "examples") for path in (ROOT / part).glob("*/versions.tf")
        ),
    ]


def check_format() -> bool:
    """Every file as terraform fmt writes it."""
    return run(["terraform", "fmt", "-check", "-diff", "-recursive", "."], env=environment())


def check_validate() -> bool:
    """Every configuration valid by itself."""
    with ThreadPoolExecutor(max_workers=2) as pool:
        return all(list(pool.map(_validate, configurations())))


def _validate(folder: Path) -> bool:
    name = folder.relative_to(ROOT).as_posix()
    data = BUILD / "validate" / ("root" if name == "." else name.replace("/", "-"))
    env = environment() | {"TF_DATA_DIR": str(data)}
    for arguments in (["init", "-backend=false"], ["validate"]):
        if not run(["terraform", f"-chdir={folder}", *arguments, "-no-color"], env=env):
            print(f"  {name}: terraform {arguments[0]} failed, see above")
            return False
    return True


def render_definition() -> dict[str, Any]:
    """Render the state machine as modules/orchestrator does, with made-up ARNs."""
    text = (ROOT / "statemachine" / "release.asl.json").read_text(encoding="utf-8")
    retry = (ROOT / "statemachine" / "retry.json").read_text(encoding="utf-8")
    steps = ("parse", "prepare", "update_task", "update_service", "check_rollouts", "rollback", "report")
    values = {
        f"{step}_arn": f"arn:aws:lambda:us-east-1:111111111111:function:lint-{step.replace('_', '-')}:1"
        for step in steps
    }
    for name, value in {**values, "partition": "aws", "retry": RETRY_MARKER}.items():
        text = text.replace(f"${{{name}}}", value)
    definition: dict[str, Any] = json.loads(text.replace(f'"{RETRY_MARKER}"', retry))
    if "${" in json.dumps(definition):
        raise ValueError(
            "statemachine/release.asl.json has a placeholder that modules/orchestrator does not fill"
        )
    return definition


def check_definition() -> bool:
    """The rendered state machine valid, by a validator that knows the language."""
    try:
        definition = render_definition()
    except ValueError as error:  # JSONDecodeError is one
        print(f"  {error}")
        return False
    if shutil.which("npx") is None:
        raise SkippedError("npx is not installed")
    path = BUILD / "release.rendered.asl.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(definition, indent=2), encoding="utf-8")
    return run(["npx", "--yes", ASL_VALIDATOR, "--json-path", str(path)])


def check_checkov() -> bool:
    """No failed check; every skip has its reason beside the resource."""
    program = CHECKOV / "bin" / "checkov"
    if not program.is_file():
        print(f"  making {CHECKOV.relative_to(ROOT)}", flush=True)
        keep_pip_here()
        venv.create(CHECKOV, with_pip=True)
        if not run([str(CHECKOV / "bin" / "pip"), "install", "--quiet", CHECKOV_REQUIREMENT]):
            raise SkippedError(f"{CHECKOV_REQUIREMENT} could not be installed, see above")
    done = subprocess.run(
        [str(program), "--config-file", ".checkov.yaml", "--output", "json", "--soft-fail"],
        cwd=ROOT,
        env=environment(),  # it keeps a cache in the home directory
        check=False,
        capture_output=True,
        text=True,
    )
    try:
        report = json.loads(done.stdout)
    except ValueError:
        print(done.stdout + done.stderr, end="")
        return False
    for failed in report["results"]["failed_checks"]:
        place = f"{failed['file_path'].lstrip('/')}:{failed['file_line_range'][0]}"
        print(f"  {place} {failed['check_id']} {failed['resource']}: {failed['check_name']}")
    summary = report["summary"]
    if summary["parsing_errors"]:
        # Checkov says nothing of a file it can't read, and counts it as good.
        print(f"  {summary['parsing_errors']} files could not be parsed; LOG_LEVEL=DEBUG checkov names them")
    return not summary["failed"] and not summary["parsing_errors"] and summary["passed"] > 0


def check_tflint() -> bool:
    """The rules of .tflint.hcl."""
    if shutil.which("tflint") is None:
        raise SkippedError("tflint is not installed")
    config = str(ROOT / ".tflint.hcl")
    env = environment()
    return run(["tflint", "--init", "--config", config], env=env) and run(
        ["tflint", "--recursive", "--config", config], env=env
    )


CHECKS: dict[str, Callable[[], bool]] = {
    "terraform fmt": check_format,
    "terraform validate": check_validate,
    "state machine": check_definition,
    "checkov": check_checkov,
    "tflint": check_tflint,
}


def main() -> int:
    """Run all checks; 1 if one failed."""
    failed = False
    skipped = []
    for name, check in CHECKS.items():
        try:
            good = check()
        except SkippedError as reason:
            skipped.append(f"{name}: not run, {reason}")
            continue
        print(f"{name}: {'ok' if good else 'FAILED'}", flush=True)
        failed = failed or not good
    for line in skipped:
        print(line)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
