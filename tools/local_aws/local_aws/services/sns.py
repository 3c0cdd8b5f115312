"""Amazon SNS: what was published can be read by tests, at ``GET /_local/notifications``.

Stands for a subscriber: https://docs.aws.amazon.com/sns/latest/api/API_Publish.html

Queues and functions get messages where their own policy lets SNS in, as
https://docs.aws.amazon.com/sns/latest/dg/subscribe-sqs-queue-to-sns-topic.html and
https://docs.aws.amazon.com/sns/latest/dg/lambda-console.html say; otherwise they are lost without a word.
"""

from __future__ import annotations

import threading
import time
from typing import Any

from moto.sns.models import Subscription

from local_aws.kernel.calls import Answer, ApiError, Call
from local_aws.kernel.patches import patch
from local_aws.kernel.server import Server
from local_aws.services.iam import principals
from local_aws.services.iam.authority import Authority

_ACTIONS = {"sqs": "sqs:SendMessage", "lambda": "lambda:InvokeFunction"}


class Notifications:
    """Messages published since the last reset, oldest first."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._messages: list[dict[str, Any]] = []

    def add(self, topic: str, message: str, subject: str | None, attributes: dict[str, str]) -> None:
        entry = {
            "time": time.time(),
            "topicArn": topic,
            "subject": subject,
            "message": message,
            "attributes": attributes,
        }
        with self._lock:
            self._messages.append(entry)

    def all(self) -> list[dict[str, Any]]:
        with self._lock:
            return list(self._messages)

    def reset(self) -> None:
        with self._lock:
            self._messages = []


def _attributes(params: dict[str, str]) -> dict[str, str]:
    """Read ``MessageAttributes.entry.N.Name`` and its value."""
    prefix = "MessageAttributes.entry."
    found = {}
    for key, name in params.items():
        if key.startswith(prefix) and key.endswith(".Name"):
            found[name] = params.get(key.removesuffix(".Name") + ".Value.StringValue", "")
    return found


def install(server: Server) -> None:
    """Keep a copy of what Publish accepted."""
    notifications = Notifications()
    server.notifications = notifications.all
    server.on_reset(notifications.reset)

    def deliver(subscription: Any, *message: Any, **named: Any) -> None:
        action = _ACTIONS.get(subscription.protocol)
        topic = str(subscription.topic.arn)
        try:
            if action:
                server.part(Authority).demand(
                    principals.service("sns.amazonaws.com"),
                    action,
                    subscription.endpoint,
                    region=topic.split(":")[3],
                    context={"aws:SourceArn": topic, "aws:SourceAccount": topic.split(":")[4]},
                )
        except ApiError:
            return
        original(subscription, *message, **named)

    original = patch(
        Subscription,
        "publish",
        deliver,
        because="moto delivers to queues and functions whose policies do not let SNS in",
        upstream="moto should look at them",
    )

    @server.operation("sns", "Publish")
    def publish(call: Call) -> Answer:
        answer = call.forward()
        if answer.status < 300:
            params = call.params
            topic = params.get("TopicArn") or params.get("TargetArn") or ""
            notifications.add(topic, params.get("Message", ""), params.get("Subject"), _attributes(params))
        return answer
