"""CheckRollouts: judge every item of the wave and name the machine's next step."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from ecs_release.errors import (
    LockLostError,
)
from ecs_release.observability import about_item, about_release, logger
from ecs_release.record.machine import Next, Phase, State
from ecs_release.record.models import ItemRecord, ReleaseRecord
from ecs_release.record.statuses import BAD, OPEN, ReleaseStatus, Status
from ecs_release.rollout.judge import Judgement
from ecs_release.rollout.release import is_settled_back, needs_rollback
from ecs_release.rollout.soak import seconds_left
from ecs_release.rollout.unused import runs_without_being_named
from ecs_release.steps.due import decided_before, next_turn
from ecs_release.steps.judging import judge_all, judge_back, looked_twice, looks, settle
from ecs_release.steps.starting import Starting
from ecs_release.steps.worker import Worker

SETTLE_SECONDS = 120
"""After the first failure of a wave its siblings get this long to reach a verdict of their own before all go back:
a developer learns of every culprit at once, and an outage is not drawn out.
Nothing is waited for services in their bake time alone, nor for those that are complete and watched (soak_seconds). Where nothing
goes back (``onFailure: stop``), what reaches a verdict is waited for, and what bakes or pauses gets this long as well: it may do so
for days, and a release that has failed need not hold the lock for it."""

STILL_UNDER_WAY = "its rollout was still under way when the release ended, and ECS goes on with it"

# Pauses grow with the release's age up to ten minutes: seven days take some 1,250 looks of nine events each, far below Step
# Functions' 25,000, and what ends is seen ten minutes later at most.
_PAUSE_SHARE = 0.02
_LONGEST_PAUSE_SECONDS = 600


def check_rollouts(worker: Worker, release: str, state: Mapping[str, Any]) -> State:
    """Judge, record, decide.

    Parameters
    ----------
    state : the machine's state. Believed are its ``turn`` and the ``results`` of the Map before, if any; all else is what
        the record says.

    Returns
    -------
    State
        the machine's next state.

    Raises
    ------
    LockLostError
        when the record is closed.
    NotDueError
        when it is not this state's turn.
    """
    record = worker.store.release(release)
    if record is None or record.status != ReleaseStatus.RUNNING:
        raise LockLostError(f"the record of release {release} is closed; nothing is left to decide.")
    decided = decided_before(record, state.get("turn"))
    if decided is not None:
        logger.info("this turn was decided before", extra={"next": decided["next"]})
        return decided
    believed: State = {**record.due, "results": state.get("results", [])}
    try:
        next_state = _decide(worker, record, believed, time.time())
        if next_state["next"] != Next.WAIT:  # looking again is no turn of its own
            next_state = next_turn(worker.store, release, record.turn, next_state)
        return next_state
    finally:
        worker.store.add_throttles(release, worker.connections.throttles.take())


def _decide(worker: Worker, record: ReleaseRecord, state: State, now: float) -> State:
    fresh: State = {**state, "results": [], "seconds": _pause(worker, record, now)}
    fresh.pop("error", None)
    dead = dict(_dead_workers(state))
    match state["phase"]:
        case Phase.PREPARE:
            return _after_prepare(worker, record, fresh, dead)
        case Phase.TASKS | Phase.SERVICES:
            return _after_update(worker, record, fresh, dead, now)
        case Phase.ROLLBACK:
            return _after_rollback(worker, record, fresh, dead, now)
        case Phase.CLEANUP:
            return {**fresh, "next": Next.REPORT}


def _pause(worker: Worker, record: ReleaseRecord, now: float) -> int:
    age = now - datetime.fromisoformat(record.started).timestamp()
    return max(worker.settings.poll_seconds, min(int(age * _PAUSE_SHARE), _LONGEST_PAUSE_SECONDS))


def _dead_workers(state: State) -> Iterator[tuple[int, str]]:
    """Batches whose worker died for good, with the error's name."""

    def flat(entries: Any) -> Iterator[Mapping[str, Any]]:
        for entry in entries or ():
            if isinstance(entry, list):
                yield from flat(entry)
            elif isinstance(entry, Mapping):
                yield entry

    for entry in flat(state.get("results")):
        if entry.get("error"):
            yield int(entry["batch"]), str(entry["error"])


