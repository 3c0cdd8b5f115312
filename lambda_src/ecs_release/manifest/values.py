"""Reading the keys of one mapping of the manifest: which key is meant, and whether its value is right.

One mistake is reported once: a misspelt key counts as the key that was meant, and a value that is wrong is left
out, so that no other rule speaks about it again.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache

from ecs_release.manifest.characters import described, first_foreign, first_odd_colon, in_ascii
from ecs_release.manifest.keys import (
    CONTAINER_NAME,
    EXTENSION,
    EXTENSION_PATTERN,
    IMAGE,
    OTHER_NAMES,
    SERVICE_FIELDS,
    TASK_FIELDS,
    TOP_LEVEL_FIELDS,
    Field,
)
from ecs_release.manifest.nodes import LISTS, Entry, Mapping, Node, Scalar, Sequence, key_path
from ecs_release.manifest.problem import Problem, plain, shown
from ecs_release.manifest.scalars import CHECKS, READ, odd_character, without_it


@dataclass(slots=True)
class Keys:
    """A mapping of the manifest: the top level, or one entry of ``tasks`` or ``services``.

    Attributes
    ----------
    kind
        ``"task"`` or ``"service"``; empty for the top level.
    keys, values
        What is written for a field, under the field's name, right or wrong.
    texts
        The values that are right.
    images, containers
        Container name -> image, and -> where it is written, from ``images``; those that are right.
    codes
        The codes of ``ignore``; those that are right.
    misplaced
        Keys that this entry misses, and that stand behind it at the top level instead, which has been said.
    """

    path: str
    node: Mapping
    kind: str = ""
    keys: dict[str, Scalar] = field(default_factory=dict)
    values: dict[str, Node] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)
    images: dict[str, str] = field(default_factory=dict)
    containers: dict[str, Scalar] = field(default_factory=dict)
    codes: list[str] = field(default_factory=list)
    misplaced: frozenset[str] = frozenset()

    def has(self, name: str) -> bool:
        """Return whether the key is written, be its value right or wrong."""
        return name in self.keys

    def may_have(self, name: str) -> bool:
        """Return whether nothing is to be said of a key that is not there: it is, or was meant to be."""
        return self.has(name) or name in self.misplaced or self.node.repaired

    def problem(self, code: str, name: str, message: str) -> Problem:
        """Return a problem with a key: at the key, or at the entry when the key is not there."""
        place = self.keys.get(name, self.node)
        return Problem(code, place.line, place.column, key_path(self.path, name), message)


def read_keys(
    node: Mapping, path: str, fields: tuple[Field, ...], kind: str = ""
) -> tuple[Keys, list[Problem]]:
    """Read a mapping whose keys are ``fields``."""
    keys = Keys(path, node, kind)
    problems: list[Problem] = []
    by_name = {one.name: one for one in fields}
    written = {pair.key.text for pair in node.entries}
    for pair in node.entries:
        name = pair.key.text
        if pair.key.is_hole or (not kind and re.fullmatch(EXTENSION_PATTERN, name)):
            continue
        if not kind and name.startswith(EXTENSION):
            problems.append(_odd_extension(pair.key, path))
            continue
        if name not in by_name:
            meant, problem = _unknown_key(pair, path, list(by_name), written | set(keys.keys), kind)
            problems.append(problem)
            if meant is None:
                continue
            name = meant
        keys.keys[name] = pair.key
        keys.values[name] = pair.value
        problems += _value_problems(keys, by_name[name], pair.value)
    return keys, problems


# --- keys ---------------------------------------------------------------------------------------------------


def _unknown_key(
    pair: Entry, path: str, names: list[str], written: set[str], kind: str
) -> tuple[str | None, Problem]:
    """Return the key that was probably meant, if it is not there already, and what to tell."""
    key = pair.key
    text = shown(key.text)
    free = [name for name in names if name not in written]
    meant = _closest(in_ascii(key.text[:READ]), tuple(free))
    foreign = first_foreign(key.text)
    column = key.column if foreign is None else key.column_of(foreign)

    def problem(code: str, message: str) -> Problem:
        return Problem(code, key.line, column, key_path(path, key.text), message)

    if foreign is not None:
        advice = f"write {meant}" if meant else f"the keys here are {', '.join(names)}"
        if (look := in_ascii(key.text[:READ])) in names and look in written:
            meant, advice = None, f"remove it, or the {look} that is there too"
        return meant, problem("E070", f"the key {text} contains {described(foreign)}; {advice}")
    lists = _lists_with(key.text)
    if lists and not (meant and isinstance(pair.value, Sequence)):
        here = f"an entry of {kind}s has {', '.join(names)}" if kind else "indent it, to stand in that entry"
        return None, problem("E059", f"{text} belongs to an entry of {' or '.join(lists)}; {here}")
    if key.text in _TOP_LEVEL and not (meant and isinstance(pair.value, Scalar)):
        return None, problem("E059", f"{text} belongs to the top level of the file; begin it in column 1")
    if (double := _nearest(key.text, tuple(names))) is not None and double in written:
        what_to_do = "move its entries there" if double in LISTS else "remove this one"
        return None, problem("E053", f"unknown key {text}; {double} is there too, so {what_to_do}")
    if meant:
        return meant, problem("E053", f"unknown key {text}; did you mean {meant}?")
    others = "" if kind else f", and any that begins with {EXTENSION}"
    return None, problem("E053", f"unknown key {text}; the keys here are {', '.join(names)}{others}")


def _odd_extension(key: Scalar, path: str) -> Problem:
    """Refuse a key of the author's own that is mostly something else: ``x-a:&a {b: c}`` is the key ``x-a:&a {b`` to YAML."""
    odd = next(c for c in key.text if not re.fullmatch("[A-Za-z0-9_.-]", c))
    found = described(odd) if first_foreign(odd) else shown(odd)
    message = f"the key {shown(key.text)} contains {found}; write {EXTENSION} and then letters A-Z and a-z, digits, ., - and _"
    return Problem("E053", key.line, key.column_of(odd), key_path(path, key.text), message)


