"""Amazon ECR: BatchGetImage tells which of the images asked for it has not, each by the name it was asked by.

moto names a failure by its tag alone, also where a digest was asked for, and an image by the tag it got last
(https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_BatchGetImage.html, API_ImageIdentifier.html).
"""

from __future__ import annotations

from typing import Any

from local_aws.kernel.calls import ApiError, Call
from local_aws.kernel.server import Server

_MOST = 100


def install(server: Server) -> None:
    """Answer BatchGetImage from moto's repositories."""

    @server.operation("ecr", "BatchGetImage")
    def batch_get_image(call: Call) -> Any:
        identifiers = call.input.get("imageIds") or []
        if len(identifiers) > _MOST:
            raise ApiError("InvalidParameterException", f"imageIds has more than {_MOST} entries")
        images: list[dict[str, Any]] = []
        failures: list[dict[str, Any]] = []
        for identifier in identifiers:
            answer = call.forward({**call.input, "imageIds": [identifier]})
            if answer.status >= 300:
                return answer
            found = answer.json()
            for image in (found.get("images") or [])[:1]:
                images.append(
                    {**image, "imageId": {**identifier, "imageDigest": image["imageId"]["imageDigest"]}}
                )
            failures += [{**failure, "imageId": identifier} for failure in found.get("failures") or ()]
        return {"images": images, "failures": failures}
