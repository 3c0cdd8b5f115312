"""The plan in words: for a terminal and for a pull request's comment.

Both are made from the plan's JSON form, so that the Build stage can make them from what the function answered.
``python3 -I -m ecs_release.plan.text PLAN.json`` prints the comment of a plan that the function answered.
"""

from __future__ import annotations

import json
import re
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import Any

from ecs_release.errors import fitting, in_one_line
from ecs_release.manifest.images import origin_change, registry_and_repository, split_image
from ecs_release.plan.codes import CODES
from ecs_release.plan.columns import Cell, columns, wrapped
from ecs_release.plan.document import NO_WAY_CODES, unpacked
from ecs_release.plan.markdown import code, table_cell, words

COMMENT_CHARACTERS = 60_000
"""GitHub takes 65,536 characters in a comment; CodeCommit 10,240 (see docs/pull-requests.md)."""

Document = Mapping[str, Any]
_CLUSTER_ITEMS = 4  # so many services of one cluster get a heading, and the cluster's name is said once
_ORIGIN_CODES = ("W220", "W221")
_LONG_REVISION = re.compile(r"(?<!name )arn:[\w-]+:ecs:[\w-]+:\d+:task-definition/(?=[\w-]+:\d+)")
"""What stands before family:revision in an ARN, where it is not there to be copied; the item's target says the account."""


def headline(plan: Document) -> str:
    """``release "4.0": 48 update, 2 unchanged, 0 blocked; about 6 min; can go back``"""
    label = _label(plan).replace('"', "'")  # anybody's words, which could be those of a headline
    return (f'release "{label}": ' if label else "") + _counts(plan)


def _label(plan: Document) -> str:
    return in_one_line(str(plan.get("release") or ""))


def _counts(plan: Document) -> str:
    counts = plan["counts"]
    parts = [", ".join(f"{counts[action]} {action}" for action in ("update", "unchanged", "blocked"))]
    if counts["update"]:
        parts += [
            duration(plan.get("estimateSeconds")),
            way_back_words(plan),
        ]
    elif not counts["blocked"]:
        parts.append("nothing to change")
    return "; ".join(filter(None, parts))


def way_back_words(plan: Document) -> str:
    """How many of the items that change have no way back, or none that is known; of an older function, whether some have none."""
    ways = plan.get("waysBack") or {}
    of_all = f" of {plan['counts']['update']}"
    parts = [f"NO WAY BACK for {ways['none']}{of_all}"] if ways.get("none") else []
    if ways.get("notKnown"):
        parts.append(f"way back not known for {ways['notKnown']}{of_all}")
    return ", ".join(parts) or ("can go back" if plan["wayBack"] else "NO WAY BACK for some")


def duration(seconds: int | None) -> str:
    """``about 6 min``; "" when unknown."""
    if seconds is None:
        return ""
    return "under a minute" if seconds < 60 else f"about {round(seconds / 60)} min"


