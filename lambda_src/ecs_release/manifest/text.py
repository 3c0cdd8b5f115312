"""From the bytes of a file to its text: encodings, and characters that no manifest may contain."""

from __future__ import annotations

import re

from ecs_release.manifest.characters import BIDIRECTIONAL, described
from ecs_release.manifest.problem import HOLE, Problem

LARGEST_FILE = 1024 * 1024
_LINE_BREAK = re.compile("\r\n|\r|\n")
# Control characters, line separators that only YAML 1.1 knows (a reader of the file sees one line where PyYAML
# sees two), a byte order mark in the middle, and noncharacters.
_FORBIDDEN = re.compile("[\x01-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028\u2029\ufeff\ufdd0-\ufdef\ufffe\uffff]")
_MOST_CHARACTERS_REPORTED = 50
_COMMENT = re.compile(r"(?:^|\s)#")
_MISLEADING = re.compile(f"[{BIDIRECTIONAL}]")


def decode(data: bytes) -> tuple[list[str] | None, list[Problem]]:
    """Return the lines of a file, each forbidden character replaced by a `HOLE`; None when it is no text."""
    problems: list[Problem] = []

    def refuse(code: str, message: str, before: str = "") -> tuple[None, list[Problem]]:
        lines = _LINE_BREAK.split(before)
        return None, [*problems, Problem(code, len(lines), len(lines[-1]) + 1, "", message)]

    if len(data) > LARGEST_FILE:
        return refuse("E002", f"the file is larger than 1 MiB ({LARGEST_FILE:,} bytes); split the release")
    if data.startswith((b"\xff\xfe", b"\xfe\xff")) or _looks_like_utf_16(data):
        return refuse("E003", "the file is UTF-16; save it as UTF-8")
    if data.startswith(b"\xef\xbb\xbf"):
        message = (
            "the file starts with a byte order mark (U+FEFF, bytes EF BB BF); save it as UTF-8 without it"
        )
        problems.append(Problem("E004", 1, 1, "", message))
    start = 3 * len(problems)
    try:
        text = data[start:].decode("utf-8")
    except UnicodeDecodeError as error:
        offset = start + error.start
        message = f"the byte 0x{data[offset]:02X} at offset {offset} is not UTF-8; save the file as UTF-8"
        return refuse("E003", message, data[start:offset].decode("utf-8"))
    if "\0" in text:
        message = f"a NUL character (U+0000) at byte offset {data.find(0)}: this is a binary file, not YAML"
        return refuse("E003", message, text.partition("\0")[0])
    lines = _LINE_BREAK.split(text)
    if text.isascii() and not _FORBIDDEN.search(text):
        return lines, problems
    return [_FORBIDDEN.sub(HOLE, line) for line in lines], problems + _odd_characters(lines)


def _looks_like_utf_16(data: bytes) -> bool:
    """UTF-16 without its mark: in mostly Latin text every second byte is 0."""
    start = data[:64]
    return len(start) >= 4 and (not any(start[0::2]) or not any(start[1::2])) and any(start)


def _odd_characters(lines: list[str]) -> list[Problem]:
    """Find forbidden characters, and comments that look different from what they are (the "Trojan Source" attack)."""
    problems: list[Problem] = []
    listed = more = 0
    first_unlisted = (0, 0)
    for number, line in enumerate(lines, 1):
        for found in _FORBIDDEN.finditer(line):
            if listed == _MOST_CHARACTERS_REPORTED:
                first_unlisted = first_unlisted if more else (number, found.start() + 1)
                more += 1
                continue
            listed += 1
            message = f"the character U+{ord(found[0]):04X} is not allowed in a manifest; remove it"
            problems.append(Problem("E005", number, found.start() + 1, "", message))
        if line.isascii() or not (comment := _COMMENT.search(line)):
            continue
        if misleading := _MISLEADING.search(line, comment.end()):
            message = f"the comment contains {described(misleading[0])}; remove it"
            problems.append(Problem("W103", number, misleading.start() + 1, "", message))
    if more:
        message = f"from here on {more:,} more that are not allowed; remove them"
        problems.append(Problem("E005", *first_unlisted, "", message))
    return problems
