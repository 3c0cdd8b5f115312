"""AWS CodeCommit: repositories that a person can clone and push to, and the event that follows a push.

Stands for, with its source:

- the API's repositories, branches, commits and tags; dates are numbers, a new repository has no branch
  and no default branch, and the first branch that is pushed becomes the default one
  https://docs.aws.amazon.com/codecommit/latest/APIReference/Welcome.html
- PutFile: a commit through the API, which is a push to everybody else
  https://docs.aws.amazon.com/codecommit/latest/APIReference/API_PutFile.html
- "CodeCommit Repository State Change" on the default event bus, one event for each reference a push created,
  updated or deleted https://docs.aws.amazon.com/codecommit/latest/userguide/monitoring-events.html

Different from AWS: ``cloneUrlHttp`` is an address of this server, and nobody is asked for credentials. An
empty repository says its first branch is to be ``main``, whatever the client's ``init.defaultBranch`` is.
"""

from __future__ import annotations

import base64
import functools
import re
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from local_aws.kernel.calls import ApiError, Call
from local_aws.kernel.server import Server
from local_aws.kernel.shared import one_of
from local_aws.services.git import (
    BareRepository,
    Commit,
    GitError,
    GitHost,
    RefChange,
    SameContentError,
    host,
)

EVENT = "CodeCommit Repository State Change"
_NAME = re.compile(r"[\w.-]{1,100}")
_EVENTS = {
    (True, False): "referenceDeleted",
    (False, True): "referenceCreated",
    (True, True): "referenceUpdated",
}


@dataclass
class Repository:
    """A CodeCommit repository: what the API says of it, and the bare repository behind it."""

    account: str
    region: str
    name: str
    slug: str
    clone_url: str
    bare: BareRepository
    description: str | None = None
    kms_key: str | None = None
    default_branch: str | None = None
    tags: dict[str, str] = field(default_factory=dict)
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    created: float = field(default_factory=time.time)
    modified: float = field(default_factory=time.time)

    @property
    def arn(self) -> str:
        return f"arn:aws:codecommit:{self.region}:{self.account}:{self.name}"

    def metadata(self) -> dict[str, Any]:
        """RepositoryMetadata; members without a value are absent."""
        members = {
            "accountId": self.account,
            "repositoryId": self.id,
            "repositoryName": self.name,
            "repositoryDescription": self.description,
            "defaultBranch": self.default_branch,
            "lastModifiedDate": round(self.modified, 3),
            "creationDate": round(self.created, 3),
            "cloneUrlHttp": self.clone_url,
            "cloneUrlSsh": f"ssh://git-codecommit.{self.region}.amazonaws.com/v1/repos/{self.name}",
            "Arn": self.arn,
            "kmsKeyId": self.kms_key or f"arn:aws:kms:{self.region}:{self.account}:alias/aws/codecommit",
        }
        return {key: value for key, value in members.items() if value is not None}


