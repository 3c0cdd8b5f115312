"""With permissions taken away from the reader role: plan and release go on, and say in words which one was missing.

An account whose administrator gave less, or whose role is that of an earlier version of the module.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from local_aws.estate import policy
from stack import Command, Outcome, Stack
from world import ACCOUNT, World, container, role

CLUSTER = "strict"
REGISTRY = f"{ACCOUNT}.dkr.ecr.us-east-1.amazonaws.com"
MEDIA_TYPE = "application/vnd.oci.image.manifest.v1+json"
SERVICE, SCHEDULE, RULE = "strict-api", "strict-nightly", "strict-tick"
CENTRAL = "222222222222"  # the account that has the images of all others
ALL = {f"{CLUSTER}/{SERVICE}", f"default/{SCHEDULE}", RULE}

# What the reader role can do without, and what the plan says of which code where it lacks it.
SAID = {
    "iam:SimulatePrincipalPolicy": ({"W211"}, {f"default/{SCHEDULE}", RULE}),
    "events:DescribeRule": ({"W209"}, {RULE}),
    "ecr:DescribeRepositories": ({"W225"}, ALL),
    "ecr:BatchGetImage": ({"W225", "W266"}, ALL),
    "ecs:DescribeServiceRevisions": ({"W266"}, {f"{CLUSTER}/{SERVICE}"}),
    "ecs:ListTaskDefinitions": ({"W234"}, {f"{CLUSTER}/{SERVICE}"}),
}
# What lets tasks of another account pull, and nothing else
# (https://docs.aws.amazon.com/AmazonECR/latest/userguide/repository-policy-examples.html).
PULL = ["ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"]
# What is only asked once something has gone wrong, or where it would be otherwise.
SILENT = (
    "ecr:DescribePullThroughCacheRules",
    "ecs:DescribeServiceDeployments",
    "ecs:DescribeTasks",
    "ecs:ListServiceDeployments",
    "ecs:ListTasks",
)


PLANNER = "strict-planner"


@contextmanager
def without(world: World, *actions: str) -> Iterator[None]:
    """The reader role with these actions taken out of its statements, and so the role of whoever plans by the command."""
    name = world.stack.outputs["reader_role_arn"].rpartition("/")[2]
    (named,) = world.iam.list_role_policies(RoleName=name)["PolicyNames"]
    whole = world.iam.get_role_policy(RoleName=name, PolicyName=named)["PolicyDocument"]
    left = []
    for statement in whole["Statement"]:
        kept = [action for action in statement["Action"] if action not in actions]
        left += [{**statement, "Action": kept}] if kept else []
    taken = {a for s in whole["Statement"] for a in s["Action"]} - {a for s in left for a in s["Action"]}
    assert taken == set(actions), "what is taken away was granted"
    world.iam.put_role_policy(
        RoleName=name, PolicyName=named, PolicyDocument=json.dumps({**whole, "Statement": left})
    )
    allow_planner(world, *actions)
    try:
        yield
    finally:
        world.iam.put_role_policy(RoleName=name, PolicyName=named, PolicyDocument=json.dumps(whole))
        allow_planner(world)


def allow_planner(world: World, *actions: str) -> None:
    """Everything but these actions."""
    allowed = {"Effect": "Allow", "NotAction": ["iam:CreateUser", *actions], "Resource": "*"}
    world.iam.put_role_policy(RoleName=PLANNER, PolicyName="own", PolicyDocument=policy(allowed))


@pytest.fixture
def as_planner(world: World, command: Command, monkeypatch: pytest.MonkeyPatch) -> Command:
    """The command, run with a session of the planner's role: in the module's own account it uses whatever the caller has."""
    session = world.stack.client("sts").assume_role(RoleArn=role(PLANNER), RoleSessionName="planner")
    for variable, member in (
        ("AWS_ACCESS_KEY_ID", "AccessKeyId"),
        ("AWS_SECRET_ACCESS_KEY", "SecretAccessKey"),
        ("AWS_SESSION_TOKEN", "SessionToken"),
    ):
        monkeypatch.setenv(variable, session["Credentials"][member])
    monkeypatch.setattr("boto3.DEFAULT_SESSION", None)
    return command


def named(name: str, tag: str) -> str:
    return f"{REGISTRY}/{name}:{tag}"


def push(ecr: Any, name: str, tag: str) -> str:
    """Push an image of this name; its digest."""
    layer = {"digest": f"sha256:{hashlib.sha256(f'{name}{tag}'.encode()).hexdigest()}", "size": 1}
    manifest = {"schemaVersion": 2, "mediaType": MEDIA_TYPE, "layers": [layer], "config": layer}
    put = ecr.put_image(repositoryName=name, imageTag=tag, imageManifest=json.dumps(manifest))
    return str(put["image"]["imageId"]["imageDigest"])


@pytest.fixture(scope="module")
def world(stack: Stack) -> Iterator[World]:
    stack.aws.reset()
    stack.aws.rollouts(
        [{"image": ":bad", "outcome": "circuit_breaker_rollback", "seconds": 0.5}, {"seconds": 0.5}]
    )
    world = World(stack)
    world.cluster(CLUSTER)
    trust = {
        "Effect": "Allow",
        "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:root"},
        "Action": "sts:AssumeRole",
    }
    world.iam.create_role(RoleName=PLANNER, AssumeRolePolicyDocument=policy(trust))
    allow_planner(world)
    ecr = stack.client("ecr")
    families = {}
    for name in (SERVICE, SCHEDULE, RULE):
        ecr.create_repository(repositoryName=name, imageTagMutability="IMMUTABLE")
        for tag in ("1", "2", "bad"):
            push(ecr, name, tag)
        families[name] = world.family(name, [container("app", named(name, "1"))])
    breaker = {"deploymentCircuitBreaker": {"enable": True, "rollback": True}}
    world.service(CLUSTER, SERVICE, families[SERVICE], deploymentConfiguration=breaker)
    world.schedule(SCHEDULE, CLUSTER, families[SCHEDULE])
    world.rule(RULE, [world.ecs_target("own", CLUSTER, families[RULE], RoleArn=role("events-run-task"))])
    # Somebody else's, so that the family's newest revision is not what is live.
    world.family(SERVICE, [container("app", named(SERVICE, "1"))], cpu="512", memory="1024")
    yield world
    stack.aws.reset()


def manifest(tag: str) -> dict[str, Any]:
    return {
        "tasks": [
            {"service": "app", "cwRuleName": RULE, "image": named(RULE, "2" if tag == "bad" else tag)},
            {
                "service": "app",
                "scheduleName": SCHEDULE,
                "image": named(SCHEDULE, "2" if tag == "bad" else tag),
            },
        ],
        "services": [
            {"service": "app", "clusterName": CLUSTER, "serviceName": SERVICE, "image": named(SERVICE, tag)}
        ],
    }


def planned(
    command: Command, folder: Path, wanted: dict[str, Any] | None = None, expected: int = 3
) -> dict[str, Any]:
    path = folder / "deployment.yaml"
    path.write_text(json.dumps(wanted or manifest("2")), encoding="utf-8")
    status, printed = command("plan", str(path), "--json")
    assert status == expected, printed
    document: dict[str, Any] = json.loads(printed)
    return document


def said(plan: dict[str, Any], action: str) -> set[tuple[str, str]]:
    """(code, item) of the warnings in which a permission is named."""
    return {
        (finding["code"], item["name"])
        for item in plan["items"]
        for finding in item["findings"]
        if f"perform: {action} " in finding["message"]
    }


def test_with_all_permissions_no_question_is_left_open(
    world: World, as_planner: Command, tmp_path: Path
) -> None:
    plan = planned(as_planner, tmp_path)
    assert {f["code"] for item in plan["items"] for f in item["findings"]} <= {"W232", "W248"}


@pytest.mark.parametrize("action", SAID)
def test_each_question_that_is_refused_is_said_with_the_permission_that_is_missing(
    world: World, as_planner: Command, tmp_path: Path, action: str
) -> None:
    codes, names = SAID[action]
    with without(world, action):
        plan = planned(as_planner, tmp_path)
    assert said(plan, action) == {(code, name) for code in codes for name in names}
    assert plan["counts"] == {"update": 3, "unchanged": 0, "blocked": 0}


def test_what_needs_no_answer_needs_no_permission(world: World, as_planner: Command, tmp_path: Path) -> None:
    with without(world, *SILENT):
        plan = planned(as_planner, tmp_path)
    assert [action for action in SILENT if said(plan, action)] == []


def test_a_release_goes_on_with_every_question_refused(
    world: World, as_planner: Command, tmp_path: Path
) -> None:
    with without(world, *SAID, *SILENT):
        plan = planned(as_planner, tmp_path)
        outcome: Outcome = world.stack.release(manifest("2"))
    assert plan["counts"] == {"update": 3, "unchanged": 0, "blocked": 0}
    assert set().union(*(codes for codes, _ in SAID.values())) <= {
        f["code"] for item in plan["items"] for f in item["findings"]
    }
    assert outcome.status == "SUCCEEDED", outcome.cause
    assert set(outcome.verdicts.values()) == {"SUCCEEDED"}


def test_a_release_that_fails_goes_back_and_says_which_answers_its_reason_lacks(world: World) -> None:
    with without(world, *SAID, "ecs:ListTasks", "ecs:DescribeTasks"):
        outcome = world.stack.release(manifest("bad"))
    assert outcome.error == "EcsRelease.ROLLED_BACK", outcome.cause
    assert "why its last task stopped can't be read: AccessDeniedException" in outcome.cause
    assert "perform: ecs:ListTasks " in outcome.cause


# --- images of another account, whose repository's policy lets ours pull and nothing else


@pytest.fixture(scope="module")
def central(world: World) -> dict[str, str]:
    """Image there -> digest."""
    ecr = world.stack.aws.client("ecr", account=CENTRAL)
    ecr.create_repository(repositoryName=SERVICE, imageTagMutability="IMMUTABLE")
    ours = {"AWS": f"arn:aws:iam::{ACCOUNT}:root"}
    text = policy({"Effect": "Allow", "Principal": ours, "Action": PULL})
    ecr.set_repository_policy(repositoryName=SERVICE, policyText=text)
    host = f"{CENTRAL}.dkr.ecr.us-east-1.amazonaws.com"
    return {f"{host}/{SERVICE}:2": push(ecr, SERVICE, "2"), f"{host}/{SERVICE}:none": ""}


def of_the_service(image: str) -> dict[str, Any]:
    entry = {"service": "app", "clusterName": CLUSTER, "serviceName": SERVICE, "image": image}
    return {"services": [entry]}


def test_a_policy_that_lets_pull_is_enough_to_know_the_digest(
    central: dict[str, str], as_planner: Command, tmp_path: Path
) -> None:
    (there, digest), _ = central.items()
    (item,) = planned(as_planner, tmp_path, of_the_service(there))["items"]
    assert [change["digest"] for change in item["images"].values()] == [digest]
    (untold,) = [f["message"] for f in item["findings"] if f["code"] == "W225"]
    assert "not whether its tag can be moved: AccessDeniedException" in untold
    assert "no resource-based policy allows the ecr:DescribeRepositories action" in untold


def test_a_policy_that_lets_pull_is_enough_to_find_an_image_missing(
    central: dict[str, str], as_planner: Command, tmp_path: Path
) -> None:
    _, (missing, _) = central.items()
    (item,) = planned(as_planner, tmp_path, of_the_service(missing), 2)["items"]
    assert [f["code"] for f in item["findings"] if f["code"] in ("E241", "W225")] == ["E241"]
    assert item["action"] == "blocked"
