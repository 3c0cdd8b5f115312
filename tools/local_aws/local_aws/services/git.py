"""Bare Git repositories in the server's state directory, served over Git's smart HTTP under ``/git/``.

Stands for the Git side of AWS CodeCommit and of the hosts behind AWS CodeConnections: plain ``git clone``
and ``git push`` over HTTP. The protocol itself is Git's own ``git http-backend``, run as a CGI program per
request: https://git-scm.com/docs/git-http-backend

Access is anonymous, so no client is ever asked for credentials. The configuration of whoever started the
server (hooks, templates, ``init.defaultBranch``, ``GIT_DIR``) is kept out by giving Git an environment of its
own.
"""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import subprocess
import tempfile
import threading
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from local_aws.kernel.server import Server
from local_aws.kernel.shared import one_of

CHUNK = 65536

_CONFIG = {
    "safe.directory": "*",
    "http.receivepack": "true",
    "core.hooksPath": os.devnull,
    # No background process may be left behind by a push.
    "receive.autogc": "false",
    "gc.auto": "0",
}


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """An environment for Git in which nobody's configuration counts but ours."""
    settings = {"PATH": os.environ.get("PATH", os.defpath), "HOME": os.devnull, "LC_ALL": "C"}
    settings |= {"GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": os.devnull, "GIT_TERMINAL_PROMPT": "0"}
    settings["GIT_CONFIG_COUNT"] = str(len(_CONFIG))
    for index, (key, value) in enumerate(_CONFIG.items()):
        settings |= {f"GIT_CONFIG_KEY_{index}": key, f"GIT_CONFIG_VALUE_{index}": value}
    return settings | dict(extra or {})


class GitError(Exception):
    """Git refused; the text is Git's own."""


class SameContentError(Exception):
    """A commit would change nothing."""


@dataclass(frozen=True)
class Commit:
    """A commit as ``git cat-file commit`` shows it; people as name, e-mail address and ``seconds zone``."""

    id: str
    tree: str
    parents: tuple[str, ...]
    author: tuple[str, str, str]
    committer: tuple[str, str, str]
    message: str


@dataclass(frozen=True)
class RefChange:
    """What a push did to one reference; ``old`` or ``new`` is None where there was or is none."""

    ref: str
    old: str | None
    new: str | None


def _person(text: str) -> tuple[str, str, str]:
    name, _, rest = text.partition(" <")
    email, _, date = rest.partition("> ")
    return name, email, date


