"""What an image reference may look like, and what to write instead when it does not.

The grammar is the one container registries share (github.com/distribution/reference), with two rules of our
own: an image names a tag other than ``latest`` or a digest, because a release that cannot tell two images
apart cannot prove anything.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from ecs_release.manifest.problem import shown

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_PATH_PART = re.compile(r"[a-z0-9]+(?:(?:\.|_{1,2}|-+)[a-z0-9]+)*")
_HOST_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_HOST = re.compile(rf"{_HOST_LABEL}(?:\.{_HOST_LABEL})*(?::[0-9]{{1,5}})?")
_ECR_HOST = re.compile(r"(?P<account>[^.]+)\.dkr[.-]ecr(?:-fips)?\.(?P<region>[^.]+)\.(?P<suffix>.+)")
# What Amazon ECR's hosts end in, with the partitions that have them. A host is ECR's as a whole or not at all: with
# anything behind the suffix it is somebody else's.
# https://docs.aws.amazon.com/general/latest/gr/ecr.html (dkr.ecr, dkr.ecr-fips; dual stack: dkr-ecr, dkr-ecr-fips)
# The other partitions: dnsSuffix in botocore's partitions.json, and what AWS's own credential helper knows,
# https://github.com/awslabs/amazon-ecr-credential-helper/blob/main/ecr-login/api/client.go
_ECR_SUFFIXES = {
    "amazonaws.com": ("aws", "aws-us-gov"),
    "amazonaws.com.cn": ("aws-cn",),
    "amazonaws.eu": ("aws-eusc",),
    "c2s.ic.gov": ("aws-iso",),
    "sc2s.sgov.gov": ("aws-iso-b",),
    "cloud.adc-e.uk": ("aws-iso-e",),
    "csp.hci.ic.gov": ("aws-iso-f",),
}
_ECR_DUAL_STACK_SUFFIXES = {
    "on.aws": ("aws", "aws-us-gov"),
    "on.amazonwebservices.com.cn": ("aws-cn",),
}
# How the Regions of the partitions begin; all others are in "aws". regionRegex in
# https://github.com/boto/botocore/blob/develop/botocore/data/partitions.json
_REGIONS_OF = {
    "cn-": "aws-cn",
    "eusc-": "aws-eusc",
    "us-gov-": "aws-us-gov",
    "us-iso-": "aws-iso",
    "us-isob-": "aws-iso-b",
    "eu-isoe-": "aws-iso-e",
    "us-isof-": "aws-iso-f",
    "eu-isof-": "aws-iso-f",
}
_ECR_OWN_HOST = re.compile(
    r"(?P<account>[0-9]{12})\.dkr(?P<kind>[.-])ecr(?:-fips)?\.(?P<region>[a-z0-9-]+)\.(?P<suffix>[a-z0-9.-]+)"
)
_ECR_LIKE = re.compile(r"\bdkr[.-]?ecr|amazonaws|\becr\.", re.IGNORECASE)
_ECR_PUBLIC_HOSTS = frozenset({"public.ecr.aws", "ecr-public.aws.com"})
"""https://docs.aws.amazon.com/AmazonECR/latest/public/public-ecr-requests.html"""
# What shells and template languages fill in, and what people write for it: __VERSION__, _REGION_, @TAG@, IMAGE_TAG, CHANGEME.
_PLACEHOLDER = re.compile(
    r"\$\([^)]*\)?|\$\{[^}]*\}?|#?\{+[^}]*\}*#?|\[\[[^\]]*\]*|\$[A-Za-z_]\w*|<[^<>]*>|%[A-Za-z_]+%|@[A-Z_]+@"
    r"|(?<![A-Za-z0-9])(?:__[A-Za-z0-9]\w*?__|_[A-Z][A-Z0-9_]*_)(?![A-Za-z0-9])"
    # A whole tag, so that honest ones (TODO-123, 1.0-TAG, VERSION_1) stay: the name of what belongs there, or the order to put it.
    r"|(?<=:)(?:(?:[A-Z]+[_-])*(?:IMAGE)?(?:TAG|VERSION|SHA|DIGEST|PLACEHOLDER|TODO|TBD|XXX+|BUILD[_-](?:ID|NUMBER))(?:[_-]HERE)?"
    r"|(?i:(?:change|edit|fix|fill|insert|replace|set|update)[_-]?(?:me|this)"
    r"|your[_-](?:[a-z]+[_-])?(?:tag|version)(?:[_-]here)?"
    r"|(?:tag[_-])?to[_-](?:be[_-])?(?:changed|filled|replaced?|set)))(?![A-Za-z0-9._-])"
    r"|(?:^|(?<=/))(?i:(?:change|replace)[_-]?me)(?=[/:@])"
)
# https://docs.aws.amazon.com/general/latest/gr/rande.html: us-west-2, us-gov-east-1, us-isob-east-1, eusc-de-east-1.
_REGION = re.compile(r"[a-z]{2,4}(?:-[a-z]+)+-[0-9]{1,2}")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_SPACE = re.compile(r"\s")

