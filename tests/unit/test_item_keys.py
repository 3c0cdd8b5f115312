"""What tells items apart: a rule on a bus and a schedule in a group may have one name, and are two things all the same."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import product
from typing import Any

import pytest
from ecs_release.cli import repair
from ecs_release.cli.main import main
from ecs_release.cli.orchestrator import Orchestrator
from ecs_release.errors import EcsReleaseError
from ecs_release.manifest import Item, Rule, Schedule, Service, from_document
from ecs_release.plan.back import steps_back
from ecs_release.plan.decide import PlannedItem
from ecs_release.plan.document import compare, plan_document
from ecs_release.plan.text import where
from ecs_release.record.models import ItemRecord, ReleaseRecord
from ecs_release.record.store import Store
from ecs_release.report.repair import repair_command
from hypothesis import given
from hypothesis import strategies as st

EXECUTION = "arn:aws:states:eu-west-1:111111111111:execution:m:r1"
RULE, SCHEDULE = Rule(rule="nightly", event_bus="reports"), Schedule(schedule="nightly", group="reports")

# Few names, so that they meet: those that people give to buses and groups, to rules and schedules, and to targets of either.
_names = st.sampled_from(["default", "reports", "nightly", "rule", "schedule"])
_buses = _names | st.sampled_from(["aws.partner/reports", "aws.partner/reports/nightly", "reports/nightly"])
_targets = st.sampled_from(["default", "reports", "task"])
_rules = st.builds(
    Rule, rule=_names, event_bus=_buses, target_id=st.none() | _names, target=_targets, images=st.just({})
)
_schedules = st.builds(Schedule, schedule=_names, group=_names, target=_targets)
# What a group may be called as well: only partner buses have slashes in their names.
_like_schedules = _rules.filter(lambda rule: "/" not in rule.event_bus)
_services = st.builds(Service, cluster=_names, service=_names, target=_targets)
_items = _rules | _schedules | _services


def twin(rule: Rule) -> Schedule:
    """The schedule in a group of the bus's name that is called like the rule."""
    return Schedule(schedule=rule.rule, group=rule.event_bus, target=rule.target)


def resource(item: Item) -> tuple[Any, ...]:
    """What AWS knows the item by."""
    match item:
        case Service():
            return "ecs", item.target, item.cluster, item.service
        case Rule():
            return "events", item.target, item.event_bus, item.rule, item.target_id
        case Schedule():
            return "scheduler", item.target, item.group, item.schedule


def record(
    item: Item, before: str = "v1", *, release: str = "r1", number: int = 0, **more: Any
) -> ItemRecord:
    images = {"a": {"from": f"a:{before}", "to": "a:v2"}}
    written = ItemRecord(release, 0, number, 1, item, "update", images, before=before, live=before)
    done: dict[str, Any] = {"after": "v2", "started_at": 1, "verdict": "SUCCEEDED", "status": "SUCCEEDED"}
    return replace(written, **{**done, **more})


# --- the key -----------------------------------------------------------------------------------------------------


@given(_items, _items)
def test_two_items_have_one_key_where_they_are_one_thing_of_aws_and_nowhere_else(
    one: Item, other: Item
) -> None:
    assert (one.key == other.key) == (resource(one) == resource(other))


@given(_like_schedules)
def test_a_rule_and_the_schedule_of_its_name_are_two_things(rule: Rule) -> None:
    assert rule.key != twin(rule).key


@given(_items)
def test_a_row_of_a_key_says_which_item_it_is_of(item: Item) -> None:
    assert tuple("#".join(item.key).split("#", 2)) == item.key


