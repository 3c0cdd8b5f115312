"""One `git push` of deployment.yaml: through source, build and deploy to proven rollouts, or to a failure that says why.

The manifests are the original project's own: its sample file, and the sample of its README.
"""

from __future__ import annotations

import copy
import json
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from local_aws.client import HANG_SECONDS
from stack import Outcome, Stack
from world import World, container, difference

SAMPLES = Path(__file__).parent / "samples"
SEED = (SAMPLES / "deployment.yaml").read_text()
README = (SAMPLES / "readme.yaml").read_text()

EAST = "11111111111.dkr.ecr.us-east-1.amazonaws.com"
WEST = "11111111111.dkr.ecr.us-west-2.amazonaws.com"
SERVICES = {
    "demo-service-a-TS6BT1U6VQBG-Service-HTco3SKTy2J1": ("service-a", "2.0.0"),
    "demo-service-b-1OP5GR8JWHKX7-Service-ExB0A5Jxcnv2": ("service-b", "3.0.0"),
    "demo-service-c-1OP5GR8JWHKX7-Service-ExB0A5Jxcnv2": ("service-c", "6.0.0"),
}
RULES = {"service-x-cw-rule": ("service-x", "2.0.0"), "service-y-cw-rule": ("service-y", "4.0.0")}


@pytest.fixture(scope="module")
def world(stack: Stack) -> World:
    """The estate that the samples name, one version behind them."""
    stack.aws.reset()
    world = World(stack)
    world.cluster("demo")
    for service, (name, _) in SERVICES.items():
        world.service("demo", service, world.family(name, [container(name, f"{EAST}/{name}:1.0.0")]))
    for rule, (name, _) in RULES.items():
        definition = world.family(name, [container(name, f"{WEST}/{name}:1.0.0")])
        world.rule(rule, [world.ecs_target("1", "demo", definition)])
    cluster = world.cluster("test-Cluster-0IEYQ2GqGmL7")
    movies = world.family("movies", [container("service-a", f"{EAST}/movie-info-service:3.0.0")])
    world.service(cluster, "test-movie-info-service-Service-TALkUbJVrBgS", movies)
    cleanup = world.family("cleanup", [container("rating-cleanup", f"{WEST}/rating-cleanup:1.0.0")])
    world.rule("test-rating-cleanup", [world.ecs_target("1", cluster, cleanup)])
    return world


@dataclass(frozen=True)
class Pushed:
    commit: str
    pipeline: dict[str, Any]
    outcome: Outcome
    before: dict[str, Any]
    after: dict[str, Any]


@pytest.fixture(scope="module")
def pushed(world: World) -> Pushed:
    """The seed's deployment.yaml as it is, pushed."""
    before = world.picture()
    commit = world.stack.push(SEED, "Release 4.0")
    pipeline = world.stack.wait_for_pipeline(commit)
    return Pushed(commit, pipeline, world.stack.release_of(pipeline), before, world.picture())


# --- a push ----------------------------------------------------------------------------------------------------


def test_a_push_runs_source_build_and_deploy_to_success(pushed: Pushed) -> None:
    statuses = {name: action["status"] for name, action in pushed.pipeline["actions"].items()}
    assert pushed.pipeline["status"] == "Succeeded"
    assert statuses == {
        "Source.Source": "Succeeded",
        "Build.Build": "Succeeded",
        "Deploy.Deploy": "Succeeded",
    }


def test_every_item_of_the_sample_is_proven(pushed: Pushed) -> None:
    assert pushed.outcome.output["counts"] == {"SUCCEEDED": 5}
    assert set(pushed.outcome.verdicts) == {*RULES, *(f"demo/{service}" for service in SERVICES)}


def test_the_sample_s_images_run_and_nothing_else_changed(world: World, pushed: Pushed) -> None:
    for service, (name, tag) in SERVICES.items():
        assert world.images(world.primary("demo", service)["taskDefinition"]) == {
            name: f"{EAST}/{name}:{tag}"
        }
    for rule, (name, tag) in RULES.items():
        reference = world.targets(rule)["1"]["EcsParameters"]["TaskDefinitionArn"]
        assert world.images(reference) == {name: f"{WEST}/{name}:{tag}"}
    changed = difference(pushed.before, pushed.after)
    assert len(changed) == 2 * (len(SERVICES) + len(RULES))  # each with its new revision
    assert not any("movie" in what or "cleanup" in what for what in changed)


def test_the_record_names_label_commit_and_pipeline(pushed: Pushed) -> None:
    record = pushed.outcome.record
    assert (record.label, record.status) == ("4.0", "SUCCEEDED")
    assert record.source["commit"] == pushed.commit
    assert record.source["pipelineExecutionId"] == pushed.pipeline["id"]


