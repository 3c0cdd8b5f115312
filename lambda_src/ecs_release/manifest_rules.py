"""The rules of a manifest.

An entry is read key by key (`_read_entry`), then each rule of `ENTRY_RULES` looks at it. What can only be seen with all
entries together (the same container twice, entries that make one item) is in `_merge`. One mistake is
reported once: a value that is wrong is left out, and no rule speaks about it again.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from ecs_release.foreign_characters import described, first_foreign, in_ascii, is_invisible
from ecs_release.image_reference import image_problem, image_warning
from ecs_release.item import Item
from ecs_release.manifest_fields import (
    CONTAINER_NAME,
    LONGEST_LABEL,
    OTHER_NAMES,
    SERVICE_FIELDS,
    TASK_FIELDS,
    TOP_LEVEL_FIELDS,
    Field,
)
from ecs_release.problem import Problem, shown, spelled_out
from ecs_release.yaml_source import Entry, Mapping, Node, Scalar, Sequence, Source, key_path

MOST_PROBLEMS = 1000

_EXAMPLE = (
    "a manifest looks like this: services: [{service: api, clusterName: shop, serviceName: api, image: api:1.2.3}]"
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
    problems = _Problems(source.problems)
    release, on_failure, entries = None, "rollback", list[_Entry]()
    try:
        if isinstance(source.root, Mapping):
            top = _read_keys(source.root, "", TOP_LEVEL_FIELDS, problems)
            release = top.texts.get("release")
            on_failure = top.texts.get("onFailure", "rollback")
            entries = _entries(top, problems)
            _something_to_release(top, entries, problems)
        elif not source.problems:
            problems.add(_no_manifest(source.root))
        for entry in entries:
            for rule in ENTRY_RULES:
                problems.extend(rule(entry))
        items = _merge([entry for entry in entries if entry.is_sound], problems)
    except _TooMany:
        items = []
    return Checked(problems.in_file_order(), release, on_failure, tuple(items))


class _TooMany(Exception):
    """Nobody reads more; and a hostile file shall not keep us busy."""


class _Problems:
    def __init__(self, found: Iterable[Problem]) -> None:
        self._found = list(found)

    def add(self, problem: Problem) -> None:
        self._found.append(problem)
        if len(self._found) >= MOST_PROBLEMS:
            raise _TooMany

    def extend(self, problems: Iterable[Problem]) -> None:
        for problem in problems:
            self.add(problem)

    def in_file_order(self) -> tuple[Problem, ...]:
        ordered = sorted(self._found, key=lambda problem: (problem.line, problem.column))
        if len(ordered) < MOST_PROBLEMS:
            return tuple(ordered)
        ordered = ordered[: MOST_PROBLEMS - 1]
        last = ordered[-1]
        message = f"more than {MOST_PROBLEMS:,} problems; the rest is not listed"
        return (*ordered, Problem("E009", last.line, last.column, "", message))


def _no_manifest(root: Node | None) -> Problem:
    if root is None or (isinstance(root, Scalar) and root.type == "nothing"):
        line = 0 if isinstance(root, Scalar) and not root.line else 1
        return Problem("E050", line, line, "", f"the file is empty or has only comments; {_EXAMPLE}")
    return Problem("E051", root.line, root.column, "", f"the file is {_kind_of(root)}; {_EXAMPLE}")


# --- keys and values ----------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Entry:
    """A mapping with the keys that could be told; ``texts`` and ``images`` hold only the values that are right."""

    path: str
    node: Mapping
    kind: str = ""
    keys: dict[str, Scalar] = field(default_factory=dict)
    values: dict[str, Node] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)
    images: dict[str, str] = field(default_factory=dict)
    container_keys: dict[str, Scalar] = field(default_factory=dict)

    def has(self, name: str) -> bool:
        return name in self.keys

    def problem(self, code: str, name: str, message: str) -> Problem:
        """A problem with a key of this entry, at the key; at the entry when the key is not there."""
        place = self.keys.get(name, self.node)
        return Problem(code, place.line, place.column, key_path(self.path, name), message)

    @property
    def is_sound(self) -> bool:
        """Whether it is known which service or task this is, so that it can be compared with others."""
        written = [name for name in self.keys if name not in ("service", "image", "images", "wave", "timeoutMinutes")]
        needed = ("clusterName", "serviceName") if self.kind == "service" else ()
        runs = self.kind == "service" or ("cwRuleName" in self.texts) != ("scheduleName" in self.texts)
        return runs and all(name in self.texts for name in (*written, *needed))


def _read_keys(node: Mapping, path: str, fields: tuple[Field, ...], problems: _Problems, kind: str = "") -> _Entry:
    entry = _Entry(path, node, kind)
    by_name = {one.name: one for one in fields}
    exact = {pair.key.text for pair in node.entries}
    for pair in node.entries:
        if pair.key.is_hole:
            continue
        name = pair.key.text
        if name not in by_name:
            meant, problem = _unknown_key(pair, path, fields, kind)
            problems.add(problem)
            # The value is checked as that of the key that was meant, and the key is not reported missing too.
            if meant is None or meant in exact or entry.has(meant):
                continue
            name = meant
        entry.keys[name] = pair.key
        entry.values[name] = pair.value
        problems.extend(_value_problems(entry, by_name[name], pair.value))
    return entry


def _unknown_key(pair: Entry, path: str, fields: tuple[Field, ...], kind: str) -> tuple[str | None, Problem]:
    key, names = pair.key, [one.name for one in fields]
    here = key_path(path, key.text)
    look = in_ascii(key.text)
    meant = _closest(look, names)
    if (foreign := first_foreign(key.text)) is not None:
        advice = f"write {meant}" if meant else "write a known key in ASCII letters: " + ", ".join(names)
        message = f"the key {shown(key.text)} contains {described(foreign)}; {advice}"
        return meant, Problem("E070", key.line, key.column_of(foreign), here, message)
    elsewhere = _list_of(key.text)
    if elsewhere and key.text not in names:
        where = " or ".join(elsewhere)
        if kind:
            advice = f"an entry of {kind}s has {', '.join(names)}"
            message = f"{shown(key.text)} belongs to an entry of {where}; {advice}"
        else:
            message = f"{shown(key.text)} belongs to an entry of {where}, not here; indent it to stand below the entry's first key"
        if not (meant and meant.casefold() == key.text.casefold()):
            return None, Problem("E059", key.line, key.column, here, message)
    if meant:
        message = f"unknown key {shown(key.text)}; did you mean {meant}?"
    else:
        message = f"unknown key {shown(key.text)}; the keys here are {', '.join(names)}"
    return meant, Problem("E053", key.line, key.column, here, message)


def _closest(text: str, names: list[str]) -> str | None:
    if len(text) > 40:
        return None
    folded = {name.casefold(): name for name in names}
    plain = re.sub(r"[^a-z]", "", text.casefold())
    if (known := OTHER_NAMES.get(plain)) in names:
        return known
    close = difflib.get_close_matches(plain, folded, n=1, cutoff=0.75)
    return folded[close[0]] if close else None


def _list_of(key: str) -> list[str]:
    lists = (("tasks", TASK_FIELDS), ("services", SERVICE_FIELDS))
    return [name for name, fields in lists if any(one.name == key for one in fields)]


def _kind_of(node: Node) -> str:
    if isinstance(node, Mapping):
        return "a mapping (key: value)"
    if isinstance(node, Sequence):
        return "a list"
    return f"the {node.type} {node.text}" if node.type in ("number", "fraction", "boolean") else f"the text {shown(node.text)}"


def _value_problems(entry: _Entry, one: Field, value: Node) -> Iterator[Problem]:
    """Check one value by its field and keep it in ``entry`` when it is right."""
    path = key_path(entry.path, one.name)
    if isinstance(value, Scalar) and value.is_hole:
        return
    if one.kind == "entries":
        if not isinstance(value, Sequence) and not (isinstance(value, Scalar) and value.type == "nothing"):
            message = f"{one.name} is {_kind_of(value)}, not a list; begin each entry with a dash: - service: api"
            yield Problem("E052", value.line, value.column, path, message)
        return
    if one.kind == "images":
        yield from _images_problems(entry, one, value, path)
        return
    problems = list(_scalar_problems(one, value, path, entry.keys[one.name]))
    if not any(problem.code.startswith("E") for problem in problems) and isinstance(value, Scalar):
        entry.texts[one.name] = value.text
    yield from problems


def _images_problems(entry: _Entry, one: Field, value: Node, path: str) -> Iterator[Problem]:
    if isinstance(value, Scalar) and not value.text.strip():
        yield entry.problem("E055", one.name, f"images has no value; write images: {one.example}")
        return
    if not isinstance(value, Mapping):
        message = f"images is {_kind_of(value)}, not a mapping of container name to image; write images: {one.example}"
        yield Problem("E052", value.line, value.column, path, message)
        return
    if not value.entries and not value.repaired:
        yield Problem("E055", value.line, value.column, path, f"images is empty; write images: {one.example}")
    for pair in value.entries:
        if pair.key.is_hole or (isinstance(pair.value, Scalar) and pair.value.is_hole):
            continue
        here = key_path(path, pair.key.text)
        problems = [*_scalar_problems(CONTAINER_NAME, pair.key, here, pair.key)]
        problems += _scalar_problems(_IMAGE_FIELD, pair.value, here, pair.key)
        if not any(problem.code.startswith("E") for problem in problems) and isinstance(pair.value, Scalar):
            entry.images[pair.key.text] = pair.value.text
            entry.container_keys[pair.key.text] = pair.key
        yield from problems


def _scalar_problems(one: Field, value: Node, path: str, key: Scalar) -> Iterator[Problem]:
    def problem(code: str, message: str) -> Problem:
        return Problem(code, value.line, value.column, path, message)

    if not isinstance(value, Scalar):
        yield problem("E052", f"{one.name} is {_kind_of(value)}, not one value; write {_written(one)}")
    elif not value.text.strip():
        place = key if value.type == "nothing" else value
        yield Problem("E055", place.line, place.column, path, f"{one.name} has no value; write {_written(one)}")
    elif value.type == "boolean" or (value.type == "fraction" and one.kind != "label"):
        quoted = f'"{value.text}"'
        advice = f"write the text {quoted} in quotes" if one.kind in ("name", "label") else f"write {_written(one)}"
        yield problem("E052", f"{one.name} is the {value.type} {value.text}, not text; {advice}")
    elif one.kind == "label":
        if value.type == "fraction":
            message = f'the number {value.text} may have lost digits on its way (4.10 becomes 4.1); write "{value.text}" in quotes'
            yield problem("W102", message)
        yield from _label_problems(value, path)
    elif one.kind == "integer":
        yield from _integer_problems(one, value, problem)
    elif one.kind == "choice":
        yield from _choice_problems(one, value, problem)
    elif (foreign := first_foreign(value.text)) is not None:
        yield _foreign_problem(one, value, path, foreign)
    elif one.kind == "image":
        if found := image_problem(value.text) or image_warning(value.text):
            yield problem(*found)
    elif value.text.startswith("arn:"):
        yield problem("E072", _arn_message(one, value.text))
    elif not re.fullmatch(one.pattern, value.text):
        yield problem("E071", f"{_what_is_odd(one, value.text)}; write {one.rule}")


_IMAGE_FIELD = next(one for one in SERVICE_FIELDS if one.name == "image")
_Report = Callable[[str, str], Problem]


def _written(one: Field) -> str:
    return f"a container name, for example {one.example}" if one is CONTAINER_NAME else f"{one.name}: {one.example}"


def _label_problems(value: Scalar, path: str) -> Iterator[Problem]:
    hidden = next((c for c in value.text if is_invisible(c)), None)
    if hidden in ("\n", "\r", "\t"):
        yield Problem("E071", value.line, value.column, path, "a label is one line without tabs; write it on one line")
    elif hidden is not None:
        message = f"the label {shown(value.text)} contains {described(hidden)}; remove it"
        yield Problem("E070", value.line, value.column_of(hidden), path, message)
    elif len(value.text) > LONGEST_LABEL:
        message = f"the label has {len(value.text)} characters; write at most {LONGEST_LABEL}"
        yield Problem("E071", value.line, value.column, path, message)


def _integer_problems(one: Field, value: Scalar, problem: _Report) -> Iterator[Problem]:
    advice = f"write a whole number from {one.minimum} to {one.maximum}, for example {one.name}: {one.example}"
    if not re.fullmatch(r"0|[1-9][0-9]*", value.text):
        yield problem("E073", f"{shown(value.text)} is not a whole number; {advice}")
    elif len(value.text) > 9 or not one.minimum <= int(value.text) <= one.maximum:
        yield problem("E073", f"{_cut(value.text)} is out of range; {advice}")


def _choice_problems(one: Field, value: Scalar, problem: _Report) -> Iterator[Problem]:
    if value.text not in one.choices:
        close = difflib.get_close_matches(value.text[:40].casefold(), one.choices, n=1)
        advice = f"did you mean {close[0]}?" if close else f"write {' or '.join(one.choices)}"
        yield problem("E074", f"{one.name} is {shown(value.text)}; {advice}")


def _foreign_problem(one: Field, value: Scalar, path: str, foreign: str) -> Problem:
    look = in_ascii(value.text)
    meant = look if look.isascii() and look and look.isprintable() else ""
    advice = f"write {_cut(meant)}" if meant else "write ASCII letters and digits"
    message = f"the {one.name} {shown(value.text)} contains {described(foreign)}; {advice}"
    return Problem("E070", value.line, value.column_of(foreign), path, message)


def _what_is_odd(one: Field, text: str) -> str:
    odd = next((c for c in text if not re.fullmatch(one.pattern, c)), None)
    if odd is None:
        return f"the {one.name} has {len(text)} characters"
    known = {" ": "a space", "\n": "a line break", "\t": "a tab"}.get(odd, f'"{spelled_out(odd)}"')
    return f"the {one.name} {shown(text)} contains {known}"


def _arn_message(one: Field, arn: str) -> str:
    name = re.split(r"[/:]", arn)[-1]
    advice = f"write the name alone: {one.name}: {_cut(name)}" if re.fullmatch(one.pattern, name) else "write the name alone"
    parts = {"scheduleName": "its group goes into scheduleGroup", "cwRuleName": "its bus goes into eventBusName"}
    also = parts.get(one.name, "another account or Region is chosen with target")
    return f"{_cut(arn)} is an ARN; {advice} ({also})"


def _cut(text: str) -> str:
    return shown(text, longest=100)[1:-1]


# --- entries ------------------------------------------------------------------------------------------------


def _entries(top: _Entry, problems: _Problems) -> list[_Entry]:
    """Read the entries of both lists, tasks first."""
    entries = []
    for name, kind, fields in (("tasks", "task", TASK_FIELDS), ("services", "service", SERVICE_FIELDS)):
        value = top.values.get(name)
        for index, node in enumerate(value.values if isinstance(value, Sequence) else ()):
            path = f"{name}[{index}]"
            if isinstance(node, Mapping):
                entries.append(_read_keys(node, path, fields, problems, kind))
            elif isinstance(node, Scalar) and node.type == "nothing":
                problems.add(Problem("E055", node.line, node.column, path, "an entry without keys; remove the dash"))
            elif not (isinstance(node, Scalar) and node.is_hole):
                message = f"the entry is {_kind_of(node)}, not keys with values; write - service: api and the other keys below it"
                problems.add(Problem("E052", node.line, node.column, path, message))
    return entries


def _something_to_release(top: _Entry, entries: list[_Entry], problems: _Problems) -> None:
    """One of the two lists must have an entry."""
    lists = [value for name, value in top.values.items() if name in ("tasks", "services")]
    empty = all(isinstance(v, Sequence) and not v.values or isinstance(v, Scalar) and not v.text for v in lists)
    if not entries and empty and not top.node.repaired:
        message = "there is nothing to release: neither tasks nor services has an entry; add one"
        problems.add(Problem("E056", top.node.line, top.node.column, "", message))


def _service_is_named(entry: _Entry) -> Iterator[Problem]:
    if entry.kind == "service" and not entry.node.repaired:
        for one in SERVICE_FIELDS:
            if one.name in ("clusterName", "serviceName") and not entry.has(one.name):
                yield entry.problem("E054", one.name, f"{one.name} is missing; write {one.name}: {one.example}")


def _task_is_named(entry: _Entry) -> Iterator[Problem]:
    if entry.kind != "task":
        return
    if entry.has("cwRuleName") and entry.has("scheduleName"):
        yield _later(
            entry, "cwRuleName", "scheduleName",
            "cwRuleName and scheduleName exclude each other: a rule or a schedule runs the task; remove one of them",
        )  # fmt: skip
    elif not entry.has("cwRuleName") and not entry.has("scheduleName") and not entry.node.repaired:
        message = (
            "cwRuleName is missing; write cwRuleName: and the EventBridge rule that runs the task, "
            "or scheduleName: and its EventBridge Scheduler schedule"
        )
        yield entry.problem("E054", "cwRuleName", message)


def _images_are_named(entry: _Entry) -> Iterator[Problem]:
    single = [name for name in ("service", "image") if entry.has(name)]
    if entry.has("images"):
        if single:
            both = " and ".join(single)
            message = f"images stands instead of service and image; remove images or {both}"
            yield _later(entry, "images", single[-1], message)
    elif entry.node.repaired:
        return
    elif not single:
        message = "the entry names no image; write service: and image:, or images: with container names and images"
        yield Problem("E054", entry.node.line, entry.node.column, entry.path, message)
    elif "service" not in single:
        yield entry.problem("E054", "service", "service is missing; write service: and the container that gets the image")
    elif "image" not in single:
        yield entry.problem("E054", "image", "image is missing; write image: and the image to run, for example api:1.2.3")


def _companions_are_there(entry: _Entry) -> Iterator[Problem]:
    for name, other, instead in (
        ("eventBusName", "cwRuleName", "scheduleName"),
        ("targetId", "cwRuleName", "scheduleName"),
        ("scheduleGroup", "scheduleName", "cwRuleName"),
    ):
        if entry.has(name) and entry.has(instead) and not entry.has(other):
            yield entry.problem("E058", name, f"{name} goes with {other}, and this entry has {instead}; remove {name}")


def _later(entry: _Entry, one: str, other: str, message: str) -> Problem:
    last = max(one, other, key=lambda name: (entry.keys[name].line, entry.keys[name].column))
    return entry.problem("E057", last, message)


ENTRY_RULES: tuple[Callable[[_Entry], Iterator[Problem]], ...] = (
    _service_is_named,
    _task_is_named,
    _images_are_named,
    _companions_are_there,
)


# --- entries that make one item -----------------------------------------------------------------------------

_Identity = tuple[str | None, ...]


def _merge(entries: list[_Entry], problems: _Problems) -> list[Item]:
    """Make one item of all entries for one service, rule target or schedule."""
    groups: dict[_Identity, list[_Entry]] = {}
    for entry in entries:
        groups.setdefault(_identity(entry), []).append(entry)
    for group in groups.values():
        problems.extend(_same_container_twice(group))
        problems.extend(_disagreements(group))
    problems.extend(_target_id_sometimes(groups))
    return [_item(group) for group in groups.values()]


def _identity(entry: _Entry) -> _Identity:
    text = entry.texts.get
    target = text("target", "default")
    if entry.kind == "service":
        return "service", target, text("clusterName"), text("serviceName")
    if entry.has("scheduleName"):
        return "schedule", target, text("scheduleGroup", "default"), text("scheduleName")
    return "rule", target, text("eventBusName", "default"), text("cwRuleName"), text("targetId")


def _containers(entry: _Entry) -> dict[str, Scalar]:
    """Container name -> where it is written."""
    if "service" in entry.texts:
        place = entry.values["service"]
        return {entry.texts["service"]: place} if isinstance(place, Scalar) else {}
    return entry.container_keys


def _same_container_twice(group: list[_Entry]) -> Iterator[Problem]:
    first: dict[str, tuple[Scalar, str]] = {}
    for entry in group:
        for container, place in _containers(entry).items():
            if container not in first:
                first[container] = place, entry.path
                continue
            message = (
                f"the container {shown(container)} of {_thing(entry)} is named twice, "
                f"{_both(first[container], (place, entry.path))}; remove one of them"
            )
            path = key_path(entry.path, "service" if entry.has("service") else "images")
            yield Problem("E090", place.line, place.column, path, message)


def _disagreements(group: list[_Entry]) -> Iterator[Problem]:
    for name in ("wave", "timeoutMinutes"):
        given = [entry for entry in group if name in entry.texts]
        for entry in given[1:]:
            if entry.texts[name] != given[0].texts[name]:
                places = ((given[0].keys[name], given[0].path), (entry.keys[name], entry.path))
                message = (
                    f"{name} is {given[0].texts[name]} and {entry.texts[name]} for {_thing(entry)}, "
                    f"{_both(*places)}; entries for the same thing are one item, so write {name} once"
                )
                yield entry.problem("E091", name, message)


def _target_id_sometimes(groups: dict[_Identity, list[_Entry]]) -> Iterator[Problem]:
    """Without targetId the rule's only fitting target is meant, which may be the one another entry names."""
    named: dict[_Identity, list[_Entry]] = {}
    for identity, group in groups.items():
        if identity[0] == "rule":
            named.setdefault(identity[:-1], []).append(group[0])
    for entries in named.values():
        without = [entry for entry in entries if not entry.has("targetId")]
        if without and len(entries) > 1:
            other = next(entry for entry in entries if entry.has("targetId"))
            message = (
                f"{_thing(without[0])} is named with targetId and without, "
                f"{_both(*sorted([(other.node, other.path), (without[0].node, without[0].path)], key=lambda p: p[0].line))}; "
                "write targetId in every entry of this rule"
            )
            yield without[0].problem("E092", "cwRuleName", message)


