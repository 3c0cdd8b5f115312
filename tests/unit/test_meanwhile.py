"""Somebody changes what a release is about to write, while the write waits: it is never overwritten, not by the rollback either."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError, ReadTimeoutError
from ecs_release import manifest
from ecs_release.aws import patience
from ecs_release.aws.raw import RAW
from ecs_release.aws.raw import _body as sent
from ecs_release.aws.task_definitions import TaskDefinition
from ecs_release.errors import ItemError, SupersededError, UnfinishedError
from ecs_release.manifest import Service
from ecs_release.record.models import Found, ItemRecord
from ecs_release.settings import Settings
from ecs_release.steps import rollback, targets, turn, update_service
from ecs_release.steps.rollback import put_service_back, put_task_back
from ecs_release.steps.turn import Turn
from ecs_release.steps.update_service import start_rollout
from ecs_release.steps.update_task import point_at_new_revision

PREFIX = "arn:aws:ecs:eu-west-1:111111111111:task-definition/"
BEFORE, AFTER, THEIRS = f"{PREFIX}api:1", f"{PREFIX}api:2", f"{PREFIX}api:9"
THROTTLE = ClientError({"Error": {"Code": "ThrottlingException"}}, "Write")
FAULT = ClientError(
    {"Error": {"Code": "InternalFailure"}, "ResponseMetadata": {"HTTPStatusCode": 500}}, "Write"
)
NO_ANSWER = ReadTimeoutError(endpoint_url="aws")


class Time:
    """A clock that only sleeping moves, and what happens when it has come so far."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0
        self.at: list[tuple[float, Callable[[], None]]] = []

    def sleep(self, seconds: float) -> None:
        if not seconds:
            return
        self.now += seconds
        due = [event for event in self.at if event[0] <= self.now]
        self.at = [event for event in self.at if event[0] > self.now]
        for _, happens in due:
            happens()

    def time(self) -> float:
        return self.now

    monotonic = time


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Time:
    clock = Time()
    for module in (turn, targets, rollback, update_service, patience):
        monkeypatch.setattr(module, "time", clock)
    return clock


class World:
    """Worker, store and AWS in one.

    Attributes
    ----------
    pace : seconds that a write waits for its turn.
    answers : what the next writes end with; None: they are done.
    applied : whether a write that ends with an error was done all the same.
    writes : what was written, in order.
    """

    request = "me"
    settings = Settings("releases", poll_seconds=0, settle_seconds=6)

    def __init__(self, clock: Time) -> None:
        self.clock = clock
        self.pace = 0.0
        self.answers: Iterator[Exception | None] = iter(())
        self.applied = False
        self.writes: list[str] = []
        self.store = self.connections = self

    def client(self, *_: Any, **__: Any) -> Any:
        return self

    def update_item(self, item: ItemRecord, changes: dict[str, Any], **_: Any) -> ItemRecord:
        return dataclasses.replace(item, **changes)

    def remember(self, *_: Any) -> None: ...

    def check_lock(self, *_: Any) -> None: ...

    def wait_for_turn(self, *_: Any) -> None:
        self.clock.sleep(self.pace)

    def task_definitions(self, _: ItemRecord) -> Any:
        return self

    def describe(self, reference: str) -> TaskDefinition:
        return TaskDefinition(
            {"taskDefinitionArn": reference, "status": "ACTIVE", "containerDefinitions": []}
        )

    def find_copy(self, *_: Any) -> None: ...

    def take_up(self, *_: Any) -> Found:
        return Found.FREE

    def write(self, what: str, do: Callable[[], None]) -> None:
        error = next(self.answers, None)
        if error is None or self.applied:
            self.writes.append(what)
            do()
        if error is not None:
            raise error


