"""Report: close the record, at the end of a release or after its execution was ended from outside."""

from __future__ import annotations

from typing import Any

from ecs_release.aws import own_client
from ecs_release.observability import about_release, logger, metrics
from ecs_release.retries import be_patient_for
from ecs_release.settings import Settings
from ecs_release.steps.report import report, report_ended_execution
from ecs_release.store import Store


@metrics.log_metrics
@logger.inject_lambda_context(log_event=False)
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """``{"release", "execution", "state"}`` from the machine, or EventBridge's event of an execution that ended."""
    be_patient_for(lambda: context.get_remaining_time_in_millis() / 1000)
    settings = Settings.from_environment()
    store = Store(own_client("dynamodb"), settings.table)
    if event.get("source") == "aws.states":
        detail = event["detail"]
        about_release(str(detail["name"]))
        return report_ended_execution(settings, store, detail)
    release = str(event["release"])
    about_release(release)
    return report(settings, store, release, str(event["execution"]), event["state"])
