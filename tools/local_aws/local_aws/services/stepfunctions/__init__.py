"""AWS Step Functions around moto's interpreter of the Amazon States Language.

Stands for, with its source:

- ValidateStateMachineDefinition, also at create and update: a transition to a state that is not there is refused
  https://docs.aws.amazon.com/step-functions/latest/apireference/API_ValidateStateMachineDefinition.html
- StartExecution: a name of its own where none is given; a used name is refused, but for the same input while the
  execution runs https://docs.aws.amazon.com/step-functions/latest/apireference/API_StartExecution.html
- StopExecution ends an execution at once, whatever its tasks do: a Lambda function that runs is not stopped
  https://docs.aws.amazon.com/step-functions/latest/apireference/API_StopExecution.html
- DescribeExecution with error, cause, stopDate and redriveStatus in every status
  https://docs.aws.amazon.com/step-functions/latest/apireference/API_DescribeExecution.html
- GetExecutionHistory in pages, in either order
  https://docs.aws.amazon.com/step-functions/latest/apireference/API_GetExecutionHistory.html
- execution logs, at the level asked for, with or without data
  https://docs.aws.amazon.com/step-functions/latest/dg/cw-logs.html

moto parses the definition again for each execution, a seventh of a second of computing; here a text is parsed once.

Missing: RedriveExecution, and what moto's interpreter lacks (JSONata, ItemBatcher, tolerated failures).
The event "Step Functions Execution Status Change" is put by ``executions.py``.
"""

from __future__ import annotations

import contextlib
import copy
import functools
import json
import logging
import re
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import boto3
from botocore.config import Config
from moto.logs.models import logs_backends
from moto.stepfunctions.parser.api import ExecutionAbortedEventDetails, HistoryEventType
from moto.stepfunctions.parser.asl.antlr.runtime.ASLParser import ASLParser
from moto.stepfunctions.parser.asl.component.common.timeouts.timeout import TimeoutSeconds
from moto.stepfunctions.parser.asl.eval.evaluation_details import ExecutionDetails
from moto.stepfunctions.parser.asl.eval.event.event_detail import EventDetails
from moto.stepfunctions.parser.asl.eval.event.logging import is_logging_enabled_for
from moto.stepfunctions.parser.asl.eval.program_state import ProgramRunning, ProgramStopped
from moto.stepfunctions.parser.asl.parse.asl_parser import AmazonStateLanguageParser
from moto.stepfunctions.parser.backend.execution import Execution
from moto.stepfunctions.parser.models import stepfunctions_parser_backends

from local_aws.kernel.calls import Answer, ApiError, Call
from local_aws.kernel.patches import patch
from local_aws.kernel.server import MOTO_LOCK, Server
from local_aws.services.iam.authority import Authority
from local_aws.services.iam.principals import Principal

INPUT_BYTES = 256 * 1024
_NAME = re.compile(r"[^\s<>{}\[\]?*\"#%\\^|~`$&,;:/\x00-\x1f\x7f-\x9f]{1,80}")
_LOCK = threading.RLock()


# --- definitions ------------------------------------------------------------------------------------------

_parse = ASLParser.state_machine  # moto's own: this module is imported before anything is patched
_TREES: dict[str, Any] = {}
_MOST_TREES = 32


def _parse_once(parser: ASLParser) -> Any:
    """Parse a definition, or return the tree of its text: moto's visitors read trees and write nothing into them."""
    text = parser.getTokenStream().tokenSource.inputStream.strdata
    if text in _TREES:
        return _TREES[text]
    tree = _parse(parser)
    if parser.getNumberOfSyntaxErrors() == 0:
        while len(_TREES) >= _MOST_TREES:
            _TREES.pop(next(iter(_TREES)), None)
        _TREES[text] = tree
    return tree


def diagnose(definition: str) -> list[dict[str, str]]:
    """Return what is wrong with a definition, as ValidateStateMachineDefinition's diagnostics."""
    try:
        document = json.loads(definition)
    except ValueError as error:
        return [_diagnostic("INVALID_JSON_DESCRIPTION", f"The definition is not JSON: {error}", "")]
    try:
        AmazonStateLanguageParser.parse(definition)
    except Exception as error:  # the parser raises many kinds
        return [_diagnostic("SCHEMA_VALIDATION_FAILED", f"{type(error).__name__}: {error}"[:4000], "/")]
    return [
        _diagnostic("MISSING_TRANSITION_TARGET", f"Missing 'Next' target: {target}", location)
        for target, location in _missing_targets(document, "")
    ]


