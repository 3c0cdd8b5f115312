"""A buildspec, version 0.2, as AWS CodeBuild reads it.

Source: https://docs.aws.amazon.com/codebuild/latest/userguide/build-spec-ref.html
Read: ``env`` (``shell``, ``variables``, ``exported-variables``), phases with ``commands``, ``finally`` and
``on-failure``, and ``artifacts`` with ``files``, ``base-directory``, ``exclude-paths``, ``discard-paths``
and ``secondary-artifacts``. Everything else that would change what a build does is refused by name.
"""

from __future__ import annotations

import fnmatch
import io
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

PHASES = ("install", "pre_build", "build", "post_build")
_TOP = {"version", "env", "phases", "artifacts"}
_IGNORED = {"batch", "cache", "reports", "run-as", "proxy"}
_ENV = {"shell", "variables", "exported-variables", "git-credential-helper"}
_PHASE = {"commands", "finally", "on-failure", "runtime-versions"}


class BuildspecError(Exception):
    """The buildspec can't be used; the text goes into the DOWNLOAD_SOURCE phase's context."""


class NoArtifacts(Exception):
    """No file matches the artifact's patterns."""


@dataclass(frozen=True)
class Phase:
    """Commands in order, those that run whatever happens, and what a failure means."""

    commands: tuple[str, ...] = ()
    last: tuple[str, ...] = ()
    on_failure: str = "ABORT"


@dataclass(frozen=True)
class Artifact:
    """Which files make an artifact."""

    files: tuple[str, ...]
    base_directory: str = "."
    exclude: tuple[str, ...] = ()
    discard_paths: bool = False

    def pack(self, root: Path) -> bytes:
        """Zip the files that match, below the base directory of ``root``; `NoArtifacts` where none does."""
        base = (root / self.base_directory).resolve()
        found: dict[str, Path] = {}
        for pattern in self.files:
            for path in sorted(base.glob(pattern.removeprefix("./"))) if base.is_dir() else ():
                inner = path.relative_to(base).as_posix()
                if path.is_file() and not any(fnmatch.fnmatch(inner, skip) for skip in self.exclude):
                    found[path.name if self.discard_paths else inner] = path
        if not found:
            raise NoArtifacts("no matching artifact paths found")
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
            for inner, path in found.items():
                archive.write(path, inner)
        return packed.getvalue()


@dataclass(frozen=True)
class Buildspec:
    """What a build is to do."""

    phases: Mapping[str, Phase]
    shell: str = "sh"
    variables: Mapping[str, str] = field(default_factory=dict)
    exported: tuple[str, ...] = ()
    artifacts: Mapping[str, Artifact] = field(default_factory=dict)
    """By identifier; "" is the primary one."""


def parse(text: str) -> Buildspec:
    """Read a buildspec; `BuildspecError` says what is wrong with it."""
    try:
        document = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise BuildspecError(f"invalid YAML in buildspec: {error}") from None
    if not isinstance(document, dict):
        raise BuildspecError("the buildspec is not a mapping")
    if str(document.get("version")) != "0.2":
        raise BuildspecError(f"the buildspec's version is {document.get('version')!r}; write 0.2")
    _known("the buildspec", document, _TOP | _IGNORED)
    env = _mapping("env", document.get("env"))
    _known("env", env, _ENV)
    phases = {}
    for name, value in _mapping("phases", document.get("phases")).items():
        if name not in PHASES:
            raise BuildspecError(f"phases: {name!r} is none of {', '.join(PHASES)}")
        phase = _mapping(f"phases.{name}", value)
        _known(f"phases.{name}", phase, _PHASE)
        phases[name] = Phase(
            commands=_texts(f"phases.{name}.commands", phase.get("commands")),
            last=_texts(f"phases.{name}.finally", phase.get("finally")),
            on_failure=str(phase.get("on-failure", "ABORT")),
        )
    if not any(phase.commands for phase in phases.values()):
        raise BuildspecError("the buildspec has no commands")
    artifacts = {}
    if document.get("artifacts") is not None:
        primary = _mapping("artifacts", document["artifacts"])
        if primary.get("files"):
            artifacts[""] = _artifact("artifacts", primary)
        for name, value in _mapping("secondary-artifacts", primary.get("secondary-artifacts")).items():
            artifacts[str(name)] = _artifact(f"artifacts.secondary-artifacts.{name}", _mapping(name, value))
    return Buildspec(
        phases=phases,
        shell=str(env.get("shell", "sh")),
        variables={str(k): _text(v) for k, v in _mapping("env.variables", env.get("variables")).items()},
        exported=_texts("env.exported-variables", env.get("exported-variables")),
        artifacts=artifacts,
    )


def _artifact(where: str, value: Mapping[str, Any]) -> Artifact:
    return Artifact(
        files=_texts(f"{where}.files", value.get("files")),
        base_directory=str(value.get("base-directory", ".")),
        exclude=_texts(f"{where}.exclude-paths", value.get("exclude-paths")),
        discard_paths=str(value.get("discard-paths", "no")).lower() in ("yes", "true"),
    )


def _mapping(where: str, value: object) -> dict[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise BuildspecError(f"{where} is not a mapping")
    return value


def _known(where: str, value: Mapping[str, Any], keys: set[str]) -> None:
    unknown = sorted(set(map(str, value)) - keys)
    if unknown:
        raise BuildspecError(f"{where}: local_aws does not know {', '.join(unknown)}")


def _texts(where: str, value: object) -> tuple[str, ...]:
    if value is None:
        return ()
    if isinstance(value, str):
        return (value,)
    if not isinstance(value, list):
        raise BuildspecError(f"{where} is not a list")
    for number, entry in enumerate(value):
        if isinstance(entry, dict | list):
            raise BuildspecError(f"{where}[{number}] is not a string; is there a colon to be quoted?")
    return tuple(_text(entry) for entry in value)


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else str(value)
