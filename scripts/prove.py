"""``make prove``: the slower proofs, with fixed seeds and sizes, so that nothing hangs on chance (fresh seeds: ``make chaos``).

Chaos, fuzzing and the longest of the fault tests, everything in ``tests/prove``, services that bake while AWS's reads lag,
releases of fixed sizes under ECS's API limits, and unit and fault tests under the Python version that runs on Lambda, where this
machine has one.
"""

from __future__ import annotations

import glob
import os
import shutil
import subprocess
import sys
from pathlib import Path

from scripts.checkout import BUILD, ROOT
from scripts.interrupt import Interrupted, interruptible
from scripts.parts import PRODUCT, Commands, Part, Result, command_part, pytest_part, run

# The Lambda runtime of modules/orchestrator: the functions run under this version, whatever this checkout's is.
LAMBDA_PYTHON = (3, 13)
CHAOS_SEEDS = (777, 90210, 31337, 44)
# Drawn schedules alone: `make test` tries those that broke something once.
CHAOS = "tests/faults/test_chaos.py::test_every_promise_holds_whatever_happens"
CHAOS_EXAMPLES = 40
FUZZ_FILES = 5_000
BENCH_SIZES = "10,40"
# What waits most comes first: one of two hundred and a throttled account go as fast as ECS's API limits let them.
PROOFS = {
    "one of two hundred fails": ("one_of_two_hundred",),
    "a throttled account": ("throttled_account",),
    "killed, interrupted, upgraded": ("killed_workers", "interrupted", "upgrade"),
    "two hundred, later pages": ("many", "later_pages"),
    "permissions, judged twice": ("permissions",),
    "the first run": ("first_run_policy", "smoke_interrupted"),
    "beside Terraform": ("with_terraform", "connection"),
}
# Whole releases that are stopped, watched or put back in every way, each of which takes its time; `make test` has all other faults.
FAULTS_AT_LENGTH = tuple(f"tests/faults/test_{module}.py" for module in ("one_unit", "way_back", "soak"))
# As it is on AWS: reads lag. The services that bake, because there each step reads what the step before it has just changed. All of
# tests/local passes like this (LOCAL_AWS_LAG=5), for which there is no time here.
LAGGING = ("tests/local/test_bake_time.py",)
LAG = {"LOCAL_AWS_LAG": "5"}
_AT_ONCE = 3


def main() -> int:
    """Run everything; 0 when nothing failed."""
    name = "Python " + ".".join(map(str, LAMBDA_PYTHON))
    parts: dict[str, Part] = {
        what: pytest_part([f"tests/prove/test_{module}.py" for module in modules])
        for what, modules in PROOFS.items()
    }
    parts["faults at length"] = pytest_part(FAULTS_AT_LENGTH)
    parts["reads that lag"] = pytest_part(LAGGING, LAG)
    try:
        with interruptible():
            parts |= _under_lambda_python(name)
    except Interrupted as interrupted:
        print(f"\nInterrupted ({interrupted}); everything was stopped.", flush=True)
        return interrupted.exit_status
    for seed in CHAOS_SEEDS:
        env = {"CHAOS_SEED": str(seed), "CHAOS_EXAMPLES": str(CHAOS_EXAMPLES)}
        parts[f"chaos, seed {seed}"] = pytest_part([CHAOS], env)
    parts["bench"] = command_part(sys.executable, "-m", "bench.release", env={"SIZES": BENCH_SIZES})
    parts["fuzzing"] = pytest_part(
        ["tests/unit/test_manifest_fuzz.py"], {"ECS_RELEASE_FUZZ_FILES": str(FUZZ_FILES)}
    )
    return run("prove", parts, _AT_ONCE)


def _under_lambda_python(name: str) -> dict[str, Part]:
    """Unit and fault tests under Lambda's version, in an environment of its own below ``.build``."""
    if sys.version_info[:2] == LAMBDA_PYTHON:
        return {name: _saying(f".venv has {name} itself, so `make test` has run everything under it")}
    interpreter = find_python(LAMBDA_PYTHON)
    if interpreter is None:
        return {name: _saying(f"no {name} on this machine, so unit and fault tests were not run under it")}
    folder = BUILD / f"python{'.'.join(map(str, LAMBDA_PYTHON))}"
    log = BUILD / "prove-set-up.log"
    log.write_bytes(b"")
    print(f"prove: {name} in {folder.relative_to(ROOT)} (the first time a minute or two)", flush=True)
    commands = Commands()
    try:
        # Not yet in the surroundings of the parts: pip may be configured in the home directory.
        status = commands.run([interpreter, "-m", "scripts.set_up", str(folder)], log)
    except BaseException:
        commands.stop()
        raise
    if status:
        return {name: _failing(log.read_text(errors="replace"))}
    suites = ["tests/unit", "tests/faults/test_bake_time.py", "tests/faults/test_chaos.py"]
    return {name: pytest_part(suites, python=folder / "bin" / "python", covering=PRODUCT)}


def find_python(version: tuple[int, int]) -> str | None:
    """Return an interpreter of a version: on PATH, or where pyenv keeps those that are not on it."""
    text = ".".join(map(str, version))
    kept = os.environ.get("PYENV_ROOT") or str(Path("~/.pyenv").expanduser())
    found = [shutil.which(f"python{text}"), *sorted(glob.glob(f"{kept}/versions/{text}*/bin/python"))]
    for candidate in filter(None, found):
        # pyenv's shims are there for every version that it has, and fail for those that are not chosen
        asked = subprocess.run(
            [candidate, "-c", "import sys; print(sys.version_info[:2])"],
            capture_output=True,
            text=True,
            check=False,
        )
        if asked.returncode == 0 and asked.stdout.strip() == str(version):
            return str(candidate)
    return None


def _saying(text: str) -> Part:
    def part(_: Commands, __: Path, log: Path) -> Result:
        log.write_text(text + "\n")
        return Result(skipped=1)

    return part


def _failing(text: str) -> Part:
    def part(_: Commands, __: Path, log: Path) -> Result:
        log.write_text(text)
        return Result(failed=1)

    return part


if __name__ == "__main__":
    sys.exit(main())