def test_the_manifest_travels_by_reference(pushed: Pushed) -> None:
    document = pushed.outcome.execution["input"]
    assert '"sha256"' in document
    assert "service-a" not in document


# --- parts of a manifest that may be absent ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("manifest", "counts"),
    [
        pytest.param(README, {"SUCCEEDED": 2}, id="the README's sample, without release"),
        pytest.param(
            SEED[: SEED.index("# tasks")]
            + SEED[SEED.index("services:") :].replace("service-a:2.0.0", "service-a:2.1"),
            {"SUCCEEDED": 1, "UNCHANGED": 2},
            id="without tasks",
        ),
        pytest.param(
            SEED[: SEED.index("services:")].replace("service-x:2.0.0", "service-x:2.1"),
            {"SUCCEEDED": 1, "UNCHANGED": 1},
            id="without services",
        ),
    ],
)
@pytest.mark.usefixtures("pushed")
def test_a_part_may_be_absent(stack: Stack, manifest: str, counts: dict[str, int]) -> None:
    assert stack.release(manifest).output["counts"] == counts


# --- a push that fails -------------------------------------------------------------------------------------------


def test_a_bad_file_fails_the_build_with_line_and_column(world: World, pushed: Pushed) -> None:
    before = world.picture()
    releases = len(world.stack.store.releases(100))
    bad = SEED.replace("cwRuleName: service-y-cw-rule", "cwRuleNmae: service-y-cw-rule")
    line = 1 + bad[: bad.index("cwRuleNmae")].count("\n")
    pipeline = world.stack.wait_for_pipeline(world.stack.push(bad, "A slip of the pen"))
    build = pipeline["actions"]["Build.Build"]
    assert pipeline["status"] == "Failed"
    assert build["status"] == "Failed"
    assert "Deploy.Deploy" not in pipeline["actions"]
    log = build_log(world.stack, build)
    assert re.search(rf"deployment\.yaml:{line}:5 .*cwRuleNmae.*cwRuleName", log), log
    assert len(world.stack.store.releases(100)) == releases
    assert difference(before, world.picture()) == {}
    # No release means no Report, so a rule says it.
    told = (
        f"[{world.stack.outputs['pipeline_name']}] Nothing was released: stage Build of the pipeline failed."
    )
    note = notification_about(world.stack, pipeline["id"])
    assert note.startswith(told)
    assert note.endswith(f"--filter pipelineExecutionId={pipeline['id']}")


@pytest.fixture
def machine_that_is_gone(stack: Stack) -> Iterator[None]:
    """A pipeline whose Deploy action names a state machine that does not exist, so that StartExecution is refused."""
    client = stack.client("codepipeline")
    whole = client.get_pipeline(name=stack.outputs["pipeline_name"])["pipeline"]
    broken = copy.deepcopy(whole)
    (deploy,) = next(stage for stage in broken["stages"] if stage["name"] == "Deploy")["actions"]
    deploy["configuration"]["StateMachineArn"] += "-gone"
    client.update_pipeline(pipeline=broken)
    yield
    client.update_pipeline(pipeline=whole)


@pytest.mark.usefixtures("machine_that_is_gone")
def test_a_release_that_can_not_be_started_is_told_once(world: World, pushed: Pushed) -> None:
    before = world.picture()
    releases = len(world.stack.store.releases(100))
    pipeline = world.stack.wait_for_pipeline(world.stack.push(SEED, "Never begun"))
    deploy = pipeline["actions"]["Deploy.Deploy"]
    assert deploy["status"] == "Failed"
    assert "externalExecutionId" not in deploy["output"]["executionResult"]
    note = notification_about(world.stack, pipeline["id"])
    assert "failed before a release began" in note
    assert "is not authorized to perform: states:" in note
    assert len(world.stack.store.releases(100)) == releases
    assert difference(before, world.picture()) == {}


@pytest.fixture
def push_to_nobody(stack: Stack) -> Iterator[str]:
    """The rule that starts the pipeline, pointed at one that does not exist; its name."""
    events, rule = stack.client("events"), f"{stack.outputs['pipeline_name']}-push"
    whole = events.list_targets_by_rule(Rule=rule)["Targets"]
    events.put_targets(Rule=rule, Targets=[{**target, "Arn": f"{target['Arn']}-gone"} for target in whole])
    yield rule
    events.put_targets(Rule=rule, Targets=whole)


