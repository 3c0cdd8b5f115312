"""What a valid manifest means, and how several mistakes are told at once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ecs_release.manifest import Item, Rule, Schedule, Service, Validation, from_document, load, to_document
from ecs_release.manifest.problem import one_line

SERVICE = {"service": "api", "clusterName": "shop", "serviceName": "api", "image": "api:1.2.3"}
TASK = {"service": "cleanup", "cwRuleName": "nightly", "image": "cleanup:2.0"}

ORIGINAL_SAMPLE = """\
release: 4.0
# tasks - (optional) if no scheduled tasks exists just remove the tasks array
tasks:
    #service - must match the task's container name in the task definition
  - service: service-x
    # cwRuleName - Name of the cloudwatch events rule associated with the ECS service name .
    cwRuleName: service-x-cw-rule
    # image - New image that you want to deploy.
    image: "11111111111.dkr.ecr.us-west-2.amazonaws.com/service-x:2.0.0"
services:
    #service - must match the container name in the task definition
  - service: service-a
    # clusterName - Name of the ECS cluster where the service exists
    clusterName: demo
    # serviceName - Name of the ECS service
    serviceName: demo-service-a-TS6BT1U6VQBG-Service-HTco3SKTy2J1
    # image - New image that you want to deploy.
    image: "11111111111.dkr.ecr.us-east-1.amazonaws.com/service-a:2.0.0"
"""

README_SAMPLE = """\
tasks:
- service: rating-cleanup
  cwRuleName: test-rating-cleanup
  image: "11111111111.dkr.ecr.us-west-2.amazonaws.com/rating-cleanup:2.0.0"
services:
- service: service-a
  clusterName: test-Cluster-0IEYQ2GqGmL7
  serviceName: test-movie-info-service-Service-TALkUbJVrBgS
  image: "11111111111.dkr.ecr.us-east-1.amazonaws.com/movie-info-service:4.0.0"
"""

TEN_MISTAKES = """\
release:
onFailure: rolback
services:
  - service: !Ref api
    clusterName: shop
    serviceName: api
    image: api:1.2.3
    wave: 1.5
  - service: web
    clusterName: arn:aws:ecs:eu-central-1:123456789012:cluster/shop
    serviceNmae: web
    image: web
  - service: cron
    clusterName: shop
    serviceName: cron job
    image: *cron
tasks:
  - service: cleanup
    cwRuleName: nightly
    image: cleanup:2.0
    image: cleanup:2.1
