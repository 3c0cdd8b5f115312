"""Copying task definitions: nothing but images and our tag may differ."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from ecs_release.aws.task_definitions import (
    CONTENT_TAG,
    MAX_TAGS,
    OUTPUT_ONLY,
    TaskDefinition,
    content_digest,
    copy_with_images,
    kept_tags,
    parse_reference,
    same_definition,
)
from ecs_release.plan.choose import choose_containers
from ecs_release.plan.findings import messages

ARN = "arn:aws:ecs:eu-west-1:111111111111:task-definition/api:7"


def definition(tags: list[dict[str, str]] | None = None, **more: Any) -> TaskDefinition:
    body: dict[str, Any] = {
        "taskDefinitionArn": ARN,
        "family": "api",
        "revision": 7,
        "status": "ACTIVE",
        "requiresAttributes": [],
        "compatibilities": ["FARGATE"],
        "registeredAt": 1.0,
        "registeredBy": "arn:aws:iam::111111111111:root",
        "runtimePlatform": {"cpuArchitecture": "ARM64"},
        "containerDefinitions": [
            {"name": "api", "image": "repo/api:1.1", "aMemberOfTomorrow": {"deep": [1, {"x": None}]}},
            {"name": "api-proxy", "image": "repo/api-proxy:1.10"},
        ],
        "volumes": [],
        "tomorrow": {"kept": True},
        **more,
    }
    return TaskDefinition(body, tuple(tags or ()))


def test_a_copy_differs_in_the_named_image_and_our_tag_only() -> None:
    base = definition([{"key": "team", "value": "a"}])
    before = copy.deepcopy(base.body)
    body = copy_with_images(base, {"api": "repo/api:1.2"})
    assert base.body == before
    tags = body.pop("tags")
    assert tags == [
        {"key": "team", "value": "a"},
        {"key": CONTENT_TAG, "value": content_digest(ARN, {"api": "repo/api:1.2"})},
    ]
    expected = {key: value for key, value in before.items() if key not in OUTPUT_ONLY}
    expected["containerDefinitions"][0]["image"] = "repo/api:1.2"
    assert body == expected


def test_absent_members_stay_absent() -> None:
    assert "taskRoleArn" not in copy_with_images(definition(), {})


def test_tags_that_aws_made_are_not_sent_and_ours_is_replaced() -> None:
    base = definition(
        [{"key": "aws:cloudformation:stack-name", "value": "s"}, {"key": CONTENT_TAG, "value": "old"}]
    )
    tags = copy_with_images(base, {"api": "x:1"})["tags"]
    assert [tag["key"] for tag in tags] == [CONTENT_TAG]
    assert tags[0]["value"] != "old"


@pytest.mark.parametrize(("own", "fits"), [(49, True), (50, False)])
def test_fifty_foreign_tags_leave_no_room(own: int, fits: bool) -> None:
    base = definition([{"key": f"k{n}", "value": ""} for n in range(own)])
    assert (len(kept_tags(base)) < MAX_TAGS) is fits
    assert (len(copy_with_images(base, {})["tags"]) <= MAX_TAGS) is fits


def test_containers_are_matched_by_their_whole_name() -> None:
    assert choose_containers(definition(), {"api": "x:1"}, exact=False).images == {"api": "x:1"}
    assert choose_containers(definition(), {"api-proxy": "x:1"}, exact=False).images == {"api-proxy": "x:1"}
    missing = choose_containers(definition(), {"ap": "x:1"}, exact=False)
    assert messages(missing.findings, blocking=True) == (
        'no container "ap" in api:7; it has "api", "api-proxy". Write one of these names.',
    )


def test_another_name_in_a_one_container_definition_is_a_warning_but_not_in_the_exact_form() -> None:
    alone = definition(containerDefinitions=[{"name": "main", "image": "m:1"}])
    loose = choose_containers(alone, {"api": "x:1"}, exact=False)
    assert loose.images == {"main": "x:1"}
    assert [finding.code for finding in loose.findings] == ["W201"]
    assert choose_containers(alone, {"api": "x:1"}, exact=True).findings


@pytest.mark.parametrize(
    ("reference", "parsed"),
    [
        (ARN, ("api", 7)),
        ("api:7", ("api", 7)),
        ("api", ("api", None)),
        ("arn:aws-us-gov:ecs:us-gov-west-1:111111111111:task-definition/a_b-c", ("a_b-c", None)),
    ],
)
def test_references(reference: str, parsed: tuple[str, int | None]) -> None:
    assert parse_reference(reference) == parsed


def test_the_content_digest_depends_on_base_and_images_alone() -> None:
    one = content_digest(ARN, {"a": "1", "b": "2"})
    assert one == content_digest(ARN, {"b": "2", "a": "1"})
    assert one != content_digest(ARN, {"a": "1"})
    assert one != content_digest(ARN[:-1] + "8", {"a": "1", "b": "2"})


def test_a_revision_made_by_hand_from_ours_is_not_taken_for_ours() -> None:
    ours = copy_with_images(definition(), {"api": "x:1"})
    registered = {**copy.deepcopy(ours), "revision": 8, "status": "ACTIVE", "registeredAt": 2.0}
    assert same_definition(ours, registered)
    registered["containerDefinitions"][0]["environment"] = [{"name": "DEBUG", "value": "1"}]
    assert not same_definition(ours, registered)


def test_what_aws_adds_or_orders_otherwise_is_the_same_definition() -> None:
    variables = [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}]
    ours: dict[str, Any] = {
        "containerDefinitions": [
            {"name": "api", "image": "x:1", "environment": variables, "command": ["a", "b"]}
        ]
    }
    theirs = copy.deepcopy(ours)
    theirs["containerDefinitions"][0] |= {"environment": variables[::-1], "cpu": 0, "mountPoints": []}
    assert same_definition(ours, {**theirs, "volumes": [], "enableFaultInjection": False, "tags": []})
    theirs["containerDefinitions"][0]["command"] = ["b", "a"]
    assert not same_definition(ours, theirs)


@pytest.mark.parametrize(
    ("docker", "sent"),
    [
        # ECS describes it, and refuses it at registration.
        (
            {"scope": "task", "autoprovision": False, "driver": "local", "labels": {}},
            {"scope": "task", "driver": "local", "labels": {}},
        ),
        ({"scope": "task", "driver": "local"}, {"scope": "task", "driver": "local"}),
        ({"scope": "shared", "autoprovision": False}, {"scope": "shared", "autoprovision": False}),
        ({"scope": "shared", "autoprovision": True}, {"scope": "shared", "autoprovision": True}),
    ],
)
def test_a_docker_volume_is_sent_as_registration_takes_it(
    docker: dict[str, Any], sent: dict[str, Any]
) -> None:
    others = [
        {"name": "scratch", "host": {}},
        {"name": "efs", "efsVolumeConfiguration": {"fileSystemId": "fs-1"}},
    ]
    base = definition(volumes=[*others, {"name": "data", "dockerVolumeConfiguration": docker}])
    before = copy.deepcopy(base.body)
    body = copy_with_images(base, {"api": "x:1"})
    assert body["volumes"] == [*others, {"name": "data", "dockerVolumeConfiguration": sent}]
    assert base.body == before
    # An attempt before this one finds its own revision, as ECS then describes it.
    assert same_definition(body, {**body, "volumes": base.body["volumes"]})