@pytest.mark.usefixtures("pushed")
def test_a_push_that_starts_nothing_is_seen_by_the_alarm(stack: Stack, push_to_nobody: str) -> None:
    """CloudWatch's arithmetic is not played here: the metric that the alarm adds up is what EventBridge counts."""
    cloudwatch = stack.client("cloudwatch")
    (alarm,) = cloudwatch.describe_alarms(AlarmNames=[f"{stack.outputs['pipeline_name']}-deliveries-failed"])[
        "MetricAlarms"
    ]
    metrics = [query["MetricStat"]["Metric"] for query in alarm["Metrics"] if "MetricStat" in query]
    (metric,) = (m for m in metrics if {"Name": "RuleName", "Value": push_to_nobody} in m["Dimensions"])
    assert alarm["AlarmActions"] == [stack.outputs["notification_topic_arn"]]

    def counted() -> float:
        now = datetime.now(UTC)
        points = cloudwatch.get_metric_statistics(
            **metric,
            StartTime=now - timedelta(hours=1),
            EndTime=now + timedelta(minutes=5),
            Period=7200,
            Statistics=["Sum"],
        )["Datapoints"]
        return float(sum(point["Sum"] for point in points))

    before = counted()
    stack.push(SEED, "To nobody")
    deadline = time.monotonic() + HANG_SECONDS
    while counted() == before:
        assert time.monotonic() < deadline, "EventBridge did not count the event that reached nobody"
        time.sleep(0.2)
    assert counted() == before + 1


def test_a_failed_release_fails_the_pipeline_and_is_put_back(world: World, pushed: Pushed) -> None:
    """By default the rest of the release goes back, too."""
    world.stack.aws.reset()
    world.stack.aws.rollouts(
        [{"image": "service-b:3.1-broken", "outcome": "circuit_breaker_rollback", "seconds": 1}]
    )
    broken = SEED.replace("service-a:2.0.0", "service-a:2.2").replace(
        "service-b:3.0.0", "service-b:3.1-broken"
    )
    broken = broken.replace("service-x:2.0.0", "service-x:2.2")
    before = {service: world.primary("demo", service) for service in SERVICES}
    rules = {rule: world.targets(rule) for rule in RULES}

    pipeline = world.stack.wait_for_pipeline(world.stack.push(broken, "Release 4.1"))
    outcome = world.stack.release_of(pipeline)

    assert pipeline["status"] == "Failed"
    assert pipeline["actions"]["Deploy.Deploy"]["status"] == "Failed"
    assert outcome.error == "EcsRelease.ROLLED_BACK"
    assert outcome.status == "FAILED"
    culprit = "demo/demo-service-b-1OP5GR8JWHKX7-Service-ExB0A5Jxcnv2"
    assert f"{culprit}: ROLLED_BACK_BY_ECS" in outcome.cause
    assert "circuit breaker" in outcome.cause
    assert {item.status for item in outcome.items.values() if item.action == "update"} == {"ROLLED_BACK"}
    for service, deployment in before.items():
        now = world.primary("demo", service)
        assert now["taskDefinition"] == deployment["taskDefinition"]
        assert now["rolloutState"] == "COMPLETED"
    assert {rule: world.targets(rule) for rule in RULES} == rules
    (note,) = outcome.messages
    assert note["subject"].startswith("[ecs-release] ROLLED_BACK: release 4.0 ")
    assert culprit in note["message"]
    assert "circuit breaker" in note["message"]
    # The failed Deploy action reached Report as well, which told nobody again.
    line = log_line(world.stack, "report", "a Deploy action failed", pipeline["id"])
    assert json.loads(line)["told"] is False
    assert not [n for n in world.stack.aws.notifications() if pipeline["id"] in n["message"]]


def notification_about(stack: Stack, pipeline_execution: str, seconds: float = HANG_SECONDS) -> str:
    """What the topic was told of a pipeline execution; it may come after the pipeline's end."""
    deadline = time.monotonic() + seconds
    while True:
        told = [n["message"] for n in stack.aws.notifications() if pipeline_execution in n["message"]]
        if told:
            assert len(told) == 1, told
            return str(told[0])
        assert time.monotonic() < deadline, f"nothing was told of {pipeline_execution}"
        time.sleep(0.2)


def log_line(stack: Stack, step: str, *words: str, seconds: float = HANG_SECONDS) -> str:
    """The line of a function's log with these words; it may come after the pipeline's end."""
    deadline = time.monotonic() + seconds
    group = f"/aws/lambda/{stack.outputs['pipeline_name']}-{step}"
    while True:
        pages = stack.client("logs").get_paginator("filter_log_events").paginate(logGroupName=group)
        for page in pages:
            for event in page["events"]:
                if all(word in event["message"] for word in words):
                    return str(event["message"])
        assert time.monotonic() < deadline, f"{group} has no line with {words}"
        time.sleep(0.2)


def build_log(stack: Stack, build: dict[str, Any]) -> str:
    """What the build wrote."""
    run = build["output"]["executionResult"]["externalExecutionId"]
    logs = stack.client("codebuild").batch_get_builds(ids=[run])["builds"][0]["logs"]
    events = stack.client("logs").get_log_events(
        logGroupName=logs["groupName"], logStreamName=logs["streamName"], startFromHead=True
    )["events"]
    return "\n".join(event["message"].rstrip("\n") for event in events)
