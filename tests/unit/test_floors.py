"""The rooms of the package lie above one another, and each imports from those below it alone (DESIGN.md, "The house")."""

from __future__ import annotations

import ast
import re
import sys

import pytest

from scripts import house
from scripts.house import House

HOUSE = House()
FLOORS = (
    "errors",
    "settings",
    "observability",
    "manifest",
    "aws",
    "record",
    "rollout",
    "plan",
    "report",
    "steps",
    "cli",
    "build",
    "__main__",
)
MOST_LINES = 400
LONGEST_CHAIN = 16


def test_every_room_has_its_floor_and_every_floor_a_room() -> None:
    assert {module[0] for module in HOUSE.modules if module} == set(FLOORS)


@pytest.mark.parametrize("module", [module for module in HOUSE.modules if module], ids="/".join)
def test_imports_run_downwards(module: tuple[str, ...]) -> None:
    floor = FLOORS.index(module[0])
    upwards = ["/".join(other) for other in HOUSE.imports(module) if other and FLOORS.index(other[0]) > floor]
    assert upwards == []


def steps() -> set[tuple[str, ...]]:
    """The modules of steps that hold a Lambda handler."""
    return {
        module
        for module in HOUSE.modules
        if module[:1] == ("steps",)
        for node in ast.parse(HOUSE.source(module).read_text(encoding="utf-8")).body
        if isinstance(node, ast.FunctionDef) and node.name == "handler"
    }


def test_there_is_one_step_for_each_function() -> None:
    terraform = (HOUSE.checkout / "modules" / "orchestrator" / "functions.tf").read_text(encoding="utf-8")
    assert '"ecs_release.steps.${replace(each.key, "-", "_")}.handler"' in terraform
    for step in steps():
        assert f"    {step[-1].replace('_', '-')} = {{" in terraform, step


def test_no_step_imports_another() -> None:
    found = steps()
    assert {step: set(HOUSE.imports(step)) & (found - {step}) for step in found} == {
        step: set() for step in found
    }


def test_no_module_imports_itself_by_a_detour() -> None:
    reached = {module: set(others) for module, others in HOUSE.graph.items()}
    for _ in HOUSE.modules:
        for others in reached.values():
            others.update(*(reached.get(other, set()) for other in tuple(others)))
    # A room's own name gives out what its modules hold, when it is asked for.
    found = [m for m, others in reached.items() if m in others and HOUSE.source(m).name != "__init__.py"]
    assert found == []


@pytest.mark.parametrize("module", HOUSE.modules, ids=lambda module: "/".join(module) or "ecs_release")
def test_a_module_fits_in_a_head(module: tuple[str, ...]) -> None:
    assert HOUSE.lines(module) <= MOST_LINES


def test_no_chain_of_imports_is_long() -> None:
    chain = HOUSE.longest_chain()
    assert len(chain) <= LONGEST_CHAIN, " > ".join("/".join(module) for module in chain)


def test_the_house_is_measured(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["house"])
    assert house.main() == 0
    printed = capsys.readouterr().out
    for figure in (*house.PARTS, "largest module", "imports between rooms", "longest import chain"):
        assert re.search(rf"^{figure} +[1-9][\d,]*", printed, re.MULTILINE), figure


def test_cold_starts_stand_side_by_side(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(house, "_COLD_STARTS", 1)
    monkeypatch.setattr(house, "_functions", lambda _: {"report": "ecs_release.steps.report"})

    starts = house.cold_starts(HOUSE, HOUSE)

    assert starts.keys() == {"report"}
    for start in starts["report"]:
        assert start is not None
        assert 10 < start.own < start.modules
        assert start.milliseconds > 0
