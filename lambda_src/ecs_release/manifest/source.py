"""Reading YAML the way it was written: every value as its text, every key and value with its line and column.

PyYAML's own composer finds the structure; nothing lets it guess types, so ``4.10``, ``1:30`` and ``no`` stay what they
are. Limits are checked while it composes, so that a hostile file is refused early. What is no YAML gets one message
(`hints.py`); of what is YAML but does not belong in a manifest, everything is found at once.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Any

import yaml
from yaml.error import MarkedYAMLError, YAMLError
from yaml.events import AliasEvent, CollectionStartEvent, StreamEndEvent
from yaml.nodes import MappingNode, ScalarNode, SequenceNode

from ecs_release.manifest.hints import UNCLOSED, explain, line_problems
from ecs_release.manifest.keys import KNOWN_KEYS
from ecs_release.manifest.nodes import (
    DEEPEST,
    LISTS,
    MOST_ENTRIES,
    MOST_VALUES,
    TOO_MANY_ENTRIES,
    Entry,
    Mapping,
    Node,
    Scalar,
    Sequence,
    Source,
    key_path,
)
from ecs_release.manifest.problem import HOLE, MOST_PROBLEMS, Problem, plain, shown
from ecs_release.manifest.text import decode

# Far more than an entry can use. They bound the time that a hostile file can take.
MOST_KEYS = 100
MOST_LINES = 60_000
LONGEST_VALUE = 10_000
_PART = re.compile(r"[^,\[\]{}]+")  # what may be one value, in brackets or without them
_TOO_LONG = f"a value of more than {LONGEST_VALUE:,} characters; no name and no image is that long"
_LIST = re.compile(rf"(?:{'|'.join(LISTS)}):[ \t]*(?:#.*)?")
_PAIR = re.compile(
    "[\ud800-\udbff][\udc00-\udfff]"
)  # JSON escapes a character beyond U+FFFF so: "\\ud83d\\ude00"
_MARKER = re.compile(r"(?:---|\.\.\.)[ \t]*(?:#.*)?")
_BLANK = re.compile(r"[ \t]*(?:#.*)?")
# A key that a forbidden character, mostly a foreign line end, has made a part of the value before it.
_KEY_BEHIND_HOLE = re.compile(rf"{HOLE}\s*(?:{'|'.join(sorted(KNOWN_KEYS))}):")


def read(data: bytes) -> Source:
    """Read the bytes of a YAML file."""
    lines, problems = decode(data)
    if lines is None:
        return Source(None, tuple(problems))
    if too_many := _too_many(lines):
        return Source(None, (*problems, too_many))
    _without_empty_documents(lines)
    found = [problem for problem in line_problems(lines) if HOLE not in lines[problem.line - 1]]
    if found := found or _too_long(lines):
        return Source(None, (*problems, *found))
    composer = _Composer("\n".join(lines))
    reading = _Reading(composer.buffer)
    try:
        composed = None if all(map(_BLANK.fullmatch, lines)) else composer.document()
        root = reading.node(composed, "") if composed else None
    except _Refused as refused:
        return Source(None, (*problems, refused.problem))
    except MarkedYAMLError as error:
        # A forbidden character mostly is the cause.
        has_forbidden = any(problem.code == "E005" for problem in problems)
        return Source(None, tuple(problems if has_forbidden else [*problems, explain(error, lines)]))
    # Only the first of many are listed; but what is wrong with a value is always said.
    said = {(problem.line, problem.column) for problem in problems if problem.code == "E005"}
    message = "the value contains a character that is not allowed in a manifest; remove it"
    problems = [replace(p, path=p.path or reading.holes.get(p.line, "")) for p in problems]
    problems += [
        Problem("E005", *at, path, message) for at, path in reading.holes_at.items() if at not in said
    ]
    return Source(root, (*problems, *composer.problems, *reading.problems))


def _twice(first: int, second: int) -> str:
    return f"in line {first} and in line {second}" if first != second else f"both times in line {first}"


def _place(raw: str, line: int, column: int) -> tuple[int, int]:
    """Return line and column of the first hole in a value that begins at ``line`` and ``column``."""
    before = raw[: raw.index(HOLE)]
    further = before.count("\n")
    return line + further, len(before) - before.rfind("\n") if further else column + len(before)


def _without_empty_documents(lines: list[str]) -> None:
    """Blank out the markers before and behind the manifest: with nothing but comments there, they make no document."""
    for numbers in (range(len(lines)), range(len(lines) - 1, -1, -1)):
        marker = len(lines)
        for number in numbers:
            if _MARKER.fullmatch(lines[number]):
                marker, lines[number] = number, ""
            elif not _BLANK.fullmatch(lines[number]):
                break
    lines[marker:] = [""] * (len(lines) - marker)


def _too_many(lines: list[str]) -> Problem | None:
    """Refuse what is surely too much at a glance; `_Composer` counts the rest."""
    if len(lines) > MOST_LINES:
        return Problem("E007", MOST_LINES + 1, 1, "", f"more than {MOST_LINES:,} lines; split the release")
    dashed: list[int] = []
    indent: int | None = (
        None  # of the dashes below tasks: or services:, which are the entries; deeper ones are other lists
    )
    is_list = False
    for number, text in enumerate(lines, 1):
        if text[:1] not in ("", " ", "\t", "-", "#"):
            is_list, indent = _LIST.fullmatch(text) is not None, None
        elif is_list and (content := text.lstrip(" ")).startswith("- "):
            indent = len(text) - len(content) if indent is None else indent
            if indent == len(text) - len(content):
                dashed.append(number)
    is_too_long = len(dashed) > MOST_ENTRIES
    return Problem("E007", dashed[MOST_ENTRIES], 1, "", TOO_MANY_ENTRIES) if is_too_long else None


def _too_long(lines: list[str]) -> list[Problem]:
    """Refuse what would take PyYAML long to read; a comment is no value."""
    long = [(number, text) for number, text in enumerate(lines, 1) if len(text) > LONGEST_VALUE]
    return [
        Problem("E007", number, column, "", _TOO_LONG)
        for number, text in long
        if not _BLANK.fullmatch(text) and (column := _column_of_the_longest(text))
    ]


def _column_of_the_longest(text: str) -> int:
    """Return where the first value that is too long begins, 0 when none is; each character is looked at once."""
    for part in _PART.finditer(text):
        value = part[0].lstrip(" \t")
        if len(value) > LONGEST_VALUE:
            return part.end() - len(value) + 1
    return 0


class _Refused(Exception):
    """A limit is reached; ``place`` is one of PyYAML's events or nodes."""

    def __init__(self, code: str, place: Any, message: str) -> None:
        super().__init__(message)
        self.problem = _problem(code, place, message)