def _diagnostic(code: str, message: str, location: str) -> dict[str, str]:
    return {"severity": "ERROR", "code": code, "message": message, "location": location}


def _missing_targets(machine: dict[str, Any], where: str) -> Iterator[tuple[str, str]]:
    """Find the transitions of a machine, and of those inside it, that lead nowhere."""
    states = machine.get("States") or {}
    if machine.get("StartAt") not in states:
        yield str(machine.get("StartAt")), f"{where}/StartAt"
    for name, state in states.items():
        path = f"{where}/States/{name}"
        places = [(state.get(key), f"{path}/{key}") for key in ("Next", "Default")]
        for key in ("Choices", "Catch"):
            for number, entry in enumerate(state.get(key) or ()):
                places.append((entry.get("Next"), f"{path}/{key}[{number}]/Next"))
        for target, location in places:
            if target is not None and target not in states:
                yield str(target), location
        for key in ("ItemProcessor", "Iterator"):
            if key in state:
                yield from _missing_targets(state[key], f"{path}/{key}")
        for number, branch in enumerate(state.get("Branches") or ()):
            yield from _missing_targets(branch, f"{path}/Branches[{number}]")


def validate_definition(call: Call) -> dict[str, Any]:
    diagnostics = diagnose(call.input.get("definition") or "")
    return {"result": "FAIL" if diagnostics else "OK", "diagnostics": diagnostics, "truncated": False}


def save_machine(call: Call) -> Answer:
    """Let moto create or update a machine whose definition is right."""
    if call.input.get("definition") is not None:
        diagnostics = diagnose(call.input["definition"])
        if diagnostics:
            found = "; ".join(
                f"{entry['code']}: {entry['message']} at {entry['location']}" for entry in diagnostics
            )
            raise ApiError("InvalidDefinition", f"Invalid State Machine Definition: '{found}'")
    _check_log_delivery(call)
    return call.forward()


# https://docs.aws.amazon.com/step-functions/latest/dg/cw-logs.html
_LOG_DELIVERY = (
    *("CreateLogDelivery", "GetLogDelivery", "UpdateLogDelivery", "DeleteLogDelivery", "ListLogDeliveries"),
    *("PutResourcePolicy", "DescribeResourcePolicies", "DescribeLogGroups"),
)


def _check_log_delivery(call: Call) -> None:
    """With logging on, the machine's role has to be allowed to set up its delivery."""
    if (call.input.get("loggingConfiguration") or {}).get("level", "OFF") == "OFF":
        return
    arn = call.input.get("stateMachineArn")
    name = call.input.get("name") or str(arn).rpartition(":")[2]
    role_arn = call.input.get("roleArn") or _machine(call, str(arn)).roleArn
    machine_arn = f"arn:aws:states:{call.region}:{call.account}:stateMachine:{name}"
    principal = _assume(call, machine_arn, role_arn)
    try:
        for action in _LOG_DELIVERY:
            call.server.part(Authority).demand(principal, f"logs:{action}", "*", region=call.region)
    except ApiError as error:
        raise ApiError(
            "AccessDeniedException",
            f"The state machine IAM Role is not authorized to access the Log Destination: {error.message}",
        ) from None


# --- machines ---------------------------------------------------------------------------------------------


def _backend(call: Call) -> Any:
    return stepfunctions_parser_backends[call.account][call.region]


def _machine(call: Call, arn: str) -> Any:
    """Return a state machine. There are no versions and aliases: the module publishes none."""
    for machine in _backend(call).state_machines:
        if machine.arn == arn:
            return machine
    raise ApiError("StateMachineDoesNotExist", f"State Machine Does Not Exist: '{arn}'")


def list_versions(call: Call) -> dict[str, Any]:
    """Terraform's provider asks before it deletes a machine."""
    _machine(call, call.input.get("stateMachineArn") or "")
    return {"stateMachineVersions": []}


def delete_machine(call: Call) -> Answer:
    """Delete a machine; its executions end."""
    for machine in _backend(call).state_machines:
        if machine.arn == call.input.get("stateMachineArn"):
            for execution in list(machine.executions):
                _stop(execution, None, "The state machine was deleted")
    return call.forward()


# --- executions -------------------------------------------------------------------------------------------


