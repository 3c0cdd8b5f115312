"""The manifest as a file on disk, which may be missing, misnamed, unreadable or huge."""

from __future__ import annotations

import difflib
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
    """Return what to do: rename the file that was probably meant, or make one."""
    try:
        names = [entry.name for entry in path.parent.iterdir() if entry.is_file()]
    except OSError:
        return f"the directory {_path(path.parent)} does not exist either"
    stem = path.name.casefold()
    same = [name for name in names if name.casefold().split(".")[0] == stem.split(".")[0]]
    similar = sorted(same) or difflib.get_close_matches(path.name, sorted(names), n=1, cutoff=0.75)
    if similar:
        return f"rename {_path(path.parent / similar[0])} to {path.name}"
    return "the manifest is expected there; create it or name another path"
