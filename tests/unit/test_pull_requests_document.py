"""docs/pull-requests.md: its policy allows what a plan calls and holds no write action; its YAML and JSON can be copied."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml
from ecs_release.aws.permissions import PERMISSIONS, STEPS

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "pull-requests.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", TEXT, re.M | re.S)
# Why a task stopped and whether a task runs is asked while a release runs, not for a plan.
NOT_FOR_A_PLAN = {"ecs:DescribeTasks", "ecs:ListTasks"}


def actions() -> set[str]:
    policy = json.loads(next(text for kind, text in BLOCKS if kind == "json"))
    listed = [statement["Action"] for statement in policy["Statement"]]
    return {action for one in listed for action in ([one] if isinstance(one, str) else one)}


@pytest.mark.parametrize(("kind", "text"), BLOCKS)
def test_every_block_can_be_read(kind: str, text: str) -> None:
    if kind == "json":
        json.loads(text)
    elif kind == "yaml":
        yaml.safe_load(text)


def test_the_policy_allows_what_a_plan_reads_and_nothing_that_writes() -> None:
    table = PERMISSIONS["steps"]["plan"]["table"]
    expected = {*STEPS["plan"]} - NOT_FOR_A_PLAN | {*table} | {"states:ListTagsForResource", "kms:Decrypt"}
    assert actions() == expected
    assert all(
        re.match(r"[a-z]+:(BatchGet|Get|List|Query|Describe|Decrypt|Simulate)", action)
        for action in actions()
    )
