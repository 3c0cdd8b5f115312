"""Judging items: read what is live, judge it, record the verdict."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from ecs_release.aws.answers import moment, understanding
from ecs_release.aws.ecs_targets import reference_of
from ecs_release.aws.service_deployments import ServiceDeployment
from ecs_release.aws.service_state import ServiceState
from ecs_release.aws.services import DESCRIBE_SERVICES_MOST, Services
from ecs_release.aws.task_definitions import parse_reference
from ecs_release.aws.trouble import PASSING, error_code, explain, refused
from ecs_release.errors import ItemError, LockLostError, OddAnswerError, RecordChangedError
from ecs_release.observability import about_item, logger
from ecs_release.record.before import reference_before
from ecs_release.record.models import ItemRecord
from ecs_release.record.statuses import OPEN, Status
from ecs_release.rollout.back import judge_rollback
from ecs_release.rollout.events import MOST_EVENTS, trouble_since
from ecs_release.rollout.judge import Judgement, Rollout, judge
from ecs_release.steps.bound import judge_images, something_else
from ecs_release.steps.history import deployments_of
from ecs_release.steps.soaking import watched
from ecs_release.steps.starting import Starting
from ecs_release.steps.targets import current_targets, set_meanwhile
from ecs_release.steps.turn import doubted
from ecs_release.steps.worker import Worker

# With less time than this left the others are looked at in the next round: a look that is cut off would count as a crash.
_SPARE_SECONDS = 45

_BROKEN = (Status.TIMED_OUT, Status.FAILED, Status.ROLLED_BACK_BY_ECS)


def judge_all(
    worker: Worker, items: Sequence[ItemRecord], now: float, soak_seconds: int = 0
) -> list[ItemRecord]:
    """The items with every verdict that can be given now, recorded.

    Parameters
    ----------
    soak_seconds : how long a service that this release changed is watched after its rollout is complete.
    """
    starting = Starting(worker)
    judged = {
        item.key["sk"]: judge_item(worker, item, services, starting, now, soak_seconds=soak_seconds)
        for item, services in looks(worker, [item for item in items if _awaits_verdict(item)])
    }
    return [judged.get(item.key["sk"], item) for item in items]


def looks(worker: Worker, items: Sequence[ItemRecord]) -> Iterator[tuple[ItemRecord, _Described]]:
    """Each item with what was read of the services around it; fewer items when the time is up.

    Ten services are read and judged before the next ten are: what a round gets done stays done, however slowly AWS answers.
    """
    together: dict[tuple[str, str, str | None], list[ItemRecord]] = {}
    for item in items:
        cluster = item.service.cluster if item.is_service else None
        together.setdefault((item.kind, item.target, cluster), []).append(item)
    for alike in together.values():
        for start in range(0, len(alike), DESCRIBE_SERVICES_MOST):
            ten = alike[start : start + DESCRIBE_SERVICES_MOST]
            if worker.remaining() <= _SPARE_SECONDS:
                return
            services = _describe(worker, [item for item in ten if item.is_service])
            for item in ten:
                if worker.remaining() <= _SPARE_SECONDS:
                    return
                yield item, services


def _awaits_verdict(item: ItemRecord) -> bool:
    if item.action == "update":
        return item.verdict == Status.UPDATED and item.rollback_started_at is None
    return item.verdict in OPEN


def judge_item(
    worker: Worker,
    item: ItemRecord,
    services: _Described,
    starting: Starting,
    now: float,
    *,
    soak_seconds: int = 0,
) -> ItemRecord:
    about_item(item)
    first = item.started_at is None
    if first:
        # An unchanged item is watched from the first look on.
        item = dataclasses.replace(item, started_at=int(now))
    completed: dict[str, Any] = {}
    if not item.is_service:
        verdict = _judge_task(worker, item, starting, now)
    else:
        state = services.get((item.target, item.service.cluster, item.service.service))
        verdict = Judgement(Status.SUCCEEDED)
        if item.completed_at is None:
            verdict = _judge_service(worker, item, state, now)
        if item.action == "update" and verdict.status is Status.SUCCEEDED:
            bound = None if item.completed_at is not None else _bound(worker, item, state, now)
            if soak_seconds and (bound is None or bound.status not in (None, Status.FAILED)):
                item, completed, verdict = watched(worker, item, state, now, soak_seconds)
            if verdict.status is Status.SUCCEEDED:
                verdict = bound or _bound(worker, item, state, now)
    changes, verdict = looked_twice(worker, item, verdict, now)
    changes = {**completed, **changes}
    if verdict.bakes != item.bakes:
        changes = {**changes, "bakes": verdict.bakes}
    if first:
        changes = {**changes, "started_at": item.started_at}
    if verdict.status is None and verdict.reason and verdict.reason != item.reason:
        changes = {**changes, "reason": verdict.reason}  # what it waits for, for ecs-release status
    if verdict.status is not None:
        return settle(worker, item, verdict, changes)
    return worker.store.update_item(item, changes) if changes else item


def looked_twice(
    worker: Worker, item: ItemRecord, verdict: Judgement, now: float
) -> tuple[dict[str, Any], Judgement]:
    """The verdict; none yet where a single look can't prove it, and the round before has not seen the same.

    With it come the changes of the record that say so.
    """
    if not verdict.needs_second_look:
        return ({} if item.doubted_at is None else {"doubted_at": None}), verdict
    direction = "forward" if item.rollback_started_at is None else "back"
    settle = worker.settings.settle_seconds
    changes, doubtful = doubted(item, f"{direction}: {verdict.status}", now, settle)
    return changes, Judgement() if doubtful else verdict


_Described = dict[tuple[str, str, str], ServiceState | Exception]


def _describe(worker: Worker, items: Sequence[ItemRecord]) -> _Described:
    """Services by (target, cluster, name), asked for in tens; what can't be read now is an exception."""
    wanted: dict[tuple[str, str], list[str]] = {}
    for item in items:
        wanted.setdefault((item.target, item.service.cluster), []).append(item.service.service)
    found: _Described = {}
    for (target, cluster), names in wanted.items():
        try:
            for name, state in Services(worker.connections, target).describe(cluster, names).items():
                found[target, cluster, name] = state
        except PASSING as error:
            if error_code(error) == "ClusterNotFoundException":
                continue
            logger.warning("services can't be read now", extra={"cluster": cluster, "reason": explain(error)})
            found |= {(target, cluster, name): error for name in names}
    return found


