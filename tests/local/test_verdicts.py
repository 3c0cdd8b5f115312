"""Each bad rollout ends with the truthful verdict, side by side in one release that stops and leaves things as they are.

A second release of the same images is not fooled by finding them there, and a third, with the default ``onFailure``,
puts everything back that it may touch.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from ecs_release.record.statuses import OPEN
from ecs_release.report.status import as_document
from local_aws.client import HANG_SECONDS
from stack import Outcome, Stack
from world import ACCOUNT, World, container, image

CLUSTER = "zoo"
BREAKER = {"deploymentCircuitBreaker": {"enable": True, "rollback": True}}
BREAKER_ALONE = {"deploymentCircuitBreaker": {"enable": True, "rollback": False}}

# service -> how it was made
SERVICES: dict[str, dict[str, Any]] = {
    "crashes": {},
    "stalls": {},
    "rolled-back-by-ecs": {"deploymentConfiguration": BREAKER},
    "fails": {"deploymentConfiguration": BREAKER_ALONE},
    "blue-green": {"deploymentConfiguration": {"strategy": "BLUE_GREEN", "bakeTimeInMinutes": 0}},
    "blue-green-rolled-back": {"deploymentConfiguration": {"strategy": "BLUE_GREEN"}},
    "classic-load-balancer": {
        "loadBalancers": [{"loadBalancerName": "old", "containerName": "app", "containerPort": 80}]
    },
    "deleted": {},
    "superseded": {},
    "forced": {},
    "stopped": {},
    "idle": {"desiredCount": 0},
    "fine": {},
    "current": {},
}
ROLLOUTS: list[dict[str, Any]] = [
    {"service": "^(crashes|fails)$", "image": ":2", "outcome": "fail", "seconds": 1, "reason": None},
    {"service": "^stalls$", "image": ":2", "outcome": "stall"},
    {"service": "rolled-back", "image": ":2", "outcome": "circuit_breaker_rollback", "seconds": 1},
    # These wait for what the test does to them.
    {"service": "^(deleted|superseded|forced)$", "image": ":2", "outcome": "complete", "seconds": 600},
    # Long enough to be stopped half-way; going back takes as long again.
    {"service": "^stopped$", "image": ":2", "outcome": "complete", "seconds": 4},
    {"outcome": "complete", "seconds": 1},
]


def manifest(tag: str, services: list[str], **top: str) -> str:
    lines = [f"{key}: {value}" for key, value in top.items()]
    lines.append("services:")
    for service in services:
        released = image(f"{service}:{'1' if service == 'current' else tag}")
        lines += [
            "  - service: app",
            f"    clusterName: {CLUSTER}",
            f"    serviceName: {service}",
            f"    image: {released}",
            "    timeoutMinutes: 1",
        ]
    return "\n".join(lines) + "\n"


@dataclass
class Bystander:
    """Somebody who does things to the estate while a release waits; runs beside it."""

    stack: Stack
    execution: str
    errors: list[BaseException] = field(default_factory=list)
    threads: list[threading.Thread] = field(default_factory=list)

    @property
    def release(self) -> str:
        return self.execution.rpartition(":")[2]

    def once_updated(self, name: str, act: Callable[[], Any]) -> None:
        """Do something as soon as the rollout of an item was started."""
        self._when(lambda: self._item(name).status == "UPDATED", act)

    def a_minute_later(self, *names: str) -> None:
        """Let an item's minute pass at once: its record says that watching began a minute earlier."""
        for name in names:
            self._when(
                lambda name=name: self._is_alone(name, names),  # type: ignore[misc]
                lambda name=name: self._age(name),  # type: ignore[misc]
            )

    def _item(self, name: str) -> Any:
        return next((i for i in self.stack.store.items(self.release) if i.name == name), _NOTHING)

    def _is_alone(self, name: str, waiting: tuple[str, ...]) -> bool:
        """Whether an item is watched, its tasks have crashed if they do, and the others have come to their own ends."""
        if self._item(name).started_at is None:
            return False
        cluster, service = name.split("/")
        (found,) = self.stack.client("ecs").describe_services(cluster=cluster, services=[service])["services"]
        if service.endswith("crashes") and not found["deployments"][0].get("failedTasks"):
            return False
        others = (item for item in self.stack.store.items(self.release) if item.name not in waiting)
        return all(item.verdict not in OPEN for item in others)

    def _age(self, name: str) -> None:
        item = self._item(name)
        self.stack.store.update_item(item, {"started_at": item.started_at - 60})

    def _when(self, condition: Callable[[], bool], act: Callable[[], Any]) -> None:
        def run() -> None:
            try:
                deadline = time.monotonic() + HANG_SECONDS
                while not condition():
                    assert time.monotonic() < deadline, "what was waited for never came"
                    time.sleep(0.1)
                act()
            except BaseException as error:
                self.errors.append(error)

        self.threads.append(threading.Thread(target=run, daemon=True))
        self.threads[-1].start()

    def outcome(self) -> Outcome:
        outcome = self.stack.wait(self.execution)
        for thread in self.threads:
            thread.join(HANG_SECONDS)
        assert self.errors == []
        return outcome


