"""The rules of a manifest, in the order they are applied.

1. Every key is known and its value right (`values.py`, from the list in `keys.py`).
2. There is something to release (`_something_to_release`).
3. Every entry is complete and does not contradict itself (`ENTRY_RULES`).
4. Entries for the same thing fit together (`entries.py`).
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from ecs_release.manifest.entries import items_of
from ecs_release.manifest.item import Item
from ecs_release.manifest.keys import SERVICE_FIELDS, TASK_FIELDS, TOP_LEVEL_FIELDS
from ecs_release.manifest.nodes import (
    LISTS,
    MOST_ENTRIES,
    TOO_MANY_ENTRIES,
    Mapping,
    Node,
    Scalar,
    Sequence,
    Source,
)
from ecs_release.manifest.problem import MOST_PROBLEMS, TOO_MANY_PROBLEMS, Problem, more_warnings
from ecs_release.manifest.values import Keys, is_nothing, kind_of, read_keys

_EXAMPLE = (
    "a manifest looks like this: "
    "services: [{service: api, clusterName: shop, serviceName: api, image: api:1.2.3}]"
)


@dataclass(frozen=True, slots=True)
class Checked:
    """What the rules made of a source; the rest only counts when no problem is an error."""

    problems: tuple[Problem, ...]
    release: str | None = None
    on_failure: str = "rollback"
    items: tuple[Item, ...] = ()


def check(source: Source) -> Checked:
    """Apply every rule to ``source`` and return all problems in file order."""
    problems = list(source.problems)
    if not isinstance(source.root, Mapping):
        if not any(problem.code.startswith("E") for problem in problems):
            problems.append(_no_manifest(source.root))  # else what is wrong with the file has been said
        return Checked(_in_file_order(problems))
    # What is no plain value (a tag, a template) has been said to be none.
    said = {(problem.line, problem.column) for problem in problems}
    top, found = read_keys(source.root, "", TOP_LEVEL_FIELDS)
    problems += found
    if too_many := _too_many(top):
        return Checked(_in_file_order([*problems, too_many]))
    entries = []
    errors, counted = set(_places(problems)), len(problems)
    misplaced = _misplaced(top, found)
    for entry in _entries(top, problems):
        entries.append(entry)
        entry.misplaced = frozenset(misplaced.get((entry.node.line, entry.node.column), ()))
        for rule in ENTRY_RULES:
            problems += rule(entry)
        errors.update(_places(problems[counted:]))
        counted = len(problems)
        if len(errors) > MOST_PROBLEMS:
            return Checked(_in_file_order(problems))
    problems += _something_to_release(top)
    items, found = items_of(entries)
    problems += found
    release, on_failure = top.texts.get("release"), top.texts.get("onFailure", "rollback")
    problems = [p for p in problems if p.code != "E052" or not p.line or (p.line, p.column) not in said]
    return Checked(_in_file_order(problems), release, on_failure, tuple(items))


def _in_file_order(problems: list[Problem]) -> tuple[Problem, ...]:
    """Return what is listed: errors and warnings are counted apart, because warnings alone refuse nothing."""
    ordered = sorted(_once_each(problems), key=lambda problem: (problem.line, problem.column))
    errors = [problem for problem in ordered if problem.code.startswith("E")]
    warnings = [problem for problem in ordered if not problem.code.startswith("E")]
    listed = [*errors[:MOST_PROBLEMS], *warnings[:MOST_PROBLEMS]]
    if len(errors) > MOST_PROBLEMS:
        last = errors[MOST_PROBLEMS]
        listed.append(Problem("E009", last.line, last.column, "", TOO_MANY_PROBLEMS))
    if (more := len(warnings) - MOST_PROBLEMS) > 0:
        last = warnings[MOST_PROBLEMS]
        listed.append(Problem("W105", last.line, last.column, "", more_warnings(more)))
    return tuple(sorted(listed, key=lambda problem: (problem.line, problem.column)))


def _places(problems: list[Problem]) -> Iterator[tuple[object, ...]]:
    """Yield what tells errors apart: where they are written, however many aliases use what is written there."""
    for one in problems:
        if one.code.startswith("E"):
            yield one.code, one.line, one.column, "" if one.line else one.path, one.message


def _once_each(problems: list[Problem]) -> Iterator[Problem]:
    """Yield each problem once, where it is written, however many aliases use what is written there."""
    uses: dict[Problem, list[str]] = {}
    for problem in problems:
        uses.setdefault(replace(problem, path="") if problem.line else problem, []).append(problem.path)
    for problem, (path, *others) in uses.items():
        used = f"{others[0]} and {len(others) - 1} other places" if others[1:] else "".join(others)
        also = f" (used in {used} too)" if others else ""
        yield replace(problem, path=path, message=problem.message + also)


def _no_manifest(root: Node | None) -> Problem:
    if root is None or (isinstance(root, Scalar) and root.type == "nothing"):
        line = 0 if root is not None and not root.line else 1
        return Problem("E050", line, line, "", f"the file is empty or has only comments; {_EXAMPLE}")
    return Problem("E051", root.line, root.column, "", f"the file is {kind_of(root)}; {_EXAMPLE}")


def _misplaced(top: Keys, problems: list[Problem]) -> dict[tuple[int, int], set[str]]:
    """Find the keys beside tasks and services that the entry above them seems to miss; by that entry's place."""
    lists = (top.values.get(name) for name in LISTS)
    entries = [entry for value in lists if isinstance(value, Sequence) for entry in value.values]
    places = sorted({(entry.line, entry.column) for entry in entries})
    found: dict[tuple[int, int], set[str]] = {}
    for problem in problems:
        # In JSON, which has no lines, nothing stands above.
        above = bisect_left(places, (problem.line, problem.column)) if problem.code == "E059" else 0
        if above and problem.line:
            found.setdefault(places[above - 1], set()).add(problem.path)
    return found


