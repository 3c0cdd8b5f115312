"""Amazon CloudWatch: an alarm is made of a list of metrics that CloudWatch takes, and of no other."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import ClientError
from local_aws.client import LocalAws
from pipelines import unique


def metric(name: str, **more: Any) -> dict[str, Any]:
    stat = {"Metric": {"Namespace": "Unit", "MetricName": "Failed"}, "Period": 60, "Stat": "Sum"}
    return {"Id": name, "MetricStat": stat, "ReturnData": False, **more}


def expression(name: str, **more: Any) -> dict[str, Any]:
    return {"Id": name, "Expression": "SUM(METRICS())", "ReturnData": True, **more}


def put(aws: LocalAws, metrics: list[dict[str, Any]]) -> str:
    name = unique("alarm")
    aws.client("cloudwatch").put_metric_alarm(
        AlarmName=name,
        ComparisonOperator="GreaterThanThreshold",
        Threshold=0,
        EvaluationPeriods=1,
        Metrics=metrics,
    )
    return name


def test_an_expression_over_ten_metrics_is_taken(aws: LocalAws) -> None:
    metrics = [expression("sum"), *(metric(f"m{number}") for number in range(10))]
    name = put(aws, metrics)
    (alarm,) = aws.client("cloudwatch").describe_alarms(AlarmNames=[name])["MetricAlarms"]
    assert sorted(query["Id"] for query in alarm["Metrics"]) == sorted(query["Id"] for query in metrics)


@pytest.mark.parametrize(
    "metrics",
    [
        pytest.param([expression("failed"), metric("failed")], id="an Id twice"),
        pytest.param([expression("sum"), metric("m"), metric("m")], id="a metric's Id twice"),
        pytest.param([expression("Sum"), metric("m")], id="an Id in capitals"),
        pytest.param([expression("sum"), metric("m-1")], id="an Id with a hyphen"),
        pytest.param([expression("sum"), metric("m", ReturnData=True)], id="two that are watched"),
        pytest.param([expression("sum", ReturnData=False), metric("m")], id="none that is watched"),
        pytest.param([expression("sum"), *(metric(f"m{n}") for n in range(11))], id="eleven metrics"),
        pytest.param([{"Id": "sum", "ReturnData": True}], id="neither metric nor expression"),
    ],
)
def test_a_list_that_no_alarm_can_be_made_of_is_refused(aws: LocalAws, metrics: list[dict[str, Any]]) -> None:
    with pytest.raises(ClientError, match=r"ValidationError.*Invalid metrics list"):
        put(aws, metrics)
