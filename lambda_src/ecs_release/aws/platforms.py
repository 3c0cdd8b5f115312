"""Platforms: what an image index was built for, what a task runs on, and whether one runs on the other, as far as both are known.

An index names platforms as Go does (https://github.com/opencontainers/image-spec/blob/main/image-index.md), a task definition as
ECS does (https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_RuntimePlatform.html).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from ecs_release.aws.answers import entries, mapping, text

Fit = Literal["yes", "no", "unknown", "other build"]

# Names that containerd takes for the same (platforms/database.go in containerd/platforms).
_ARCHITECTURES = {"x86_64": "amd64", "x86-64": "amd64", "aarch64": "arm64", "i386": "386"}
_OF_ECS = {"X86_64": "amd64", "ARM64": "arm64"}

# https://learn.microsoft.com/virtualization/windowscontainers/deploy-containers/version-compatibility
_WINDOWS_BUILDS = {
    "2016": ("14393",),
    "2019": ("17763",),
    "2004": ("19041",),
    "20H2": ("19042",),
    "2022": ("20348",),
    "2025": ("26100", "20348"),
}


@dataclass(frozen=True)
class TaskPlatform:
    """What a task runs on; None: nobody knows before it is placed.

    Attributes
    ----------
    os : linux or windows.
    architecture : as in an image index.
    family : operatingSystemFamily of the task definition, "" where it names none.
    """

    os: str | None
    architecture: str | None
    family: str = ""

    @property
    def known(self) -> bool:
        return self.os is not None and self.architecture is not None

    def __str__(self) -> str:
        return f"{self.os or 'unknown'}/{self.architecture or 'unknown'}"

    @property
    def windows_builds(self) -> tuple[str, ...]:
        """Builds of Windows whose containers run there; () where it is no Windows, or one that is new."""
        return next((builds for year, builds in _WINDOWS_BUILDS.items() if f"_{year}_" in self.family), ())


def platform_of(runtime: Mapping[str, Any], *, fargate: bool) -> TaskPlatform:
    """What a task runs on, by its task definition's runtimePlatform and where it is placed.

    On Fargate the defaults are documented (LINUX and X86_64,
    https://docs.aws.amazon.com/AmazonECS/latest/developerguide/fargate-tasks-services.html). Elsewhere a task without it runs on
    whatever the instances are; ARM64 is Linux, and Windows is X86_64, everywhere.
    """
    family, cpu = text(runtime, "operatingSystemFamily"), text(runtime, "cpuArchitecture")
    if family:
        os = "windows" if family.startswith("WINDOWS") else "linux" if family == "LINUX" else None
    else:
        os = "linux" if fargate or cpu == "ARM64" else None
    default = "amd64" if os == "windows" or (fargate and os == "linux") else None
    return TaskPlatform(os, _OF_ECS.get(cpu) if cpu else default, family)


def on_fargate(strategy: Iterable[Mapping[str, Any]], launch_type: str, provider: str) -> bool:
    """Whether a task is placed on Fargate and nowhere else.

    Parameters
    ----------
    strategy : capacity provider strategy.
    provider : the member of its entries that names the provider.
    """
    providers = [text(entry, provider) for entry in strategy]
    if providers:
        return all(name in ("FARGATE", "FARGATE_SPOT") for name in providers)
    return launch_type == "FARGATE"


def platforms_of(index: Mapping[str, Any]) -> tuple[str, ...]:
    """``os/architecture`` of each image of an index, with variant and Windows version where it has one.

    () where one of them does not say: it may be for any platform. Attestations, and what is no image, stand in an index as
    unknown/unknown or with a type of their own.
    """
    found: dict[str, None] = {}
    for entry in entries(index, "manifests"):
        if entry.get("artifactType") or "vnd.docker.reference.type" in mapping(entry, "annotations"):
            continue
        platform = mapping(entry, "platform")
        os, architecture = text(platform, "os").lower(), text(platform, "architecture").lower()
        if os == "unknown":
            continue
        if not os or not architecture:
            return ()
        architecture = _ARCHITECTURES.get(architecture, architecture)
        variant = text(platform, "variant")
        if variant and (architecture, variant) != ("arm64", "v8"):
            architecture = f"{architecture}/{variant}"
        found[f"{os}/{architecture} {text(platform, 'os.version')}".rstrip()] = None
    return tuple(found)


def fit(platforms: Sequence[str], wanted: TaskPlatform) -> Fit:
    """Whether an image for these platforms runs on the one of a task; "no" where both are really known.

    An image that does not say what it was built for is "yes": most images are for one platform and do not say.
    """
    if not platforms:
        return "yes"
    names = {platform.partition(" ")[0] for platform in platforms}
    if not wanted.known:
        return "yes" if {"linux/amd64", "linux/arm64"} <= names else "unknown"
    if wanted.os == "windows":
        return _fit_windows(platforms, wanted)
    runs = {f"linux/{wanted.architecture}"}
    if wanted.architecture == "amd64":
        runs |= {"linux/386", *(name for name in names if name.startswith("linux/amd64/"))}
    if runs & names:
        return "yes"
    # Some processors of 64 bits run programs of 32, and some don't.
    maybe = wanted.architecture == "arm64" and any(name.startswith("linux/arm") for name in names)
    return "unknown" if maybe else "no"


def _fit_windows(platforms: Sequence[str], wanted: TaskPlatform) -> Fit:
    versions = [
        version
        for name, _, version in (platform.partition(" ") for platform in platforms)
        if name == f"windows/{wanted.architecture}"
    ]
    if not versions:
        return "no"
    builds = [version.split(".")[2] if version.count(".") >= 2 else "" for version in versions]
    known = wanted.windows_builds
    return "yes" if not known or "" in builds or set(builds) & set(known) else "other build"
