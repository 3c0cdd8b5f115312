"""What Amazon ECR says of an image, and what is made of its silence."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError
from ecs_release.aws.clients import Target
from ecs_release.aws.registry import Registry, RegistryImage
from ecs_release.errors import UnavailableError, UnfinishedError
from hypothesis import given
from hypothesis import strategies as st

OWN, OTHER = "111111111111", "222222222222"
DIGEST = "sha256:" + "a" * 64
INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
Answer = Callable[[Mapping[str, Any]], dict[str, Any]]


def image(tag: str = ":1.0", account: str = OWN, region: str = "eu-west-1", name: str = "shop/api") -> str:
    return f"{account}.dkr.ecr.{region}.amazonaws.com/{name}{tag}"


def refusal(code: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": "so it is"}}, "Operation")


def manifest_of(platforms: Sequence[str], media_type: str) -> str:
    """An image's manifest, or an index of one for each platform."""
    if not media_type.endswith(("index.v1+json", "manifest.list.v2+json")):
        return json.dumps({"mediaType": media_type, "config": {}, "layers": []})
    entries = [
        {
            "digest": f"sha256:{number:064x}",
            "platform": dict(zip(("os", "architecture"), platform.split("/"), strict=True)),
        }
        for number, platform in enumerate(platforms)
    ]
    return json.dumps({"mediaType": media_type, "manifests": entries})


def has(manifest: str = manifest_of((), MANIFEST), digest: str = DIGEST) -> Answer:
    """Answer BatchGetImage of an image that is there."""

    def answer(asked: Mapping[str, Any]) -> dict[str, Any]:
        (which,) = asked["imageIds"]
        return {
            "images": [{"imageId": {"imageDigest": digest, **which}, "imageManifest": manifest}],
            "failures": [],
        }

    return answer


def lacks(code: str = "ImageNotFound") -> Answer:
    """Answer BatchGetImage of an image that can't be had."""
    return lambda asked: {
        "images": [],
        "failures": [
            {"imageId": which, "failureCode": code, "failureReason": "so it is"}
            for which in asked["imageIds"]
        ],
    }


class Ecr:
    """One Region's ECR: answers, or errors in their place. What has no answer is refused, as by a policy that only lets pull."""

    def __init__(self, **answers: Any) -> None:
        self.answers: dict[str, Any] = {
            "batch_get_image": has(),
            "describe_repositories": {"repositories": [{"imageTagMutability": "IMMUTABLE"}]},
            "describe_pull_through_cache_rules": {"pullThroughCacheRules": []},
            **answers,
        }
        self.asked: dict[str, Mapping[str, Any]] = {}
        self.calls: Counter[str] = Counter()

    def __getattr__(self, operation: str) -> Any:
        def call(**arguments: Any) -> Any:
            self.asked[operation] = arguments
            self.calls[operation] += 1
            answer = self.answers.get(operation, refusal("AccessDeniedException"))
            if isinstance(answer, Exception):
                raise answer
            return answer(arguments) if callable(answer) else answer

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


def index(*platforms: str) -> Answer:
    return has(manifest_of(platforms, INDEX))


def test_an_image_that_is_there_has_a_digest_and_nothing_to_say() -> None:
    assert find(image()) == RegistryImage(DIGEST)


