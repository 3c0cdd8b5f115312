"""The manifest, ``deployment.yaml``: what was written, and every problem with its line and column.

What others use is named here and loaded when it is first asked for: the steps that write to AWS hold items, and
start without the rules and without PyYAML.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ecs_release.manifest.item import Item, Rule, Schedule, Service
    from ecs_release.manifest.problem import Problem
    from ecs_release.manifest.validation import Manifest, Validation, from_document, load, to_document

__all__ = [
    "Item",
    "Manifest",
    "Problem",
    "Rule",
    "Schedule",
    "Service",
    "Validation",
    "from_document",
    "load",
    "to_document",
]
_MODULES = {**dict.fromkeys(("Item", "Rule", "Schedule", "Service"), "item"), "Problem": "problem"}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = import_module(f"{__name__}.{_MODULES.get(name, 'validation')}")
    return getattr(module, name)
