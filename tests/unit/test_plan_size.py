"""A plan of five thousand items fits into what a function may answer, and the build gets all of it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ecs_release.plan.document import packed

# https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html
MOST_BYTES = 6_000_000
SOURCES = Path(__file__).parents[2] / "lambda_src"


def document(items: int) -> dict[str, Any]:
    name = "team-of-the-service/a-service-with-a-name"
    item = {
        "kind": "service",
        "target": "default",
        "wave": 0,
        "action": "update",
        "images": {"app": {"from": f"{name}:1", "to": f"{name}:2", "digest": "sha256:" + "a" * 64}},
        "warnings": ["größer als sonst " * 30],
        "problems": [],
    }
    rows = [{**item, "name": f"production/{name}-{n}"} for n in range(items)]
    return {
        "digest": "d",
        "onFailure": "rollback",
        "counts": {"update": items, "unchanged": 0, "blocked": 0},
        "wayBack": True,
        "warnings": [w for row in rows for w in row["warnings"]],  # type: ignore[attr-defined]
        "items": rows,
    }


def show(folder: Path) -> subprocess.CompletedProcess[str]:
    """What the build does with the answer."""
    (folder / "allow-stale.txt").write_text("no")
    return subprocess.run(
        [sys.executable, "-I", SOURCES, "show"], cwd=folder, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("items", [1, 5_000])
def test_who_asks_the_function_reads_the_plan_however_large_it_is(tmp_path: Path, items: int) -> None:
    """As docs/pull-requests.md says."""
    (tmp_path / "plan.json").write_text(json.dumps(packed(document(items))))
    read = "import runpy, sys; sys.path.insert(0, sys.argv[1]); sys.argv = ['text', 'plan.json']; "
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            read + "runpy.run_module('ecs_release.plan.text', run_name='__main__')",
            SOURCES,
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert f"{items:,}" in done.stdout or str(items) in done.stdout


@pytest.mark.parametrize("items", [1, 100, 5_000])
def test_the_build_gets_the_plan_however_large_it_is(tmp_path: Path, items: int) -> None:
    plan = document(items)
    answer = json.dumps(packed(plan))
    assert len(answer) <= MOST_BYTES
    (tmp_path / "plan.json").write_text(answer)
    (tmp_path / "invocation.json").write_text('{"StatusCode": 200}')
    done = show(tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "plan.json").read_text()) == plan


def test_a_plan_of_everyday_size_is_the_answer_itself() -> None:
    assert packed(document(100)) == document(100)


def test_a_plan_that_could_not_be_made_stops_the_build_and_says_why(tmp_path: Path) -> None:
    (tmp_path / "plan.json").write_text('{"errorType": "UnfinishedError", "errorMessage": "ECS throttles"}')
    (tmp_path / "invocation.json").write_text('{"StatusCode": 200, "FunctionError": "Unhandled"}')
    done = show(tmp_path)
    assert done.returncode != 0
    assert "ECS throttles" in done.stderr