def _after_prepare(worker: Worker, record: ReleaseRecord, state: State, dead: Mapping[int, str]) -> State:
    items = [
        settle(
            worker,
            item,
            Judgement(Status.FAILED, _unwritten(item, dead, "its new revision was not registered")),
        )
        if item.action == "update" and item.pinned and item.verdict == Status.PENDING
        else item
        for item in worker.store.items(record.release)
    ]
    if any(i.action == "update" and i.pinned and i.verdict == Status.PENDING for i in items):
        return {**state, "next": Next.WAIT}  # a late worker is still at it
    failed = any(item.verdict in BAD for item in items)
    if failed and record.on_failure == "rollback":
        return _clean_up(worker, record, state)
    if failed and record.on_failure == "stop":
        return {**state, "next": Next.REPORT}
    return _begin_wave(worker, record, state, 0)


def _begin_wave(worker: Worker, record: ReleaseRecord, state: State, place: int) -> State:
    if record.begun_at is None:
        # Before the first write: from now on nobody may say that nothing was touched.
        worker.store.update_release(record.release, {"begun_at": int(time.time())}, only_running=True)
    wave = record.waves[place]
    begun: State = {**state, "wave": place, "tasks": wave["tasks"], "services": wave["services"]}
    if wave["tasks"]:
        return {**begun, "next": Next.UPDATE_TASKS, "phase": Phase.TASKS}
    if wave["services"]:
        return {**begun, "next": Next.UPDATE_SERVICES, "phase": Phase.SERVICES}
    return {**begun, "next": Next.CHECK, "phase": Phase.SERVICES}


def _after_update(
    worker: Worker,
    record: ReleaseRecord,
    state: State,
    dead: Mapping[int, str],
    now: float,
) -> State:
    place, finished = state["wave"], state["phase"]
    wave = record.waves[place]
    items = worker.store.items(record.release, *wave["batches"])
    if finished == Phase.TASKS:
        items = [item for item in items if not item.is_service]
    items = [
        settle(worker, item, Judgement(Status.FAILED, _unwritten(item, dead, "it was not written")))
        if item.action == "update" and item.verdict in (Status.PENDING, Status.PREPARED)
        else item
        for item in items
    ]
    # By hand nothing goes back from a way back, so it is over as soon as it is complete.
    soak_seconds = worker.settings.soak_seconds if record.mode == "deploy" else 0
    items = judge_all(worker, items, now, soak_seconds)

    waiting = [item for item in items if item.verdict in OPEN]
    # What bakes, or is watched after its rollout, reaches no verdict of its own that soon.
    undecided = [item for item in waiting if not item.bakes and item.completed_at is None]
    failing = [item for item in items if item.verdict in BAD]
    if failing and record.failing_since is None:
        record = dataclasses.replace(record, failing_since=int(now))
        worker.store.update_release(record.release, {"failing_since": int(now)})
    settling = record.failing_since is not None and now - record.failing_since < SETTLE_SECONDS
    worth_waiting = {
        "rollback": settling and undecided,
        "stop": settling or any(not item.bakes for item in waiting),
        "continue": True,
    }
    if waiting and (not failing or worth_waiting[record.on_failure]):
        if all(item.completed_at is not None for item in waiting):
            over = max(int(item.completed_at or 0) for item in waiting) + soak_seconds
            seconds = max(worker.settings.poll_seconds, min(state["seconds"], seconds_left(over, now)))
            state = {**state, "seconds": seconds}
        return {**state, "next": Next.WAIT}
    if failing and record.on_failure != "continue":
        return _fail(worker, record, state, waiting)
    if finished == Phase.TASKS and wave["services"]:
        return {**state, "next": Next.UPDATE_SERVICES, "phase": Phase.SERVICES}
    if finished == Phase.TASKS:
        return {**state, "next": Next.CHECK, "phase": Phase.SERVICES}
    if place + 1 < len(record.waves):
        return _begin_wave(worker, record, state, place + 1)
    return {**state, "next": Next.REPORT}


def _fail(worker: Worker, record: ReleaseRecord, state: State, waiting: Sequence[ItemRecord] = ()) -> State:
    if record.on_failure == "stop":
        for item in waiting:  # without a verdict: nothing was proven of it
            if not item.reason.startswith(STILL_UNDER_WAY):
                reason = "; ".join(filter(None, [STILL_UNDER_WAY, item.reason]))
                worker.store.update_item(item, {"reason": reason})
        return {**state, "next": Next.REPORT}
    # From the last wave on: one that has not begun may hold what an earlier release left.
    return _roll_back_before(worker, record, state, len(record.waves))


