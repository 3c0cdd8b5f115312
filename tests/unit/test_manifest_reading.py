"""Anchors, aliases and merge keys mean what they mean to PyYAML, and every place is where the value is written."""

from __future__ import annotations

from typing import Any

from ecs_release.manifest.nodes import Mapping, Node, Scalar, Sequence
from ecs_release.manifest.source import read
from hypothesis import given, settings
from hypothesis import strategies as st
from texts import texts

NAMES = st.sampled_from(["a", "b", "c", "d"])
VALUES = st.sampled_from(["1:30", "4.10", "no", "'it''s'", '"\\x41 b"', "[x, y]", "{a: 1, b: 2}", "~", "é"])


def as_written(node: Node) -> Any:
    if isinstance(node, Mapping):
        return {entry.key.text: as_written(entry.value) for entry in node.entries}
    if isinstance(node, Sequence):
        return [as_written(value) for value in node.values]
    return node.text


def scalars(node: Node) -> list[Scalar]:
    if isinstance(node, Mapping):
        return [one for entry in node.entries for one in (entry.key, *scalars(entry.value))]
    if isinstance(node, Sequence):
        return [one for value in node.values for one in scalars(value)]
    return [node]


@st.composite
def files(draw: st.DrawFn) -> str:
    """Mappings with anchors; each one may merge those above it and use their values."""
    lines: list[str] = []
    for number in range(draw(st.integers(1, 5))):
        above = [f"*m{n}" for n in range(number)]
        lines.append(f"x-{number}: &m{number}")
        merged: list[str] = draw(st.lists(st.sampled_from(above), max_size=3)) if above else []
        entries = [f"{name}: {draw(VALUES)}" for name in sorted(draw(st.sets(NAMES)))]
        if above and draw(st.booleans()) is True:
            entries.append(f"e: {draw(st.sampled_from(above))}")
        if merged:
            one = merged[0] if len(merged) == 1 else f"[{', '.join(merged)}]"
            entries.insert(draw(st.integers(0, len(entries))), f"<<: {one}")
        lines += [f"  {entry}" for entry in entries or ["f: &v value"]]
    return "\n".join(
        [*draw(st.sampled_from([[], ["---"], ["# c", "---"]])), *lines, *draw(st.sampled_from([[], ["---"]]))]
    )


@settings(deadline=None)
@given(files())
def test_anchors_aliases_and_merge_keys_mean_what_they_mean_to_pyyaml(text: str) -> None:
    source = read(text.encode())

    assert source.problems == () or {problem.code for problem in source.problems} == {"E035"}
    assert source.root is not None
    if not source.problems:
        assert as_written(source.root) == texts(text)


@settings(deadline=None)
@given(files())
def test_every_value_is_where_it_is_written(text: str) -> None:
    lines = text.split("\n")

    root = read(text.encode()).root

    assert root is not None
    for scalar in scalars(root):
        assert lines[scalar.line - 1][scalar.column - 1 :].startswith(scalar.raw)
