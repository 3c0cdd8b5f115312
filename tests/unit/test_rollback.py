"""What a rollback may deregister: only what nothing runs any more."""

from __future__ import annotations

from typing import Any

import pytest
from ecs_release.manifest import Service
from ecs_release.record.models import ItemRecord
from ecs_release.rollout.unused import to_deregister


def item(number: int = 0, **members: Any) -> ItemRecord:
    """A service whose new revision this release registered and rolled out."""
    defaults: dict[str, Any] = {
        "after": "api:2",
        "registered": True,
        "started_at": 1,
        "verdict": "SUCCEEDED",
        "status": "SUCCEEDED",
    }
    return ItemRecord(
        "r",
        0,
        number,
        1,
        Service(cluster="c", service=f"s{number}"),
        "update",
        {},
        **{**defaults, **members},
    )


def test_a_revision_is_deregistered_once_its_item_is_proven_back() -> None:
    back = item(status="ROLLED_BACK", rollback_to="api:1")
    assert to_deregister([back]) == [back]


def test_a_revision_that_was_prepared_and_never_written_is_deregistered() -> None:
    waiting = item(status="PREPARED", verdict="PREPARED", started_at=None)
    assert to_deregister([waiting]) == [waiting]


@pytest.mark.parametrize(
    "members",
    [
        {"status": "ROLLBACK_FAILED"},
        {"status": "SUPERSEDED"},
        {"status": "ROLLED_BACK", "registered": False},
        {"status": "ROLLED_BACK", "rollback_to": "api:2"},
        {"status": "FAILED", "started_at": None, "pinned": False},
        {"status": "FAILED", "started_at": None, "after": None},
    ],
)
def test_a_revision_stays_that_something_may_run_or_that_is_not_ours(members: dict[str, Any]) -> None:
    assert to_deregister([item(**members)]) == []


def test_a_shared_revision_stays_while_one_of_its_items_is_not_back() -> None:
    back = item(status="ROLLED_BACK", rollback_to="api:1")
    stuck = item(1, status="ROLLBACK_FAILED", registered=False)
    assert to_deregister([back, stuck]) == []
