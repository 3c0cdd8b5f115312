"""A small interpreter of the Amazon States Language: as much of it as ``statemachine/release.asl.json`` uses.

It reads the very file that Terraform deploys, in virtual time, and raises on anything that it does not know, so that the
machine can't grow beyond what is tested here. States Language: https://states-language.net/spec.html
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from chaos_clock import Event, Killed, Simulation, Task

_STATEMACHINE = Path(__file__).parents[2] / "statemachine"
_LIMIT = 256 * 1024  # https://docs.aws.amazon.com/step-functions/latest/dg/service-quotas.html
_KNOWN = {
    "Task": {"Resource", "Parameters", "OutputPath", "TimeoutSeconds", "Retry", "Catch"},
    "Map": {"ItemsPath", "MaxConcurrency", "ItemSelector", "ItemProcessor", "ResultPath", "Catch"},
    "Choice": {"Choices", "Default"},
    "Wait": {"SecondsPath"},
    "Pass": {"Parameters"},
    "Succeed": set(),
    "Fail": {"Error", "Cause", "ErrorPath", "CausePath"},
}


def definition() -> dict[str, Any]:
    """The machine as Terraform renders it, functions by their step's name."""
    text = (_STATEMACHINE / "release.asl.json").read_text()
    text = text.replace('"${retry}"', (_STATEMACHINE / "retry.json").read_text())
    text = text.replace("${partition}", "aws")
    for step in ("parse", "prepare", "update_task", "update_service", "check_rollouts", "rollback", "report"):
        text = text.replace(f"${{{step}_arn}}", step)
    assert "${" not in text, "the state machine has a placeholder that this interpreter does not fill"
    machine: dict[str, Any] = json.loads(text)
    return machine


class StatesError(Exception):
    """An error as the machine sees it."""

    def __init__(self, error: str, cause: str = "") -> None:
        super().__init__(f"{error}: {cause[:200]}")
        self.error = error
        self.cause = cause


Invoke = Callable[["Execution", str, Any], Any]


