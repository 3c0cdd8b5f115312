"""The way back, looked at before it is needed: whether what "back" names is still there, and still means what ran.

A revision names its images, most of them by a tag. A lifecycle policy expires images
(https://github.com/aws/containers-roadmap/issues/1078), and a tag is pushed again: ECS resolves it to a digest once a
deployment, and a rollback is a new one (https://github.com/aws/amazon-ecs-agent/issues/4226). Which digest ran, the
service's revisions tell. A scheduled task has none: each of its runs resolves the tag anew, so for it the tag is what is meant.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from ecs_release.aws.clients import Connections
from ecs_release.aws.patience import side_by_side
from ecs_release.aws.registry import Meaning, Registry
from ecs_release.aws.service_revisions import REVISIONS_MOST, ServiceRevision
from ecs_release.aws.services import Services
from ecs_release.aws.task_definitions import TaskDefinition
from ecs_release.aws.trouble import explain
from ecs_release.errors import ItemError, OddAnswerError, TargetUnreachableError, UnavailableError
from ecs_release.manifest.images import registry_and_repository, with_digest
from ecs_release.manifest.item import Key, Service
from ecs_release.plan.decide import PlannedItem
from ecs_release.plan.definitions import Definitions
from ecs_release.plan.findings import Finding
from ecs_release.plan.image_back import ImageBack, Outcome, image_back, images_to_look_up
from ecs_release.plan.live import READERS, Live

GONE, MOVED, CHANGED, NO_REVISION, NOT_KNOWN = "W262", "W263", "W264", "W265", "W266"
LEFT_AS_IT_IS, NOT_NOW = "W267", "W268"
UNREACHABLE = frozenset({GONE, CHANGED, NO_REVISION, LEFT_AS_IT_IS, NOT_NOW})
"""Findings that say that an item can't be put back."""


@dataclass(frozen=True)
class Goal:
    """A revision to go back to, or that runs.

    Attributes
    ----------
    definition : the revision, where it was read already.
    digests : container -> digest that ran, where it is known already.
    revisions : ARNs of the service revisions that may tell the digests.
    """

    target: str
    arn: str
    is_service: bool
    definition: TaskDefinition | None = None
    digests: Mapping[str, str] = field(default_factory=dict)
    revisions: Sequence[str] = ()


@dataclass(frozen=True)
class Found:
    """What was found out about a :class:`Goal`.

    Attributes
    ----------
    images : container -> what becomes of its image; empty where the revision can't be read.
    digests : container -> digest that ran, as far as known.
    trouble : what is wrong with the revision itself.
    """

    images: Mapping[str, ImageBack] = field(default_factory=dict)
    digests: Mapping[str, str] = field(default_factory=dict)
    trouble: Finding | None = None

    @property
    def pins(self) -> dict[str, str]:
        """Container -> image by its digest, of those whose tag does not mean what ran any more."""
        return {name: one.pinned for name, one in self.images.items() if one.outcome is Outcome.MOVED}


def look_at(goals: Sequence[Goal], connections: Connections, definitions: Definitions) -> list[Found]:
    """Look at every goal, in the order given; each question is asked once for all of them. Reads only.

    What can't be asked is not known, and no error.

    Raises
    ------
    PassingError
        when AWS does not let all of it be read now.
    """
    with ThreadPoolExecutor(READERS) as pool:
        revisions, untold = _revisions(goals, connections, pool)
        digests = [dict(goal.digests) or _digests(goal, revisions) for goal in goals]
        read = list(side_by_side(pool, lambda goal: _definition(goal, definitions), goals))
        wanted: dict[tuple[str, str], set[str]] = {}
        for goal, definition, ran in zip(goals, read, digests, strict=True):
            if isinstance(definition, TaskDefinition):
                for image in images_to_look_up(definition, ran):
                    key = (goal.target, "/".join(registry_and_repository(image)))
                    wanted.setdefault(key, set()).add(image)
        registries = {target: Registry(connections, target) for target, _ in wanted}
        calls = [(target, sorted(images)) for (target, _), images in wanted.items()]
        answers = side_by_side(pool, lambda call: registries[call[0]].look_up(call[1]), calls)
        meanings: dict[str, dict[str, Meaning]] = {}
        for (target, _), answer in zip(calls, answers, strict=True):
            meanings.setdefault(target, {}).update(answer)
    return [
        Found(
            {
                name: image_back(
                    image,
                    ran.get(name),
                    meanings.get(goal.target, {}),
                    resolved=goal.is_service,
                    untold=next((untold[arn] for arn in goal.revisions if arn in untold), ""),
                )
                for name, image in definition.images.items()
            },
            ran,
        )
        if isinstance(definition, TaskDefinition)
        else Found(digests=ran, trouble=definition)
        for goal, definition, ran in zip(goals, read, digests, strict=True)
    ]


def _definition(goal: Goal, definitions: Definitions) -> TaskDefinition | Finding:
    """The revision, or what is wrong with it: an INACTIVE one can be copied, one that is being deleted is gone soon.

    https://docs.aws.amazon.com/AmazonECS/latest/developerguide/delete-task-definition-v2.html
    """
    try:
        definition = goal.definition or definitions.describe(goal.target, goal.arn)
    except OddAnswerError as error:
        return Finding(NOT_KNOWN, {"what": goal.arn, "why": f"can't be read: {error}"})
    except ItemError:
        return Finding(NO_REVISION, {"before": goal.arn, "why": "is gone"})
    except (ClientError, BotoCoreError, TargetUnreachableError, UnavailableError) as error:
        return Finding(NOT_KNOWN, {"what": goal.arn, "why": f"can't be read: {explain(error).rstrip('.')}"})
    if definition.body.get("status") == "DELETE_IN_PROGRESS":
        return Finding(NO_REVISION, {"before": goal.arn, "why": "is being deleted"})
    return definition


