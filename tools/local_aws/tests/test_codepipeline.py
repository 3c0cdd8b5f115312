"""AWS CodePipeline executes: sources, builds, approvals, state machines, modes, stops and retries."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest
from botocore.exceptions import ClientError
from local_aws.client import LocalAws
from local_aws.kernel.server import Server
from local_aws.services.codepipeline import actions as pipeline_actions
from local_aws.services.codepipeline import model as pipeline_model
from local_aws.services.iam.principals import service
from pipelines import (
    SUCCEED,
    Pipeline,
    action,
    build_action,
    deploy_action,
    machine,
    project,
    repository,
    source_action,
    unique,
)
from roles import role, topic_for_rules

SPEC = """
version: 0.2
env: {exported-variables: [SUMMARY]}
phases:
  build:
    commands:
      - test "$(cat word.txt)" != wrong
      - export SUMMARY="the word is $(cat word.txt)"
      - printf '{"commit":"%s","execution":"%s"}' "$COMMIT" "$EXECUTION" > input.json
artifacts: {files: [input.json]}
"""
VARIABLES = json.dumps(
    [
        {"name": "COMMIT", "value": "#{Source.CommitId}", "type": "PLAINTEXT"},
        {"name": "EXECUTION", "value": "#{codepipeline.PipelineExecutionId}"},
    ]
)
WAIT = {"StartAt": "Wait", "States": {"Wait": {"Type": "Wait", "Seconds": 20, "End": True}}}


def approval(**configuration: str) -> dict[str, Any]:
    return action("Approval", "Manual", configuration)


def test_a_definition_comes_back_as_it_was_given(aws: LocalAws, tmp_path: Path) -> None:
    name, _ = repository(aws, tmp_path)
    trigger = {
        "providerType": "CodeStarSourceConnection",
        "gitConfiguration": {
            "sourceActionName": "Source",
            "push": [{"branches": {"includes": ["main"]}, "filePaths": {"includes": ["deployment.yaml"]}}],
        },
    }
    pipeline = Pipeline(
        aws,
        source_action(name),
        approval(),
        triggers=[trigger],
        variables=[{"name": "Who", "defaultValue": "nobody"}],
    )
    answer = pipeline.client.get_pipeline(name=pipeline.name)
    kept = answer["pipeline"]
    assert (kept["version"], kept["executionMode"], kept["pipelineType"]) == (1, "QUEUED", "V2")
    assert kept["triggers"] == [trigger]
    assert kept["variables"] == [{"name": "Who", "defaultValue": "nobody"}]
    assert kept["stages"][0]["actions"][0]["runOrder"] == 1
    assert answer["metadata"]["created"].timestamp() == pytest.approx(time.time(), abs=60)
    tags = pipeline.client.list_tags_for_resource(resourceArn=pipeline.arn)["tags"]
    assert tags == [{"key": "team", "value": "a"}]
    changed = pipeline.client.update_pipeline(pipeline=pipeline.declaration)["pipeline"]
    assert changed["version"] == 2
    pipeline.client.delete_pipeline(name=pipeline.name)
    with pytest.raises(ClientError) as gone:
        pipeline.client.get_pipeline(name=pipeline.name)
    assert gone.value.response["Error"]["Code"] == "PipelineNotFoundException"


def test_the_role_has_to_trust_codepipeline(aws: LocalAws, tmp_path: Path) -> None:
    name, _ = repository(aws, tmp_path)
    with pytest.raises(ClientError, match="not authorized to perform AssumeRole"):
        Pipeline(aws, source_action(name), approval(), roleArn=role(aws, "lambda.amazonaws.com"))


def test_a_new_pipeline_starts_once_and_fails_while_the_branch_is_empty(
    aws: LocalAws, tmp_path: Path
) -> None:
    name, _ = repository(aws, tmp_path)
    pipeline = Pipeline(aws, source_action(name), approval())
    (first,) = pipeline.executions()
    assert pipeline.ended(first["pipelineExecutionId"]) == "Failed"
    assert first["trigger"]["triggerType"] == "CreatePipeline"
    error = pipeline.error(first["pipelineExecutionId"], "Source")
    assert (
        f"no branch named main was found in the selected AWS CodeCommit repository {name}" in error["message"]
    )


def test_a_push_releases_through_source_build_approval_and_state_machine(
    aws: LocalAws, tmp_path: Path, eventually: Callable[..., Any]
) -> None:
    name, copy = repository(aws, tmp_path)
    topic = aws.client("sns").create_topic(Name=unique("approvals"))["TopicArn"]
    pipeline = Pipeline(
        aws,
        source_action(name),
        build_action(project(aws, SPEC), EnvironmentVariables=VARIABLES),
        approval(
            NotificationArn=topic,
            CustomData="#{Build.SUMMARY}",
            ExternalEntityLink="https://example.com/#{Source.CommitId}",
        ),
        {
            **deploy_action(
                machine(aws, SUCCEED), InputType="FilePath", Input="input.json", ExecutionNamePrefix="x"
            ),
            "inputArtifacts": [{"name": "built"}],
        },
    )
    events = aws.client("events")
    rule = unique("push")
    pattern = {
        "source": ["aws.codecommit"],
        "detail-type": ["CodeCommit Repository State Change"],
        "detail": {"repositoryName": [name], "referenceType": ["branch"], "referenceName": ["main"]},
    }
    rule_arn = events.put_rule(Name=rule, EventPattern=json.dumps(pattern))["RuleArn"]
    target = {"Id": "pipeline", "Arn": pipeline.arn, "RoleArn": role(aws, "events.amazonaws.com")}
    events.put_targets(Rule=rule, Targets=[target])

    commit = copy.push({"word.txt": "hello"}, "say hello")
    started = eventually(lambda: pipeline.executions()[:-1])[0]
    execution = started["pipelineExecutionId"]
    assert started["trigger"] == {"triggerType": "CloudWatchEvent", "triggerDetail": rule_arn}

    token = pipeline.token()
    latest = pipeline.stage("Manual")["actionStates"][0]["latestExecution"]
    assert latest["summary"] == "the word is hello"
    assert latest["externalExecutionUrl"] == f"https://example.com/{commit}"
    (message,) = [json.loads(entry["message"]) for entry in aws.notifications() if entry["topicArn"] == topic]
    assert message["approval"]["token"] == token
    assert message["approval"]["customData"] == "the word is hello"
    with pytest.raises(ClientError, match="token is not valid"):
        pipeline.answer("11111111-2222-3333-4444-555555555555", "Approved")
    pipeline.answer(token, "Approved", "go")
    assert pipeline.ended(execution) == "Succeeded"

    done = pipeline.execution(execution)
    assert [(entry["name"], entry["revisionId"]) for entry in done["artifactRevisions"]] == [
        ("source", commit)
    ]
    assert pipeline.executions()[0]["sourceRevisions"][0]["revisionSummary"] == "say hello"
    actions = pipeline.actions(execution)
    variables = actions["Source"]["output"]["outputVariables"]
    assert (variables["CommitId"], variables["BranchName"], variables["RepositoryName"]) == (
        commit,
        "main",
        name,
    )
    assert (variables["CommitMessage"], variables["AuthorDate"][-1]) == ("say hello", "Z")
    assert actions["Manual"]["output"]["executionResult"]["externalExecutionSummary"] == "go"
    arn = actions["Deploy"]["output"]["outputVariables"]["ExecutionArn"]
    assert arn.endswith(f":x-{actions['Deploy']['actionExecutionId']}")
    run = aws.client("stepfunctions").describe_execution(executionArn=arn)
    assert json.loads(run["input"]) == {"commit": commit, "execution": execution}
    build = aws.client("codebuild").batch_get_builds(
        ids=[actions["Build"]["output"]["executionResult"]["externalExecutionId"]]
    )["builds"][0]
    assert (build["resolvedSourceVersion"], build["initiator"]) == (commit, f"codepipeline/{pipeline.name}")


def test_a_failed_build_says_which_command_failed(aws: LocalAws, tmp_path: Path) -> None:
    name, copy = repository(aws, tmp_path)
    copy.push({"word.txt": "wrong"})
    pipeline = Pipeline(
        aws, source_action(name), build_action(project(aws, SPEC), EnvironmentVariables=VARIABLES)
    )
    execution = pipeline.executions()[0]["pipelineExecutionId"]
    assert pipeline.ended(execution) == "Failed"
    assert pipeline.error(execution, "Build") == {
        "code": "JobFailed",
        "message": "Build terminated with state: FAILED. Phase: BUILD, Code: COMMAND_EXECUTION_ERROR, Message: Error "
        'while executing command: test "$(cat word.txt)" != wrong. Reason: exit status 1',
    }
    assert pipeline.stage("Build")["latestExecution"]["status"] == "Failed"


def test_a_failed_state_machine_gives_error_and_cause(aws: LocalAws, tmp_path: Path) -> None:
    name, copy = repository(aws, tmp_path)
    copy.push({"a": "1"})
    fail = {"StartAt": "F", "States": {"F": {"Type": "Fail", "Error": "EcsRelease.FAILED", "Cause": "a b c"}}}
    pipeline = Pipeline(aws, source_action(name), deploy_action(machine(aws, fail), Input='{"a": 1}'))
    execution = pipeline.executions()[0]["pipelineExecutionId"]
    assert pipeline.ended(execution) == "Failed"
    message = pipeline.error(execution, "Deploy")["message"]
    assert "Error: EcsRelease.FAILED. Cause: a b c" in message


def test_a_rejected_approval_fails_the_execution(aws: LocalAws, tmp_path: Path) -> None:
    name, copy = repository(aws, tmp_path)
    copy.push({"a": "1"})
    pipeline = Pipeline(aws, source_action(name), approval())
    execution = pipeline.executions()[0]["pipelineExecutionId"]
    pipeline.answer(pipeline.token(), "Rejected", "not today")
    assert pipeline.ended(execution) == "Failed"
    assert "not today" in pipeline.error(execution, "Manual")["message"]


def test_an_unresolved_variable_fails_its_action(aws: LocalAws, tmp_path: Path) -> None:
    name, copy = repository(aws, tmp_path)
    copy.push({"a": "1"})
    pipeline = Pipeline(aws, source_action(name), approval(CustomData="#{Source.Nothing}"))
    execution = pipeline.executions()[0]["pipelineExecutionId"]
    assert pipeline.ended(execution) == "Failed"
    assert "#{Source.Nothing}" in pipeline.error(execution, "Manual")["message"]


@pytest.mark.parametrize(("length", "accepted"), [(1000, True), (1001, False)])
def test_a_literal_input_has_a_limit(aws: LocalAws, tmp_path: Path, length: int, accepted: bool) -> None:
    name, _ = repository(aws, tmp_path)
    text = json.dumps("x" * (length - 2))
    actions = source_action(name), deploy_action(machine(aws, SUCCEED), Input=text)
    if accepted:
        Pipeline(aws, *actions)
    else:
        with pytest.raises(ClientError, match="more than 1000 characters"):
            Pipeline(aws, *actions)


def test_queued_executions_run_one_after_another(
    aws: LocalAws, tmp_path: Path, eventually: Callable[..., Any]
) -> None:
    name, copy = repository(aws, tmp_path)
    copy.push({"a": "1"})
    pipeline = Pipeline(aws, source_action(name), approval())
    first = pipeline.executions()[0]["pipelineExecutionId"]
    token = pipeline.token()
    second, third = pipeline.start(), pipeline.start()
    eventually(lambda: len(pipeline.stage("Manual")["inboundExecutions"]) == 2)
    inbound = pipeline.stage("Manual")["inboundExecutions"]
    assert [entry["pipelineExecutionId"] for entry in inbound] == [second, third]
    pipeline.answer(token, "Approved")
    assert pipeline.ended(first) == "Succeeded"
    eventually(lambda: pipeline.stage("Manual")["latestExecution"]["pipelineExecutionId"] == second)
    pipeline.answer(pipeline.token(), "Approved")
    assert pipeline.ended(second) == "Succeeded"
    eventually(lambda: pipeline.stage("Manual")["latestExecution"]["pipelineExecutionId"] == third)
    pipeline.answer(pipeline.token(), "Approved")
    assert pipeline.ended(third) == "Succeeded"


def test_a_newer_execution_overtakes_one_that_waits_in_superseded_mode(
    aws: LocalAws, tmp_path: Path, eventually: Callable[..., Any]
) -> None:
    name, copy = repository(aws, tmp_path)
    copy.push({"a": "1"})
    pipeline = Pipeline(aws, source_action(name), approval(), mode="SUPERSEDED")
    token = pipeline.token()
    second = pipeline.start()
    eventually(lambda: pipeline.stage("Manual")["inboundExecutions"])
    third = pipeline.start()
    assert pipeline.ended(second) == "Superseded"
    pipeline.answer(token, "Approved")
    eventually(lambda: pipeline.stage("Manual")["latestExecution"]["pipelineExecutionId"] == third)
    pipeline.answer(pipeline.token(), "Approved")
    assert pipeline.ended(third) == "Succeeded"


def test_an_abandoned_action_leaves_its_state_machine_running(
    aws: LocalAws, tmp_path: Path, eventually: Callable[..., Any]
) -> None:
    name, copy = repository(aws, tmp_path)
    copy.push({"a": "1"})
    pipeline = Pipeline(aws, source_action(name), deploy_action(machine(aws, WAIT)))
    execution = pipeline.executions()[0]["pipelineExecutionId"]
    run = eventually(
        lambda: (
            pipeline.actions(execution)
            .get("Deploy", {})
            .get("output", {})
            .get("outputVariables", {})
            .get("ExecutionArn")
        )
    )
    pipeline.client.stop_pipeline_execution(
        pipelineName=pipeline.name, pipelineExecutionId=execution, abandon=True, reason="enough"
    )
    assert pipeline.ended(execution) == "Stopped"
    assert pipeline.actions(execution)["Deploy"]["status"] == "Abandoned"
    assert pipeline.executions()[0]["stopTrigger"]["reason"] == "enough"
    states = aws.client("stepfunctions")
    assert states.describe_execution(executionArn=run)["status"] == "RUNNING"
    states.stop_execution(executionArn=run)
    with pytest.raises(ClientError) as late:
        pipeline.client.stop_pipeline_execution(pipelineName=pipeline.name, pipelineExecutionId=execution)
    assert late.value.response["Error"]["Code"] == "PipelineExecutionNotStoppableException"


def test_stop_and_wait_lets_the_action_end(aws: LocalAws, tmp_path: Path) -> None:
    name, copy = repository(aws, tmp_path)
    copy.push({"a": "1"})
    pipeline = Pipeline(aws, source_action(name), approval(), {**approval(), "name": "Second"})
    execution = pipeline.executions()[0]["pipelineExecutionId"]
    token = pipeline.token()
    pipeline.client.stop_pipeline_execution(pipelineName=pipeline.name, pipelineExecutionId=execution)
    assert pipeline.execution(execution)["status"] == "Stopping"
    pipeline.answer(token, "Approved")
    assert pipeline.ended(execution) == "Stopped"
    actions = pipeline.actions(execution)
    assert actions["Manual"]["status"] == "Succeeded"
    assert "Second" not in actions


def test_a_failed_stage_can_be_retried(aws: LocalAws, tmp_path: Path, eventually: Callable[..., Any]) -> None:
    name, copy = repository(aws, tmp_path)
    copy.push({"a": "1"})
    pipeline = Pipeline(aws, source_action(name), approval())
    execution = pipeline.executions()[0]["pipelineExecutionId"]
    token = pipeline.token()
    pipeline.answer(token, "Rejected")
    assert pipeline.ended(execution) == "Failed"
    pipeline.client.retry_stage_execution(
        pipelineName=pipeline.name,
        stageName="Manual",
        pipelineExecutionId=execution,
        retryMode="FAILED_ACTIONS",
    )
    again = eventually(lambda: pipeline.token() if pipeline.token() != token else None)
    pipeline.answer(again, "Approved")
    assert pipeline.ended(execution) == "Succeeded"


def test_a_commit_and_variables_can_be_chosen_at_the_start(aws: LocalAws, tmp_path: Path) -> None:
    name, copy = repository(aws, tmp_path)
    first = copy.push({"a": "1"})
    copy.push({"a": "2"})
    pipeline = Pipeline(
        aws,
        source_action(name),
        approval(CustomData="#{variables.Who} #{Source.CommitId}"),
        variables=[{"name": "Who", "defaultValue": "nobody"}],
    )
    pipeline.answer(pipeline.token(), "Rejected")
    pipeline.ended(pipeline.executions()[0]["pipelineExecutionId"])
    execution = pipeline.start(
        variables=[{"name": "Who", "value": "me"}],
        sourceRevisions=[{"actionName": "Source", "revisionType": "COMMIT_ID", "revisionValue": first}],
    )
    pipeline.token()
    assert pipeline.stage("Manual")["actionStates"][0]["latestExecution"]["summary"] == f"me {first}"
    assert pipeline.execution(execution)["variables"] == [{"name": "Who", "resolvedValue": "me"}]


def test_a_variable_s_value_is_put_into_json_text_as_it_is_and_read_afterwards(
    aws: LocalAws, tmp_path: Path
) -> None:
    """https://github.com/aws/aws-cdk/issues/8458: a quotation mark in it ends the text that it stands in."""
    name, copy = repository(aws, tmp_path)
    copy.push({"word.txt": "hello"})
    spec = """
version: 0.2
env: {exported-variables: [SEEN]}
phases: {build: {commands: ['export SEEN="$WHO $OTHER"', "touch built"]}}
artifacts: {files: [built]}
"""
    variables = json.dumps([{"name": "WHO", "value": "#{variables.Who}"}])
    pipeline = Pipeline(
        aws,
        source_action(name),
        build_action(project(aws, spec), EnvironmentVariables=variables),
        variables=[{"name": "Who", "defaultValue": "nobody"}],
    )

    def build_of(value: str) -> dict[str, Any]:
        execution = pipeline.start(variables=[{"name": "Who", "value": value}])
        pipeline.ended(execution)
        return pipeline.actions(execution)["Build"]

    crafted = build_of('me"},{"name":"OTHER","value":"crafted')
    assert crafted["output"]["outputVariables"]["SEEN"] == "me crafted"
    broken = build_of('me"')
    assert broken["status"] == "Failed"
    assert broken["output"]["executionResult"]["errorDetails"]["code"] == "ConfigurationError"


