"""Whether an image runs where a task runs: compared where both are really known, for every launch type and operating system."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ecs_release.aws.platforms import fit, on_fargate, platform_of, platforms_of
from ecs_release.aws.registry import RegistryImage
from ecs_release.aws.task_definitions import TaskDefinition
from ecs_release.manifest import Rule, Schedule
from ecs_release.plan.choose import Selection
from ecs_release.plan.decide import make_plan
from ecs_release.plan.live import Live
from test_plan_warnings import codes, decide

LINUX = ("linux/amd64",)
BOTH = ("linux/amd64", "linux/arm64")
IIS = ("windows/amd64 10.0.17763.2366",)


def runtime(family: str = "", cpu: str = "") -> dict[str, str]:
    return {
        **({"operatingSystemFamily": family} if family else {}),
        **({"cpuArchitecture": cpu} if cpu else {}),
    }


@pytest.mark.parametrize(
    ("platforms", "family", "cpu", "fargate", "found"),
    [
        # Fargate without a runtime platform is LINUX and X86_64
        (LINUX, "", "", True, "yes"),
        (("linux/arm64",), "", "", True, "no"),
        (IIS, "", "", True, "no"),
        # elsewhere it is whatever the instances are
        (LINUX, "", "", False, "unknown"),
        (("linux/arm64",), "", "", False, "unknown"),
        (IIS, "", "", False, "unknown"),
        (BOTH, "", "", False, "yes"),
        ((), "", "", False, "yes"),
        # named, it holds everywhere
        (LINUX, "LINUX", "X86_64", False, "yes"),
        (LINUX, "LINUX", "ARM64", False, "no"),
        (BOTH, "LINUX", "ARM64", False, "yes"),
        (("linux/386",), "LINUX", "X86_64", False, "yes"),
        (("linux/amd64/v3",), "LINUX", "X86_64", True, "yes"),
        (("linux/arm/v7",), "LINUX", "ARM64", True, "unknown"),
        (("linux/s390x",), "LINUX", "ARM64", True, "no"),
        # half of it
        (LINUX, "", "ARM64", False, "no"),
        (LINUX, "LINUX", "", False, "unknown"),
        (LINUX, "LINUX", "", True, "yes"),
        (LINUX, "", "X86_64", False, "unknown"),
        # Windows
        (IIS, "WINDOWS_SERVER_2019_CORE", "X86_64", False, "yes"),
        (IIS, "WINDOWS_SERVER_2019_FULL", "", True, "yes"),
        (IIS, "WINDOWS_SERVER_2022_CORE", "X86_64", True, "other build"),
        (("windows/amd64 10.0.20348.1",), "WINDOWS_SERVER_2025_CORE", "", True, "yes"),
        (IIS, "WINDOWS_SERVER_2031_CORE", "", True, "yes"),
        (("windows/amd64",), "WINDOWS_SERVER_2022_CORE", "", True, "yes"),
        (LINUX, "WINDOWS_SERVER_2022_CORE", "", True, "no"),
        # what nobody knows yet
        (LINUX, "SOLARIS", "X86_64", True, "unknown"),
        (LINUX, "LINUX", "RISCV", True, "unknown"),
    ],
)
def test_what_is_not_known_is_never_a_no(
    platforms: tuple[str, ...], family: str, cpu: str, fargate: bool, found: str
) -> None:
    assert fit(platforms, platform_of(runtime(family, cpu), fargate=fargate)) == found


@pytest.mark.parametrize(
    ("entries", "platforms"),
    [
        ([{"platform": {"os": "linux", "architecture": "amd64"}}], ("linux/amd64",)),
        ([{"platform": {"os": "Linux", "architecture": "x86_64"}}], ("linux/amd64",)),
        ([{"platform": {"os": "linux", "architecture": "arm64", "variant": "v8"}}], ("linux/arm64",)),
        ([{"platform": {"os": "linux", "architecture": "arm", "variant": "v7"}}], ("linux/arm/v7",)),
        ([{"platform": {"os": "unknown", "architecture": "unknown"}}], ()),
        # one that does not say may be for any platform
        ([{"platform": {"os": "linux", "architecture": "amd64"}}, {"digest": "d"}], ()),
        ([{"platform": {"os": "linux", "architecture": "amd64"}}, {"platform": None}], ()),
        # and what is no image says nothing
        (
            [{"platform": {"os": "linux", "architecture": "amd64"}}, {"artifactType": "application/soci"}],
            ("linux/amd64",),
        ),
        (
            [
                {"platform": {"os": "linux", "architecture": "amd64"}},
                {"annotations": {"vnd.docker.reference.type": "attestation-manifest"}},
            ],
            ("linux/amd64",),
        ),
    ],
)
def test_what_an_index_says(entries: list[dict[str, Any]], platforms: tuple[str, ...]) -> None:
    assert platforms_of({"manifests": entries}) == platforms


@pytest.mark.parametrize(
    ("providers", "launch_type", "found"),
    [
        ([], "FARGATE", True),
        ([], "EC2", False),
        ([], "", False),
        (["FARGATE", "FARGATE_SPOT"], "", True),
        (["FARGATE", "my-instances"], "", False),
        (["my-instances"], "FARGATE", False),
    ],
)
def test_where_a_task_is_placed(providers: list[str], launch_type: str, *, found: bool) -> None:
    strategy = [{"capacityProvider": provider} for provider in providers]
    assert on_fargate(strategy, launch_type, "capacityProvider") is found


def test_the_windows_index_that_was_met_is_no_false_block() -> None:
    case = json.loads((Path(__file__).parent / "cases" / "t04-windows-index.json").read_text())
    image = RegistryImage("sha256:1", platforms=platforms_of(case))
    assert image.platforms == IIS
    platform = case["taskDefinition"]["runtimePlatform"]
    assert codes(decide(registry=image, body={"runtimePlatform": platform})) == []
    newer = {**platform, "operatingSystemFamily": "WINDOWS_SERVER_2022_CORE"}
    assert codes(decide(registry=image, body={"runtimePlatform": newer})) == ["W251"]
    assert codes(decide(registry=image, service={"launchType": "EC2"})) == ["W250"]
    assert codes(decide(registry=image, service={"launchType": "FARGATE"})) == ["E242"]


@pytest.mark.parametrize(
    ("parameters", "code"),
    [
        ({"LaunchType": "FARGATE"}, "E242"),
        ({"CapacityProviderStrategy": [{"capacityProvider": "FARGATE_SPOT"}]}, "E242"),
        ({"LaunchType": "EC2"}, "W250"),
        ({}, "W250"),
    ],
)
@pytest.mark.parametrize("scheduled", [False, True])
def test_a_scheduled_task_is_compared_by_where_it_starts(
    parameters: dict[str, Any], code: str, *, scheduled: bool
) -> None:
    arn = "arn:aws:ecs:eu-west-1:111111111111:task-definition/job:1"
    target = {"EcsParameters": {"TaskDefinitionArn": arn, **parameters}}
    found = TaskDefinition(
        {
            "taskDefinitionArn": arn,
            "family": "job",
            "revision": 1,
            "containerDefinitions": [{"name": "job", "image": "job:1"}],
        }
    )
    raw = {"Target": target} if scheduled else {"Id": "t", **target}
    item = (
        Schedule(images={"job": "job:2"}, schedule="s")
        if scheduled
        else Rule(images={"job": "job:2"}, rule="r")
    )
    live = Live(
        selection=Selection((raw,), found, images={"job": "job:2"}),
        definition=found,
        registry={"job:2": RegistryImage("sha256:1", platforms=("linux/arm64",))},
    )
    (planned,) = make_plan([item], [live])
    assert codes(planned) == [code]