class Ecs(World):
    """A service; ``history`` is what was deployed, oldest first."""

    def __init__(self, clock: Time, live: str) -> None:
        super().__init__(clock)
        self.history = [live]

    def meddle(self, what: str = THEIRS) -> None:
        self.history.append(what)

    def describe_services(self, **_: Any) -> dict[str, Any]:
        live = self.history[-1]
        primary = {"id": f"ecs-svc/{len(self.history)}", "status": "PRIMARY", "taskDefinition": live}
        service = {"serviceName": "s", "status": "ACTIVE", "desiredCount": 1, "taskDefinition": live}
        return {"services": [{**service, "deployments": [primary]}]}

    def update_service(self, taskDefinition: str, **_: Any) -> dict[str, Any]:
        def deploy() -> None:
            if self.history[-1] != taskDefinition:
                self.history.append(taskDefinition)

        self.write(taskDefinition, deploy)
        return {"service": self.describe_services()["services"][0]}

    def list_service_deployments(self, **_: Any) -> dict[str, Any]:
        return {
            "serviceDeployments": [
                {"serviceDeploymentArn": str(number), "createdAt": number}
                for number in range(2, len(self.history) + 1)
            ]
        }

    def describe_service_deployments(self, serviceDeploymentArns: list[str]) -> dict[str, Any]:
        return {
            "serviceDeployments": [
                {
                    "serviceDeploymentArn": arn,
                    "status": "STOPPED",
                    "targetServiceRevision": {"arn": f"r/{arn}"},
                }
                for arn in serviceDeploymentArns
            ]
        }

    def describe_service_revisions(self, serviceRevisionArns: list[str]) -> dict[str, Any]:
        return {
            "serviceRevisions": [
                {"serviceRevisionArn": arn, "taskDefinition": self.history[int(arn.rpartition("/")[2]) - 1]}
                for arn in serviceRevisionArns
            ]
        }


SERVICE = ItemRecord(
    *("r", 0, 0, 1, Service(cluster="c", service="s"), "update", {}),
    live=BEFORE,
    before=BEFORE,
    after=AFTER,
    previous_deployment="ecs-svc/1",
)


@dataclasses.dataclass(frozen=True)
class Wait:
    """What a write waits for: its turn, or attempts that end with an error and were done all the same, or were not."""

    pace: float = 0.0
    answers: tuple[Exception, ...] = ()
    applied: bool = False

    def before(self, world: World) -> None:
        world.pace, world.answers, world.applied = self.pace, iter(self.answers), self.applied


TURN = pytest.param(Wait(pace=30.0), id="its turn")
ERRORS = [
    pytest.param(
        Wait(answers=(error,) * times, applied=applied), id=f"{name} {times} times{', done' * applied}"
    )
    for name, error in (("throttle", THROTTLE), ("fault", FAULT), ("no answer", NO_ANSWER))
    for applied in ((False,) if error is THROTTLE else (False, True))
    for times in (1, 4)
]
WAITS = [TURN, *ERRORS]


@pytest.mark.parametrize("wait", WAITS)
def test_a_service_that_somebody_deploys_meanwhile_stays_theirs(clock: Time, wait: Wait) -> None:
    world: Any = Ecs(clock, BEFORE)
    wait.before(world)
    clock.at = [(clock.now, world.meddle)]
    one = Turn(world, SERVICE)
    with pytest.raises(ItemError, match="api:9 was deployed meanwhile") as said:
        start_rollout(one)
    assert world.history[-1] == THEIRS
    assert isinstance(said.value, SupersededError) != wait.applied, (
        "what was started and is over is no mere supersession"
    )
    assert (one.item.started_at is not None) == bool(
        wait.applied or any(error is not THROTTLE for error in wait.answers)
    )


@pytest.mark.parametrize("wait", WAITS)
def test_nor_does_the_way_back_overwrite_it(clock: Time, wait: Wait) -> None:
    world: Any = Ecs(clock, BEFORE)
    world.history.append(AFTER)
    wait.before(world)
    clock.at = [(clock.now, world.meddle)]
    written = dataclasses.replace(SERVICE, deployment_id="ecs-svc/2", started_at=int(clock.now) - 60)
    with pytest.raises(SupersededError, match=r"not put back: .*api:9 was deployed meanwhile"):
        put_service_back(Turn(world, written))
    assert world.history[-1] == THEIRS


@pytest.mark.parametrize("wait", WAITS)
def test_a_restart_meanwhile_is_nothing_else(clock: Time, wait: Wait) -> None:
    """Somebody restarts what the release found: it is written all the same, unless ECS may have gone back to it from ours."""
    world: Any = Ecs(clock, BEFORE)
    wait.before(world)
    clock.at = [(clock.now, lambda: world.meddle(BEFORE))]
    if wait.applied:
        with pytest.raises(ItemError, match="an earlier attempt started is over"):
            start_rollout(Turn(world, SERVICE))
        return
    if any(
        error is not THROTTLE for error in wait.answers
    ):  # it may have been ours, and ECS lists nothing of it
        with pytest.raises(SupersededError, match="api:1 was deployed meanwhile"):
            start_rollout(Turn(world, SERVICE))
        return
    assert start_rollout(Turn(world, SERVICE))["deployment_id"] == "ecs-svc/3"
    assert world.history == [BEFORE, BEFORE, AFTER]


