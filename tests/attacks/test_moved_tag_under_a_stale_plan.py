"""A plan is approved with ``ALLOW_STALE_PLAN``, and something else is deployed under it: another image behind the same tag,
another image, one item more or one less. The override forgives what somebody did to what is live, and nothing else."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
from collections.abc import Callable
from typing import Any

import pytest
from ecs_release.aws.clients import Target
from ecs_release.aws.registry import Registry
from ecs_release.aws.service_state import ServiceState
from ecs_release.aws.task_definitions import TaskDefinition
from ecs_release.errors import ManifestInvalidError
from ecs_release.manifest import Service, from_document
from ecs_release.plan import request as request_module
from ecs_release.plan.approval import stale
from ecs_release.plan.decide import PlannedItem, make_plan
from ecs_release.plan.document import plan_document
from ecs_release.plan.live import Live
from hypothesis import given, settings
from hypothesis import strategies as st

ACCOUNT, REGION = "111111111111", "eu-west-1"
HOST = f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com"
TO_UPDATE = ("api", "web", "worker")
NAMES = (*TO_UPDATE, "same")  # of which the last one runs already what the manifest names


def sha256(text: str) -> str:
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()


class World:
    """What runs and what tags mean: both may change between the approval and the release."""

    def __init__(self) -> None:
        self.manifest = {name: f"{HOST}/{name}:2.0" for name in NAMES}
        self.live = {name: f"{HOST}/{name}:1.0" for name in NAMES} | {"same": f"{HOST}/same:2.0"}
        self.revisions = dict.fromkeys(NAMES, 7)
        self.containers = {name: name for name in NAMES}
        self.waves = dict.fromkeys(NAMES, 0)
        self.on_failure = "rollback"
        self.tags = {
            f"{name}:{tag}": sha256(f"{name}:{tag}") for name in NAMES for tag in ("1.0", "2.0", "3.0")
        }
        self.targets = {"default": Target("default", ACCOUNT, REGION, "arn:write", "arn:read")}

    # connections, as the registry uses them

    def client(self, *_: Any, **__: Any) -> World:
        return self

    def batch_get_image(self, **given: Any) -> dict[str, Any]:
        (which,) = given["imageIds"]
        digest = self.tags.get(f"{given['repositoryName']}:{which['imageTag']}")
        found = {"imageId": {**which, "imageDigest": digest}, "imageManifest": "{}"}
        return {"images": [found] if digest else [], "failures": []}

    def describe_repositories(self, **_: Any) -> dict[str, Any]:
        return {"repositories": []}

    # the plan

    def plan(self) -> list[PlannedItem]:
        items, live = [], []
        for name, image in self.manifest.items():
            arn = f"arn:aws:ecs:{REGION}:{ACCOUNT}:task-definition/{name}:{self.revisions[name]}"
            definition = TaskDefinition(
                {
                    "taskDefinitionArn": arn,
                    "family": name,
                    "revision": self.revisions[name],
                    "containerDefinitions": [{"name": self.containers[name], "image": self.live[name]}],
                }
            )
            state: Any = {"desiredCount": 1, "taskDefinition": arn, "deployments": []}
            registry = Registry(self, "default")  # type: ignore[arg-type]
            asked = {image: registry.find(image)} if self.live[name] != image else {}
            items.append(
                Service(images={name: image}, exact=False, cluster="c", service=name, wave=self.waves[name])
            )
            live.append(Live(ServiceState(state), definition=definition, completed=arn, registry=asked))
        return make_plan(items, live)

    def document(self) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(json.dumps(plan_document(self.plan(), self.on_failure)))
        return document

    def refusal(self, approved: dict[str, Any], *, allow_stale: bool) -> list[str]:
        """Why Parse would not release what there is now under the plan that was approved."""
        service = {"service": "api", "clusterName": "c", "serviceName": "api", "image": "api:1"}
        manifest = from_document({"services": [service], "onFailure": self.on_failure}).manifest
        request = request_module.Request("deploy", manifest, plan=approved, allow_stale=allow_stale)
        return stale(self, request, self.plan())  # type: ignore[arg-type]


def drift_revision(world: World, name: str) -> None:
    world.revisions[name] += 1


def drift_image(world: World, name: str) -> None:
    if name != "same":  # what was not to be changed would be: an attack, below
        world.live[name] = f"{HOST}/{name}:3.0"
        world.revisions[name] += 2


def drift_deployed_by_hand(world: World, name: str) -> None:
    world.live[name] = world.manifest[name]
    world.revisions[name] += 3


def attack_moved_tag(world: World, name: str) -> None:
    world.tags[f"{name}:2.0"] = sha256(f"{name} of an attacker")


def attack_vanished_tag(world: World, name: str) -> None:
    world.tags.pop(f"{name}:2.0", None)


def attack_other_tag(world: World, name: str) -> None:
    world.manifest[name] = f"{HOST}/{name}:3.0"


def attack_other_registry(world: World, name: str) -> None:
    world.manifest[name] = f"evil.example/{name}:2.0"


def attack_item_removed(world: World, name: str) -> None:
    world.manifest.pop(name, None)


def attack_item_added(world: World, name: str) -> None:
    for known in (world.manifest, world.live):
        known["added"] = f"{HOST}/added:2.0"
    world.revisions["added"], world.containers["added"], world.waves["added"] = 1, "added", 0


def attack_other_container(world: World, name: str) -> None:
    world.containers[name] = "another"


def attack_never_seen_tag(world: World, name: str) -> None:
    """It was unchanged in the plan, so nobody was shown what its tag means."""
    world.live["same"] = f"{HOST}/same:1.0"


def attack_other_wave(world: World, name: str) -> None:
    world.waves[name] += 1


def attack_on_failure(world: World, name: str) -> None:
    world.on_failure = "stop"


Change = Callable[[World, str], None]
DRIFTS: list[Change] = [drift_revision, drift_image, drift_deployed_by_hand]
ATTACKS: list[Change] = [change for name, change in globals().items() if name.startswith("attack_")]


def names(changes: list[Change]) -> st.SearchStrategy[list[tuple[Change, str]]]:
    return st.lists(st.tuples(st.sampled_from(changes), st.sampled_from(NAMES)), max_size=4)


@given(names(DRIFTS), st.sampled_from(ATTACKS), st.sampled_from(TO_UPDATE))
@settings(max_examples=150, deadline=None, derandomize=True)
def test_the_override_never_forgives_what_is_more_than_drift(
    drifts: list[tuple[Change, str]], attack: Change, name: str
) -> None:
    world = World()
    approved = world.document()
    for drift, victim in drifts:
        drift(world, victim)
    attack(world, name)
    refusal = world.refusal(approved, allow_stale=True)
    assert refusal, "deployed under an approval that did not cover it"
    assert "ALLOW_STALE_PLAN forgives" in refusal[0]
    assert not any("was live, now" in line for line in refusal), "what is forgiven is no reason to refuse"


@given(names(DRIFTS))
@settings(max_examples=60, deadline=None, derandomize=True)
def test_the_override_forgives_drift_and_without_it_nothing_is_forgiven(
    drifts: list[tuple[Change, str]],
) -> None:
    world = World()
    approved = world.document()
    for drift, victim in drifts:
        drift(world, victim)
    assert world.refusal(approved, allow_stale=True) == []
    stale = world.document()["digest"] != approved["digest"]
    assert bool(world.refusal(approved, allow_stale=False)) is stale


@pytest.mark.parametrize("allow_stale", [True, False])
def test_a_tag_that_moved_is_refused_also_when_somebody_has_deployed_it_already(allow_stale: bool) -> None:
    world = World()
    approved = world.document()
    world.tags["api:2.0"] = sha256("another")
    drift_deployed_by_hand(world, "api")
    refusal = world.refusal(approved, allow_stale=allow_stale)
    assert any(f"moved from {sha256('api:2.0')} to {sha256('another')}" in line for line in refusal)


# --- the plan that comes in


class Bucket:
    def __init__(self, document: Any) -> None:
        self.body = json.dumps(document).encode()

    def get_object(self, **_: Any) -> dict[str, Any]:
        return {"Body": io.BytesIO(self.body)}


def read_plan(monkeypatch: pytest.MonkeyPatch, document: Any) -> Any:
    bucket = Bucket(document)
    monkeypatch.setattr(request_module, "own_client", lambda _: bucket)
    return request_module._approved_plan(
        {"bucket": "b", "key": "k", "versionId": "v", "sha256": hashlib.sha256(bucket.body).hexdigest()},
        until=0.0,
    )


def test_a_plan_that_only_claims_the_approved_digest_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """What CodePipeline remembers is the digest: a forged file would name it and hold other items."""
    world = World()
    approved = world.document()
    assert read_plan(monkeypatch, approved) == approved
    attack_moved_tag(world, "api")
    forged = world.document() | {"digest": approved["digest"]}
    document: Any
    for document in (forged, {"digest": approved["digest"]}, [], "plan", None, {"digest": "x", "items": [1]}):
        with pytest.raises(ManifestInvalidError, match="run the pipeline again"):
            read_plan(monkeypatch, document)


@pytest.mark.parametrize("value", ["yes", "true", "True", 1, ["yes"], {"yes": True}, "no", None, 0, False])
def test_in_the_execution_input_nothing_but_true_asks_for_it(
    monkeypatch: pytest.MonkeyPatch, value: Any
) -> None:
    service = {"service": "api", "clusterName": "c", "serviceName": "api", "image": "api:1"}
    bucket = Bucket({"services": [service]})
    monkeypatch.setattr(request_module, "own_client", lambda _: bucket)
    reference = {"bucket": "b", "key": "k", "sha256": hashlib.sha256(bucket.body).hexdigest()}
    document = {"version": 1, "mode": "deploy", "manifest": reference, "allowStale": value}
    assert request_module.read_request(document).allow_stale is False
    assert request_module.read_request({**document, "allowStale": True}).allow_stale is True
    assert not dataclasses.replace(request_module.Request("deploy")).allow_stale
