"""Two hundred services and twenty scheduled tasks in one release, and again with ten rollouts that fail.

How many API calls, state transitions and history events that takes stands in the summary of the test run.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from stack import Outcome, Stack
from world import World, container, image

CLUSTER = "many"
SERVICES = 200
RULES = 10
SCHEDULES = 10
ITEMS = SERVICES + RULES + SCHEDULES
FAILING = 10

HISTORY_LIMIT = 25_000  # https://docs.aws.amazon.com/step-functions/latest/dg/service-quotas.html


def manifest(tag: str, **top: str) -> dict[str, Any]:
    """The compiled form: as YAML it would take longer to read than to release."""
    tasks: list[dict[str, Any]] = [
        {"service": "app", "cwRuleName": f"many-{n}", "image": image(f"rule:{tag}")} for n in range(RULES)
    ]
    tasks += [
        {"service": "app", "scheduleName": f"many-{n}", "image": image(f"schedule:{tag}")}
        for n in range(SCHEDULES)
    ]
    services = [
        {
            "service": "app",
            "clusterName": CLUSTER,
            "serviceName": f"many-{n}",
            "image": image(f"many-{n}:{tag}"),
        }
        for n in range(SERVICES)
    ]
    return {**top, "tasks": tasks, "services": services}


@pytest.fixture(scope="module")
def world(stack: Stack) -> World:
    stack.aws.reset()
    world = World(stack)
    world.cluster(CLUSTER)
    for number in range(SERVICES):
        world.service(CLUSTER, f"many-{number}", deploymentConfiguration=BREAKER)
    for number in range(RULES):
        definition = world.family(f"many-rule-{number}", [container("app", "rule:1")])
        world.rule(f"many-{number}", [world.ecs_target("1", CLUSTER, definition)])
    for number in range(SCHEDULES):
        definition = world.family(f"many-schedule-{number}", [container("app", "schedule:1")])
        world.schedule(f"many-{number}", CLUSTER, definition)
    return world


BREAKER = {"deploymentCircuitBreaker": {"enable": True, "rollback": False}}


@dataclass(frozen=True)
class Measured:
    outcome: Outcome
    calls: dict[str, int]
    transitions: int
    events: int

    @property
    def target_calls(self) -> dict[str, int]:
        """Calls of the services that a release is about, without its own table and machine."""
        return {k: n for k, n in self.calls.items() if k.split(":")[0] in ("ecs", "events", "scheduler")}


def measure(world: World, note: Callable[[str], None], what: str, document: dict[str, Any]) -> Measured:
    before = world.stack.aws.calls()
    world.stack.aws.limits(enabled=True, scale=20)
    outcome = world.stack.release(document)
    world.stack.aws.limits(enabled=False)
    counts = {
        name: Counter(count) - Counter(before.get(name, {}))
        for name, count in world.stack.aws.calls().items()
    }
    measured = Measured(
        outcome,
        {name: count["calls"] for name, count in counts.items() if count["calls"]},
        sum(outcome.states.values()),
        len(outcome.history),
    )
    totals: Counter[str] = Counter()
    for name, count in measured.calls.items():
        totals[name.split(":")[0]] += count
    throttled = sum(count["throttled"] for count in counts.values())
    note(
        f"{what}: {outcome.seconds:.1f} s; {measured.transitions} state transitions, {measured.events} history events; "
        f"API calls: {', '.join(f'{service} {count}' for service, count in sorted(totals.items()))}; {throttled} throttled"
    )
    note("  " + ", ".join(f"{name} {count}" for name, count in measured.target_calls.items()))
    return measured


@pytest.fixture(scope="module")
def first(world: World, note: Callable[[str], None]) -> Measured:
    return measure(world, note, f"{SERVICES} services and {RULES + SCHEDULES} scheduled tasks", manifest("2"))


def test_two_hundred_services_and_twenty_tasks_are_one_release(first: Measured) -> None:
    assert first.outcome.status == "SUCCEEDED", first.outcome.cause
    assert first.outcome.output["counts"] == {"SUCCEEDED": ITEMS}


def test_it_makes_one_revision_and_one_deployment_an_item(first: Measured) -> None:
    assert first.calls["ecs:UpdateService"] == SERVICES
    assert first.calls["events:PutTargets"] == RULES
    assert first.calls["scheduler:UpdateSchedule"] == SCHEDULES


def test_it_makes_few_calls(first: Measured) -> None:
    looks = first.outcome.states["CheckRollouts"]
    # In tens when reading and when waiting, once an item before its write.
    assert first.calls["ecs:DescribeServices"] <= SERVICES / 10 * (1 + looks) + SERVICES
    assert first.calls["ecs:RegisterTaskDefinition"] <= 2 * ITEMS  # some are throttled
    assert sum(first.target_calls.values()) <= 10 * ITEMS


def test_its_history_stays_far_below_the_limit(first: Measured) -> None:
    assert first.events < HISTORY_LIMIT / 20
    assert first.transitions < 300


@pytest.fixture(scope="module")
def second(world: World, first: Measured, note: Callable[[str], None]) -> Measured:
    failing = "|".join(str(number * 20) for number in range(FAILING))
    world.stack.aws.rollouts(
        [{"service": f"^many-({failing})$", "image": ":3", "outcome": "fail", "seconds": 1}]
    )
    return measure(
        world, note, f"the same, {FAILING} rollouts fail, the rest stays", manifest("3", onFailure="stop")
    )


def test_ten_failing_rollouts_fail_the_release_and_all_are_named(second: Measured) -> None:
    assert second.outcome.error == "EcsRelease.FAILED", second.outcome.cause
    failed = [name for name, verdict in second.outcome.verdicts.items() if verdict == "FAILED"]
    assert len(failed) == FAILING
    assert all(f"{name}: FAILED: ECS deployment circuit breaker" in second.outcome.cause for name in failed)
    assert second.outcome.record.counts == {"SUCCEEDED": ITEMS - FAILING, "FAILED": FAILING}


def test_the_others_run_what_was_released(world: World, second: Measured) -> None:
    for number in range(SERVICES):
        primary = world.primary(CLUSTER, f"many-{number}")
        assert world.images(primary["taskDefinition"]) == {"app": image(f"many-{number}:3")}
        assert primary["rolloutState"] == ("COMPLETED" if number % 20 else "FAILED")
    for number in range(RULES):
        reference = world.targets(f"many-{number}")["1"]["EcsParameters"]["TaskDefinitionArn"]
        assert world.images(reference) == {"app": image("rule:3")}


def test_failures_cost_no_more_than_a_look_at_their_last_tasks(first: Measured, second: Measured) -> None:
    assert second.calls["ecs:UpdateService"] == SERVICES
    assert second.calls["ecs:ListTasks"] <= FAILING
    assert sum(second.target_calls.values()) <= 10 * ITEMS
    assert second.events < HISTORY_LIMIT / 20
