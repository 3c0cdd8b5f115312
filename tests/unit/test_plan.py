"""What a release would change, and how it is cut into waves and batches."""

from __future__ import annotations

import dataclasses
import json
import time
from typing import Any

import pytest
from ecs_release.aws.service_state import ServiceState
from ecs_release.aws.task_definitions import TaskDefinition
from ecs_release.manifest import Item, Rule, Schedule, Service
from ecs_release.plan.batches import BATCH_SIZE, cut
from ecs_release.plan.choose import Selection, schedule_findings
from ecs_release.plan.decide import make_plan
from ecs_release.plan.findings import Finding
from ecs_release.plan.live import Live

NO_CLUSTER = Finding("E204", {"cluster": "c"})
NO_SERVICE = Finding("E205", {"service": "b", "cluster": "c"})
PREFIX = "arn:aws:ecs:eu-west-1:111111111111:task-definition/"


def definition(name: str = "api", revision: int = 7, image: str = "api:1") -> TaskDefinition:
    return TaskDefinition(
        {
            "taskDefinitionArn": f"{PREFIX}{name}:{revision}",
            "family": name,
            "revision": revision,
            "containerDefinitions": [{"name": name, "image": image}, {"name": "sidecar", "image": "side:1"}],
        }
    )


def service_item(name: str = "api", image: str = "api:2", **more: Any) -> Item:
    return Service(images={"api": image}, exact=False, cluster="c", service=name, path="services[0]", **more)


def service_live(completed: str | None = f"{PREFIX}api:7", **body: Any) -> Live:
    state: Any = {
        "status": "ACTIVE",
        "desiredCount": 1,
        "taskDefinition": f"{PREFIX}api:7",
        "deployments": [{"id": "ecs-svc/1", "status": "PRIMARY"}],
        **body,
    }
    return Live(service=ServiceState(state), definition=definition(), completed=completed)


def task_item(**more: Any) -> Rule:
    return Rule(images={"api": "api:2"}, exact=False, rule="r", **more)


def task_live() -> Live:
    target = {"Id": "t", "EcsParameters": {"TaskDefinitionArn": f"{PREFIX}api:7"}}
    return Live(selection=Selection((target,), definition(), True, {"api": "api:2"}), definition=definition())


def test_a_changed_image_is_an_update_from_what_is_live() -> None:
    (planned,) = make_plan([service_item()], [service_live()])
    assert planned.action == "update"
    assert planned.images == {"api": {"from": "api:1", "to": "api:2"}}
    assert planned.base == planned.before == planned.live == f"{PREFIX}api:7"
    assert planned.previous_deployment == "ecs-svc/1"


def test_the_same_image_is_unchanged() -> None:
    (planned,) = make_plan([service_item(image="api:1")], [service_live()])
    assert planned.action == "unchanged"


def test_back_means_the_last_completed_deployment_and_the_plan_says_where_that_differs() -> None:
    (planned,) = make_plan([service_item()], [service_live(completed=f"{PREFIX}api:6")])
    assert planned.before == f"{PREFIX}api:6"
    assert planned.live == f"{PREFIX}api:7"
    assert any("never completed" in warning for warning in planned.warnings)


def test_a_release_that_is_not_whole_before_hands_on_its_before_image() -> None:
    left = {("default", "service", "c/api"): {"before": f"{PREFIX}api:3", "release": "r1"}}
    (planned,) = make_plan([service_item()], [service_live()], left)
    assert planned.before == f"{PREFIX}api:3"
    assert planned.inherited


def test_what_a_release_that_is_not_whole_left_says_where_to_go_back_to_and_not_what_a_rule_is_made_of() -> (
    None
):
    old = '[{"Id":"gone","EcsParameters":{"TaskDefinitionArn":"x"}}]'
    memory = {"before": f"{PREFIX}api:3", "release": "r1", "before_raw": old}
    (planned,) = make_plan([task_item()], [task_live()], {("default", "task", "r"): memory})
    assert planned.before == f"{PREFIX}api:3"
    assert json.loads(planned.before_raw or "") == [
        {"Id": "t", "EcsParameters": {"TaskDefinitionArn": f"{PREFIX}api:7"}}
    ]


def unpinned_live() -> Live:
    target = {"Id": "t", "EcsParameters": {"TaskDefinitionArn": f"{PREFIX}api"}}
    selection = Selection((target,), definition(), False, {"api": "api:2"})
    return Live(selection=selection, definition=definition())


def test_registering_for_a_service_must_not_deploy_to_a_rule_before_its_turn() -> None:
    service, rule = make_plan([service_item(), task_item()], [service_live(), unpinned_live()])
    assert service.action == "update"
    assert rule.action == "blocked"
    assert "c/api of this release registers one in it" in rule.problems[0]
    assert f"let it name {PREFIX}api:7, or release it by itself first" in rule.problems[0]
    for other in (service_item(image="api:1"), service_item(target="elsewhere")):
        assert make_plan([other, task_item()], [service_live(), unpinned_live()])[1].action == "update"
    pinned = make_plan([service_item(), task_item()], [service_live(), task_live()])
    assert [planned.action for planned in pinned] == ["update", "update"]


@pytest.mark.parametrize(("wave", "action"), [(0, "update"), (1, "blocked")])
def test_two_rules_of_one_family_without_revision_go_together(wave: int, action: str) -> None:
    items = [task_item(), dataclasses.replace(task_item(wave=wave), rule="second")]
    plan = make_plan(items, [unpinned_live(), unpinned_live()])
    assert [planned.action for planned in plan] == [action, action]


