"""What the releases table holds, as data."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import Enum, auto
from typing import Any

from ecs_release.errors import SettingsError
from ecs_release.manifest.item import Item, Key, Rule, Schedule, ScheduledTask, Service
from ecs_release.record.machine import State
from ecs_release.record.statuses import ReleaseStatus

SCHEMA = 1
"""Version of the records; a reader refuses a newer one instead of misreading it."""


@dataclass(frozen=True)
class ReleaseRecord:
    """One release.

    Attributes
    ----------
    release : the execution's name.
    mode : "deploy", or "rollback" for one by hand.
    on_failure : "rollback", "stop", or for a rollback by hand "continue": as far back as possible.
    undid : of a rollback by hand, the oldest release that it undoes; the next one goes on from there.
    status : RUNNING until Report closes it.
    started, ended : ISO 8601, UTC.
    source : commit, author and pipeline execution, as far as known.
    waves : ``[{"wave", "batches": [first, last], "tasks": [...], "services": [...]}]``, batch numbers.
    prepare : batch numbers to prepare, one list a target.
    problems : why it was REJECTED.
    culprits : ``name: reason`` of the items that made it fail.
    unused : how many revisions it registered and did not use when it ended; the clean-up's work.
    failing_since : epoch seconds of the first bad verdict; None while there is none.
    begun_at : epoch seconds at which the first wave began; from then on production may have been touched.
    cut_by : the worker that writes the items, or has written them.
    turn, turn_before : names of the machine's present decision and of the one before, see :mod:`ecs_release.steps.due`.
    due : the machine's state as it was decided last: its next step, phase, wave and batches.
    """

    release: str
    execution: str
    epoch: int
    started: str
    status: str = ReleaseStatus.RUNNING
    label: str | None = None
    mode: str = "deploy"
    ended: str | None = None
    on_failure: str = "rollback"
    undid: str | None = None
    source: dict[str, str] = field(default_factory=dict)
    waves: list[dict[str, Any]] = field(default_factory=list)
    prepare: list[list[int]] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    culprits: list[str] = field(default_factory=list)
    failing_since: int | None = None
    begun_at: int | None = None
    cut_by: str | None = None
    unused: int = 0
    throttles: int = 0
    turn: str | None = None
    turn_before: str | None = None
    due: State = field(default_factory=State)
    schema: int = SCHEMA


@dataclass(frozen=True)
class ItemRecord:
    """One item of a release.

    Attributes
    ----------
    batch, number : its place; batches never mix waves, kinds or targets.
    item : the service, rule or schedule, as the manifest has it.
    action : "update" or "unchanged".
    images : container -> {"from", "to"}.
    base : ARN that the new revision is copied from.
    pinned : False for a rule or schedule that named a family without revision.
    before : ARN that "back" means: of a service its last completed deployment's.
    before_digests : container -> digest that ran as ``before``, as far as ECS told: by the time of a rollback it does not any more.
    live : ARN that was live when the release began; differs from ``before`` after a release that did not end whole.
    before_raw : JSON of the rule targets or of the schedule as they were.
    after : ARN of the new revision, once known.
    registered : whether this release registered it (and so may deregister it).
    same_as : range key of the item before it that needs the very same revision.
    previous_deployment : the service's PRIMARY deployment before the write.
    deployment_id : the deployment to prove.
    service_deployment : ARN of the service deployment that ECS named when that one was started.
    started_at : epoch seconds at which watching it began; of a changed item recorded right before it is written.
    written_at : epoch seconds at which a scheduled task's write was done; a read soon after may not show it yet.
    doubt, doubted_at : what the first of two looks saw that a verdict needs which no single look can give, and its epoch seconds.
    settled_at : epoch seconds at which its verdict was written, for the estimate of later plans.
    claim_by, claim_until : the worker that registers or writes it right now, and until when (epoch seconds).
    registering : whether a worker found no revision and set out to register one: what is found from then on is ours.
    ignored : findings of the plan that the manifest ignores, as ``code: sentence``.
    startable : ARN of the revision that the role which starts a scheduled task may start, as IAM said when the release began.
    start_doubt : why that role may start nothing, as it was found then.
    rollback_to : what Rollback set: ``before``, or the copy made because ``before`` was deregistered, or because a tag in it
        does not mean any more what ran.
    rollback_registered : whether this release registered that copy (and so may deregister it where it was never set).
    rollback_unproven : whether nobody could tell if the tags of what was set still mean what ran.
    rollback_deployment, rollback_started_at : the deployment that goes back, to be proven like any other.
    rollback_stop : ARN of the service deployment that ECS was asked to go back from; then its own rollback is to be proven.
    left_alone : whether Rollback found that somebody else has changed it, or that it is gone, and has left it.
    bakes : at the last look its tasks ran, and only its bake time or somebody's word was waited for.
    completed_at, completed_count : of a service that is watched after its rollout (soak_seconds), epoch seconds at which its
        deployment was complete, and how many tasks of it ran then.
    inherited : whether ``before`` comes from an earlier release that did not end whole.
    memory_void : whether what an earlier release left is void, because somebody else has deployed since.
    revision : counts the changes of this record: whoever judges from an older copy can't write.
    """

    release: str
    batch: int
    number: int
    epoch: int
    item: Item
    action: str
    images: dict[str, dict[str, str]]
    base: str = ""
    pinned: bool = True
    before: str = ""
    before_digests: dict[str, str] = field(default_factory=dict)
    live: str = ""
    before_raw: str | None = None
    inherited: bool = False
    memory_void: bool = False
    after: str | None = None
    registered: bool = False
    same_as: str | None = None
    previous_deployment: str | None = None
    deployment_id: str | None = None
    service_deployment: str | None = None
    started_at: int | None = None
    written_at: int | None = None
    doubt: str | None = None
    doubted_at: int | None = None
    settled_at: int | None = None
    verdict: str = "PENDING"
    status: str = "PENDING"
    reason: str = ""
    claim_by: str | None = None
    claim_until: int | None = None
    registering: bool = False
    startable: str = ""
    start_doubt: str = ""
    warnings: list[str] = field(default_factory=list)
    ignored: list[str] = field(default_factory=list)
    rollback_to: str | None = None
    rollback_registered: bool = False
    rollback_unproven: bool = False
    rollback_deployment: str | None = None
    rollback_stop: str | None = None
    left_alone: bool = False
    bakes: bool = False
    completed_at: int | None = None
    completed_count: int | None = None
    rollback_started_at: int | None = None
    revision: int = 0

    @property
    def key(self) -> dict[str, str]:
        return {"pk": f"RELEASE#{self.release}", "sk": f"ITEM#{self.batch:05d}#{self.number:03d}"}

    @property
    def kind(self) -> str:
        return self.item.kind

    @property
    def name(self) -> str:
        return self.item.name

    @property
    def target(self) -> str:
        return self.item.target

    @property
    def wave(self) -> int:
        return self.item.wave

    @property
    def timeout_minutes(self) -> int:
        return self.item.timeout_minutes

    @property
    def state_key(self) -> Key:
        """What this item is across releases: (target, kind, name)."""
        return self.item.key

    @property
    def is_service(self) -> bool:
        return isinstance(self.item, Service)

    @property
    def service(self) -> Service:
        """The item, which the caller knows to be a service."""
        if not isinstance(self.item, Service):
            raise TypeError(f"{self.name} is no service")
        return self.item

    @property
    def task(self) -> ScheduledTask:
        """The item, which the caller knows to be a scheduled task."""
        if isinstance(self.item, Service):
            raise TypeError(f"{self.name} is no scheduled task")
        return self.item

    @property
    def new_images(self) -> dict[str, str]:
        return {container: change["to"] for container, change in self.images.items()}


def in_utc(moment: datetime) -> str:
    """An instant as the records have it: ISO 8601 with milliseconds and Z, so that text sorts by time."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


