"""Amazon ECR: whether an image is there, which digest its tag means now, and whether it was built for the architecture.

A registry that can't be asked (another vendor's, another account's without a policy for us) is a warning, never a
problem: ECS may still be able to pull from it. It is never passed over in silence: whoever approves has to know which
images nobody has looked at.
"""

from __future__ import annotations

import functools
import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError
from botocore.loaders import create_loader

from ecs_release.aws.answers import understanding
from ecs_release.aws.clients import Connections
from ecs_release.aws.trouble import error_code, explain
from ecs_release.errors import OddAnswerError, UnavailableError
from ecs_release.manifest.images import EcrImage, ecr_image, looks_like_ecr

if TYPE_CHECKING:
    from mypy_boto3_ecr import ECRClient
    from mypy_boto3_ecr.type_defs import ImageIdentifierTypeDef, RepositoryTypeDef

_INDEX_TYPES = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
)

# cpuArchitecture of a task definition -> architecture in an image index (GOARCH)
_ARCHITECTURES = {"X86_64": "amd64", "ARM64": "arm64"}


@dataclass(frozen=True)
class RegistryImage:
    """What ECR says of one image.

    Attributes
    ----------
    digest : what the tag means now; None when ECR does not say.
    platforms : ``os/architecture`` of an image index; empty for an image built for one platform, which does not say.
    movable : the image is named by a tag, and its repository lets tags be overwritten.
    missing : ECR's code for not having it; None of an image that is there, or of which nobody knows.
    not_asked : why ECR was not asked about it, or None.
    untold : why ECR can't tell, or None.
    """

    digest: str | None = None
    platforms: tuple[str, ...] = ()
    movable: bool = False
    missing: str | None = None
    not_asked: str | None = None
    untold: str | None = None

    def runs_on(self, platform: str) -> bool:
        """Whether the image runs on ``os/architecture``, as far as it says."""
        return not self.platforms or platform in self.platforms


def platform_of(cpu_architecture: str) -> str:
    """The ``os/architecture`` of a task definition's cpuArchitecture."""
    return f"linux/{_ARCHITECTURES.get(cpu_architecture, cpu_architecture.lower())}"


class Registry:
    """ECR as one target's reader role sees it."""

    def __init__(self, connections: Connections, target: str) -> None:
        self._connections = connections
        self._target = target

    def find(self, image: str) -> RegistryImage:
        """Look an image up. Never raises for the image's or the registry's sake; UnfinishedError where it throttles too long."""
        try:
            with understanding("what ECR says of it"):
                return self._find(image)
        except OddAnswerError as error:
            return RegistryImage(untold=str(error))

    def _find(self, image: str) -> RegistryImage:
        wanted = ecr_image(image)
        if wanted is None:
            return RegistryImage(not_asked=not_asked(image))
        if not any(wanted.region in _regions(partition) for partition in wanted.partitions):
            partitions = " or ".join(wanted.partitions)
            return RegistryImage(
                not_asked=f"is in the Region {wanted.region}, which is no known Region of {partitions}"
            )
        own = wanted.account == self._connections.targets[self._target].account
        client = self._connections.client(self._target, "ecr", region=wanted.region)
        which: ImageIdentifierTypeDef = {}  # an image in ECR is named by one or the other
        if wanted.digest:
            which["imageDigest"] = wanted.digest
        elif wanted.tag:
            which["imageTag"] = wanted.tag
        try:
            details = client.describe_images(
                registryId=wanted.account, repositoryName=wanted.repository, imageIds=[which]
            )["imageDetails"]
            digest = str(details[0]["imageDigest"])
            media_type = details[0].get("imageManifestMediaType", "")
            platforms = self._platforms(client, wanted, digest) if media_type in _INDEX_TYPES else ()
            movable = bool(wanted.tag and not wanted.digest and self._moves(client, wanted, wanted.tag))
            return RegistryImage(digest, platforms, movable)
        except ClientError as error:
            code = error_code(error)
            missing = code == "ImageNotFoundException" or (code == "RepositoryNotFoundException" and own)
            if missing and not _pulled_through(client, wanted):
                return RegistryImage(missing=code)
            return RegistryImage(untold=explain(error))
        except (BotoCoreError, UnavailableError, IndexError) as error:
            return RegistryImage(untold=explain(error))

    def _moves(self, client: ECRClient, image: EcrImage, tag: str) -> bool:
        try:
            repositories = client.describe_repositories(
                registryId=image.account, repositoryNames=[image.repository]
            )["repositories"]
        except (ClientError, BotoCoreError, UnavailableError):
            return False
        return bool(repositories) and tag_moves(repositories[0], tag)

    def _platforms(self, client: ECRClient, image: EcrImage, digest: str) -> tuple[str, ...]:
        images = client.batch_get_image(
            registryId=image.account,
            repositoryName=image.repository,
            imageIds=[{"imageDigest": digest}],
            acceptedMediaTypes=list(_INDEX_TYPES),
        )["images"]
        index = json.loads(images[0]["imageManifest"]) if images else {}
        platforms = [entry.get("platform", {}) for entry in index.get("manifests", ())]
        # Attestations stand in an index as unknown/unknown.
        return tuple(
            dict.fromkeys(
                f"{p['os']}/{p['architecture']}" for p in platforms if p.get("os") not in (None, "unknown")
            )
        )


def tag_moves(repository: RepositoryTypeDef, tag: str) -> bool:
    """Whether a repository, as DescribeRepositories describes it, lets a tag be overwritten.

    With exclusions, the tags that a filter matches go the other way
    (https://docs.aws.amazon.com/AmazonECR/latest/userguide/image-tag-mutability.html). An SDK older than them shows no filters;
    then nothing is known of the tag, and it may move.
    """
    mutability = str(repository.get("imageTagMutability", ""))
    filters = repository.get("imageTagMutabilityExclusionFilters", ())
    if not mutability.endswith("_WITH_EXCLUSION"):
        return mutability == "MUTABLE"
    if not filters:
        return True
    excluded = any(_matches(str(entry.get("filter", "")), tag) for entry in filters)
    return excluded != (mutability == "MUTABLE_WITH_EXCLUSION")


def _matches(wildcard: str, tag: str) -> bool:
    """``*`` stands for any number of characters, as in a lifecycle policy; nothing else is special."""
    return re.fullmatch(".*".join(map(re.escape, wildcard.split("*"))), tag) is not None


def not_asked(image: str) -> str:
    """Why nobody asks Amazon ECR about an image: what follows its name in a sentence."""
    if looks_like_ecr(image):
        return "has a host that only looks like Amazon ECR's"
    return "is not in Amazon ECR" if ecr_image(image) is None else "was not looked for"


@functools.cache
def _regions(partition: str) -> frozenset[str]:
    """The Regions that the SDK in use lists for a partition. A name that merely fits its pattern is none of them."""
    partitions = create_loader().load_data("partitions")["partitions"]
    return frozenset(
        region
        for known in partitions
        if known["id"] == partition
        for region in known["regions"]
        if not region.endswith("-global")  # stands for services without Regions
    )


def _pulled_through(client: ECRClient, image: EcrImage) -> bool:
    """Whether a missing image may still arrive with the first pull, through a pull-through cache rule."""
    try:
        rules = client.describe_pull_through_cache_rules(registryId=image.account)["pullThroughCacheRules"]
    except UnavailableError:
        return True  # nobody knows, so it is not said to be missing
    except (ClientError, BotoCoreError):
        return False
    return any(
        rule["ecrRepositoryPrefix"] == "ROOT"
        or image.repository.startswith(rule["ecrRepositoryPrefix"] + "/")
        for rule in rules
    )
