"""What a person reads when a release has ended: subject and text, culprits first."""

from __future__ import annotations

from collections.abc import Sequence

from ecs_release.record.models import ItemRecord, ReleaseRecord
from ecs_release.record.statuses import BAD, OPEN, ReleaseStatus, Status

# Of a rollback that is not complete: back, never written, or reported as a failure.
_NOT_WORTH_A_LINE = frozenset(
    {Status.UNCHANGED, Status.PREPARED, Status.ROLLED_BACK, Status.ROLLBACK_FAILED, Status.SUPERSEDED}
)

_SUBJECT_CHARACTERS = 100  # https://docs.aws.amazon.com/sns/latest/api/API_Publish.html
_MOST_LINES = 60
_TEXT_CHARACTERS = 200_000  # SNS takes 256 KiB


def title(record: ReleaseRecord) -> str:
    """``release 4.0 (<id>)``, or the id alone."""
    return f"release {record.label} ({record.release})" if record.label else f"release {record.release}"


def subject(name: str, record: ReleaseRecord) -> str:
    """One line of printable ASCII, as SNS demands."""
    text = f"[{name}] {record.status}: {title(record)}"
    return "".join(c if " " <= c <= "~" else "?" for c in text)[:_SUBJECT_CHARACTERS]


def not_started(pipeline: str, region: str, execution: str, reason: str) -> tuple[str, str]:
    """Subject and text of a Deploy action that failed before a release began."""
    look = (
        f"aws codepipeline list-action-executions --region {region} --pipeline-name {pipeline} "
        f"--filter pipelineExecutionId={execution}"
    )
    first = "Nothing was released: the pipeline's Deploy action failed before a release began."
    return (
        f"[{pipeline}] NOT STARTED: Deploy of pipeline execution {execution}"[:_SUBJECT_CHARACTERS],
        f"[{pipeline}] {first}\n{reason}\nTo see all of it: {look}"[:_TEXT_CHARACTERS],
    )


def message(record: ReleaseRecord, items: Sequence[ItemRecord], commands: Sequence[str] = ()) -> str:
    """Status, problems or culprits with their reasons, what could not be verified, how to finish by hand, counts."""
    lines = [f"{title(record)}: {record.status}"]
    if record.source.get("commit"):
        author = f" by {record.source['author']}" if record.source.get("author") else ""
        lines.append(f"commit {record.source['commit']}{author}")
    if record.problems:
        lines += ["", *_some(record.problems)]
    failing = [item for item in items if item.verdict in BAD or item.status == Status.ROLLBACK_FAILED]
    if failing:
        lines += ["", "Failed:", *_some([_line(item) for item in failing])]
    unverified = [item for item in items if item.status == Status.UNVERIFIED]
    if unverified:
        lines += ["", "Not verified:", *_some([_line(item) for item in unverified])]
    if commands:
        lines += ["", "To finish by hand:", *(f"  {command}" for command in commands)]
    left = items if record.status in (ReleaseStatus.FAILED, ReleaseStatus.ABORTED) else []
    if record.status == ReleaseStatus.ROLLBACK_INCOMPLETE:
        left = [item for item in items if item.status not in _NOT_WORTH_A_LINE]
    if left:
        lines += ["", "Left as it is:", *_some([_left(item) for item in left])]
    if record.throttles:
        lines += ["", f"AWS throttled {record.throttles} calls; all of them were tried again."]
    if record.counts:
        lines += ["", ", ".join(f"{count} {status}" for status, count in sorted(record.counts.items()))]
    return "\n".join(lines)[:_TEXT_CHARACTERS]


def _left(item: ItemRecord) -> str:
    why = f": {item.reason}" if item.verdict in OPEN and item.reason else ""
    return f"  {item.name}{in_target(item)}: {item.status}, on {_now_on(item)}{why}"


def in_target(item: ItemRecord) -> str:
    """`` [target]`` where it is not the module's own account and Region."""
    return f" [{item.target}]" if item.target != "default" else ""


def _now_on(item: ItemRecord) -> str:
    if item.rollback_to:
        return item.rollback_to
    if item.is_service and item.started_at is not None and item.deployment_id is None:
        return f"{item.live} or {item.after}: its worker ended in the middle of the write"
    return str(item.after) if item.started_at is not None and item.after else item.live


def _line(item: ItemRecord) -> str:
    where = in_target(item)
    now = f" (now {item.status})" if item.status != item.verdict else ""
    return (
        f"  {item.name}{where}: {item.verdict}{now}: {item.reason}"
        if item.reason
        else f"  {item.name}{where}: {item.verdict}{now}"
    )


def _some(lines: Sequence[str]) -> list[str]:
    if len(lines) <= _MOST_LINES:
        return list(lines)
    return [*lines[:_MOST_LINES], f"  ... and {len(lines) - _MOST_LINES} more; see ecs-release status"]
