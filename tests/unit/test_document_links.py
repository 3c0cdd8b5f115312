"""Documents lead to what is there: each relative link, and each path that is written as one."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
_LINK = re.compile(r"\]\((?!https?://|mailto:|#)([^)\s#]+)(?:#[^)\s]*)?\)")
# Paths of this repository from its root, such as `tools/local_aws/tests`.
_PATH = re.compile(
    r"`((?:bench|docs|examples|lambda_src|modules|schemas|scripts|statemachine|tests|tools)/[\w./-]+)`"
)
# Modules of the product by their room, such as `rollout/judge.py`.
_MODULE = re.compile(r"`((?:manifest|aws|record|rollout|plan|report|steps|cli)/\w+\.(?:py|json))`")
# What a sentence is about because it is gone, or is made by who reads.
_NOT_HERE = {"CHANGELOG.md"}


def documents() -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.md"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return [ROOT / name for name in listed.stdout.splitlines()]


@pytest.mark.parametrize("document", documents(), ids=lambda path: str(path.relative_to(ROOT)))
def test_each_link_and_each_path_leads_somewhere(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    missing = [link for link in _LINK.findall(text) if not (document.parent / link).exists()]
    if document.name not in _NOT_HERE:
        missing += [path for path in _PATH.findall(text) if not (ROOT / path).exists()]
        product = ROOT / "lambda_src" / "ecs_release"
        missing += [path for path in _MODULE.findall(text) if not (product / path).exists()]
    assert missing == []
