"""The JSON Schemas in ``schemas/``, generated from the same fields that validation reads.

``python3 -m ecs_release.manifest.schema schemas`` writes them; a test holds them in step. The schema for editors is
slightly wider than the rules (an editor that reads ``4.10`` sees a number, the rules see the text), and never
narrower: what `manifest.load` accepts, it accepts.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from ecs_release.manifest import images
from ecs_release.manifest.keys import (
    CONTAINER_NAME,
    EXTENSION_PATTERN,
    IMAGE,
    LONGEST_LABEL,
    SERVICE_FIELDS,
    TASK_FIELDS,
    TOP_LEVEL_FIELDS,
    Field,
)
from ecs_release.manifest.nodes import MOST_ENTRIES
from ecs_release.manifest.problem import CODES

# The draft that editors' YAML language server understands best.
_DRAFT = "http://json-schema.org/draft-07/schema#"


def deployment_schema() -> dict[str, Any]:
    """Return the schema of ``deployment.yaml`` and of the JSON compiled from it."""
    return {
        "$schema": _DRAFT,
        "title": "ECS Release manifest",
        "description": "Which images one release puts into which ECS services and scheduled tasks.",
        "type": "object",
        "additionalProperties": False,
        "properties": {one.name: _property(one) for one in TOP_LEVEL_FIELDS},
        "patternProperties": {
            f"^{EXTENSION_PATTERN}$": {"description": "Your own: for example a value with an anchor."}
        },
        "anyOf": [{"required": ["tasks"]}, {"required": ["services"]}],
        "definitions": {
            "task": _entry(TASK_FIELDS, [_one_of(["cwRuleName"], ["scheduleName"])]),
            "service": _entry(SERVICE_FIELDS, [{"required": ["clusterName", "serviceName"]}]),
            "image": {"type": "string", "pattern": images.PATTERN},
        },
    }


def validation_schema() -> dict[str, Any]:
    """Return the schema of what ``validate --json`` and ``compile --json`` print."""
    problem = {
        "type": "object",
        "additionalProperties": False,
        "required": ["code", "line", "column", "path", "message"],
        "properties": {
            "code": {"description": "Stable; docs/errors.md explains it.", "enum": sorted(CODES)},
            "line": {"description": "From 1; 0 where there is no line.", "type": "integer", "minimum": 0},
            "column": {"description": "From 1, in characters; 0 as above.", "type": "integer", "minimum": 0},
            "path": {"description": "For example services[3].image.", "type": "string"},
            "message": {"description": "What was found and what to write.", "type": "string", "minLength": 1},
        },
    }
    problems = {"type": "array", "items": {"$ref": "#/definitions/problem"}}
    return {
        "$schema": _DRAFT,
        "title": "Result of ecs-release validate --json",
        "type": "object",
        "additionalProperties": False,
        "required": ["valid", "errors", "warnings"],
        "properties": {"valid": {"type": "boolean"}, "errors": problems, "warnings": problems},
        "definitions": {"problem": problem},
    }


def _entry(fields: tuple[Field, ...], conditions: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "type": "object",
        "additionalProperties": False,
        "properties": {one.name: _property(one) for one in fields},
        "allOf": [*conditions, _one_of(["service", "image"], ["images"])],
    }


def _one_of(some: list[str], others: list[str]) -> dict[str, Any]:
    """Either all of ``some`` and none of ``others``, or the other way round."""

    def all_but(wanted: list[str], unwanted: list[str]) -> dict[str, Any]:
        return {"required": wanted, "not": {"anyOf": [{"required": [name]} for name in unwanted]}}

    return {"oneOf": [all_but(some, others), all_but(others, some)]}


def _property(one: Field) -> dict[str, Any]:
    described: dict[str, Any] = {"description": f"{one.meaning} {one.rule}".strip(), **_type(one)}
    if one.default:
        described["default"] = int(one.default) if one.kind == "integer" else one.default
    if one.example and one.kind not in ("images", "codes"):
        described["examples"] = [int(one.example) if one.kind == "integer" else one.example]
    return described


def _type(one: Field) -> dict[str, Any]:
    # An editor reads ~ and null as nothing, the rules as the text they are where a label or name is expected.
    text = ["string", "number", "boolean", "null"]
    if one.kind == "label":
        return {"type": text, "minLength": 1, "maxLength": LONGEST_LABEL}
    if one.kind == "entries":
        items = {"$ref": f"#/definitions/{one.name.removesuffix('s')}"}
        return {"type": ["array", "null"], "maxItems": MOST_ENTRIES, "items": items}
    if one.kind == "codes":
        return {"type": "array", "items": {"enum": list(one.choices)}}
    if one.kind == "choice":
        return {"enum": list(one.choices)}
    if one.kind == "integer":
        bounds = {"minimum": one.minimum, "maximum": one.maximum}
        return {"type": ["integer", "string"], **bounds, "pattern": "^(0|[1-9][0-9]*)$"}
    if one.kind == "images":
        names = {"pattern": f"^{CONTAINER_NAME.pattern}$"}
        image = {"$ref": "#/definitions/image"}
        return {"type": "object", "minProperties": 1, "propertyNames": names, "additionalProperties": image}
    if one is IMAGE:
        return {"allOf": [{"$ref": "#/definitions/image"}]}
    return {"type": text, "pattern": f"^{one.pattern}$"}


SCHEMAS = {"deployment.schema.json": deployment_schema, "validate.schema.json": validation_schema}


def main(directory: Path) -> None:
    """Write every schema into ``directory``."""
    directory.mkdir(parents=True, exist_ok=True)
    for name, schema in SCHEMAS.items():
        (directory / name).write_text(json.dumps(schema(), indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
