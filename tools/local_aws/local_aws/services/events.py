"""Amazon EventBridge delivers: to Lambda, SNS, Step Functions, CodePipeline, ECS and to whatever moto reaches.

Stands for
- delivery to targets, with Input, InputPath and InputTransformer:
  https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-targets.html
- events that AWS services put on the default bus themselves (``Server.put_event``):
  https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-events.html
- the metric FailedInvocations, without retries: https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-monitoring.html#eb-metrics
- five targets a rule: https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-quota.html
- targets kept as they were put, members that no model knows included.

Schedule expressions of rules do not fire here.
"""

from __future__ import annotations

import copy
import json
import re
import threading
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from moto.cloudwatch.models import cloudwatch_backends
from moto.events.models import Rule, events_backends

from local_aws.kernel.calls import Answer, ApiError, Call
from local_aws.kernel.patches import patch
from local_aws.kernel.server import MOTO_LOCK, Server, one_at_a_time
from local_aws.services.iam import policies_in_force, principals
from local_aws.services.iam.authority import Authority
from local_aws.services.iam.principals import Principal

MAX_TARGETS = 5
_EVENTS = principals.service("events.amazonaws.com")


@dataclass(frozen=True)
class Origin:
    """The account and Region of a bus."""

    account: str
    region: str
    rule: str
    """The ARN of the rule."""


def _find(document: Any, path: str) -> Any:
    """Follow a simple JSONPath such as ``$.detail.name`` or ``$.resources[0]``."""
    for name, index in re.findall(r"\.([\w-]+)|\[(\d+)\]", path):
        try:
            document = document[int(index)] if index else document[name]
        except (KeyError, IndexError, TypeError):
            return None
    return document


def _input(target: dict[str, Any], event: dict[str, Any]) -> Any:
    """What a target is given: the event, a part of it, a constant, or a filled template."""
    if target.get("Input"):
        return json.loads(target["Input"])
    if target.get("InputPath"):
        return _find(event, target["InputPath"])
    transformer = target.get("InputTransformer")
    if not transformer:
        return event
    template = transformer["InputTemplate"]
    paths = transformer.get("InputPathsMap") or {}
    values = {name: _find(event, path) for name, path in paths.items()}
    values.update({"aws.events.event.json": event, "aws.events.event": event})

    quoted = False
    filled = ""
    # a text goes in as it is between quotes, and as a JSON string outside of them
    for part in re.split(r'(<[^<>"]+>|")', template):
        if part == '"':
            quoted = not quoted
        if part[:1] == "<" and part[1:-1] in values:
            text = json.dumps(values[part[1:-1]])
            filled += text[1:-1] if quoted and text.startswith('"') else text
        else:
            filled += part
    try:
        return json.loads(filled)
    except ValueError:
        return filled


def role_of_target(server: Server, target: Mapping[str, Any], origin: Any) -> Principal:
    """The role of a target, as EventBridge assumes it.

    https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-events-iam-roles.html
    https://docs.aws.amazon.com/eventbridge/latest/userguide/cross-service-confused-deputy-prevention.html
    """
    if not target.get("RoleArn"):
        raise ApiError("AccessDeniedException", f"not authorized: the target {target['Arn']} has no RoleArn")
    return server.part(Authority).act_as(
        "events.amazonaws.com",
        target["RoleArn"],
        f"EventBridge_{origin.rule.rpartition('/')[2]}",
        origin.region,
        {"aws:SourceArn": origin.rule, "aws:SourceAccount": origin.account},
    )


