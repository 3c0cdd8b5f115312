"""The module applied to embedded AWS: its repository, its pipeline, its releases."""

from __future__ import annotations

import contextlib
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from ecs_release.record.models import ItemRecord, ReleaseRecord
from ecs_release.record.store import Store
from local_aws.client import HANG_SECONDS, LocalAws

from scripts.git_clone import Clone
from scripts.terraform import EXAMPLE, Terraform, one_provider

_POLL_SECONDS = 0.25
_GIVEN_UP = ("Failed", "Stopped", "Cancelled")  # of one that is Superseded, the next one has the commit


class StackTimeoutError(Exception):
    """Something did not end in time."""


class PipelineError(RuntimeError):
    """The pipeline ended before it started a release; the text says why."""


class Clients(Protocol):
    """What makes boto3 clients."""

    def client(self, service: str) -> Any: ...


class Pipeline:
    """The module's pipeline, wherever it was applied.

    Parameters
    ----------
    clients
        Make boto3 clients of its account and Region.
    name
        Of the pipeline.
    """

    def __init__(self, clients: Clients, name: str) -> None:
        self._client = clients.client("codepipeline")
        self.pipeline = name

    def executions(self) -> list[dict[str, Any]]:
        """Summaries of the newest pipeline executions, newest first."""
        answer = self._client.list_pipeline_executions(pipelineName=self.pipeline)
        return list(answer["pipelineExecutionSummaries"])

    def pipeline_execution(
        self, commit: str, earlier: Sequence[Mapping[str, Any]], seconds: float = HANG_SECONDS
    ) -> str:
        """Wait for the pipeline execution of a commit.

        Parameters
        ----------
        earlier
            The executions from before the push. A new one that has ended and names no revision is taken for the commit's: it never
            came to its source.

        Raises
        ------
        PipelineError
            If there is such a one.
        """
        known = {execution["pipelineExecutionId"] for execution in earlier}

        def find() -> str | None:
            found = self.executions()
            for execution in found:
                if any(r.get("revisionId") == commit for r in execution.get("sourceRevisions", ())):
                    return str(execution["pipelineExecutionId"])
            for execution in found:
                number, status = str(execution["pipelineExecutionId"]), str(execution["status"])
                if number in known or execution.get("sourceRevisions") or status not in _GIVEN_UP:
                    continue
                why = self.why(self.actions(number))
                if why or status != "Failed":  # else the actions are not listed yet
                    raise PipelineError(
                        f"the pipeline's execution {number} is {status}, and never came to commit {commit[:8]}"
                        + (f": {why}" if why else ".")
                    )
            return None

        return str(self.until(f"pipeline execution of commit {commit[:8]}", find, seconds))

    def pipeline_status(self, execution: str) -> str:
        """InProgress, Succeeded, Failed, Stopped, Superseded, Cancelled."""
        answer = self._client.get_pipeline_execution(
            pipelineName=self.pipeline, pipelineExecutionId=execution
        )
        return str(answer["pipelineExecution"]["status"])

    def actions(self, execution: str) -> list[dict[str, Any]]:
        """Action executions of a pipeline execution, as ListActionExecutions has them, oldest first."""
        answer = self._client.list_action_executions(
            pipelineName=self.pipeline, filter={"pipelineExecutionId": execution}
        )
        return list(reversed(answer["actionExecutionDetails"]))

    @staticmethod
    def release_of(actions: Iterable[Mapping[str, Any]]) -> str | None:
        """The ARN of the state machine's execution that the Deploy action has started."""
        for action in actions:
            if action["actionName"] == "Deploy":
                result = action.get("output", {}).get("executionResult", {})
                return result.get("externalExecutionId") or None
        return None

    @staticmethod
    def why(actions: Iterable[Mapping[str, Any]]) -> str:
        """What the actions that did not succeed say."""
        said = []
        for action in actions:
            if action["status"] not in ("Succeeded", "InProgress"):
                result = action.get("output", {}).get("executionResult", {})
                reason = result.get("errorDetails", {}).get("message") or result.get(
                    "externalExecutionSummary"
                )
                said.append(f"{action['actionName']} {action['status']}: {reason or 'no reason given'}")
        return "; ".join(said)

    @staticmethod
    def until(what: str, check: Callable[[], Any], seconds: float) -> Any:
        """Return the first true value of a check.

        Raises
        ------
        StackTimeoutError
            If there is none in time.
        """
        deadline = time.monotonic() + seconds
        while True:
            value = check()
            if value:
                return value
            if time.monotonic() > deadline:
                raise StackTimeoutError(f"after {seconds:g} s still no {what}")
            time.sleep(_POLL_SECONDS)


class Stack(Pipeline):
    """A running embedded AWS with ``examples/local`` applied.

    Parameters
    ----------
    aws
        The server.
    outputs
        The example's outputs, name -> value.
    folder
        Where the clone goes.
    """

    def __init__(self, aws: LocalAws, outputs: Mapping[str, Any], folder: Path) -> None:
        super().__init__(aws, str(outputs["pipeline_name"]))
        self.aws = aws
        self.endpoint = aws.endpoint
        self.outputs = dict(outputs)
        self.clone_url = str(outputs["repository_clone_url_http"])
        self.state_machine = str(outputs["state_machine_arn"])
        self.store = Store(aws.client("dynamodb"), str(outputs["releases_table_name"]))
        self._folder = folder
        self._clone: Clone | None = None

    def client(self, service: str, **options: Any) -> Any:
        """Return a boto3 client."""
        return self.aws.client(service, **options)

    def clone(self) -> Clone:
        """The clone, made at the first call."""
        if self._clone is None:
            self._clone = Clone(self.clone_url, self._folder / f"clone-{uuid.uuid4().hex[:8]}")
        return self._clone

    def execution(self, arn: str) -> dict[str, Any]:
        """What DescribeExecution says."""
        answer: dict[str, Any] = self.client("stepfunctions").describe_execution(executionArn=arn)
        return answer

    def release_record(self, release: str) -> tuple[ReleaseRecord | None, list[ItemRecord]]:
        """Record and items of a release, by its id or its execution's ARN."""
        release = release.rpartition(":")[2]
        return self.store.release(release), self.store.items(release)


@contextlib.contextmanager
def applied(
    folder: Path,
    variables: Sequence[str] = (),
    progress: Callable[[str], None] = lambda _: None,
) -> Iterator[tuple[Stack, Terraform]]:
    """Start embedded AWS on a free port, apply ``examples/local``, and stop it at the end, whatever happens.

    Nothing is destroyed at the end: what was made lives in the server's memory and goes with it.
    """
    state = folder / "aws"
    state.mkdir()
    progress("starting embedded AWS")
    with (
        LocalAws.start(state_dir=state, log=folder / "local_aws.log") as aws,
        one_provider(folder, aws.environment(), EXAMPLE) as attached,
    ):
        terraform = Terraform(folder, {**aws.environment(), **attached}, variables, progress)
        terraform.init()
        terraform.apply()
        outputs = {name: output["value"] for name, output in terraform.outputs().items()}
        yield Stack(aws, outputs, folder), terraform
