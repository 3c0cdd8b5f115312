"""Parse: check the manifest against its rules and against what is live, take the lock, record, cut waves and batches."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from botocore.exceptions import ClientError

from ecs_release import estate
from ecs_release.approval import check_approval
from ecs_release.aws import Connections, error_code, explain, own_client
from ecs_release.due import ensure_execution, has_ended, next_turn
from ecs_release.errors import (
    ItemBusyError,
    LockLostError,
    ManifestInvalidError,
    NotDueError,
    ObjectNotThereYetError,
    PassingError,
    RecordChangedError,
    ReleaseLockedError,
    ReleaseRejectedError,
)
from ecs_release.manifest import Manifest, Validation, from_document
from ecs_release.observability import logger
from ecs_release.plan import PlannedItem, cut, items_back, make_plan, plan_back
from ecs_release.plan_document import compare, digest, plan_document
from ecs_release.retries import trouble
from ecs_release.steps.report import close
from ecs_release.steps.work import Worker
from ecs_release.store import Lock, ReleaseRecord, Store, fitting, state_key
from ecs_release.undo import releases_to_undo, steps_back

LONGEST_FUNCTION_SECONDS = 900
"""A stopped execution leaves its workers running for at most this long (Lambda's own limit)."""

_TAKEOVER_WAIT_SECONDS = 120
# For up to 15 minutes after a bucket's versioning was first switched on, S3 may answer 404 for new objects
# (https://docs.aws.amazon.com/AmazonS3/latest/userguide/manage-versioning-examples.html). Parse looks for this long and fails;
# with the retries of the state machine that is 15 minutes. The lock is not taken yet, so nobody else waits.
_OBJECT_WAIT_SECONDS = 150
_OBJECT_MISSING = frozenset({"NoSuchKey", "NoSuchVersion"})
# A revision that is condemned is gone a moment later, and not read of any more another moment later.
_CLEAN_UP_SECONDS = 90
_LAG_SECONDS = 30
_VERSION = 1
# A cause holds 32,768 characters (https://docs.aws.amazon.com/step-functions/latest/apireference/API_TaskFailedEventDetails.html),
# and Lambda puts more than the message into it. All problems stand in the record.
_ERROR_BYTES = 20_000


def parse(worker: Worker, release: str, execution: str, started: str, document: Any) -> dict[str, Any]:
    """Everything that comes before the first write.

    Parameters
    ----------
    document : the execution's input, as DESIGN.md's contracts have it.

    Returns
    -------
    dict
        the machine's state: ``next``, ``phase``, ``wave``, ``epoch``, ``seconds`` and batch numbers.

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
    request = read_request(document, patience=min(_OBJECT_WAIT_SECONDS, worker.remaining() / 2))
    ensure_execution(release, execution, started, document)
    record = take_lock(
        worker,
        ReleaseRecord(
            release=release,
            execution=execution,
            epoch=0,
            started=in_utc(started),
            mode=request.mode,
            label=request.manifest.release if request.manifest else None,
            on_failure=request.manifest.on_failure if request.manifest else "continue",
            source=request.source,
        ),
    )
    store, connections = worker.store, worker.connections
    if record.turn is not None:
        logger.info("an earlier attempt has cut this release already")
        store.forget_definitions(release)
        return record.due
    try:
        if request.manifest is not None:
            _check_approval(worker, request)
            manifest = request.manifest
            plan = _kept(worker, release, lambda known: plan_release(store, connections, manifest, known))
            problems = _stale(connections, request, plan)
            undid = {}
        else:
            undone = releases_undone(store, request.to, release)
            plan = _kept(worker, release, lambda known: plan_rollback(store, connections, undone, known))
            problems = []
            undid = {"undid": undone[-1].release}
    finally:
        store.add_throttles(release, connections.throttles.take())
    problems += [f"{p.item.name} ({p.item.path}): {problem}" for p in plan for problem in p.problems]
    if problems:
        store.forget_definitions(release)
        store.refuse(release, problems)
        raise ReleaseRejectedError(_in_an_error(problems))
    batches = cut(plan, release, record.epoch)
    changes: dict[str, Any] = {
        **undid,
        "waves": batches.waves,
        "prepare": batches.prepare,
        "warnings": [f"{p.item.name}: {warning}" for p in plan for warning in p.warnings],
    }
    state = first_state(dataclasses.replace(record, **changes))
    try:
        store.claim_cut(release, worker.request)
        store.put_items(release, batches.records, worker.request)
        state = next_turn(store, release, None, state, cut_by=worker.request, **changes)
    except RecordChangedError:
        return _cut_by_another(store, release)
    store.forget_definitions(release)
    return state


def _cut_by_another(store: Store, release: str) -> dict[str, Any]:
    """What another attempt at this release has made of it.

    Raises
    ------
    LockLostError
        when the release was closed.
    ItemBusyError
        when that attempt is still at it.
    """
    record = store.release(release)
    if record is None or record.status != "RUNNING":
        raise LockLostError(f"release {release} was closed while this worker began.")
    if record.turn is None:
        raise ItemBusyError(f"another worker writes the items of release {release}")
    return record.due


def _kept(
    worker: Worker, release: str, make: Callable[[estate.Definitions], list[PlannedItem]]
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
                _in_an_error(
                    [
                        f"{name}: {arn} is being deregistered after an earlier release (ecs-release status); try again later."
                        for name, arn in too_late
                    ]
                )
            )
        time.sleep(5)
        definitions = definitions.without({arn for _, arn in too_late})


def _known(worker: Worker, release: str) -> estate.Definitions:
    """What an earlier attempt has read, but for what the clean-up deregisters: all else of a revision stays as it was."""
    known = worker.store.definitions(release)
    gone = {revision.arn for revision in worker.store.unused()} if known else set()
    return estate.Definitions(worker.connections, [(t, d) for t, d in known if d.arn not in gone])


def _too_late(worker: Worker, release: str, plan: Sequence[PlannedItem]) -> list[tuple[str, str]]:
    """Keep what the items run and go back to; the (name, ARN) of what is condemned already."""
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


def _stale(connections: Connections, request: Request, plan: list[PlannedItem]) -> list[str]:
    """What has changed since the plan that was approved, and is not forgiven; nothing when there was no plan.

    Where a stale plan is allowed, what is live may have changed and nothing else: the images, the digests behind their tags
    and the set of items stay the ones that the approver saw.
    """
    if request.plan is None or request.manifest is None:
        return []
    now = plan_document(plan, request.manifest.on_failure)
    if not compare(request.plan, now):
        return []
    _look_up_what_is_live_already(connections, request.plan, now)
    changed = compare(request.plan, now)
    beyond = [difference.text for difference in changed if not difference.drift]
    if request.allow_stale and not beyond:
        logger.warning("releasing a stale plan, as asked", extra={"changed": [d.text for d in changed]})
        return []
    if request.allow_stale:
        first, lines = (
            "ALLOW_STALE_PLAN forgives a change of what is live, and this is more than that:",
            beyond,
        )
    else:
        first, lines = "the plan is stale; what changed since it was made:", [d.text for d in changed]
    return [first, *lines, "run the pipeline again for a new plan."]


def _look_up_what_is_live_already(
    connections: Connections, approved: Mapping[str, Any], now: Mapping[str, Any]
) -> None:
    """Note the digests of approved images that somebody else deployed meanwhile; a plan asks only about what it changes."""
    told = {
        (item["target"], change["to"])
        for item in approved["items"]
        for change in item["images"].values()
        if change.get("digest")
    }
    live_already = [
        (item["target"], change)
        for item in now["items"]
        if item["action"] == "unchanged"
        for change in item["images"].values()
        if (item["target"], change["to"]) in told
    ]
    found = estate.read_digests({(target, change["to"]) for target, change in live_already}, connections)
    for target, change in live_already:
        if known := found[target, change["to"]]:
            change["digest"] = known


def in_utc(instant: str) -> str:
    """ISO 8601 with milliseconds and Z, however Step Functions wrote it, so that text sorts by time."""
    moment = datetime.fromisoformat(instant).astimezone(UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def first_state(record: ReleaseRecord) -> dict[str, Any]:
    """Where the machine begins: preparing, or looking at what is unchanged."""
    return {
        "next": "PREPARE" if record.prepare else "CHECK",
        "phase": "prepare",
        "wave": 0,
        "epoch": record.epoch,
        "seconds": 1,
        "prepare": record.prepare,
        "tasks": [],
        "services": [],
        "rollback": [],
    }


@dataclasses.dataclass(frozen=True)
class Request:
    """What an execution is asked to do.

    Attributes
    ----------
    manifest : what to release; None for a rollback by hand.
    to : release to go back to the end of; None: undo the newest one.
    source : commit, author and pipelineExecutionId, as far as known.
    manifest_sha256 : of the compiled manifest, when it came by reference.
    plan : the plan that was approved, when there was one (``plan --json`` form).
    allow_stale : release also when what is live has changed since that plan.
    """

    mode: str
    manifest: Manifest | None = None
    to: str | None = None
    manifest_sha256: str | None = None
    plan: Mapping[str, Any] | None = None
    allow_stale: bool = False
    source: dict[str, str] = dataclasses.field(default_factory=dict)


def read_request(document: Any, *, patience: float = _OBJECT_WAIT_SECONDS) -> Request:
    """Read an execution's input: a manifest by reference from the pipeline, itself by hand, or a rollback.

    Parameters
    ----------
    patience : seconds to look for an object that S3 does not have.

    Raises
    ------
    ManifestInvalidError
        with every problem in it.
    ObjectNotThereYetError
        when S3 still does not have an object; trying again later is right.
    """
    if not isinstance(document, Mapping):
        raise ManifestInvalidError(
            'the execution input is not a JSON object; write {"tasks": [...], "services": [...]}.'
        )
    if "manifest" not in document and "mode" not in document:
        return Request("deploy", _valid(from_document(document)))
    mode = document.get("mode", "deploy")
    if document.get("version") != _VERSION or mode not in ("deploy", "rollback"):
        raise ManifestInvalidError(
            f"the execution input has version {document.get('version')!r} and mode {mode!r}; "
            f'this release understands version {_VERSION} and the modes "deploy" and "rollback".'
        )
    named = document.get("source") or {}
    if not isinstance(named, Mapping):
        raise ManifestInvalidError('"source" is not an object; write {"commit", "author"}, or leave it out.')
    source = {str(key): str(value) for key, value in named.items() if value}
    if mode == "rollback":
        to = document.get("to")
        if to is not None and not isinstance(to, str):
            raise ManifestInvalidError(
                '"to" is not text; write the id of a release, or leave it out to undo the newest.'
            )
        return Request(mode, to=to, source=source)
    reference = _reference(document, "manifest")
    plan = _reference(document, "plan") if document.get("plan") else None
    until = time.monotonic() + patience
    return Request(
        mode,
        _valid(from_document(_download(reference, "manifest", until))),
        source=source,
        manifest_sha256=str(reference["sha256"]),
        plan=_approved_plan(plan, until) if plan is not None else None,
        allow_stale=document.get("allowStale") is True,
    )


def _approved_plan(reference: Mapping[str, str], until: float) -> Mapping[str, Any]:
    """The plan that was approved. Its digest is computed here: what a file says of itself proves nothing.

    Raises
    ------
    ManifestInvalidError
        for anything but what the Build stage writes.
    """
    plan = _download(reference, "plan", until)
    try:
        sound = plan["digest"] == digest(plan["items"], plan["onFailure"])
    except (AttributeError, KeyError, TypeError):
        sound = False
    if not sound:
        raise ManifestInvalidError(
            "the plan's digest is not the one of its items: it was changed, or made by another version of this module; "
            "run the pipeline again for a new plan."
        )
    result: Mapping[str, Any] = plan
    return result


def plan_release(
    store: Store,
    connections: Connections,
    manifest: Manifest,
    definitions: estate.Definitions | None = None,
) -> list[PlannedItem]:
    """The plan of a manifest against what is live. Reads only.

    Parameters
    ----------
    definitions : task definitions that are known already.
    """
    keys = [state_key(item) for item in manifest.items]
    live = estate.read(manifest.items, connections, definitions)
    return make_plan(manifest.items, live, store.unwhole(keys), store.holds(keys))


def releases_undone(store: Store, to: str | None, this: str | None = None) -> list[ReleaseRecord]:
    """The releases that going back by hand undoes, newest first; see :func:`releases_to_undo`."""
    return releases_to_undo(store.releases(limit=1000), to, store.items, this)


def plan_rollback(
    store: Store,
    connections: Connections,
    undone: Sequence[ReleaseRecord],
    definitions: estate.Definitions | None = None,
) -> list[PlannedItem]:
    """The plan of going back by hand. Reads only.

    Parameters
    ----------
    definitions : task definitions that are known already.

    Raises
    ------
    ReleaseRejectedError
        when there is nothing to go back to.
    """
    steps = steps_back(store.items(record.release) for record in undone)
    if not steps:
        raise ReleaseRejectedError("the releases to undo changed nothing that is not back already.")
    items = items_back(steps)
    definitions = definitions or estate.Definitions(connections)
    live = estate.read(items, connections, definitions)
    return plan_back(steps, items, live, estate.read_goals(steps, connections, definitions))


def _valid(validation: Validation) -> Manifest:
    if validation.manifest is None or validation.errors:
        raise ManifestInvalidError(
            _in_an_error([f"{p.code} {p.path}: {p.message}" for p in validation.errors])
        )
    return validation.manifest


def _in_an_error(problems: list[str]) -> str:
    """As many lines as an error may carry: a larger one ends the execution with an error that nothing can catch."""
    return "\n".join(fitting(problems, _ERROR_BYTES))


def _reference(document: Mapping[str, Any], what: str) -> Mapping[str, str]:
    reference = document.get(what)
    if not isinstance(reference, Mapping):
        raise ManifestInvalidError(
            f'"{what}" is not an object; write {{"bucket", "key", "versionId", "sha256"}}.'
        )
    return reference


def _download(reference: Mapping[str, str], what: str, until: float) -> Any:
    where = f"s3://{reference.get('bucket')}/{reference.get('key')}"
    try:
        wanted = {"Bucket": reference["bucket"], "Key": reference["key"]}
        if reference.get("versionId"):
            wanted["VersionId"] = reference["versionId"]
    except KeyError as error:
        raise ManifestInvalidError(f"the execution input's {what} has no {error}.") from error
    body = _read_object(wanted, f"the {what} {where}", until)
    if hashlib.sha256(body).hexdigest() != reference.get("sha256"):
        raise ManifestInvalidError(f"{where} is not what the build made: its SHA-256 differs.")
    return json.loads(body)


def _read_object(wanted: Mapping[str, str], what: str, until: float) -> bytes:
    s3 = own_client("s3")
    pause = 1.0
    while True:
        try:
            body: bytes = s3.get_object(**wanted)["Body"].read()
            return body
        except ClientError as error:
            if error_code(error) not in _OBJECT_MISSING:
                if trouble(error):
                    raise
                raise ManifestInvalidError(f"{what} can't be read: {explain(error)}.") from error
            left = until - time.monotonic()
            if left < pause:
                raise ObjectNotThereYetError(
                    f"{what} can't be read: {explain(error)}. For up to 15 minutes after the versioning of a bucket was first "
                    "switched on, that passes: release the change again. Later on, it is gone: push again."
                ) from error
            logger.info(
                "S3 does not have an object yet; looking again",
                extra={"object": what, "pause": pause, "seconds_left": int(left)},
            )
            time.sleep(pause)
            pause = min(10.0, pause * 2)


def take_lock(worker: Worker, record: ReleaseRecord) -> ReleaseRecord:
    """Open a release: take the lock, if need be from a holder that is known to have ended; the record as it is.

    Raises
    ------
    ReleaseLockedError
        naming the holder.
    LockLostError
        when the release is closed: it was stopped while it began.
    NotDueError
        when it is another execution's, or past its beginning.
    """
    store, release = worker.store, record.release
    until = time.monotonic() + min(_TAKEOVER_WAIT_SECONDS, worker.remaining() / 2)
    while True:
        opened = store.release(release)
        if opened is not None:
            if opened.execution != record.execution or opened.turn_before is not None:
                raise NotDueError(f"release {release} has begun, as {opened.execution}.")
            if opened.status != "RUNNING":
                raise LockLostError(f"release {release} is over ({opened.status}); nothing was touched.")
            return opened
        seen = store.lock()
        if seen.holder is not None:
            if not _ended(store, seen):
                raise ReleaseLockedError(
                    f"release {seen.holder} is running ({seen.execution}); one release at a time. "
                    "Wait for it, or stop it."
                )
            logger.info(
                "closing the record of a release that ended without closing it", extra={"holder": seen.holder}
            )
            close(store, seen.holder, "ABORTED", "its execution ended without closing the record")
            continue
        if seen.left_by is not None and store.workers(seen.left_by):
            if time.monotonic() > until:
                raise ReleaseLockedError(
                    f"release {seen.left_by} was stopped, and a worker of it may still be in the middle of a call; "
                    f"try again in {LONGEST_FUNCTION_SECONDS // 60} minutes at the latest."
                )
            time.sleep(1)
            continue
        if seen.left_by is not None and not seen.closed:
            close(store, seen.left_by, "ABORTED", "its execution ended without closing the record")
        try:
            record = store.open_release(record, seen)
        except RecordChangedError:
            continue
        # What the release before wrote last may not be read yet, and a before-image must not be older than that.
        last = time.time() if seen.left_by else float(seen.freed_at or 0)
        time.sleep(max(0.0, last + worker.settings.settle_seconds - time.time()))
        return record


def _ended(store: Store, lock: Lock) -> bool:
    """Whether the holder's execution is known to have ended."""
    return has_ended(store, str(lock.holder), str(lock.execution)) is not None
