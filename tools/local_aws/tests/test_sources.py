"""What AWS does is said with a document of who makes it, or with the thread or file in which it can be read."""

from __future__ import annotations

import re
from pathlib import Path

import local_aws
import pytest

HOUSE = Path(local_aws.__file__).parent
URL = re.compile(r"https?://[^\s)\"'>`,]+")
NAMED = [
    (str(path.relative_to(HOUSE)), url.rstrip(".:;"))
    for path in sorted(HOUSE.rglob("*"))
    if path.suffix in {".py", ".json"}
    for url in URL.findall(path.read_text(encoding="utf-8"))
    if not re.match(r"https?://(127\.0\.0\.1|localhost|[^/]*\{|console\.aws|iam\.amazonaws\.com/doc/)", url)
]
DOCUMENTS = (
    "https://docs.aws.amazon.com/",
    "https://boto3.amazonaws.com/",
    "https://smithy.io/",
    "https://docs.getmoto.org/",
    "https://git-scm.com/docs/",
    "https://www.rfc-editor.org/rfc/",
)
READ_THERE = re.compile(r"https://github\.com/[^/]+/[^/]+/(issues|pull|blob)/.+")


def test_there_are_sources() -> None:
    assert len(NAMED) > 100


@pytest.mark.parametrize(("where", "url"), NAMED)
def test_a_source_is_a_document(where: str, url: str) -> None:
    assert url.startswith(DOCUMENTS) or READ_THERE.fullmatch(url), f"{where}: whose word is {url}?"
