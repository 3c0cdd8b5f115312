"""Mutated manifests end in "valid" or in listed problems, never in a traceback; what is valid round-trips.

A short run belongs to the unit tests. `ECS_RELEASE_FUZZ_SECONDS=60 pytest tests/unit/test_manifest_fuzz.py` runs longer.
"""

from __future__ import annotations

import json
import os
import random
import re
from pathlib import Path
from typing import Any

import jsonschema
from ecs_release.manifest import Validation, from_document, load, to_document
from ecs_release.manifest.problem import CODES, one_line
from ecs_release.manifest.schema import deployment_schema
from hypothesis import given, settings
from hypothesis import strategies as st
from texts import texts

VALID = b"""\
x-tag: &tag api:1.2.3
x-base: &base
  clusterName: shop
release: "4.0"
onFailure: stop
tasks:
  - {service: a, cwRuleName: r, eventBusName: orders, targetId: t.1, image: "a:1", target: eu, wave: 3}
  - images: {a: "a:1", b: "b:2"}
    scheduleName: nightly
    scheduleGroup: reports
services:
  - service: api  # the API
    clusterName: shop
    serviceName: api
    image: 123456789012.dkr.ecr.eu-central-1.amazonaws.com/api:1.2.3
  - {<<: *base, service: web, serviceName: web, image: *tag}
  - service: proxy
    clusterName: shop
    serviceName: api
    image: proxy@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef
"""
SEEDS = [path.read_bytes() for path in sorted((Path(__file__).parent / "bad_input").glob("*.yaml"))]
PIECES = [
    *(
        b":",
        b": ",
        b"-",
        b"- ",
        b"\n",
        b"\n\n",
        b"\r\n",
        b" ",
        b"  ",
        b"    ",
        b"\t",
        b"#",
        b" # ",
        b"'",
        b'"',
        b"\\",
        b"\\x",
        b"\\U",
    ),
    *(
        b"[",
        b"]",
        b"{",
        b"}",
        b"{{",
        b"}}",
        b",",
        b"|",
        b">",
        b"?",
        b"? ",
        b"&a ",
        b"*a",
        b"!",
        b"!!str ",
        b"!t!x ",
        b"<<: ",
        b"<<: *a\n",
        b"&b ",
        b"*b",
        b"x-a: &a ",
        b"x-b: &b {clusterName: shop}\n",
        b"@",
        b"`",
        b"%",
    ),
    *(
        b"---\n",
        b"...\n",
        b"%YAML 1.1\n",
        b"\x00",
        b"\x07",
        b"\x7f",
        b"\xff",
        b"\xc3",
        b"\xef\xbb\xbf",
        b"\xc2\x85",
        b"\xe2\x80\xa8",
    ),
    *(
        b"\xe2\x80\x8b",
        b"\xe2\x80\xae",
        b"\xd0\xb0",
        b"\xc3\xa4",
        b"\xef\xb7\x90",
        b"\xf0\x9f\x98\x80",
        b"\xc2\xa0",
        b"\xef\xbf\xbe",
        b"\xe2\x80\x93 ",
        b"\xe2\x80\xa2",
        b"\xef\xbc\x9a",
    ),
    *(
        b"<<<<<<< HEAD\n",
        b"=======\n",
        b">>>>>>> x\n",
        b"||||||| y\n",
        b"~",
        b"null",
        b"no",
        b"1_0",
        b"0x1F",
        b"4.10",
        b"latest",
        b"arn:aws:",
    ),
    *(
        b"services:",
        b"tasks:",
        b"-service: ",
        b"release: |\n ",
        b"null\n",
        b"service: ",
        b"image: ",
        b"images: ",
        b"wave: ",
        b"target: ",
        b"cwRuleName: ",
        b"clusterName:",
        b"a" * 300,
    ),
]

SCHEMA = jsonschema.Draft7Validator(deployment_schema())


