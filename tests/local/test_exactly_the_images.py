"""A release deploys exactly the images named, of exactly the items named, and nothing else changes."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest
from stack import Outcome, Stack
from world import ACCOUNT, World, changes, container, difference, image, role

CONTENT_TAG = "ecs-release:content"
CLUSTER = "exact"
BUS = "exact-orders"
GROUP = "exact-reports"

# "api" beside "api-proxy", 1.1 beside 1.10, two entries of one service, `images`, several kinds of scheduled tasks.
MANIFEST = f"""
release: 4.10
tasks:
  - service: cleanup
    cwRuleName: exact-cleanup
    image: {image("cleanup:2")}
  - service: importer
    cwRuleName: exact-import
    eventBusName: {BUS}
    image: {image("importer:2")}
  - service: unpinned
    cwRuleName: exact-unpinned
    image: {image("unpinned:2")}
  - service: report
    scheduleName: exact-nightly
    scheduleGroup: {GROUP}
    image: {image("report:2")}
services:
  - service: api
    clusterName: {CLUSTER}
    serviceName: exact-api
    image: {image("api:1.2")}
  - service: web
    clusterName: {CLUSTER}
    serviceName: exact-pair
    image: {image("web:2")}
  - service: worker
    clusterName: {CLUSTER}
    serviceName: exact-pair
    image: {image("worker:2")}
  - images:
      first: {image("first:2")}
      third: {image("third:2")}
    clusterName: {CLUSTER}
    serviceName: exact-several
  - service: everything
    clusterName: {CLUSTER}
    serviceName: exact-everything
    image: {image("everything:2")}
  - service: current
    clusterName: {CLUSTER}
    serviceName: exact-current
    image: {image("current:1")}
"""


@dataclass(frozen=True)
class Seen:
    world: World
    outcome: Outcome
    before: dict[str, Any]
    after: dict[str, Any]

    @property
    def differences(self) -> dict[str, dict[str, tuple[Any, Any]]]:
        return difference(self.before, self.after)

    def live(self, service: str) -> tuple[str, str]:
        """ARNs of a service's task definition before and after."""
        key = f"service arn:aws:ecs:us-east-1:{ACCOUNT}:service/{CLUSTER}/{service}"
        return self.before[key]["taskDefinition"], self.after[key]["taskDefinition"]


