"""A clone of the repository that the module made, worked with as a person does: plain git over HTTP."""

from __future__ import annotations

import subprocess
from pathlib import Path

from scripts.checkout import environment


class GitError(Exception):
    """git refused; the text holds what it said."""


class Clone:
    """A clone at a folder.

    Parameters
    ----------
    url
        What to clone.
    folder
        Where to; must not exist.
    branch
        The branch to push to; a new repository has none yet.
    """

    def __init__(self, url: str, folder: Path, branch: str = "main") -> None:
        self.folder = folder
        self._branch = branch
        self._environment = environment()
        self._git("clone", "--quiet", url, str(folder), cwd=folder.parent)
        if not self._git("branch", "--list", "--all").strip():
            self._git("symbolic-ref", "HEAD", f"refs/heads/{branch}")

    def push(self, text: str, message: str, file: str = "deployment.yaml") -> str:
        """Commit a file and push it; the commit's id."""
        path = self.folder / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        self._git("add", "--", file)
        self._git("commit", "--quiet", "--allow-empty", "-m", message)
        self._git("push", "--quiet", "origin", f"HEAD:{self._branch}")
        return self._git("rev-parse", "HEAD").strip()

    def _git(self, *arguments: str, cwd: Path | None = None) -> str:
        answer = subprocess.run(
            ["git", *arguments],
            cwd=cwd or self.folder,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            start_new_session=True,
        )
        if answer.returncode:
            raise GitError(f"git {' '.join(arguments)} failed:\n{answer.stderr.strip()}")
        return answer.stdout