def check(data: bytes) -> Validation:
    validation = load(data)
    line_count = len(re.split(rb"\r\n|\r|\n", data))
    longest = max(len(line) for line in re.split(rb"\r\n|\r|\n", data))
    for problem in (*validation.errors, *validation.warnings):
        assert problem.code in CODES
        assert 1 <= problem.line <= line_count
        assert 1 <= problem.column <= longest + 1
        assert one_line(problem, "deployment.yaml").isprintable()
        if b"ufdd0" not in data:
            assert "ufdd0" not in problem.path + problem.message, "our own sign for a hole"
    assert (validation.manifest is None) == bool(validation.errors)
    if validation.manifest is not None:
        document = to_document(validation.manifest)
        again = from_document(json.loads(json.dumps(document)))
        assert again.manifest == validation.manifest
        assert to_document(again.manifest) == document
        SCHEMA.validate(document)
        # The tabs that we take mean the same as spaces; PyYAML does not know them.
        with_spaces = data.replace(b"\t", b" ")
        assert load(with_spaces).manifest == validation.manifest
        # An editor that knows the schema underlines nothing in a file we take.
        read = texts(with_spaces)
        SCHEMA.validate(read | _lists_without_value(read))
    return validation


def _lists_without_value(read: dict[str, Any]) -> dict[str, Any]:
    nothing = ("", "~", "null", "Null", "NULL")
    return {name: None for name in ("tasks", "services") if read.get(name) in nothing}


def mutated(random_: random.Random) -> bytes:
    is_from_valid = random_.random() < 0.5
    data = VALID if is_from_valid else random_.choice(SEEDS)
    for _ in range(random_.randint(1, 2 if is_from_valid else 6)):
        at, end = sorted(random_.randint(0, len(data)) for _ in range(2))
        end = min(end, at + 40)
        kind = random_.randrange(5)
        if kind == 0:
            data = data[:at] + data[end:]
        elif kind == 1:
            data = data[:at] + data[at:end] * 2 + data[end:]
        elif kind == 2:
            other = random_.choice(SEEDS)
            data = data[:at] + other[at:end] + data[at:]
        else:
            data = data[:at] + random_.choice(PIECES) + data[at:]
    return data


@given(st.randoms(use_true_random=False))
@settings(max_examples=300, deadline=None)
def test_mutated_manifests_never_give_a_traceback(random_: random.Random) -> None:
    check(mutated(random_))


@given(
    st.binary(max_size=200) | st.text(max_size=200).map(lambda text: text.encode("utf-8", "surrogatepass"))
)
@settings(max_examples=100, deadline=None)
def test_any_bytes_never_give_a_traceback(data: bytes) -> None:
    check(data)


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=10)
    | st.sampled_from(["api", "api:1", "shop"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "tasks",
                    "services",
                    "service",
                    "image",
                    "images",
                    "clusterName",
                    "serviceName",
                    "cwRuleName",
                    "wave",
                    "release",
                ]
            )
            | st.text(max_size=5),
            inner,
            max_size=5,
        )
    ),
    max_leaves=20,
)


@given(json_values)
@settings(max_examples=300, deadline=None)
def test_any_document_never_gives_a_traceback(document: Any) -> None:
    validation = from_document(document)

    assert (validation.manifest is None) == bool(validation.errors)
    if validation.manifest is not None:
        assert from_document(to_document(validation.manifest)).manifest == validation.manifest


def test_files_in_large_numbers() -> None:
    """Not hypothesis, which is slow at sheer numbers: always the same files, and more of them for `make prove`."""
    files = int(os.environ.get("ECS_RELEASE_FUZZ_FILES", "500"))
    first = int(os.environ.get("ECS_RELEASE_FUZZ_SEED", "1"))
    valid = 0
    for seed in range(first, first + files):
        data = mutated(random.Random(seed))
        try:
            valid += check(data).manifest is not None
        except Exception as error:
            raise AssertionError(f"ECS_RELEASE_FUZZ_SEED={seed}: {data!r}") from error
    assert 0 < valid < files
