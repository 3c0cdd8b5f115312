"""docs/errors.md explains every code, and its examples are what they claim to be."""

from __future__ import annotations

import re
from pathlib import Path
from string import Formatter

import pytest
from ecs_release.manifest import load
from ecs_release.manifest.problem import CODES
from ecs_release.plan import codes
from ecs_release.plan.warning_codes import NOTHING_TO_DO

DOCUMENT = (Path(__file__).parents[2] / "docs" / "errors.md").read_text(encoding="utf-8")
BLOCK = r"(```\w+\n[^`]*?```)"
SECTION = re.compile(
    rf"^### (\w+): ([^\n]+)\n\n(.+?)\n\nBad:\n\n{BLOCK}\n\nGood:\n\n{BLOCK}$", re.MULTILINE | re.DOTALL
)
SECTIONS = {found[1]: found for found in SECTION.finditer(DOCUMENT)}


def manifest_in(block: str) -> bytes | None:
    """Only blocks marked as YAML are manifests; some mistakes cannot be shown in a text."""
    found = re.fullmatch(r"```yaml\n(.*)```", block, re.DOTALL)
    return found[1].encode() if found else None


def test_every_code_is_explained_once_in_order_under_its_title() -> None:
    headings = re.findall(r"^### (\w+): (.+)$", DOCUMENT, re.MULTILINE)
    of_the_plan = [(code, kind.title) for code, kind in codes.CODES.items()]

    assert headings == [*CODES.items(), *of_the_plan]
    assert not set(CODES) & set(codes.CODES)
    assert list(SECTIONS) == list(CODES), "what and why, a bad example, a good example"
    assert list(CODES) == sorted(CODES)
    assert list(codes.CODES) == sorted(codes.CODES)


@pytest.mark.parametrize("code", codes.CODES)
def test_what_the_plan_finds_is_explained_with_what_to_do(code: str) -> None:
    section = re.search(rf"^### {code}: [^\n]+\n\n(.+?)(?=\n\n##|\Z)", DOCUMENT, re.MULTILINE | re.DOTALL)
    assert section is not None
    what, to_do = section[1].split("\n\n")
    assert what.endswith((".", "?"))
    assert to_do.startswith("What to do: ")
    # Whether anything is to be done at all, the message says as well.
    assert (to_do == "What to do: nothing.") is (codes.CODES[code].todo == NOTHING_TO_DO)


@pytest.mark.parametrize("code", codes.CODES)
def test_every_message_of_the_plan_says_what_was_found_and_then_what_to_do(code: str) -> None:
    kind = codes.CODES[code]
    for said, todo in (
        (kind.said, kind.todo),
        (kind.said_of_several or kind.said, kind.todo_of_several or kind.todo),
    ):
        assert said.endswith((".", ";", ":", "}"))
        assert todo.endswith((".", "{command}"))
        # Somebody is told to do something: a verb, or nothing, stands where the sentence begins, and goes on where it goes on.
        first, going_on = todo.split()[0], said.endswith((";", ":"))
        assert first[0].islower() is going_on or first == "{todo},"
        assert todo not in said
    names = [name for _, name, _, _ in Formatter().parse(kind.text) if name]
    assert len(names) == len(set(names)), "a value is said once"
    # Where several items are said at once (warnings, and what the manifest ignores), no value of the first stands for all.
    if (
        names and (code.startswith("W") or kind.overridable) and code != "W247"
    ):  # which is said of all waves at once
        assert kind.of_several is not None
        assert "{" not in kind.of_several


@pytest.mark.parametrize("code", CODES)
def test_the_bad_example_is_bad_for_this_reason_alone(code: str) -> None:
    manifest = manifest_in(SECTIONS[code][4])

    if manifest is not None:
        validation = load(manifest)
        assert {problem.code for problem in (*validation.errors, *validation.warnings)} == {code}


@pytest.mark.parametrize("code", CODES)
def test_the_good_example_is_good(code: str) -> None:
    manifest = manifest_in(SECTIONS[code][5])

    if manifest is not None:
        validation = load(manifest)
        assert validation.manifest is not None
        assert not validation.warnings