def test_what_is_written_at_once_is_looked_at_once(clock: Time) -> None:
    world: Any = Ecs(clock, BEFORE)
    looks: list[float] = []
    describe = world.describe_services
    world.describe_services = lambda **asked: (looks.append(clock.now), describe(**asked))[1]
    start_rollout(Turn(world, SERVICE))
    assert len(looks) == 2, "one look, and the answer"


def test_an_answer_that_does_not_show_it_yet_is_followed_by_a_look(clock: Time) -> None:
    """Both ways: what was there before is not the proof."""

    class Late(Ecs):
        def update_service(self, taskDefinition: str, **more: Any) -> dict[str, Any]:
            before = self.describe_services()["services"][0]
            super().update_service(taskDefinition=taskDefinition, **more)
            return {"service": before}

    world: Any = Late(clock, BEFORE)
    started = start_rollout(Turn(world, SERVICE))
    assert started["deployment_id"] == "ecs-svc/2"
    written = dataclasses.replace(SERVICE, **started)
    assert put_service_back(Turn(world, written))["rollback_deployment"] == "ecs-svc/3"


def test_what_never_shows_is_said(clock: Time) -> None:
    class Deaf(Ecs):
        def update_service(self, taskDefinition: str, **_: Any) -> dict[str, Any]:
            assert taskDefinition in (BEFORE, AFTER)
            return {"service": self.describe_services()["services"][0]}

    world: Any = Deaf(clock, BEFORE)
    with pytest.raises(ItemError, match="started no deployment"):
        start_rollout(Turn(world, SERVICE))
    world.history.append(AFTER)
    written = dataclasses.replace(SERVICE, deployment_id="ecs-svc/2", started_at=int(clock.now))
    one = Turn(world, written)
    with pytest.raises(UnfinishedError, match="looked for once more"):
        put_service_back(one)
    clock.sleep(7)
    with pytest.raises(ItemError, match=r"not put back: ECS took .*api:1, and shows .*api:2"):
        put_service_back(one)


# --- scheduled tasks --------------------------------------------------------------------------------------------------


def target(name: str, reference: str, **more: Any) -> dict[str, Any]:
    return {"Id": name, "Arn": "cluster", "EcsParameters": {"TaskDefinitionArn": reference}, **more}


class Bridge(World):
    """A rule with its targets, or a schedule, whose body is ``live``'s only entry."""

    def __init__(self, clock: Time, *live: dict[str, Any]) -> None:
        super().__init__(clock)
        self.live = list(live)
        self.refused: list[set[str]] = []

    def list_targets_by_rule(self, **_: Any) -> Any:
        return {RAW: {"Targets": json.loads(json.dumps(self.live))}}

    def put_targets(self, **_: Any) -> dict[str, Any]:
        given = {entry["Id"]: entry for entry in json.loads(sent.get() or b"")["Targets"]}
        refused = self.refused.pop(0) if self.refused else set()
        taken = {name: entry for name, entry in given.items() if name not in refused}

        def put() -> None:
            self.live = [taken.get(entry["Id"], entry) for entry in self.live]

        self.write(",".join(sorted(taken)), put)
        failed = [
            {"TargetId": name, "ErrorCode": "ThrottlingException"} for name in sorted(refused & set(given))
        ]
        return {"FailedEntryCount": len(failed), "FailedEntries": failed}

    def get_schedule(self, **_: Any) -> Any:
        return {RAW: json.loads(json.dumps(self.live[0]))}

    def update_schedule(self, **_: Any) -> dict[str, Any]:
        given = json.loads(sent.get() or b"")

        def put() -> None:
            self.live = [{**self.live[0], **given}]

        self.write("schedule", put)
        return {}


def schedule(reference: str, **more: Any) -> dict[str, Any]:
    inner = {"Arn": "cluster", "RoleArn": "r", "EcsParameters": {"TaskDefinitionArn": reference}}
    return {"Name": "n", "GroupName": "default", "ScheduleExpression": "rate(1 day)", "Target": inner, **more}


RULE = dataclasses.replace(
    SERVICE,
    item=manifest.Rule(rule="nightly", images={"app": "x"}),
    base=BEFORE,
    before_raw=json.dumps([target("a", BEFORE), target("b", BEFORE)]),
)
SCHEDULE = dataclasses.replace(
    SERVICE,
    item=manifest.Schedule(schedule="n", images={"app": "x"}),
    base=BEFORE,
    before_raw=json.dumps([schedule(BEFORE)]),
)
TASKS = ["rule", "schedule"]


