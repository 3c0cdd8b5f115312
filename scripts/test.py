"""``make test``: the committed package, the Terraform tests and every pytest suite but the slow proofs of ``make prove``."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from scripts.checkout import ROOT
from scripts.parts import COVERAGE_IS_CHEAP, PRODUCT, Commands, Part, Result, command_part, pytest_part, run
from scripts.prove import FAULTS_AT_LENGTH
from scripts.terraform import one_provider

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
# Takes less than a minute, which is seen here only if not everything else runs beside it.
SMOKE = "make smoke"
_AT_ONCE = 5


def main() -> int:
    """Run everything; 0 when nothing failed."""
    parts: dict[str, Part] = {name: pytest_part(suites) for name, suites in APPLIED.items()}
    parts["tests/unit, attacks, statemachine"] = pytest_part(
        IN_PROCESS, covering=PRODUCT if sys.version_info >= COVERAGE_IS_CHEAP else None
    )
    parts["tools/local_aws"] = pytest_part(["tools/local_aws/tests"])
    parts[SMOKE] = command_part(sys.executable, "-m", "scripts.smoke_embedded")
    parts["terraform test"] = _terraform
    parts["tests/faults, drawn"] = pytest_part(_DRAWN)
    parts["package"] = command_part(sys.executable, "scripts/package.py", "--check")
    return run("test", parts, _AT_ONCE, timed=SMOKE)


def _terraform(commands: Commands, folder: Path, log: Path) -> Result:
    """Run the Terraform tests, with a mocked provider."""
    directory = "-test-directory=tests/terraform"
    init_log = folder / "init.log"
    # All runs only want its schema; Terraform would start it twice for each.
    with one_provider(folder, {}, ROOT) as attached:
        env = {"TF_DATA_DIR": str(folder / "terraform"), **attached}
        if commands.run(["terraform", "init", "-input=false", "-no-color", directory], init_log, env):
            log.write_bytes(init_log.read_bytes())
            return Result(failed=1)
        status = commands.run(["terraform", "test", "-no-color", directory], log, env)
    counted = re.search(r"(\d+) passed, (\d+) failed(?:, (\d+) skipped)?", log.read_text(errors="replace"))
    if counted is None:
        return Result(failed=1)
    passed, failed, skipped = (int(number or 0) for number in counted.groups())
    return Result(passed, max(failed, int(status != 0)), skipped)


if __name__ == "__main__":
    sys.exit(main())
