"""What ``make smoke`` does in an account, and what it verifies there: through AWS's API, never through the code that released.

It knows of no other AWS than the one that the environment leads to.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError
from local_aws.estate.observed import Observed, Observer, differences

from scripts.checkout import ROOT
from scripts.screen import Check, Screen
from scripts.smoke_report import Report, Step
from scripts.stack import Pipeline
from scripts.terraform import Terraform

_POLL_SECONDS = 1.0
_HANG_SECONDS = 3600.0
_BRANCH = "main"
_FILE = "deployment.yaml"
_BROKEN_SERVICE = "web"
_CHANGES = 3
"""Exit status of ``ecs-release plan`` where there are changes."""

View = Mapping[str, Observed]
"""Name of a service or scheduled task -> what is live."""


class SmokeError(Exception):
    """A step did not end as it has to; the text says which."""


class Account:
    """The account and Region that the environment leads to."""

    def __init__(self) -> None:
        self._session = boto3.session.Session()
        self.region = self._session.region_name
        self._clients: dict[str, Any] = {}

    def client(self, service: str) -> Any:
        """Return a client."""
        if service not in self._clients:
            retries: Any = {"mode": "standard", "total_max_attempts": 8}
            self._clients[service] = self._session.client(service, config=Config(retries=retries))
        return self._clients[service]


def takes_repositories(account: Account, name: str) -> bool:
    """Whether CodeCommit lets this account make a repository; one is made and removed to find out.

    From July 2024 to November 2025 it was closed to accounts without any:
    https://github.com/aws-samples/eks-workshop-v2/issues/1142
    """
    codecommit = account.client("codecommit")
    try:
        codecommit.create_repository(repositoryName=f"{name}-probe")
    except ClientError as error:
        if error.response["Error"]["Code"] == "OperationNotAllowedException":
            return False
        raise
    codecommit.delete_repository(repositoryName=f"{name}-probe")
    return True


class Story:
    """Releases to ``examples/sandbox``, which Terraform applies first."""

    def __init__(self, account: Account, terraform: Terraform, screen: Screen, report: Report) -> None:
        self._account = account
        self._terraform = terraform
        self._screen = screen
        self._report = report
        self._observer = Observer(account)
        self._folder = Path()
        self._name = ""
        self._by_push = False
        self._manifests: dict[str, str] = {}
        self._images: dict[str, str] = {}
        self._outputs: dict[str, Any] = {}

    def tell(self, folder: Path, name: str, *, by_push: bool) -> None:
        """Run it all.

        Parameters
        ----------
        folder
            Where the manifest is written.
        name
            The example's input of that name.
        by_push
            Whether the manifest lives in CodeCommit; else releases are started by hand.

        Raises
        ------
        SmokeError
            at the first step of which something is not true.
        """
        self._folder, self._name, self._by_push = folder, name, by_push
        with self._step("terraform apply of examples/sandbox"):
            self._terraform.init()
            self._terraform.apply()
            self._outputs = {name: output["value"] for name, output in self._terraform.outputs().items()}
            self._manifests, self._images = self._outputs["manifests"], self._outputs["images"]
            self._wait_for_services()
            first = self._look()
        with self._step("ecs-release plan") as step:
            self._plan(step)
        with self._step(f"release of the next image, {self._way}") as step:
            self._release(step, self._manifests["next"], "SUCCEEDED", self._plan_with_terraform)
            following = self._look()
            self._check_images(step, following, self._images["next"])
            self._check_nothing_else(step, first, following)
        with self._step(f"release with an image that can't start, {self._way}") as step:
            last = self._release(step, self._manifests["broken"], "ROLLED_BACK")
            culprits = [i for i in last["items"] if i["verdict"] in ("FAILED", "ROLLED_BACK_BY_ECS")]
            named = ", ".join(f"{i['name']} {i['verdict']}: {i['reason']}" for i in culprits)
            right = [i["name"] for i in culprits] == [f"{self._name}/{_BROKEN_SERVICE}"]
            self._check(
                step, "the service whose image can't start is the culprit", right, named or "nobody is named"
            )
            self._check_back(step, following, self._look())
        with self._step("ecs-release history") as step:
            releases = json.loads(self._cli("history", "--json"))
            found = ", ".join(f"{r['release']} {r['status']}" for r in releases)
            self._check(step, "both releases are on record", len(releases) == 2, found)
        with self._step("ecs-release rollback, to what ran before any release") as step:
            self._cli("rollback", "--dry-run", "--json")
            last = json.loads(self._cli("rollback", "--yes", "--json", allowed=(0, 1)))
            self._check_release(step, last, "SUCCEEDED")
            self._check_back(step, first, self._look())

    @property
    def _way(self) -> str:
        return "by a commit to CodeCommit" if self._by_push else "started by hand"

    # --- steps and checks -------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _step(self, title: str) -> Iterator[Step]:
        step = Step(title)
        self._report.steps.append(step)
        began = time.monotonic()
        try:
            with self._screen.phase(title):
                yield step
        finally:
            step.seconds = time.monotonic() - began
        wrong = [check.what for check in step.checks if not check.ok]
        step.outcome = f"not true: {', '.join(wrong)}" if wrong else "ok"
        if wrong:
            raise SmokeError(f"{title}: {step.outcome}")

    def _check(self, step: Step, what: str, ok: bool, evidence: str) -> None:
        check = Check(what, ok, evidence)
        step.checks.append(check)
        self._screen.check(check)

    def _check_release(self, step: Step, document: dict[str, Any], status: str) -> None:
        self._report.releases.append(document)
        counts = ", ".join(f"{count} {name}" for name, count in document["counts"].items())
        self._check(
            step, f"the release is {status}", document["status"] == status, f"{document['status']}: {counts}"
        )

    def _check_images(self, step: Step, view: View, image: str) -> None:
        runs = {name: seen.images.get(name) for name, seen in view.items()}
        evidence = ", ".join(f"{name} {found}" for name, found in runs.items())
        self._check(step, f"everything names {image}", set(runs.values()) == {image}, evidence)
        states = {
            name: (seen.deployment or {}).get("rolloutState")
            for name, seen in view.items()
            if seen.deployment
        }
        self._check(
            step,
            "the services' deployments are completed",
            set(states.values()) == {"COMPLETED"},
            ", ".join(f"{name} {state}" for name, state in states.items()),
        )

    def _check_nothing_else(self, step: Step, before: View, after: View) -> None:
        found = [
            f"{name} {line}" for name in before for line in differences(before[name].rest, after[name].rest)
        ]
        self._check(
            step, "nothing but the images changed", not found, "; ".join(found) or "compared member by member"
        )

    def _check_back(self, step: Step, before: View, after: View) -> None:
        moved = [
            f"{name} {before[name].revision} -> {after[name].revision}"
            for name in before
            if before[name].task_definition != after[name].task_definition
            or before[name].exact != after[name].exact
        ]
        states = [s.deployment["rolloutState"] for s in after.values() if s.deployment]
        ok = not moved and set(states) == {"COMPLETED"}
        evidence = "; ".join(moved) or ", ".join(seen.revision for seen in after.values())
        self._check(step, "everything is back at the revision from before", ok, evidence)

    # --- what runs --------------------------------------------------------------------------------------------------

    def _look(self) -> dict[str, Observed]:
        return {
            "web": self._observer.service(self._name, "web"),
            "worker": self._observer.service(self._name, "worker"),
            "nightly": self._observer.rule(f"{self._name}-nightly"),
            "hourly": self._observer.schedule(f"{self._name}-hourly"),
        }

    def _wait_for_services(self) -> None:
        """Wait until what Terraform started runs."""

        def ready() -> bool:
            self._screen.progress("waiting for the services' first deployments")
            found = self._account.client("ecs").describe_services(
                cluster=self._name, services=["web", "worker"]
            )
            states = [
                d["rolloutState"]
                for s in found["services"]
                for d in s["deployments"]
                if d["status"] == "PRIMARY"
            ]
            if "FAILED" in states:
                events = [event["message"] for s in found["services"] for event in s["events"][:3]]
                raise SmokeError("a service's first deployment failed: " + " ".join(events))
            return states == ["COMPLETED", "COMPLETED"]

        Pipeline.until("completed deployment of each service", ready, _HANG_SECONDS)

    # --- releasing --------------------------------------------------------------------------------------------------

    def _plan(self, step: Step) -> None:
        file = self._write(self._manifests["next"])
        document = json.loads(self._cli("plan", str(file), "--json", allowed=(0, _CHANGES, 2)))
        counts = document["counts"]
        self._check(
            step,
            "four items would be updated, none is blocked",
            (counts["update"], counts["blocked"]) == (4, 0),
            ", ".join(f"{count} {name}" for name, count in counts.items() if isinstance(count, int)),
        )
        found = [(f["code"], f["message"]) for item in document["items"] for f in item["findings"]]
        self._report.findings = [
            f"{code} ({found.count((code, text))} times): {text}" for code, text in sorted(set(found))
        ]

    def _release(
        self, step: Step, text: str, status: str, meanwhile: Callable[[Step], None] = lambda _: None
    ) -> dict[str, Any]:
        """Release a manifest; what ``ecs-release status --json`` says of it afterwards.

        ``meanwhile`` runs while the pipeline does; after it where the release is started by hand, which waits for its end.
        """
        if self._by_push:
            earlier = self._pipeline().executions()
            commit = self._push(text)
            meanwhile(step)
            self._follow(commit, earlier)
        else:
            self._cli("deploy", str(self._write(text)), "--json", allowed=(0, 1))
            meanwhile(step)
        document = self._status()
        self._check_release(step, document, status)
        return document

    def _plan_with_terraform(self, step: Step) -> None:
        changes = self._terraform.plan()
        found = ", ".join(f"{address}: {action}" for address, action in changes.items())
        made = len(self._terraform.resources())
        self._check(step, "Terraform's plan is empty meanwhile", not changes, found or f"{made} resources")

    def _push(self, text: str) -> str:
        """Commit through CodeCommit's API, which needs no Git credentials; the commit's id.

        https://docs.aws.amazon.com/codecommit/latest/APIReference/API_PutFile.html
        """
        codecommit, repository = self._account.client("codecommit"), self._outputs["repository_name"]
        try:
            tip = codecommit.get_branch(repositoryName=repository, branchName=_BRANCH)["branch"]["commitId"]
            parent = {"parentCommitId": tip}
        except ClientError as error:
            if error.response["Error"]["Code"] != "BranchDoesNotExistException":
                raise
            parent = {}
        made = codecommit.put_file(
            repositoryName=repository,
            branchName=_BRANCH,
            filePath=_FILE,
            fileContent=text.encode(),
            commitMessage="Release of make smoke",
            **parent,
        )
        return str(made["commitId"])

    def _pipeline(self) -> Pipeline:
        return Pipeline(self._account, str(self._outputs["pipeline_name"]))

    def _follow(self, commit: str, earlier: Sequence[Mapping[str, Any]]) -> None:
        """Wait until the pipeline has released a commit."""
        pipeline = self._pipeline()
        self._screen.progress("waiting for the pipeline")
        execution = pipeline.pipeline_execution(commit, earlier, _HANG_SECONDS)

        def ended() -> str | None:
            status = pipeline.pipeline_status(execution)
            actions = pipeline.actions(execution)
            shown = "   ".join(f"{action['actionName']} {action['status']}" for action in actions)
            self._screen.progress(f"pipeline  {shown}")
            return None if status == "InProgress" else status

        status = str(pipeline.until("end of the pipeline's execution", ended, _HANG_SECONDS))
        if pipeline.release_of(pipeline.actions(execution)) is None:
            raise SmokeError(
                f"the pipeline is {status}, and started no release: {pipeline.why(pipeline.actions(execution))}"
            )

    def _status(self) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(self._cli("status", "--json"))
        return document

    def _write(self, text: str) -> Path:
        file = self._folder / _FILE
        file.write_text(text, encoding="utf-8")
        return file

    def _cli(self, *arguments: str, allowed: Sequence[int] = (0,)) -> str:
        """Run ``ecs-release`` as a person does; what it printed."""
        machine = ("--state-machine-arn", self._outputs["state_machine_arn"])
        process = subprocess.Popen(
            [sys.executable, "-m", "ecs_release", *arguments, *machine],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        began = time.monotonic()
        try:
            while True:
                try:
                    out, complaint = process.communicate(timeout=_POLL_SECONDS)
                    break
                except subprocess.TimeoutExpired:
                    self._screen.progress(f"ecs-release {arguments[0]}, {time.monotonic() - began:.0f} s")
        except BaseException:
            process.kill()
            process.wait()
            raise
        if process.returncode not in allowed:
            said = (complaint or out).strip()
            raise SmokeError(f"ecs-release {arguments[0]} ended with {process.returncode}: {said}")
        return out
