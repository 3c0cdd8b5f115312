"""Report: close the record, give the lock back, and tell people what came of the release."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Mapping, Sequence
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from ecs_release.aws.clients import own_client
from ecs_release.aws.patience import be_patient_for
from ecs_release.aws.trouble import explain
from ecs_release.errors import NotDueError, PassingError, RecordChangedError, UnavailableError
from ecs_release.observability import MetricUnit, about_release, logger, metrics
from ecs_release.record.models import ItemRecord, ReleaseRecord
from ecs_release.record.statuses import WHOLE, ReleaseStatus
from ecs_release.record.store import Store
from ecs_release.report.notification import message, not_started, subject
from ecs_release.report.repair import repair_command, repair_items
from ecs_release.rollout.release import judge_release, not_back
from ecs_release.settings import Settings
from ecs_release.steps.closing import close, utc_now
from ecs_release.steps.due import ensure_report, ensure_running, has_ended, was_reported
from ecs_release.steps.not_started import NotStarted, why_not_started

_CAUSE_CHARACTERS = 32_000  # a Fail state's cause holds 32,768: https://docs.aws.amazon.com/step-functions/latest/apireference/API_FailStateExecution.html


# As long as one invocation may run (functions.tf). Lambda tries an event again after one minute and after two more.
_TELLING_SECONDS = 120

_NOT_NOTED = (RecordChangedError, ClientError, BotoCoreError, PassingError)


def report(
    settings: Settings, store: Store, release: str, execution: str, state: Mapping[str, Any]
) -> dict[str, Any]:
    """Close the release and say how it ended.

    Parameters
    ----------
    state : the machine's state; what Parse raised (``{"Error", "Cause"}``) when it got no further.

    Returns
    -------
    dict
        ``{"release", "status", "counts"}``, and ``error`` and ``cause`` when the release is not whole.

    Raises
    ------
    NotDueError
        when the release is not at its end, or the execution is not its own.
    """
    if "Error" in state:  # Parse got no further; who says so has no turn to show
        ensure_running(release, execution)
    try:
        record, items = _closed(store, release, execution, state)
    except (ClientError, BotoCoreError, UnavailableError) as error:
        if "Error" not in state:
            raise
        # Without a record there is no way back, so the release was refused before it touched anything.
        problems = [*_problems(state), f"the record can't be written: {explain(error)}"]
        record = ReleaseRecord(
            release, execution, 0, utc_now(), status=ReleaseStatus.REJECTED, problems=problems
        )
        items = []
    text = message(record, items, _commands(store, not_back(record, items), record.execution))
    _tell_of(settings, store, record, text)
    metrics.add_dimension(name="Status", value=record.status)
    metrics.add_metric(name="Releases", unit=MetricUnit.Count, value=1)
    metrics.add_metric(name="Throttles", unit=MetricUnit.Count, value=record.throttles)
    logger.info("release closed", extra={"status": record.status, "counts": record.counts})
    result: dict[str, Any] = {"release": release, "status": record.status, "counts": record.counts}
    if record.status not in WHOLE:
        result["error"] = f"EcsRelease.{record.status}"
        result["cause"] = text[:_CAUSE_CHARACTERS]
    return result


def _closed(
    store: Store, release: str, execution: str, state: Mapping[str, Any]
) -> tuple[ReleaseRecord, list[ItemRecord]]:
    refusal = state.get("Error")
    record = store.release(release)
    if record is not None:
        ensure_report(record, store.items(release), execution, state)
    elif not refusal:
        raise NotDueError(f"there is no release {release}; nothing was closed.")
    if record is None:
        record = ReleaseRecord(
            release=release, execution=execution, epoch=0, started=utc_now(), problems=_problems(state)
        )
        store.put_release(record)
    elif refusal and not record.problems and record.status == ReleaseStatus.RUNNING:
        store.update_release(release, {"problems": _problems(state)})
    if record.status != ReleaseStatus.RUNNING and store.lock().holder == release:
        close(store, release, record.status)  # an earlier attempt died after it had written the status
    elif record.status == ReleaseStatus.RUNNING:
        items = store.items(release)
        # Parse got no further, and ensure_report has seen that no item was begun.
        status = ReleaseStatus.REJECTED if refusal else judge_release(record, items)
        if error := state.get("error"):
            logger.error(
                "the machine stopped early", extra={"error": error.get("Error"), "cause": error.get("Cause")}
            )
            stopped = f"the release stopped early: {error.get('Error')}: {_problems(error)[0]}"
            store.update_release(release, {"problems": [stopped]})
        close(store, release, status)
    closed = store.release(release)
    assert closed is not None  # noqa: S101 - written above
    return closed, store.items(release)


def report_ended_execution(settings: Settings, store: Store, detail: Mapping[str, Any]) -> dict[str, Any]:
    """Close what an execution left open that was stopped, timed out, or failed before Report.

    Parameters
    ----------
    detail : of the event "Step Functions Execution Status Change"
        (https://docs.aws.amazon.com/step-functions/latest/dg/eventbridge-integration.html).

    Raises
    ------
    NotDueError
        when the execution is not the release's, or Step Functions does not say that it has ended. It may not say so yet;
        Lambda tries an event again a minute later. Also when another invocation is about to tell people of it.
    """
    release, execution = str(detail["name"]), str(detail["executionArn"])
    record = store.release(release)
    if execution.rpartition(":")[2] != release or (record is not None and record.execution != execution):
        raise NotDueError(f"release {release} is not {execution}; its record stays as it is.")
    over = record is not None and record.status != ReleaseStatus.RUNNING and store.lock().holder != release
    # A closed record is no sign that people know: Report may have died before it could tell.
    given = store.notice_was_given(release)
    if record is not None and over and given:
        return {"release": release, "status": record.status, "counts": {}}
    ended = has_ended(store, release, execution)
    if ended is None:
        raise NotDueError(f"{execution} is not known to have ended; its record stays as it is.")
    tells = _tells(store, release)
    # Without a first turn nothing was begun. What failed then is Parse, and Report after it because it could not write the record.
    refused = ended == "FAILED" and (record is None or record.turn is None)
    status, reason = (
        ReleaseStatus.REJECTED if refused else ReleaseStatus.ABORTED,
        f"its execution ended as {ended}",
    )
    if record is None:
        # Noted, so that a worker of it that is still on its way can't begin what nobody would close.
        now = utc_now()
        never = ReleaseRecord(release, execution, 0, now, status=status, ended=now)
        store.put_release(dataclasses.replace(never, problems=[f"{reason} before it began"]))
    elif not over:
        close(store, release, status, reason)
    closed = store.release(release)
    assert closed is not None  # noqa: S101 - written above
    if tells is None:
        raise NotDueError(f"another invocation tells of {release}; this one looks again whether it did.")
    if tells:
        # At that end of the machine Report has told, though it could not note it.
        reported = ended == "SUCCEEDED" or (ended == "FAILED" and was_reported(execution))
        silent = settings.topic_arn is None or (given is None and reported)
        if silent or _notify(settings, closed, _plain_message(store, closed)):
            store.notice_given(release)
    return {"release": release, "status": closed.status, "counts": closed.counts}


def _plain_message(store: Store, record: ReleaseRecord) -> str:
    """What Report would have said; one command stands for those that it may have died of."""
    items = store.items(record.release)
    left = not_back(record, items)
    return message(record, items, [repair_items(record.release, record.execution)] if left else [])


def _tell_of(settings: Settings, store: Store, record: ReleaseRecord, text: str) -> None:
    """Tell how a release ended, unless an earlier attempt has, and note it: else the event that its execution failed tells.

    Step Functions makes one attempt after another, and no event comes of a release that is whole. So where an earlier attempt set
    out to tell and did not say that it has, this one tells: twice is better than never. So it does where nothing can be noted.
    """
    known = False
    try:
        known = not store.begin_notice(record.release, time.time() + _TELLING_SECONDS)
    except _NOT_NOTED as error:
        logger.warning("tells without a note that it does", extra={"reason": explain(error)})
    if known or not (settings.topic_arn is None or _notify(settings, record, text)):
        return
    try:
        store.notice_given(record.release)
    except _NOT_NOTED as error:
        logger.warning("nobody knows that people were told", extra={"reason": explain(error)})


def _tells(store: Store, about: str) -> bool | None:
    """Whether this invocation is to tell; None while another one is at it."""
    try:
        return store.begin_notice(about, time.time() + _TELLING_SECONDS)
    except RecordChangedError:
        return None


def report_failed_deploy(settings: Settings, store: Store, event: Mapping[str, Any]) -> dict[str, Any]:
    """Tell of a Deploy action that failed before a release began, once.

    Parameters
    ----------
    event : "CodePipeline Action Execution State Change"
        (https://docs.aws.amazon.com/codepipeline/latest/userguide/detect-state-changes-cloudwatch-events.html).

    Raises
    ------
    NotDueError
        when CodePipeline does not show that failure, or not yet, or another invocation is about to tell.
    """
    execution = str(event["detail"]["execution-id"])
    failed = why_not_started(store, settings.name, execution)
    told = failed is not None and _tell_once(settings, store, execution, failed)
    logger.info("a Deploy action failed", extra={"told": told, "reason": failed and failed.reason})
    return {"pipelineExecution": execution, "told": told}


def _tell_once(settings: Settings, store: Store, execution: str, failed: NotStarted) -> bool:
    """Whether it was told now. A topic that was not reached is tried again if the event comes again."""
    tells = _tells(store, failed.action)
    if tells is None:
        raise NotDueError(
            f"another invocation tells of {failed.action}; this one looks again whether it did."
        )
    if not tells:
        return False
    region = own_client("codepipeline").meta.region_name
    told = _publish(settings, *not_started(settings.name, region, execution, failed.reason))
    if told:
        store.notice_given(failed.action)
    return told


def _problems(state: Mapping[str, Any]) -> list[str]:
    """What Parse raised where it could not write it down: Lambda puts the message of an exception into the cause as JSON."""
    cause = str(state.get("Cause", ""))
    try:
        text = str(json.loads(cause)["errorMessage"])
    except (ValueError, KeyError, TypeError):
        text = cause or str(state.get("Error", "Parse failed"))
    return [line for line in text.splitlines() if line] or [str(state.get("Error"))]


def _commands(store: Store, items: Sequence[ItemRecord], execution: str) -> list[str]:
    """One command for each item that should be back and is not."""
    if not items:
        return []
    targets = store.targets()
    regions = {name: target.region for name, target in targets.items()}
    return [repair_command(item, regions.get(item.target), execution) for item in items]


def _notify(settings: Settings, record: ReleaseRecord, text: str) -> bool:
    status = {"status": {"DataType": "String", "StringValue": str(record.status)}}
    return _publish(settings, subject(settings.name, record), text, MessageAttributes=status)


def _publish(settings: Settings, subject: str, text: str, **more: Any) -> bool:
    """Whether the topic has the message."""
    if settings.topic_arn is None:
        return False
    try:
        own_client("sns").publish(TopicArn=settings.topic_arn, Subject=subject, Message=text, **more)
    except (ClientError, BotoCoreError, PassingError) as error:
        # The release ended as it ended; a topic that can't be reached does not change that.
        logger.error("notification failed", extra={"reason": explain(error)})
        metrics.add_metric(name="NotificationsFailed", unit=MetricUnit.Count, value=1)
        return False
    return True


@metrics.log_metrics
@logger.inject_lambda_context(log_event=False, clear_state=True)
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """``{"release", "execution", "state"}`` from the machine, or an event: an execution ended, or a Deploy action failed."""
    be_patient_for(lambda: context.get_remaining_time_in_millis() / 1000)
    settings = Settings.from_environment()
    store = Store(own_client("dynamodb"), settings.table)
    if event.get("source") == "aws.states":
        detail = event["detail"]
        about_release(str(detail["name"]))
        return report_ended_execution(settings, store, detail)
    if event.get("source") == "aws.codepipeline":
        about_release(str(event["detail"]["execution-id"]))
        return report_failed_deploy(settings, store, event)
    release = str(event["release"])
    about_release(release)
    return report(settings, store, release, str(event["execution"]), event["state"])
