"""The clean-up after a release: it holds no lock, so what a later release wants and what it deregisters must never be the same."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import ClientError
from ecs_release.aws.raw import RAW
from ecs_release.aws.task_definitions import CONTENT_TAG, content_digest
from ecs_release.errors import CleanUpUnfinishedError, ReleaseRejectedError
from ecs_release.manifest import Rule, Service
from ecs_release.plan.decide import PlannedItem
from ecs_release.record.models import Found, ItemRecord, ReleaseRecord
from ecs_release.record.store import Store
from ecs_release.rollout.unused import CleanUp, runs_without_being_named
from ecs_release.settings import Settings
from ecs_release.steps import clean_up as step
from ecs_release.steps import lock, parse
from ecs_release.steps.clean_up import clean_up
from ecs_release.steps.closing import close
from ecs_release.steps.revisions import register
from ecs_release.steps.turn import Turn
from ecs_release.steps.worker import Worker

PREFIX = "arn:aws:ecs:eu-west-1:111111111111:task-definition/"
ITEM = ItemRecord(
    *("r1", 0, 0, 1, Service(cluster="c", service="api"), "update"),
    images={"api": {"from": "api:1", "to": "api:2"}},
    base=f"{PREFIX}api:1",
    live=f"{PREFIX}api:1",
    before=f"{PREFIX}api:1",
    after=f"{PREFIX}api:2",
    registered=True,
)
BACK = dataclasses.replace(
    ITEM, started_at=1, verdict="FAILED", status="ROLLED_BACK", rollback_to=f"{PREFIX}api:1"
)


class Ecs:
    """Worker, connections and ECS in one: families of revisions, services, and what was called.

    Attributes
    ----------
    at : operation -> what happens right before it, once.
    """

    def __init__(self, store: Store) -> None:
        self.store, self.connections, self.targets = store, self, {"default": None}
        self.settings, self.request = Settings("releases", poll_seconds=0, settle_seconds=0), "me"
        self.status: dict[str, str] = {}
        self.services: dict[str, str] = {}
        self.called: list[str] = []
        self.at: dict[str, Callable[[], Any]] = {}
        self.left = 900.0

    def remaining(self) -> float:
        return self.left

    def client(self, *_: Any, **__: Any) -> Ecs:
        return self

    def task_definitions(self, item: ItemRecord) -> Any:
        return Worker.task_definitions(self, item)  # type: ignore[arg-type]

    def _meet(self, operation: str) -> None:
        self.called.append(operation)
        self.at.pop(operation, lambda: None)()

    def describe_services(self, cluster: str, services: list[str]) -> Any:
        self._meet("DescribeServices")
        found = [
            {
                "serviceName": name,
                "status": "ACTIVE",
                "desiredCount": 1,
                "taskDefinition": self.services[name],
                "deployments": [{"id": "d", "status": "PRIMARY", "taskDefinition": self.services[name]}],
            }
            for name in services
            if name in self.services
        ]
        return {"services": found}

    def deregister_task_definition(self, taskDefinition: str) -> None:
        self._meet(f"Deregister {taskDefinition.rpartition('/')[2]}")
        self.status[taskDefinition] = "INACTIVE"

    def register_task_definition(self, **_: Any) -> Any:
        arn = f"{PREFIX}api:{len(self.status) + 1}"
        self._meet(f"Register {arn.rpartition('/')[2]}")
        self.status[arn] = "ACTIVE"
        return {"taskDefinition": self._definition(arn)}

    def _definition(self, arn: str) -> dict[str, Any]:
        family, revision = arn.rpartition("/")[2].split(":")
        return {
            "taskDefinitionArn": arn,
            "family": family,
            "revision": int(revision),
            "status": self.status.get(arn, "ACTIVE"),
            "containerDefinitions": [{"name": "api", "image": "api:1" if revision == "1" else "api:2"}],
        }

    def describe_task_definition(self, taskDefinition: str, **_: Any) -> Any:
        tags = [{"key": CONTENT_TAG, "value": content_digest(f"{PREFIX}api:1", {"api": "api:2"})}]
        return {RAW: {"taskDefinition": self._definition(taskDefinition), "tags": tags}}

    def get_paginator(self, _: str) -> Any:
        """ListTaskDefinitions lags behind: what was deregistered is still listed."""
        arns = sorted(self.status, reverse=True)
        return SimpleNamespace(paginate=lambda **_: [{"taskDefinitionArns": arns}])


@pytest.fixture
def paused(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Pauses that the clean-up made; none is waited out."""
    pauses: list[float] = []
    clock = SimpleNamespace(
        time=lambda: time.time() + sum(pauses),
        monotonic=lambda: 1000.0 + sum(pauses),
        sleep=pauses.append,
    )
    monkeypatch.setattr(step, "time", clock)
    monkeypatch.setattr(parse, "time", clock)
    monkeypatch.setattr(lock, "time", clock)
    return pauses


