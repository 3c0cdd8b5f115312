"""What the actions of a pipeline do, by category and provider.

Each function stands for one action type; its docstring names the AWS document. An action fails by raising
``ActionFailed`` and is left alone, with everything it has started, when ``ActionContext.wait`` raises
``Abandoned``.
"""

from __future__ import annotations

import io
import json
import time
import uuid
import zipfile
from collections.abc import Callable
from datetime import UTC, datetime

from local_aws.kernel.calls import ApiError
from local_aws.kernel.server import Server
from local_aws.services import codebuild, codecommit
from local_aws.services import codeconnections as connections
from local_aws.services.codepipeline.model import ActionContext, ActionFailed
from local_aws.services.git import BareRepository, Commit
from local_aws.services.iam.authority import Authority

Provider = Callable[[Server, ActionContext], None]

CONSOLE = "https://console.aws.amazon.com"
MINUTE = 60.0
"""Seconds in a minute of an approval's time-out; tests make it shorter."""
APPROVAL_MINUTES = 7 * 24 * 60
LITERAL_CHARACTERS = 1000
FILE_BYTES = 256 * 1024
_POLL_SECONDS = 0.2


def source_codecommit(server: Server, context: ActionContext) -> None:
    """Take the tip of a branch.

    https://docs.aws.amazon.com/codepipeline/latest/userguide/action-reference-CodeCommit.html
    """
    pipeline = context.pipeline
    name, branch = context.required("RepositoryName"), context.required("BranchName")
    try:
        repository = codecommit.of(server).find(pipeline.account, pipeline.region, name)
    except ApiError:
        raise ActionFailed(
            "ConfigurationError",
            f"The action failed because no repository named {name} was found. Make sure you are using the "
            "correct repository name, and then try again.",
        ) from None
    # https://docs.aws.amazon.com/codepipeline/latest/userguide/security-iam.html#how-to-custom-role
    for action in ("GetBranch", "GetCommit", "UploadArchive", "GetUploadArchiveStatus"):
        _demand(server, context, f"codecommit:{action}", repository.arn)
    commit = _tip(context, repository.bare, branch, f"AWS CodeCommit repository {name}")
    context.run.variables = {
        "RepositoryName": name,
        "BranchName": branch,
        "CommitId": commit.id,
        "CommitMessage": commit.message.rstrip("\n"),
        "AuthorDate": _date(commit.author),
        "CommitterDate": _date(commit.committer),
    }
    url = f"{CONSOLE}/codesuite/codecommit/repositories/{name}/commit/{commit.id}?region={pipeline.region}"
    _deliver(context, repository.bare, commit, url, commit.message.rstrip("\n"))


def source_connection(server: Server, context: ActionContext) -> None:
    """Take the tip of a branch of a repository behind a connection.

    https://docs.aws.amazon.com/codepipeline/latest/userguide/action-reference-CodestarConnectionSource.html
    """
    arn, full_name = context.required("ConnectionArn"), context.required("FullRepositoryId")
    branch = context.required("BranchName")
    connection = connections.of(server).get(arn)
    if connection is None:
        raise ActionFailed("ConfigurationError", f"Connection {arn} does not exist.")
    if connection.status != "AVAILABLE":
        raise ActionFailed(
            "ConfigurationError",
            f"Connection {arn} is not available: its status is {connection.status}. Complete the handshake: open "
            "the connection in the console, choose Update pending connection, then release the change.",
        )
    if connection.repository is None:
        raise ActionFailed(
            "ConfigurationError",
            f"Connection {arn} has no repository: POST /_local/connections with its path as "
            '{"arn": ..., "status": "AVAILABLE", "repository": ...}.',
        )
    # https://docs.aws.amazon.com/codepipeline/latest/userguide/action-reference-CodestarConnectionSource.html
    _demand(server, context, _use_connection(arn), arn)
    commit = _tip(context, connection.repository, branch, f"repository {full_name}")
    context.run.variables = {
        "ConnectionArn": arn,
        "FullRepositoryName": full_name,
        "BranchName": branch,
        "CommitId": commit.id,
        "CommitMessage": commit.message.rstrip("\n"),
        "AuthorDate": _date(commit.author),
        "AuthorDisplayName": commit.author[0],
        "AuthorEmail": commit.author[1],
        "AuthorId": commit.author[0],
    }
    url = f"{CONSOLE}/codesuite/settings/connections/redirect?connectionArn={arn}&referenceType=COMMIT"
    url += f"&FullRepositoryId={full_name}&Commit={commit.id}"
    summary = {"ProviderType": connection.provider, "CommitMessage": commit.message.rstrip("\n")}
    _deliver(context, connection.repository, commit, url, json.dumps(summary))


