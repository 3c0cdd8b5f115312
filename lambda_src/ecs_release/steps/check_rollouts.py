"""CheckRollouts: judge every item of the wave and name the machine's next step."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from ecs_release.aws import error_code, explain
from ecs_release.due import decided_before, next_turn
from ecs_release.errors import (
    ItemError,
    LockLostError,
    PassingError,
    RecordChangedError,
    TargetUnreachableError,
)
from ecs_release.observability import about_item, logger
from ecs_release.rollout import BAD, OPEN, Judgement, Rollout, Status, judge
from ecs_release.scheduled_task import reference_of
from ecs_release.service import DESCRIBE_SERVICES_MOST, Services, ServiceState
from ecs_release.steps.report import needs_rollback
from ecs_release.steps.update_task import current_targets, set_meanwhile
from ecs_release.steps.work import Worker
from ecs_release.store import ItemRecord, ReleaseRecord
from ecs_release.task_definition import parse_reference
from ecs_release.unused import runs_without_being_named

SETTLE_SECONDS = 120
"""After the first failure of a wave its siblings get this long to reach a verdict of their own before all go back:
a developer learns of every culprit at once, and an outage is not drawn out."""

_CLOCK_SKEW_SECONDS = 5
# Pauses grow with the release's age, so that a day of waiting stays far below Step Functions' 25,000 events.
_PAUSE_SHARE = 0.02
# With less time than this left the others are looked at in the next round: a look that is cut off would count as a crash.
_SPARE_SECONDS = 45
# A target that can't be read now is read again until the item's deadline; only then is it a verdict.
_PASSING = (ClientError, BotoCoreError, TargetUnreachableError, PassingError)


def check_rollouts(worker: Worker, release: str, state: Mapping[str, Any]) -> dict[str, Any]:
    """Judge, record, decide.

    Parameters
    ----------
    state : the machine's state. Believed are its ``turn`` and the ``results`` of the Map before, if any; phase (prepare,
        tasks, services, rollback, cleanup) and wave (place in the list of waves) are what the record says.

    Returns
    -------
    dict
        the machine's next state.

    Raises
    ------
    LockLostError
        when the record is closed.
    NotDueError
        when it is not this state's turn.
    """
    record = worker.store.release(release)
    if record is None or record.status != "RUNNING":
        raise LockLostError(f"the record of release {release} is closed; nothing is left to decide.")
    decided = decided_before(record, state.get("turn"))
    if decided is not None:
        logger.info("this turn was decided before", extra={"next": decided["next"]})
        return decided
    believed = {**record.due, "results": state.get("results", [])}
    try:
        next_state = _decide(worker, record, believed, time.time())
        if next_state["next"] != "WAIT":  # looking again is no turn of its own
            next_state = next_turn(worker.store, release, record.turn, next_state)
        return next_state
    finally:
        worker.store.add_throttles(release, worker.connections.throttles.take())


def _decide(worker: Worker, record: ReleaseRecord, state: Mapping[str, Any], now: float) -> dict[str, Any]:
    phase = str(state["phase"])
    fresh = {**state, "results": [], "seconds": _pause(worker, record, now)}
    fresh.pop("error", None)
    dead = dict(_dead_workers(state))
    if phase == "prepare":
        return _after_prepare(worker, record, fresh, dead)
    if phase == "cleanup":
        return _next(fresh, "REPORT")
    if phase == "rollback":
        return _after_rollback(worker, record, fresh, dead, now)
    return _after_update(worker, record, fresh, dead, now, finished=phase)


def _pause(worker: Worker, record: ReleaseRecord, now: float) -> int:
    age = now - datetime.fromisoformat(record.started).timestamp()
    return max(worker.settings.poll_seconds, int(age * _PAUSE_SHARE))


def _next(state: Mapping[str, Any], step: str, **changes: Any) -> dict[str, Any]:
    return {**state, "next": step, **changes}


def _dead_workers(state: Mapping[str, Any]) -> Iterator[tuple[int, str]]:
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


# --- forward ---------------------------------------------------------------------------------------------------


def _after_prepare(
    worker: Worker, record: ReleaseRecord, state: dict[str, Any], dead: Mapping[int, str]
) -> dict[str, Any]:
    items = [
        _settle(
            worker,
            item,
            Judgement(Status.FAILED, _unwritten(item, dead, "its new revision was not registered")),
        )
        if item.action == "update" and item.pinned and item.verdict == Status.PENDING
        else item
        for item in worker.store.items(record.release)
    ]
    if any(i.action == "update" and i.pinned and i.verdict == Status.PENDING for i in items):
        return _next(state, "WAIT")  # a late worker is still at it
    failed = any(item.verdict in BAD for item in items)
    if failed and record.on_failure == "rollback":
        return _clean_up(worker, record, state)
    if failed and record.on_failure == "stop":
        return _next(state, "REPORT")
    return _begin_wave(worker, record, state, 0)


def _begin_wave(
    worker: Worker, record: ReleaseRecord, state: Mapping[str, Any], place: int
) -> dict[str, Any]:
    if record.begun_at is None:
        # Before the first write: from now on nobody may say that nothing was touched.
        worker.store.update_release(record.release, {"begun_at": int(time.time())}, only_running=True)
    wave = record.waves[place]
    begun = {**state, "wave": place, "tasks": wave["tasks"], "services": wave["services"]}
    if wave["tasks"]:
        return _next(begun, "UPDATE_TASKS", phase="tasks")
    if wave["services"]:
        return _next(begun, "UPDATE_SERVICES", phase="services")
    return _next(begun, "CHECK", phase="services")


def _after_update(
    worker: Worker,
    record: ReleaseRecord,
    state: dict[str, Any],
    dead: Mapping[int, str],
    now: float,
    *,
    finished: str,
) -> dict[str, Any]:
    place = int(state["wave"])
    wave = record.waves[place]
    items = worker.store.items(record.release, *wave["batches"])
    if finished == "tasks":
        items = [item for item in items if item.kind == "task"]
    items = [
        _settle(worker, item, Judgement(Status.FAILED, _unwritten(item, dead, "it was not written")))
        if item.action == "update" and item.verdict in (Status.PENDING, Status.PREPARED)
        else item
        for item in items
    ]
    items = _judged(worker, items, now)

    waiting = [item for item in items if item.verdict in OPEN]
    failing = [item for item in items if item.verdict in BAD]
    if failing and record.failing_since is None:
        record = dataclasses.replace(record, failing_since=int(now))
        worker.store.update_release(record.release, {"failing_since": int(now)})
    settling = record.failing_since is not None and now - record.failing_since < SETTLE_SECONDS
    if waiting and (not failing or record.on_failure != "rollback" or settling):
        return _next(state, "WAIT")
    if failing and record.on_failure != "continue":
        return _fail(worker, record, state)
    if finished == "tasks" and wave["services"]:
        return _next(state, "UPDATE_SERVICES", phase="services")
    if finished == "tasks":
        return _next(state, "CHECK", phase="services")
    if place + 1 < len(record.waves):
        return _begin_wave(worker, record, state, place + 1)
    return _next(state, "REPORT")


def _fail(worker: Worker, record: ReleaseRecord, state: Mapping[str, Any]) -> dict[str, Any]:
    if record.on_failure == "stop":
        return _next(state, "REPORT")
    # From the last wave on: one that has not begun may hold what an earlier release left.
    return _roll_back_wave(worker, record, state, len(record.waves) - 1)


def _judged(worker: Worker, items: Sequence[ItemRecord], now: float) -> list[ItemRecord]:
    """The items with every verdict that can be given now, recorded."""
    judged = {
        item.key["sk"]: _judge_item(worker, item, services, now)
        for item, services in _looks(worker, [item for item in items if _awaits_verdict(item)])
    }
    return [judged.get(item.key["sk"], item) for item in items]


def _looks(worker: Worker, items: Sequence[ItemRecord]) -> Iterator[tuple[ItemRecord, _Described]]:
    """Each item with what was read of the services around it; fewer items when the time is up.

    Ten services are read and judged before the next ten are: what a round gets done stays done, however slowly AWS answers.
    """
    together: dict[tuple[str, str, str | None], list[ItemRecord]] = {}
    for item in items:
        together.setdefault((item.kind, item.target, item.cluster), []).append(item)
    for alike in together.values():
        for start in range(0, len(alike), DESCRIBE_SERVICES_MOST):
            ten = alike[start : start + DESCRIBE_SERVICES_MOST]
            if worker.remaining() <= _SPARE_SECONDS:
                return
            services = _describe(worker, [item for item in ten if item.kind == "service"])
            for item in ten:
                if worker.remaining() <= _SPARE_SECONDS:
                    return
                yield item, services


def _awaits_verdict(item: ItemRecord) -> bool:
    if item.action == "update":
        return item.verdict == Status.UPDATED and item.rollback_started_at is None
    return item.verdict in OPEN


def _judge_item(worker: Worker, item: ItemRecord, services: _Described, now: float) -> ItemRecord:
    about_item(item)
    first = item.started_at is None
    if first:
        # An unchanged item is watched from the first look on.
        item = dataclasses.replace(item, started_at=int(now))
    verdict = (
        _judge_service(worker, item, services, now)
        if item.kind == "service"
        else _judge_task(worker, item, now)
    )
    changes, verdict = _looked_twice(worker, item, verdict, now)
    if first:
        changes = {**changes, "started_at": item.started_at}
    if verdict.status is not None:
        return _settle(worker, item, verdict, changes)
    return worker.store.update_item(item, changes) if changes else item


def _looked_twice(
    worker: Worker, item: ItemRecord, verdict: Judgement, now: float
) -> tuple[dict[str, Any], Judgement]:
    """The verdict; none yet where a single look can't prove it, and the round before has not seen the same.

    AWS's reads lag behind its writes, so the second look comes late enough for them to have caught up. With it come the changes
    of the record that say so.
    """
    if not verdict.needs_second_look:
        return ({} if item.doubted_at is None else {"doubted_at": None}), verdict
    changes = {"doubted_at": int(now)} if item.doubted_at is None else {}
    doubted_at = int(now) if item.doubted_at is None else item.doubted_at
    if now - doubted_at < worker.settings.settle_seconds:
        return changes, Judgement()
    return changes, verdict


_Described = dict[tuple[str, str, str], ServiceState | Exception]


def _describe(worker: Worker, items: Sequence[ItemRecord]) -> _Described:
    """Services by (target, cluster, name), asked for in tens; what can't be read now is an exception."""
    wanted: dict[tuple[str, str], list[str]] = {}
    for item in items:
        wanted.setdefault((item.target, str(item.cluster)), []).append(str(item.service))
    found: _Described = {}
    for (target, cluster), names in wanted.items():
        try:
            for name, state in Services(worker.connections, target).describe(cluster, names).items():
                found[target, cluster, name] = state
        except _PASSING as error:
            if error_code(error) == "ClusterNotFoundException":
                continue
            logger.warning("services can't be read now", extra={"cluster": cluster, "reason": explain(error)})
            found |= {(target, cluster, name): error for name in names}
    return found


