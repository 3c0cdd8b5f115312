"""``make local-down``: destroy what ``make local-up`` applied, and stop its embedded AWS."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

from local_aws.client import LocalAws

from scripts.checkout import ROOT, work_folder
from scripts.interrupt import Interrupted, interruptible
from scripts.screen import Screen
from scripts.terraform import Terraform, TerraformError

LOCAL = ROOT / ".local"
PROCESS = LOCAL / "process.json"
VARIABLES = LOCAL / "variables.json"
_STOP_SECONDS = 3.0
_ANSWER_SECONDS = 60.0  # for hangs: a server that works for others on a busy machine answers late


def main() -> int:
    """Take it down; 0 when nothing runs any more, also when nothing did before."""
    screen = Screen()
    status = 0
    aws = running_server()
    if aws is None and not PROCESS.exists():
        screen.line("Embedded AWS does not run.")
        clear()
        return 0
    try:
        with interruptible(), work_folder("local-down"):
            if aws is not None:
                _destroy(aws, screen)
    except TerraformError as error:
        # What is not destroyed lives in the server's memory and goes with it.
        screen.line(str(error), "red")
        status = 1
    except Interrupted as interrupted:
        status = interrupted.exit_status
    stop_server()
    clear()
    screen.line(f"Embedded AWS is stopped ({screen.seconds:.0f} s).")
    return status


def _destroy(aws: LocalAws, screen: Screen) -> None:
    settings = json.loads(VARIABLES.read_text()) if VARIABLES.exists() else []
    terraform = Terraform(LOCAL, aws.environment(), settings, screen.progress)
    if terraform.state.exists():
        terraform.destroy()


def running_server() -> LocalAws | None:
    """The server that local-up started, if it answers on its port."""
    process = _process()
    if process is None or not _is_ours(process["pid"]):
        return None
    aws = LocalAws(f"http://127.0.0.1:{process['port']}")
    try:
        with urllib.request.urlopen(f"{aws.endpoint}/_local/health", timeout=_ANSWER_SECONDS) as answer:  # noqa: S310
            return aws if json.load(answer)["port"] == process["port"] else None
    except (OSError, ValueError, KeyError):
        return None


def stop_server() -> None:
    """End the server that local-up started, and with it its Lambda workers; harmless when it has ended."""
    process = _process()
    if process is None:
        return
    pid = process["pid"]
    deadline = time.monotonic() + _STOP_SECONDS
    with contextlib.suppress(ProcessLookupError):
        while _is_ours(pid):
            overdue = time.monotonic() > deadline
            os.kill(pid, signal.SIGKILL if overdue else signal.SIGTERM)
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)
            time.sleep(0.2)


def clear() -> None:
    """Remove ``.local``."""
    shutil.rmtree(LOCAL, ignore_errors=True)


def _process() -> dict[str, Any] | None:
    try:
        document: dict[str, Any] = json.loads(PROCESS.read_text())
    except (OSError, ValueError):
        return None
    return document


def _is_ours(pid: int) -> bool:
    """Whether a process is a server of this checkout: its number may be somebody else's by now."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return False
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return True  # no /proc, so the number is all there is
    return b"local_aws" in command and str(LOCAL / "aws").encode() in command


if __name__ == "__main__":
    sys.exit(main())
