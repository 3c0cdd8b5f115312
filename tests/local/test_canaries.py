"""Secrets that users keep in task definitions, targets and schedules are found nowhere else, whatever a release comes to.

``tests/attacks/test_secrets.py`` has every way in which AWS may repeat them; this is one release through the pipeline, with
everything that it leaves behind in the account.
"""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from stack import Command, Outcome, Stack
from world import World, container, image

CLUSTER = "canaries"
_CANARY = re.compile(r"canary-[a-z-]+")

MANIFEST = f"""
# canary-comment
release: "canaries"
tasks:
  - {{service: app, cwRuleName: canaries-rule, image: "{image("canaries-rule:2")}"}}   # canary-comment
  - {{service: app, scheduleName: canaries-schedule, image: "{image("canaries-schedule:2")}"}}
services:
  - {{service: app, clusterName: {CLUSTER}, serviceName: canaries-service, image: "{image("canaries-service:2")}"}}
"""


def overrides(where: str) -> str:
    environment = [{"name": "TOKEN", "value": f"canary-{where}-environment"}]
    return json.dumps({"containerOverrides": [{"name": "app", "environment": environment}]})


def dressed(name: str) -> dict[str, Any]:
    return container(
        "app",
        f"{name}:1",
        command=["serve", "--token", "canary-command"],
        environment=[{"name": "TOKEN", "value": "canary-environment"}],
        secrets=[{"name": "KEY", "valueFrom": "canary-secret"}],
        dockerLabels={"label": "canary-label"},
        memberOfTomorrow="canary-tomorrow",
    )


@pytest.fixture(scope="module")
def world(stack: Stack) -> Iterator[World]:
    """Canaries wherever a user can write, in a rule, a schedule and a service."""
    stack.aws.reset()
    world = World(stack)
    world.cluster(CLUSTER)
    tag = [{"key": "team", "value": "canary-tag"}]
    arns = {
        name: world.family(name, [dressed(name)], tags=tag)
        for name in ("canaries-rule", "canaries-schedule", "canaries-service")
    }
    target = world.ecs_target("own", CLUSTER, arns["canaries-rule"], Input=overrides("rule"))
    target["EcsParameters"]["Tags"] = [{"Key": "team", "Value": "canary-rule-tag"}]
    world.rule("canaries-rule", [target], Description="canary-rule-description")
    schedule = {"Description": "canary-schedule-description"}
    world.schedule("canaries-schedule", CLUSTER, arns["canaries-schedule"], **schedule)
    found = stack.raw_schedule("canaries-schedule")
    found["Target"]["Input"] = overrides("schedule")
    world.scheduler.update_schedule(
        **{
            key: value
            for key, value in found.items()
            if key not in ("Arn", "CreationDate", "LastModificationDate")
        }
    )
    world.service(CLUSTER, "canaries-service", arns["canaries-service"], tags=tag)
    yield world
    stack.aws.reset()


@pytest.fixture(scope="module")
def failed(world: World) -> Outcome:
    """A push whose service fails, and whose rule can't be put back: EventBridge repeats what it refuses."""
    stack = world.stack
    stack.aws.rollouts(
        [
            {"service": "canaries", "image": ":2", "outcome": "circuit_breaker_rollback", "seconds": 1},
            {"seconds": 0.5},
        ]
    )
    repeated = overrides("rule")
    refusal = f"1 validation error detected: Value '{repeated}' at 'targets.1.member.input' failed. It was {repeated}"
    fault = {"kind": "error", "error": "ValidationException", "message": refusal, "times": None}
    stack.aws.control("faults", [{"operation": "events:PutTargets", "match": "/canaries-rule:1", **fault}])
    pipeline = stack.wait_for_pipeline(stack.push(MANIFEST, "Canaries"), seconds=300)
    stack.aws.control("faults", [])
    return stack.release_of(pipeline)


