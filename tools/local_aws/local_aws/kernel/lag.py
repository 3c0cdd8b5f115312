"""Reads that lag behind writes: on request, a read shows what was there a random time of up to some seconds ago.

ECS's API is eventually consistent (https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_RunTask.html, "eventual
consistency"), and EventBridge asks to allow a short time for changes to take effect
(https://docs.aws.amazon.com/eventbridge/latest/APIReference/API_PutTargets.html). Each read draws its own lag, so a later one may
show an older state. An answer to a write is never old. ``POST /_local/lag {"seconds": 5}`` switches it on, 0 off;
``"workers": true`` for what Lambda workers read alone.

What was there is kept right before a write, by asking once more what was last asked about the thing: a thing that nobody has read
before has no past. ListServiceDeployments lags by its own delay (``POST /_local/visibility``).
"""

from __future__ import annotations

import json
import os
import random
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from local_aws.kernel.calls import Answer, ApiError, Call, failure

ALWAYS = "LOCAL_AWS_LAG"
"""In the environment of the server: how far reads of Lambda workers lag from the start and after every reset."""

Thing = tuple[str, ...]
"""What a call is about: a service, a rule, a schedule, or a family of task definitions."""


class Lag:
    """Delays what reads show; a guard of the server.

    Attributes
    ----------
    seconds : the longest lag; 0 for none.
    workers_only : only what Lambda workers read lags, so that a test sees what is.
    clock : seconds; tests have their own.
    """

    def __init__(self) -> None:
        self.clock: Callable[[], float] = time.time
        self._lock = threading.Lock()
        self.reset()

    def reset(self) -> None:
        with self._lock:
            always = float(os.environ.get(ALWAYS) or 0)
            self.seconds = always
            self.workers_only = bool(always)
            self._asked: dict[Thing, Call] = {}
            self._past: dict[Thing, list[tuple[float, Any]]] = {}

    def guard(self, call: Call, inner: Callable[[Call], Answer]) -> Answer:
        if not self.seconds:
            return inner(call)
        if call.key in _READS and not call.internal and (call.worker or not self.workers_only):
            return self._read(call, inner)
        if call.key not in _WRITES:
            return inner(call)
        before = {thing: self._now(thing, inner) for thing in self._written(call)}
        answer = inner(call)
        if answer.status < 300:
            now = self.clock()
            with self._lock:
                for thing, state in before.items():
                    self._remember(thing, now, state)
                if call.operation == "RegisterTaskDefinition":
                    made = answer.json()["taskDefinition"]
                    self._remember(("revision", call.region, made["taskDefinitionArn"]), now, None)
        return answer

    def _written(self, call: Call) -> list[Thing]:
        """What a write changes, with the service deployments of the service that it is about."""
        things = _written(call)
        services = {thing[1:4] for thing in things if thing[0] == "service"}
        with self._lock:
            known = [t for t in self._asked if t[0] == "service-deployment" and t[1:4] in services]
        return [*things, *known]

    def _remember(self, thing: Thing, now: float, state: Any) -> None:
        past = self._past.setdefault(thing, [])
        past[:] = [(moment, old) for moment, old in past if moment > now - self.seconds]
        past.append((now, state))

    def _now(self, thing: Thing, inner: Callable[[Call], Answer]) -> Any:
        """The thing as it is, or None where nobody has read it yet."""
        asked = self._asked.get(thing)
        if asked is None:
            return None
        answer = inner(asked)
        return dict(_things(asked, answer.json())).get(thing) if answer.status < 300 else None

    def _then(self, thing: Thing) -> Any:
        """The thing as a read that lags shows it; None for as it is."""
        since = self.clock() - random.uniform(0, self.seconds)  # noqa: S311 - a lag, not a secret
        with self._lock:
            return next((state for moment, state in self._past.get(thing, ()) if moment > since), None)

    def _read(self, call: Call, inner: Callable[[Call], Answer]) -> Answer:
        if call.operation == "DescribeTaskDefinition":
            return self._describe(call, inner)
        answer = inner(call)
        if answer.status >= 300:
            return answer
        document = answer.json()
        for thing, _ in list(_things(call, document)):
            self._asked[thing] = call
            past = self._then(thing)
            if past is not None:
                document = _with(call, document, thing, past)
        return replace(answer, body=json.dumps(document).encode())

    def _describe(self, call: Call, inner: Callable[[Call], Answer]) -> Answer:
        """A revision that was registered a moment ago is not known yet, and not the newest of its family."""
        reference = str(call.input.get("taskDefinition", ""))
        answer = inner(call)
        if answer.status >= 300:
            return answer
        made = answer.json()["taskDefinition"]
        since = self.clock() - random.uniform(0, self.seconds)  # noqa: S311

        def unknown(arn: str) -> bool:
            with self._lock:
                return any(moment > since for moment, _ in self._past.get(("revision", call.region, arn), ()))

        if not unknown(made["taskDefinitionArn"]):
            return answer
        if reference.rsplit("/", 1)[-1] == made["family"]:
            prefix, _, number = made["taskDefinitionArn"].rpartition(":")
            for revision in range(int(number) - 1, 0, -1):
                older = {**call.input, "taskDefinition": f"{prefix}:{revision}"}
                found = inner(_asking(call, older))
                active = found.status < 300 and found.json()["taskDefinition"]["status"] == "ACTIVE"
                if active and not unknown(f"{prefix}:{revision}"):
                    return found
        return failure(call, ApiError("ClientException", "Unable to describe task definition."))