def _bound(worker: Worker, item: ItemRecord, state: ServiceState | Exception | None, now: float) -> Judgement:
    """The verdict on a complete rollout, once it is known which images it runs."""
    if not isinstance(state, ServiceState):
        return Judgement(Status.SUCCEEDED)
    try:
        return judge_images(worker, item, state)
    except PASSING as error:
        rollout = _service_rollout(item, now)
        if refused(error) or rollout.overdue:  # that it is complete is proven
            return Judgement(Status.UNVERIFIED, f"which images it runs can't be read: {explain(error)}")
        return _unreadable(rollout, "which images it runs", error)


def _judge_service(
    worker: Worker, item: ItemRecord, state: ServiceState | Exception | None, now: float
) -> Judgement:
    return _judge(worker, item, _service_rollout(item, now), state)


def _service_rollout(item: ItemRecord, now: float) -> Rollout:
    return Rollout(
        deployment_id=str(item.deployment_id),
        task_definition=str(item.after),
        age_seconds=now - float(item.started_at or now),
        timeout_seconds=item.timeout_minutes * 60,
        found=item.action == "unchanged",
        service_deployment=item.service_deployment or "",
    )


def _judge(
    worker: Worker, item: ItemRecord, rollout: Rollout, state: ServiceState | Exception | None
) -> Judgement:
    if isinstance(state, Exception):
        return _unreadable(rollout, "the service", state)
    services = Services(worker.connections, item.target)
    try:
        with understanding("what ECS says of it"):
            judgement = judge(rollout, state)
            if judgement.needs_history and state is not None:
                judgement = _judge_by_history(services, item, rollout, state)
    except PASSING as error:
        return _unreadable(rollout, "what became of it", error)
    if judgement.status in _BROKEN and state is not None:
        try:
            stop = services.last_stop(item.service.cluster, item.service.service, rollout.deployment_id)
        except PASSING as error:  # the verdict stands without it
            logger.warning("stopped tasks can't be read", extra={"reason": explain(error)})
            why = refused(error)
            said = f"why its last task stopped can't be read: {why}" if why else ""
        else:
            said = f"last task stopped: {stop}" if stop else ""
        if said:
            judgement = dataclasses.replace(judgement, reason=f"{judgement.reason}; {said}")
    return judgement if state is None else _with_events(judgement, rollout, state)


def _with_events(judgement: Judgement, rollout: Rollout, state: ServiceState) -> Judgement:
    """What ECS's events since the rollout began say of a bad verdict, or of what an open one waits for."""
    if judgement.status not in (None, *_BROKEN) or (judgement.status is None and judgement.reason):
        return judgement
    try:
        with understanding("what ECS says of it"):
            created = moment(state.deployment(rollout.deployment_id) or {}, "createdAt")
            since = created or datetime.fromtimestamp(time.time() - rollout.age_seconds, UTC)
            said = trouble_since(state, since, MOST_EVENTS if judgement.status else 1)
    except OddAnswerError:  # the verdict stands without them
        return judgement
    news = [event for event in said if event not in judgement.reason]
    if not news:
        return judgement
    reason = "; ".join(filter(None, [judgement.reason, f"ECS says: {'; '.join(news)}"]))
    return dataclasses.replace(judgement, reason=reason)


def _with_pause(judgement: Judgement, rollout: Rollout, history: Sequence[ServiceDeployment]) -> Judgement:
    """Where the rollout waits for somebody, and how to continue it."""
    if judgement.status not in (None, Status.TIMED_OUT):
        return judgement
    paused = next((d for d in history if d.hook and d.task_definition == rollout.task_definition), None)
    if paused is None:
        return judgement
    how = (
        f"ECS has paused it at {paused.stage or 'a lifecycle hook'}; continue it with: aws ecs continue-service-deployment "
        f"--service-deployment-arn {paused.arn} --hook-id {paused.hook} --action CONTINUE"
    )
    return dataclasses.replace(judgement, reason="; ".join(filter(None, [judgement.reason, how])))


