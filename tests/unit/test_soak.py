"""The look after a rollout is complete: which tasks failed, until when it is watched, and what it is worth when nobody can look."""

from __future__ import annotations

import dataclasses
import time
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import botocore.session
import pytest
from botocore.exceptions import ClientError
from ecs_release.aws.service_state import ServiceState
from ecs_release.aws.services import Services
from ecs_release.aws.stopped_tasks import StoppedTask
from ecs_release.errors import SettingsError
from ecs_release.record.models import ItemRecord, ReleaseRecord, in_utc, item_record, item_row
from ecs_release.record.statuses import Status
from ecs_release.rollout.judge import Judgement
from ecs_release.rollout.soak import PATIENCE_SECONDS, Soak, completion, judge_soak, not_known
from ecs_release.settings import Settings
from ecs_release.steps import check_rollouts, judging
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_odd_answers import ODD, Aws, Worker, record
from wire import odd, wired

OURS = "ecs-svc/2"
NOW = 1_900_000_000.0
SECONDS = 120
SOAK = Soak(OURS, int(NOW), 2, SECONDS)
END = NOW + SECONDS

# Of each stop code the reasons that AWS gives with it, and whether the task itself failed.
STOPS = [
    ("EssentialContainerExited", "Essential container in task exited", True),
    ("TaskFailedToStart", "CannotPullContainerError: pull image manifest has been retried 5 time(s)", True),
    ("TaskFailedToStart", "ResourceInitializationError: unable to pull secrets or registry auth", True),
    ("ServiceSchedulerInitiated", "Task failed ELB health checks in (target-group arn:aws:tg/x)", True),
    ("ServiceSchedulerInitiated", "Task failed container health checks", True),
    ("ServiceSchedulerInitiated", f"Scaling activity initiated by (deployment {OURS})", False),
    ("ServiceSchedulerInitiated", "Scaling activity initiated by (deployment ecs-svc/3)", False),
    (
        "ServiceSchedulerInitiated",
        "ECS is performing maintenance on the underlying infrastructure hosting the task",
        False,
    ),
    ("ServiceSchedulerInitiated", "", False),
    ("UserInitiated", "Task stopped by user", False),
    ("UserInitiated", "it failed its health checks, I restart it", False),
    ("SpotInterruption", "Your Spot Task was interrupted.", False),
    ("TerminationNotice", "Host EC2 (instance i-1) terminated.", False),
    ("InfrastructureHealth", "The host failed.", False),
    ("", "", False),
]


def task(
    code: str = "EssentialContainerExited",
    reason: str = "Essential container in task exited",
    at: float = NOW + 40,
    exit_code: int | None = 1,
    **members: Any,
) -> dict[str, Any]:
    container = {"name": "app", **({} if exit_code is None else {"exitCode": exit_code})}
    return {
        "taskArn": "arn:aws:ecs:eu-west-1:111111111111:task/c/0123abcd",
        "startedBy": OURS,
        "stopCode": code,
        "stoppedReason": reason,
        "stoppingAt": at,
        "stoppedAt": at + 30,
        "containers": [container, {"name": "sidecar", "exitCode": 0}],
        **members,
    }


def told(body: dict[str, Any]) -> StoppedTask:
    times = {name: datetime.fromtimestamp(value, UTC) for name, value in body.items() if name.endswith("At")}
    return StoppedTask.of({**body, **times})


def service(
    running: int | None = 2, desired: int = 2, status: str = "PRIMARY", *events: dict[str, Any]
) -> ServiceState:
    ours: dict[str, Any] = {"id": OURS, "status": status, "rolloutState": "COMPLETED"}
    if running is not None:
        ours["runningCount"] = running
    other = {"id": "ecs-svc/3", "status": "PRIMARY", "runningCount": 0}
    return ServiceState(
        {
            "status": "ACTIVE",
            "desiredCount": desired,
            "deployments": [ours] if status == "PRIMARY" else [other, ours],
            "events": list(events),
        }
    )


