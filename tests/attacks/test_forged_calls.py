"""Whoever may invoke a function can send it any payload; what is not due, by the record and Step Functions, is not done."""

from __future__ import annotations

import dataclasses
import importlib
import json
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from types import SimpleNamespace
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from ecs_release.errors import LockLostError, ManifestInvalidError, NotDueError
from ecs_release.manifest import Rule, Service
from ecs_release.observability import metrics
from ecs_release.record.models import ItemRecord, ReleaseRecord, item_row
from ecs_release.record.store import Store
from ecs_release.record.table import serialized
from ecs_release.steps import due, worker
from ecs_release.steps import report as report_step
from moto import mock_aws

RELEASE = "r1"
EXECUTION = f"arn:aws:states:eu-west-1:111111111111:execution:ecs-release-release:{RELEASE}"
STARTED = "2026-01-01T00:00:00.000Z"
DOCUMENT = {"services": [{"service": "app", "clusterName": "c", "serviceName": "s", "image": "app:2"}]}
TARGET = {"account": "111111111111", "region": "eu-west-1", "roleArn": "arn:w", "readerRoleArn": "arn:r"}

# The second wave's services are being updated; its tasks, and the first wave, are done.
RECORD = ReleaseRecord(
    RELEASE,
    EXECUTION,
    1,
    STARTED,
    waves=[
        {"wave": 0, "batches": [0, 0], "tasks": [], "services": [0]},
        {"wave": 1, "batches": [1, 2], "tasks": [1], "services": [2]},
        {"wave": 2, "batches": [3, 4], "tasks": [3], "services": [4]},
    ],
    prepare=[[0, 1, 2, 3, 4]],
    turn="now",
    turn_before="earlier",
    due={
        "next": "UPDATE_SERVICES",
        "phase": "services",
        "wave": 1,
        "epoch": 1,
        "seconds": 15,
        "prepare": [[0, 1, 2, 3, 4]],
        "tasks": [1],
        "services": [2],
        "rollback": [],
        "turn": "now",
    },
)
AT_THE_END = dataclasses.replace(RECORD, due={**RECORD.due, "next": "REPORT"})
CLOSED = dataclasses.replace(RECORD, status="ABORTED")
TASK = {"Id": "t", "Arn": "arn:cluster", "EcsParameters": {"TaskDefinitionArn": "app:1"}}


def item(batch: int, kind: str, verdict: str, started: bool) -> ItemRecord:
    return ItemRecord(
        *(RELEASE, batch, 0, 1),
        Service(cluster="c", service="s") if kind == "service" else Rule(rule=f"n{batch}"),
        "update",
        {},
        before="app:1",
        before_raw=None if kind == "service" else json.dumps([TASK]),
        after=f"app:{batch + 2}",
        registered=True,
        verdict=verdict,
        status=verdict,
        started_at=1 if started else None,
    )


ITEMS = [
    item(0, "service", "SUCCEEDED", True),
    item(1, "task", "SUCCEEDED", True),
    item(2, "service", "PREPARED", False),
    item(3, "task", "PREPARED", False),
    item(4, "service", "PREPARED", False),
]