class Delivery:
    """Takes events to the targets of the rules they match."""

    def __init__(self, server: Server) -> None:
        self.server = server
        server.targets["sns"] = self._sns
        server.targets["states"] = self._states
        server.targets["ecs"] = self._ecs

    def send(self, rule: Any, original: Any, event: dict[str, Any]) -> None:
        """Give an event to each target of a rule; as on AWS, whoever put it does not wait."""
        if rule.state != "ENABLED" or not rule.event_pattern.get_pattern():
            return
        document = _as_aws_writes_it(event)
        if not rule.event_pattern.matches_event(document):
            return
        for target in copy.deepcopy(rule.targets):
            service = target["Arn"].split(":")[2]
            hook = self.server.targets.get(service)
            if hook is None:
                alone = copy.copy(rule)
                alone.targets = [target]
                work: Any = (one_at_a_time(original), (alone, event))
            else:
                work = (
                    hook,
                    (target, _input(target, document), Origin(rule.account_id, rule.region_name, rule.arn)),
                )
            threading.Thread(target=self._deliver, args=(rule, target, document, *work), daemon=True).start()

    def _deliver(
        self,
        rule: Any,
        target: dict[str, Any],
        event: dict[str, Any],
        function: Any,
        arguments: tuple[Any, ...],
    ) -> None:
        try:
            function(*arguments)
        except Exception as error:
            if not self.server.stopping.is_set():
                self.server.log_error(f"EventBridge rule {rule.name}")
                _count_failed(rule)
                self._bury(rule, target, event, error)

    def _bury(self, rule: Any, target: dict[str, Any], event: dict[str, Any], error: Exception) -> None:
        """Put an event that could not be delivered into the target's dead-letter queue.

        What is refused is not tried again. https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-rule-dlq.html
        """
        queue = (target.get("DeadLetterConfig") or {}).get("Arn")
        if not queue:
            return
        _, _, _, region, account, name = queue.split(":", 5)
        attributes = {
            "RULE_ARN": rule.arn,
            "TARGET_ARN": target["Arn"],
            "ERROR_CODE": "NO_PERMISSIONS" if "not authorized" in str(error) else "SDK_CLIENT_ERROR",
            "ERROR_MESSAGE": str(error)[:1024] or type(error).__name__,
        }
        try:
            self.server.part(Authority).demand(
                _EVENTS, "sqs:SendMessage", queue, region=region, context={"aws:SourceArn": rule.arn}
            )
            self.server.client("sqs", region, account).send_message(
                QueueUrl=f"{self.server.endpoint}/{account}/{name}",
                MessageBody=json.dumps(event),
                MessageAttributes={
                    k: {"DataType": "String", "StringValue": v} for k, v in attributes.items()
                },
            )
        except Exception:
            self.server.log_error(f"dead-letter queue of EventBridge rule {rule.name}")

    def put_event(  # noqa: PLR0917 (the order in which an event is told)
        self,
        account: str,
        region: str,
        source: str,
        detail_type: str,
        detail: dict[str, Any],
        resources: list[str],
    ) -> None:
        """Put an event of an AWS service on the default bus."""
        event = {
            "version": "0",
            "id": str(uuid.uuid4()),
            "detail-type": detail_type,
            "source": source,
            "account": account,
            "time": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
            "region": region,
            "resources": resources,
            "detail": detail,
        }
        with MOTO_LOCK:
            rules = list(events_backends[account][region].event_buses["default"].rules.values())
        for rule in rules:
            rule.send_to_targets(event)

    def _sns(self, target: dict[str, Any], event: Any, _: Any) -> None:
        """By the topic's policy and its key's. EventBridge sends none of the source's keys along.

        https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-use-resource-based.html#eb-sns-permissions
        https://docs.aws.amazon.com/sns/latest/dg/sns-key-management.html#compatibility-with-aws-services
        """
        _, _, _, region, account, *_rest = target["Arn"].split(":")
        authority = self.server.part(Authority)
        authority.demand(_EVENTS, "sns:Publish", target["Arn"], region=region)
        with MOTO_LOCK:
            topic = policies_in_force.topic(target["Arn"])
            key = policies_in_force.key(topic.kms_master_key_id or "", account, region) if topic else None
        if key is not None:
            for action in ("kms:GenerateDataKey", "kms:Decrypt"):
                authority.demand(_EVENTS, action, key.arn, region=region)
        text = event if isinstance(event, str) else json.dumps(event)
        self.server.client("sns", region, account).publish(TopicArn=target["Arn"], Message=text)

    def _states(self, target: dict[str, Any], event: Any, origin: Any) -> None:
        region = target["Arn"].split(":")[3]
        role = role_of_target(self.server, target, origin)
        self.server.part(Authority).client(role, "stepfunctions", region).start_execution(
            stateMachineArn=target["Arn"], name=str(uuid.uuid4()), input=json.dumps(event)
        )

    def _ecs(self, target: dict[str, Any], event: Any, origin: Any) -> None:
        parameters = target.get("EcsParameters") or {}
        role = role_of_target(self.server, target, origin)
        self.server.part(Authority).client(role, "ecs", origin.region).run_task(
            cluster=target["Arn"],
            taskDefinition=parameters["TaskDefinitionArn"],
            count=parameters.get("TaskCount") or 1,
            launchType=parameters.get("LaunchType") or "EC2",
            overrides=event if isinstance(event, dict) and "containerOverrides" in event else {},
        )


def _count_failed(rule: Any) -> None:
    """Put the metric by which EventBridge says that it gave up on an event; straight away, because nothing is tried again here."""
    dimensions = [{"Name": "RuleName", "Value": rule.name}]
    if rule.event_bus_name != "default":
        dimensions.append({"Name": "EventBusName", "Value": rule.event_bus_name})
    metric = {"MetricName": "FailedInvocations", "Value": 1.0, "Unit": "Count", "Dimensions": dimensions}
    with MOTO_LOCK:
        cloudwatch_backends[rule.account_id][rule.region_name].put_metric_data("AWS/Events", [metric])


def _as_aws_writes_it(event: dict[str, Any]) -> dict[str, Any]:
    document = {key: value for key, value in event.items() if key != "ingestion-time"}
    moment = document.get("time")
    if not isinstance(moment, str):
        at = datetime.fromtimestamp(float(moment or 0), UTC)
        document["time"] = f"{at:%Y-%m-%dT%H:%M:%SZ}"
    return document


def install(server: Server) -> None:
    """Deliver in place of moto's rule, and refuse a sixth target."""
    delivery = Delivery(server)
    server.put_event = delivery.put_event

    def send_to_targets(rule: Any, event: Any, transform_input: bool = True) -> None:
        del transform_input  # moto's, for its archives
        delivery.send(rule, original, event)

    original = patch(
        Rule,
        "send_to_targets",
        send_to_targets,
        because="moto delivers to few kinds of targets, without roles, permissions, transformers and retries",
        upstream="moto should refuse what a target's permission does not allow",
    )

    @server.operation("events", "PutTargets")
    def put_targets(call: Call) -> Answer:
        asked = call.input
        bus_name = str(asked.get("EventBusName") or "default").rpartition("/")[2]
        with MOTO_LOCK:  # counted and put in one step
            bus = events_backends[call.account][call.region].event_buses.get(bus_name)
            rule = bus.rules.get(asked.get("Rule")) if bus else None
            if rule is not None:
                ids = {target["Id"] for target in rule.targets} | {
                    target.get("Id") for target in asked.get("Targets") or ()
                }
                if len(ids) > MAX_TARGETS:
                    raise ApiError(
                        "LimitExceededException",
                        "The requested resource exceeds the maximum number allowed.",
                    )
            return call.forward()