@dataclasses.dataclass(frozen=True)
class Way:
    """Forward or back: the step, what it finds, and what it is to write."""

    step: Callable[[Turn], dict[str, Any]]
    found: str
    wanted: str

    @property
    def is_back(self) -> bool:
        return self.step is put_task_back


FORWARD, BACK = Way(point_at_new_revision, BEFORE, AFTER), Way(put_task_back, AFTER, BEFORE)
BOTH_WAYS = [pytest.param(FORWARD, id="forward"), pytest.param(BACK, id="back")]


def task(kind: str, way: Way, clock: Time, **more: Any) -> tuple[Any, Turn]:
    found = way.found
    live = [target("a", found, **more), target("b", found)] if kind == "rule" else [schedule(found, **more)]
    world: Any = Bridge(clock, *live)
    item = RULE if kind == "rule" else SCHEDULE
    if way.is_back:
        item = dataclasses.replace(item, started_at=int(clock.now) - 60)
    return world, Turn(world, item)


def runs(entry: dict[str, Any]) -> str:
    return str(entry.get("Target", entry)["EcsParameters"]["TaskDefinitionArn"])


def set_all(world: Any, reference: str) -> None:
    for entry in world.live:
        entry.get("Target", entry)["EcsParameters"]["TaskDefinitionArn"] = reference


@pytest.mark.parametrize("kind", TASKS)
@pytest.mark.parametrize("way", BOTH_WAYS)
@pytest.mark.parametrize("wait", ERRORS)
def test_a_task_that_somebody_sets_meanwhile_stays_theirs(
    clock: Time,
    kind: str,
    way: Way,
    wait: Wait,
) -> None:
    world, one = task(kind, way, clock)
    wait.before(world)
    clock.at = [(clock.now, lambda: set_all(world, THEIRS))]
    with pytest.raises(SupersededError, match="api:9 was set meanwhile"):
        way.step(one)
    assert {runs(entry) for entry in world.live} == {THEIRS}
    touched = way.is_back or any(error is not THROTTLE for error in wait.answers)
    assert (one.item.started_at is not None) == touched


@pytest.mark.parametrize("kind", TASKS)
@pytest.mark.parametrize("way", BOTH_WAYS)
@pytest.mark.parametrize("wait", ERRORS)
def test_what_else_somebody_sets_meanwhile_is_kept(
    clock: Time,
    kind: str,
    way: Way,
    wait: Wait,
) -> None:
    world, one = task(kind, way, clock, Description="before")
    wait.before(world)
    clock.at = [(clock.now, lambda: world.live[0].update(Description="theirs"))]
    way.step(one)
    assert {runs(entry) for entry in world.live} == {way.wanted}
    assert world.live[0]["Description"] == "theirs"


@pytest.mark.parametrize("theirs", ["a", "b"])
def test_the_targets_that_nobody_else_changed_go_back(clock: Time, theirs: str) -> None:
    world, one = task("rule", BACK, clock)
    for entry in world.live:
        if entry["Id"] == theirs:
            entry["EcsParameters"]["TaskDefinitionArn"] = THEIRS
    assert put_task_back(one)["rollback_to"] == BEFORE
    assert {entry["Id"]: runs(entry) for entry in world.live} == {
        name: THEIRS if name == theirs else BEFORE for name in "ab"
    }


def test_a_target_that_was_not_taken_and_is_somebody_elses_by_then_leaves_the_other_touched(
    clock: Time,
) -> None:
    world, one = task("rule", FORWARD, clock)
    world.refused = [{"b"}]
    clock.at = [(clock.now, lambda: world.live[1]["EcsParameters"].update(TaskDefinitionArn=THEIRS))]
    with pytest.raises(SupersededError, match="api:9 was set meanwhile"):
        point_at_new_revision(one)
    assert [runs(entry) for entry in world.live] == [AFTER, THEIRS]
    assert one.item.started_at is not None, "target a runs the new revision"


ONCE = "at(2026-11-01T03:00:00)"
"""Before the clock's beginning."""


