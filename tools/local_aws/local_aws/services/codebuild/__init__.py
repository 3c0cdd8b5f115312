"""AWS CodeBuild: projects as they were given, and builds that run a project's inline buildspec.

Stands for, with its source:

- the API's projects and builds; an omitted setting gets CodeBuild's default, a given one is kept
  https://docs.aws.amazon.com/codebuild/latest/APIReference/API_Project.html
- Lambda compute: no privileged mode, no VPC, no batch, 15 minutes
  https://docs.aws.amazon.com/codebuild/latest/userguide/lambda.html
- phases and what a failure in one of them means for the next
  https://docs.aws.amazon.com/codebuild/latest/userguide/view-build-details.html
- version 0.2 of the buildspec: all commands in one shell
  https://docs.aws.amazon.com/codebuild/latest/userguide/build-spec-ref.html
- the environment variables of a build
  https://docs.aws.amazon.com/codebuild/latest/userguide/build-env-ref-env-vars.html

A build runs on this machine, in a directory of its own that is removed afterwards, in an environment of its
own: ``aws`` and ``python3`` are those of the Python that runs the server, the credentials are those of the
project's service role.
"""

from __future__ import annotations

import contextlib
import functools
import io
import os
import re
import select
import shutil
import sys
import tempfile
import threading
import time
import uuid
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError
from moto.logs.models import logs_backends

from local_aws.kernel.calls import ApiError, Call
from local_aws.kernel.processes import Child
from local_aws.kernel.server import MOTO_LOCK, Server
from local_aws.kernel.shared import one_of
from local_aws.services.codebuild import buildspec as buildspecs
from local_aws.services.iam.authority import Authority
from local_aws.services.iam.principals import Principal

LAMBDA_TYPES = ("LINUX_LAMBDA_CONTAINER", "ARM_LAMBDA_CONTAINER")
LAMBDA_MINUTES = 15
ENVIRONMENT_TYPES = (
    *LAMBDA_TYPES,
    "WINDOWS_CONTAINER",
    "LINUX_CONTAINER",
    "LINUX_GPU_CONTAINER",
    "ARM_CONTAINER",
    "WINDOWS_SERVER_2019_CONTAINER",
    "WINDOWS_SERVER_2022_CONTAINER",
    "LINUX_EC2",
    "ARM_EC2",
    "WINDOWS_EC2",
    "MAC_ARM",
)
SOURCE_TYPES = (
    "BITBUCKET",
    "CODECOMMIT",
    "CODEPIPELINE",
    "GITHUB",
    "GITHUB_ENTERPRISE",
    "GITLAB",
    "GITLAB_SELF_MANAGED",
    "NO_SOURCE",
    "S3",
)
_SETTINGS = (
    "description",
    "source",
    "secondarySources",
    "sourceVersion",
    "secondarySourceVersions",
    "artifacts",
    "secondaryArtifacts",
    "cache",
    "environment",
    "serviceRole",
    "timeoutInMinutes",
    "queuedTimeoutInMinutes",
    "encryptionKey",
    "tags",
    "vpcConfig",
    "logsConfig",
    "fileSystemLocations",
    "buildBatchConfig",
    "concurrentBuildLimit",
    "autoRetryLimit",
)


@dataclass(frozen=True)
class Source:
    """An input of a build: where its zip lies, the identifier of a secondary source, and the revision it was made from."""

    identifier: str = ""
    revision: str = ""
    location: str = ""


