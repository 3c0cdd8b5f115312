"""Reading what is live: trouble that may pass is no item's problem, and what was read once is not read again."""

from __future__ import annotations

import json
from collections import Counter
from threading import Lock
from typing import Any

import pytest
from botocore.exceptions import ClientError
from ecs_release.aws.patience import be_patient_for, pause
from ecs_release.aws.raw import RAW
from ecs_release.aws.task_definitions import outline
from ecs_release.errors import PassingError, UnavailableError, UnfinishedError
from ecs_release.manifest import Item, Rule, Schedule, Service
from ecs_release.plan.back import Step
from ecs_release.plan.definitions import Definitions
from ecs_release.plan.live import Live, read_live
from ecs_release.plan.make import read_goals
from ecs_release.record.models import ItemRecord
from hypothesis import given, settings
from hypothesis import strategies as st

PREFIX = "arn:aws:ecs:eu-west-1:111111111111:task-definition/"
SECRET = "canary-of-an-environment-value"
ITEMS = 30
FAMILIES = 20


class World:
    """Connections and ECS in one: services that share families, and calls that fail as they are told to.

    Attributes
    ----------
    read : how often each task definition was described.
    """

    def __init__(self) -> None:
        self.targets = {"default": self}
        self.passable_role_arns = None
        self.base = "live"
        self.read: Counter[str] = Counter()
        self.failing: dict[str, Exception] = {}
        self.allowed = 10**6
        self._lock = Lock()

    def client(self, *_: Any, **__: Any) -> World:
        return self

    def _call(self, operation: str) -> None:
        if operation in self.failing:
            raise self.failing[operation]

    def describe_services(self, services: list[str], **_: Any) -> dict[str, Any]:
        self._call("describe_services")
        return {
            "services": [
                {
                    "serviceName": name,
                    "status": "ACTIVE",
                    "desiredCount": 1,
                    "taskDefinition": reference(int(name)),
                    "deployments": [
                        {
                            "id": "1",
                            "status": "PRIMARY",
                            "rolloutState": "COMPLETED",
                            "taskDefinition": reference(int(name)),
                        }
                    ],
                }
                for name in services
            ]
        }

    def list_targets_by_rule(self, **_: Any) -> Any:
        self._call("list_targets_by_rule")
        return {RAW: {"Targets": [{"Id": "t", "EcsParameters": {"TaskDefinitionArn": reference(0)}}]}}

    def describe_rule(self, **_: Any) -> Any:
        self._call("describe_rule")
        return {"State": "ENABLED"}

    def get_schedule(self, **_: Any) -> Any:
        self._call("get_schedule")
        return {RAW: {"Target": {"EcsParameters": {"TaskDefinitionArn": "family-0"}}}}

    def describe_task_definition(self, taskDefinition: str, **_: Any) -> dict[str, Any]:
        self._call("describe_task_definition")
        with self._lock:
            if not self.allowed:
                raise UnfinishedError("no time is left")
            self.allowed -= 1
            self.read[taskDefinition] += 1
        family = taskDefinition.rpartition("/")[2].partition(":")[0]
        container = {
            "name": "app",
            "image": "app:1",
            "environment": [{"name": "PASSWORD", "value": SECRET}],
            "secrets": [{"name": "x", "valueFrom": SECRET}],
        }
        definition = {
            "taskDefinitionArn": f"{PREFIX}{family}:1",
            "family": family,
            "revision": 1,
            "status": "ACTIVE",
            "containerDefinitions": [container],
            "runtimePlatform": {"cpuArchitecture": "ARM64"},
            "taskRoleArn": "arn:aws:iam::111111111111:role/task",
        }
        return {RAW: {"taskDefinition": definition, "tags": [{"key": "owner", "value": SECRET}]}}


def reference(number: int) -> str:
    return f"{PREFIX}family-{number % FAMILIES}:1"


def reads(world: World) -> dict[str, int]:
    """How often each revision was read, by its ARN or as the newest of its family; family-0 is also named without a revision."""
    return {reference(n): world.read[reference(n)] + world.read[f"family-{n}"] for n in range(1, FAMILIES)}


