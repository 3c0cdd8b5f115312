"""``make smoke``: the module and ``examples/sandbox`` applied, released to, broken, put back, rolled back by hand and destroyed.

Where, the environment decides alone: AWS, or the endpoint that ``AWS_ENDPOINT_URL`` names. It asks first, and says which account
that is. What was made is removed at the end: also after a failure in the middle, Ctrl-C and a lost terminal. What was done goes to
a report below ``.build/smoke``. Credentials and Region come from where every AWS tool has them.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TextIO, cast

from botocore.exceptions import BotoCoreError, ClientError
from ecs_release.cli.console import Console
from ecs_release.errors import EcsReleaseError

from scripts import checkout
from scripts.checkout import BUILD, ROOT
from scripts.interrupt import Interrupted, interruptible
from scripts.screen import Screen
from scripts.smoke_report import Report, shortened, versions_of_terraform
from scripts.smoke_story import Account, Story, takes_repositories
from scripts.terraform import SANDBOX, Terraform, TerraformError, variables

REPORTS = BUILD / "smoke"
NOTHING = "Nothing was made."

# List prices of us-east-1 in 2026 for an hour: two Fargate tasks of 0.25 vCPU and 0.5 GiB with public addresses 0.04, the key's
# share of its month 0.01, pipeline minutes beyond the free ones 0.05, everything else less.
# https://aws.amazon.com/fargate/pricing/ https://aws.amazon.com/vpc/pricing/ https://aws.amazon.com/kms/pricing/
# https://aws.amazon.com/codepipeline/pricing/
_PREVIEW = """\
  makes     the module and examples/sandbox, all named {name}: some ninety
            resources, among them two Fargate tasks with public addresses
  does      a release, one with an image that can't start, a rollback by hand
  takes     about half an hour on AWS (estimated: it has never run there)
  costs     less than 0.50 USD by list prices
  removes   everything at its end, also after Ctrl-C; the KMS key stays for its
            7 days of deletion, which cost nothing"""


class RefusedError(Exception):
    """It does not begin; the text says why."""


def main(arguments: list[str] | None = None) -> int:
    """Run it where the environment leads; 0 only if everything was verified and removed."""
    parser = argparse.ArgumentParser(prog="smoke", description="Try ECS Release in a sandbox account.")
    parser.add_argument("--yes", action="store_true", help="go ahead without asking")
    parser.add_argument(
        "--clean-up", action="store_true", help="remove what an earlier run left, and do nothing else"
    )
    options = parser.parse_args(arguments)
    os.environ.update(surroundings(os.environ))
    screen = Screen(cast(TextIO, _Patient(sys.stdout)))
    try:
        account = Account()
        if not account.region:
            raise RefusedError("Which Region? Set AWS_REGION.")
        os.environ["AWS_REGION"] = os.environ["AWS_DEFAULT_REGION"] = account.region
        identity = account.client("sts").get_caller_identity()
    except (RefusedError, ClientError, BotoCoreError) as error:
        screen.line(f"{error} {NOTHING}", "red")
        return 1
    folder = REPORTS / f"{identity['Account']}-{account.region}"
    if where := os.environ.get("AWS_ENDPOINT_URL"):
        folder = REPORTS / where.rpartition("/")[2].replace(":", "-")
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with interruptible(), _alone(folder):
            return _Run(account, identity, folder, screen).run(
                ask=not options.yes, clean_up_only=options.clean_up
            )
    except Interrupted as interrupted:
        screen.line(f"Interrupted ({interrupted}). {NOTHING}", "red")
        return interrupted.exit_status
    except (RefusedError, EcsReleaseError) as error:
        screen.line(f"{error} {NOTHING}", "red")
        return 1


def surroundings(before: Mapping[str, str]) -> dict[str, str]:
    """The environment of what runs here: this checkout's, and of the person's own what leads to AWS.

    Profiles, single sign-on and their caches lie in the home directory, so that stays.
    """
    home = before.get("HOME", str(Path.home()))
    return {
        **checkout.environment(),
        "AWS_CONFIG_FILE": f"{home}/.aws/config",
        "AWS_SHARED_CREDENTIALS_FILE": f"{home}/.aws/credentials",
        "AWS_EC2_METADATA_DISABLED": "false",
        **{key: value for key, value in before.items() if key.startswith("AWS_")},
        "AWS_PAGER": "",
        "HOME": home,
    }


class _Run:
    """One run, in a folder that keeps Terraform's state until everything is removed."""

    def __init__(self, account: Account, identity: Mapping[str, Any], folder: Path, screen: Screen) -> None:
        self._account = account
        self._identity = identity
        self._folder = folder
        self._screen = screen
        self._settings = folder / "settings.json"
        self._versions = ""
        number = str(identity["Account"])
        endpoint = os.environ.get("AWS_ENDPOINT_URL")
        where = f"the endpoint {endpoint}" if endpoint else "AWS"
        self._report = Report(
            f"{where}, account {shortened(number)}, {account.region}",
            {number: shortened(number), str(identity["Arn"]): "(who ran this)"},
        )

    def run(self, ask: bool, clean_up_only: bool) -> int:
        if clean_up_only:
            return self._clean_up_an_earlier_run(ask)
        if self._left_over():
            raise RefusedError(
                f"An earlier run left {len(self._left_over())} resources in this account. Remove them first: {_CLEAN_UP}"
            )
        name = f"smoke-{secrets.token_hex(3)}"
        self._introduce(name)
        if ask and not _confirmed("Go ahead?"):
            raise RefusedError("You said no.")
        extra = variables(os.environ.get("TF_VARS", ""))
        interrupted = None
        try:
            self._prepare(name, extra)
            by_push = "codecommit=true" in self._arguments()
            story = Story(self._account, self._terraform(), self._screen, self._report)
            story.tell(self._folder, name, by_push=by_push)
            self._report.verdict = "PASSED"
        except Interrupted as error:
            interrupted = error
            self._report.verdict = f"INTERRUPTED ({error})"
        except Exception as error:  # whatever it was: it goes into the report, and what was made is removed
            self._report.error = f"{type(error).__name__}: {error}"
        finally:
            self._report.left = self._clean_up(name)
        return self._end(interrupted)

    def _introduce(self, name: str) -> None:
        self._screen.line("make smoke: ECS Release tried in an account", "bold")
        self._screen.line()
        self._name_the_account()
        self._screen.line(_PREVIEW.format(name=name))
        self._screen.line()

    def _name_the_account(self) -> None:
        alias = ""
        with contextlib.suppress(ClientError, BotoCoreError):
            found = self._account.client("iam").list_account_aliases()["AccountAliases"]
            alias = f" ({found[0]})" if found else ""
        if endpoint := os.environ.get("AWS_ENDPOINT_URL"):
            self._screen.line(f"  endpoint  {endpoint}")
        self._screen.line(f"  account   {self._identity['Account']}{alias}")
        self._screen.line(f"  identity  {self._identity['Arn']}")
        self._screen.line(f"  Region    {self._account.region}")

    def _prepare(self, name: str, extra: list[str]) -> None:
        codecommit = takes_repositories(self._account, name)
        if not codecommit:
            self._screen.line(
                "This account can't make CodeCommit repositories; releases are started by hand."
            )
        values = ("-var", f"name={name}", "-var", f"codecommit={str(codecommit).lower()}", *extra)
        self._settings.write_text(json.dumps({"name": name, "arguments": values}))

    def _arguments(self) -> list[str]:
        found = json.loads(self._settings.read_text()) if self._settings.exists() else {"arguments": []}
        return list(found["arguments"])

    def _terraform(self) -> Terraform:
        return Terraform(
            self._folder, dict(os.environ), self._arguments(), self._screen.progress, SANDBOX, outlives=True
        )

    # --- the end --------------------------------------------------------------------------------------------------------

    def _left_over(self) -> list[str]:
        return self._terraform().resources()

    def _clean_up_an_earlier_run(self, ask: bool) -> int:
        if not self._settings.exists():
            raise RefusedError("No earlier run left anything in this account.")
        name = json.loads(self._settings.read_text())["name"]
        self._name_the_account()
        self._screen.line(f"  removes   everything of {name}: {len(self._left_over())} resources")
        if ask and not _confirmed("Go ahead?"):
            raise RefusedError("You said no.")
        self._report.verdict = "PASSED"
        left = self._clean_up(name)
        self._say(*left)
        return 1 if left else 0

    def _clean_up(self, name: str) -> list[str]:
        """Remove everything; what could not be removed, and how to. Signals are ignored meanwhile."""
        with _undisturbed():
            if self._report.verdict != "PASSED":
                self._say(self._report.error or self._report.verdict)
            self._say("Removing what was made: minutes on AWS, and nothing interrupts it.")
            began = time.monotonic()
            problems: list[str] = []
            if self._left_over():
                problems += self._stop_releases()
                problems += self._destroy()
            if self._settings.exists():
                problems += self._remove_task_definitions(name)
            left = self._left_over()
            if not left and not problems:
                self._versions = self._ask_for_versions()
                shutil.rmtree(self._folder, ignore_errors=True)
                self._screen.line(f"Everything is removed ({time.monotonic() - began:.0f} s).")
                return []
            return [
                *(f"still there: {address}" for address in left),
                *problems,
                f"Try again with: {_CLEAN_UP}",
                "Or by hand; all of it has this tag: aws resourcegroupstaggingapi get-resources --tag-filters "
                f"Key=ecs-release:sandbox,Values={name}",
            ]

    def _stop_releases(self) -> list[str]:
        """Stop what still runs: a release would write to services that are being removed."""
        states = self._account.client("stepfunctions")
        try:
            machine = self._terraform().outputs()["state_machine_arn"]["value"]
            running = states.list_executions(stateMachineArn=machine, statusFilter="RUNNING")["executions"]
            for execution in running:
                states.stop_execution(executionArn=execution["executionArn"], cause="make smoke ends")
        except KeyError:
            return []  # apply did not come so far
        except (ClientError, BotoCoreError) as error:
            return [f"running releases could not be stopped: {error}"]
        return []

    def _destroy(self) -> list[str]:
        """Destroy, and once more if that fails: some of AWS's deletions are refused until others are through."""
        error = ""
        # The state was written a moment ago. What it has wrong all the same is read anew the second time.
        for refresh in (False, True):
            try:
                self._terraform().destroy(refresh=refresh)
                return []
            except (TerraformError, OSError) as failure:
                error = str(failure)
        return [error]

    def _remove_task_definitions(self, name: str) -> list[str]:
        """Deregister and delete the revisions that releases registered: Terraform knows its own ones only."""
        ecs = self._account.client("ecs")
        try:
            pages = ecs.get_paginator("list_task_definition_families").paginate(
                familyPrefix=f"{name}-", status="ALL"
            )
            families = [family for page in pages for family in page["families"]]
            for family in families:
                for revision in self._revisions(family, "ACTIVE"):
                    ecs.deregister_task_definition(taskDefinition=revision)
                gone = self._revisions(family, "INACTIVE")
                for start in range(0, len(gone), 10):
                    ecs.delete_task_definitions(taskDefinitions=gone[start : start + 10])
        except (ClientError, BotoCoreError) as error:
            return [f"task definition revisions of the families {name}-* could not be removed: {error}"]
        return []

    def _revisions(self, family: str, status: str) -> list[str]:
        pages = self._account.client("ecs").get_paginator("list_task_definitions")
        found = pages.paginate(familyPrefix=family, status=status)
        return [arn for page in found for arn in page["taskDefinitionArns"]]

    def _end(self, interrupted: Interrupted | None) -> int:
        """Write the report, say how it ended, and give the exit status."""
        if self._report.left and self._report.verdict == "PASSED":
            self._report.verdict = "FAILED: not everything could be removed"
        path = self._report.write(REPORTS, self._versions or self._ask_for_versions())
        self._say(*self._report.left)
        checks = self._screen.checks
        true = sum(check.ok for check in checks)
        self._say(
            f"{self._report.verdict}: {true} of {len(checks)} checks true, {self._screen.seconds:.0f} s.",
            f"Report: {os.path.relpath(path, ROOT)}",
        )
        if interrupted:
            return interrupted.exit_status
        return 0 if self._report.verdict == "PASSED" else 1

    def _ask_for_versions(self) -> str:
        said = subprocess.run(
            ["terraform", f"-chdir={SANDBOX}", "version", "-json"],
            env={**os.environ, "TF_DATA_DIR": str(self._folder / "terraform")},
            capture_output=True,
            text=True,
            check=False,
        )
        return versions_of_terraform(json.loads(said.stdout or "{}"))

    def _say(self, *lines: str) -> None:
        self._screen.line()
        for line in lines:
            self._screen.line(line)


_CLEAN_UP = ".venv/bin/python -m scripts.smoke --clean-up"


def _confirmed(question: str) -> bool:
    return Console(err=sys.stdout).confirms(question)


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Two runs in one account would share Terraform's state."""
    with (folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RefusedError("Another run is under way in this account and Region.") from None
        yield


@contextlib.contextmanager
def _undisturbed() -> Iterator[None]:
    """Ignore what asks for the end: what was made is being removed, which is the end."""
    before = {
        number: signal.signal(number, signal.SIG_IGN)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class _Patient:
    """A stream that may go away: a terminal that is closed must not keep the cleaning up from its end."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        with contextlib.suppress(OSError, ValueError):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


if __name__ == "__main__":
    sys.exit(main())
