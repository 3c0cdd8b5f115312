"""CleanUp: deregister what releases registered and nothing uses. No state of the machine: the release is over by then.

It holds neither the lock nor a verdict. ECS lets an account register or deregister one task definition a second, so it goes
at that pace and gives way to every release that begins; what is left, the end of that release takes up. Which revision may
go, the table decides (docs/adr/0008).
"""

from __future__ import annotations

import time
from functools import cache
from typing import Any

from botocore.exceptions import ClientError

from ecs_release.aws.ecs_targets import reference_of
from ecs_release.aws.scheduled_tasks import read_targets
from ecs_release.aws.services import Services
from ecs_release.aws.task_definitions import TaskDefinitions, parse_reference
from ecs_release.aws.trouble import PASSING, error_code, explain
from ecs_release.errors import (
    CleanUpUnfinishedError,
    ItemError,
    UnfinishedError,
)
from ecs_release.observability import about_release, logger
from ecs_release.record.models import ItemRecord, UnusedRevision
from ecs_release.record.statuses import ReleaseStatus
from ecs_release.rollout.unused import is_named
from ecs_release.steps.worker import Worker

_PACE_SECONDS = 1.0
"""Deregistering once a second leaves the burst of twenty to the next release
(https://docs.aws.amazon.com/AmazonECS/latest/APIReference/request-throttling.html)."""

_STOPPED_SECONDS = 60
"""Who stops a release mostly starts the next one at once, and that one wants what was registered."""

_SPARE_SECONDS = 60
_CLOSING_SECONDS = 150
# A retried read or write that is still on its way is older than no function: nobody asks for such a row any more.
_FORGET_SECONDS = 24 * 3600


def clean_up(worker: Worker, release: str) -> dict[str, Any]:
    """Go through everything that is unused, whichever release left it.

    Parameters
    ----------
    release : the one whose execution has just ended; its record may be closed a moment later.

    Returns
    -------
    dict
        ``{"deregistered": n, "left": n}``.

    Raises
    ------
    CleanUpUnfinishedError
        when AWS refused one: Lambda tries again, and after that the end of the next release.
    """
    _wait_until_closed(worker, release)
    stopped = cache(lambda release: _was_stopped(worker, release))
    items_of = cache(worker.store.items)
    done, troubles = 0, []
    for revision in worker.store.unused():
        if not revision.left:
            if time.time() - revision.since <= _FORGET_SECONDS:
                continue
            # What was taken and not named, the next release gives back (Parse).
            if revision.state != "taken" or is_named(revision, items_of(revision.release)):
                worker.store.forget_unused(revision)
            continue
        if revision.target not in worker.connections.targets:
            logger.warning("no such target any more", extra={"revision": revision.arn})
            worker.store.forget_unused(revision)
            continue
        if stopped(revision.release) and revision.since > time.time() - _STOPPED_SECONDS:
            continue
        if (
            revision.state == "unused"
        ):  # a read that lags behind what the release wrote last would show it in use
            time.sleep(max(0.0, revision.since + 1 + worker.settings.settle_seconds - time.time()))
        if worker.remaining() < _SPARE_SECONDS or worker.store.lock().holder is not None:
            break
        begun = time.monotonic()
        try:
            if not _deregister(worker, revision, items_of(revision.release)):
                continue
            done += 1
        except PASSING as error:
            reason = explain(error)
            logger.warning("not deregistered", extra={"revision": revision.arn, "reason": reason})
            worker.store.note_trouble(revision, reason)
            troubles.append(reason)
            if isinstance(error, UnfinishedError):
                break
        time.sleep(max(0.0, begun + _PACE_SECONDS - time.monotonic()))
    left = sum(revision.left for revision in worker.store.unused())
    logger.info("cleaned up", extra={"deregistered": done, "left": left})
    if troubles:
        raise CleanUpUnfinishedError(f"{len(troubles)} revisions could not be deregistered: {troubles[0]}")
    return {"deregistered": done, "left": left}


def _wait_until_closed(worker: Worker, release: str) -> None:
    """Until the record of a release is closed and its unused revisions are noted; of a stopped one a while longer.

    Of a stopped execution Report and this function hear at the same time.
    """
    until = time.monotonic() + _CLOSING_SECONDS
    while True:
        record = worker.store.release(release)
        if record is None or (
            record.status != ReleaseStatus.RUNNING and worker.store.lock().holder != release
        ):
            break
        if time.monotonic() > until:
            return
        time.sleep(5)
    if record is not None and record.unused and _was_stopped(worker, release):
        time.sleep(_STOPPED_SECONDS + 1)


def _was_stopped(worker: Worker, release: str) -> bool:
    record = worker.store.release(release)
    return record is not None and record.status == ReleaseStatus.ABORTED


def _deregister(worker: Worker, revision: UnusedRevision, items: list[ItemRecord]) -> bool:
    """Deregister one revision, unless somebody uses it by now; whether it was done."""
    target, arn = revision.target, revision.arn
    if revision.state == "unused":
        users = [item.name for item in items if _runs(worker, item, target, arn)]
        if users:
            logger.info("kept", extra={"revision": arn, "users": users})
            worker.store.keep(target, arn, revision.release)
            return False
        if not worker.store.condemn(target, arn):
            return False
    TaskDefinitions(worker.connections, target).deregister(arn)
    worker.store.note_deregistered(target, arn)
    return True


def _runs(worker: Worker, item: ItemRecord, target: str, arn: str) -> bool:
    """Whether an item of a revision's family runs it: somebody may have deployed it by hand since."""
    alike = item.live != "" and parse_reference(item.live)[0] == parse_reference(arn)[0]
    if item.target != target or not (alike or arn in (item.after, item.rollback_to)):
        return False
    if item.is_service:
        service = item.service
        try:
            state = Services(worker.connections, target).one(service.cluster, service.service)
        except ClientError as error:
            if error_code(error) == "ClusterNotFoundException":
                return False
            raise
        return state is not None and state.status != "INACTIVE" and arn in state.runs
    try:
        return arn in map(reference_of, read_targets(item.task, worker.connections))
    except ItemError:  # the rule or schedule is gone
        return False


@logger.inject_lambda_context(log_event=False, clear_state=True)
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """EventBridge's event of an execution that ended in, ``{"deregistered", "left"}`` out."""
    release = str(event["detail"]["name"])
    about_release(release)
    return clean_up(Worker.create("clean_up", context), release)
