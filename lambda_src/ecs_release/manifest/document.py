"""A manifest that is JSON already, brought into the same shape as one read from YAML, without lines."""

from __future__ import annotations

from ecs_release.manifest.nodes import (
    DEEPEST,
    MOST_VALUES,
    Entry,
    Mapping,
    Node,
    Scalar,
    Sequence,
    Source,
    key_path,
)
from ecs_release.manifest.problem import HOLE, Problem

# More than a file has, because what is compiled from it says at each entry what the file leaves to the defaults or says once
# for several: at most 10 values, and all the codes of an item. A test compiles a file that comes near it.
MOST_VALUES_WRITTEN_OUT = 2 * MOST_VALUES


def nodes_of(document: object) -> Source:
    """Return the nodes of a document made of dicts, lists, strings, numbers, booleans and None."""
    reading = _Reading()
    try:
        return Source(reading.node(document, "", 0), ())
    except _Limit as limit:
        return Source(None, (limit.problem,))


class _Limit(Exception):
    def __init__(self, code: str, path: str, message: str) -> None:
        super().__init__(message)
        self.problem = Problem(code, 0, 0, path, message)


class _Reading:
    def __init__(self) -> None:
        self._values = 0

    def node(self, value: object, path: str, depth: int) -> Node:
        """Return the node of ``value``; the depth is limited before this calls itself."""
        self._values += 1
        if self._values > MOST_VALUES_WRITTEN_OUT:
            raise _Limit("E007", path, f"more than {MOST_VALUES_WRITTEN_OUT:,} values; split the release")
        if isinstance(value, dict | list | tuple) and depth == DEEPEST:
            raise _Limit("E006", path, f"nested deeper than {DEEPEST} levels; a manifest needs 4")
        if isinstance(value, dict):
            return Mapping(tuple(self._entry(str(k), v, path, depth) for k, v in value.items()), 0, 0)
        if isinstance(value, list | tuple):
            return Sequence(tuple(self.node(v, f"{path}[{i}]", depth + 1) for i, v in enumerate(value)), 0, 0)
        return _scalar(value)

    def _entry(self, key: str, value: object, path: str, depth: int) -> Entry:
        return Entry(_scalar(key), self.node(value, key_path(path, key), depth + 1))


def _scalar(value: object) -> Scalar:
    if value is None:
        return Scalar("", 0, 0, type="nothing")
    if isinstance(value, bool):
        return Scalar("true" if value else "false", 0, 0, type="boolean")
    if isinstance(value, int):
        return Scalar(str(value) if abs(value) < 10**30 else "a very long number", 0, 0, type="number")
    if isinstance(value, float):
        return Scalar(repr(value), 0, 0, type="fraction")
    # A hole is for what has been reported already, and nothing of this has.
    return Scalar(str(value).replace(HOLE, "\ufffe"), 0, 0)
