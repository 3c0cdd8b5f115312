"""Files made to hurt: each is refused in under a second and in less than 200 MB."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from ecs_release.manifest import Validation, load
from ecs_release.manifest.source import MOST_LINES
from ecs_release.manifest.text import LARGEST_FILE

MIB = LARGEST_FILE
LOOP_SECONDS = 0.1
NEARLY = MOST_LINES - 1000  # lines that are read, as many as there may be
SOURCE = Path(__file__).parents[2] / "lambda_src"


def lines(count: int, line: str) -> bytes:
    return "".join(line.replace("#", str(i)) for i in range(count)).encode()


def services(count: int) -> bytes:
    entry = "  - {service: a, clusterName: b, serviceName: s#, image: 'a:1'}\n"
    return b"services:\n" + lines(count, entry)


HOSTILE: dict[str, tuple[Callable[[], bytes], str]] = {
    "one byte too many": (lambda: b"#" * (MIB + 1), "E002"),
    "a hundred megabytes": (lambda: b"services: []\n" * 8_000_000, "E002"),
    "5,001 entries": (lambda: services(5001), "E007"),
    "5,001 times nothing": (lambda: b"services:\n" + b"-\n" * 5001, "E007"),
    "many empty lists": (lambda: b"services: [" + b"[]," * 300_000, "E007"),
    "many more lines than are read": (lambda: b"services:\n" + b"\n" * 200_000, "E007"),
    "many keys": (lambda: lines(NEARLY, "k#: x\n"), "E007"),
    "many keys in many entries": (
        lambda: b"services:\n" + lines(9000, "- {a,b,c,d,e,f,g,h,i,j,k,l,m,n,o,p}\n"),
        "E007",
    ),
    "many unknown keys": (
        lambda: b"services:\n" + lines(4999, "- {serviceNmae: x, klusterName: x, imgae: x, foo#: x}\n"),
        "E009",
    ),
    "many mistakes": (lambda: b"services:\n" + lines(4999, '- "x\n'), "E031"),
    "many duplicates": (lambda: b"a:\n" * NEARLY, "E007"),
    "100,000 brackets": (lambda: b"[" * 100_000, "E006"),
    "a mebibyte of brackets": (lambda: b"[" * MIB, "E006"),
    "100,000 braces": (lambda: b"{a: " * 100_000, "E006"),
    "brackets behind a key": (lambda: b"services: " + b"[" * 100_000, "E006"),
    "brackets line by line": (lambda: b"[\n" * NEARLY, "E006"),
    "100,000 dashes": (lambda: b"- " * 100_000, "E007"),
    "dashes": (lambda: b"- " * 5_000, "E006"),
    "deep lines": (lambda: b"".join(b" " * i + b"a:\n" for i in range(1300)), "E006"),
    "question marks": (lambda: b"? " * 100_000, "E007"),
    "fewer question marks": (lambda: b"? " * 5_000, "E006"),
    "braces only": (lambda: b"{" * 100_000, "E006"),
    "an alias bomb": (
        lambda: (
            b"a: &a [x,x,x,x,x,x,x,x,x]\n"
            + b"".join(b"%c: &%c [%s]\n" % (c, c, b",".join([b"*%c" % (c - 1)] * 9)) for c in range(98, 123))
        ),
        "E007",
    ),
    "many anchors": (lambda: b"services: [" + b"&a x," * 4_000 + b"]", "E009"),
    "many aliases of nothing": (lambda: b"services: [" + b"*a," * 4_000 + b"]", "E009"),
    "many aliases of much": (
        lambda: b"x: &a [" + b"x," * 900 + b"]\nservices: [" + b"*a," * 4_000 + b"]",
        "E007",
    ),
    "many merges": (
        lambda: (
            b"x: &a {"
            + b",".join(b"k%d: x" % i for i in range(99))
            + b"}\nservices:\n"
            + b"- <<: *a\n" * 4_000
        ),
        "E007",
    ),
    "100,000 anchors": (lambda: b"services: [" + b"&a x," * 100_000, "E007"),
    "100,000 aliases": (lambda: b"services: [" + b"*a," * 100_000, "E007"),
    "an endless tag": (lambda: b"release: !" + b"x" * (MIB - 20), "E007"),
    "an endless anchor": (lambda: b"release: &" + b"x" * (MIB - 20), "E007"),
    "an endless value": (lambda: b"release: " + b"x" * (MIB - 20), "E007"),
    "an endless value of words": (lambda: b"release: " + b"x " * (MIB // 2 - 10), "E007"),
    "an endless quote": (lambda: b'release: "' + b"x" * (MIB - 20), "E007"),
    "a quote over many lines": (lambda: b'release: "' + b"x\n" * NEARLY, "E031"),
    "many escapes": (lambda: b'release: "' + b"\\x41" * (MIB // 4 - 10) + b'"', "E007"),
    "a long block of text": (lambda: b"release: |\n" + b" x\n" * NEARLY, "E007"),
    "an endless image": (lambda: b"services: [{image: '" + b"a-." * 3000 + b"/a:1'}]", "E010"),
    "an endless comment": (lambda: b"#" * MIB, "E050"),
    "only spaces": (lambda: b" " * MIB, "E050"),
    "only line breaks": (lambda: b"\n" * MIB, "E007"),
    "only tabs": (lambda: b"\t" * MIB, "E050"),
    "words between tabs": (lambda: b"release: " + b"\t'" * (MIB // 2 - 10), "E007"),
    "a dash and odd spaces": (lambda: "services:\n  \u2013".encode() + "\u200b".encode() * 300_000, "E007"),
    "a hyphen and odd spaces": (lambda: b"services:\n  -" + "\u00a0".encode() * 500_000, "E007"),
    "a key and odd spaces": (lambda: b"release:" + "\u200b".encode() * 300_000 + b"x", "E070"),
    "entries without a space": (lambda: b"services:\n" + b" -service: a\n" * 4_000, "E034"),
    "conflicts without an end": (lambda: b"=======\n" * NEARLY, "E008"),
    "tabs in every line": (lambda: b"services:\n" + b"\t- x\n" * 4_000, "E030"),
    "only colons": (lambda: b":" * MIB, "E007"),
    "only control characters": (lambda: b"\x01" * MIB, "E005"),
    "only conflict markers": (lambda: b"<<<<<<< a\n" * 10_000, "E009"),
    "only NUL": (lambda: b"\0" * MIB, "E003"),
    "only 0xFF": (lambda: b"\xff" * MIB, "E003"),
    "every byte": (lambda: bytes(range(256)) * 4096, "E003"),
    "line separators": (lambda: "\u2028".encode() * (MIB // 3), "E005"),
    "directives": (lambda: b"%a\n" * NEARLY, "E034"),
    "document markers": (lambda: b"---\n" * NEARLY, "E050"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_file_is_refused_in_under_a_second(name: str) -> None:
    make, code = HOSTILE[name]
    data = make()

    validation, seconds = timed(data)
    for _ in range(2):
        if seconds >= 1:  # a busy machine; a file that is slow is slow each time
            validation, seconds = timed(data)

    assert validation.manifest is None
    assert code in {problem.code for problem in validation.errors}
    assert seconds < 1


def timed(data: bytes) -> tuple[Validation, float]:
    """What a file gives, and the seconds of computing that it took, as on a machine that nobody else uses.

    Not wall-clock time, because other tests run beside this one. Two programs on one core slow each other's computing down as
    well, by how much a loop of known length tells.
    """
    started = time.process_time()
    validation = load(data)
    seconds = time.process_time() - started
    started = time.process_time()
    sum(number % 7 for number in range(1_000_000))
    return validation, seconds / max(1.0, (time.process_time() - started) / LOOP_SECONDS)


def test_hostile_files_are_refused_in_less_than_200_megabytes(tmp_path: Path) -> None:
    """A process that may not have more memory reads one after another."""
    large = [
        name
        for name in HOSTILE
        if re.search("endless|megabyte|mebibyte|bomb|entries|quote|keys|escapes", name)
    ]
    for number, (make, _) in enumerate(HOSTILE[name] for name in large):
        (tmp_path / f"{number}.yaml").write_bytes(make())
    program = (
        "import sys, resource; from pathlib import Path; from ecs_release.manifest.file import load_file\n"
        "resource.setrlimit(resource.RLIMIT_AS, (200_000_000, 200_000_000))\n"
        "for path in sorted(Path(sys.argv[1]).iterdir()):\n"
        "    assert load_file(path).manifest is None\n"
    )

    result = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)],
        env={**os.environ, "PYTHONPATH": str(SOURCE)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert (result.returncode, result.stderr) == (0, "")


def test_the_largest_manifest_is_valid() -> None:
    validation = load(services(5000))

    assert validation.manifest is not None
    assert len(validation.manifest.items) == 5000
