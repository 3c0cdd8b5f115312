"""The errors of a release, typed by what the reader can do about them.

The state machine knows them by class name (``statemachine/retry.json``): the ones here that end in a
refusal are never retried, because a second try with the same input can't end differently.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

# A cause holds 32,768 characters (https://docs.aws.amazon.com/step-functions/latest/apireference/API_TaskFailedEventDetails.html),
# and Lambda puts more than the message into it; a larger one ends the execution with an error that nothing can catch.
_MESSAGE_BYTES = 20_000


class EcsReleaseError(Exception):
    """Base of all errors this package raises on purpose; the message is written for a person."""


class SettingsError(EcsReleaseError):
    """The function or command was set up wrongly; the message names the setting."""


class RefusalError(EcsReleaseError):
    """A release can't begin; nothing was touched.

    Attributes
    ----------
    problems : why, all of it. They travel in the record; the message holds as many as fit, for whoever looks at the execution.
    """

    def __init__(self, *problems: str) -> None:
        self.problems = problems
        super().__init__("\n".join(fitting(problems, _MESSAGE_BYTES)))


class ManifestInvalidError(RefusalError):
    """The manifest has errors."""


class ReleaseRejectedError(RefusalError):
    """A check before the first write failed."""


class ReleaseLockedError(RefusalError):
    """Another release holds the lock, or its workers may still be running."""


class ObjectNotThereYetError(EcsReleaseError):
    """S3 does not have an object that the build has just written; trying again later is right."""


class LockLostError(EcsReleaseError):
    """This release no longer holds the lock: it must not write any more."""


class NotDueError(EcsReleaseError):
    """Somebody asks a function for what is not due, by the record or by Step Functions; it did nothing."""


class TargetUnreachableError(EcsReleaseError):
    """The role of a target can't be assumed; the message names account and role."""


class PassingError(EcsReleaseError):
    """Trouble that may pass, so it says nothing about what was asked for: another try can end better."""


class UnfinishedError(PassingError):
    """This invocation's time was up before its work was done; another one goes on from there, as often as it takes."""


class UnavailableError(PassingError):
    """AWS gave no answer, or one about a fault of its own, at every attempt."""


class OddAnswerError(EcsReleaseError):
    """An answer of AWS lacks something, or holds something unexpected; the message says what. The problem of one item."""


class ItemError(EcsReleaseError):
    """One item can't go on; its siblings can. The message becomes the item's reason."""


class MissingError(ItemError):
    """AWS says that an item's service, cluster, rule, target or schedule is not there; one such answer proves nothing."""


class SupersededError(ItemError):
    """Somebody else changed the item since the release read it; what they did is never overwritten."""


class RefusedError(ItemError):
    """AWS refused a write, and nothing of it was applied."""


class ItemBusyError(EcsReleaseError):
    """Another worker is at this item right now; trying again later is right."""


class RecordChangedError(EcsReleaseError):
    """A conditional write found another state than expected: someone else wrote in between."""


class CleanUpUnfinishedError(EcsReleaseError):
    """AWS refused to deregister what nothing uses; the release itself is over, and the next attempt goes on from there."""


def _stored_bytes(line: str) -> int:
    return len(line.encode()) + 3  # and what a list takes for each


def in_one_line(text: str) -> str:
    """Somebody else's words (AWS's, a person's) as a part of a message: nothing in them ends a line or drives a terminal."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def fitting(
    lines: Sequence[str],
    room: int,
    *,
    rest: str = "... and {} more",
    size: Callable[[str], int] = _stored_bytes,
) -> list[str]:
    """As many lines as ``room`` holds, and how many more there were.

    Parameters
    ----------
    room : bytes, or what ``size`` counts in.
    rest : the last line where some don't fit; the braces stand for their number.
    size : what one line takes up.
    """
    used = 0
    for place, line in enumerate(lines):
        used += size(line)
        if used > room:
            return [*lines[:place], rest.format(len(lines) - place)]
    return list(lines)
