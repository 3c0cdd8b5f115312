"""One `git push` of deployment.yaml: through source, build and deploy to proven rollouts, or to a failure that says why.

The manifests are the original project's own: its sample file, and the sample of its README.
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
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


def build_log(stack: Stack, build: dict[str, Any]) -> str:
    """What the build wrote."""
    run = build["output"]["executionResult"]["externalExecutionId"]
    logs = stack.client("codebuild").batch_get_builds(ids=[run])["builds"][0]["logs"]
    events = stack.client("logs").get_log_events(
        logGroupName=logs["groupName"], logStreamName=logs["streamName"], startFromHead=True
    )["events"]
    return "\n".join(event["message"].rstrip("\n") for event in events)