class Account:
    """The releases table with a release in the middle, the executions Step Functions knows, and what was sent to whom."""

    def __init__(self, dynamodb: Any) -> None:
        self.dynamodb = dynamodb
        self.store = Store(dynamodb, "releases")
        self.executions: dict[str, dict[str, Any]] = {
            EXECUTION: {
                "status": "RUNNING",
                "startDate": datetime.fromisoformat(STARTED),
                "input": json.dumps(DOCUMENT),
            }
        }
        self.mails: list[str] = []

    def client(self, service: str) -> Any:
        if service == "dynamodb":
            return self.dynamodb
        if service == "sns":
            return SimpleNamespace(publish=lambda **asked: self.mails.append(asked["Message"]))
        assert service == "stepfunctions", service
        return SimpleNamespace(describe_execution=self.describe)

    def describe(self, executionArn: str) -> dict[str, Any]:
        if executionArn not in self.executions:
            raise ClientError({"Error": {"Code": "ExecutionDoesNotExist"}}, "DescribeExecution")
        return self.executions[executionArn]

    def record(self, record: ReleaseRecord) -> None:
        row = {"pk": f"RELEASE#{RELEASE}", "sk": "RELEASE", **dataclasses.asdict(record)}
        self.store._put(row)

    def rows(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.dynamodb.scan(TableName="releases", ConsistentRead=True)["Items"]
        return sorted(found, key=lambda row: (row["pk"]["S"], row["sk"]["S"]))

    def call(self, step: str, payload: Any) -> dict[str, Any]:
        context = SimpleNamespace(
            function_name=step,
            memory_limit_in_mb=512,
            invoked_function_arn="arn:aws:lambda:eu-west-1:111111111111:function:any",
            aws_request_id="request",
            get_remaining_time_in_millis=lambda: 300_000,
        )
        answer: dict[str, Any] = importlib.import_module(f"ecs_release.steps.{step}").handler(
            payload, context
        )
        return answer

    def refuses(self, step: str, payload: Any, *errors: type[Exception]) -> None:
        """A call does nothing and says so in words."""
        before = self.rows()
        with pytest.raises(errors or (NotDueError,)) as raised:
            self.call(step, payload)
        assert len(str(raised.value).split()) > 3
        assert self.rows() == before
        assert self.mails == []


@pytest.fixture(scope="module")
def dynamodb() -> Iterator[Any]:
    """One table for all tests: making clients is what would take the time."""
    with pytest.MonkeyPatch.context() as patch, mock_aws():
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            patch.setenv(name, "testing")
        patch.delenv("AWS_ENDPOINT_URL", raising=False)
        client = boto3.client("dynamodb", region_name="eu-west-1")
        client.create_table(
            TableName="releases",
            BillingMode="PAY_PER_REQUEST",
            AttributeDefinitions=[{"AttributeName": n, "AttributeType": "S"} for n in ("pk", "sk")],
            KeySchema=[
                {"AttributeName": "pk", "KeyType": "HASH"},
                {"AttributeName": "sk", "KeyType": "RANGE"},
            ],
        )
        yield client


@pytest.fixture
def account(dynamodb: Any, monkeypatch: pytest.MonkeyPatch) -> Account:
    monkeypatch.setenv("ECS_RELEASE_TABLE", "releases")
    monkeypatch.setenv("ECS_RELEASE_TOPIC_ARN", "arn:aws:sns:eu-west-1:111111111111:topic")
    monkeypatch.setattr(
        type(metrics.provider), "flush_metrics", lambda provider, *_, **__: provider.clear_metrics()
    )
    account = Account(dynamodb)
    for row in account.rows():
        dynamodb.delete_item(TableName="releases", Key={key: row[key] for key in ("pk", "sk")})
    account.store._put({"pk": "CONFIG", "sk": "TARGETS", "targets": json.dumps({"default": TARGET})})
    for module in (due, report_step, worker):
        monkeypatch.setattr(module, "own_client", account.client)
    return account


def _put(store: Store, items: Sequence[ItemRecord]) -> None:
    for item in items:
        store._put({**item.key, **item_row(item)})


@pytest.fixture
def running(account: Account) -> Account:
    account.store.open_release(RECORD, account.store.lock())
    account.record(RECORD)
    _put(account.store, ITEMS)
    return account


# --- Report ----------------------------------------------------------------------------------------------------


def report(state: dict[str, Any], execution: str = EXECUTION, release: str = RELEASE) -> dict[str, Any]:
    return {"release": release, "execution": execution, "state": state}


@pytest.mark.parametrize("touched", [True, False])
def test_a_forged_refusal_closes_no_release_that_got_past_parse(running: Account, touched: bool) -> None:
    """It said REJECTED, nothing was touched, and gave the lock away while a wave was under way."""
    if not touched:  # still preparing
        running.record(dataclasses.replace(RECORD, turn_before=None))
        for item in ITEMS:
            running.store._client.delete_item(TableName="releases", Key=serialized(item.key))
        _put(running.store, [i for i in ITEMS if i.started_at is None])
    running.refuses("report", report({"Error": "ManifestInvalidError", "Cause": "no"}))
    assert running.store.lock().holder == RELEASE


@pytest.mark.parametrize(
    "state",
    [
        {},
        {"next": "REPORT"},
        {"turn": None},
        {"turn": ""},
        {"turn": "guessed"},
        {"error": {"Error": "States.Timeout", "Cause": "forged"}},
        {"turn": "guessed", "error": {"Error": "States.Timeout", "Cause": "forged"}},
        {"turn": "earlier"},
        {"turn": "now"},  # even the machine's own state is not at its end
    ],
)
def test_a_forged_end_closes_no_running_release(running: Account, state: dict[str, Any]) -> None:
    running.refuses("report", report(state))


def test_the_end_of_another_execution_is_not_this_release_s(running: Account) -> None:
    running.record(AT_THE_END)
    running.refuses("report", report({"turn": "now"}, EXECUTION.replace("-release:", "-other:")))
    assert running.call("report", report({"turn": "now"}))["status"] == "ROLLBACK_INCOMPLETE"


def test_nobody_gets_mail_about_a_release_that_never_was(account: Account) -> None:
    invented = EXECUTION.replace(RELEASE, "r2")
    account.refuses("report", report({"turn": "x"}, invented, "r2"))
    account.refuses("report", report({"Error": "E", "Cause": "click here"}, invented, "r2"), ClientError)
    account.refuses("report", report({"Error": "E", "Cause": "click here"}, EXECUTION, "r2"))
    account.executions[EXECUTION]["status"] = "SUCCEEDED"
    account.refuses("report", report({"Error": "E", "Cause": "click here"}))


def test_a_refusal_by_parse_itself_is_still_reported(account: Account) -> None:
    answer = account.call("report", report({"Error": "ManifestInvalidError", "Cause": "no"}))
    assert answer["status"] == "REJECTED"
    assert len(account.mails) == 1


def test_a_forged_refusal_writes_nothing_into_the_record_of_a_release_that_is_whole(running: Account) -> None:
    running.record(dataclasses.replace(RECORD, status="SUCCEEDED"))
    running.refuses("report", report({"Error": "E", "Cause": "click here"}))


@pytest.mark.parametrize("state", [{"turn": "now"}, {"turn": "earlier"}])
def test_a_machine_that_stopped_early_is_believed_by_its_turn(
    running: Account, state: dict[str, Any]
) -> None:
    error = {"Error": "States.Timeout", "Cause": "no answer"}
    assert running.call("report", report({**state, "error": error}))["status"] == "ROLLBACK_INCOMPLETE"


# --- the event of an execution's end -----------------------------------------------------------------------------


def event(**detail: str) -> dict[str, Any]:
    told = {"name": RELEASE, "executionArn": EXECUTION, "status": "ABORTED"}
    return {"source": "aws.states", "detail": {**told, **detail}}


def test_a_forged_event_ends_no_running_release(running: Account) -> None:
    running.refuses("report", event())
    running.refuses("report", event(executionArn=EXECUTION.replace("-release:", "-other:")))
    running.refuses("report", event(executionArn=""))
    assert running.store.lock().holder == RELEASE


def test_an_event_of_another_machine_s_execution_of_this_name_closes_nothing(running: Account) -> None:
    other = EXECUTION.replace("-release:", "-other:")
    running.executions[other] = {"status": "ABORTED"}
    running.refuses("report", event(executionArn=other))


def test_the_true_event_of_an_end_closes_the_record_as_step_functions_says(running: Account) -> None:
    running.executions[EXECUTION]["status"] = "TIMED_OUT"
    assert running.call("report", event(status="forged"))["status"] == "ABORTED"
    record = running.store.release(RELEASE)
    assert record is not None
    assert record.problems == ["its execution ended as TIMED_OUT"]
    assert running.store.lock().holder is None


# --- Parse ---------------------------------------------------------------------------------------------------------


def begin(**changes: Any) -> dict[str, Any]:
    return {
        "release": RELEASE,
        "execution": EXECUTION,
        "startedAt": STARTED,
        "input": DOCUMENT,
        **changes,
    }


@pytest.mark.parametrize(
    "started",
    ["", "soon", "2026-13-01T00:00:00Z", "2026-01-01T00:00:00", "1", "None", "9999-99-99", "\ud83d"],
)
def test_a_broken_start_time_takes_no_lock(account: Account, started: str) -> None:
    """It took the lock and died before there was a record, so nobody could tell that it had ended."""
    account.refuses("parse", begin(startedAt=started))
    assert account.store.lock().epoch == 0


@pytest.mark.parametrize(
    "forged",
    [
        {"execution": ""},
        {"execution": RELEASE},
        {"execution": EXECUTION + "x"},
        {"execution": EXECUTION.replace(":execution:", ":stateMachine:")},
        {"release": "r2"},
        {"release": ".*"},
        {"release": ""},
        {"startedAt": "2031-01-01T00:00:00.000Z"},
        {"input": {**DOCUMENT, "release": "somebody else's"}},
        {"input": {"services": [{**DOCUMENT["services"][0], "image": "evil:1"}]}},
    ],
)
def test_what_step_functions_does_not_know_takes_no_lock(account: Account, forged: dict[str, Any]) -> None:
    account.refuses("parse", begin(**forged))
    assert account.store.lock().epoch == 0


def test_an_execution_that_is_not_known_yet_is_asked_for_again(account: Account) -> None:
    """DescribeExecution is eventually consistent; an error that is not fatal is tried again by the machine."""
    account.executions.clear()
    account.refuses("parse", begin(), ClientError)
    assert account.store.lock().epoch == 0


def test_a_parse_that_comes_late_gets_neither_turn_nor_lock(running: Account) -> None:
    running.refuses("parse", begin())
    assert running.store.lock().epoch == 1


@pytest.mark.parametrize(
    "document",
    [
        {"version": 1, "mode": "rollback", "source": ["commit"]},
        {"version": 1, "mode": "rollback", "source": "commit"},
        {"version": 1, "mode": "rollback", "to": {"release": "r0"}},
        {"version": 1, "mode": "deploy", "manifest": "s3://bucket/key"},
        {"version": 1, "mode": "deploy", "manifest": {}},
        {"version": 1, "mode": "deploy", "manifest": {"bucket": "b"}, "plan": "s3://bucket/key"},
        {"version": 1, "mode": "deploy", "manifest": {"bucket": "b"}, "plan": ["digest"]},
        {"version": 2},
        [],
        "",
        None,
    ],
)
def test_a_broken_input_takes_no_lock(account: Account, document: Any) -> None:
    account.executions[EXECUTION]["input"] = json.dumps(document)
    with pytest.raises(ManifestInvalidError) as refused:
        account.call("parse", begin(input=document))
    assert account.store.lock().epoch == 0
    record = account.store.release("r1")
    assert record is not None
    assert (record.status, record.problems) == ("REJECTED", list(refused.value.problems))
    assert [row["pk"]["S"] for row in account.rows()] == ["CONFIG", "RELEASE#r1", "RELEASES"]


@pytest.mark.parametrize("document", [None, {"version": 2}])
def test_a_broken_input_that_is_no_execution_s_own_leaves_nothing(account: Account, document: Any) -> None:
    account.refuses("parse", begin(input=document))


# --- the workers ---------------------------------------------------------------------------------------------------

DUE = {
    "prepare": ("PREPARE", "prepare", 0),
    "update_task": ("UPDATE_TASKS", "tasks", 1),
    "update_service": ("UPDATE_SERVICES", "services", 2),
    "rollback": ("ROLLBACK", "rollback", 0),
}
FORGED: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "another batch": lambda payload: {**payload, "batch": 4},
    "no such batch": lambda payload: {**payload, "batch": 99},
    "another epoch": lambda payload: {**payload, "epoch": 2},
    "another release": lambda payload: {**payload, "release": "r9"},
    "another phase": lambda payload: {**payload, "phase": "cleanup"},
}


