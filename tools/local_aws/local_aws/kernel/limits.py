"""Amazon ECS API throttling: token buckets by API category, per account and Region.

Source: https://docs.aws.amazon.com/AmazonECS/latest/APIReference/request-throttling.html
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from local_aws.kernel.calls import Answer, ApiError, Call


@dataclass(frozen=True)
class Category:
    """APIs that share a bucket: how many calls it holds, how many flow in per second."""

    name: str
    burst: float
    per_second: float
    operations: tuple[str, ...]


CATEGORIES = (
    Category(
        "task definition, modify",
        20,
        1,
        ("RegisterTaskDefinition", "DeregisterTaskDefinition", "DeleteTaskDefinitions"),
    ),
    Category(
        "task definition, read",
        50,
        20,
        ("DescribeTaskDefinition", "ListTaskDefinitions", "ListTaskDefinitionFamilies"),
    ),
    Category("service, modify", 50, 5, ("CreateService", "UpdateService", "DeleteService")),
    Category("service, read", 100, 20, ("DescribeServices", "ListServices")),
    Category("service deployments", 50, 20, ("DescribeServiceDeployments", "ListServiceDeployments")),
    Category("cluster resources, read", 100, 20, ("ListTasks", "DescribeTasks")),
)
_CATEGORY_OF = {operation: category for category in CATEGORIES for operation in category.operations}


class Limits:
    """The buckets; off until ``POST /_local/limits`` switches them on, full then."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self.reset()

    def reset(self) -> None:
        self.enabled = False
        self.scale = 1.0
        self._buckets: dict[tuple[str, str, str], tuple[float, float]] = {}

    def configure(self, document: Mapping[str, Any]) -> None:
        """Take ``{"enabled": true, "scale": 20}``: the refill rates are multiplied, the bursts are not."""
        unknown = set(document) - {"enabled", "scale"}
        if unknown:
            raise ValueError(f"limits have no {', '.join(sorted(unknown))}")
        scale = float(document.get("scale", 1))
        if scale <= 0:
            raise ValueError("scale must be greater than 0")
        with self._lock:
            self.enabled = bool(document.get("enabled", True))
            self.scale = scale
            self._buckets = {}

    def guard(self, call: Call, inner: Callable[[Call], Answer]) -> Answer:
        if self.enabled and not call.internal and call.service == "ecs":
            category = _CATEGORY_OF.get(call.operation)
            if category and not self._take(call, category):
                raise ApiError("ThrottlingException", "Rate exceeded")
        return inner(call)

    def _take(self, call: Call, category: Category) -> bool:
        key = (call.account, call.region, category.name)
        with self._lock:
            now = self._clock()
            tokens, since = self._buckets.get(key, (category.burst, now))
            tokens = min(category.burst, tokens + (now - since) * category.per_second * self.scale)
            allowed = tokens >= 1
            self._buckets[key] = (tokens - 1 if allowed else tokens, now)
        return allowed
