"""Reading YAML the way it was written: every value as its text, every key and value with its line and column.

PyYAML finds the structure; nothing here lets it guess types, so ``4.10``, ``1:30`` and ``no`` stay what they
are. Its events are read one by one, without recursion, and limits are checked on the way, so that a hostile
file is refused early. What does not belong in a manifest (anchors, aliases, tags, several documents) is refused
where it stands.

A mistake in the YAML itself does not hide the mistakes after it: its value is replaced by a `HOLE` and the text
is read again. Rules skip holes, since the problem there has been reported.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from yaml.error import MarkedYAMLError, YAMLError
from yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    Event,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)
from yaml.parser import Parser
from yaml.reader import Reader
from yaml.scanner import Scanner

from ecs_release.manifest.characters import BIDIRECTIONAL, described
from ecs_release.manifest.keys import KNOWN_KEYS
from ecs_release.manifest.lines import LINE_BREAK, Lines
from ecs_release.manifest.mistakes import (
    KeyNotTextError,
    UnclosedQuoteError,
    ValueTooLongError,
    explain_and_repair,
)
from ecs_release.manifest.problem import HOLE, MOST_PROBLEMS, TOO_MANY_PROBLEMS, Problem, shown
from ecs_release.manifest.slips import slips

LARGEST_FILE = 1024 * 1024
DEEPEST = 20
MOST_ENTRIES = 5000
# Far more than an entry can use. They bound the time that a hostile file can take.
MOST_KEYS = 100
MOST_VALUES = 100_000
MOST_LINES = 100_000
LONGEST_VALUE = 10_000
# Characters read in all, when mistakes in the YAML make it necessary to read the file again.
MOST_EFFORT = LARGEST_FILE

ScalarType = Literal["text", "number", "fraction", "boolean", "nothing"]


@dataclass(frozen=True, slots=True)
class Scalar:
    """One value. ``raw`` is its source text; ``type`` differs from "text" only for JSON values and for nothing."""

    text: str
    line: int
    column: int
    raw: str = ""
    type: ScalarType = "text"

    @property
    def is_hole(self) -> bool:
        return HOLE in self.text

    def column_of(self, character: str) -> int:
        """Return the column of ``character``, which is in this value; the value's own where it is not written as such."""
        offset = self.raw.partition("\n")[0].find(character)
        return self.column + max(offset, 0)


@dataclass(frozen=True, slots=True)
class Entry:
    """One key of a mapping with its value."""

    key: Scalar
    value: Node


@dataclass(frozen=True, slots=True)
class Mapping:
    """``repaired``: part of it could not be read, so that a key may be missing only here and not in the file."""

    entries: tuple[Entry, ...]
    line: int
    column: int
    repaired: bool = False


@dataclass(frozen=True, slots=True)
class Sequence:
    """A list."""

    values: tuple[Node, ...]
    line: int
    column: int


Node = Scalar | Mapping | Sequence


@dataclass(frozen=True, slots=True)
class Source:
    """What was read: the root value, None when there is none, and every problem met on the way."""

    root: Node | None
    problems: tuple[Problem, ...]


def key_path(path: str, key: str) -> str:
    """Return the path of ``key`` below ``path``; of a key that could not be read, ``path`` itself."""
    if HOLE in key:
        return path
    name = key if re.fullmatch(r"[A-Za-z0-9_-]{1,64}", key) else shown(key, longest=40)
    return f"{path}.{name}" if path else name


def read(data: bytes) -> Source:
    """Read the bytes of a YAML file."""
    text, problems = _decode(data)
    if text is None:
        return Source(None, tuple(problems))
    text, found = _without_forbidden_characters(text)
    lines = Lines.of(text)
    if too_many := _too_many(lines):
        return Source(None, (*problems, too_many))
    # What else is wrong in a line with a forbidden character mostly comes from that character.
    explained = {number for number, line in enumerate(lines.lines, 1) if HOLE in line}
    lines.lost |= {number for number in explained if _KEY_BEHIND_HOLE.search(lines.get(number))}
    problems += found + _misleading_comments(lines)
    problems += [problem for problem in slips(lines) if problem.line not in explained]
    effort = 0
    while True:
        reading = _Reading(lines)
        problems += reading.fatal
        effort += len(text)
        if reading.mistake is None:
            break
        mistake, repaired = explain_and_repair(reading.mistake, lines)
        if mistake.line not in explained:
            problems.append(mistake)
        explained.add(mistake.line)
        if not repaired or effort > MOST_EFFORT:
            break
    problems = [replace(p, path=p.path or reading.holes.get(p.line, "")) for p in problems]
    return Source(reading.root, tuple(problems + reading.problems))


