"""Task definitions: what is registered, and copying one so that only its images change."""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from ecs_release.aws.answers import entries, mapping, needed_text, number, text, understanding
from ecs_release.aws.clients import Connections
from ecs_release.aws.comparison import OUTPUT_ONLY, same_definition
from ecs_release.aws.patience import jittered, pause
from ecs_release.aws.raw import raw_body, send_raw
from ecs_release.aws.trouble import error_code, explain, trouble
from ecs_release.errors import ItemBusyError, ItemError, OddAnswerError
from ecs_release.settings import READ_LAG_SECONDS

CONTENT_TAG = "ecs-release:content"
MAX_TAGS = 50  # https://docs.aws.amazon.com/AmazonECS/latest/developerguide/ecs-using-tags.html

_REGISTER_SECONDS = 240  # a registration that meets faults for longer than this is left to a retry

NEWEST_MARK = "newestWhenRead"
"""A member of outlines, and of nothing that AWS knows: the revision was the newest ACTIVE one of its family when it was read."""

# What a plan needs of a revision.
_OUTLINE = (
    NEWEST_MARK,
    *("taskDefinitionArn", "family", "revision", "status"),
    *("runtimePlatform", "taskRoleArn", "executionRoleArn"),
)


@dataclass(frozen=True)
class TaskDefinition:
    """A registered revision, as the JSON that AWS sent.

    Attributes
    ----------
    body : the ``taskDefinition`` member of DescribeTaskDefinition's answer, unknown members included.
    tags : its tags, ``[{"key", "value"}]``.
    """

    body: Mapping[str, Any]
    tags: tuple[Mapping[str, str], ...] = ()

    @property
    def arn(self) -> str:
        return str(self.body["taskDefinitionArn"])

    @property
    def family(self) -> str:
        return str(self.body["family"])

    @property
    def revision(self) -> int:
        return int(self.body["revision"])

    @property
    def active(self) -> bool:
        return self.body.get("status") == "ACTIVE"

    @property
    def startable(self) -> bool:
        """Whether tasks can be started of it; not of an INACTIVE revision, nor of one that is being deleted."""
        return self.body.get("status") not in {"INACTIVE", "DELETE_IN_PROGRESS"}

    @property
    def images(self) -> dict[str, str]:
        """Container name -> image."""
        return {text(c, "name"): text(c, "image") for c in entries(self.body, "containerDefinitions")}

    @property
    def content(self) -> str | None:
        """The value of our tag, None on revisions that somebody else registered."""
        return next((text(t, "value") for t in self.tags if t["key"] == CONTENT_TAG), None)


def _understood(answer: Mapping[str, Any], reference: str) -> TaskDefinition:
    """The task definition of a raw DescribeTaskDefinition answer, looked through for what is read of it."""
    with understanding(f"what ECS says of {reference}"):
        definition = TaskDefinition(mapping(answer, "taskDefinition"), tuple(entries(answer, "tags")))
        for name in ("taskDefinitionArn", "family", "status"):
            needed_text(definition.body, name, f"the task definition {reference}")
        if number(definition.body, "revision") < 1:
            raise OddAnswerError(f"the task definition {reference} has no revision")
        for optional in ("taskRoleArn", "executionRoleArn"):
            text(definition.body, optional)
        mapping(definition.body, "runtimePlatform")
        for container in entries(definition.body, "containerDefinitions"):
            needed_text(container, "name", f"a container of {reference}")
        for tag in definition.tags:
            needed_text(tag, "key", f"a tag of {reference}")
            text(tag, "value")
        if not definition.images:
            raise OddAnswerError(f"the task definition {reference} has no containers")
    return definition


def parse_reference(reference: str) -> tuple[str, int | None]:
    """Family and revision of an ARN, ``family:revision`` or a bare family (revision None: the newest ACTIVE one).

    >>> parse_reference("arn:aws:ecs:us-east-1:111111111111:task-definition/api:7")
    ('api', 7)
    >>> parse_reference("api")
    ('api', None)
    """
    name = reference.rsplit("/", 1)[-1]
    match = re.fullmatch(r"(.+?)(?::(\d+))?", name)
    if match is None:
        raise ItemError(f'"{reference}" is not the ARN or the name of a task definition.')
    return match.group(1), int(match.group(2)) if match.group(2) else None


def has_health_check(container: Mapping[str, Any]) -> bool:
    # ["NONE"] switches an image's own check off (https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_HealthCheck.html).
    if isinstance(container.get("healthCheck"), bool):  # an outline's
        return bool(container["healthCheck"])
    command = mapping(container, "healthCheck").get("command")
    return bool(command) and command != ["NONE"]


