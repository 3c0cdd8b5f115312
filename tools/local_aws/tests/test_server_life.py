"""The server leaves nothing behind."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from functions import Function
from local_aws.client import HANG_SECONDS, LocalAws
from local_aws.kernel.processes import Processes

SLEEPER = "import os, subprocess, time\ndef handler(event, context):\n    return os.getpid()\n"


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return False
        return not Path("/proc/self").exists()
    return state != "Z"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_its_end_is_the_end_of_its_workers(
    number: int, tmp_path: Path, eventually: Callable[..., Any]
) -> None:
    aws = LocalAws.start(state_dir=tmp_path / "state")
    try:
        worker = Function(aws, SLEEPER).invoke({})
        assert alive(worker)
        process = aws._process
        assert process is not None
        process.send_signal(number)
        process.wait(HANG_SECONDS)
        eventually(lambda: not alive(worker))
        with socket.socket() as probe:
            assert probe.connect_ex(("127.0.0.1", aws.port)) != 0
    finally:
        aws.stop()


@pytest.fixture
def interrupted(monkeypatch: pytest.MonkeyPatch) -> list[subprocess.Popen[bytes]]:
    """Ctrl-C comes right after a process has begun, before anybody knows of it; what was started."""
    started: list[subprocess.Popen[bytes]] = []
    popen = subprocess.Popen

    def start(*arguments: Any, **options: Any) -> subprocess.Popen[bytes]:
        started.append(popen(*arguments, **options))
        signal.raise_signal(signal.SIGINT)
        return started[-1]

    monkeypatch.setattr(subprocess, "Popen", start)
    return started


def test_ctrl_c_while_it_is_started_leaves_no_server(interrupted: list[subprocess.Popen[bytes]]) -> None:
    with pytest.raises(KeyboardInterrupt):
        LocalAws.start()
    assert interrupted[0].returncode is not None


def test_ctrl_c_while_a_child_is_started_leaves_no_child(
    interrupted: list[subprocess.Popen[bytes]],
) -> None:
    processes = Processes()
    with pytest.raises(KeyboardInterrupt):
        processes.start(["sleep", "600"], env=os.environ)
    processes.close()
    assert interrupted[0].returncode is not None


def test_without_a_state_directory_no_file_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    with LocalAws.start() as aws:
        aws.client("s3").create_bucket(Bucket="some-bucket")
        Function(aws, SLEEPER).invoke({})
        assert list(tmp_path.iterdir())
    assert list(tmp_path.iterdir()) == []


def test_a_port_that_is_taken_is_said(aws: LocalAws) -> None:
    with pytest.raises(RuntimeError, match="cannot listen"):
        LocalAws.start(port=aws.port)


def test_it_listens_on_the_loopback_address_only(aws: LocalAws) -> None:
    hosts = subprocess.run(["hostname", "-I"], capture_output=True, text=True, check=False).stdout.split()
    for host in (entry for entry in hosts if ":" not in entry):
        with socket.socket() as probe:
            probe.settimeout(1)
            assert probe.connect_ex((host, aws.port)) != 0
