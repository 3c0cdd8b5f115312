"""An item of a release: one ECS service or one scheduled task, and the images it gets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Item:
    """One service or one scheduled task with the images it gets.

    Attributes
    ----------
    kind
        ``"service"`` or ``"task"``.
    images
        Container name -> image, in the order written.
    exact
        True for the ``images`` form: the containers must exist. False for ``service`` + ``image``, where in a
        task definition with one container another name is only a warning.
    cluster, service
        Of a service: ``clusterName`` and ``serviceName``.
    rule, event_bus, target_id
        Of a task that an EventBridge rule runs: ``cwRuleName``, ``eventBusName``, ``targetId``.
    schedule, schedule_group
        Of a task that an EventBridge Scheduler schedule runs: ``scheduleName``, ``scheduleGroup``.
    path
        Where it stands, for example ``services[3]``; of the first entry when several were merged. No part of
        what makes two items equal.
    """

    kind: str
    images: Mapping[str, str]
    exact: bool
    target: str = "default"
    wave: int = 0
    timeout_minutes: int = 60
    cluster: str | None = None
    service: str | None = None
    rule: str | None = None
    event_bus: str = "default"
    target_id: str | None = None
    schedule: str | None = None
    schedule_group: str = "default"
    path: str = field(default="", compare=False)

    @property
    def name(self) -> str:
        """``cluster/service``, the rule (``bus/rule`` on a bus of its own) or ``group/schedule``."""
        if self.kind == "service":
            return f"{self.cluster}/{self.service}"
        if self.schedule is not None:
            return f"{self.schedule_group}/{self.schedule}"
        return str(self.rule) if self.event_bus == "default" else f"{self.event_bus}/{self.rule}"
