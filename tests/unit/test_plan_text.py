"""The plan as people read it: at a terminal, in the approval, in a comment, as a page."""

from __future__ import annotations

from typing import Any

from ecs_release.plan_document import differences, digest
from ecs_release.plan_page import page
from ecs_release.plan_text import APPROVAL_CHARACTERS, approval_summary, as_lines, as_markdown


def item(number: int = 0, **more: Any) -> dict[str, Any]:
    return {
        "kind": "service",
        "name": f"shop/service-{number:02}",
        "target": "default",
        "targetId": None,
        "targets": None,
        "wave": 0,
        "action": "update",
        "images": {"api": {"from": "r.example/api:1.4.0", "to": "r.example/api:1.5.0", "digest": "sha256:" + "a" * 64}},
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


FIFTY = plan(*(item(n, warnings=["no circuit breaker: slow."] if n % 2 else []) for n in range(50)))


def test_fifty_services_fit_one_screen() -> None:
    lines = as_lines(FIFTY, width=120)
    assert len(lines) <= 40
    assert max(map(len, lines)) <= 130
    assert lines[0] == "release 4.0: 50 update, 0 unchanged, 0 blocked; about 6 min; can go back"
    assert all(any(f"service-{n:02}" in line for line in lines) for n in range(50))


def test_a_warning_of_many_items_is_said_once() -> None:
    assert sum("no circuit breaker" in line for line in as_lines(FIFTY, 120)) == 1


def test_the_approval_fits_codepipeline_and_shows_blocked_first() -> None:
    blocked = item(7, action="blocked", problems=["no service"])
    summary = approval_summary(plan(blocked, *(item(n) for n in range(200, 400))))
    assert len(summary) <= APPROVAL_CHARACTERS
    assert summary.index("BLOCKED: shop/service-07") < summary.index("service-200")
    assert "\n" not in summary
    assert summary.isascii()


def test_a_comment_shows_every_change_in_a_table() -> None:
    text = as_markdown(FIFTY)
    assert text.count("| `shop/service-") == 50


def test_the_page_is_self_contained_and_escapes_what_it_shows() -> None:
    html = page(plan(item(images={"<b>": {"from": "a:1", "to": "b:2"}}, warnings=["<script>alert(1)</script>"])))
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
