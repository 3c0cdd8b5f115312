"""The fields of a manifest, each described once: name, meaning, pattern, example.

Validation (`values.py`) and the JSON Schema for editors (`schema.py`) both read this list.
The limits on names are AWS's own; the document a limit comes from stands beside it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["label", "name", "image", "images", "integer", "choice", "codes", "entries"]


@dataclass(frozen=True, slots=True)
class Field:
    """One key of the manifest.

    ``pattern`` is what the whole value must match, and ``rule`` says the same in words a person can follow.
    """

    name: str
    kind: Kind
    meaning: str
    example: str
    pattern: str = ""
    rule: str = ""
    minimum: int = 0
    maximum: int = 0
    choices: tuple[str, ...] = ()
    default: str = ""


LONGEST_LABEL = 128

LONGEST_MINUTES = 4980
"""The state machine runs for seven days (10,080 minutes). A rollout that fails at its deadline goes back, with the same deadline
again, and what comes before, between and after has two hours."""


def _ecs_name(name: str, meaning: str, example: str) -> Field:
    """The limit of CreateCluster, CreateService and ContainerDefinition in the Amazon ECS API Reference.

    "Up to 255 letters (uppercase and lowercase), numbers, underscores, and hyphens are allowed."
    """
    rule = "1 to 255 letters A-Z and a-z, digits, - and _"
    return Field(name, "name", meaning, example, pattern="[A-Za-z0-9_-]{1,255}", rule=rule)


def _events_name(name: str, meaning: str, example: str, default: str = "") -> Field:
    """The limit of PutRule and Target (EventBridge API) and of CreateSchedule (EventBridge Scheduler API)."""
    rule = "1 to 64 letters A-Z and a-z, digits, ., - and _"
    return Field(name, "name", meaning, example, "[.A-Za-z0-9_-]{1,64}", rule, default=default)


CONTAINER_NAME = _ecs_name("container name", "Name of a container in the task definition.", "service-a")

_SERVICE = _ecs_name(
    "service",
    "Name of the container in the task definition that gets the image. Needs image beside it.",
    "service-a",
)
IMAGE = Field(
    "image",
    "image",
    "Image to run: registry, repository and a tag other than latest, or a digest.",
    "111111111111.dkr.ecr.us-east-1.amazonaws.com/service-a:4.0.0",
)
_IMAGES = Field(
    "images",
    "images",
    "Container name -> image, for several containers; instead of service and image.",
    "{api: api:1.2.3, api-proxy: proxy:4.5}",
)
_TARGET = Field(
    "target",
    "name",
    "Named account and Region that the module was given; without it, the module's own.",
    "production-eu",
    pattern="[A-Za-z0-9._-]{1,64}",
    rule="1 to 64 letters A-Z and a-z, digits, ., - and _",
    default="default",
)
_WAVE = Field(
    "wave",
    "integer",
    "Waves are released one after another, lowest number first; within a wave all at once.",
    "1",
    minimum=0,
    maximum=9999,
    default="0",
)
_TIMEOUT = Field(
    "timeoutMinutes",
    "integer",
    "How long the rollout may take before it counts as failed.",
    "60",
    minimum=1,
    maximum=LONGEST_MINUTES,
    default="60",
)

# The codes of the plan's findings that may be ignored (``overridable`` in plan/codes.py; a test holds the two in step).
OVERRIDABLE = (
    *("E242", "E250"),
    *("W220", "W221", "W222", "W223", "W224", "W225", "W240", "W244", "W245", "W246", "W247", "W248", "W249"),
    *("W250", "W251", "W252", "W253"),
)
_IGNORE = Field(
    "ignore",
    "codes",
    "Codes of the plan's findings that are known and accepted here; they stay visible, as ignored.",
    "[W248]",
    choices=OVERRIDABLE,
)
_BASE = Field(
    "base",
    "choice",
    "Which revision is copied: the live one, or the newest that somebody else (Terraform, CDK, a person) registered after it; "
    "without it, what the module's input base says.",
    "newest",
    choices=("live", "newest"),
)

SERVICE_FIELDS: tuple[Field, ...] = (
    _SERVICE,
    _ecs_name("clusterName", "Name of the ECS cluster the service runs in.", "test-cluster"),
    _ecs_name("serviceName", "Name of the ECS service.", "test-service-a"),
    IMAGE,
    _IMAGES,
    _TARGET,
    _WAVE,
    _TIMEOUT,
    _IGNORE,
    _BASE,
)

TASK_FIELDS: tuple[Field, ...] = (
    _SERVICE,
    _events_name("cwRuleName", "Name of the EventBridge rule that runs the task.", "test-rating-cleanup"),
    Field(
        "eventBusName",
        "name",
        "Event bus of the rule.",
        "orders",
        # API_CreateEventBus; the names of partner event buses have slashes.
        pattern="[/.A-Za-z0-9_-]{1,256}",
        rule="1 to 256 letters A-Z and a-z, digits, /, ., - and _",
        default="default",
    ),
    _events_name(
        "targetId",
        "Id of the rule's target, where several targets run the same task definition family.",
        "rating-cleanup",
    ),
    _events_name("scheduleName", "Name of the EventBridge Scheduler schedule that runs the task.", "nightly"),
    _events_name("scheduleGroup", "Group of the schedule.", "reports", default="default"),
    IMAGE,
    _IMAGES,
    _TARGET,
    _WAVE,
    _TIMEOUT,
    _IGNORE,
    _BASE,
)

TOP_LEVEL_FIELDS: tuple[Field, ...] = (
    Field("release", "label", "Label of the release, kept as the text that was written.", "4.0"),
    Field(
        "onFailure",
        "choice",
        "What happens when an item fails: put everything back, or stop and leave everything as it is.",
        "rollback",
        choices=("rollback", "stop"),
        default="rollback",
    ),
    Field("tasks", "entries", "Scheduled tasks to release; they come before the services of their wave.", ""),
    Field("services", "entries", "ECS services to release.", ""),
)

# Keys of the top level that begin so are the author's own, as in Compose files: a place for anchors.
EXTENSION = "x-"
EXTENSION_PATTERN = f"{EXTENSION}[A-Za-z0-9_.-]*"
KNOWN_KEYS = frozenset(one.name for one in (*TOP_LEVEL_FIELDS, *TASK_FIELDS, *SERVICE_FIELDS))

# What people write when they mean a key, where the spelling alone does not lead there.
OTHER_NAMES = {
    "cluster": "clusterName",
    "container": "service",
    "containername": "service",
    "rule": "cwRuleName",
    "rulename": "cwRuleName",
    "schedule": "scheduleName",
    "timeout": "timeoutMinutes",
    "eventbus": "eventBusName",
    "bus": "eventBusName",
    "group": "scheduleGroup",
    "name": "serviceName",
    "version": "release",
}