def start_execution(call: Call) -> dict[str, Any]:
    machine = _machine(call, call.input.get("stateMachineArn") or "")
    name = call.input.get("name") or str(uuid.uuid4())
    if not _NAME.fullmatch(name):
        raise ApiError("InvalidName", f"Invalid Name: '{name}'")
    text = call.input.get("input") or "{}"
    if len(text.encode()) > INPUT_BYTES:
        raise ApiError(
            "ValidationException",
            "1 validation error detected: Value at 'input' failed to satisfy constraint: Member must have length "
            f"less than or equal to {INPUT_BYTES}",
        )
    try:
        json.loads(text)
    except ValueError as error:
        raise ApiError("InvalidExecutionInput", f"Invalid State Machine Execution Input: '{error}'") from None
    with _LOCK:
        for other in machine.executions:
            if other.name == name:
                if other.status == "RUNNING" and other.execution_input == text:
                    return {"executionArn": other.execution_arn, "startDate": _epoch(other.start_date)}
                raise ApiError("ExecutionAlreadyExists", f"Execution Already Exists: '{other.execution_arn}'")
        _act(call, machine, machine.roleArn)
        execution = _execution(call, machine, name, text)
        machine.executions.append(execution)
        execution.start()
    return {"executionArn": execution.execution_arn, "startDate": _epoch(execution.start_date)}


def _act(call: Call, machine: Any, role_arn: str) -> None:
    """Assume the machine's role; with tracing on, ask whether it may write traces.

    https://docs.aws.amazon.com/step-functions/latest/dg/procedure-create-iam-role.html
    https://docs.aws.amazon.com/step-functions/latest/dg/concepts-xray-tracing.html
    """
    authority = call.server.part(Authority)
    principal = _assume(call, machine.arn, role_arn)
    call.server.part(_Clients).acting[role_arn] = principal
    if (machine.tracingConfiguration or {}).get("enabled"):
        for action in ("PutTraceSegments", "PutTelemetryRecords", "GetSamplingRules", "GetSamplingTargets"):
            with contextlib.suppress(ApiError):  # no traces then
                authority.demand(principal, f"xray:{action}", "*", region=call.region)


def _assume(call: Call, machine_arn: str, role_arn: str) -> Principal:
    try:
        return call.server.part(Authority).act_as(
            "states.amazonaws.com",
            role_arn,
            machine_arn.rpartition(":")[2],
            call.region,
            {"aws:SourceArn": machine_arn, "aws:SourceAccount": call.account},
        )
    except ApiError:
        raise ApiError(
            "AccessDeniedException",
            "Neither the global service principal states.amazonaws.com, nor the regional one is authorized to assume the "
            "provided role.",
        ) from None


class _Execution(Execution):  # type: ignore[misc]  # moto has no types
    """Gives the context object's times as text, as AWS does, not as Python's datetime.

    https://docs.aws.amazon.com/step-functions/latest/dg/input-output-contextobject.html
    """

    def get_start_execution_details(self) -> Any:
        details = super().get_start_execution_details()
        moment = self.start_date.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        return ExecutionDetails(details.arn, details.name, details.role_arn, details.inpt, moment)


def _execution(call: Call, machine: Any, name: str, text: str) -> Any:
    # A snapshot: what is updated afterwards does not reach an execution that runs.
    snapshot = copy.copy(machine)
    snapshot.executions = []
    snapshot.loggingConfiguration = copy.deepcopy(machine.loggingConfiguration)
    arn = f"{machine.arn.replace(':stateMachine:', ':execution:')}:{name}"
    return _Execution(
        name=name,
        sm_type=snapshot.sm_type,
        role_arn=snapshot.roleArn,
        exec_arn=arn,
        account_id=call.account,
        region_name=call.region,
        state_machine=snapshot,
        start_date=datetime.now(tz=UTC),
        cloud_watch_logging_session=_Log.of(snapshot, arn),
        input_data=text,
        trace_header=call.input.get("traceHeader"),
        activity_store={},
    )


def _found(call: Call) -> tuple[Any, Any]:
    """Return an execution and its machine."""
    arn = call.input.get("executionArn") or ""
    for machine in _backend(call).state_machines:
        for execution in machine.executions:
            if execution.execution_arn == arn:
                return execution, machine
    raise ApiError("ExecutionDoesNotExist", f"Execution Does Not Exist: '{arn}'")


def _heading(execution: Any, machine: Any) -> dict[str, Any]:
    members = {
        "executionArn": execution.execution_arn,
        "stateMachineArn": machine.arn,
        "name": execution.name,
        "status": execution.status,
        "startDate": _epoch(execution.start_date),
        "redriveCount": 0,
    }
    if execution.status != "RUNNING" and execution.stop_date:
        members["stopDate"] = _epoch(execution.stop_date)
    return members


