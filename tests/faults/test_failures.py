"""facts/failures.md, the rows that a release gets over or is refused for before it touches anything.

One release meets many faults at once, each on an item of its own; the tests look at what came of their item.
"""

from __future__ import annotations

import datetime
import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from arena import CLUSTER, Arena, scheduled, service, task, until
from ecs_release.aws.clients import Connections
from ecs_release.aws.permissions import STEPS
from local_aws.client import HANG_SECONDS
from stack import Outcome
from world import container, image

THROTTLED = ("r05-a", "r05-b", "r05-c")


@dataclass
class Scene:
    """A release that has ended, the orchestrator it ran on, and what was seen on the way."""

    arena: Arena
    outcome: Outcome
    document: dict[str, Any]
    notes: dict[str, Any] = field(default_factory=dict)

    def item(self, name: str) -> Any:
        return next(i for i in self.outcome.items.values() if i.name.rpartition("/")[2] == name)


def adversity(main: Arena) -> Scene:
    """A release of nineteen items among faults that all of them get over."""
    arena = main.another("adverse")
    arena.services("r04", "r02-lost", "r02-killed", *THROTTLED, "r22", "r06-other")
    family = arena.world.family("r06", [container("app", "r06:1")])
    for name in ("r06-a", "r06-b", "r06-c"):
        arena.world.service(CLUSTER, name, family)
    arena.services("r10", desiredCount=0)
    for rule in ("r05-job", "r21-job"):
        arena.rule(rule)
    arena.rule("r33-job", pinned=False)
    arena.schedule("r05-nightly")
    five_targets(arena)

    arena.faults(
        # Held up for nearly as long as a client waits (ten seconds), while the same invocation begins beside it.
        {"operation": "ecs:RegisterTaskDefinition", "match": '"r04"', "kind": "hold"},
        {"operation": "ecs:UpdateService", "match": '"r04"', "kind": "hold"},
        {"operation": "ecs:UpdateService", "match": '"r02-lost"', "kind": "response_lost"},
        {"operation": "ecs:UpdateService", "match": '"r02-killed"', "kind": "kill", "when": "after"},
        *(
            {"operation": operation, "match": f'"{name}"', "kind": "error", "times": times}
            for name in THROTTLED
            for operation, times in (("ecs:RegisterTaskDefinition", 1), ("ecs:UpdateService", 2))
        ),
        {"operation": "events:PutTargets", "match": "r05-job", "kind": "error", "times": 2},
        {"operation": "events:ListTargetsByRule", "match": "r05-job", "kind": "error", "times": 2},
        {"operation": "scheduler:UpdateSchedule", "match": "r05-nightly", "kind": "error"},
        {"operation": "ecs:DescribeServices", "match": "r05-a", "kind": "error", "times": 3},
        {
            "operation": "ecs:RegisterTaskDefinition",
            "match": '"family": ?"r06"',
            "kind": "error",
            "error": "ClientException",
            "message": "Too many concurrent attempts to create a new revision of the specified family.",
        },
        {
            "operation": "ecs:RegisterTaskDefinition",
            "match": '"family": ?"r06"',
            "kind": "delay",
            "seconds": 1,
            "times": 2,
        },
        {
            "operation": "events:PutTargets",
            "match": "r21-job",
            "kind": "failed_entries",
            "error": "InternalException",
        },
        *(
            {"operation": operation, "match": '"r22"', "kind": "error", "error": "ExpiredTokenException"}
            for operation in ("ecs:RegisterTaskDefinition", "ecs:UpdateService")
        ),
    )
    document = {
        "tasks": [
            task("r05-job"),
            task("r20-job", service="app"),
            task("r21-job"),
            scheduled("r05-nightly"),
            task("r33-job", wave=1),
        ],
        "services": [
            *(service(name) for name in ("r02-lost", "r02-killed", *THROTTLED, "r22", "r06-other", "r10")),
            service("r06-a", image=image("r06:2")),
            service("r06-b", image=image("r06:2")),
            service("r04", wave=1),
            service("r06-c", image=image("r06:3"), wave=1),
        ],
    }
    notes: dict[str, Any] = {
        "before": {name: arena.world.primary(CLUSTER, name)["id"] for name in ("r02-lost", "r02-killed")},
        "targets": arena.world.targets("r20-job"),
    }
    execution = arena.start(document)
    notes["second invocations"] = [
        invoke_again(arena, execution, step, operation)
        for step, operation in (
            ("prepare", "ecs:RegisterTaskDefinition"),
            ("update-service", "ecs:UpdateService"),
        )
    ]
    return Scene(arena, arena.wait(execution), document, notes)