@dataclass
class Build:
    """A build, running or done."""

    server: Server
    account: str
    region: str
    project: dict[str, Any]
    number: int
    initiator: str
    sources: tuple[Source, ...]
    environment: dict[str, str]
    spec_text: str
    uuid: str = field(default_factory=lambda: str(uuid.uuid4()))
    started: float = field(default_factory=time.time)
    ended: float | None = None
    status: str = "IN_PROGRESS"
    current_phase: str = "SUBMITTED"
    phases: list[dict[str, Any]] = field(default_factory=list)
    exported: list[dict[str, str]] = field(default_factory=list)
    artifacts: dict[str, bytes] = field(default_factory=dict)
    done: threading.Event = field(default_factory=threading.Event)
    stop_requested: threading.Event = field(default_factory=threading.Event)

    @property
    def id(self) -> str:
        return f"{self.project['name']}:{self.uuid}"

    def acting(self) -> Principal:
        """The project's role, as CodeBuild assumes it.

        https://docs.aws.amazon.com/codebuild/latest/userguide/cross-service-confused-deputy-prevention.html
        """
        return self.server.part(Authority).act_as(
            "codebuild.amazonaws.com",
            self.project["serviceRole"],
            f"AWSCodeBuild-{self.uuid}",
            self.region,
            {"aws:SourceArn": self.project["arn"], "aws:SourceAccount": self.account},
        )

    @property
    def arn(self) -> str:
        return f"arn:aws:codebuild:{self.region}:{self.account}:build/{self.id}"

    @property
    def minutes(self) -> int:
        limit = int(self.project["timeoutInMinutes"])
        return min(limit, LAMBDA_MINUTES) if self.project["environment"]["type"] in LAMBDA_TYPES else limit

    @property
    def log_group(self) -> str | None:
        config = (self.project.get("logsConfig") or {}).get("cloudWatchLogs") or {}
        if config.get("status") == "DISABLED":
            return None
        return config.get("groupName") or f"/aws/codebuild/{self.project['name']}"

    @property
    def log_stream(self) -> str:
        config = (self.project.get("logsConfig") or {}).get("cloudWatchLogs") or {}
        return "/".join(part for part in (config.get("streamName"), self.uuid) if part)

    def describe(self) -> dict[str, Any]:
        """Return the Build structure of the API."""
        primary = next((source for source in self.sources if not source.identifier), None)
        document = {
            "id": self.id,
            "arn": self.arn,
            "buildNumber": self.number,
            "startTime": round(self.started, 3),
            "currentPhase": self.current_phase,
            "buildStatus": self.status,
            "projectName": self.project["name"],
            "phases": [dict(phase) for phase in self.phases],
            "source": self.project["source"],
            "secondarySources": self.project.get("secondarySources") or [],
            "artifacts": {"location": ""},
            "cache": self.project.get("cache") or {"type": "NO_CACHE"},
            "environment": self.project["environment"],
            "serviceRole": self.project["serviceRole"],
            "logs": self._logs(),
            "timeoutInMinutes": self.minutes,
            "queuedTimeoutInMinutes": self.project["queuedTimeoutInMinutes"],
            "buildComplete": self.ended is not None,
            "initiator": self.initiator,
            "encryptionKey": self.project["encryptionKey"],
            "exportedEnvironmentVariables": self.exported,
        }
        if primary:
            document |= {"sourceVersion": primary.location, "resolvedSourceVersion": primary.revision}
        if self.ended is not None:
            document["endTime"] = round(self.ended, 3)
        return document

    def _logs(self) -> dict[str, Any]:
        s3_logs = (self.project.get("logsConfig") or {}).get("s3Logs") or {"status": "DISABLED"}
        if self.log_group is None:
            return {"cloudWatchLogs": {"status": "DISABLED"}, "s3Logs": s3_logs}
        group = self.log_group.replace("/", "$252F")
        stream = self.log_stream.replace("/", "$252F")
        return {
            "groupName": self.log_group,
            "streamName": self.log_stream,
            "deepLink": f"https://console.aws.amazon.com/cloudwatch/home?region={self.region}"
            f"#logsV2:log-groups/log-group/{group}/log-events/{stream}",
            "cloudWatchLogsArn": f"arn:aws:logs:{self.region}:{self.account}:log-group:{self.log_group}"
            f":log-stream:{self.log_stream}",
            "cloudWatchLogs": {"status": "ENABLED"},
            "s3Logs": s3_logs,
        }


