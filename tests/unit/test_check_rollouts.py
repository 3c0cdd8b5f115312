"""What a rule's target must name so that its item counts as proven."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ecs_release.steps.check_rollouts import is_as_intended
from ecs_release.store import ItemRecord

FAMILY = "arn:aws:ecs:us-east-1:111111111111:task-definition/job"


def rule(**members: Any) -> ItemRecord:
    """An item whose recorded before-image names revision 1."""
    raw = json.dumps([{"Id": "t", "EcsParameters": {"TaskDefinitionArn": f"{FAMILY}:1"}}])
    return ItemRecord("r", 0, 0, 1, "task", "job", "default", 0, "unchanged", 60, {}, rule="job", before_raw=raw, **members)


@pytest.mark.parametrize(
    ("item", "good", "bad"),
    [
        (rule(live=f"{FAMILY}:1"), f"{FAMILY}:1", f"{FAMILY}:2"),
        # Unchanged, but an earlier release that did not end whole has changed it: live is what this one found.
        (rule(live=f"{FAMILY}:2", inherited=True), f"{FAMILY}:2", f"{FAMILY}:1"),
        (rule(live=f"{FAMILY}:2", inherited=True, pinned=False), FAMILY, f"{FAMILY}:2"),
    ],
)
def test_an_unchanged_rule_must_still_name_what_was_found(item: ItemRecord, good: str, bad: str) -> None:
    assert is_as_intended(item, good)
    assert not is_as_intended(item, bad)
    assert not is_as_intended(item, None)