def test_it_is_asked_in_the_registry_s_own_region_and_account() -> None:
    connections = Connections(Ecr())
    Registry(connections, "default").find(image(account=OTHER, region="ap-southeast-2"))  # type: ignore[arg-type]
    assert set(connections.regions) == {"ap-southeast-2"}
    asked = connections.ecr.asked["batch_get_image"]
    assert {**asked, "acceptedMediaTypes": None} == {
        "registryId": OTHER,
        "repositoryName": "shop/api",
        "imageIds": [{"imageTag": "1.0"}],
        "acceptedMediaTypes": None,
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
    found = find(name, batch_get_image=AssertionError("asked"))
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
    assert find(image(), batch_get_image=lacks()) == RegistryImage(missing="ImageNotFound")


def test_a_missing_repository_is_a_problem_in_the_own_account_only() -> None:
    """Another account answers so, too, where its policy does not let us look."""
    missing = refusal("RepositoryNotFoundException")
    assert find(image(), batch_get_image=missing).missing
    other = find(image(account=OTHER), batch_get_image=missing)
    assert other.missing is None
    assert other.untold is not None


@pytest.mark.parametrize(
    ("prefix", "comes"), [("shop", True), ("ROOT", True), ("sho", False), ("other", False)]
)
def test_an_image_that_the_first_pull_brings_is_not_missing(prefix: str, comes: bool) -> None:
    found = find(
        image(),
        batch_get_image=lacks(),
        describe_pull_through_cache_rules={"pullThroughCacheRules": [{"ecrRepositoryPrefix": prefix}]},
    )
    assert (found.missing is None) is comes


@pytest.mark.parametrize(
    "error", [refusal("AccessDeniedException"), EndpointConnectionError(endpoint_url="https://ecr")]
)
def test_a_registry_that_can_not_be_asked_is_a_warning(error: Exception) -> None:
    found = find(image(), batch_get_image=error)
    assert found == RegistryImage(untold=found.untold)
    assert found.untold


def test_what_is_known_stays_known_where_the_rest_is_refused() -> None:
    found = find(
        image(),
        batch_get_image=index("linux/amd64"),
        describe_repositories=refusal("AccessDeniedException"),
    )
    untold = "not whether its tag can be moved: AccessDeniedException: so it is"
    assert found == RegistryImage(DIGEST, ("linux/amd64",), untold=untold)


def test_an_image_is_not_called_missing_where_the_pull_through_rules_are_refused() -> None:
    """Of another account's registry nobody is ever told them, so there what is missing is missing."""
    refused = {
        "batch_get_image": lacks(),
        "describe_pull_through_cache_rules": refusal("AccessDeniedException"),
    }
    own = find(image(), **refused)
    assert own.missing is None
    assert "pull-through cache" in str(own.untold)
    assert find(image(account=OTHER), **refused).missing == "ImageNotFound"


def test_an_image_index_names_its_platforms() -> None:
    platforms = ("linux/amd64", "unknown/unknown", "linux/arm64")
    assert find(image(), batch_get_image=index(*platforms)).platforms == ("linux/amd64", "linux/arm64")
    assert find(image()).platforms == ()


@pytest.mark.parametrize(
    "operation", ["batch_get_image", "describe_repositories", "describe_pull_through_cache_rules"]
)
def test_a_registry_out_of_order_is_no_problem_of_the_image(operation: str) -> None:
    answers: dict[str, Any] = {operation: UnavailableError("no answer")}
    if operation == "describe_pull_through_cache_rules":
        answers["batch_get_image"] = lacks()
    assert find(image(), **answers).missing is None


@pytest.mark.parametrize(
    "operation", ["batch_get_image", "describe_repositories", "describe_pull_through_cache_rules"]
)
def test_a_registry_that_throttles_too_long_is_asked_again(operation: str) -> None:
    answers: dict[str, Any] = {operation: UnfinishedError("throttled")}
    if operation == "describe_pull_through_cache_rules":
        answers["batch_get_image"] = lacks()
    with pytest.raises(UnfinishedError):
        find(image(), **answers)


# --- a repository whose policy only lets tasks pull

MEDIA_TYPES = (
    MANIFEST,
    INDEX,
    "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
)
FAILURE_CODES = (  # https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_ImageFailure.html
    "InvalidImageTag",
    "ImageTagDoesNotMatchDigest",
    "ImageNotFound",
    "KmsError",
    "UpstreamAccessDenied",
    "UpstreamTooManyRequests",
    "UpstreamUnavailable",
    "ImageInaccessible",
)
DIGESTS = st.integers(0, 16**64 - 1).map("sha256:{:064x}".format)
PLATFORMS = st.lists(st.sampled_from(["linux/amd64", "linux/arm64"]), min_size=1, max_size=2, unique=True)


@given(
    account=st.sampled_from([OWN, OTHER]),
    digest=DIGESTS,
    by_digest=st.booleans(),
    media_type=st.sampled_from(MEDIA_TYPES),
    platforms=PLATFORMS,
)
def test_what_a_pull_may_read_is_enough_for_digest_and_platforms(
    account: str, digest: str, by_digest: bool, media_type: str, platforms: list[str]
) -> None:
    """As CDK's grantPull and AWS's examples allow it to another account: BatchGetImage, nothing that describes."""
    ecr = Ecr(
        batch_get_image=has(manifest_of(platforms, media_type), digest),
        describe_repositories=refusal("AccessDeniedException"),
    )
    name = image(f"@{digest}" if by_digest else ":1.0", account=account)
    found = Registry(Connections(ecr), "default").find(name)  # type: ignore[arg-type]
    is_index = "manifests" in json.loads(manifest_of(platforms, media_type))
    assert (found.digest, found.platforms) == (digest, tuple(platforms) if is_index else ())
    assert (found.untold is None) is by_digest, "what stays unknown is whether the tag can be moved"
    assert ecr.calls == {"batch_get_image": 1} | ({} if by_digest else {"describe_repositories": 1})
    assert media_type in ecr.asked["batch_get_image"]["acceptedMediaTypes"], "it would be converted"


@given(account=st.sampled_from([OWN, OTHER]), digest=DIGESTS, by_digest=st.booleans())
def test_what_a_pull_may_read_is_enough_to_find_an_image_missing(
    account: str, digest: str, by_digest: bool
) -> None:
    name = image(f"@{digest}" if by_digest else ":1.0", account=account)
    rules: Any = {"pullThroughCacheRules": []} if account == OWN else refusal("AccessDeniedException")
    found = find(name, batch_get_image=lacks(), describe_pull_through_cache_rules=rules)
    assert found == RegistryImage(missing="ImageNotFound")


@pytest.mark.parametrize("account", [OWN, OTHER])
@pytest.mark.parametrize("code", sorted({*FAILURE_CODES} - {"ImageNotFound"}))
def test_any_other_failure_is_said_and_proves_nothing(code: str, account: str) -> None:
    found = find(image(account=account), batch_get_image=lacks(code))
    assert found == RegistryImage(untold=f"it can't be looked up: {code}: so it is")


@pytest.mark.parametrize("account", [OWN, OTHER])
def test_where_a_pull_is_refused_too_that_is_said_and_nothing_more_is_asked(account: str) -> None:
    ecr = Ecr(batch_get_image=refusal("AccessDeniedException"))
    found = Registry(Connections(ecr), "default").find(image(account=account))  # type: ignore[arg-type]
    assert found == RegistryImage(untold="it can't be looked up: AccessDeniedException: so it is")
    assert ecr.calls == {"batch_get_image": 1}


@pytest.mark.parametrize(
    ("operation", "answer"),
    [
        ("batch_get_image", has("no manifest")),
        ("batch_get_image", has('{"manifests": [7]}')),
        ("batch_get_image", has("")),
        ("describe_repositories", {}),
    ],
)
def test_a_digest_stays_known_where_the_rest_is_odd(operation: str, answer: Any) -> None:
    found = find(image(), **{operation: answer})
    assert found.digest == DIGEST
    assert "has an unexpected form" in str(found.untold) or "manifests has" in str(found.untold)


def test_odd_pull_through_rules_leave_a_missing_image_unknown() -> None:
    found = find(
        image(), batch_get_image=lacks(), describe_pull_through_cache_rules={"pullThroughCacheRules": [{}]}
    )
    assert found.missing is None
    assert "it has no ecrRepositoryPrefix" in str(found.untold)
