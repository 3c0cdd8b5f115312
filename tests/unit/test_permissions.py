"""Every call that a step's code makes in a target account is declared, and the session policy holds what it is authorised as.

The code is read, not run: a call that is added without its permission is refused by AWS alone, and no emulator tells.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import boto3
import botocore.session
import pytest
from botocore import xform_name
from botocore.hooks import HierarchicalEmitter
from ecs_release.aws.clients import Connections, Target
from ecs_release.aws.permissions import AUTHORISED_AS, CALLS, PERMISSIONS, ROLES, STEPS

ROOT = Path(__file__).resolve().parents[2]
CODE = ROOT / "lambda_src" / "ecs_release"
PACKAGE = "ecs_release"
SERVICES = ("ecr", "ecs", "events", "iam", "scheduler")
# Methods that built-in types have too: with these names, only a receiver whose class is known counts.
BUILT_IN = {name for kind in (dict, list, set, str) for name in dir(kind)}


@cache
def _service(service: str) -> Any:
    return botocore.session.get_session().get_service_model(service)


@cache
def _operations(service: str) -> dict[str, str]:
    return {xform_name(name): name for name in _service(service).operation_names}


@dataclass(frozen=True)
class Module:
    """A module of the package: its functions and classes, and what it imports of the package."""

    name: str
    functions: dict[str, ast.FunctionDef]
    classes: dict[str, dict[str, ast.FunctionDef]]
    imports: dict[str, tuple[str, str]]
    services: frozenset[str]


@cache
def _module(name: str) -> Module | None:
    path = CODE / f"{name.replace('.', '/')}.py"
    if not path.exists():
        return None
    tree = ast.parse(path.read_text(encoding="utf-8"))
    imports = {
        alias.asname or alias.name: (node.module.removeprefix(PACKAGE).lstrip("."), alias.name)
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == PACKAGE
        for alias in node.names
    }
    services = {
        argument.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "client"
        for argument in node.args
        if isinstance(argument, ast.Constant) and argument.value in SERVICES
    }
    return Module(
        name,
        {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)},
        {
            node.name: {part.name: part for part in node.body if isinstance(part, ast.FunctionDef)}
            for node in tree.body
            if isinstance(node, ast.ClassDef)
        },
        imports,
        frozenset(services),
    )


Reached = tuple[str, str, str]
"""Module, class ("" for none) and function."""


class Walk:
    """What a function leads to. A method is found by its name in the classes that are made on the way."""

    def __init__(self, module: str, function: str) -> None:
        self.reached: set[Reached] = set()
        self.made: set[tuple[str, str]] = set()
        self.open: set[tuple[str, str | None]] = set()
        self._enter(module, "", function)

    def _enter(self, module: str, owner: str, function: str) -> None:
        where = _module(module)
        if where is None or (module, owner, function) in self.reached:
            return
        node = where.classes[owner].get(function) if owner else where.functions.get(function)
        if node is None:
            return
        self.reached.add((module, owner, function))
        kinds = dict(self._kinds(where, node))
        for part in ast.walk(node):
            if isinstance(part, ast.Name):
                self._name(where, part.id)
            elif isinstance(part, ast.Attribute):
                self._attribute(where, owner, part, kinds)

    def _name(self, where: Module, name: str) -> None:
        module, real = where.imports.get(name, (where.name, name))
        found = _module(module)
        if found is None:
            return
        if real in found.classes and (module, real) not in self.made:
            self.made.add((module, real))
            self._enter(module, real, "__init__")
            for method, kind in list(self.open):
                self._method(method, kind)
        elif real in found.functions:
            self._enter(module, "", real)

    def _attribute(self, where: Module, owner: str, part: ast.Attribute, kinds: dict[str, str]) -> None:
        receiver = ast.unparse(part.value)
        if receiver in where.imports:  # a module of the package
            module = ".".join(filter(None, where.imports[receiver]))
            self._enter(module, "", part.attr)
        elif receiver == "self" and owner:
            self._enter(where.name, owner, part.attr)
        else:
            made = part.value.func if isinstance(part.value, ast.Call) else None
            kind = kinds.get(receiver) or (made.id if isinstance(made, ast.Name) else None)
            if kind is not None or part.attr not in BUILT_IN:
                self.open.add((part.attr, kind))
                self._method(part.attr, kind)

    def _method(self, method: str, kind: str | None) -> None:
        for module, name in list(self.made):
            found = _module(module)
            known = kind is not None and any(kind == made for _, made in self.made)
            if found is not None and method in found.classes[name] and (not known or kind == name):
                self._enter(module, name, method)

    def _kinds(self, where: Module, node: ast.FunctionDef) -> Iterator[tuple[str, str]]:
        """Names in a function whose class the code says: annotated ones, and ones that are made there."""
        for argument in (*node.args.args, *node.args.kwonlyargs):
            if argument.annotation is not None:
                yield argument.arg, ast.unparse(argument.annotation)
        for part in ast.walk(node):
            if (
                isinstance(part, ast.Assign)
                and isinstance(part.targets[0], ast.Name)
                and isinstance(part.value, ast.Call)
                and isinstance(part.value.func, ast.Name)
            ):
                yield part.targets[0].id, part.value.func.id

    def calls(self) -> set[str]:
        """The AWS operations in all functions reached, of the services that their modules have clients of."""
        found: set[str] = set()
        for module, owner, function in self.reached:
            where = _module(module)
            assert where is not None
            node = where.classes[owner][function] if owner else where.functions[function]
            names = {part.attr for part in ast.walk(node) if isinstance(part, ast.Attribute)}
            names |= {
                str(part.args[0].value)
                for part in ast.walk(node)
                if isinstance(part, ast.Call)
                and ast.unparse(part.func).endswith(".get_paginator")
                and isinstance(part.args[0], ast.Constant)
            }
            for service in where.services:
                found |= {
                    f"{service}:{_operations(service)[name]}" for name in names & _operations(service).keys()
                }
        return found


@cache
def _walk(step: str) -> Walk:
    return Walk(f"steps.{step}", step)


def _made_by(step: str) -> set[str]:
    return _walk(step).calls()


@pytest.mark.parametrize("step", ROLES)
def test_a_step_declares_the_calls_that_its_code_makes(step: str) -> None:
    assert set(CALLS[step]) == _made_by(step)


def test_every_module_with_a_client_of_a_target_is_reached() -> None:
    """Else the test above would pass over calls."""
    with_clients = {
        path.relative_to(CODE).with_suffix("").as_posix().replace("/", ".")
        for path in CODE.rglob("*.py")
        if re.search(r"onnections\.client\(", path.read_text(encoding="utf-8"))
    }
    reached = {module for step in ROLES for module, _, _ in _walk(step).reached}
    assert with_clients
    assert with_clients <= reached


@pytest.mark.parametrize("call", sorted({call for calls in CALLS.values() for call in calls}))
def test_a_call_needs_the_action_of_its_own_name(call: str) -> None:
    service, name = call.split(":")
    assert name in _operations(service).values()
    assert call in AUTHORISED_AS[call]


@pytest.mark.parametrize("call", sorted(AUTHORISED_AS))
def test_a_call_that_hands_roles_on_needs_iam_pass_role(call: str) -> None:
    """By the SDK's model: an argument that is a role, or that names a task definition to run, which has roles."""
    service, name = call.split(":")
    shape = _service(service).operation_model(name).input_shape
    hands_on = name.startswith(("Put", "Register", "Update")) and _names_a_role(shape)
    assert (
        ("iam:PassRole" in AUTHORISED_AS[call]) == hands_on == ("passesRolesTo" in PERMISSIONS["calls"][call])
    )


