"""What the house measures: lines of each part, the largest module, imports between rooms, and how long functions take to start.

``python -m scripts.house [CHECKOUT] [--cold] [--before CHECKOUT]``. Older checkouts are measured as well, so that before and after
can be compared; with ``--before`` the cold starts of both stand side by side.
``tests/unit/test_floors.py`` holds the product to its limits by these numbers.
"""

from __future__ import annotations

import argparse
import ast
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from scripts.checkout import ROOT

# Part -> where it lies; the second place is that of older checkouts.
PARTS = {
    "product": ("lambda_src/ecs_release",),
    "embedded AWS": ("tools/local_aws/local_aws", "local_aws"),
    "scripts": ("scripts",),
    "tests": ("tests", "tools/local_aws/tests"),
}
_COLD_STARTS = 7
# Time of the processor, so that what else the machine does counts little; compiled bytecode is there, as after the first start.
_IMPORT = """
import json, sys, time
before = time.process_time()
import {module}
taken = time.process_time() - before
own = [name for name in sys.modules if name.partition(".")[0] in ("ecs_release", "handlers")]
print(json.dumps([len(own), len(sys.modules), taken]))
"""

Module = tuple[str, ...]
"""``("plan", "decide")`` for ``ecs_release/plan/decide.py``, ``("plan",)`` for its ``__init__.py``."""


class House:
    """The package ``ecs_release`` of a checkout."""

    def __init__(self, checkout: Path = ROOT) -> None:
        self.checkout = checkout
        self.package = checkout / "lambda_src" / "ecs_release"

    @cached_property
    def modules(self) -> tuple[Module, ...]:
        found = []
        for path in sorted(self.package.rglob("*.py")):
            parts = path.relative_to(self.package).with_suffix("").parts
            found.append(parts[:-1] if parts[-1] == "__init__" else parts)
        return tuple(found)

    def source(self, module: Module) -> Path:
        path = self.package.joinpath(*module)
        return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")

    def lines(self, module: Module) -> int:
        return len(self.source(module).read_text(encoding="utf-8").splitlines())

    def imports(self, module: Module) -> Iterator[Module]:
        """What a module of the package imports from it, wherever in the module that is."""
        for node in ast.walk(ast.parse(self.source(module).read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                assert not node.level, "imports name the whole way, so that they can be found"  # noqa: S101
                names = [f"{node.module}.{alias.name}" for alias in node.names]
            else:
                continue
            for name in names:
                parts = tuple(name.split("."))
                if parts[0] == "ecs_release":
                    known = self.package.joinpath(*parts[1:]).with_suffix(".py").exists()
                    yield parts[1:] if known else parts[1:-1]

    @cached_property
    def graph(self) -> Mapping[Module, frozenset[Module]]:
        """Module -> the modules of the package that it imports."""
        return {module: frozenset(self.imports(module)) - {module, ()} for module in self.modules}

    def longest_chain(self) -> list[Module]:
        """The longest chain of imports, from who imports to who is imported; a circle is gone round once."""
        known: dict[Module, list[Module]] = {}

        def chain(module: Module, above: frozenset[Module]) -> list[Module]:
            if module not in known:
                further = [
                    chain(other, above | {module}) for other in self.graph[module] if other not in above
                ]
                known[module] = [module, *max(further, key=len, default=[])]
            return known[module]

        return max((chain(module, frozenset({module})) for module in self.modules), key=len)

    def between_rooms(self) -> int:
        """How many times a module imports one of another room."""
        return sum(
            other[0] != module[0] for module, others in self.graph.items() if module for other in others
        )


def lines_of(checkout: Path, part: str) -> int:
    """The lines of Python of a part."""
    return sum(
        len(path.read_text(encoding="utf-8").splitlines())
        for place in PARTS[part]
        for path in (checkout / place).rglob("*.py")
    )


@dataclass(frozen=True)
class ColdStart:
    """What a new interpreter loads for a function: modules of ours, all modules, milliseconds (the median of a few)."""

    own: int
    modules: int
    milliseconds: float


def cold_starts(*houses: House) -> dict[str, list[ColdStart | None]]:
    """Function -> its cold start in each checkout; None where it is not there. The checkouts take turns."""
    functions = [_functions(house) for house in houses]
    names = sorted({name for found in functions for name in found})
    starts: dict[str, list[ColdStart | None]] = {}
    for name in names:
        runs: list[list[tuple[int, int, float]]] = [[] for _ in houses]
        for _ in range(_COLD_STARTS + 1):
            for house, found, taken in zip(houses, functions, runs, strict=True):
                if name in found:
                    taken.append(_import(house, found[name]))
        starts[name] = [
            ColdStart(*taken[-1][:2], 1000 * statistics.median(run[2] for run in taken[1:]))
            if taken
            else None
            for taken in runs
        ]
    return starts


def _functions(house: House) -> dict[str, str]:
    """Function -> the module of its handler; before steps had theirs, those were modules of a package of their own."""
    source = house.package.parent
    return {
        path.stem: ".".join(path.relative_to(source).with_suffix("").parts)
        for folder in (house.package / "steps", source / "handlers")
        for path in folder.glob("*.py")
        if "\ndef handler(" in path.read_text(encoding="utf-8")
    }


def _import(house: House, module: str) -> tuple[int, int, float]:
    env = {
        **os.environ,
        "PYTHONPATH": str(house.package.parent),
        "ECS_RELEASE_TABLE": "t",
        "AWS_DEFAULT_REGION": "eu-west-1",
    }
    ran = subprocess.run(
        [sys.executable, "-c", _IMPORT.format(module=module)],
        env=env,
        check=True,
        capture_output=True,
        text=True,
    )
    own, modules, taken = json.loads(ran.stdout.splitlines()[-1])
    return own, modules, taken


def _table(starts: Mapping[str, list[ColdStart | None]], titles: list[str]) -> Iterator[str]:
    """In Markdown, for docs/architecture.md."""
    columns = " | ".join(f"{title}modules of ours | all modules | ms" for title in titles)
    yield f"| function | {columns} |"
    yield "|---" * (1 + 3 * len(titles)) + "|"
    for name, found in starts.items():
        cells = (
            f"{one.own} | {one.modules:,} | {one.milliseconds:.0f}" if one else "– | – | –" for one in found
        )
        yield f"| {name} | " + " | ".join(cells) + " |"


def main() -> int:
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("checkout", nargs="?", type=Path, default=ROOT)
    parser.add_argument("--cold", action="store_true", help="also what each function takes to import")
    parser.add_argument("--before", type=Path, help="an older checkout, whose cold starts stand beside these")
    arguments = parser.parse_args()
    house = House(arguments.checkout.resolve())
    for part in PARTS:
        print(f"{part:24} {lines_of(house.checkout, part):7,} lines")
    largest = max(house.modules, key=house.lines)
    chain = house.longest_chain()
    print(f"{'largest module':24} {house.lines(largest):7,} lines, {'/'.join(largest)}")
    print(f"{'modules':24} {len(house.modules):7,}")
    print(f"{'imports between rooms':24} {house.between_rooms():7,}")
    print(f"{'longest import chain':24} {len(chain):7,} {' > '.join('/'.join(module) for module in chain)}")
    if arguments.before:
        starts = cold_starts(House(arguments.before.resolve()), house)
        print("", *_table(starts, ["before: ", "after: "]), sep="\n")
    elif arguments.cold:
        print("", *_table(cold_starts(house), [""]), sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
