"""mypy: strictly over product, embedded AWS and scripts; over each suite of tests with the folders that pytest puts on its path."""

from __future__ import annotations

import os
import subprocess
import sys

from scripts.checkout import ROOT

STRICT = ("lambda_src", "tools/local_aws/local_aws", "scripts")
SUITES = (
    "tests/unit",
    "tests/attacks",
    "tests/statemachine",
    "tests/faults",
    "tests/local",
    "tests/prove",
    "tools/local_aws/tests",
    "bench",
)
_PATH = ("lambda_src", "tools/local_aws", "tests/local", "tests/faults", ".")

# Tests patch what a module imports, write machine states as the JSON that they are, and let a lambda note a call with append.
_LOOSER = (
    "--implicit-reexport",
    *(
        option
        for code in ("func-returns-value", "typeddict-item", "import-untyped", "unused-ignore")
        for option in ("--disable-error-code", code)
    ),
)


def main() -> int:
    """Check everything; 0 when nothing was found."""
    status = _mypy("the code", ["--strict", *STRICT])
    for suite in SUITES:
        files = sorted(str(path.relative_to(ROOT)) for path in (ROOT / suite).glob("*.py"))
        # A cache of its own, because each suite's conftest.py has the same name.
        cache = f".mypy_cache/{suite.replace('/', '-')}"
        status |= _mypy(suite, [*_LOOSER, "--cache-dir", cache, *files], (*_PATH, suite))
    return status


def _mypy(what: str, arguments: list[str], path: tuple[str, ...] = ()) -> int:
    print(f"mypy: {what}", flush=True)
    env = {**os.environ, **({"MYPYPATH": os.pathsep.join(path)} if path else {})}
    return subprocess.run(
        [sys.executable, "-m", "mypy", *arguments], cwd=ROOT, env=env, check=False
    ).returncode


if __name__ == "__main__":
    sys.exit(main())