@pytest.fixture
def ecs(store: Store, paused: list[float]) -> Any:
    return Ecs(store)


def _open(store: Store, release: str) -> int:
    record = ReleaseRecord(release, f"arn:execution:{release}", 1, "2026-01-01T00:00:00.000Z")
    return store.open_release(record, store.lock()).epoch


def _cut(store: Store, release: str, *items: ItemRecord) -> None:
    store.claim_cut(release, "w")
    store.put_items(release, items, "w")


def end(store: Store, *items: ItemRecord, release: str = "r1", status: str = "ROLLED_BACK") -> None:
    """A release with these items, from its lock to its closed record."""
    _open(store, release)
    _cut(store, release, *(dataclasses.replace(item, release=release) for item in items))
    close(store, release, status)


def begin(store: Store, release: str = "r2") -> ItemRecord:
    """A later release that wants the same revision and has not looked for it yet."""
    epoch = _open(store, release)
    item = dataclasses.replace(ITEM, release=release, epoch=epoch, after=None, registered=False)
    _cut(store, release, item)
    return item


def states(store: Store) -> dict[str, str]:
    return {revision.arn.rpartition("/")[2]: revision.state for revision in store.unused()}


# --- what is cleaned up ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("item", "status"),
    [
        (BACK, "ROLLED_BACK"),
        (dataclasses.replace(ITEM, verdict="FAILED", status="FAILED"), "REJECTED"),
        (dataclasses.replace(ITEM, verdict="PREPARED", status="PREPARED"), "ABORTED"),
        (dataclasses.replace(ITEM, verdict="PREPARED", status="PREPARED"), "FAILED"),
    ],
)
def test_what_a_release_registered_and_did_not_use_is_deregistered_however_it_ended(
    ecs: Any, store: Store, item: ItemRecord, status: str
) -> None:
    end(store, item, status=status)
    assert states(store) == {"api:2": "unused"}
    assert clean_up(ecs, "r1") == {"deregistered": 1, "left": 0}
    assert ecs.status == {f"{PREFIX}api:2": "INACTIVE"}
    assert clean_up(ecs, "r1") == {"deregistered": 0, "left": 0}