"""


def valid(text: str) -> Validation:
    validation = load(text.encode())
    assert validation.manifest is not None, validation.errors
    assert (
        from_document(json.loads(json.dumps(to_document(validation.manifest)))).manifest
        == validation.manifest
    )
    return validation


def items(text: str) -> tuple[Item, ...]:
    manifest = valid(text).manifest
    assert manifest is not None
    return manifest.items


def codes(document: Any) -> list[str]:
    validation = from_document(document)
    return [
        f"{problem.code} {problem.path}".strip() for problem in (*validation.errors, *validation.warnings)
    ]


# --- the documented samples ---


@pytest.mark.parametrize("sample", [ORIGINAL_SAMPLE, README_SAMPLE], ids=["original", "readme"])
def test_documented_samples_are_valid(sample: str) -> None:
    validation = valid(sample)

    assert [problem.code for problem in validation.warnings] == ["W101", "W101"]


@pytest.mark.parametrize(
    "text",
    [
        ORIGINAL_SAMPLE[: ORIGINAL_SAMPLE.index("services:")],
        "release: 4.0\n" + README_SAMPLE[README_SAMPLE.index("services:") :],
        README_SAMPLE,
        "tasks:\n" + README_SAMPLE[README_SAMPLE.index("services:") :],
        "tasks: []\n" + README_SAMPLE[README_SAMPLE.index("services:") :],
    ],
    ids=["services absent", "tasks absent", "release absent", "tasks without value", "tasks empty"],
)
def test_parts_that_are_optional_may_be_absent(text: str) -> None:
    valid(text)


def test_a_manifest_becomes_items_tasks_first() -> None:
    task, service = items(README_SAMPLE.replace("cwRuleName", "wave: 2\n  cwRuleName"))

    assert task == Rule(
        images={"rating-cleanup": "11111111111.dkr.ecr.us-west-2.amazonaws.com/rating-cleanup:2.0.0"},
        exact=False,
        wave=2,
        rule="test-rating-cleanup",
    )
    assert service.kind == "service"
    assert service.name == "test-Cluster-0IEYQ2GqGmL7/test-movie-info-service-Service-TALkUbJVrBgS"
    assert (task.path, service.path) == ("tasks[0]", "services[0]")


def test_json_is_yaml_too_and_windows_line_ends_are_line_ends() -> None:
    document = {"release": "1", "services": [SERVICE]}

    for indent in (2, "\t"):
        assert valid(json.dumps(document)).manifest == valid(json.dumps(document, indent=indent)).manifest
    assert valid(README_SAMPLE.replace("\n", "\r\n")).manifest == valid(README_SAMPLE).manifest
    bad = README_SAMPLE.replace("clusterName", "clusterNam").replace("\n", "\r\n")
    assert [(p.line, p.column) for p in load(bad.encode()).errors] == [(7, 3)]


@pytest.mark.parametrize("tabbed", ["\t", "\t\t# comment", "  \t# a\tcomment"])
@pytest.mark.parametrize("line", README_SAMPLE.splitlines()[:3], ids=str.strip)
def test_tabs_that_yaml_takes_for_spaces_are_spaces(line: str, tabbed: str) -> None:
    expected = valid(README_SAMPLE).manifest

    assert valid(README_SAMPLE.replace(line, f"{line}{tabbed}")).manifest == expected
    assert valid(README_SAMPLE.replace(line, f"{line}\n{tabbed}")).manifest == expected
    assert valid(README_SAMPLE.replace("image: ", "image:\t")).manifest == expected


def test_a_tab_before_a_value_keeps_the_columns() -> None:
    (problem,) = load(README_SAMPLE.replace("test-rating-cleanup", "\ttest rating").encode()).errors

    assert (problem.code, problem.line, problem.column) == ("E071", 3, 16)


@pytest.mark.parametrize("value", ['"a:\tb\t# c"', "'a\t'", "|-\n  a:\tb", ">-\n  a\t# b\n\n  c\t"])
def test_a_tab_in_quotes_or_in_a_block_of_text_is_part_of_the_value(value: str) -> None:
    (problem,) = load(f"release: {value}\n{README_SAMPLE}".encode()).errors

    assert (problem.code, problem.path) == ("E071", "release")
    assert "\\t" in problem.message


@pytest.mark.parametrize("text", ["-service: a", "services:a", "clusterName\uff1a a", "\u2013 service: a"])
def test_a_block_of_text_is_no_yaml(text: str) -> None:
    manifest = valid(f"release: >-  # of today\n  {text}\n{README_SAMPLE}").manifest

    assert manifest is not None
    assert manifest.release == text


@pytest.mark.parametrize("word", ["null", "Null", "NULL", "~", ""])
def test_a_list_may_be_null_as_yaml_writes_it(word: str) -> None:
    services = README_SAMPLE[README_SAMPLE.index("services:") :]

    assert valid(f"tasks: {word}\n{services}").manifest == valid(services).manifest
    assert [p.code for p in load(f"tasks: 'null'\n{services}".encode()).errors] == ["E052"]


# --- what YAML offers against writing things again ---


def test_anchors_and_aliases_are_read_as_in_compose_files() -> None:
    api, web = items(
        """
x-tag: &tag registry.example.com/monolith:2025.10.1
x-anything: {of: [the, &author author], never: 5}
services:
  - {service: api, clusterName: &cluster shop, serviceName: api, image: *tag}
  - {service: web, clusterName: *cluster, serviceName: web, image: *tag, wave: &wave 1}
