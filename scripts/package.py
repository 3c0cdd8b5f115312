"""Build lambda_src/package.zip: our source and the pinned pure-Python dependencies, byte for byte the same everywhere.

Usage
-----
``python scripts/package.py`` builds it; ``python scripts/package.py --check`` fails when what is committed is stale.

Why the zip is stored and not compressed: zlib's output differs between its implementations, and Git compresses and
deltas stored content far better than compressed content, so a change to one module costs a few kilobytes of history
(docs/adr/0001-lambda-package.md).
"""

from __future__ import annotations

import argparse
import io
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "lambda_src"
PACKAGE = SOURCE / "package.zip"
WHEELS = ROOT / ".build" / "wheels"
OWN = ("*.py", "*.json", "*.css")

# The wheels are resolved for the platform the functions run on; only PyYAML has native parts at all.
PLATFORM = ("--platform", "manylinux2014_aarch64", "--python-version", "3.13", "--only-binary=:all:")

# Parts of Powertools that nothing here imports; they are five sixths of it.
UNUSED = tuple(
    f"aws_lambda_powertools/{part}"
    for part in (
        "event_handler/",
        "metrics/provider/datadog/",
        "utilities/auth_alpha/",
        "utilities/batch/",
        "utilities/circuit_breaker/",
        "utilities/data_classes/",
        "utilities/data_masking/",
        "utilities/feature_flags/",
        "utilities/kafka/",
        "utilities/parameters/",
        "utilities/parser/",
        "utilities/streaming/",
        "utilities/validation/",
    )
)


def main() -> int:
    arguments = argparse.ArgumentParser(description="Build lambda_src/package.zip.")
    arguments.add_argument("--check", action="store_true", help="fail when the committed package is stale")
    check = arguments.parse_args().check
    data = build()
    if check:
        if PACKAGE.exists() and PACKAGE.read_bytes() == data:
            print(f"{PACKAGE.relative_to(ROOT)} is up to date.")
            return 0
        print(f"{PACKAGE.relative_to(ROOT)} is stale. Run `make package` and commit it.", file=sys.stderr)
        return 1
    PACKAGE.write_bytes(data)
    print(f"{PACKAGE.relative_to(ROOT)}: {len(data) / 1024:.0f} KiB")
    return 0


def build() -> bytes:
    """The package's bytes."""
    members = dict(_dependencies()) | dict(_own_source())
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as package:
        for name in sorted(members):
            entry = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
            entry.create_system = 3  # Unix, also when built on Windows
            entry.external_attr = 0o100644 << 16
            package.writestr(entry, members[name])
    return buffer.getvalue()


def _own_source() -> Iterator[tuple[str, bytes]]:
    paths = [path for pattern in OWN for path in (SOURCE / "ecs_release").rglob(pattern)]
    for path in (SOURCE / "__main__.py", *paths):
        # Git may check text out with CRLF.
        yield path.relative_to(SOURCE).as_posix(), path.read_bytes().replace(b"\r\n", b"\n")


def _dependencies() -> Iterator[tuple[str, bytes]]:
    for wheel in sorted(_download().glob("*.whl")):
        with zipfile.ZipFile(wheel) as archive:
            for name in archive.namelist():
                if _wanted(name):
                    yield name, archive.read(name)


def _wanted(name: str) -> bool:
    if ".dist-info/" in name:
        return "/licenses/" in name or name.rsplit("/", 1)[-1].upper().startswith("LICENSE")
    # yaml uses its C library only where yaml._yaml can be imported.
    native = name.endswith((".so", ".pyd", ".pyx", ".pxd", ".c", ".h")) or name.startswith("_yaml/")
    needless = name.endswith((".pyi", "py.typed", "/")) or ".data/" in name or name.startswith(UNUSED)
    return not (native or needless)


def _download() -> Path:
    """The wheels of lambda_src/requirements.txt, hashes checked; kept until the requirements change."""
    requirements = SOURCE / "requirements.txt"
    stamp = WHEELS / "requirements.txt"
    if stamp.exists() and stamp.read_text() == requirements.read_text():
        return WHEELS
    WHEELS.mkdir(parents=True, exist_ok=True)
    for old in WHEELS.iterdir():
        old.unlink()
    with tempfile.TemporaryDirectory(dir=WHEELS.parent) as scratch:
        subprocess.run(
            [
                *(
                    sys.executable,
                    "-m",
                    "pip",
                    "download",
                    "--quiet",
                    "--disable-pip-version-check",
                    "--no-deps",
                ),
                *("--require-hashes", "--dest", scratch, *PLATFORM, "--requirement", str(requirements)),
            ],
            check=True,
        )
        for wheel in Path(scratch).iterdir():
            wheel.rename(WHEELS / wheel.name)
    stamp.write_text(requirements.read_text())
    return WHEELS


if __name__ == "__main__":
    sys.exit(main())