def test_the_clean_up_s_work_is_on_record_before_the_lock_is_free(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    free = Store.release_lock

    def looked_at(self: Store, release: str, *, by_force: bool = False) -> int:
        seen.append(states(self))
        return free(self, release, by_force=by_force)

    monkeypatch.setattr(Store, "release_lock", looked_at)
    end(store, BACK)
    assert seen == [{"api:2": "unused"}]


def test_of_a_stopped_release_it_is_on_record_before_the_next_may_begin(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    closed = Store.left_is_closed
    monkeypatch.setattr(
        Store, "left_is_closed", lambda self, release: (seen.append(states(self)), closed(self, release))
    )
    end(store, dataclasses.replace(ITEM, verdict="PREPARED", status="PREPARED"), status="ABORTED")
    assert seen == [{"api:2": "unused"}]


def test_only_a_family_without_a_revision_is_put_right_before_the_verdict() -> None:
    job = dataclasses.replace(
        BACK,
        item=Rule(rule="job"),
        number=1,
        pinned=False,
        live=f"{PREFIX}job:1",
        after=f"{PREFIX}job:2",
    )
    assert runs_without_being_named([BACK, job]) == [job]
    assert runs_without_being_named([BACK, dataclasses.replace(job, status="ROLLBACK_FAILED")]) == []


# --- pace and patience -------------------------------------------------------------------------------------------------


def many(number: int) -> list[ItemRecord]:
    return [
        dataclasses.replace(
            BACK, number=n, item=Service(cluster="c", service=f"api-{n}"), after=f"{PREFIX}api-{n}:2"
        )
        for n in range(number)
    ]


def test_one_a_second_so_that_the_next_release_finds_its_burst(
    ecs: Any, store: Store, paused: list[float]
) -> None:
    end(store, *many(20))
    assert clean_up(ecs, "r1")["deregistered"] == 20
    assert paused.count(1.0) == 20


def test_it_gives_way_to_a_release_that_begins_and_its_end_goes_on(ecs: Any, store: Store) -> None:
    end(store, *many(5))
    ecs.at["Deregister api-1:2"] = lambda: begin(store)
    assert clean_up(ecs, "r1") == {"deregistered": 2, "left": 3}
    assert CleanUp.after(store.release("r1"), store.unused()) == CleanUp(5, 3)  # type: ignore[arg-type]
    close(store, "r2", "NO_CHANGE")
    assert clean_up(ecs, "r2") == {"deregistered": 3, "left": 0}


def test_it_ends_before_its_function_is_cut_off_and_is_gone_on_with(ecs: Any, store: Store) -> None:
    end(store, *many(3))
    ecs.at["Deregister api-0:2"] = lambda: setattr(ecs, "left", 30.0)
    assert clean_up(ecs, "r1") == {"deregistered": 1, "left": 2}
    ecs.left = 900.0
    assert clean_up(ecs, "r2") == {"deregistered": 2, "left": 0}


def test_it_waits_until_the_record_of_a_stopped_release_is_closed(
    ecs: Any, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    item = dataclasses.replace(ITEM, verdict="PREPARED", status="PREPARED")
    _open(store, "r1")
    _cut(store, "r1", item)
    waited = step.time.sleep

    def closing(seconds: float) -> None:
        waited(seconds)
        if seconds == 5:
            close(store, "r1", "ABORTED", "stopped")

    monkeypatch.setattr(step.time, "sleep", closing)
    assert clean_up(ecs, "r1") == {"deregistered": 1, "left": 0}


def test_a_stopped_release_s_next_attempt_has_a_minute_to_take_up_what_was_registered(
    ecs: Any, store: Store, paused: list[float]
) -> None:
    end(store, dataclasses.replace(ITEM, verdict="PREPARED", status="PREPARED"), status="ABORTED")
    end(store, release="r2", status="NO_CHANGE")
    assert clean_up(ecs, "r2") == {"deregistered": 0, "left": 1}
    assert clean_up(ecs, "r1") == {"deregistered": 1, "left": 0}
    assert sum(paused) > 60


def test_a_worker_that_died_between_saying_and_doing_is_finished_by_the_next(ecs: Any, store: Store) -> None:
    end(store, BACK)

    def die() -> None:
        raise KeyboardInterrupt

    ecs.at["Deregister api:2"] = die
    with pytest.raises(KeyboardInterrupt):
        clean_up(ecs, "r1")
    assert states(store) == {"api:2": "condemned"}
    assert clean_up(ecs, "r1") == {"deregistered": 1, "left": 0}


def test_what_aws_refuses_is_told_and_tried_again_and_the_others_have_their_turn(
    ecs: Any, store: Store
) -> None:
    end(store, *many(2))

    def refuse() -> None:
        raise ClientError({"Error": {"Code": "AccessDeniedException", "Message": "no"}}, "Deregister")

    ecs.at["Deregister api-0:2"] = refuse
    with pytest.raises(CleanUpUnfinishedError, match="AccessDeniedException: no"):
        clean_up(ecs, "r1")
    record = store.release("r1")
    assert record is not None
    told = CleanUp.after(record, store.unused())
    assert told == CleanUp(2, 1, "AccessDeniedException: no")
    assert str(told) == (
        "clean-up: 1 of 2 unused revisions are done with; the end of the next release takes up the rest; "
        "the last attempt failed: AccessDeniedException: no"
    )
    assert clean_up(ecs, "r2") == {"deregistered": 1, "left": 0}
    assert str(CleanUp.after(record, store.unused())) == "clean-up: 2 of 2 unused revisions are done with"


def test_what_is_done_with_is_forgotten_after_a_day_and_what_is_left_never(
    ecs: Any, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    end(store, *many(3))
    store.take_up("r2", "default", f"{PREFIX}api-0:2")
    ecs.at["Deregister api-1:2"] = lambda: begin(store)
    clean_up(ecs, "r1")
    assert states(store) == {"api-0:2": "taken", "api-1:2": "deregistered", "api-2:2": "unused"}
    monkeypatch.setattr(step.time, "time", lambda: time.time() + 25 * 3600)
    clean_up(ecs, "r1")
    # No item of r2 names what it took: the next release gives that back.
    assert states(store) == {"api-0:2": "taken", "api-2:2": "unused"}


# --- a later release wants it ----------------------------------------------------------------------------------------


def registered(ecs: Any, item: ItemRecord) -> ItemRecord:
    """The item after register()."""
    turn = Turn(ecs, item)
    register(turn)
    return turn.item


def registered_by_later(ecs: Any, store: Store) -> ItemRecord:
    """What register() of a later release comes to."""
    return registered(ecs, begin(store))


def test_a_later_release_takes_it_up_and_the_clean_up_leaves_it_alone(ecs: Any, store: Store) -> None:
    ecs.status = {f"{PREFIX}api:1": "ACTIVE", f"{PREFIX}api:2": "ACTIVE"}
    end(store, BACK)
    item = registered_by_later(ecs, store)
    assert (item.after, item.registered) == (f"{PREFIX}api:2", True)
    store.release_lock("r2")
    assert clean_up(ecs, "r1") == {"deregistered": 0, "left": 0}
    assert "Deregister api:2" not in ecs.called


@pytest.mark.parametrize("operation", ["DescribeServices"])
def test_taken_up_while_the_clean_up_looks_it_is_left_alone(ecs: Any, store: Store, operation: str) -> None:
    end(store, BACK)
    ecs.at[operation] = lambda: store.take_up("r2", "default", f"{PREFIX}api:2")
    assert clean_up(ecs, "r1") == {"deregistered": 0, "left": 0}
    assert states(store) == {"api:2": "taken"}


@pytest.mark.parametrize("dies", [False, True], ids=["deregistered", "condemned"])
def test_too_late_for_it_a_later_release_registers_another(ecs: Any, store: Store, dies: bool) -> None:
    """Also where ECS still lists and describes it as ACTIVE: its reads lag behind."""
    ecs.status = {f"{PREFIX}api:1": "ACTIVE", f"{PREFIX}api:2": "ACTIVE"}
    end(store, BACK)
    store.condemn("default", f"{PREFIX}api:2")
    if not dies:
        store.note_deregistered("default", f"{PREFIX}api:2")
    item = registered_by_later(ecs, store)
    assert (item.after, item.registered) == (f"{PREFIX}api:3", True)


def test_a_late_second_closing_does_not_hand_over_what_a_later_release_has_taken(store: Store) -> None:
    end(store, BACK)
    assert store.take_up("r2", "default", f"{PREFIX}api:2") is Found.TAKEN
    store.note_unused("r1", [("default", f"{PREFIX}api:2")])
    assert states(store) == {"api:2": "taken"}
    assert not store.condemn("default", f"{PREFIX}api:2")


def test_a_late_second_closing_does_not_bring_back_what_is_condemned(store: Store) -> None:
    end(store, BACK)
    store.condemn("default", f"{PREFIX}api:2")
    store.note_unused("r1", [("default", f"{PREFIX}api:2")])
    assert store.take_up("r2", "default", f"{PREFIX}api:2") is Found.CONDEMNED


def test_what_a_release_took_and_never_named_is_given_back_by_the_next(ecs: Any, store: Store) -> None:
    """It was stopped after the one write and before the other."""
    end(store, BACK)
    assert store.take_up("r2", "default", f"{PREFIX}api:2") is Found.TAKEN
    begin(store)
    close(store, "r2", "ABORTED")
    assert states(store) == {"api:2": "taken"}
    parse._hand_back(store, "r2")  # its own, while it runs
    assert states(store) == {"api:2": "taken"}
    parse._hand_back(store, "r3")
    assert states(store) == {"api:2": "unused"}
    ecs.services["api"] = f"{PREFIX}api:2"  # somebody has deployed it by hand since
    end(store, release="r3", status="NO_CHANGE")
    clean_up(ecs, "r3")
    assert f"{PREFIX}api:2" not in ecs.status


def test_what_a_release_took_and_named_stays_its_own(ecs: Any, store: Store) -> None:
    ecs.status = {f"{PREFIX}api:1": "ACTIVE", f"{PREFIX}api:2": "ACTIVE"}
    end(store, BACK)
    registered_by_later(ecs, store)
    parse._hand_back(store, "r3")
    assert states(store) == {"api:2": "taken"}


def test_who_took_it_up_and_did_not_use_it_leaves_it_to_the_clean_up(ecs: Any, store: Store) -> None:
    ecs.status = {f"{PREFIX}api:1": "ACTIVE", f"{PREFIX}api:2": "ACTIVE"}
    end(store, BACK)
    registered_by_later(ecs, store)
    close(store, "r2", "REJECTED")
    assert clean_up(ecs, "r2") == {"deregistered": 1, "left": 0}
    assert ecs.status[f"{PREFIX}api:2"] == "INACTIVE"


def test_what_somebody_deployed_by_hand_is_kept(ecs: Any, store: Store) -> None:
    end(store, BACK)
    ecs.services["api"] = f"{PREFIX}api:2"
    assert clean_up(ecs, "r1") == {"deregistered": 0, "left": 0}
    assert states(store) == {"api:2": "kept"}


def test_a_revision_that_another_item_runs_is_not_ours_because_a_worker_died_looking_for_it(
    ecs: Any, store: Store
) -> None:
    """An earlier release put another service of the family on it; this one's worker died before it found that out."""
    ecs.status = {f"{PREFIX}api:1": "ACTIVE", f"{PREFIX}api:2": "ACTIVE"}
    item = begin(store)
    item = store.update_item(item, {"claim_by": "died", "claim_until": 1})
    assert registered(ecs, item).registered is False


def test_what_a_worker_registered_before_it_died_is_ours(ecs: Any, store: Store) -> None:
    ecs.status = {f"{PREFIX}api:1": "ACTIVE"}
    item = begin(store)

    def die() -> None:
        ecs.status[f"{PREFIX}api:2"] = "ACTIVE"
        raise KeyboardInterrupt

    ecs.at["Register api:2"] = die
    with pytest.raises(KeyboardInterrupt):
        register(Turn(ecs, item))
    ecs.request = "next"
    item = store.update_item(store.item(item), {"claim_until": 1})
    found = registered(ecs, item)
    assert (found.after, found.registered) == (f"{PREFIX}api:2", True)


# --- Parse: what runs, and what is gone back to -------------------------------------------------------------------


def planned(live: str) -> PlannedItem:
    return PlannedItem(Rule(rule="job"), "unchanged", {}, live=live, before=live)


def test_what_a_family_without_a_revision_runs_is_kept_when_the_next_release_begins(
    ecs: Any, store: Store
) -> None:
    end(store, BACK)
    assert parse._kept(ecs, "r2", lambda _: [planned(f"{PREFIX}api:2")])[0].live == f"{PREFIX}api:2"
    assert states(store) == {"api:2": "kept"}
    assert clean_up(ecs, "r1") == {"deregistered": 0, "left": 0}


def test_what_is_being_deregistered_is_not_planned_with(ecs: Any, store: Store, paused: list[float]) -> None:
    end(store, BACK)
    store.condemn("default", f"{PREFIX}api:2")
    plans = iter([[planned(f"{PREFIX}api:2")], [planned(f"{PREFIX}api:1")]])
    assert parse._kept(ecs, "r2", lambda _: next(plans))[0].live == f"{PREFIX}api:1"
    assert paused == [5]


def test_what_can_not_be_deregistered_and_runs_is_a_problem_with_a_name(ecs: Any, store: Store) -> None:
    end(store, BACK)
    store.condemn("default", f"{PREFIX}api:2")
    with pytest.raises(ReleaseRejectedError, match=r"job: .*api:2 is being deregistered"):
        parse._kept(ecs, "r2", lambda _: [planned(f"{PREFIX}api:2")])


def test_a_plan_costs_one_look_where_nothing_is_cleaned_up(ecs: Any, store: Store) -> None:
    assert parse._kept(ecs, "r2", lambda _: [planned(f"{PREFIX}api:2")])
    assert states(store) == {}


# --- told ----------------------------------------------------------------------------------------------------------------


def test_status_says_how_far_it_is(store: Store) -> None:
    import jsonschema
    from ecs_release.cli.console import Console
    from ecs_release.cli.follow import table
    from ecs_release.report.status import as_document
    from test_output_schemas import check

    end(store, *many(3))
    store.condemn("default", f"{PREFIX}api-0:2")
    store.note_deregistered("default", f"{PREFIX}api-0:2")
    record, items, unused = store.release("r1"), store.items("r1"), store.unused()
    assert record is not None
    document = json.loads(json.dumps(as_document(record, items, unused)))
    assert document["cleanUp"] == {"revisions": 3, "left": 2, "reason": ""}
    check("status", document)
    with pytest.raises(jsonschema.ValidationError):
        check("status", {**document, "cleanUp": {"revisions": 3}})
    line = "  clean-up: 1 of 3 unused revisions are done with; the end of the next release takes up the rest"
    assert line in table(record, items, Console(json_wanted=False), unused)