def outline(definition: TaskDefinition) -> TaskDefinition:
    """What a plan needs of a revision, and nothing that may be a secret: no environment value, no other's tag's value."""
    body = {key: definition.body[key] for key in _OUTLINE if key in definition.body}
    body["containerDefinitions"] = [
        {
            "name": container["name"],
            "image": text(container, "image"),
            "healthCheck": has_health_check(container),
        }
        for container in entries(definition.body, "containerDefinitions")
    ]
    tags = [
        {"key": tag["key"], "value": text(tag, "value") if tag["key"] == CONTENT_TAG else ""}
        for tag in definition.tags
    ]
    return TaskDefinition(body, tuple(tags))


def content_digest(base_arn: str, images: Mapping[str, str]) -> str:
    """SHA-256 (hex) of base ARN and images: equal for every attempt at the same revision, in any release."""
    text = json.dumps([base_arn, sorted(images.items())], separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def copy_with_images(base: TaskDefinition, images: Mapping[str, str]) -> dict[str, Any]:
    """The RegisterTaskDefinition body that differs from ``base`` in the images named and in one tag."""
    body = {key: value for key, value in base.body.items() if key not in OUTPUT_ONLY}
    if "volumes" in body:
        body["volumes"] = [_registrable(volume) for volume in body["volumes"]]
    body["containerDefinitions"] = [
        {**container, "image": images[container["name"]]} if container["name"] in images else container
        for container in base.body["containerDefinitions"]
    ]
    body["tags"] = [*kept_tags(base), {"key": CONTENT_TAG, "value": content_digest(base.arn, images)}]
    return body


def _registrable(volume: Mapping[str, Any]) -> Mapping[str, Any]:
    """A volume as RegisterTaskDefinition takes it.

    Of a Docker volume of scope ``task`` ECS describes ``autoprovision: false`` and refuses it at registration, as users report
    (https://github.com/aws/aws-cdk/issues/26697, https://github.com/hashicorp/terraform-provider-aws/issues/34428). It means
    nothing there: "This field is only used if the scope is shared"
    (https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_DockerVolumeConfiguration.html).
    """
    docker = volume.get("dockerVolumeConfiguration")
    if not docker or docker.get("scope") != "task" or docker.get("autoprovision") is not False:
        return volume
    kept = {key: value for key, value in docker.items() if key != "autoprovision"}
    return {**volume, "dockerVolumeConfiguration": kept}


def kept_tags(base: TaskDefinition) -> list[Mapping[str, str]]:
    """The tags that a copy takes along: all but ours, and those that AWS made itself.

    AWS reserves the prefix ``aws:``, so they can't be sent
    (https://docs.aws.amazon.com/AmazonECS/latest/developerguide/ecs-using-tags.html#tag-restrictions).
    """
    return [t for t in base.tags if t["key"] != CONTENT_TAG and not t["key"].lower().startswith("aws:")]


class TaskDefinitions:
    """The task definitions of one target."""

    def __init__(
        self,
        connections: Connections,
        target: str,
        *,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._connections = connections
        self._target = target
        self._sleep = sleep
        self._clock = clock

    def describe(self, reference: str) -> TaskDefinition:
        """One revision with its tags; a bare family means its newest ACTIVE revision.

        Raises
        ------
        ItemError
            when there is none.
        OddAnswerError
            when what ECS answers is none.
        """
        client = self._connections.client(self._target, "ecs")
        try:
            answer = raw_body(client.describe_task_definition(taskDefinition=reference, include=["TAGS"]))
        except ClientError as error:
            if error_code(error) == "ClientException":
                raise ItemError(f"task definition {reference} can't be read: {explain(error)}") from error
            raise
        return _understood(answer, reference)

    def find_copy(
        self,
        base: TaskDefinition,
        images: Mapping[str, str],
        *,
        usable: Callable[[str], bool] = lambda _: True,
    ) -> TaskDefinition | None:
        """The ACTIVE revision an earlier attempt registered from ``base`` with these images, if there is one.

        Raises
        ------
        ItemBusyError
            when a revision is listed that can't be read yet.

        Notes
        -----
        The tag alone proves nothing: who makes a new revision out of ours by hand takes its tags along.

        Parameters
        ----------
        usable : asked for the ARN of what fits; False: it is about to be deregistered, or was a moment ago.
        """
        copy = copy_with_images(base, images)
        wanted = content_digest(base.arn, images)
        # A copy is always newer than what it was made from.
        for found in self.newer(base.family, base.revision):
            if (
                found.active
                and found.content == wanted
                and same_definition(copy, found.body)
                and usable(found.arn)
            ):
                return found
        return None

    def newer(self, family: str, revision: int) -> Iterator[TaskDefinition]:
        """The ACTIVE revisions of a family after one of them, newest first; each is read when it is its turn.

        Raises
        ------
        ItemBusyError
            when a revision is listed that can't be read yet.
        """
        client = self._connections.client(self._target, "ecs")
        pages = client.get_paginator("list_task_definitions").paginate(
            familyPrefix=family, status="ACTIVE", sort="DESC"
        )
        for page in pages:
            for arn in page["taskDefinitionArns"]:
                of_family, number = parse_reference(arn)
                if of_family != family:
                    continue
                if number is not None and number <= revision:
                    return
                try:
                    yield self.describe(arn)
                except ItemError as error:  # listed already, or deregistered meanwhile: the next look tells
                    raise ItemBusyError(f"{arn} is listed and can't be read yet: {error}") from error

    def register_copy(
        self,
        base: TaskDefinition,
        images: Mapping[str, str],
        *,
        before_attempt: Callable[[], None],
        usable: Callable[[str], bool] = lambda _: True,
    ) -> tuple[TaskDefinition, bool]:
        """Find or register the copy of ``base`` with ``images``.

        Parameters
        ----------
        before_attempt : called before each API call that may make a revision; raises to stop.
        usable : see :meth:`find_copy`.

        Returns
        -------
        tuple of TaskDefinition and bool
            the revision, and whether this call registered it.

        Raises
        ------
        ItemError
            when AWS refuses the definition.
        ItemBusyError
            when AWS does not answer, or with faults, for too long; trying again later is right.
        UnfinishedError
            when AWS throttles for as long as this invocation has time.
        ClientError
            when the credentials have expired: with new ones another try can end better.

        Notes
        -----
        A response that is lost may hide a registration that happened, so every further attempt looks for the
        content tag first.
        """
        client = self._connections.client(self._target, "ecs", retry=False)
        body = copy_with_images(base, images)
        until = self._clock() + _REGISTER_SECONDS
        attempt = 0
        while True:
            found = self.find_copy(base, images, usable=usable)
            if found is not None:
                return found, attempt > 0
            before_attempt()
            try:
                with send_raw(body):
                    answer = client.register_task_definition(
                        family=base.family, containerDefinitions=[], tags=[]
                    )
                arn = answer["taskDefinition"]["taskDefinitionArn"]
                return TaskDefinition(
                    {**answer["taskDefinition"], "taskDefinitionArn": arn}, tuple(body["tags"])
                ), True
            except (ClientError, BotoCoreError) as error:
                kind = "busy" if _family_is_busy(error) else trouble(error)
                if kind == "expired":
                    raise
                if not kind:
                    raise ItemError(
                        f"AWS refused the new revision of {base.family}: {explain(error)}"
                    ) from error
                attempt += 1
                why = f"no new revision of {base.family} yet: {explain(error)}"
                # Tokens come back at one a second, and several writers must not meet again.
                seconds = max(0.5, jittered(attempt, 8.0))
                if kind == "fault":
                    # No answer, or one about a fault: a revision that was made all the same takes a moment to be listed.
                    seconds = max(seconds, READ_LAG_SECONDS)
                if kind != "throttled" and self._clock() + seconds > until:
                    raise ItemBusyError(f"{why}, for {_REGISTER_SECONDS} s") from error
                pause(seconds, why, self._sleep)

    def deregister(self, arn: str) -> None:
        """Make a revision INACTIVE; running tasks and services that use it go on. Harmless when it is already."""
        try:
            self._connections.client(self._target, "ecs").deregister_task_definition(taskDefinition=arn)
        except ClientError as error:
            if error_code(error) != "ClientException" or self._is_active(arn):
                raise

    def _is_active(self, arn: str) -> bool:
        try:
            return self.describe(arn).active
        except ItemError:  # deleted after it was deregistered
            return False


def _family_is_busy(error: ClientError | BotoCoreError) -> bool:
    # "Too many concurrent attempts to create a new revision of the specified family." comes as a ClientException
    # (https://github.com/hashicorp/terraform-provider-aws/issues/9777).
    return isinstance(error, ClientError) and "concurrent attempts" in explain(error)