_TOP_LEVEL = frozenset(one.name for one in TOP_LEVEL_FIELDS)


@lru_cache(maxsize=1000)  # a key that thousands of entries have from an alias
def _closest(text: str, names: tuple[str, ...]) -> str | None:
    if len(text) > 40:
        return None
    plain = re.sub(r"[^a-z]", "", text.casefold())
    if (known := OTHER_NAMES.get(plain)) in names:
        return known
    folded = {name.casefold(): name for name in names}
    close = difflib.get_close_matches(plain, folded, n=1, cutoff=0.75)
    return folded[close[0]] if close else None


@lru_cache(maxsize=1000)
def _nearest(text: str, names: tuple[str, ...]) -> str | None:
    """Return the name that is spelt most like ``text``, whether it is written already or not."""
    folded = {name.casefold(): name for name in names}
    close = difflib.get_close_matches(text[:40].casefold(), folded, n=1, cutoff=0.75)
    return folded[close[0]] if close else None


def _lists_with(key: str) -> list[str]:
    lists = (("tasks", TASK_FIELDS), ("services", SERVICE_FIELDS))
    return [name for name, fields in lists if any(one.name == key for one in fields)]


# --- values -------------------------------------------------------------------------------------------------


def _value_problems(keys: Keys, one: Field, value: Node) -> list[Problem]:
    """Check the value of a field, and keep it when it is right."""
    if isinstance(value, Scalar) and value.is_hole:
        return []
    path = key_path(keys.path, one.name)
    if one.kind == "entries":
        return _list_problems(one, value, path)
    if one.kind == "images":
        return _images_problems(keys, one, value, path)
    if one.kind == "codes":
        return _codes_problems(keys, one, value, path)
    problems = list(_scalar_problems(one, value, path, keys.keys[one.name]))
    if not _has_error(problems) and isinstance(value, Scalar):
        keys.texts[one.name] = value.text
    return problems


def _has_error(problems: list[Problem]) -> bool:
    return any(problem.code.startswith("E") for problem in problems)


def kind_of(node: Node) -> str:
    """Return what a value is, in words: "a list", "the text ...", "the number 5"."""
    if isinstance(node, Mapping):
        return "a mapping (key: value)"
    if isinstance(node, Sequence):
        return "a list"
    if node.type != "text":
        return f"the {node.type} {node.text}"
    odd = first_odd_colon(node.text)
    return f"the text {shown(node.text)}" + (f" with {described(odd)}" if odd else "")


def is_nothing(node: Node) -> bool:
    """Return whether nothing is written, or one of YAML's words for it, which are text only where text is expected."""
    return isinstance(node, Scalar) and (
        node.type == "nothing" or node.raw in ("null", "Null", "NULL", "~")  # quotes would be in raw
    )


