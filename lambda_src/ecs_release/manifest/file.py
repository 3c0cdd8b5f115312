"""The manifest as a file on disk, which may be missing, misnamed, unreadable or huge."""

from __future__ import annotations

import difflib
import re
from pathlib import Path

from ecs_release.manifest.problem import Problem, shown
from ecs_release.manifest.text import LARGEST_FILE
from ecs_release.manifest.validation import Validation, load


def load_file(path: Path) -> Validation:
    """Read and check the manifest in ``path``; that it cannot be read is a problem like any other."""
    try:
        with path.open("rb") as file:
            data = file.read(LARGEST_FILE + 1)  # enough to see that it is too large
    except FileNotFoundError:
        return _unreadable(f"there is no {_path(path)}; {_instead(path)}")
    except IsADirectoryError:
        return _unreadable(f"{_path(path)} is a directory; name the file in it, {path / 'deployment.yaml'}")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        return _unreadable(f"{_path(path)} cannot be read: {reason}; check its name and permissions")
    return load(data, path.name)


def _unreadable(message: str) -> Validation:
    return Validation(None, (Problem("E001", 0, 0, "", message),), ())


def _path(path: Path) -> str:
    return shown(str(path), longest=1000)


def _instead(path: Path) -> str:
    """Return what to do: name or rename the file that was probably meant, or make one."""
    try:
        names = sorted(entry.name for entry in path.parent.iterdir() if entry.is_file())
    except OSError:
        return f"the directory {_path(path.parent)} does not exist either"
    meant = _nearest(path.name, [name for name in names if _MANIFEST.fullmatch(name)])
    if meant is None:
        return "the manifest is expected there; create it or name another path"
    # The pipeline reads deployment.yaml, so that name is never given up for another one.
    if _stem(meant) == "deployment" and meant.endswith((".yaml", ".yml")) and path.name != "deployment.yaml":
        return f"did you mean {_path(path.parent / meant)}?"
    return f"rename {_path(path.parent / meant)} to {path.name}"


# A YAML file, also one whose ending an editor has doubled.
_MANIFEST = re.compile(r"[^.].*\.ya?ml(?:\.(?:txt|ya?ml))?", re.IGNORECASE | re.DOTALL)


def _stem(name: str) -> str:
    return re.sub(r"(?:\.(?:ya?ml|txt))+$", "", name.casefold()).lstrip(".")


def _nearest(asked: str, names: list[str]) -> str | None:
    """Return the name like the one asked for; without one, that of a manifest."""
    alike = difflib.get_close_matches(asked[:_LONGEST_NAME], names, n=1, cutoff=0.75)
    same = {
        stem: [name for name in names if _stem(name) == stem] for stem in (_stem(asked), "deployment") if stem
    }
    for candidates in (same.get(_stem(asked)), alike, same["deployment"]):
        if candidates:
            return max(candidates, key=lambda name: difflib.SequenceMatcher(None, asked, name).ratio())
    return None


_LONGEST_NAME = 255  # of a file: NAME_MAX of Linux and macOS
