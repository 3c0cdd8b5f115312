"""What the plan finds: one finding about one item, with a code of ``plan/codes.py``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ecs_release.plan.codes import CODES


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was found about one item: its code, and what differs from item to item.

    Examples
    --------
    >>> Finding("E206", {"status": "DRAINING"}).message
    'the service is DRAINING, not ACTIVE; wait until it is gone, then create it again or take it out of the manifest.'
    """

    code: str
    values: Mapping[str, str] = field(default_factory=dict)
    ignored: bool = False

    @property
    def blocks(self) -> bool:
        """Whether the item can't be released; else it is a warning, or ignored."""
        return self.code.startswith("E") and not self.ignored

    @property
    def message(self) -> str:
        """The sentence for a person."""
        return CODES[self.code].text.format(**self.values)

    @property
    def fact(self) -> str:
        """The sentence without what to do, and without a stop at its end."""
        return CODES[self.code].said.format(**self.values).rstrip(".;")

    def document(self) -> dict[str, Any]:
        """The form that ``plan --json`` has."""
        level = "ignored" if self.ignored else "problem" if self.blocks else "warning"
        return {"code": self.code, "level": level, "message": self.message, "values": dict(self.values)}


def messages(findings: Iterable[Finding], *, blocking: bool) -> tuple[str, ...]:
    """The sentences of what blocks, or of what is a warning; not of what is ignored."""
    return tuple(f.message for f in findings if f.blocks is blocking and not f.ignored)


def accepted(findings: Iterable[Finding], ignore: Sequence[str]) -> list[Finding]:
    """The findings, those that the manifest ignores at this item marked so. One that guards a promise never is."""
    return [
        replace(finding, ignored=True)
        if finding.code in ignore and CODES[finding.code].overridable
        else finding
        for finding in findings
    ]
