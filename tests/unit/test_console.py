"""What reaches the two streams of a command: JSON that can be read whatever their encoding."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from ecs_release.cli.console import Console
from ecs_release.errors import EcsReleaseError

ROOT = Path(__file__).parents[2]

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


# --- streams that the caller has closed ---

OK = "services: [{service: a, clusterName: c, serviceName: a, image: 'r/a:1'}]\n"
COMMANDS = {
    "validate ok.yaml": 0,
    "validate --json ok.yaml": 0,
    "validate bad.yaml": 2,
    "compile ok.yaml -o out.json": 0,
    "compile ok.yaml -o ok.yaml": 2,
    "unknown": 2,
    "--help": 0,
}


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&-", ">&- 2>&-", ">&- 2>&- <&-"])
def test_a_stream_that_is_closed_changes_no_exit_status_and_raises_nothing(
    closed: str, tmp_path: Path
) -> None:
    (tmp_path / "ok.yaml").write_text(OK)
    (tmp_path / "bad.yaml").write_text("services: 1\n")
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT / "lambda_src")}
    lines = [f"{sys.executable} -m ecs_release {command} {closed}; echo $? >> ends" for command in COMMANDS]
    done = subprocess.run(
        ["sh", "-c", "\n".join(lines)],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert dict(zip(COMMANDS, map(int, (tmp_path / "ends").read_text().split()), strict=True)) == COMMANDS
    assert "Traceback" not in done.stdout + done.stderr


@pytest.mark.parametrize("name", ["stdout", "stderr", "stdin"])
def test_a_console_does_without_a_stream(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, name, None)
    console = Console(environment={})
    console.say("text")
    console.complain("text")
    Console(True).result({})
    if name == "stdin":
        with pytest.raises(EcsReleaseError, match="write --yes"):
            console.confirms("?")
