"""One of two hundred fails under ECS's documented limits: people hear within one poll of the proof that all is back.

What cleans up afterwards takes another three minutes, holds no lock and shows in ``status``; a release in between comes first.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from ecs_release.report.status import as_document
from local_aws.estate import Estate, container

from scripts.stack import Stack, applied

SERVICES = int(os.environ.get("PROVE_SERVICES", "200"))
POLL_SECONDS = 15  # the module's default
CLUSTER = "two-hundred"
CULPRIT = f"svc-{SERVICES // 2:03}"
# What CheckRollouts and Report themselves take for so many items, on a machine that does other things as well.
_OWN_SECONDS = 30.0


@dataclass(frozen=True)
class Ended:
    """One release that has failed, as it was at the moment of its end.

    Attributes
    ----------
    back : epoch seconds at which the last service's rollout back completed, by ECS's word.
    told : epoch seconds at which the record was closed; the topic hears right after it.
    """

    release: str
    execution: dict[str, Any]
    back: float
    told: float
    deregistered: int
    holder: str | None
    messages: list[dict[str, Any]]


def manifest(*services: str, tag: str) -> dict[str, Any]:
    entries = [
        {"service": "app", "clusterName": CLUSTER, "serviceName": name, "image": f"{name}:{tag}"}
        for name in services
    ]
    return {"services": entries}


def names() -> list[str]:
    return [f"svc-{number:03}" for number in range(SERVICES)]


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    folder: Path = tmp_path_factory.mktemp("two-hundred")
    with applied(folder, ["-var", f"poll_seconds={POLL_SECONDS}"]) as (stack, _):
        estate = Estate(stack.aws)
        estate.cluster(CLUSTER)
        breaker = {"deploymentCircuitBreaker": {"enable": True, "rollback": False}}
        for name in names():
            arn = estate.family(name, [container("app", f"{name}:1")])
            estate.service(CLUSTER, name, arn, desiredCount=1, deploymentConfiguration=breaker)
        yield stack


def run(stack: Stack, document: dict[str, Any], name: str, seconds: float = 1800) -> dict[str, Any]:
    arn = stack.client("stepfunctions").start_execution(
        stateMachineArn=stack.state_machine, name=name, input=json.dumps(document)
    )["executionArn"]
    stack.until(f"end of {name}", lambda: stack.execution(arn)["status"] != "RUNNING", seconds)
    return stack.execution(arn)


def deployments(stack: Stack) -> Iterator[dict[str, Any]]:
    ecs = stack.client("ecs")
    for start in range(0, SERVICES, 10):
        answer = ecs.describe_services(cluster=CLUSTER, services=names()[start : start + 10])
        for service in answer["services"]:
            yield next(d for d in service["deployments"] if d["status"] == "PRIMARY")


@pytest.fixture(scope="module")
def ended(stack: Stack) -> Ended:
    stack.aws.reset()
    stack.aws.rollouts(
        [{"image": f"{CULPRIT}:2$", "outcome": "fail", "seconds": 2}, {"outcome": "complete", "seconds": 2}]
    )
    stack.aws.limits(True, 1)
    execution = run(stack, manifest(*names(), tag="2"), "one-of-two-hundred")
    deregistered = stack.aws.calls().get("ecs:DeregisterTaskDefinition", {}).get("calls", 0)
    holder = stack.store.lock().holder
    primaries = list(deployments(stack))
    assert {p["taskDefinition"].rpartition(":")[2] for p in primaries} == {"1"}
    assert {p["rolloutState"] for p in primaries} == {"COMPLETED"}
    record, _ = stack.release_record("one-of-two-hundred")
    assert record is not None
    assert record.ended is not None
    return Ended(
        record.release,
        execution,
        max(p["updatedAt"].timestamp() for p in primaries),
        datetime.fromisoformat(record.ended).timestamp(),
        deregistered,
        holder,
        [n for n in stack.aws.notifications() if record.release in f"{n['subject']} {n['message']}"],
    )


def test_it_is_back_and_says_why(ended: Ended) -> None:
    assert ended.execution["error"] == "EcsRelease.ROLLED_BACK"
    assert f"{CLUSTER}/{CULPRIT}: FAILED (now ROLLED_BACK)" in ended.execution["cause"]
    (message,) = ended.messages
    assert message["attributes"] == {"status": "ROLLED_BACK"}


def test_people_hear_of_it_within_one_poll_of_the_proof(
    ended: Ended, capsys: pytest.CaptureFixture[str]
) -> None:
    started, stopped = ended.execution["startDate"].timestamp(), ended.execution["stopDate"].timestamp()
    with capsys.disabled():
        print(
            f"\none of {SERVICES} fails: all back after {ended.back - started:.0f} s, told after "
            f"{ended.told - started:.0f} s, the execution ends after {stopped - started:.0f} s; "
            f"{ended.deregistered} revisions deregistered by then"
        )
    assert ended.told - ended.back < POLL_SECONDS + _OWN_SECONDS
    assert stopped - ended.told < _OWN_SECONDS


def test_nothing_was_cleaned_up_before_and_the_lock_is_free(ended: Ended) -> None:
    assert ended.deregistered <= 2  # those of the moment between the end and the look at it
    assert ended.holder is None


def test_a_release_in_between_comes_first_and_takes_up_what_it_wants(stack: Stack, ended: Ended) -> None:
    """The last services in order: the clean-up has hardly begun."""
    late = [name for name in names()[-3:] if name != CULPRIT]
    execution = run(stack, manifest(*late, tag="2"), "in-between")
    assert execution["status"] == "SUCCEEDED", execution.get("cause")
    ecs = stack.client("ecs")
    for name in late:
        (service,) = ecs.describe_services(cluster=CLUSTER, services=[name])["services"]
        assert service["taskDefinition"].endswith(f"{name}:2"), "taken up, not registered again"
        found = ecs.describe_task_definition(taskDefinition=service["taskDefinition"])["taskDefinition"]
        assert found["status"] == "ACTIVE"
    record, items = stack.release_record(ended.release)
    assert record is not None
    left = as_document(record, items, stack.store.unused())["cleanUp"]
    assert left["revisions"] == SERVICES
    assert left["left"] > 0


def test_all_the_others_are_deregistered_in_the_end(stack: Stack, ended: Ended) -> None:
    record, items = stack.release_record(ended.release)
    assert record is not None

    def left() -> int:
        return int(as_document(record, items, stack.store.unused())["cleanUp"]["left"])

    began = time.monotonic()
    stack.until("end of the clean-up", lambda: left() == 0, 3 * SERVICES + 60)
    assert time.monotonic() - began < 2 * SERVICES + 60
    stack.aws.limits(False)
    ecs = stack.client("ecs")
    late = [name for name in names()[-3:] if name != CULPRIT]
    for name in names():
        found = ecs.describe_task_definition(taskDefinition=f"{name}:2")["taskDefinition"]
        assert found["status"] == ("ACTIVE" if name in late else "INACTIVE"), name