@pytest.mark.parametrize("value", ["a\nb", "x" * 1001])
def test_a_variable_s_value_has_a_thousand_characters_and_no_line_break(
    aws: LocalAws, tmp_path: Path, value: str
) -> None:
    name, _ = repository(aws, tmp_path)
    pipeline = Pipeline(
        aws,
        source_action(name),
        approval(CustomData="#{variables.Who}"),
        variables=[{"name": "Who", "defaultValue": "nobody"}],
    )
    with pytest.raises(ClientError, match="ValidationException"):
        pipeline.start(variables=[{"name": "Who", "value": value}])


def test_the_states_of_an_execution_become_events(
    aws: LocalAws, tmp_path: Path, eventually: Callable[..., Any]
) -> None:
    name, copy = repository(aws, tmp_path)
    copy.push({"a": "1"})
    topic = topic_for_rules(aws)
    pipeline_name_pattern = {"source": ["aws.codepipeline"]}
    rule = unique("states")
    aws.client("events").put_rule(Name=rule, EventPattern=json.dumps(pipeline_name_pattern))
    aws.client("events").put_targets(Rule=rule, Targets=[{"Id": "topic", "Arn": topic}])
    pipeline = Pipeline(aws, source_action(name), deploy_action(machine(aws, SUCCEED)))
    execution = pipeline.executions()[0]["pipelineExecutionId"]
    assert pipeline.ended(execution) == "Succeeded"

    def heard() -> list[dict[str, Any]]:
        found = [json.loads(entry["message"]) for entry in aws.notifications() if entry["topicArn"] == topic]
        return [
            event
            for event in found
            if event["detail"]["execution-id"] == execution
            and event["detail-type"] == "CodePipeline Pipeline Execution State Change"
        ]

    eventually(lambda: len(heard()) == 2)
    aws.client("events").remove_targets(Rule=rule, Ids=["topic"])
    assert {event["detail"]["state"] for event in heard()} == {"STARTED", "SUCCEEDED"}
    event = heard()[0]
    assert event["resources"] == [pipeline.arn]
    assert event["detail"]["pipeline"] == pipeline.name
    assert event["detail"]["execution-trigger"]["trigger-type"] == "CreatePipeline"


def test_an_approval_times_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline_actions, "MINUTE", 0.05)
    declaration = {"name": "Manual", "timeoutInMinutes": 5, "actionTypeId": {}}
    run = pipeline_model.ActionRun("Approve", declaration)
    execution = pipeline_model.Execution({"name": "p", "version": 1}, ("StartPipelineExecution", ""), {})
    pipeline = pipeline_model.Pipeline("123456789012", "us-east-1", {"name": "p"})
    context = pipeline_model.ActionContext(
        pipeline,
        execution,
        run,
        read=lambda _: b"",
        write=lambda *_: None,
        changed=lambda: None,
        principal=service("codepipeline.amazonaws.com"),
    )
    with pytest.raises(pipeline_model.ActionFailed, match="timed out after 5 minutes"):
        pipeline_actions.approval_manual(cast(Server, None), context)