IN_THE_BACKGROUND = {"adverse": adversity}


@pytest.fixture(scope="module")
def adverse(arena: Arena) -> Scene:
    found: Scene = arena.background["adverse"].result(HANG_SECONDS)
    return found


def five_targets(arena: Arena) -> None:
    """A rule with two targets of one family, one of another, a queue and a function, each with settings of its own."""
    ours = arena.world.family("r20-job", [container("app", "r20-job:1"), container("sidecar", "sidecar:7")])
    other = arena.world.family("r20-other", [container("worker", "r20-other:1")])
    arena.world.rule(
        "r20-job",
        [
            arena.world.ecs_target("one", CLUSTER, ours, Input='{"containerOverrides": []}'),
            arena.world.ecs_target("other", CLUSTER, other),
            {"Id": "queue", "Arn": "arn:aws:sqs:us-east-1:123456789012:audit", "InputPath": "$.detail"},
            {
                "Id": "function",
                "Arn": "arn:aws:lambda:us-east-1:123456789012:function:audit",
                "InputTransformer": {"InputPathsMap": {"id": "$.id"}, "InputTemplate": '"<id>"'},
            },
            arena.world.ecs_target(
                "two",
                CLUSTER,
                ours,
                RetryPolicy={"MaximumRetryAttempts": 3, "MaximumEventAgeInSeconds": 600},
                DeadLetterConfig={"Arn": "arn:aws:sqs:us-east-1:123456789012:dead"},
            ),
        ],
    )


def invoke_again(arena: Arena, execution: str, step: str, operation: str) -> dict[str, Any]:
    """While the machine's invocation is held up in r04's call, run the very same invocation beside it."""
    arena.struck(operation, '"r04"')
    item = arena.item(execution, "r04")
    payload = {"release": item.release, "execution": execution, "epoch": item.epoch, "batch": item.batch}
    return arena.invoke(step, payload)


def assert_one_of_each(arena: Arena, *services: str) -> None:
    """One new revision, one new deployment."""
    for name in services:
        assert arena.all_revisions(name) == [f"{name}:1", f"{name}:2"]
        assert arena.runs(name) == f"{name}:2"
        assert arena.deployments(name) == 2, name


@pytest.mark.takes_long
def test_the_release_gets_over_all_of_it(adverse: Scene) -> None:
    assert adverse.outcome.status == "SUCCEEDED", adverse.outcome.cause
    assert adverse.outcome.record.status == "SUCCEEDED"


@pytest.mark.takes_long
def test_02_update_service_applied_and_response_lost(arena: Arena, adverse: Scene) -> None:
    assert_one_of_each(arena, "r02-lost", "r02-killed")
    for name in ("r02-lost", "r02-killed"):
        item = adverse.item(name)
        assert item.verdict == "SUCCEEDED"
        assert item.deployment_id == arena.world.primary(CLUSTER, name)["id"]
        assert item.previous_deployment == adverse.notes["before"][name]
        assert item.before.endswith(f"{name}:1")


@pytest.mark.takes_long
def test_04_the_same_invocation_twice_in_parallel(arena: Arena, adverse: Scene) -> None:
    assert_one_of_each(arena, "r04")
    for answer in adverse.notes["second invocations"]:
        assert answer["failed"] == 0, answer


@pytest.mark.takes_long
def test_05_throttling_storm(arena: Arena, adverse: Scene) -> None:
    assert_one_of_each(arena, *THROTTLED)
    assert arena.rule_runs("r05-job") == "r05-job:2"
    assert arena.schedule_runs("r05-nightly") == "r05-nightly:2"
    # three services: one registration and two updates each; the rule four, the schedule one, DescribeServices three
    # The count is added to; where the answer to that is lost, the SDK asks again, and it is counted once more.
    assert adverse.outcome.record.throttles >= 17
    (message,) = adverse.outcome.messages
    assert f"AWS throttled {adverse.outcome.record.throttles} calls" in message["message"]