def event(message: str, at: float) -> dict[str, Any]:
    return {"id": "e", "createdAt": datetime.fromtimestamp(at, UTC), "message": f"(service api) {message}"}


# --- why a task stopped ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("code", "reason", "failed"), STOPS)
def test_only_what_the_task_itself_did_is_a_failure(code: str, reason: str, *, failed: bool) -> None:
    assert told(task(code, reason)).failed is failed


def test_each_stop_code_of_the_sdk_is_decided_about() -> None:
    model: Any = botocore.session.get_session().get_service_model("ecs")
    assert {code for code, _, _ in STOPS} - {""} == set(model.shape_for("TaskStopCode").enum)


@pytest.mark.parametrize(
    ("times", "at"),
    [
        ({"stoppingAt": 1.0, "executionStoppedAt": 2.0, "stoppedAt": 3.0}, 1.0),
        ({"executionStoppedAt": 2.0, "stoppedAt": 3.0}, 2.0),
        ({"stoppedAt": 3.0}, 3.0),
        ({}, 0.0),
    ],
)
def test_a_task_counts_from_when_it_began_to_stop(times: dict[str, float], at: float) -> None:
    """One that failed during the rollout may be drained long after it."""
    body = {name: value for name, value in task().items() if not name.endswith("At")}
    assert told({**body, **times}).stopped_at == at


# --- the verdict, from data alone -----------------------------------------------------------------------------


def test_while_all_is_well_nothing_else_is_asked_and_until_when_is_said() -> None:
    open_now = judge_soak(SOAK, service(), NOW + 1)
    assert open_now == Judgement(
        reason=f"its rollout is complete; it is watched until {datetime.fromtimestamp(END, UTC):%H:%M:%S} UTC"
    )
    assert judge_soak(SOAK, service(), END - 1) == open_now


def test_at_its_end_it_is_asked_once_whether_a_task_failed() -> None:
    assert judge_soak(SOAK, service(), END) == Judgement(needs_tasks=True)
    assert judge_soak(SOAK, service(), END, []) == Judgement(Status.SUCCEEDED)


@pytest.mark.parametrize(("code", "reason"), [(code, reason) for code, reason, failed in STOPS if failed])
def test_a_task_that_failed_is_the_verdict_in_ecs_s_words(code: str, reason: str) -> None:
    verdict = judge_soak(SOAK, service(), END, [told(task(code, reason))])
    assert verdict == Judgement(
        Status.FAILED,
        f"its rollout was complete, and 40 s later task 0123abcd stopped: {reason}; app exit code 1",
    )


def test_a_container_that_ended_well_ended_all_the_same() -> None:
    verdict = judge_soak(SOAK, service(), END, [told(task(exit_code=0))])
    assert verdict.status is Status.FAILED
    assert verdict.reason.endswith("stopped: Essential container in task exited; exit code 0")


def test_fewer_tasks_than_ran_are_looked_into_at_once() -> None:
    short = service(running=1)
    assert judge_soak(SOAK, short, NOW + 1) == Judgement(needs_tasks=True)
    assert judge_soak(SOAK, short, NOW + 1, [told(task())]).status is Status.FAILED
    assert judge_soak(SOAK, short, NOW + 1, []) == SOAK.open(NOW + 1)  # stopped by Spot, or by a person


def test_what_is_missing_at_the_end_has_a_while_to_come_back() -> None:
    trouble = event("was unable to place a task. Reason: no room.", NOW + 60)
    before = event("was unable to place a task in the rollout.", NOW - 60)
    short = service(1, 2, "PRIMARY", trouble, before)
    waiting = judge_soak(SOAK, short, END + PATIENCE_SECONDS - 1, [])
    assert waiting.status is None
    assert "only 1 of 2 tasks run" in waiting.reason
    ended = judge_soak(SOAK, short, END + PATIENCE_SECONDS, [])
    assert ended == Judgement(
        Status.FAILED,
        "its rollout was complete, and only 1 of 2 tasks run; ECS says: was unable to place a task. Reason: no room.",
    )
    assert judge_soak(SOAK, service(), END + 1, []).status is Status.SUCCEEDED


