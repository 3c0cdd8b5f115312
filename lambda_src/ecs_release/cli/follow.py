"""Following a release on a terminal: a table redrawn in place, or one line for each change where nobody watches."""

from __future__ import annotations

import shutil
import time
from collections import Counter
from collections.abc import Sequence

from ecs_release.cli.console import Console, unbroken
from ecs_release.cli.orchestrator import Orchestrator
from ecs_release.errors import EcsReleaseError
from ecs_release.plan.back import why_not_begun
from ecs_release.plan.decide import PlannedItem
from ecs_release.plan.document import NO_WAY, NOT_KNOWN, SURE, way_back
from ecs_release.record.models import ItemRecord, ReleaseRecord, UnusedRevision
from ecs_release.record.statuses import BAD, GOOD, ReleaseStatus, Status
from ecs_release.report.notification import in_target, title
from ecs_release.report.status import as_document, image_change, in_reading_order, summary_line
from ecs_release.rollout.unused import CleanUp

_POLL_SECONDS = 1.0

# The record of an execution that was stopped from outside is closed a moment after its end.
_CLOSING_SECONDS = 15.0
_BAD_NOW = frozenset({*BAD, Status.ROLLBACK_FAILED})


def follow(orchestrator: Orchestrator, release: str, execution: str, console: Console) -> bool:
    """Show a release until its execution ends; whether it ended whole.

    Ctrl-C ends the watching, not the release.
    """
    store = orchestrator.store()
    live = console.out.isatty() and not console.json_wanted
    drawn = 0
    seen: dict[tuple[str, str, str], str] = {}
    patience = _CLOSING_SECONDS
    console.say(f"release {release} started; Ctrl-C stops watching, not the release.")
    while True:
        answer = orchestrator.execution(execution)
        record = store.release(release)
        items = store.items(release) if record else []
        unused = store.unused() if record and record.unused else []
        if record and live:
            drawn = _redraw(table(record, items, console, unused, clip=True), drawn, console)
        elif record:
            for item in items:
                if seen.get(item.state_key) != item.status:
                    seen[item.state_key] = item.status
                    if item.status != Status.PENDING:
                        line = f"{item.status:<18} {_where(item)}  {item.reason}"
                        console.say(unbroken(line).rstrip())
        if answer["status"] != "RUNNING":
            if record is None or record.status != ReleaseStatus.RUNNING or patience <= 0:
                break
            patience -= _POLL_SECONDS
        time.sleep(_POLL_SECONDS)
    if record is None:
        raise EcsReleaseError(f"the release left no record: {answer.get('error')}: {answer.get('cause')}")
    if not live:
        console.say("\n".join(table(record, items, console, unused)))
    console.result(as_document(record, items, unused))
    return bool(answer["status"] == "SUCCEEDED")


def table(
    record: ReleaseRecord,
    items: Sequence[ItemRecord],
    console: Console,
    unused: Sequence[UnusedRevision] = (),
    *,
    clip: bool = False,
) -> list[str]:
    """The lines that show a release: headline, problems, how far the clean-up is, one line an item with its reason."""
    style = (
        "red"
        if record.status not in (ReleaseStatus.RUNNING, ReleaseStatus.SUCCEEDED, ReleaseStatus.NO_CHANGE)
        else "bold"
    )
    when = f"{record.started} .. {record.ended}" if record.ended else f"since {record.started}"
    lines = [f"{title(record)}  {console.styled(record.status, style)}  {when}"]
    lines += [f"  {problem}" for problem in record.problems]
    lines.append(f"  {summary_line(record, items)}")
    if clean_up := CleanUp.after(record, unused):
        lines.append(f"  {clean_up}")
    name_width = max((len(_where(item)) for item in items), default=0)
    many_waves = len({item.wave for item in items}) > 1
    for item in in_reading_order(items):
        now = _coloured(item.status, console)
        was = f" (was {item.verdict})" if item.verdict != item.status else ""
        wave = f"wave {item.wave}  " if many_waves else ""
        lines.append(
            f"  {wave}{_where(item):<{name_width}}  {now}{was}  {image_change(item.images)}".rstrip()
        )
        if item.reason:
            lines.append(f"      {item.reason}")
    lines = [unbroken(line) for line in lines]
    if clip:
        # A redrawn table must fit the window: what has scrolled out can't be overwritten.
        rows = shutil.get_terminal_size().lines - 2
        if len(lines) > rows:
            lines = [
                *lines[: rows - 1],
                f"  ... {len(lines) - rows + 1} more lines; ecs-release status shows all",
            ]
    return lines


def _where(item: ItemRecord) -> str:
    """The item's name, with what tells it from another one of that name."""
    return item.state_key[2] + in_target(item)


def lines_of_way_back(plan: Sequence[PlannedItem]) -> list[str]:
    """One line an item: what a rollback by hand would do."""
    lines = []
    for planned in plan:
        alone = planned.superseded or planned.lost
        if alone:
            lines.append(f"  {planned.item.key[2]}  left alone: {alone}")
            continue
        if planned.action == "unchanged":
            lines.append(f"  {planned.item.key[2]}  is on {planned.live} already")
        else:
            goal = planned.after or f"a copy of {planned.base}"
            lines.append(f"  {planned.item.key[2]}  {planned.live} -> {goal}  {image_change(planned.images)}")
        lines += [f"      {warning}" for warning in planned.warnings]
    ways = Counter(NO_WAY if planned.lost else way_back(planned) for planned in plan if _goes_back(planned))
    lines.append(f"{ways[SURE]} for sure, {ways[NOT_KNOWN]} not known, {ways[NO_WAY]} not at all")
    if why_not_begun(plan):
        lines.append("None of it can be looked at, so the rollback would be refused.")
    return [unbroken(line) for line in lines]


def _goes_back(planned: PlannedItem) -> bool:
    return planned.action == "update" and not planned.superseded


def history_table(records: Sequence[ReleaseRecord], console: Console) -> list[str]:
    """One line a release."""
    width = max(len(record.release) for record in records)
    lines = []
    for record in records:
        style = (
            "green"
            if record.status in (ReleaseStatus.SUCCEEDED, ReleaseStatus.NO_CHANGE)
            else "yellow"
            if record.status == ReleaseStatus.RUNNING
            else "red"
        )
        status = console.styled(f"{record.status:<19}", style)
        commit = record.source.get("commit", "")[:10]
        lines.append(
            f"{record.started}  {record.release:<{width}}  {status} {record.label or '-':<10} {commit:<10} "
            f"{summary_line(record, ())}".rstrip()
        )
    return [unbroken(line) for line in lines]


def _coloured(status: str, console: Console) -> str:
    padded = f"{status:<18}"
    if status in _BAD_NOW:
        return console.styled(padded, "red")
    if status in (Status.UNVERIFIED, Status.ROLLED_BACK):
        return console.styled(padded, "yellow")
    return console.styled(padded, "green") if status in GOOD else padded


def _redraw(lines: list[str], drawn: int, console: Console) -> int:
    width = shutil.get_terminal_size().columns
    up = f"\x1b[{drawn}A" if drawn else ""
    # Clipping by characters could cut a colour's end off, so colour is reset at the end of each line.
    body = "".join(
        f"\x1b[2K{line[: width + 9] if chr(27) in line else line[:width]}\x1b[0m\n"
        for line in map(console.shown, lines)
    )
    erase = "\x1b[J"
    console.out.write(up + body + erase)
    console.out.flush()
    return len(lines)
