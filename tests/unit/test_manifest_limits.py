"""What is counted and what is not: at its limits a manifest is refused for what it has too much of, and for nothing else."""

from __future__ import annotations

import json
from typing import Any

import pytest
from ecs_release.manifest import Validation, from_document, load, to_document
from ecs_release.manifest.keys import OVERRIDABLE
from hypothesis import given, settings
from hypothesis import strategies as st

SERVICE = {"service": "api", "clusterName": "shop", "serviceName": "api", "image": "api:1.2.3"}
TASK = {"service": "cleanup", "cwRuleName": "nightly", "image": "cleanup:2.0"}

# Images that are doubtful and valid, each in its own way.
DOUBTFUL = ("ecr.corp.example/a:1", "11111111111.dkr.ecr.us-east-1.amazonaws.com/a:1")


def manifest(images: list[str]) -> dict[str, Any]:
    """A document with a service for each image."""
    return {
        "services": [
            {"service": "a", "clusterName": "c", "serviceName": f"s{number}", "image": image}
            for number, image in enumerate(images)
        ]
    }


def yaml_of(document: dict[str, Any]) -> bytes:
    entries = (", ".join(f"{key}: {value}" for key, value in one.items()) for one in document["services"])
    return "\n".join(["services:", *(f"- {{{entry}}}" for entry in entries)]).encode()


def both_ways(images: list[str]) -> list[Validation]:
    document = manifest(images)
    return [load(yaml_of(document)), from_document(document)]


# --- errors and warnings ---