@given(
    running=st.none() | st.integers(0, 9),
    desired=st.integers(0, 9),
    count=st.none() | st.integers(0, 9),
    status=st.sampled_from(["PRIMARY", "ACTIVE"]),
)
def test_scaling_and_somebody_else_s_deployment_are_no_failure(
    running: int | None, desired: int, count: int | None, status: str
) -> None:
    soak = dataclasses.replace(SOAK, count=count)
    verdict = judge_soak(soak, service(running, desired, status), END + PATIENCE_SECONDS, [])
    known = running is not None and count is not None and status == "PRIMARY"
    missing = known and running < min(count, desired)  # type: ignore[operator,type-var]
    assert verdict.status is (Status.FAILED if missing else Status.SUCCEEDED)


def test_a_service_that_is_deleted_meanwhile_is_seen_twice() -> None:
    assert judge_soak(SOAK, None, NOW + 1).needs_second_look
    assert judge_soak(SOAK, None, NOW + 1).status is Status.FAILED


def test_what_can_t_be_read_is_not_waited_for_for_ever_and_not_called_well() -> None:
    assert not_known(SOAK, NOW + 1, "x").status is None
    assert not_known(SOAK, END + PATIENCE_SECONDS - 1, "x").status is None
    assert not_known(SOAK, END + PATIENCE_SECONDS, "its stopped tasks could not be read: no") == Judgement(
        Status.UNVERIFIED,
        "its rollout is complete; whether a task of it failed since is not known: its stopped tasks could not be read: no",
    )


@pytest.mark.parametrize(
    ("events", "at"),
    [
        ([event(f"(deployment {OURS}) deployment completed.", NOW - 9)], NOW - 9),
        ([event(f"(deployment {OURS}) deployment completed.", NOW + 9)], NOW),  # AWS's clock is ahead
        ([event("(deployment ecs-svc/1) deployment completed.", NOW - 9)], NOW),
        ([event(f"(deployment {OURS}) deployment failed: tasks failed to start.", NOW - 9)], NOW),
        ([], NOW),
    ],
)
def test_when_it_was_complete_ecs_s_events_tell(events: list[dict[str, Any]], at: float) -> None:
    assert completion(OURS, service(2, 2, "PRIMARY", *events), NOW) == (int(at), 2)


# --- as the step judges it ------------------------------------------------------------------------------------


def aws(**deployment: Any) -> Aws:
    found = Aws()
    found.services[ODD]["deployments"][0] |= {"runningCount": 2, **deployment}
    found.services[ODD]["desiredCount"] = 2
    found.history["ListTasks"] = {"taskArns": []}
    return found


def judge(
    monkeypatch: pytest.MonkeyPatch, found: Aws, now: float, item: ItemRecord, soak_seconds: int = SECONDS
) -> tuple[ItemRecord, list[str]]:
    """The item afterwards, and the operations that ECS was asked."""
    asked: list[str] = []

    def noted(operation: str, answer: Any) -> Any:
        return lambda body: asked.append(operation) or answer(body)

    answers = {name: noted(name, answer) for name, answer in found.answers().items()}
    worker: Any = Worker(wired(monkeypatch, answers))
    (judged,) = judging.judge_all(worker, [item], now, soak_seconds)
    return judged, asked


def begun(**members: Any) -> ItemRecord:
    return record(ODD, started_at=int(NOW - 200), **members)


