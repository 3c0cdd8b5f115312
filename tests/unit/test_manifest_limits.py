"""What is counted and what is not: at its limits a manifest is refused for what it has too much of, and for nothing else."""

from __future__ import annotations

from typing import Any

import pytest
from ecs_release.manifest import Validation, from_document, load
from hypothesis import given, settings
from hypothesis import strategies as st

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
