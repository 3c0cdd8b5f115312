"""The plan: what a release would change, what blocks it, in which waves and batches. Data in, data out."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Any

from ecs_release.aws.registry import ImageFinding, not_asked
from ecs_release.aws.task_definitions import (
    TaskDefinition,
    choose_containers,
    parse_reference,
    tag_problem,
)
from ecs_release.manifest import Item
from ecs_release.manifest.images import origin_warning
from ecs_release.plan.live import Live
from ecs_release.record.models import state_key

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
    memories: Mapping[ItemKey, Mapping[str, Any]] | None = None,
    holds: Mapping[ItemKey, Mapping[str, Any]] | None = None,
) -> list[PlannedItem]:
    """Decide every item.

    Parameters
    ----------
    live : what was found for each item, in the same order.
    memories : before-images left by releases that did not end whole, by (target, kind, name).
    holds : images that a rollback by hand undid, ``{"images", "release"}``, by (target, kind, name).
    """
    held = holds or {}
    left = memories or {}
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
