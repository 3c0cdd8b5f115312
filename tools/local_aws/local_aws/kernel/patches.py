"""Patches of moto: each with its reason, and held to the version of moto that it was written against."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import metadata
from typing import Any

VERSION = "5.2"
"""With another minor version each patch has to be looked at, and the contract tests run, before this is raised."""


@dataclass(frozen=True)
class Patch:
    """One attribute of moto that was replaced.

    Attributes
    ----------
    because : what moto does otherwise.
    upstream : what becomes of it in moto: whether it should have this, or why it need not.
    original : what moto has there.
    """

    because: str
    upstream: str
    original: Any


PATCHES: dict[tuple[Any, str], Patch] = {}
"""What was replaced, by owner and attribute. moto's classes belong to the process, so there is one patch for all its servers."""


class MotoVersionError(RuntimeError):
    """Another version of moto is installed than the patches are for, or it has lost what they replace."""


def patch(owner: Any, name: str, by: Any, *, because: str, upstream: str) -> Any:
    """Put ``by`` in the place of an attribute of moto; what moto has there, also when it was patched before.

    Raises
    ------
    MotoVersionError
        when the installed moto is not the one that this was written against.
    """
    installed = metadata.version("moto")
    if installed.rpartition(".")[0] != VERSION:
        raise MotoVersionError(
            f"moto {installed} is installed, and local_aws patches moto {VERSION}: look at each patch, run the contract tests, "
            "and raise VERSION in local_aws/kernel/patches.py; or install the version that pyproject.toml names."
        )
    if (owner, name) not in PATCHES:
        if not hasattr(owner, name):
            raise MotoVersionError(f"moto {installed} has no {name} in {owner} any more.")
        PATCHES[owner, name] = Patch(because, upstream, getattr(owner, name))
    setattr(owner, name, by)
    return PATCHES[owner, name].original
