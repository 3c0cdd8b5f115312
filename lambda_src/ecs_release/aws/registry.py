"""Amazon ECR: whether images are there, which digests their tags mean now, and whether one was built for the architecture.

A registry that can't be asked (another vendor's, another account's without a policy for us) is a warning, never a
problem: ECS may still be able to pull from it. It is never passed over in silence: whoever approves has to know which
images nobody has looked at.
"""

from __future__ import annotations

import functools
import json
import re
import threading
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError, ConnectionError, HTTPClientError
from botocore.loaders import create_loader

from ecs_release.aws.answers import understanding
from ecs_release.aws.clients import Connections
from ecs_release.aws.platforms import platforms_of
from ecs_release.aws.trouble import error_code, explain
from ecs_release.errors import OddAnswerError, UnavailableError
from ecs_release.manifest.images import EcrImage, ecr_image, looks_like_ecr

if TYPE_CHECKING:
    from mypy_boto3_ecr import ECRClient
    from mypy_boto3_ecr.type_defs import ImageIdentifierTypeDef, RepositoryTypeDef

# Of these the manifest is handed out as it was pushed; what else there is, ECR may refuse or convert
# (https://docs.aws.amazon.com/AmazonECR/latest/userguide/image-manifest-formats.html).
_MANIFEST_TYPES = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.docker.distribution.manifest.v1+json",
)
_COMES = "is not there yet and may come through a pull-through cache"
_IMAGES_MOST = 100
"""https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_BatchGetImage.html"""


@dataclass(frozen=True)
class RegistryImage:
    """What ECR says of one image.

    Attributes
    ----------
    digest : what the tag means now; None when ECR does not say.
    platforms : of an image index, see :func:`platforms_of`; empty for an image built for one platform, which does not say.
    movable : the image is named by a tag, and its repository lets tags be overwritten.
    missing : ECR's code for not having it; None of an image that is there, or of which nobody knows.
    not_asked : why ECR was not asked about it, or None.
    untold : what ECR can't tell and why, or None; the digest may be known all the same.
    """

    digest: str | None = None
    platforms: tuple[str, ...] = ()
    movable: bool = False
    missing: str | None = None
    not_asked: str | None = None
    untold: str | None = None


@dataclass(frozen=True)
class Meaning:
    """What Amazon ECR has under an image's name.

    Attributes
    ----------
    digest : what the name means now; None where it is missing or nobody knows.
    manifests : digests of the platform manifests of an image index; empty for an image of one platform.
    missing : ECR's code for not having it; None of an image that is there, or of which nobody knows.
    unknown : why nobody knows, what follows the image's name in a sentence; None where ECR told.
    manifest : the image's, as it was pushed; "" where nobody knows.
    """

    digest: str | None = None
    manifests: frozenset[str] = frozenset()
    missing: str | None = None
    unknown: str | None = None
    manifest: str = field(default="", repr=False, compare=False)

    def is_(self, digest: str) -> bool:
        """Whether this is the image that runs as ``digest``.

        Of an image of several platforms ECS names now the index's digest, now the platform manifest's
        (https://github.com/aws/amazon-ecs-agent/issues/2201, https://github.com/aws/amazon-ecs-agent/issues/3576).
        """
        return digest == self.digest or digest in self.manifests


