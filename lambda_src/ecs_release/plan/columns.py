"""Text that fits a terminal: wrapped lines, and names with their changes in as many columns as fit."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Sequence
from statistics import median

Cell = tuple[str, str]
"""The name of an item, and its change."""

_COLUMN_GAP = 3
_ONE_COLUMN = 6  # so few lines read best below each other


def wrapped(text: str, width: int, first: int, then: int) -> list[str]:
    """Lines of at most ``width`` characters, except where a single word (an image, an ARN) is longer."""
    return textwrap.wrap(
        text,
        max(40, width),
        initial_indent=" " * first,
        subsequent_indent=" " * then,
        break_long_words=False,
        break_on_hyphens=False,
    )


def columns(cells: Sequence[Cell], width: int, indent: int) -> list[str]:
    """Cells in reading order down the columns, as many columns as fit, each as wide as it needs.

    A cell much longer than the others (several containers, another registry) gets a line of its own below.
    """
    usual = median(len(name) + len(change) for name, change in cells)
    long = [cell for cell in cells if len(cells) > _ONE_COLUMN and sum(map(len, cell)) > 2 * usual]
    short = [cell for cell in cells if cell not in long]
    for count in range(len(short) if len(short) > _ONE_COLUMN else 1, 0, -1):
        rows = -(-len(short) // count)
        columns = [list(_padded(short[start : start + rows])) for start in range(0, len(short), rows)]
        total = indent + sum(max(map(len, column)) for column in columns) + _COLUMN_GAP * (len(columns) - 1)
        if total <= width or count == 1:
            break
    gap = " " * _COLUMN_GAP
    lines = [gap.join(column[row] for column in columns if row < len(column)) for row in range(rows)]
    return [(" " * indent + line).rstrip() for line in [*lines, *_padded(long)]]


def _padded(cells: Iterable[Cell]) -> Iterator[str]:
    listed = list(cells)
    name = max((len(name) for name, _ in listed), default=0)
    change = max((len(change) for _, change in listed), default=0)
    return (f"{n:<{name}}  {c:<{change}}" for n, c in listed)
