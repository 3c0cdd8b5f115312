"""Which images a service runs, by ECS's own word, against what was approved, or what ran before.

ECS resolves a tag to a digest when a deployment begins, and a rollback is a new one
(https://github.com/aws/amazon-ecs-agent/issues/4226).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ecs_release.aws.registry import Registry
from ecs_release.aws.service_revisions import ServiceRevision
from ecs_release.aws.service_state import ServiceState, number_of
from ecs_release.aws.services import Services
from ecs_release.manifest.images import with_digest
from ecs_release.record.models import ItemRecord
from ecs_release.record.statuses import Status
from ecs_release.rollout.judge import Judgement
from ecs_release.steps.worker import Worker


def judge_images(worker: Worker, item: ItemRecord, state: ServiceState) -> Judgement:
    """The verdict on a complete rollout: it runs the digests that its tags meant when the release began.

    A wave may begin hours after that, and the tag may have moved. Where ECS names no digest, or nobody knew it when the release
    began, there is nothing to compare.
    """
    expected = {name: change["digest"] for name, change in item.images.items() if change.get("digest")}
    if not expected:
        return Judgement(Status.SUCCEEDED)
    others = dict(_others(_revision(worker, item, state), expected))
    wanted = {name: with_digest(item.images[name]["to"], expected[name]) for name in others}
    meanings = Registry(worker.connections, item.target).look_up(set(wanted.values())) if others else {}
    for name, runs in others.items():
        meaning = meanings[wanted[name]]
        if meaning.is_(runs):
            continue
        meant = f"{item.images[name]['to']} meant {expected[name]} when the release began"
        said = f"container {name} runs {runs}, and {meant}"
        if meaning.digest is None:
            why = meaning.unknown or f"is gone from ECR ({meaning.missing})"
            return Judgement(
                Status.UNVERIFIED, f"{said}; nobody can tell if they are the same: that one {why}"
            )
        return Judgement(Status.FAILED, f"{said}: the tag was moved")
    return Judgement(Status.SUCCEEDED)


def _revision(worker: Worker, item: ItemRecord, state: ServiceState) -> ServiceRevision | None:
    """That of the very deployment, which ECS tells by its number; where it tells none, one of the task definition.

    Another deployment of the same revision, somebody's restart, has resolved the tags anew.
    """
    revisions = Services(worker.connections, item.target).revisions(state.current_service_revisions)
    number = number_of(item.deployment_id)
    if number and any(map(number_of, revisions)):
        return next((found for arn, found in revisions.items() if number_of(arn) == number), None)
    return next((found for found in revisions.values() if found.task_definition == item.after), None)


def _others(revision: ServiceRevision | None, expected: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    for name, digest in expected.items():
        runs = revision.digests.get(name) if revision else None
        if runs not in (None, digest):
            yield name, str(runs)


def something_else(worker: Worker, item: ItemRecord, state: ServiceState) -> str:
    """What a service that is back runs in place of what ran; "" where ECS does not say so.

    Asked where no registry could tell whether the tag still means what ran.
    """
    revisions = Services(worker.connections, item.target).revisions(state.current_service_revisions)
    for revision in revisions.values():
        if revision.task_definition != item.rollback_to:
            continue
        for name, runs in _others(revision, item.before_digests):
            ran = item.before_digests[name]
            return f"{item.rollback_to} is live, and its container {name} runs {runs}; before the release it ran {ran}"
    return ""