def _judge_service(worker: Worker, item: ItemRecord, services: _Described, now: float) -> Judgement:
    state = services.get((item.target, str(item.cluster), str(item.service)))
    rollout = Rollout(
        deployment_id=str(item.deployment_id),
        task_definition=str(item.after),
        age_seconds=now - float(item.started_at or now),
        timeout_seconds=item.timeout_minutes * 60,
        found=item.action == "unchanged",
    )
    return _judge(worker, item, rollout, state)


def _judge(
    worker: Worker, item: ItemRecord, rollout: Rollout, state: ServiceState | Exception | None
) -> Judgement:
    if isinstance(state, Exception):
        return _unreadable(rollout, "the service", state)
    judgement = judge(rollout, state)
    services = Services(worker.connections, item.target)
    if judgement.needs_history and state is not None:
        try:
            judgement = _judge_by_history(services, item, rollout, state)
        except _PASSING as error:
            return _unreadable(rollout, "ECS's record of its deployments", error)
    if judgement.status in (Status.TIMED_OUT, Status.FAILED, Status.ROLLED_BACK_BY_ECS) and state is not None:
        try:
            stop = services.last_stop(str(item.cluster), str(item.service), rollout.deployment_id)
        except _PASSING as error:  # the verdict stands without it
            logger.warning("stopped tasks can't be read", extra={"reason": explain(error)})
            stop = ""
        if stop:
            judgement = dataclasses.replace(
                judgement, reason=f"{judgement.reason}; last task stopped: {stop}"
            )
    return judgement


