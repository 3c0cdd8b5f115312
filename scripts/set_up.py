"""``make setup``: a virtual environment in ``.venv`` with what demo, tests and linters need, and Terraform's provider.

Does nothing when nothing has changed since the last time. Needs Python 3.11 or newer, Git and Terraform, and only the
standard library: it runs before anything is installed.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
import venv
from collections.abc import Callable, Mapping
from pathlib import Path

from scripts.checkout import BUILD, ROOT, VENV, environment, keep_pip_here

REQUIREMENTS = ROOT / "requirements-dev.txt"
OLDEST_PYTHON = (3, 11)
OLDEST_TERRAFORM = (1, 9)
_TELL_SECONDS = 3.0


def main(folder: Path = VENV) -> int:
    """Set up, with the Python that runs this and the environment in a folder of the checkout; 0 when everything is there."""
    missing = _missing()
    if missing:
        print("\n".join(["This machine lacks:", *(f"  {line}" for line in missing)]), file=sys.stderr)
        return 1
    temporary = BUILD / "tmp"
    temporary.mkdir(parents=True, exist_ok=True)
    os.environ["TMPDIR"] = str(temporary)  # pip unpacks there, and an interrupted one leaves it so
    keep_pip_here()
    with (BUILD / "set-up.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # `make demo` and `make test` may be started side by side
        stamp, ready = _stamp(), folder / ".ready"
        if ready.exists() and ready.read_text() == stamp:
            return 0
        try:
            _make_virtual_environment(folder)
            _install_requirements(folder)
            _install_command(folder)
            _install_provider()
            shutil.rmtree(temporary, ignore_errors=True)
        except _StepFailedError as error:
            print(error, file=sys.stderr)
            return 1
        ready.write_text(stamp)
    print("setup: ready", flush=True)
    return 0


class _StepFailedError(Exception):
    """A step failed; the text is what it said."""


def _missing() -> list[str]:
    """What has to be installed first, with what to do."""
    missing = []
    if sys.version_info < OLDEST_PYTHON:
        missing.append(
            f"Python 3.11 or newer; this is {sys.version.split()[0]}. Install one, or activate one."
        )
    if shutil.which("git") is None:
        missing.append("Git: https://git-scm.com/downloads")
    where = "Terraform 1.9 or newer: https://developer.hashicorp.com/terraform/install"
    if shutil.which("terraform") is None:
        missing.append(where)
    else:
        said = subprocess.run(
            ["terraform", "version", "-json"], env=environment(), capture_output=True, text=True, check=False
        ).stdout
        version = str(json.loads(said or "{}").get("terraform_version", "0.0"))
        if tuple(map(int, version.split(".")[:2])) < OLDEST_TERRAFORM:
            missing.append(f"{where}; this is {version}")
    return missing


def _stamp() -> str:
    """What the virtual environment was made from."""
    made_from = [REQUIREMENTS.read_bytes(), Path(__file__).read_bytes(), str(ROOT).encode()]
    return hashlib.sha256(b"\0".join(made_from)).hexdigest()


def _make_virtual_environment(folder: Path) -> None:
    python = folder / "bin" / "python"
    works = (
        subprocess.run([python, "-m", "pip", "--version"], capture_output=True, check=False)
        if python.exists()
        else None
    )
    if works is not None and works.returncode == 0 and str(ROOT) in works.stdout.decode():
        return
    print(
        f"setup: virtual environment in {folder.relative_to(ROOT)} (Python {sys.version.split()[0]})",
        flush=True,
    )
    shutil.rmtree(folder, ignore_errors=True)
    try:
        venv.create(folder, with_pip=True)
    except (subprocess.CalledProcessError, OSError) as error:
        shutil.rmtree(folder, ignore_errors=True)
        raise _StepFailedError(
            f"{sys.executable} can't make a virtual environment ({error}). "
            "On Debian and Ubuntu: apt install python3-venv."
        ) from error


def _install_requirements(folder: Path) -> None:
    """Install the pinned requirements."""
    wanted = sum(1 for line in REQUIREMENTS.read_text().splitlines() if re.match(r"[A-Za-z]", line))
    _run(
        [
            *(folder / "bin" / "python", "-m", "pip", "install", "--no-input", "--progress-bar=off"),
            *("--requirement", REQUIREMENTS),
        ],
        os.environ,
        lambda text: (
            f"{len(re.findall('^(?:Collecting|Requirement already)', text, re.M))} of {wanted} Python packages"
        ),
    )


def _install_command(folder: Path) -> None:
    """Put ``ecs_release`` and ``local_aws`` on the path, and the command ``ecs-release`` beside Python."""
    packages = next((folder / "lib").glob("python3.*/site-packages"))
    paths = (ROOT / "lambda_src", ROOT / "tools" / "local_aws")
    (packages / "ecs_release_checkout.pth").write_text("".join(f"{path}\n" for path in paths))
    command = folder / "bin" / "ecs-release"
    command.write_text('#!/bin/sh\nexec "$(dirname "$0")/python" -m ecs_release "$@"\n')
    command.chmod(0o755)


def _install_provider() -> None:
    """Bring Terraform's AWS provider into ``.build``, or find it where the machine has it."""
    example = ROOT / "examples" / "local"
    _run(
        ["terraform", f"-chdir={example}", "init", "-input=false", "-no-color"],
        {**environment(), "TF_DATA_DIR": str(BUILD / "set-up-terraform")},
        lambda _: "Terraform's AWS provider",
    )


def _run(command: list[str | Path], env: Mapping[str, str], progress: Callable[[str], str]) -> None:
    """Run a command to its end and tell from time to time how far it is."""
    log = BUILD / "set-up.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=dict(env),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    began = told = time.monotonic()
    try:
        while process.poll() is None:
            time.sleep(0.1)
            if time.monotonic() - told >= _TELL_SECONDS:
                told = time.monotonic()
                text = log.read_text(errors="replace")
                print(f"setup: {progress(text)}, {told - began:.0f} s", flush=True)
    except BaseException:
        process.kill()
        process.wait()
        raise
    if process.returncode:
        said = log.read_text(errors="replace").strip()
        raise _StepFailedError(f"{' '.join(map(str, command))} failed:\n{said[-3000:]}")


if __name__ == "__main__":
    try:
        sys.exit(main(*map(Path, sys.argv[1:])))
    except KeyboardInterrupt:
        sys.exit(130)
