"""What a tag means, as ECS asks a registry when a deployment or a task begins.

Stands for "container image resolution": ECS resolves a tag to a digest once for each deployment and pulls that digest for every
task of it (https://docs.aws.amazon.com/AmazonECS/latest/developerguide/deployment-type-ecs.html; a rollback resolves again:
https://github.com/aws/amazon-ecs-agent/issues/4226). A service revision names the digests
(https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_ContainerImage.html). A container that says
``"versionConsistency": "disabled"`` is not resolved.

Amazon ECR is asked; an image that it does not have has no digest. Of every other registry it is taken that the tag has never moved.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from typing import Any

_ECR = re.compile(r"(\d{12})\.dkr\.ecr\.([a-z0-9-]+)\.[^/]+/([^:@]+)(?::([^@]+))?")


def resolve(image: str) -> str | None:
    """The digest of an image now; None where its registry has no such image."""
    if "@" in image:
        return image.partition("@")[2]
    match = _ECR.fullmatch(image)
    if match is None:
        return f"sha256:{hashlib.sha256(image.encode()).hexdigest()}"
    from moto.ecr.models import ecr_backends  # noqa: PLC0415 (moto loads backends on demand)

    account, region, name, tag = match.groups()
    repository = ecr_backends[account][region].repositories.get(name)
    for found in repository.images if repository is not None else ():
        if (tag or "latest") in found.image_tags:
            return str(found.get_image_digest())
    return None


def resolve_all(containers: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """Container name -> digest, of those that are resolved and found."""
    found = {
        str(container["name"]): resolve(str(container.get("image", "")))
        for container in containers
        if container.get("versionConsistency") != "disabled"
    }
    return {name: digest for name, digest in found.items() if digest is not None}
