"""The plan as people read it: at a terminal, in the approval, in a comment, as a page."""

from __future__ import annotations

import re
from html import escape
from string import Formatter
from typing import Any

import pytest
from ecs_release.plan.codes import CODES
from ecs_release.plan.document import differences, digest
from ecs_release.plan.findings import Finding
from ecs_release.plan.page import page
from ecs_release.plan.summary import APPROVAL_CHARACTERS, approval_summary
from ecs_release.plan.text import (
    as_lines,
    as_markdown,
    grouped_warnings,
)


def item(number: int = 0, **more: Any) -> dict[str, Any]:
    return {
        "kind": "service",
        "name": f"shop/service-{number:02}",
        "target": "default",
        "targetId": None,
        "targets": None,
        "wave": 0,
        "action": "update",
        "images": {
            "api": {
                "from": "r.example/api:1.4.0",
                "to": "r.example/api:1.5.0",
                "digest": "sha256:" + "a" * 64,
            }
        },
        "live": f"arn:aws:ecs:eu-west-1:111111111111:task-definition/service-{number:02}:7",
        "before": "",
        "warnings": [],
        "problems": [],
        **more,
    }


def plan(*items: dict[str, Any]) -> dict[str, Any]:
    actions = [i["action"] for i in items]
    return {
        "digest": digest(items, "rollback"),
        "release": "4.0",
        "onFailure": "rollback",
        "counts": {a: actions.count(a) for a in ("update", "unchanged", "blocked")},
        "estimateSeconds": 360,
        "wayBack": True,
        "warnings": [],
        "items": list(items),
    }


def _squeezed(line: str) -> str:
    """A line with its padding cut to two spaces."""
    return re.sub(r" {2,}", "  ", line)


FIFTY = plan(*(item(n, warnings=["no circuit breaker: slow."] if n % 2 else []) for n in range(50)))


@pytest.mark.parametrize(("width", "height"), [(80, 50), (120, 40), (200, 24)])
def test_fifty_services_fit_one_screen(width: int, height: int) -> None:
    lines = as_lines(FIFTY, width)
    assert len(lines) <= height
    assert max(map(len, lines)) <= width
    assert lines[0] == 'release "4.0": 50 update, 0 unchanged, 0 blocked; about 6 min; can go back'
    assert all(any(f"service-{n:02}" in line for line in lines) for n in range(50))


def test_a_cell_much_longer_than_the_others_costs_one_line_and_no_column() -> None:
    odd = item(60)
    odd["images"]["envoy"] = {
        "from": "public.example/envoy:v1.27.0.0-prod",
        "to": "public.example/envoy:v1.29.0.0-prod",
    }
    lines = as_lines(plan(*(item(n) for n in range(50)), odd), 120)
    assert len(lines) <= len(as_lines(plan(*(item(n) for n in range(50))), 120)) + 1
    assert max(map(len, lines)) <= 120


def test_a_cluster_of_many_services_is_named_once_and_a_single_one_with_its_service() -> None:
    items = [item(n) for n in range(20)] + [item(30, name="edge/gateway")]
    lines = as_lines(plan(*items), 120)
    assert "  in shop" in lines
    assert not any("shop/" in line for line in lines)
    assert any(line.lstrip().startswith("edge/gateway  1.4.0 -> 1.5.0") for line in lines)


def test_a_container_is_named_where_it_is_one_of_several_or_of_a_task() -> None:
    several = item(1)
    several["images"]["side"] = {
        "from": "r.example/side:1",
        "to": "r.example/side:2",
        "digest": "sha256:" + "b" * 64,
    }
    lines = as_lines(plan(item(0), several, item(2, kind="task", name="nightly")), 120)
    assert any("service-00  1.4.0 -> 1.5.0" in line for line in map(_squeezed, lines))
    assert any("service-01  api 1.4.0 -> 1.5.0, side 1 -> 2" in line for line in map(_squeezed, lines))
    assert any("nightly (task)  api 1.4.0 -> 1.5.0" in line for line in map(_squeezed, lines))


