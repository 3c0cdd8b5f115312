"""AWS Step Functions executions: stopped at once, and their ends told to EventBridge.

Stands for
- ``Step Functions Execution Status Change`` events on the default bus:
  https://docs.aws.amazon.com/step-functions/latest/dg/eventbridge-integration.html
- StopExecution, which ends the execution at once with the given error and cause, while a Lambda function that it
  called runs on: https://docs.aws.amazon.com/step-functions/latest/apireference/API_StopExecution.html
  moto waits for the function and forgets error and cause.
"""

from __future__ import annotations

import threading
from datetime import UTC, datetime
from typing import Any

from moto.stepfunctions.models import StepFunctionBackend
from moto.stepfunctions.parser.api import ExecutionStatus
from moto.stepfunctions.parser.backend.execution import BaseExecutionWorkerCommunication, Execution
from moto.stepfunctions.parser.models import stepfunctions_parser_backends

from local_aws.calls import ApiError, Call
from local_aws.server import Server

_lock = threading.Lock()


def _milliseconds(moment: Any) -> int | None:
    return None if moment is None else int(moment.timestamp() * 1000)


def _tell(server: Server, execution: Any) -> None:
    document = execution.to_describe_output()
    detail = {
        "executionArn": execution.exec_arn,
        "stateMachineArn": execution.state_machine_arn,
        "name": execution.name,
        "status": execution.status,
        "startDate": _milliseconds(execution.start_date),
        "stopDate": _milliseconds(execution.stop_date),
        "input": document.get("input"),
        "output": document.get("output"),
        "inputDetails": {"included": True},
        "outputDetails": {"included": True} if document.get("output") else None,
        "error": execution.error,
        "cause": execution.cause,
    }
    try:
        server.put_event(
            execution.account_id,
            execution.region_name,
            "aws.states",
            "Step Functions Execution Status Change",
            detail,
            [execution.exec_arn],
        )
    except Exception:
        server.log_error("Step Functions status change event")


def install(server: Server) -> None:
    """Patch the interpreter's executions and answer StopExecution."""
    start = getattr(Execution, "local_start", Execution.start)
    Execution.local_start = start
    reflect = getattr(BaseExecutionWorkerCommunication, "local_reflect", None)
    if reflect is None:
        reflect = BaseExecutionWorkerCommunication._reflect_execution_status
        BaseExecutionWorkerCommunication.local_reflect = reflect

    def start_and_tell(self: Any) -> None:
        if self.exec_worker is None:
            self.exec_status = ExecutionStatus.RUNNING
            _tell(server, self)  # before the start: a short execution may be over after it
        start(self)

    def terminated(self: Any) -> None:
        execution = self.execution
        with _lock:
            if execution.exec_status != ExecutionStatus.RUNNING:
                return  # stopped before
            self._reflect_execution_status()
        _tell(server, execution)

    Execution.start = start_and_tell
    BaseExecutionWorkerCommunication.terminated = terminated

    @server.operation("states", "StopExecution")
    def stop(call: Call) -> dict[str, Any]:
        arn = str(call.input.get("executionArn") or "")
        backend: StepFunctionBackend = stepfunctions_parser_backends[call.account][call.region]
        try:
            execution = backend.describe_execution(arn)
        except Exception:
            raise ApiError("ExecutionDoesNotExist", f"Execution Does Not Exist: '{arn}'") from None
        with _lock:
            stopped = execution.exec_status == ExecutionStatus.RUNNING
            if stopped:
                execution.stop_date = datetime.now(UTC)
                execution.exec_status = ExecutionStatus.ABORTED
                execution.error = call.input.get("error")
                execution.cause = call.input.get("cause")
        if stopped:
            threading.Thread(target=_halt, args=(execution,), daemon=True).start()
            _tell(server, execution)
        return {"stopDate": execution.stop_date.timestamp()}


def _halt(execution: Any) -> None:
    """Make the interpreter stop after what it is doing; its environment appears shortly after the start."""
    waited = threading.Event()
    for _ in range(100):
        if execution.exec_worker.env is not None:
            execution.stop(execution.stop_date, execution.error or "", execution.cause or "")
            return
        waited.wait(0.02)
