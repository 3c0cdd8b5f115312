"""AWS Step Functions executions tell Amazon EventBridge how they end.

Stands for the ``Step Functions Execution Status Change`` events on the default bus:
https://docs.aws.amazon.com/step-functions/latest/dg/eventbridge-integration.html
"""

from __future__ import annotations

import threading
from typing import Any

from moto.stepfunctions.parser.api import ExecutionStatus
from moto.stepfunctions.parser.backend.execution import BaseExecutionWorkerCommunication, Execution

from local_aws.kernel.patches import patch
from local_aws.kernel.server import Server

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
    """Watch the interpreter's executions; moto makes them all, so there is one patch for all servers."""

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

    start = patch(
        Execution,
        "start",
        start_and_tell,
        because="EventBridge hears nothing of an execution",
        upstream="moto should put the event Step Functions Execution Status Change",
    )
    patch(
        BaseExecutionWorkerCommunication,
        "terminated",
        terminated,
        because="EventBridge hears nothing of an execution, and one that was stopped gets another status at its end",
        upstream="moto should put the event, and keep ABORTED",
    )
