"""The alarm on failed notifications looks at the very metrics that Report emits.

A metric is its namespace, name and every one of its dimensions; an alarm on other dimensions would never ring
(https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/cloudwatch_concepts.html#dimension-combinations).
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from aws_lambda_powertools.metrics import EphemeralMetrics
from botocore.exceptions import ClientError
from ecs_release.record.models import ReleaseRecord
from ecs_release.settings import Settings
from ecs_release.steps import report as step

ROOT = Path(__file__).parents[2]
ALARM = (ROOT / "modules/notifications/alarm.tf").read_text(encoding="utf-8")
FUNCTIONS = (ROOT / "modules/orchestrator/functions.tf").read_text(encoding="utf-8")
SETTINGS = Settings("releases", topic_arn="arn:aws:sns:eu-west-1:111111111111:gone")


def record(status: str) -> ReleaseRecord:
    return ReleaseRecord("r1", "arn:execution:r1", 1, "2026-01-01T00:00:00.000Z", status=status)


@pytest.fixture
def emitted(monkeypatch: pytest.MonkeyPatch) -> EphemeralMetrics:
    """The metrics of a Report whose topic can't be reached, with namespace and service as the function has them."""

    def publish(**_: Any) -> None:
        raise ClientError({"Error": {"Code": "NotFound", "Message": "Topic does not exist"}}, "Publish")

    metrics = EphemeralMetrics(namespace=setting(FUNCTIONS, "POWERTOOLS_METRICS_NAMESPACE"), service="unit")
    monkeypatch.setattr(step, "metrics", metrics)
    monkeypatch.setattr(step, "own_client", lambda _: SimpleNamespace(publish=publish))
    return metrics


def setting(text: str, name: str) -> str:
    match = re.search(rf'{name} *= "([^"]+)"', text)
    assert match, name
    return match[1]


def dimensions(metrics: EphemeralMetrics) -> dict[str, str]:
    """Of NotificationsFailed, once it is seen to be the metric that the alarm names."""
    document = metrics.serialize_metric_set()
    directive = document["_aws"]["CloudWatchMetrics"][0]
    assert directive["Namespace"] == setting(ALARM, "namespace")
    assert setting(ALARM, "metric_name") in [metric["Name"] for metric in directive["Metrics"]]
    (names,) = directive["Dimensions"]
    members: dict[str, Any] = dict(document)
    return {name: members[name] for name in names}


def statuses() -> list[str]:
    match = re.search(r"statuses += (\[.*?\])", ALARM)
    assert match
    return list(json.loads(match[1]))


@pytest.mark.parametrize("status", statuses())
def test_the_alarm_knows_the_dimensions_of_a_release_s_end(
    emitted: EphemeralMetrics, monkeypatch: pytest.MonkeyPatch, status: str
) -> None:
    monkeypatch.setattr(step, "_closed", lambda *_: (record(status), []))
    store: Any = SimpleNamespace(begin_notice=lambda *_: True)
    step.report(SETTINGS, store, "r1", "arn:execution:r1", {})
    assert dimensions(emitted) == {"service": "unit", "Status": status}


def test_the_alarm_knows_the_dimensions_of_a_release_that_was_closed_by_force(
    emitted: EphemeralMetrics, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(step, "close", lambda *_: None)
    monkeypatch.setattr(step, "has_ended", lambda *_: "ABORTED")
    store: Any = SimpleNamespace(
        release=lambda _: record("RUNNING"),
        items=lambda _: [],
        notice_was_given=lambda _: None,
        begin_notice=lambda *_: True,
        notice_given=lambda _: None,
    )
    step.report_ended_execution(SETTINGS, store, {"name": "r1", "executionArn": "arn:execution:r1"})
    assert dimensions(emitted) == {"service": "unit"}
    assert "{ status_none = { service = var.name } }" in ALARM


def test_the_alarm_knows_every_status_a_release_can_end_with() -> None:
    schema = json.loads((ROOT / "schemas/status.schema.json").read_text(encoding="utf-8"))
    release = next(form for form in schema["oneOf"] if form["type"] == "object")
    assert sorted(release["properties"]["status"]["enum"]) == sorted([*statuses(), "RUNNING"])
    assert len(statuses()) + 1 <= 10, "an expression is over ten metrics at most"


def test_the_service_is_the_module_s_name_on_both_sides() -> None:
    assert re.search(r"POWERTOOLS_SERVICE_NAME += var\.name\b", FUNCTIONS)
    assert "{ service = var.name, Status = status }" in ALARM