def _problem(code: str, place: Any, message: str, path: str = "") -> Problem:
    return Problem(code, place.start_mark.line + 1, place.start_mark.column + 1, path, message)


@dataclass(frozen=True, slots=True)
class _Alias:
    """Where the value behind an anchor is used; ``value`` is its node, None when there is no such anchor."""

    name: Any
    value: Any
    start_mark: Any


class _Composer(yaml.BaseLoader):
    """PyYAML's composer, which counts what it composes, and keeps aliases and the tags that are written."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.problems: list[Problem] = []
        self._open: list[Any] = []  # the keys and indexes that lead to the node that is composed
        self._values = self._entries = 0
        self._unknown_keys: list[Any] = []

    def document(self) -> Any:
        """Return the root node of the only document; None when there is none."""
        try:
            root = self.get_node() if self.check_node() else None
            if not self.check_event(StreamEndEvent):
                message = "a second YAML document starts here; a manifest is one, so remove the --- line"
                event = self.peek_event()  # type: ignore[no-untyped-call]
                self.problems.append(_problem("E037", event, message))
            return root
        except MarkedYAMLError:
            raise
        except (YAMLError, ValueError, OverflowError) as error:
            # PyYAML lets these escape for some broken files, for example for "\U00110000".
            mark = self.get_mark()
            raise MarkedYAMLError("double-quoted", mark, "not a character", mark) from error

    def compose_node(self, parent: Any, index: Any) -> Any:
        """Compose one node, if it is within the limits."""
        event: Any = self.peek_event()  # type: ignore[no-untyped-call]
        self._check_limits(parent, index, event)
        if isinstance(event, AliasEvent):
            self.get_event()  # type: ignore[no-untyped-call]
            return _Alias(event.anchor, self.anchors.get(event.anchor), event.start_mark)
        if first := self.anchors.pop(event.anchor, None):
            message = (
                f"the anchor &{plain(event.anchor, longest=40)} is written twice, "
                f"{_twice(first.start_mark.line + 1, event.start_mark.line + 1)}; give one of them another name"
            )
            self.problems.append(_problem("E035", event, message))
        self._open.append(index)
        node: Any = super().compose_node(parent, index)
        self._open.pop()
        node.tag = event.tag
        return node

    def _check_limits(self, parent: Any, index: Any, event: Any) -> None:
        self._values += 1
        is_in_list = len(self._open) > 1 and getattr(self._open[1], "value", "") in LISTS
        self._entries += isinstance(index, int) and is_in_list and len(self._open) == 2
        if self._entries > MOST_ENTRIES:
            raise _Refused("E007", event, TOO_MANY_ENTRIES)
        if self._values > MOST_VALUES:
            raise _Refused("E007", event, f"more than {MOST_VALUES:,} keys and values; split the release")
        if isinstance(event, CollectionStartEvent) and len(self._open) == DEEPEST:
            raise _Refused("E006", event, f"nested deeper than {DEEPEST} levels; a manifest needs 4")
        if index is None and isinstance(parent, MappingNode):
            if len(parent.value) == MOST_KEYS:
                message = f"more than {MOST_KEYS} keys in one mapping; a manifest never needs that many"
                raise _Refused("E007", event, message)
            is_of_entry = is_in_list and len(self._open) == 3
            if is_of_entry and getattr(event, "value", "<<") not in (*KNOWN_KEYS, "<<"):
                self._unknown_keys.append(event)
            if len(self._unknown_keys) > MOST_PROBLEMS:
                first = self._unknown_keys[0]
                also = f"{MOST_PROBLEMS:,} other keys are unknown; check that this is a manifest"
                raise _Refused("E009", first, f"{shown(first.value)} and {also}")


class _Reading:
    """From PyYAML's nodes to ours, each of them read once, however many aliases use it."""

    def __init__(self, text: str) -> None:
        self.problems: list[Problem] = []
        self.holes: dict[int, str] = {}  # line -> path of what has a forbidden character there
        self.holes_at: dict[
            tuple[int, int], str
        ] = {}  # line and column of the first in a value -> the same path
        self._text = text
        self._done: dict[Any, tuple[Node, int]] = {}  # PyYAML's node -> ours, and how many values are in it
        self._size = 0

    def node(self, node: Any, path: str) -> Node:
        """Return our node for one of PyYAML's."""
        if isinstance(node, _Alias):
            return self._aliased(node, path)
        before = self._size
        self._size += 1
        line, column = node.start_mark.line + 1, node.start_mark.column + 1
        if node.tag is not None:
            tag = plain(node.tag.replace("tag:yaml.org,2002:", "!!"), longest=40)
            self._add("E036", node, f"the tag {tag} is not allowed; write the plain value", path)
        read: Node
        if isinstance(node, ScalarNode):
            read = self._scalar(node, path)
        elif isinstance(node, SequenceNode):
            values = tuple(self.node(value, f"{path}[{index}]") for index, value in enumerate(node.value))
            read = Sequence(values, line, column)
        else:
            read = self._mapping(node, path, line, column)
        self._done[node] = read, self._size - before
        return read

    def _add(self, code: str, place: Any, message: str, path: str) -> None:
        self.problems.append(_problem(code, place, message, path))

    def _aliased(self, alias: Any, path: str) -> Node:
        name = plain(alias.name, longest=40)
        read, size = self._done.get(alias.value, (None, 0))
        if read is None:
            message = f"the alias *{name} stands inside the very value that it repeats; write that value out"
            if alias.value is None:
                message = f"there is no anchor &{name} above this alias; write &{name} before the value it stands for"
            self._add("E035", alias, message, path)
            return Scalar(HOLE, alias.start_mark.line + 1, alias.start_mark.column + 1)
        self._size += size
        if self._size > MOST_VALUES:
            message = f"the aliases make more than {MOST_VALUES:,} keys and values of this file"
            raise _Refused("E007", alias, f"{message}; split the release")
        return read

    def _scalar(self, node: Any, path: str) -> Scalar:
        begin, end, text = node.start_mark.index, node.end_mark.index, node.value
        if properties := re.compile(r"(?:[&!]\S*\s*)+").match(self._text, begin, end):
            begin = properties.end()  # no value without quotes begins with & or !
        raw = self._text[begin:end]
        line, column = node.start_mark.line + 1, node.start_mark.column + 1
        # No further back than the value begins: the line may hold the whole file.
        if before := self._text[node.start_mark.index : begin]:
            line += before.count("\n")
            column = len(before) - before.rfind("\n") if "\n" in before else column + len(before)
        found = [
            Problem(code, line, column, path, message)
            for is_wrong, code, message in (
                (node.style in ("'", '"') and "\n" in raw, "E031", UNCLOSED),
                (len(text) > LONGEST_VALUE, "E007", _TOO_LONG),
            )
            if is_wrong
        ]
        self.problems += found[:1]
        if found or node.tag is not None:
            return Scalar(HOLE, line, column, raw)
        if HOLE in raw:
            self.holes[line] = path
            self.holes_at[_place(raw, line, column)] = path
        else:
            text = _PAIR.sub(lambda pair: pair[0].encode("utf-16", "surrogatepass").decode("utf-16"), text)
            text = text.replace(HOLE, "\ufffe")  # an escape such as "\ufdd0" must not pass for a hole
        return Scalar(text, line, column, raw, "text" if text or node.style else "nothing")

    def _mapping(self, node: Any, path: str, line: int, column: int) -> Mapping:
        entries: dict[str, Entry] = {}
        is_whole = True
        for key_node, value_node in node.value:
            key = self.node(key_node, path)
            if not isinstance(key, Scalar):
                self._key_not_text(key_node, path)
                is_whole = False
                continue
            here = key_path(path, key.text)
            value = self.node(value_node, here)
            is_whole &= not key.is_hole and not _KEY_BEHIND_HOLE.search(getattr(value, "raw", ""))
            if key.text in entries and not key.is_hole:
                advice = "YAML would silently take the last one, so remove one of them"
                if key.raw == "<<":
                    advice, is_whole = "write one with a list, <<: [*base, *other]", False
                twice = _twice(entries[key.text].key.line, key.line)
                message = f"{shown(key.text)} is written twice, {twice}; {advice}"
                self.problems.append(Problem("E038", key.line, key.column, here, message))
            else:
                entries[key.text] = Entry(key, value)
        if "<<" in entries and entries["<<"].key.raw == "<<":
            merge = entries.pop("<<")
            merged: dict[str, Entry] = {}
            is_other = False
            for one in reversed(merge.value.values if isinstance(merge.value, Sequence) else (merge.value,)):
                if isinstance(one, Mapping):
                    merged.update((entry.key.text, entry) for entry in one.entries)
                elif not (isinstance(one, Scalar) and one.is_hole):
                    is_other = True
                is_whole &= isinstance(one, Mapping) and not one.repaired
            if is_other:
                message = "<< takes the keys of another mapping; write <<: *base, or <<: [*base, *other]"
                self.problems.append(Problem("E035", merge.key.line, merge.key.column, path, message))
            entries = {**merged, **entries}  # what is written here counts, then what is merged first
        return Mapping(tuple(entries.values()), line, column, repaired=not is_whole)

    def _key_not_text(self, key: Any, path: str) -> None:
        index = key.start_mark.index
        if self._text[max(index - 1, 0) : index + 1] == "{{":
            message = "a template such as {{ tag }} is not filled in; write the finished value"
            problem = _problem("E016", key, message, path)
            self.problems.append(replace(problem, column=problem.column - 1))
        else:
            message = "a key must be text; write a name before the colon, and the list or mapping behind it"
            self._add("E034", key, message, path)