# --- bytes -> text ------------------------------------------------------------------------------------------


def _decode(data: bytes) -> tuple[str | None, list[Problem]]:
    def refuse(code: str, message: str) -> tuple[None, list[Problem]]:
        return None, [Problem(code, 1, 1, "", message)]

    if len(data) > LARGEST_FILE:
        return refuse("E002", f"the file is larger than 1 MiB ({LARGEST_FILE:,} bytes); split the release")
    if data.startswith((b"\xff\xfe", b"\xfe\xff")) or _looks_like_utf_16(data):
        return refuse("E003", "the file is UTF-16; save it as UTF-8")
    problems: list[Problem] = []
    if data.startswith(b"\xef\xbb\xbf"):
        message = (
            "the file starts with a byte order mark (U+FEFF, bytes EF BB BF); save it as UTF-8 without it"
        )
        problems.append(Problem("E004", 1, 1, "", message))
        data = data[3:]
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        before = data[: error.start].decode("utf-8")
        line, column = _place(before, len(before))
        byte = data[error.start]
        message = f"the byte 0x{byte:02X} at offset {error.start + 3 * len(problems)} is not UTF-8; save the file as UTF-8"
        return None, [*problems, Problem("E003", line, column, "", message)]
    if (offset := text.find("\0")) >= 0:
        line, column = _place(text, offset)
        message = f"a NUL character (U+0000) at byte offset {data.find(0)}: this is a binary file, not YAML"
        return None, [*problems, Problem("E003", line, column, "", message)]
    return text, problems


def _looks_like_utf_16(data: bytes) -> bool:
    """UTF-16 without its mark: in mostly Latin text every second byte is 0."""
    start = data[:64]
    return len(start) >= 4 and (not any(start[0::2]) or not any(start[1::2])) and any(start)


# Control characters, line separators that only YAML 1.1 knows (a reader of the file sees one line where PyYAML
# sees two), a byte order mark in the middle, and noncharacters.
_FORBIDDEN = re.compile("[\x01-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028\u2029\ufeff\ufdd0-\ufdef\ufffe\uffff]")
_MOST_CHARACTERS_REPORTED = 50
# A key that a forbidden character, mostly a foreign line end, has made a part of the value before it.
_KEY_BEHIND_HOLE = re.compile(rf"{HOLE}[ ]*(?:{'|'.join(sorted(KNOWN_KEYS))}):")


def _place(text: str, offset: int) -> tuple[int, int]:
    """Return line and column (from 1) of ``offset``."""
    line, start = 1, 0
    for line_break in LINE_BREAK.finditer(text, 0, offset):
        line, start = line + 1, line_break.end()
    return line, offset - start + 1


def _without_forbidden_characters(text: str) -> tuple[str, list[Problem]]:
    problems = []
    for match in _FORBIDDEN.finditer(text):
        line, column = _place(text, match.start())
        message = f"the character U+{ord(match.group()):04X} is not allowed in a manifest; remove it"
        problems.append(Problem("E005", line, column, "", message))
        if len(problems) == _MOST_CHARACTERS_REPORTED:
            break
    return _FORBIDDEN.sub(HOLE, text), problems


def _too_many(lines: Lines) -> Problem | None:
    """Refuse what is surely too much at a glance; `_Reading` counts the rest."""
    if len(lines.lines) > MOST_LINES:
        message = f"more than {MOST_LINES:,} lines; split the release"
        return Problem("E007", MOST_LINES + 1, 1, "", message)
    dashed = [number for number, text in enumerate(lines.lines, 1) if text.lstrip(" ").startswith("- ")]
    if len(dashed) > MOST_ENTRIES:
        message = f"more than {MOST_ENTRIES:,} entries; split the release"
        return Problem("E007", dashed[MOST_ENTRIES], 1, "", message)
    return None


_MISLEADING_COMMENT = re.compile(rf"(?:^|\s)#.*?([{BIDIRECTIONAL}])")