class CodeBuild:
    """All projects and builds of all accounts and Regions."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self._lock = threading.Lock()
        self._projects: dict[tuple[str, str, str], dict[str, Any]] = {}
        self._builds: dict[str, Build] = {}
        self._numbers: dict[tuple[str, str, str], int] = {}

    # --- projects -----------------------------------------------------------------------------------------

    def find(self, account: str, region: str, name: str) -> dict[str, Any]:
        """Return a project by its name or ARN, or raise what the API answers when there is none."""
        name = name.rpartition(":project/")[2]
        try:
            return self._projects[account, region, name]
        except KeyError:
            arn = f"arn:aws:codebuild:{region}:{account}:project/{name}"
            raise ApiError("ResourceNotFoundException", f"Project cannot be found: {arn}") from None

    def create_project(self, call: Call) -> dict[str, Any]:
        name = call.input.get("name") or ""
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9\-_]{1,149}", name):
            raise _invalid("Only alphanumeric characters, dash, and underscore are supported")
        key = (call.account, call.region, name)
        arn = f"arn:aws:codebuild:{call.region}:{call.account}:project/{name}"
        now = round(time.time(), 3)
        project: dict[str, Any] = {"name": name, "arn": arn}
        project |= {
            setting: call.input[setting] for setting in _SETTINGS if call.input.get(setting) is not None
        }
        _complete(project, call)
        _validate(project)
        project |= {"created": now, "lastModified": now, "badge": {"badgeEnabled": False}}
        project.setdefault("projectVisibility", "PRIVATE")
        with self._lock:
            if key in self._projects:
                raise ApiError("ResourceAlreadyExistsException", f"Project already exists: {arn}")
            self._projects[key] = project
        return {"project": project}

    def update_project(self, call: Call) -> dict[str, Any]:
        project = self.find(call.account, call.region, call.input.get("name") or "")
        changed = {**project, **{key: call.input[key] for key in _SETTINGS if key in call.input}}
        _complete(changed, call)
        _validate(changed)
        changed["lastModified"] = round(time.time(), 3)
        self._projects[call.account, call.region, project["name"]] = changed
        return {"project": changed}

    def batch_get_projects(self, call: Call) -> dict[str, Any]:
        found, missing = [], []
        for name in call.input.get("names") or ():
            try:
                found.append(self.find(call.account, call.region, name))
            except ApiError:
                missing.append(name)
        return {"projects": found, "projectsNotFound": missing}

    def delete_project(self, call: Call) -> dict[str, Any]:
        name = (call.input.get("name") or "").rpartition(":project/")[2]
        self._projects.pop((call.account, call.region, name), None)
        return {}

    # --- builds -------------------------------------------------------------------------------------------

    def start(
        self,
        account: str,
        region: str,
        project_name: str,
        *,
        sources: tuple[Source, ...] = (),
        environment: Mapping[str, str] | None = None,
        initiator: str = "local",
        spec_text: str | None = None,
    ) -> Build:
        """Start a build in a thread of its own; ``done`` of what is returned is set at its end."""
        project = dict(self.find(account, region, project_name))
        key = (account, region, project["name"])
        variables = {}
        for variable in project["environment"].get("environmentVariables") or ():
            if variable.get("type", "PLAINTEXT") != "PLAINTEXT":
                raise _invalid(f"{variable['name']}: local_aws has no {variable['type']} variables")
            variables[variable["name"]] = variable["value"]
        with self._lock:
            number = self._numbers[key] = self._numbers.get(key, 0) + 1
            build = Build(
                server=self.server,
                account=account,
                region=region,
                project=project,
                number=number,
                initiator=initiator,
                sources=sources,
                environment={**variables, **(environment or {})},
                spec_text=spec_text or project["source"].get("buildspec") or "",
            )
            self._builds[build.id] = build
        threading.Thread(target=_Run(build).run, name=f"build {build.id}", daemon=True).start()
        return build

    def start_build(self, call: Call) -> dict[str, Any]:
        project = self.find(call.account, call.region, call.input.get("projectName") or "")
        kind = call.input.get("sourceTypeOverride") or project["source"]["type"]
        if kind != "NO_SOURCE":
            raise _invalid(
                f"the project's source is {kind}: local_aws starts such builds from CodePipeline only; "
                "by hand, give sourceTypeOverride NO_SOURCE"
            )
        build = self.start(
            call.account,
            call.region,
            project["name"],
            environment={v["name"]: v["value"] for v in call.input.get("environmentVariablesOverride") or ()},
            spec_text=call.input.get("buildspecOverride"),
        )
        return {"build": build.describe()}

    def stop_build(self, call: Call) -> dict[str, Any]:
        build = self._builds.get(call.input.get("id") or "")
        if build is None:
            raise ApiError("ResourceNotFoundException", f"Build {call.input.get('id')} does not exist")
        build.stop_requested.set()
        build.done.wait(10)
        return {"build": build.describe()}

    def batch_get_builds(self, call: Call) -> dict[str, Any]:
        wanted = [str(entry).rpartition(":build/")[2] for entry in call.input.get("ids") or ()]
        found = [self._builds[entry].describe() for entry in wanted if entry in self._builds]
        return {"builds": found, "buildsNotFound": [entry for entry in wanted if entry not in self._builds]}


def _invalid(message: str) -> ApiError:
    return ApiError("InvalidInputException", message)


def _complete(project: dict[str, Any], call: Call) -> None:
    """Set what CodeBuild sets where nothing was given."""
    defaults = {
        "timeoutInMinutes": 60,
        "queuedTimeoutInMinutes": 480,
        "encryptionKey": f"arn:aws:kms:{call.region}:{call.account}:alias/aws/s3",
        "cache": {"type": "NO_CACHE"},
        "tags": [],
    }
    for key, value in defaults.items():
        if not project.get(key):
            project[key] = value


def _validate(project: Mapping[str, Any]) -> None:
    source = project.get("source") or {}
    artifacts = project.get("artifacts") or {}
    environment = project.get("environment") or {}
    if source.get("type") not in SOURCE_TYPES:
        raise _invalid("Invalid type provided: Project source type")
    if source["type"] not in ("CODEPIPELINE", "NO_SOURCE") and not source.get("location"):
        raise _invalid("Project source location is required")
    if source["type"] == "NO_SOURCE" and not source.get("buildspec"):
        raise _invalid("Project source type NO_SOURCE requires a valid buildspec as input")
    if artifacts.get("type") not in ("CODEPIPELINE", "S3", "NO_ARTIFACTS"):
        raise _invalid("Invalid type provided: Artifact type")
    if (source["type"] == "CODEPIPELINE") != (artifacts["type"] == "CODEPIPELINE"):
        raise _invalid("Invalid artifacts: source and artifacts are both of type CODEPIPELINE, or neither is")
    if artifacts["type"] == "S3" and not artifacts.get("location"):
        raise _invalid("Project artifacts location is required")
    kind, compute = environment.get("type"), environment.get("computeType", "")
    if kind not in ENVIRONMENT_TYPES:
        raise _invalid(f"Invalid type provided: {kind}")
    if (kind in LAMBDA_TYPES) != compute.startswith("BUILD_LAMBDA_"):
        raise _invalid(f"Invalid compute type provided: {compute} with environment type {kind}")
    if kind in LAMBDA_TYPES and environment.get("privilegedMode"):
        raise _invalid("Privileged mode is not available on Lambda compute")
    if kind in LAMBDA_TYPES and project.get("vpcConfig", {}).get("vpcId"):
        raise _invalid("VPC connectivity is not available on Lambda compute")
    if not re.match(r"arn:aws[\w-]*:iam::\d{12}:role/", project.get("serviceRole") or ""):
        raise _invalid(f"Invalid service role: {project.get('serviceRole')!r} is not the ARN of a role")


class _Failed(Exception):
    """A phase failed; the code and message go into its context."""

    def __init__(self, code: str, message: str, status: str = "FAILED") -> None:
        super().__init__(message)
        self.code, self.message, self.status = code, message, status


class _Run:
    """A build while it runs, in its own thread."""

    def __init__(self, build: Build) -> None:
        self.build = build
        self.server = build.server
        self.home = self.server.state_dir / "builds" / build.uuid
        self.source = self.home / "output" / "src" / "src"
        self.log = _Log(build)
        self.shell: _Shell | None = None
        self.variables: dict[str, str] = {}
        self.spec = buildspecs.Buildspec({})
        self.deadline = time.monotonic() + build.minutes * 60

    def run(self) -> None:
        build = self.build
        try:
            self._run()
        except Exception as error:
            if not self.server.stopping.is_set():
                self.server.log_error(f"build {build.id}")
            self.log.say(f"local_aws: {type(error).__name__}: {error}")
            build.status = "FAULT"
        finally:
            if self.shell:
                self.shell.close()
            with contextlib.suppress(Exception):  # the log group may be gone, with the rest of the module
                self.log.flush()
            shutil.rmtree(self.home, ignore_errors=True)
            if build.status == "IN_PROGRESS":
                build.status = "SUCCEEDED"
            build.ended = time.time()
            build.current_phase = "COMPLETED"
            build.phases.append({"phaseType": "COMPLETED", "startTime": round(build.ended, 3)})
            build.done.set()

    def _run(self) -> None:
        build = self.build
        for name in ("SUBMITTED", "QUEUED", "PROVISIONING"):
            self._phase(name, lambda: None)
        goes_on = self._phase("DOWNLOAD_SOURCE", self._download)
        for name in buildspecs.PHASES:
            # A failed BUILD is followed by POST_BUILD; any other failure ends the commands.
            if goes_on or (name == "post_build" and self._last_failure == "BUILD"):
                goes_on = self._phase(name.upper(), functools.partial(self._commands, name)) and goes_on
        self._export()
        if goes_on or self._last_failure in ("BUILD", "POST_BUILD"):
            self._phase("UPLOAD_ARTIFACTS", self._upload)
        self._phase("FINALIZING", lambda: None)
        self.log.say(f"Build {build.id} ended: {build.status.replace('IN_PROGRESS', 'SUCCEEDED')}")

    _last_failure = ""

    def _phase(self, name: str, action: Callable[[], None]) -> bool:
        """Run a phase; False where it failed in a way that ends the build's commands."""
        build = self.build
        build.current_phase = name
        phase: dict[str, Any] = {"phaseType": name, "startTime": round(time.time(), 3)}
        build.phases.append(phase)
        status, context = "SUCCEEDED", {"statusCode": "", "message": ""}
        try:
            action()
        except _Failed as error:
            status, context = error.status, {"statusCode": error.code, "message": error.message}
        ended = round(time.time(), 3)
        phase |= {
            "phaseStatus": status,
            "endTime": ended,
            "durationInSeconds": int(ended - phase["startTime"]),
            "contexts": [context],
        }
        if name in ("SUBMITTED", "QUEUED", "PROVISIONING"):
            return True
        self.log.say(f"Phase complete: {name} State: {status}")
        self.log.say(f"Phase context status code: {context['statusCode']} Message: {context['message']}")
        if status == "SUCCEEDED":
            return True
        if build.status == "IN_PROGRESS" or status != "FAILED":
            build.status = status
        phase_spec = self.spec.phases.get(name.lower())
        if status == "FAILED" and phase_spec and phase_spec.on_failure == "CONTINUE":
            return True
        self._last_failure = name if status == "FAILED" else ""
        return False

    # --- phases -------------------------------------------------------------------------------------------

    def _download(self) -> None:
        build = self.build
        self.log.say("Running on CodeBuild (local_aws)")
        for source in build.sources:
            where = self.source.with_name(source.identifier or "src")
            where.mkdir(parents=True, exist_ok=True)
            _unzip(self._fetch(source), where)
        self.source.mkdir(parents=True, exist_ok=True)
        self.log.say(f"CODEBUILD_SRC_DIR={self.source}")
        text = build.spec_text
        try:
            if "\n" not in text:
                path = self.source / (text or "buildspec.yml")
                if not path.is_file():
                    raise buildspecs.BuildspecError(f"stat {path}: no such file or directory")
                text = path.read_text()
            self.spec = buildspecs.parse(text)
        except buildspecs.BuildspecError as error:
            raise _Failed("YAML_FILE_ERROR", f"YAML_FILE_ERROR: {error}") from None
        except UnicodeDecodeError as error:
            raise _Failed(
                "YAML_FILE_ERROR", f"YAML_FILE_ERROR: the buildspec is not UTF-8: {error}"
            ) from None
        for directory in ("home", "tmp"):
            (self.home / directory).mkdir()
        self.variables = self._environment()

    def _fetch(self, source: Source) -> bytes:
        """A source's zip, by the build's own role."""
        bucket, _, key = source.location.removeprefix("arn:aws:s3:::").partition("/")
        try:
            s3 = self.server.part(Authority).client(self.build.acting(), "s3", self.build.region)
            return bytes(s3.get_object(Bucket=bucket, Key=key)["Body"].read())
        except (ApiError, ClientError) as error:
            raise _Failed(
                "CLIENT_ERROR", f"{error} for primary source and source version {source.location}"
            ) from None

    def _environment(self) -> dict[str, str]:
        build, server = self.build, self.server
        try:
            keys = build.acting().keys
        except ApiError as error:
            raise _Failed("CLIENT_ERROR", error.message) from None
        assert keys is not None  # noqa: S101 - for the type checker
        primary = next((source for source in build.sources if not source.identifier), None)
        search = [str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)]
        values = {
            "PATH": os.pathsep.join(search),
            "HOME": str(self.home / "home"),
            "TMPDIR": str(self.home / "tmp"),
            "LANG": "C.UTF-8",
            "AWS_ACCESS_KEY_ID": keys[0],
            "AWS_SECRET_ACCESS_KEY": keys[1],
            "AWS_SESSION_TOKEN": keys[2],
            "AWS_REGION": build.region,
            "AWS_DEFAULT_REGION": build.region,
            "AWS_ENDPOINT_URL": server.endpoint,
            "AWS_EC2_METADATA_DISABLED": "true",
            "CODEBUILD_BUILD_ARN": build.arn,
            "CODEBUILD_BUILD_ID": build.id,
            "CODEBUILD_BUILD_IMAGE": build.project["environment"].get("image", ""),
            "CODEBUILD_BUILD_NUMBER": str(build.number),
            "CODEBUILD_BUILD_SUCCEEDING": "1",
            "CODEBUILD_CI": "true",
            "CI": "true",
            "CODEBUILD_INITIATOR": build.initiator,
            "CODEBUILD_KMS_KEY_ID": build.project["encryptionKey"],
            "CODEBUILD_LOG_PATH": build.log_stream,
            "CODEBUILD_PROJECT_ARN": build.project["arn"],
            "CODEBUILD_RESOLVED_SOURCE_VERSION": primary.revision if primary else "",
            "CODEBUILD_SOURCE_REPO_URL": "",
            "CODEBUILD_SOURCE_VERSION": primary.location if primary else "",
            "CODEBUILD_SRC_DIR": str(self.source),
            "CODEBUILD_START_TIME": str(int(build.started * 1000)),
        }
        for source in build.sources:
            if source.identifier:
                values[f"CODEBUILD_SRC_DIR_{source.identifier}"] = str(
                    self.source.with_name(source.identifier)
                )
        # The project's and the action's variables win over those of the buildspec.
        return {**self.spec.variables, **values, **build.environment}

    def _commands(self, name: str) -> None:
        phase = self.spec.phases.get(name)
        if phase is None:
            return
        self.log.say(f"Entering phase {name.upper()}")
        failure: _Failed | None = None
        for command in phase.commands:
            failure = self._command(command)
            if failure:
                break
        if failure and failure.status == "FAILED":
            self.variables["CODEBUILD_BUILD_SUCCEEDING"] = "0"
            if self.shell and self.shell.alive:
                self.shell.run("export CODEBUILD_BUILD_SUCCEEDING=0", self.deadline)
        for command in phase.last if failure is None or failure.status == "FAILED" else ():
            failed = self._command(command)
            failure = failure or failed
        if failure:
            raise failure

    def _command(self, command: str) -> _Failed | None:
        shown = command.rstrip()
        self.log.say(f"Running command {shown}")
        status = self._open_shell().run(command, self.deadline, self.build.stop_requested)
        if self.build.stop_requested.is_set():
            return _Failed("", "", "STOPPED")
        if status is None:
            return _Failed("BUILD_TIMED_OUT", "Build has timed out. ", "TIMED_OUT")
        if status == 0:
            return None
        self.log.say(f"Command did not exit successfully {shown} exit status {status}")
        return _Failed(
            "COMMAND_EXECUTION_ERROR", f"Error while executing command: {shown}. Reason: exit status {status}"
        )

    def _open_shell(self) -> _Shell:
        """Return the build's shell; a new one where a command has ended it."""
        if self.shell and not self.shell.alive:
            self.shell.close()
            self.shell = None
        if self.shell is None:
            self.shell = _Shell(
                self.server,
                self.home,
                self.source,
                environment=self.variables,
                shell=self.spec.shell,
                log=self.log,
            )
        return self.shell

    def _export(self) -> None:
        if self.spec.exported and self.shell:
            values = self.shell.environment(self.deadline)
            self.build.exported = [{"name": n, "value": values.get(n, "")} for n in self.spec.exported]

    def _upload(self) -> None:
        for identifier, artifact in self.spec.artifacts.items():
            try:
                self.build.artifacts[identifier] = artifact.pack(self.source)
            except buildspecs.NoArtifacts as error:
                raise _Failed("CLIENT_ERROR", str(error)) from None


