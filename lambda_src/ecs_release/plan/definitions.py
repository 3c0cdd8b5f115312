"""Task definitions as a plan needs them: each read once, and of a family whether somebody else registered a newer revision.

Terraform, CDK and CloudFormation register revisions that nothing deploys where they leave what runs to the releases
(docs/living-with-iac.md).
"""

from __future__ import annotations

import contextlib
import itertools
import threading
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from ecs_release.aws.answers import understanding
from ecs_release.aws.clients import Connections
from ecs_release.aws.comparison import Difference, differing_members, same_definition
from ecs_release.aws.task_definitions import (
    NEWEST_MARK,
    TaskDefinition,
    TaskDefinitions,
    content_digest,
    copy_with_images,
    kept_tags,
    outline,
    parse_reference,
)
from ecs_release.errors import ItemError, OddAnswerError

LOOK_AGAIN_SECONDS = 2
"""After which a cluster, service or revision that ECS does not know is looked for once more: its reads lag behind its writes."""

# How far back the base of a revision with our tag is looked for, and among the images of how many containers.
_BASES = 200
_CONTAINERS = 8


class Definitions:
    """Task definitions in outline: each is read once, however many items run it, and none that is known already.

    Parameters
    ----------
    known : (target, outline) of revisions that an earlier attempt has read. A revision's content never changes
        (https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task_definition_parameters.html).
    """

    def __init__(self, connections: Connections, known: Iterable[tuple[str, TaskDefinition]] = ()) -> None:
        self._connections = connections
        self._found = {(target, definition.arn): definition for target, definition in known}
        self._known = set(self._found)
        self._newer: dict[tuple[str, str], Newer | None] = {}
        self._reading: dict[tuple[str, str], threading.Lock] = {}

    def describe_live(self, target: str, reference: str) -> TaskDefinition:
        """As :meth:`describe`, of what is live: mostly its family's newest revision, which :meth:`newer` needs as well.

        One call tells both. It is noted in the outline, so that a further attempt need not ask again: in a throttled account none
        would come to its end.
        """
        family, revision = parse_reference(reference)
        if revision is not None and (target, reference) not in self._found:
            with contextlib.suppress(OddAnswerError):  # of another revision than the one that is asked for
                newest = self._newest(target, family)
                if newest is not None and newest.revision == revision:
                    marked = replace(newest, body={**newest.body, NEWEST_MARK: True})
                    self._found.setdefault((target, reference), marked)
        try:
            return self.describe(target, reference)
        except ItemError:  # one answer that something is not there proves nothing
            time.sleep(LOOK_AGAIN_SECONDS)
            return self.describe(target, reference)

    def _newest(self, target: str, family: str) -> TaskDefinition | None:
        """The family's newest ACTIVE revision; None where it has none."""
        try:
            with understanding("the family's newest revision"):
                return self.describe(target, family)
        except ItemError:
            return None

    def newer(self, target: str, live: TaskDefinition) -> Newer | None:
        """What somebody else registered after the live revision; see :func:`find_newer`."""
        if NEWEST_MARK in live.body:
            return None
        newest = self._newest(target, live.family)
        if newest is None or newest.revision <= live.revision:
            return None
        key = (target, live.arn)
        with self._reading.setdefault((target, f"after {live.arn}"), threading.Lock()):
            if key not in self._newer:
                self._newer[key] = find_newer(TaskDefinitions(self._connections, target), live)
            return self._newer[key]

    def describe(self, target: str, reference: str) -> TaskDefinition:
        """As :meth:`TaskDefinitions.describe`, in outline."""
        key = (target, reference)
        with self._reading.setdefault(key, threading.Lock()):
            if key not in self._found:
                self._found[key] = outline(TaskDefinitions(self._connections, target).describe(reference))
            return self._found[key]

    def without(self, arns: Collection[str]) -> Definitions:
        """What is known apart from these revisions and from what is newest: to be read again."""
        kept = [(target, definition) for target, definition in self._pinned() if definition.arn not in arns]
        again = Definitions(self._connections, kept)
        again._known = self._known & {(target, definition.arn) for target, definition in kept}
        return again

    def news(self) -> list[tuple[str, TaskDefinition]]:
        """What was read here and will be the same next time: a family's newest revision may be another one by then."""
        return [
            (target, definition)
            for target, definition in self._pinned()
            if (target, definition.arn) not in self._known
        ]

    def _pinned(self) -> list[tuple[str, TaskDefinition]]:
        return [
            (key[0], definition)
            for key, definition in list(self._found.items())
            if parse_reference(key[1])[1] is not None
        ]


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
    was, now = ({tag["key"]: tag["value"] for tag in kept_tags(one)} for one in (live, newer))
    return sorted(key for key in {*was, *now} if was.get(key) != now.get(key))
