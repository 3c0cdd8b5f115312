"""A throttled account makes a release slower, never REJECTED: no-ops of thousands under ECS's own limits.

Every service has a family of its own, so nothing is saved by reading one revision for two of them.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from stack import Outcome, Stack
from world import World, container, image

CLUSTER = "thousands"
# 5,000, the most that a manifest may have, take ten minutes.
MOST = int(os.environ.get("ECS_RELEASE_NO_OP_ITEMS", "2000"))
READS_A_SECOND = 20  # DescribeTaskDefinition, and the burst before it:
BURST = 50  # https://docs.aws.amazon.com/AmazonECS/latest/APIReference/request-throttling.html
_HANGS_AFTER_SECONDS = 3_600
_SAY_EVERY_SECONDS = 15

Say = Callable[[str], None]


class Estate:
    """As many services as are asked for; those that are there already are kept."""

    def __init__(self, stack: Stack) -> None:
        self.world = World(stack)
        self.world.cluster(CLUSTER)
        self.made = 0

    def grow(self, size: int, say: Say) -> None:
        self.world.stack.aws.reset()
        began = said = time.monotonic()
        with ThreadPoolExecutor(4) as pool:
            for number, _ in enumerate(pool.map(self._make, range(self.made, size)), self.made + 1):
                if time.monotonic() - said > _SAY_EVERY_SECONDS:
                    said = time.monotonic()
                    say(f"{number} of {size} services made")
        self.made = max(self.made, size)
        say(f"{size} services made in {time.monotonic() - began:.0f} s")

    def _make(self, number: int) -> None:
        # By boto3 and not raw: its connections stay open, and opening ten thousand takes longer than all the rest.
        name = f"thousands-{number:04}"
        ecs = self.world.ecs
        definition = ecs.register_task_definition(
            family=name,
            containerDefinitions=[container("app", f"{name}:1")],
            networkMode="awsvpc",
            requiresCompatibilities=["FARGATE"],
            cpu="256",
            memory="512",
        )["taskDefinition"]["taskDefinitionArn"]
        ecs.create_service(
            cluster=CLUSTER, serviceName=name, taskDefinition=definition, desiredCount=1, launchType="FARGATE"
        )


@pytest.fixture(scope="module")
def estate(stack: Stack) -> Estate:
    return Estate(stack)


def by_reference(stack: Stack, size: int) -> dict[str, Any]:
    """An execution's input, as the pipeline makes it: thousands of items are larger than an input may be."""
    services = [
        {
            "service": "app",
            "clusterName": CLUSTER,
            "serviceName": f"thousands-{number:04}",
            "image": image(f"thousands-{number:04}:1"),
        }
        for number in range(size)
    ]
    body = json.dumps({"services": services}).encode()
    bucket, key = stack.outputs["artifact_bucket_name"], f"manifests/thousands-{size}.json"
    version = stack.client("s3").put_object(Bucket=bucket, Key=key, Body=body)["VersionId"]
    digest = hashlib.sha256(body).hexdigest()
    reference = {"bucket": bucket, "key": key, "versionId": version, "sha256": digest}
    return {"version": 1, "mode": "deploy", "manifest": reference}


def release(stack: Stack, document: dict[str, Any], scale: float, say: Say) -> tuple[Outcome, dict[str, Any]]:
    """Release under ECS's limits; how it ended, and the calls it took."""
    before = stack.aws.calls()
    stack.aws.limits(True, scale)
    execution = stack.start(document)
    began = said = time.monotonic()
    while stack.client("stepfunctions").describe_execution(executionArn=execution)["status"] == "RUNNING":
        assert time.monotonic() - began < _HANGS_AFTER_SECONDS, f"{execution} still runs"
        if time.monotonic() - said > _SAY_EVERY_SECONDS:
            said = time.monotonic()
            say(f"{said - began:.0f} s: {_calls(before, stack.aws.calls())}")
        time.sleep(0.5)
    outcome = stack.wait(execution)
    stack.aws.limits(False)
    return outcome, _calls(before, stack.aws.calls())


def _calls(before: dict[str, Any], after: dict[str, Any]) -> dict[str, Any]:
    """ECS's calls and throttles in between."""
    found = {}
    for name, now in after.items():
        then = before.get(name, {"calls": 0, "throttled": 0})
        if name.startswith("ecs:") and now["calls"] > then["calls"]:
            found[name] = {key: now[key] - then[key] for key in ("calls", "throttled")}
    return found


@pytest.mark.parametrize(("size", "scale"), [(1_000, 0.25), (MOST, 1.0)])
def test_a_no_op_of_a_throttled_account_ends_as_no_change(
    stack: Stack, estate: Estate, say: Say, size: int, scale: float
) -> None:
    estate.grow(size, say)
    outcome, calls = release(stack, by_reference(stack, size), scale, say)
    say(f"{size} items at {scale:g} of the limits: {outcome.seconds:.0f} s, {calls}")
    assert outcome.status == "SUCCEEDED", outcome.cause
    assert outcome.output == {"release": outcome.id, "status": "NO_CHANGE", "counts": {"UNCHANGED": size}}
    # It did meet the limits, and what it met is on record.
    reads = calls["ecs:DescribeTaskDefinition"]
    assert reads["calls"] - reads["throttled"] == size
    assert outcome.seconds > (size - BURST) / (READS_A_SECOND * scale)
    assert outcome.record.throttles == sum(count["throttled"] for count in calls.values())
    # Few calls are made in vain.
    assert reads["throttled"] < size / 3