"""
    )

    assert [dict(item.images) for item in (api, web)] == [
        {"api": "registry.example.com/monolith:2025.10.1"},
        {"web": "registry.example.com/monolith:2025.10.1"},
    ]
    assert isinstance(web, Service)
    assert (web.cluster, web.wave) == ("shop", 1)


def test_merged_keys_give_way_to_what_is_written_and_to_what_is_merged_before_them() -> None:
    first, second, third = items(
        """
x-shop: &shop {clusterName: shop, wave: 1, image: "api:1"}
x-slow: &slow
  wave: 2
  timeoutMinutes: 120
services:
  - &api {<<: *shop, service: api, serviceName: api}
  - <<: [*shop, *slow]
    service: web
    serviceName: web
    image: web:1
  - serviceName: cron
    wave: 7
    <<: [*slow, *api]
"""
    )

    assert (first.name, first.wave, first.timeout_minutes, dict(first.images)) == (
        "shop/api",
        1,
        60,
        {"api": "api:1"},
    )
    assert (second.name, second.wave, second.timeout_minutes, dict(second.images)) == (
        "shop/web",
        1,
        120,
        {"web": "web:1"},
    )
    assert (third.name, third.wave, third.timeout_minutes, dict(third.images)) == (
        "shop/cron",
        7,
        120,
        {"api": "api:1"},
    )


def test_a_list_and_the_containers_of_an_entry_may_be_aliases_too() -> None:
    (item,) = items(
        """
x-images: &images {proxy: "proxy:1", logs: "logs:2"}
x-services: &services
  - clusterName: shop
    serviceName: api
    images: {<<: *images, api: "api:1", proxy: "proxy:2"}
