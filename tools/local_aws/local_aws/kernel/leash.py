"""Run a command, and kill its process group when standard input ends: the server that held it is gone.

Started by path, as ``python -S -E leash.py command ...``.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading

HELD_BACK = frozenset({signal.SIGINT, signal.SIGTERM, signal.SIGHUP})
"""The signals that are held back while a process is started, so also in what is started."""


def let_signals_through() -> None:
    signal.pthread_sigmask(signal.SIG_UNBLOCK, HELD_BACK)


def _wait(leash: int) -> None:
    while os.read(leash, 1):
        pass
    os.killpg(0, signal.SIGKILL)


def hold() -> None:
    """Put the pipe on standard input aside and watch it; standard input is empty then, and signals come through."""
    let_signals_through()
    leash = os.dup(0)
    os.set_inheritable(leash, False)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    threading.Thread(target=_wait, args=(leash,), daemon=True).start()


def main(command: list[str]) -> int:
    """Run a command to its end; its exit status is this one's."""
    hold()
    status = subprocess.call(command)
    return status if status >= 0 else 128 - status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
