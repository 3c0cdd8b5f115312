"""``make test``: the committed package, the Terraform tests and every pytest suite, one summary at the end."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from scripts.checkout import ROOT, work_folder
from scripts.interrupt import Interrupted, interruptible

SUITES = ("tests/unit", "tests/statemachine", "tests/local", "tests/faults")
_STOP_SECONDS = 20.0


@dataclass(frozen=True)
class Result:
    """What a part counted."""

    name: str
    passed: int = 0
    failed: int = 0
    skipped: int = 0
    seconds: float = 0.0


def main() -> int:
    """Run everything; 0 when nothing failed."""
    began = time.monotonic()
    results: list[Result] = []
    try:
        with interruptible(), work_folder("test") as folder:
            for part in (_package, _terraform, _pytest):
                start = time.monotonic()
                result = part(folder)
                results.append(Result(**{**result.__dict__, "seconds": time.monotonic() - start}))
    except Interrupted as interrupted:
        print(f"\nInterrupted ({interrupted}); everything was stopped.", flush=True)
        return interrupted.exit_status
    print("\n" + "-" * 60)
    for result in results:
        counts = f"{result.passed} passed, {result.failed} failed"
        skipped = f", {result.skipped} skipped (see above)" if result.skipped else ""
        print(f"{result.name:<16}{counts}{skipped}  {result.seconds:.0f} s")
    failed = sum(result.failed for result in results)
    print(f"{'all of it':<16}{time.monotonic() - began:.0f} s")
    print(f"{sum(result.passed for result in results)} passed, {failed} failed", flush=True)
    return 1 if failed else 0


def _package(_folder: Path) -> Result:
    """Check that the committed package is what the sources build."""
    _head("lambda_src/package.zip is what the sources build")
    status, _ = _run([sys.executable, "scripts/package.py", "--check"])
    return Result("package", passed=int(status == 0), failed=int(status != 0))


def _terraform(folder: Path) -> Result:
    """Run the Terraform tests, with a mocked provider."""
    _head("terraform test")
    os.environ["TF_DATA_DIR"] = str(folder / "terraform-tests")
    directory = "-test-directory=tests/terraform"
    status, said = _run(["terraform", "init", "-input=false", "-no-color", directory], quiet=True)
    if status:
        print(said)
        return Result("terraform test", failed=1)
    status, said = _run(["terraform", "test", "-no-color", directory])
    del os.environ["TF_DATA_DIR"]
    counted = re.search(r"(\d+) passed, (\d+) failed(?:, (\d+) skipped)?", said)
    if counted is None:
        return Result("terraform test", failed=1)
    passed, failed, skipped = (int(count or 0) for count in counted.groups())
    return Result("terraform test", passed, max(failed, int(status != 0)), skipped)


def _pytest(folder: Path) -> Result:
    """Run every suite in one process, so that the module is applied once."""
    suites = [suite for suite in SUITES if any((ROOT / suite).rglob("test_*.py"))]
    _head(f"pytest {' '.join(suites)}")
    report = folder / "pytest.xml"
    status, _ = _run(
        [
            *(
                sys.executable,
                "-m",
                "pytest",
                "-q",
                f"--basetemp={folder / 'pytest'}",
                f"--junitxml={report}",
            ),
            *("-o", "junit_family=xunit2", *suites),
        ]
    )
    if not report.exists():
        return Result("pytest", failed=1)
    root = ElementTree.parse(report).getroot()  # noqa: S314 (pytest has just written it)
    counts = {
        key: sum(int(s.get(key, 0)) for s in root.iter("testsuite"))
        for key in ("tests", "failures", "errors", "skipped")
    }
    failed = counts["failures"] + counts["errors"]
    passed = counts["tests"] - failed - counts["skipped"]
    return Result("pytest", passed, max(failed, int(status != 0)), counts["skipped"])


def _head(text: str) -> None:
    print(f"\n== {text}", flush=True)


def _run(command: Sequence[str], *, quiet: bool = False) -> tuple[int, str]:
    """Run a command, showing what it says; its exit status and its output.

    When this process is interrupted, the command gets SIGINT and time to clean up after itself.
    """
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    assert process.stdout is not None  # noqa: S101 (asked for above)
    said = bytearray()
    try:
        while piece := os.read(process.stdout.fileno(), 65536):
            said += piece
            if not quiet:
                sys.stdout.buffer.write(piece)
                sys.stdout.flush()
        return process.wait(), said.decode(errors="replace")
    except BaseException:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        raise


if __name__ == "__main__":
    sys.exit(main())
