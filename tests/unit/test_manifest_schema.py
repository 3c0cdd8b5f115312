"""The schemas in schemas/ are generated from the fields that validation reads, and agree with it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from ecs_release.manifest import load
from ecs_release.manifest.keys import SERVICE_FIELDS, TASK_FIELDS, TOP_LEVEL_FIELDS
from ecs_release.manifest.schema import SCHEMAS, deployment_schema

ROOT = Path(__file__).parents[2]
FIXTURES = Path(__file__).parent / "bad_input"

VALIDATOR = jsonschema.Draft7Validator(deployment_schema())


@pytest.mark.parametrize("name", SCHEMAS)
def test_the_schema_that_is_checked_in_is_the_one_generated(name: str) -> None:
    """When this fails: PYTHONPATH=lambda_src python3 -m ecs_release.manifest.schema schemas"""
    assert (ROOT / "schemas" / name).read_text(encoding="utf-8") == json.dumps(
        SCHEMAS[name](), indent=2
    ) + "\n"


@pytest.mark.parametrize("name", SCHEMAS)
def test_the_schema_is_one(name: str) -> None:
    jsonschema.Draft7Validator.check_schema(SCHEMAS[name]())


def as_an_editor_reads(data: bytes) -> Any:
    """YAML 1.1 types; an editor's are YAML 1.2, which guesses less."""
    return yaml.safe_load(data)


def test_the_samples_are_valid_in_an_editor() -> None:
    for path in (ROOT / "examples").glob("*/deployment.yaml"):
        VALIDATOR.validate(as_an_editor_reads(path.read_bytes()))
    VALIDATOR.validate({"release": 4.0, "tasks": None, "services": [entry()]})


def entry(**changes: Any) -> dict[str, Any]:
    return {"service": "api", "clusterName": "shop", "serviceName": "api", "image": "api:1", **changes}


@pytest.mark.parametrize(
    "bad",
    [
        entry(image="api"),
        entry(image="api:latest"),
        entry(image="https://example.com/api:1"),
        entry(clusterName="arn:aws:ecs:eu-central-1:123456789012:cluster/shop"),
        entry(wave=-1),
        entry(wave=10000),
        entry(timeoutMinutes=0),
        entry(cwRuleName="nightly"),
        entry(serviceNmae="api"),
        entry(images={"api": "api:1"}),
        {name: value for name, value in entry().items() if name != "serviceName"},
    ],
    ids=str,
)
def test_an_editor_underlines_what_validation_refuses(bad: dict[str, Any]) -> None:
    assert not VALIDATOR.is_valid({"services": [bad]})


def test_an_editor_underlines_a_task_without_rule_or_with_rule_and_schedule() -> None:
    task = {"service": "a", "image": "a:1"}

    assert not VALIDATOR.is_valid({"tasks": [task]})
    assert not VALIDATOR.is_valid({"tasks": [{**task, "cwRuleName": "a", "scheduleName": "b"}]})
    assert VALIDATOR.is_valid({"tasks": [{**task, "scheduleName": "b"}]})


def test_doubtful_manifests_are_valid_in_an_editor_too() -> None:
    for path in FIXTURES.glob("*.yaml"):
        if load(path.read_bytes()).manifest is not None:
            VALIDATOR.validate(as_an_editor_reads(path.read_bytes()))


@pytest.mark.parametrize("word", ["null", "~", "no", "12", "4.10"])
@pytest.mark.parametrize("key", ["release", "clusterName", "serviceName", "service"])
def test_what_yaml_takes_for_no_text_is_valid_in_an_editor_as_a_label_or_name(key: str, word: str) -> None:
    """Validation keeps the text that is written, so the schema must not underline what an editor sees instead."""
    written = {**entry(), "image": "api:1", "release": "a", key: word}
    release = written.pop("release")
    text = ", ".join(f"{name}: {value}" for name, value in written.items())
    data = f"release: {release}\ntasks: null\nservices: [{{{text}}}]\n".encode()

    name_is_valid = word not in ("~", "4.10") or key == "release"
    assert (load(data).manifest is not None) == name_is_valid
    assert VALIDATOR.is_valid(as_an_editor_reads(data)) or not name_is_valid


@pytest.mark.parametrize(
    "one", list(dict.fromkeys([*TOP_LEVEL_FIELDS, *TASK_FIELDS, *SERVICE_FIELDS])), ids=lambda one: one.name
)
def test_every_field_is_described(one: Any) -> None:
    assert one.meaning.endswith(".")
    assert one.example or one.kind == "entries"
