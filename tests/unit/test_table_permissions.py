"""Each function may call on the releases table what its code calls, and nothing else.

Terraform makes the policies from ``permissions.json``, and ``tests/terraform`` looks at them as rendered; this holds the file to
the code.
"""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

import pytest
from ecs_release.aws.permissions import PERMISSIONS

ROOT = Path(__file__).resolve().parents[2]
CODE = ROOT / "lambda_src" / "ecs_release"


def _camel(name: str) -> str:
    return "".join(part.capitalize() for part in name.split("_"))


@cache
def _tree(module: str) -> ast.Module:
    return ast.parse((CODE / f"{module.replace('.', '/')}.py").read_text(encoding="utf-8"))


@cache
def _store_methods() -> dict[str, ast.FunctionDef]:
    """The methods of Store and of the parts it is made of."""
    classes = [
        node
        for path in sorted((CODE / "record").glob("*.py"))
        for node in _tree(f"record.{path.stem}").body
        if isinstance(node, ast.ClassDef) and {"Table", "Store"} & {node.name, *map(ast.unparse, node.bases)}
    ]
    return {node.name: node for part in classes for node in part.body if isinstance(node, ast.FunctionDef)}


# What a transaction does is authorised as if it were done alone:
# https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/transaction-apis-iam.html
_IN_A_TRANSACTION = {
    "ConditionCheck": "ConditionCheckItem",
    "Delete": "DeleteItem",
    "Put": "PutItem",
    "Update": "UpdateItem",
}


def _operations(method: str, seen: frozenset[str] = frozenset()) -> set[str]:
    """DynamoDB operations that a method of Store calls, itself or through another method."""
    found: set[str] = set()
    for node in ast.walk(_store_methods()[method]):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "self._client.get_paginator":
            assert isinstance(node.args[0], ast.Constant)
            found.add(_camel(str(node.args[0].value)))
        elif isinstance(node, ast.Attribute) and ast.unparse(node.value) == "self._client":
            if node.attr not in ("get_paginator", "transact_write_items"):
                found.add(_camel(node.attr))
        elif isinstance(node, ast.Dict):
            keys = [key.value for key in node.keys if isinstance(key, ast.Constant)]
            found |= {_IN_A_TRANSACTION[key] for key in keys if key in _IN_A_TRANSACTION}
        elif (
            isinstance(node, ast.Attribute)
            and ast.unparse(node.value) == "self"
            and node.attr in _store_methods()
            and node.attr not in seen
        ):
            found |= _operations(node.attr, seen | {method})
    return found


def _calls_on_store(module: str, name: str, seen: set[tuple[str, str]]) -> set[str]:
    """Methods of Store that a function or class calls, itself or through what it refers to."""
    if (module, name) in seen:
        return set()
    seen.add((module, name))
    if not (CODE / f"{module.replace('.', '/')}.py").exists():  # a name that a room gives out as its own
        return set()
    tree = _tree(module)
    local = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    imported = {
        alias.asname or alias.name: (node.module.removeprefix("ecs_release."), alias.name)
        for node in tree.body
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("ecs_release.")
        for alias in node.names
        if node.module
    }
    found: set[str] = set()
    if name not in local:
        return found
    for node in ast.walk(local[name]):
        if isinstance(node, ast.Attribute) and node.attr in _store_methods():
            if ast.unparse(node.value).rpartition(".")[2] == "store":
                found.add(node.attr)
        elif isinstance(node, ast.Name) and node.id in local:
            found |= _calls_on_store(module, node.id, seen)
        elif isinstance(node, ast.Name) and node.id in imported:
            found |= _calls_on_store(*imported[node.id], seen)
    return found


def _called(step: str) -> set[str]:
    entries = [step, "report_ended_execution", "report_failed_deploy"] if step == "report" else [step]
    methods: set[str] = set()
    for entry in entries:
        methods |= _calls_on_store(f"steps.{step}", entry, set())
    # Every step but Report begins with Worker.create, which reads the targets.
    methods.add("targets")
    return {f"dynamodb:{operation}" for method in methods for operation in _operations(method)}


@pytest.mark.parametrize("step", PERMISSIONS["steps"])
def test_a_function_may_call_on_the_releases_table_what_its_code_calls(step: str) -> None:
    assert set(PERMISSIONS["steps"][step]["table"]) == _called(step)
