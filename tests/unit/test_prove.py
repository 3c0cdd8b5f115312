"""make prove: what it counts, under which Python it looks, and that continuous integration runs what README names."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from ecs_release.settings import Settings
from local_aws.kernel.lag import ALWAYS

from scripts import prove
from scripts.parts import Part, Result, run

ROOT = Path(__file__).parents[2]
HANG_SECONDS = 30.0


def executable(path: Path, script: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


def test_the_last_line_counts_all_parts_and_the_exit_status_goes_by_it(tmp_path: Path) -> None:
    program = (
        "import sys; from scripts.parts import command_part, run;"
        "sys.exit(run('unit', {'good': command_part('true'), 'bad': command_part('false')}, 2))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1, done.stderr
    assert done.stdout.splitlines()[-1] == "1 passed, 1 failed"


def test_beside_a_part_with_a_time_to_keep_runs_one_other_until_it_has_ended() -> None:
    beside, ended = threading.Event(), threading.Event()

    def part(body: Callable[[], bool]) -> Part:
        return lambda commands, folder, log: Result(passed=1) if body() else Result(failed=1)

    parts = {
        "longest": part(lambda: (beside.set(), ended.wait(HANG_SECONDS))[1]),
        "short": part(ended.is_set),
        "in time": part(lambda: (beside.wait(HANG_SECONDS), ended.set())[0]),
        "shorter": part(ended.is_set),
    }
    assert run("unit", parts, at_once=len(parts), timed="in time") == 0


def test_lines_that_no_test_runs_are_listed_and_counted_in_the_summary(tmp_path: Path) -> None:
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "half.py").write_text("def decide(x):\n    if x:\n        return 1\n    return 2\n")
    suite = tmp_path / "test_half.py"
    suite.write_text("import half\ndef test(): assert half.decide(True) == 1\n")
    program = (
        "import sys; from pathlib import Path; from scripts.parts import pytest_part, run;"
        f"part = pytest_part(['--rootdir={tmp_path}', '-c', '/dev/null', {str(suite)!r}], {{'PYTHONPATH': 'PATH'}},"
        f" covering=Path({str(tmp_path / 'code')!r})); sys.exit(run('unit', {{'half': part}}, 1))"
    ).replace("PATH'}", f"{tmp_path / 'code'}'}}")
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"half\.py +4 +1 +75% +4$", done.stdout, re.MULTILINE), done.stdout
    assert f"lines of {tmp_path / 'code'} run: 75.0 %, 3 of 4" in done.stdout.splitlines()[-3:]


def test_a_python_that_is_not_on_path_is_found_where_pyenv_keeps_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    executable(tmp_path / "shims" / "python3.13", "echo 'pyenv: python3.13: command not found' >&2; exit 127")
    executable(tmp_path / "versions" / "3.13.0" / "bin" / "python", "echo '(3, 13)'")
    monkeypatch.setenv("PATH", f"{tmp_path / 'shims'}:/usr/bin:/bin")
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path))
    assert prove.find_python((3, 13)) == str(tmp_path / "versions" / "3.13.0" / "bin" / "python")
    assert prove.find_python((3, 99)) is None


def test_the_version_is_the_one_that_the_functions_run_under() -> None:
    text = (ROOT / "modules" / "orchestrator" / "functions.tf").read_text()
    assert set(re.findall(r'runtime\s*=\s*"python(\S+)"', text)) == {".".join(map(str, prove.LAMBDA_PYTHON))}


def test_continuous_integration_runs_what_readme_names_and_nothing_else() -> None:
    called = re.findall(r"^(?:exec )?make (\S+)", (ROOT / ".ci" / "run").read_text(), re.MULTILINE)
    named = re.findall(r"^make (\S+) ", (ROOT / "README.md").read_text(), re.MULTILINE)
    assert called == ["test", "prove"]
    assert set(called) <= set(named)


def test_every_proof_is_in_one_part() -> None:
    found = sorted(path.stem.removeprefix("test_") for path in (ROOT / "tests" / "prove").glob("test_*.py"))
    assert sorted(module for modules in prove.PROOFS.values() for module in modules) == found


def test_reads_lag_no_longer_than_the_product_takes_into_account_and_longer_than_nothing() -> None:
    assert 0 < float(prove.LAG[ALWAYS]) < Settings("releases").settle_seconds
    assert all((ROOT / path).is_file() for path in prove.LAGGING)


def test_what_is_left_to_the_proofs_is_there() -> None:
    assert all((ROOT / path).is_file() for path in prove.FAULTS_AT_LENGTH)
