"""Which execution of a pipeline a push has started, and what is said when it never came to its commit."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import pytest

from scripts.stack import Pipeline, PipelineError, StackTimeoutError

COMMIT = "a" * 40
READ = [{"actionName": "Source", "revisionId": COMMIT}]
OTHER = [{"actionName": "Source", "revisionId": "b" * 40}]
STATES = ("InProgress", "Succeeded", "Failed", "Stopped", "Superseded")
# https://docs.aws.amazon.com/codepipeline/latest/APIReference/API_ActionExecutionResult.html
RESULTS = [
    ({"errorDetails": {"code": "PermissionError", "message": "may not"}}, "Source Failed: may not"),
    ({"externalExecutionSummary": "no such branch"}, "Source Failed: no such branch"),
    ({"errorDetails": {"code": "JobFailed"}}, "Source Failed: no reason given"),
    ({}, "Source Failed: no reason given"),
]


def execution(number: str, status: str, revisions: Sequence[Any] = ()) -> dict[str, Any]:
    members = {"pipelineExecutionId": number, "status": status}
    return {**members, "sourceRevisions": list(revisions)} if revisions else members


class CodePipeline:
    """CodePipeline that lists these executions, one list a look, and the last for ever."""

    def __init__(self, *lists: Sequence[dict[str, Any]], result: dict[str, Any] | None = None) -> None:
        self.lists = itertools.chain(lists, itertools.repeat(lists[-1]))
        self.action = {
            "actionName": "Source",
            "status": "Failed",
            "output": {"executionResult": result or {}},
        }

    def client(self, _: str) -> CodePipeline:
        return self

    def list_pipeline_executions(self, **_: Any) -> Any:
        return {"pipelineExecutionSummaries": next(self.lists)}

    def list_action_executions(self, **_: Any) -> Any:
        return {"actionExecutionDetails": [self.action]}


def found(*lists: Sequence[dict[str, Any]], result: dict[str, Any] | None = None) -> str:
    pipeline = Pipeline(CodePipeline(*lists, result=result), "release")
    return pipeline.pipeline_execution(COMMIT, pipeline.executions(), seconds=0)


@pytest.mark.parametrize("status", STATES)
def test_the_execution_of_a_commit_is_found_however_it_goes(status: str) -> None:
    earlier = [execution("1", "Failed")]
    assert found(earlier, [execution("2", status, READ), *earlier]) == "2"
    for other in (execution("3", "Succeeded", OTHER), execution("3", "Failed")):
        assert found(earlier, [other, execution("2", status, READ)]) == "2"


@pytest.mark.parametrize(("result", "said"), RESULTS)
def test_a_source_that_never_came_to_the_commit_ends_the_wait(result: dict[str, Any], said: str) -> None:
    with pytest.raises(PipelineError, match=f"2 is Failed, and never came to commit aaaaaaaa: {said}"):
        found([], [execution("2", "Failed")], result=result)


@pytest.mark.parametrize("status", ["Stopped", "Cancelled"])
def test_an_execution_that_somebody_stopped_ends_the_wait(status: str) -> None:
    with pytest.raises(PipelineError, match=f"2 is {status}, and never came to commit aaaaaaaa"):
        found([], [execution("2", status)])


def test_a_failed_one_whose_actions_are_not_listed_yet_is_looked_at_again() -> None:
    pipeline = Pipeline(aws := CodePipeline([execution("2", "Failed")]), "release")
    aws.action["status"] = "InProgress"
    with pytest.raises(StackTimeoutError):
        pipeline.pipeline_execution(COMMIT, [], seconds=0)


# The pipeline's creation starts one too, and fails where the branch is not there yet.
@pytest.mark.parametrize("before", STATES)
def test_what_ran_before_the_push_is_not_the_pushs(before: str) -> None:
    with pytest.raises(StackTimeoutError, match="no pipeline execution of commit aaaaaaaa"):
        found([execution("1", before)], [execution("1", "Failed")])


@pytest.mark.parametrize(
    "other", [execution("2", "InProgress"), execution("2", "Failed", OTHER), execution("2", "Superseded")]
)
def test_what_may_still_come_to_the_commit_is_waited_for(other: dict[str, Any]) -> None:
    with pytest.raises(StackTimeoutError):
        found([], [other])