def _judge_by_history(
    services: Services, item: ItemRecord, rollout: Rollout, state: ServiceState
) -> Judgement:
    """The verdict from ECS's own record of deployments."""
    cluster, name = str(item.cluster), str(item.service)
    created = (state.deployment(rollout.deployment_id) or {}).get("createdAt")
    since = created.timestamp() if created else time.time() - rollout.age_seconds
    history = services.deployments_since(
        cluster, name, datetime.fromtimestamp(since - _CLOCK_SKEW_SECONDS, UTC)
    )
    going_back = item.rollback_started_at is not None
    if not history and created and (going_back or item.action == "unchanged"):
        # Older than what ECS lists as created since then: of an unchanged service, or what ECS itself put back, which is part
        # of the service deployment that failed.
        newest = services.newest(cluster, name)
        if newest is not None and (not going_back or newest.rolled_back_to == rollout.task_definition):
            history = [newest]
        elif newest is None and not going_back:
            return Judgement(Status.UNVERIFIED, "ECS remembers no deployment of it that could prove anything")
    return judge(rollout, state, history)


def _unreadable(rollout: Rollout, what: str, error: Exception) -> Judgement:
    """No verdict before the deadline: what can't be read now may be readable later."""
    logger.warning("can't be read now", extra={"what": what, "reason": explain(error)})
    if rollout.overdue:
        return Judgement(Status.TIMED_OUT, f"{what} could not be read: {explain(error)}")
    return Judgement()


