"""The plan as a page of its own: no script, no network, readable on a desk and on a phone, in light and in dark.

``python3 -m ecs_release.plan_page PLAN.json PAGE.html SUMMARY.txt [ALLOW_STALE]`` is what the Build stage runs.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from html import escape
from pathlib import Path
from typing import Any

from ecs_release.plan_text import approval_summary, duration, grouped_warnings, headline, where
from ecs_release.status import split_image

_STYLE = """
:root{color-scheme:light dark;--ink:#16191f;--soft:#5f6b7a;--line:#d5dbdb;--paper:#fff;--band:#f4f6f8;--red:#b3140f;
--amber:#8a5300;--green:#1d6b34}
@media(prefers-color-scheme:dark){:root{--ink:#e9ebed;--soft:#9ba7b6;--line:#3a4553;--paper:#12161c;--band:#1b222b;--red:#ff8a80;
--amber:#ffc370;--green:#7fd49a}}
*{box-sizing:border-box}
body{margin:0 auto;padding:24px 20px 64px;max-width:1180px;background:var(--paper);color:var(--ink);
font:15px/1.45 system-ui,-apple-system,"Segoe UI",sans-serif}
h1{font-size:24px;margin:0 0 4px}
h2{font-size:16px;margin:28px 0 8px}
p{margin:4px 0}
.soft{color:var(--soft)}
.figures{display:flex;flex-wrap:wrap;gap:10px;margin:16px 0}
.figure{background:var(--band);border-radius:8px;padding:8px 14px;min-width:96px}
.figure b{display:block;font-size:20px;font-variant-numeric:tabular-nums}
.bad{color:var(--red)}
.warn{color:var(--amber)}
.good{color:var(--green)}
table{border-collapse:collapse;width:100%}
th{text-align:left;font-weight:600;color:var(--soft);font-size:13px}
th,td{padding:6px 10px 6px 0;border-bottom:1px solid var(--line);vertical-align:top}
code{font:13px/1.4 ui-monospace,Menlo,Consolas,monospace;
overflow-wrap:anywhere}
ul{margin:4px 0;padding-left:20px}
.box{border-left:4px solid var(--red);background:var(--band);padding:8px 14px;border-radius:4px}
.box.warn{border-color:var(--amber);color:var(--ink)}
.digest{font-size:12px}
@media(max-width:640px){thead{position:absolute;left:-9999px}
tr{display:block;border-bottom:1px solid var(--line);padding:8px 0}
td{display:block;border:0;padding:2px 0}}
"""


def page(plan: Mapping[str, Any]) -> str:
    """The whole page."""
    title = f"Plan of release {plan['release']}" if plan.get("release") else "Release plan"
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<style>{_STYLE}</style></head><body>\n<h1>{escape(title)}</h1>\n"
        + "\n".join(_body(plan))
        + "\n</body></html>\n"
    )


def _body(plan: Mapping[str, Any]) -> Iterator[str]:
    yield f'<p class="soft">{escape(headline(plan))}</p>'
    counts = plan["counts"]
    figures = [
        ("to update", counts["update"], ""),
        ("unchanged", counts["unchanged"], ""),
        ("blocked", counts["blocked"], "bad" if counts["blocked"] else ""),
        ("estimated", duration(plan.get("estimateSeconds")).removeprefix("about ") or "-", ""),
        ("way back", "yes" if plan["wayBack"] else "not for all", "good" if plan["wayBack"] else "warn"),
        ("on failure", plan["onFailure"], ""),
    ]
    boxes = "".join(
        f'<div class="figure"><b class="{c}">{escape(str(v))}</b>{escape(n)}</div>' for n, v, c in figures
    )
    yield f'<div class="figures">{boxes}</div>'
    blocked = [(where(item), problem) for item in plan["items"] for problem in item["problems"]]
    if blocked:
        rows = "".join(f"<li><b>{escape(name)}</b>: {escape(problem)}</li>" for name, problem in blocked)
        yield f'<h2>Blocked</h2><div class="box"><ul>{rows}</ul></div>'
    warnings = grouped_warnings(plan)
    if warnings:
        rows = "".join(
            f'<li>{escape(message)} <span class="soft">{escape(", ".join(names))}</span></li>'
            for message, names in warnings
        )
        yield f'<h2>Warnings</h2><div class="box warn"><ul>{rows}</ul></div>'
    updates = [item for item in plan["items"] if item["action"] == "update"]
    waves = sorted({item["wave"] for item in updates})
    for wave in waves:
        members = [item for item in updates if item["wave"] == wave]
        yield f"<h2>{f'Wave {wave}' if len(waves) > 1 else 'Update'} ({len(members)})</h2>"
        yield "<table><thead><tr><th>Item</th><th>Container</th><th>Image now</th><th>Image after</th></tr></thead><tbody>"
        for item in members:
            yield from _rows(item)
        yield "</tbody></table>"
    unchanged = [where(item) for item in plan["items"] if item["action"] == "unchanged"]
    if unchanged:
        yield f'<h2>Unchanged ({len(unchanged)})</h2><p class="soft">{escape(", ".join(unchanged))}</p>'
    yield f'<p class="soft digest">Plan <code>{escape(plan["digest"])}</code></p>'


def _rows(item: Mapping[str, Any]) -> Iterator[str]:
    name = f"<b>{escape(where(item))}</b>"
    for container, change in item["images"].items():
        (old_repository, old_tag), (repository, tag) = split_image(change["from"]), split_image(change["to"])
        same = old_repository == repository
        old = escape(old_tag if same else change["from"])
        digest = (
            f'<br><code class="soft">{escape(change["digest"][:19])}</code>' if change.get("digest") else ""
        )
        new = f"<b>{escape(tag)}</b><br><code class='soft'>{escape(repository)}</code>"
        yield f"<tr><td>{name}</td><td>{escape(container)}</td><td>{old}</td><td>{new}{digest}</td></tr>"
        name = ""


def main(arguments: list[str]) -> int:
    """Write page and summary of a plan that the function answered."""
    plan = json.loads(Path(arguments[0]).read_text(encoding="utf-8"))
    Path(arguments[1]).write_text(page(plan), encoding="utf-8")
    Path(arguments[2]).write_text(
        approval_summary(plan, allow_stale=arguments[3:] == ["yes"]) + "\n", encoding="utf-8"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