def _misleading_comments(lines: Lines) -> list[Problem]:
    """Find comments that a reviewer may see differently from what they are (the "Trojan Source" attack)."""
    problems = []
    for number, text in enumerate(lines.lines, 1):
        if not text.isascii() and (match := _MISLEADING_COMMENT.search(text)):
            message = f"the comment contains {described(match[1])}; remove it"
            problems.append(Problem("W103", number, match.start(1) + 1, "", message))
    return problems


# --- text -> nodes ------------------------------------------------------------------------------------------


_BLANK = re.compile(r"(?:[ ]*(?:#[^\n\0]*)?\n)*[ ]*(?:#[^\n\0]*)?")
# Possessive (*+), so that an endless quote costs no memory for ways back.
_CLOSED_IN_ITS_LINE = re.compile(r"""'(?:[^'\n]++|'')*+'|"(?:[^"\\\n]++|\\[^\n])*+\"""")


class _Events(Reader, Scanner, Parser):
    """PyYAML's own reader, scanner and parser, without its composer, resolver and constructor."""

    def __init__(self, text: str) -> None:
        self._settled = -1  # number of the token that is known not to be a key
        Reader.__init__(self, text)
        Scanner.__init__(self)
        Parser.__init__(self)

    def forward(self, length: int = 1) -> None:
        """Move on, as Reader does, but in one step as long as no line ends: that makes reading twice as fast."""
        if length == 1:
            is_break = self.buffer[self.pointer] == "\n"
            self.pointer += 1
            self.index += 1
            self.line += is_break
            self.column = 0 if is_break else self.column + 1
            return
        passed = self.buffer[self.pointer : self.pointer + length]
        self.pointer += length
        self.index += length
        if "\n" in passed:
            self.line += passed.count("\n")
            self.column = len(passed) - passed.rindex("\n") - 1
        else:
            self.column += length

    def scan_to_next_token(self) -> None:
        """Pass over spaces, comments and empty lines, as Scanner does, but all at once."""
        blank = _BLANK.match(self.buffer, self.pointer)
        assert blank is not None  # noqa: S101 - it matches nothing at all as well
        if blank.end() > self.pointer:
            line = self.line
            self.forward(blank.end() - self.pointer)
            if self.line > line and not self.flow_level:
                self.allow_simple_key = True

    def check_token(self, *choices: Any) -> bool:
        """Answer as Scanner does, which is asked several times about each token: look ahead for the first time only."""
        if self._settled != self.tokens_taken:
            while self.need_more_tokens():
                self.fetch_more_tokens()
            if not self.tokens:
                return False
            self._settled = self.tokens_taken
        return not choices or isinstance(self.tokens[0], choices)

    def fetch_directive(self) -> None:
        """Refuse ``%YAML`` and its like, which a manifest does not need."""
        raise MarkedYAMLError(
            "while reading a directive", self.get_mark(), "found a directive", self.get_mark()
        )

    def scan_flow_scalar(self, style: str) -> Any:
        """Read a quoted value, which must end in its line: the quote that ends it further down is another one's."""
        closed = _CLOSED_IN_ITS_LINE.match(self.buffer, self.pointer)
        if closed is None:
            raise UnclosedQuoteError("while reading a value", self.get_mark(), "not closed", self.get_mark())
        if closed.end() - self.pointer > LONGEST_VALUE:
            raise ValueTooLongError("while reading a value", self.get_mark(), "too long", self.get_mark())
        return super().scan_flow_scalar(style)

    def scan_plain_spaces(self, indent: int, start_mark: Any) -> Any:
        """Go on to the next word of a value without quotes, if it may have one."""
        if self.index - start_mark.index > LONGEST_VALUE:
            raise ValueTooLongError("while reading a value", start_mark, "too long", start_mark)
        return super().scan_plain_spaces(indent, start_mark)


