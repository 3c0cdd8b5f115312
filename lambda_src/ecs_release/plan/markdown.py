"""Words of a manifest or of AWS within a comment: shown as they are, whatever Markdown or GitHub would make of them.

A word that is more than letters, digits and a little punctuation becomes a code span, in which there is no markup, HTML or link
(https://spec.commonmark.org/0.31.2/#code-spans), and GitHub looks there for neither mentions nor issues. Escaping by a
backslash would not do: mentions are looked for in what Markdown has been made into
(https://github.com/gjtorikian/html-pipeline/blob/main/lib/html_pipeline/node_filter/mention_filter.rb).
"""

from __future__ import annotations

import re

from ecs_release.errors import in_one_line

_WORD = re.compile(r"""(["'(]*)(.*?)([.,;:!?)"']*)""")
_PLAIN = re.compile(r"""->|[^\W_](?:[^\W_]|[-./%+=,;'"()])*""")
_LINKED = "www."  # https://github.github.com/gfm/#autolinks-extension-
_NUMBERED = re.compile(r"\d+[.)]")  # at the beginning it would number a list


def code(text: str) -> str:
    """A code span, between more backticks than stand together in the text."""
    text = in_one_line(text)
    longest = max(map(len, re.findall("`+", text)), default=0)
    space = " " if text.startswith("`") or text.endswith("`") or not text else ""
    return f"{'`' * (longest + 1)}{space}{text}{space}{'`' * (longest + 1)}"


def words(text: str) -> str:
    """A text, with each word as a code span that is not surely shown as it is."""
    first, *others = in_one_line(text).split(" ")
    shown = code(first) if _NUMBERED.fullmatch(first) else _word(first)
    return " ".join([shown, *map(_word, others)])


def table_cell(text: str) -> str:
    """What is in a cell of a table, where a bar would end it, in a code span too (https://github.github.com/gfm/#tables-extension-)."""
    return text.replace("|", "\N{BROKEN BAR}")


def _word(word: str) -> str:
    match = _WORD.fullmatch(word)
    before, core, after = match.groups() if match else ("", word, "")
    plain = not core or (_PLAIN.fullmatch(core) and _LINKED not in core.lower())
    return word if plain else f"{before}{code(core)}{after}"
