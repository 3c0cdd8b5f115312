"""A revision that somebody else registered after the live one: found, told from ours, shown without values, copied or not."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from typing import Any, cast

import pytest
from ecs_release.aws.comparison import differing_members
from ecs_release.aws.registry import RegistryImage
from ecs_release.aws.services import ServiceState
from ecs_release.aws.task_definitions import (
    TaskDefinition,
    TaskDefinitions,
    copy_with_images,
    outline,
)
from ecs_release.errors import ItemBusyError, ItemError
from ecs_release.manifest import Rule, Service, from_document, to_document
from ecs_release.plan.batches import cut
from ecs_release.plan.choose import Selection
from ecs_release.plan.decide import PlannedItem, make_plan
from ecs_release.plan.definitions import Newer, find_newer
from ecs_release.plan.document import compare, plan_document
from ecs_release.plan.findings import Finding
from ecs_release.plan.live import Live
from hypothesis import given
from hypothesis import strategies as st

STEM = "arn:aws:ecs:eu-west-1:111111111111:task-definition/api"


def revision(number: int, *, tags: dict[str, str] | None = None, **body: Any) -> TaskDefinition:
    given_tags = tuple({"key": key, "value": value} for key, value in (tags or {}).items())
    containers = [{"name": "api", "image": "api:1"}, {"name": "proxy", "image": "proxy:1"}]
    return TaskDefinition(
        {
            "taskDefinitionArn": f"{STEM}:{number}",
            "family": "api",
            "revision": number,
            "status": "ACTIVE",
            "containerDefinitions": containers,
            **body,
        },
        given_tags,
    )


def copy(base: TaskDefinition, number: int, **images: str) -> TaskDefinition:
    """What a release registers."""
    body = copy_with_images(base, images)
    tags = tuple(body.pop("tags"))
    return TaskDefinition(
        {**body, "taskDefinitionArn": f"{STEM}:{number}", "revision": number, "status": "ACTIVE"}, tags
    )


class Family:
    """The revisions of one family, as ECS has them."""

    def __init__(self, *revisions: TaskDefinition, deleted: tuple[int, ...] = ()) -> None:
        self._all = {one.arn: one for one in revisions}
        self._deleted = deleted
        self.reads = 0

    def describe(self, reference: str) -> TaskDefinition:
        self.reads += 1
        if self._all[reference].revision in self._deleted:
            raise ItemError("deleted")
        return self._all[reference]

    def newer(self, family: str, number: int) -> Iterator[TaskDefinition]:
        for one in sorted(self._all.values(), key=lambda one: -one.revision):
            if one.revision <= number:
                return
            if one.active:
                yield one

    def found(self, live: int) -> Newer | None:
        return find_newer(cast(TaskDefinitions, self), outline(self._all[f"{STEM}:{live}"]))


def number_of(newer: Newer | None) -> int | None:
    return newer.definition.revision if newer else None


# --- which one it is ------------------------------------------------------------------------------------------------


def test_what_somebody_else_registered_after_the_live_one_is_found() -> None:
    assert number_of(Family(revision(7), revision(8, cpu="512")).found(7)) == 8
    assert number_of(Family(revision(7), revision(8), revision(9, cpu="512")).found(7)) == 9


def test_what_is_older_or_inactive_is_not() -> None:
    assert Family(revision(6, cpu="512"), revision(7)).found(7) is None
    assert Family(revision(7), revision(8, cpu="512", status="INACTIVE")).found(7) is None


@pytest.mark.parametrize(
    "images", [{"api": "api:2"}, {"api": "api:2", "proxy": "proxy:2"}, {}, {"proxy": "p:3"}]
)
def test_what_a_release_registered_is_ours(images: dict[str, str]) -> None:
    live = revision(7, cpu="256", tags={"team": "a"})
    assert Family(live, copy(live, 8, **images)).found(7) is None
    # what somebody else registered before ours, and nobody deployed, is still newer than what is live
    assert number_of(Family(live, revision(8, cpu="512"), copy(live, 9, **images)).found(7)) == 8


def test_ours_of_a_base_that_is_deleted_by_now_is_ours() -> None:
    base, live = revision(5), revision(7)
    assert Family(base, live, copy(base, 8, api="api:2"), deleted=(5,)).found(7) is None


@pytest.mark.parametrize(
    "changed", [{"cpu": "1024"}, {"taskRoleArn": "arn:aws:iam::111111111111:role/other"}]
)
def test_a_revision_that_somebody_made_out_of_ours_took_the_tag_along(changed: dict[str, str]) -> None:
    base = revision(6)
    ours = copy(base, 7, api="api:2")
    by_hand = TaskDefinition(
        {**ours.body, "taskDefinitionArn": f"{STEM}:8", "revision": 8, **changed}, ours.tags
    )
    assert number_of(Family(base, ours, by_hand).found(7)) == 8


def test_a_tag_that_fits_nothing_is_somebody_elses() -> None:
    assert number_of(Family(revision(7), revision(8, tags={"ecs-release:content": "f" * 64})).found(7)) == 8


# --- what differs, by name ------------------------------------------------------------------------------------------

_SECRET = "canary"
_PLACES: dict[str, Any] = {
    "cpu": ("top", _SECRET),
    "taskRoleArn": ("top", _SECRET),
    "volumes": ("top", [{"name": _SECRET}]),
    "someNewMember": ("top", {"deep": [_SECRET]}),
    "environment LOG": ("container", "environment", [{"name": "LOG", "value": _SECRET}]),
    "secrets KEY": ("container", "secrets", [{"name": "KEY", "valueFrom": _SECRET}]),
    "command": ("container", "command", [_SECRET]),
    "dockerLabels": ("container", "dockerLabels", {"a": _SECRET}),
    "anotherNewMember": ("container", "anotherNewMember", _SECRET),
    "tag team": ("tag", "team", _SECRET),
}


@given(st.sets(st.sampled_from(sorted(_PLACES)), min_size=1))
def test_every_difference_is_named_and_no_value_is(places: set[str]) -> None:
    top: dict[str, Any] = {}
    container: dict[str, Any] = {"name": "api", "image": "api:1"}
    tags: dict[str, str] = {}
    for place in places:
        match _PLACES[place]:
            case ("top", value):
                top[place] = value
            case ("container", member, value):
                container[member] = value
            case ("tag", key, value):
                tags[key] = value
    proxy = {"name": "proxy", "image": "proxy:1"}
    there = revision(8, tags=tags, **top, containerDefinitions=[container, proxy])
    newer = Family(revision(7), there).found(7)
    assert newer is not None
    assert {label for _, label in newer.differences} == places
    for base in ("live", "newest"):
        planned = decide(newer, base=base)
        assert _SECRET not in json.dumps(plan_document([planned], "rollback"))
        for place in itertools.islice(sorted(places), 12):
            assert place.split()[-1] in " ".join(planned.warnings)


def test_containers_that_came_and_went_are_named() -> None:
    one, other = ({"name": name, "image": "i:1"} for name in ("old", "new"))
    found = differing_members({"containerDefinitions": [one]}, {"containerDefinitions": [other]})
    assert found == [("old", "removed"), ("new", "added")]


def test_what_aws_adds_or_orders_otherwise_is_no_difference() -> None:
    left = {
        "volumes": [],
        "containerDefinitions": [{"name": "a", "environment": [{"name": "X"}, {"name": "Y"}]}],
    }
    right = {"containerDefinitions": [{"name": "a", "cpu": 0, "environment": [{"name": "Y"}, {"name": "X"}]}]}
    assert differing_members(left, right) == []


# --- what becomes of it ---------------------------------------------------------------------------------------------


def decide(
    newer: Newer | Finding | None,
    *,
    base: str | None = None,
    module: str = "live",
    image: str = "api:2",
) -> PlannedItem:
    live = revision(7)
    state: Any = {
        "status": "ACTIVE",
        "desiredCount": 1,
        "taskDefinition": live.arn,
        "deploymentConfiguration": {"deploymentCircuitBreaker": {"enable": True, "rollback": True}},
        "deployments": [{"id": "ecs-svc/1", "status": "PRIMARY"}],
    }
    found = Live(
        service=ServiceState(state), definition=outline(live), completed=live.arn, newer=newer, base=module
    )
    item = Service(images={"api": image}, cluster="c", service="api", base=base)
    (planned,) = make_plan([item], [found])
    return planned


def codes(planned: PlannedItem) -> list[str]:
    return [finding.code for finding in planned.findings if finding.code[1:3] == "23"]


NEWER = Family(revision(7), revision(8, cpu="512")).found(7)


@pytest.mark.parametrize(
    ("module", "base", "taken"),
    [("live", None, False), ("live", "newest", True), ("newest", None, True), ("newest", "live", False)],
)
def test_the_item_says_which_one_is_copied_else_the_module(
    module: str, base: str | None, taken: bool
) -> None:
    planned = decide(NEWER, base=base, module=module)
    assert planned.base == f"{STEM}:{8 if taken else 7}"
    assert codes(planned) == ["W233" if taken else "W232"]
    assert (planned.live, planned.before) == (f"{STEM}:7", f"{STEM}:7")


def test_an_unchanged_image_is_an_update_with_newest_and_a_warning_with_live() -> None:
    taken, left = decide(NEWER, base="newest", image="api:1"), decide(NEWER, base="live", image="api:1")
    assert (taken.action, taken.base, codes(taken)) == ("update", f"{STEM}:8", ["W233"])
    assert (left.action, codes(left)) == ("unchanged", ["W232"])


def test_a_revision_that_differs_in_images_of_the_manifest_alone_is_silent() -> None:
    containers = [{"name": "api", "image": "api:0"}, {"name": "proxy", "image": "proxy:1"}]
    only_ours = Family(revision(7), revision(8, containerDefinitions=containers)).found(7)
    for base in ("live", "newest"):
        assert codes(decide(only_ours, base=base)) == []
    assert decide(only_ours, base="newest", image="api:1").action == "unchanged"
    containers = [{"name": "api", "image": "api:0"}, {"name": "proxy", "image": "proxy:2"}]
    others = Family(revision(7), revision(8, containerDefinitions=containers)).found(7)
    (warning,) = [w for w in decide(others, base="live").warnings if "proxy" in w]
    assert "container proxy: image" in warning


def test_a_newer_revision_without_the_container_blocks_newest_alone() -> None:
    renamed = Family(
        revision(7), revision(8, containerDefinitions=[{"name": "web", "image": "api:1"}])
    ).found(7)
    blocked = decide(renamed, base="newest")
    assert (blocked.action, codes(blocked)) == ("blocked", ["E232"])
    assert "api:8" in blocked.problems[0]
    assert '"api"' in blocked.problems[0]
    assert "write base: live" in blocked.problems[0]
    assert decide(renamed, base="live").action == "update"
    assert decide(renamed, base="newest", image="api:1").action == "blocked"


def test_what_can_not_be_asked_is_said_and_blocks_newest_alone() -> None:
    refused = Finding("W234", {"family": "api", "why": "AccessDenied: no"})
    assert (decide(refused).action, codes(decide(refused))) == ("update", ["W234"])
    blocked = decide(refused, base="newest")
    assert (blocked.action, codes(blocked)) == ("blocked", ["E233"])
    assert "AccessDenied: no" in blocked.problems[0]
    assert "write base: live" in blocked.problems[0]


@pytest.mark.parametrize("status", ["ACTIVE", "INACTIVE", "DELETE_IN_PROGRESS"])
@pytest.mark.parametrize("base", ["live", "newest"])
def test_of_a_scheduled_task_that_runs_nothing_all_images_are_new_whichever_revision_is_copied(
    base: str, status: str
) -> None:
    """Its image has the wanted name, and nobody knows whether it is still there: nothing was started of it."""
    live, newer = revision(7, status=status), Family(revision(7), revision(8, cpu="512")).found(7)
    gone = RegistryImage(missing="ImageNotFound")
    found = Live(
        selection=Selection(({"Id": "t"},), live, images={"api": "api:1"}),
        definition=live,
        newer=newer,
        registry={"api:1": gone},
    )
    (planned,) = make_plan([Rule(images={"api": "api:1"}, rule="nightly", base=base)], [found])
    assert ("E241" in [finding.code for finding in planned.findings]) is (status != "ACTIVE")


def test_items_that_copy_different_bases_share_no_revision() -> None:
    taken, left = decide(NEWER, base="newest"), decide(NEWER, base="live")
    assert [record.same_as for record in cut([taken, left], "r", 1).records] == [None, None]
    assert [bool(record.same_as) for record in cut([taken, taken], "r", 1).records] == [False, True]


# --- the plan that was approved -------------------------------------------------------------------------------------


def document(planned: PlannedItem) -> dict[str, Any]:
    return plan_document([planned], "rollback")


def test_another_base_than_the_approved_one_is_another_plan_and_no_drift() -> None:
    following = Family(revision(7), revision(8, cpu="512"), revision(9, cpu="1024")).found(7)
    approved = document(decide(NEWER, base="newest"))
    for now in (decide(following, base="newest"), decide(None, base="newest")):
        (difference,) = compare(approved, document(now))
        assert f"{STEM}:8 was to be copied" in difference.text
        assert not difference.drift
    assert compare(approved, document(decide(NEWER, base="newest"))) == []


def test_a_revision_that_is_left_aside_makes_no_other_plan() -> None:
    assert document(decide(None))["digest"] == document(decide(NEWER, base="live"))["digest"]
    older = document(decide(None))
    del older["items"][0]["base"]  # as a version before it was known wrote it
    assert (
        compare({**older, "digest": "x"}, document(decide(NEWER, base="live")))[0].text == "the plan differs"
    )


# --- the manifest ---------------------------------------------------------------------------------------------------


def test_the_manifest_keeps_the_choice() -> None:
    entry = {"service": "api", "clusterName": "c", "serviceName": "api", "image": "api:2"}
    task = {"service": "api", "cwRuleName": "r", "image": "api:2"}
    for base in ("live", "newest", None):
        key = {"base": base} if base else {}
        found = from_document({"services": [{**entry, **key}], "tasks": [{**task, **key}]})
        assert found.manifest is not None, found.errors
        assert {item.base for item in found.manifest.items} == {base}
        assert from_document(to_document(found.manifest)).manifest == found.manifest
    assert [e.code for e in from_document({"services": [{**entry, "base": "latest"}]}).errors] == ["E074"]
    twice = [{**entry, "base": "live"}, {**entry, "service": "proxy", "base": "newest"}]
    assert [e.code for e in from_document({"services": twice}).errors] == ["E091"]


def test_a_listed_revision_that_can_not_be_read_yet_is_not_guessed() -> None:
    class Lagging(Family):
        def newer(self, family: str, number: int) -> Iterator[TaskDefinition]:
            raise ItemBusyError("api:8 is listed and can't be read yet")

    with pytest.raises(ItemBusyError):
        Lagging(revision(7)).found(7)