def describe_execution(call: Call) -> dict[str, Any]:
    execution, machine = _found(call)
    status = execution.status
    answer = _heading(execution, machine)
    answer |= {"input": execution.execution_input, "inputDetails": {"included": True}}
    if status in ("FAILED", "TIMED_OUT", "ABORTED"):
        answer["redriveStatus"] = "REDRIVABLE"
    else:
        answer["redriveStatus"] = "NOT_REDRIVABLE"
        answer["redriveStatusReason"] = f"Execution is {status} and cannot be redriven"
    if status == "SUCCEEDED":
        answer["output"] = json.dumps(execution.output, separators=(",", ":"), ensure_ascii=False)
        answer["outputDetails"] = {"included": True}
    for member in ("error", "cause"):
        if getattr(execution, member) is not None:
            answer[member] = getattr(execution, member)
    return answer


def list_executions(call: Call) -> dict[str, Any]:
    machine = _machine(call, call.input.get("stateMachineArn") or "")
    wanted = call.input.get("statusFilter")
    chosen = [
        _heading(execution, machine)
        for execution in sorted(machine.executions, key=lambda entry: entry.start_date, reverse=True)
        if wanted in (None, execution.status)
    ]
    return _page(call, "executions", chosen)


def stop_execution(call: Call) -> dict[str, Any]:
    execution, _ = _found(call)
    _stop(execution, call.input.get("error"), call.input.get("cause"))
    return {"stopDate": _epoch(execution.stop_date or datetime.now(tz=UTC))}


class _Nobody:
    """Takes the place of the one who hears of an execution's end, once that is known."""

    def terminated(self) -> None:
        """Hear nothing."""


def _stop(execution: Any, error: str | None, cause: str | None) -> None:
    """End an execution now. Its threads end when their tasks have returned; nobody listens to them any more."""
    worker = execution.exec_worker
    with _LOCK:
        for _ in range(2000):  # a new execution's thread may not have got that far
            if worker.env is not None and worker.env.program_state() is not None:
                break
            time.sleep(0.001)
        env = worker.env
        if (
            execution.status != "RUNNING"
            or env is None
            or not isinstance(env.program_state(), ProgramRunning)
        ):
            return
        listener, worker._execution_communication = worker._execution_communication, _Nobody()
        env.set_stop(stop_date=datetime.now(tz=UTC), error=error, cause=cause)
        if isinstance(env.program_state(), ProgramStopped):
            execution.error, execution.cause = error, cause
            details = ExecutionAbortedEventDetails()
            if error is not None:
                details["error"] = error
            if cause is not None:
                details["cause"] = cause
            env.event_manager.add_event(
                context=env.event_history_context,
                event_type=HistoryEventType.ExecutionAborted,
                event_details=EventDetails(executionAbortedEventDetails=details),
            )
            env.event_manager.add_event = lambda *_, **__: 0
        listener.terminated()


def execution_history(call: Call) -> dict[str, Any]:
    execution, _ = _found(call)
    env = execution.exec_worker.env
    # events are only ever appended, so a slice is a page that stays what it was
    events = list(env.event_manager._history_event_list) if env is not None else []
    if call.input.get("reverseOrder"):
        events.reverse()
    answer = _page(call, "events", events, limit=1000)
    with_data = call.input.get("includeExecutionData", True)
    answer["events"] = [_event(event, with_data) for event in answer["events"]]
    return answer


def _event(event: dict[str, Any], with_data: bool) -> dict[str, Any]:
    timestamp = event["timestamp"]
    if isinstance(timestamp, str):
        timestamp = datetime.fromisoformat(timestamp.replace("Z", "+00:00"))
    plain: dict[str, Any] = json.loads(json.dumps({**event, "timestamp": _epoch(timestamp)}, default=str))
    if not with_data:
        for details in plain.values():
            if isinstance(details, dict):
                for member in ("input", "output", "parameters"):
                    details.pop(member, None)
    return plain


