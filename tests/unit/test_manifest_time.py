"""Reading a file takes time in proportion to its size: four times as much of it, about four times as long.

The time of computing is compared, not that of the clock, because other tests run beside this one. What grows as the square
takes sixteen times as long.
"""

from __future__ import annotations

import random
import time

import pytest
from ecs_release.manifest import load

SERVICE = "\nservices:\n  - service: api\n    clusterName: shop\n    serviceName: api\n    image: api:1.2.3\n"
SIZE = 9_000
FOUR_TIMES_ALMOST_SQUARED = 9
FAR_TOO_LONG = 5  # seconds for some ten thousand characters, on a busy machine too
TOO_SHORT_TO_COMPARE = 0.3  # seconds

# What is repeated, between what stands before and behind it.
FOUND: dict[str, tuple[str, str, str]] = {
    "spaces within a list": ("x-a: [a,", " ", "b," + "b," * 2_000 + "b]" + SERVICE),
    "long values of a list": ("x-a: [", "a" * 8_999 + ",", "]" + SERVICE),
    "long values in quotes": ("x-a: [", "'" + "a" * 8_990 + "',", "]" + SERVICE),
    "comments within a comment": ("# é", " #", SERVICE),
    "comments behind a value": ("x-a: é", " #", SERVICE),
    "tabs before a key": ("", "\t", "a: b" + SERVICE),
    "tabs within a line of JSON": ("{x-a: b", "\t", "c}"),
    "tabs and spaces within a value": ("x-a: b", " \t", "c" + SERVICE),
}

PIECES = (
    *(
        "a",
        "é",
        " ",
        "\t",
        "-",
        "- ",
        ":",
        ": ",
        "#",
        " #",
        "'",
        '"',
        "\\",
        "[",
        "]",
        "{",
        "}",
        ",",
        ", ",
        "\n",
        "\n- ",
    ),
    *(
        "&a",
        "&",
        "*a",
        "!",
        "! ",
        "|",
        "> ",
        "?",
        "%",
        "@",
        "<",
        "=",
        "~",
        "..",
        "_",
        "__",
        "/",
        "://",
        "${",
        "{{",
        "$(",
    ),
    *(
        "\u200b",
        "\u00a0",
        "\u2013",
        "\u202e",
        "\x07",
        "：",
        "<<: *a, ",
        "x-a: ",
        "service: ",
        "a: b, ",
        "'a', ",
        '"a',
    ),
)
PLACES = (
    *(
        "{}",
        "# é{}",
        "é{}x",
        "- {}",
        "[{}]",
        "{{a: {}}}",
        "{}: a",
        "x: &{} a",
        "x: !{} a",
        "release: {}\u202e",
    ),
    *(
        "x-a: {}",
        "x-a: [{}]",
        'x-a: "{}"',
        "x-a: '{}'",
        "x-a: |\n  {}",
        "x-a: [a,{}b]",
        "x-a: b\t{}",
        "x-a: é {}",
    ),
    *("services:\n  - image: {}", 'services:\n  - service: "{}"', "services: [{{{}}}]"),
)


def seconds(text: str) -> float:
    started = time.process_time()
    load(text.encode())
    return time.process_time() - started


def grows_too_fast(before: str, repeated: str, behind: str, size: int = SIZE) -> str:
    """What four times as much takes in place of once as much, when that is too long each time; else nothing."""
    count = max(1, size // len(repeated))
    texts = [before + repeated * number + behind for number in (count, 4 * count)]
    once = four_times = float("inf")
    for _ in range(4):
        once = min(once, seconds(texts[0]))
        if once > FAR_TOO_LONG:
            return f"{once:.2f} s"
        four_times = min(four_times, seconds(texts[1]))
        if four_times < max(TOO_SHORT_TO_COMPARE, FOUR_TIMES_ALMOST_SQUARED * once):
            return ""
    return f"{once:.2f} s, {four_times:.2f} s"


@pytest.mark.parametrize("name", FOUND)
def test_what_was_found_to_grow_too_fast_does_not(name: str) -> None:
    assert grows_too_fast(*FOUND[name]) == ""


@pytest.mark.parametrize("seed", range(4))
def test_nothing_that_is_drawn_grows_too_fast(seed: int) -> None:
    drawn = random.Random(seed)

    def piece(most: int) -> str:
        return "".join(drawn.choices(PIECES, k=drawn.randint(0, most)))

    for _ in range(50):
        place, before, behind = drawn.choice(PLACES), piece(1), piece(1)
        repeated = drawn.choice(PIECES) + piece(3)
        start, end = place.format("\0").split("\0")
        family = start + before, repeated, behind + end
        assert grows_too_fast(*family) == "", family


@pytest.mark.parametrize(
    "value",
    [
        {"image": "a" * 9_900 + "é"},
        {"clusterName": "'" + "a" * 9_900 + " '"},
        {"image": "'http://" + "a" * 540 + "'"},
        {"image": "'" + "<" * 550 + "'"},
        {"? " + "k" * 9_900 + "é": "x"},
    ],
    ids=lambda value: next(iter(value))[:9],
)
def test_what_thousands_of_entries_use_is_not_looked_at_for_long_each_time(value: dict[str, str]) -> None:
    """One long value costs little; the same behind an alias must not cost as much again for each use."""
    entry = {"service": "a", "clusterName": "c", "serviceName": "s", "image": "'a:1'"}

    def took(keys: dict[str, str]) -> float:
        written = "".join(
            f"\n  {key}: {text}" if key[0] != "?" else f"\n  {key}\n  : {text}" for key, text in keys.items()
        )
        return seconds(f"x-a: &a{written}\nservices:\n" + "- *a\n" * 2_000)

    for _ in range(4):
        usual = took(entry)
        if took({**entry, **value}) < 5 * usual + 0.5:
            return
    pytest.fail("each use costs")