@pytest.mark.parametrize("strategy", ["ROLLING", "BLUE_GREEN", "CANARY"])
def test_the_verdict_comes_once_and_the_record_tells_since_when(
    monkeypatch: pytest.MonkeyPatch, strategy: str
) -> None:
    found = aws()
    found.services[ODD]["deploymentConfiguration"]["strategy"] = strategy
    item, _ = judge(monkeypatch, found, NOW, begun())
    assert (item.verdict, item.completed_at, item.completed_count) == ("UPDATED", int(NOW), 2)
    assert "it is watched until" in item.reason
    again, asked = judge(monkeypatch, found, NOW + 60, item)
    assert (again, asked) == (item, ["DescribeServices"])
    last, asked = judge(monkeypatch, found, END, item)
    assert (last.verdict, last.reason) == ("SUCCEEDED", "")
    assert asked == ["DescribeServices", "ListTasks"]
    # A worker that died before it could write, or ran twice, comes to the same.
    assert judge(monkeypatch, found, END, item)[0].verdict == "SUCCEEDED"


def test_without_it_nothing_is_asked_and_nothing_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    item, asked = judge(monkeypatch, aws(), NOW, begun(), soak_seconds=0)
    assert (item.verdict, item.completed_at) == ("SUCCEEDED", None)
    assert asked == ["DescribeServices"]


@pytest.mark.parametrize("at", [NOW + 5, NOW + 60])
def test_a_task_that_dies_is_found_whenever_it_died(monkeypatch: pytest.MonkeyPatch, at: float) -> None:
    found = aws()
    found.history["ListTasks"] = {"taskArns": ["t"]}
    found.history["DescribeTasks"] = {
        "tasks": [task(at=at, startedBy="ecs-svc/1"), task(at=NOW - 5), task(at=at)]
    }
    item, _ = judge(monkeypatch, found, NOW, begun())
    last, _ = judge(monkeypatch, found, END, item)
    assert last.verdict == "FAILED"
    assert f"{at - NOW:g} s later task 0123abcd stopped" in last.reason


def test_it_is_found_behind_a_page_of_the_tasks_that_ran_before(monkeypatch: pytest.MonkeyPatch) -> None:
    found = aws()
    item, _ = judge(monkeypatch, found, NOW, begun())
    pages = {None: ("old", "next"), "next": ("new", None)}

    def listed(body: dict[str, Any]) -> Any:
        name, token = pages[body.get("nextToken")]
        return {"taskArns": [name], **({"nextToken": token} if token else {})}

    answers = {
        **found.answers(),
        "ListTasks": listed,
        "DescribeTasks": lambda body: {
            "tasks": [task(startedBy="ecs-svc/2" if body["tasks"] == ["new"] else "ecs-svc/1")]
        },
    }
    worker: Any = Worker(wired(monkeypatch, answers))
    (last,) = judging.judge_all(worker, [item], END, SECONDS)
    assert last.verdict == "FAILED"


def test_the_item_s_own_deadline_does_not_end_it(monkeypatch: pytest.MonkeyPatch) -> None:
    item, _ = judge(monkeypatch, aws(), NOW, begun(completed_at=int(NOW), completed_count=2))
    late = dataclasses.replace(item, started_at=int(NOW - 3599))
    assert judge(monkeypatch, aws(), NOW + 100, late)[0].verdict == "UPDATED"
    assert judge(monkeypatch, aws(), END, late)[0].verdict == "SUCCEEDED"


def test_somebody_else_s_deployment_does_not_undo_the_proof(monkeypatch: pytest.MonkeyPatch) -> None:
    item, _ = judge(monkeypatch, aws(), NOW, begun())
    found = aws(status="ACTIVE", runningCount=0)
    other = {"id": "ecs-svc/3", "status": "PRIMARY", "taskDefinition": "x:3", "rolloutState": "IN_PROGRESS"}
    found.services[ODD]["deployments"].insert(0, other)
    assert judge(monkeypatch, found, NOW + 60, item)[0].verdict == "UPDATED"
    assert judge(monkeypatch, found, END, item)[0].verdict == "SUCCEEDED"