@pytest.mark.parametrize("written", [{}, {"scheduleGroup": "default"}])
def test_the_default_group_and_bus_are_the_same_written_or_not(written: dict[str, str]) -> None:
    plain = {"service": "a", "image": "a:1"}
    bus = {"eventBusName": "default"} if written else {}
    tasks = [{**plain, "cwRuleName": "nightly", **bus}, {**plain, "scheduleName": "nightly", **written}]
    manifest = from_document({"tasks": tasks}).manifest
    assert manifest is not None
    assert [item.key for item in manifest.items] == [
        ("default", "task", "nightly"),
        ("default", "task", "default/nightly"),
    ]


@pytest.mark.parametrize(
    "item",
    [
        Rule(rule="nightly"),
        Rule(rule="nightly", target_id="t"),
        Rule(rule="nightly", event_bus="reports", target_id="t"),
        Rule(rule="nightly", event_bus="aws.partner/reports"),
        Schedule(schedule="nightly"),
        SCHEDULE,
        Service(cluster="reports", service="nightly"),
    ],
)
def test_what_could_be_told_apart_keeps_its_key(item: Item) -> None:
    before = f"{item.name}#{item.target_id}" if isinstance(item, Rule) and item.target_id else item.name
    assert item.key == (item.target, item.kind, before)


# --- going back by hand --------------------------------------------------------------------------------------------


@given(st.lists(_rules | _schedules, min_size=1, max_size=4, unique_by=resource), st.data())
def test_every_item_that_a_release_wrote_goes_back_to_its_own_state(
    items: list[Rule | Schedule], data: st.DataObject
) -> None:
    twins = [twin(i) for i in items if isinstance(i, Rule) and "/" not in i.event_bus]
    written = {resource(item): item for item in [*items, *data.draw(st.permutations(twins))]}
    records = [record(item, f"v{n}-1", after=f"v{n}-2") for n, item in enumerate(written.values())]
    steps = steps_back([records])
    assert [(step.item, step.ours) for step in steps] == [
        (r, frozenset({f"v{n}-1", f"v{n}-2"})) for n, r in enumerate(records)
    ]


# --- the plan that was approved ------------------------------------------------------------------------------------


def document(*items: Item, live: str = "v1") -> dict[str, Any]:
    images = {"a": {"from": "a:1", "to": "a:2"}}
    return plan_document([PlannedItem(i, "update", images, base=live, live=live) for i in items], "rollback")


@given(_like_schedules)
def test_the_approved_plan_and_the_present_one_are_compared_item_by_item(rule: Rule) -> None:
    both = document(rule, twin(rule))
    assert len({(i["target"], i["kind"], i["id"]) for i in both["items"]}) == 2
    for one, gone in ((rule, twin(rule)), (twin(rule), rule)):
        (said,) = compare(both, document(one))
        assert said.text.endswith(": was in the plan and is not any more")
        assert gone.name in said.text
    drift = [d.text for d in compare(both, document(rule, twin(rule), live="v2")) if "was live" in d.text]
    assert len(set(drift)) == 2


def test_a_plan_that_an_earlier_version_made_is_compared_as_it_compared_it() -> None:
    approved = document(RULE, Rule(rule="other"), live="v1")
    for item in approved["items"]:
        del item["id"]
    (one, other) = (
        d.text for d in compare(approved, document(RULE, Rule(rule="other"), live="v2")) if d.drift
    )
    assert (one, other) == ("reports/nightly: v1 was live, now v2 is", "other: v1 was live, now v2 is")


def test_the_plan_says_which_is_the_rule() -> None:
    assert [where(item) for item in document(RULE, SCHEDULE)["items"]] == [
        "reports/nightly (rule)",
        "reports/nightly (schedule)",
    ]


# --- memories and holds --------------------------------------------------------------------------------------------

PAIRS = [(RULE, SCHEDULE), (SCHEDULE, RULE)]


