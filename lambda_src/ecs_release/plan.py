"""The plan: what a release would change, what blocks it, in which waves and batches. Data in, data out."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from itertools import groupby
from typing import Any

from ecs_release.estate import Live
from ecs_release.manifest import Item
from ecs_release.manifest.images import origin_warning
from ecs_release.registry import ImageFinding, not_asked
from ecs_release.rollout import Status
from ecs_release.store import ItemRecord, state_key
from ecs_release.task_definition import (
    TaskDefinition,
    choose_containers,
    content_digest,
    parse_reference,
    tag_problem,
)
from ecs_release.undo import Step

BATCH_SIZE = 25
"""Items one worker writes: small enough to end well within a function's time, large enough to keep the machine's history short."""

NO_CIRCUIT_BREAKER = "no circuit breaker: a rollout that can't succeed is only noticed at its deadline."
NO_WAY_BACK = "no way back: ECS remembers no completed deployment, so back means what is live now."
MOVABLE_TAG = "its tag can be moved: the repository lets tags be overwritten."

ItemKey = tuple[str, str, str]


@dataclass(frozen=True)
class PlannedItem:
    """One item, decided.

    Attributes
    ----------
    action : "update", "unchanged" or "blocked".
    images : container -> {"from", "to"}; all named containers, changed or not.
    before : ARN that "back" means.
    live : ARN that is live.
    before_raw : JSON of the rule targets or the schedule as they are.
    after : the revision to go to, where it exists already: in a rollback by hand.
    superseded : why the item must be left alone, in a rollback by hand.
    """

    item: Item
    action: str
    images: Mapping[str, dict[str, str]]
    base: str = ""
    before: str = ""
    live: str = ""
    before_raw: str | None = None
    pinned: bool = True
    inherited: bool = False
    memory_void: bool = False
    previous_deployment: str | None = None
    after: str | None = None
    superseded: str | None = None
    warnings: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()


def make_plan(
    items: Sequence[Item],
    live: Sequence[Live],
    unwhole: Mapping[ItemKey, Mapping[str, Any]] | None = None,
    holds: Mapping[ItemKey, Mapping[str, Any]] | None = None,
) -> list[PlannedItem]:
    """Decide every item.

    Parameters
    ----------
    live : what was found for each item, in the same order.
    unwhole : before-images left by releases that did not end whole, by (target, kind, name).
    holds : images that a rollback by hand undid, ``{"images", "release"}``, by (target, kind, name).
    """
    held = holds or {}
    left = unwhole or {}
    plan = [
        _decide(item, found, left.get(state_key(item)), held.get(state_key(item)))
        for item, found in zip(items, live, strict=True)
    ]
    return [_without_early_deployment(planned, plan) for planned in plan]


def _without_early_deployment(planned: PlannedItem, plan: Sequence[PlannedItem]) -> PlannedItem:
    """Block an item whose family has no revision named where another item of the release registers one before its turn.

    Registering is deploying there, and revisions are registered in Prepare.
    """
    if planned.pinned or planned.action == "blocked":
        return planned
    family = parse_reference(planned.live)[0]
    for other in plan:
        if other is planned or other.action != "update" or other.item.target != planned.item.target:
            continue
        same = not other.pinned and (other.item.wave, other.images) == (planned.item.wave, planned.images)
        if parse_reference(other.live)[0] == family and not same:
            alone = ", or release it by itself first, which does that" if planned.action == "update" else ""
            problem = (
                f"it names the family {family} without a revision, and {other.item.name} of this release registers one "
                f"in it, which would deploy it before its turn; let it name {planned.live}{alone}."
            )
            return replace(planned, action="blocked", problems=(*planned.problems, problem))
    return planned


def _decide(
    item: Item, live: Live, left: Mapping[str, Any] | None, hold: Mapping[str, Any] | None
) -> PlannedItem:
    if live.problems or live.definition is None:
        wanted = {container: {"from": "", "to": image} for container, image in item.images.items()}
        return PlannedItem(item, "blocked", wanted, problems=live.problems or ("it can't be read.",))
    definition = live.definition
    warnings: list[str] = []
    if live.selection is not None:
        images = dict(live.selection.images or {})
        warnings += live.selection.warnings
    else:
        choice = choose_containers(definition, item.images, exact=item.exact)
        if choice.problems:
            wanted = {container: {"from": "", "to": image} for container, image in item.images.items()}
            return PlannedItem(item, "blocked", wanted, problems=choice.problems)
        images = dict(choice.images)
        warnings += choice.warnings
    changes = {name: {"from": definition.images[name], "to": image} for name, image in images.items()}
    changed = any(change["from"] != change["to"] for change in changes.values())
    if changed:
        warnings += filter(None, [origin_warning(c["from"], c["to"]) for c in changes.values()])
        warnings += [
            f"downgrade: {c['from'].rpartition(':')[2]} -> {c['to'].rpartition(':')[2]}."
            for c in changes.values()
            if _is_downgrade(c["from"], c["to"])
        ]
        problems, doubts = _prepared_checks(live, definition, changes)
        if hold and all(hold["images"].get(name) == change["to"] for name, change in changes.items()):
            problems.append(
                f"{hold['release']} undid {', '.join(images.values())} here by hand, and the manifest would put it "
                f"back; name another image, or lift the hold with: ecs-release unhold {shlex.quote(state_key(item)[2])}"
            )
        warnings += doubts
        if problems:
            return PlannedItem(item, "blocked", changes, warnings=tuple(warnings), problems=tuple(problems))

    before, before_raw, previous = definition.arn, None, None
    if live.service is not None:
        primary = live.service.primary
        previous = str(primary["id"]) if primary else None
        before = live.completed or definition.arn
        warnings += _service_warnings(live, before)
    elif live.selection is not None:
        before_raw = json.dumps(list(live.selection.targets), separators=(",", ":"))
    inherited = left is not None and _is_ours(left, before, definition)
    memory_void = left is not None and not inherited
    if left is not None and memory_void:
        warnings.append(
            f"release {left['release']} did not end whole, and somebody else deployed since; back means {before}."
        )
    elif left is not None and not changed and not _is_ours(left, definition.arn, definition):
        inherited = False  # somebody else's, not completed: nothing of ours is left to be put back
    elif left is not None:
        before = str(left["before"])
        warnings.append(f"release {left['release']} did not end whole; back means {before}.")
    return PlannedItem(
        item,
        "update" if changed else "unchanged",
        changes,
        base=definition.arn,
        before=before,
        live=definition.arn,
        before_raw=before_raw,
        pinned=live.selection is None or live.selection.pinned,
        inherited=inherited,
        memory_void=memory_void,
        previous_deployment=previous,
        warnings=tuple(warnings),
    )


def _is_ours(left: Mapping[str, Any], arn: str, definition: TaskDefinition) -> bool:
    """Whether what runs was set by the releases that left an item not whole, or is what they found there.

    Anything else was deployed by somebody else since. That is the state to go back to then, and never overwritten with an
    older one.
    """
    ours = left.get("ours")
    if ours is None:  # remembered by a version that did not note it
        return True
    return arn in (*ours, left["before"]) or (arn == definition.arn and definition.content in ours)


def _prepared_checks(
    live: Live, definition: TaskDefinition, changes: Mapping[str, dict[str, str]]
) -> tuple[list[str], list[str]]:
    """Problems and warnings of what would be registered: tags, images, roles. Notes digests in ``changes``."""
    problems = [problem] if (problem := tag_problem(definition)) else []
    warnings: list[str] = []
    architecture = definition.body.get("runtimePlatform", {}).get("cpuArchitecture", "X86_64")
    for change in changes.values():
        if change["from"] == change["to"]:
            continue
        finding = live.registry.get(change["to"]) or ImageFinding(warning=not_asked(change["to"]))
        if finding.digest:
            change["digest"] = finding.digest
        if finding.movable:
            warnings.append(MOVABLE_TAG)
        problems += filter(None, [finding.problem, finding.architecture_problem(change["to"], architecture)])
        warnings += filter(None, [finding.warning])
    roles = [definition.body.get("taskRoleArn"), definition.body.get("executionRoleArn")]
    if live.selection is not None:
        roles += [target.get("Target", target).get("RoleArn") for target in live.selection.targets]
    for role in dict.fromkeys(filter(None, roles)):
        if live.passable is None or not role.startswith("arn:"):  # a bare name does not say its path
            continue
        if not any(fnmatchcase(role, pattern) for pattern in live.passable):
            problems.append(f"the deployment role may not pass {role} on; add it to passable_role_arns.")
    return problems, warnings


def _is_downgrade(old: str, new: str) -> bool:
    """Whether both tags are versions of numbers and the new one is lower."""
    versions = [re.fullmatch(r"[^:@]*:v?(\d+(?:\.\d+)*)", image.rpartition("/")[2]) for image in (old, new)]
    if not all(versions):
        return False
    before, after = ([int(part) for part in v.group(1).split(".")] for v in versions if v)
    return after < before


def _service_warnings(live: Live, before: str) -> list[str]:
    assert live.service is not None  # noqa: S101 - for the type checker
    warnings = []
    if not live.service.has_circuit_breaker and live.service.strategy == "ROLLING":
        warnings.append(NO_CIRCUIT_BREAKER)
    if live.completed is None:
        warnings.append(NO_WAY_BACK)
    elif before != live.service.task_definition:
        warnings.append(
            f"what is live ({live.service.task_definition}) never completed; back means {before}."
        )
    if live.service.desired_count == 0:
        warnings.append("desired count is 0, so its rollout can't be proven.")
    return warnings


def plan_back(
    steps: Sequence[Step], items: Sequence[Item], live: Sequence[Live], goals: Sequence[TaskDefinition | str]
) -> list[PlannedItem]:
    """The plan of going back by hand: every item straight to a revision that exists.

    What somebody else set since is left alone: such an item is planned as SUPERSEDED, and the others go on.

    Parameters
    ----------
    items : what :func:`items_back` made of the steps.
    goals : the task definition to go back to, or in words why it can't be read.
    """
    return [
        _decide_back(item, step, found, goal)
        for item, step, found, goal in zip(items, steps, live, goals, strict=True)
    ]


def items_back(steps: Sequence[Step]) -> list[Item]:
    """The items of a way back, the newest wave first."""
    last_wave = max(step.item.wave for step in steps)
    return [_item_of(step.item, last_wave) for step in steps]


def _item_of(record: ItemRecord, last_wave: int) -> Item:
    return Item(
        kind=record.kind,
        images={container: change["from"] for container, change in record.images.items()},
        exact=False,
        target=record.target,
        wave=last_wave - record.wave,
        timeout_minutes=record.timeout_minutes,
        cluster=record.cluster,
        service=record.service,
        rule=record.rule,
        event_bus=record.event_bus,
        target_id=record.target_id,
        schedule=record.schedule,
        schedule_group=record.schedule_group,
        path=f"release {record.release}",
    )


def _decide_back(item: Item, step: Step, live: Live, goal: TaskDefinition | str) -> PlannedItem:
    if live.problems or live.definition is None:
        return PlannedItem(item, "blocked", {}, problems=live.problems or ("it can't be read.",))
    if isinstance(goal, str):
        return PlannedItem(item, "blocked", {}, problems=(goal,))
    now = live.definition
    changes = {
        name: {"from": now.images.get(name, ""), "to": image}
        for name, image in goal.images.items()
        if name in item.images or now.images.get(name) != image
    }
    primary = live.service.primary if live.service else None
    foreign = now.arn not in step.ours
    return PlannedItem(
        item,
        "unchanged" if now.arn == goal.arn else "update",
        changes,
        before=now.arn,
        live=now.arn,
        before_raw=json.dumps(list(live.selection.targets), separators=(",", ":"))
        if live.selection
        else None,
        after=goal.arn,
        superseded=f"{now.arn} was set by somebody else since; it is left alone" if foreign else None,
        previous_deployment=str(primary["id"]) if primary else None,
    )


@dataclass(frozen=True)
class Batches:
    """Items cut into batches, and batches into waves.

    Attributes
    ----------
    records : every item, in batch order.
    waves : ``[{"wave", "batches": [first, last], "tasks": [...], "services": [...]}]`` with the numbers of the
        batches that have something to write.
    prepare : numbers of the batches to prepare, one list a target, in wave order.
    """

    records: list[ItemRecord]
    waves: list[dict[str, Any]]
    prepare: list[list[int]]


def cut(plan: Sequence[PlannedItem], release: str, epoch: int) -> Batches:
    """Cut the plan into waves and batches: tasks before services, never two targets or actions in one batch."""

    def place(planned: PlannedItem) -> tuple[int, bool, bool, str]:
        return (
            planned.item.wave,
            planned.item.kind != "task",
            planned.action != "update",
            planned.item.target,
        )

    records: list[ItemRecord] = []
    waves: dict[int, dict[str, Any]] = {}
    prepare: dict[str, list[int]] = {}
    batch = -1
    for (wave, is_service, unchanged, target), group in groupby(sorted(plan, key=place), key=place):
        members = list(group)
        for start in range(0, len(members), BATCH_SIZE):
            batch += 1
            entry = waves.setdefault(
                wave, {"wave": wave, "batches": [batch, batch], "tasks": [], "services": []}
            )
            entry["batches"][1] = batch
            if not unchanged:
                entry["services" if is_service else "tasks"].append(batch)
                prepare.setdefault(target, []).append(batch)
            records += [
                _record(planned, release, epoch, batch, number)
                for number, planned in enumerate(members[start : start + BATCH_SIZE])
            ]
    # Batches of different targets side by side, so that no account waits for another one's throttle.
    for entry in waves.values():
        for kind in ("tasks", "services"):
            entry[kind] = _interleave([[b for b in entry[kind] if b in mine] for mine in prepare.values()])
    return Batches(_sharing(records), [waves[wave] for wave in sorted(waves)], list(prepare.values()))


def _sharing(records: Sequence[ItemRecord]) -> list[ItemRecord]:
    """The records, each one that needs the very revision of an earlier one pointing to that."""
    first: dict[tuple[str, str], ItemRecord] = {}
    result = []
    for record in records:
        if record.action == "update" and record.base:
            content = (record.target, content_digest(record.base, record.new_images))
            leader = first.setdefault(content, record)
            if leader is not record:
                record = replace(record, same_as=leader.key["sk"])  # noqa: PLW2901
        result.append(record)
    return result


def _interleave(lists: Sequence[Sequence[int]]) -> list[int]:
    longest = max(map(len, lists), default=0)
    return [numbers[place] for place in range(longest) for numbers in lists if place < len(numbers)]


def _record(planned: PlannedItem, release: str, epoch: int, batch: int, number: int) -> ItemRecord:
    item = planned.item
    return ItemRecord(
        release=release,
        batch=batch,
        number=number,
        epoch=epoch,
        kind=item.kind,
        name=item.name,
        target=item.target,
        wave=item.wave,
        action=planned.action,
        timeout_minutes=item.timeout_minutes,
        images=dict(planned.images),
        cluster=item.cluster,
        service=item.service,
        rule=item.rule,
        event_bus=item.event_bus,
        target_id=item.target_id,
        schedule=item.schedule,
        schedule_group=item.schedule_group,
        base=planned.base,
        pinned=planned.pinned,
        before=planned.before,
        live=planned.live,
        before_raw=planned.before_raw,
        inherited=planned.inherited,
        memory_void=planned.memory_void,
        after=planned.live if planned.action == "unchanged" else planned.after,
        previous_deployment=planned.previous_deployment,
        deployment_id=planned.previous_deployment if planned.action == "unchanged" else None,
        warnings=list(planned.warnings),
        verdict=Status.SUPERSEDED if planned.superseded else Status.PENDING,
        status=Status.SUPERSEDED if planned.superseded else Status.PENDING,
        reason=planned.superseded or "",
    )