class _Nothing:
    status = None
    started_at = None


_NOTHING = _Nothing()


@pytest.fixture(scope="module")
def world(stack: Stack) -> Iterator[World]:
    stack.aws.reset()
    world = World(stack)
    world.cluster(CLUSTER)
    for service, members in SERVICES.items():
        world.service(CLUSTER, service, **members)
    stack.aws.rollouts(ROLLOUTS)
    stack.aws.control("visibility", {"seconds": 1})
    yield world
    stack.aws.control("visibility", {"seconds": 0})
    stack.aws.reset()


def stop_rollout(world: World, service: str) -> None:
    """Stop a rollout by hand, as soon as ECS shows it."""
    deadline = time.monotonic() + HANG_SECONDS
    while (newest := world.service_deployments(CLUSTER, service)[0])["status"] != "IN_PROGRESS":
        assert time.monotonic() < deadline, f"the rollout of {service} never began: {newest}"
        time.sleep(0.1)
    world.ecs.stop_service_deployment(serviceDeploymentArn=newest["serviceDeploymentArn"])


# --- a release that stops --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def stopped(world: World) -> Outcome:
    """Everything that can happen to a rollout, at once, with ``onFailure: stop``."""
    stack, ecs = world.stack, world.ecs
    foreign = world.family("superseded", [container("app", "superseded:hotfix")])
    bystander = Bystander(stack, stack.start(manifest("2", list(SERVICES), release="zoo", onFailure="stop")))
    bystander.once_updated(
        "zoo/deleted", lambda: ecs.delete_service(cluster=CLUSTER, service="deleted", force=True)
    )
    bystander.once_updated(
        "zoo/superseded",
        lambda: ecs.update_service(cluster=CLUSTER, service="superseded", taskDefinition=foreign),
    )
    bystander.once_updated(
        "zoo/forced", lambda: ecs.update_service(cluster=CLUSTER, service="forced", forceNewDeployment=True)
    )
    bystander.once_updated("zoo/stopped", lambda: stop_rollout(world, "stopped"))
    bystander.a_minute_later("zoo/crashes", "zoo/stalls")
    return bystander.outcome()


@pytest.mark.parametrize(
    ("service", "verdict", "reason"),
    [
        (
            "crashes",
            "TIMED_OUT",
            "not completed within 1 minutes; last task stopped: Essential container in task",
        ),
        ("stalls", "TIMED_OUT", "not completed within 1 minutes"),
        ("rolled-back-by-ecs", "ROLLED_BACK_BY_ECS", "circuit breaker threshold was exceeded"),
        ("fails", "FAILED", "ECS deployment circuit breaker: tasks failed to start"),
        ("blue-green", "SUCCEEDED", ""),
        ("blue-green-rolled-back", "ROLLED_BACK_BY_ECS", "circuit breaker threshold was exceeded"),
        ("classic-load-balancer", "SUCCEEDED", ""),
        ("deleted", "FAILED", "the service is INACTIVE: it was deleted while the release waited for it"),
        ("superseded", "SUPERSEDED", f"arn:aws:ecs:us-east-1:{ACCOUNT}:task-definition/superseded:"),
        ("forced", "SUPERSEDED", "the same revision was deployed again"),
        ("stopped", "ROLLED_BACK_BY_ECS", "because of user request"),
        ("idle", "UNVERIFIED", "desired count is 0"),
        ("fine", "SUCCEEDED", ""),
        ("current", "UNCHANGED", ""),
    ],
)
def test_each_rollout_gets_its_truthful_verdict(
    stopped: Outcome, service: str, verdict: str, reason: str
) -> None:
    item = stopped.items[f"{CLUSTER}/{service}"]
    assert (item.verdict, item.status) == (verdict, verdict), item.reason
    assert reason in item.reason


