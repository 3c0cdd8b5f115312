"""An item of a release: one ECS service or one scheduled task, and the images it gets."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal, TypeAlias

Key: TypeAlias = tuple[str, str, str]
"""What an item is across releases: (target, kind, name)."""


@dataclass(frozen=True, kw_only=True)
class _Item(ABC):
    """What every item has.

    Attributes
    ----------
    images : container name -> image, in the order written.
    exact : True for the ``images`` form: the containers must exist. False for ``service`` + ``image``, where in a task definition
        with one container another name is only a warning.
    target : the account and Region it is in, by the name that the module was given.
    ignore : codes of the plan's findings that are known and accepted, sorted.
    base : which revision is copied, "live" or "newest"; None is what the module says.
    path : where it stands, for example ``services[3]``; of the first entry when several were merged. No part of what makes two
        items equal.
    """

    images: Mapping[str, str] = field(default_factory=dict)
    exact: bool = True
    target: str = "default"
    wave: int = 0
    timeout_minutes: int = 60
    ignore: tuple[str, ...] = ()
    base: str | None = None
    path: str = field(default="", compare=False)

    kind: ClassVar[Literal["service", "task"]]

    @property
    @abstractmethod
    def name(self) -> str:
        """What it is called in messages and records."""

    @property
    def key(self) -> Key:
        return self.target, self.kind, self.name


@dataclass(frozen=True, kw_only=True)
class Service(_Item):
    """An ECS service: ``clusterName`` and ``serviceName``."""

    kind: ClassVar[Literal["service"]] = "service"
    cluster: str
    service: str

    @property
    def name(self) -> str:
        return f"{self.cluster}/{self.service}"


@dataclass(frozen=True, kw_only=True)
class Rule(_Item):
    """A task that an EventBridge rule runs: ``cwRuleName``, ``eventBusName``, ``targetId``."""

    kind: ClassVar[Literal["task"]] = "task"
    rule: str
    event_bus: str = "default"
    target_id: str | None = None

    @property
    def name(self) -> str:
        """The rule's, with its bus where that is not the default one."""
        return self.rule if self.event_bus == "default" else f"{self.event_bus}/{self.rule}"

    @property
    def key(self) -> Key:
        """Two targets of one rule are two items."""
        return self.target, self.kind, f"{self.name}#{self.target_id}" if self.target_id else self.name


@dataclass(frozen=True, kw_only=True)
class Schedule(_Item):
    """A task that an EventBridge Scheduler schedule runs: ``scheduleName``, ``scheduleGroup``."""

    kind: ClassVar[Literal["task"]] = "task"
    schedule: str
    group: str = "default"

    @property
    def name(self) -> str:
        return f"{self.group}/{self.schedule}"


ScheduledTask: TypeAlias = Rule | Schedule
Item: TypeAlias = Service | Rule | Schedule
