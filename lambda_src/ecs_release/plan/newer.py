"""A revision that somebody else registered after the one that is live: found, compared, and taken as the base or not.

Terraform, CDK and CloudFormation register revisions that nothing deploys where they leave what runs to the releases
(docs/living-with-iac.md).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from ecs_release.aws.comparison import Difference, differing_members, same_definition
from ecs_release.aws.task_definitions import (
    CONTENT_TAG,
    TaskDefinition,
    TaskDefinitions,
    content_digest,
    copy_with_images,
    outline,
)
from ecs_release.errors import ItemError
from ecs_release.plan.choose import choose_containers
from ecs_release.plan.findings import Finding

NEWEST = "newest"

# How far back the base of a revision with our tag is looked for, and among the images of how many containers.
_BASES = 200
_CONTAINERS = 8
_SHOWN = 12


@dataclass(frozen=True)
class Newer:
    """The newest revision that somebody else registered after the live one.

    Attributes
    ----------
    definition : its outline.
    differences : what differs from the live one, by name.
    """

    definition: TaskDefinition
    differences: tuple[Difference, ...]

    def beside(self, images: Mapping[str, str]) -> tuple[Difference, ...]:
        """The differences that are left when these containers get their images from the manifest all the same."""
        return tuple(
            difference
            for difference in self.differences
            if difference[1] != "image" or difference[0] not in images
        )


def find_newer(definitions: TaskDefinitions, live: TaskDefinition) -> Newer | None:
    """The newest ACTIVE revision of the live one's family that is newer than it and not ours; None where there is none."""
    for found in definitions.newer(live.family, live.revision):
        if found.active and not _is_ours(found, definitions):
            now = definitions.describe(live.arn)
            tags = [(None, f"tag {key}") for key in _differing_tags(now, found)]
            return Newer(outline(found), (*differing_members(now.body, found.body), *tags))
    return None


def _is_ours(found: TaskDefinition, definitions: TaskDefinitions) -> bool:
    """Whether a release registered it: it is what a release makes of the revision and the images that its tag stands for.

    The tag alone proves nothing: who makes a new revision out of ours, in the console for instance, takes its tags along.
    """
    if found.content is None:
        return False
    made_from = _base_of(found)
    if made_from is None:
        return False
    base, images = made_from
    try:
        return same_definition(copy_with_images(definitions.describe(base), images), found.body)
    except ItemError:  # deleted since: the tag fits, and nothing says otherwise
        return True


def _base_of(found: TaskDefinition) -> tuple[str, dict[str, str]] | None:
    """ARN of the base and the images that give the tag's value; None where none do."""
    stem = found.arn.rpartition(":")[0]
    for number in range(found.revision - 1, max(0, found.revision - 1 - _BASES), -1):
        for images in _choices(found.images):
            if content_digest(f"{stem}:{number}", images) == found.content:
                return f"{stem}:{number}", images
    return None


def _choices(images: Mapping[str, str]) -> Iterator[dict[str, str]]:
    """The images that a manifest may have named: of any of the containers, or of none (a copy of what was deregistered)."""
    if len(images) > _CONTAINERS:
        yield dict(images)
        yield from ({name: image} for name, image in images.items())
        yield {}
        return
    for count in range(len(images), -1, -1):
        for names in itertools.combinations(images, count):
            yield {name: images[name] for name in names}


def _differing_tags(live: TaskDefinition, newer: TaskDefinition) -> Sequence[str]:
    was, now = ({t["key"]: t["value"] for t in one.tags if _kept(t["key"])} for one in (live, newer))
    return sorted(key for key in {*was, *now} if was.get(key) != now.get(key))


def _kept(key: str) -> bool:
    return key != CONTENT_TAG and not key.lower().startswith("aws:")


def choose_base(
    live: TaskDefinition,
    newer: Newer | Finding | None,
    base: str,
    images: Mapping[str, str],
) -> tuple[TaskDefinition, list[Finding]]:
    """Which revision is copied, and what has to be said of it.

    Parameters
    ----------
    newer : what somebody else registered after the live revision; a finding where that could not be asked.
    base : "live" or "newest".
    images : container -> image that the item sets.
    """
    if newer is None:
        return live, []
    if isinstance(newer, Finding):
        return live, [Finding("E233", newer.values) if base == NEWEST else newer]
    differences = newer.beside(images)
    if not differences:  # either one would become the same
        return live, []
    there = newer.definition
    values = {
        "newer": f"{there.family}:{there.revision}",
        "live": f"{live.family}:{live.revision}",
        "differences": in_words(differences),
    }
    if base != NEWEST:
        return live, [Finding("W232", values)]
    missing = choose_containers(there, images, exact=True).findings
    if missing:
        lacking = ", ".join(f'"{finding.values["container"]}"' for finding in missing)
        return live, [Finding("E232", {**values, "missing": lacking, "containers": ", ".join(there.images)})]
    return there, [Finding("W233", values)]


def in_words(differences: Sequence[Difference]) -> str:
    """``cpu; container api: environment LOG_LEVEL, command``

    >>> in_words([(None, "cpu"), ("api", "environment LOG_LEVEL"), ("api", "command")])
    'cpu; container api: environment LOG_LEVEL, command'
    """
    shown = differences[:_SHOWN]
    parts = [
        (f"container {container}: " if container else "") + ", ".join(label for _, label in group)
        for container, group in itertools.groupby(shown, key=lambda difference: difference[0])
    ]
    more = len(differences) - len(shown)
    return "; ".join([*parts, *([f"{more} more"] if more else [])])