def _both(first: tuple[Scalar | Mapping, str], second: tuple[Scalar | Mapping, str]) -> str:
    if first[0].line:
        return f"in line {first[0].line} and in line {second[0].line}"
    return f"in {first[1]} and in {second[1]}"


def _thing(entry: _Entry) -> str:
    if entry.kind == "service":
        return f"service {entry.texts['clusterName']}/{entry.texts['serviceName']}"
    if entry.has("scheduleName"):
        return f"schedule {entry.texts.get('scheduleGroup', 'default')}/{entry.texts['scheduleName']}"
    return f"rule {entry.texts['cwRuleName']}"


def _item(group: list[_Entry]) -> Item:
    texts: dict[str, str] = {}
    images: dict[str, str] = {}
    for entry in group:
        texts = {**entry.texts, **texts}
        images |= entry.images
        if "service" in entry.texts and "image" in entry.texts:
            images[entry.texts["service"]] = entry.texts["image"]
    return Item(
        kind=group[0].kind,
        images=images,
        exact=any(entry.has("images") for entry in group),
        target=texts.get("target", "default"),
        wave=int(texts.get("wave", "0")),
        timeout_minutes=int(texts.get("timeoutMinutes", "60")),
        cluster=texts.get("clusterName"),
        service=texts.get("serviceName"),
        rule=texts.get("cwRuleName"),
        event_bus=texts.get("eventBusName", "default"),
        target_id=texts.get("targetId"),
        schedule=texts.get("scheduleName"),
        schedule_group=texts.get("scheduleGroup", "default"),
        path=group[0].path,
    )
