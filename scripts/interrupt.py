"""Ending early in good order: Ctrl-C, SIGTERM, a lost terminal, and a make that was told to stop.

A command that is interrupted still has to stop Terraform and the embedded AWS. So the first signal becomes
:class:`Interrupted`, which runs every ``finally``, and further ones are ignored meanwhile.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_LOOK_SECONDS = 0.5


class Interrupted(BaseException):
    """A signal asked for the end. Its number is the exit status less 128, as shells have it."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number
        self.exit_status = 128 + number


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """Turn the first signal into :class:`Interrupted`, in the main thread."""

    def interrupt(number: int, _: FrameType | None) -> None:
        for each in _SIGNALS:
            signal.signal(each, signal.SIG_IGN)
        raise Interrupted(number)

    before = {number: signal.signal(number, interrupt) for number in _SIGNALS}
    done = threading.Event()
    watcher = threading.Thread(target=_watch_make, args=(done,), name="make", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        done.set()
        for number, handler in before.items():
            signal.signal(number, handler)


def _watch_make(done: threading.Event) -> None:
    """Notice that the parent is gone, or that it is a make with a signal of its own.

    A make that gets SIGINT alone (no terminal's Ctrl-C, which reaches the whole group) waits for its children
    without telling them. It shows in /proc: in the handler, it has given the signal its default action back.
    """
    parent = os.getppid()
    if not _is_make(parent):
        return
    caught = _caught(parent)
    while not done.wait(_LOOK_SECONDS):
        now = _caught(parent)
        if os.getppid() != parent or (caught and now is not None and caught & ~now):
            os.kill(os.getpid(), signal.SIGTERM)
            return


def _is_make(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/comm").read_text().strip() in ("make", "gmake")
    except OSError:
        return False


def _caught(process: int) -> int | None:
    """Which of our signals a process has handlers for, as bits; None where /proc does not tell."""
    try:
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
    except OSError:
        return None
    mask = next((int(line.split()[1], 16) for line in lines if line.startswith("SigCgt:")), None)
    if mask is None:
        return None
    return mask & sum(1 << (number - 1) for number in _SIGNALS)
