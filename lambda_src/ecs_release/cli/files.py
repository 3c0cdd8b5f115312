"""The files that a command reads and writes, with ``-`` for its standard streams."""

from __future__ import annotations

import errno
import os
import stat
import sys
from pathlib import Path
from typing import TextIO

from ecs_release.cli.console import Console
from ecs_release.manifest import Validation, load
from ecs_release.manifest.file import load_file
from ecs_release.manifest.problem import Problem
from ecs_release.manifest.text import LARGEST_FILE

_STANDARD = "-"
_OUT = ("/dev/stdout", "/dev/fd/1", "/proc/self/fd/1")
_ERR = ("/dev/stderr", "/dev/fd/2", "/proc/self/fd/2")


def load_manifest(path: Path) -> Validation:
    """Read and check the manifest in a file, or from standard input."""
    if str(path) != _STANDARD:
        return load_file(path)
    raw = getattr(sys.stdin, "buffer", None)  # there is no sys.stdin where the caller has closed it
    if raw is None:
        return _unreadable("is closed; name the file")
    try:
        return load(raw.read(LARGEST_FILE + 1), _STANDARD)
    except OSError as error:
        return _unreadable(f"cannot be read: {error.strerror}; name the file")


def _unreadable(why: str) -> Validation:
    return Validation(None, (Problem("E001", 0, 0, "", why),), ())


def name_of(path: Path) -> str:
    """What messages call a manifest."""
    return "standard input" if str(path) == _STANDARD else str(path)


def stream_at(path: Path, console: Console) -> TextIO | None:
    """The stream of the command that is meant by a path, None for a file.

    It must not be opened once more: what is written to it twice over, in a file, overwrites itself.
    """
    written = os.path.abspath(path)  # not resolved: /dev/stdout is a link
    if str(path) == _STANDARD or written in _OUT:
        return console.out
    return console.err if written in _ERR else None


def beside(stream: TextIO | None, console: Console) -> Console:
    """The console of a command that writes a document to a stream: all that is said goes to the other one."""
    if stream is None:
        return console
    other = console.err if stream is console.out else console.out
    return Console(console.json_wanted, other, other)


def is_manifest(path: Path, file: Path) -> bool:
    """Whether a place to write to is the file that the manifest was read from."""
    try:
        read = os.fstat(sys.stdin.fileno()) if str(file) == _STANDARD else file.stat()
        return stat.S_ISREG(read.st_mode) and os.path.samestat(path.stat(), read)
    except (AttributeError, OSError, ValueError):  # no such place, or no standard input
        return False


def write(text: str, path: Path, stream: TextIO | None) -> None:
    """Write a document: to the stream, the same bytes as to a file; else to the file.

    Raises
    ------
    OSError
        when the file can't be written; it names ``path``.
    """
    if stream is not None:
        raw = getattr(stream, "buffer", None)
        if raw is None:
            stream.write(text)
            return
        stream.flush()
        raw.write(text.encode())
        return
    try:
        _replace(path, text)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error


def is_device(path: Path) -> bool:
    """Whether a path is one like ``/dev/null``: something else than a file in a folder, whatever it leads to."""
    return Path(os.path.abspath(path)).is_relative_to("/dev")  # not resolved: it may be a link


def _replace(path: Path, text: str) -> None:
    """Write a file as a whole or not at all; a link stays, and what it leads to is written."""
    if is_device(path) or (path.exists() and not path.is_file()):
        path.write_text(text, encoding="utf-8")
        return
    path = Path(os.path.realpath(path))  # Path.resolve has another error for a link to itself
    if path.is_symlink():
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
    unfinished = path.with_name(f".ecs-release.{os.getpid()}")  # no longer than any name that the disk takes
    try:
        unfinished.write_text(text, encoding="utf-8")
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
