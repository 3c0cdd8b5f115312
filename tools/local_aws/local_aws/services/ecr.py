"""Amazon ECR: an image that loses its tag to another stays, untagged, and BatchGetImage answers each name by itself.

moto removes an image whose tag is pushed again, where ECR only moves the tag
(https://docs.aws.amazon.com/AmazonECR/latest/userguide/image-push.html). It names a failure by its tag alone, also where a digest
was asked for, and an image by the tag it got last
(https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_BatchGetImage.html, API_ImageIdentifier.html).
It looks for a repository in the caller's account whatever ``registryId`` says; here the account that is named answers, if the
policy of its repository allows the call (https://docs.aws.amazon.com/AmazonECR/latest/userguide/repository-policies.html).
It does not know pull-through cache rules; a registry here has none.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from local_aws.kernel.calls import ApiError, Call
from local_aws.kernel.server import Server

_MOST = 100


def install(server: Server) -> None:
    """Answer from moto's repositories, another account's too, and that there are no pull-through cache rules."""

    @server.operation("ecr", "PutImage")
    def put_image(call: Call) -> Any:
        from moto.ecr.models import ecr_backends  # noqa: PLC0415 (moto loads backends on demand)

        name, tag = call.input.get("repositoryName"), call.input.get("imageTag")
        repository = ecr_backends[call.account][call.region].repositories.get(name)
        losing = [image for image in repository.images if tag in image.image_tags] if repository else []
        answer = call.forward()
        for image in losing if answer.status < 300 else ():
            if image not in repository.images:
                image.remove_tag(tag)
                image.image_tag = None
                repository.images.append(image)
        return answer

    @server.operation("ecr", "BatchGetImage")
    def batch_get_image(call: Call) -> Any:
        identifiers = call.input.get("imageIds") or []
        if len(identifiers) > _MOST:
            raise ApiError("InvalidParameterException", f"imageIds has more than {_MOST} entries")
        named = _in_the_registry_named(call)
        images: list[dict[str, Any]] = []
        failures: list[dict[str, Any]] = []
        for identifier in identifiers:
            answer = named.forward({**call.input, "imageIds": [identifier]})
            if answer.status >= 300:
                return answer
            found = answer.json()
            for image in (found.get("images") or [])[:1]:
                images.append(
                    {**image, "imageId": {**identifier, "imageDigest": image["imageId"]["imageDigest"]}}
                )
            failures += [{**failure, "imageId": identifier} for failure in found.get("failures") or ()]
        return {"images": images, "failures": failures}

    @server.operation("ecr", "DescribeImages")
    def describe_images(call: Call) -> Any:
        return _in_the_registry_named(call).forward()

    @server.operation("ecr", "DescribeRepositories")
    def describe_repositories(call: Call) -> Any:
        return _in_the_registry_named(call).forward()

    @server.operation("ecr", "DescribePullThroughCacheRules")
    def describe_pull_through_cache_rules(call: Call) -> dict[str, Any]:
        # https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_DescribePullThroughCacheRules.html
        prefixes = call.input.get("ecrRepositoryPrefixes")
        if prefixes:
            raise ApiError(
                "PullThroughCacheRuleNotFoundException",
                f"There is no pull through cache rule for {', '.join(prefixes)}",
            )
        return {"pullThroughCacheRules": []}


def _in_the_registry_named(call: Call) -> Call:
    """The call as moto gets one of the account that ``registryId`` names. Whether it may be made was asked before."""
    account = str(call.input.get("registryId") or call.account)
    return replace(call, environ={**call.environ, "HTTP_X_MOTO_ACCOUNT_ID": account})
