"""A label, a message or a name in a plan is never taken for the plan's own words: in a comment, an approval, a terminal."""

from __future__ import annotations

import re
from typing import Any

import pytest
from ecs_release.plan import markdown
from ecs_release.plan.page import page
from ecs_release.plan.summary import approval_summary
from ecs_release.plan.text import as_lines, as_markdown, headline
from test_plan_text import item, plan

FORGED = "4.0: 0 update, 41 unchanged, 0 blocked; nothing to change"
HOSTILE = (
    *(
        f"<details><summary>{FORGED}",
        FORGED,
        f"{FORGED} |",
        f'4.0": {FORGED}',
        f"4.0`: {FORGED}",
        f"``4.0`` {FORGED}",
    ),
    *(
        "</details>",
        "<!--",
        "<b>x</b>",
        "<img src=x>",
        "&lt;b&gt;",
        "<https://evil.example>",
        "[x](https://evil.example)",
    ),
    *(
        "![x](https://evil.example/x.png)",
        "https://evil.example",
        "www.evil.example",
        "mailto:a@b.example",
        "a@b.example",
    ),
    *(
        "@everyone",
        "\\@everyone",
        "(@team/all)",
        "#1",
        "owner/repo#1",
        "$x$",
        ":x:",
        "a:white_check_mark:",
        "~~x~~",
    ),
    *(
        "*x*",
        "**x**",
        "_x_",
        "__x__",
        "`",
        "``",
        "`x",
        "x`",
        "```",
        "``` x",
        "`x` ``y``",
        "\\",
        "\\`x\\`",
        "x\\",
        "\\|",
    ),
    *(
        "a|b",
        "| a | b |",
        "|",
        "---",
        "- x",
        "+ x",
        "* x",
        "1. x",
        "1) x",
        "# x",
        "> x",
        "[ ] x",
        "[x]: http://x",
        "=",
    ),
    *("a\n\n# Title", "a\n| b | c |", "a\r\n---", "a\u2028b", "a\u202eb", "\x1b[2J", "\ta", "é", "", " "),
)
OURS = ("4.0", "no service", "its deployment controller is CODE_DEPLOY; write api:1.2.3 [E201]")

# https://spec.commonmark.org/0.31.2/#code-spans
_SPAN = re.compile(r"(?<!`)(`+)(?!`)(.*?[^`])\1(?!`)")


def outside(text: str) -> str:
    """A comment without its code spans, in which nothing has a meaning."""
    return _SPAN.sub("", text)


def marks(text: str) -> list[str]:
    """What may have a meaning, line by line."""
    plain = outside(text).replace("->", "").replace("<details><summary>Warnings</summary>", "D")
    return re.findall(r"[^\w\s.,;:'\"()/%+=?!-]|_|\n|https?:|www\.|@", plain.replace("</details>", "D"))


def said(text: str, label: str = "4.0") -> dict[str, Any]:
    """A plan that says something everywhere where it may say it."""
    findings = [
        {"code": "W999", "level": "warning", "message": text, "values": {}},
        {"code": "W998", "level": "ignored", "message": text, "values": {}},
    ]
    blocked = [{"code": "E999", "level": "problem", "message": text, "values": {}}]
    document = plan(item(0, findings=findings), item(1, action="blocked", findings=blocked))
    return {**document, "release": label}


@pytest.mark.parametrize("hostile", HOSTILE, ids=ascii)
def test_a_comment_has_the_same_form_whatever_is_said_in_it(hostile: str) -> None:
    for text in (said(hostile), said("no service", hostile), said(hostile, hostile)):
        comment = as_markdown(text)
        usual = as_markdown(said("no service", text["release"].strip() and "4.0"))
        assert marks(comment) == marks(usual)
        starts = [line[:2] for line in outside(comment).splitlines()]
        assert starts == [line[:2] for line in outside(usual).splitlines()]
        assert not re.search(r"^- (?:[-+*>]|#+|\d+[.)])(?: |$)", outside(comment), re.M)


@pytest.mark.parametrize("hostile", HOSTILE, ids=ascii)
def test_every_word_is_still_there(hostile: str) -> None:
    shown = re.sub(r"`+ ?| ?`+", "", markdown.words(hostile))
    assert re.sub(r"[`\s]", "", shown) == re.sub(
        r"[`\s]", "", "".join(c if c.isprintable() else " " for c in hostile)
    )


@pytest.mark.parametrize("hostile", HOSTILE, ids=ascii)
def test_a_code_span_ends_where_it_should(hostile: str) -> None:
    span = markdown.code(hostile)
    assert outside(f"a {span} b") == "a  b"
    assert "\n" not in span


@pytest.mark.parametrize("name", HOSTILE, ids=ascii)
def test_a_row_of_the_table_has_three_cells(name: str) -> None:
    images = {
        f"a{name}": {"from": "r.example/api:1", "to": "r.example/api:2", "digest": "sha256:" + "a" * 64}
    }
    comment = as_markdown(plan(item(0, name=f"shop/{name}", images=images)))
    (row,) = (line for line in comment.splitlines() if line.startswith("| `"))
    assert row.count("|") == 4


def test_a_usual_plan_reads_as_it_did() -> None:
    for text in (
        "no service",
        "no circuit breaker: slow.",
        'its "api" (of two) is gone; look at docs/errors.md!',
    ):
        assert markdown.words(text) == text
    assert markdown.words("write api:1.2.3, not [x].") == "write `api:1.2.3`, not `[x]`."
    assert as_markdown(said("no service")).splitlines()[2].startswith("release `4.0`: 1 update, 0 unchanged")


@pytest.mark.parametrize("hostile", HOSTILE, ids=ascii)
def test_a_headline_and_an_approval_say_a_label_within_quotes(hostile: str) -> None:
    document = said(hostile, hostile)
    summary = approval_summary(document)
    usual = approval_summary(said("no service", "4.0"))
    assert summary.count(" | ") == usual.count(" | ")
    assert summary.isascii()
    assert "\n" not in summary
    parts = {
        "terminal": as_lines(document)[0],
        "headline": headline(document),
        "approval": summary.split(" | ")[0],
    }
    for place, line in parts.items():
        label = re.match(r'release "[^"\n]*": (?=\d+ update)', line)
        assert bool(label) is bool(hostile.strip()), place
        rest = line[label.end() :] if label else line
        assert rest.startswith("1 update, 0 unchanged, 1 blocked"), place


@pytest.mark.parametrize("hostile", HOSTILE, ids=ascii)
def test_a_message_forges_no_line_of_a_terminal(hostile: str) -> None:
    lines = as_lines(said(f"a {hostile}"), 400)
    assert not any(re.search(r"[\n\r\x1b\u2028\u202e]", line) for line in lines)
    assert len(lines) == len(as_lines(said("a b"), 400))
    assert "<details>" not in page(said(hostile, hostile)).partition("<body>")[2].replace(
        "<details><summary>wa", ""
    )
