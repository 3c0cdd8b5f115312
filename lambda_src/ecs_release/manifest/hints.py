"""What people get wrong in YAML itself, each with what to write instead.

`line_problems` sees what is wrong with single lines, before any parsing: left-over merge conflicts, tabs, and what only looks
like the space, dash or colon that YAML needs. `explain` is for what stops the parser, whose words are for people
who know its grammar.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from yaml.error import MarkedYAMLError

from ecs_release.manifest.characters import ODD_COLONS, described, first_odd_colon
from ecs_release.manifest.keys import EXTENSION, KNOWN_KEYS
from ecs_release.manifest.problem import MOST_PROBLEMS, Problem, plain, shown, spelled_out

_ODD_SPACES = "\u00a0\u1680" + "".join(map(chr, range(0x2000, 0x200C))) + "\u202f\u205f\u2060\u3000"
# What word processors make of a hyphen at the beginning of a line, and what else begins the points of a list there.
_ODD_DASHES = "‐‑‒–—―−﹘﹣－•‣⁃∙·◦●▪■"
_DASHES = r"[ ]*(?:-[ ]+)*"
_KEY = r"""[^\s:#'"\[\]{},&*!|>%@`-][^:#]*?"""
_KNOWN = f"(?:{'|'.join(sorted(KNOWN_KEYS))})"
_QUOTED = (
    r""""(?:[^"\\]|\\.)*+"|'(?:[^']|'')*+'"""  # possessive (*+), so that an endless line costs no memory
)
_KEY_AND_VALUE = re.compile(rf"""[ \t]*(?:-[ \t]+)*({_KEY}|"[^"]*"|'[^']*'):(?=\s|$)(.*)""")
UNCLOSED = "this quote is not closed in its line; write the same quote at the end of the value"
_ODD_COLON = "the key ends with {odd}; write a plain colon and a space"
_ODD_SPACE = "the space here is {odd}; write a plain space"
_NO_SPACE = "no space after the colon; write {key}: {value}"
# How a line begins (the group ``at`` is the place), code, message; the last three need no odd character.
_SLIPS = [
    (re.compile(pattern), code, message)
    for pattern, code, message in (
        (rf"(?:[ ]*-)*[ ]*(?:{_KEY}:)?(?P<at>[{_ODD_SPACES}])[ {_ODD_SPACES}]*+.", "E070", _ODD_SPACE),
        (
            rf"""{_DASHES}(?P<at>[{_ODD_DASHES}])[ {_ODD_SPACES}]*+(?:\{{|["']?[^\s:#"'{{}}\[\],][^:#{{}}\[\],]*:(?:\s|$))""",
            "E070",
            'this entry begins with {odd}; begin it with a hyphen and a space, "- "',
        ),
        (rf"""{_DASHES}["']?{_KNOWN}["']?[ {_ODD_SPACES}]*(?P<at>[{ODD_COLONS}])""", "E070", _ODD_COLON),
        (rf"{_DASHES}(?P<at>-)(?P<value>{_KNOWN}:.*)", "E034", "no space after the dash; write - {value}"),
        (
            rf"(?:{_DASHES}(?={_KNOWN}:)|(?={EXTENSION}))(?P<key>[A-Za-z0-9_.-]+):(?P<at>)(?P<value>[^\s:/].*)",
            "E039",
            _NO_SPACE,
        ),
        ("(?P<at>%)", "E034", "a line cannot begin with %; remove the line, a manifest needs no YAML directive"),
    )
]  # fmt: skip
_TAB = "a tab in the indentation; YAML takes only spaces, so write spaces instead"
_CONFLICT = re.compile(r"(?:<{7}|\|{7}|={7}|>{7})(?: .*)?")
# A line that ends in | or >, behind a key or dashes or alone: a block of text begins below it.
_BLOCK = re.compile(rf"({_DASHES})((?:{_KEY}:[ \t]+)?(?:[&!]\S+[ ]+)*)[|>][-+1-9]*[ \t]*(?:\s#.*)?")
# PyYAML reads YAML 1.1, which forbids these tabs: behind a colon, at the end of a line and before a comment; and in
# JSON, which is one pair of brackets, in the indentation and beside brackets and commas. Spaces are looked at from where they
# begin alone: what is behind them is the same from everywhere.
_TABS = rf"(?<![^\s\[{{,:])(?:{_QUOTED})|(?<!\S)#.*|(?<=:)[ \t]++|(?<![ \t])[ \t]++(?=#|$)"
_HARMLESS_TABS = re.compile(_TABS)
_HARMLESS_TABS_IN_JSON = re.compile(
    rf"{_TABS}|^[ \t]++|(?<=[\[\]{{}},])[ \t]++|(?<![ \t])[ \t]++(?=[\[\]{{}},])"
)


def line_problems(lines: list[str]) -> list[Problem]:
    """Find what is wrong in single lines, and make the tabs in ``lines`` spaces that YAML 1.2 takes for spaces."""
    problems = list(_merge_conflicts(lines))
    is_json = next((text for text in lines if text.strip()), "").lstrip()[:1] in ("{", "[")
    harmless = _HARMLESS_TABS_IN_JSON if is_json else _HARMLESS_TABS
    tabbed: list[int] = []
    for number, written in _outside_blocks(lines):
        text = written
        if "\t" in text:
            text = harmless.sub(lambda found: " " * len(found[0]) if found[0].isspace() else found[0], text)
            lines[number - 1] = text
            if (offset := len(text) - len(text.lstrip(" "))) < len(text) and text[offset] == "\t":
                tabbed.append(number)
        for pattern, code, message in _SLIPS[-3:] if text.isascii() else _SLIPS:
            if found := pattern.match(text):
                value = {name: plain((part or "").strip()) for name, part in found.groupdict().items()}
                advice = message.format(odd=described(found["at"] or " "), **value)
                problems.append(Problem(code, number, found.start("at") + 1, "", advice))
                break
        if len(problems) > MOST_PROBLEMS:
            break
    if tabbed:
        also = f" (also in {len(tabbed) - 1} of the lines below)" if tabbed[1:] else ""
        problems.append(Problem("E030", tabbed[0], lines[tabbed[0] - 1].index("\t") + 1, "", _TAB + also))
    return problems


def _outside_blocks(lines: list[str]) -> Iterator[tuple[int, str]]:
    """Yield number and text of each line outside the blocks of text that begin with ``|`` or ``>``."""
    outside: int | None = None  # as deep as a line is at most that ends the open block
    for number, text in enumerate(lines, 1):
        if outside is not None and (not text.strip() or len(text) - len(text.lstrip(" ")) > outside):
            continue
        outside = None
        if header := ("|" in text or ">" in text) and _BLOCK.fullmatch(text):
            # Behind a key it is deeper than the key, behind dashes than the last dash.
            outside = header.end(1) if header[2] else header[1].rfind("-")
        yield number, text


def _merge_conflicts(lines: list[str]) -> Iterator[Problem]:
    conflicts: list[list[int]] = []
    for number, text in enumerate(lines, 1):
        if text[:1] in "<|=>" and _CONFLICT.fullmatch(text):
            if text[0] == "<" or not conflicts or lines[conflicts[-1][-1] - 1][0] == ">":
                conflicts.append([])
            conflicts[-1].append(number)
    for first, *others in conflicts:
        message = "this line is left over from a Git merge conflict; keep one side and remove the line"
        if others:
            where = f"up to line {others[-1]}" if lines[others[-1] - 1][0] == ">" else "which begins here"
            message = f"an unresolved Git merge conflict, {where}; keep one side and remove the marker lines"
        yield Problem("E008", first, 1, "", message)


# --- what stops the parser ----------------------------------------------------------------------------------

_OPEN_QUOTE = re.compile(rf"""(?:[\s\[\]{{}},]++|{_QUOTED}|[^\s"'#\[\]{{}},][^\s\[\]{{}},]*+)*+(["'])""")
_TEMPLATE = re.compile(r"\{\{|\{%")
# What PyYAML says, code, what we say; E035 and E036 are reported where the value begins.
_ADVICE = (
    ("sequence entries are not allowed", "E034", "a list cannot begin behind a colon; begin it on the next line: - service: api"),
    ("'\\t'", "E030", "a tab between two parts of the line; write a space instead"),
    ("cannot start any token", "E034", 'a value cannot begin with {found}; put it in quotes: "..."'),
    (" alias", "E035", "a name follows * and &, as in *base; write it, or put the value in quotes"),
    (" anchor", "E035", "a name follows * and &, as in &base; write it, or put the value in quotes"),
    (" tag", "E036", "tags (!) are not allowed; write the plain value, or put it in quotes"),
    ("double-quoted", "E034", "a backslash in double quotes begins an escape; write two backslashes or use single quotes"),
    ("", "E034", "not YAML here: {what}; put the value in quotes, or remove it"),
)  # fmt: skip


def explain(error: MarkedYAMLError, lines: list[str]) -> Problem:
    """Return what to tell about the place where PyYAML stopped, or about the quote left open that led there."""
    mark, start = error.problem_mark or error.context_mark, error.context_mark or error.problem_mark
    assert mark is not None and start is not None  # noqa: S101, PT018 - PyYAML gives one of the two with each error
    for number, text in _outside_blocks(lines[: mark.line]):
        if quote := _OPEN_QUOTE.match(text):
            return Problem("E031", number, quote.start(1) + 1, "", UNCLOSED)
    number, what, text = mark.line + 1, str(error.problem), lines[mark.line]
    if template := _TEMPLATE.search(text[: mark.column + 1]):
        such = "{{ tag }}" if template[0] == "{{" else "{% if ... %}"
        message = f"a template such as {such} is not filled in; write the finished value"
        return Problem("E016", number, template.start() + 1, "", message)
    if what.startswith("mapping values are not allowed"):
        return _unexpected_colon(number, mark.column, lines)
    if what.startswith("could not find expected ':'"):
        return _no_key(start.line + 1, lines)
    if what.startswith("expected '<document start>'"):
        return _more_after_the_end(number, mark.column, lines)
    if str(error.context).startswith("while parsing a flow"):
        closing = "]" if "']'" in what else "}" if "'}'" in what else "the closing bracket"
        message = (
            f"this bracket is not closed, or a comma is missing (see line {number}, column {mark.column + 1}); "
            f"write {closing} at its end and a comma between its parts"
        )
        return Problem("E033", start.line + 1, start.column + 1, "", message)
    if what.startswith("expected <block end>"):
        return Problem(*_unexpected(text[: mark.column].rstrip(), number, mark.column + 1, what))
    _, code, message = next(one for one in _ADVICE if one[0] in f"{error.context} {what}")
    at = start if code in ("E035", "E036") else mark
    message = message.format(found=spelled_out(text[mark.column : mark.column + 1]), what=spelled_out(what))
    return Problem(code, at.line + 1, at.column + 1, "", message)


def _content_offset(text: str) -> int:
    """Return the offset of a line's key, behind its dashes."""
    return len(text) - len(re.sub(r"^[ \t]*(?:-[ \t]+)*", "", text))


def _indent(text: str) -> int:
    return len(text) - len(text.lstrip())


def _unexpected_colon(number: int, offset: int, lines: list[str]) -> Problem:
    key = _KEY_AND_VALUE.match(lines[number - 1])
    if key and key.start(2) <= offset:
        quoted = f"{plain(key[1])}: {shown(key[2].strip())}"
        message = f"a second colon in one line; put the value in quotes, {quoted}, or begin a new line"
        return Problem("E032", number, offset + 1, "", message)
    above = next((n for n in range(number - 1, 0, -1) if lines[n - 1].split("#")[0].strip()), 0)
    if above and not _KEY_AND_VALUE.match(lines[above - 1]) and lines[above - 1].split("#")[0].strip() != "-":
        return _no_key(above, lines)
    if not above:  # the first line has nothing above that it could continue
        return _no_key(number, lines)
    column = _indent(lines[number - 1]) + 1
    message = (
        f"this line begins in column {column}, deeper than line {above} above, whose value it would continue; "
        f"begin it in column {_content_offset(lines[above - 1]) + 1}"
    )
    return Problem("E040", number, column, "", message)


def _no_key(number: int, lines: list[str]) -> Problem:
    """Return the problem of a line that should be ``key: value`` and is not."""
    offset = _content_offset(lines[number - 1])
    content = lines[number - 1][offset:].rstrip()
    key, colon, value = content.partition(":")
    if odd := first_odd_colon(key):
        message = _ODD_COLON.format(odd=described(odd))
        return Problem("E070", number, offset + key.index(odd) + 1, "", message)
    if colon and value:
        message = _NO_SPACE.format(key=plain(key), value=plain(value))
        return Problem("E039", number, offset + len(key) + 2, "", message)
    message = f"{shown(content)} is neither a key with a value nor part of a list; write key: value"
    return Problem("E034", number, offset + 1, "", message)


def _more_after_the_end(number: int, offset: int, lines: list[str]) -> Problem:
    """Content below the end: mostly the lines at the top are indented deeper, and to YAML the file ends with them."""
    first, *others = [n for n in range(1, number) if lines[n - 1].split("#")[0].strip()] or [number]
    column = _indent(lines[first - 1]) + 1
    if column - 1 <= offset:
        message = "the manifest has ended above this line; write all its keys as lines that begin in column 1"
        return Problem("E034", number, offset + 1, "", message)
    also = f", and move the lines up to line {others[-1]} with it" if others else ""
    message = (
        f"this line begins in column {column}, deeper than line {number} below, which is of the same level; "
        f"begin it in column {offset + 1}{also}"
    )
    return Problem("E040", first, column, "", message)


def _unexpected(before: str, number: int, column: int, what: str) -> tuple[str, int, int, str, str]:
    if before.endswith(('"', "'")):
        message = "text after the closing quote; write the whole value in one pair of quotes, or none"
        return "E031", number, column, "", message
    if "'}'" in what or "']'" in what or "','" in what:
        return "E033", number, column, "", "a bracket or comma without its opening bracket; remove it"
    if before.strip(" -"):
        message = "this cannot stand behind what is before it in the line; begin a new line, or put the value in quotes"
        return "E034", number, column, "", message
    if what.endswith("found ':'"):
        return "E034", number, column, "", "no key stands before this colon; write key: value"
    message = (
        f"this line begins in column {column}, where no line above it does; align it with the lines around it"
    )
    return "E040", number, column, "", message
