"""What Amazon ECR says of an image, and what is made of its silence."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError
from ecs_release.aws.clients import Target
from ecs_release.aws.registry import Registry, RegistryImage
from ecs_release.errors import UnavailableError, UnfinishedError

OWN, OTHER = "111111111111", "222222222222"
DIGEST = "sha256:" + "a" * 64
INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"


def image(tag: str = ":1.0", account: str = OWN, region: str = "eu-west-1", name: str = "shop/api") -> str:
    return f"{account}.dkr.ecr.{region}.amazonaws.com/{name}{tag}"


def refusal(code: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": "so it is"}}, "DescribeImages")


class Ecr:
    """One Region's ECR: answers, or errors in their place."""

    def __init__(self, **answers: Any) -> None:
        self.answers: dict[str, Any] = {
            "describe_images": {
                "imageDetails": [{"imageDigest": DIGEST, "imageManifestMediaType": MANIFEST}]
            },
            "describe_repositories": {"repositories": [{"imageTagMutability": "IMMUTABLE"}]},
            "describe_pull_through_cache_rules": {"pullThroughCacheRules": []},
            **answers,
        }
        self.asked: dict[str, Mapping[str, Any]] = {}

    def __getattr__(self, operation: str) -> Any:
        def call(**arguments: Any) -> Any:
            self.asked[operation] = arguments
            answer = self.answers[operation]
            if isinstance(answer, Exception):
                raise answer
            return answer

        return call


class Connections:
    def __init__(self, ecr: Ecr) -> None:
        self.ecr = ecr
        self.regions: list[str] = []
        self.targets = {"default": Target("default", OWN, "us-east-1", "arn:write", "arn:read")}

    def client(self, target: str, service: str, *, region: str) -> Ecr:
        assert (target, service) == ("default", "ecr")
        self.regions.append(region)
        return self.ecr


def find(name: str, **answers: Any) -> RegistryImage:
    return Registry(Connections(Ecr(**answers)), "default").find(name)  # type: ignore[arg-type]


def index(*platforms: str) -> dict[str, Any]:
    entries = [
        {"platform": dict(zip(("os", "architecture"), platform.split("/"), strict=True))}
        for platform in platforms
    ]
    return {
        "describe_images": {"imageDetails": [{"imageDigest": DIGEST, "imageManifestMediaType": INDEX}]},
        "batch_get_image": {"images": [{"imageManifest": json.dumps({"manifests": entries})}]},
    }


def test_an_image_that_is_there_has_a_digest_and_nothing_to_say() -> None:
    assert find(image()) == RegistryImage(DIGEST)


def test_it_is_asked_in_the_registry_s_own_region_and_account() -> None:
    connections = Connections(Ecr())
    Registry(connections, "default").find(image(account=OTHER, region="ap-southeast-2"))  # type: ignore[arg-type]
    assert connections.regions == ["ap-southeast-2"]
    assert connections.ecr.asked["describe_images"] == {
        "registryId": OTHER,
        "repositoryName": "shop/api",
        "imageIds": [{"imageTag": "1.0"}],
    }


@pytest.mark.parametrize(
    "host",
    [
        "dkr-ecr.eu-west-1.on.aws",
        "dkr-ecr-fips.us-east-2.on.aws",
        "dkr.ecr-fips.us-gov-west-1.amazonaws.com",
        "dkr.ecr.us-iso-east-1.c2s.ic.gov",
        "dkr.ecr.us-isob-east-1.sc2s.sgov.gov",
        "dkr.ecr.eu-isoe-west-1.cloud.adc-e.uk",
        "dkr.ecr.us-isof-south-1.csp.hci.ic.gov",
        "dkr.ecr.eusc-de-east-1.amazonaws.eu",
        "dkr-ecr.cn-north-1.on.amazonwebservices.com.cn",
        "dkr.ecr.cn-north-1.amazonaws.com.cn",
    ],
)
def test_the_registry_s_other_hosts_are_known(host: str) -> None:
    assert find(f"{OWN}.{host}/api:1").digest == DIGEST


@pytest.mark.parametrize(
    "name", ["nginx:1.27", "ghcr.io/shop/api:1", "registry.example.com:5000/api:1", "1111.dkr.ecr.x.y/a:1"]
)
def test_another_registry_is_not_asked_and_that_is_said(name: str) -> None:
    found = find(name, describe_images=AssertionError("asked"))
    assert found == RegistryImage(not_asked=found.not_asked)
    assert found.not_asked


def test_a_tag_that_can_be_moved_is_said_and_a_digest_can_not_be() -> None:
    mutable = {"repositories": [{"imageTagMutability": "MUTABLE"}]}
    assert find(image(), describe_repositories=mutable).movable
    assert not find(image(f"@{DIGEST}"), describe_repositories=mutable).movable
    assert not find(image(), describe_repositories=refusal("AccessDeniedException")).movable


