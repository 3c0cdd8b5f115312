"""Words of AWS, or of whoever starts an execution, that would move a cursor, write a clipboard or forge a line of a terminal."""

from __future__ import annotations

import dataclasses
import io
import re
import sys
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import ClientError
from ecs_release.aws.stopped_tasks import StoppedTask
from ecs_release.aws.trouble import explain
from ecs_release.cli import follow as following
from ecs_release.cli.console import Console
from ecs_release.cli.follow import follow, history_table, table
from ecs_release.manifest import Service
from ecs_release.manifest.problem import Problem
from ecs_release.record.models import ItemRecord, ReleaseRecord

CONTROLS = [chr(code) for code in (*range(0x20), *range(0x7F, 0xA0))]
HOSTILE = (
    *CONTROLS,
    *("\u202e", "\u2066", "\u200b", "\u2028", "\u2029", "\ufeff", "\U000e0041"),
    *(
        "\x1b[2J",
        "\x1b[1A\x1b[2K",
        "\x1b]52;c;ZXZpbA==\x07",
        "\x1b]0;t\x1b\\",
        "\x9b31m",
        "\x1b[31;5m",
        "\x1bc",
        "\r\n",
    ),
)
WORDS = "x" + "x".join(HOSTILE) + "x"
STYLES = re.compile(r"\x1b\[(?:0|1|2|31|32|33)m")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def harmless(text: str, lines: bool = True) -> bool:
    return all(c.isprintable() or (lines and c == "\n") for c in STYLES.sub("", text))


@pytest.mark.parametrize("hostile", HOSTILE, ids=ascii)
@pytest.mark.parametrize("terminal", [True, False])
def test_a_console_shows_what_it_is_given_and_does_none_of_it(
    hostile: str, terminal: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(isatty=lambda: True, readline=lambda: "n"))
    out, err = (Terminal(), Terminal()) if terminal else (io.StringIO(), io.StringIO())
    console = Console(out=out, err=err, environment={})
    console.say(f"a{hostile}b {console.styled('c', 'red')}")
    console.complain(f"a{hostile}b")
    console.confirms(f"a{hostile}b")
    console.problem(Problem("E012", 1, 1, "", f"a{hostile}b"), f"f{hostile}")
    assert harmless(out.getvalue() + err.getvalue())
    assert ("\x1b[31mc\x1b[0m" in out.getvalue()) is terminal


@pytest.mark.parametrize("style", ["\x1b[31m", "\x1b[0m"])
def test_where_there_is_no_colour_no_style_is_ours(style: str) -> None:
    out = io.StringIO()
    Console(out=out).say(f"a{style}b")
    assert harmless(out.getvalue())
    assert "\x1b" not in out.getvalue()


def hostile_release() -> tuple[ReleaseRecord, list[ItemRecord]]:
    record = ReleaseRecord(
        *("r", "arn", 1, "2026-01-01T00:00:00.000Z"),
        label=WORDS,
        status="FAILED",
        source={"commit": "\n\x1b[2J\nabc", "author": WORDS},
        problems=[WORDS, WORDS],
        counts={"FAILED": 1},
    )
    images = {WORDS: {"from": f"r/a:{WORDS}", "to": f"r/a:{WORDS}2"}}
    item = ItemRecord("r", 0, 0, 1, Service(cluster="shop", service="api"), "update", images, status="FAILED")
    return record, [dataclasses.replace(item, verdict="FAILED", reason=WORDS)]


def test_a_line_of_a_table_stays_one_line() -> None:
    record, items = hostile_release()
    out = Terminal()
    console = Console(out=out, environment={})
    lines = table(record, items, console)
    assert len(lines) == 6
    shown = [*lines, *history_table([record], console)]
    console.say("\n".join(shown))
    assert out.getvalue().count("\n") == len(shown)
    assert harmless(out.getvalue())


@pytest.mark.parametrize("live", [True, False])
def test_a_table_is_drawn_over_itself_whatever_its_reasons_are(
    live: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    record, items = hostile_release()
    looks = iter(["RUNNING", "RUNNING", "FAILED"])
    orchestrator: Any = SimpleNamespace(
        store=lambda: SimpleNamespace(release=lambda _: record, items=lambda _: items),
        execution=lambda _: {"status": next(looks)},
    )
    out = Terminal() if live else io.StringIO()
    monkeypatch.setattr(following.time, "sleep", lambda _: None)
    monkeypatch.setattr(sys, "stdout", out)
    follow(orchestrator, "r", "arn", Console(out=out, environment={}))
    written = out.getvalue()
    if not live:
        assert written.count("\n") == 1 + 1 + 6, "it begins, one change, the table"
        assert harmless(written)
        return
    head, *drawn = re.split(r"\x1b\[J", written)[:-1]
    assert head.count("\n") == 1 + 6
    assert all(re.match(r"\x1b\[6A", one) and one.count("\n") == 6 for one in drawn)
    ours = re.compile(r"\x1b\[(?:6A|2K|J)")
    assert harmless(ours.sub("", written))


@pytest.mark.parametrize("hostile", [*HOSTILE, WORDS], ids=lambda text: ascii(text)[:20])
def test_the_words_of_aws_are_one_line(hostile: str) -> None:
    said = f"a {hostile} b"
    task = StoppedTask.of(
        {
            "stopCode": "ServiceSchedulerInitiated",
            "stoppedReason": f"Task failed {hostile} container health checks",
            "containers": [{"name": "c", "reason": said}],
        }
    )
    assert harmless(task.why, lines=False)
    assert task.failed, "a line break hides no failed health check"
    error = ClientError({"Error": {"Code": f"Code{hostile}", "Message": said}}, "Operation")
    for text in (explain(error), explain(ValueError(said))):
        assert harmless(text, lines=False)
        assert re.search(r"\ba .*b$", text), "its words are there"


def test_a_table_is_drawn_on_a_terminal_that_lacks_a_letter() -> None:
    raw = io.BytesIO()
    out = io.TextIOWrapper(raw, encoding="ascii")
    following._redraw(["Größe"], 0, Console(out=out))
    out.flush()
    assert b"Gr\\xf6\\xdfe" in raw.getvalue()