def test_the_execution_fails_and_its_cause_names_every_culprit(stopped: Outcome) -> None:
    assert stopped.status == "FAILED"
    assert stopped.error == "EcsRelease.FAILED"
    for name, item in stopped.items.items():
        if item.verdict in ("FAILED", "TIMED_OUT", "SUPERSEDED", "ROLLED_BACK_BY_ECS"):
            assert f"{name}: {item.verdict}: {item.reason}" in stopped.cause
    assert "SUCCEEDED: " not in stopped.cause


def test_the_topic_hears_what_failed_and_why(stopped: Outcome) -> None:
    (note,) = stopped.messages
    assert note["subject"] == f"[ecs-release] FAILED: release zoo ({stopped.id})"
    assert "zoo/crashes: TIMED_OUT: not completed within 1 minutes" in note["message"]
    assert note["message"].index("Failed:") < note["message"].index("Not verified:")
    assert "zoo/idle: UNVERIFIED: desired count is 0" in note["message"]


@pytest.mark.parametrize(
    ("service", "wanted"),
    [
        ("crashes", "crashes:2"),
        ("fine", "fine:2"),
        ("superseded", "superseded:hotfix"),
        ("stopped", "stopped:1"),
    ],
)
@pytest.mark.usefixtures("stopped")
def test_a_release_that_stops_leaves_things_as_they_are(world: World, service: str, wanted: str) -> None:
    assert world.images(world.primary(CLUSTER, service)["taskDefinition"]) == {"app": image(wanted)}


# --- the images are there already, and still crash ---------------------------------------------------------------


@pytest.fixture(scope="module")
def rerun(world: World, stopped: Outcome) -> Outcome:
    services = ["crashes", "stalls", "fails", "fine", "idle"]
    bystander = Bystander(world.stack, world.stack.start(manifest("2", services, onFailure="stop")))
    bystander.a_minute_later("zoo/crashes", "zoo/stalls")
    return bystander.outcome()


def test_a_rerun_of_what_still_crashes_is_no_success(rerun: Outcome) -> None:
    assert (rerun.status, rerun.error) == ("FAILED", "EcsRelease.FAILED")
    assert {item.action for item in rerun.items.values()} == {"unchanged"}


@pytest.mark.parametrize(
    ("service", "verdict"),
    [
        ("crashes", "TIMED_OUT"),
        ("stalls", "TIMED_OUT"),
        ("fails", "FAILED"),
        ("fine", "UNCHANGED"),
        ("idle", "UNVERIFIED"),
    ],
)
def test_a_rerun_judges_what_is_live(rerun: Outcome, service: str, verdict: str) -> None:
    assert rerun.verdicts[f"{CLUSTER}/{service}"] == verdict


def test_desired_count_zero_alone_is_a_success_that_says_it_is_unverified(
    world: World, rerun: Outcome
) -> None:
    outcome = world.stack.release(manifest("3", ["idle"]))
    assert outcome.output["status"] == "SUCCEEDED"
    assert outcome.output["counts"] == {"UNVERIFIED": 1}
    (note,) = outcome.messages
    assert "Not verified:\n  zoo/idle: UNVERIFIED: desired count is 0" in note["message"]


# --- the default: back to how it was -----------------------------------------------------------------------------

BACK = ["back-fine", "back-crashes", "back-superseded", "back-deleted"]


@dataclass(frozen=True)
class Back:
    outcome: Outcome
    foreign: str
    rule: dict[str, Any]
    schedule: dict[str, Any]


