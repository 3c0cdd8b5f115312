"""Rules that say how ECS rollouts end, set through ``POST /_local/rollouts``."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

OUTCOMES = ("complete", "fail", "circuit_breaker_rollback", "stall", "wait")


@dataclass(frozen=True)
class RolloutRule:
    """How a rollout ends, and after how many seconds.

    Attributes
    ----------
    service, image
        Patterns searched in the service's name and in each container's image; None fits all.
    outcome
        "wait" goes nowhere until the rules are replaced, and then by the one that fits.
    creation
        Whether the rule is for the first deployment of a new service; those complete at once otherwise.
    reason
        Text for the stop reason of the crashing tasks; of a "stall" what the service's events say of it.
    dies_after
        Seconds after which a task's container exits, first counted from the rollout's completion: ``after_completion.py``.
    """

    service: str | None = None
    image: str | None = None
    outcome: str = "complete"
    seconds: float = 2.0
    creation: bool = False
    reason: str | None = None
    dies_after: float | None = None

    def fits(self, service: str, images: Iterable[str]) -> bool:
        if self.service is not None and not re.search(self.service, service):
            return False
        return self.image is None or any(re.search(self.image, image) for image in images)


def parse(document: Mapping[str, Any]) -> RolloutRule:
    """Read one rule.

    Raises
    ------
    ValueError
        If a key, an outcome or a pattern is not valid.
    """
    unknown = set(document) - set(RolloutRule.__dataclass_fields__)
    if unknown:
        raise ValueError(f"a rollout rule has no {', '.join(sorted(unknown))}")
    rule = RolloutRule(**document)
    if rule.outcome not in OUTCOMES:
        raise ValueError(f"outcome {rule.outcome!r} is none of {', '.join(OUTCOMES)}")
    if rule.dies_after is not None and not rule.dies_after > 0:
        raise ValueError(f"dies_after is {rule.dies_after!r}, not a number of seconds above 0")
    for pattern in (rule.service, rule.image):
        _check_pattern(pattern)
    return rule


def _check_pattern(pattern: str | None) -> None:
    try:
        re.compile(pattern or "")
    except re.error as error:
        raise ValueError(f"{pattern!r} is not a regular expression: {error}") from None


class RolloutRules:
    """The rules in force; the first match wins."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._rules: list[RolloutRule] = []

    def replace(self, documents: list[dict[str, Any]]) -> None:
        rules = [parse(document) for document in documents]
        with self._lock:
            self._rules = rules

    def reset(self) -> None:
        self.replace([])

    def as_documents(self) -> list[dict[str, Any]]:
        return [asdict(rule) for rule in self._rules]

    def choose(self, service: str, images: list[str], creation: bool) -> RolloutRule:
        """Return the rule for a deployment that starts now; it changes afterwards only where it says "wait"."""
        for rule in self._rules:
            if rule.creation == creation and rule.fits(service, images):
                return rule
        return RolloutRule(seconds=0.0 if creation else 2.0, creation=creation)
