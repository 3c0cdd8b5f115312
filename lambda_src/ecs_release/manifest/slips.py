"""The slips that can be seen line by line, before any parsing: each is told, and repaired in memory.

Merge conflicts, tabs, and what looks like the space, dash or colon that YAML needs and is none.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from ecs_release.manifest.characters import ODD_COLONS, described, first_foreign
from ecs_release.manifest.keys import KNOWN_KEYS
from ecs_release.manifest.lines import Lines, content_offset, indent_of
from ecs_release.manifest.problem import HOLE, Problem, plain

_KNOWN = "|".join(sorted(KNOWN_KEYS))
_ODD_SPACES = "\u00a0\u1680" + "".join(map(chr, range(0x2000, 0x200C))) + "\u202f\u205f\u2060\u3000"
_SPACES = " " + _ODD_SPACES
# What word processors make of a hyphen at the beginning of a line, and what else begins the points of a list there.
_ODD_DASHES = "‐‑‒–—―−﹘﹣－•‣⁃∙·◦●▪■"

_CONFLICT = re.compile(r"(<{7}|\|{7}|={7}|>{7})(?: (.*))?$")
_INDENTED_WITH_TAB = re.compile(r"[ ]*\t[ \t]*(?=[^\s#])")
# Possessive (++), so that an endless line costs no memory for ways back.
_WORD = re.compile(r"""[ \t]++|"(?:[^"\\]|\\.)*+"|'(?:[^']|'')*+'|:(?=["'])|[\[\]{},]|[^ \t\[\]{},]++""")
_BRACKETS = frozenset("[]{},")
_KEY_OR_BRACE = r"""(?=\{|["']?[^\s:#"'{}\[\],][^:#{}\[\],]*:(?:\s|$))"""
_DASH_WITHOUT_SPACE = re.compile(rf"([ ]*(?:-[ ]+)*)-(?=(?:{_KNOWN}):)")
_ODD_DASH = re.compile(rf"([ ]*(?:-[ ]+)*)([{_ODD_DASHES}])([{_SPACES}]*+){_KEY_OR_BRACE}")
_ODD_SPACE_AFTER_DASH = re.compile(rf"([ ]*(?:-[ ]+)*)-(?=[ ]*[{_ODD_SPACES}])([{_SPACES}]++)(?=.)")
_ODD_COLON = re.compile(
    rf"""([ ]*(?:-[ ]+)*)(["']?(?:{_KNOWN})["']?)[{_SPACES}]*([{ODD_COLONS}][{_SPACES}]*)"""
)
_ODD_SPACE_AFTER_COLON = re.compile(
    rf"""([ ]*(?:-[ ]+)*)([^\s:#'"\[\]{{}},&*!|>%@`-][^:#]*?):([{_ODD_SPACES}][{_SPACES}]*)"""
)
_NO_SPACE = re.compile(rf"([ ]*(?:-[ ]+)*)({_KNOWN}):(?=[^\s:/])(.*)")


def slips(lines: Lines) -> list[Problem]:
    """Find and repair what is wrong in single lines; blocks of text are left alone."""
    problems = _merge_conflicts(lines)
    text = lines.blocks_of_text()
    numbers = [number for number in range(1, len(lines.lines) + 1) if number not in text]
    _make_harmless_tabs_spaces(lines, numbers)
    odd = [number for number in numbers if not lines.get(number).isascii()]
    problems += _odd_indentation(lines, odd)
    problems += _tabs(lines, numbers)
    problems += _odd_dashes(lines, odd)
    problems += _dashes_without_space(lines, numbers)
    problems += _odd_colons(lines, odd)
    problems += _odd_spaces_after_colons(lines, odd)
    problems += _colons_without_space(lines, numbers)
    return problems


# --- merge conflicts ----------------------------------------------------------------------------------------


def _merge_conflicts(lines: Lines) -> list[Problem]:
    """Keep our side of each conflict, drop the other and the markers; of markers left alone drop only themselves."""
    conflicts: list[list[tuple[int, str]]] = []
    for number, text in enumerate(lines.lines, 1):
        if marker := _CONFLICT.fullmatch(text):
            if text[0] == "<" or not conflicts or conflicts[-1][-1][1] == ">":
                conflicts.append([])
            conflicts[-1].append((number, marker[1][0]))
    return [_merge_conflict(lines, markers) for markers in conflicts]


