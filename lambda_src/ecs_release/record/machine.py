"""The machine's state: what is due next. It travels from function to function, and stands in the release's record."""

from __future__ import annotations

from enum import StrEnum
from typing import Any, TypedDict


class Phase(StrEnum):
    """How far a release is."""

    PREPARE = "prepare"
    TASKS = "tasks"
    SERVICES = "services"
    ROLLBACK = "rollback"
    CLEANUP = "cleanup"


class Next(StrEnum):
    """What the machine does next; ``ChooseNextStep`` of ``statemachine/release.asl.json`` knows each by its name."""

    PREPARE = "PREPARE"
    UPDATE_TASKS = "UPDATE_TASKS"
    UPDATE_SERVICES = "UPDATE_SERVICES"
    CHECK = "CHECK"
    WAIT = "WAIT"
    ROLLBACK = "ROLLBACK"
    REPORT = "REPORT"


class State(TypedDict, total=False):
    """What is due.

    Attributes
    ----------
    wave : place in the record's list of waves.
    seconds : pause before the next look at the rollouts.
    prepare : numbers of the batches to prepare, one list a target.
    tasks, services, rollback : numbers of the batches of the state that has this name.
    results : of the Map before, also of workers that died for good (``{"batch", "error"}``).
    turn : name of the decision that this is; see :mod:`ecs_release.steps.due`.
    error : what the machine caught when CheckRollouts could not decide (``{"Error", "Cause"}``).
    """

    next: Next
    phase: Phase
    wave: int
    epoch: int
    seconds: int
    prepare: list[list[int]]
    tasks: list[int]
    services: list[int]
    rollback: list[int]
    results: list[Any]
    turn: str
    error: dict[str, Any]