def _task_rollout(item: ItemRecord, started_at: int | None, now: float) -> Rollout:
    return Rollout("", str(item.after), now - float(started_at or now), item.timeout_minutes * 60)


def _judge_task(worker: Worker, item: ItemRecord, now: float) -> Judgement:
    """Read the rule's targets or the schedule back: they run what they are meant to run, or somebody changed them."""
    try:
        found = current_targets(worker, item)
    except ItemError as error:
        return Judgement(Status.FAILED, str(error), needs_second_look=True)
    except _PASSING as error:
        return _unreadable(_task_rollout(item, item.started_at, now), "it", error)
    others = [r for r in map(reference_of, found) if not runs_as_meant(item, r)]
    return _task_judgement(others)


def _task_judgement(others: Sequence[str | None]) -> Judgement:
    if not others:
        return Judgement(Status.SUCCEEDED)
    return Judgement(Status.SUPERSEDED, set_meanwhile(others[0]), needs_second_look=True)


def runs_as_meant(item: ItemRecord, reference: str | None) -> bool:
    """Whether a target that names ``reference`` runs what this release set, or of an unchanged item what it found. Pure.

    What was found is ``live``: the before-image may be an earlier release's.
    """
    if reference is None:
        return False
    if item.action == "update":
        return reference == item.after
    family, revision = parse_reference(reference)
    found_family, found_revision = parse_reference(item.live)
    return family == found_family and (
        revision == found_revision if revision is not None else not item.pinned
    )


def _settle(
    worker: Worker, item: ItemRecord, judgement: Judgement, more: Mapping[str, Any] | None = None
) -> ItemRecord:
    """Write the verdict, once, and what else is to be said with it."""
    status = judgement.status
    assert status is not None  # noqa: S101 - callers pass verdicts only
    if item.action == "unchanged" and status is Status.SUCCEEDED:
        status = Status.UNCHANGED
    logger.info("verdict", extra={"item": item.name, "verdict": status, "reason": judgement.reason})
    try:
        return worker.store.settle_item(
            item,
            {
                "verdict": status,
                "status": status,
                "reason": judgement.reason,
                "settled_at": int(time.time()),
                **(more or {}),
            },
            verdict_open=True,
        )
    except RecordChangedError:
        written = worker.store.item(item)
        if written.epoch != item.epoch:
            raise LockLostError(f"release {item.release} was closed while it was judged.") from None
        return written


def _unwritten(item: ItemRecord, dead: Mapping[int, str], what: str) -> str:
    reason = item.reason or "no attempt got that far"
    return (
        f"{what}: {reason} (its worker ended with {dead[item.batch]})"
        if item.batch in dead
        else f"{what}: {reason}"
    )


