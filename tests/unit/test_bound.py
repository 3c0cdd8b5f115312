"""What was approved is what runs: the digest that a tag meant when the release began is the one that ECS says it started."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import ClientError
from ecs_release.aws import registry
from ecs_release.aws.clients import Target
from ecs_release.aws.permissions import CALLS
from ecs_release.aws.registry import Meaning
from ecs_release.aws.service_state import ServiceState
from ecs_release.manifest import Service
from ecs_release.record.models import ItemRecord
from ecs_release.record.statuses import Status
from ecs_release.settings import Settings
from ecs_release.steps.judging import judge_item
from ecs_release.steps.starting import Starting

IMAGE = "111111111111.dkr.ecr.eu-west-1.amazonaws.com/shop/app:2"
A, B, C = (f"sha256:{letter * 64}" for letter in "abc")
REVISION = "arn:aws:ecs:eu-west-1:111111111111:service-revision/c/s"
BEFORE, AFTER = (f"arn:aws:ecs:eu-west-1:111111111111:task-definition/app:{n}" for n in (1, 2))
ITEM = ItemRecord(
    *("r", 0, 0, 1, Service(cluster="c", service="s"), "update"),
    {"app": {"from": "app:1", "to": IMAGE, "digest": A}, "side": {"from": "side:1", "to": "side:1"}},
    live=BEFORE,
    before=BEFORE,
    after=AFTER,
    verdict="UPDATED",
    status="UPDATED",
    started_at=1,
    deployment_id="ecs-svc/2",
)


class Ecs:
    """Worker, store and ECS in one: a service whose rollout is complete.

    Attributes
    ----------
    revisions : what its service revisions run: number -> (task definition, container -> digest).
    """

    settings = Settings("releases", poll_seconds=0, settle_seconds=0)

    def __init__(self, runs: dict[str, str]) -> None:
        self.revisions: dict[str, tuple[str, dict[str, str]]] = {"2": (AFTER, runs)}
        self.targets = {"default": Target("default", "111111111111", "eu-west-1", "arn:write", "arn:read")}
        self.trouble: ClientError | None = None
        self.store = self.connections = self

    def client(self, *_: Any, **__: Any) -> Any:
        return self

    def update_item(self, item: ItemRecord, changes: dict[str, Any], **_: Any) -> ItemRecord:
        return dataclasses.replace(item, **changes)

    settle_item = update_item

    def service(self) -> ServiceState:
        primary = {
            "id": "ecs-svc/2",
            "status": "PRIMARY",
            "taskDefinition": AFTER,
            "rolloutState": "COMPLETED",
        }
        current = [{"arn": f"{REVISION}/{number}"} for number in self.revisions]
        service = {"serviceName": "s", "status": "ACTIVE", "desiredCount": 1, "taskDefinition": AFTER}
        return ServiceState({**service, "deployments": [primary], "currentServiceRevisions": current})

    def describe_service_revisions(self, serviceRevisionArns: list[str]) -> Any:
        if self.trouble is not None:
            raise self.trouble
        found = {arn: self.revisions[arn.rpartition("/")[2]] for arn in serviceRevisionArns}
        return {
            "serviceRevisions": [
                {
                    "serviceRevisionArn": arn,
                    "taskDefinition": runs,
                    "containerImages": [{"containerName": c, "imageDigest": d} for c, d in digests.items()],
                }
                for arn, (runs, digests) in found.items()
            ]
        }

    def get_paginator(self, _: str) -> Any:
        return SimpleNamespace(paginate=lambda **_: [{}])


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the registry says of the image that was approved; and, under "names", what it was asked for."""
    said: dict[str, Any] = {"meaning": Meaning(A), "names": []}

    def look_up(_: Any, images: set[str]) -> dict[str, Meaning]:
        said["names"] += images
        return dict.fromkeys(images, said["meaning"])

    monkeypatch.setattr(registry.Registry, "look_up", look_up)
    return said


def verdict(ecs: Any, item: ItemRecord = ITEM, *, now: float = 100.0, soak_seconds: int = 0) -> ItemRecord:
    services: Any = {("default", "c", "s"): ecs.service()}
    return judge_item(ecs, item, services, Starting(ecs), now, soak_seconds=soak_seconds)


def test_what_runs_as_approved_is_not_asked_for(asked: dict[str, Any]) -> None:
    assert verdict(Ecs({"app": A, "side": C})).verdict is Status.SUCCEEDED
    assert not asked["names"]


@pytest.mark.parametrize("runs", [{}, {"side": C}], ids=["nothing", "another container's alone"])
def test_where_ecs_names_no_digest_there_is_nothing_to_compare(
    asked: dict[str, Any], runs: dict[str, str]
) -> None:
    assert verdict(Ecs(runs)).verdict is Status.SUCCEEDED