def _unwritten(item: ItemRecord, dead: Mapping[int, str], what: str) -> str:
    reason = item.reason or "no attempt got that far"
    return (
        f"{what}: {reason} (its worker ended with {dead[item.batch]})"
        if item.batch in dead
        else f"{what}: {reason}"
    )


def _roll_back_before(worker: Worker, record: ReleaseRecord, state: State, place: int) -> State:
    """Go back wave by wave, the newest first; a wave goes back when the one after it is back.

    Parameters
    ----------
    place : of the wave that is back; of none, the number of waves.
    """
    for earlier in reversed(range(place)):
        items = worker.store.items(record.release, *record.waves[earlier]["batches"])
        batches = sorted({item.batch for item in items if _may_go_back(item)})
        if batches:
            return {
                **state,
                "next": Next.ROLLBACK,
                "phase": Phase.ROLLBACK,
                "wave": earlier,
                "rollback": batches,
            }
    return _clean_up(worker, record, state)


def _clean_up(worker: Worker, record: ReleaseRecord, state: State) -> State:
    """Deregister before the verdict what runs although nothing names it; what merely lies about waits (steps/clean_up.py)."""
    batches = sorted({item.batch for item in runs_without_being_named(worker.store.items(record.release))})
    if batches:
        return {**state, "next": Next.ROLLBACK, "phase": Phase.CLEANUP, "rollback": batches}
    return {**state, "next": Next.REPORT}


def _may_go_back(item: ItemRecord) -> bool:
    """Whether Rollback has to look at this item: also when its worker died and nobody knows how far it got.

    Of a wave that has begun every item has a verdict; without one it was prepared at most. What somebody else had changed before
    it was written has nothing of ours; what was written may still run it, restarted or on another target of its rule.
    """
    begun = item.action == "update" and item.verdict not in (Status.PENDING, Status.PREPARED)
    prepared = item.after is not None and item.verdict != Status.SUPERSEDED
    return (begun and (prepared or item.claim_by is not None)) or needs_rollback(item)


def _after_rollback(
    worker: Worker, record: ReleaseRecord, state: State, dead: Mapping[int, str], now: float
) -> State:
    place = state["wave"]
    items = [
        i for i in worker.store.items(record.release, *record.waves[place]["batches"]) if _may_go_back(i)
    ]
    going = [item for item in items if item.rollback_started_at is not None and not is_settled_back(item)]
    waiting = False
    for item in items:
        if item.batch in dead and not is_settled_back(item) and item.rollback_started_at is None:
            reason = f"it was not put back: {item.reason or 'no attempt got that far'} (its worker ended with {dead[item.batch]})"
            changes = {"status": Status.ROLLBACK_FAILED, "reason": reason}
            worker.store.settle_item(item, changes)
    looked_at = 0
    starting = Starting(worker)
    for item, services in looks(worker, going):
        looked_at += 1
        about_item(item)
        seen, verdict = looked_twice(worker, item, judge_back(worker, item, services, starting, now), now)
        if verdict.status is None:
            if seen:
                worker.store.update_item(item, seen)
            waiting = True
            continue
        status = {
            Status.SUCCEEDED: Status.ROLLED_BACK,
            Status.UNVERIFIED: Status.ROLLED_BACK,
            Status.SUPERSEDED: Status.SUPERSEDED,
        }.get(verdict.status, Status.ROLLBACK_FAILED)
        # That it was being watched says nothing any more.
        watched = item.verdict in OPEN and item.completed_at is not None
        reason = "" if watched and status is Status.ROLLED_BACK else item.reason
        if verdict.status is Status.UNVERIFIED:
            reason = f"{reason}; back, and not proven: {verdict.reason}".strip("; ")
        elif status is not Status.ROLLED_BACK:
            reason = f"{reason}; going back: {verdict.reason}".strip("; ")
        logger.info("back", extra={"item": item.name, "status": status, "reason": verdict.reason})
        left_alone = status is Status.SUPERSEDED
        worker.store.settle_item(item, {**seen, "status": status, "reason": reason, "left_alone": left_alone})
    if waiting or looked_at < len(going):
        return {**state, "next": Next.WAIT}
    return _roll_back_before(worker, record, state, place)


@logger.inject_lambda_context(log_event=False, clear_state=True)
def handler(event: dict[str, Any], context: Any) -> State:
    """``{"release", "state"}`` in, the machine's next state out."""
    release, state = str(event["release"]), event["state"]
    about_release(release, wave=state["wave"], phase=state["phase"])
    return check_rollouts(Worker.create("check_rollouts", context), release, state)
