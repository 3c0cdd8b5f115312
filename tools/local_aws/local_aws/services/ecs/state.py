"""What Amazon ECS remembers, per account and Region."""

from __future__ import annotations

import copy
import re
import secrets
import string
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from local_aws.kernel.calls import ApiError, Call
from local_aws.kernel.server import Server
from local_aws.services.ecs.rollout_rules import RolloutRule

MAX_TAGS = 50


@dataclass
class TaskDefinition:
    """One revision. ``members`` is the raw JSON of its registration, tags aside, plus AWS's defaults."""

    arn: str
    family: str
    revision: int
    members: dict[str, Any]
    tags: list[dict[str, str]]
    registered_at: float
    registered_by: str
    status: str = "ACTIVE"
    deregistered_at: float | None = None

    @property
    def images(self) -> list[str]:
        return [str(container.get("image", "")) for container in self.members["containerDefinitions"]]


@dataclass
class Task:
    """One task, as DescribeTasks shows it."""

    arn: str
    group: str
    started_by: str
    document: dict[str, Any]
    tags: list[dict[str, str]] = field(default_factory=list)

    @property
    def stopped(self) -> bool:
        return bool(self.document["lastStatus"] == "STOPPED")


@dataclass
class ServiceRevision:
    """The settings a deployment brings out; immutable."""

    arn: str
    task_definition: TaskDefinition
    members: dict[str, Any]
    created_at: float
    digests: dict[str, str] = field(default_factory=dict)


@dataclass
class ServiceDeployment:
    """The record of one rollout as a whole, its rollback included.

    Attributes
    ----------
    stage : the lifecycle stage; None of a rolling update.
    paused_until : when the PAUSE hook that holds it gives up; None while none does.
    continued : lifecycle stages whose PAUSE hook was continued, and when.
    rollback_asked_at : when StopServiceDeployment asked for it.
    """

    arn: str
    target: ServiceRevision
    sources: list[ServiceRevision]
    configuration: dict[str, Any]
    created_at: float
    status: str = "IN_PROGRESS"
    status_reason: str | None = None
    updated_at: float = 0.0
    finished_at: float | None = None
    stopped_at: float | None = None
    rollback: dict[str, Any] | None = None
    failure_count: int = 0
    stage: str | None = None
    paused_until: float | None = None
    continued: dict[str, float] = field(default_factory=dict)
    rollback_asked_at: float | None = None

    @property
    def over(self) -> bool:
        return self.status not in ("PENDING", "IN_PROGRESS", "ROLLBACK_REQUESTED", "ROLLBACK_IN_PROGRESS")


@dataclass
class Deployment:
    """One entry of a service's ``deployments``.

    Attributes
    ----------
    digests : what each image's tag meant when it began: ECS resolves it once for each deployment, also for one that goes back
        (https://docs.aws.amazon.com/AmazonECS/latest/developerguide/deployment-type-ecs.html, "container image resolution").
    drained_at : when it left for good, of one that is DRAINING.
    stalled_at : when the service's events said why it does not get on.
    dies_at : when the containers of its tasks exit next; None where they do not.
    died_at : when they did, as long as no others have been started in their place.
    """

    id: str
    revision: ServiceRevision
    service_deployment: ServiceDeployment
    rule: RolloutRule
    created_at: float
    updated_at: float
    status: str = "PRIMARY"
    rollout_state: str = "IN_PROGRESS"
    rollout_state_reason: str = ""
    running: int = 0
    pending: int = 0
    failed: int = 0
    is_rollback: bool = False
    digests: dict[str, str] = field(default_factory=dict)
    drained_at: float | None = None
    stalled_at: float | None = None
    dies_at: float | None = None
    died_at: float | None = None
    tasks: list[Task] = field(default_factory=list)
    crashed: list[Task] = field(default_factory=list)


@dataclass
class Service:
    """A service. ``members`` is the raw JSON of its creation and updates."""

    arn: str
    name: str
    cluster_name: str
    cluster_arn: str
    members: dict[str, Any]
    task_definition: TaskDefinition
    desired_count: int
    tags: list[dict[str, str]]
    created_at: float
    status: str = "ACTIVE"
    deployments: list[Deployment] = field(default_factory=list)
    service_deployments: list[ServiceDeployment] = field(default_factory=list)
    last_completed: ServiceRevision | None = None
    last_completed_deployment: Deployment | None = None
    events: list[dict[str, Any]] = field(default_factory=list)

    @property
    def controller(self) -> str:
        return str((self.members.get("deploymentController") or {}).get("type", "ECS"))

    @property
    def configuration(self) -> dict[str, Any]:
        """The deployment configuration with AWS's defaults."""
        given = self.members.get("deploymentConfiguration") or {}
        defaults: dict[str, Any] = {
            "deploymentCircuitBreaker": {"enable": False, "rollback": False},
            "maximumPercent": 200,
            "minimumHealthyPercent": 100,
        }
        if self.controller == "ECS":
            defaults.update(strategy="ROLLING", bakeTimeInMinutes=0)
        return {**defaults, **given}

    @property
    def primary(self) -> Deployment | None:
        return next((entry for entry in self.deployments if entry.status == "PRIMARY"), None)

    def say(self, message: str, at: float) -> None:
        """Put a line into the service's events; AWS keeps the latest hundred."""
        entry = {"id": new_uuid(), "createdAt": at, "message": f"(service {self.name}) {message}"}
        self.events = [entry, *self.events[:99]]


