"""How long a release will take: the figures of AWS's own limits, and what past rollouts took."""

from __future__ import annotations

from typing import Any

import pytest
from ecs_release.manifest import Rule, Service
from ecs_release.manifest.keys import LONGEST_MINUTES
from ecs_release.plan.decide import PlannedItem
from ecs_release.plan.estimate import (
    UNKNOWN_ROLLOUT_SECONDS,
    estimate_seconds,
    rollout_seconds,
    with_time_limit,
)
from ecs_release.record.models import ItemRecord


def planned(name: str = "s", action: str = "update", kind: str = "service", **more: Any) -> PlannedItem:
    item = Service(cluster="c", service=name, **more) if kind == "service" else Rule(rule=name, **more)
    return PlannedItem(item, action, {})


def past(seconds: float, name: str = "c/s", **more: Any) -> ItemRecord:
    record: dict[str, Any] = {
        "action": "update",
        "verdict": "SUCCEEDED",
        "started_at": 1000,
        "settled_at": 1000 + seconds,
    }
    record |= more
    action = record.pop("action")
    cluster, _, service = name.partition("/")
    return ItemRecord("r", 0, 0, 1, Service(cluster=cluster, service=service), action, {}, **record)


def test_nothing_to_change_takes_no_time() -> None:
    assert estimate_seconds([], {}) == 0
    assert estimate_seconds([planned(action="unchanged"), planned(action="blocked")], {}) == 0


def test_a_service_without_a_past_takes_what_a_usual_rollout_takes() -> None:
    assert estimate_seconds([planned()], {}) == UNKNOWN_ROLLOUT_SECONDS


def test_the_slowest_rollout_counts_and_not_their_sum() -> None:
    times = {("default", "service", f"c/{n}"): seconds for n, seconds in (("a", 60.0), ("b", 200.0))}
    assert estimate_seconds([planned("a"), planned("b")], times) == 200


@pytest.mark.parametrize(
    ("services", "seconds"),
    [
        (20, 0),  # within the burst of RegisterTaskDefinition
        (50, 30),  # one registration a second from the 21st on
        (200, 180 + 30),  # and five UpdateService a second from the 51st on
    ],
)
def test_the_limits_of_one_account_and_region_are_added(services: int, seconds: int) -> None:
    """facts: 20 at once, then 1/s; 50 at once, then 5/s."""
    plan = [planned(str(n)) for n in range(services)]
    assert estimate_seconds(plan, {}) == UNKNOWN_ROLLOUT_SECONDS + seconds


def test_accounts_do_not_wait_for_each_other() -> None:
    here = [planned(str(n)) for n in range(50)]
    there = [planned(str(n), target="other") for n in range(50)]
    assert estimate_seconds(here + there, {}) == estimate_seconds(here, {})


def test_waves_wait_for_each_other() -> None:
    assert estimate_seconds([planned("a"), planned("b", wave=1)], {}) == 2 * UNKNOWN_ROLLOUT_SECONDS


def test_scheduled_tasks_roll_nothing_out() -> None:
    assert estimate_seconds([planned("r", kind="task")], {}) == 0


def test_the_past_is_the_median_of_proven_rollouts() -> None:
    releases = [[past(100)], [past(110)], [past(900)]]
    assert rollout_seconds(releases) == {("default", "service", "c/s"): 110}


@pytest.mark.parametrize(
    "item",
    [
        past(1, verdict="TIMED_OUT"),
        past(1, action="unchanged"),
        past(1, started_at=None),
        past(1, settled_at=None),
    ],
)
def test_what_was_not_proven_says_nothing(item: ItemRecord) -> None:
    assert rollout_seconds([[item]]) == {}


def test_each_wave_of_services_is_watched_for_a_while() -> None:
    plan = [planned("a"), planned("b"), planned("c", wave=1), planned("r", kind="task", wave=2)]
    assert estimate_seconds(plan, {}, 90) == estimate_seconds(plan, {}) + 2 * 90
    assert estimate_seconds([planned(action="unchanged")], {}, 90) == 0


def test_the_past_is_told_without_what_was_watched() -> None:
    assert rollout_seconds([[past(400, completed_at=1100)]]) == {("default", "service", "c/s"): 100}


def test_deadlines_that_a_release_can_not_wait_for_are_said_where_they_are_passed() -> None:
    plan = [
        planned("a", timeout_minutes=3000),
        planned("b", wave=1, timeout_minutes=1980),
        planned("c", wave=1, action="unchanged", timeout_minutes=4980),
    ]
    assert [p.findings for p in with_time_limit(plan, 0)] == [(), (), ()]
    longer = [*plan, planned("r", kind="task", wave=1, timeout_minutes=1)]
    said = with_time_limit(longer, 0)
    assert [[f.code for f in p.findings] for p in said] == [[], ["W247"], [], ["W247"]]
    assert "waves 0 to 1 add up to 4981 minutes" in said[1].warnings[0]
    ignoring = planned("b", wave=1, timeout_minutes=1981, ignore=("W247",))
    assert with_time_limit([plan[0], ignoring], 0)[1].warnings == ()


@pytest.mark.parametrize("soak_seconds", [1, 90, 3600])
def test_what_is_watched_comes_out_of_the_machine_s_days(soak_seconds: int) -> None:
    """Once a wave, and the deadlines twice: seven days less two hours."""

    def fits(*minutes: int) -> bool:
        plan = [planned(str(n), wave=n, timeout_minutes=m) for n, m in enumerate(minutes)]
        return not any(p.findings for p in with_time_limit(plan, soak_seconds))

    assert not fits(LONGEST_MINUTES)
    for waves in (1, 2, 5):
        spare = (2 * LONGEST_MINUTES - waves * soak_seconds / 60) / 2
        most = int(spare) - (waves - 1)
        assert fits(*[1] * (waves - 1), most)
        assert not fits(*[1] * (waves - 1), most + 1)
