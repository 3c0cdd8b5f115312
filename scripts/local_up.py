"""``make local-up``: embedded AWS in the background with ``examples/local`` applied, for any AWS client to use.

Leaves ``.local/env`` (shell exports) and ``.local/outputs.json`` (as ``terraform output -json`` prints them). Run
again, it applies again: to the server that runs, or to a new one where that has ended. ``PORT`` and ``TF_VARS``
come from the environment, where make puts them.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import time

from local_aws.client import READY_SECONDS, LocalAws

from scripts.checkout import ROOT, work_folder
from scripts.interrupt import Interrupted, interruptible
from scripts.local_down import (
    LOCAL,
    PROCESS,
    VARIABLES,
    clear,
    running_server,
    stop_server,
)
from scripts.screen import Screen
from scripts.terraform import Terraform, TerraformError, variables

DEFAULT_PORT = 4566


class LocalUpError(Exception):
    """It can't be brought up; the text says what to do."""


def main() -> int:
    """Bring it up; 0 when it is."""
    screen = Screen()
    try:
        with interruptible(), work_folder("local-up"):
            return _up(screen)
    except Interrupted as interrupted:
        screen.line(f"Interrupted ({interrupted}).")
        return interrupted.exit_status
    except (LocalUpError, TerraformError, ValueError) as error:
        screen.line(str(error), "red")
        return 1


def _up(screen: Screen) -> int:
    settings = variables(os.environ.get("TF_VARS", ""))
    wanted = _wanted_port()
    aws = running_server()
    if aws is not None:
        if wanted not in (None, aws.port):
            raise LocalUpError(f"embedded AWS already runs on port {aws.port}; run `make local-down` first.")
        _apply(aws, settings, screen)
        return 0
    clear()
    try:
        screen.progress("starting embedded AWS")
        _apply(_start(DEFAULT_PORT if wanted is None else wanted), settings, screen)
    except BaseException:
        # A server that was started in vain is nobody's.
        stop_server()
        clear()
        raise
    return 0


def _apply(aws: LocalAws, settings: list[str], screen: Screen) -> None:
    VARIABLES.write_text(json.dumps(settings))
    terraform = Terraform(LOCAL, aws.environment(), settings, screen.progress)
    terraform.init()
    terraform.apply()
    outputs = terraform.outputs()
    (LOCAL / "outputs.json").write_text(json.dumps(outputs, indent=2) + "\n")
    exports = {**aws.environment(), "ECS_RELEASE_STATE_MACHINE_ARN": outputs["state_machine_arn"]["value"]}
    lines = [f"export {name}={shlex.quote(value)}" for name, value in exports.items()]
    (LOCAL / "env").write_text("\n".join(lines) + "\n")
    screen.line(f"Embedded AWS runs on {aws.endpoint}, with examples/local applied ({screen.seconds:.0f} s).")
    screen.line("  . .local/env                 # endpoint, Region, dummy credentials, state machine")
    screen.line(f"  git clone {outputs['repository_clone_url_http']['value']}")
    screen.line("  make local-down              # destroys and stops")


def _wanted_port() -> int | None:
    text = os.environ.get("PORT", "")
    if not text:
        return None
    if not text.isdigit() or not 0 < int(text) < 65536:
        raise LocalUpError(f"PORT is {text!r}; write a number, for example PORT={DEFAULT_PORT}.")
    return int(text)


def _start(port: int) -> LocalAws:
    """Start a server that outlives this process."""
    state = LOCAL / "aws"
    state.mkdir(parents=True)
    log = LOCAL / "local_aws.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "local_aws", "--port", str(port), "--state-dir", str(state)],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    PROCESS.write_text(json.dumps({"pid": process.pid, "port": port}))
    aws = LocalAws(f"http://127.0.0.1:{port}")
    deadline = time.monotonic() + READY_SECONDS
    while running_server() is None:
        if process.poll() is not None or time.monotonic() > deadline:
            said = log.read_text(errors="replace").strip()
            raise LocalUpError(f"embedded AWS did not start:\n{said}\nPORT= chooses another port.")
        time.sleep(0.1)
    return aws


if __name__ == "__main__":
    sys.exit(main())