def _list_problems(one: Field, value: Node, path: str) -> list[Problem]:
    if isinstance(value, Sequence) or is_nothing(value):
        return []
    message = f"{one.name} is {kind_of(value)}, not a list; begin each entry with a dash: - service: api"
    return [Problem("E052", value.line, value.column, path, message)]


def _images_problems(keys: Keys, one: Field, value: Node, path: str) -> list[Problem]:
    advice = f"write images: {one.example}"
    if isinstance(value, Scalar) and not value.text.strip():
        return [keys.problem("E055", one.name, f"images is empty, and a value is required; {advice}")]
    if not isinstance(value, Mapping):
        message = f"images is {kind_of(value)}, not a mapping of container name to image; {advice}"
        return [Problem("E052", value.line, value.column, path, message)]
    if not value.entries and not value.repaired:
        return [
            Problem(
                "E055", value.line, value.column, path, f"images is empty, and a value is required; {advice}"
            )
        ]
    found: list[Problem] = []
    for pair in value.entries:
        name = pair.key
        if name.is_hole or (isinstance(pair.value, Scalar) and pair.value.is_hole):
            continue
        here = key_path(path, name.text)
        problems = list(_scalar_problems(CONTAINER_NAME, name, here, name))
        example = f"write {plain(name.text, longest=100)}: api:1.2.3"
        problems += _scalar_problems(IMAGE, pair.value, here, name, example)
        if not _has_error(problems) and isinstance(pair.value, Scalar):
            keys.images[name.text] = pair.value.text
            keys.containers[name.text] = name
        found += problems
    return found


def _codes_problems(keys: Keys, one: Field, value: Node, path: str) -> list[Problem]:
    advice = f"write {one.name}: {one.example}"
    if not isinstance(value, Sequence):
        if is_nothing(value) or (isinstance(value, Scalar) and not value.text.strip()):
            return [keys.problem("E055", one.name, f"{one.name} is empty, and a value is required; {advice}")]
        message = f"{one.name} is {kind_of(value)}, not a list of codes; {advice}"
        return [Problem("E052", value.line, value.column, path, message)]
    found = []
    for place, node in enumerate(value.values):
        here = f"{path}[{place}]"
        if not isinstance(node, Scalar):
            message = f"an entry of {one.name} is {kind_of(node)}, not a code; {advice}"
            found.append(Problem("E052", node.line, node.column, here, message))
        elif node.text in one.choices:
            keys.codes.append(node.text)
        elif not node.is_hole:
            message = f"{shown(node.text)} is no code that can be ignored; those that can are {', '.join(one.choices)}"
            found.append(Problem("E075", node.line, node.column, here, message))
    return found


def _scalar_problems(one: Field, value: Node, path: str, key: Scalar, example: str = "") -> Iterator[Problem]:
    """Check one value that is neither a list nor a mapping; the first rule that it breaks is reported."""
    example = example or _example(one)

    def problem(code: str, message: str, place: Node = value, column: int = 0) -> Problem:
        return Problem(code, place.line, column or place.column, path, message)

    if not isinstance(value, Scalar):
        yield problem("E052", f"{one.name} is {kind_of(value)}, not one value; {example}")
        return
    if not value.text.strip():
        place = key if value.type == "nothing" else value
        yield problem("E055", f"{one.name} is empty, and a value is required; {example}", place)
        return
    if value.type == "boolean" or (value.type == "fraction" and one.kind != "label"):
        quoted = one.kind in ("name", "label")
        advice = f'write the text "{value.text}" in quotes' if quoted else example
        yield problem("E052", f"{one.name} is the {value.type} {value.text}; {advice}")
        return
    if value.type == "fraction":
        message = f"the number {value.text} may have lost digits on its way (4.10 becomes 4.1)"
        yield problem("W102", f'{message}; write "{value.text}" in quotes')
    odd = odd_character(one, value.text)
    if odd is not None:
        message = (
            f"the {one.name} {shown(value.text)} contains {described(odd)}; {without_it(one, value.text)}"
        )
        yield problem("E070", message, column=value.column_of(odd))
    elif found := CHECKS[one.kind](one, value.text):
        yield problem(*found)


def _example(one: Field) -> str:
    if one is CONTAINER_NAME:
        return f"write a container name, for example {one.example}"
    return f"write {one.name}: {one.example}"
