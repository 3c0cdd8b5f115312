"""``python -m local_aws --port P [--state-dir D] [--until-eof]``."""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import sys
import tempfile
import threading
from pathlib import Path

from local_aws.kernel.leash import let_signals_through
from local_aws.kernel.models import read_once

with read_once():
    from local_aws.app import create


def main(argv: list[str] | None = None) -> int:
    """Serve until SIGTERM or SIGINT; leave no process and, without ``--state-dir``, no file behind."""
    parser = argparse.ArgumentParser(prog="python -m local_aws", description="Embedded AWS on 127.0.0.1.")
    parser.add_argument("--port", type=int, required=True, help="port to listen on; 0 takes a free one")
    parser.add_argument(
        "--state-dir", type=Path, help="where working files go and stay (default: removed at the end)"
    )
    parser.add_argument(
        "--until-eof",
        action="store_true",
        help="end when standard input ends, that is when whoever started this is gone",
    )
    options = parser.parse_args(argv)
    stop = threading.Event()
    let_signals_through()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    if options.until_eof:
        threading.Thread(target=_wait_for_eof, args=(stop,), name="eof", daemon=True).start()
    own_dir = options.state_dir is None
    state_dir = Path(tempfile.mkdtemp(prefix="local-aws-")) if own_dir else options.state_dir
    try:
        try:
            server = create(options.port, state_dir)
        except OSError as error:
            print(f"local_aws cannot listen on 127.0.0.1:{options.port}: {error}", file=sys.stderr)
            return 1
        try:
            server.start()
            print(f"local_aws ready on {server.endpoint}", flush=True)
            # Not for ever: a signal that the kernel gives to another thread does not end this one's wait.
            while not stop.wait(0.5):
                pass
        finally:
            server.stop()
    finally:
        if own_dir:
            shutil.rmtree(state_dir, ignore_errors=True)
    return 0


def _wait_for_eof(stop: threading.Event) -> None:
    while os.read(sys.stdin.fileno(), 1):
        pass
    stop.set()


if __name__ == "__main__":
    status = main()
    sys.stdout.flush()
    sys.stderr.flush()
    # The threads that are left are daemons, and everything else lives in memory. To take an interpreter of this size
    # apart lasts seconds on a busy machine, while whoever pressed Ctrl-C waits.
    os._exit(status)
