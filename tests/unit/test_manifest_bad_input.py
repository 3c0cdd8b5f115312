"""Manifests people really write wrongly: each fixture in bad_input/ gives exactly these problems at these places."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from ecs_release.manifest import load
from ecs_release.manifest.problem import CODES, one_line

FIXTURES = Path(__file__).parent / "bad_input"

# Fixture -> code, line:column and path of every problem, in file order.
EXPECTED: dict[str, list[str]] = {
    # Types that YAML would guess; empty is "required"
    "empty-service": ["E055 2:5 services[0].service"],
    "tilde-service": ["E071 2:14 services[0].service"],
    "empty-release": ["E055 1:1 release"],
    "empty-image-in-quotes": ["E055 5:12 services[0].image"],
    "entry-of-nothing": ["E055 6:4 services[1]"],
    # Duplicate keys
    "duplicate-key": ["E038 6:5 services[0].image"],
    "duplicate-key-at-the-top": ["E038 8:1 release"],
    "duplicate-list": ["E038 10:1 services"],
    "duplicate-container-in-images": ["E038 7:7 services[0].images.api"],
    # Tabs, quotes, colons, brackets, indentation
    "tab-indentation": ["E030 5:1"],
    "tabs-everywhere": ["E030 2:1"],
    "tab-behind-dash": ["E030 2:4"],
    "tab-within-value": ["E030 1:13"],
    "unclosed-quote": ["E031 5:12"],
    "unclosed-single-quote": ["E031 4:18"],
    "text-behind-quote": ["E031 5:17"],
    "two-colons": ["E032 4:19"],
    "no-space-behind-colon": ["E039 5:11"],
    "no-space-behind-container": ["E039 5:11"],
    "no-space-behind-dash": ["E034 2:3"],
    "no-space-behind-dash-aligned": ["E034 2:3"],
    "no-space-behind-dash-and-images": ["E034 2:3"],
    "no-space-behind-dash-and-colon": ["E034 2:3"],
    "no-colon": ["E034 3:5"],
    "line-too-deep": ["E040 3:7"],
    "line-not-deep-enough": ["E040 3:4"],
    "first-line-too-deep": ["E040 1:2"],
    "first-lines-too-deep": ["E040 2:3"],
    "braces-and-more": ["E034 2:1"],
    "unclosed-bracket": ["E033 4:13"],
    "unclosed-braces-of-entry": ["E033 6:5"],
    "missing-comma": ["E033 1:12"],
    "stray-bracket": ["E033 6:1"],
    "list-behind-colon": ["E034 1:11"],
    "at-sign": ["E034 5:12"],
    "backslash": ["E034 5:17"],
    "backslash-too-large": ["E034 1:13"],
    # Aliases that lead nowhere or too far, merge keys, tags, what is wrong behind an alias
    "alias": ["E035 5:12 services[0].image"],
    "alias-bomb": ["E007 6:12"],
    "anchor-twice": ["E035 2:8"],
    "merge-of-text": ["E035 6:5 services[0]"],
    "merge-key-twice": ['E038 5:5 services[0]."<<"'],
    "mistake-behind-an-anchor": ["E013 1:15 services[0].image"],
    "misspelt-key-that-is-merged": ["E053 2:3 services[0].clusterNam"],
    "entry-used-twice": ["E090 3:14 services[1].service"],
    "extension-in-an-entry": ["E053 3:5 services[0].x-team"],
    "recursive-alias": ["E035 2:5 services[0]"],
    "python-tag": ["E036 5:12 services[0].image"],
    "cloudformation-tag": ["E036 5:12 services[0].image"],
    "binary-tag": ["E036 5:12 services[0].image"],
    "tag-of-unknown-handle": ["E036 5:12"],
    "tagged-entry": ["E036 2:5 services[0]"],
    # Limits; the larger ones are in test_manifest_hostile.py
    "nested-too-deep": ["E006 1:30"],
    "nested-too-deep-in-lines": ["E006 21:41"],
    "too-many-keys": ["E007 2:996"],
    # Something else than one manifest
    "empty": ["E050 1:1"],
    "comments-only": ["E050 1:1"],
    "document-marker-only": ["E050 1:1"],
    "a-list": ["E051 1:1"],
    "a-scalar": ["E051 1:1"],
    "two-documents": ["E037 6:1"],
    "two-documents-and-markers": ["E037 6:1"],
    # Characters and encodings
    "control-character": ["E005 4:20 services[0].serviceName"],
    "escape-character-in-comment": ["E005 1:3"],
    "escaped-control-character": ["E070 1:10 release"],
    "next-line-character": ["E005 1:13 release"],
    "next-line-character-as-line-end": ["E005 3:22"],
    "line-separator": ["E005 5:21 services[0].image"],
    "line-separators-as-line-ends": ["E005 1:10", "E005 2:17", "E005 3:22", "E005 4:21", "E005 5:21"],
    "invalid-utf-8": ["E003 6:6"],
    "binary": ["E003 1:8"],
    "utf-16-le": ["E003 1:1"],
    "utf-16-be": ["E003 1:1"],
    "utf-16-without-mark": ["E003 1:1"],
    "byte-order-mark": ["E004 1:1"],
    "byte-order-mark-inside": ["E005 5:12 services[0].image"],
    "noncharacter": ["E005 1:11 release"],
    "noncharacter-as-escape": ["E070 1:10 release"],
    # Look-alike, invisible and bidirectional characters
    "cyrillic-key": ['E070 4:6 services[0]."sеrviceName"'],
    "cyrillic-name": ["E070 4:18 services[0].serviceName"],
    "cyrillic-image": ["E070 5:12 services[0].image"],
    "greek-name": ["E070 3:20 services[0].clusterName"],
    "umlaut-name": ["E070 4:19 services[0].serviceName"],
    "umlaut-key": ['E070 2:6 services[0]."sérvice"'],
    "full-width-name": ["E070 4:18 services[0].serviceName"],
    "typographic-dash": ["E070 4:21 services[0].serviceName"],
    "zero-width-key": ['E070 5:8 services[0]."ima\\u200bge"'],
    "zero-width-name": ["E070 3:22 services[0].clusterName"],
    "zero-width-name-as-escape": ["E070 3:18 services[0].clusterName"],
    "bidirectional-name": ["E070 4:18 services[0].serviceName"],
    "bidirectional-key": ['E070 5:5 services[0]."\\u2066image"'],
    "bidirectional-release": ["E070 1:13 release"],
    "bidirectional-comment": ["W103 3:25"],
    "no-break-space": ["E070 4:21 services[0].serviceName"],
    "no-break-space-indentation": ["E070 5:1"],
    "no-break-space-behind-dash": ["E070 2:4"],
    "no-break-space-behind-colon": ["E070 3:17"],
    "zero-width-space-behind-colon": ["E070 3:17"],
    "en-dash-begins-entry": ["E070 2:3"],
    "en-dash-begins-braces": ["E070 2:3"],
    "em-dash-begins-entry": ["E070 2:3"],
    "bullet-begins-entry": ["E070 2:3"],
    "full-width-colon": ["E070 3:16"],
    "full-width-colon-without-space": ["E070 3:16"],
    "full-width-colon-in-images": ["E070 6:10"],
    "cyrillic-key-beside-the-latin-one": ['E070 6:6 services[0]."sеrviceName"'],
    # Unknown keys
    "unknown-key": ["E053 4:5 services[0].serviceNmae"],
    "unknown-key-unlike-any": ["E053 6:5 services[0].desiredCount"],
    "unknown-key-at-the-top": ["E053 1:1 onFailed"],
    "upper-case-key": ["E053 1:1 Services"],
    "other-name-of-a-key": ["E053 3:5 services[0].cluster"],
    "unknown-key-beside-the-one-it-is-like": ["E053 6:5 services[0].name"],
    "services-for-service": ["E053 2:5 services[0].services"],
    "key-of-services-in-tasks": ["E059 5:5 tasks[0].clusterName"],
    "key-of-tasks-in-services": ["E059 6:5 services[0].cwRuleName"],
    "key-of-the-top-level-in-services": ["E059 6:5 services[0].release", "E059 7:5 services[0].onFailure"],
    "list-in-an-entry": ["E059 6:5 services[0].tasks"],
    "entry-not-indented": ["E059 3:1 clusterName", "E059 4:1 serviceName", "E059 5:1 image"],
    "list-as-key": ["E034 6:5 services[0]"],
    # Missing keys
    "missing-cluster": ["E054 2:5 services[0].clusterName"],
    "missing-service-name": ["E054 2:5 services[0].serviceName"],
    "missing-container": ["E054 2:5 services[0].service"],
    "missing-image": ["E054 2:5 services[0].image"],
    "missing-container-and-image": ["E054 2:5 services[0]"],
    "missing-rule": ["E054 2:5 tasks[0].cwRuleName"],
    "empty-images": ["E055 4:13 services[0].images"],
    "images-without-value": ["E055 4:5 services[0].images"],
    # Wrong types
    "services-is-a-mapping": ["E052 2:3 services"],
    "services-is-text": ["E052 1:11 services"],
    "entry-is-text": ["E052 2:5 services[0]"],
    "entry-is-a-list": ["E052 2:5 services[0]"],
    "image-is-a-list": ["E052 5:12 services[0].image"],
    "image-is-a-template": ["E016 5:12 services[0].image"],
    "images-is-a-list": ["E052 5:7 services[0].images"],
    "images-is-text": ["E052 4:13 services[0].images"],
    "image-of-images-is-a-mapping": ["E052 4:19 services[0].images.api"],
    "image-of-images-empty": ["E055 4:14 services[0].images.api", "E052 4:26 services[0].images.web"],
    "both-lists-empty": ["E056 1:1"],
    "both-lists-without-value": ["E056 1:1"],
    "both-lists-null": ["E056 1:1"],
    "no-list": ["E056 1:1"],
    # Numbers and choices
    "wave-with-underscore": ["E073 6:11 services[0].wave"],
    "wave-hexadecimal": ["E073 6:11 services[0].wave"],
    "wave-octal": ["E073 6:11 services[0].wave"],
    "wave-negative": ["E073 6:11 services[0].wave"],
    "wave-too-large": ["E073 6:11 services[0].wave"],
    "wave-fraction": ["E073 6:11 services[0].wave"],
    "timeout-zero": ["E073 6:21 services[0].timeoutMinutes"],
    "timeout-too-large": ["E073 6:21 services[0].timeoutMinutes"],
    "timeout-with-unit": ["E073 6:21 services[0].timeoutMinutes"],
    "on-failure-misspelt": ["E074 1:12 onFailure"],
    "on-failure-unknown": ["E074 1:12 onFailure"],
    "ignored-not-ignorable": ["E075 6:14 services[0].ignore[0]"],
    # Names as AWS allows them
    "cluster-arn": ["E072 3:18 services[0].clusterName"],
    "service-arn": ["E072 4:18 services[0].serviceName"],
    "rule-arn": ["E072 3:17 tasks[0].cwRuleName"],
    "bus-arn": ["E072 5:19 tasks[0].eventBusName"],
    "schedule-arn": ["E072 4:19 tasks[0].scheduleName"],
    "service-arn-in-cluster-name": ["E072 3:18 services[0].clusterName"],
    "cluster-arn-in-service-name": ["E072 4:18 services[0].serviceName"],
    "partner-bus-arn": ["E072 5:19 tasks[0].eventBusName"],
    "rule-arn-in-schedule-name": ["E072 4:19 tasks[0].scheduleName"],
    "schedule-arn-in-rule-name": ["E072 3:17 tasks[0].cwRuleName"],
    "role-arn-in-target": ["E072 6:13 services[0].target"],
    "cluster-in-service-name": ["E071 4:18 services[0].serviceName"],
    "space-in-name": ["E071 4:18 services[0].serviceName"],
    "name-too-long": ["E071 4:18 services[0].serviceName"],
    "rule-too-long": ["E071 3:17 tasks[0].cwRuleName"],
    "rule-with-slash": ["E071 3:17 tasks[0].cwRuleName"],
    "bus-with-space": ["E071 5:19 tasks[0].eventBusName"],
    "target-id-with-slash": ["E071 5:15 tasks[0].targetId"],
    "schedule-with-group": ["E071 4:19 tasks[0].scheduleName"],
    "schedule-group-with-colon": ["E071 5:20 tasks[0].scheduleGroup"],
    "target-with-slash": ["E071 6:13 services[0].target"],
    "container-with-dot": ["E071 2:14 services[0].service"],
    "container-with-dot-in-images": ['E071 5:7 services[0].images."api.v2"'],
    "release-too-long": ["E071 1:10 release"],
    "release-with-line-break": ["E071 1:10 release"],
    # Keys that exclude or need each other
    "rule-and-schedule": ["E057 5:5 tasks[0].scheduleName"],
    "image-and-images": ["E057 6:5 services[0].images"],
    "bus-with-schedule": ["E058 5:5 tasks[0].eventBusName"],
    "target-id-with-schedule": ["E058 5:5 tasks[0].targetId"],
    "group-with-rule": ["E058 5:5 tasks[0].scheduleGroup"],
    # The same thing twice
    "container-twice": ["E090 6:14 services[1].service"],
    "container-twice-with-images": ["E090 10:7 services[1].images"],
    "container-twice-in-rule": ["E090 5:14 tasks[1].service"],
    "container-twice-in-schedule": ["E090 5:14 tasks[1].service"],
    "waves-disagree": ["E091 11:5 services[1].wave"],
    "timeouts-disagree": ["E091 11:5 services[1].timeoutMinutes"],
    "target-id-sometimes": ["E092 7:5 tasks[1].cwRuleName"],
    # Images
    "image-without-tag": ["E012 5:12 services[0].image"],
    "image-without-tag-in-registry": ["E012 5:12 services[0].image"],
    "image-latest": ["E013 5:12 services[0].image"],
    "digest-too-short": ["E014 5:12 services[0].image"],
    "digest-upper-case": ["E014 5:12 services[0].image"],
    "digest-md5": ["E014 5:12 services[0].image"],
    "image-https": ["E011 5:12 services[0].image"],
    "image-upper-case": ["E015 5:12 services[0].image"],
    "image-shell": ["E016 5:12 services[0].image"],
    "image-variable": ["E016 5:12 services[0].image"],
    "image-template": ["E016 5:12 services[0].image"],
    "image-angle-brackets": ["E016 5:12 services[0].image"],
    "image-placeholder-underscores": ["E016 5:12 services[0].image"],
    "image-placeholder-words": ["E016 5:12 services[0].image"],
    "image-placeholder-change-me": ["E016 5:12 services[0].image"],
    "image-placeholder-braces": ["E016 5:12 services[0].image"],
    "image-region-placeholder": ["E016 5:12 services[0].image"],
    "image-region-misspelt": ["E017 5:12 services[0].image"],
    "image-space": ["E019 5:12 services[0].image"],
    "image-newline": ["E019 5:12 services[0].image"],
    "image-tag-too-long": ["E018 5:12 services[0].image"],
    "image-tag-odd": ["E018 5:12 services[0].image"],
    "image-empty-tag": ["E012 5:12 services[0].image"],
    "image-odd-host": ["E017 5:12 services[0].image"],
    "image-account-text": ["E017 5:12 services[0].image"],
    "image-empty-part": ["E010 5:12 services[0].image"],
    "image-too-long": ["E010 5:12 services[0].image"],
    "image-enormous": ["E010 5:12 services[0].image"],
    "image-two-tags": ["E018 5:12 services[0].image"],
    "image-without-repository": ["E010 5:12 services[0].image"],
    "image-without-repository-and-tag": ["E010 5:12 services[0].image"],
    "image-block-scalar": ["E019 5:12 services[0].image"],
    "image-of-images-without-tag": ["E012 6:12 services[0].images.web"],
    "account-of-11-digits": ["W101 5:12 services[0].image"],
    "account-of-13-digits": ["W101 5:12 services[0].image"],
    "registry-like-ecr": ["W104 5:12 services[0].image"],
    # Git merge conflicts
    "merge-conflict": ["E008 5:1"],
    "merge-conflict-three-way": ["E008 5:1"],
    "merge-conflict-rest": ["E008 6:1"],
    "merge-conflict-begin-alone": ["E008 5:1"],
    "merge-conflict-base-alone": ["E008 5:1"],
    "merge-conflict-separator-alone": ["E008 5:1"],
    "merge-conflict-without-begin": ["E008 6:1"],
}

# Fixture -> what its first message must say: the advice, where it is easily the wrong one.
ADVICE = {
    "merge-conflict-separator-alone": "left over from a Git merge conflict; keep one side and remove the line",
    "merge-conflict-without-begin": "up to line 8; keep one side",
    "no-space-behind-dash": "no space after the dash; write - service: api",
    "en-dash-begins-entry": 'U+2013 EN DASH, which looks like "-"; begin it with a hyphen and a space, "- "',
    "bullet-begins-entry": "U+2022 BULLET; begin it with a hyphen",
    "no-break-space-behind-dash": "U+00A0 NO-BREAK SPACE, which is not a plain space; write a plain space",
    "full-width-colon": 'U+FF1A FULLWIDTH COLON, which looks like ":"; write a plain colon and a space',
    "full-width-colon-in-images": "U+FF1A FULLWIDTH COLON",
    "no-break-space-behind-colon": "U+00A0 NO-BREAK SPACE, which is not a plain space; write a plain space",
    "first-line-too-deep": "begins in column 2, deeper than line 2 below, which is of the same level; begin it in column 1",
    "first-lines-too-deep": "begin it in column 1, and move the lines up to line 3 with it",
    "image-of-images-is-a-mapping": "write api: api:1.2.3",
    "image-of-images-empty": "write api: api:1.2.3",
    "unknown-key-beside-the-one-it-is-like": "the keys here are ",
    "cyrillic-key-beside-the-latin-one": "remove it, or the serviceName that is there too",
    "key-of-the-top-level-in-services": '"release" belongs to the top level of the file; begin it in column 1',
    "services-for-service": "did you mean service?",
    "service-arn": "the name alone, serviceName: api (the rest goes into clusterName: shop)",
    "service-arn-in-cluster-name": "the name alone, clusterName: shop (the rest goes into serviceName: api)",
    "cluster-arn-in-service-name": "the ARN of an ECS cluster, which goes into clusterName: shop; write a name here",
    "partner-bus-arn": "the name alone, eventBusName: aws.partner/example.com/orders (",
    "rule-arn-in-schedule-name": "instead of scheduleName write eventBusName: orders and cwRuleName: nightly",
    "schedule-arn-in-rule-name": "instead of cwRuleName write scheduleGroup: reports and scheduleName: nightly",
    "role-arn-in-target": "an ARN; write the name that the module's input targets gives",
    "image-without-repository": "write 111111111111.dkr.ecr.us-east-1.amazonaws.com/REPOSITORY:4.0.0",
    "image-without-repository-and-tag": "write 111111111111.dkr.ecr.us-east-1.amazonaws.com/REPOSITORY:1.2.3",
    "alias": "there is no anchor &image above this alias; write &image before the value it stands for",
    "alias-bomb": "the aliases make more than 100,000 keys and values of this file; split the release",
    "recursive-alias": "the alias *loop stands inside the very value that it repeats; write that value out",
    "anchor-twice": "the anchor &tag is written twice, in line 1 and in line 2; give one of them another name",
    "merge-of-text": "write <<: *base, or <<: [*base, *other]",
    "mistake-behind-an-anchor": "write api:1.2.3 or api@sha256:... (used in services[1].image too)",
    "misspelt-key-that-is-merged": "did you mean clusterName? (used in services[1].clusterNam too)",
    "entry-used-twice": "is named twice, in services[0] and in services[1]; remove one",
    "image-region-misspelt": "is no Region; did you mean us-west-2?",
    "unknown-key-at-the-top": "did you mean onFailure?",
    "tab-within-value": "a tab between two parts of the line; write a space instead",
}


def problems(name: str) -> list[str]:
    validation = load((FIXTURES / f"{name}.yaml").read_bytes())
    found = sorted([*validation.errors, *validation.warnings], key=lambda p: (p.line, p.column))
    return [f"{p.code} {p.line}:{p.column} {p.path}".strip() for p in found]


@pytest.mark.parametrize("name", EXPECTED)
def test_a_bad_manifest_gets_code_line_column_and_path(name: str) -> None:
    assert problems(name) == EXPECTED[name]


@pytest.mark.parametrize("name", EXPECTED)
def test_a_bad_manifest_is_refused_and_a_doubtful_one_is_not(name: str) -> None:
    validation = load((FIXTURES / f"{name}.yaml").read_bytes())

    has_errors = any(problem.startswith("E") for problem in EXPECTED[name])
    assert (validation.manifest is None) == has_errors == bool(validation.errors)


@pytest.mark.parametrize("name", EXPECTED)
def test_a_message_says_what_was_found_and_what_to_write_on_one_clean_line(name: str) -> None:
    validation = load((FIXTURES / f"{name}.yaml").read_bytes())

    for problem in (*validation.errors, *validation.warnings):
        line = one_line(problem, "deployment.yaml")
        assert re.search(r"[;:] |\?$", problem.message), "what was found; what to write"
        assert line.isprintable(), "nothing that a terminal would obey"
        assert problem.code in CODES


@pytest.mark.parametrize("name", ADVICE)
def test_a_message_gives_the_advice_that_helps(name: str) -> None:
    validation = load((FIXTURES / f"{name}.yaml").read_bytes())

    assert ADVICE[name] in validation.errors[0].message


def test_every_fixture_is_expected() -> None:
    assert {path.stem for path in FIXTURES.glob("*.yaml")} == set(EXPECTED)


def test_every_code_has_a_fixture_or_a_test_of_its_own() -> None:
    elsewhere = {
        "E001",  # test_cli.py: files that are missing or misnamed
        "E002",  # test_manifest_hostile.py, as are 5,000 entries
        "E009",  # test_manifest_hostile.py
        "W102",  # test_manifest.py: only JSON has numbers
        "W105",  # test_manifest_limits.py
    }
    shown = {problem.split()[0] for found in EXPECTED.values() for problem in found}
    assert shown | elsewhere == set(CODES)
    assert not shown & elsewhere