@settings(max_examples=20, deadline=None)
@given(st.lists(st.sampled_from((*DOUBTFUL, "a:1")), max_size=30), st.integers(1, 10))
def test_warnings_alone_refuse_nothing(images: list[str], most: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ecs_release.manifest.rules.MOST_PROBLEMS", most)
        for validation in both_ways(images or ["a:1"]):
            doubtful = sum(image in DOUBTFUL for image in images)
            found = [problem.code for problem in validation.warnings]

            assert validation.errors == ()
            assert validation.manifest is not None
            assert [code for code in found if code != "W105"].count("W101") <= most
            assert len(found) == min(doubtful, most) + (doubtful > most)
            if doubtful > most:
                assert found[-1] == "W105"
                assert validation.warnings[-1].message.startswith(f"{doubtful - most} more ")


@pytest.mark.parametrize("image", DOUBTFUL)
def test_1200_warnings_are_a_valid_manifest(image: str) -> None:
    for validation in both_ways([image] * 1200):
        assert validation.manifest is not None
        assert len(validation.warnings) == 1001
        assert (
            validation.warnings[-1].message == "200 more warnings are not listed; look at those listed first"
        )


@settings(max_examples=20, deadline=None)
@given(st.lists(st.sampled_from((*DOUBTFUL, "a:latest", "a")), min_size=1, max_size=30), st.integers(1, 10))
def test_errors_are_counted_without_the_warnings_between_them(images: list[str], most: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ecs_release.manifest.rules.MOST_PROBLEMS", most)
        for validation in both_ways(images):
            wrong = sum(image not in DOUBTFUL for image in images)
            found = [problem.code for problem in validation.errors]

            assert len(found) == min(wrong, most) + (wrong > most)
            assert ("E009" in found) == (wrong > most)


def test_one_mistake_behind_an_alias_is_one_however_often_it_is_used() -> None:
    entries = "\n".join(f"- {{<<: *a, serviceName: s{number}}}" for number in range(1200))
    text = f"x-a: &a {{service: a, clusterName: c, image: a}}\nservices:\n{entries}\n- {{<<: *a, serviceName: a b}}"

    assert [problem.code for problem in load(text.encode()).errors] == ["E012", "E071"]


# --- entries ---


def compiled(validation: Validation) -> Validation:
    """What a step makes of what the build compiled."""
    assert validation.manifest is not None
    return from_document(json.loads(json.dumps(to_document(validation.manifest))))


def codes_written(draw: st.DrawFn) -> str:
    """The codes of one entry, as people write them: none, in brackets, with dashes, or behind an alias."""
    codes = draw(st.lists(st.sampled_from(OVERRIDABLE), min_size=1, max_size=6))
    return draw(
        st.sampled_from(
            (
                "",
                f"\n  ignore: [{', '.join(codes)}]",
                "\n  ignore:" + "".join(f"\n  - {code}" for code in codes),
                "\n  ignore:" + "".join(f"\n    - {code}" for code in codes),
                "\n  ignore: *codes",
            )
        )
    )


@st.composite
def files(draw: st.DrawFn) -> tuple[bytes, int]:
    """A manifest and its number of entries; entries for one thing, which are one item, are among them."""
    written = []
    per_item = draw(st.sampled_from((1, 3, 30)))
    number = draw(st.integers(1, 25))
    for index in range(number):
        name = (
            f"cwRuleName: r{index // per_item}, "
            if draw(st.booleans())
            else f"scheduleName: s{index // per_item}, "
        )
        keys = "\n  ".join([f"service: c{index}", name.strip(", "), "image: a:1"])
        written.append(f"- {keys}{codes_written(draw)}")
    body = "\n".join(written)
    top = "x-codes: &codes [W248, W249]\nx-others:\n" + "- a\n" * draw(st.integers(0, 30))
    if draw(st.booleans()):
        return f"{top}x-list: &list\n{body}\ntasks: *list".encode(), number
    return f"{top}tasks:\n{body}".encode(), number


@settings(max_examples=100, deadline=None)
@given(files())
def test_what_is_valid_is_valid_when_it_is_compiled_and_only_entries_are_entries(
    file: tuple[bytes, int],
) -> None:
    """With limits of a 250th, in the same proportion to each other, which drawn files reach."""
    data, number = file
    with pytest.MonkeyPatch.context() as patch:
        for module in ("rules", "source"):
            patch.setattr(f"ecs_release.manifest.{module}.MOST_ENTRIES", 20)
        patch.setattr("ecs_release.manifest.source.MOST_VALUES", 400)
        patch.setattr("ecs_release.manifest.document.MOST_VALUES_WRITTEN_OUT", 800)
        validation = load(data)
        messages = [problem.message for problem in validation.errors]

        assert any("entries" in message for message in messages) == (number > 20) or "values" in str(messages)
        assert {problem.code for problem in validation.errors} <= {"E007"}
        if validation.manifest is not None:
            assert number <= 20
            again = compiled(validation)
            assert again.manifest == validation.manifest, again.errors


@pytest.mark.parametrize("ignore", ["*c", "[W248, W249]", "\n    - W248\n    - W249"])
def test_codes_are_no_entries(ignore: str) -> None:
    entry = "- service: a\n  clusterName: c\n  serviceName: s{}\n  image: a:1\n  ignore: {}\n"
    text = "x-c: &c [W248]\nservices:\n" + "".join(entry.format(number, ignore) for number in range(2600))

    assert compiled(load(text.encode())).errors == ()


def test_the_largest_file_is_valid_when_it_is_compiled() -> None:
    """Each code of an item is compiled into each of its entries, whichever entry has it in the file."""
    entries = [
        f"- {{service: c{number}, cwRuleName: r{number // 100}, image: 'a:1'"
        + (
            f", base: live, targetId: t, ignore: [{', '.join(OVERRIDABLE)}]}}"
            if number % 100 == 0
            else ", targetId: t}"
        )
        for number in range(5000)
    ]
    validation = load("\n".join(["tasks:", *entries]).encode())

    assert len(json.dumps(to_document(validation.manifest))) > 1_000_000 if validation.manifest else False
    assert compiled(validation).manifest == validation.manifest


@pytest.mark.parametrize(
    "text",
    [
        "x-l: &l [{}]\nservices: *l",
        "services: [{}]",
        "tasks: [{}]",
        '{{"services": [{}]}}',
    ],
)
def test_5001_entries_are_too_many_however_they_are_written(text: str) -> None:
    (problem,) = load(text.format("{image: b}, " * 5001).encode()).errors

    assert (problem.code, problem.message) == ("E007", "more than 5,000 entries; split the release")


def test_both_lists_count_together() -> None:
    lists = {"tasks": [TASK] * 2500, "services": [SERVICE] * 2501}

    (problem,) = from_document(lists).errors
    assert (problem.code, problem.path) == ("E007", "services")
    assert "E007" not in {p.code for p in from_document({**lists, "services": [SERVICE] * 2500}).errors}
