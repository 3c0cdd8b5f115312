"""Run a command, and kill its process group when standard input ends: the server that held it is gone.

Started by path, with ``python -S -E leash.py command ...`` or, for a Python module in this very process,
``python -S leash.py -m module arguments ...``.
"""

from __future__ import annotations

import os
import runpy
import signal
import subprocess
import sys
import threading


def _hold(leash: int) -> None:
    while os.read(leash, 1):
        pass
    os.killpg(0, signal.SIGKILL)


def main(arguments: list[str]) -> int:
    """Move the pipe away from standard input, watch it, and become or run what was asked for."""
    leash = os.dup(0)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    threading.Thread(target=_hold, args=(leash,), daemon=True).start()
    if arguments[0] == "-m":
        sys.argv = arguments[1:]
        sys.path[0] = os.getcwd()
        runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
        return 0
    status = subprocess.call(arguments, stdin=subprocess.DEVNULL)
    return status if status >= 0 else 128 - status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