def _merge_conflict(lines: Lines, markers: list[tuple[int, str]]) -> Problem:
    (first, _), (last, last_marker) = markers[0], markers[-1]
    other_side = next((number for number, marker in markers if marker in "|="), last)
    is_whole = last_marker == ">"
    dropped = [number for number, _ in markers] + list(range(other_side, last) if is_whole else ())
    for number in dropped:
        lines.drop(number)
    if len(markers) == 1:
        message = "this line is left over from a Git merge conflict; keep one side and remove the line"
    else:
        where = f"up to line {last}" if is_whole else "which begins here"
        message = f"an unresolved Git merge conflict, {where}; keep one side and remove the marker lines"
    return Problem("E008", first, 1, "", message)


# --- tabs ---------------------------------------------------------------------------------------------------


def _make_harmless_tabs_spaces(lines: Lines, numbers: list[int]) -> None:
    """Replace the tabs that YAML 1.2 takes for spaces, and PyYAML, which reads YAML 1.1, does not.

    Those are the tabs behind a colon, at the end of a line and before a comment, and in a file that is JSON (one pair
    of brackets) the tabs beside brackets and commas and in the indentation too. A tab within a value stays.
    """
    first = next((lines.get(number).lstrip() for number in numbers if lines.get(number).strip()), "")
    for number in numbers:
        if "\t" in lines.get(number):
            text = _without_harmless_tabs(lines.get(number), in_brackets=first[:1] in ("{", "["))
            lines.lines[number - 1] = text


def _without_harmless_tabs(text: str, *, in_brackets: bool) -> str:
    words = _WORD.findall(text)
    for index, word in enumerate(words):
        before = words[index - 1] if index else ""
        after = words[index + 1] if index + 1 < len(words) else "#"
        if word[0] == "#" and (not before or before[0] in " \t"):
            break
        if word[0] not in " \t":
            continue
        is_behind_colon = before.endswith(":") and before[0] not in "\"'"
        is_beside_bracket = not before or before[0] in _BRACKETS or after[0] in _BRACKETS
        if after[0] == "#" or is_behind_colon or (in_brackets and is_beside_bracket):
            words[index] = " " * len(word)
    return "".join(words)


def _tabs(lines: Lines, numbers: list[int]) -> list[Problem]:
    tabbed = [n for n in numbers if "\t" in lines.get(n) and _INDENTED_WITH_TAB.match(lines.get(n))]
    if not tabbed:
        return []
    first, others = tabbed[0], tabbed[1:]
    column = lines.get(first).index("\t") + 1
    for number in tabbed:
        text = lines.get(number)
        lines.edit(number, 0, indent_of(text), " " * _fitting_indent(lines, number, text.lstrip()))
    also = f" (also in {_line_numbers(others)})" if others else ""
    message = f"a tab in the indentation; YAML takes only spaces, so write spaces instead{also}"
    return [Problem("E030", first, column, "", message)]


def _fitting_indent(lines: Lines, number: int, content: str) -> int:
    """Return the indentation that was probably meant: that of the neighbours."""
    above = next((lines.get(n) for n in range(number - 1, 0, -1) if lines.get(n).strip(" #\t")), "")
    opens = re.sub(r"\s+#.*", "", above).rstrip().endswith(":")
    if content.startswith("- "):
        if opens:
            return indent_of(above) + 2
        dashed = (lines.get(n) for n in range(number - 1, 0, -1) if lines.get(n).lstrip().startswith("- "))
        return indent_of(next(dashed, ""))
    return content_offset(above) + (2 if opens else 0)


def _line_numbers(numbers: list[int]) -> str:
    few = ", ".join(map(str, numbers[:5]))
    more = f" and {len(numbers) - 5} more" if len(numbers) > 5 else ""
    return f"line{'s' if len(numbers) > 1 else ''} {few}{more}"


# --- spaces, dashes and colons ------------------------------------------------------------------------------