def _demand(server: Server, context: ActionContext, action: str, resource: str) -> None:
    """Ask for what CodePipeline does in the role's name without a call of its own here."""
    server.part(Authority).demand(context.principal, action, resource, region=context.pipeline.region)


def _use_connection(arn: str) -> str:
    """The service was renamed, and its connections are of the one or the other.

    https://docs.aws.amazon.com/dtconsole/latest/userguide/rename.html
    """
    return f"{arn.split(':')[2]}:UseConnection"


def _tip(context: ActionContext, bare: BareRepository, branch: str, where: str) -> Commit:
    if context.configuration.get("OutputArtifactFormat", "CODE_ZIP") != "CODE_ZIP":
        raise ActionFailed("ConfigurationError", "local_aws makes artifacts of the format CODE_ZIP only")
    commit_id = context.execution.source_overrides.get(context.run.name) or bare.branches().get(branch)
    if commit_id is None:
        raise ActionFailed(
            "ConfigurationError",
            f"The action failed because no branch named {branch} was found in the selected {where}. Make sure "
            "you are using the correct branch name, and then try again. Error: null",
        )
    return bare.commit(commit_id)


def _deliver(context: ActionContext, bare: BareRepository, commit: Commit, url: str, summary: str) -> None:
    now = round(time.time(), 3)
    packed = bare.zip(commit.id)
    for name in context.output_names:
        context.write(name, packed)
        context.execution.commits[name] = commit.id
        revision = {"name": name, "revisionId": commit.id, "revisionSummary": summary[:2048], "created": now}
        context.execution.revisions.append({**revision, "revisionUrl": url})
    context.run.external_id = commit.id
    context.run.external_url = url
    context.run.summary = summary
    context.run.revision = {"revisionId": commit.id, "revisionChangeId": commit.id, "created": now}
    context.execution.source_revisions.append(
        {
            "actionName": context.run.name,
            "revisionId": commit.id,
            "revisionSummary": summary,
            "revisionUrl": url,
        }
    )