# For the schema: the same grammar in one expression, without the rules that need words.
PATTERN = (
    rf"^(?:{_HOST.pattern}/)?{_PATH_PART.pattern}(?:/{_PATH_PART.pattern})*"
    rf"(?::(?!latest$){_TAG.pattern}|(?::{_TAG.pattern})?@{_DIGEST.pattern})$"
)
LONGEST_NAME = 255
DOCKER_HUB = "docker.io"
"""Where an image comes from that names no registry (github.com/distribution/reference, ``defaultDomain``)."""


@dataclass(frozen=True)
class EcrImage:
    """An image in a private registry of Amazon ECR.

    Attributes
    ----------
    partitions : those whose hosts end as this one does.
    """

    account: str
    region: str
    partitions: tuple[str, ...]
    repository: str
    tag: str | None
    digest: str | None


def ecr_image(image: str) -> EcrImage | None:
    """Where in Amazon ECR an image is; None for every other registry, whatever its host looks like."""
    name, _, digest = image.partition("@")
    host, repository, tag = _parts(name)
    own = _ECR_OWN_HOST.fullmatch((host or "").lower())
    if own is None or not repository or not (tag or digest) or (digest and not _DIGEST.fullmatch(digest)):
        return None
    suffixes = _ECR_DUAL_STACK_SUFFIXES if own["kind"] == "-" else _ECR_SUFFIXES
    partitions = suffixes.get(own["suffix"])
    if partitions is None:
        return None
    return EcrImage(own["account"], own["region"], partitions, repository, tag, digest or None)


def looks_like_ecr(image: str) -> bool:
    """Whether somebody who reads the host may take it for Amazon ECR's, and it is not."""
    host = _parts(image.partition("@")[0])[0] or ""
    return _is_like_ecr(host) and ecr_image(image) is None


def _is_like_ecr(host: str) -> bool:
    return _ECR_LIKE.search(host) is not None and host.lower() not in _ECR_PUBLIC_HOSTS


def registry_and_repository(image: str) -> tuple[str, str]:
    """``docker.io`` and ``library/nginx`` of ``nginx:1.27``: what is meant where it is not written, too."""
    host, path, _ = _parts(image.partition("@")[0])
    registry = (host or DOCKER_HUB).lower()
    if registry in (DOCKER_HUB, "index.docker.io"):
        return DOCKER_HUB, path if "/" in path else f"library/{path}"
    return registry, path


def origin_change(old: str, new: str) -> tuple[str, str, str] | None:
    """``"registry"`` or ``"repository"`` where ``new`` comes from another one than ``old``, and both; None of others."""
    before, after = registry_and_repository(old), registry_and_repository(new)
    if before == after or not old:
        return None
    kind = "repository" if before[0] == after[0] else "registry"
    return kind, "/".join(before), "/".join(after)


