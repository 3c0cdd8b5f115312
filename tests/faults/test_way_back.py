"""The way back, when what "back" names has gone or means something else by now: said before, gone to by digest, never claimed."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from arena import CLUSTER, Arena, service, task, until
from local_aws.estate import ACCOUNT
from stack import HANG_SECONDS, Outcome
from world import container

pytestmark = pytest.mark.takes_long

REGISTRY = f"{ACCOUNT}.dkr.ecr.us-east-1.amazonaws.com"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
BREAKER = {"deploymentCircuitBreaker": {"enable": True, "rollback": True}}


class Images:
    """Repositories whose tags can be moved."""

    def __init__(self, arena: Arena) -> None:
        self.ecr = arena.stack.client("ecr")

    def push(self, name: str, tag: str, content: str) -> str:
        """Push some content under a tag; its digest."""
        layer = {"digest": f"sha256:{hashlib.sha256(content.encode()).hexdigest()}", "size": 1}
        manifest = {"schemaVersion": 2, "mediaType": MANIFEST, "layers": [layer], "config": layer}
        put = self.ecr.put_image(repositoryName=name, imageTag=tag, imageManifest=json.dumps(manifest))
        return str(put["image"]["imageId"]["imageDigest"])

    def expire(self, name: str, digest: str) -> None:
        """What a lifecycle policy does."""
        self.ecr.batch_delete_image(repositoryName=name, imageIds=[{"imageDigest": digest}])


def named(name: str, tag: str) -> str:
    return f"{REGISTRY}/{name}:{tag}"


def entry(name: str, tag: str = "2") -> dict[str, Any]:
    return service(name, image=named(name, tag))


def made(arena: Arena, images: Images, *names: str, **members: Any) -> dict[str, str]:
    """Services that run the tag ``stable``, whose digests are the result, and the tag ``2`` to release."""
    digests = {}
    for name in names:
        images.ecr.create_repository(repositoryName=name, imageTagMutability="MUTABLE")
        digests[name] = images.push(name, "stable", f"{name} first")
        images.push(name, "2", f"{name} second")
        definition = arena.world.family(name, [container("app", named(name, "stable"))])
        arena.world.service(CLUSTER, name, definition, **members)
    until("all deployed", lambda: all(arena.rollout_state(name) == "COMPLETED" for name in names))
    return digests


def live_image(arena: Arena, name: str) -> str:
    definition = arena.ecs.describe_task_definition(taskDefinition=arena.runs(name))["taskDefinition"]
    return str(definition["containerDefinitions"][0]["image"])


def plan(arena: Arena, document: dict[str, Any], folder: Path) -> dict[str, Any]:
    file = folder / "way-back.yaml"
    file.write_text(json.dumps(document), encoding="utf-8")
    _, printed = arena.command("plan", str(file), "--json")
    result: dict[str, Any] = json.loads(printed)
    return result


class Scene:
    """A release in which one service fails, and all go back as far as they can; its orchestrator is its own."""

    def __init__(self, main: Arena) -> None:
        arena = self.arena = main.another("way-back")
        self.images = Images(arena)
        names = ("wb-same", "wb-moved", "wb-gone", "wb-lost", "wb-bad")
        self.ran = made(arena, self.images, *names)
        self.ran |= made(arena, self.images, "wb-ecs", deploymentConfiguration=BREAKER)
        for name in ("wb-moved", "wb-lost", "wb-ecs"):
            self.images.push(name, "stable", f"{name} broken")
        for name in ("wb-gone", "wb-lost"):
            self.images.expire(name, self.ran[name])
        arena.rollouts(
            {"service": "^wb-bad$", "image": ":2$", "outcome": "fail", "seconds": 1},
            {"service": "^wb-ecs$", "image": ":2$", "outcome": "circuit_breaker_rollback", "seconds": 1},
        )
        # The worker dies when the copy for the way back is registered, and before it can say so.
        arena.faults(
            {
                "operation": "ecs:RegisterTaskDefinition",
                "match": "wb-moved@sha256",
                "kind": "kill",
                "when": "after",
                "times": 1,
            }
        )
        document = {"services": [entry(name) for name in self.ran]}
        self.plan = plan(arena, document, arena.stack.folder)
        self.outcome: Outcome = arena.release(document)

    def item(self, name: str) -> Any:
        return next(i for i in self.outcome.items.values() if i.name.rpartition("/")[2] == name)

    def planned(self, name: str) -> dict[str, Any]:
        return next(i for i in self.plan["items"] if i["name"] == f"{CLUSTER}/{name}")


IN_THE_BACKGROUND = {"way back": Scene}


@pytest.fixture(scope="module")
def scene(arena: Arena) -> Scene:
    found: Scene = arena.background["way back"].result(HANG_SECONDS)
    return found


def test_the_plan_says_before_what_the_way_back_is_worth(scene: Scene) -> None:
    found = {
        name: (scene.planned(name)["wayBack"], [f["code"] for f in scene.planned(name)["findings"]])
        for name in scene.ran
    }
    codes = {name: [code for code in codes if code.startswith("W26")] for name, (_, codes) in found.items()}
    assert codes == {
        "wb-same": [],
        "wb-moved": ["W263"],
        "wb-gone": ["W262"],
        "wb-lost": ["W264"],
        "wb-bad": [],
        "wb-ecs": ["W263"],
    }
    assert scene.plan["waysBack"] == {"sure": 4, "notKnown": 0, "none": 2}
    assert scene.plan["wayBack"] is False


def test_what_still_means_what_ran_goes_straight_back(scene: Scene) -> None:
    arena = scene.arena
    assert arena.runs("wb-same") == "wb-same:1"
    assert scene.item("wb-same").status == "ROLLED_BACK"


@pytest.mark.parametrize("name", ["wb-moved", "wb-ecs"])
def test_a_moved_tag_goes_back_to_the_digest_that_ran(scene: Scene, name: str) -> None:
    arena = scene.arena
    assert live_image(arena, name) == f"{REGISTRY}/{name}@{scene.ran[name]}"
    item = scene.item(name)
    assert item.status == "ROLLED_BACK"
    assert "names the digest that ran" in item.reason
    assert scene.outcome.id not in str(arena.stack.store.memory(item.state_key) or "")


def test_a_worker_that_dies_on_the_way_back_leaves_one_revision(scene: Scene) -> None:
    arena = scene.arena
    assert arena.runs("wb-moved") == "wb-moved:3"
    assert arena.all_revisions("wb-moved") == [f"wb-moved:{n}" for n in (1, 2, 3)]
    assert arena.deployments("wb-moved") == 3


@pytest.mark.parametrize(("name", "says"), [("wb-gone", "is gone from ECR"), ("wb-lost", "means sha256:")])
def test_what_is_gone_is_not_gone_back_to_and_not_claimed(scene: Scene, name: str, says: str) -> None:
    arena = scene.arena
    item = scene.item(name)
    assert item.status == "ROLLBACK_FAILED"
    assert says in item.reason
    assert arena.runs(name) == f"{name}:2"
    assert arena.deployments(name) == 2
    assert scene.outcome.record.status == "ROLLBACK_INCOMPLETE"


def test_what_was_pushed_again_is_put_back_by_hand(scene: Scene) -> None:
    arena = scene.arena
    assert scene.images.push("wb-gone", "stable", "wb-gone first") == scene.ran["wb-gone"]
    scene.images.push("wb-lost", "old", "wb-lost first")
    exit_status, printed = arena.command(
        "repair", "--release", scene.outcome.id.rpartition(":")[2], "--yes", "--json"
    )
    assert exit_status == 0, printed
    assert arena.runs("wb-gone") == "wb-gone:1"
    assert live_image(arena, "wb-lost") == f"{REGISTRY}/wb-lost@{scene.ran['wb-lost']}"


def test_back_by_hand_goes_to_the_digest_and_leaves_alone_what_is_gone(scene: Scene) -> None:
    arena = scene.arena
    images = scene.images
    ran = made(arena, images, "wh-moved", "wh-gone", "wh-same")
    assert arena.release({"services": [entry(name) for name in ran]}).record.status == "SUCCEEDED"
    images.push("wh-moved", "stable", "wh-moved broken")
    images.expire("wh-gone", ran["wh-gone"])
    exit_status, printed = arena.command("rollback", "--dry-run", "--json")
    way = {one["name"].rpartition("/")[2]: one for one in json.loads(printed)}
    assert exit_status == 1
    assert {name: (one["action"], one["wayBack"]) for name, one in way.items()} == {
        "wh-moved": ("update", "sure"),
        "wh-gone": ("left alone", "none"),
        "wh-same": ("update", "sure"),
    }
    _, shown = arena.command("rollback", "--dry-run")
    assert "2 for sure, 0 not known, 1 not at all" in shown
    outcome = arena.release({"version": 1, "mode": "rollback"})
    assert outcome.record.status == "FAILED"
    statuses = {item.name.rpartition("/")[2]: item.status for item in outcome.items.values()}
    assert statuses == {"wh-moved": "SUCCEEDED", "wh-gone": "FAILED", "wh-same": "SUCCEEDED"}
    assert live_image(arena, "wh-moved") == f"{REGISTRY}/wh-moved@{ran['wh-moved']}"
    assert (arena.runs("wh-gone"), arena.runs("wh-same")) == ("wh-gone:2", "wh-same:1")


def test_back_by_hand_goes_on_without_what_was_deleted(scene: Scene) -> None:
    arena = scene.arena
    names = ("wd-service", "wd-revision", "wd-same")
    arena.services(*names)
    arena.rule("wd-rule")
    document = {"tasks": [task("wd-rule")], "services": [service(name) for name in names]}
    assert arena.release(document).record.status == "SUCCEEDED"
    arena.ecs.delete_service(cluster=CLUSTER, service="wd-service", force=True)
    arena.events.remove_targets(Rule="wd-rule", Ids=["task"])
    arena.events.delete_rule(Name="wd-rule")
    arena.ecs.deregister_task_definition(taskDefinition="wd-revision:1")
    arena.ecs.delete_task_definitions(taskDefinitions=["wd-revision:1"])
    exit_status, printed = arena.command("rollback", "--dry-run", "--json")
    way = {one["name"].rpartition("/")[2]: one for one in json.loads(printed)}
    assert exit_status == 1
    assert {name: (one["action"], one["wayBack"]) for name, one in way.items()} == {
        "wd-service": ("left alone", "none"),
        "wd-revision": ("left alone", "none"),
        "wd-rule": ("left alone", "none"),
        "wd-same": ("update", "not known"),  # no registry was asked
    }
    outcome = arena.release({"version": 1, "mode": "rollback"})
    assert outcome.record.status == "FAILED"
    found = {item.name.rpartition("/")[2]: item for item in outcome.items.values()}
    assert {name: item.status for name, item in found.items()} == {
        "wd-service": "FAILED",
        "wd-revision": "FAILED",
        "wd-rule": "FAILED",
        "wd-same": "SUCCEEDED",
    }
    assert "there is no service" in found["wd-service"].reason
    assert "wd-revision:1 is" in found["wd-revision"].reason
    assert "there is no EventBridge rule" in found["wd-rule"].reason
    assert (arena.runs("wd-revision"), arena.runs("wd-same")) == ("wd-revision:2", "wd-same:1")


def test_back_by_hand_goes_on_without_what_nobody_can_look_at(scene: Scene) -> None:
    """A target that was taken out of the module, and a rule whose account refuses: neither keeps the others from going back."""
    arena = scene.arena
    arena.services("wn-gone", "wn-same")
    arena.rule("wn-refused")
    table, client = f"{arena.name}-releases", arena.stack.client("dynamodb")
    row = client.get_item(TableName=table, Key={"pk": {"S": "CONFIG"}, "sk": {"S": "TARGETS"}})["Item"]
    targets = json.loads(row["targets"]["S"])

    def give(names: dict[str, str]) -> None:
        given = json.dumps({name: targets[like] for name, like in names.items()})
        client.put_item(TableName=table, Item={**row, "targets": {"S": given}})

    give({"default": "default", "second": "default"})
    document = {
        "tasks": [task("wn-refused")],
        "services": [service("wn-gone", target="second"), service("wn-same")],
    }
    assert arena.release(document).record.status == "SUCCEEDED"
    give({"default": "default"})
    arena.faults(
        {
            "operation": "events:ListTargetsByRule",
            "match": "wn-refused",
            "kind": "error",
            "error": "AccessDeniedException",
            "times": 2,  # at both looks
        }
    )
    exit_status, printed = arena.command("rollback", "--dry-run", "--json")
    way = {one["name"].rpartition("/")[2]: one for one in json.loads(printed)}
    assert exit_status == 1
    assert (way["wn-gone"]["action"], way["wn-same"]["action"]) == ("left alone", "update")
    outcome = arena.release({"version": 1, "mode": "rollback"})
    assert outcome.record.status == "FAILED"
    found = {item.name.rpartition("/")[2]: item for item in outcome.items.values()}
    assert {name: item.status for name, item in found.items()} == {
        "wn-gone": "FAILED",
        "wn-refused": "FAILED",
        "wn-same": "SUCCEEDED",
    }
    assert 'there is no target "second"' in found["wn-gone"].reason
    assert "AccessDenied" in found["wn-refused"].reason
    assert (arena.runs("wn-gone"), arena.runs("wn-same")) == ("wn-gone:2", "wn-same:1")

    give({"default": "default", "second": "default"})
    arena.no_more("wn-refused")
    again = arena.release({"version": 1, "mode": "rollback"})
    assert again.record.status == "SUCCEEDED"
    assert (arena.runs("wn-gone"), arena.rule_runs("wn-refused")) == ("wn-gone:1", "wn-refused:1")


def test_a_tag_that_moved_under_an_unchanged_manifest_is_said(scene: Scene, tmp_path: Path) -> None:
    arena = scene.arena
    ran = made(arena, scene.images, "wu-moved", "wu-same")
    now = scene.images.push("wu-moved", "stable", "wu-moved by now")
    document = plan(arena, {"services": [entry(name, "stable") for name in ran]}, tmp_path)
    found = {i["name"].rpartition("/")[2]: i for i in document["items"]}
    assert {i["action"] for i in found.values()} == {"unchanged"}
    (said,) = [f for f in found["wu-moved"]["findings"] if f["code"] == "W226"]
    assert (said["values"]["ran"], said["values"]["now"]) == (ran["wu-moved"], now)
    assert "--force-new-deployment" in said["message"]
    assert not [f for f in found["wu-same"]["findings"] if f["code"] == "W226"]