def _revisions(
    goals: Sequence[Goal], connections: Connections, pool: ThreadPoolExecutor
) -> tuple[dict[str, ServiceRevision], dict[str, str]]:
    """The service revisions that the goals name, by ARN; of those that can't be asked for, why."""
    wanted: dict[str, list[str]] = {}
    for goal in goals:
        if not goal.digests:
            wanted.setdefault(goal.target, []).extend(goal.revisions)
    calls = [
        (target, list(dict.fromkeys(arns))[start : start + REVISIONS_MOST])
        for target, arns in wanted.items()
        for start in range(0, len(dict.fromkeys(arns)), REVISIONS_MOST)
    ]

    def describe(call: tuple[str, list[str]]) -> dict[str, ServiceRevision] | str:
        try:
            return Services(connections, call[0]).revisions(call[1])
        except (ClientError, BotoCoreError, UnavailableError, OddAnswerError) as error:
            return f"ECS can't be asked which digest runs: {explain(error).rstrip('.')}"

    found: dict[str, ServiceRevision] = {}
    untold: dict[str, str] = {}
    for (_, arns), answer in zip(calls, side_by_side(pool, describe, calls), strict=True):
        if isinstance(answer, str):
            untold |= dict.fromkeys(arns, answer)
        else:
            found |= answer
    return found, untold


def _digests(goal: Goal, revisions: Mapping[str, ServiceRevision]) -> dict[str, str]:
    """What runs as the goal, by the service revisions that ECS names as current."""
    digests: dict[str, str] = {}
    for arn in goal.revisions:
        revision = revisions.get(arn)
        if revision is not None and revision.task_definition == goal.arn:
            digests |= revision.digests
    return digests


def with_way_back(
    plan: Sequence[PlannedItem],
    live: Sequence[Live],
    left: Mapping[Key, Mapping[str, Any]],
    connections: Connections,
    definitions: Definitions,
) -> list[PlannedItem]:
    """The plan, each item with what its way back is worth; of one that does not change, whether it still runs what it names.

    Parameters
    ----------
    left : what earlier releases left, by (target, kind, name): whose before-image is inherited has its digests from there.
    """
    asked = [place for place, planned in enumerate(plan) if planned.action != "blocked"]
    goals = [_goal(plan[place], live[place], left) for place in asked]
    result = list(plan)
    for place, found in zip(asked, look_at(goals, connections, definitions), strict=True):
        result[place] = judged(plan[place], found)
    return result


def _goal(planned: PlannedItem, live: Live, left: Mapping[Key, Mapping[str, Any]]) -> Goal:
    inherited = planned.before != planned.live and planned.inherited
    digests = (left.get(planned.item.key) or {}).get("digests") or {} if planned.inherited else {}
    revisions = live.service.current_service_revisions if live.service is not None and not inherited else ()
    if not digests and planned.before == live.completed:
        digests = live.completed_digests
    return Goal(
        planned.item.target,
        planned.before,
        isinstance(planned.item, Service),
        live.definition if live.definition and live.definition.arn == planned.before else None,
        {str(name): str(digest) for name, digest in digests.items()},
        revisions,
    )


def judged(planned: PlannedItem, found: Found) -> PlannedItem:
    """An item with what was found about the state it would go back to. Pure."""
    if planned.action == "update":
        changed = {name for name, change in planned.images.items() if change["from"] != change["to"]}
        more = tuple(back_findings(planned.before, found, changed))
    elif planned.before == planned.live:
        more = tuple(_unchanged_findings(planned, found))
    else:
        more = ()
    return replace(planned, digests=found.digests, findings=(*planned.findings, *more))


def back_findings(before: str, found: Found, changed: set[str]) -> Iterator[Finding]:
    """What is worth saying of a way back. Pure.

    Parameters
    ----------
    changed : the containers that the release changes; of the others, what nobody knows holds for the way forward as well.
    """
    if found.trouble is not None:
        yield found.trouble
    for name, one in found.images.items():
        if one.outcome is Outcome.UNKNOWN and name in changed:
            yield Finding(NOT_KNOWN, {"what": one.image, "why": one.why})
        elif one.outcome is Outcome.MOVED:
            now = f"means {one.now} by now" if one.now else "is gone"
            yield Finding(MOVED, {"image": one.image, "ran": str(one.ran), "now": now, "pinned": one.pinned})
        elif one.outcome is Outcome.LOST and one.now:
            yield Finding(CHANGED, {"image": one.image, "ran": str(one.ran), "now": one.now})
        elif one.outcome is Outcome.LOST:
            yield Finding(GONE, {"image": one.image, "before": before, "code": one.why})


def _unchanged_findings(planned: PlannedItem, found: Found) -> Iterator[Finding]:
    for name in planned.images:
        one = found.images.get(name)
        if one is None:
            continue
        if one.ran and one.now and one.outcome is not Outcome.SAME:
            item = planned.item
            assert isinstance(item, Service)  # noqa: S101 - nothing else has a digest that ran
            where = f"--cluster {shlex.quote(item.cluster)} --service {shlex.quote(item.service)}"
            yield Finding(
                "W226",
                {
                    "image": one.image,
                    "ran": one.ran,
                    "now": one.now,
                    "pinned": with_digest(one.image, one.now),
                    "command": f"aws ecs update-service {where} --force-new-deployment",
                },
            )
        if one.outcome is Outcome.LOST:
            runs = one.pinned if one.ran and one.now else one.image
            yield Finding("W227", {"image": runs, "code": one.why})