def _epoch(moment: datetime) -> float:
    return round((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp(), 3)


def _page(call: Call, member: str, entries: list[Any], limit: int = 1000) -> dict[str, Any]:
    token = call.input.get("nextToken") or "0"
    if not token.isdigit():
        raise ApiError("InvalidToken", f"Invalid Token: '{token}'")
    first, size = int(token), min(int(call.input.get("maxResults") or 100), limit)
    answer: dict[str, Any] = {member: entries[first : first + size]}
    if first + size < len(entries):
        answer["nextToken"] = str(first + size)
    return answer


class _Log:
    """Writes an execution's history events into the machine's log group, as the interpreter asks it to."""

    def __init__(
        self, group_arn: str, stream: str, configuration: dict[str, Any], execution_arn: str
    ) -> None:
        _, _, _, self._region, self._account, _, self._group = group_arn.removesuffix(":*").split(":", 6)
        self._stream = stream
        self._level = configuration.get("level", "OFF")
        self.execution_arn = execution_arn
        self.configuration = self
        self.include_execution_data = bool(configuration.get("includeExecutionData"))

    @classmethod
    def of(cls, machine: Any, execution_arn: str) -> _Log | None:
        configuration = machine.loggingConfiguration or {}
        destinations = configuration.get("destinations") or []
        if configuration.get("level", "OFF") == "OFF" or not destinations:
            return None
        stream = f"states/{machine.name}/{time.strftime('%Y-%m-%d-%H-%M', time.gmtime())}"
        return cls(
            destinations[0]["cloudWatchLogsLogGroup"]["logGroupArn"], stream, configuration, execution_arn
        )

    def log_level_filter(self, history_event_type: Any) -> bool:
        return bool(is_logging_enabled_for(self._level, history_event_type))

    def publish_history_log(self, history_log: dict[str, Any]) -> None:
        entry = {"timestamp": int(time.time() * 1000), "message": json.dumps(history_log, default=str)}
        with MOTO_LOCK:
            group = logs_backends[self._account][self._region].groups.get(self._group)
            if group is None:  # deleted with the rest of the module while the execution was running
                return
            if self._stream not in group.streams:
                group.create_log_stream(self._stream)
            group.put_log_events(self._stream, [entry])


class _Clients:
    """Gives the interpreter one client for each role, service and Region; making one for each task takes long."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._session = boto3.session.Session()
        self._clients: dict[tuple[str, str, str], Any] = {}
        self.acting: dict[str, Principal] = {}
        """Role of a machine -> the session that its executions have."""
        self._lock = threading.Lock()

    def client(self, region: str, service: str, state_credentials: Any = None) -> Any:
        """A client with a session of the machine's role, as Step Functions assumes it for an execution."""
        principal = self.acting[state_credentials.role_arn]
        assert principal.keys is not None  # noqa: S101 - for the type checker
        with self._lock:
            key = (service, region, principal.keys[0])
            if key not in self._clients:
                self._clients[key] = self._session.client(
                    service,
                    region_name=region,
                    endpoint_url=self._server.endpoint,
                    aws_access_key_id=principal.keys[0],
                    aws_secret_access_key=principal.keys[1],
                    aws_session_token=principal.keys[2],
                    config=Config(
                        parameter_validation=False,
                        retries={"total_max_attempts": 1},
                        connect_timeout=TimeoutSeconds.DEFAULT_TIMEOUT_SECONDS,
                        read_timeout=TimeoutSeconds.DEFAULT_TIMEOUT_SECONDS,
                        max_pool_connections=200,
                        proxies={},
                    ),
                )
            return self._clients[key]


OPERATIONS: dict[str, Callable[[Call], Answer | dict[str, Any]]] = {
    "ValidateStateMachineDefinition": validate_definition,
    "CreateStateMachine": save_machine,
    "UpdateStateMachine": save_machine,
    "DeleteStateMachine": delete_machine,
    "ListStateMachineVersions": list_versions,
    "StartExecution": start_execution,
    "DescribeExecution": describe_execution,
    "ListExecutions": list_executions,
    "StopExecution": stop_execution,
    "GetExecutionHistory": execution_history,
}


def install(server: Server) -> None:
    for name, operation in OPERATIONS.items():
        server.operation("states", name)(functools.partial(operation))
    clients = _Clients(server)
    server.add(clients)
    for module in list(sys.modules.values()):
        if module.__name__.startswith("moto.stepfunctions.") and "boto_client_for" in vars(module):
            patch(
                module,
                "boto_client_for",
                clients.client,
                because="the interpreter makes a client for each call that a state makes, with keys of nobody",
                upstream="moto could keep its clients, and give them the role's keys",
            )
    patch(
        ASLParser,
        "state_machine",
        _parse_once,
        because="the interpreter parses the definition again for each execution",
        upstream="moto could keep the tree of a definition",
    )
    # The interpreter reports each state that fails; that is what a history is for.
    logging.getLogger("moto.stepfunctions").setLevel(logging.CRITICAL)
