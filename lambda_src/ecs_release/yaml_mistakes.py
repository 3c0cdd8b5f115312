"""The mistakes people make in YAML itself: what to say about each, and how to read on after it.

A YAML parser stops at the first mistake, in words for people who know its grammar. Here each mistake gets a
message that says what to write, and the line is repaired in memory (`HOLE` for what cannot be read), so that
the mistakes after it are found as well.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import Any

from yaml.error import Mark, MarkedYAMLError

from ecs_release.foreign_characters import described, first_foreign
from ecs_release.manifest_fields import KNOWN_KEYS
from ecs_release.problem import Problem, shown, spelled_out

# Stands for what could not be read and has been reported. A noncharacter, which no text may contain.
HOLE = "\ufdd0"

LINE_BREAK = re.compile("\r\n|\r|\n")
_KEY = re.compile(
    r"""([ \t]*(?:-[ \t]+)*)([^\s:#'"\[\]{},&*!|>%@`-][^:#]*?|"[^"]*"|'[^']*')(:(?=\s|$))(.*)"""
)
_DASHES = re.compile(r"([ \t]*(?:-[ \t]+)*)(.*)")
_NO_SPACE = re.compile(rf"([ ]*(?:-[ ]+)*)({'|'.join(sorted(KNOWN_KEYS))}):(?=[^\s:/])(.*)")
_INDENTED_WITH_TAB = re.compile(r"[ ]*\t[ \t]*(?=[^\s#])")
_SPACES = " \u00a0\u1680" + "".join(map(chr, range(0x2000, 0x200C))) + "\u202f\u205f\u2060\u3000"
_CONFLICT = re.compile(r"(<{7}|\|{7}|={7}|>{7})(?: (.*))?$")


class UnclosedQuoteError(MarkedYAMLError):
    """A quote that is not closed in its line. PyYAML would look for its end in the lines below."""


class ValueTooLongError(MarkedYAMLError):
    """A value that is far longer than any name or image."""


class KeyNotTextError(MarkedYAMLError):
    """A list or mapping where a key should be, for example the inner brackets of ``{{ tag }}``."""


@dataclass(slots=True)
class Lines:
    """The lines of a file, repaired where a mistake was found.

    ``lost`` are the lines of which even the key is unknown, ``shift`` says by how much the columns of a line have moved.
    """

    lines: list[str]
    lost: set[int] = field(default_factory=set)
    shift: dict[int, int] = field(default_factory=dict)
    _tried: set[int] = field(default_factory=set)

    @classmethod
    def of(cls, text: str) -> Lines:
        """Split ``text``; the numbers of lines count from 1, as everywhere."""
        return cls(LINE_BREAK.split(text))

    def text(self) -> str:
        """Return the text as it stands now."""
        return "\n".join(self.lines)

    def place(self, mark: Any) -> tuple[int, int]:
        """Return line and column, as they are in the file, of a mark in the repaired text."""
        line = mark.line + 1
        return line, mark.column + 1 + self.shift.get(line, 0)

    def lost_between(self, first: int, last: int) -> bool:
        """Return whether one of the lines ``first`` to ``last`` was lost."""
        return bool(self.lost) and any(line in self.lost for line in range(first, last + 1))

    def get(self, line: int) -> str:
        """Return a line, without its break; nothing beyond the end."""
        return self.lines[line - 1] if 0 < line <= len(self.lines) else ""

    def drop(self, line: int) -> None:
        """Make ``line`` a comment."""
        self.lines[line - 1] = ""
        self.lost.add(line)

    def make_hole(self, line: int) -> bool:
        """Replace what ``line`` says: its value first, then all of it. Return False when nothing is left to replace."""
        text = self.get(line)
        dashes = _DASHES.match(text)
        if not text.strip() or dashes is None:
            return False
        key = _KEY.match(text)
        if key and line not in self._tried:
            self.lines[line - 1] = f"{key[1]}{key[2]}: {HOLE}"
        elif "-" in dashes[1] and line not in self.lost:
            self.lines[line - 1] = f"{dashes[1]}{HOLE}: {HOLE}"
            self.lost.add(line)
        else:
            self.drop(line)
        self._tried.add(line)
        return True

    def replace_tabs(self, line: int) -> bool:
        """Make each tab in ``line`` a space. Return False when there is none."""
        text = self.get(line)
        self.lines[line - 1] = text.replace("\t", " ")
        return "\t" in text

    def drop_deeper(self, line: int) -> None:
        """Drop the lines below ``line`` that belong to its value: those indented deeper, and closing brackets."""
        indent = _content_column(self.get(line))
        for below in range(line + 1, len(self.lines) + 1):
            text = self.get(below)
            is_deeper = len(text) - len(text.lstrip()) > indent
            if text.strip() and not is_deeper and not re.fullmatch(r"[\s\]},]+", text):
                return
            self.drop(below)


def _content_column(line: str) -> int:
    """Return the offset of a line's key, behind its dashes."""
    dashes = _DASHES.match(line)
    return len(dashes[1]) if dashes else 0


# --- mistakes that can be seen line by line, before any parsing ---------------------------------------------


def obvious_mistakes(lines: Lines) -> list[Problem]:
    """Find and repair merge conflicts, tabs in the indentation and known keys without a space after the colon."""
    return [*_merge_conflicts(lines), *_odd_spaces(lines), *_tabs(lines), *_colons_without_space(lines)]


def _merge_conflicts(lines: Lines) -> list[Problem]:
    """Keep our side of each conflict, drop the other and the markers."""
    problems: list[Problem] = []
    opened = dropping = False
    for number, text in enumerate(lines.lines, 1):
        marker = text[0] if _CONFLICT.fullmatch(text) else ""
        if marker and (marker != "=" or opened):
            if marker == "<" or not opened:
                message = (
                    "an unresolved Git merge conflict begins here; keep one side and remove the marker lines"
                )
                problems.append(Problem("E008", number, 1, "", message))
            elif marker == ">":
                message = f"an unresolved Git merge conflict, up to line {number}"
                message += "; keep one side and remove the marker lines"
                problems[-1] = replace(problems[-1], message=message)
            opened = marker != ">"
            dropping = marker in "|="
        if marker or dropping:
            lines.drop(number)
    return problems


def _odd_spaces(lines: Lines) -> list[Problem]:
    """Find lines indented with what looks like spaces and is none, as copied from a web page."""
    problems = []
    for number, text in enumerate(lines.lines, 1):
        if text.isascii():
            continue
        content = text.lstrip(_SPACES)
        indentation = text[: len(text) - len(content)]
        if content and (odd := first_foreign(indentation)) is not None:
            message = f"the indentation contains {described(odd)}; write plain spaces"
            problems.append(Problem("E070", number, text.index(odd) + 1, "", message))
            lines.lines[number - 1] = " " * len(indentation) + content
    return problems


def _tabs(lines: Lines) -> list[Problem]:
    tabbed = [n for n, text in enumerate(lines.lines, 1) if "\t" in text and _INDENTED_WITH_TAB.match(text)]
    for number in tabbed:
        text = lines.get(number)
        content = text.lstrip()
        indent = _fitting_indent(lines, number, content)
        lines.shift[number] = len(text) - len(content) - indent
        lines.lines[number - 1] = " " * indent + content
    if not tabbed:
        return []
    first, others = tabbed[0], tabbed[1:]
    column = lines.shift[first] + len(lines.get(first)) - len(lines.get(first).lstrip())
    original_tab = 1 if column else 0
    also = f" (also in {_line_numbers(others)})" if others else ""
    message = f"a tab in the indentation; YAML takes only spaces, so write spaces instead{also}"
    return [Problem("E030", first, original_tab, "", message)]


def _fitting_indent(lines: Lines, number: int, content: str) -> int:
    """Return the indentation that was probably meant: that of the neighbours."""
    above = next((lines.get(n) for n in range(number - 1, 0, -1) if lines.get(n).strip(" #\t")), "")
    indent = len(above) - len(above.lstrip())
    opens = re.sub(r"\s+#.*", "", above).rstrip().endswith(":")
    if content.startswith("- "):
        if opens:
            return indent + 2
        dashed = next(
            (lines.get(n) for n in range(number - 1, 0, -1) if lines.get(n).lstrip().startswith("- ")), ""
        )
        return len(dashed) - len(dashed.lstrip())
    return _content_column(above) + (2 if opens else 0)


def _line_numbers(numbers: list[int]) -> str:
    few = ", ".join(map(str, numbers[:5]))
    more = f" and {len(numbers) - 5} more" if len(numbers) > 5 else ""
    return f"line{'s' if len(numbers) > 1 else ''} {few}{more}"


def _colons_without_space(lines: Lines) -> list[Problem]:
    problems = []
    for number, text in enumerate(lines.lines, 1):
        if match := _NO_SPACE.match(text):
            column = len(match[1]) + len(match[2]) + 2
            value = match[3].strip()
            message = f"no space after the colon; write {match[2]}: {_cut(value)}"
            problems.append(Problem("E039", number, column + lines.shift.get(number, 0), "", message))
            lines.lines[number - 1] = f"{match[1]}{match[2]}: {HOLE}"
    return problems


# --- mistakes the parser stops at ---------------------------------------------------------------------------


_LIST_BEHIND_COLON = "a list cannot begin behind a colon; begin it on the next line: - service: api"


def explain_and_repair(error: MarkedYAMLError, lines: Lines) -> tuple[Problem, bool]:
    """Return what to tell about ``error``, and whether ``lines`` could be repaired so that reading can go on."""
    problem = _explain(error, lines)
    problem = replace(problem, column=problem.column + lines.shift.get(problem.line, 0))
    if problem.code == "E030":
        return problem, lines.replace_tabs(problem.line)
    if problem.code == "E033" or problem.message == _LIST_BEHIND_COLON:
        lines.drop_deeper(problem.line)
    return problem, lines.make_hole(problem.line)


def _explain(error: MarkedYAMLError, lines: Lines) -> Problem:
    mark = _mark(error.problem_mark or error.context_mark)
    start = _mark(error.context_mark or error.problem_mark)
    what, doing = str(error.problem), str(error.context)
    if isinstance(error, UnclosedQuoteError):
        return _at(
            start,
            "E031",
            "this quote is not closed in its line; write the same quote at the end of the value",
        )
    if what == "found a directive":
        return _at(
            mark, "E034", "a line cannot begin with %; remove the line, a manifest needs no YAML directive"
        )
    if isinstance(error, ValueTooLongError):
        return _at(start, "E007", "a value of more than 10,000 characters; no name and no image is that long")
    if isinstance(error, KeyNotTextError):
        return _key_not_text(mark, lines)
    if what.startswith("mapping values are not allowed"):
        return _unexpected_colon(mark, lines)
    if what.startswith("could not find expected ':'"):
        return _no_colon(start, lines)
    if doing.startswith("while parsing a flow"):
        return _bracket(start, mark, what)
    if what.startswith("expected <block end>"):
        return _unexpected(mark, lines, what)
    if what.startswith("sequence entries are not allowed"):
        return _at(mark, "E034", _LIST_BEHIND_COLON)
    if "\\t" in what:
        return _at(mark, "E030", "a tab where YAML takes only spaces; write a space instead")
    if "cannot start any token" in what:
        first = lines.get(mark.line + 1)[mark.column : mark.column + 1]
        return _at(mark, "E034", f'a value cannot begin with {spelled_out(first)}; put it in quotes: "..."')
    if "alias" in doing or "anchor" in doing:
        return _at(
            start,
            "E035",
            "anchors (&) and aliases (*) are not allowed; write the value out, or put it in quotes",
        )
    if "tag" in doing or "tag" in what:
        return _at(start, "E036", "tags (!) are not allowed; write the plain value, or put it in quotes")
    if "escape" in what or "not a character" in what:
        message = "a backslash in double quotes begins an escape; write two backslashes or use single quotes"
        return _at(mark, "E034", message)
    return _at(mark, "E034", f"not YAML here: {spelled_out(what)}; put the value in quotes, or remove it")


def _mark(mark: Mark | None) -> Mark:
    assert mark is not None  # noqa: S101 - PyYAML gives one of the two with each error
    return mark


def _at(mark: Mark, code: str, message: str) -> Problem:
    return Problem(code, mark.line + 1, mark.column + 1, "", message)


def _unexpected_colon(mark: Mark, lines: Lines) -> Problem:
    number = mark.line + 1
    text = lines.get(number)
    key = _KEY.match(text)
    if key and key.start(3) < mark.column:
        value = key[4].strip()
        quoted = f"{_cut(key[2])}: {shown(value)}"
        message = f"a second colon in one line; put the value in quotes, {quoted}, or begin a new line"
        return _at(mark, "E032", message)
    above = next((n for n in range(number - 1, 0, -1) if lines.get(n).split("#")[0].strip()), 0)
    if above and not _KEY.match(lines.get(above)) and lines.get(above).split("#")[0].strip() != "-":
        return _no_key(above, lines)
    column = len(text) - len(text.lstrip()) + 1
    expected = _content_column(lines.get(above)) + 1
    message = (
        f"this line begins in column {column}, deeper than line {above} above, whose value it would continue; "
        f"begin it in column {expected}"
    )
    return Problem("E040", number, column, "", message)


def _no_colon(start: Mark, lines: Lines) -> Problem:
    return _no_key(start.line + 1, lines)


def _no_key(number: int, lines: Lines) -> Problem:
    """The problem of a line that should be ``key: value`` and is not."""
    column = _content_column(lines.get(number))
    content = lines.get(number)[column:].rstrip()
    key, colon, value = content.partition(":")
    if colon and value:
        message = f"no space after the colon; write {_cut(key)}: {_cut(value)}"
        return Problem("E039", number, column + len(key) + 2, "", message)
    message = f"{shown(content)} is neither a key with a value nor part of a list; write key: value"
    return Problem("E034", number, column + 1, "", message)


def _key_not_text(mark: Mark, lines: Lines) -> Problem:
    text = lines.get(mark.line + 1)
    if text[: mark.column].endswith("{") and text[mark.column :].startswith("{"):
        message = "a template such as {{ tag }} is not filled in; write the finished value"
        return Problem("E016", mark.line + 1, mark.column, "", message)
    return _at(
        mark, "E034", "a key must be text; write a name before the colon, and the list or mapping behind it"
    )


def _bracket(start: Mark, mark: Mark, what: str) -> Problem:
    closing = "]" if "']'" in what else "}" if "'}'" in what else "the closing bracket"
    where = f"line {mark.line + 1}, column {mark.column + 1}"
    message = f"this bracket is not closed, or a comma is missing (see {where})"
    return _at(start, "E033", f"{message}; write {closing} at its end and a comma between its parts")


def _unexpected(mark: Mark, lines: Lines, what: str) -> Problem:
    text = lines.get(mark.line + 1)
    before = text[: mark.column].rstrip()
    if before.endswith(('"', "'")):
        message = "text after the closing quote; write the whole value in one pair of quotes, or none"
        return _at(mark, "E031", message)
    if "'}'" in what or "']'" in what or "','" in what:
        return _at(mark, "E033", "a bracket or comma without its opening bracket; remove it")
    message = f"this line begins in column {mark.column + 1}, where no line above it does; align it with the lines around it"
    if before.strip(" -"):
        message = "this cannot stand behind what is before it in the line; begin a new line, or put the value in quotes"
        return _at(mark, "E034", message)
    return _at(mark, "E040", message)


def _cut(text: str) -> str:
    return shown(text)[1:-1]
