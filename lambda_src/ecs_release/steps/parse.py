"""Parse: check the manifest against its rules and against what is live, take the lock, record, cut waves and batches."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from ecs_release.aws.clients import own_client
from ecs_release.aws.trouble import explain
from ecs_release.errors import (
    ItemBusyError,
    LockLostError,
    PassingError,
    RecordChangedError,
    RefusalError,
    ReleaseRejectedError,
    UnavailableError,
)
from ecs_release.observability import about_release, logger
from ecs_release.plan.approval import check_approval, stale
from ecs_release.plan.back import why_not_begun
from ecs_release.plan.batches import cut
from ecs_release.plan.decide import PlannedItem
from ecs_release.plan.definitions import Definitions
from ecs_release.plan.make import plan_release, plan_rollback, releases_undone
from ecs_release.plan.request import OBJECT_WAIT_SECONDS, Request, read_request
from ecs_release.record.machine import Next, Phase, State
from ecs_release.record.models import ReleaseRecord, UnusedRevision, in_utc
from ecs_release.record.statuses import ReleaseStatus
from ecs_release.record.store import Store
from ecs_release.rollout.unused import is_named
from ecs_release.steps.closing import utc_now
from ecs_release.steps.due import ensure_execution, next_turn
from ecs_release.steps.lock import take_lock
from ecs_release.steps.worker import Worker

# A revision that is condemned is gone a moment later, and not read of any more another moment later.
_CLEAN_UP_SECONDS = 90
_LAG_SECONDS = 30


def parse(worker: Worker, release: str, execution: str, started: str, document: Any) -> State:
    """Everything that comes before the first write.

    Parameters
    ----------
    document : the execution's input: a manifest by reference, itself, or a rollback; see :mod:`ecs_release.plan.request`.

    Returns
    -------
    State
        the machine's first state.

    Raises
    ------
    ManifestInvalidError, ReleaseRejectedError, ReleaseLockedError
        nothing was touched; the message lists every problem.
    NotDueError
        the release is no execution of the state machine, or is past its beginning; no lock was taken.
    LockLostError
        the release was closed while it began.
    PassingError
        AWS did not let everything be read; another attempt goes on from there.
    """
    ensure_execution(release, execution, started, document)
    try:
        return _begin(worker, release, execution, started, document)
    except RefusalError as refusal:
        _note_refusal(worker.store, release, execution, started, refusal.problems)
        raise


def _note_refusal(store: Store, release: str, execution: str, started: str, problems: Sequence[str]) -> None:
    """Write down why a release is refused, for Report to tell: what an exception says is cut."""
    try:
        if store.release(release) is None:
            never = ReleaseRecord(release, execution, 0, _instant(started), status=ReleaseStatus.REJECTED)
            store.put_release(replace(never, ended=utc_now(), problems=list(problems)))
        else:
            store.refuse(release, problems)
    except (RecordChangedError, ClientError, BotoCoreError, UnavailableError) as error:
        # Report has the message, and this release is over one way or another.
        logger.error("the refusal can't be written", extra={"reason": explain(error)})


def _begin(worker: Worker, release: str, execution: str, started: str, document: Any) -> State:
    request = read_request(document, patience=min(OBJECT_WAIT_SECONDS, worker.remaining() / 2))
    record = take_lock(
        worker,
        ReleaseRecord(
            release=release,
            execution=execution,
            epoch=0,
            started=_instant(started),
            mode=request.mode,
            label=request.manifest.release if request.manifest else None,
            on_failure=request.manifest.on_failure if request.manifest else "continue",
            source=request.source,
        ),
    )
    store = worker.store
    if record.turn is not None:
        logger.info("an earlier attempt has cut this release already")
        store.forget_definitions(release)
        return record.due
    _hand_back(store, release)
    plan, undid = _plan(worker, release, request)
    batches = cut(plan, release, record.epoch)
    changes: dict[str, Any] = {
        **undid,
        "waves": batches.waves,
        "prepare": batches.prepare,
        "warnings": [f"{p.item.name}: {warning}" for p in plan for warning in p.warnings],
    }
    state = first_state(replace(record, **changes))
    try:
        store.claim_cut(release, worker.request)
        store.put_items(release, batches.records, worker.request)
        state = next_turn(store, release, None, state, cut_by=worker.request, **changes)
    except RecordChangedError:
        return _cut_by_another(store, release)
    store.forget_definitions(release)
    return state


def _plan(worker: Worker, release: str, request: Request) -> tuple[list[PlannedItem], dict[str, Any]]:
    """What the release will do, and of a rollback by hand the attribute that says which release it undoes.

    Raises
    ------
    ReleaseRejectedError
        with all that stands in its way.
    """
    store, connections = worker.store, worker.connections
    try:
        if request.manifest is not None:
            _check_approval(worker, request)
            manifest = request.manifest
            plan = _kept(worker, release, lambda known: plan_release(store, connections, manifest, known))
            problems = stale(connections, request, plan)
            undid = {}
        else:
            undone = releases_undone(store, request.to, release)
            plan = _kept(worker, release, lambda known: plan_rollback(store, connections, undone, known))
            problems = why_not_begun(plan)
            undid = {"undid": undone[-1].release}
    finally:
        store.add_throttles(release, connections.throttles.take())
    problems += [f"{p.item.name} ({p.item.path}): {problem}" for p in plan for problem in p.problems]
    if problems:
        store.forget_definitions(release)
        raise ReleaseRejectedError(*problems)
    return plan, undid


def _hand_back(store: Store, release: str) -> None:
    """Give to the clean-up again what earlier releases took up and never named, because they were stopped in between.

    Under the lock, and when nothing of those releases runs any more: otherwise one of them might still use it.
    """
    taken: dict[str, list[UnusedRevision]] = {}
    for revision in store.unused():
        if revision.state == "taken" and revision.release != release:
            taken.setdefault(revision.release, []).append(revision)
    for taker, revisions in taken.items():
        items = store.items(taker)
        in_vain = [(r.target, r.arn) for r in revisions if not is_named(r, items)]
        if in_vain:
            logger.info("handed back to the clean-up", extra={"taken_by": taker, "revisions": in_vain})
            store.note_unused(taker, in_vain)


def _instant(started: str) -> str:
    return in_utc(datetime.fromisoformat(started))


def _cut_by_another(store: Store, release: str) -> State:
    """What another attempt at this release has made of it.

    Raises
    ------
    LockLostError
        when the release was closed.
    ItemBusyError
        when that attempt is still at it.
    """
    record = store.release(release)
    if record is None or record.status != ReleaseStatus.RUNNING:
        raise LockLostError(f"release {release} was closed while this worker began.")
    if record.turn is None:
        raise ItemBusyError(f"another worker writes the items of release {release}")
    return record.due


def _kept(
    worker: Worker, release: str, make: Callable[[Definitions], list[PlannedItem]]
) -> list[PlannedItem]:
    """A plan in which no revision is about to be deregistered by the clean-up of an earlier release.

    What runs, or is to be gone back to, was in use by nobody when that release ended: somebody has deployed it by hand since,
    or names its family without a revision. It is kept; where it is too late for that, what is live is read again once it is
    gone.

    Parameters
    ----------
    make : makes the plan from what is live and the task definitions that are known already.

    Raises
    ------
    ReleaseRejectedError
        when it is still there after a while.
    PassingError
        when AWS does not let everything be read now; what was read is kept for the next attempt.
    """
    until = time.monotonic() + min(_CLEAN_UP_SECONDS, worker.remaining() / 2)
    definitions = _known(worker, release)
    while True:
        try:
            plan = make(definitions)
        except PassingError:
            worker.store.keep_definitions(release, definitions.news())
            raise
        too_late = _too_late(worker, release, plan)
        if not too_late:
            return plan
        if time.monotonic() > until:
            worker.store.forget_definitions(release)
            raise ReleaseRejectedError(
                *(
                    f"{name}: {arn} is being deregistered after an earlier release (ecs-release status); try again later."
                    for name, arn in too_late
                )
            )
        time.sleep(5)
        definitions = definitions.without({arn for _, arn in too_late})


def _known(worker: Worker, release: str) -> Definitions:
    """What an earlier attempt has read, but for what the clean-up deregisters: all else of a revision stays as it was."""
    known = worker.store.definitions(release)
    gone = {revision.arn for revision in worker.store.unused()} if known else set()
    return Definitions(worker.connections, [(t, d) for t, d in known if d.arn not in gone])


def _too_late(worker: Worker, release: str, plan: Sequence[PlannedItem]) -> list[tuple[str, str]]:
    """Keep what the items run and go back to; the (name, ARN) of what is condemned already and is needed."""
    stale = time.time() - _LAG_SECONDS
    pending = {
        (revision.target, revision.arn)
        for revision in worker.store.unused()
        if revision.left or (revision.state == "deregistered" and revision.since > stale)
    }
    return [
        (planned.item.name, arn)
        for planned in plan
        for arn in dict.fromkeys((planned.live, planned.before, planned.after))
        if arn is not None
        and (planned.item.target, arn) in pending
        and not worker.store.keep(planned.item.target, arn, release)
        and planned.lost
        is None  # it goes nowhere, and a target that is gone never gets rid of what is condemned
    ]


def _check_approval(worker: Worker, request: Request) -> None:
    """Where the module asks for approval, refuse what was not approved; a rollback by hand never comes here."""
    if worker.settings.approval_pipeline is None:
        return
    check_approval(
        own_client("codepipeline"),
        worker.settings.approval_pipeline,
        request.source.get("pipelineExecutionId"),
        plan_digest=str(request.plan["digest"]) if request.plan else None,
        manifest_sha256=request.manifest_sha256,
        allow_stale=request.allow_stale,
    )


def first_state(record: ReleaseRecord) -> State:
    """Where the machine begins: preparing, or looking at what is unchanged."""
    return {
        "next": Next.PREPARE if record.prepare else Next.CHECK,
        "phase": Phase.PREPARE,
        "wave": 0,
        "epoch": record.epoch,
        "seconds": 1,
        "prepare": record.prepare,
        "tasks": [],
        "services": [],
        "rollback": [],
    }


@logger.inject_lambda_context(log_event=False, clear_state=True)
def handler(event: dict[str, Any], context: Any) -> State:
    """``{"release", "execution", "startedAt", "input"}`` in, the machine's first state out."""
    release = str(event["release"])
    about_release(release)
    worker = Worker.create("parse", context)
    return parse(worker, release, str(event["execution"]), str(event["startedAt"]), event["input"])