@dataclass(frozen=True)
class Lock:
    """Who may write.

    Attributes
    ----------
    holder : the release that may write; None once the lock was given back.
    left_by : the release it was taken from by force, whose workers may still be in the middle of a call.
    closed : whether everything that later releases must know of ``left_by`` is written.
    freed_at : epoch seconds at which it was given back; what was written before may not be read yet.
    """

    holder: str | None
    execution: str | None
    epoch: int
    left_by: str | None = None
    closed: bool = False
    freed_at: int | None = None


class Found(Enum):
    """What becomes of a revision that a release finds and would use."""

    FREE = auto()  # nobody is about to deregister it, and it is not this release's to deregister either
    TAKEN = auto()  # nothing used it, and this release has taken it over
    CONDEMNED = auto()  # it is being deregistered, or was a moment ago


@dataclass(frozen=True)
class UnusedRevision:
    """A revision that a release registered and that nothing used when the release ended.

    Attributes
    ----------
    state : "unused"; "taken" or "kept" by a later release, or by whom the clean-up found to run it; "condemned" from right
        before it is deregistered; "deregistered".
    release : whose it is to clean up; the one that has taken it.
    since : epoch seconds at which it came into this state.
    reason : why it could not be deregistered at the last attempt.
    """

    target: str
    arn: str
    release: str
    state: str
    since: int
    reason: str = ""

    @property
    def left(self) -> bool:
        """Whether it is still to be deregistered."""
        return self.state in ("unused", "condemned")


