"""What a substitution left behind is no image, in whichever half of the name; honest names that look a little like it are."""

from __future__ import annotations

import pytest
from ecs_release.manifest.images import image_problem
from hypothesis import given
from hypothesis import strategies as st

# How the languages mark what is to be filled in.
_MARKS: tuple[str, ...] = (
    "__{}__",
    "_{}_",
    "${{{}}}",
    "$({})",
    "{{{{{}}}}}",
    "{{{{ {} }}}}",
    "{{{}}}",
    "<{}>",
    "%{}%",
    "@{}@",
    "@@{}@@",
    "[[{}]]",
)
_MARKS += ("${}", "#{{{}}}#")
_NAMES = st.from_regex(r"[A-Z]{2,10}(_[A-Z]{2,8})?", fullmatch=True)
_PLACES = (
    "api:{}",
    "team/api:{}",
    "ghcr.io/acme/api:{}",
    "api:1.0-{}",
    "{}/api:1",
    "ghcr.io/{}/api:1",
    "123456789012.dkr.ecr.{}.amazonaws.com/api:1",
)
_NOUNS = (
    "TAG",
    "VERSION",
    "SHA",
    "DIGEST",
    "PLACEHOLDER",
    "TODO",
    "TBD",
    "XXX",
    "BUILD_NUMBER",
    "BUILD_ID",
    "IMAGETAG",
)


@given(st.sampled_from(_MARKS), _NAMES, st.sampled_from(_PLACES))
def test_a_marked_name_is_a_placeholder_wherever_it_stands(mark: str, name: str, place: str) -> None:
    image = place.format(mark.format(name))
    problem = image_problem(image)
    assert problem is not None, image
    assert problem[0] == "E016", (image, problem)


@given(st.lists(st.from_regex(r"[A-Z]{2,8}", fullmatch=True), max_size=2), st.sampled_from(_NOUNS))
def test_a_tag_that_is_the_name_of_what_belongs_there_is_one(before: list[str], noun: str) -> None:
    for joint in ("_", "-"):
        problem = image_problem(f"api:{joint.join([*before, noun])}")
        assert problem is not None
        assert problem[0] == "E016"


@pytest.mark.parametrize(
    "order", ["CHANGEME", "change-me", "REPLACE_ME", "replaceme", "update_me", "SET_ME", "fix-this"]
)
@pytest.mark.parametrize("place", ["api:{}", "ghcr.io/acme/api:{}"])
def test_a_tag_that_is_an_order_is_one(order: str, place: str) -> None:
    problem = image_problem(place.format(order))
    assert problem is not None
    assert problem[0] == "E016"


@pytest.mark.parametrize(
    "image",
    [
        "your/api:your-tag-here",
        "api:YOUR_TAG",
        "api:TO_BE_REPLACED",
        "api:tag-to-replace",
        "changeme/api:1",
        "r.io/replace-me/api:1",
    ],
)
def test_siblings_of_those(image: str) -> None:
    problem = image_problem(image)
    assert problem is not None
    assert problem[0] == "E016"


@pytest.mark.parametrize(
    "tag",
    [
        *(
            "release_1",
            "v_1__2",
            "1.2.3",
            "RELEASE",
            "PROD",
            "HEAD",
            "VERSION_1",
            "TAG-12",
            "TAG1",
            "RC_1",
            "a__b",
            "_1",
            "__1",
        ),
        *(
            "1.0-SNAPSHOT",
            "1.0.0_RELEASE",
            "TODO-123",
            "TODO_APP_1",
            "1.0-TAG",
            "change-me-later-1",
            "stable_",
            "_stable",
        ),
        *(
            "main_2024",
            "BUILD_5",
            "BUILD-17",
            "SHA256",
            "set-1",
            "update-2",
            "XX",
            "your-1",
            "tag-1",
            "to-be-1",
        ),
    ],
)
def test_an_honest_tag_stays_one(tag: str) -> None:
    assert image_problem(f"api:{tag}") is None


@given(st.from_regex(r"[a-z][a-z0-9]{0,6}([._-]{1,2}[a-z0-9]{1,6}){0,3}[0-9]", fullmatch=True))
def test_a_lower_case_tag_that_ends_in_a_number_is_honest(tag: str) -> None:
    assert image_problem(f"api:{tag}") is None


@pytest.mark.parametrize(
    "repository", ["my__repo/api", "todo", "todo/api", "placeholder/api", "a_b/c__d", "tag/version"]
)
def test_an_honest_repository_stays_one(repository: str) -> None:
    assert image_problem(f"{repository}:1") is None