@pytest.mark.takes_long
def test_06_concurrent_revisions_of_one_family(arena: Arena, adverse: Scene) -> None:
    assert arena.all_revisions("r06") == ["r06:1", "r06:2", "r06:3"]
    assert arena.runs("r06-a") == arena.runs("r06-b")
    assert {arena.runs("r06-a"), arena.runs("r06-c")} == {"r06:2", "r06:3"}
    # Each registration was held up for a second before it was done: serial ones are at least that far apart.
    times = [
        arena.world.definition(f"r06:{revision}")["taskDefinition"]["registeredAt"] for revision in (2, 3)
    ]
    assert times[1] - times[0] > 0.9


@pytest.mark.takes_long
def test_10_desired_count_0(arena: Arena, adverse: Scene) -> None:
    assert adverse.item("r10").verdict == "UNVERIFIED"
    assert "desired count is 0" in adverse.item("r10").reason
    assert adverse.outcome.output["counts"] == {"SUCCEEDED": 16, "UNVERIFIED": 1}
    assert adverse.arena.status(adverse.outcome.id)["items"][0]["name"] == f"{CLUSTER}/r10"
    (message,) = adverse.outcome.messages
    assert f"Not verified:\n  {CLUSTER}/r10: UNVERIFIED: desired count is 0" in message["message"]
    assert any("r10: desired count is 0" in warning for warning in adverse.outcome.record.warnings)


@pytest.mark.takes_long
def test_20_rule_with_several_targets_not_all_ecs(arena: Arena, adverse: Scene) -> None:
    assert adverse.item("r20-job").verdict == "SUCCEEDED"
    expected = json.loads(json.dumps(adverse.notes["targets"]))
    for target_id in ("one", "two"):
        expected[target_id]["EcsParameters"]["TaskDefinitionArn"] = adverse.item("r20-job").after
    assert arena.world.targets("r20-job") == expected
    assert arena.world.images(adverse.item("r20-job").after) == {
        "app": image("r20-job:2"),
        "sidecar": image("sidecar:7"),
    }
    assert arena.all_revisions("r20-other") == ["r20-other:1"]


@pytest.mark.takes_long
def test_21_put_targets_with_failed_entries(arena: Arena, adverse: Scene) -> None:
    assert adverse.item("r21-job").verdict == "SUCCEEDED"
    assert arena.rule_runs("r21-job") == "r21-job:2"


@pytest.mark.takes_long
def test_22_credentials_of_a_long_release_expire(arena: Arena, adverse: Scene) -> None:
    # A call that is refused because the credentials have expired is done again with new ones.
    assert_one_of_each(arena, "r22")
    assert adverse.item("r22").verdict == "SUCCEEDED"


def test_22_credentials_are_renewed_before_they_expire(arena: Arena, monkeypatch: pytest.MonkeyPatch) -> None:
    targets = arena.stack.store.targets()
    for name, value in arena.session_of("update-service").items():
        monkeypatch.setenv(name, value)
    connections = Connections(targets, STEPS["update_service"], write=True, session_name="test-renewal")
    client: Any = connections.client("default", "ecs")
    client.describe_services(cluster=CLUSTER, services=["r22"])
    credentials = client._request_signer._credentials
    first = credentials.get_frozen_credentials()
    credentials._expiry_time = datetime.datetime.now(datetime.UTC) + datetime.timedelta(minutes=1)
    client.describe_services(cluster=CLUSTER, services=["r22"])
    assert credentials.get_frozen_credentials() != first


@pytest.mark.takes_long
def test_33_a_rule_names_a_family_without_a_revision(arena: Arena, adverse: Scene) -> None:
    item = adverse.item("r33-job")
    assert not item.pinned
    registered = arena.world.definition("r33-job:2")["taskDefinition"]["registeredAt"]
    first_wave = [arena.world.primary(CLUSTER, name)["updatedAt"] for name in ("r02-lost", "r22", *THROTTLED)]
    assert registered > max(first_wave), "registering is deploying: it must wait for its wave"
    assert arena.rule_runs("r33-job") == "r33-job:2"
    assert any("r33-job" in w and "without a revision" in w for w in adverse.outcome.record.warnings)