def _unzip(data: bytes, where: Path) -> None:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        for info in archive.infolist():
            path = Path(archive.extract(info, where))
            mode = (info.external_attr >> 16) & 0o777
            if mode and path.is_file():
                path.chmod(mode)


class _Shell:
    """One shell in which all commands of a build run, so that ``cd`` and ``export`` last.

    The names of files with commands come through a pipe, exit statuses go back through another; the commands
    see neither.
    """

    DRIVER = """\
exec 8<'{control}' 9>'{status}'
while IFS= read -r local_aws_command <&8; do
  . "$local_aws_command" </dev/null 8<&- 9>&-
  echo "$?" >&9
done
"""

    def __init__(
        self, server: Server, home: Path, cwd: Path, *, environment: Mapping[str, str], shell: str, log: _Log
    ) -> None:
        self._log = log
        self._directory = Path(tempfile.mkdtemp(prefix="shell-", dir=home))
        self._count = 0
        pipes = {}
        for name in ("control", "status"):
            pipes[name] = self._directory / name
            os.mkfifo(pipes[name])
        self._control = os.open(pipes["control"], os.O_RDWR)
        self._status = os.open(pipes["status"], os.O_RDWR | os.O_NONBLOCK)
        self._output, write = os.pipe()
        os.set_blocking(self._output, False)
        driver = self._directory / "driver.sh"
        driver.write_text(self.DRIVER.format(**pipes))
        # /bin/sh of Amazon Linux is bash in POSIX mode; so is this one, where there is a bash.
        bash = shutil.which("bash")
        program = [bash, "--posix"] if shell == "sh" and bash else [shell]
        try:
            self._child: Child = server.processes.start(
                [*program, str(driver)], env=environment, cwd=cwd, output=write
            )
        finally:
            os.close(write)

    @property
    def alive(self) -> bool:
        return self._child.running

    def run(self, command: str, deadline: float, stop: threading.Event | None = None) -> int | None:
        """Run a command and log what it prints; its exit status, or None if time was up or it was stopped."""
        self._count += 1
        script = self._directory / f"{self._count}.sh"
        script.write_text(command + "\n")
        os.write(self._control, f"{script}\n".encode())
        while True:
            ready, _, _ = select.select([self._status, self._output], [], [], 0.1)
            if self._status in ready:
                status = int(os.read(self._status, 100).split()[0])
                self._drain()
                return status
            if self._output in ready:
                self._drain()
            if not self.alive:  # the command was ``exit``, or ended a shell with ``set -e``
                self._drain()
                return self._child.wait() or 0
            if time.monotonic() > deadline or (stop and stop.is_set()):
                self._child.kill()
                self._drain()
                return None

    def environment(self, deadline: float) -> dict[str, str]:
        """Return the shell's exported variables; nothing where the shell has gone."""
        if not self.alive:
            return {}
        dump, script = self._directory / "environment", self._directory / "environment.py"
        script.write_text(
            'import os, sys; open(sys.argv[1], "wb").write(b"\\0".join(map(b"=".join, os.environb.items())))'
        )
        self.run(f"'{sys.executable}' -S -E '{script}' '{dump}'", deadline)
        pairs = (entry.decode(errors="replace").partition("=") for entry in dump.read_bytes().split(b"\0"))
        return {name: value for name, _, value in pairs}

    def _drain(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while chunk := os.read(self._output, 65536):
                self._log.write(chunk)

    def close(self) -> None:
        """End the shell and everything it has started."""
        self._child.kill()
        self._drain()
        for descriptor in (self._control, self._status, self._output):
            os.close(descriptor)


class _Log:
    """A build's log stream in CloudWatch Logs."""

    def __init__(self, build: Build) -> None:
        self._build = build
        self._lines: list[dict[str, Any]] = []
        self._partial = b""
        self._made = False
        self._sent = time.monotonic()

    def say(self, message: str) -> None:
        """Log what CodeBuild itself has to say."""
        if self._partial:
            self.write(b"\n")
        stamp = time.strftime("%Y/%m/%d %H:%M:%S", time.gmtime())
        self._add(f"[Container] {stamp} {message}\n")

    def write(self, chunk: bytes) -> None:
        """Log what a command prints."""
        *lines, self._partial = (self._partial + chunk).split(b"\n")
        for line in lines:
            self._add(line.decode(errors="replace") + "\n")

    def _add(self, message: str) -> None:
        self._lines.append({"timestamp": int(time.time() * 1000), "message": message})
        if time.monotonic() - self._sent > 1:
            self.flush()

    def flush(self) -> None:
        group, stream = self._build.log_group, self._build.log_stream
        lines, self._lines = self._lines, []
        self._sent = time.monotonic()
        if group is None or not lines:
            return
        with contextlib.suppress(
            ApiError, ClientError
        ):  # a build runs without the permission, and leaves no log
            self._put(group, stream, lines)

    def _put(self, group: str, stream: str, lines: list[dict[str, Any]]) -> None:
        build = self._build
        authority, principal = build.server.part(Authority), build.acting()
        logs = authority.client(principal, "logs", build.region)
        if not self._made:
            with MOTO_LOCK:
                exists = group in logs_backends[build.account][build.region].groups
            if not exists:
                arn = f"arn:aws:logs:{build.region}:{build.account}:log-group:{group}"
                authority.demand(principal, "logs:CreateLogGroup", arn, region=build.region)
                build.server.client("logs", build.region, build.account).create_log_group(logGroupName=group)
            logs.create_log_stream(logGroupName=group, logStreamName=stream)
            self._made = True
        logs.put_log_events(logGroupName=group, logStreamName=stream, logEvents=lines)


OPERATIONS: dict[str, Callable[[CodeBuild, Call], dict[str, Any]]] = {
    "CreateProject": CodeBuild.create_project,
    "UpdateProject": CodeBuild.update_project,
    "DeleteProject": CodeBuild.delete_project,
    "BatchGetProjects": CodeBuild.batch_get_projects,
    "StartBuild": CodeBuild.start_build,
    "StopBuild": CodeBuild.stop_build,
    "BatchGetBuilds": CodeBuild.batch_get_builds,
}


def of(server: Server) -> CodeBuild:
    """Return the server's CodeBuild, for the pipeline's build action."""
    return one_of(server, CodeBuild, lambda: CodeBuild(server))


def install(server: Server) -> None:
    service = of(server)
    for name, operation in OPERATIONS.items():
        server.operation("codebuild", name)(functools.partial(operation, service))
