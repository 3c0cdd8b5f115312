"""One odd answer of AWS is no verdict: what is missing must be missing in two rounds, one after the other."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import ClientError
from ecs_release.aws.raw import RAW
from ecs_release.aws.services import Services
from ecs_release.errors import ItemError, MissingError, SupersededError, UnfinishedError
from ecs_release.manifest import Service
from ecs_release.plan import definitions, live
from ecs_release.plan.definitions import Definitions
from ecs_release.record.models import ItemRecord
from ecs_release.record.statuses import Status
from ecs_release.rollout.judge import Judgement
from ecs_release.settings import Settings
from ecs_release.steps import batch, judging
from ecs_release.steps import turn as turns
from ecs_release.steps.turn import Turn, doubted
from hypothesis import given
from hypothesis import strategies as st

ITEM = ItemRecord("r", 0, 0, 1, Service(cluster="c", service="s"), "update", {}, verdict="PREPARED")
SETTLE = 6
FORWARD, BACK = Status.FAILED, Status.ROLLBACK_FAILED


class Worker:
    """A worker and its store in one."""

    request = "me"
    settings = Settings("releases", poll_seconds=15)

    def __init__(self, item: ItemRecord) -> None:
        self.item, self.store = item, self

    def update_item(self, item: ItemRecord, changes: dict[str, Any], **_: Any) -> ItemRecord:
        self.item = dataclasses.replace(item, **changes)
        return self.item


def take_turn(worker: Worker, error: Exception | None, failed: Status = FORWARD) -> int:
    def write(turn: Turn) -> None:
        if error is not None:
            raise error

    return batch._take_turn(Turn(worker, worker.item), write, failed)  # type: ignore[arg-type]


@given(st.lists(st.tuples(st.sampled_from(["gone", "other", None]), st.integers(0, 20)), max_size=12))
def test_a_verdict_takes_two_rounds_in_a_row_that_see_the_same(rounds: list[tuple[str | None, int]]) -> None:
    item, now = ITEM, 1000
    since: dict[str, int] = {}
    for seen, pause in rounds:
        now += pause
        if seen is None:
            item, since = dataclasses.replace(item, doubted_at=None), {}
            continue
        first = since.get(seen)
        changes, doubtful = doubted(item, seen, now, SETTLE)
        assert doubtful is (first is None or now - first < SETTLE)
        item, since = dataclasses.replace(item, **changes), {seen: now if first is None else first}


@pytest.mark.parametrize(
    ("failed", "status"), [(FORWARD, Status.FAILED), (BACK, Status.SUPERSEDED)], ids=["forward", "back"]
)
def test_what_a_writing_step_misses_is_looked_for_in_another_round(
    monkeypatch: pytest.MonkeyPatch, failed: Status, status: Status
) -> None:
    now = 0
    clock = SimpleNamespace(time=lambda: now)
    monkeypatch.setattr(turns, "time", clock)
    worker, gone = Worker(ITEM), MissingError("the service is gone.")
    for now in (100, 100 + SETTLE - 1):  # noqa: B007 - the clock reads it
        with pytest.raises(UnfinishedError, match="looked for once more"):
            take_turn(worker, gone, failed)
        assert worker.item.status == "PENDING"
    now = 100 + SETTLE
    assert take_turn(worker, gone, failed) == 1
    assert (worker.item.status, worker.item.reason) == (status, "the service is gone.")


def test_a_doubt_about_the_way_forward_is_none_about_the_way_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "time", SimpleNamespace(time=lambda: 500))
    worker = Worker(dataclasses.replace(ITEM, doubt="forward: missing", doubted_at=1))
    with pytest.raises(UnfinishedError):
        take_turn(worker, MissingError("gone"), BACK)


@pytest.mark.parametrize("error", [ItemError("refused"), SupersededError("another")])
def test_what_is_no_absence_is_final_at_once(error: ItemError) -> None:
    assert take_turn(Worker(ITEM), error) == 1


def test_a_look_that_sees_something_else_is_no_second_look() -> None:
    worker: Any = Worker(ITEM)
    gone, other = (Judgement(s, needs_second_look=True) for s in (Status.FAILED, Status.SUPERSEDED))
    item = ITEM
    for now, seen, verdict in (
        (0, gone, None),
        (60, other, None),
        (120, gone, None),
        (180, gone, gone.status),
    ):
        changes, judged = judging.looked_twice(worker, item, seen, now)
        assert judged.status is verdict
        item = dataclasses.replace(item, **changes)


def test_a_single_look_gives_no_such_verdict_however_short_the_pauses_are() -> None:
    worker: Any = SimpleNamespace(settings=Settings("releases", poll_seconds=0, settle_seconds=0))
    changes, judged = judging.looked_twice(worker, ITEM, Judgement(Status.FAILED, needs_second_look=True), 5)
    assert judged.status is None
    assert changes["doubted_at"] == 5


class Ecs:
    """DescribeServices, answer after answer; a text is an error's code."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.targets = {"default": SimpleNamespace(passable_role_arns=None)}

    def client(self, *_: Any, **__: Any) -> Ecs:
        return self

    def describe_services(self, **_: Any) -> dict[str, Any]:
        answer = self.answers.pop(0)
        if isinstance(answer, str):
            raise ClientError({"Error": {"Code": answer, "Message": "so it is"}}, "DescribeServices")
        return {"services": answer}


