"""Tasks that have stopped, and whether the task itself failed or somebody or something else stopped it.

ECS's stop codes are the values of ``stopCode`` (https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_Task.html), its
reasons are listed in https://docs.aws.amazon.com/AmazonECS/latest/developerguide/stopped-task-error-codes.html.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from ecs_release.aws.answers import entries, moment, text
from ecs_release.errors import in_one_line

# A task whose essential container "fails or stops for any reason" was to run on, also where its exit code is 0
# (https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_ContainerDefinition.html, essential).
_FAILED = frozenset({"EssentialContainerExited", "TaskFailedToStart"})
# A failed health check has no stop code of its own: the service's scheduler stops the task, as when it scales in, and only the
# reason tells them apart (https://github.com/aws/containers-roadmap/issues/612): "Task failed ELB health checks in (...)", "Task
# failed container health checks" (https://repost.aws/knowledge-center/ecs-task-stopped).
_SCHEDULER = "ServiceSchedulerInitiated"
_UNHEALTHY = re.compile(r"\bfailed\b.*\bhealth checks?\b", re.IGNORECASE)


@dataclass(frozen=True)
class StoppedTask:
    """One task that ECS has stopped or is stopping.

    Attributes
    ----------
    deployment : id of the deployment that it belonged to, "" of none.
    code, reason : ECS's own; the reason in one line, also where a person wrote it.
    containers : what ECS says of those that did not end well: exit code or reason.
    stopped_at : epoch seconds at which it began to stop; 0 where ECS does not tell. It is STOPPED only after its connections are
        drained and its network interface is gone
        (https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-lifecycle-explanation.html).
    """

    arn: str
    deployment: str
    code: str
    reason: str
    containers: tuple[str, ...]
    stopped_at: float

    @classmethod
    def of(cls, body: Mapping[str, object]) -> StoppedTask:
        """One of a DescribeTasks answer."""
        began = (moment(body, name) for name in ("stoppingAt", "executionStoppedAt", "stoppedAt"))
        at = next(filter(None, began), None)
        return cls(
            arn=text(body, "taskArn"),
            deployment=text(body, "startedBy"),
            code=text(body, "stopCode"),
            reason=in_one_line(text(body, "stoppedReason")),
            containers=tuple(
                f"{text(c, 'name')} exit code {c['exitCode']}"
                if c.get("exitCode") is not None
                else f"{text(c, 'name')}: {in_one_line(text(c, 'reason'))}"
                for c in entries(body, "containers")
                if c.get("exitCode") not in (None, 0) or c.get("reason")
            ),
            stopped_at=at.timestamp() if at else 0.0,
        )

    @property
    def why(self) -> str:
        """Why it stopped, in ECS's words."""
        return "; ".join(filter(None, [self.reason, *self.containers]))

    @property
    def failed(self) -> bool:
        """Whether the task itself failed: a container of it exited, it did not start, or a health check failed.

        Not scaling in, another deployment and maintenance (ServiceSchedulerInitiated with another reason,
        https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-maintenance.html), SpotInterruption, a person's StopTask
        (UserInitiated, whose reason is anything that a person wrote), TerminationNotice and InfrastructureHealth.
        """
        return self.code in _FAILED or (self.code == _SCHEDULER and bool(_UNHEALTHY.search(self.reason)))
