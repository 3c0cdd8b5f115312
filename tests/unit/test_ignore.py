"""``ignore`` in the manifest: which findings may be ignored, and that what is ignored stays visible."""

from __future__ import annotations

from typing import Any

import pytest
from ecs_release.aws.registry import RegistryImage
from ecs_release.manifest import Manifest, Service, from_document, load, to_document
from ecs_release.manifest.keys import OVERRIDABLE
from ecs_release.plan.batches import cut
from ecs_release.plan.codes import CODES
from ecs_release.plan.decide import PlannedItem
from ecs_release.plan.document import differences, plan_document
from ecs_release.plan.findings import Finding, accepted
from ecs_release.plan.page import page
from ecs_release.plan.text import as_lines, as_markdown
from test_plan_warnings import BREAKER, PAUSE, codes, decide

ENTRY = """services:
  - service: api
    clusterName: shop
    serviceName: api
    image: "api:1.2.3"
    ignore: {}
"""


def test_the_codes_are_those_of_the_table() -> None:
    assert sorted(OVERRIDABLE) == sorted(code for code, kind in CODES.items() if kind.overridable)


@pytest.mark.parametrize(
    "code",
    [
        "E201",
        "E229",
        "E205",
        "E241",
        "E243",
        "E248",
        "E249",
        "E251",
        "E260",
        "W202",
        "W241",
        "W242",
        "W243",
        "W260",
        "W261",
    ],
)
def test_what_guards_a_promise_is_not_ignored(code: str) -> None:
    assert not CODES[code].overridable
    assert not accepted([Finding(code)], [code])[0].ignored


def test_the_key_is_read_and_written_back() -> None:
    manifest = load(ENTRY.format("[W248, E242, W248]").encode()).manifest
    assert manifest is not None
    assert manifest.items[0].ignore == ("E242", "W248")
    assert from_document(to_document(manifest)).manifest == manifest
    plain = load(ENTRY.format("[]").encode()).manifest
    assert plain is not None
    assert "ignore" not in to_document(plain)["services"][0]


def test_entries_of_one_item_ignore_together() -> None:
    entry = {"service": "api", "clusterName": "c", "serviceName": "s", "image": "api:1", "ignore": ["W248"]}
    other = {**entry, "service": "proxy", "ignore": ["W240"]}
    manifest = from_document({"services": [entry, other]}).manifest
    assert manifest is not None
    assert [item.ignore for item in manifest.items] == [("W240", "W248")]


@pytest.mark.parametrize(
    ("written", "code", "column"),
    [
        ("[W241]", "E075", 14),
        ("[W248, E999]", "E075", 20),
        ("[w248]", "E075", 14),
        ("[[W248]]", "E052", 14),
        ("W248", "E052", 13),
        ("", "E055", 5),
    ],
)
def test_another_code_is_an_error_where_it_stands(written: str, code: str, column: int) -> None:
    (problem,) = load(ENTRY.format(written).encode()).errors
    assert (problem.code, problem.line, problem.column) == (code, 6, column)


def ignoring(*ignored: str, **members: Any) -> PlannedItem:
    return decide(ignore=ignored, **members)


ARM = RegistryImage("sha256:1", platforms=("linux/arm64",))


@pytest.mark.parametrize(
    ("members", "code"),
    [
        ({"registry": ARM, "service": {"launchType": "FARGATE"}}, "E242"),
        (
            {"service": {"deploymentConfiguration": {"strategy": "BLUE_GREEN", "lifecycleHooks": [PAUSE]}}},
            "E250",
        ),
        ({"service": {"loadBalancers": []}}, "W248"),
        ({"service": {"deploymentConfiguration": {}}}, "W240"),
        ({"service": {"deploymentConfiguration": {**BREAKER, "maximumPercent": 100}}}, "W245"),
    ],
)
def test_what_is_ignored_stays_visible_everywhere(members: dict[str, Any], code: str) -> None:
    said, ignored = ignoring(**members), ignoring(code, **members)
    assert said.action == ("blocked" if code.startswith("E") else "update")
    assert (ignored.action, ignored.warnings, ignored.problems) == ("update", (), ())
    assert codes(ignored) == [code]
    before, after = plan_document([said], "rollback"), plan_document([ignored], "rollback")
    assert before["digest"] != after["digest"]
    assert differences(before, after)
    (found,) = after["items"][0]["findings"]
    assert (found["level"], found["code"]) == ("ignored", code)
    for text in ("\n".join(as_lines(after)), as_markdown(after), page(after)):
        assert "gnored by the manifest" in text
        assert code in text
    (record,) = cut([ignored], "r", 1).records
    assert record.ignored == [f"{code}: {ignored.findings[0].message}"]


def test_a_problem_that_comes_to_be_ignored_later_was_not_approved() -> None:
    before = plan_document([ignoring("E242")], "rollback")
    after = plan_document([ignoring("E242", registry=ARM, service={"launchType": "FARGATE"})], "rollback")
    assert differences(before, after)


def test_a_plan_that_ignores_nothing_keeps_its_digest() -> None:
    one, other = decide(), decide(service={"loadBalancers": []})
    assert plan_document([one], "rollback")["digest"] == plan_document([other], "rollback")["digest"]


def test_a_manifest_without_the_key_ignores_nothing() -> None:
    assert Service(cluster="c", service="s").ignore == ()
    assert Manifest(None, "rollback", ()).items == ()
