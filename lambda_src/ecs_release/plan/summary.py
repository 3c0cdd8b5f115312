"""The plan in the thousand characters that an approval has."""

from __future__ import annotations

from ecs_release.errors import in_one_line
from ecs_release.plan.text import (
    Document,
    cell,
    common_cluster,
    digest_unknown,
    grouped_warnings,
    headline,
    origin_changes,
    shortened,
    updates_in_reading_order,
    usual_registry,
    where,
)

APPROVAL_CHARACTERS = 900
"""CodePipeline shows 1,000 characters (API_ManualApproval CustomData); the rest is left for what surrounds them."""

_SUMMARY_NAME = 80  # the summary clips what is longer, so that one name can't push out the rest


def approval_summary(plan: Document, allow_stale: bool = False) -> str:
    """One line for the approval: what would happen, blocked and warnings first, then as many changes as fit."""
    common, usual = common_cluster(plan), usual_registry(plan)
    parts = [headline(plan)]
    if allow_stale:
        parts.append("ATTENTION: will be deployed even if what is live changes after this plan")
    blocked = [where(item, common) for item in plan["items"] if item["action"] == "blocked"]
    if blocked:
        parts.append("BLOCKED: " + shortened([_clipped(name) for name in blocked], 200))
    updates = updates_in_reading_order(plan)
    unknown = [where(i, common) for i in updates if any(map(digest_unknown, i["images"].values()))]
    if unknown:
        parts.append("DIGEST UNKNOWN: " + shortened([_clipped(name) for name in unknown], 120))
    moves = [
        f"{_clipped(name)} {_clipped(old)} -> {_clipped(new)}"
        for name, old, new in origin_changes(plan, common)
    ]
    if moves:
        parts.append("ANOTHER REGISTRY OR REPOSITORY: " + shortened(moves, 250))
    if usual and updates:
        parts.append(f"images in {_clipped(usual)} where no other registry is named")
    for group in grouped_warnings(plan, common)[:4]:
        about = f"{len(group.names)} items" if len(group.names) > 1 else group.names[0]
        parts.append(f"{group.title[:120]} ({about})")
    changes = [" ".join(cell(item, common, usual)) for item in updates]
    text = " | ".join(map(_part, parts))
    place = f"{common}: " if common else ""
    room = APPROVAL_CHARACTERS - len(text) - len(place) - 40
    if changes and room > 40:
        text += f" | {_part(place + shortened(changes, room))}"
    return text[:APPROVAL_CHARACTERS].encode("ascii", "replace").decode()


def _part(text: str) -> str:
    """One part of the line: what it quotes begins no other part and no other line."""
    return in_one_line(text).replace("|", "/")


def _clipped(text: str) -> str:
    """Both ends of a text that is too long: a registry's name stands at one, a tag at the other."""
    half = _SUMMARY_NAME // 2
    return text if len(text) <= _SUMMARY_NAME else f"{text[: half - 2]}...{text[-half + 1 :]}"