def _too_many(top: Keys) -> Problem | None:
    """Refuse more entries than a release can have, written or used by an alias, in YAML or in JSON."""
    left = MOST_ENTRIES
    for name in LISTS:
        value = top.values.get(name)
        entries = value.values if isinstance(value, Sequence) else ()
        if len(entries) > left:
            return Problem("E007", entries[left].line, entries[left].column, name, TOO_MANY_ENTRIES)
        left -= len(entries)
    return None


def _entries(top: Keys, problems: list[Problem]) -> Iterator[Keys]:
    """Read the entries of both lists, tasks first."""
    for name, kind, fields in (("tasks", "task", TASK_FIELDS), ("services", "service", SERVICE_FIELDS)):
        value = top.values.get(name)
        for index, node in enumerate(value.values if isinstance(value, Sequence) else ()):
            path = f"{name}[{index}]"
            if isinstance(node, Mapping):
                entry, found = read_keys(node, path, fields, kind)
                problems += found
                yield entry
            elif isinstance(node, Scalar) and node.type == "nothing":
                message = "an entry without keys; write its keys behind the dash, or remove the dash"
                problems.append(Problem("E055", node.line, node.column, path, message))
            elif not (isinstance(node, Scalar) and node.is_hole):
                message = f"the entry is {kind_of(node)}; write keys with values: - service: api and so on"
                problems.append(Problem("E052", node.line, node.column, path, message))


def _something_to_release(top: Keys) -> Iterator[Problem]:
    """One of the two lists must have an entry."""
    for name in LISTS:
        value = top.values.get(name)
        if isinstance(value, Sequence) and value.values:
            return
        if value is not None and not isinstance(value, Sequence) and not is_nothing(value):
            return
    if not top.node.repaired:
        message = "there is nothing to release: neither tasks nor services has an entry; add one"
        yield Problem("E056", top.node.line, top.node.column, "", message)


# --- rules for one entry; what could not be read (`repaired`) may well hold the key that seems to be missing ---


def _service_is_named(entry: Keys) -> Iterator[Problem]:
    if entry.kind == "service":
        for one in SERVICE_FIELDS:
            if one.name in ("clusterName", "serviceName") and not entry.may_have(one.name):
                yield entry.problem(
                    "E054", one.name, f"{one.name} is missing; write {one.name}: {one.example}"
                )


def _task_is_named(entry: Keys) -> Iterator[Problem]:
    if entry.kind != "task":
        return
    rule, schedule = entry.has("cwRuleName"), entry.has("scheduleName")
    if rule and schedule:
        message = (
            "cwRuleName and scheduleName exclude each other: one of them runs the task; remove the other"
        )
        yield entry.problem("E057", _last(entry, "cwRuleName", "scheduleName"), message)
    elif not entry.may_have("cwRuleName") and not entry.may_have("scheduleName"):
        message = (
            "cwRuleName is missing; write cwRuleName: and the EventBridge rule that runs the task, "
            "or scheduleName: and its EventBridge Scheduler schedule"
        )
        yield entry.problem("E054", "cwRuleName", message)


def _images_are_named(entry: Keys) -> Iterator[Problem]:
    single = [name for name in ("service", "image") if entry.has(name)]
    if entry.has("images") and single:
        message = f"images stands instead of service and image; remove images or {' and '.join(single)}"
        yield entry.problem("E057", _last(entry, "images", *single), message)
    if entry.may_have("images"):
        return
    single += [name for name in ("service", "image") if name in entry.misplaced]
    if len(single) == 2:
        return
    if not single:
        message = "the entry names no image; write service: and image:, or images: with containers and images"
        yield Problem("E054", entry.node.line, entry.node.column, entry.path, message)
    elif "service" not in single:
        message = "service is missing; write service: and the container that gets the image"
        yield entry.problem("E054", "service", message)
    elif "image" not in single:
        message = "image is missing; write image: and the image to run, for example api:1.2.3"
        yield entry.problem("E054", "image", message)


def _companions_are_there(entry: Keys) -> Iterator[Problem]:
    for name, companion, instead in (
        ("eventBusName", "cwRuleName", "scheduleName"),
        ("targetId", "cwRuleName", "scheduleName"),
        ("scheduleGroup", "scheduleName", "cwRuleName"),
    ):
        if entry.has(name) and entry.has(instead) and not entry.has(companion):
            message = f"{name} goes with {companion}, and this entry has {instead}; remove {name}"
            yield entry.problem("E058", name, message)


def _last(entry: Keys, *names: str) -> str:
    return max(names, key=lambda name: (entry.keys[name].line, entry.keys[name].column))


ENTRY_RULES: tuple[Callable[[Keys], Iterator[Problem]], ...] = (
    _service_is_named,
    _task_is_named,
    _images_are_named,
    _companions_are_there,
)