class _Refused(Exception):
    """Reading cannot go on."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.message)
        self.problem = problem


# Root mapping, list of entries, entry: a tag above does not make what is below unreadable.
_DEPTH_OF_ENTRIES = 2


@dataclass(slots=True)
class _Open:
    """A mapping or list whose end has not been read yet."""

    path: str
    line: int
    column: int
    is_mapping: bool
    values: list[Node] = field(default_factory=list)
    entries: list[Entry] = field(default_factory=list)
    keys: dict[str, Scalar] = field(default_factory=dict)
    key: Scalar | None = None
    ignore_value: bool = False
    is_tagged: bool = False
    repaired: bool = False

    def value_path(self) -> str:
        if not self.is_mapping:
            return f"{self.path}[{len(self.values)}]"
        return key_path(self.path, self.key.text) if self.key else self.path


class _Reading:
    """One pass over the text.

    ``root`` and ``problems`` are the result; ``mistake`` is where PyYAML stopped, ``fatal`` where we did.
    """

    def __init__(self, lines: Lines) -> None:
        self.text = lines.text()
        self.root: Node | None = None
        self.problems: list[Problem] = []
        self.mistake: MarkedYAMLError | None = None
        self.fatal: list[Problem] = []
        # Line -> path of a value that had to be replaced there.
        self.holes: dict[int, str] = {}
        self._lines = lines
        self._open: list[_Open] = []
        self._values = 0
        self._unknown_keys = 0
        self._entries = 0
        try:
            for event in self._events():
                self._take(event)
        except MarkedYAMLError as mistake:
            self.mistake = mistake
            self.root = None
        except _Refused as refused:
            self.fatal.append(refused.problem)
            if refused.problem.code == "E009":
                self._close(refused.problem.line)
            elif refused.problem.code != "E037":
                self.root = None

    def _events(self) -> Iterator[Event]:
        events = _Events(self.text)
        try:
            while events.check_event():
                yield events.get_event()  # type: ignore[no-untyped-call]
        except MarkedYAMLError:
            raise
        except (YAMLError, ValueError, IndexError, OverflowError) as error:
            # PyYAML lets these escape for some broken files, for example for "\U00110000".
            mark = events.get_mark()
            raise MarkedYAMLError("while reading", mark, "not a character", mark) from error

    def _take(self, event: Any) -> None:
        line, column = self._lines.place(event.start_mark)
        last_line = event.end_mark.line + 1
        if isinstance(event, DocumentStartEvent):
            if self.root is not None:
                message = (
                    "a second YAML document starts here; a manifest is one document, so remove the --- line"
                )
                raise _Refused(Problem("E037", line, column, "", message))
        elif isinstance(event, AliasEvent):
            self._problem(
                "E035", line, column, f"the alias *{_cut(event.anchor)} is not allowed; write the value out"
            )
            self._add(Scalar(HOLE, line, column))
        elif isinstance(event, ScalarEvent):
            self._refuse_anchor_and_tag(event, line, column)
            self._add(self._scalar(event, line, column))
        elif isinstance(event, MappingStartEvent | SequenceStartEvent):
            self._refuse_anchor_and_tag(event, line, column)
            self._begin(isinstance(event, MappingStartEvent), line, column, event.start_mark, event.tag)
        elif isinstance(event, MappingEndEvent | SequenceEndEvent):
            self._end(last_line)

    def _scalar(self, event: Any, line: int, column: int) -> Scalar:
        raw = self.text[event.start_mark.index : event.end_mark.index]
        if event.tag is not None:
            return Scalar(HOLE, line, column)
        if event.style is None and event.value == "":
            return Scalar("", line, column, raw, "nothing")
        # An escape such as "\ufdd0" must not pass for a hole.
        text = event.value if HOLE in raw else event.value.replace(HOLE, "\ufffe")
        return Scalar(text, line, column, raw)

    def _refuse_anchor_and_tag(self, event: Any, line: int, column: int) -> None:
        if event.anchor is not None:
            message = (
                f"the anchor &{_cut(event.anchor)} is not allowed; write the value out wherever it is needed"
            )
            self._problem("E035", line, column, message)
        if event.tag is not None:
            tag = event.tag.replace("tag:yaml.org,2002:", "!!")
            self._problem("E036", line, column, f"the tag {_cut(tag)} is not allowed; write the plain value")

    def _begin(self, is_mapping: bool, line: int, column: int, mark: Any, tag: Any) -> None:
        if len(self._open) == DEEPEST:
            message = f"nested deeper than {DEEPEST} levels; a manifest needs 4"
            raise _Refused(Problem("E006", line, column, "", message))
        parent = self._open[-1] if self._open else None
        if parent and parent.is_mapping and parent.key is None:
            raise KeyNotTextError("while reading a key", mark, "not a text", mark)
        path = parent.value_path() if parent else ""
        self._count(line, column, path)
        is_tagged = tag is not None and len(self._open) > _DEPTH_OF_ENTRIES
        self._open.append(_Open(path, line, column, is_mapping, is_tagged=is_tagged))

    def _end(self, last_line: int) -> None:
        done = self._open.pop()
        if done.is_tagged:
            self._place_value(Scalar(HOLE, done.line, done.column))
            return
        if done.is_mapping:
            repaired = done.repaired or self._lines.lost_between(done.line, last_line)
            self._place_value(Mapping(tuple(done.entries), done.line, done.column, repaired))
        else:
            self._place_value(Sequence(tuple(done.values), done.line, done.column))

    def _close(self, last_line: int) -> None:
        """Make do with what has been read so far."""
        self._open[-1].key = None
        while self._open:
            self._open[-1].repaired = True
            self._end(last_line)

    def _add(self, scalar: Scalar) -> None:
        parent = self._open[-1] if self._open else None
        self._count(scalar.line, scalar.column, parent.path if parent else "")
        if parent and parent.is_mapping and parent.key is None:
            self._begin_key(parent, scalar)
            return
        if scalar.is_hole:
            self.holes[scalar.line] = parent.value_path() if parent else ""
        self._place_value(scalar)

    def _begin_key(self, parent: _Open, key: Scalar) -> None:
        parent.key = key
        parent.repaired = parent.repaired or key.is_hole
        path = key_path(parent.path, key.text)
        self._unknown_keys += key.text not in KNOWN_KEYS and len(self._open) == _DEPTH_OF_ENTRIES + 1
        if self._unknown_keys > MOST_PROBLEMS:  # the rules will report them; there is no need to read more
            raise _Refused(Problem("E009", key.line, key.column, path, TOO_MANY_PROBLEMS))
        if len(parent.keys) == MOST_KEYS:
            message = f"more than {MOST_KEYS} keys in one mapping; a manifest never needs that many"
            raise _Refused(Problem("E007", key.line, key.column, parent.path, message))
        if key.text == "<<" and key.raw == "<<":
            self._problem(
                "E035",
                key.line,
                key.column,
                "the merge key << is not allowed; write the keys out",
                parent.path,
            )
            parent.ignore_value = True
            parent.repaired = True
        elif key.text in parent.keys and not key.is_hole:
            first = parent.keys[key.text]
            message = (
                f"{shown(key.text)} is written twice, in line {first.line} and in line {key.line}; "
                "YAML would silently take the last one, so remove one of them"
            )
            self._problem("E038", key.line, key.column, message, path)
            parent.ignore_value = True
        else:
            parent.keys[key.text] = key

    def _place_value(self, node: Node) -> None:
        if not self._open:
            self.root = node
            return
        parent = self._open[-1]
        if not parent.is_mapping:
            parent.values.append(node)
            return
        assert parent.key is not None  # noqa: S101 - the parser sends a key before each value
        if not parent.ignore_value:
            parent.entries.append(Entry(parent.key, node))
        parent.key, parent.ignore_value = None, False

    def _count(self, line: int, column: int, path: str) -> None:
        """Refuse a file with more values than any release has, before it costs time and memory."""
        self._values += 1
        parent = self._open[-1] if self._open else None
        if parent and not parent.is_mapping:
            self._entries += 1
        if self._entries > MOST_ENTRIES:
            message = f"more than {MOST_ENTRIES:,} entries; split the release"
            raise _Refused(Problem("E007", line, column, path, message))
        if self._values > MOST_VALUES:
            message = f"more than {MOST_VALUES:,} keys and values; split the release"
            raise _Refused(Problem("E007", line, column, path, message))

    def _problem(self, code: str, line: int, column: int, message: str, path: str | None = None) -> None:
        if path is None:
            path = self._open[-1].value_path() if self._open else ""
        self.problems.append(Problem(code, line, column, path, message))
        if len(self.problems) > MOST_PROBLEMS:
            raise _Refused(Problem("E009", line, column, "", TOO_MANY_PROBLEMS))


def _cut(text: str | None) -> str:
    return shown(text or "", longest=40)[1:-1]
