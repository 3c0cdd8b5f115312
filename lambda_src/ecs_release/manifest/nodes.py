"""What a manifest is read into, from YAML or from JSON: values, mappings and lists, each with its place in the file."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from ecs_release.manifest.problem import HOLE, Problem, shown

DEEPEST = 20
LISTS = ("tasks", "services")
MOST_ENTRIES = (
    5000  # of both lists together; other lists (codes, what stands behind x- keys) only have values
)
TOO_MANY_ENTRIES = f"more than {MOST_ENTRIES:,} entries; split the release"
MOST_VALUES = 100_000
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
