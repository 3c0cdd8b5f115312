"""The state machine as Terraform renders it, and a walk over all its states."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parents[2] / "statemachine"
STEPS = ("parse", "prepare", "update_task", "update_service", "check_rollouts", "rollback", "report")


def render(arns: Mapping[str, str] | None = None, retry: Any = None) -> dict[str, Any]:
    """Do what modules/orchestrator/state_machine.tf does: fill the placeholders, put the shared Retry in."""
    found = arns or {step: f"arn:aws:lambda:us-east-1:111111111111:function:{step}:1" for step in STEPS}
    text = (FOLDER / "release.asl.json").read_text()
    shared = retry if retry is not None else json.loads((FOLDER / "retry.json").read_text())
    text = text.replace('"${retry}"', json.dumps(shared))
    values = {"partition": "aws", **{f"{step}_arn": arn for step, arn in found.items()}}
    text = re.sub(r"\$\{(\w+)\}", lambda match: values[match.group(1)], text)
    definition: dict[str, Any] = json.loads(text)
    return definition


@dataclass(frozen=True)
class Machine:
    """One set of states: the whole machine, or what a Map repeats.

    Attributes
    ----------
    path : names of the Maps around it.
    """

    path: tuple[str, ...]
    start: str
    states: dict[str, dict[str, Any]]


def machines(definition: Mapping[str, Any], path: tuple[str, ...] = ()) -> Iterator[Machine]:
    """The machine itself and, from outside to inside, what its Maps repeat."""
    yield Machine(path, definition["StartAt"], definition["States"])
    for name, state in definition["States"].items():
        if state["Type"] == "Map":
            yield from machines(state["ItemProcessor"], (*path, name))


def nexts(state: Mapping[str, Any]) -> list[str]:
    """Every state that may follow."""
    found = [state["Next"]] if "Next" in state else []
    found += [state["Default"]] if "Default" in state else []
    found += [choice["Next"] for choice in state.get("Choices", ())]
    return found + [catcher["Next"] for catcher in state.get("Catch", ())]
