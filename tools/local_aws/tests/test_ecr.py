"""Amazon ECR says of each name that was asked for what it means, or that there is none."""

from __future__ import annotations

import itertools
import json
import uuid
from collections.abc import Collection
from typing import Any

import pytest
from botocore.exceptions import ClientError
from local_aws.client import LocalAws
from local_aws.estate import ACCOUNT
from roles import policy, role

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OTHER = "222222222222"
# https://github.com/aws/aws-cdk/blob/main/packages/aws-cdk-lib/aws-ecr/lib/repository.ts (grantPull)
PULL = ("ecr:BatchCheckLayerAvailability", "ecr:GetDownloadUrlForLayer", "ecr:BatchGetImage")
READS = ("ecr:BatchGetImage", "ecr:DescribeImages", "ecr:DescribeRepositories")


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


class Foreign:
    """A repository of another account with one image, and a role here that may read all of Amazon ECR."""

    def __init__(self, aws: LocalAws) -> None:
        self.name = f"r-{uuid.uuid4().hex[:8]}"
        self.owner = aws.client("ecr", account=OTHER)
        self.owner.create_repository(repositoryName=self.name, imageTagMutability="IMMUTABLE")
        layer = {"digest": self.name, "size": 1}
        manifest = {"schemaVersion": 2, "mediaType": MANIFEST, "layers": [layer], "config": layer}
        put = self.owner.put_image(repositoryName=self.name, imageTag="1", imageManifest=json.dumps(manifest))
        self.digest = put["image"]["imageId"]["imageDigest"]
        reads = {"Effect": "Allow", "Action": "ecr:*", "Resource": "*"}
        arn = role(aws, {"AWS": f"arn:aws:iam::{ACCOUNT}:root"}, reads)
        session = aws.client("sts").assume_role(RoleArn=arn, RoleSessionName="reader")
        self.reader = aws.client("ecr", credentials=session["Credentials"])

    def allow(self, actions: Collection[str]) -> None:
        """The repository's own policy: these actions for the reader's account. Such a policy names no resource."""
        allowed = {"Effect": "Allow", "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:root"}}
        text = policy({**allowed, "Action": sorted(actions)})
        self.owner.set_repository_policy(repositoryName=self.name, policyText=text)

    def read(self, action: str) -> Any:
        where = {"registryId": OTHER, "repositoryName": self.name}
        if action == "ecr:BatchGetImage":
            answer = self.reader.batch_get_image(**where, imageIds=[{"imageTag": "1"}])
            return answer["images"][0]["imageId"]["imageDigest"]
        if action == "ecr:DescribeImages":
            answer = self.reader.describe_images(**where, imageIds=[{"imageTag": "1"}])
            return answer["imageDetails"][0]["imageDigest"]
        answer = self.reader.describe_repositories(registryId=OTHER, repositoryNames=[self.name])
        return answer["repositories"][0]["imageTagMutability"]


@pytest.fixture
def foreign(aws: LocalAws) -> Foreign:
    return Foreign(aws)


@pytest.mark.parametrize(
    "allowed", [PULL, *(some for n in (1, 2, 3) for some in itertools.combinations(READS, n))]
)
def test_another_account_s_repository_answers_what_its_own_policy_allows(
    foreign: Foreign, allowed: tuple[str, ...]
) -> None:
    """https://docs.aws.amazon.com/AmazonECR/latest/userguide/repository-policy-examples.html

    That both policies have to allow it, for DescribeRepositories as well, is seen in
    https://github.com/hashicorp/terraform-provider-aws/issues/35303.
    """
    foreign.allow(allowed)
    meant = {"ecr:BatchGetImage": foreign.digest, "ecr:DescribeImages": foreign.digest}
    for action in READS:
        if action in allowed:
            assert foreign.read(action) == meant.get(action, "IMMUTABLE")
            continue
        with pytest.raises(ClientError) as refused:
            foreign.read(action)
        assert refused.value.response["Error"]["Code"] == "AccessDeniedException"
        assert f"because no resource-based policy allows the {action} action" in str(refused.value)


def test_what_another_account_s_repository_lacks_is_told_as_one_s_own_is(foreign: Foreign) -> None:
    foreign.allow(PULL)
    where = {"registryId": OTHER, "repositoryName": foreign.name}
    answer = foreign.reader.batch_get_image(**where, imageIds=[{"imageTag": "none"}])
    assert [(f["imageId"], f["failureCode"]) for f in answer["failures"]] == [
        ({"imageTag": "none"}, "ImageNotFound")
    ]