def everything(name: str, tag: str) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Containers and members of a task definition that uses all that there is, and some that there is not yet."""
    containers = [
        container(
            name,
            tag,
            cpu=128,
            memoryReservation=64,
            portMappings=[
                {"containerPort": 8080, "name": "http", "appProtocol": "grpc", "fromTheFuture": {"a": [1]}}
            ],
            environment=[{"name": "STAGE", "value": "test"}, {"name": "EMPTY", "value": ""}],
            secrets=[{"name": "KEY", "valueFrom": f"arn:aws:ssm:us-east-1:{ACCOUNT}:parameter/key"}],
            mountPoints=[{"sourceVolume": "data", "containerPath": "/data", "readOnly": True}],
            dependsOn=[{"containerName": "envoy", "condition": "HEALTHY"}],
            ulimits=[{"name": "nofile", "softLimit": 1024, "hardLimit": 4096}],
            logConfiguration={
                "logDriver": "awslogs",
                "options": {"awslogs-group": "/ecs", "mode": "non-blocking"},
            },
            dockerLabels={"a": "b"},
            restartPolicy={"enabled": True, "ignoredExitCodes": [0], "restartAttemptPeriod": 60},
            unheardOf={"nested": {"deeper": [{"and": "deeper"}]}, "number": 1.5, "none": None},
        ),
        container(
            "envoy", "envoy:1.29", healthCheck={"command": ["CMD", "true"], "interval": 5}, user="1337"
        ),
    ]
    members: dict[str, Any] = {
        "taskRoleArn": role("everything"),
        "executionRoleArn": role("execution"),
        "runtimePlatform": {"cpuArchitecture": "ARM64", "operatingSystemFamily": "LINUX", "generation": 9},
        "ephemeralStorage": {"sizeInGiB": 50},
        "pidMode": "task",
        "enableFaultInjection": True,
        "proxyConfiguration": {
            "type": "APPMESH",
            "containerName": "envoy",
            "properties": [{"name": "ProxyIngressPort", "value": "15000"}],
        },
        "volumes": [
            {
                "name": "data",
                "efsVolumeConfiguration": {
                    "fileSystemId": "fs-1",
                    "transitEncryption": "ENABLED",
                    "novel": True,
                },
            }
        ],
        "tags": [{"key": "team", "value": "a=b/c"}, {"key": "CostCenter", "value": ""}],
        "memberOfNextYear": {"enabled": True, "levels": [{"name": "x", "empty": {}}]},
    }
    return containers, members


def build(world: World) -> None:
    """Make the estate, with neighbours that no release may touch."""
    world.cluster(CLUSTER)
    world.service(
        CLUSTER,
        "exact-api",
        world.family(
            "exact-api",
            # the first container's image starts with the name of the second
            [
                container("api-proxy", "api-proxy:1.1"),
                container("api", "api:1.1"),
                container("api-old", "api:1.10"),
            ],
        ),
    )
    pair = [container("web", "web:1"), container("worker", "worker:1"), container("proxy", "proxy:1")]
    world.service(CLUSTER, "exact-pair", world.family("exact-pair", pair))
    several = [container(name, f"{name}:1") for name in ("first", "second", "third")]
    world.service(CLUSTER, "exact-several", world.family("exact-several", several))
    containers, members = everything("everything", "everything:1")
    world.service(
        CLUSTER,
        "exact-everything",
        world.family("exact-everything", containers, **members),
        tags=[{"key": "team", "value": "shop"}],
        enableExecuteCommand=True,
    )
    world.service(
        CLUSTER, "exact-current", world.family("exact-current", [container("current", "current:1")])
    )
    # A neighbour in the same family as an item, and one with the same container and image.
    world.service(CLUSTER, "exact-bystander", world.revisions("exact-api")[0])
    world.service(CLUSTER, "exact-lookalike", world.family("exact-lookalike", [container("api", "api:1.1")]))

    containers, members = everything("cleanup", "cleanup:1")
    cleanup = world.family("exact-cleanup", containers, **members)
    other = world.family("exact-other", [container("other", "cleanup:1")])
    world.rule(
        "exact-cleanup",
        [
            {"Id": "queue", "Arn": f"arn:aws:sqs:us-east-1:{ACCOUNT}:audit", "InputPath": "$.detail"},
            world.ecs_target("other", CLUSTER, other),
            world.ecs_target(
                "ours",
                CLUSTER,
                cleanup,
                Input='{"containerOverrides":[{"name":"cleanup","command":["run"]}]}',
                RetryPolicy={"MaximumRetryAttempts": 2, "MaximumEventAgeInSeconds": 60},
                DeadLetterConfig={"Arn": f"arn:aws:sqs:us-east-1:{ACCOUNT}:dead"},
                NotInventedYet={"a": {"b": "c"}},
            ),
            {
                "Id": "function",
                "Arn": f"arn:aws:lambda:us-east-1:{ACCOUNT}:function:audit",
                "Input": '{"a": 1}',
            },
            {
                "Id": "topic",
                "Arn": f"arn:aws:sns:us-east-1:{ACCOUNT}:audit",
                "InputTransformer": {"InputPathsMap": {"a": "$.a"}, "InputTemplate": '"<a>"'},
            },
        ],
    )
    importer = world.family("exact-importer", [container("importer", "importer:1")])
    world.rule("exact-import", [world.ecs_target("run", CLUSTER, importer)], bus=BUS)
    # The same name on the default bus is another rule.
    world.rule("exact-import", [world.ecs_target("run", CLUSTER, importer)])
    unpinned = world.family("exact-unpinned", [container("unpinned", "unpinned:1")])
    world.rule("exact-unpinned", [world.ecs_target("run", CLUSTER, unpinned.rpartition(":")[0])])

    containers, members = everything("report", "report:1")
    report = world.family("exact-report", containers, **members)
    world.scheduler.create_schedule_group(Name=GROUP)
    for group in (GROUP, "default"):
        world.schedule(
            "exact-nightly",
            CLUSTER,
            report,
            GroupName=group,
            Description="Every night",
            ScheduleExpression="cron(0 3 * * ? *)",
            ScheduleExpressionTimezone="Europe/Berlin",
            StartDate=datetime(2026, 1, 1, tzinfo=UTC),
            EndDate=datetime(2032, 1, 1, tzinfo=UTC),
            FlexibleTimeWindow={"Mode": "FLEXIBLE", "MaximumWindowInMinutes": 15},
            KmsKeyArn=f"arn:aws:kms:us-east-1:{ACCOUNT}:key/1",
            ActionAfterCompletion="DELETE",
            State="DISABLED",
            Target={
                "DeadLetterConfig": {"Arn": f"arn:aws:sqs:us-east-1:{ACCOUNT}:dead"},
                "RetryPolicy": {"MaximumEventAgeInSeconds": 120, "MaximumRetryAttempts": 3},
                "Input": '{"containerOverrides": []}',
            },
        )


@pytest.fixture(scope="module")
def seen(stack: Stack) -> Seen:
    """The estate before and after the one release of this module."""
    stack.aws.reset()
    world = World(stack)
    build(world)
    stack.wait_for_clean_up()  # what the tests before have left may change nothing between the pictures
    before = world.picture()
    outcome = stack.release(MANIFEST)
    return Seen(world, outcome, before, world.picture())


def test_the_release_succeeds_with_every_item_proven(seen: Seen) -> None:
    assert seen.outcome.status == "SUCCEEDED", seen.outcome.cause
    assert seen.outcome.output == {
        "release": seen.outcome.id,
        "status": "SUCCEEDED",
        "counts": {"SUCCEEDED": 8, "UNCHANGED": 1},
    }
    assert seen.outcome.record.label == "4.10"


@pytest.mark.parametrize(
    ("service", "wanted"),
    [
        ("exact-api", {"api-proxy": "api-proxy:1.1", "api": "api:1.2", "api-old": "api:1.10"}),
        ("exact-pair", {"web": "web:2", "worker": "worker:2", "proxy": "proxy:1"}),
        ("exact-several", {"first": "first:2", "second": "second:1", "third": "third:2"}),
        ("exact-everything", {"everything": "everything:2", "envoy": "envoy:1.29"}),
        ("exact-current", {"current": "current:1"}),
        ("exact-bystander", {"api-proxy": "api-proxy:1.1", "api": "api:1.1", "api-old": "api:1.10"}),
        ("exact-lookalike", {"api": "api:1.1"}),
    ],
)
def test_each_service_runs_exactly_the_images_named(seen: Seen, service: str, wanted: dict[str, str]) -> None:
    primary = seen.world.primary(CLUSTER, service)
    assert seen.world.images(primary["taskDefinition"]) == {name: image(tag) for name, tag in wanted.items()}
    assert primary["rolloutState"] == "COMPLETED"


@pytest.mark.parametrize(
    "family",
    [
        "exact-api",
        "exact-pair",
        "exact-several",
        "exact-everything",
        "exact-cleanup",
        "exact-importer",
        "exact-unpinned",
        "exact-report",
    ],
)
def test_the_new_revision_differs_in_images_and_our_tag_alone(seen: Seen, family: str) -> None:
    first, second = seen.world.revisions(family)  # exactly one new revision
    old, new = seen.world.definition(first), seen.world.definition(second)
    differing = changes(old["taskDefinition"], new["taskDefinition"])
    images = {
        path for path in differing if path.startswith("containerDefinitions/") and path.endswith("/image")
    }
    assert images
    assert set(differing) - images == {"taskDefinitionArn", "revision", "registeredAt"}
    tags = {tag["key"]: tag["value"] for tag in new["tags"]}
    assert len(tags.pop(CONTENT_TAG)) == 64
    assert tags == {tag["key"]: tag["value"] for tag in old["tags"]}


def test_members_no_sdk_knows_arrive_in_the_new_revision(seen: Seen) -> None:
    new = seen.world.definition(seen.live("exact-everything")[1])["taskDefinition"]
    assert new["memberOfNextYear"] == {"enabled": True, "levels": [{"name": "x", "empty": {}}]}
    assert new["containerDefinitions"][0]["unheardOf"]["nested"] == {"deeper": [{"and": "deeper"}]}
    assert new["containerDefinitions"][0]["portMappings"][0]["fromTheFuture"] == {"a": [1]}
    assert new["runtimePlatform"]["generation"] == 9
    assert new["volumes"][0]["efsVolumeConfiguration"]["novel"] is True
    target = seen.world.targets("exact-cleanup")["ours"]
    assert target["NotInventedYet"] == {"a": {"b": "c"}}


def test_a_family_without_task_role_stays_without_one(seen: Seen) -> None:
    new = seen.world.definition(seen.live("exact-pair")[1])["taskDefinition"]
    assert "taskRoleArn" not in new
    assert "executionRoleArn" not in new


def test_of_a_rule_with_five_targets_only_ours_changes(seen: Seen) -> None:
    differing = {what: paths for what, paths in seen.differences.items() if "default/exact-cleanup" in what}
    assert differing == {
        "target default/exact-cleanup/ours": {
            "EcsParameters/TaskDefinitionArn": tuple(seen.world.revisions("exact-cleanup"))
        }
    }
    assert len(seen.world.targets("exact-cleanup")) == 5


def test_the_rule_on_the_custom_bus_is_released_and_its_namesake_is_not(seen: Seen) -> None:
    old, new = seen.world.revisions("exact-importer")
    assert seen.world.targets("exact-import", BUS)["run"]["EcsParameters"]["TaskDefinitionArn"] == new
    assert seen.world.targets("exact-import")["run"]["EcsParameters"]["TaskDefinitionArn"] == old


def test_a_target_without_revision_is_pinned_to_the_new_one(seen: Seen) -> None:
    _, new = seen.world.revisions("exact-unpinned")
    assert seen.world.targets("exact-unpinned")["run"]["EcsParameters"]["TaskDefinitionArn"] == new
    assert any("without a revision" in warning for warning in seen.outcome.record.warnings)


def test_every_other_field_of_the_schedule_stays(seen: Seen) -> None:
    differing = {what: paths for what, paths in seen.differences.items() if what.startswith("schedule ")}
    (paths,) = differing.values()
    assert list(differing) == [f"schedule {GROUP}/exact-nightly"]
    assert paths.pop("LastModificationDate")
    assert paths == {"Target/EcsParameters/TaskDefinitionArn": tuple(seen.world.revisions("exact-report"))}
    kept = seen.after[f"schedule {GROUP}/exact-nightly"]
    assert kept["FlexibleTimeWindow"] == {"Mode": "FLEXIBLE", "MaximumWindowInMinutes": 15}
    assert kept["EndDate"]
    assert kept["Target"]["RetryPolicy"] == {"MaximumEventAgeInSeconds": 120, "MaximumRetryAttempts": 3}


def test_two_entries_of_one_service_make_one_revision_and_one_deployment(seen: Seen) -> None:
    assert len(seen.world.revisions("exact-pair")) == 2
    assert seen.world.count_deployments(CLUSTER, "exact-pair") == 2  # its creation and this release
    assert len([name for name in seen.outcome.items if name.endswith("exact-pair")]) == 1


def test_nothing_else_in_the_account_changes(seen: Seen) -> None:
    arn = f"arn:aws:ecs:us-east-1:{ACCOUNT}:service/{CLUSTER}/"
    released = ("exact-api", "exact-pair", "exact-several", "exact-everything")
    expected: dict[str, Any] = {f"service {arn}{name}": {"taskDefinition"} for name in released}
    expected |= {
        "target default/exact-cleanup/ours": {"EcsParameters/TaskDefinitionArn"},
        f"target {BUS}/exact-import/run": {"EcsParameters/TaskDefinitionArn"},
        "target default/exact-unpinned/run": {"EcsParameters/TaskDefinitionArn"},
        f"schedule {GROUP}/exact-nightly": {"Target/EcsParameters/TaskDefinitionArn", "LastModificationDate"},
    }
    families = ("cleanup", "importer", "unpinned", "report", "api", "pair", "several", "everything")
    new = {f"task definition {seen.world.revisions(f'exact-{family}')[1]}" for family in families}
    assert {what: set(paths) for what, paths in seen.differences.items() if what not in new} == expected
    assert new <= set(seen.differences)


def test_the_topic_hears_of_the_success(seen: Seen) -> None:
    (note,) = seen.outcome.messages
    assert note["subject"] == f"[ecs-release] SUCCEEDED: release 4.10 ({seen.outcome.id})"
    assert note["attributes"] == {"status": "SUCCEEDED"}
    assert "8 SUCCEEDED" in note["message"]


def test_no_environment_value_reaches_the_history_of_the_execution(seen: Seen) -> None:
    written = json.dumps(seen.outcome.history, default=str)
    assert "STAGE" not in written


# --- the same release again: nothing to do, proven in seconds, without a write -----------------------------------

WRITES = (
    "ecs:RegisterTaskDefinition",
    "ecs:DeregisterTaskDefinition",
    "ecs:UpdateService",
    "ecs:TagResource",
    "events:PutTargets",
    "scheduler:UpdateSchedule",
)


@dataclass(frozen=True)
class Again:
    outcome: Outcome
    calls: dict[str, dict[str, int]]
    picture: dict[str, Any]


@pytest.fixture(scope="module")
def again(seen: Seen) -> Again:
    seen.world.stack.aws.reset()
    outcome = seen.world.stack.release(MANIFEST)
    return Again(outcome, seen.world.stack.aws.calls(), seen.world.picture())


def test_the_same_release_again_says_no_change_and_waits_for_nothing(again: Again) -> None:
    assert again.outcome.output["status"] == "NO_CHANGE"
    assert again.outcome.output["counts"] == {"UNCHANGED": 9}
    assert "Wait" not in again.outcome.states


def test_the_same_release_again_writes_nothing(seen: Seen, again: Again) -> None:
    assert {name: again.calls[name] for name in WRITES if name in again.calls} == {}
    assert difference(seen.after, again.picture) == {}


def test_the_same_release_again_still_looks_at_what_is_live(again: Again) -> None:
    assert again.calls["ecs:DescribeServices"]["calls"] >= 1
    assert again.calls["events:ListTargetsByRule"]["calls"] >= 3
    assert again.calls["scheduler:GetSchedule"]["calls"] >= 1