class BareRepository:
    """One bare repository on disk."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def git(
        self, *arguments: str, stdin: bytes | None = None, extra: Mapping[str, str] | None = None
    ) -> bytes:
        """Run Git in this repository and return what it printed; `GitError` where it fails."""
        done = subprocess.run(
            ["git", *arguments],
            cwd=self.path,
            env=environment({"GIT_DIR": str(self.path), **(extra or {})}),
            input=stdin if stdin is not None else b"",
            capture_output=True,
            check=False,
        )
        if done.returncode:
            raise GitError(done.stderr.decode(errors="replace").strip() or f"git {arguments[0]} failed")
        return done.stdout

    def initialise(self) -> None:
        self.path.mkdir(parents=True)
        self.git("init", "--quiet", "--bare", "--template=", "--initial-branch=main", str(self.path))

    def refs(self) -> dict[str, str]:
        """Every branch and tag with the object it names."""
        lines = self.git("for-each-ref", "--format=%(objectname) %(refname)", "refs/heads", "refs/tags")
        pairs = (line.split(" ", 1) for line in lines.decode().splitlines())
        return {ref: commit for commit, ref in pairs}

    def branches(self) -> dict[str, str]:
        prefix = "refs/heads/"
        return {
            ref.removeprefix(prefix): commit for ref, commit in self.refs().items() if ref.startswith(prefix)
        }

    def commit(self, commit_id: str) -> Commit:
        """Read a commit; `GitError` if there is none of that id."""
        text = self.git("cat-file", "commit", commit_id).decode(errors="replace")
        head, _, message = text.partition("\n\n")
        fields: dict[str, list[str]] = {}
        for line in head.splitlines():
            key, _, value = line.partition(" ")
            fields.setdefault(key, []).append(value)
        return Commit(
            id=commit_id,
            tree=fields["tree"][0],
            parents=tuple(fields.get("parent", ())),
            author=_person(fields["author"][0]),
            committer=_person(fields["committer"][0]),
            message=message,
        )

    def put_file(
        self, branch: str, path: str, content: bytes, message: str, author: tuple[str, str]
    ) -> dict[str, str]:
        """Commit one file on top of a branch, which is made where there is none; the ids as CodeCommit names them.

        Raises
        ------
        SameContentError
            where the branch has the file with this content.
        """
        parent = self.branches().get(branch)
        name, email = author
        with tempfile.TemporaryDirectory() as folder:
            extra = {
                "GIT_INDEX_FILE": f"{folder}/index",
                **{f"GIT_{who}_NAME": name for who in ("AUTHOR", "COMMITTER")},
                **{f"GIT_{who}_EMAIL": email for who in ("AUTHOR", "COMMITTER")},
            }

            def git(*arguments: str, stdin: bytes | None = None) -> str:
                return self.git(*arguments, stdin=stdin, extra=extra).decode().strip()

            if parent:
                git("read-tree", parent)
            blob = git("hash-object", "-w", "--stdin", stdin=content)
            git("update-index", "--add", "--cacheinfo", f"100644,{blob},{path}")
            tree = git("write-tree")
            if parent and tree == git("rev-parse", f"{parent}^{{tree}}"):
                raise SameContentError
            parents = ("-p", parent) if parent else ()
            commit = git("commit-tree", tree, *parents, "-F", "-", stdin=message.encode())
            git("update-ref", f"refs/heads/{branch}", commit, parent or "0" * 40)
        return {"commitId": commit, "blobId": blob, "treeId": tree}

    def zip(self, commit_id: str) -> bytes:
        """Pack the files of a commit, without history; ``git archive`` would obey .gitattributes."""
        entries: list[tuple[str, int, str]] = []
        for line in self.git("ls-tree", "-r", "-z", "--full-tree", commit_id).split(b"\0"):
            if line:
                meta, _, path = line.partition(b"\t")
                mode, kind, blob = meta.decode().split(" ")
                if kind == "blob":
                    entries.append((path.decode(errors="surrogateescape"), int(mode, 8), blob))
        answer = io.BytesIO(
            self.git("cat-file", "--batch", stdin="".join(f"{blob}\n" for _, _, blob in entries).encode())
        )
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, permissions, _ in entries:
                size = int(answer.readline().split()[2])
                info = zipfile.ZipInfo(name)
                info.external_attr = permissions << 16
                archive.writestr(info, answer.read(size), zipfile.ZIP_DEFLATED)
                answer.readline()
        return packed.getvalue()

    def changed_paths(self, old: str | None, new: str) -> list[str]:
        """The paths that differ between two commits, or every path where there is no older one."""
        if old is None:
            listing = self.git("ls-tree", "-r", "-z", "--name-only", "--full-tree", new)
        else:
            listing = self.git("diff-tree", "-r", "-z", "--name-only", "--no-commit-id", old, new)
        return [path.decode(errors="surrogateescape") for path in listing.split(b"\0") if path]


def compare_refs(before: Mapping[str, str], after: Mapping[str, str]) -> list[RefChange]:
    """Return the references that differ."""
    return [
        RefChange(ref, before.get(ref), after.get(ref))
        for ref in sorted(before.keys() | after.keys())
        if before.get(ref) != after.get(ref)
    ]


@dataclass
class Hosted:
    """A repository that is served, and whom to tell when a push changed it."""

    repository: BareRepository
    on_push: Callable[[list[RefChange]], None]
    known: dict[str, str] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def compare(self) -> None:
        """Find what has changed since the last look, and tell."""
        with self.lock:
            after = self.repository.refs()
            changes = compare_refs(self.known, after)
            self.known = after
            if changes:
                self.on_push(changes)


class GitHost:
    """Every served repository, by the name that follows ``/git/`` in its URL. A WSGI application."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._hosted: dict[str, Hosted] = {}
        self._lock = threading.Lock()

    def create(self, name: str, on_push: Callable[[list[RefChange]], None]) -> tuple[str, BareRepository]:
        """Make an empty repository; returns its URL name (``name``, unless that is taken) and itself."""
        with self._lock:
            slug, number = name, 2
            while slug in self._hosted:
                slug, number = f"{name}~{number}", number + 1
            repository = BareRepository(self.root / f"{slug}.git")
            shutil.rmtree(repository.path, ignore_errors=True)
            repository.initialise()
            self._hosted[slug] = Hosted(repository, on_push)
        return slug, repository

    def compare(self, slug: str) -> None:
        """Tell of what was changed by another way than a push."""
        self._hosted[slug].compare()

    def remove(self, slug: str) -> None:
        with self._lock:
            hosted = self._hosted.pop(slug, None)
        if hosted:
            shutil.rmtree(hosted.repository.path, ignore_errors=True)

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        path = environ.get("PATH_INFO", "").removeprefix("/git")
        slug, _, rest = path.strip("/").partition("/")
        hosted = self._hosted.get(slug) or self._hosted.get(slug.removesuffix(".git"))
        if hosted is None:
            start_response("404 Not Found", [("Content-Type", "text/plain"), ("Content-Length", "0")])
            return [b""]
        return _run_backend(hosted, rest, environ, start_response)


