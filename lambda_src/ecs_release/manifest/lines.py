"""The lines of a YAML file in memory, where a mistake can be repaired so that the mistakes after it are found as well."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from ecs_release.manifest.problem import HOLE

LINE_BREAK = re.compile("\r\n|\r|\n")
KEY = re.compile(r"""([ \t]*(?:-[ \t]+)*)([^\s:#'"\[\]{},&*!|>%@`-][^:#]*?|"[^"]*"|'[^']*')(:(?=\s|$))(.*)""")
_DASHES = re.compile(r"([ \t]*(?:-[ \t]+)*)(.*)")
# A line that ends in | or >, behind a key or dashes or alone: a block of text begins below it.
_BLOCK_OF_TEXT = re.compile(
    r"""[ ]*(?P<dashes>(?:-[ \t]+)*)(?P<key>[^\s#'"\[\]{},&*!|>%@`-][^#]*?:[ \t]+)?[|>][+-]?[1-9]?[+-]?[ \t]*(?:\s#.*)?"""
)


@dataclass(slots=True)
class Lines:
    """The lines of a file, repaired where a mistake was found; their numbers count from 1, as everywhere.

    ``lost`` are the lines of which even the key is unknown.
    """

    lines: list[str]
    lost: set[int] = field(default_factory=set)
    # Line -> what was replaced in it, in order: offsets of begin and end, and the length of what stands there now.
    _edits: dict[int, list[tuple[int, int, int]]] = field(default_factory=dict)
    _tried: set[int] = field(default_factory=set)

    @classmethod
    def of(cls, text: str) -> Lines:
        """Split ``text``."""
        return cls(LINE_BREAK.split(text))

    def text(self) -> str:
        """Return the text as it stands now."""
        return "\n".join(self.lines)

    def get(self, line: int) -> str:
        """Return a line, without its break; nothing beyond the end."""
        return self.lines[line - 1] if 0 < line <= len(self.lines) else ""

    def edit(self, line: int, start: int, end: int, new: str) -> None:
        """Replace the characters from offset ``start`` up to ``end``; `column` knows where the others were."""
        text = self.get(line)
        self.lines[line - 1] = text[:start] + new + text[end:]
        if len(new) != end - start:
            self._edits.setdefault(line, []).append((start, end, len(new)))

    def column(self, line: int, column: int) -> int:
        """Return the column, as it is in the file, of a column in the repaired line."""
        offset = column - 1
        for start, end, length in reversed(self._edits.get(line, [])):
            if offset >= start + length:
                offset += end - start - length
            elif offset > start:
                offset = min(offset, end)
        return offset + 1

    def place(self, mark: Any) -> tuple[int, int]:
        """Return line and column, as they are in the file, of a mark in the repaired text."""
        line = mark.line + 1
        return line, self.column(line, mark.column + 1)

    def lost_between(self, first: int, last: int) -> bool:
        """Return whether one of the lines ``first`` to ``last`` was lost."""
        return bool(self.lost) and any(line in self.lost for line in range(first, last + 1))

    def drop(self, line: int) -> None:
        """Make ``line`` empty."""
        self.lines[line - 1] = ""
        self.lost.add(line)

    def make_hole(self, line: int) -> bool:
        """Replace what ``line`` says: its value first, then all of it. Return False when nothing is left to replace."""
        text = self.get(line)
        dashes = _DASHES.match(text)
        if not text.strip() or dashes is None:
            return False
        key = KEY.match(text)
        if key and line not in self._tried:
            self.edit(line, key.end(2), len(text), f": {HOLE}")
        elif "-" in dashes[1] and line not in self.lost:
            self.edit(line, dashes.end(1), len(text), f"{HOLE}: {HOLE}")
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
        indent = content_offset(self.get(line))
        for below in range(line + 1, len(self.lines) + 1):
            text = self.get(below)
            if text.strip() and indent_of(text) <= indent and not re.fullmatch(r"[\s\]},]+", text):
                return
            self.drop(below)

    def unindent(self, first: int, last: int, by: int) -> None:
        """Move the lines ``first`` to ``last`` to the left, as far as there are spaces."""
        for line in range(first, last + 1):
            self.edit(line, 0, min(by, indent_of(self.get(line))), "")

    def blocks_of_text(self) -> set[int]:
        """Return the lines of the blocks of text that begin with ``|`` or ``>``: whatever is in them is no YAML."""
        inside: set[int] = set()
        shallowest: int | None = None  # as deep as the lines of the open block are at least
        for line, text in enumerate(self.lines, 1):
            indent = len(text) - len(text.lstrip(" "))
            if shallowest is not None and text.strip():
                if indent >= shallowest:
                    inside.add(line)
                    continue
                shallowest = None
            if (text.rstrip()[-1:] in "|>+-123456789" or "#" in text) and (
                header := _BLOCK_OF_TEXT.fullmatch(text)
            ):
                # Behind a key it is deeper than the key, behind dashes than the last dash.
                deeper_than = (
                    content_offset(text) if header["key"] else text.rfind("-", 0, header.end("dashes"))
                )
                shallowest = max(deeper_than, 0) + 1
        return inside


def indent_of(text: str) -> int:
    """Return how many spaces and tabs a line begins with."""
    return len(text) - len(text.lstrip())


def content_offset(text: str) -> int:
    """Return the offset of a line's key, behind its dashes."""
    dashes = _DASHES.match(text)
    return len(dashes[1]) if dashes else 0