def items() -> list[Item]:
    services = [
        Service(images={"app": "app:1"}, exact=True, cluster="c", service=str(n), path="")
        for n in range(ITEMS)
    ]
    tasks: list[Item] = [
        Rule(images={"app": "app:1"}, exact=True, rule="r"),
        Schedule(images={"app": "app:1"}, exact=True, schedule="s"),
    ]
    return [*services, *tasks]


def steps() -> list[Step]:
    record = ItemRecord("r", 0, 0, 1, Service(cluster="c", service="s"), "update", {}, before=reference(3))
    return [Step(record, frozenset())]


@pytest.mark.parametrize("error", [UnfinishedError("throttled"), UnavailableError("no answer")])
@pytest.mark.parametrize(
    "operation", ["describe_services", "describe_task_definition", "list_targets_by_rule", "get_schedule"]
)
def test_what_may_pass_is_no_item_s_problem(operation: str, error: PassingError) -> None:
    world: Any = World()
    world.failing[operation] = error
    with pytest.raises(type(error)):
        read_live(items(), world)
    if operation == "describe_task_definition":
        with pytest.raises(type(error)):
            read_goals(steps(), world)


@pytest.mark.parametrize("operation", ["describe_services", "describe_task_definition", "get_schedule"])
def test_a_refusal_is_the_problem_of_the_items_it_is_about(operation: str) -> None:
    world: Any = World()
    refusal: Any = {"Error": {"Code": "AccessDeniedException", "Message": "no"}}
    world.failing[operation] = ClientError(refusal, operation)
    found = read_live(items(), world)
    assert any("AccessDeniedException" in problem.message for live in found for problem in live.findings)


def summary(found: list[Live]) -> list[Any]:
    return [(live.findings, live.definition, live.completed) for live in found]


@settings(max_examples=25, deadline=None)
@given(turns=st.lists(st.integers(1, 7), max_size=12))
def test_an_attempt_goes_on_from_where_the_last_one_stopped(turns: list[int]) -> None:
    """However often the time is up: each revision is read once, and the answer is what one attempt would have given."""
    world: Any = World()
    known: list[Any] = []
    for allowed in [*turns, 10**6]:
        world.allowed = allowed
        # What is kept goes through JSON.
        kept = [
            (target, type(found)(json.loads(json.dumps(found.body)), tuple(found.tags)))
            for target, found in known
        ]
        definitions = Definitions(world, kept)
        try:
            found = read_live(items(), world, definitions)
        except UnfinishedError:
            known += definitions.news()
        else:
            break
    assert summary(found) == summary(read_live(items(), World()))  # type: ignore[arg-type]
    assert reads(world) == {reference(n): 1 for n in range(1, FAMILIES)}


def test_a_family_s_newest_revision_is_asked_for_again() -> None:
    """It may be another one by then."""
    world: Any = World()
    definitions = Definitions(world)
    read_live(items(), world, definitions)
    assert {found.arn for _, found in definitions.news()} == {reference(n) for n in range(FAMILIES)}
    read_live(items(), world, Definitions(world, definitions.news()))
    assert world.read["family-0"] == 2


def test_what_is_about_to_go_is_read_again_and_nothing_else_that_is_pinned() -> None:
    """A release that waits for the clean-up looks at the revision again once it is gone, not at thousands of others."""
    world: Any = World()
    definitions = Definitions(world, [])
    read_live(items(), world, definitions)
    again = definitions.without({reference(1)})
    read_live(items(), world, again)
    assert reads(world) == {reference(n): 2 if n == 1 else 1 for n in range(1, FAMILIES)}
    assert world.read["family-0"] == 2
    assert {found.arn for _, found in again.news()} == {reference(n) for n in range(FAMILIES)}


def test_what_is_kept_of_a_definition_holds_nothing_of_its_environment() -> None:
    world: Any = World()
    definitions = Definitions(world)
    read_live(items(), world, definitions)
    assert SECRET not in repr(definitions.news())
    again = outline(definitions.news()[0][1])
    assert again == definitions.news()[0][1]


def test_the_readers_know_how_much_time_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """They run in threads of their own."""
    world: Any = World()
    monkeypatch.setattr(world, "_call", lambda operation: pause(60, operation))
    be_patient_for(lambda: 30.0)
    try:
        with pytest.raises(UnfinishedError):
            read_live(items(), world)
    finally:
        be_patient_for(lambda: float("inf"))