@pytest.mark.parametrize(("one", "other"), PAIRS)
def test_what_is_remembered_of_one_is_not_the_others(store: Store, one: Item, other: Item) -> None:
    store.remember(record(one, "v1"))
    store.hold(record(one, "v1"))
    assert set(store.memories([one.key, other.key])) == {one.key} == set(store.holds([one.key, other.key]))
    assert store.memory(other.key) is None
    store.remember(record(other, "v7", release="r2"))
    store.hold(record(other, "v7", release="r2"))
    assert {k: row["before"] for k, row in store.memories([one.key, other.key]).items()} == {
        one.key: "v1",
        other.key: "v7",
    }
    store.forget(record(other, release="r2"))
    store.lift_hold(other.key)
    assert set(store.memories([one.key, other.key])) == {one.key} == set(store.holds([one.key, other.key]))
    (hold,) = store.all_holds()
    assert (hold["target"], hold["kind"], hold["name"]) == one.key


# --- rows that an earlier version wrote ----------------------------------------------------------------------------

# In which order an earlier version wrote, and what the rule and the schedule were before.
BEFORE = [
    ((RULE,), "v1", "-"),
    ((SCHEDULE,), "-", "v1"),
    *product([(RULE, SCHEDULE), (SCHEDULE, RULE)], ["v1"], ["v1", "v3"]),
]


def earlier(store: Store, written: tuple[Item, ...], rule: str, schedule: str) -> dict[Any, str]:
    """One release's memory and hold as an earlier version wrote them, in one row for both; what was before, by key."""
    before = {RULE.key: rule, SCHEDULE.key: schedule}
    items = [record(item, before[item.key], number=n) for n, item in enumerate(written)]
    store.put_release(ReleaseRecord("r1", EXECUTION, 1, "2026-01-01T00:00:00.000Z"))
    store.claim_cut("r1", "w")
    store.put_items("r1", items, "w")
    row = {"sk": "default#task#reports/nightly", "release": "r1"}
    store._put({**row, "pk": "ITEM", "before": items[0].before, "ours": {"v2"}})  # the first one stayed
    store._put({**row, "pk": "HOLD", "images": {"a": f"a:{items[-1].before}"}})  # the last one did
    return {item.state_key: item.before for item in items}


@pytest.mark.parametrize(("written", "rule", "schedule"), BEFORE)
def test_rows_of_an_earlier_version_are_their_items_after_the_upgrade(
    store: Store, written: tuple[Item, ...], rule: str, schedule: str
) -> None:
    before = earlier(store, written, rule, schedule)
    keys = [RULE.key, SCHEDULE.key]
    remembered = {key for key in before if before[key] == before[written[0].key]}
    held = {key for key in before if before[key] == before[written[-1].key]}
    found = store.memories(keys)
    assert {key: row["before"] for key, row in found.items()} == {key: before[key] for key in remembered}
    assert {key for key in keys if store.memory(key)} == remembered
    assert set(store.holds(keys)) == held
    assert {(h["target"], h["kind"], h["name"]) for h in store.all_holds()} == held


@pytest.mark.parametrize(("written", "rule", "schedule"), BEFORE)
@pytest.mark.parametrize("first", [RULE, SCHEDULE])
def test_a_release_after_the_upgrade_takes_nothing_from_the_other(
    store: Store, written: tuple[Item, ...], rule: str, schedule: str, first: Item
) -> None:
    earlier(store, written, rule, schedule)
    second = SCHEDULE if first is RULE else RULE
    keys = [RULE.key, SCHEDULE.key]
    memories, holds = store.memories(keys), store.holds(keys)
    store.remember(record(first, "v8", release="r2"), "digest")
    expected = {key: row["before"] for key, row in memories.items()}
    expected.setdefault(first.key, "v8")  # an older memory stays
    found = store.memories(keys)
    assert {key: row["before"] for key, row in found.items()} == expected
    assert found[first.key]["ours"] == {"digest", "v2"}
    store.forget(record(first, "v8", release="r2"))
    del expected[first.key]
    assert {key: row["before"] for key, row in store.memories(keys).items()} == expected
    store.hold(record(first, "v8", release="r2"))
    assert {k: row["release"] for k, row in store.holds(keys).items()} == {
        **dict.fromkeys(holds, "r1"),
        first.key: "r2",
    }
    store.lift_hold(first.key)
    assert set(store.holds(keys)) == set(holds) - {first.key}
    store.remember(record(second, "v9", release="r3"))
    assert store.memories(keys)[second.key]["before"] == expected.get(second.key, "v9")
    assert first.key not in store.memories(keys)


