"""Amazon ECR says of each name that was asked for what it means, or that there is none."""

from __future__ import annotations

import json
import uuid

import pytest
from botocore.exceptions import ClientError
from local_aws.client import LocalAws

MANIFEST = "application/vnd.oci.image.manifest.v1+json"


def test_each_name_is_answered_by_itself(aws: LocalAws) -> None:
    ecr = aws.client("ecr")
    name = f"r-{uuid.uuid4().hex[:8]}"
    ecr.create_repository(repositoryName=name)
    digests = []
    for content in ("a", "b"):
        layer = {"digest": content, "size": 1}
        manifest = json.dumps({"schemaVersion": 2, "mediaType": MANIFEST, "layers": [layer], "config": layer})
        put = ecr.put_image(repositoryName=name, imageTag="moving", imageManifest=manifest)
        digests.append(put["image"]["imageId"]["imageDigest"])
    old, new = digests
    assert old != new
    none = "sha256:" + "0" * 64
    asked = [{"imageTag": "moving"}, {"imageDigest": old}, {"imageDigest": none}, {"imageTag": "none"}]
    answer = ecr.batch_get_image(repositoryName=name, imageIds=asked)
    assert [image["imageId"] for image in answer["images"]] == [
        {"imageTag": "moving", "imageDigest": new},
        {"imageDigest": old},
    ]
    assert [(f["imageId"], f["failureCode"]) for f in answer["failures"]] == [
        ({"imageDigest": none}, "ImageNotFound"),
        ({"imageTag": "none"}, "ImageNotFound"),
    ]
    ecr.batch_delete_image(repositoryName=name, imageIds=[{"imageDigest": old}])
    assert ecr.batch_get_image(repositoryName=name, imageIds=[{"imageDigest": old}])["images"] == []


def test_a_hundred_names_at_most(aws: LocalAws) -> None:
    ecr = aws.client("ecr")
    name = f"r-{uuid.uuid4().hex[:8]}"
    ecr.create_repository(repositoryName=name)
    with pytest.raises(ClientError, match="InvalidParameterException"):
        ecr.batch_get_image(repositoryName=name, imageIds=[{"imageTag": str(n)} for n in range(101)])


def test_a_registry_has_no_pull_through_cache_rules(aws: LocalAws) -> None:
    """Whether a missing image may still come is asked for; an error would say that nobody knows."""
    ecr = aws.client("ecr")
    assert ecr.describe_pull_through_cache_rules()["pullThroughCacheRules"] == []
    with pytest.raises(ClientError) as none:
        ecr.describe_pull_through_cache_rules(ecrRepositoryPrefixes=["docker"])
    assert none.value.response["Error"]["Code"] == "PullThroughCacheRuleNotFoundException"
