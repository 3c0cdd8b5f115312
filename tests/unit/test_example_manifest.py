"""examples/local/deployment.yaml, the estate it is for, and the edits the demo makes agree with each other."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.stub import ANY
from ecs_release.manifest import Rule, Schedule, load
from local_aws.estate import ACCOUNT, IMAGES, Estate, make_shop
from local_aws.estate.observed import count_members, differences

from scripts import demo
from scripts.terraform import variables


class Recorder:
    """Stands for every boto3 client: remembers the requests, answers what the estate needs to go on."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, dict[str, Any]]] = []

    def client(self, service: str) -> Recorder:
        return self

    def __getattr__(self, operation: str) -> Any:
        def call(**request: Any) -> dict[str, Any]:
            self.calls.append((operation, request))
            if operation == "create_cluster":
                return {
                    "cluster": {
                        "clusterArn": f"arn:aws:ecs:us-east-1:{ACCOUNT}:cluster/{request['clusterName']}"
                    }
                }
            if operation == "register_task_definition":
                return {"taskDefinition": {"taskDefinitionArn": f"task-definition/{request['family']}:1"}}
            return {"service": {"serviceArn": ANY}, "EventBuses": [], "repositories": []}

        return call

    def requests(self, operation: str) -> list[dict[str, Any]]:
        return [request for name, request in self.calls if name == operation]


@pytest.fixture
def shop() -> Recorder:
    recorder = Recorder()
    make_shop(recorder)
    return recorder


def test_the_manifest_names_all_of_the_estate_and_nothing_else(shop: Recorder) -> None:
    manifest = load(demo.MANIFEST.read_bytes()).manifest
    assert manifest is not None
    services = {f"{r['cluster']}/{r['serviceName']}" for r in shop.requests("create_service")}
    rules = {(r["EventBusName"], r["Name"]) for r in shop.requests("put_rule")}
    schedules = {(r["GroupName"], r["Name"]) for r in shop.requests("create_schedule")}
    items = manifest.items
    assert {item.name for item in items if item.kind == "service"} == services
    assert {(item.event_bus, item.rule) for item in items if isinstance(item, Rule)} == rules
    assert {(item.group, item.schedule) for item in items if isinstance(item, Schedule)} == schedules
    assert len(services) == 12
    assert len(rules) + len(schedules) == 3


def test_every_item_changes_an_image_of_a_container_that_exists(shop: Recorder) -> None:
    manifest = load(demo.MANIFEST.read_bytes()).manifest
    assert manifest is not None
    families = {
        request["family"]: {c["name"]: c["image"] for c in request["containerDefinitions"]}
        for request in shop.requests("register_task_definition")
    }
    for item in manifest.items:
        live = next(images for images in families.values() if set(item.images) <= set(images))
        assert all(live[name] != image for name, image in item.images.items()), item.name


@pytest.mark.parametrize(
    "changes", [{}, demo.NEXT | demo.CRASHING, demo.NEXT | demo.FIXED], ids=["4.0", "4.1", "4.2"]
)
def test_every_image_that_the_demo_pushes_is_in_the_registry(changes: dict[str, str]) -> None:
    text = demo.MANIFEST.read_text()
    for old, new in changes.items():
        assert text.count(old) == 1
        text = text.replace(old, new)
    manifest = load(text.encode()).manifest
    assert manifest is not None
    for item in manifest.items:
        for image in item.images.values():
            registry, _, name = image.partition("/")
            repository, _, tag = name.partition(":")
            if registry.startswith(ACCOUNT):
                assert tag in IMAGES[repository], image


def test_an_estate_has_what_makes_copies_go_wrong(shop: Recorder) -> None:
    definitions = {r["family"]: r for r in shop.requests("register_task_definition")}
    assert [c["name"] for c in definitions["api"]["containerDefinitions"]] == ["api-proxy", "api"]
    assert "taskRoleArn" not in definitions["recommendations"]
    assert definitions["reports"]["ephemeralStorage"] == {"sizeInGiB": 100}
    targets = next(r for r in shop.requests("put_targets") if r["Rule"] == "test-rating-cleanup")["Targets"]
    assert ["EcsParameters" in target for target in targets] == [False, False, False, False, True]
    schedule = shop.requests("create_schedule")[0]
    assert {"DeadLetterConfig", "RetryPolicy"} <= set(schedule["Target"])
    assert schedule["FlexibleTimeWindow"]["Mode"] == "FLEXIBLE"
    assert "EndDate" in schedule


def test_an_estate_in_another_account_names_that_accounts_roles() -> None:
    recorder = Recorder()
    Estate(recorder, "222222222222").family("app", [{"name": "app", "image": "app:1"}])
    request = recorder.requests("register_task_definition")[0]
    assert request["executionRoleArn"] == "arn:aws:iam::222222222222:role/ecs-execution"


def test_differences_names_every_member_that_differs() -> None:
    before = {"cpu": "256", "containers": [{"name": "a", "env": []}], "gone": 1}
    after = {"cpu": "512", "containers": [{"name": "a", "env": [1]}], "new": 2}
    assert differences(before, after) == [
        "containers[0].env: [] is now [1]",
        "cpu: '256' is now '512'",
        "gone: 1 is now None",
        "new: None is now 2",
    ]
    assert differences(before, before) == []
    assert count_members(before) == 3


@pytest.mark.parametrize(
    ("text", "arguments"),
    [
        ("", []),
        ("-var poll_seconds=2", ["-var", "poll_seconds=2"]),
        ("-var=poll_seconds=2 --var name=shop", ["-var=poll_seconds=2", "-var", "name=shop"]),
        ("poll_seconds=2 name=shop", ["-var", "poll_seconds=2", "-var", "name=shop"]),
        ("-var 'tags={a=\"b c\"}'", ["-var", 'tags={a="b c"}']),
        ("-var-file=my.tfvars", ["-var-file=my.tfvars"]),
    ],
)
def test_tf_vars_are_read_as_terraform_writes_them(text: str, arguments: list[str]) -> None:
    assert variables(text) == arguments


@pytest.mark.parametrize("text", ["poll_seconds", "-var", "-destroy"])
def test_tf_vars_that_are_no_settings_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="TF_VARS"):
        variables(text)