def _odd_indentation(lines: Lines, numbers: list[int]) -> list[Problem]:
    """Find lines indented with what looks like spaces and is none, as copied from a web page."""
    problems = []
    for number in numbers:
        text = lines.get(number)
        indent = len(text) - len(text.lstrip(_SPACES))
        if indent < len(text) and (odd := first_foreign(text[:indent])) is not None:
            message = f"the indentation contains {described(odd)}; write plain spaces"
            problems.append(Problem("E070", number, text.index(odd) + 1, "", message))
            lines.edit(number, 0, indent, " " * indent)
    return problems


def _at_offset(lines: Lines, code: str, number: int, offset: int, message: str) -> Problem:
    return Problem(code, number, lines.column(number, offset + 1), "", message)


def _odd_dashes(lines: Lines, numbers: list[int]) -> list[Problem]:
    """Find list entries that begin with another character than a hyphen, or with a hyphen and an odd space."""
    problems = []
    for number in numbers:
        text = lines.get(number)
        if found := _ODD_DASH.match(text):
            message = (
                f'this entry begins with {described(found[2])}; begin it with a hyphen and a space, "- "'
            )
            problems.append(_at_offset(lines, "E070", number, found.start(2), message))
            _begin_entry(lines, number, found.start(2), found.end(3))
        elif found := _ODD_SPACE_AFTER_DASH.match(text):
            odd = first_foreign(found[2]) or ""
            message = f"the space after the dash is {described(odd)}; write a plain space"
            problems.append(_at_offset(lines, "E070", number, text.index(odd), message))
            _begin_entry(lines, number, found.end(1), found.end(2))
    return problems


def _dashes_without_space(lines: Lines, numbers: list[int]) -> list[Problem]:
    problems = []
    for number in numbers:
        if found := _DASH_WITHOUT_SPACE.match(lines.get(number)):
            content = lines.get(number)[found.end() :].strip()
            message = f"no space after the dash; write - {plain(content)}"
            problems.append(_at_offset(lines, "E034", number, found.end(1), message))
            _begin_entry(lines, number, found.end(1), found.end())
    return problems


def _begin_entry(lines: Lines, number: int, start: int, end: int) -> None:
    """Write a dash and a space for what stands between the offsets; lines aligned with the key behind it move with it."""
    lines.edit(number, start, end, "-".ljust(max(end - start, 2)))
    others = list(_rest_of_entry(lines, number, start)) if end - start == 1 else []
    if others and min(indent_of(lines.get(below)) for below in others) == end:
        for below in others:
            lines.edit(below, 0, 0, " ")


def _rest_of_entry(lines: Lines, number: int, dash: int) -> Iterator[int]:
    """Return the lines below that are deeper than the entry's dash, up to the next dash: no entry has lists in it."""
    for below in range(number + 1, len(lines.lines) + 1):
        text = lines.get(below)
        if text.strip():
            if indent_of(text) <= dash or text.lstrip()[0] == "-":
                return
            yield below


def odd_colon_message(odd: str) -> str:
    """Return what is wrong with a key that ends with the character ``odd``."""
    return f"the key ends with {described(odd)}; write a plain colon and a space"


def _odd_colons(lines: Lines, numbers: list[int]) -> list[Problem]:
    problems = []
    for number in numbers:
        if found := _ODD_COLON.match(lines.get(number)):
            message = odd_colon_message(found[3][0])
            problems.append(_at_offset(lines, "E070", number, found.start(3), message))
            lines.edit(number, found.start(3), found.end(3), ": ".ljust(len(found[3])))
    return problems


def _odd_spaces_after_colons(lines: Lines, numbers: list[int]) -> list[Problem]:
    problems = []
    for number in numbers:
        if found := _ODD_SPACE_AFTER_COLON.match(lines.get(number)):
            message = f"the space after the colon is {described(found[3][0])}; write a plain space"
            problems.append(_at_offset(lines, "E070", number, found.start(3), message))
            lines.edit(number, found.start(3), found.end(3), " " * len(found[3]))
    return problems


def _colons_without_space(lines: Lines, numbers: list[int]) -> list[Problem]:
    problems = []
    for number in numbers:
        text = lines.get(number)
        if found := _NO_SPACE.match(text):
            message = f"no space after the colon; write {found[2]}: {plain(found[3].strip())}"
            problems.append(_at_offset(lines, "E039", number, found.end(2) + 1, message))
            lines.edit(number, found.end(2), len(text), f": {HOLE}")
    return problems