class Execution:
    """One execution.

    Parameters
    ----------
    invoke : runs a function with a payload; raises StatesError.
    entered : told the name of each state as it is entered.
    """

    def __init__(
        self,
        simulation: Simulation,
        machine: Mapping[str, Any],
        name: str,
        document: Any,
        invoke: Invoke,
        entered: Callable[[Execution, str], None],
    ) -> None:
        self.simulation = simulation
        self.name = name
        self.arn = f"arn:aws:states:us-east-1:123456789012:execution:release:{name}"
        self.status = "RUNNING"
        self.output: Any = None
        self.error = ""
        self.cause = ""
        self.events = 0
        self.ended = Event()
        self._machine = machine
        self.document = document
        self.started = simulation.now
        self._invoke = invoke
        self._entered = entered
        self._branches: list[Task] = []
        self.told: Callable[[Execution], None] = lambda _: None

    def start(self) -> Task:
        task = self.simulation.spawn(self.name, self._run)
        self._branches.append(task)
        return task

    def stop(self) -> None:
        """StopExecution: nothing more is begun; functions that run go on."""
        if self.status != "RUNNING":
            return
        for branch in self._branches:
            self.simulation.kill(branch, "execution stopped")
        self._end("ABORTED")

    def _end(self, status: str) -> None:
        if self.status == "RUNNING":
            self.status = status
            self.simulation.set(self.ended)
            self.told(self)

    def _run(self) -> None:
        context = {
            "Execution": {
                "Name": self.name,
                "Id": self.arn,
                "StartTime": _instant(self.started),
                "Input": self.document,
            }
        }
        try:
            self.output = self._states(self._machine, self.document, context)
        except StatesError as error:
            self.error, self.cause = error.error, error.cause
            self._end("FAILED")
        else:
            self._end("SUCCEEDED")

    def _states(self, machine: Mapping[str, Any], value: Any, context: dict[str, Any]) -> Any:
        name = machine["StartAt"]
        while True:
            state = machine["States"][name]
            unknown = set(state) - _KNOWN[state["Type"]] - {"Type", "Comment", "Next", "End"}
            assert not unknown, f"state {name} has {unknown}, which this interpreter does not know"
            self.events += 1
            assert self.events < 20_000, "the machine does not end"
            self._entered(self, name)
            try:
                value, following = getattr(self, "_" + state["Type"].lower())(state, value, context)
            except StatesError as error:
                catcher = next((c for c in state.get("Catch", ()) if _matches(c["ErrorEquals"], error)), None)
                if catcher is None:
                    raise
                value = _put(catcher["ResultPath"], value, {"Error": error.error, "Cause": error.cause})
                following = catcher["Next"]
            assert len(json.dumps(value)) < _LIMIT, f"state {name} hands on more than 256 KiB"
            if following is None:
                return value
            name = following

    def _task(self, state: Mapping[str, Any], value: Any, context: dict[str, Any]) -> tuple[Any, str | None]:
        assert state["Resource"] == "arn:aws:states:::lambda:invoke"
        request = _fill(state["Parameters"], value, context)
        tried: dict[int, int] = {}
        while True:
            try:
                payload = self._invoke(self, request["FunctionName"], request["Payload"])
                break
            except StatesError as error:
                place, retrier = next(
                    ((p, r) for p, r in enumerate(state["Retry"]) if _matches(r["ErrorEquals"], error)),
                    (0, None),
                )
                if retrier is None or tried.get(place, 0) >= retrier["MaxAttempts"]:
                    raise
                pause = retrier["IntervalSeconds"] * retrier["BackoffRate"] ** tried.get(place, 0)
                tried[place] = tried.get(place, 0) + 1
                assert retrier["JitterStrategy"] == "FULL"
                self.simulation.sleep(random.uniform(0, min(pause, retrier["MaxDelaySeconds"])))
        result = {"StatusCode": 200, "ExecutedVersion": "1", "Payload": payload}
        return _get(state["OutputPath"], result, context), state.get("Next")

    def _map(self, state: Mapping[str, Any], value: Any, context: dict[str, Any]) -> tuple[Any, str | None]:
        items = _get(state["ItemsPath"], value, context)
        width = state["MaxConcurrency"] or len(items)
        results: list[Any] = [None] * len(items)
        errors: list[StatesError] = []
        numbers = iter(range(len(items)))

        def branch() -> None:
            for number in numbers:
                inner = {**context, "Map": {"Item": {"Index": number, "Value": items[number]}}}
                chosen = _fill(state["ItemSelector"], value, inner)
                try:
                    results[number] = self._states(state["ItemProcessor"], chosen, inner)
                except StatesError as error:
                    errors.append(error)
                    return

        branches = []
        for number in range(min(width, len(items))):
            task = self.simulation.spawn(f"{self.simulation.current.name}/{number}", branch)
            branches.append(task)
            self._branches.append(task)
        for task in branches:
            self.simulation.wait(task.done)
            if task.error is not None and not isinstance(task.error, Killed):
                raise task.error
        if errors:
            raise errors[0]
        return _put(state.get("ResultPath", "$"), value, results), state.get("Next")

    def _choice(
        self, state: Mapping[str, Any], value: Any, context: dict[str, Any]
    ) -> tuple[Any, str | None]:
        for rule in state["Choices"]:
            assert set(rule) in ({"Variable", "StringEquals", "Next"}, {"Variable", "IsPresent", "Next"})
            name = rule["Variable"].removeprefix("$.")
            if "IsPresent" in rule:
                if (name in value) == rule["IsPresent"]:
                    return value, rule["Next"]
            elif value.get(name) == rule["StringEquals"]:
                return value, rule["Next"]
        return value, state["Default"]

    def _wait(self, state: Mapping[str, Any], value: Any, context: dict[str, Any]) -> tuple[Any, str | None]:
        self.simulation.sleep(float(_get(state["SecondsPath"], value, context)))
        return value, state["Next"]

    def _pass(self, state: Mapping[str, Any], value: Any, context: dict[str, Any]) -> tuple[Any, str | None]:
        return _fill(state["Parameters"], value, context), state.get("Next")

    def _succeed(
        self, state: Mapping[str, Any], value: Any, context: dict[str, Any]
    ) -> tuple[Any, str | None]:
        return value, None

    def _fail(self, state: Mapping[str, Any], value: Any, context: dict[str, Any]) -> tuple[Any, str | None]:
        error = state.get("Error") or _get(state["ErrorPath"], value, context)
        raise StatesError(error, state.get("Cause") or _get(state["CausePath"], value, context))


def _matches(names: list[str], error: StatesError) -> bool:
    # States.ALL does not mean States.DataLimitExceeded and States.Runtime; neither is raised here.
    return error.error in names or "States.ALL" in names


def _get(path: str, value: Any, context: Any) -> Any:
    names = path.split(".")
    found = context if names[0] == "$$" else value
    for name in names[1:]:
        try:
            found = found[name]
        except (KeyError, TypeError):
            raise StatesError("States.Runtime", f"nothing is at {path}") from None
    return found


def _put(path: str, value: Any, result: Any) -> Any:
    if path == "$":
        return result
    name = path.removeprefix("$.")
    assert "." not in name
    return {**value, name: result}


def _fill(template: Any, value: Any, context: Any) -> Any:
    if isinstance(template, dict):
        return {
            key.removesuffix(".$"): _get(entry, value, context)
            if key.endswith(".$")
            else _fill(entry, value, context)
            for key, entry in template.items()
        }
    return template


def _instant(seconds: float) -> str:
    from datetime import UTC, datetime

    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
