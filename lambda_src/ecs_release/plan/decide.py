"""The plan: what a release would change, what blocks it, in which waves and batches. Data in, data out."""

from __future__ import annotations

import json
import re
import shlex
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from functools import partial
from typing import Any

from ecs_release.aws.answers import entries, mapping, text, understanding
from ecs_release.aws.ecs_targets import task_start
from ecs_release.aws.platforms import TaskPlatform, fit, on_fargate, platform_of
from ecs_release.aws.principal_policies import Decision
from ecs_release.aws.registry import RegistryImage, not_asked
from ecs_release.aws.scheduled_tasks import starts_when_written
from ecs_release.aws.task_definitions import (
    CONTENT_TAG,
    MAX_TAGS,
    TaskDefinition,
    kept_tags,
    parse_reference,
)
from ecs_release.errors import OddAnswerError
from ecs_release.manifest.images import origin_change
from ecs_release.manifest.item import Item, Key, command_name
from ecs_release.plan.choose import Selection, choose_containers
from ecs_release.plan.findings import Finding, accepted, messages
from ecs_release.plan.live import Live, odd
from ecs_release.plan.newer import choose_base
from ecs_release.plan.service import deadline_findings, service_findings

UNREADABLE = Finding("E203", {"why": "AWS did not say why"})


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
    startable : ARN of the revision that the role which starts a scheduled task may start, as IAM says; "" where it is not known.
    start_doubt : why that role may start nothing, in words.
    after : the revision to go to, where it exists already: in a rollback by hand.
    superseded : why the item must be left alone, in a rollback by hand.
    lost : why the item is not put back and counts as failed, in a rollback by hand.
    digests : container -> digest that ran as ``before``, as far as ECS tells.
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
    startable: str = ""
    start_doubt: str = ""
    after: str | None = None
    superseded: str | None = None
    lost: str | None = None
    digests: Mapping[str, str] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()

    @property
    def warnings(self) -> tuple[str, ...]:
        return messages(self.findings, blocking=False)

    @property
    def ignored(self) -> tuple[str, ...]:
        """What the manifest ignores here, as ``code: sentence``."""
        return tuple(f"{f.code}: {f.message}" for f in self.findings if f.ignored)

    @property
    def problems(self) -> tuple[str, ...]:
        return messages(self.findings, blocking=True)


def make_plan(
    items: Sequence[Item],
    live: Sequence[Live],
    memories: Mapping[Key, Mapping[str, Any]] | None = None,
    holds: Mapping[Key, Mapping[str, Any]] | None = None,
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
        understood(item, partial(_decide, item, found, left.get(item.key), held.get(item.key)))
        for item, found in zip(items, live, strict=True)
    ]
    return [_without_early_deployment(planned, plan) for planned in plan]


def understood(item: Item, decide: Callable[[], PlannedItem]) -> PlannedItem:
    """One item's decision; blocked, and the others go on, where what AWS says of it can't be understood."""
    try:
        with understanding("what AWS says of it"):
            return decide()
    except OddAnswerError as error:
        images = {container: {"from": "", "to": image} for container, image in item.images.items()}
        return PlannedItem(item, "blocked", images, findings=(odd(error),))


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
            early = {"family": family, "other": other.item.name, "live": planned.live, "alone": alone}
            return replace(planned, action="blocked", findings=(*planned.findings, Finding("E226", early)))
    return planned


def _decide(
    item: Item, live: Live, left: Mapping[str, Any] | None, hold: Mapping[str, Any] | None
) -> PlannedItem:
    wanted = {container: {"from": "", "to": image} for container, image in item.images.items()}
    if live.findings or live.definition is None:
        return PlannedItem(item, "blocked", wanted, findings=live.findings or (UNREADABLE,))
    definition = live.definition
    if live.selection is not None:
        images = dict(live.selection.images or {})
        findings = list(live.selection.findings)
    else:
        choice = choose_containers(definition, item.images, exact=item.exact)
        if not choice.images:
            return PlannedItem(item, "blocked", wanted, findings=choice.findings)
        images = dict(choice.images)
        findings = list(choice.findings)
    changes = {name: {"from": definition.images[name], "to": image} for name, image in images.items()}
    base, said = choose_base(definition, live.newer, item.base or live.base, images)
    findings += said
    changed = any(change["from"] != change["to"] for change in changes.values())
    if live.selection is not None:
        changed = live.selection.changes
        if not definition.startable:
            status = str(definition.body.get("status"))
            findings.append(Finding("W206", {"revision": definition.arn, "status": status}))
    changed = changed or base is not definition or any(finding.blocks for finding in said)
    if live.starter is not None:
        findings += live.starter.findings(changes=changed)
    if changed:
        if live.selection is not None and (late := _would_run_again(live.selection)):
            findings = [*(finding for finding in findings if finding.code != "W208"), late]
        findings += _image_findings(changes)
        findings += _prepared_checks(live, base, changes)
        if live.service is not None:
            findings += deadline_findings(item, live.service)
        if hold and all(hold["images"].get(name) == change["to"] for name, change in changes.items()):
            command = f"ecs-release unhold {shlex.quote(command_name(item.key))}"
            undone = {"release": hold["release"], "images": ", ".join(images.values()), "command": command}
            findings.append(Finding("E260", undone))
        findings = accepted(findings, item.ignore)
        if any(finding.blocks for finding in findings):
            return PlannedItem(item, "blocked", changes, findings=tuple(findings))

    before, before_raw, previous = definition.arn, None, None
    if live.service is not None:
        primary = live.service.primary
        previous = str(primary["id"]) if primary else None
        before = live.completed or definition.arn
        findings += service_findings(live.service, definition, live.completed, before, live.soak_seconds)
    elif live.selection is not None:
        before_raw = json.dumps(list(live.selection.targets), separators=(",", ":"))
    inherited = left is not None and _is_ours(left, before, definition)
    memory_void = left is not None and not inherited
    if left is not None and memory_void:
        findings.append(Finding("W261", {"release": left["release"], "before": before}))
    elif left is not None and not changed and not _is_ours(left, definition.arn, definition):
        inherited = False  # somebody else's, not completed: nothing of ours is left to be put back
    elif left is not None:
        before = str(left["before"])
        findings.append(Finding("W260", {"release": left["release"], "before": before}))
    return PlannedItem(
        item,
        "update" if changed else "unchanged",
        changes,
        base=base.arn,
        before=before,
        live=definition.arn,
        before_raw=before_raw,
        pinned=live.selection is None or live.selection.pinned,
        inherited=inherited,
        memory_void=memory_void,
        previous_deployment=previous,
        **about_start(live),
        findings=tuple(accepted(findings, item.ignore)),
    )