@pytest.mark.parametrize("way", BOTH_WAYS)
@pytest.mark.parametrize(
    ("members", "written"),
    [
        ({"ScheduleExpression": ONCE}, False),
        ({"ScheduleExpression": ONCE, "ActionAfterCompletion": "NONE", "State": "ENABLED"}, False),
        ({"ScheduleExpression": ONCE, "State": "DISABLED"}, True),
        ({"ScheduleExpression": "at(2090-11-01T03:00:00)"}, True),
        ({"ScheduleExpression": "cron(0 3 * * ? *)", "EndDate": 1.5e9}, True),
        ({"ScheduleExpression": "rate(1 day)"}, True),
    ],
)
def test_a_one_time_schedule_whose_moment_has_passed_is_not_started_again(
    clock: Time, way: Way, members: dict[str, Any], written: bool
) -> None:
    """Scheduler may run it at once when it is written: https://iret.media/116859."""
    world, one = task("schedule", way, clock, **members)
    if not written:
        with pytest.raises(ItemError, match=r"its moment has passed \(2026-11-01 03:00 UTC\)"):
            way.step(one)
    else:
        way.step(one)
    assert runs(world.live[0]) == (way.wanted if written else way.found)


@pytest.mark.parametrize("way", BOTH_WAYS)
def test_one_that_runs_already_what_it_is_to_run_is_not_written_and_no_failure(clock: Time, way: Way) -> None:
    """A worker died before it could say that it had written it, before the moment passed."""
    world, one = task("schedule", way, clock, ScheduleExpression=ONCE)
    set_all(world, way.wanted)
    one.item = dataclasses.replace(one.item, started_at=int(clock.now) - 60)
    way.step(one)
    assert world.writes == []


def test_a_target_that_becomes_somebody_elses_between_two_attempts_back_is_left(clock: Time) -> None:
    world, one = task("rule", BACK, clock)
    world.refused = [{"b"}]
    clock.at = [(clock.now, lambda: world.live[1]["EcsParameters"].update(TaskDefinitionArn=THEIRS))]
    assert put_task_back(one)["rollback_to"] == BEFORE
    assert [runs(entry) for entry in world.live] == [BEFORE, THEIRS]


class Family(Bridge):
    """Targets that name a family without a revision: its newest one is what runs."""

    def __init__(self, clock: Time) -> None:
        super().__init__(clock, target("a", FAMILY), target("b", FAMILY))
        self.revisions = [BEFORE]
        self.pace_of_registration = 0.0

    def describe(self, reference: str) -> TaskDefinition:
        return super().describe(self.revisions[-1] if reference == FAMILY else reference)

    def find_copy(self, *_: Any) -> TaskDefinition | None:  # type: ignore[override]
        return self.describe(AFTER) if AFTER in self.revisions else None

    def register_copy(self, *_: Any, before_attempt: Callable[[], None], **__: Any) -> Any:
        self.clock.sleep(self.pace_of_registration)
        before_attempt()
        self.revisions.append(AFTER)
        return self.describe(AFTER), True


FAMILY = f"{PREFIX}api"
UNPINNED = dataclasses.replace(
    RULE,
    pinned=False,
    after=None,
    before_raw=json.dumps([target("a", FAMILY), target("b", FAMILY)]),
)


@pytest.mark.parametrize("pace", [30.0, 0.0])
@pytest.mark.parametrize("wait", [None, *ERRORS])
def test_whoever_registers_in_the_family_meanwhile_has_deployed(
    clock: Time, wait: Wait | None, pace: float
) -> None:
    if wait is None and not pace:
        return
    world: Any = Family(clock)
    world.pace_of_registration = pace
    if wait is not None:
        wait.before(world)
    clock.at = [(clock.now, lambda: world.revisions.append(THEIRS))]
    one = Turn(world, UNPINNED)
    if wait is not None and wait.applied and not pace:  # the targets are pinned to ours by then
        assert point_at_new_revision(one)["after"] == AFTER
        return
    with pytest.raises(SupersededError, match="api:9 was registered meanwhile"):
        point_at_new_revision(one)
    assert {runs(entry) for entry in world.live} == {FAMILY}
    assert world.revisions[-1] == THEIRS


def test_nor_is_it_pinned_away_on_the_way_back(clock: Time) -> None:
    world: Any = Family(clock)
    world.revisions.append(AFTER)
    world.answers = iter([THROTTLE] * 3)
    clock.at = [(clock.now, lambda: world.revisions.append(THEIRS))]
    written = dataclasses.replace(UNPINNED, after=AFTER, registered=True, started_at=int(clock.now) - 60)
    with pytest.raises(SupersededError, match=r"not put back: .*api:9 was registered meanwhile"):
        put_task_back(Turn(world, written))
    assert {runs(entry) for entry in world.live} == {FAMILY}
