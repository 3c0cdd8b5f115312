"""What an execution is asked to do: a manifest by reference or by hand, or a rollback."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from ecs_release.aws.clients import own_client
from ecs_release.aws.trouble import error_code, explain, trouble
from ecs_release.errors import (
    ManifestInvalidError,
    ObjectNotThereYetError,
)
from ecs_release.manifest import Manifest, Validation, from_document
from ecs_release.manifest.problem import shown
from ecs_release.observability import logger
from ecs_release.plan.document import digest

if TYPE_CHECKING:
    from mypy_boto3_s3.type_defs import GetObjectRequestTypeDef

# For up to 15 minutes after a bucket's versioning was first switched on, S3 may answer 404 for new objects
# (https://docs.aws.amazon.com/AmazonS3/latest/userguide/manage-versioning-examples.html). Parse looks for this long and fails;
# with the retries of the state machine that is 15 minutes. The lock is not taken yet, so nobody else waits.
OBJECT_WAIT_SECONDS = 150
_OBJECT_MISSING = frozenset({"NoSuchKey", "NoSuchVersion"})
_VERSION = 1
# An execution that another one starts is told its id under this name
# (https://docs.aws.amazon.com/step-functions/latest/dg/concepts-nested-workflows.html).
_STARTED_BY = "AWS_STEP_FUNCTIONS_STARTED_BY_EXECUTION_ID"
_MOST_NAMED = 10
_KEYS: Mapping[str, tuple[str, ...]] = {
    "deploy": ("version", "mode", "manifest", "plan", "allowStale", "source"),
    "rollback": ("version", "mode", "to", "source"),
}
"""What an input has, in each mode; older builds and commands wrote some of these and no other."""


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


def read_request(document: Any, *, patience: float = OBJECT_WAIT_SECONDS) -> Request:
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
    _refuse_unknown(document, mode)
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
        if to is not None and not to.strip():  # what an unset variable leaves is no wish to undo the newest
            raise ManifestInvalidError(
                '"to" is empty; write the id of a release, or leave it out to undo the newest.'
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


def _refuse_unknown(document: Mapping[str, Any], mode: str) -> None:
    """Refuse a key that nobody reads: a release to go back to that is written under another name would go unheard.

    Raises
    ------
    ManifestInvalidError
        when there is one.
    """
    known = _KEYS[mode]
    unknown = [shown(str(key)) for key in document if key not in (*known, _STARTED_BY)]
    if unknown:
        has = ", ".join(f'"{key}"' for key in known)
        raise ManifestInvalidError(
            f'the execution input has {", ".join(unknown[:_MOST_NAMED])}, which mode "{mode}" does not know; it knows {has}.'
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


def _valid(validation: Validation) -> Manifest:
    if validation.manifest is None or validation.errors:
        raise ManifestInvalidError(*(f"{p.code} {p.path}: {p.message}" for p in validation.errors))
    return validation.manifest


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
        wanted: GetObjectRequestTypeDef = {"Bucket": reference["bucket"], "Key": reference["key"]}
        if reference.get("versionId"):
            wanted["VersionId"] = reference["versionId"]
    except KeyError as error:
        raise ManifestInvalidError(f"the execution input's {what} has no {error}.") from error
    body = _read_object(wanted, f"the {what} {where}", until)
    if hashlib.sha256(body).hexdigest() != reference.get("sha256"):
        raise ManifestInvalidError(f"{where} is not what the build made: its SHA-256 differs.")
    return json.loads(body)


def _read_object(wanted: GetObjectRequestTypeDef, what: str, until: float) -> bytes:
    s3 = own_client("s3")
    pause = 1.0
    while True:
        try:
            return s3.get_object(**wanted)["Body"].read()
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
