"""The mistakes in YAML that the parser stops at: what to say about each, and how to read on after it.

A YAML parser stops at the first mistake, in words for people who know its grammar. Here each mistake gets a
message that says what to write, and the line is repaired in memory (`HOLE` for what cannot be read), so that
the mistakes after it are found as well. `slips.py` has those that need no parser.
"""

from __future__ import annotations

from dataclasses import replace

from yaml.error import Mark, MarkedYAMLError

from ecs_release.manifest.characters import first_odd_colon
from ecs_release.manifest.lines import KEY, Lines, content_offset, indent_of
from ecs_release.manifest.problem import Problem, plain, shown, spelled_out
from ecs_release.manifest.slips import odd_colon_message


class UnclosedQuoteError(MarkedYAMLError):
    """A quote that is not closed in its line. PyYAML would look for its end in the lines below."""


class ValueTooLongError(MarkedYAMLError):
    """A value that is far longer than any name or image."""


class KeyNotTextError(MarkedYAMLError):
    """A list or mapping where a key should be, for example the inner brackets of ``{{ tag }}``."""


_LIST_BEHIND_COLON = "a list cannot begin behind a colon; begin it on the next line: - service: api"


def explain_and_repair(error: MarkedYAMLError, lines: Lines) -> tuple[Problem, bool]:
    """Return what to tell about ``error``, and whether ``lines`` could be repaired so that reading can go on."""
    problem = _explain(error, lines)
    told = replace(problem, column=lines.column(problem.line, problem.column))
    if problem.code == "E030":
        return told, lines.replace_tabs(problem.line)
    if str(error.problem).startswith(_MORE_AFTER_THE_END):
        begins_deeper = _first_lines_deeper(error, lines)
        if begins_deeper:
            lines.unindent(*begins_deeper)
        return told, begins_deeper is not None
    if problem.code == "E033" or problem.message == _LIST_BEHIND_COLON:
        lines.drop_deeper(problem.line)
    return told, lines.make_hole(problem.line)


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
    if what.startswith(_MORE_AFTER_THE_END):
        return _more_after_the_end(error, mark, lines)
    if doing.startswith("while parsing a flow"):
        return _bracket(start, mark, what)
    if what.startswith("expected <block end>"):
        return _unexpected(mark, lines, what)
    if what.startswith("sequence entries are not allowed"):
        return _at(mark, "E034", _LIST_BEHIND_COLON)
    if "\\t" in what:
        return _at(mark, "E030", "a tab between two parts of the line; write a space instead")
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
    key = KEY.match(text)
    if key and key.start(3) < mark.column:
        value = key[4].strip()
        quoted = f"{plain(key[2])}: {shown(value)}"
        message = f"a second colon in one line; put the value in quotes, {quoted}, or begin a new line"
        return _at(mark, "E032", message)
    above = next((n for n in range(number - 1, 0, -1) if lines.get(n).split("#")[0].strip()), 0)
    if above and not KEY.match(lines.get(above)) and lines.get(above).split("#")[0].strip() != "-":
        return _no_key(above, lines)
    column = indent_of(text) + 1
    expected = content_offset(lines.get(above)) + 1
    message = (
        f"this line begins in column {column}, deeper than line {above} above, whose value it would continue; "
        f"begin it in column {expected}"
    )
    return Problem("E040", number, column, "", message)


_MORE_AFTER_THE_END = "expected '<document start>'"


def _first_lines_deeper(error: MarkedYAMLError, lines: Lines) -> tuple[int, int, int] | None:
    """Return the first and the last of the lines at the top that are indented deeper than those below, and by how much.

    To YAML the file ends with them.
    """
    below = _mark(error.problem_mark).line + 1
    content = [n for n in range(1, below) if lines.get(n).split("#")[0].strip() not in ("", "---")]
    by = indent_of(lines.get(content[0])) - indent_of(lines.get(below)) if content else 0
    return (content[0], content[-1], by) if by > 0 else None


def _more_after_the_end(error: MarkedYAMLError, mark: Mark, lines: Lines) -> Problem:
    if begins_deeper := _first_lines_deeper(error, lines):
        first, last, by = begins_deeper
        column = indent_of(lines.get(first)) + 1
        others = f", and move the lines up to line {last} with it" if last > first else ""
        message = (
            f"this line begins in column {column}, deeper than line {mark.line + 1} below, which is of the same level; "
            f"begin it in column {column - by}{others}"
        )
        return Problem("E040", first, column, "", message)
    message = "the manifest has ended above this line; write all its keys as lines that begin in column 1"
    return _at(mark, "E034", message)


def _no_colon(start: Mark, lines: Lines) -> Problem:
    return _no_key(start.line + 1, lines)


def _no_key(number: int, lines: Lines) -> Problem:
    """The problem of a line that should be ``key: value`` and is not."""
    column = content_offset(lines.get(number))
    content = lines.get(number)[column:].rstrip()
    key, colon, value = content.partition(":")
    if odd := first_odd_colon(key):
        return Problem("E070", number, column + key.index(odd) + 1, "", odd_colon_message(odd))
    if colon and value:
        message = f"no space after the colon; write {plain(key)}: {plain(value)}"
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