def image_problem(image: str) -> tuple[str, str] | None:
    """Return the code and the message of the first rule that ``image`` breaks, or None."""
    if len(image) > LONGEST_NAME + 300:
        return (
            "E010",
            f"{shown(image)} has {len(image):,} characters; write an image reference, for example api:1.2.3",
        )
    if placeholder := _PLACEHOLDER.search(image):
        found = shown(placeholder.group())
        return "E016", (
            f"{shown(image)} contains the placeholder {found}, and nothing fills it in; "
            "write the finished reference, for example api:1.2.3"
        )
    if _SPACE.search(image):
        return _space(image)
    if _SCHEME.match(image):
        rest = _SCHEME.sub("", image, count=1)
        return "E011", f"{shown(image)} is a web address; write the image without it: {_plain(rest)}"
    name, at, digest = image.partition("@")
    if at and not _DIGEST.fullmatch(digest):
        return "E014", _digest(image, digest)
    host, path, tag = _parts(name)
    if host is not None and not _HOST.fullmatch(host):
        return "E017", (
            f"the registry host {shown(host)} of {shown(image)} is malformed; write it like "
            "123456789012.dkr.ecr.eu-central-1.amazonaws.com"
        )
    if ecr_problem := _ecr_host(host or ""):
        return "E017", ecr_problem
    if region_problem := _region(host or ""):
        return "E017", region_problem
    if registry := _registry_alone(host, path):
        return "E010", (
            f"{shown(image)} names a registry and no repository in it; "
            f"write {_plain(registry)}/REPOSITORY{at or ':'}{digest or _tag_like(tag)}"
        )
    if wrong := _path(image, path):
        return wrong
    if len(name.removesuffix(tag or "").removesuffix(":")) > LONGEST_NAME:
        return "E010", (
            f"{shown(image)} is too long; host and repository may have {LONGEST_NAME} characters together"
        )
    if tag is not None and not _TAG.fullmatch(tag):
        return "E018", (
            f"{shown(tag)} is no tag; write 1 to 128 letters, digits, _, . and -, "
            "starting with a letter, a digit or _"
        )
    if at and name.endswith(":"):
        return "E018", f"{shown(image)} has an empty tag; write {_plain(name[:-1])}@{digest}"
    if at:
        return None
    without_tag = name.removesuffix(tag or "").removesuffix(":")
    if tag is None:
        plain = _plain(without_tag)
        return "E012", f"{shown(image)} has no tag; write {plain}:1.2.3 or {plain}@sha256:..."
    if tag == "latest":
        return "E013", (
            f'{shown(image)} has the tag "latest", which names another image tomorrow; '
            f"write {_plain(without_tag)}:1.2.3 or {_plain(without_tag)}@sha256:..."
        )
    return None


def image_warning(image: str) -> tuple[str, str] | None:
    """Return the code and the message of what is doubtful about a valid ``image``, or None."""
    host = _parts(image.partition("@")[0])[0]
    ecr = _ECR_HOST.fullmatch(host or "")
    known = {**_ECR_SUFFIXES, **_ECR_DUAL_STACK_SUFFIXES}
    if ecr and ecr["suffix"].lower() in known and len(ecr["account"]) != 12:
        return "W101", (
            f"the registry account {shown(ecr['account'])} has {len(ecr['account'])} digits, "
            "and AWS accounts have 12; check the image"
        )
    if looks_like_ecr(image):
        return "W104", (
            f"the registry host {shown(host or '')} only looks like Amazon ECR's; write it like "
            "123456789012.dkr.ecr.eu-central-1.amazonaws.com, or make sure that this registry is meant"
        )
    return None


def _parts(name: str) -> tuple[str | None, str, str | None]:
    """Split ``host:port/path:tag`` the way Docker does: the first part is a host if it has a dot or colon."""
    host: str | None = None
    first, slash, rest = name.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost"):
        host, name = first, rest
    path, colon, tag = name.partition(":")
    return host, path, tag if colon and tag else None


def _ecr_host(host: str) -> str | None:
    """Amazon ECR's own hosts begin with the account, which is made of digits."""
    ecr = _ECR_HOST.fullmatch(host)
    if ecr and not re.fullmatch(r"[0-9]+", ecr["account"]):
        account = shown(ecr["account"])
        return f"the registry host {shown(host)} begins with {account}; write the account's 12 digits"
    return None


