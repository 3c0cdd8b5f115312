"""``make smoke`` without an account: starts embedded AWS and runs ``scripts.smoke`` in an environment that leads there.

All that is said here of the embedded AWS: which image can't start. The rest is the script's own, the same as in an account.
"""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

from local_aws.client import LocalAws

from scripts.checkout import ROOT, work_folder
from scripts.interrupt import Interrupted, interruptible
from scripts.terraform import SANDBOX, one_provider

# In an account the image has no "sleep", and ECS's circuit breaker sees its tasks fail.
BROKEN: list[dict[str, Any]] = [
    {"image": "hello-world", "outcome": "circuit_breaker_rollback", "seconds": 0.1},
    {"seconds": 0},
]


def main(arguments: list[str] | None = None) -> int:
    """Run it; the script's exit status."""
    options = sys.argv[1:] if arguments is None else arguments
    try:
        with interruptible(), work_folder("smoke") as folder:
            state = folder / "aws"
            state.mkdir()
            with LocalAws.start(state_dir=state, log=folder / "local_aws.log") as aws:
                aws.rollouts(BROKEN)
                settings = f"-var poll_seconds=1 {os.environ.get('TF_VARS', '')}"
                with one_provider(folder, aws.environment(), SANDBOX) as attached:
                    env = {**os.environ, **aws.environment(), **attached, "TF_VARS": settings}
                    return _run([sys.executable, "-m", "scripts.smoke", "--yes", *options], env)
    except Interrupted as interrupted:
        return interrupted.exit_status


def _run(command: list[str], env: dict[str, str]) -> int:
    """Run the script; it hears of the terminal's Ctrl-C itself, and cleans up before embedded AWS ends."""
    process = subprocess.Popen(command, cwd=ROOT, env=env)
    try:
        return process.wait()
    except Interrupted as interrupted:
        process.send_signal(interrupted.number)
        process.wait()
        raise


if __name__ == "__main__":
    sys.exit(main())