def as_lines(plan: Document, width: int = 100) -> list[str]:
    """The whole plan for a terminal: blocked first, then wave by wave, in columns where the width allows."""
    common = common_cluster(plan)
    lines = [headline(plan), f"plan {plan['digest'][:16]}" + (f" of {common}" if common else "")]
    usual = usual_registry(plan)
    if usual:
        lines += wrapped(f"images are in {usual} where no other registry is named", width, 0, 4)
    blocked = [item for item in plan["items"] if item["action"] == "blocked"]
    if blocked:
        lines += ["", "blocked"]
        for item in blocked:
            for problem in problems_of(item):
                said = _LONG_REVISION.sub("", _with_code(problem))
                lines += wrapped(f"{where(item, common)}: {said}", width, 2, 6)
    moves = list(origin_changes(plan, common))
    if moves:
        lines += ["", "ANOTHER REGISTRY OR REPOSITORY"]
        for name, old, new in moves:
            lines += wrapped(f"{name}: {old} -> {new}", width, 2, 6)
    updates = updates_in_reading_order(plan)
    waves = sorted({item["wave"] for item in updates})
    for wave in waves:
        lines += ["", f"wave {wave}" if len(waves) > 1 else "update"]
        members = [item for item in updates if item["wave"] == wave]
        for heading, cluster, group in by_cluster(members, common):
            lines += [f"  {heading}"] if heading else []
            cells = [cell(item, cluster, usual) for item in group]
            lines += columns(cells, width, 4 if heading else 2)
    unchanged = [where(item, common) for item in plan["items"] if item["action"] == "unchanged"]
    if unchanged:
        lines += ["", *wrapped(f"unchanged: {shortened(unchanged, 2 * width)}", width, 0, 4)]
    for heading, groups in (
        ("warnings", grouped_warnings(plan, common)),
        ("ignored by the manifest", ignored_groups(plan, common)),
    ):
        lines += ["", heading] if groups else []
        for kind in groups:
            about = f"{len(kind.names)} items: " if len(kind.names) > 1 else ""
            said = _LONG_REVISION.sub("", kind.said)
            line = f"  {said} ({', '.join(kind.names)})"
            if len(line) <= width:
                lines.append(line)
                continue
            lines += wrapped(said, width, 2, 4)
            lines += wrapped(about + shortened(kind.names, 2 * width - 40), width, 6, 6)
    return lines


def common_cluster(plan: Document) -> str:
    """The cluster that all services of the plan are in; "" when there are several."""
    clusters = {_cluster(item) for item in plan["items"] if item["kind"] == "service"}
    return clusters.pop() if len(clusters) == 1 else ""


def _cluster(item: Mapping[str, Any]) -> str:
    return str(item["name"]).partition("/")[0]


def usual_registry(plan: Document) -> str:
    """The registry of most new images, which then needs to be said only once; "" where there is none."""
    images = [change["to"] for item in plan["items"] for change in item["images"].values()]
    ((registry, count),) = Counter(registry_and_repository(image)[0] for image in images).most_common(1) or [
        ("", 0)
    ]
    return registry if 2 * count > len(images) else ""


def full_name(image: str, usual: str = "") -> str:
    """The image with its registry, also where none is written; without it where it is the usual one."""
    registry, repository = registry_and_repository(image)
    name, at, digest = image.partition("@")
    tag = name[len(split_image(name)[0]) :]
    return f"{'' if registry == usual else registry + '/'}{repository}{tag}{at}{digest}"


def origin_changes(plan: Document, cluster: str = "") -> Iterator[tuple[str, str, str]]:
    """Item, old and new image of what comes from another registry or repository than what is live.

    The container is named where it is one of several, or has another name than its service.
    """
    for item in plan["items"]:
        for container, change in item["images"].items():
            if item["action"] == "update" and origin_change(change["from"], change["to"]):
                own_name = str(item["name"]).endswith(f"/{container}") and len(item["images"]) == 1
                name = where(item, cluster) + ("" if own_name else f" {container}")
                yield name, full_name(change["from"]), full_name(change["to"])


def changes_origin(item: Mapping[str, Any]) -> bool:
    """Whether any image of the item comes from another registry or repository than the one that is live."""
    return any(origin_change(change["from"], change["to"]) for change in item["images"].values())


def digest_unknown(change: Mapping[str, str]) -> bool:
    """Whether no registry has said what the new image is: none was asked, or the one that was asked can't tell."""
    return change["from"] != change["to"] and not change.get("digest")


def updates_in_reading_order(plan: Document) -> list[Mapping[str, Any]]:
    """What would be updated; what comes from another registry or repository first."""
    updates = [item for item in plan["items"] if item["action"] == "update"]
    return sorted(updates, key=lambda item: not changes_origin(item))


def where(item: Mapping[str, Any], cluster: str = "") -> str:
    """The item's name, with its target where that is another one, and what it is where that is no service.

    Parameters
    ----------
    cluster : one that needs no mention, because it stands above.
    """
    target = f" [{item['target']}]" if item["target"] != "default" else ""
    if item["kind"] == "task":
        what = str(item.get("id", "task")).partition(":")[0]  # an earlier version's function gives no id
        return f"{item['name']}{target} ({what})"
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