def body(status: str = "ACTIVE", controller: str = "EXTERNAL") -> dict[str, Any]:
    return {"serviceName": "s", "status": status, "deploymentController": {"type": controller}}


GONE = "ClusterNotFoundException"


@pytest.mark.parametrize("answer", [GONE, [], [body("INACTIVE")], [body("DRAINING")]])
def test_a_service_or_cluster_that_is_not_there_is_missing(answer: Any) -> None:
    with pytest.raises(MissingError):
        Services(Ecs(answer), "default").find("c", "s")  # type: ignore[arg-type]


def test_what_can_not_be_read_now_is_not_missing() -> None:
    with pytest.raises(ClientError):
        Services(Ecs("ServerException"), "default").find("c", "s")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("answers", "codes"),
    [
        ([[], [body()]], ["E207"]),
        ([GONE, [body()]], ["E207"]),
        ([[body("INACTIVE")], [body()]], ["E207"]),
        ([[], []], ["E205"]),
        ([GONE, GONE], ["E204"]),
        ([[body()]], ["E207"]),
    ],
)
def test_a_plan_looks_twice_for_what_is_missing(
    monkeypatch: pytest.MonkeyPatch, answers: list[Any], codes: list[str]
) -> None:
    monkeypatch.setattr(live, "LOOK_AGAIN_SECONDS", 0)
    ecs: Any = Ecs(*answers)
    (found,) = live.read_live([Service(cluster="c", service="s")], ecs)
    assert [finding.code for finding in found.findings] == codes
    assert not ecs.answers


class Revisions:
    """ECS whose DescribeTaskDefinition finds a revision from a certain call on."""

    def __init__(self, unseen: int) -> None:
        self.unseen = unseen
        self.targets = {"default": SimpleNamespace(passable_role_arns=None)}

    def client(self, *_: Any, **__: Any) -> Revisions:
        return self

    def describe_task_definition(self, **_: Any) -> dict[str, Any]:
        self.unseen -= 1
        if self.unseen >= 0:
            unable: Any = {
                "Error": {"Code": "ClientException", "Message": "Unable to describe task definition."}
            }
            raise ClientError(unable, "DescribeTaskDefinition")
        arn = "arn:aws:ecs:eu-west-1:111111111111:task-definition/api:7"
        container = {"name": "api", "image": "api:1"}
        body = {"taskDefinitionArn": arn, "family": "api", "revision": 7, "status": "ACTIVE"}
        return {RAW: {"taskDefinition": {**body, "containerDefinitions": [container]}}}


# Of what is live ECS is asked twice: for its family's newest revision, and for itself.
@pytest.mark.parametrize(("unseen", "found"), [(0, True), (2, True), (3, False)])
def test_a_plan_looks_twice_for_a_revision_that_was_registered_a_moment_ago(
    monkeypatch: pytest.MonkeyPatch, unseen: int, found: bool
) -> None:
    monkeypatch.setattr(definitions, "LOOK_AGAIN_SECONDS", 0)
    known = Definitions(Revisions(unseen))  # type: ignore[arg-type]
    if found:
        assert known.describe_live("default", "api:7").revision == 7
    else:
        with pytest.raises(ItemError):
            known.describe_live("default", "api:7")