class CodeCommit:
    """All repositories of all accounts and Regions."""

    def __init__(self, server: Server, host: GitHost) -> None:
        self.server = server
        self.host = host
        self._repositories: dict[tuple[str, str, str], Repository] = {}

    def find(self, account: str, region: str, name: str) -> Repository:
        """Return a repository, or raise what the API answers when there is none."""
        try:
            return self._repositories[account, region, name]
        except KeyError:
            raise ApiError("RepositoryDoesNotExistException", f"{name} does not exist") from None

    def pushed(self, repository: Repository, changes: list[RefChange]) -> None:
        """Set the default branch at the first push, and put one event for each changed reference."""
        repository.modified = time.time()
        for change in changes:
            kind, _, name = change.ref.removeprefix("refs/").partition("/")
            if kind == "heads" and change.new and repository.default_branch is None:
                repository.default_branch = name
                repository.bare.git("symbolic-ref", "HEAD", change.ref)
            detail = {
                "callerUserArn": f"arn:aws:iam::{repository.account}:root",
                "event": _EVENTS[change.old is not None, change.new is not None],
                "referenceFullName": change.ref,
                "referenceName": name,
                "referenceType": "branch" if kind == "heads" else "tag",
                "repositoryId": repository.id,
                "repositoryName": repository.name,
            }
            if change.new:
                detail["commitId"] = change.new
            if change.old:
                detail["oldCommitId"] = change.old
            self.server.put_event(
                repository.account, repository.region, "aws.codecommit", EVENT, detail, [repository.arn]
            )

    # --- operations ---------------------------------------------------------------------------------------

    def _named(self, call: Call) -> Repository:
        name = call.input.get("repositoryName")
        if not name:
            raise ApiError("RepositoryNameRequiredException", "A repository name is required.")
        return self.find(call.account, call.region, name)

    def _by_arn(self, call: Call) -> Repository:
        arn = call.input.get("resourceArn", "")
        for repository in list(self._repositories.values()):
            if repository.arn == arn:
                return repository
        raise ApiError("RepositoryDoesNotExistException", f"{arn} does not exist")

    def create_repository(self, call: Call) -> dict[str, Any]:
        name = call.input.get("repositoryName") or ""
        if not _NAME.fullmatch(name) or name.endswith(".git"):
            raise ApiError(
                "InvalidRepositoryNameException",
                f"The repository name {name!r} is not valid: 1 to 100 letters, digits, periods, underscores "
                "and dashes, not ending in .git.",
            )
        key = (call.account, call.region, name)
        if key in self._repositories:
            raise ApiError("RepositoryNameExistsException", f"Repository named {name} already exists")

        def on_push(changes: list[RefChange]) -> None:
            self.pushed(repository, changes)

        slug, bare = self.host.create(name, on_push)
        repository = Repository(
            *key,
            slug=slug,
            clone_url=f"{self.server.endpoint}/git/{slug}",
            bare=bare,
            description=call.input.get("repositoryDescription"),
            kms_key=call.input.get("kmsKeyId"),
            tags=dict(call.input.get("tags") or {}),
        )
        self._repositories[key] = repository
        return {"repositoryMetadata": repository.metadata()}

    def get_repository(self, call: Call) -> dict[str, Any]:
        return {"repositoryMetadata": self._named(call).metadata()}

    def list_repositories(self, call: Call) -> dict[str, Any]:
        found = [
            r for (a, g, _), r in sorted(self._repositories.items()) if (a, g) == (call.account, call.region)
        ]
        return {"repositories": [{"repositoryName": r.name, "repositoryId": r.id} for r in found]}

    def delete_repository(self, call: Call) -> dict[str, Any]:
        repository = self._repositories.pop((call.account, call.region, call.input["repositoryName"]), None)
        if repository is None:
            return {}
        self.host.remove(repository.slug)
        return {"repositoryId": repository.id}

    def update_repository_description(self, call: Call) -> dict[str, Any]:
        self._named(call).description = call.input.get("repositoryDescription")
        return {}

    def _tip(self, repository: Repository, branch: str) -> str:
        commit = repository.bare.branches().get(branch)
        if commit is None:
            raise ApiError(
                "BranchDoesNotExistException", f"Branch {branch} does not exist in {repository.name}"
            )
        return commit

    def get_branch(self, call: Call) -> dict[str, Any]:
        name = call.input.get("branchName", "")
        return {"branch": {"branchName": name, "commitId": self._tip(self._named(call), name)}}

    def get_commit(self, call: Call) -> dict[str, Any]:
        repository, commit_id = self._named(call), call.input.get("commitId", "")
        if not re.fullmatch(r"[0-9a-f]{40}", commit_id):
            raise ApiError("InvalidCommitIdException", f"The commit ID is not valid: {commit_id!r}")
        try:
            commit = repository.bare.commit(commit_id)
        except GitError:
            raise ApiError("CommitIdDoesNotExistException", f"Commit {commit_id} does not exist") from None
        return {"commit": describe(commit)}

    def put_file(self, call: Call) -> dict[str, Any]:
        repository, branch = self._named(call), call.input.get("branchName", "")
        path = call.input.get("filePath", "").lstrip("/")
        branches = repository.bare.branches()
        parent = branches.get(branch)
        if parent is None and branches:
            self._tip(repository, branch)
        given = call.input.get("parentCommitId")
        if parent and not given:
            raise ApiError(
                "ParentCommitIdRequiredException",
                "A parent commit ID is required unless the repository is empty.",
            )
        if given and given != parent:
            raise ApiError(
                "ParentCommitIdOutdatedException",
                f"The parent commit ID is not the tip of the branch {branch}.",
            )
        try:
            made = repository.bare.put_file(
                branch,
                path,
                base64.b64decode(call.input["fileContent"]),
                call.input.get("commitMessage") or f"Edited {path}",
                (call.input.get("name") or "local", call.input.get("email") or ""),
            )
        except SameContentError:
            raise ApiError(
                "SameFileContentException", f"{path} in {branch} has that content already."
            ) from None
        self.host.compare(repository.slug)
        return made

    def list_tags_for_resource(self, call: Call) -> dict[str, Any]:
        return {"tags": self._by_arn(call).tags}

    def tag_resource(self, call: Call) -> dict[str, Any]:
        self._by_arn(call).tags.update(call.input.get("tags") or {})
        return {}

    def untag_resource(self, call: Call) -> dict[str, Any]:
        tags = self._by_arn(call).tags
        for key in call.input.get("tagKeys") or ():
            tags.pop(key, None)
        return {}


def describe(commit: Commit) -> dict[str, Any]:
    """Return a commit as GetCommit answers it."""

    def person(who: tuple[str, str, str]) -> dict[str, str]:
        return dict(zip(("name", "email", "date"), who, strict=True))

    return {
        "commitId": commit.id,
        "treeId": commit.tree,
        "parents": list(commit.parents),
        "message": commit.message,
        "author": person(commit.author),
        "committer": person(commit.committer),
        "additionalData": "",
    }


OPERATIONS: dict[str, Callable[[CodeCommit, Call], dict[str, Any]]] = {
    "CreateRepository": CodeCommit.create_repository,
    "GetRepository": CodeCommit.get_repository,
    "ListRepositories": CodeCommit.list_repositories,
    "DeleteRepository": CodeCommit.delete_repository,
    "UpdateRepositoryDescription": CodeCommit.update_repository_description,
    "GetBranch": CodeCommit.get_branch,
    "GetCommit": CodeCommit.get_commit,
    "PutFile": CodeCommit.put_file,
    "ListTagsForResource": CodeCommit.list_tags_for_resource,
    "TagResource": CodeCommit.tag_resource,
    "UntagResource": CodeCommit.untag_resource,
}


def of(server: Server) -> CodeCommit:
    """Return the server's CodeCommit, for the pipeline's source action."""
    return one_of(server, CodeCommit, lambda: CodeCommit(server, host(server)))


def install(server: Server) -> None:
    service = of(server)
    for name, operation in OPERATIONS.items():
        server.operation("codecommit", name)(functools.partial(operation, service))
