"""What ECS's events of a service say about a rollout that does not get on.

Where no task ever starts (no room, a quota, a role that can't be assumed), no stopped task tells why: the events do
(https://docs.aws.amazon.com/AmazonECS/latest/developerguide/service-event-messages-list.html). They are ECS's own words and name
resources; values of environment variables or secrets are not among them.
"""

from __future__ import annotations

import re
from datetime import datetime

from ecs_release.aws.answers import entries, moment, text
from ecs_release.aws.service_state import ServiceState
from ecs_release.errors import in_one_line

MOST_EVENTS = 3
_LONGEST_EVENT = 300

# What ECS says of a rollout that gets on.
_ROUTINE = re.compile(
    r"has reached a steady state|has started \d+ tasks|has stopped \d+ (running|pending) tasks|"
    r"registered \d+ (targets|instances)|has begun draining|deployment completed|"
    r"has begun to|updated computedDesiredCount|rebalanc|is AZ balanced|deployment in progress",
    re.IGNORECASE,
)
# The same trouble of another task is no news.
_TASK_ID = re.compile(r"\b[0-9a-f]{32}\b|\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b")
_WHO = re.compile(r"^\(service [^)]*\)\s*")


def trouble_since(service: ServiceState, since: datetime, most: int = MOST_EVENTS) -> list[str]:
    """The last different events since then that are no routine, newest first, each cut to a line."""
    said: dict[str, None] = {}
    for event in sorted(
        (e for e in entries(service.body, "events") if _at(e) >= since.timestamp()), key=_at, reverse=True
    ):
        message = text(event, "message")
        if message and not _ROUTINE.search(message):
            said.setdefault(_line(message))
    return list(said)[:most]


def _at(event: object) -> float:
    assert isinstance(event, dict)  # noqa: S101 - entries() gives nothing else
    created = moment(event, "createdAt")
    return created.timestamp() if created else 0.0


def _line(message: str) -> str:
    line = in_one_line(_TASK_ID.sub("...", _WHO.sub("", message)))
    return line if len(line) <= _LONGEST_EVENT else line[: _LONGEST_EVENT - 3] + "..."
