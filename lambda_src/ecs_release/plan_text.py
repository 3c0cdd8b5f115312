"""The plan in words: for a terminal, for the approval's thousand characters, for a pull request's comment.

All three are made from the plan's JSON form, so that the Build stage can make them from what the function answered.
``python3 -m ecs_release.plan_text PLAN.json`` prints the comment of a plan that the function answered.
"""

from __future__ import annotations

import json
import re
import sys
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from statistics import median
from typing import Any

from ecs_release.status import image_change

APPROVAL_CHARACTERS = 900
"""CodePipeline shows 1,000 characters (API_ManualApproval CustomData); the rest is left for what surrounds them."""

COMMENT_CHARACTERS = 60_000
"""GitHub takes 65,536 characters in a comment; CodeCommit 10,240 (see docs/pull-requests.md)."""

Document = Mapping[str, Any]
Cell = tuple[str, str]
_COLUMN_GAP = 3
_ONE_COLUMN = 6  # so few lines read best below each other
_CLUSTER_ITEMS = 4  # so many services of one cluster get a heading, and the cluster's name is said once


def headline(plan: Document) -> str:
    """``release 4.0: 48 update, 2 unchanged, 0 blocked; about 6 min; can go back``"""
    counts = plan["counts"]
    parts = [", ".join(f"{counts[action]} {action}" for action in ("update", "unchanged", "blocked"))]
    if counts["update"]:
        parts += [
            duration(plan.get("estimateSeconds")),
            "can go back" if plan["wayBack"] else "NO WAY BACK for some",
        ]
    elif not counts["blocked"]:
        parts.append("nothing to change")
    label = f"release {plan['release']}: " if plan.get("release") else ""
    return label + "; ".join(filter(None, parts))


def duration(seconds: int | None) -> str:
    """``about 6 min``; "" when unknown."""
    if seconds is None:
        return ""
    return "under a minute" if seconds < 60 else f"about {round(seconds / 60)} min"


def as_lines(plan: Document, width: int = 100) -> list[str]:
    """The whole plan for a terminal: blocked first, then wave by wave, in columns where the width allows."""
    common = common_cluster(plan)
    lines = [headline(plan), f"plan {plan['digest'][:16]}" + (f" of {common}" if common else "")]
    blocked = [item for item in plan["items"] if item["action"] == "blocked"]
    if blocked:
        lines += ["", "blocked"]
        for item in blocked:
            for problem in item["problems"]:
                lines += _wrapped(f"{where(item, common)}: {problem}", width, 2, 6)
    updates = [item for item in plan["items"] if item["action"] == "update"]
    waves = sorted({item["wave"] for item in updates})
    for wave in waves:
        lines += ["", f"wave {wave}" if len(waves) > 1 else "update"]
        members = [item for item in updates if item["wave"] == wave]
        for heading, cluster, group in by_cluster(members, common):
            lines += [f"  {heading}"] if heading else []
            cells = [_cell(item, cluster) for item in group]
            lines += _columns(cells, width, 4 if heading else 2)
    unchanged = [where(item, common) for item in plan["items"] if item["action"] == "unchanged"]
    if unchanged:
        lines += ["", *_wrapped(f"unchanged: {shortened(unchanged, 2 * width)}", width, 0, 4)]
    warnings = grouped_warnings(plan, common)
    if warnings:
        lines += ["", "warnings"]
        for message, names in warnings:
            about = f"{len(names)} items: " if len(names) > 1 else ""
            line = f"  {message} ({', '.join(names)})"
            if len(line) <= width:
                lines.append(line)
                continue
            lines += _wrapped(message, width, 2, 4)
            lines += _wrapped(about + shortened(names, 2 * width - 40), width, 6, 6)
    return lines


def common_cluster(plan: Document) -> str:
    """The cluster that all services of the plan are in; "" when there are several."""
    clusters = {_cluster(item) for item in plan["items"] if item["kind"] == "service"}
    return clusters.pop() if len(clusters) == 1 else ""


def _cluster(item: Mapping[str, Any]) -> str:
    return str(item["name"]).partition("/")[0]


def where(item: Mapping[str, Any], cluster: str = "") -> str:
    """The item's name, with its target where that is another one, and what it is where that is no service.

    Parameters
    ----------
    cluster : one that needs no mention, because it stands above.
    """
    target = f" [{item['target']}]" if item["target"] != "default" else ""
    if item["kind"] == "task":
        return f"{item['name']}{target} (task)"
    return f"{str(item['name']).removeprefix(cluster + '/') if cluster else item['name']}{target}"


def by_cluster(
    items: Sequence[Mapping[str, Any]], common: str
) -> Iterator[tuple[str, str, list[Mapping[str, Any]]]]:
    """Heading, cluster that needs no more mention, items: a cluster with many services is named once."""
    several: dict[str, list[Mapping[str, Any]]] = {}
    rest: list[Mapping[str, Any]] = []
    for cluster, members in groupby(sorted(items, key=_group), key=_group):
        listed = list(members)
        if cluster and cluster != common and len(listed) >= _CLUSTER_ITEMS:
            several[cluster] = listed
        else:
            rest += listed
    for cluster, listed in several.items():
        yield f"in {cluster}", cluster, listed
    if rest:
        yield ("other" if several else ""), common, rest


def _group(item: Mapping[str, Any]) -> str:
    return _cluster(item) if item["kind"] == "service" else ""


_PARTICULARS = (
    (re.compile(r"^downgrade: .*"), "downgrade: the new tag is a lower version."),
    (re.compile(r"arn:[^\s;),]+[^\s;),.]"), "..."),
    (re.compile(r"^(ECR can't tell about) \S+:.*"), r"\1 the image."),
    (re.compile(r"^release \S+ did"), "an earlier release did"),
)
"""What differs from item to item in warnings of one kind, and what is said of several at once."""


