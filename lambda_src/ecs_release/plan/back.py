"""Going back by hand: which items an earlier state means, from the record alone; Git is not asked.

Every release recorded, before it wrote, what each item was. So the state at the end of a release is, for every item
that a later release touched, what the *first* of the later ones recorded as its before-image.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial

from ecs_release.aws.task_definitions import TaskDefinition, content_digest
from ecs_release.errors import ReleaseRejectedError
from ecs_release.manifest import Item
from ecs_release.plan.decide import UNREADABLE, PlannedItem, about_start, understood
from ecs_release.plan.findings import Finding
from ecs_release.plan.live import Live, is_gone
from ecs_release.plan.way_back import LEFT_AS_IT_IS, NO_REVISION, NOT_NOW, UNREACHABLE, Found, back_findings
from ecs_release.record.models import ItemRecord, ReleaseRecord
from ecs_release.record.statuses import ReleaseStatus, Status


@dataclass(frozen=True)
class Step:
    """One item to put back.

    Attributes
    ----------
    item : the record that holds the state to go back to (``before``).
    ours : ARNs that releases set since; whatever else is live was set by somebody else.
    """

    item: ItemRecord
    ours: frozenset[str]


def releases_to_undo(
    newest_first: Iterable[ReleaseRecord],
    to: str | None,
    items_of: Callable[[str], Sequence[ItemRecord]],
    this: str | None = None,
) -> list[ReleaseRecord]:
    """The releases whose work is to be undone, newest first.

    Parameters
    ----------
    newest_first : every release; taken as far back as is needed, so that no rollback gets slower with the years.
    to : go back to the end of this release; None: to the state before the newest release that changed something, or
        where a rollback by hand came after it, to where that one went: so it can be run again until all is back.
    items_of : reads the items of a release.
    this : the rollback's own release id, which is none of them.

    Raises
    ------
    ReleaseRejectedError
        when there is nothing to undo, or no such release.
    """
    others = (
        record
        for record in newest_first
        if record.release != this and record.status != ReleaseStatus.REJECTED
    )
    later: list[ReleaseRecord] = []
    for record in others:
        if record.release == to and not later:
            raise ReleaseRejectedError(f"release {to} is the newest one; there is nothing to undo after it.")
        if record.release == to:
            return later
        later.append(record)
        if to is None and record.undid is not None:
            return _up_to(later, others, record.undid)
        if to is None and record.mode == "deploy" and _left_something(record, items_of):
            return later
    if to is None:
        raise ReleaseRejectedError("no release is on record whose changes could be undone.")
    raise ReleaseRejectedError(f"release {to} is not on record; ecs-release history lists them.")


def _up_to(
    later: Sequence[ReleaseRecord], earlier: Iterable[ReleaseRecord], release: str
) -> list[ReleaseRecord]:
    found = list(later)
    for record in earlier:
        found.append(record)
        if record.release == release:
            return found
    raise ReleaseRejectedError(
        f"the rollback before this one undid release {release}, which is not on record any more; "
        "name with --to the release to go back to."
    )


def _left_something(record: ReleaseRecord, items_of: Callable[[str], Sequence[ItemRecord]]) -> bool:
    """Whether a release may have left something behind: it wrote an item, and has not put it back."""
    if record.status in (ReleaseStatus.NO_CHANGE, ReleaseStatus.ROLLED_BACK, ReleaseStatus.RUNNING):
        return False
    return any(_was_written(item) and item.status != Status.ROLLED_BACK for item in items_of(record.release))


def _was_written(item: ItemRecord) -> bool:
    return item.started_at is not None and item.action == "update"


def steps_back(items_newest_first: Iterable[Sequence[ItemRecord]]) -> list[Step]:
    """What to put back, from the items of the releases to undo, newest release first."""
    oldest: dict[tuple[str, str, str], ItemRecord] = {}
    ours: dict[tuple[str, str, str], set[str]] = {}
    for items in items_newest_first:
        for item in items:
            if not _was_written(item):
                continue
            known = ours.setdefault(item.state_key, set())
            known.update(filter(None, (item.after, item.before, item.live, item.rollback_to)))
            oldest[item.state_key] = item
    return [
        Step(item, frozenset(ours[key]))
        for key, item in oldest.items()
        if not _is_back_already(item, ours[key])
    ]


def _is_back_already(item: ItemRecord, ours: set[str]) -> bool:
    # One release alone touched it, and that one has put it back.
    return item.status == Status.ROLLED_BACK and ours <= {
        item.after,
        item.before,
        item.live,
        item.rollback_to,
    }


def plan_back(
    steps: Sequence[Step],
    items: Sequence[Item],
    live: Sequence[Live],
    goals: Sequence[TaskDefinition | Finding],
    found: Sequence[Found] | None = None,
) -> list[PlannedItem]:
    """The plan of going back by hand: every item straight to a revision that exists.

    Where a tag does not mean any more what ran, it goes to a copy of that revision that names the digest. What somebody else
    set since is left alone: such an item is planned as SUPERSEDED, and the others go on. So they do where an item is gone, or
    what it would go back to, and where either can't be looked at: who rolls back by hand has an outage, and one account that
    refuses must not keep all the others from going back. No item is planned as blocked. See also :func:`why_not_begun`.

    Parameters
    ----------
    items : what :func:`items_back` made of the steps.
    live : what is live; what is gone was looked for twice.
    goals : the task definition to go back to, or why it can't be read.
    found : what was found out about each goal.
    """
    return [
        _left_if_blocked(understood(one[0], partial(_decide_back, *one)), one[1])
        for one in zip(items, steps, live, goals, found or [Found()] * len(steps), strict=True)
    ]


def why_not_begun(plan: Sequence[PlannedItem]) -> list[str]:
    """Why a rollback by hand is refused: it can look at none of its items, and would put back nothing."""
    if not all(any(finding.code == NOT_NOW for finding in planned.findings) for planned in plan):
        return []
    return [f"{planned.item.name} ({planned.item.path}): {planned.lost}" for planned in plan]


def items_back(steps: Sequence[Step]) -> list[Item]:
    """The items of a way back, the newest wave first."""
    last_wave = max(step.item.wave for step in steps)
    return [_item_of(step.item, last_wave) for step in steps]


def _item_of(record: ItemRecord, last_wave: int) -> Item:
    return replace(
        record.item,
        images={container: change["from"] for container, change in record.images.items()},
        exact=False,
        wave=last_wave - record.wave,
        path=f"release {record.release}",
    )


def _decide_back(
    item: Item, step: Step, live: Live, goal: TaskDefinition | Finding, found: Found
) -> PlannedItem:
    if is_gone(live):
        (finding,) = live.findings
        was = step.item.after or step.item.before
        return _lost(item, was, finding.fact, "Create it again and release it, if it is still wanted")
    if live.findings or live.definition is None:
        return PlannedItem(item, "blocked", {}, findings=live.findings or (UNREADABLE,))
    now = live.definition
    if isinstance(goal, Finding):
        if goal.code != NO_REVISION:
            return PlannedItem(item, "blocked", {}, live=now.arn, findings=(goal,))
        why = f"{goal.values['before']} {goal.values['why']}"
        return _lost(item, now.arn, why, "Release what it shall run instead")
    pins = found.pins
    changes = {
        name: {"from": now.images.get(name, ""), "to": pins.get(name, image)}
        for name, image in goal.images.items()
        if pins or name in item.images or now.images.get(name) != image
    }
    primary = live.service.primary if live.service else None
    foreign = now.arn not in step.ours
    by_digest = [content_digest(goal.arn, images) for images in (pins, {**goal.images, **pins})]
    done = now.content in by_digest if pins else now.arn == goal.arn
    if live.selection is not None:
        done = done and now.startable and not live.selection.half_done
    findings = () if done else tuple(back_findings(goal.arn, found, set(changes)))
    lost = next((finding.message for finding in findings if finding.code in UNREACHABLE), None)
    if live.starter is not None and not foreign:
        findings = (*findings, *live.starter.findings(changes=False))
    return PlannedItem(
        item,
        "unchanged" if done else "update",
        changes,
        base=goal.arn if pins and not done else "",
        before=now.arn,
        live=now.arn,
        before_raw=json.dumps(list(live.selection.targets), separators=(",", ":"))
        if live.selection
        else None,
        after=now.arn if done else None if pins else goal.arn,
        superseded=f"{now.arn} was set by somebody else since; it is left alone" if foreign else None,
        lost=lost,
        findings=findings,
        previous_deployment=str(primary["id"]) if primary else None,
        **about_start(live),
    )


def _lost(item: Item, live: str, why: str, todo: str) -> PlannedItem:
    """An item that stays as it is, because it is gone or what it would go back to is."""
    return _left(item, Finding(LEFT_AS_IT_IS, {"why": why, "todo": todo}), live, live)


def _left_if_blocked(planned: PlannedItem, step: Step) -> PlannedItem:
    """What can't be looked at, as an item that stays as it is and names what it would go back to."""
    if planned.action != "blocked":
        return planned
    before = step.item.before
    why = "; ".join(f"{finding.fact} ({finding.code})" for finding in planned.findings)
    back = "" if before in why else f"; it would go back to {before}"
    finding = Finding(NOT_NOW, {"why": why, "back": back})
    return _left(planned.item, finding, before, planned.live or step.item.after or before)


def _left(item: Item, finding: Finding, before: str, live: str) -> PlannedItem:
    images = {container: {"from": "", "to": image} for container, image in item.images.items()}
    return PlannedItem(
        item, "update", images, before=before, live=live, lost=finding.message, findings=(finding,)
    )
