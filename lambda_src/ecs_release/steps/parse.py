"""Parse: check the manifest against its rules and against what is live, take the lock, record, cut waves and batches."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from botocore.exceptions import ClientError

from ecs_release import estate
from ecs_release.approval import check_approval
from ecs_release.aws import Connections, error_code, explain, own_client
from ecs_release.errors import (
    LockLostError,
    ManifestInvalidError,
    PassingError,
    RecordChangedError,
    ReleaseLockedError,
    ReleaseRejectedError,
)
from ecs_release.manifest import Manifest, Validation, from_document
from ecs_release.observability import logger
from ecs_release.plan import PlannedItem, cut, items_back, make_plan, plan_back
from ecs_release.plan_document import differences, plan_document
from ecs_release.steps.report import close
from ecs_release.steps.work import Worker
from ecs_release.store import Lock, ReleaseRecord, Store, fitting, state_key
from ecs_release.undo import releases_to_undo, steps_back

LONGEST_FUNCTION_SECONDS = 900
"""A stopped execution leaves its workers running for at most this long (Lambda's own limit)."""

_TAKEOVER_WAIT_SECONDS = 120
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
    LockLostError
        the release was closed while it began.
    PassingError
        AWS did not let everything be read; another attempt goes on from there.
    """
    request = read_request(document)
    epoch = take_lock(worker, release, execution)
    record = worker.store.release(release)
    if record is not None and record.waves:
        _give_up_if_over(worker.store, release, execution, epoch)
        logger.info("an earlier attempt has cut this release already")
        return first_state(record)
    record = ReleaseRecord(
        release=release,
        execution=execution,
        epoch=epoch,
        started=in_utc(started),
        mode=request.mode,
        label=request.manifest.release if request.manifest else None,
        on_failure=request.manifest.on_failure if request.manifest else "continue",
        source=request.source,
        throttles=record.throttles if record else 0,
    )
    try:
        worker.store.put_release(record)
    except RecordChangedError:
        worker.store.release_lock(release)
        raise LockLostError(f"release {release} was closed while this worker began.") from None
    _give_up_if_over(worker.store, release, execution, epoch)
    definitions = estate.Definitions(worker.connections, worker.store.definitions(release))
    try:
        if request.manifest is not None:
            _check_approval(worker, request)
            plan = plan_release(worker.store, worker.connections, request.manifest, definitions)
            problems = _stale(request, plan)
        else:
            undone = releases_undone(worker.store, request.to, release)
            worker.store.update_release(release, {"undid": undone[-1].release})
            plan = plan_rollback(worker.store, worker.connections, undone, definitions)
            problems = []
    except PassingError:
        worker.store.keep_definitions(release, definitions.news())
        raise
    finally:
        worker.store.add_throttles(release, worker.connections.throttles.take())
    problems += [f"{p.item.name} ({p.item.path}): {problem}" for p in plan for problem in p.problems]
    if problems:
        worker.store.forget_definitions(release)
        worker.store.update_release(release, {"problems": problems})
        raise ReleaseRejectedError(_in_an_error(problems))
    batches = cut(plan, release, epoch)
    worker.store.put_items(release, batches.records)
    changes: dict[str, Any] = {
        "waves": batches.waves,
        "prepare": batches.prepare,
        "warnings": [f"{p.item.name}: {warning}" for p in plan for warning in p.warnings],
    }
    worker.store.update_release(release, changes)
    worker.store.forget_definitions(release)
    return first_state(dataclasses.replace(record, **changes))


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


def _stale(request: Request, plan: list[PlannedItem]) -> list[str]:
    """What has changed since the plan that was approved; nothing when there was none, or staleness is allowed."""
    if request.plan is None or request.manifest is None:
        return []
    changed = differences(request.plan, plan_document(plan, request.manifest.on_failure))
    if not changed:
        return []
    if request.allow_stale:
        logger.warning("releasing a stale plan, as asked", extra={"changed": changed})
        return []
    return [
        "the plan is stale; what changed since it was made:",
        *changed,
        "run the pipeline again for a new plan.",
    ]


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


def read_request(document: Any) -> Request:
    """Read an execution's input: a manifest by reference from the pipeline, itself by hand, or a rollback.

    Raises
    ------
    ManifestInvalidError
        with every problem in it.
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
    source = {key: str(value) for key, value in (document.get("source") or {}).items() if value}
    if mode == "rollback":
        to = document.get("to")
        if to is not None and not isinstance(to, str):
            raise ManifestInvalidError(
                '"to" is not text; write the id of a release, or leave it out to undo the newest.'
            )
        return Request(mode, to=to, source=source)
    reference = document.get("manifest")
    if not isinstance(reference, Mapping):
        raise ManifestInvalidError(
            '"manifest" is not an object; write {"bucket", "key", "versionId", "sha256"}.'
        )
    plan = document.get("plan")
    return Request(
        mode,
        _valid(from_document(_download(reference, "manifest"))),
        source=source,
        manifest_sha256=str(reference["sha256"]),
        plan=_download(plan, "plan") if plan else None,
        allow_stale=document.get("allowStale") is True,
    )


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


def _download(reference: Mapping[str, str], what: str) -> Any:
    where = f"s3://{reference.get('bucket')}/{reference.get('key')}"
    try:
        version = {"VersionId": reference["versionId"]} if reference.get("versionId") else {}
        answer = own_client("s3").get_object(Bucket=reference["bucket"], Key=reference["key"], **version)
        body: bytes = answer["Body"].read()
    except KeyError as error:
        raise ManifestInvalidError(f"the execution input's {what} has no {error}.") from error
    except ClientError as error:
        raise ManifestInvalidError(f"the {what} {where} can't be read: {explain(error)}.") from error
    if hashlib.sha256(body).hexdigest() != reference.get("sha256"):
        raise ManifestInvalidError(f"{where} is not what the build made: its SHA-256 differs.")
    return json.loads(body)


def take_lock(worker: Worker, release: str, execution: str) -> int:
    """Take the lock, if need be from a holder that is known to have ended; the epoch.

    Raises
    ------
    ReleaseLockedError
        naming the holder.
    """
    until = time.monotonic() + min(_TAKEOVER_WAIT_SECONDS, worker.remaining() / 2)
    while True:
        seen = worker.store.lock()
        if seen.holder not in (None, release):
            if not _ended(worker.store, seen):
                raise ReleaseLockedError(
                    f"release {seen.holder} is running ({seen.execution}); one release at a time. "
                    "Wait for it, or stop it."
                )
            logger.info(
                "closing the record of a release that ended without closing it", extra={"holder": seen.holder}
            )
            close(worker.store, str(seen.holder), "ABORTED", "its execution ended without closing the record")
            continue
        if seen.left_by is not None and worker.store.workers(seen.left_by):
            if time.monotonic() > until:
                raise ReleaseLockedError(
                    f"release {seen.left_by} was stopped, and a worker of it may still be in the middle of a call; "
                    f"try again in {LONGEST_FUNCTION_SECONDS // 60} minutes at the latest."
                )
            time.sleep(1)
            continue
        try:
            if seen.left_by is not None and not seen.closed:
                close(worker.store, seen.left_by, "ABORTED", "its execution ended without closing the record")
            return worker.store.acquire(release, execution, seen)
        except RecordChangedError:
            continue


def _give_up_if_over(store: Store, release: str, execution: str, epoch: int) -> None:
    """Close what this worker has just opened, when its own execution has ended meanwhile.

    Whoever closes the record of a stopped execution may have looked before there was one, and stopping an execution stops
    no worker: without this look, the record would stay open and the lock taken until the next release.

    Raises
    ------
    LockLostError
        when the execution has ended.
    """
    if not _ended(store, Lock(release, execution, epoch)):
        return
    record = store.release(release)
    if record is None or record.status == "RUNNING":
        close(store, release, "ABORTED", "its execution was stopped while it began")
    else:
        store.release_lock(release)
    raise LockLostError(f"the execution of release {release} has ended; nothing was touched.")


def _ended(store: Store, lock: Lock) -> bool:
    """Whether the holder's execution is known to have ended.

    DescribeExecution is eventually consistent, so an execution that has just begun may not be known yet
    (https://docs.aws.amazon.com/step-functions/latest/apireference/API_DescribeExecution.html); Step Functions forgets one
    90 days after it ended. Only what began long ago has ended when it is not known.
    """
    try:
        status = own_client("stepfunctions").describe_execution(executionArn=lock.execution)["status"]
    except ClientError as error:
        record = store.release(str(lock.holder))
        if error_code(error) != "ExecutionDoesNotExist" or record is None:
            return False
        age = datetime.now(UTC) - datetime.fromisoformat(record.started)
        return age > timedelta(days=1)
    return bool(status not in ("RUNNING", "PENDING_REDRIVE"))
