"""`pip install .` brings the whole of ecs_release and nothing else."""

from __future__ import annotations

import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
DECLARED = PROJECT["tool"]["setuptools"]


def test_every_package_is_declared() -> None:
    sources = ROOT / DECLARED["package-dir"][""]
    modules = (sources / "ecs_release").rglob("*.py")
    packages = {str(module.parent.relative_to(sources)).replace("/", ".") for module in modules}
    assert sorted(DECLARED["packages"]) == sorted(packages)


def test_the_command_is_in_a_declared_package() -> None:
    module = PROJECT["project"]["scripts"]["ecs-release"].partition(":")[0]
    assert module.rpartition(".")[0] in DECLARED["packages"]