def grouped_warnings(plan: Document, cluster: str = "") -> list[tuple[str, list[str]]]:
    """Each kind of warning once, with the items it is about."""
    groups: dict[str, list[tuple[str, str]]] = {}
    for item in plan["items"]:
        for warning in item["warnings"]:
            kind = warning
            for pattern, general in _PARTICULARS:
                kind = pattern.sub(general, kind)
            groups.setdefault(kind, []).append((warning, where(item, cluster)))
    return [
        (found[0][0] if len({warning for warning, _ in found}) == 1 else kind, [name for _, name in found])
        for kind, found in groups.items()
    ]


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
    common = common_cluster(plan)
    parts = [headline(plan)]
    if allow_stale:
        parts.append("ATTENTION: will be deployed even if what is live changes after this plan")
    blocked = [where(item, common) for item in plan["items"] if item["action"] == "blocked"]
    if blocked:
        parts.append("BLOCKED: " + shortened(blocked, 200))
    for message, names in grouped_warnings(plan, common)[:4]:
        about = f"{len(names)} items" if len(names) > 1 else names[0]
        parts.append(f"{message.split(': ')[0].rstrip('.')[:120]} ({about})")
    updates = [item for item in plan["items"] if item["action"] == "update"]
    changes = [" ".join(_cell(item, common)) for item in updates]
    text = " | ".join(parts)
    place = f"{common}: " if common else ""
    room = APPROVAL_CHARACTERS - len(text) - len(place) - 40
    if changes and room > 40:
        text += f" | {place}{shortened(changes, room)}"
    return text[:APPROVAL_CHARACTERS].encode("ascii", "replace").decode()


def as_markdown(plan: Document) -> str:
    """The plan as a comment on a pull request: what is blocked first."""
    lines = [f"### ECS Release plan\n\n{headline(plan)}\n"]
    blocked = [f"- **{where(item)}**: {problem}" for item in plan["items"] for problem in item["problems"]]
    if blocked:
        lines += ["**Blocked**\n", *_fitting(blocked, COMMENT_CHARACTERS // 3, "- and {} more"), ""]
    rows = list(_markdown_rows(plan))
    if rows:
        rows = _fitting(rows, COMMENT_CHARACTERS // 3, "| and {} more | | |")
        lines += ["| item | wave | change |", "|---|---|---|", *rows, ""]
    warnings = grouped_warnings(plan)
    if warnings:
        lines += ["", "<details><summary>Warnings</summary>", ""]
        said = [
            f"- {message} ({shortened([f'`{name}`' for name in names], 2000)})" for message, names in warnings
        ]
        lines += [*_fitting(said, COMMENT_CHARACTERS // 3, "- and {} more"), "", "</details>"]
    return "\n".join([*lines, "", f"Plan `{plan['digest'][:16]}`"])


def _fitting(lines: list[str], characters: int, rest: str) -> list[str]:
    """As many lines as fit, then how many more."""
    room = characters
    for place, line in enumerate(lines):
        room -= len(line) + 1
        if room < 0:
            return [*lines[:place], rest.format(len(lines) - place)]
    return lines


def _markdown_rows(plan: Document) -> Iterator[str]:
    for item in plan["items"]:
        if item["action"] == "update":
            name, change = where(item), image_change(item["images"])
            yield f"| `{name}` | {item['wave']} | {change.replace('|', chr(92) + '|')} |"


def _cell(item: Mapping[str, Any], cluster: str = "") -> Cell:
    """Name and change; the container's name where the change needs it: one of several, or one of another name."""
    change = image_change(item["images"])
    containers = list(item["images"])
    if len(containers) == 1 and item["kind"] == "service":
        change = change.removeprefix(f"{containers[0]} ")
    return where(item, cluster), change


def _wrapped(text: str, width: int, first: int, then: int) -> list[str]:
    """Lines of at most ``width`` characters, except where a single word (an image, an ARN) is longer."""
    return textwrap.wrap(
        text,
        max(40, width),
        initial_indent=" " * first,
        subsequent_indent=" " * then,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _columns(cells: Sequence[Cell], width: int, indent: int) -> list[str]:
    """Cells in reading order down the columns, as many columns as fit, each as wide as it needs.

    A cell much longer than the others (several containers, another registry) gets a line of its own below.
    """
    usual = median(len(name) + len(change) for name, change in cells)
    long = [cell for cell in cells if len(cells) > _ONE_COLUMN and sum(map(len, cell)) > 2 * usual]
    short = [cell for cell in cells if cell not in long]
    for count in range(len(short) if len(short) > _ONE_COLUMN else 1, 0, -1):
        rows = -(-len(short) // count)
        columns = [list(_padded(short[start : start + rows])) for start in range(0, len(short), rows)]
        total = indent + sum(max(map(len, column)) for column in columns) + _COLUMN_GAP * (len(columns) - 1)
        if total <= width or count == 1:
            break
    gap = " " * _COLUMN_GAP
    lines = [gap.join(column[row] for column in columns if row < len(column)) for row in range(rows)]
    return [(" " * indent + line).rstrip() for line in [*lines, *_padded(long)]]


def _padded(cells: Iterable[Cell]) -> Iterator[str]:
    listed = list(cells)
    name = max((len(name) for name, _ in listed), default=0)
    change = max((len(change) for _, change in listed), default=0)
    return (f"{n:<{name}}  {c:<{change}}" for n, c in listed)


if __name__ == "__main__":
    print(as_markdown(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))))