def _names_a_role(shape: Any, depth: int = 4) -> bool:
    if depth == 0:
        return False
    if shape.type_name == "list":
        return _names_a_role(shape.member, depth)
    if shape.type_name != "structure":
        return False
    return any(
        "rolearn" in name.lower() or name == "taskDefinition" or _names_a_role(member, depth - 1)
        for name, member in shape.members.items()
    )


@pytest.mark.parametrize("step", ROLES)
def test_the_session_of_a_step_holds_what_its_calls_are_authorised_as(
    step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    requests: list[dict[str, Any]] = []

    class Sts:
        meta = SimpleNamespace(events=HierarchicalEmitter(), endpoint_url="https://sts.example")

        def assume_role(self, **request: Any) -> Any:
            requests.append(request)
            raise AssertionError("asked")

    monkeypatch.setattr(boto3, "client", lambda *_, **__: Sts())
    role = "arn:aws:iam::111111111111:role/r"
    target = Target("a", "111111111111", "us-east-1", role_arn=role, reader_role_arn=role)
    connections = Connections(
        {"a": target}, STEPS[step], write=ROLES[step] == "deployment", session_name="test"
    )
    with pytest.raises(AssertionError, match="asked"):
        connections._assume(target)()
    (statement,) = json.loads(requests[0]["Policy"])["Statement"]
    assert statement["Resource"] == "*"
    assert set(statement["Action"]) == {action for call in _made_by(step) for action in AUTHORISED_AS[call]}
    assert (
        len(requests[0]["Policy"]) <= 2048
    )  # https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html


def test_every_action_is_granted_in_one_place() -> None:
    granted = [action for actions in PERMISSIONS["grants"].values() for action in actions]
    assert sorted(granted) == sorted({action for actions in AUTHORISED_AS.values() for action in actions})


def test_what_is_more_than_the_call_s_own_name_has_a_source() -> None:
    for call, known in PERMISSIONS["calls"].items():
        plain = known["authorisedAs"] == [call]
        assert plain or (known["why"] and all(source.startswith("https://") for source in known["sources"]))