_READS = frozenset(
    {
        "ecs:DescribeServiceDeployments",
        "ecs:DescribeServices",
        "ecs:DescribeTaskDefinition",
        "ecs:ListTaskDefinitions",
        "events:ListTargetsByRule",
        "scheduler:GetSchedule",
    }
)
_WRITES = frozenset(
    {
        "ecs:UpdateService",
        "ecs:DeleteService",
        "ecs:StopServiceDeployment",
        "ecs:ContinueServiceDeployment",
        "ecs:RegisterTaskDefinition",
        "ecs:DeregisterTaskDefinition",
        "events:PutTargets",
        "events:RemoveTargets",
        "scheduler:UpdateSchedule",
        "scheduler:DeleteSchedule",
    }
)


def _asking(call: Call, document: Mapping[str, Any]) -> Call:
    return replace(call, body=json.dumps(document).encode())


def _name(text: object) -> str:
    """The last part of an ARN, or a name."""
    return str(text).rsplit("/", 1)[-1]


def _family(reference: object) -> str:
    return _name(reference).partition(":")[0]


def _written(call: Call) -> list[Thing]:
    """What a write changes."""
    asked = call.input
    match call.key:
        case "ecs:UpdateService" | "ecs:DeleteService":
            cluster = _name(asked.get("cluster", "default"))
            return [("service", call.region, cluster, _name(asked["service"]))]
        case "ecs:StopServiceDeployment" | "ecs:ContinueServiceDeployment":
            cluster, service = _of_deployment(asked["serviceDeploymentArn"])
            return [("service", call.region, cluster, service)]
        case "ecs:RegisterTaskDefinition":
            return [("family", call.region, str(asked["family"]))]
        case "ecs:DeregisterTaskDefinition":
            return [("family", call.region, _family(asked["taskDefinition"]))]
        case "events:PutTargets" | "events:RemoveTargets":
            bus = _name(asked.get("EventBusName", "default"))
            return [("rule", call.region, bus, str(asked["Rule"]))]
    group = asked.get("GroupName") or call.params.get("groupName") or "default"
    return [("schedule", call.region, str(group), call.params["Name"])]


def _things(call: Call, document: Mapping[str, Any]) -> Iterator[tuple[Thing, Any]]:
    """What an answer shows, thing by thing."""
    match call.operation:
        case "DescribeServices":
            cluster = _name(call.input.get("cluster", "default"))
            for body in document.get("services", ()):
                yield ("service", call.region, cluster, body["serviceName"]), body
        case "DescribeServiceDeployments":
            for body in document.get("serviceDeployments", ()):
                arn = body["serviceDeploymentArn"]
                yield ("service-deployment", call.region, *_of_deployment(arn), arn), body
        case "ListTargetsByRule":
            bus = _name(call.input.get("EventBusName", "default"))
            yield ("rule", call.region, bus, str(call.input["Rule"])), document
        case "GetSchedule":
            group = call.params.get("groupName", "default")
            yield ("schedule", call.region, group, call.params["Name"]), document
        case "ListTaskDefinitions":
            if not call.input.get("nextToken"):
                yield ("family", call.region, str(call.input.get("familyPrefix", ""))), document


def _with(call: Call, document: dict[str, Any], thing: Thing, past: Any) -> dict[str, Any]:
    """The answer with one thing as it was."""
    lists = {
        "DescribeServices": ("services", "serviceName"),
        "DescribeServiceDeployments": ("serviceDeployments", "serviceDeploymentArn"),
    }
    if call.operation not in lists:
        shown: dict[str, Any] = past
        return shown
    members, name = lists[call.operation]
    bodies = [past if body[name] == thing[-1] else body for body in document[members]]
    return {**document, members: bodies}


def _of_deployment(arn: object) -> tuple[str, str]:
    """The cluster and the service in the ARN of a service deployment."""
    parts = [*str(arn).split("/"), "", ""]
    return parts[1], parts[2]