def _would_run_again(selection: Selection) -> Finding | None:
    moments = (starts_when_written(target, time.time()) for target in selection.targets)
    moment = next(filter(None, moments), None)
    return Finding("E229", {"moment": moment}) if moment else None


def about_start(live: Live) -> dict[str, Any]:
    """What the verdict on a scheduled task has to know of the role that starts it."""
    if live.starter is None:
        return {}
    allowed = live.starter.decision is Decision.ALLOWED
    return {"startable": live.starter.revision if allowed else "", "start_doubt": live.starter.doubt}


def _is_ours(left: Mapping[str, Any], arn: str, definition: TaskDefinition) -> bool:
    """Whether what runs was set by the releases that left an item not whole, or is what they found there.

    Anything else was deployed by somebody else since. That is the state to go back to then, and never overwritten with an
    older one.
    """
    ours = left.get("ours")
    if ours is None:  # remembered by a version that did not note it
        return True
    return arn in (*ours, left["before"]) or (arn == definition.arn and definition.content in ours)


def _image_findings(changes: Mapping[str, Mapping[str, str]]) -> list[Finding]:
    """What is worth saying of the images themselves: where they come from, and whether they are older."""
    findings = []
    for change in changes.values():
        if moved := origin_change(change["from"], change["to"]):
            kind, old, new = moved
            findings.append(Finding("W220" if kind == "registry" else "W221", {"from": old, "to": new}))
    for change in changes.values():
        if _is_downgrade(change["from"], change["to"]):
            tags = {side: change[side].rpartition(":")[2] for side in ("from", "to")}
            findings.append(Finding("W222", tags))
    return findings


def _prepared_checks(
    live: Live, definition: TaskDefinition, changes: Mapping[str, dict[str, str]]
) -> list[Finding]:
    """What would be registered: tags, images, roles. Notes digests in ``changes``."""
    findings = []
    tags = len(kept_tags(definition))
    if tags >= MAX_TAGS:
        revision = f"{definition.family}:{definition.revision}"
        findings.append(Finding("E240", {"revision": revision, "tags": str(tags), "tag": CONTENT_TAG}))
    platform = platform_of(mapping(definition.body, "runtimePlatform"), fargate=_on_fargate(live))
    for container, change in changes.items():
        if not live.is_new(container, change["to"]):
            continue
        found = live.registry.get(change["to"]) or RegistryImage(not_asked=not_asked(change["to"]))
        if found.digest:
            change["digest"] = found.digest
        findings += _registry_findings(change["to"], found, platform)
    roles = [definition.body.get("taskRoleArn"), definition.body.get("executionRoleArn")]
    if live.selection is not None:
        roles += [task_start(target).role for target in live.selection.targets]
    for role in dict.fromkeys(filter(None, roles)):
        if live.passable is None or not role.startswith("arn:"):  # a bare name does not say its path
            continue
        if not any(fnmatchcase(role, pattern) for pattern in live.passable):
            findings.append(Finding("E243", {"role": role}))
    return findings


def _on_fargate(live: Live) -> bool:
    """Whether every task of it is known to run on Fargate."""
    if live.service is not None:
        body = live.service.body
        strategy = entries(body, "capacityProviderStrategy")
        return on_fargate(strategy, text(body, "launchType"), "capacityProvider")
    targets = (
        [mapping(t.get("Target", t), "EcsParameters") for t in live.selection.targets]
        if live.selection
        else []
    )
    return bool(targets) and all(
        on_fargate(entries(t, "CapacityProviderStrategy"), text(t, "LaunchType"), "capacityProvider")
        for t in targets
    )


def _registry_findings(image: str, found: RegistryImage, wanted: TaskPlatform) -> Iterator[Finding]:
    """What the registry says of an image, or that nobody has asked it."""
    if found.movable:
        yield Finding("W223")
    if found.missing:
        yield Finding("E241", {"image": image, "code": found.missing})
    codes = {"no": "E242", "unknown": "W250", "other build": "W251"}
    if (code := codes.get(fit(found.platforms, wanted))) is not None:
        built = {"image": image, "platforms": ", ".join(found.platforms)}
        yield Finding(code, {**built, "wanted": str(wanted), "family": wanted.family})
    if found.not_asked:
        yield Finding("W224", {"image": image, "why": found.not_asked})
    if found.untold:
        yield Finding("W225", {"image": image, "why": found.untold})


def _is_downgrade(old: str, new: str) -> bool:
    """Whether both tags are versions of numbers and the new one is lower."""
    versions = [re.fullmatch(r"[^:@]*:v?(\d+(?:\.\d+)*)", image.rpartition("/")[2]) for image in (old, new)]
    if not all(versions):
        return False
    before, after = ([int(part) for part in v.group(1).split(".")] for v in versions if v)
    return after < before
