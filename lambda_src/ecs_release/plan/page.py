"""The plan as a page of its own: no script, no network, readable on a desk and on a phone, in light and in dark."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from importlib.resources import files
from typing import Any

from ecs_release.manifest.images import registry_and_repository, split_image
from ecs_release.plan.text import (
    Group,
    by_cluster,
    common_cluster,
    digest_unknown,
    duration,
    full_name,
    grouped_warnings,
    ignored_groups,
    origin_changes,
    problems_of,
    title_of,
    updates_in_reading_order,
    usual_registry,
    warnings_of,
    where,
)

_MOST_OF_EACH = 200
_STYLE = (files("ecs_release.plan") / "page.css").read_text(encoding="utf-8")


def page(plan: Mapping[str, Any]) -> str:
    """The whole page."""
    title = f"Plan of release {plan['release']}" if plan.get("release") else "Release plan"
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        # Nothing is loaded and nothing runs, whatever a name in the plan may hold.
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none';style-src 'unsafe-inline'\">"
        f"<style>{_STYLE}</style></head><body>\n<h1>{escape(title)}</h1>\n"
        + "\n".join(_body(plan))
        + "\n</body></html>\n"
    )


def _body(plan: Mapping[str, Any]) -> Iterator[str]:
    common, usual = common_cluster(plan), usual_registry(plan)
    intro = [f"Services in {escape(common)}."] if common else []
    if usual:
        intro.append(f"Images in <b>{escape(usual)}</b> where no other registry is named.")
    if intro:
        yield f'<p class="soft">{" ".join(intro)}</p>'
    yield _figures(plan)
    blocked = [(where(item, common), problem) for item in plan["items"] for problem in problems_of(item)]
    if blocked:
        rows = "".join(
            f"<li><b>{escape(name)}</b>: {escape(problem['message'])} "
            f'<span class="soft small">{escape(problem["code"])}</span></li>'
            for name, problem in blocked
        )
        yield f'<h2 class="bad">Blocked ({len(blocked)})</h2><div class="box"><ul>{rows}</ul></div>'
    moves = list(origin_changes(plan, common))
    if moves:
        rows = "".join(
            f"<li><b>{escape(name)}</b>: <code>{escape(old)}</code> \u2192 "
            f'<code class="bad">{escape(new)}</code></li>'
            for name, old, new in moves
        )
        yield f'<h2 class="bad">Another registry or repository ({len(moves)})</h2><div class="box"><ul>{rows}</ul></div>'
    if warnings := grouped_warnings(plan, common):
        yield f'<h2 class="warn">Warnings</h2><div class="box amber">{_list(warnings)}</div>'
    if ignored := ignored_groups(plan, common):
        yield f'<h2>Ignored by the manifest</h2><div class="box">{_list(ignored)}</div>'
    updates = updates_in_reading_order(plan)
    waves = sorted({item["wave"] for item in updates})
    for wave in waves:
        members = [item for item in updates if item["wave"] == wave]
        yield f"<h2>{f'Wave {wave}' if len(waves) > 1 else 'Update'} ({len(members)})</h2>"
        for heading, cluster, group in by_cluster(members, common):
            if heading:
                yield f"<h3>{escape(heading)}</h3>"
            yield from _table(group, cluster, usual)
    unchanged = [where(item, common) for item in plan["items"] if item["action"] == "unchanged"]
    if unchanged:
        yield f'<h2>Unchanged ({len(unchanged)})</h2><p class="soft">{escape(", ".join(unchanged))}</p>'
    yield f'<p class="soft small"><br>Plan <code>{escape(plan["digest"])}</code></p>'


def _list(groups: Sequence[Group]) -> str:
    rows = "".join(
        f'<li>{escape(group.said)} <span class="soft small">{escape(", ".join(group.names))}</span>'
        f"{_of_each(group)}</li>"
        for group in groups
    )
    return f"<ul>{rows}</ul>"


def _of_each(group: Group) -> str:
    """What is said of each item, folded, where the sentence about all of them says less."""
    if not group.each:
        return ""
    rows = "".join(
        f"<li><b>{escape(name)}</b>: {escape(said)}</li>" for name, said in group.each[:_MOST_OF_EACH]
    )
    more = len(group.each) - _MOST_OF_EACH
    rest = f"<li>{more} more: see plan --json</li>" if more > 0 else ""
    return f'<details class="small"><summary>each of them</summary><ul>{rows}{rest}</ul></details>'


def _figures(plan: Mapping[str, Any]) -> str:
    counts = plan["counts"]
    figures = [
        (str(counts["update"]), "to update", ""),
        (str(counts["unchanged"]), "unchanged", ""),
        (str(counts["blocked"]), "blocked", "bad" if counts["blocked"] else ""),
    ]
    if counts["update"]:
        back = _way_back(plan)
        figures += [
            (duration(plan.get("estimateSeconds")).removeprefix("about ") or "unknown", "estimated", ""),
            (back[0], "way back", back[1]),
            (plan["onFailure"], "on failure", ""),
        ]
    boxes = "".join(f'<div class="figure"><b class="{c}">{escape(v)}</b>{n}</div>' for v, n, c in figures)
    return f'<div class="figures">{boxes}</div>'


def _way_back(plan: Mapping[str, Any]) -> tuple[str, str]:
    """The figure and its colour."""
    ways = plan.get("waysBack") or {}
    if ways.get("none"):
        return f"none for {ways['none']}", "bad"
    if ways.get("notKnown"):
        return f"not known for {ways['notKnown']}", "warn"
    return ("yes", "good") if plan["wayBack"] else ("not for all", "warn")


def _table(items: Sequence[Mapping[str, Any]], cluster: str, usual: str) -> Iterator[str]:
    yield '<table><colgroup><col class="item"><col class="now"><col class="after"><col></colgroup>'
    yield "<thead><tr><th>Item</th><th>Now</th><th>After</th><th>Image</th></tr></thead><tbody>"
    for item in items:
        yield from _rows(item, cluster, usual)
    yield "</tbody></table>"


def _rows(item: Mapping[str, Any], cluster: str, usual: str) -> Iterator[str]:
    name = f"<b>{escape(where(item, cluster))}</b>"
    kinds = list(dict.fromkeys(title_of(finding) for finding in warnings_of(item)))
    marks = f' <span class="warn small">{escape(", ".join(kinds))}</span>' if kinds else ""
    for number, (container, change) in enumerate(item["images"].items()):
        (_, old_tag), (_, tag) = split_image(change["from"]), split_image(change["to"])
        before, after = registry_and_repository(change["from"]), registry_and_repository(change["to"])
        old = old_tag if before == after else full_name(change["from"])
        registry = "" if after[0] == usual else f'<b class="warn">{escape(after[0])}/</b>'
        if change.get("digest"):
            digest = f" {escape(change['digest'][:19])}"
        else:
            digest = ' <span class="warn">digest unknown</span>' if digest_unknown(change) else ""
        shown = container if len(item["images"]) > 1 or not item["name"].endswith(f"/{container}") else ""
        container_name = f' <span class="soft">{escape(shown)}</span>' if shown else ""
        first = f"{name}{container_name}{marks}" if number == 0 else container_name
        yield (
            f'<tr class="{"more" if number else "first"}"><td class="item">{first}</td>'
            f'<td class="now">{escape(old)} </td><td class="after">{escape(tag)}</td>'
            f'<td class="image soft"><code>{registry}{escape(after[1])}{digest}</code></td></tr>'
        )
