"""Service revisions: what a deployment of a service runs, image by image, in ECS's own words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ecs_release.aws.answers import entries, text

REVISIONS_MOST = 20
"""https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_DescribeServiceRevisions.html"""


@dataclass(frozen=True)
class ServiceRevision:
    """A service revision: what a deployment of a service runs, image by image.

    Attributes
    ----------
    digests : container name -> digest, of the containers whose image ECS has resolved.
        https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_ContainerImage.html
    """

    arn: str
    task_definition: str
    digests: Mapping[str, str]

    @classmethod
    def of(cls, body: Mapping[str, Any]) -> ServiceRevision:
        """From an entry of DescribeServiceRevisions' answer."""
        digests = {
            text(image, "containerName"): text(image, "imageDigest")
            for image in entries(body, "containerImages")
            if text(image, "imageDigest")
        }
        return cls(text(body, "serviceRevisionArn"), text(body, "taskDefinition"), digests)
