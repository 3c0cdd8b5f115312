#!/usr/bin/env python3
"""Write a Terraform CLI configuration that finds the AWS provider also where no registry answers.

Looks for a directory that holds ``registry.terraform.io/hashicorp/aws``: the one that ``TF_PROVIDER_MIRROR``
names, else below the usual roots. Found: the AWS provider comes from there and the registry serves the rest.
Not found: the registry serves all. The file goes to ``.build/terraform.rc`` and its path to standard output::

    export TF_CLI_CONFIG_FILE="$(python3 scripts/terraform_cli_config.py)"

A configuration of the user's own, which ``TF_CLI_CONFIG_FILE`` names or which lies in the home directory,
stays in force unless ``TF_PROVIDER_MIRROR`` is set: its path is printed instead. One that is named but
missing, of which Terraform would warn at every command, is passed over.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

BUILD = Path(__file__).resolve().parent.parent / ".build"
PROVIDER = Path("registry.terraform.io/hashicorp/aws")
# Where packagers and people put provider mirrors: here or up to two folders below.
ROOTS = ("/opt", "/usr/share", "/usr/local/share")
HOME_FOLDERS = (
    ".terraform.d/plugins",
    ".local/share/terraform/plugins",
    "Library/Application Support/io.terraform/plugins",
)


class MirrorMissingError(Exception):
    """``TF_PROVIDER_MIRROR`` names a directory without the provider."""


def find_mirror(environment: Mapping[str, str]) -> Path | None:
    """Find the directory of a filesystem mirror, or None.

    Raises
    ------
    MirrorMissingError
        when the environment names a directory that is no mirror: silently using another would surprise.
    """
    named = environment.get("TF_PROVIDER_MIRROR")
    if named:
        if not (Path(named) / PROVIDER).is_dir():
            raise MirrorMissingError(
                f"TF_PROVIDER_MIRROR names {named}, which holds no {PROVIDER}. "
                "Name the directory above registry.terraform.io, or unset it."
            )
        return Path(named).resolve()
    home = environment.get("HOME")
    candidates = [Path(home) / folder for folder in HOME_FOLDERS] if home else []
    for root in map(Path, ROOTS):
        candidates += [
            root,
            *_folders(root),
            *(inner for folder in _folders(root) for inner in _folders(folder)),
        ]
    return next((folder for folder in candidates if _is_mirror(folder)), None)


def _folders(root: Path) -> list[Path]:
    try:
        return sorted(entry for entry in root.iterdir() if entry.is_dir())
    except OSError:
        return []


def _is_mirror(folder: Path) -> bool:
    try:
        return (folder / PROVIDER).is_dir()
    except OSError:
        return False


def own_configuration(environment: Mapping[str, str]) -> Path | None:
    """Give the configuration that Terraform would read by itself, if it exists."""
    named = environment.get("TF_CLI_CONFIG_FILE") or environment.get("TERRAFORM_CONFIG")
    if named:
        return Path(named) if Path(named).is_file() else None
    home = environment.get("HOME")
    default = Path(home, ".terraformrc") if home else None
    return default if default and default.is_file() else None


def render(mirror: Path | None) -> str:
    """Write the configuration down.

    >>> print(render(Path("/opt/mirror")), end="")
    provider_installation {
      filesystem_mirror {
        path = "/opt/mirror"
      }
      direct {
        exclude = ["registry.terraform.io/hashicorp/aws"]
      }
    }
    """
    if mirror is None:
        return "# No provider mirror on this machine: everything comes from the registry.\n"
    path = str(mirror).replace("\\", "/").replace('"', '\\"')
    return (
        "provider_installation {\n"
        f'  filesystem_mirror {{\n    path = "{path}"\n  }}\n'
        f'  direct {{\n    exclude = ["{PROVIDER.as_posix()}"]\n  }}\n'
        "}\n"
    )


def main(environment: Mapping[str, str] | None = None, build: Path = BUILD) -> Path:
    """Choose or write the configuration and give its path."""
    env = os.environ if environment is None else environment
    target = build / "terraform.rc"
    own = own_configuration(env)
    if own is not None and own.resolve() != target.resolve() and not env.get("TF_PROVIDER_MIRROR"):
        return own
    text = render(find_mirror(env))
    build.mkdir(parents=True, exist_ok=True)
    if not target.is_file() or target.read_text(encoding="utf-8") != text:
        target.write_text(text, encoding="utf-8")
    return target


if __name__ == "__main__":
    try:
        print(main())
    except MirrorMissingError as error:
        sys.exit(str(error))