services: *services
"""
    )

    assert item.images == {"proxy": "proxy:2", "logs": "logs:2", "api": "api:1"}


def test_a_merge_key_in_quotes_is_a_key_like_any_other() -> None:
    (problem,) = load(f"'<<': {{release: 1}}\n{README_SAMPLE}".encode()).errors

    assert (problem.code, problem.line, problem.column) == ("E053", 1, 1)


def test_keys_of_the_top_level_that_begin_with_x_are_the_authors_own() -> None:
    manifest = valid(f"x-owner: team shop\nx-: [1, {{a: b}}]\n{README_SAMPLE}").manifest

    assert manifest == valid(README_SAMPLE).manifest
    assert codes({"x-owner": {"team": None}, "services": [SERVICE]}) == []
    assert codes({"X-owner": 1, "services": [{**SERVICE, "x-a": 1}]}) == [
        "E053 X-owner",
        "E053 services[0].x-a",
    ]


@pytest.mark.parametrize(
    "before", ["", "---\n", "# today\n---\n", "---\n---\n", "--- # today\n", "...\n---\n"]
)
@pytest.mark.parametrize(
    "behind", ["", "---\n", "...\n", "---", "...\n---\n", "---\n# nothing\n\n---\n...\n", "--- # end\n"]
)
def test_markers_without_a_document_are_no_second_document(before: str, behind: str) -> None:
    assert valid(before + README_SAMPLE + behind).manifest == valid(README_SAMPLE).manifest


def test_what_stands_behind_a_marker_is_another_document() -> None:
    services = README_SAMPLE[README_SAMPLE.index("services:") :]
    tasks = README_SAMPLE.removesuffix(services)

    for between in ("---\n", "...\n---\n", "---\n# more\n"):
        (problem,) = load(f"{tasks}{between}{services}---\n".encode()).errors
        assert (problem.code, problem.line) == ("E037", 6 if between.startswith("...") else 5)


def test_a_mistake_behind_an_alias_is_told_once_where_it_is_written() -> None:
    uses = "".join(f"  - {{<<: *base, service: s{i}, serviceName: s{i}}}\n" for i in range(4))
    text = f"x-base: &base\n  clusterName: shop\n  image: &image api:latest\nservices:\n{uses}"

    (problem,) = load(text.encode()).errors

    assert (problem.code, problem.line, problem.column, problem.path) == ("E013", 3, 17, "services[0].image")
    assert problem.message.endswith("(used in services[1].image and 2 other places too)")


# --- scalars keep the text that was written ---


@pytest.mark.parametrize(
    "written",
    [
        *(
            "4.0",
            "4.10",
            "1:30",
            "1_000",
            "2024-01-01",
            "0x1F",
            "0o17",
            "011111111111",
            "1e3",
            ".5",
            "+1",
            ".inf",
            "=",
            "<<",
        ),
        *(
            "no",
            "on",
            "yes",
            "off",
            "true",
            "False",
            "null",
            "~",
            "Größe 4",
            "release of today",
            "v1.2.3+build",
        ),
    ],
)
def test_a_release_label_keeps_its_text(written: str) -> None:
    for text in (written, f'"{written}"', f"'{written}'", f"{written}   # comment"):
        manifest = valid(f"release: {text}\n{README_SAMPLE}").manifest
        assert manifest is not None
        assert manifest.release == written


@pytest.mark.parametrize(
    "name", ["no", "on", "yes", "true", "null", "0x1F", "011111111111", "1_000", "2024-01-01", "1e3", "12"]
)
def test_names_keep_their_text(name: str) -> None:
    text = f"services: [{{service: {name}, clusterName: {name}, serviceName: {name}, image: {name.lower()}:{name}}}]"

    (item,) = items(text)

    assert isinstance(item, Service)
    assert (item.cluster, item.service, dict(item.images)) == (name, name, {name: f"{name.lower()}:{name}"})


@pytest.mark.parametrize(
    "tag", ["011", "20240101", "1_000", "0x1F", "1e3", "no", "4.10", "a" * 128, "Latest", "latest-1"]
)
def test_tags_keep_their_text(tag: str) -> None:
    image = f"123456789012.dkr.ecr.eu-central-1.amazonaws.com/team/api:{tag}"

    (item,) = items(f"services: [{{service: api, clusterName: shop, serviceName: api, image: {image}}}]")

    assert item.images == {"api": image}


@pytest.mark.parametrize(
    "image",
    [
        "api:1.2.3",
        "team/api_v2/sub.part:1",
        "localhost:5000/api:1",
        "public.ecr.aws/nginx/nginx:1.27",
        "registry.example.com:443/Api:1".lower(),
        "Registry.Example.com/api:1",
        "api@sha256:" + "0123456789abcdef" * 4,
        "api:1.2.3@sha256:" + "0" * 64,
        "api:latest@sha256:" + "0" * 64,
        "123456789012.dkr.ecr-fips.us-gov-west-1.amazonaws.com/api:1",
        "123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn/api:1",
        "123456789012.dkr-ecr.eu-west-1.on.aws/api:1",
    ],
)
def test_images_of_every_form_are_valid(image: str) -> None:
    assert codes({"services": [{**SERVICE, "image": image}]}) == []


# --- all keys of an entry ---


def test_every_key_of_a_task() -> None:
    (by_rule, by_schedule) = items(
        """
tasks:
  - {service: a, cwRuleName: r, eventBusName: orders, targetId: t.1, image: "a:1", target: eu, wave: 3, timeoutMinutes: 1440}
  - {images: {a: "a:1", b: "b:2"}, scheduleName: nightly, scheduleGroup: reports}