def test_problems_are_whole_and_within_the_window() -> None:
    problem = "its deployment controller is CODE_DEPLOY; ECS Release can only update services with the ECS controller."
    lines = as_lines(plan(item(0, action="blocked", problems=[problem]), item(1)), 80)
    assert problem in " ".join(" ".join(lines).split())
    assert max(map(len, lines)) <= 80


def test_nothing_to_change_is_said() -> None:
    headline = as_lines(plan(item(0, action="unchanged")), 80)[0]
    assert headline == 'release "4.0": 0 update, 1 unchanged, 0 blocked; nothing to change'
    assert "nothing to change" in approval_summary(plan(item(0, action="unchanged")))


# Where a release comes from is told in full elsewhere; of the other warnings, those that say something else of several.
SEVERAL = [
    code
    for code, kind in CODES.items()
    if kind.of_several and code.startswith("W") and code not in ("W220", "W221")
]


def found(code: str, number: int) -> dict[str, Any]:
    """A finding of a code whose values differ from those of another number."""
    values = {name: f"{name}-{number}" for _, name, _, _ in Formatter().parse(CODES[code].text) if name}
    return Finding(code, values).document()


@pytest.mark.parametrize("code", SEVERAL)
def test_warnings_of_one_kind_are_one_line_whatever_they_name(code: str) -> None:
    items = [item(n, findings=[found(code, n)]) for n in range(2)]
    (group,) = grouped_warnings(plan(*items))
    assert group.names == ["shop/service-00", "shop/service-01"]
    assert group.message == CODES[code].of_several
    each = tuple((f"shop/service-{n:02}", found(code, n)["message"]) for n in range(2))
    assert group.each == each
    assert all(escape(message) in page(plan(*items)) for _, message in each), (
        "the page says it of each as well"
    )
    (alone,) = grouped_warnings(plan(items[0]))
    assert alone.message == found(code, 0)["message"]
    assert alone.each == ()


@pytest.mark.parametrize("code", SEVERAL)
def test_an_item_with_one_kind_of_finding_for_several_containers_is_named_and_counted_once(code: str) -> None:
    twice = item(0, findings=[found(code, 1), found(code, 2)])
    (group,) = grouped_warnings(plan(twice))
    assert group.names == ["shop/service-00"]
    assert [message for _, message in group.each] == [found(code, n)["message"] for n in (1, 2)]
    assert f'<span class="warn small">{escape(CODES[code].title)}</span>' in page(plan(twice))
    both = plan(twice, item(1, findings=[found(code, 3)]))
    for text in ("\n".join(as_lines(both, 80)), approval_summary(both)):
        assert "3 items" not in text
        assert "2 items" in text


def test_a_terminal_names_revisions_in_short_unless_they_are_there_to_be_copied() -> None:
    arn = "arn:aws:ecs:eu-west-1:111111111111:task-definition/"
    before = Finding("W260", {"release": "r", "before": f"{arn}api:7"}).document()
    grant = Finding(
        "W210", {"role": "starter", "because": "", "grant": f"ecs:RunTask on {arn}api:*"}
    ).document()
    early = {"family": "api", "other": "web", "live": f"{arn}api:7", "alone": ""}
    blocked = item(2, action="blocked", findings=[Finding("E226", early).document()])
    lines = as_lines(plan(item(0, findings=[before]), item(1, findings=[grant]), blocked), 400)
    text = "\n".join(lines)
    assert "back means api:7." in text
    assert f"Allow ecs:RunTask on {arn}api:*." in text
    assert f"let it name {arn}api:7." in text


def one_of_each() -> dict[str, Any]:
    """A plan with an item for each code there is."""
    items = []
    for number, code in enumerate(CODES):
        finding = found(code, number)
        blocked = finding["level"] == "problem"
        said: dict[str, Any] = {"problems" if blocked else "warnings": [finding["message"]]}
        items.append(item(number, findings=[finding], action="blocked" if blocked else "update", **said))
    return plan(*items)


