"""The rooms of the package lie above one another, and each imports from those below it alone (DESIGN.md, "The house")."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "lambda_src" / "ecs_release"
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


def modules() -> Iterator[tuple[str, ...]]:
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        yield parts[:-1] if parts[-1] == "__init__" else parts


def source(module: tuple[str, ...]) -> Path:
    path = PACKAGE.joinpath(*module)
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def imports(module: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """What a module of the package imports from it, wherever in the module that is."""
    for node in ast.walk(ast.parse(source(module).read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, "imports name the whole way, so that they can be found"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            parts = name.split(".")
            if parts[0] == "ecs_release":
                known = parts[1:] if PACKAGE.joinpath(*parts[1:]).with_suffix(".py").exists() else parts[1:-1]
                yield tuple(known)


MODULES = list(modules())


def test_every_room_has_its_floor_and_every_floor_a_room() -> None:
    assert {module[0] for module in MODULES if module} == set(FLOORS)


@pytest.mark.parametrize("module", [module for module in MODULES if module], ids="/".join)
def test_imports_run_downwards(module: tuple[str, ...]) -> None:
    floor = FLOORS.index(module[0])
    upwards = ["/".join(other) for other in imports(module) if other and FLOORS.index(other[0]) > floor]
    assert upwards == []


def steps() -> set[tuple[str, ...]]:
    """The modules of steps that hold a Lambda handler."""
    return {
        module
        for module in MODULES
        if module[:1] == ("steps",)
        for node in ast.parse(source(module).read_text(encoding="utf-8")).body
        if isinstance(node, ast.FunctionDef) and node.name == "handler"
    }


def test_there_is_one_step_for_each_function() -> None:
    terraform = (PACKAGE.parents[1] / "modules" / "orchestrator" / "functions.tf").read_text(encoding="utf-8")
    assert '"ecs_release.steps.${replace(each.key, "-", "_")}.handler"' in terraform
    for step in steps():
        assert f"    {step[-1].replace('_', '-')} = {{" in terraform, step


def test_no_step_imports_another() -> None:
    found = steps()
    assert {step: set(imports(step)) & (found - {step}) for step in found} == {step: set() for step in found}


def test_no_module_imports_itself_by_a_detour() -> None:
    reached: dict[tuple[str, ...], set[tuple[str, ...]]] = {m: set(imports(m)) - {m} for m in MODULES}
    for _ in MODULES:
        for others in reached.values():
            others.update(*(reached.get(other, set()) for other in tuple(others)))
    # A room's own name gives out what its modules hold, when it is asked for.
    assert [m for m, others in reached.items() if m in others and not PACKAGE.joinpath(*m).is_dir()] == []


@pytest.mark.parametrize("module", MODULES, ids=lambda module: "/".join(module) or "ecs_release")
def test_a_module_fits_in_a_head(module: tuple[str, ...]) -> None:
    assert len(source(module).read_text(encoding="utf-8").splitlines()) <= MOST_LINES
