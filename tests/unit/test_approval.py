"""Whether a plan was approved: what CodePipeline itself says, and nothing that the input claims."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from botocore.exceptions import ClientError
from ecs_release.errors import ReleaseRejectedError
from ecs_release.plan.approval import check_approval


class Pipeline:
    """ListActionExecutions of one pipeline execution, newest first; each look may see something else."""

    def __init__(self, *looks: Any) -> None:
        self.looks = list(looks)
        self.asked: list[Mapping[str, Any]] = []

    def get_paginator(self, operation: str) -> Pipeline:
        assert operation == "list_action_executions"
        return self

    def paginate(self, **arguments: Any) -> Iterator[dict[str, Any]]:
        self.asked.append(arguments)
        look = self.looks.pop(0) if len(self.looks) > 1 else self.looks[0]
        if isinstance(look, Exception):
            raise look
        for detail in look:  # one a page
            yield {"actionExecutionDetails": [detail]}


def action(name: str, status: str, **variables: str) -> dict[str, Any]:
    return {"actionName": name, "status": status, "output": {"outputVariables": variables}}


BUILD = action("Build", "Succeeded", PLAN_DIGEST="p1", MANIFEST_SHA256="m1", ALLOW_STALE_PLAN="no")
APPROVED = [action("Deploy", "InProgress"), action("Approve", "Succeeded"), BUILD]


def ask(pipeline: Pipeline, execution: str | None = "e1", **more: Any) -> list[float]:
    slept: list[float] = []
    given: Any = {"plan_digest": "p1", "manifest_sha256": "m1", **more}
    client: Any = pipeline
    check_approval(client, "gate", execution, **given, sleep=slept.append)
    return slept


def test_what_was_approved_goes_through_at_once() -> None:
    pipeline = Pipeline(APPROVED)
    assert ask(pipeline) == []
    assert pipeline.asked == [{"pipelineName": "gate", "filter": {"pipelineExecutionId": "e1"}}]


@pytest.mark.parametrize(
    ("execution", "more"),
    [(None, {}), ("", {}), ("e1", {"plan_digest": None}), ("e1", {"manifest_sha256": None})],
)
def test_a_release_by_hand_is_refused_without_asking(execution: str | None, more: dict[str, Any]) -> None:
    pipeline = Pipeline(APPROVED)
    with pytest.raises(ReleaseRejectedError, match="approved in its pipeline gate"):
        ask(pipeline, execution, **more)
    assert pipeline.asked == []


@pytest.mark.parametrize(
    ("actions", "why"),
    [
        ([], "its plan was not approved"),
        ([action("Deploy", "InProgress"), action("Approve", "Failed"), BUILD], "its plan was not approved"),
        (
            [action("Deploy", "InProgress"), action("Approve", "InProgress"), BUILD],
            "its plan was not approved",
        ),
        (
            [action("Deploy", "Succeeded"), action("Approve", "Succeeded"), BUILD],
            "Deploy action is not running",
        ),
        ([action("Approve", "Succeeded"), BUILD], "Deploy action is not running"),
        (
            [action("Deploy", "InProgress"), action("Approve", "Succeeded")],
            "the plan that was approved is another",
        ),
        ([action("Approve", "Failed"), *APPROVED], "its plan was not approved"),
    ],
)
def test_anything_else_is_refused(actions: list[dict[str, Any]], why: str) -> None:
    with pytest.raises(ReleaseRejectedError, match=why) as refusal:
        ask(Pipeline(actions))
    assert "pipeline execution e1" in str(refusal.value)


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"plan_digest": "p2"}, "the plan that was approved is another one"),
        ({"manifest_sha256": "m2"}, "the manifest that was approved is another one"),
        ({"allow_stale": True}, "it was not started with ALLOW_STALE_PLAN"),
    ],
)
def test_what_the_build_exported_is_what_must_come_in(more: dict[str, Any], why: str) -> None:
    with pytest.raises(ReleaseRejectedError, match=why):
        ask(Pipeline(APPROVED), **more)


def test_staleness_is_allowed_where_the_approver_was_told_so() -> None:
    build = action("Build", "Succeeded", PLAN_DIGEST="p1", MANIFEST_SHA256="m1", ALLOW_STALE_PLAN="yes")
    assert ask(Pipeline([*APPROVED[:2], build]), allow_stale=True) == []


def test_a_deploy_action_that_is_not_visible_yet_is_waited_for() -> None:
    assert ask(Pipeline(APPROVED[1:], APPROVED[1:], APPROVED)) == [2.0, 2.0]


def test_a_pipeline_that_can_not_be_asked_refuses() -> None:
    error = ClientError({"Error": {"Code": "AccessDeniedException", "Message": "no"}}, "ListActionExecutions")
    with pytest.raises(ReleaseRejectedError, match="can't be checked: AccessDeniedException: no"):
        ask(Pipeline(error))
