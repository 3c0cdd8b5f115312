"""Child processes that can't outlive the server, not even when it is killed.

Each child leads its own process group, which is killed as a whole. It also holds the reading end of a pipe
whose writing end only the server has: when the server is gone, the pipe ends, and the leash in the child kills
the group. (Linux's parent-death signal follows the *thread* that started the child; here that ends with a request.)
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO

from local_aws.kernel.leash import HELD_BACK

LEASH = Path(__file__).with_name("leash.py")


@contextlib.contextmanager
def undisturbed() -> Iterator[None]:
    """No signal comes between the start of a process and its being known to whoever is to end it; it comes right after.

    What is started begins with these signals held back, so it calls :func:`let_signals_through`.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, HELD_BACK)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class Child:
    """A running process group."""

    def __init__(self, popen: subprocess.Popen[bytes], owner: Processes) -> None:
        self.popen = popen
        self.pid = popen.pid
        self._owner = owner

    def kill(self) -> None:
        """Kill the whole group and reap its leader."""
        self.send_kill()
        self.wait()

    def send_kill(self) -> None:
        """Kill the whole group, without a wait for its end."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)

    def halt(self) -> None:
        """Stop the whole group; it runs no further, and can only be killed."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGSTOP)

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the leader's end; the exit status as subprocess gives it."""
        status = self.popen.wait(timeout)
        if self.popen.stdin:
            with contextlib.suppress(OSError):
                self.popen.stdin.close()
        self._owner.forget(self)
        return status

    @property
    def running(self) -> bool:
        return self.popen.poll() is None


class Processes:
    """All children of the server."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._children: set[Child] = set()
        self._closed = False

    def start(
        self,
        command: Sequence[str],
        *,
        env: Mapping[str, str],
        cwd: Path | str | None = None,
        output: IO[bytes] | int | None = None,
        leashed: bool = False,
    ) -> Child:
        """Start a command on a leash; its standard input is empty, stdout and stderr go to ``output``.

        A command that is ``leashed`` watches the pipe on its standard input itself.
        """
        with undisturbed(), self._lock:
            if self._closed:
                raise RuntimeError("the server is shutting down; it starts no more processes")
            popen = subprocess.Popen(
                command if leashed else [sys.executable, "-S", "-E", str(LEASH), *command],
                env=dict(env),
                cwd=cwd,
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL if output is None else output,
                stderr=subprocess.DEVNULL if output is None else subprocess.STDOUT,
                start_new_session=True,
            )
            child = Child(popen, self)
            self._children.add(child)
        return child

    def forget(self, child: Child) -> None:
        with self._lock:
            self._children.discard(child)

    def close(self) -> None:
        """Kill every child; none can be started afterwards."""
        with self._lock:
            self._closed = True
            children = list(self._children)
        for child in children:
            child.send_kill()
        for child in children:  # they end side by side
            child.wait()
