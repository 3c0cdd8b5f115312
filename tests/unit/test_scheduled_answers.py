"""Whatever EventBridge and Scheduler leave out of an answer, or hold unexpectedly, is that item's problem alone.

Members are dropped, set to null, replaced or added, at any depth; the other items are planned as if nothing were odd.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError
from ecs_release.aws.raw import RAW
from ecs_release.manifest import Rule, Schedule
from ecs_release.manifest.item import Item
from ecs_release.plan import definitions
from ecs_release.plan.decide import make_plan
from ecs_release.plan.definitions import Definitions
from ecs_release.plan.document import plan_document
from ecs_release.plan.live import read_live
from ecs_release.plan.starters import with_starters
from hypothesis import given, settings
from hypothesis import strategies as st
from starters import PREFIX, Aws, rule_target, schedule_of, universal_of

NIGHTLY = f"{PREFIX}nightly:42"
ODD_VALUES: tuple[Any, ...] = (
    None,
    "",
    "x",
    0,
    -1.5,
    True,
    [],
    {},
    [None],
    {"a": None},
    "arn:aws:ecs",
    "<aws.scheduler.execution-id>",
)

RULE = {
    "Targets": [
        {"Id": "queue", "Arn": "arn:aws:sqs:eu-west-1:111111111111:q", "SqsParameters": {}},
        rule_target(
            NIGHTLY,
            PropagateTags="TASK_DEFINITION",
            Tags=[{"Key": "a", "Value": "b"}],
            NetworkConfiguration={"awsvpcConfiguration": {"Subnets": ["s"]}},
        )
        | {"Input": '{"containerOverrides":[]}', "DeadLetterConfig": {"Arn": "q"}},
    ],
    "NextToken": None,
}
SCHEDULES = [
    {
        **base,
        "StartDate": 1.7e9,
        "EndDate": 4e9,
        "GroupName": "default",
        "FlexibleTimeWindow": {"Mode": "OFF"},
    }
    for base in (
        schedule_of(NIGHTLY, PropagateTags="TASK_DEFINITION"),
        universal_of(NIGHTLY, Tags=[{"Key": "a"}]),
    )
]


def paths(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every member at any depth, those of the JSON in an Input as well."""
    members = (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    )
    for key, inner in members:
        if isinstance(value, dict):
            yield (*path, key)
        yield from paths(inner, (*path, key))
        if key == "Input" and isinstance(inner, str):
            yield from paths(json.loads(inner), (*path, key, "JSON"))


def changed(document: Any, path: tuple[Any, ...], change: tuple[str, Any]) -> Any:
    """The document with one member dropped, replaced, or with another one beside it."""
    head, *rest = path
    if head == "JSON":
        return json.dumps(changed(json.loads(document), tuple(rest), change))
    if rest:
        result = copy.copy(document)
        result[head] = changed(document[head], tuple(rest), change)
        return result
    kind, value = change
    members = {key: inner for key, inner in document.items() if kind != "drop" or key != head}
    if kind == "set":
        members[head] = value
    if kind == "add":
        members[f"{head}OfTomorrow"] = value
    return members


@st.composite
def oddities(draw: st.DrawFn, document: Any) -> Any:
    odd = copy.deepcopy(document)
    for _ in range(draw(st.integers(1, 3))):
        places = list(paths(odd)) if _is_readable(odd) else []
        if not places:
            break
        kind = draw(st.sampled_from(("drop", "set", "add")))
        odd = changed(odd, draw(st.sampled_from(places)), (kind, draw(st.sampled_from(ODD_VALUES))))
    return odd


def _is_readable(document: Any) -> bool:
    try:
        return bool(list(paths(document)))
    except ValueError:  # an Input that is no JSON any more
        return False


class Odd(Aws):
    """One odd rule and one odd schedule beside a sound one of each kind."""

    def __init__(self, rule: Any, schedule: Any, about: Any) -> None:
        super().__init__()
        self.odd_rule, self.odd_schedule, self.about = rule, schedule, about

    def describe_rule(self, **asked: Any) -> Any:
        return self.about if asked["Name"] == "odd" else {"State": "ENABLED"}

    def list_targets_by_rule(self, **asked: Any) -> Any:
        if "NextToken" in asked:
            return {RAW: {"Targets": []}}
        return {RAW: self.odd_rule if asked["Rule"] == "odd" else {"Targets": [rule_target(NIGHTLY)]}}

    def get_schedule(self, **asked: Any) -> Any:
        return {RAW: self.odd_schedule if asked["Name"] == "odd" else schedule_of(NIGHTLY)}

    def describe_task_definition(self, taskDefinition: str, **asked: Any) -> Any:
        if not isinstance(taskDefinition, str) or "nightly" not in taskDefinition:
            error = {"Code": "ClientException", "Message": "Unable to describe task definition."}
            raise ClientError({"Error": error}, "DescribeTaskDefinition")
        return super().describe_task_definition(taskDefinition, **asked)


def planned(account: Any) -> dict[str, dict[str, Any]]:
    wanted = {"job": "job:2"}
    items: list[Item] = [
        Rule(images=wanted, rule="odd"),
        Rule(images=wanted, rule="sound"),
        Schedule(images=wanted, schedule="odd"),
        Schedule(images=wanted, schedule="sound"),
    ]
    known = Definitions(account)
    live = with_starters(read_live(items, account, known), items, account, known)
    document = plan_document(make_plan(items, live), "rollback")
    return {item["name"]: item for item in document["items"]}


SOUND = {"sound", "default/sound"}


@pytest.fixture(autouse=True, scope="module")
def no_pauses() -> Iterator[None]:
    """What seems to be missing is looked at once more, seconds later."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(definitions, "LOOK_AGAIN_SECONDS", 0)
        yield


@settings(max_examples=300, deadline=None)
@given(
    oddities(RULE),
    st.sampled_from(SCHEDULES).flatmap(oddities),
    oddities({"Name": "odd", "State": "ENABLED", "ManagedBy": None}),
)
def test_an_odd_answer_is_one_items_problem(rule: Any, schedule: Any, about: Any) -> None:
    found = planned(Odd(rule, schedule, about))
    for name, item in found.items():
        assert item["action"] in ("update", "blocked"), name
        assert (item["action"] == "blocked") == bool(item["problems"])
        assert all(finding["message"].strip() for finding in item["findings"])
    assert {found[name]["action"] for name in SOUND} == {"update"}


def test_without_anything_odd_all_of_them_change() -> None:
    for schedule in SCHEDULES:
        found = planned(Odd(RULE, schedule, {"State": "ENABLED"}))
        assert {item["action"] for item in found.values()} == {"update"}