# --- once more ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def again(adverse: Scene, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The same release again, by the command, while the topic can't be reached."""
    arena = adverse.arena
    arena.free()
    # Other orchestrators notify as well meanwhile; the item r10 is in this message alone (SNS gets it URL-encoded).
    lost = {"match": r"NO_CHANGE.*%2Fr10%3A", "kind": "error", "error": "AuthorizationError"}
    arena.faults({"operation": "sns:Publish", **lost})
    manifest: Path = tmp_path_factory.mktemp("again") / "deployment.yaml"
    manifest.write_text(json.dumps(adverse.document))
    before = arena.world.picture()
    status, printed = arena.command("deploy", str(manifest), "--json")
    document = json.loads(printed)
    execution = arena.stack.outputs["state_machine_arn"].replace(":stateMachine:", ":execution:")
    return {
        "exit": status,
        "outcome": arena.wait(f"{execution}:{document['release']}"),
        "document": document,
        "before": before,
        "after": arena.world.picture(),
    }


@pytest.mark.takes_long
def test_28_the_same_release_again(adverse: Scene, again: dict[str, Any]) -> None:
    assert again["exit"] == 0
    assert again["document"]["status"] == "NO_CHANGE"
    assert "Wait" not in again["outcome"].states
    assert {item["verdict"] for item in again["document"]["items"]} == {"UNCHANGED", "UNVERIFIED"}
    names = {item.name.rpartition("/")[2] for item in adverse.outcome.items.values()}
    mine = {key for key in again["before"] if set(re.split(r"[/: ]", key)) & names}
    assert len(mine) > 3 * len(names) - 10
    assert {key: again["before"][key] for key in mine} == {key: again["after"][key] for key in mine}


def test_28_what_is_live_is_verified_all_the_same(arena: Arena) -> None:
    arena.services("r28-sick")
    arena.rollouts({"service": "r28-sick", "outcome": "fail", "seconds": 1})
    sick = arena.world.family("r28-sick", [container("app", "r28-sick:2")])
    # Somebody rolled it out by hand, it crashes, and the circuit breaker does not put it back.
    breaker = {"deploymentCircuitBreaker": {"enable": True, "rollback": False}}
    arena.ecs.update_service(
        cluster=CLUSTER, service="r28-sick", taskDefinition=sick, deploymentConfiguration=breaker
    )
    until("failed", lambda: arena.rollout_state("r28-sick") == "FAILED")
    outcome = arena.release({"services": [service("r28-sick")]})
    assert outcome.error == "EcsRelease.FAILED"
    assert outcome.verdicts == {f"{CLUSTER}/r28-sick": "FAILED"}
    assert arena.deployments("r28-sick") == 2


@pytest.mark.takes_long
def test_26_notification_fails(adverse: Scene, again: dict[str, Any]) -> None:
    arena = adverse.arena
    assert again["exit"] == 0
    release = again["document"]["release"]
    assert not [n for n in arena.aws.notifications() if release in n["message"]]
    lines = [line for line in arena.log("report").splitlines() if "notification failed" in line]
    assert any(json.loads(line)["release"] == release for line in lines if line.startswith("{"))
    metric = [line for line in arena.log("report").splitlines() if '"NotificationsFailed"' in line]
    assert metric, "the number of failed notifications is a metric, for an alarm to watch"


# --- refused -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def rejected(arena: Arena) -> Scene:
    """A manifest in which nearly everything is wrong, one thing an item."""
    elsewhere(arena)
    arena.services("q-good", "q-missing-image")
    arena.services("q-code-deploy", deploymentController={"type": "CODE_DEPLOY"})
    arena.services("q-external", deploymentController={"type": "EXTERNAL"})
    arm = arena.world.family(
        "q-arm",
        [container("app", "q-arm:1")],
        runtimePlatform={"cpuArchitecture": "ARM64", "operatingSystemFamily": "LINUX"},
    )
    arena.world.service(CLUSTER, "q-arm", arm)
    for_two = [arena.world.family(f"q-two-{n}", [container("app", f"q-two-{n}:1")]) for n in (1, 2)]
    arena.world.rule(
        "q-two", [arena.world.ecs_target(f"t{n}", CLUSTER, arn) for n, arn in enumerate(for_two)]
    )
    index_of_amd64(arena, "q-arm")
    arena.stack.client("ecr").create_repository(repositoryName="q-empty")
    arena.faults(
        {
            "operation": "sts:AssumeRole",
            "match": "210987654321",
            "kind": "error",
            "error": "AccessDenied",
            "times": None,
        }
    )
    registry = "123456789012.dkr.ecr.us-east-1.amazonaws.com"
    document = {
        "tasks": [task("q-no-rule"), scheduled("q-no-schedule"), task("q-two")],
        "services": [
            service("q-good"),
            service("q-no-service"),
            service("q-lost", clusterName="q-no-cluster"),
            service("q-code-deploy"),
            service("q-external"),
            service("q-elsewhere", target="elsewhere"),
            service("q-missing-image", image=f"{registry}/q-empty:9"),
            service("q-arm", image=f"{registry}/q-arm:amd64"),
        ],
    }
    before = arena.world.picture()
    outcome = arena.release(document)
    after = arena.world.picture()
    touched = {k for k in before | after if ("q-" in k) and before.get(k) != after.get(k)}
    return Scene(arena, outcome, document, {"touched": touched})