@pytest.mark.parametrize(
    ("mutability", "filters", "moves"),
    [
        ("MUTABLE_WITH_EXCLUSION", ["1.*"], False),
        ("MUTABLE_WITH_EXCLUSION", ["*.0"], False),
        ("MUTABLE_WITH_EXCLUSION", ["v*", "*"], False),
        ("MUTABLE_WITH_EXCLUSION", ["v1.0", "1.0.*", "1*1", "1-0"], True),
        ("IMMUTABLE_WITH_EXCLUSION", ["latest", "dev-*"], False),
        ("IMMUTABLE_WITH_EXCLUSION", ["latest", "1.*"], True),
        ("IMMUTABLE_WITH_EXCLUSION", ["1.0"], True),
        ("IMMUTABLE_WITH_EXCLUSION", ["1?0", "1.", ".0"], False),
        # An SDK from before does not show them.
        ("MUTABLE_WITH_EXCLUSION", [], True),
        ("IMMUTABLE_WITH_EXCLUSION", [], True),
    ],
)
def test_a_tag_that_an_exclusion_lets_move_is_said(mutability: str, filters: list[str], moves: bool) -> None:
    repository: dict[str, Any] = {"imageTagMutability": mutability}
    if filters:
        repository["imageTagMutabilityExclusionFilters"] = [
            {"filterType": "WILDCARD", "filter": text} for text in filters
        ]
    assert find(image(":1.0"), describe_repositories={"repositories": [repository]}).movable is moves


def test_a_missing_image_is_a_problem() -> None:
    found = find(image(), describe_images=refusal("ImageNotFoundException"))
    assert found == RegistryImage(missing="ImageNotFoundException")


def test_a_missing_repository_is_a_problem_in_the_own_account_only() -> None:
    """Another account answers so, too, where its policy does not let us look."""
    missing = refusal("RepositoryNotFoundException")
    assert find(image(), describe_images=missing).missing
    other = find(image(account=OTHER), describe_images=missing)
    assert other.missing is None
    assert other.untold is not None


@pytest.mark.parametrize(
    ("prefix", "comes"), [("shop", True), ("ROOT", True), ("sho", False), ("other", False)]
)
def test_an_image_that_the_first_pull_brings_is_not_missing(prefix: str, comes: bool) -> None:
    found = find(
        image(),
        describe_images=refusal("ImageNotFoundException"),
        describe_pull_through_cache_rules={"pullThroughCacheRules": [{"ecrRepositoryPrefix": prefix}]},
    )
    assert (found.missing is None) is comes


@pytest.mark.parametrize(
    "error", [refusal("AccessDeniedException"), EndpointConnectionError(endpoint_url="https://ecr")]
)
def test_a_registry_that_can_not_be_asked_is_a_warning(error: Exception) -> None:
    found = find(image(), describe_images=error)
    assert found == RegistryImage(untold=found.untold)
    assert found.untold


@pytest.mark.parametrize(
    ("refused", "answers"),
    [("describe_repositories", {}), ("batch_get_image", index("linux/amd64"))],
)
def test_what_is_known_stays_known_where_the_rest_is_refused(refused: str, answers: dict[str, Any]) -> None:
    found = find(image(":1.0"), **{**answers, refused: refusal("AccessDeniedException")})
    assert found == RegistryImage(DIGEST, untold="AccessDeniedException: so it is")


def test_an_image_is_not_called_missing_where_the_pull_through_rules_are_refused() -> None:
    """Of another account's registry nobody is ever told them, so there what is missing is missing."""
    refused = {
        "describe_images": refusal("ImageNotFoundException"),
        "describe_pull_through_cache_rules": refusal("AccessDeniedException"),
    }
    own = find(image(), **refused)
    assert own.missing is None
    assert "pull-through cache" in str(own.untold)
    assert find(image(account=OTHER), **refused).missing == "ImageNotFoundException"


def test_an_image_index_names_its_platforms() -> None:
    assert find(image(), **index("linux/amd64", "unknown/unknown", "linux/arm64")).platforms == (
        "linux/amd64",
        "linux/arm64",
    )
    assert find(image()).platforms == ()


@pytest.mark.parametrize(
    "operation", ["describe_images", "describe_repositories", "describe_pull_through_cache_rules"]
)
def test_a_registry_out_of_order_is_no_problem_of_the_image(operation: str) -> None:
    answers: dict[str, Any] = {operation: UnavailableError("no answer")}
    if operation == "describe_pull_through_cache_rules":
        answers["describe_images"] = refusal("ImageNotFoundException")
    assert find(image(), **answers).missing is None


@pytest.mark.parametrize(
    "operation", ["describe_images", "describe_repositories", "describe_pull_through_cache_rules"]
)
def test_a_registry_that_throttles_too_long_is_asked_again(operation: str) -> None:
    answers: dict[str, Any] = {operation: UnfinishedError("throttled")}
    if operation == "describe_pull_through_cache_rules":
        answers["describe_images"] = refusal("ImageNotFoundException")
    with pytest.raises(UnfinishedError):
        find(image(), **answers)
