"""An item of a release: one ECS service or one scheduled task, and the images it gets."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal, TypeAlias

Key: TypeAlias = tuple[str, str, str]
"""What an item is across releases: (target, kind, name). The name tells it from every other item of its target and kind."""

_RULE = "rule:"  # no name of AWS's has a colon


def shared_key(key: Key) -> Key | None:
    """The key that a rule on a bus and a schedule in a group of that name had both, in records of earlier versions.

    None of an item whose key was its own then as well: only a rule without targetId on a custom bus is named like a schedule.
    """
    target, kind, name = key
    name = name.removeprefix(_RULE)
    return (target, kind, name) if kind == "task" and _may_be_either(name) else None


def key_of_rule(shared: Key) -> Key:
    """The key of the rule that :func:`shared_key` is said of; that key itself is the schedule's."""
    target, kind, name = shared
    return target, kind, f"{_RULE}{name}"


def full_name(key: Key) -> str:
    """``service:cluster/name``, ``rule:bus/name#targetId`` or ``schedule:group/name``: one item's alone, in its target."""
    _, kind, name = key
    if name.startswith(_RULE):
        return name
    if kind == "service":
        return f"service:{name}"
    # Neither the default bus nor a target's id is in a schedule's name, and of partner buses there are two slashes or more.
    return f"schedule:{name}" if "#" not in name and name.count("/") == 1 else f"{_RULE}{name}"


def command_name(key: Key) -> str:
    """What the commands that are printed call an item: as short as goes, in full where another kind of task could have the name."""
    return full_name(key) if shared_key(key) else key[2]


def names_of(key: Key) -> frozenset[str]:
    """All that a person may call an item; one of several targets of a rule by the rule's name as well."""
    name = key[2]
    return frozenset({full_name(key), name, name.removeprefix(_RULE).partition("#")[0]})


def _may_be_either(name: str) -> bool:
    """Whether a name may be a rule's on its bus and a schedule's in its group. Partner buses have slashes of their own."""
    parts = name.split("/")
    return len(parts) == 2 and parts[0] != "default" and "#" not in name


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
        """Two targets of one rule are two items, and a rule on a bus is another one than the schedule in a group of that name."""
        if self.target_id:
            return self.target, self.kind, f"{self.name}#{self.target_id}"
        key = self.target, self.kind, self.name
        return key_of_rule(key) if shared_key(key) else key


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
