"""What AWS's Python runtime brings besides the function's own package: its client and boto3, nothing else.

Source: https://docs.aws.amazon.com/lambda/latest/dg/lambda-python.html ("Runtime-included SDK versions")
"""

from __future__ import annotations

import re
from importlib import metadata
from pathlib import Path

DISTRIBUTIONS = ("awslambdaric", "boto3")


def runtime_directory(target: Path) -> Path:
    """Fill a directory with links to the runtime's packages as they are installed here."""
    target.mkdir(parents=True, exist_ok=True)
    for name in _closure(DISTRIBUTIONS):
        distribution = metadata.distribution(name)
        for file in distribution.files or ():
            top = Path(file.parts[0])
            link = target / top
            source = Path(str(distribution.locate_file(top.as_posix())))
            if ".." not in file.parts and top.name != "__pycache__" and not link.is_symlink():
                link.symlink_to(source)
    return target


def _closure(names: tuple[str, ...]) -> set[str]:
    found: set[str] = set()
    left = list(names)
    while left:
        name = left.pop()
        if name in found:
            continue
        found.add(name)
        for requirement in metadata.requires(name) or ():
            match = re.match(r"[A-Za-z0-9._-]+", requirement)
            if match and "extra ==" not in requirement and _installed(match.group()):
                left.append(match.group())
    return found


def _installed(name: str) -> bool:
    try:
        metadata.distribution(name)
    except metadata.PackageNotFoundError:
        return False
    return True