@pytest.mark.parametrize("members", [{"action": "unchanged"}, {"verdict": "SUCCEEDED"}])
def test_what_did_not_change_or_has_its_verdict_is_not_watched(
    monkeypatch: pytest.MonkeyPatch, members: dict[str, Any]
) -> None:
    if "action" in members:
        members = {**members, "verdict": "PENDING"}
    item = dataclasses.replace(begun(), **members)
    judged, _ = judge(monkeypatch, aws(), NOW, item)
    assert judged.completed_at is None
    assert judged.verdict in ("UNCHANGED", "SUCCEEDED")


def test_what_runs_nothing_is_unverified_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    found = aws()
    found.services[ODD]["desiredCount"] = 0
    assert judge(monkeypatch, found, NOW, begun())[0].verdict == "UNVERIFIED"


@pytest.mark.parametrize("where", ["its stopped tasks", "the service"])
def test_a_look_that_is_refused_ends_unverified(monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    found = aws()
    item, _ = judge(monkeypatch, found, NOW, begun())
    refusal = ClientError(
        {"Error": {"Code": "AccessDeniedException", "Message": "not authorized"}}, "ListTasks"
    )

    def refuse(*_: Any, **__: Any) -> Any:
        raise refusal

    monkeypatch.setattr(Services, "failed_tasks" if where == "its stopped tasks" else "describe", refuse)
    assert judge(monkeypatch, found, END + 1, item)[0].verdict == "UPDATED"
    last, _ = judge(monkeypatch, found, END + PATIENCE_SECONDS, item)
    assert last.verdict == "UNVERIFIED"
    assert last.reason.endswith(f"{where} could not be read: AccessDeniedException: not authorized")


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_an_odd_answer_is_no_traceback_and_no_verdict_in_the_window(
    monkeypatch: pytest.MonkeyPatch, data: Any
) -> None:
    found = aws()
    found.history["ListTasks"] = {"taskArns": ["t"]}
    found.history["DescribeTasks"] = data.draw(odd({"tasks": [task("UserInitiated", "by hand")]}))
    found.services[ODD] = data.draw(odd(found.services[ODD]))
    known = begun(completed_at=int(NOW), completed_count=2)
    item, _ = judge(monkeypatch, found, NOW + 1, known)
    last, _ = judge(monkeypatch, found, END + PATIENCE_SECONDS, dataclasses.replace(item, doubted_at=None))
    assert last.verdict in ("SUCCEEDED", "UNVERIFIED", "FAILED", "UPDATED")


# --- around it ------------------------------------------------------------------------------------------------


def test_the_record_keeps_it_and_an_old_one_has_none() -> None:
    item = begun(completed_at=5, completed_count=2)
    assert item_record(item_row(item)) == item
    old = {k: v for k, v in item_row(item).items() if not k.startswith("completed")}
    assert (item_record(old).completed_at, item_record(old).completed_count) == (None, None)


@pytest.mark.parametrize(("value", "seconds"), [(None, 0), ("0", 0), ("90", 90)])
def test_the_function_is_told_by_its_environment(value: str | None, seconds: int) -> None:
    told_by = {"ECS_RELEASE_SOAK_SECONDS": value} if value is not None else {}
    assert Settings.from_environment({"ECS_RELEASE_TABLE": "t", **told_by}).soak_seconds == seconds


@pytest.mark.parametrize("value", ["", "-1", "1.5", "a minute"])
def test_what_is_no_number_of_seconds_is_refused(value: str) -> None:
    with pytest.raises(SettingsError, match="ECS_RELEASE_SOAK_SECONDS"):
        Settings.from_environment({"ECS_RELEASE_TABLE": "t", "ECS_RELEASE_SOAK_SECONDS": value})


class Wave:
    """A worker, its store and what the judgement says, in one: a wave of services as they are."""

    def __init__(self, *items: ItemRecord, soak_seconds: int = SECONDS, poll_seconds: int = 15) -> None:
        self.settings = Settings("releases", poll_seconds=poll_seconds, soak_seconds=soak_seconds)
        self.store = self
        self._items = list(items)
        self.soaked: list[int] = []

    def items(self, *_: Any) -> list[ItemRecord]:
        return self._items

    def update_release(self, *_: Any, **__: Any) -> None:
        pass

    def decide(self, monkeypatch: pytest.MonkeyPatch, now: float, mode: str = "deploy") -> dict[str, Any]:
        def judged(_: Any, items: Any, __: float, soak_seconds: int) -> Any:
            self.soaked.append(soak_seconds)
            return items

        monkeypatch.setattr(check_rollouts, "judge_all", judged)
        release = ReleaseRecord(
            "r",
            "arn",
            1,
            in_utc(datetime.fromtimestamp(now, UTC) - timedelta(days=3)),
            mode=mode,
            waves=[{"wave": 0, "batches": [0, 0], "tasks": [], "services": [0]}],
        )
        state: Any = {"phase": "services", "wave": 0, "seconds": 1}
        worker: Any = self
        return dict(check_rollouts._decide(worker, release, state, now))


def test_a_sibling_s_failure_does_not_wait_for_what_is_watched(monkeypatch: pytest.MonkeyPatch) -> None:
    bad = record("api", verdict="FAILED")
    soaking = record("web", completed_at=int(NOW), completed_count=2)
    assert Wave(bad, soaking).decide(monkeypatch, NOW + 1)["next"] == "ROLLBACK"
    assert Wave(bad, record("web")).decide(monkeypatch, NOW + 1)["next"] == "WAIT"


@pytest.mark.parametrize(("left", "seconds"), [(100, 100), (3, 15), (-20, 15), (5000, 600)])
def test_the_last_look_comes_when_it_is_due(monkeypatch: pytest.MonkeyPatch, left: int, seconds: int) -> None:
    """An old release looks every ten minutes only."""
    soaking = record("web", completed_at=int(NOW) - 10, completed_count=2)
    other = record("api", completed_at=int(NOW), completed_count=2)
    state = Wave(soaking, other, soak_seconds=left).decide(monkeypatch, NOW)
    assert (state["next"], state["seconds"]) == ("WAIT", seconds)
    assert Wave(soaking, record("api")).decide(monkeypatch, NOW)["seconds"] == 600


def test_going_back_by_hand_is_not_watched(monkeypatch: pytest.MonkeyPatch) -> None:
    for mode, seconds in (("deploy", SECONDS), ("rollback", 0)):
        wave = Wave(record("web"))
        wave.decide(monkeypatch, NOW, mode)
        assert wave.soaked == [seconds]


def test_a_rollback_says_nothing_of_the_watch_any_more(monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[dict[str, Any]] = []
    item = record(
        "web", completed_at=int(NOW), reason="its rollout is complete; it is watched until 12:00:00 UTC"
    )
    item = dataclasses.replace(item, rollback_started_at=int(time.time()))
    store = SimpleNamespace(items=lambda *_: [item], settle_item=lambda _, changes: written.append(changes))
    worker: Any = SimpleNamespace(store=store, settings=Settings("releases"), connections=None)
    monkeypatch.setattr(check_rollouts, "looks", lambda *_: [(item, {})])
    monkeypatch.setattr(check_rollouts, "judge_back", lambda *_: Judgement(Status.SUCCEEDED))
    monkeypatch.setattr(check_rollouts, "_roll_back_before", lambda *_: {})
    release = ReleaseRecord("r", "arn", 1, "", waves=[{"batches": [0, 0]}])
    check_rollouts._after_rollback(worker, release, {"wave": 0}, {}, NOW)  # type: ignore[typeddict-item]
    assert [(change["status"], change["reason"]) for change in written] == [("ROLLED_BACK", "")]
