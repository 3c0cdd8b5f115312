"""Service deployments: ECS's own record of a rollout as a whole, its rollback included.

https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_ServiceDeployment.html
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ecs_release.aws.answers import entries, mapping, needed_text, text
from ecs_release.aws.service_revisions import ServiceRevision
from ecs_release.aws.service_state import number_of


@dataclass(frozen=True)
class ServiceDeployment:
    """A service deployment with what it deploys; the record ECS keeps also after the deployment is gone.

    Attributes
    ----------
    status : PENDING, IN_PROGRESS, SUCCESSFUL, STOP_REQUESTED, STOPPED, ROLLBACK_REQUESTED, ROLLBACK_IN_PROGRESS,
        ROLLBACK_SUCCESSFUL or ROLLBACK_FAILED.
    task_definition : ARN that its target revision runs.
    reason : ECS's own words, "" when it has none.
    rolled_back_to : ARN of the task definition that ECS's own rollback runs, "" when there was none. Such a rollback is no
        service deployment of its own.
    revision, rollback_revision : ARNs of the service revisions that it deploys and that its rollback deploys.
    sources : ARNs of the task definitions that ran when it began, one for each source revision; "" for one that ECS can't
        describe any more.
    digests : of the images of its target revision, by container; empty where ECS does not tell.
    stage, hook : where it is, and the id of the lifecycle hook at which it waits for somebody; "" for none.
    """

    arn: str
    status: str
    task_definition: str
    reason: str = ""
    rolled_back_to: str = ""
    revision: str = ""
    rollback_revision: str = ""
    sources: tuple[str, ...] = ()
    digests: Mapping[str, str] = field(default_factory=dict)
    stage: str = ""
    hook: str = ""

    @property
    def number(self) -> str:
        """What the id of its deployment ends in, see :func:`number_of`."""
        return number_of(self.revision)

    @property
    def deployment(self) -> str:
        """The id of its deployment; "" where ECS does not tell, see :func:`number_of`."""
        return f"ecs-svc/{self.number}" if self.number else ""

    @property
    def bakes(self) -> bool:
        """Whether its tasks run and only time or somebody's word is waited for."""
        return bool(self.hook) or self.stage == "BAKE_TIME"


def revisions_of(body: Mapping[str, object]) -> set[str]:
    """ARNs of every service revision that a service deployment names."""
    return {_target(body), _back(body), *_sources(body)} - {""}


def as_told(body: Mapping[str, object], revisions: Mapping[str, ServiceRevision]) -> ServiceDeployment:
    """One of a DescribeServiceDeployments answer.

    Parameters
    ----------
    revisions : by ARN, those of its service revisions that ECS can describe.
    """
    runs = {arn: revision.task_definition for arn, revision in revisions.items()}
    target, back = _target(body), _back(body)
    return ServiceDeployment(
        arn=needed_text(body, "serviceDeploymentArn", "a service deployment"),
        status=needed_text(body, "status", "a service deployment"),
        task_definition=runs.get(target, ""),
        reason=text(mapping(body, "rollback"), "reason") or text(body, "statusReason"),
        rolled_back_to=runs.get(back, ""),
        revision=target,
        rollback_revision=back,
        sources=tuple(runs.get(source, "") for source in _sources(body)),
        digests=revisions[target].digests if target in revisions else {},
        stage=text(body, "lifecycleStage"),
        hook=_waits_at(body),
    )


def _waits_at(body: Mapping[str, object]) -> str:
    """The hook that somebody has to continue
    (https://docs.aws.amazon.com/AmazonECS/latest/developerguide/pause-lifecycle-hooks.html).
    """
    hooks = entries(body, "lifecycleHookDetails")
    return next((text(hook, "hookId") for hook in hooks if text(hook, "status") == "AWAITING_ACTION"), "")


def _target(body: Mapping[str, object]) -> str:
    return text(mapping(body, "targetServiceRevision"), "arn")


def _back(body: Mapping[str, object]) -> str:
    return text(mapping(body, "rollback"), "serviceRevisionArn")


def _sources(body: Mapping[str, object]) -> list[str]:
    return [text(entry, "arn") for entry in entries(body, "sourceServiceRevisions")]