def at(step: str) -> ReleaseRecord:
    """The record while the machine is in the state that runs a step."""
    state, batches, batch = DUE[step]
    now: Any = [[batch]] if step == "prepare" else [batch]
    phase = "rollback" if step == "rollback" else RECORD.due["phase"]
    due: Any = {**RECORD.due, "next": state, batches: now, "phase": phase}
    return dataclasses.replace(RECORD, due=due)


def batch(step: str) -> dict[str, Any]:
    payload = {"release": RELEASE, "execution": EXECUTION, "epoch": 1, "batch": DUE[step][2]}
    return {**payload, "phase": "rollback"} if step == "rollback" else payload


# Rollback has two phases; the other steps have one, and read none.
_FORGERIES = [
    (step, name) for step in DUE for name in FORGED if step == "rollback" or name != "another phase"
]


@pytest.mark.parametrize(("step", "forgery"), _FORGERIES)
def test_a_worker_writes_no_batch_that_is_not_due(running: Account, step: str, forgery: str) -> None:
    running.record(at(step))
    running.refuses(step, FORGED[forgery](batch(step)))


@pytest.mark.parametrize("now", DUE)
@pytest.mark.parametrize("step", DUE)
def test_a_worker_does_nothing_in_another_state_of_the_machine(
    running: Account, step: str, now: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A forged clean-up deregistered what was prepared, and a forged rollback undid a healthy wave."""
    # Every batch number is in every list, so that the state alone decides.
    every = {"prepare": [[0, 1, 2, 3, 4]], **{name: [0, 1, 2, 3, 4] for name in ("tasks", "services")}}
    record = at(now)
    running.record(
        dataclasses.replace(record, due={**record.due, **every, "rollback": every["tasks"]})  # type: ignore[dict-item]
    )
    module = importlib.import_module(f"ecs_release.steps.{step}")
    done: list[str] = []
    for write in ("_prepare_item", "_update_item", "_put_back"):
        if hasattr(module, write):
            monkeypatch.setattr(module, write, lambda turn: done.append(turn.item.name))
    if step == now:
        assert running.call(step, batch(step)) == {"batch": DUE[step][2], "failed": 0}
        assert done
        return
    running.refuses(step, batch(step))
    assert done == []


@pytest.mark.parametrize("step", DUE)
def test_a_worker_writes_nothing_for_a_release_that_is_closed(running: Account, step: str) -> None:
    running.record(dataclasses.replace(at(step), status="ABORTED"))
    running.refuses(step, batch(step), LockLostError)


# --- CheckRollouts -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("turn", [None, "", "guessed"])
@pytest.mark.parametrize("phase", ["prepare", "tasks", "services", "rollback", "cleanup", "invented"])
def test_a_forged_state_decides_nothing(running: Account, phase: str, turn: str | None) -> None:
    """Phase and wave were believed: a wave that had not begun was judged as not written, and everything went back."""
    state = {
        "phase": phase,
        "wave": 2,
        "epoch": 1,
        "results": [{"batch": 4, "error": "forged"}],
        "turn": turn,
    }
    running.refuses("check_rollouts", {"release": RELEASE, "execution": EXECUTION, "state": state})


def test_phase_and_wave_are_the_record_s_also_for_whoever_knows_the_turn(running: Account) -> None:
    state = {"phase": "rollback", "wave": 2, "results": [], "turn": "earlier"}
    answer = running.call("check_rollouts", {"release": RELEASE, "execution": EXECUTION, "state": state})
    assert answer == RECORD.due, "its answer was lost: what was decided then is said again"


def test_a_turn_is_decided_once(running: Account) -> None:
    first = due.next_turn(running.store, RELEASE, "now", {"next": "ROLLBACK"})
    second = due.next_turn(running.store, RELEASE, "now", {"next": "UPDATE_TASKS"})
    assert second == first
    assert first["turn"] not in ("now", "earlier")
    with pytest.raises(LockLostError):
        due.next_turn(running.store, RELEASE, "earlier", {"next": "UPDATE_TASKS"})


def test_no_two_turns_have_the_same_name(running: Account) -> None:
    names = [RECORD.turn]
    for _ in range(5):
        names.append(due.next_turn(running.store, RELEASE, names[-1], {"next": "CHECK"})["turn"])
    assert len(set(names)) == 6


def test_a_closed_release_takes_no_turn(running: Account) -> None:
    running.record(CLOSED)
    with pytest.raises(LockLostError):
        due.next_turn(running.store, RELEASE, "now", {"next": "CHECK"})
