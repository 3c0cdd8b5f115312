"""``make test``: the committed package, the Terraform tests and every pytest suite, two at a time, one summary at the end.

What a part prints is shown part by part, in the order below; the next one shows at once what it has printed so far.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from xml.etree import ElementTree

from scripts.checkout import ROOT, work_folder
from scripts.interrupt import Interrupted, interruptible

HEAVY = ("tests/local/test_many.py", "tests/local/test_killed_workers.py")
# Longest first. Suites that apply the module do so once each, to a server of their own. Much of their time is waiting for
# rollouts and leases, so there are more at once than cores.
SUITES = {
    "tests/faults": ("tests/faults",),
    "tests/local": ("tests/local", "--ignore=tests/local/contract", *(f"--ignore={one}" for one in HEAVY)),
    "tests/local at scale, killed": HEAVY,
    "tests/local/contract": ("tests/local/contract",),
    "tests/unit, attacks, statemachine": ("tests/unit", "tests/attacks", "tests/statemachine"),
}
_AT_ONCE = 3
_STOP_SECONDS = 20.0
_LOOK_SECONDS = 0.2
_SILENCE_SECONDS = 10.0


@dataclass(frozen=True)
class Result:
    """What a part counted."""

    passed: int = 0
    failed: int = 0
    skipped: int = 0
    seconds: float = 0.0


class Commands:
    """The programs of all parts; none outlives this process's interruption."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: set[subprocess.Popen[bytes]] = set()
        self._stopped = False

    def run(self, command: Sequence[str], log: Path, env: Mapping[str, str] | None = None) -> int:
        """Run a command to its end with what it says appended to a log; its exit status."""
        with log.open("ab") as output, self._lock:
            if self._stopped:
                return 1
            process = subprocess.Popen(
                command,
                cwd=ROOT,
                env={**os.environ, **(env or {})},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            self._running.add(process)
        status = process.wait()
        with self._lock:
            self._running.discard(process)
        return status

    def stop(self) -> None:
        """Give every command SIGINT and time to clean up after itself, then kill it."""
        with self._lock:
            self._stopped = True
            running = list(self._running)
        for process in running:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGINT)
        deadline = time.monotonic() + _STOP_SECONDS
        for process in running:
            try:
                process.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)


Part = Callable[[Commands, Path, Path], Result]
"""Takes commands, a folder for its files and its log."""


def main() -> int:
    """Run everything; 0 when nothing failed."""
    began = time.monotonic()
    commands = Commands()
    parts: dict[str, Part] = {}
    for name, suites in SUITES.items():
        parts[name] = _pytest(suites)
    parts |= {"terraform test": _terraform, "package": _package}
    try:
        with interruptible(), work_folder("test") as folder, ThreadPoolExecutor(_AT_ONCE) as pool:
            try:
                results = _run_all(parts, commands, folder, pool)
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                commands.stop()
                raise
    except Interrupted as interrupted:
        print(f"\nInterrupted ({interrupted}); everything was stopped.", flush=True)
        return interrupted.exit_status
    print("\n" + "-" * 78)
    for name, result in results.items():
        skipped = f", {result.skipped} skipped (see above)" if result.skipped else ""
        print(f"{name:<32}{result.passed:>6} passed, {result.failed} failed{skipped}  {result.seconds:.0f} s")
    failed = sum(result.failed for result in results.values())
    print(f"{'make test':<32}{time.monotonic() - began:>6.0f} s")
    print(f"{sum(result.passed for result in results.values())} passed, {failed} failed", flush=True)
    return 1 if failed else 0


def _run_all(
    parts: Mapping[str, Part], commands: Commands, folder: Path, pool: ThreadPoolExecutor
) -> dict[str, Result]:
    def timed(part: Part, own: Path, log: Path) -> Result:
        start = time.monotonic()
        return replace(part(commands, own, log), seconds=time.monotonic() - start)

    running: dict[str, tuple[Path, Future[Result]]] = {}
    for number, (name, part) in enumerate(parts.items()):
        own = folder / str(number)
        own.mkdir()
        log = own / "log"
        log.touch()
        running[name] = (log, pool.submit(timed, part, own, log))
    return {name: _show(name, log, future) for name, (log, future) in running.items()}


def _show(name: str, log: Path, future: Future[Result]) -> Result:
    """Show what a part says until it has ended."""
    print(f"\n== {name}", flush=True)
    began = last = time.monotonic()
    line_ended = True
    with log.open("rb") as said:
        while True:
            ended = future.done()
            piece = said.read()
            if piece:
                sys.stdout.buffer.write(piece)
                sys.stdout.flush()
                line_ended = piece.endswith(b"\n")
                last = time.monotonic()
            elif ended:
                return future.result()
            elif line_ended and time.monotonic() - last > _SILENCE_SECONDS:
                last = time.monotonic()
                print(f"   {last - began:.0f} s", flush=True)
            time.sleep(0 if ended else _LOOK_SECONDS)


def _pytest(suites: Sequence[str]) -> Part:
    """Run suites in one process, so that what they share is made once."""

    def part(commands: Commands, folder: Path, log: Path) -> Result:
        report = folder / "pytest.xml"
        options = [
            "-q",
            f"--basetemp={folder / 'pytest'}",
            f"--junitxml={report}",
            "-o",
            "junit_family=xunit2",
        ]
        status = commands.run([sys.executable, "-m", "pytest", *options, *suites], log)
        if not report.exists():
            return Result(failed=1)
        root = ElementTree.parse(report).getroot()  # noqa: S314 (pytest has just written it)

        def count(key: str) -> int:
            return sum(int(suite.get(key, 0)) for suite in root.iter("testsuite"))

        failed, skipped = count("failures") + count("errors"), count("skipped")
        return Result(count("tests") - failed - skipped, max(failed, int(status != 0)), skipped)

    return part


def _terraform(commands: Commands, folder: Path, log: Path) -> Result:
    """Run the Terraform tests, with a mocked provider."""
    env = {"TF_DATA_DIR": str(folder / "terraform")}
    directory = "-test-directory=tests/terraform"
    init_log = folder / "init.log"
    if commands.run(["terraform", "init", "-input=false", "-no-color", directory], init_log, env):
        log.write_bytes(init_log.read_bytes())
        return Result(failed=1)
    status = commands.run(["terraform", "test", "-no-color", directory], log, env)
    counted = re.search(r"(\d+) passed, (\d+) failed(?:, (\d+) skipped)?", log.read_text(errors="replace"))
    if counted is None:
        return Result(failed=1)
    passed, failed, skipped = (int(number or 0) for number in counted.groups())
    return Result(passed, max(failed, int(status != 0)), skipped)


def _package(commands: Commands, _: Path, log: Path) -> Result:
    """Check that the committed package is what the sources build."""
    status = commands.run([sys.executable, "scripts/package.py", "--check"], log)
    return Result(passed=int(status == 0), failed=int(status != 0))


if __name__ == "__main__":
    sys.exit(main())