@pytest.fixture(scope="module")
def back(world: World, rerun: Outcome) -> Back:
    """A crash loop takes services, a rule without revision and a schedule back with it."""
    stack, ecs = world.stack, world.ecs
    for service in BACK:
        world.service(CLUSTER, service)
    stack.aws.rollouts(
        [
            {"service": "back-crashes", "image": ":2", "outcome": "fail", "seconds": 1},
            {"service": "back-(superseded|deleted)", "image": ":2", "seconds": 60},
            {"seconds": 0.5},
        ]
    )
    foreign = world.family("back-superseded", [container("app", "back-superseded:hotfix")])
    task = world.family("back-task", [container("app", "back-task:1")])
    world.rule("back-rule", [world.ecs_target("1", CLUSTER, task.rpartition(":")[0])])
    night = world.family("back-night", [container("app", "back-night:1")])
    world.schedule("back-night", CLUSTER, night)
    rule, schedule = world.targets("back-rule")["1"], stack.raw_schedule("back-night")
    tasks = f"""
tasks:
  - {{service: app, cwRuleName: back-rule, image: "{image("back-task:2")}"}}
  - {{service: app, scheduleName: back-night, image: "{image("back-night:2")}"}}
"""
    bystander = Bystander(stack, stack.start(tasks + manifest("2", BACK)))
    bystander.once_updated(
        "zoo/back-superseded",
        lambda: ecs.update_service(cluster=CLUSTER, service="back-superseded", taskDefinition=foreign),
    )
    bystander.once_updated(
        "zoo/back-deleted", lambda: ecs.delete_service(cluster=CLUSTER, service="back-deleted", force=True)
    )
    bystander.a_minute_later("zoo/back-crashes")
    return Back(bystander.outcome(), foreign, rule, schedule)


def test_a_crash_loop_takes_the_whole_release_back(back: Back) -> None:
    assert back.outcome.error == "EcsRelease.ROLLED_BACK", back.outcome.cause
    assert (
        "zoo/back-crashes: TIMED_OUT (now ROLLED_BACK): not completed within 1 minutes" in back.outcome.cause
    )
    assert {name: (item.verdict, item.status) for name, item in back.outcome.items.items()} == {
        "zoo/back-fine": ("SUCCEEDED", "ROLLED_BACK"),
        "zoo/back-crashes": ("TIMED_OUT", "ROLLED_BACK"),
        "zoo/back-superseded": ("SUPERSEDED", "SUPERSEDED"),
        "zoo/back-deleted": ("FAILED", "SUPERSEDED"),
        "back-rule": ("SUCCEEDED", "ROLLED_BACK"),
        "default/back-night": ("SUCCEEDED", "ROLLED_BACK"),
    }


def test_services_run_what_they_ran_before(world: World, back: Back) -> None:
    for service in ("back-fine", "back-crashes"):
        primary = world.primary(CLUSTER, service)
        assert primary["taskDefinition"] == world.revisions(service)[0]
        assert primary["rolloutState"] == "COMPLETED"


def test_what_somebody_else_deployed_is_not_overwritten(world: World, back: Back) -> None:
    primary = world.primary(CLUSTER, "back-superseded")
    assert primary["taskDefinition"] == back.foreign
    assert world.count_deployments(CLUSTER, "back-superseded") == 3  # created, released, theirs


def test_rule_and_schedule_are_as_before_and_the_rule_is_pinned_to_what_it_ran(
    world: World, back: Back
) -> None:
    now = world.targets("back-rule")["1"]
    assert now["EcsParameters"].pop("TaskDefinitionArn") == world.revisions("back-task")[0]
    back.rule["EcsParameters"].pop("TaskDefinitionArn")
    assert now == back.rule
    schedule = world.stack.raw_schedule("back-night")
    assert schedule.pop("LastModificationDate") > back.schedule.pop("LastModificationDate")
    assert schedule == back.schedule


def test_the_revisions_it_registered_are_deregistered_where_nothing_uses_them(
    world: World, back: Back
) -> None:
    """After the report, without the lock; status says how far that is."""
    store, release = world.stack.store, back.outcome.id
    world.stack.wait_for_clean_up(60)
    record, items = store.release(release), store.items(release)
    assert record is not None
    for family in ("back-fine", "back-crashes", "back-task", "back-night"):
        old, new = (world.definition(arn)["taskDefinition"]["status"] for arn in world.revisions(family))
        assert (old, new) == ("ACTIVE", "INACTIVE")
    # Of the rule's family the newest revision runs wherever it is named alone, so that one was gone before the verdict.
    assert as_document(record, items, store.unused())["cleanUp"] == {"revisions": 3, "left": 0, "reason": ""}