@dataclass
class Store:
    """The ECS of one account in one Region."""

    account: str
    region: str
    families: dict[str, list[TaskDefinition]] = field(default_factory=dict)
    services: dict[tuple[str, str], Service] = field(default_factory=dict)
    tasks: dict[str, Task] = field(default_factory=dict)

    def arn(self, resource: str) -> str:
        return f"arn:{partition(self.region)}:ecs:{self.region}:{self.account}:{resource}"

    def cluster(self, name: str | None) -> Any:
        """Return moto's cluster by name or ARN.

        Raises
        ------
        ApiError
            ClusterNotFoundException.
        """
        from moto.ecs.models import ecs_backends  # noqa: PLC0415 (moto loads backends on demand)

        short = (name or "default").rpartition("/")[2]
        found = ecs_backends[self.account][self.region].clusters.get(short)
        if found is None or found.status == "INACTIVE":
            raise ApiError("ClusterNotFoundException", "Cluster not found.")
        return found

    def service(self, cluster: Any, name: str) -> Service | None:
        return self.services.get((cluster.name, name.rpartition("/")[2]))

    def newest(self, family: str) -> TaskDefinition | None:
        """Return the newest ACTIVE revision of a family: what a name without a revision means."""
        active = [entry for entry in self.families.get(family, ()) if entry.status == "ACTIVE"]
        return active[-1] if active else None

    def task_definition(self, reference: str) -> TaskDefinition | None:
        """Return a revision by ``family``, ``family:revision`` or ARN."""
        match = re.fullmatch(r"(?:arn:[^/]+:task-definition/)?([^:/]+)(?::(\d+))?", reference)
        if not match:
            return None
        family, revision = match.groups()
        if revision is None:
            return self.newest(family)
        entries = self.families.get(family, [])
        number = int(revision)
        return entries[number - 1] if 0 < number <= len(entries) else None


ROLLBACKS = ("new", "promoted")


class Estate:
    """Every account's ECS, under one lock.

    Attributes
    ----------
    visibility_delay : seconds until a service deployment can be seen.
    draining_seconds : how long a deployment that has lost its last task stays to be seen as DRAINING.
    rollback_primary : what goes back after a failed deployment: a "new" deployment, or the old one "promoted" again.
    minute_seconds : how many seconds a minute of bake time or of a hook's patience takes.
    """

    def __init__(self, server: Server, clock: Callable[[], float] = time.time) -> None:
        self.server = server
        self.clock = clock
        self.lock = threading.RLock()
        self.reset()
        self._stores: dict[tuple[str, str], Store] = {}

    def store(self, call: Call) -> Store:
        key = (call.account, call.region)
        return self._stores.setdefault(key, Store(*key))

    def stores(self) -> list[Store]:
        return list(self._stores.values())

    def reset(self) -> None:
        self.visibility_delay = 1.0  # AWS gives no figure
        self.draining_seconds = 0.0
        self.rollback_primary = "new"
        self.minute_seconds = 60.0

    def configure(self, wanted: dict[str, Any]) -> None:
        """Change how rollouts go; see the attributes.

        Raises
        ------
        ValueError
            If there is no such setting, or no such value of it.
        """
        known = {"visibility", "draining", "minute", "rollback"}
        if not wanted or set(wanted) - known:
            raise ValueError(f"write some of {', '.join(sorted(known))}")
        if wanted.get("rollback", "new") not in ROLLBACKS:
            raise ValueError(f"rollback is one of {', '.join(ROLLBACKS)}")
        self.visibility_delay = float(wanted.get("visibility", self.visibility_delay))
        self.draining_seconds = float(wanted.get("draining", self.draining_seconds))
        self.minute_seconds = float(wanted.get("minute", self.minute_seconds))
        self.rollback_primary = wanted.get("rollback", self.rollback_primary)


def partition(region: str) -> str:
    if region.startswith("cn-"):
        return "aws-cn"
    return "aws-us-gov" if region.startswith("us-gov-") else "aws"


def check_tags(tags: list[dict[str, str]] | None) -> list[dict[str, str]]:
    """Check tags as AWS does (https://docs.aws.amazon.com/AmazonECS/latest/developerguide/ecs-using-tags.html)."""
    tags = copy.deepcopy(tags or [])
    keys = [str(tag.get("key", "")) for tag in tags]
    if len(keys) > MAX_TAGS:
        raise ApiError("InvalidParameterException", f"Too many tags: the maximum is {MAX_TAGS}.")
    if len(set(keys)) != len(keys):
        raise ApiError(
            "InvalidParameterException",
            "Duplicate tag keys found. Please note that Tag keys are case insensitive.",
        )
    for key in keys:
        if not key or len(key) > 128 or key.lower().startswith("aws:"):
            raise ApiError("InvalidParameterException", f"Tag key '{key}' is empty, too long or reserved.")
    return tags


def new_uuid() -> str:
    text = secrets.token_hex(16)
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def new_number() -> str:
    """Return nineteen digits, as deployments and service revisions are named."""
    return str(secrets.randbelow(9 * 10**18) + 10**18)


def new_deployment_name() -> str:
    """Return 21 letters and digits, as service deployments are named."""
    alphabet = string.ascii_letters + string.digits
    return "".join(secrets.choice(alphabet) for _ in range(21))


def page(items: list[Any], call: Call, name: str, default: int, largest: int) -> dict[str, Any]:
    """Cut one page out of a list, by ``maxResults`` and ``nextToken``."""
    size = int(call.input.get("maxResults") or default)
    if not 1 <= size <= largest:
        raise ApiError("InvalidParameterException", f"maxResults must be between 1 and {largest}.")
    try:
        start = int(call.input.get("nextToken") or 0)
    except ValueError:
        raise ApiError("InvalidParameterException", "Invalid token") from None
    answer: dict[str, Any] = {name: items[start : start + size]}
    if start + size < len(items):
        answer["nextToken"] = str(start + size)
    return answer
