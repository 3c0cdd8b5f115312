"""Ctrl-C on a busy machine: at any place the demo ends within fifteen seconds and leaves nothing behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from local_aws.client import HANG_SECONDS

from scripts.checkout import ROOT

ENDS_WITHIN = 15.0
PLACES = {
    "while embedded AWS starts": "1. Embedded AWS",
    "while Terraform applies": "terraform apply: ",
    "while a release runs": "UPDATED",
}


@pytest.fixture(scope="module", autouse=True)
def busy() -> Iterator[None]:
    """A program on each core that does nothing but compute, beside whatever else this machine does."""
    loops = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(os.cpu_count() or 2)]
    yield
    for loop in loops:
        loop.kill()
        loop.wait()


def left(folder: Path) -> list[str]:
    """Processes that have a file of this run open, or were started with one."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            environment = (process / "environ").read_bytes().decode(errors="replace")
        except OSError:
            continue
        if str(folder) in command or str(folder) in environment:
            found.append(command)
    return found


@pytest.mark.parametrize("place", PLACES)
def test_the_demo_ends(place: str, tmp_path: Path) -> None:
    before = {entry.name for entry in (ROOT / ".build").iterdir()}
    said = tmp_path / "said"
    with said.open("wb") as output:
        demo = subprocess.Popen(
            [sys.executable, "-m", "scripts.demo"],
            cwd=ROOT,
            stdout=output,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
    try:
        deadline = time.monotonic() + HANG_SECONDS
        while PLACES[place] not in said.read_text():
            assert demo.poll() is None, said.read_text()
            assert time.monotonic() < deadline, said.read_text()
            time.sleep(0.05)
        made = {entry.name for entry in (ROOT / ".build").glob("demo-*")} - before
        os.killpg(demo.pid, signal.SIGINT)
        began = time.monotonic()
        status = demo.wait(HANG_SECONDS)
        took = time.monotonic() - began
    finally:
        demo.kill()
    assert status == 128 + signal.SIGINT, said.read_text()
    assert took < ENDS_WITHIN
    assert {entry.name for entry in (ROOT / ".build").iterdir()} & made == set()
    assert [line for name in made for line in left(ROOT / ".build" / name)] == []
