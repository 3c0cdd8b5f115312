"""AWS as a plan and a verdict of scheduled tasks see it: rules, a schedule, task definitions, and a simulator of policies."""

from __future__ import annotations

import json
from collections import Counter
from fnmatch import fnmatchcase
from types import SimpleNamespace
from typing import Any

from botocore.exceptions import ClientError
from ecs_release.aws.clients import Target
from ecs_release.aws.raw import RAW
from ecs_release.aws.retries import ThrottleCount

ACCOUNT = "111111111111"
PREFIX = f"arn:aws:ecs:eu-west-1:{ACCOUNT}:task-definition/"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/starter"
TASK_ROLE = f"arn:aws:iam::{ACCOUNT}:role/task"
CLUSTER = f"arn:aws:ecs:eu-west-1:{ACCOUNT}:cluster/prod"


def allow(action: str, resource: str = "*", effect: str = "Allow", **conditions: str) -> dict[str, Any]:
    """A statement; conditions as ``iam_PassedToService="..."``."""
    return {"action": action, "resource": resource, "effect": effect, "conditions": conditions}


ENOUGH = [allow("ecs:RunTask"), allow("iam:PassRole"), allow("ecs:TagResource")]


def rule_target(reference: str, **parameters: Any) -> dict[str, Any]:
    ecs = {"TaskDefinitionArn": reference, "TaskCount": 1, **parameters}
    return {"Id": "t", "Arn": CLUSTER, "RoleArn": ROLE, "EcsParameters": ecs}


def schedule_of(reference: str, **parameters: Any) -> dict[str, Any]:
    """A schedule with a templated target."""
    target = {key: value for key, value in rule_target(reference, **parameters).items() if key != "Id"}
    return {"Name": "nightly", "State": "ENABLED", "ScheduleExpression": "rate(1 day)", "Target": target}


def universal_of(reference: str, **parameters: Any) -> dict[str, Any]:
    """A schedule with a universal target."""
    text = json.dumps({"Cluster": "prod", "TaskDefinition": reference, **parameters})
    target = {"Arn": "arn:aws:scheduler:::aws-sdk:ecs:runTask", "RoleArn": ROLE, "Input": text}
    return {"Name": "nightly", "State": "ENABLED", "ScheduleExpression": "rate(1 day)", "Target": target}


class Aws:
    """Worker, connections and clients in one.

    Parameters
    ----------
    statements : of the role that starts the tasks.
    states : revision -> status; others are ACTIVE.
    gone : revisions that can't be described.
    refuse : operation -> error code.
    """

    def __init__(
        self,
        *,
        targets: list[dict[str, Any]] | None = None,
        schedule: dict[str, Any] | None = None,
        statements: list[dict[str, Any]] = ENOUGH,
        revisions: int = 42,
        states: dict[int, str] | None = None,
        gone: frozenset[int] = frozenset(),
        refuse: dict[str, str] | None = None,
        detail: dict[str, Any] | None = None,
    ) -> None:
        self.connections = self
        self.targets = {"default": Target("default", ACCOUNT, "eu-west-1", "arn:w", "arn:r")}
        self.throttles = ThrottleCount()
        self.rule_targets, self.schedule, self.statements = targets or [], schedule, statements
        self.revisions, self.states, self.gone = revisions, states or {}, gone
        self.refuse, self.detail = refuse or {}, detail or {}
        self.rule: dict[str, Any] = {"State": "ENABLED"}
        self.asked: list[dict[str, Any]] = []
        self.calls: Counter[str] = Counter()

    def client(self, *_: Any, **__: Any) -> Aws:
        return self

    def _call(self, operation: str) -> None:
        self.calls[operation] += 1
        if operation in self.refuse:
            code = self.refuse[operation]
            raise ClientError({"Error": {"Code": code, "Message": "not for you"}}, operation)

    def list_targets_by_rule(self, **_: Any) -> Any:
        self._call("ListTargetsByRule")
        return {RAW: {"Targets": self.rule_targets}}

    def describe_rule(self, **_: Any) -> Any:
        self._call("DescribeRule")
        return self.rule

    def get_schedule(self, **_: Any) -> Any:
        self._call("GetSchedule")
        return {RAW: self.schedule}

    def describe_task_definition(self, taskDefinition: str, **__: Any) -> Any:
        self._call("DescribeTaskDefinition")
        family, _, number = taskDefinition.rpartition("/")[2].partition(":")
        revision = int(number) if number else max(self._active(), default=0)
        if not revision or revision in self.gone or revision > self.revisions:
            error = {"Code": "ClientException", "Message": "Unable to describe task definition."}
            raise ClientError({"Error": error}, "DescribeTaskDefinition")
        body = {
            "taskDefinitionArn": f"{PREFIX}{family}:{revision}",
            "family": family,
            "revision": revision,
            "status": self.states.get(revision, "ACTIVE"),
            "containerDefinitions": [{"name": "job", "image": "job:1"}],
            "taskRoleArn": TASK_ROLE,
            "executionRoleArn": "ecsTaskExecutionRole",
        }
        return {RAW: {"taskDefinition": body}}

    def get_paginator(self, operation: str) -> Any:
        operations = {
            "simulate_principal_policy": self._simulate,
            "list_task_definitions": self._list_task_definitions,
        }
        return SimpleNamespace(paginate=operations[operation])

    def _list_task_definitions(self, familyPrefix: str, status: str, sort: str) -> Any:
        self._call("ListTaskDefinitions")
        assert (status, sort) == ("ACTIVE", "DESC")
        yield {"taskDefinitionArns": [f"{PREFIX}{familyPrefix}:{number}" for number in self._active()[::-1]]}

    def _active(self) -> list[int]:
        """Revisions, oldest first."""
        numbers = range(1, self.revisions + 1)
        return [n for n in numbers if self.states.get(n, "ACTIVE") == "ACTIVE" and n not in self.gone]

    def _simulate(self, **asked: Any) -> Any:
        self.asked.append(asked)
        self._call("SimulatePrincipalPolicy")
        context = {e["ContextKeyName"]: e["ContextKeyValues"][0] for e in asked["ContextEntries"]}
        for action in asked["ActionNames"]:
            specific = [self._result(action, resource, context) for resource in asked["ResourceArns"]]
            # One page a resource: the answer may be cut anywhere.
            for one in specific:
                yield {
                    "EvaluationResults": [
                        {
                            "EvalActionName": action,
                            "EvalResourceName": "*",
                            "EvalDecision": "implicitDeny",
                            "ResourceSpecificResults": [one],
                        }
                    ]
                }

    def _result(self, action: str, resource: str, context: dict[str, str]) -> dict[str, Any]:
        decision, missing = "implicitDeny", set()
        for statement in self.statements:
            if not fnmatchcase(action, statement["action"]) or not fnmatchcase(
                resource, statement["resource"]
            ):
                continue
            wanted = {key.replace("_", ":", 1): value for key, value in statement["conditions"].items()}
            missing |= wanted.keys() - context.keys()
            if all(context.get(key) == value for key, value in wanted.items()):
                if statement["effect"] == "Deny":
                    decision = "explicitDeny"
                elif decision == "implicitDeny":
                    decision = "allowed"
        return {
            "EvalResourceName": resource,
            "EvalResourceDecision": decision,
            "MissingContextValues": sorted(missing),
            **self.detail,
        }