def _region(host: str) -> str | None:
    """Seen without asking the network, which would take its time to find no such host."""
    ecr = _ECR_HOST.fullmatch(host)
    if ecr is None:
        return None
    if _REGION.fullmatch(ecr["region"]):
        return _other_partition(host, ecr["region"], ecr["suffix"])
    if not ecr["suffix"].startswith(("amazonaws.", "on.")):
        return None
    meant = re.sub(r"([a-z])-?([0-9]+)$", r"\1-\2", ecr["region"].lower().replace("_", "-"))
    advice = f"did you mean {meant}?" if _REGION.fullmatch(meant) else "write it like eu-central-1"
    return f"{shown(ecr['region'])} in the registry host {shown(host)} is no Region; {advice}"


def _other_partition(host: str, region: str, suffix: str) -> str | None:
    """A Region is in one partition, and hosts end as that partition's do: no other host exists."""
    suffixes = _ECR_DUAL_STACK_SUFFIXES if suffix.startswith("on.") else _ECR_SUFFIXES
    if suffix not in suffixes:
        return None  # no partition's at all, which `looks_like_ecr` says
    partition = next((name for start, name in _REGIONS_OF.items() if region.startswith(start)), "aws")
    if partition in suffixes[suffix]:
        return None
    right = next((own for own, partitions in suffixes.items() if partition in partitions), "")
    advice = f"hosts there end in {right}" if right else "check the Region"
    return f"the Region {shown(region)} in the registry host {shown(host)} has no hosts that end in {suffix}; {advice}"


def _registry_alone(host: str | None, path: str) -> str | None:
    """Return the registry when an image is nothing else; without a slash, only Amazon ECR's hosts are known for one."""
    return path if host is None and _ECR_HOST.fullmatch(path) else host if not path else None


def _tag_like(tag: str | None) -> str:
    return tag if tag and tag != "latest" and _TAG.fullmatch(tag) else "1.2.3"


def _path(image: str, path: str) -> tuple[str, str] | None:
    if path != path.lower() and all(_PATH_PART.fullmatch(part.lower()) for part in path.split("/")):
        return "E015", f"the repository {shown(path)} has upper-case letters; write {path.lower()}"
    for part in path.split("/"):
        if not _PATH_PART.fullmatch(part):
            found = f"the part {shown(part)}" if part else "an empty part"
            return "E010", (
                f"{shown(image)} is no image reference: its repository has {found}; write lower-case letters "
                "and digits, with ., _ or - between them, for example team/api:1.2.3"
            )
    return None


def _space(image: str) -> tuple[str, str]:
    kind = "a line break" if "\n" in image or "\r" in image else "a space"
    joined = _SPACE.sub("", image)
    return "E019", f"{shown(image)} contains {kind}; write it in one piece: {_plain(joined)}"


def _digest(image: str, digest: str) -> str:
    algorithm, colon, value = digest.partition(":")
    if not colon or algorithm != "sha256":
        found = f"the digest {shown(digest)} does not begin with sha256:"
    elif len(value) != 64:
        found = f"the digest has {len(value)} characters after sha256:, not 64"
    else:
        found = "the digest has characters other than 0-9 and a-f"
    return f"{shown(image)} has a malformed digest: {found}; write @sha256: and 64 digits 0-9 and a-f"


def _plain(text: str) -> str:
    return shown(text, longest=120)[1:-1]


def placeholder_in(text: str) -> str | None:
    """Return what a template or shell would fill in, in an image or any other text."""
    found = _PLACEHOLDER.search(text)
    return found[0] if found else None


def with_digest(image: str, digest: str) -> str:
    """The image by a digest in place of its tag: ECS documents ``repo:tag`` and ``repo@digest``, not both at once.

    https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_ContainerDefinition.html

    >>> with_digest("r.example:5000/api:1", "sha256:...")
    'r.example:5000/api@sha256:...'
    """
    return f"{split_image(image.partition('@')[0])[0]}@{digest}"


def split_image(image: str) -> tuple[str, str]:
    """Repository, and tag or shortened digest; a port is no tag."""
    name, _, digest = image.partition("@")
    head, colon, tag = name.rpartition(":")
    repository = head if colon and "/" not in tag else name
    return repository, digest[:19] or (tag if repository == head else "")
