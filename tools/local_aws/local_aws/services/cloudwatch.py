"""Amazon CloudWatch: PutMetricAlarm refuses a list of metrics that no alarm can be made of.

Stands for https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_PutMetricAlarm.html and
https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_MetricDataQuery.html.
The words of a refusal: https://github.com/aws/aws-cdk/issues/13434
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from moto.cloudwatch.exceptions import ValidationError
from moto.cloudwatch.models import Alarm, CloudWatchBackend

from local_aws.kernel.patches import patch
from local_aws.kernel.server import Server

_ID = re.compile(r"[a-z][A-Za-z0-9_]*")
_AT_MOST = 10
"""Metrics, and as many expressions."""


def _can_be_watched(queries: Sequence[Any]) -> bool:
    ids = [query.id for query in queries]
    watched = [query for query in queries if str(query.return_data).lower() != "false"]
    expressions = [query for query in queries if query.expression]
    return (
        all(_ID.fullmatch(name) for name in ids)
        and len(set(ids)) == len(ids)
        and all(bool(query.expression) != bool(query.metric_stat) for query in queries)
        and len(watched) == 1
        and max(len(expressions), len(queries) - len(expressions)) <= _AT_MOST
    )


def install(server: Server) -> None:  # noqa: ARG001 - the backend is the process's
    """Have moto's backend look at the metrics first, whichever protocol they came by."""

    def put_metric_alarm(backend: CloudWatchBackend, *values: Any, **named: Any) -> Alarm:
        queries = named.get("metric_data_queries")
        if queries and not _can_be_watched(queries):
            raise ValidationError("Invalid metrics list")
        made: Alarm = original(backend, *values, **named)
        return made

    original = patch(
        CloudWatchBackend,
        "put_metric_alarm",
        put_metric_alarm,
        because="moto makes an alarm of metrics that share an Id, of two that are watched, and of more than ten",
        upstream="moto should refuse them",
    )