def test_so_there_is_where_nobody_knew_it_when_the_release_began(asked: dict[str, Any]) -> None:
    item = dataclasses.replace(ITEM, images={"app": {"from": "app:1", "to": IMAGE}})
    assert verdict(Ecs({"app": B}), item).verdict is Status.SUCCEEDED
    assert not asked["names"]


def test_a_tag_that_was_moved_after_the_release_began_fails_the_item(asked: dict[str, Any]) -> None:
    failed = verdict(Ecs({"app": B}))
    assert failed.verdict is Status.FAILED
    assert failed.reason == (
        f"container app runs {B}, and {IMAGE} meant {A} when the release began: the tag was moved"
    )
    assert asked["names"] == [f"{IMAGE.rpartition(':')[0]}@{A}"]


def test_the_platform_manifest_of_the_approved_index_is_the_same_image(asked: dict[str, Any]) -> None:
    asked["meaning"] = Meaning(A, frozenset({B, C}))
    assert verdict(Ecs({"app": B})).verdict is Status.SUCCEEDED


@pytest.mark.parametrize(
    ("meaning", "why"),
    [
        (Meaning(unknown="can't be looked up: AccessDeniedException"), "that one can't be looked up"),
        (Meaning(missing="ImageNotFound"), "that one is gone from ECR (ImageNotFound)"),
    ],
)
def test_what_nobody_can_compare_is_unverified(asked: dict[str, Any], meaning: Meaning, why: str) -> None:
    asked["meaning"] = meaning
    judged = verdict(Ecs({"app": B}))
    assert judged.verdict is Status.UNVERIFIED
    assert why in judged.reason


def test_the_revision_of_our_own_deployment_counts(asked: dict[str, Any]) -> None:
    """Not that of a restart, which has resolved the tag anew."""
    ecs = Ecs({"app": A})
    ecs.revisions["3"] = (AFTER, {"app": B})
    assert verdict(ecs).verdict is Status.SUCCEEDED


def test_that_of_a_restart_alone_proves_nothing(asked: dict[str, Any]) -> None:
    ecs = Ecs({})
    ecs.revisions = {"3": (AFTER, {"app": B})}
    assert verdict(ecs).verdict is Status.SUCCEEDED


def test_where_ecs_tells_no_numbers_its_task_definition_counts(asked: dict[str, Any]) -> None:
    ecs = Ecs({})
    ecs.revisions = {"x": (BEFORE, {"app": C}), "y": (AFTER, {"app": B})}
    assert verdict(ecs).verdict is Status.FAILED


@pytest.mark.parametrize(
    ("code", "at", "expected"),
    [
        ("ThrottlingException", 100.0, "UPDATED"),
        ("ThrottlingException", 1e6, Status.UNVERIFIED),
        ("AccessDeniedException", 100.0, Status.UNVERIFIED),
    ],
)
def test_a_complete_rollout_whose_images_can_not_be_read_is_not_undone(
    asked: dict[str, Any], code: str, at: float, expected: str
) -> None:
    ecs = Ecs({"app": B})
    ecs.trouble = ClientError({"Error": {"Code": code}}, "DescribeServiceRevisions")
    judged = verdict(ecs, now=at)
    assert judged.verdict == expected
    assert "which images it runs can't be read" in judged.reason or expected == "UPDATED"


@pytest.mark.parametrize(
    ("meaning", "expected"),
    [(Meaning(missing="ImageNotFound"), Status.UNVERIFIED), (Meaning(B), Status.SUCCEEDED)],
)
def test_what_is_watched_afterwards_is_compared_at_its_end(
    asked: dict[str, Any], meaning: Meaning, expected: Status
) -> None:
    """A rollout that nobody can compare is watched like any other."""
    asked["meaning"] = meaning
    ecs = Ecs({"app": B})
    began = verdict(ecs, soak_seconds=600)
    assert (began.verdict, began.completed_at) == ("UPDATED", 100)
    assert verdict(ecs, began, now=800.0, soak_seconds=600).verdict is expected


def test_a_moved_tag_is_not_watched_first(asked: dict[str, Any]) -> None:
    assert verdict(Ecs({"app": B}), soak_seconds=600).verdict is Status.FAILED


def test_an_unchanged_service_is_not_bound_to_anything_new(asked: dict[str, Any]) -> None:
    unchanged = dataclasses.replace(ITEM, action="unchanged", verdict="PENDING", after=AFTER, live=AFTER)
    assert verdict(Ecs({"app": B}), unchanged).verdict is Status.UNCHANGED


def test_the_reader_may_ask_for_it() -> None:
    assert "ecr:BatchGetImage" in CALLS["check_rollouts"]