def logs(stack: Stack) -> str:
    """Every line of every log group: functions, machine, builds."""
    client, lines = stack.client("logs"), []
    for page in client.get_paginator("describe_log_groups").paginate():
        for group in page["logGroups"]:
            events = client.get_paginator("filter_log_events").paginate(logGroupName=group["logGroupName"])
            lines += [event["message"] for part in events for event in part["events"]]
    return "\n".join(lines)


def objects(stack: Stack) -> str:
    """Every object of the artifact bucket, unpacked, but the repository's own files."""
    client, bucket = stack.client("s3"), stack.outputs["artifact_bucket_name"]
    texts = []
    for page in client.get_paginator("list_object_versions").paginate(Bucket=bucket):
        for version in page.get("Versions", ()):
            answer = client.get_object(Bucket=bucket, Key=version["Key"], VersionId=version["VersionId"])
            body = answer["Body"].read()
            if not zipfile.is_zipfile(io.BytesIO(body)):
                texts.append(body.decode("utf-8", "replace"))
                continue
            with zipfile.ZipFile(io.BytesIO(body)) as archive:
                names = [name for name in archive.namelist() if name != "deployment.yaml"]
                texts += [archive.read(name).decode("utf-8", "replace") for name in names]
    return "\n".join(texts)


def rows(stack: Stack) -> tuple[str, str]:
    """Both tables without the raw copies, and these."""
    client, plain, raw = stack.client("dynamodb"), [], []
    for table in (stack.outputs["releases_table_name"], stack.idempotency_table):
        for page in client.get_paginator("scan").paginate(TableName=table):
            plain += [{k: v for k, v in row.items() if k != "before_raw"} for row in page["Items"]]
            raw += [row["before_raw"] for row in page["Items"] if "before_raw" in row]
    return json.dumps(plain, default=str), json.dumps(raw, default=str)


def test_no_canary_is_found_outside_of_ecs_and_eventbridge(
    world: World, failed: Outcome, command: Command, tmp_path: Path
) -> None:
    stack = world.stack
    assert failed.error == "EcsRelease.ROLLBACK_INCOMPLETE", failed.cause
    manifest = tmp_path / "deployment.yaml"
    manifest.write_text(MANIFEST)
    page = tmp_path / "plan.html"
    asked = [
        *(("status", failed.id), ("status", failed.id, "--json"), ("history",), ("history", "--json")),
        *(
            ("plan", str(manifest), "--html", str(page)),
            ("plan", str(manifest), "--json"),
            ("repair", "--json"),
        ),
    ]
    printed = [command(*arguments)[1] for arguments in asked]
    plain, raw = rows(stack)
    found = {
        "log": logs(stack),
        "bucket": objects(stack),
        "tables": plain,
        "execution": json.dumps([failed.execution, failed.history], default=str),
        "notifications": json.dumps(stack.aws.notifications()),
        "commands": "\n".join(printed),
        "page": page.read_text(),
    }
    for where, text in found.items():
        assert "canaries-rule" in text, f"{where}: nothing was captured"
        assert sorted(set(_CANARY.findall(text))) == [], where
    kept = set(_CANARY.findall(raw))
    assert {"canary-rule-environment", "canary-schedule-environment", "canary-rule-tag"} <= kept


def test_the_command_to_finish_by_hand_puts_the_rule_back_as_it_was(
    world: World, failed: Outcome, command: Command
) -> None:
    (line,) = [line.strip() for line in failed.cause.splitlines() if line.startswith("  ecs-release repair")]
    recorded = json.loads(failed.items["canaries-rule"].before_raw or "[]")
    for outcome in ("done", "already back"):
        status, printed = command(*line.split()[1:], "--yes", "--json")
        assert status == 0, printed
        (entry,) = json.loads(printed)
        assert (entry["name"], entry["outcome"]) == ("canaries-rule", outcome)
        assert list(world.targets("canaries-rule").values()) == recorded