def _date(person: tuple[str, str, str]) -> str:
    return datetime.fromtimestamp(int(person[2].split()[0]), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def build_codebuild(server: Server, context: ActionContext) -> None:
    """Run a build on the input artifacts and keep its artifacts and exported variables.

    https://docs.aws.amazon.com/codepipeline/latest/userguide/action-reference-CodeBuild.html
    """
    pipeline, run = context.pipeline, context.run
    if context.configuration.get("BatchEnabled", "false").lower() == "true":
        raise ActionFailed("ConfigurationError", "local_aws runs no batch builds")
    names = context.input_names
    primary = context.configuration.get("PrimarySource") or (names[0] if len(names) == 1 else None)
    if primary not in names:
        raise ActionFailed("ConfigurationError", "PrimarySource has to name one of the input artifacts")
    sources = []
    for name in names:
        bucket, key = context.execution.artifacts[name]
        sources.append(
            codebuild.Source(
                identifier="" if name == primary else name,
                revision=context.execution.commits.get(name, ""),
                location=f"arn:aws:s3:::{bucket}/{key}",
            )
        )
    try:
        extra = json.loads(context.configuration.get("EnvironmentVariables") or "[]")
        variables = {}
        for entry in extra:
            if entry.get("type", "PLAINTEXT") != "PLAINTEXT":
                raise ActionFailed("ConfigurationError", f"local_aws has no {entry['type']} variables")
            variables[entry["name"]] = entry["value"]
        project_arn = f"arn:aws:codebuild:{pipeline.region}:{pipeline.account}:project/{context.required('ProjectName')}"
        for action in ("codebuild:StartBuild", "codebuild:BatchGetBuilds"):
            _demand(server, context, action, project_arn)
        build = codebuild.of(server).start(
            pipeline.account,
            pipeline.region,
            context.required("ProjectName"),
            sources=tuple(sources),
            environment=variables,
            initiator=f"codepipeline/{pipeline.name}",
        )
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ActionFailed("ConfigurationError", f"EnvironmentVariables: {error!r}") from None
    except ApiError as error:
        raise ActionFailed(
            "ConfigurationError", f"Error calling startBuild: {error.message} (Error Code: {error.code})"
        ) from None
    project = build.project["name"]
    run.external_id = build.id
    run.external_url = f"{CONSOLE}/codebuild/home?region={pipeline.region}#/builds/{build.id}/view/new"
    context.changed()
    while not build.done.is_set():
        context.wait()
    run.variables = {entry["name"]: entry["value"] for entry in build.exported}
    if build.status != "SUCCEEDED":
        message = f"Build terminated with state: {build.status}"
        for phase in build.phases:
            details = (phase.get("contexts") or [{}])[0]
            if phase.get("phaseStatus") not in ("SUCCEEDED", None) and details.get("statusCode"):
                message += f". Phase: {phase['phaseType']}, Code: {details['statusCode']}"
                message += f", Message: {details['message']}"
                break
        raise ActionFailed("JobFailed", message)
    outputs = context.output_names
    for name in outputs:
        data = build.artifacts.get(name) or (build.artifacts.get("") if len(outputs) == 1 else None)
        if data is None:
            raise ActionFailed(
                "JobFailed",
                f"The build of {project} made no artifact for {name}: see artifacts in its buildspec",
            )
        # https://docs.aws.amazon.com/codebuild/latest/userguide/setting-up-service-role.html: by the build's own role
        context.write(name, data, build.acting())


def approval_manual(server: Server, context: ActionContext) -> None:
    """Wait for PutApprovalResult, after a message to the topic.

    https://docs.aws.amazon.com/codepipeline/latest/userguide/approvals.html
    https://docs.aws.amazon.com/codepipeline/latest/userguide/approvals-json-format.html
    """
    pipeline, run, configuration = context.pipeline, context.run, context.configuration
    if len(configuration.get("CustomData", "")) > LITERAL_CHARACTERS:
        raise ActionFailed("ConfigurationError", "CustomData is longer than 1000 characters")
    minutes = int(run.declaration.get("timeoutInMinutes") or APPROVAL_MINUTES)
    token = str(uuid.uuid4())
    if configuration.get("ExternalEntityLink"):
        run.external_url = configuration["ExternalEntityLink"]
    if configuration.get("CustomData"):
        run.summary = configuration["CustomData"]
    if configuration.get("NotificationArn"):
        home = f"{CONSOLE}/codepipeline/home?region={pipeline.region}#/view/{pipeline.name}"
        expires = datetime.fromtimestamp(time.time() + minutes * 60, UTC)
        approval = {
            "pipelineName": pipeline.name,
            "stageName": run.stage,
            "actionName": run.name,
            "token": token,
            "expires": expires.strftime("%Y-%m-%dT%H:%MZ"),
            "externalEntityLink": configuration.get("ExternalEntityLink"),
            "approvalReviewLink": f"{home}/{run.stage}/{run.name}/approve/{token}",
            "customData": configuration.get("CustomData"),
        }
        message = {"region": pipeline.region, "consoleLink": home, "approval": approval}
        subject = f"APPROVAL NEEDED: AWS CodePipeline {pipeline.name} for action {run.name}"
        try:
            server.part(Authority).client(context.principal, "sns", pipeline.region).publish(
                TopicArn=configuration["NotificationArn"], Subject=subject[:100], Message=json.dumps(message)
            )
        except Exception as error:  # whatever SNS refuses it for
            raise ActionFailed("ConfigurationError", f"NotificationArn: {error}") from None
    run.token = token  # from now on the approval can be given: whoever reads it has been told
    context.changed()
    deadline = time.monotonic() + minutes * MINUTE
    while run.decision is None:
        if time.monotonic() > deadline:
            run.token = None
            raise ActionFailed("JobFailed", f"The approval timed out after {minutes} minutes.")
        context.wait()
    if run.decision != "Approved":
        raise ActionFailed("JobFailed", f"Rejected by {run.updated_by}: {run.summary}")


def invoke_stepfunctions(server: Server, context: ActionContext) -> None:
    """Start an execution of a state machine and wait for its end.

    https://docs.aws.amazon.com/codepipeline/latest/userguide/action-reference-StepFunctions.html
    """
    run = context.run
    machine = context.required("StateMachineArn")
    kind = context.configuration.get("InputType", "Literal")
    given = context.configuration.get("Input")
    if kind == "Literal":
        text = given or "{}"
        if len(text) > LITERAL_CHARACTERS:
            raise ActionFailed(
                "ConfigurationError",
                f"Input has {len(text)} characters; a literal has at most {LITERAL_CHARACTERS}. Use FilePath.",
            )
    elif kind == "FilePath":
        text = _file(context, context.required("Input"))
    else:
        raise ActionFailed("ConfigurationError", f"InputType is {kind!r}; write Literal or FilePath")
    prefix = context.configuration.get("ExecutionNamePrefix")
    region = machine.split(":")[3]
    states = server.part(Authority).client(context.principal, "stepfunctions", region)
    try:
        states.describe_state_machine(stateMachineArn=machine)
        arn = states.start_execution(
            stateMachineArn=machine, name=f"{prefix}-{run.id}" if prefix else run.id, input=text
        )["executionArn"]
    except Exception as error:  # whatever Step Functions refuses it for
        raise ActionFailed("JobFailed", f"The state machine could not be started: {error}") from None
    run.external_id = arn
    run.external_url = f"{CONSOLE}/states/home?region={region}#/executions/details/{arn}"
    run.variables = {"ExecutionArn": arn, "StateMachineArn": machine}
    context.changed()
    while (done := states.describe_execution(executionArn=arn))["status"] in ("RUNNING", "PENDING_REDRIVE"):
        context.wait(_POLL_SECONDS)
    if done["status"] != "SUCCEEDED":
        message = f"The execution {arn} ended as {done['status']}."
        if done.get("error"):
            message += f" Error: {done['error']}."
        if done.get("cause"):
            message += f" Cause: {done['cause']}"
        raise ActionFailed("JobFailed", message)
    for name in context.output_names:
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w") as archive:
            archive.writestr("output.json", done.get("output") or "{}")
        context.write(name, packed.getvalue())


def _file(context: ActionContext, path: str) -> str:
    if not context.input_names:
        raise ActionFailed("ConfigurationError", "InputType FilePath needs an input artifact")
    name = context.input_names[0]
    with zipfile.ZipFile(io.BytesIO(context.read(name))) as archive:
        try:
            data = archive.read(path)
        except KeyError:
            raise ActionFailed("ConfigurationError", f"the artifact {name} has no file {path}") from None
    if len(data) > FILE_BYTES:
        raise ActionFailed(
            "ConfigurationError", f"{path} has {len(data)} bytes; a state machine takes at most {FILE_BYTES}"
        )
    return data.decode()


PROVIDERS: dict[tuple[str, str], Provider] = {
    ("Source", "CodeCommit"): source_codecommit,
    ("Source", "CodeStarSourceConnection"): source_connection,
    ("Build", "CodeBuild"): build_codebuild,
    ("Test", "CodeBuild"): build_codebuild,
    ("Approval", "Manual"): approval_manual,
    ("Invoke", "StepFunctions"): invoke_stepfunctions,
}
