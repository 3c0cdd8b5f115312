"""Which containers of a task definition and which targets of a rule an item means; what is ambiguous is never guessed."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from ecs_release.aws.ecs_targets import reference_of, what_is_odd, what_it_starts
from ecs_release.aws.scheduled_tasks import end_of, start_may_go
from ecs_release.aws.task_definitions import TaskDefinition, parse_reference
from ecs_release.errors import ItemError
from ecs_release.plan.findings import Finding


@dataclass(frozen=True)
class Choice:
    """Which containers of a task definition an item means: container name -> new image."""

    images: Mapping[str, str]
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True)
class Selection:
    """The targets of one rule (or the schedule) that an item means.

    Attributes
    ----------
    targets : raw targets, all of one family and one reference; for a schedule its whole raw body, alone.
    definition : what they run now; None where a finding blocks the item.
    pinned : False when a reference names no revision, so that the newest ACTIVE one runs.
    images : container name -> image to set.
    half_done : some of the targets run one revision that releases set and some another: a write was not finished.
    """

    targets: tuple[Mapping[str, Any], ...] = ()
    definition: TaskDefinition | None = None
    pinned: bool = True
    images: Mapping[str, str] | None = None
    findings: tuple[Finding, ...] = ()
    half_done: bool = False

    @property
    def changes(self) -> bool:
        """Whether the targets are to run another revision: for other images, or because nothing can be started of this one."""
        if self.definition is None:
            return False
        have = self.definition.images
        differs = any(have.get(name) != image for name, image in (self.images or {}).items())
        return differs or self.half_done or not self.definition.startable


def choose_containers(
    definition: TaskDefinition, wanted: Mapping[str, str], *, exact: bool, where: str = ""
) -> Choice:
    """Match container names exactly; never by a part of a name or of an image.

    Parameters
    ----------
    wanted : container name -> image, as the manifest says.
    exact : False for the ``service`` + ``image`` form, where another name in a definition with a single container
        is a warning, because the original format was often filled in with the service's name.
    where : the rule or schedule in words, for messages.
    """
    have = definition.images
    missing = [name for name in wanted if name not in have]
    if not missing:
        return Choice(dict(wanted))
    if not exact and len(have) == 1 and len(wanted) == 1:
        only = next(iter(have))
        named_otherwise = Finding("W201", {"written": missing[0], "container": only})
        return Choice({only: next(iter(wanted.values()))}, (named_otherwise,))
    values = {
        "where": f"{where}: " if where else "",
        "revision": f"{definition.family}:{definition.revision}",
        "containers": _quoted(have),
    }
    return Choice({}, tuple(Finding("E220", {**values, "container": name}) for name in missing))


def select(
    where: str,
    targets: Sequence[Mapping[str, Any]],
    wanted: Mapping[str, str],
    *,
    exact: bool,
    target_id: str | None,
    describe: Callable[[str], TaskDefinition],
    ours: Collection[str] = (),
) -> Selection:
    """Choose the targets that run the named containers.

    Parameters
    ----------
    where : the rule or schedule in words, for messages.
    targets : raw targets of the rule, or the raw schedule alone.
    describe : reads a task definition; raises ItemError where there is none.
    ours : ARNs that earlier releases set or found here, and content digests that they registered. Targets at different revisions
        are no riddle where each is one of them.
    """
    if target_id is not None:
        targets = [target for target in targets if target.get("Id") == target_id]
        if not targets:
            return _blocked("E221", where=where, id=target_id)
    references: dict[str, dict[str, list[Mapping[str, Any]]]] = {}
    for target in targets:
        reference = reference_of(target)
        if reference is not None:
            references.setdefault(parse_reference(reference)[0], {}).setdefault(reference, []).append(target)
    if not references:
        return _no_task(where, targets)

    definitions: dict[str, TaskDefinition] = {}
    gone: dict[str, ItemError] = {}
    for family, by_reference in references.items():
        try:
            definitions[family] = describe(next(iter(by_reference)))
        except ItemError as error:
            gone[family] = error
    exactly = [family for family, definition in definitions.items() if set(wanted) <= set(definition.images)]
    if len(exactly) > 1:
        return _blocked("E223", where=where, families=", ".join(exactly))
    if not exactly and gone:
        family = next(iter(gone))
        return _gone(where, family, next(iter(references[family])), gone[family], describe)
    if not exactly and len(definitions) > 1:
        have = "; ".join(f"{family}: {', '.join(d.images)}" for family, d in definitions.items())
        return _blocked("E224", where=where, wanted=_quoted(wanted), containers=have)
    family = exactly[0] if exactly else next(iter(definitions))
    choice = choose_containers(definitions[family], wanted, exact=exact, where=where)
    if not choice.images:
        return Selection(findings=choice.findings)
    definition, half_done = definitions[family], len(references[family]) > 1
    if half_done:
        found = [describe(reference) for reference in references[family]]
        if any(revision.arn not in ours and revision.content not in ours for revision in found):
            return _blocked("E225", where=where, revisions=", ".join(references[family]))
        definition = _to_be_changed(found, choice.images)
    # In the order in which EventBridge has them.
    chosen = [target for target in targets if reference_of(target) in references[family]]
    pinned = all(parse_reference(reference)[1] is not None for reference in references[family])
    findings = [*choice.findings, *(f for target in chosen for f in schedule_findings(target, time.time()))]
    if half_done:
        findings.append(Finding("W205", {"where": where, "revisions": ", ".join(references[family])}))
    if not pinned:
        findings.append(Finding("W202", {"where": where, "family": family}))
    images = dict(choice.images)
    return Selection(tuple(chosen), definition, pinned, images, tuple(findings), half_done)


def _to_be_changed(found: Sequence[TaskDefinition], wanted: Mapping[str, str]) -> TaskDefinition:
    """The revision that stands for what is live where targets run several: the newest one with other images than are wanted."""
    differing = [one for one in found if any(one.images.get(name) != image for name, image in wanted.items())]
    return max(differing or found, key=lambda one: one.revision)


def _no_task(where: str, targets: Sequence[Mapping[str, Any]]) -> Selection:
    """What the targets are, where none of them names a task definition."""
    for target in targets:
        if odd := what_is_odd(target):
            return _blocked("E228", where=where, what=odd)
    if not targets:
        return _blocked("E222", where=where)
    return _blocked("E227", where=where, what="; ".join(dict.fromkeys(map(what_it_starts, targets))))


def _gone(
    where: str,
    family: str,
    reference: str,
    error: ItemError,
    describe: Callable[[str], TaskDefinition],
) -> Selection:
    """A revision that was deleted, or a family without any: what to base a new one on is not guessed."""
    todo = "Register a revision of that family"
    if parse_reference(reference)[1] is not None:
        todo = f"Register a revision of {family}, and let it name that"
        with suppress(ItemError):
            todo = f"Let it name {describe(family).arn}, the newest of its family, or another one"
    return _blocked("E209", where=where, revision=reference, why=str(error).rstrip("."), todo=todo)


def schedule_findings(schedule: Mapping[str, Any], now: float) -> Iterator[Finding]:
    """What has to be said of when a schedule starts its task; nothing of a rule's target."""
    if schedule.get("State") == "DISABLED":
        yield Finding("W207")
    start, end = schedule.get("StartDate"), end_of(schedule)
    if end is not None and end < now:
        moment = datetime.fromtimestamp(end, UTC)
        yield Finding("W208", {"end": f"{moment:%Y-%m-%d %H:%M} UTC"})
    elif isinstance(start, int | float) and start <= now:
        yield Finding("W203" if start_may_go(schedule) else "W204")


def _blocked(code: str, **values: str) -> Selection:
    return Selection(findings=(Finding(code, values),))


def _quoted(names: Mapping[str, Any]) -> str:
    return ", ".join(f'"{name}"' for name in names)