def test_the_command_that_lifts_a_hold_names_what_is_held() -> None:
    held = {("default", "task", "r#t"): {"images": {"api": "api:2"}, "release": "back"}}
    (planned,) = make_plan([task_item(target_id="t")], [task_live()], {}, held)
    assert planned.problems[0].endswith("ecs-release unhold 'r#t'")


def left(*ours: str) -> dict[tuple[str, str, str], dict[str, Any]]:
    return {("default", "service", "c/api"): {"before": f"{PREFIX}api:3", "release": "r1", "ours": set(ours)}}


def test_what_a_release_that_is_not_whole_set_itself_is_no_state_to_go_back_to() -> None:
    (planned,) = make_plan([service_item()], [service_live()], left(f"{PREFIX}api:7"))
    assert planned.before == f"{PREFIX}api:3"
    assert planned.inherited
    assert not planned.memory_void


def test_what_somebody_else_deployed_after_a_release_that_is_not_whole_is_what_back_means() -> None:
    (planned,) = make_plan([service_item()], [service_live()], left(f"{PREFIX}api:6"))
    assert planned.before == f"{PREFIX}api:7"
    assert planned.memory_void
    assert not planned.inherited
    assert any("somebody else deployed since" in warning for warning in planned.warnings)


def test_what_somebody_else_deployed_and_never_completed_is_not_put_back_where_nothing_changes() -> None:
    live = service_live(completed=f"{PREFIX}api:6")
    (planned,) = make_plan([service_item(image="api:1")], [live], left(f"{PREFIX}api:6"))
    assert planned.action == "unchanged"
    assert not planned.inherited
    (planned,) = make_plan([service_item()], [live], left(f"{PREFIX}api:6"))
    assert planned.before == f"{PREFIX}api:3"


def test_problems_block_and_all_are_listed() -> None:
    plan = make_plan(
        [service_item("a"), service_item("b", image="x:1")],
        [Live(findings=(NO_CLUSTER,)), Live(findings=(NO_SERVICE, NO_CLUSTER))],
    )
    assert [p.action for p in plan] == ["blocked", "blocked"]
    assert plan[1].findings == (NO_SERVICE, NO_CLUSTER)


def test_waves_ascend_tasks_go_first_and_targets_never_share_a_batch() -> None:
    items = [service_item("a", wave=1), service_item("b"), task_item(), service_item("c", target="other")]
    plan = make_plan(items, [service_live(), service_live(), task_live(), service_live()])
    batches = cut(plan, "r", 1)
    assert [wave["wave"] for wave in batches.waves] == [0, 1]
    first = batches.waves[0]
    assert first["tasks"] == [0]
    assert len(first["services"]) == 2
    by_batch: dict[int, set[tuple[str, str, int]]] = {}
    for record in batches.records:
        by_batch.setdefault(record.batch, set()).add((record.target, record.kind, record.wave))
    assert all(len(kinds) == 1 for kinds in by_batch.values())
    assert [len(lane) for lane in batches.prepare] == [3, 1]


def test_a_batch_is_no_larger_than_one_worker_can_do() -> None:
    items = [service_item(f"s{n}") for n in range(2 * BATCH_SIZE + 1)]
    batches = cut(make_plan(items, [service_live()] * len(items)), "r", 1)
    assert batches.waves[0]["services"] == [0, 1, 2]
    assert max(record.number for record in batches.records) == BATCH_SIZE - 1


def test_unchanged_items_are_recorded_and_watched_but_never_handed_to_a_writer() -> None:
    batches = cut(make_plan([service_item(image="api:1"), service_item("b")], [service_live()] * 2), "r", 1)
    unchanged = next(record for record in batches.records if record.action == "unchanged")
    assert unchanged.batch not in batches.waves[0]["services"]
    assert batches.waves[0]["batches"] == [0, 1]
    assert unchanged.deployment_id == "ecs-svc/1"


@pytest.mark.parametrize(
    ("members", "action", "codes"),
    [
        ({"ScheduleExpression": "at(2020-01-01T00:00:00)"}, "blocked", ["E229"]),
        ({"ScheduleExpression": "at(2020-01-01T00:00:00)", "State": "DISABLED"}, "update", ["W207", "W208"]),
        ({"ScheduleExpression": "at(2090-01-01T00:00:00)"}, "update", []),
        ({"ScheduleExpression": "rate(1 day)", "EndDate": 1.5e9}, "update", ["W208"]),
    ],
)
@pytest.mark.parametrize("changed", [True, False])
def test_a_one_time_schedule_that_is_over_is_not_to_be_written(
    members: dict[str, Any], action: str, codes: list[str], changed: bool
) -> None:
    """Scheduler may start it at once (https://iret.media/116859); what stays as it is, is not written."""
    schedule = {**members, "Target": {"EcsParameters": {"TaskDefinitionArn": f"{PREFIX}api:7"}}}
    image = "api:2" if changed else "api:1"
    found = Selection(
        (schedule,), definition(), True, {"api": image}, tuple(schedule_findings(schedule, time.time()))
    )
    item = Schedule(images={"api": image}, exact=False, schedule="n")
    (planned,) = make_plan([item], [Live(selection=found, definition=definition())])
    assert planned.action == (action if changed else "unchanged")
    kept = ["W208" if code == "E229" and not changed else code for code in codes]
    assert [finding.code for finding in planned.findings if finding.code != "W224"] == kept