def _run_backend(
    hosted: Hosted, rest: str, environ: dict[str, Any], start_response: Callable[..., Any]
) -> Iterable[bytes]:
    path = hosted.repository.path
    cgi = {
        "GIT_PROJECT_ROOT": str(path.parent),
        "GIT_HTTP_EXPORT_ALL": "1",
        "PATH_INFO": f"/{path.name}/{rest}",
        "REQUEST_METHOD": environ["REQUEST_METHOD"],
        "QUERY_STRING": environ.get("QUERY_STRING", ""),
        "CONTENT_TYPE": environ.get("CONTENT_TYPE", ""),
        "REMOTE_ADDR": "127.0.0.1",
        "REMOTE_USER": "anonymous",
    }
    for key in ("CONTENT_LENGTH", "HTTP_CONTENT_ENCODING"):
        if environ.get(key):
            cgi[key] = environ[key]
    if environ.get("HTTP_GIT_PROTOCOL"):
        cgi["GIT_PROTOCOL"] = environ["HTTP_GIT_PROTOCOL"]
    # It can't outlive the server: its standard input and output are pipes that end with it.
    backend = subprocess.Popen(
        ["git", "http-backend"],
        env=environment(cgi),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert backend.stdin  # noqa: S101 - for the type checker
    assert backend.stdout  # noqa: S101
    length = environ.get("CONTENT_LENGTH")
    if length:
        size: int | None = int(length)
    else:  # A chunked body ends by itself; anything else without a length is empty.
        size = None if environ.get("wsgi.input_terminated") else 0
    feeder = threading.Thread(
        target=_feed, args=(environ["wsgi.input"], backend.stdin, size), name="git-http-backend", daemon=True
    )
    feeder.start()
    status, headers = _cgi_head(backend.stdout)
    start_response(status, headers)
    after = hosted.compare if rest == "git-receive-pack" else None
    return _Body(backend, backend.stdout, feeder, after)


def _feed(source: IO[bytes], sink: IO[bytes], size: int | None) -> None:
    with contextlib.suppress(OSError, ValueError):
        while size is None or size > 0:
            chunk = source.read(CHUNK if size is None else min(CHUNK, size))
            if not chunk:
                break
            if size is not None:
                size -= len(chunk)
            with contextlib.suppress(BrokenPipeError):  # read the request to its end all the same
                sink.write(chunk)
    with contextlib.suppress(OSError):
        sink.close()


def _cgi_head(stdout: IO[bytes]) -> tuple[str, list[tuple[str, str]]]:
    status, headers = "200 OK", []
    while line := stdout.readline().strip():
        name, _, value = line.decode("latin-1").partition(":")
        if name.lower() == "status":
            status = value.strip()
        else:
            headers.append((name, value.strip()))
    if not headers:
        status = "500 Internal Server Error"
    return status, headers


class _Body:
    """The answer's body as it comes; when it ends, whoever waits for pushes is told."""

    def __init__(
        self,
        backend: subprocess.Popen[bytes],
        stdout: IO[bytes],
        feeder: threading.Thread,
        after: Callable[[], None] | None,
    ) -> None:
        self._backend, self._stdout, self._feeder, self._after = backend, stdout, feeder, after

    def __iter__(self) -> Iterator[bytes]:
        # read1: what there is, at once, so that Git's progress lines are seen while they are new
        while chunk := self._stdout.read1(CHUNK):  # type: ignore[attr-defined]
            yield chunk

    def close(self) -> None:
        """Called by the WSGI server at the end, also when the client has gone."""
        self._stdout.close()
        self._feeder.join()
        self._backend.wait()
        if self._after:
            self._after()


def host(server: Server) -> GitHost:
    """Return the server's Git host; the first who asks makes it, and the server serves it from then on."""

    def make() -> GitHost:
        made = GitHost(server.state_dir / "git")
        server.route("/git/", made)
        return made

    return one_of(server, GitHost, make)
