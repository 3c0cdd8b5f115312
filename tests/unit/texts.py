"""What PyYAML itself makes of a file: its own constructor with merge keys, every value kept as text."""

from __future__ import annotations

import re
from typing import Any

import yaml


class _Texts(yaml.SafeLoader):
    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 - PyYAML's own way to say which types it guesses


_Texts.add_implicit_resolver("tag:yaml.org,2002:merge", re.compile("<<"), ["<"])


# An end of a document that has not begun: YAML 1.2 allows for it (https://yaml.org/spec/1.2.2/#92-streams), PyYAML reads 1.1.
_ENDS_FIRST = re.compile(rb"((?:[ \t]*(?:#[^\r\n]*)?(?:\r\n|\r|\n))*)\.\.\.[ \t]*(?:#[^\r\n]*)?(?=\r|\n|\Z)")


def texts(text: str | bytes) -> Any:
    """Return the first document that is not empty as dicts, lists and texts."""
    text = text.encode() if isinstance(text, str) else text
    while ends := _ENDS_FIRST.match(text):
        text = ends[1] + text[ends.end() :]
    return next((document for document in yaml.load_all(text, Loader=_Texts) if document != ""), None)