@pytest.mark.parametrize("lifted", [RULE, SCHEDULE])
@pytest.mark.parametrize(("written", "rule", "schedule"), BEFORE)
def test_a_hold_of_an_earlier_version_is_lifted_for_its_item(
    store: Store, written: tuple[Item, ...], rule: str, schedule: str, lifted: Item
) -> None:
    earlier(store, written, rule, schedule)
    held = set(store.holds([RULE.key, SCHEDULE.key]))
    store.lift_hold(lifted.key)
    assert set(store.holds([RULE.key, SCHEDULE.key])) == held - {lifted.key}


def test_a_row_whose_release_is_not_on_record_is_the_schedules_whose_key_it_has(store: Store) -> None:
    store._put({"pk": "ITEM", "sk": "default#task#reports/nightly", "release": "gone", "before": "v1"})
    assert set(store.memories([RULE.key, SCHEDULE.key])) == {SCHEDULE.key}


# --- what a person calls them --------------------------------------------------------------------------------------

LEFT = ReleaseRecord("r1", EXECUTION, 1, "2026-01-01T00:00:00.000Z", status="ROLLBACK_INCOMPLETE")


@given(st.lists(_items, min_size=1, max_size=5, unique_by=resource))
def test_a_name_means_what_has_it_or_is_asked_about(items: list[Item]) -> None:
    records = [record(item, status="ROLLBACK_FAILED") for item in items]
    for one in records:
        whole = status_id(one)
        assert {resource(r.item)[2:] for r in repair.left_over(LEFT, records, [whole])} == {
            resource(one.item)[2:]
        }
        named = [other for other in records if other.name == one.name]
        if len({resource(other.item)[0] for other in named}) == 1:
            assert repair.left_over(LEFT, records, [one.name]) == named
        else:
            with pytest.raises(EcsReleaseError) as told:
                repair.left_over(LEFT, records, [one.name])
            assert whole in str(told.value)


def status_id(item: ItemRecord) -> str:
    from ecs_release.report.status import as_document

    return str(as_document(LEFT, [item])["items"][0]["id"])


@pytest.mark.parametrize(
    ("item", "name"),
    [
        (RULE, "rule:reports/nightly"),
        (SCHEDULE, "schedule:reports/nightly"),
        (Schedule(schedule="nightly"), "default/nightly"),
        (Rule(rule="nightly"), "nightly"),
    ],
)
def test_the_command_that_finishes_a_rollback_means_one_item(item: Item, name: str) -> None:
    assert repair_command(record(item), "eu-west-1", EXECUTION).endswith(f" --release r1 {name}")


def test_a_hold_on_one_is_lifted_and_the_others_stays(
    store: Store, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Found:
        def store(self) -> Store:
            return store

    monkeypatch.setattr(Orchestrator, "find", lambda _: Found())
    for item in (RULE, SCHEDULE):
        store.hold(record(item))
    assert main(["unhold", "reports/nightly"]) == 1
    assert (
        "reports/nightly may mean more than one item; write rule:reports/nightly or schedule:reports/nightly"
        in capsys.readouterr().err
    )
    assert len(store.all_holds()) == 2
    assert main(["unhold", "schedule:reports/nightly", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["name"] == "reports/nightly"
    assert set(store.holds([RULE.key, SCHEDULE.key])) == {RULE.key}
    assert main(["unhold", "reports/nightly"]) == 0
    assert store.all_holds() == []