@pytest.mark.parametrize("width", [80, 120])
def test_one_of_each_kind_fits_a_terminal_and_names_the_code_that_the_manifest_can_ignore(width: int) -> None:
    document = one_of_each()
    lines = as_lines(document, width)
    assert max(map(len, lines)) <= width
    # Where an image comes from is told in full, under a heading of its own.
    named = [code for code in CODES if code not in ("W220", "W221")]
    for text in ("\n".join(lines), as_markdown(document), page(document)):
        assert [code for code in named if code not in text] == []
    # What blocks stands first, then what has no way back.
    text = "\n".join(lines)
    assert text.index("[E260]") < text.index("[W265]") < text.index("[W201]")


def test_a_plan_by_an_older_function_has_its_warnings_in_words_alone() -> None:
    older = plan(*(item(n, warnings=["no circuit breaker: slow."]) for n in range(2)))
    (group,) = grouped_warnings(older)
    assert (group.title, group.message) == ("no circuit breaker", "no circuit breaker: slow.")
    assert group.names == ["shop/service-00", "shop/service-01"]


def test_a_code_that_a_newer_function_has_is_said_in_its_words() -> None:
    newer = {"code": "W999", "level": "warning", "message": "a new thing: look at it.", "values": {}}
    (group,) = grouped_warnings(plan(item(0, findings=[newer]), item(1, findings=[newer])))
    assert (group.title, group.message) == ("a new thing", "a new thing: look at it.")


def test_a_warning_of_many_items_is_said_once() -> None:
    assert sum("no circuit breaker" in line for line in as_lines(FIFTY, 120)) == 1


def test_the_approval_fits_codepipeline_and_shows_blocked_first() -> None:
    blocked = item(7, action="blocked", problems=["no service"])
    summary = approval_summary(plan(blocked, *(item(n) for n in range(200, 400))))
    assert len(summary) <= APPROVAL_CHARACTERS
    assert summary.index("BLOCKED: service-07") < summary.index("service-200")
    assert "\n" not in summary
    assert summary.isascii()


def test_a_comment_shows_every_change_in_a_table() -> None:
    text = as_markdown(FIFTY)
    assert text.count("| `shop/service-") == 50


def test_a_comment_shows_what_is_blocked_first() -> None:
    text = as_markdown(plan(item(1), item(7, action="blocked", problems=["no service"])))
    assert text.index("- **shop/service-07**: no service") < text.index("| `shop/service-01`")


def test_a_comment_of_thousands_fits_and_says_what_it_leaves_out() -> None:
    many = [item(n, warnings=[f"a warning of its own: {n}"]) for n in range(4000)]
    blocked = [item(n, action="blocked", problems=["no service"]) for n in range(4000, 8000)]
    text = as_markdown(plan(*many, *blocked))
    assert len(text) <= 65_536
    assert text.count(" more") == 3


def test_the_page_is_self_contained_and_escapes_what_it_shows() -> None:
    html = page(
        plan(item(images={"<b>": {"from": "a:1", "to": "b:2"}}, warnings=["<script>alert(1)</script>"]))
    )
    assert "<script" not in html
    assert "&lt;script&gt;" in html
    assert "http" not in html.replace("http-equiv", "")


def test_two_plans_of_the_same_work_have_the_same_digest_and_any_difference_is_said() -> None:
    old = plan(item(1), item(2))
    assert digest([item(2), item(1)], "rollback") == old["digest"]
    assert differences(old, plan(item(1), item(2, warnings=["new"], before="x"))) == []
    moved = item(2)
    moved["images"]["api"] = {**moved["images"]["api"], "digest": "sha256:" + "b" * 64}
    assert "moved from sha256:aaaa" in differences(old, plan(item(1), moved))[0]
    other = item(2, live="arn:other")
    assert "now arn:other is" in differences(old, plan(item(1), other))[0]
    assert differences(old, plan(item(1))) == ["shop/service-02: was in the plan and is not any more"]
    assert differences(plan(item(1)), old) == ["shop/service-02: was not in the plan"]
