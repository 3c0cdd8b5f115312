"""What is due of a release, by its record and by Step Functions.

Who may invoke a function can send it any payload. So a function does what is due and nothing else: Parse for an execution
that Step Functions knows, a worker for the batches of the state the machine is in, CheckRollouts and Report for the turn
that was recorded last. A turn is a decision of Parse or CheckRollouts; its random name travels in the machine's state alone,
so whoever names it is the machine.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal

from botocore.exceptions import ClientError

from ecs_release.aws.clients import own_client
from ecs_release.aws.trouble import error_code
from ecs_release.errors import LockLostError, NotDueError, RecordChangedError
from ecs_release.record.machine import Next, State
from ecs_release.record.models import ItemRecord, ReleaseRecord
from ecs_release.record.statuses import ReleaseStatus, Status
from ecs_release.record.store import Store

if TYPE_CHECKING:
    from mypy_boto3_stepfunctions.type_defs import DescribeExecutionOutputTypeDef

# The step -> the machine's next state that runs it, and the batches of that state.
_WORKERS: Mapping[str, tuple[Next, Literal["prepare", "tasks", "services", "rollback"]]] = {
    "prepare": (Next.PREPARE, "prepare"),
    "update_task": (Next.UPDATE_TASKS, "tasks"),
    "update_service": (Next.UPDATE_SERVICES, "services"),
    "rollback": (Next.ROLLBACK, "rollback"),
}

# Step Functions and the function see the same instant; its digits may differ.
_SAME_START = timedelta(seconds=5)


def ensure_execution(release: str, execution: str, started: str, document: Any) -> None:
    """Refuse a release that is not an execution of the state machine, begun then and with this input.

    The function's role may describe executions of its own state machine alone.

    Raises
    ------
    NotDueError
        when it is another one, or none.
    ClientError
        also when Step Functions does not know it *yet*: DescribeExecution is eventually consistent
        (https://docs.aws.amazon.com/step-functions/latest/apireference/API_DescribeExecution.html), and the machine asks again.
    """
    try:
        begun = datetime.fromisoformat(started)
    except ValueError:
        raise NotDueError(f"the release began at {started!r}, which is no date and time.") from None
    if begun.tzinfo is None:
        raise NotDueError(f"the release began at {started!r}, which names no time zone.")
    answer = _describe(release, execution)
    if abs(answer["startDate"] - begun) > _SAME_START:
        raise NotDueError(f"{execution} did not begin at {started}.")
    if json.loads(answer.get("input", "null")) != document:
        raise NotDueError(f"{execution} was started with another input than this one.")


def ensure_running(release: str, execution: str) -> None:
    """Refuse to speak for an execution that has ended, or for another one than the release's.

    Raises
    ------
    NotDueError
        when that is asked.
    ClientError
        also when Step Functions does not know the execution yet.
    """
    if _is_over(_describe(release, execution)):
        raise NotDueError(f"{execution} has ended; it reports nothing any more.")


def has_ended(store: Store, release: str, execution: str) -> str | None:
    """The status with which an execution is known to have ended, or None.

    DescribeExecution is eventually consistent, so an execution that has just begun may not be known yet
    (https://docs.aws.amazon.com/step-functions/latest/apireference/API_DescribeExecution.html); Step Functions forgets one
    90 days after it ended. Only what began long ago has ended when it is not known.
    """
    try:
        answer = own_client("stepfunctions").describe_execution(executionArn=execution)
    except ClientError as error:
        record = store.release(release)
        if error_code(error) != "ExecutionDoesNotExist" or record is None:
            return None
        age = datetime.now(UTC) - datetime.fromisoformat(record.started)
        return "FORGOTTEN" if age > timedelta(days=1) else None
    return str(answer["status"]) if _is_over(answer) else None


def was_reported(execution: str) -> bool:
    """Whether an execution failed with what Report said: Report has told people then, though it may have written nothing.

    So it is, too, where Report was of a version that did not note what it told.
    """
    answer = own_client("stepfunctions").describe_execution(executionArn=execution)
    return answer.get("error") in {f"EcsRelease.{status}" for status in ReleaseStatus}


def _describe(release: str, execution: str) -> DescribeExecutionOutputTypeDef:
    if not re.fullmatch(rf"arn:[^:]+:states:[^:]*:\d{{12}}:execution:[^:]+:{re.escape(release)}", execution):
        raise NotDueError(f"{execution!r} is not the ARN of an execution with the name {release!r}.")
    return own_client("stepfunctions").describe_execution(executionArn=execution)


def _is_over(answer: DescribeExecutionOutputTypeDef) -> bool:
    return answer["status"] not in ("RUNNING", "PENDING_REDRIVE")


def next_turn(
    store: Store,
    release: str,
    turn: str | None,
    state: State,
    *,
    cut_by: str | None = None,
    **changes: Any,
) -> State:
    """Record a decision, unless somebody decided this turn already: the machine's next state as recorded.

    Parameters
    ----------
    turn : the turn that is over with it; None for the first one.
    cut_by : of the first turn, the worker whose items count with it.
    changes : attributes of the release to set with it.

    Raises
    ------
    LockLostError
        when the release was closed.
    RecordChangedError
        when another worker writes the items of the release.
    """
    decided: State = {**state, "turn": secrets.token_hex(8)}
    try:
        store.take_turn(release, turn, decided["turn"], {**changes, "due": decided}, cut_by=cut_by)
    except RecordChangedError:
        record = store.release(release)
        if record is None or record.status != ReleaseStatus.RUNNING or record.turn_before != turn:
            raise LockLostError(
                f"release {release} was closed or went on while this worker decided."
            ) from None
        if record.turn is None:
            raise
        return record.due
    return decided


def decided_before(record: ReleaseRecord, turn: Any) -> State | None:
    """What was decided of this turn when its answer did not reach the machine; None when it is still to be decided.

    Raises
    ------
    NotDueError
        when it is neither this turn nor the one before.
    """
    if turn is not None and turn == record.turn:
        return None
    if turn is not None and turn == record.turn_before:
        return record.due
    raise NotDueError(f"release {record.release} is not at the turn {turn!r}; nothing was judged.")


def ensure_batch(
    record: ReleaseRecord | None, release: str, *, epoch: int, step: str, batch: int, phase: str | None
) -> None:
    """Refuse to write a batch that is not the machine's present business.

    Raises
    ------
    LockLostError
        when the release was closed.
    NotDueError
        when the batch is not due.
    """
    if record is None:
        raise NotDueError(f"there is no release {release}; nothing was written.")
    if record.status != ReleaseStatus.RUNNING:
        raise LockLostError(f"release {release} is closed ({record.status}); nothing is left to write.")
    step_now, batches = _WORKERS[step]
    due = record.due
    asked = f"batch {batch}" + (f" of phase {phase}" if phase else "")
    if (
        epoch != record.epoch
        or due.get("next") != step_now
        or batch not in _flat(due.get(batches, ()))
        or (phase is not None and phase != due.get("phase"))
    ):
        raise NotDueError(
            f"{step} of {asked} is not due: release {release} is at {due.get('next', 'its beginning')}, "
            f"phase {due.get('phase', 'parse')}; nothing was written."
        )


def ensure_report(
    record: ReleaseRecord, items: Sequence[ItemRecord], execution: str, state: Mapping[str, Any]
) -> None:
    """Refuse to close a release before its end.

    Raises
    ------
    NotDueError
        when Report is not due.
    """
    if execution != record.execution:
        raise NotDueError(f"release {record.release} is {record.execution}, not {execution}.")
    where = f"release {record.release} is {record.status}, phase {record.due.get('phase', 'parse')}"
    if "Error" in state:  # Parse got no further, so nothing has begun
        begun = record.turn_before is not None or any(has_begun(item) for item in items)
        if begun or record.status not in (
            ReleaseStatus.RUNNING,
            ReleaseStatus.REJECTED,
            ReleaseStatus.ABORTED,
        ):
            raise NotDueError(f"{where}: it got further than Parse, and is not refused any more.")
        return
    turn = state.get("turn")
    stopped_early = "error" in state  # CheckRollouts could not decide, or its answer was lost
    decided = record.turn is not None and turn == record.turn
    lost = stopped_early and record.turn_before is not None and turn == record.turn_before
    over = record.due.get("next") == Next.REPORT or stopped_early or record.status != ReleaseStatus.RUNNING
    if not (over and (decided or lost)):
        raise NotDueError(f"{where}: it is not at its end, and stays open.")


def has_begun(item: ItemRecord) -> bool:
    """Whether a step after Parse may have done something for an item."""
    return (
        item.verdict != Status.PENDING
        or item.started_at is not None
        or item.claim_by is not None
        or item.rollback_started_at is not None
    )


def _flat(batches: Iterable[Any]) -> list[int]:
    return [number for entry in batches for number in (entry if isinstance(entry, list) else [entry])]
