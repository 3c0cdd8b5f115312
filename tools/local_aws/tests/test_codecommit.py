"""AWS CodeCommit: repositories that plain Git clones and pushes to, and the event that follows a push."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from local_aws.client import LocalAws
from pipelines import WorkingCopy, repository, unique
from roles import topic_for_rules


def code(error: pytest.ExceptionInfo[ClientError]) -> str:
    return str(error.value.response["Error"]["Code"])


def test_a_repository_keeps_what_it_was_given(aws: LocalAws) -> None:
    client = aws.client("codecommit")
    name = unique("kept")
    key = "arn:aws:kms:us-east-1:123456789012:key/11111111-2222-3333-4444-555555555555"
    made = client.create_repository(
        repositoryName=name, repositoryDescription="words", tags={"team": "a"}, kmsKeyId=key
    )["repositoryMetadata"]
    assert made["cloneUrlHttp"] == f"{aws.endpoint}/git/{name}"
    assert made == client.get_repository(repositoryName=name)["repositoryMetadata"]
    assert (made["repositoryDescription"], made["kmsKeyId"]) == ("words", key)
    assert "defaultBranch" not in made
    client.tag_resource(resourceArn=made["Arn"], tags={"more": "b"})
    client.untag_resource(resourceArn=made["Arn"], tagKeys=["team"])
    assert client.list_tags_for_resource(resourceArn=made["Arn"])["tags"] == {"more": "b"}
    with pytest.raises(ClientError) as taken:
        client.create_repository(repositoryName=name)
    assert code(taken) == "RepositoryNameExistsException"
    assert client.delete_repository(repositoryName=name)["repositoryId"] == made["repositoryId"]
    with pytest.raises(ClientError) as gone:
        client.get_repository(repositoryName=name)
    assert code(gone) == "RepositoryDoesNotExistException"


def test_the_first_branch_that_is_pushed_is_the_default_one(aws: LocalAws, tmp_path: Path) -> None:
    client = aws.client("codecommit")
    name, copy = repository(aws, tmp_path)
    copy.commit({"a.txt": "1"})
    copy.git("push", "--quiet", "origin", "HEAD:trunk")
    copy.git("push", "--quiet", "origin", "HEAD:other")
    for branch in ("other", "trunk"):
        assert client.get_branch(repositoryName=name, branchName=branch)["branch"]["branchName"] == branch
    assert client.get_repository(repositoryName=name)["repositoryMetadata"]["defaultBranch"] == "trunk"
    again = WorkingCopy(f"{aws.endpoint}/git/{name}.git", tmp_path / "again")
    assert again.git("branch", "--show-current") == "trunk"


def test_commits_are_read_through_the_api(aws: LocalAws, tmp_path: Path) -> None:
    client = aws.client("codecommit")
    name, copy = repository(aws, tmp_path)
    first = copy.push({"deployment.yaml": "a: 1\n"}, "first")
    second = copy.push({"deployment.yaml": "a: 2\n"}, "second\n\nwith a body")
    branch = client.get_branch(repositoryName=name, branchName="main")["branch"]
    assert branch == {"branchName": "main", "commitId": second}
    commit = client.get_commit(repositoryName=name, commitId=second)["commit"]
    assert (commit["parents"], commit["message"]) == ([first], "second\n\nwith a body\n")
    assert commit["treeId"] == copy.git("rev-parse", "HEAD^{tree}")
    for person in (commit["author"], commit["committer"]):
        assert (person["name"], person["email"]) == ("Zoë Doe", "zoe@example.com")
        assert person["date"].split()[0].isdigit()
    for call, arguments, expected in (
        (client.get_branch, {"branchName": "nope"}, "BranchDoesNotExistException"),
        (client.get_commit, {"commitId": "0" * 40}, "CommitIdDoesNotExistException"),
    ):
        with pytest.raises(ClientError) as error:
            call(repositoryName=name, **arguments)
        assert code(error) == expected


def test_a_file_put_through_the_api_is_a_commit_and_a_push(aws: LocalAws, tmp_path: Path) -> None:
    client = aws.client("codecommit")
    name, copy = repository(aws, tmp_path)
    put = {"repositoryName": name, "branchName": "main", "filePath": "releases/deployment.yaml"}
    first = client.put_file(**put, fileContent=b"a: 1\n", commitMessage="first")
    assert client.get_repository(repositoryName=name)["repositoryMetadata"]["defaultBranch"] == "main"
    copy.git("pull", "--quiet", "origin", "main")
    assert (copy.path / "releases" / "deployment.yaml").read_text() == "a: 1\n"
    copy.push({"other.txt": "kept"})
    tip = copy.git("rev-parse", "HEAD")
    second = client.put_file(
        **put, fileContent=b"a: 2\n", parentCommitId=tip, name="Zo\u00eb", email="zoe@example.com"
    )
    commit = client.get_commit(repositoryName=name, commitId=second["commitId"])["commit"]
    assert (commit["parents"], commit["author"]["name"], commit["treeId"]) == (
        [tip],
        "Zo\u00eb",
        second["treeId"],
    )
    copy.git("pull", "--quiet", "origin", "main")
    assert (copy.path / "other.txt").read_text() == "kept"
    for arguments, expected in (
        ({}, "ParentCommitIdRequiredException"),
        ({"parentCommitId": first["commitId"]}, "ParentCommitIdOutdatedException"),
        ({"parentCommitId": second["commitId"]}, "SameFileContentException"),
        ({"branchName": "nope", "parentCommitId": second["commitId"]}, "BranchDoesNotExistException"),
    ):
        with pytest.raises(ClientError) as refused:
            client.put_file(**{**put, "fileContent": b"a: 2\n", **arguments})
        assert code(refused) == expected


def test_a_large_push_arrives_whole(aws: LocalAws, tmp_path: Path) -> None:
    _, copy = repository(aws, tmp_path)
    blob = base64.b64encode(bytes(range(256)) * 12_000).decode()
    copy.git("config", "core.compression", "0")
    copy.push({"large.txt": blob})
    again = WorkingCopy(copy.git("remote", "get-url", "origin"), tmp_path / "again")
    assert (again.path / "large.txt").read_text() == blob


def test_somebodys_git_configuration_does_not_matter(
    aws: LocalAws, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
    monkeypatch.setenv("GIT_CONFIG_KEY_0", "init.defaultBranch")
    monkeypatch.setenv("GIT_CONFIG_VALUE_0", "trunk")
    monkeypatch.setenv("GIT_ASKPASS", "/nonexistent")
    name, copy = repository(aws, tmp_path)
    copy.push({"a": "1"})
    branch = aws.client("codecommit").get_branch(repositoryName=name, branchName="main")["branch"]
    assert branch["commitId"] == copy.git("rev-parse", "HEAD")


def test_a_push_puts_one_event_for_each_changed_reference(
    aws: LocalAws, tmp_path: Path, eventually: Callable[..., Any]
) -> None:
    topic = topic_for_rules(aws)
    name, copy = repository(aws, tmp_path)
    rule, events = unique("rule"), aws.client("events")
    pattern = {"source": ["aws.codecommit"], "detail": {"repositoryName": [name]}}
    events.put_rule(Name=rule, EventPattern=json.dumps(pattern))
    events.put_targets(Rule=rule, Targets=[{"Id": "topic", "Arn": topic}])

    def heard(count: int) -> list[dict[str, Any]]:
        def messages() -> list[dict[str, Any]]:
            return [
                json.loads(entry["message"]) for entry in aws.notifications() if entry["topicArn"] == topic
            ]

        found: list[dict[str, Any]] = eventually(lambda: messages()[count - 1 :])
        return found

    first = copy.push({"a": "1"})
    created = heard(1)[0]
    assert created["detail-type"] == "CodeCommit Repository State Change"
    made = aws.client("codecommit").get_repository(repositoryName=name)["repositoryMetadata"]
    assert created["resources"] == [made["Arn"]]
    assert created["detail"] == {
        "callerUserArn": "arn:aws:iam::123456789012:root",
        "event": "referenceCreated",
        "referenceType": "branch",
        "referenceName": "main",
        "referenceFullName": "refs/heads/main",
        "repositoryId": made["repositoryId"],
        "repositoryName": name,
        "commitId": first,
    }
    second = copy.push({"a": "2"})
    updated = heard(2)[0]["detail"]
    assert (updated["event"], updated["oldCommitId"], updated["commitId"]) == (
        "referenceUpdated",
        first,
        second,
    )