def elsewhere(arena: Arena) -> None:
    """A second target, as Terraform's input ``targets`` writes it."""
    table = arena.stack.client("dynamodb")
    key = {"pk": {"S": "CONFIG"}, "sk": {"S": "TARGETS"}}
    name = arena.stack.outputs["releases_table_name"]
    targets = json.loads(table.get_item(TableName=name, Key=key)["Item"]["targets"]["S"])
    targets["elsewhere"] = {
        **targets["default"],
        "account": "210987654321",
        "roleArn": "arn:aws:iam::210987654321:role/their-deployment",
        "readerRoleArn": "arn:aws:iam::210987654321:role/their-reader",
    }
    table.put_item(TableName=name, Item={**key, "targets": {"S": json.dumps(targets)}})


def index_of_amd64(arena: Arena, repository: str) -> None:
    """A multi-platform image that was built for one platform only."""
    ecr = arena.stack.client("ecr")
    ecr.create_repository(repositoryName=repository)
    entry = {
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "digest": f"sha256:{'0' * 64}",
        "size": 500,
        "platform": {"os": "linux", "architecture": "amd64"},
    }
    media_type = "application/vnd.oci.image.index.v1+json"
    index = {"schemaVersion": 2, "mediaType": media_type, "manifests": [entry]}
    ecr.put_image(
        repositoryName=repository,
        imageTag="amd64",
        imageManifest=json.dumps(index),
        imageManifestMediaType=media_type,
    )


def assert_rejected(scene: Scene, *texts: str) -> None:
    """The execution fails, record, cause and message all say why, and nothing was touched."""
    assert scene.outcome.error == "EcsRelease.REJECTED"
    assert scene.outcome.record.status == "REJECTED"
    (message,) = scene.outcome.messages
    for text in texts:
        assert text in "\n".join(scene.outcome.record.problems)
        assert text in scene.outcome.cause
        assert text in message["message"]
    assert not scene.notes["touched"]


def test_08_service_cluster_rule_or_schedule_missing(arena: Arena, rejected: Scene) -> None:
    assert_rejected(
        rejected,
        f'{CLUSTER}/q-no-service (services[1]): there is no service "q-no-service" in the cluster "{CLUSTER}"',
        'q-no-cluster/q-lost (services[2]): there is no cluster "q-no-cluster"',
        'q-no-rule (tasks[0]): there is no EventBridge rule "q-no-rule" on the event bus "default"',
        'default/q-no-schedule (tasks[1]): there is no schedule "q-no-schedule" in the schedule group "default"',
    )
    assert len(rejected.outcome.record.problems) == 10, (
        "all of them at once, and nothing of the one that is fine"
    )
    assert "there is no cluster" in "".join(arena.status(rejected.outcome.id)["problems"])


def test_09_code_deploy_or_external_controller(rejected: Scene) -> None:
    assert_rejected(
        rejected,
        "q-code-deploy (services[3]): its deployment controller is CODE_DEPLOY",
        "q-external (services[4]): its deployment controller is EXTERNAL",
    )


def test_20_an_ambiguous_rule_is_an_error(rejected: Scene) -> None:
    assert_rejected(rejected, "several task definition families with these containers (q-two-1, q-two-2)")


def test_23_one_account_refuses_assume_role(rejected: Scene) -> None:
    assert_rejected(
        rejected,
        'target "elsewhere": can\'t assume arn:aws:iam::210987654321:role/their-reader in account 210987654321',
    )


def test_24_image_missing_or_built_for_another_architecture(rejected: Scene) -> None:
    assert_rejected(
        rejected,
        "ECR has no image 123456789012.dkr.ecr.us-east-1.amazonaws.com/q-empty:9",
        "q-arm:amd64 was built for linux/amd64, and its tasks run on linux/arm64",
    )