# --- back ------------------------------------------------------------------------------------------------------


def _roll_back_wave(
    worker: Worker, record: ReleaseRecord, state: Mapping[str, Any], place: int
) -> dict[str, Any]:
    """Go back wave by wave, the newest first; a wave goes back when the one after it is back."""
    for earlier in range(place, -1, -1):
        items = worker.store.items(record.release, *record.waves[earlier]["batches"])
        batches = sorted({item.batch for item in items if _may_go_back(item)})
        if batches:
            return _next(state, "ROLLBACK", phase="rollback", wave=earlier, rollback=batches)
    return _clean_up(worker, record, state)


def _clean_up(worker: Worker, record: ReleaseRecord, state: Mapping[str, Any]) -> dict[str, Any]:
    """Deregister before the verdict what runs although nothing names it; what merely lies about waits (steps/clean_up.py)."""
    batches = sorted({item.batch for item in runs_without_being_named(worker.store.items(record.release))})
    if batches:
        return _next(state, "ROLLBACK", phase="cleanup", rollback=batches)
    return _next(state, "REPORT")


def _may_go_back(item: ItemRecord) -> bool:
    """Whether Rollback has to look at this item: also when its worker died and nobody knows how far it got.

    Of a wave that has begun every item has a verdict; without one it was prepared at most.
    """
    begun = item.action == "update" and item.verdict not in (Status.PENDING, Status.PREPARED)
    uncertain = begun and (item.after is not None or item.claim_by is not None)
    return (uncertain or needs_rollback(item)) and item.verdict != Status.SUPERSEDED


def _after_rollback(
    worker: Worker, record: ReleaseRecord, state: dict[str, Any], dead: Mapping[int, str], now: float
) -> dict[str, Any]:
    place = int(state["wave"])
    items = [
        i for i in worker.store.items(record.release, *record.waves[place]["batches"]) if _may_go_back(i)
    ]
    going = [
        item for item in items if item.rollback_started_at is not None and item.status not in _SETTLED_BACK
    ]
    waiting = False
    for item in items:
        if item.batch in dead and item.status not in _SETTLED_BACK and item.rollback_started_at is None:
            reason = f"it was not put back: {item.reason or 'no attempt got that far'} (its worker ended with {dead[item.batch]})"
            changes = {"status": Status.ROLLBACK_FAILED, "reason": reason}
            worker.store.settle_item(item, changes)
    looked_at = 0
    for item, services in _looks(worker, going):
        looked_at += 1
        about_item(item)
        seen, verdict = _looked_twice(worker, item, _judge_back(worker, item, services, now), now)
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
        reason = (
            item.reason
            if status is Status.ROLLED_BACK
            else f"{item.reason}; going back: {verdict.reason}".strip("; ")
        )
        logger.info("back", extra={"item": item.name, "status": status, "reason": verdict.reason})
        worker.store.settle_item(item, {**seen, "status": status, "reason": reason})
    if waiting or looked_at < len(going):
        return _next(state, "WAIT")
    if place > 0:
        return _roll_back_wave(worker, record, state, place - 1)
    return _roll_back_wave(worker, record, state, -1)


_SETTLED_BACK = frozenset({Status.ROLLED_BACK, Status.ROLLBACK_FAILED, Status.SUPERSEDED})


def _judge_back(worker: Worker, item: ItemRecord, services: _Described, now: float) -> Judgement:
    if item.kind == "task":
        return _judge_task_back(worker, item, now)
    rollout = Rollout(
        deployment_id=str(item.rollback_deployment),
        task_definition=str(item.rollback_to),
        age_seconds=now - float(item.rollback_started_at or now),
        timeout_seconds=item.timeout_minutes * 60,
    )
    return _judge(worker, item, rollout, services.get((item.target, str(item.cluster), str(item.service))))


def _judge_task_back(worker: Worker, item: ItemRecord, now: float) -> Judgement:
    try:
        found = current_targets(worker, item)
    except ItemError as error:  # it was there when it was put back
        return Judgement(Status.SUPERSEDED, str(error), needs_second_look=True)
    except _PASSING as error:
        return _unreadable(_task_rollout(item, item.rollback_started_at, now), "it", error)
    return _task_judgement([r for r in map(reference_of, found) if r != item.rollback_to])