_RELEASE_FIELDS = {f.name for f in dataclasses.fields(ReleaseRecord)}
_ITEM_FIELDS = {f.name for f in dataclasses.fields(ItemRecord)} - {"item"}


def release_record(row: Mapping[str, Any]) -> ReleaseRecord:
    if int(row.get("schema", SCHEMA)) > SCHEMA:
        raise SettingsError(
            f"release {row.get('release')} was recorded by a newer version (schema {row['schema']}, known: {SCHEMA}); "
            "update the ecs-release command."
        )
    return ReleaseRecord(**{name: value for name, value in row.items() if name in _RELEASE_FIELDS})


def item_record(row: Mapping[str, Any]) -> ItemRecord:
    fields = {name: value for name, value in row.items() if name in _ITEM_FIELDS}
    # Earlier versions left alone whatever was SUPERSEDED.
    fields.setdefault("left_alone", row["status"] == "SUPERSEDED")
    return ItemRecord(item=_item(row), **fields)


def item_row(record: ItemRecord) -> dict[str, Any]:
    """An item's record as it is written; the members of what it holds stand beside its own, as they always have."""
    fields = {name: getattr(record, name) for name in _ITEM_FIELDS}
    item = record.item
    what = {name: getattr(item, name) for name in ("kind", "name", "target", "wave", "timeout_minutes")}
    match item:
        case Service():
            what |= {"cluster": item.cluster, "service": item.service}
        case Rule():
            what |= {"rule": item.rule, "event_bus": item.event_bus, "target_id": item.target_id}
        case Schedule():
            what |= {"schedule": item.schedule, "schedule_group": item.group}
    return {**what, **fields}


def _item(row: Mapping[str, Any]) -> Item:
    common: dict[str, Any] = {
        "images": {container: change["to"] for container, change in row["images"].items()},
        "target": row["target"],
        "wave": row["wave"],
        "timeout_minutes": row["timeout_minutes"],
    }
    if row["kind"] == "service":
        return Service(cluster=row["cluster"], service=row["service"], **common)
    if row.get("schedule") is not None:
        return Schedule(schedule=row["schedule"], group=row.get("schedule_group", "default"), **common)
    bus = row.get("event_bus", "default")
    return Rule(rule=row["rule"], event_bus=bus, target_id=row.get("target_id"), **common)
