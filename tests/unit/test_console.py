"""What reaches the two streams of a command: JSON that can be read whatever their encoding."""

from __future__ import annotations

import io
import json

import pytest
from ecs_release.cli.console import Console

TEXTS = (
    "plain",
    "Größe",
    "\u2603",
    "\U0001f600",
    'a\\b"c',
    "\n\t\r",
    "\x1b[31m",
    "\x7f\x9b2J",
    "\u202e\u200b",
    "\ud800",
)
ENCODINGS = ("utf-8", "UTF8", "ascii", "latin-1", "cp1252", "koi8-r", "utf-16", "utf-8-sig", "shift_jis")


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("text", TEXTS, ids=ascii)
def test_json_can_be_read_in_every_encoding(text: str, encoding: str) -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding=encoding)
    Console(True, out=stream).result({text: [text]})
    stream.flush()
    written = raw.getvalue().decode(encoding)
    assert json.loads(written) == {text: [text]}
    assert all(c.isprintable() or c == "\n" for c in written), "a terminal shows it and does nothing else"


def test_json_on_a_stream_that_takes_every_letter_has_it_as_it_is() -> None:
    stream = io.StringIO()
    Console(True, out=stream).result({"label": "Größe"})
    assert "Größe" in stream.getvalue()
