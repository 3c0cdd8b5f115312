"""What ``make test`` and ``make prove`` are made of: parts that run side by side, one summary at the end.

What a part prints is shown part by part, in the order they are given; the next one shows at once what it has printed so far.
"""

from __future__ import annotations

import contextlib
import json
import os
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

_STOP_SECONDS = 7.0
_LOOK_SECONDS = 0.2
_SILENCE_SECONDS = 10.0
# Coverage by sys.monitoring, where Python has it: each line costs once. Tracing makes the unit tests take twice as long
# (https://coverage.readthedocs.io/en/latest/config.html#run-core).
_CHEAP = {"COVERAGE_CORE": "sysmon"}
COVERAGE_IS_CHEAP = (3, 12)
PRODUCT = Path("lambda_src/ecs_release")


@dataclass(frozen=True)
class Result:
    """What a part counted, and a line of its own for the summary."""

    passed: int = 0
    failed: int = 0
    skipped: int = 0
    seconds: float = 0.0
    note: str = ""


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


def run(command: str, parts: Mapping[str, Part], at_once: int, timed: str | None = None) -> int:
    """Run the parts of a make command, so many at once, the longest best first; 0 when nothing failed.

    Parameters
    ----------
    timed
        A part that has a time to keep. Until it has ended, only the first of the others runs beside it.
    """
    began = time.monotonic()
    commands = Commands()
    try:
        with interruptible(), work_folder(command) as folder, ThreadPoolExecutor(at_once) as pool:
            try:
                results = _run_all(parts, commands, folder, pool, timed)
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
    for note in filter(None, (result.note for result in results.values())):
        print(note)
    failed = sum(result.failed for result in results.values())
    print(f"{f'make {command}':<32}{time.monotonic() - began:>6.0f} s")
    print(f"{sum(result.passed for result in results.values())} passed, {failed} failed", flush=True)
    return 1 if failed else 0


def _run_all(
    parts: Mapping[str, Part], commands: Commands, folder: Path, pool: ThreadPoolExecutor, timed: str | None
) -> dict[str, Result]:
    others = [name for name in parts if name != timed]
    at_once = threading.Event()
    if timed is None:
        at_once.set()

    def run_one(name: str, own: Path, log: Path) -> Result:
        if name in others[1:]:
            at_once.wait()
        start = time.monotonic()
        try:
            return replace(parts[name](commands, own, log), seconds=time.monotonic() - start)
        finally:
            if name == timed:
                at_once.set()

    running: dict[str, tuple[Path, Future[Result]]] = {}
    for number, name in enumerate([timed, *others] if timed else others):
        own = folder / str(number)
        own.mkdir()
        log = own / "log"
        log.touch()
        running[name] = (log, pool.submit(run_one, name, own, log))
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


def pytest_part(
    suites: Sequence[str],
    env: Mapping[str, str] | None = None,
    python: Path = Path(sys.executable),
    covering: Path | None = None,
) -> Part:
    """Run suites in one process, so that what they share is made once. What hypothesis draws is always the same.

    Parameters
    ----------
    covering : a folder whose lines are counted that the suites run; those that they do not run are listed at the end.
    """

    def part(commands: Commands, folder: Path, log: Path) -> Result:
        report = folder / "pytest.xml"
        options = [
            "-q",
            "--hypothesis-seed=1",
            f"--basetemp={folder / 'pytest'}",
            f"--junitxml={report}",
            "-o",
            "junit_family=xunit2",
        ]
        counted = folder / "coverage.json"
        own = dict(env or {})
        if covering:
            options += ["-p", "scripts.coverage_plugin"]
            own |= {"COVERAGE_OF": str(covering), "COVERAGE_JSON": str(counted), **_CHEAP}
        status = commands.run([str(python), "-m", "pytest", *options, *suites], log, own)
        if not report.exists():
            return Result(failed=1)
        root = ElementTree.parse(report).getroot()  # noqa: S314 (pytest has just written it)

        def count(key: str) -> int:
            return sum(int(suite.get(key, 0)) for suite in root.iter("testsuite"))

        failed, skipped = count("failures") + count("errors"), count("skipped")
        passed = count("tests") - failed - skipped
        note = _coverage(counted, covering) if covering else ""
        return Result(passed, max(failed, int(status != 0)), skipped, note=note)

    return part


def _coverage(counted: Path, covering: Path) -> str:
    """A line for the summary."""
    if not counted.exists():
        return ""
    total = json.loads(counted.read_text())["totals"]
    return (
        f"lines of {covering} run: {total['percent_covered']:.1f} %, {total['covered_lines']:,} of "
        f"{total['num_statements']:,}"
    )


def command_part(*command: str, env: Mapping[str, str] | None = None) -> Part:
    """Run a program that passes when its exit status is 0."""

    def part(commands: Commands, _: Path, log: Path) -> Result:
        status = commands.run(command, log, env)
        return Result(passed=int(status == 0), failed=int(status != 0))

    return part
