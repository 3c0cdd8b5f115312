"""What a long command shows: phases with their times, one line that moves while something is under way, and checks.

On a terminal, what moves is redrawn in place; elsewhere it becomes plain lines, few enough to read in a log.
"""

from __future__ import annotations

import contextlib
import shutil
import sys
import textwrap
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TextIO

from ecs_release.cli.console import Console

_LOG_SECONDS = 5.0
"""Where nobody watches, progress is told this often."""

Segment = tuple[str, str | None]
"""A piece of a line, and its style."""


@dataclass(frozen=True)
class Check:
    """One thing that was verified.

    Attributes
    ----------
    what
        What has to be true.
    ok
        Whether it is.
    evidence
        What AWS said.
    """

    what: str
    ok: bool
    evidence: str


class Screen:
    """One command's output.

    Parameters
    ----------
    out
        Where to; standard output by default.
    """

    def __init__(self, out: TextIO | None = None) -> None:
        self.out = out or sys.stdout
        self._console = Console(out=self.out)
        self.moves = self._console.is_coloured(self.out)
        self._drawn = 0
        self._began = time.monotonic()
        self._told = 0.0
        self._phases = 0
        self.checks: list[Check] = []

    @property
    def seconds(self) -> float:
        """Time since the command began."""
        return time.monotonic() - self._began

    def line(self, text: str = "", style: str | None = None) -> None:
        """Print a line that stays."""
        self._erase()
        self._write(f"{self._styled(text, style)}\n")

    @contextlib.contextmanager
    def phase(self, title: str) -> Iterator[None]:
        """Head a part of the command, and tell its time at the end of it."""
        self._phases += 1
        began = time.monotonic()
        self._told = began
        self.line()
        self.line(f"{self._phases}. {title}", "bold")
        yield
        self.line(f"   {time.monotonic() - began:.1f} s", "dim")

    def progress(self, text: str) -> None:
        """Say what is going on now; the next text takes its place."""
        if self.moves:
            self.draw([[(f"   {text}", "dim")]])
        elif time.monotonic() - self._told >= _LOG_SECONDS:
            self._told = time.monotonic()
            self.line(f"   {text}")

    def draw(self, lines: Sequence[Sequence[Segment]]) -> None:
        """Show lines in place of those drawn last, cut to the window; a terminal's only."""
        columns, rows = shutil.get_terminal_size()
        # what has scrolled out of the window can't be overwritten
        fitting = list(lines[: max(1, rows - 2)])
        self._erase()
        for line in fitting:
            left = columns - 1
            for text, style in line:
                self._write(self._styled(text[:left], style))
                left = max(0, left - len(text))
            self._write("\n")
        self._drawn = len(fitting)

    def keep(self) -> None:
        """Let what was drawn stay."""
        self._drawn = 0

    def check(self, check: Check) -> None:
        """Print one verified thing, and remember it."""
        self.checks.append(check)
        mark, style = ("   ok      ", "green") if check.ok else ("   NOT TRUE ", "red")
        self._erase()
        text = f"{check.what}: {check.evidence}"
        if self.moves:
            width = max(40, shutil.get_terminal_size().columns - len(mark) - 1)
            text = f"\n{' ' * len(mark)}".join(textwrap.wrap(text, width, break_on_hyphens=False))
        self._write(f"{self._styled(mark, style)}{text}\n")

    @property
    def failed(self) -> list[Check]:
        """What was not true."""
        return [check for check in self.checks if not check.ok]

    def _styled(self, text: str, style: str | None) -> str:
        return self._console.styled(text, style) if style and text else text

    def _erase(self) -> None:
        if self._drawn:
            self._write(f"\x1b[{self._drawn}A\x1b[J")
            self._drawn = 0

    def _write(self, text: str) -> None:
        encoding = self.out.encoding or "utf-8"
        self.out.write(text.encode(encoding, "replace").decode(encoding))
        self.out.flush()
