"""The plan in words: for a terminal, for the approval's thousand characters, for a pull request's comment.

All three are made from the plan's JSON form, so that the Build stage can make them from what the function answered.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ecs_release.status import image_change

APPROVAL_CHARACTERS = 900
"""CodePipeline shows 1,000 characters (API_ManualApproval CustomData); the rest is left for what surrounds them."""

Document = Mapping[str, Any]
_COLUMN_GAP = 3


def headline(plan: Document) -> str:
    """``release 4.0: 48 update, 2 unchanged, 0 blocked; about 6 min; can go back``"""
    counts = plan["counts"]
    parts = [", ".join(f"{counts[action]} {action}" for action in ("update", "unchanged", "blocked"))]
    if counts["update"]:
        parts += [
            duration(plan.get("estimateSeconds")),
            "can go back" if plan["wayBack"] else "NO WAY BACK for some",
        ]
    label = f"release {plan['release']}: " if plan.get("release") else ""
    return label + "; ".join(filter(None, parts))


def duration(seconds: int | None) -> str:
    """``about 6 min``; "" when unknown."""
    if seconds is None:
        return ""
    return f"about {seconds} s" if seconds < 90 else f"about {round(seconds / 60)} min"


def as_lines(plan: Document, width: int = 100) -> list[str]:
    """The whole plan for a terminal: blocked first, then wave by wave, in columns where the width allows."""
    lines = [headline(plan), f"plan {plan['digest'][:16]}"]
    blocked = [item for item in plan["items"] if item["action"] == "blocked"]
    if blocked:
        lines += ["", "blocked"]
        lines += [f"  {where(item)}: {problem}" for item in blocked for problem in item["problems"]]
    updates = [item for item in plan["items"] if item["action"] == "update"]
    waves = sorted({item["wave"] for item in updates})
    for wave in waves:
        lines += ["", f"wave {wave}" if len(waves) > 1 else "update"]
        cells = [_cell(item) for item in updates if item["wave"] == wave]
        lines += _columns(_aligned(cells), width - 2)
    unchanged = [where(item) for item in plan["items"] if item["action"] == "unchanged"]
    if unchanged:
        lines += ["", f"unchanged: {shortened(unchanged, 2 * width)}"]
    warnings = grouped_warnings(plan)
    if warnings:
        lines += ["", "warnings"]
        for message, names in warnings:
            about = f"{len(names)} items: " if len(names) > 1 else ""
            lines.append(f"  {message}")
            lines.append(f"      {about}{shortened(names, width - 30)}")
    return lines


def where(item: Mapping[str, Any]) -> str:
    """The item's name, with its target where that is another one, and what it is where that is no service."""
    target = f" [{item['target']}]" if item["target"] != "default" else ""
    return f"{item['name']}{target}{' (task)' if item['kind'] == 'task' else ''}"


def grouped_warnings(plan: Document) -> list[tuple[str, list[str]]]:
    """Each warning once, with the items it is about."""
    groups: dict[str, list[str]] = {}
    for item in plan["items"]:
        for warning in item["warnings"]:
            groups.setdefault(warning, []).append(where(item))
    return list(groups.items())


def shortened(names: Sequence[str], characters: int) -> str:
    """Names with commas, as many as fit, then how many more."""
    text = ""
    for place, name in enumerate(names):
        following = f"{text}, {name}" if text else name
        if len(following) > characters and place:
            return f"{text} and {len(names) - place} more"
        text = following
    return text


def approval_summary(plan: Document, allow_stale: bool = False) -> str:
    """One line for the approval: what would happen, blocked and warnings first, then as many changes as fit."""
    parts = [headline(plan)]
    if allow_stale:
        parts.append("ATTENTION: will be deployed even if what is live changes after this plan")
    blocked = [where(item) for item in plan["items"] if item["action"] == "blocked"]
    if blocked:
        parts.append("BLOCKED: " + shortened(blocked, 200))
    parts += [f"{message.rstrip('.')} ({len(names)})" for message, names in grouped_warnings(plan)][:4]
    changes = [
        f"{name} {change}"
        for name, change in map(_cell, (i for i in plan["items"] if i["action"] == "update"))
    ]
    text = " | ".join(parts)
    room = APPROVAL_CHARACTERS - len(text) - 40
    if changes and room > 40:
        text += " | " + shortened(changes, room)
    return text[:APPROVAL_CHARACTERS].encode("ascii", "replace").decode()


def as_markdown(plan: Document) -> str:
    """The plan as a comment on a pull request."""
    lines = [f"### ECS Release plan\n\n{headline(plan)}\n"]
    rows = list(_markdown_rows(plan))
    if rows:
        lines += ["| item | wave | change |", "|---|---|---|", *rows, ""]
    for item in plan["items"]:
        lines += [f"- **{where(item)}**: {problem}" for problem in item["problems"]]
    warnings = grouped_warnings(plan)
    if warnings:
        lines += ["", "<details><summary>Warnings</summary>", ""]
        lines += [f"- {message} ({', '.join(f'`{name}`' for name in names)})" for message, names in warnings]
        lines += ["", "</details>"]
    return "\n".join([*lines, "", f"Plan `{plan['digest'][:16]}`"])


def _markdown_rows(plan: Document) -> Iterator[str]:
    for item in plan["items"]:
        if item["action"] == "update":
            name, change = _cell(item)
            yield f"| `{name}` | {item['wave']} | {change.replace('|', chr(92) + '|')} |"


def _cell(item: Mapping[str, Any]) -> tuple[str, str]:
    return where(item), image_change(item["images"])


def _aligned(cells: Sequence[tuple[str, str]]) -> list[str]:
    width = max((len(name) for name, _ in cells), default=0)
    return [f"{name:<{width}}  {change}" for name, change in cells]


def _columns(cells: Sequence[str], width: int) -> list[str]:
    """Cells in reading order down the columns, as many columns as fit."""
    longest = max(map(len, cells), default=0)
    columns = max(1, (width + _COLUMN_GAP) // (longest + _COLUMN_GAP)) if len(cells) > 12 else 1
    rows = -(-len(cells) // columns)
    return [
        "  " + (" " * _COLUMN_GAP).join(f"{cell:<{longest}}" for cell in cells[row::rows]).rstrip()
        for row in range(rows)
    ]