class Registry:
    """ECR as one target's role sees it.

    It is asked by BatchGetImage, with which a pull begins. That is all that another account's repository answers where its policy
    only lets tasks pull (https://docs.aws.amazon.com/AmazonECR/latest/userguide/repository-policy-examples.html). DescribeImages
    also knows archived images, which can't be pulled
    (https://docs.aws.amazon.com/AmazonECR/latest/userguide/archive-image.html). BatchGetImage may be called 2,000 times a second
    (https://docs.aws.amazon.com/AmazonECR/latest/userguide/service-quotas.html). The price is that ECR takes the time for that of
    a pull (https://github.com/aws/containers-roadmap/issues/2390).
    """

    def __init__(self, connections: Connections, target: str) -> None:
        self._connections = connections
        self._target = target
        self._first: dict[str, threading.Lock] = {}
        self._reached: dict[str, str | None] = {}

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
        if no_region := _no_region(wanted):
            return RegistryImage(not_asked=no_region)
        (meaning,) = self._look_up({image: wanted}).values()
        if meaning.digest is None:
            untold = f"it {meaning.unknown.rstrip('.')}" if meaning.unknown else None
            return RegistryImage(missing=meaning.missing, untold=untold)
        platforms: tuple[str, ...] = ()
        movable, unknown = False, []  # that it exists, is known
        try:
            with understanding("its manifest"):
                platforms = platforms_of(json.loads(meaning.manifest))
        except OddAnswerError as error:
            unknown.append(str(error))
        if wanted.tag and not wanted.digest:
            try:
                with understanding("what ECR says of its repository"):
                    movable = self._moves(self._client(wanted.region), wanted, wanted.tag)
            except (ClientError, BotoCoreError, UnavailableError, OddAnswerError) as error:
                unknown.append(f"not whether its tag can be moved: {explain(error).rstrip('.')}")
        return RegistryImage(meaning.digest, platforms, movable, untold="; ".join(unknown) or None)

    def look_up(self, images: Collection[str]) -> dict[str, Meaning]:
        """What the names of images mean now, a hundred a call. Raises as :meth:`find` does.

        Parameters
        ----------
        images : ``repo:tag`` or ``repo@digest``, of any registry.
        """
        found: dict[str, Meaning] = {}
        together: dict[tuple[str, str, str], dict[str, EcrImage]] = {}
        for image in images:
            wanted = ecr_image(image)
            if wanted is None:
                found[image] = Meaning(unknown=not_asked(image))
            elif no_region := _no_region(wanted):
                found[image] = Meaning(unknown=no_region)
            else:
                repository = (wanted.account, wanted.region, wanted.repository)
                together.setdefault(repository, {})[image] = wanted
        for alike in together.values():
            names = list(alike)
            for start in range(0, len(names), _IMAGES_MOST):
                hundred = {name: alike[name] for name in names[start : start + _IMAGES_MOST]}
                found |= self._look_up(hundred)
        return found

    def _look_up(self, images: Mapping[str, EcrImage]) -> dict[str, Meaning]:
        """As :meth:`look_up`, of one repository."""
        one = next(iter(images.values()))
        own = one.account == self._connections.targets[self._target].account
        client = self._client(one.region)
        try:
            with self._reach(one.region):
                answer = client.batch_get_image(
                    registryId=one.account,
                    repositoryName=one.repository,
                    imageIds=[_id_of(image) for image in images.values()],
                    acceptedMediaTypes=list(_MANIFEST_TYPES),
                )
            with understanding("what ECR says of images"):
                found = {name: _meaning(image, answer) for name, image in images.items()}
        except ClientError as error:
            if error_code(error) != "RepositoryNotFoundException" or not own:
                return dict.fromkeys(images, Meaning(unknown=f"can't be looked up: {explain(error)}"))
            found = dict.fromkeys(images, Meaning(missing="RepositoryNotFoundException"))
        except (BotoCoreError, UnavailableError, OddAnswerError) as error:
            return dict.fromkeys(images, Meaning(unknown=f"can't be looked up: {explain(error)}"))
        if any(meaning.missing for meaning in found.values()) and (
            why := _pulled_through(client, one, own=own)
        ):
            comes = Meaning(unknown=why)
            found = {name: comes if meaning.missing else meaning for name, meaning in found.items()}
        return found

    def _client(self, region: str) -> ECRClient:
        return self._connections.client(self._target, "ecr", region=region)

    @contextmanager
    def _reach(self, region: str) -> Iterator[None]:
        """Around a call to a Region. Whether it can be reached at all is found out by one, which the others wait for."""
        if region not in self._reached:
            with self._first.setdefault(region, threading.Lock()):
                if region not in self._reached:
                    try:
                        yield
                    except (ConnectionError, HTTPClientError, UnavailableError) as error:
                        self._reached[region] = explain(error)
                        raise
                    except (
                        ClientError,
                        BotoCoreError,
                    ):  # an answer, or a name that can't be asked for at all
                        self._reached[region] = None
                        raise
                    self._reached[region] = None
                    return
        if why := self._reached[region]:
            raise UnavailableError(why)
        yield

    def _moves(self, client: ECRClient, image: EcrImage, tag: str) -> bool:
        repositories = client.describe_repositories(
            registryId=image.account, repositoryNames=[image.repository]
        )["repositories"]
        return bool(repositories) and tag_moves(repositories[0], tag)


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


def _no_region(image: EcrImage) -> str | None:
    """What is wrong with the Region of a registry, as what follows the image's name in a sentence.

    Nobody is asked in a Region that is not known: the name of its endpoint would be looked up until the last attempt has failed.
    """
    if any(image.region in _regions(partition) for partition in image.partitions):
        return None
    partitions = " or ".join(image.partitions)
    return f"is in the Region {image.region}, which is no known Region of {partitions}"


def _id_of(image: EcrImage) -> ImageIdentifierTypeDef:
    return {"imageDigest": image.digest} if image.digest else {"imageTag": str(image.tag)}


def _meaning(image: EcrImage, answer: Mapping[str, Any]) -> Meaning:
    """What a BatchGetImage answer says of one image that was asked for."""
    ((key, value),) = _id_of(image).items()
    for found in answer.get("images") or ():
        identity = found.get("imageId") or {}
        if identity.get(key) == value and identity.get("imageDigest"):
            manifest = str(found.get("imageManifest") or "")
            return Meaning(str(identity["imageDigest"]), _manifests(manifest), manifest=manifest)
    for failure in answer.get("failures") or ():
        if (failure.get("imageId") or {}).get(key) == value:
            code = str(failure.get("failureCode"))
            if code == "ImageNotFound":
                return Meaning(missing=code)
            return Meaning(
                unknown=f"can't be looked up: {code}: {failure.get('failureReason') or 'no reason'}"
            )
    return Meaning(unknown="can't be looked up: ECR did not say")


def _manifests(manifest: str) -> frozenset[str]:
    """The digests that an image index names; none of anything else."""
    try:
        entries: Sequence[Any] = json.loads(manifest).get("manifests") or ()
        return frozenset(str(entry["digest"]) for entry in entries if "digest" in entry)
    except (TypeError, ValueError, AttributeError):
        return frozenset()


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


def _pulled_through(client: ECRClient, image: EcrImage, *, own: bool) -> str:
    """Why a missing image may still arrive with the first pull, as what follows its name in a sentence; "" where it can't.

    Parameters
    ----------
    own : whether it is a registry of the target's account. What another account's rules are, AWS tells that account alone, so there
        an image that is missing counts as missing.
    """
    try:
        rules = client.describe_pull_through_cache_rules(registryId=image.account)["pullThroughCacheRules"]
        with understanding("what ECR says of them"):
            comes = any(
                rule["ecrRepositoryPrefix"] == "ROOT"
                or image.repository.startswith(rule["ecrRepositoryPrefix"] + "/")
                for rule in rules
            )
    except (ClientError, BotoCoreError, UnavailableError, OddAnswerError) as error:
        if not own and isinstance(error, ClientError | BotoCoreError):
            return ""
        # Nobody knows, so it is not said to be missing.
        return f"{_COMES}, whose rules can't be asked for: {explain(error).rstrip('.')}"
    return _COMES if comes else ""