"""
    )

    assert by_rule == Rule(
        images={"a": "a:1"},
        exact=False,
        target="eu",
        wave=3,
        timeout_minutes=1440,
        rule="r",
        event_bus="orders",
        target_id="t.1",
    )
    assert by_rule.name == "orders/r"
    assert by_schedule == Schedule(
        images={"a": "a:1", "b": "b:2"}, exact=True, schedule="nightly", group="reports"
    )
    assert by_schedule.name == "reports/nightly"
    assert list(by_schedule.images) == ["a", "b"]


def test_on_failure_is_rollback_unless_written() -> None:
    assert valid(README_SAMPLE).manifest.on_failure == "rollback"  # type: ignore[union-attr]
    assert valid("onFailure: stop\n" + README_SAMPLE).manifest.on_failure == "stop"  # type: ignore[union-attr]


# --- entries for the same thing are one item ---


def test_entries_for_one_service_with_different_containers_are_one_item() -> None:
    proxy = {**SERVICE, "service": "proxy", "image": "proxy:1", "wave": 2}
    other = {**SERVICE, "serviceName": "other"}

    manifest = from_document({"services": [SERVICE, other, proxy]}).manifest

    assert manifest is not None
    assert [dict(item.images) for item in manifest.items] == [
        {"api": "api:1.2.3", "proxy": "proxy:1"},
        {"api": "api:1.2.3"},
    ]
    assert (manifest.items[0].wave, manifest.items[0].path, manifest.items[0].exact) == (
        2,
        "services[0]",
        False,
    )
    assert from_document(to_document(manifest)).manifest == manifest


def test_entries_for_one_rule_are_one_item_also_when_the_defaults_are_written() -> None:
    other = {"images": {"b": "b:1"}, "cwRuleName": "nightly", "eventBusName": "default", "target": "default"}

    manifest = from_document({"tasks": [TASK, other]}).manifest

    assert manifest is not None
    assert [dict(item.images) for item in manifest.items] == [{"cleanup": "cleanup:2.0", "b": "b:1"}]
    assert manifest.items[0].exact


@pytest.mark.parametrize(
    "difference",
    [{"eventBusName": "orders"}, {"target": "eu"}, {"cwRuleName": "hourly"}],
    ids=lambda difference: next(iter(difference)),
)
def test_entries_that_differ_in_what_they_name_are_items_of_their_own(difference: dict[str, str]) -> None:
    manifest = from_document({"tasks": [TASK, {**TASK, **difference}]}).manifest

    assert manifest is not None
    assert len(manifest.items) == 2


def test_targets_of_one_rule_are_items_of_their_own() -> None:
    manifest = from_document({"tasks": [{**TASK, "targetId": "1"}, {**TASK, "targetId": "2"}]}).manifest

    assert manifest is not None
    assert [item.target_id for item in manifest.items if isinstance(item, Rule)] == ["1", "2"]


# --- JSON ---


def test_json_numbers_are_taken_where_they_are_unambiguous() -> None:
    manifest = from_document(
        {"release": 4, "services": [{**SERVICE, "wave": 2, "timeoutMinutes": "5"}]}
    ).manifest

    assert manifest is not None
    assert manifest.release == "4"
    assert (manifest.items[0].wave, manifest.items[0].timeout_minutes) == (2, 5)


def test_a_json_fraction_as_label_is_doubtful() -> None:
    validation = from_document({"release": 4.0, "services": [SERVICE]})

    assert validation.manifest is not None
    assert validation.manifest.release == "4.0"
    assert [problem.code for problem in validation.warnings] == ["W102"]


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        (None, ["E050"]),
        ([], ["E051"]),
        ("text", ["E051"]),
        (5, ["E051"]),
        ({}, ["E056"]),
        ({"tasks": None, "services": []}, ["E056"]),
        ({"services": {}}, ["E052 services"]),
        ({"services": [None]}, ["E055 services[0]"]),
        ({"services": [7]}, ["E052 services[0]"]),
        ({"services": [{**SERVICE, "wave": True}]}, ["E052 services[0].wave"]),
        ({"services": [{**SERVICE, "wave": 1.5}]}, ["E052 services[0].wave"]),
        ({"services": [{**SERVICE, "wave": -1}]}, ["E073 services[0].wave"]),
        ({"services": [{**SERVICE, "wave": 10**400}]}, ["E073 services[0].wave"]),
        ({"services": [{**SERVICE, "service": False}]}, ["E052 services[0].service"]),
        ({"services": [{**SERVICE, "image": None}]}, ["E055 services[0].image"]),
        ({"services": [{**SERVICE, "image": "api"}]}, ["E012 services[0].image"]),
        ({"services": [SERVICE, SERVICE]}, ["E090 services[1].service"]),
        ({"version": 1, "services": [SERVICE]}, ["E053 version"]),
        ({"services": [{**SERVICE, "service": "\ufdd0"}]}, ["E070 services[0].service"]),
        ({"services": [{**SERVICE, "service": "\ud800"}]}, ["E070 services[0].service"]),
        ({"services": [SERVICE] * 5001}, ["E007 services"]),
    ],
)
def test_a_document_keeps_the_same_rules(document: Any, expected: list[str]) -> None:
    assert codes(document) == expected
    assert all((p.line, p.column) == (0, 0) for p in from_document(document).errors)


def test_a_document_nested_without_end_is_refused() -> None:
    document: list[Any] = []
    document.append(document)

    assert codes({"services": document})[0].startswith("E006 ")


def test_places_in_a_document_are_told_by_path() -> None:
    (problem,) = from_document({"services": [SERVICE, SERVICE]}).errors

    assert "in services[0] and in services[1]" in problem.message


# --- all problems at once ---


def test_ten_mistakes_get_ten_lines_in_file_order() -> None:
    lines = [one_line(problem, "deployment.yaml") for problem in load(TEN_MISTAKES.encode()).errors]

    assert [line.split(" ")[0] + line.split("deployment.yaml")[1].split(" ")[0] for line in lines] == [
        "E055:1:1",
        "E074:2:12",
        "E036:4:14",
        "E073:8:11",
        "E072:10:18",
        "E053:11:5",
        "E012:12:12",
        "E071:15:18",
        "E035:16:12",
        "E038:21:5",
    ]


def test_what_is_no_yaml_gets_one_message_for_all_that_follows_from_it() -> None:
    for mistake, expected in (
        ("release:4.0", "E039 1:9"),
        ('release: "4.0', "E031 1:10"),
        ("release: 4: 0", "E032 1:11"),
        ("release: [4", "E033 1:10"),
        ("release: @4", "E034 1:10"),
        ("release: 4\t0", "E030 1:11"),
        ("release\uff1a 4", "E070 1:8"),
        (" release: 4", "E040 1:2"),
    ):
        text = TEN_MISTAKES.replace("release:", mistake)

        assert [f"{p.code} {p.line}:{p.column}" for p in load(text.encode()).errors] == [expected]


def test_what_is_wrong_with_a_single_line_is_reported_for_every_line() -> None:
    text = README_SAMPLE.replace("service: ", "service:\u00a0").replace("image: ", "image:")

    assert [f"{p.code} {p.line}:{p.column}" for p in load(text.encode()).errors] == [
        "E070 2:11",
        "E039 4:9",
        "E070 6:11",
        "E039 9:9",
    ]


def test_a_line_reads_as_the_documentation_shows() -> None:
    text = README_SAMPLE.replace(
        '"11111111111.dkr.ecr.us-east-1.amazonaws.com/movie-info-service:4.0.0"', "api"
    )

    (problem,) = load(text.encode()).errors

    assert one_line(problem, "deployment.yaml") == (
        'E012 deployment.yaml:9:10 services[0].image: "api" has no tag; write api:1.2.3 or api@sha256:...'
    )


def test_both_lines_of_a_duplicate_are_named() -> None:
    text = README_SAMPLE + README_SAMPLE[README_SAMPLE.index("- service: service-a") :]

    (problem,) = load(text.encode()).errors

    assert (problem.code, problem.line) == ("E090", 10)
    assert "in line 6 and in line 10" in problem.message


def test_a_misspelt_key_is_one_mistake_and_its_value_another() -> None:
    text = README_SAMPLE.replace("serviceName: test", "serviceNmae: test test")

    assert [(p.code, p.path) for p in load(text.encode()).errors] == [
        ("E053", "services[0].serviceNmae"),
        ("E071", "services[0].serviceName"),
    ]


def test_the_manifests_of_the_examples_are_valid_and_name_the_schema() -> None:
    paths = sorted((Path(__file__).parents[2] / "examples").glob("*/deployment.yaml"))

    assert paths
    for path in paths:
        text = path.read_text(encoding="utf-8")
        valid(text)
        comment, _, schema = text.splitlines()[0].partition("$schema=")
        assert comment == "# yaml-language-server: "
        assert (path.parent / schema).resolve().is_file(), "the schema lies where the editor looks for it"
