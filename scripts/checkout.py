"""The checkout and what runs in it: nothing is read from or written to a place outside it, the home directory included."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from scripts import terraform_cli_config

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / ".build"
VENV = ROOT / ".venv"

# A Unix socket's path has at most 104 characters on macOS and 108 on Linux; Terraform's plug-ins put theirs under
# the temporary directory, with names of some forty characters.
_LONGEST_SOCKET_FOLDER = 60

# What a person's own setting would change the outcome of.
_FOREIGN = (
    *(
        "AWS_PROFILE",
        "AWS_DEFAULT_PROFILE",
        "AWS_SESSION_TOKEN",
        "AWS_ROLE_ARN",
        "AWS_WEB_IDENTITY_TOKEN_FILE",
    ),
    *("TF_CLI_ARGS", "TF_WORKSPACE", "TF_LOG", "TF_LOG_PATH"),
    *("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "PYTHONHOME", "PYTHONPATH"),
)


def environment() -> dict[str, str]:
    """The environment of every program that is started here: this checkout in place of the home directory."""
    env = {
        key: value
        for key, value in os.environ.items()
        if key not in _FOREIGN and not key.startswith(("AWS_ENDPOINT_URL", "TF_VAR_", "TF_CLI_ARGS_"))
    }
    home = BUILD / "home"
    plugins = BUILD / "terraform-plugins"
    for folder in (home, plugins):
        folder.mkdir(parents=True, exist_ok=True)
    # Terraform's configuration may lie in the real home directory, so it is looked for before HOME changes.
    try:
        env["TF_CLI_CONFIG_FILE"] = str(terraform_cli_config.main(env, BUILD))
    except terraform_cli_config.MirrorMissingError as error:
        raise SystemExit(str(error)) from None
    env |= {
        "HOME": str(home),
        "XDG_CACHE_HOME": str(home / ".cache"),
        "XDG_CONFIG_HOME": str(home / ".config"),
        "PIP_CACHE_DIR": str(BUILD / "pip"),
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "CHECKPOINT_DISABLE": "1",
        "TF_IN_AUTOMATION": "1",
        "TF_INPUT": "0",
        "TF_PLUGIN_CACHE_DIR": str(plugins),
        # Without a lock file, which is not committed, Terraform would fetch the provider anew in every folder.
        "TF_PLUGIN_CACHE_MAY_BREAK_DEPENDENCY_LOCK_FILE": "true",
        # Go's. At every command Terraform reads the provider's schema, which is large: a fifth of that time was clearing up.
        "GOGC": "400",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_PAGER": "",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_AUTHOR_NAME": "ECS Release",
        "GIT_AUTHOR_EMAIL": "ecs-release@example.com",
        "GIT_COMMITTER_NAME": "ECS Release",
        "GIT_COMMITTER_EMAIL": "ecs-release@example.com",
        "PYTHONUNBUFFERED": "1",
    }
    for name in ("NO_PROXY", "no_proxy"):
        env[name] = ",".join(part for part in (env.get(name), "127.0.0.1", "localhost") if part)
    return env


def keep_pip_here() -> None:
    """Let pip leave nothing in the home directory. It stays in sight: a package index may be configured there."""
    os.environ |= {"PIP_CACHE_DIR": str(BUILD / "pip"), "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    if not Path(os.environ.get("HOME", "/"), ".rustup").exists():
        # pip asks rustc for its version, also the pip that comes with a new environment, and rustup's makes that folder
        os.environ.setdefault("RUSTUP_HOME", str(BUILD / "rustup"))


@contextlib.contextmanager
def work_folder(name: str) -> Iterator[Path]:
    """A new folder below ``.build`` that is removed at the end, where temporary files go as well.

    This process's environment, and so that of its children, becomes :func:`environment` for good.
    """
    BUILD.mkdir(exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=BUILD))
    temporary = folder / "tmp"
    temporary.mkdir()
    short = None
    if len(str(temporary)) > _LONGEST_SOCKET_FOLDER:
        short = Path(tempfile.mkdtemp(prefix="ecs-release-"))
    env = environment() | {"TMPDIR": str(short or temporary)}
    os.environ.clear()
    os.environ.update(env)
    tempfile.tempdir = None  # reads TMPDIR anew
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if short:
            shutil.rmtree(short, ignore_errors=True)
