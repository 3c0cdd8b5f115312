"""What commands print: text for people, with colour only where a person looks at it, or JSON for programs."""

from __future__ import annotations

import codecs
import json
import os
import re
import sys
from collections.abc import Mapping
from typing import Any, TextIO

from ecs_release.errors import EcsReleaseError
from ecs_release.manifest.problem import Problem, one_line, spelled_out

_STYLES = {"red": "31", "green": "32", "yellow": "33", "bold": "1", "dim": "2"}
_BREAKS = re.compile(r"\s*[\n\r\t\v\f\x1c-\x1e\x85\u2028\u2029]\s*")
_OUR_STYLES = re.compile(rf"(\x1b\[(?:0|{'|'.join(_STYLES.values())})m)")


class Console:
    """The two streams of a command.

    Parameters
    ----------
    json_wanted
        True for ``--json``: `say` is silent then, and `result` prints.
    out, err
        Where results and complaints go.
    environment
        For ``NO_COLOR`` (no-color.org) and ``TERM``.
    """

    def __init__(
        self,
        json_wanted: bool = False,
        out: TextIO | None = None,
        err: TextIO | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.json_wanted = json_wanted
        # Python has none for a stream that the caller has closed (https://docs.python.org/3/library/sys.html#sys.__stderr__).
        self.out = out or sys.stdout or _nowhere()
        self.err = err or sys.stderr or _nowhere()
        self._in = sys.stdin
        self._environment = os.environ if environment is None else environment

    def is_coloured(self, stream: TextIO) -> bool:
        """Return whether ``stream`` is a terminal of somebody who takes colour."""
        refused = self._environment.get("NO_COLOR") or self._environment.get("TERM") == "dumb"
        return stream.isatty() and not refused

    def styled(self, text: str, style: str, stream: TextIO | None = None) -> str:
        """Return ``text`` in a style ("red", "green", "yellow", "bold", "dim") where that can be seen."""
        if not self.is_coloured(stream or self.out):
            return text
        return f"\x1b[{_STYLES[style]}m{text}\x1b[0m"

    def shown(self, text: str, stream: TextIO | None = None) -> str:
        """Return ``text`` as it may be written: what comes from AWS or from a manifest drives no terminal.

        Every character but a line break that would not show as itself, or that the stream's encoding does not have, is spelled
        out. Our own styles stay where there is colour.
        """
        stream = stream or self.out
        parts = _OUR_STYLES.split(text) if self.is_coloured(stream) else [text]
        safe = "".join(part if place % 2 else _spelled_out(part) for place, part in enumerate(parts))
        encoding = stream.encoding or "utf-8"
        return safe.encode(encoding, "backslashreplace").decode(encoding)

    def say(self, text: str) -> None:
        """Print a line for people."""
        if not self.json_wanted:
            self.out.write(self.shown(text) + "\n")

    def complain(self, text: str) -> None:
        """Print a line for people where it is seen although the output is redirected, ``--json`` or not."""
        self.err.write(self.shown(text, self.err) + "\n")

    def confirms(self, question: str) -> bool:
        """Ask the person at the terminal; the question goes where it is seen although the output is redirected.

        Raises
        ------
        EcsReleaseError
            when nobody can be asked.
        """
        if self._in is None or not self._in.isatty():
            raise EcsReleaseError("nobody is there to be asked; write --yes to go ahead.")
        self.err.write(f"{self.shown(question, self.err)} [y/N] ")
        self.err.flush()
        return self._in.readline().strip().lower() in ("y", "yes")

    def problem(self, problem: Problem, file_name: str) -> None:
        """Print one problem of a manifest, its code in colour."""
        code = self.styled(problem.code, "red" if problem.code.startswith("E") else "yellow")
        self.say(code + one_line(problem, file_name).removeprefix(problem.code))

    def result(self, value: Any) -> None:
        """Print the JSON that ``--json`` asked for."""
        if self.json_wanted:
            self.out.write(_as_json(value, self.out) + "\n")


def _nowhere() -> TextIO:
    """A stream for what nobody wants; it stays open, as the one that it stands for does."""
    return open(os.devnull, "w", encoding="utf-8")


def _as_json(value: Any, stream: TextIO) -> str:
    """JSON of characters that the stream has and a terminal shows as themselves; the others are escaped, as JSON escapes."""
    every_letter = codecs.lookup(stream.encoding or "utf-8").name == "utf-8"
    text = json.dumps(value, indent=2, ensure_ascii=not every_letter)
    # Within a string a line break is escaped already.
    return "".join(c if c.isprintable() or c == "\n" else json.dumps(c)[1:-1] for c in text)


def unbroken(line: str) -> str:
    """Return ``line`` without a line break of a name or reason in it, which would look like a line of ours."""
    return _BREAKS.sub(" ", line)


def _spelled_out(text: str) -> str:
    return "\n".join(map(spelled_out, text.split("\n")))