def _judge_by_history(
    services: Services, item: ItemRecord, rollout: Rollout, state: ServiceState
) -> Judgement:
    """The verdict from ECS's own record of deployments."""
    cluster, name = item.service.cluster, item.service.service
    created = (state.deployment(rollout.deployment_id) or {}).get("createdAt")
    since = created.timestamp() if created else time.time() - rollout.age_seconds
    history = deployments_of(services, item, rollout, state, since)
    going_back = item.rollback_started_at is not None
    if not history and created and (going_back or item.action == "unchanged"):
        # Older than what ECS lists as created since then: of an unchanged service, or what ECS itself put back, which is part
        # of the service deployment that failed.
        newest = services.newest(cluster, name)
        if newest is not None and (not going_back or newest.rolled_back_to == rollout.task_definition):
            history = [newest]
        elif newest is None and not going_back:
            return Judgement(Status.UNVERIFIED, "ECS remembers no deployment of it that could prove anything")
    return _with_pause(judge(rollout, state, history), rollout, history)


def _unreadable(rollout: Rollout, what: str, error: Exception) -> Judgement:
    """No verdict before the deadline: what can't be read now may be readable later."""
    logger.warning("can't be read now", extra={"what": what, "reason": explain(error)})
    if rollout.overdue:
        return Judgement(Status.TIMED_OUT, f"{what} could not be read: {explain(error)}")
    why = refused(error)
    return Judgement(reason=f"{what} can't be read now: {why}" if why else "")


def _task_rollout(item: ItemRecord, started_at: int | None, now: float) -> Rollout:
    return Rollout("", str(item.after), now - float(started_at or now), item.timeout_minutes * 60)


def _judge_task(worker: Worker, item: ItemRecord, starting: Starting, now: float) -> Judgement:
    """Read the rule's targets or the schedule back: they run what they are meant to run, or somebody changed them."""
    try:
        with understanding("what AWS says of it"):
            found = current_targets(worker, item)
            others = [r for r in map(reference_of, found) if not runs_as_meant(item, r)]
            return _task_judgement(others) if others else starting.judge(item, found)
    except ItemError as error:
        return Judgement(Status.FAILED, str(error), needs_second_look=True)
    except PASSING as error:
        return _unreadable(_task_rollout(item, item.started_at, now), "it", error)


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


def settle(
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


def judge_back(
    worker: Worker, item: ItemRecord, services: _Described, starting: Starting, now: float
) -> Judgement:
    if not item.is_service:
        return _judge_task_back(worker, item, starting, now)
    rollout = Rollout(
        deployment_id=str(item.rollback_deployment),
        task_definition=str(item.rollback_to),
        age_seconds=now - float(item.rollback_started_at or now),
        timeout_seconds=item.timeout_minutes * 60,
    )
    state = services.get((item.target, item.service.cluster, item.service.service))
    by_ecs = item.rollback_stop is not None and item.rollback_deployment is None
    judgement = (_judge_rollback if by_ecs else _judge)(worker, item, rollout, state)
    if judgement.status is not Status.SUCCEEDED or not item.rollback_unproven:
        return judgement
    assert isinstance(state, ServiceState)  # noqa: S101 - without one nothing succeeds
    try:
        odd = something_else(worker, item, state)
    except PASSING as error:
        return _unreadable(rollout, "its service revision", error)
    return Judgement(Status.FAILED, odd) if odd else judgement


def _judge_rollback(
    worker: Worker, item: ItemRecord, rollout: Rollout, state: ServiceState | Exception | None
) -> Judgement:
    """The verdict on ECS's own rollback of the service deployment that was stopped."""
    if isinstance(state, Exception):
        return _unreadable(rollout, "the service", state)
    try:
        found = Services(worker.connections, item.target).service_deployments([item.rollback_stop or ""])
    except PASSING as error:
        return _unreadable(rollout, "ECS's record of its deployments", error)
    return judge_rollback(rollout, state, found[0] if found else None)


def _judge_task_back(worker: Worker, item: ItemRecord, starting: Starting, now: float) -> Judgement:
    try:
        with understanding("what AWS says of it"):
            found = current_targets(worker, item)
            others = [r for r in map(reference_of, found) if r != item.rollback_to]
            if others or (item.pinned and item.rollback_to in (item.before, reference_before(item))):
                return _task_judgement(others)
            # A rule that named a family is pinned now, and a copy has another ARN: its role may be allowed neither.
            return starting.judge(item, found)
    except ItemError as error:  # it was there when it was put back
        return Judgement(Status.SUPERSEDED, str(error), needs_second_look=True)
    except PASSING as error:
        return _unreadable(_task_rollout(item, item.rollback_started_at, now), "it", error)
