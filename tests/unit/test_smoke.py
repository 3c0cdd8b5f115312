"""``make smoke``: it asks first, names the account, and removes what was made, however it ends."""

from __future__ import annotations

import io
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError, NoCredentialsError

from scripts import smoke
from scripts.screen import Check
from scripts.smoke_report import Report, Step
from scripts.smoke_story import SmokeError
from scripts.terraform import TerraformError

ACCOUNT = "210987654321"
WHO = f"arn:aws:sts::{ACCOUNT}:assumed-role/Admin/zoe@example.com"


class World:
    """AWS, Terraform and the story, as far as the script's own decisions see them."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.resources: list[str] = []
        self.revisions: dict[str, list[str]] = {"ACTIVE": [], "INACTIVE": []}
        self.end: Callable[[], None] = lambda: None
        self.destroys = 0
        self.undestroyable: list[str] = []
        self.by_push: list[bool] = []

    # --- an account -------------------------------------------------------------------------------------------------

    region = "eu-west-1"

    def client(self, service: str) -> Any:
        return self

    def get_caller_identity(self) -> dict[str, str]:
        return {"Account": ACCOUNT, "Arn": WHO}

    def list_account_aliases(self) -> dict[str, list[str]]:
        return {"AccountAliases": ["playground"]}

    def list_executions(self, **_: Any) -> dict[str, Any]:
        return {"executions": [{"executionArn": "running"}]}

    def stop_execution(self, executionArn: str, cause: str) -> None:
        self.calls.append(f"stop {executionArn}")

    def get_paginator(self, name: str) -> Any:
        world = self

        class Paginator:
            def paginate(self, **asked: Any) -> list[dict[str, Any]]:
                if name == "list_task_definition_families":
                    return [{"families": [f"{asked['familyPrefix']}web"]}]
                return [{"taskDefinitionArns": list(world.revisions[asked["status"]])}]

        return Paginator()

    def deregister_task_definition(self, taskDefinition: str) -> None:
        self.revisions["ACTIVE"].remove(taskDefinition)
        self.revisions["INACTIVE"].append(taskDefinition)

    def delete_task_definitions(self, taskDefinitions: list[str]) -> None:
        assert len(taskDefinitions) <= 10
        self.revisions["INACTIVE"] = [r for r in self.revisions["INACTIVE"] if r not in taskDefinitions]

    # --- Terraform --------------------------------------------------------------------------------------------------

    def terraform(self, folder: Path, *_: Any, **__: Any) -> Any:
        world = self

        class Fake:
            state = folder / "terraform.tfstate"

            def resources(self) -> list[str]:
                return list(world.resources)

            def outputs(self) -> dict[str, Any]:
                return {"state_machine_arn": {"value": "machine"}}

            def destroy(self, *, refresh: bool) -> None:
                world.destroys += 1
                # what asks for the end must not keep the removal from its end
                os.kill(os.getpid(), signal.SIGINT)
                world.resources = list(world.undestroyable)
                if world.resources:
                    raise TerraformError(f"Error: {WHO} may not delete it")

        return Fake()

    # --- the story --------------------------------------------------------------------------------------------------

    def story(self, account: Any, terraform: Any, screen: Any, report: Report) -> Any:
        world = self

        class Fake:
            def tell(self, folder: Path, name: str, *, by_push: bool) -> None:
                world.by_push.append(by_push)
                world.resources = ["module.ecs_release.aws_kms_key.this", "aws_ecs_service.this"]
                world.revisions["ACTIVE"] = [f"{name}-web:{number}" for number in range(2, 25)]
                step = Step("apply", checks=[Check("it is so", True, f"{ACCOUNT} says it")], outcome="ok")
                report.steps.append(step)
                world.end()

        return Fake()


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> World:
    made = World()
    monkeypatch.setattr(smoke, "surroundings", lambda _: {})
    monkeypatch.setattr(smoke, "Account", lambda: made)
    monkeypatch.setattr(smoke, "Terraform", made.terraform)
    monkeypatch.setattr(smoke, "Story", made.story)
    monkeypatch.setattr(smoke, "takes_repositories", lambda *_: True)
    monkeypatch.setattr(smoke, "REPORTS", tmp_path)
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.setenv(name, "eu-west-1")
    for name in ("AWS_ENDPOINT_URL", "TF_VARS"):
        monkeypatch.delenv(name, raising=False)
    return made


def answer(monkeypatch: pytest.MonkeyPatch, text: str, terminal: bool = True) -> None:
    stdin = io.StringIO(text)
    monkeypatch.setattr(stdin, "isatty", lambda: terminal)
    monkeypatch.setattr("sys.stdin", stdin)


def report(folder: Path) -> str:
    (path,) = folder.glob("report-*.md")
    return path.read_text(encoding="utf-8")


@pytest.mark.parametrize("text", ["n\n", "no\n", "\n", "", "yesterday\n"])
def test_it_names_the_account_and_does_nothing_unless_told_yes(
    world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], text: str
) -> None:
    answer(monkeypatch, text)
    assert smoke.main([]) == 1
    said = capsys.readouterr().out
    assert f"account   {ACCOUNT} (playground)" in said
    assert WHO in said
    assert "Region    eu-west-1" in said
    assert said.index("Go ahead?") > said.index("USD")
    assert said.rstrip().endswith("Nothing was made.")
    assert (world.by_push, world.destroys) == ([], 0)


def test_without_a_terminal_it_wants_yes_to_be_written(
    world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    answer(monkeypatch, "y\n", terminal=False)
    assert smoke.main([]) == 1
    assert "--yes" in capsys.readouterr().out
    assert world.by_push == []
    assert smoke.main(["--yes"]) == 0
    assert world.by_push == [True]
    assert "# make smoke: PASSED" in report(tmp_path)


def test_the_lines_before_the_question_fit_a_terminal(
    world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    answer(monkeypatch, "y\n")
    assert smoke.main([]) == 0
    said = capsys.readouterr().out.partition("Report: ")[0]
    assert [line for line in said.splitlines() if len(line) > 80] == []


def interrupt(number: int) -> None:
    os.kill(os.getpid(), number)


def fail(error: BaseException) -> None:
    raise error


ENDS: dict[str, tuple[Callable[[], None], int, str]] = {
    "a step is not true": (lambda: fail(SmokeError("nothing runs")), 1, "nothing runs"),
    "Terraform fails": (lambda: fail(TerraformError(f"Error: {WHO} is refused")), 1, "is refused"),
    "AWS refuses": (
        lambda: fail(ClientError({"Error": {"Code": "AccessDenied", "Message": f"in {ACCOUNT}"}}, "PutFile")),
        1,
        "AccessDenied",
    ),
    "credentials run out": (lambda: fail(NoCredentialsError()), 1, "credentials"),
    "a fault of its own": (lambda: fail(ZeroDivisionError("division")), 1, "division"),
    "Ctrl-C": (lambda: interrupt(signal.SIGINT), 130, "INTERRUPTED"),
    "kill": (lambda: interrupt(signal.SIGTERM), 143, "INTERRUPTED"),
    "a closed terminal": (lambda: interrupt(signal.SIGHUP), 129, "INTERRUPTED"),
}


@pytest.mark.parametrize("name", ENDS)
def test_however_it_ends_everything_is_removed_and_reported(world: World, tmp_path: Path, name: str) -> None:
    world.end, status, said = ENDS[name]
    assert smoke.main(["--yes"]) == status
    assert (world.resources, world.revisions) == ([], {"ACTIVE": [], "INACTIVE": []})
    assert world.calls == ["stop running"]
    text = report(tmp_path)
    assert said in text
    assert "PASSED" not in text
    assert ACCOUNT not in text
    assert "zoe@example.com" not in text
    assert [path for path in tmp_path.iterdir() if path.is_dir()] == []


def test_what_could_not_be_removed_is_named_and_can_be_removed_later(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    world.undestroyable = ["aws_ecs_service.this"]
    assert smoke.main(["--yes"]) == 1
    said = capsys.readouterr().out
    assert "still there: aws_ecs_service.this" in said
    assert "--clean-up" in said
    assert "resourcegroupstaggingapi" in said
    assert world.destroys == 2
    assert "still there: aws_ecs_service.this" in report(tmp_path)
    assert smoke.main(["--yes"]) == 1
    assert "An earlier run left 1 resources" in capsys.readouterr().out
    world.undestroyable = []
    assert smoke.main(["--clean-up", "--yes"]) == 0
    assert world.resources == []
    assert "Everything is removed" in capsys.readouterr().out


def test_a_terminal_that_is_gone_keeps_nothing_from_being_removed(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Gone(io.StringIO):
        def write(self, text: str) -> int:
            raise OSError(5, "Input/output error")

    def hang_up() -> None:
        monkeypatch.setattr(smoke.sys, "stdout", Gone())  # type: ignore[attr-defined]
        interrupt(signal.SIGHUP)

    monkeypatch.setattr(smoke.sys, "stdout", Gone())  # type: ignore[attr-defined]
    world.end = hang_up
    assert smoke.main(["--yes"]) == 129
    assert world.resources == []


def test_where_codecommit_is_closed_releases_are_started_by_hand(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(smoke, "takes_repositories", lambda *_: False)
    assert smoke.main(["--yes"]) == 0
    assert world.by_push == [False]


@pytest.mark.parametrize(
    ("code", "expected"), [(None, True), ("OperationNotAllowedException", False), ("AccessDenied", None)]
)
def test_codecommit_is_asked_by_making_a_repository(code: str | None, expected: bool | None) -> None:
    from scripts.smoke_story import takes_repositories

    made: list[str] = []

    class CodeCommit:
        def client(self, _: str) -> Any:
            return self

        def create_repository(self, repositoryName: str) -> None:
            if code:
                raise ClientError({"Error": {"Code": code, "Message": "no"}}, "CreateRepository")
            made.append(repositoryName)

        def delete_repository(self, repositoryName: str) -> None:
            made.remove(repositoryName)

    account: Any = CodeCommit()
    if expected is None:
        with pytest.raises(ClientError):
            takes_repositories(account, "smoke-1")
    else:
        assert takes_repositories(account, "smoke-1") is expected
    assert made == []


def test_the_way_to_aws_is_the_persons_own() -> None:
    before = {
        "HOME": "/home/zoe",
        "AWS_PROFILE": "sandbox",
        "TF_VAR_name": "theirs",
        "PATH": os.environ["PATH"],
    }
    after = smoke.surroundings(before)
    assert (after["HOME"], after["AWS_PROFILE"]) == ("/home/zoe", "sandbox")
    assert after["AWS_CONFIG_FILE"] == "/home/zoe/.aws/config"
    assert "AWS_ENDPOINT_URL" not in after
    assert smoke.surroundings({**before, "AWS_ENDPOINT_URL": "http://127.0.0.1:1"})["AWS_ENDPOINT_URL"]


def test_two_runs_in_one_account_do_not_meet(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    seen: list[int] = []
    world.end = lambda: seen.append(smoke.main(["--yes"]))
    assert smoke.main(["--yes"]) == 0
    assert seen == [1]
    assert "Another run is under way" in capsys.readouterr().out