def warnings_of(item: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """What was found about an item and does not block it, as ``{"code", "message"}``; without codes from an older function."""
    return _found(item, "warning")


def problems_of(item: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Why an item is blocked, as :func:`warnings_of`."""
    return _found(item, "problem")


def ignored_groups(plan: Document, cluster: str = "") -> list[Group]:
    """Each kind of finding that is ignored, with the items; the code comes first there."""
    found = ((f, where(item, cluster)) for item in plan["items"] for f in _found(item, "ignored"))
    return [replace(group, message=f"{group.code}: {group.message}", code="") for group in _groups(found)]


def _found(item: Mapping[str, Any], level: str) -> list[Mapping[str, Any]]:
    if "findings" not in item and level == "ignored":
        return []
    if "findings" not in item:
        return [{"code": "", "message": in_one_line(message)} for message in item[f"{level}s"]]
    found = (finding for finding in item["findings"] if finding["level"] == level)
    return [{**finding, "message": in_one_line(str(finding["message"]))} for finding in found]


def title_of(finding: Mapping[str, Any]) -> str:
    """What a finding is called where there is no room for its sentence; of a code from a newer function, its beginning."""
    kind = CODES.get(finding["code"])
    return kind.title if kind else str(finding["message"]).partition(":")[0].rstrip(".")


def _with_code(finding: Mapping[str, Any]) -> str:
    return f"{finding['message']} [{finding['code']}]" if finding["code"] else str(finding["message"])


@dataclass(frozen=True)
class Group:
    """Findings of one code: what they are called, what is said of all of them at once, and the items they are about.

    ``names`` has an item once, however many of its containers the findings are about. ``each`` has items and messages where what is
    said of all says less. ``code`` is what ``ignore`` in the manifest names; "" where the message has it, or an older function told
    none.
    """

    title: str
    message: str
    names: list[str]
    code: str = ""
    each: tuple[tuple[str, str], ...] = ()

    @property
    def said(self) -> str:
        return f"{self.message} [{self.code}]" if self.code else self.message


def grouped_warnings(plan: Document, cluster: str = "") -> list[Group]:
    """Each kind of warning once, with the items it is about, first what has no way back.

    Without those that :func:`origin_changes` tells in full.
    """
    found = (
        (finding, where(item, cluster))
        for item in plan["items"]
        for finding in warnings_of(item)
        if not (finding["code"] in _ORIGIN_CODES and item["action"] == "update")
    )
    return sorted(_groups(found), key=lambda group: group.code not in NO_WAY_CODES)


def _groups(found: Iterable[tuple[Mapping[str, Any], str]]) -> list[Group]:
    """Findings, each with its item's name, as one group for each code; without a code for each message."""
    groups: dict[str, list[tuple[Mapping[str, Any], str]]] = {}
    for finding, name in found:
        groups.setdefault(finding["code"] or finding["message"], []).append((finding, name))
    return [
        Group(
            title_of(members[0][0]),
            _said_of([finding for finding, _ in members]),
            list(dict.fromkeys(name for _, name in members)),
            str(members[0][0]["code"]),
            _each(members),
        )
        for members in groups.values()
    ]


def _each(members: Sequence[tuple[Mapping[str, Any], str]]) -> tuple[tuple[str, str], ...]:
    """Each item with what was found about it, where :func:`_said_of` says something else."""
    each = tuple((name, str(finding["message"])) for finding, name in members)
    said = _said_of([finding for finding, _ in members])
    return each if said not in (message for _, message in each) else ()


def _said_of(findings: Sequence[Mapping[str, Any]]) -> str:
    """The sentence of one finding, or what is said of several of a kind that differ."""
    message = str(findings[0]["message"])
    kind = CODES.get(findings[0]["code"])
    alike = len({finding["message"] for finding in findings}) == 1
    return message if alike or kind is None else kind.of_several or message


def shortened(names: Sequence[str], characters: int) -> str:
    """Names with commas, as many as fit, then how many more."""
    text = ""
    for place, name in enumerate(names):
        following = f"{text}, {name}" if text else name
        if len(following) > characters and place:
            return f"{text} and {len(names) - place} more"
        text = following
    return text


def as_markdown(plan: Document) -> str:
    """The plan as a comment on a pull request: what is blocked first."""
    usual = usual_registry(plan)
    label = f"release {code(_label(plan))}: " if _label(plan) else ""
    lines = [f"### ECS Release plan\n\n{label}{_counts(plan)}\n"]
    if usual:
        lines.append(f"Images are in {code(usual)} where no other registry is named.\n")
    blocked = [
        f"- **{words(where(item))}**: {words(_with_code(problem))}"
        for item in plan["items"]
        for problem in problems_of(item)
    ]
    if blocked:
        lines += ["**Blocked**\n", *_fitting(blocked), ""]
    moves = [f"- **{words(name)}**: {code(old)} -> {code(new)}" for name, old, new in origin_changes(plan)]
    if moves:
        lines += ["**Another registry or repository**\n", *_fitting(moves), ""]
    rows = list(_markdown_rows(plan, usual))
    if rows:
        fitting_rows = _fitting(rows, "| and {} more | | |")
        lines += ["| item | wave | change |", "|---|---|---|", *fitting_rows, ""]
    warnings = grouped_warnings(plan)
    if warnings:
        lines += ["", "<details><summary>Warnings</summary>", ""]
        lines += [*_bullets(warnings), "", "</details>"]
    if ignored := ignored_groups(plan):
        lines += ["", "**Ignored by the manifest**\n", *_bullets(ignored)]
    return "\n".join([*lines, "", f"Plan {code(plan['digest'][:16])}"])


def _bullets(groups: Sequence[Group]) -> list[str]:
    said = [f"- {words(group.said)} ({shortened(list(map(code, group.names)), 2000)})" for group in groups]
    return _fitting(said)


def _fitting(lines: list[str], rest: str = "- and {} more") -> list[str]:
    """As many lines as fit into a quarter of a comment, then how many more."""
    return fitting(lines, COMMENT_CHARACTERS // 4, rest=rest, size=lambda line: len(line) + 1)


def _markdown_rows(plan: Document, usual: str) -> Iterator[str]:
    for item in updates_in_reading_order(plan):
        name, change = code(where(item)), words(_image_changes(item, usual))
        yield f"| {table_cell(name)} | {item['wave']} | {table_cell(change)} |"


def cell(item: Mapping[str, Any], cluster: str, usual: str) -> Cell:
    """Name and change; the container's name where the change needs it: one of several, or one of another name."""
    change = _image_changes(item, usual)
    containers = list(item["images"])
    if len(containers) == 1 and item["kind"] == "service":
        change = change.removeprefix(f"{containers[0]} ")
    return where(item, cluster), change


def _image_changes(item: Mapping[str, Any], usual: str) -> str:
    """``api 1.1 -> 1.2``; the whole name where its registry is not the usual one, or is another one than before."""
    parts = []
    for container, change in item["images"].items():
        old, new = full_name(change["from"], usual), full_name(change["to"], usual)
        elsewhere = registry_and_repository(change["to"])[0] != usual
        if origin_change(change["from"], change["to"]):
            text = f"{full_name(change['from'])} -> {full_name(change['to'])}"
        elif change["from"] == change["to"]:
            text = new if elsewhere else split_image(new)[1]
        else:
            text = f"{old if elsewhere else split_image(old)[1]} -> {split_image(new)[1]}"
        parts.append(f"{container} {text}{' (digest unknown)' if digest_unknown(change) else ''}")
    return ", ".join(parts)


if __name__ == "__main__":
    print(as_markdown(unpacked(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))))
