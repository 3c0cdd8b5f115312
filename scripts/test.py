"""``make test``: the committed package, the Terraform tests and every pytest suite but the slow proofs of ``make prove``."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from scripts.parts import COVERAGE_IS_CHEAP, PRODUCT, Commands, Part, Result, command_part, pytest_part, run
from scripts.prove import FAULTS_AT_LENGTH

# Longest first. Suites that apply the module do so once each, to a server of their own; the gate is applied with other inputs than
# the rest of tests/local. Much of their time is waiting for rollouts and leases, so there are more at once than cores.
_DRAWN = ("tests/faults/test_chaos.py", "tests/faults/test_throttled.py")
APPLIED = {
    "tests/local": ("tests/local", "--ignore=tests/local/test_gate.py"),
    "the gate": ("tests/local/test_gate.py",),
    "tests/faults": ("tests/faults", *(f"--ignore={path}" for path in (*_DRAWN, *FAULTS_AT_LENGTH))),
}
# In this process the product runs itself, without Lambda between: here it is seen which of its lines no test needs. Under an older
# Python that is left to `make prove`.
IN_PROCESS = ("tests/unit", "tests/attacks", "tests/statemachine")
_AT_ONCE = 5


def main() -> int:
    """Run everything; 0 when nothing failed."""
    parts: dict[str, Part] = {name: pytest_part(suites) for name, suites in APPLIED.items()}
    parts["tests/unit, attacks, statemachine"] = pytest_part(
        IN_PROCESS, covering=PRODUCT if sys.version_info >= COVERAGE_IS_CHEAP else None
    )
    parts["tools/local_aws"] = pytest_part(["tools/local_aws/tests"])
    parts["make smoke"] = command_part(sys.executable, "-m", "scripts.smoke_embedded")
    parts["terraform test"] = _terraform
    parts["tests/faults, drawn"] = pytest_part(_DRAWN)
    parts["package"] = command_part(sys.executable, "scripts/package.py", "--check")
    return run("test", parts, _AT_ONCE)


def _terraform(commands: Commands, folder: Path, log: Path) -> Result:
    """Run the Terraform tests, with a mocked provider."""
    env = {"TF_DATA_DIR": str(folder / "terraform")}
    directory = "-test-directory=tests/terraform"
    init_log = folder / "init.log"
    if commands.run(["terraform", "init", "-input=false", "-no-color", directory], init_log, env):
        log.write_bytes(init_log.read_bytes())
        return Result(failed=1)
    with _one_provider(folder) as attached:
        status = commands.run(["terraform", "test", "-no-color", directory], log, {**env, **attached})
    counted = re.search(r"(\d+) passed, (\d+) failed(?:, (\d+) skipped)?", log.read_text(errors="replace"))
    if counted is None:
        return Result(failed=1)
    passed, failed, skipped = (int(number or 0) for number in counted.groups())
    return Result(passed, max(failed, int(status != 0)), skipped)


@contextlib.contextmanager
def _one_provider(folder: Path) -> Iterator[dict[str, str]]:
    """One provider for all runs, which mock it and only want its schema; Terraform starts it twice a run otherwise.

    https://developer.hashicorp.com/terraform/plugin/debugging#starting-a-provider-in-debug-mode
    """
    program = next(
        (folder / "terraform" / "providers").glob("registry.terraform.io/hashicorp/aws/*/*/*"), None
    )
    if program is None:
        yield {}
        return
    with subprocess.Popen(
        [program, "-debug"],
        env={**os.environ, "TMPDIR": str(folder)},  # its socket is there
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            said = (re.search(r"(TF_REATTACH_PROVIDERS)='(.*)'", line) for line in process.stdout or ())
            found = next(filter(None, said), None)  # without, Terraform starts its own
            yield {found[1]: found[2]} if found else {}
        finally:
            process.kill()


if __name__ == "__main__":
    sys.exit(main())
