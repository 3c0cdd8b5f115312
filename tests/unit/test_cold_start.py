"""What a function loads when it starts: its own step, and nothing that only people's YAML needs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "lambda_src"
STEPS = sorted(
    path.stem
    for path in (SOURCE / "ecs_release" / "steps").glob("*.py")
    if "\ndef handler(" in path.read_text()
)
READS_A_MANIFEST = {"parse", "plan"}
MAKES_A_PLAN = {"parse", "plan"}


def loaded(program: str) -> set[str]:
    """Return the modules that a fresh interpreter has loaded after ``program``."""
    result = subprocess.run(
        [sys.executable, "-c", f"{program}\nimport json, sys; print(json.dumps(sorted(sys.modules)))"],
        env={**os.environ, "PYTHONPATH": str(SOURCE), "AWS_DEFAULT_REGION": "eu-west-1"},
        capture_output=True,
        text=True,
        check=True,
    )
    return set(json.loads(result.stdout.splitlines()[-1]))


@pytest.mark.parametrize("step", STEPS)
def test_no_function_loads_the_reading_of_yaml(step: str) -> None:
    """They read JSON, which the build compiled."""
    modules = loaded(f"import ecs_release.steps.{step}")

    assert not {"yaml", "ecs_release.manifest.source", "ecs_release.manifest.hints"} & modules
    assert ("ecs_release.manifest.rules" in modules) == (step in READS_A_MANIFEST)


@pytest.mark.parametrize("step", STEPS)
def test_no_function_that_follows_a_plan_loads_what_makes_one(step: str) -> None:
    of_the_plan = {"ecs_release.plan.decide", "ecs_release.plan.live"} & loaded(
        f"import ecs_release.steps.{step}"
    )
    assert len(of_the_plan) == (2 if step in MAKES_A_PLAN else 0)


def test_an_item_comes_without_the_rules() -> None:
    modules = loaded("from ecs_release.manifest import Item, Problem")

    assert "ecs_release.manifest.item" in modules
    assert not {"yaml", "ecs_release.manifest.rules", "ecs_release.manifest.validation"} & modules


def test_the_room_says_what_it_does_not_have() -> None:
    with pytest.raises(subprocess.CalledProcessError) as failed:
        loaded("from ecs_release.manifest import Sanitizer")

    assert "ImportError: cannot import name 'Sanitizer'" in failed.value.stderr
