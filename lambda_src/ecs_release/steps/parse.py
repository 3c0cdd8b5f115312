"""Parse: check the manifest against its rules and against what is live, take the lock, record, cut waves and batches."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import time
from collections.abc import Mapping
from typing import Any

from botocore.exceptions import ClientError

from ecs_release import estate
from ecs_release.aws import error_code, explain, own_client
from ecs_release.errors import (
    ManifestInvalidError,
    RecordChangedError,
    ReleaseLockedError,
    ReleaseRejectedError,
)
from ecs_release.manifest import Manifest, Validation, from_document
from ecs_release.observability import logger
from ecs_release.plan import cut, make_plan
from ecs_release.steps.report import close
from ecs_release.steps.work import Worker
from ecs_release.store import Lock, ReleaseRecord, state_key

LONGEST_FUNCTION_SECONDS = 900
"""A stopped execution leaves its workers running for at most this long (Lambda's own limit)."""

_TAKEOVER_WAIT_SECONDS = 120
_VERSION = 1


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
    """
    manifest, source = read_manifest(document)
    epoch = take_lock(worker, release, execution)
    record = worker.store.release(release)
    if record is not None and record.waves:
        logger.info("an earlier attempt has cut this release already")
        return first_state(record)
    record = ReleaseRecord(
        release=release,
        execution=execution,
        epoch=epoch,
        started=started,
        label=manifest.release,
        on_failure=manifest.on_failure,
        source=source,
    )
    worker.store.put_release(record)

    keys = [state_key(item) for item in manifest.items]
    plan = make_plan(
        manifest.items, estate.read(manifest.items, worker.connections), worker.store.unwhole(keys)
    )
    problems = [f"{p.item.name} ({p.item.path}): {problem}" for p in plan for problem in p.problems]
    if problems:
        worker.store.update_release(release, {"problems": problems})
        raise ReleaseRejectedError("\n".join(problems))
    batches = cut(plan, release, epoch)
    worker.store.put_items(batches.records)
    changes: dict[str, Any] = {
        "waves": batches.waves,
        "prepare": batches.prepare,
        "warnings": [f"{p.item.name}: {warning}" for p in plan for warning in p.warnings],
    }
    worker.store.update_release(release, changes)
    worker.store.add_throttles(release, worker.connections.throttles.count)
    return first_state(dataclasses.replace(record, **changes))


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


def read_manifest(document: Any) -> tuple[Manifest, dict[str, str]]:
    """The manifest of an execution input: by reference from the pipeline, or itself by hand.

    Raises
    ------
    ManifestInvalidError
        with every problem in it.
    """
    if not isinstance(document, Mapping):
        raise ManifestInvalidError(
            'the execution input is not a JSON object; write {"tasks": [...], "services": [...]}.'
        )
    if "manifest" not in document:
        return _valid(from_document(document)), {}
    if document.get("version") != _VERSION or document.get("mode", "deploy") != "deploy":
        raise ManifestInvalidError(
            f"the execution input has version {document.get('version')!r} and mode {document.get('mode')!r}; "
            f'this release understands version {_VERSION} and mode "deploy".'
        )
    source = {key: str(value) for key, value in (document.get("source") or {}).items() if value}
    return _valid(from_document(_download(document["manifest"]))), source


def _valid(validation: Validation) -> Manifest:
    if validation.manifest is None or validation.errors:
        raise ManifestInvalidError("\n".join(f"{p.code} {p.path}: {p.message}" for p in validation.errors))
    return validation.manifest


def _download(reference: Mapping[str, str]) -> Any:
    where = f"s3://{reference.get('bucket')}/{reference.get('key')}"
    try:
        version = {"VersionId": reference["versionId"]} if reference.get("versionId") else {}
        answer = own_client("s3").get_object(Bucket=reference["bucket"], Key=reference["key"], **version)
        body: bytes = answer["Body"].read()
    except KeyError as error:
        raise ManifestInvalidError(f"the execution input's manifest has no {error}.") from error
    except ClientError as error:
        raise ManifestInvalidError(f"the manifest {where} can't be read: {explain(error)}.") from error
    if hashlib.sha256(body).hexdigest() != reference.get("sha256"):
        raise ManifestInvalidError(f"{where} is not what the build compiled: its SHA-256 differs.")
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
            if not _ended(seen):
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
            if seen.left_by is not None:
                close(worker.store, seen.left_by, "ABORTED", "its execution ended without closing the record")
            return worker.store.acquire(release, execution, seen)
        except RecordChangedError:
            continue


def _ended(lock: Lock) -> bool:
    """Whether the holder's execution is known to have ended."""
    try:
        status = own_client("stepfunctions").describe_execution(executionArn=lock.execution)["status"]
    except ClientError as error:
        # Step Functions forgets an execution 90 days after it ended.
        return error_code(error) == "ExecutionDoesNotExist"
    return bool(status not in ("RUNNING", "PENDING_REDRIVE"))
