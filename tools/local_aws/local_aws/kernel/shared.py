"""What an addition keeps for one server, so that another addition finds it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

from local_aws.kernel.server import Server

_Part = TypeVar("_Part")
_PARTS: WeakKeyDictionary[Server, dict[type, Any]] = WeakKeyDictionary()


def one_of(server: Server, kind: type[_Part], make: Callable[[], _Part]) -> _Part:
    """Return the server's only object of a class; the first who asks makes it."""
    parts = _PARTS.setdefault(server, {})
    if kind not in parts:
        parts[kind] = make()
    found = parts[kind]
    assert isinstance(found, kind)  # noqa: S101 - for the type checker
    return found
