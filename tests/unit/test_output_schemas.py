"""What the commands print with --json is what schemas/ says."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from ecs_release.aws.registry import RegistryImage
from ecs_release.aws.service_state import ServiceState
from ecs_release.aws.task_definitions import TaskDefinition
from ecs_release.cli import repair as finishing
from ecs_release.manifest import Rule, Service
from ecs_release.plan.choose import Selection
from ecs_release.plan.decide import make_plan
from ecs_release.plan.document import plan_document
from ecs_release.plan.findings import Finding
from ecs_release.plan.live import Live
from ecs_release.record.models import ItemRecord, ReleaseRecord
from ecs_release.record.statuses import ReleaseStatus, Status
from ecs_release.report.status import as_document

SCHEMAS = Path(__file__).parents[2] / "schemas"
ARN = "arn:aws:ecs:eu-west-1:111111111111:task-definition/api:7"
DEFINITION = TaskDefinition(
    {
        "taskDefinitionArn": ARN,
        "family": "api",
        "revision": 7,
        "containerDefinitions": [{"name": "api", "image": "api:1"}],
    }
)


def schema(name: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((SCHEMAS / f"{name}.schema.json").read_text(encoding="utf-8"))
    return document


def check(name: str, value: Any) -> None:
    """As a program on the other side would see it: after a way through JSON."""
    jsonschema.Draft7Validator(
        schema(name), format_checker=jsonschema.Draft7Validator.FORMAT_CHECKER
    ).validate(json.loads(json.dumps(value)))


@pytest.mark.parametrize("name", ["plan", "status", "history", "repair"])
def test_the_schema_is_one(name: str) -> None:
    jsonschema.Draft7Validator.check_schema(schema(name))


def a_plan() -> dict[str, Any]:
    """Every action, both kinds, a digest, warnings and problems."""
    service = ServiceState(
        {
            "status": "ACTIVE",
            "desiredCount": 1,
            "taskDefinition": ARN,
            "deployments": [{"id": "ecs-svc/1", "status": "PRIMARY"}],
        }
    )
    target = {"Id": "t", "EcsParameters": {"TaskDefinitionArn": ARN}}
    image = RegistryImage("sha256:" + "a" * 64, movable=True)
    planned = make_plan(
        [
            Service(images={"api": "api:2"}, exact=False, cluster="c", service="s"),
            Service(images={"api": "api:1"}, exact=False, cluster="c", service="same"),
            Service(images={"api": "api:2"}, exact=False, cluster="c", service="gone", wave=1),
            Rule(images={"api": "api:2"}, exact=False, rule="r", target_id="t"),
        ],
        [
            Live(service=service, definition=DEFINITION, completed=ARN, registry={"api:2": image}),
            Live(service=service, definition=DEFINITION, completed=ARN),
            Live(findings=(Finding("E205", {"service": "gone", "cluster": "c"}),)),
            Live(selection=Selection((target,), DEFINITION, True, {"api": "api:2"}), definition=DEFINITION),
        ],
    )
    return plan_document(planned, "rollback", label="4.0", estimate_seconds=300)


def test_a_plan_is_as_its_schema_says() -> None:
    plan = a_plan()
    assert plan["counts"] == {"update": 2, "unchanged": 1, "blocked": 1}
    check("plan", plan)
    check("plan", plan_document([], "stop"))


def test_the_plan_s_schema_knows_every_member_and_no_other() -> None:
    plan, known = a_plan(), schema("plan")
    assert set(known["properties"]) == set(plan)
    assert set(known["definitions"]["item"]["properties"]) == set(plan["items"][0])
    assert set(known["definitions"]["finding"]["properties"]) == set(plan["items"][2]["findings"][0])
    assert set(known["definitions"]["image"]["properties"]) == set(plan["items"][0]["images"]["api"])
    with pytest.raises(jsonschema.ValidationError):
        check("plan", {**plan, "more": 1})


RECORD = ReleaseRecord("r1", "arn:execution", 1, "2026-01-01T00:00:00.000Z")
ITEM = ItemRecord(
    "r1", 0, 0, 1, Service(cluster="c", service="s"), "update", {"api": {"from": "api:1", "to": "api:2"}}
)


@pytest.mark.parametrize("status", list(Status))
def test_a_release_is_as_its_schema_says(status: Status) -> None:
    item = dataclasses.replace(
        ITEM, verdict=status, status=status, before=ARN, after=ARN, deployment_id="ecs-svc/2"
    )
    check("status", as_document(RECORD, [item]))


def test_a_release_that_ended_or_never_began_is_as_its_schema_says() -> None:
    ended = dataclasses.replace(
        RECORD,
        status="REJECTED",
        label="4.0",
        ended="2026-01-01T00:01:00.000Z",
        source={"commit": "c0ffee"},
        problems=["no service"],
    )
    check("status", as_document(ended, []))
    check("status", None)
    check("history", [{k: v for k, v in as_document(r, ()).items() if k != "items"} for r in (ended, RECORD)])
    with pytest.raises(jsonschema.ValidationError):
        check("status", {**as_document(ended, []), "more": 1})


def test_the_status_schema_knows_every_status() -> None:
    release = schema("status")["oneOf"][1]["properties"]
    item = schema("status")["definitions"]["item"]["properties"]
    assert item["status"]["enum"] == item["verdict"]["enum"] == [str(status) for status in Status]
    assert set(release["status"]["enum"]) == set(ReleaseStatus)
    assert schema("history")["items"]["properties"] == {k: v for k, v in release.items() if k != "items"}


@pytest.mark.parametrize("outcome", ["to do", "done", "already back", "left alone", "failed"])
def test_a_repair_is_as_its_schema_says(outcome: str) -> None:
    assert outcome in vars(finishing).values()
    for item in (ITEM, dataclasses.replace(ITEM, item=Rule(rule="nightly", target_id="t"))):
        check("repair", [finishing.Repair(item, (ARN,), ARN, outcome, "why").as_document()])
    with pytest.raises(jsonschema.ValidationError):
        check("repair", [finishing.Repair(ITEM, (), ARN, "invented").as_document()])
