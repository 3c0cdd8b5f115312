"""One image on the way back: whether its name still means what ran. For the plan, and for the steps that go back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum, auto

from ecs_release.aws.registry import Meaning
from ecs_release.aws.task_definitions import TaskDefinition
from ecs_release.manifest.images import with_digest


class Outcome(Enum):
    """What becomes of one image on the way back."""

    SAME = auto()  # its name means what ran
    MOVED = auto()  # its tag does not, and what ran is there by its digest
    LOST = auto()  # what ran is gone
    UNKNOWN = auto()


@dataclass(frozen=True)
class ImageBack:
    """One image that "back" names.

    Attributes
    ----------
    ran : the digest that ran, where ECS tells.
    now : what its tag means now; None where it is gone or nobody knows.
    why : ECR's code for not having it, or why nobody knows.
    """

    image: str
    outcome: Outcome
    ran: str | None = None
    now: str | None = None
    why: str = ""

    @property
    def pinned(self) -> str:
        """The image by the digest that ran."""
        return with_digest(self.image, str(self.ran))


def image_back(
    image: str,
    ran: str | None,
    meanings: Mapping[str, Meaning],
    *,
    resolved: bool = True,
    untold: str = "",
) -> ImageBack:
    """What becomes of one image. Pure.

    Parameters
    ----------
    ran : the digest that ran, where ECS tells.
    meanings : what ECR says of the image, and of it by the digest that ran.
    resolved : whether ECS resolves its tag once; False for a scheduled task, whose every run follows the tag.
    untold : why ECS was not asked which digest ran; "" where it was.
    """
    found = meanings.get(image, Meaning(unknown="was not looked for"))
    if found.unknown:
        return ImageBack(image, Outcome.UNKNOWN, ran, why=found.unknown)
    if "@" in image or ran is None:
        if found.missing:
            return ImageBack(image, Outcome.LOST, ran, why=found.missing)
        if resolved and "@" not in image:
            why = f"can't be compared: {untold or 'ECS does not tell which digest runs'}"
            return ImageBack(image, Outcome.UNKNOWN, now=found.digest, why=why)
        return ImageBack(image, Outcome.SAME, ran, found.digest)
    if not found.missing and found.is_(ran):
        return ImageBack(image, Outcome.SAME, ran, found.digest)
    by_digest = meanings.get(with_digest(image, ran), Meaning(unknown="was not looked for"))
    if by_digest.unknown:
        return ImageBack(image, Outcome.UNKNOWN, ran, found.digest, by_digest.unknown)
    outcome = Outcome.LOST if by_digest.missing else Outcome.MOVED
    return ImageBack(image, outcome, ran, found.digest, found.missing or by_digest.missing or "")


def images_to_look_up(definition: TaskDefinition, ran: Mapping[str, str]) -> set[str]:
    """The names that a registry has to be asked for: each image, and each one that has a tag by the digest that ran."""
    return set(_names(definition, ran))


def _names(definition: TaskDefinition, ran: Mapping[str, str]) -> Iterator[str]:
    for name, image in definition.images.items():
        yield image
        if name in ran and "@" not in image:
            yield with_digest(image, ran[name])
