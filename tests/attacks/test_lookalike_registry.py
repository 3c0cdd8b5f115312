"""An image is made to pass for one of the usual registry: by a host that looks like Amazon ECR's, or by naming none.

Whoever approves has to see where each image comes from, and which of them nobody has looked at.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest
from ecs_release.aws.clients import Target
from ecs_release.aws.registry import Registry, RegistryImage
from ecs_release.aws.service_state import ServiceState
from ecs_release.aws.task_definitions import TaskDefinition
from ecs_release.manifest import Service
from ecs_release.manifest.images import image_warning
from ecs_release.plan.decide import PlannedItem, make_plan
from ecs_release.plan.document import plan_document
from ecs_release.plan.findings import Finding
from ecs_release.plan.live import Live, _with_registry
from ecs_release.plan.page import page
from ecs_release.plan.summary import APPROVAL_CHARACTERS, approval_summary
from ecs_release.plan.text import as_lines, as_markdown
from hypothesis import given, settings
from hypothesis import strategies as st

ACCOUNT, REGION = "111111111111", "eu-west-1"
HOST = f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com"
DIGEST = "sha256:" + "a" * 64

LABEL = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,8}[a-z0-9])?", fullmatch=True)
FOREIGN_DOMAIN = st.lists(LABEL, min_size=1, max_size=3).map(".".join)
SUFFIX = st.sampled_from(["amazonaws.com", "amazonaws.com.cn", "on.aws", "c2s.ic.gov", "amazonaws.eu"])
LOOKALIKE = st.one_of(
    st.builds("{}.{}".format, st.just(HOST), FOREIGN_DOMAIN),
    st.builds(f"{ACCOUNT}.dkr.ecr.{REGION}.{{}}.{{}}".format, SUFFIX, FOREIGN_DOMAIN),
    st.builds(f"{ACCOUNT}.dkr.ecr.{REGION}.{{}}{{}}".format, LABEL, SUFFIX),  # evilamazonaws.com
    st.builds(f"{ACCOUNT}.dkr.ecr.{REGION}.{{}}.{{}}".format, LABEL, SUFFIX),
    st.builds(f"{ACCOUNT}.dkr.ecr.{{}}".format, SUFFIX),
    st.sampled_from(
        [
            f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com:5000",
            f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.co",
            f"{ACCOUNT}.dkr.ecr.{REGION}.on.aws",  # dual stack has dkr-ecr
            f"{ACCOUNT}.dkr-ecr.{REGION}.amazonaws.com",
            f"evil.{HOST}",
            f"0{HOST}",
            f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com.cn.evil.example",
        ]
    ),
)


class NobodyIsAsked:
    """Connections of a test in which no client may be made."""

    def __init__(self) -> None:
        self.targets = {"default": Target("default", ACCOUNT, REGION, "arn:write", "arn:read")}

    def client(self, *_: Any, **given: Any) -> Any:
        raise AssertionError(f"ECR was asked: {given}")


def find(image: str) -> RegistryImage:
    return Registry(NobodyIsAsked(), "default").find(image)  # type: ignore[arg-type]


@given(LOOKALIKE)
@settings(max_examples=300, deadline=None, derandomize=True)
def test_a_host_that_only_looks_like_ecr_gets_no_digest_of_the_real_registry(host: str) -> None:
    found = find(f"{host}/api:1.0")
    assert found == RegistryImage(not_asked=found.not_asked)
    assert found.not_asked


@pytest.mark.parametrize("suffix", [".evil.example", ".cn.evil.example", "-evil.example"])
def test_a_host_that_only_looks_like_ecr_is_said_where_the_manifest_is_read(suffix: str) -> None:
    assert image_warning(f"{HOST}/api:1") is None
    warned = image_warning(f"{HOST}{suffix}/api:1")
    assert warned is not None
    assert warned[0] == "W104"


@pytest.mark.parametrize(
    ("region", "suffix"),
    [
        ("us-evil-1", "amazonaws.com"),  # fits the partition's pattern, and is none of its Regions
        ("cn-north-1", "amazonaws.com"),
        ("eu-west-1", "amazonaws.com.cn"),
        ("us-gov-west-1", "amazonaws.com.cn"),
        ("aws-global", "amazonaws.com"),
        ("evil", "c2s.ic.gov"),
    ],
)
def test_a_region_that_the_partition_does_not_have_is_not_asked_without_words(
    region: str, suffix: str
) -> None:
    found = find(f"{ACCOUNT}.dkr.ecr.{region}.{suffix}/api:1")
    assert found.digest is None
    assert f"is in the Region {region}, which is no known Region of " in str(found.not_asked)


# --- what the approver sees


def planned(name: str, old: str, new: str, *, known: bool = True) -> PlannedItem:
    """The plan of one service, whose new image ECR knows or nobody was asked about."""
    arn = f"arn:aws:ecs:{REGION}:{ACCOUNT}:task-definition/{name}:7"
    definition = TaskDefinition(
        {
            "taskDefinitionArn": arn,
            "family": name,
            "revision": 7,
            "containerDefinitions": [{"name": name, "image": old}],
        }
    )
    state: Any = {
        "status": "ACTIVE",
        "desiredCount": 1,
        "taskDefinition": arn,
        "deploymentConfiguration": {"deploymentCircuitBreaker": {"enable": True, "rollback": True}},
        "deployments": [{"id": "ecs-svc/1", "status": "PRIMARY"}],
    }
    image = RegistryImage(DIGEST) if known else find(new)
    live = Live(ServiceState(state), definition=definition, completed=arn, registry={new: image})
    item = Service(images={name: new}, exact=True, cluster="shop", service=name)
    return make_plan([item], [live])[0]


def document(*more: PlannedItem) -> dict[str, Any]:
    """Thirty services of the usual registry, and between them what a test adds."""
    usual = [planned(f"svc-{n:02}", f"{HOST}/svc-{n:02}:1.0", f"{HOST}/svc-{n:02}:1.1") for n in range(30)]
    return plan_document([*usual[:15], *more, *usual[15:]], "rollback", label="4.0")


def text_of(html: str) -> str:
    return re.sub(r"<[^>]+>", "", html.split("</style>")[1])


def shown(plan: dict[str, Any]) -> dict[str, str]:
    """The plan wherever it is read."""
    return {
        "page": text_of(page(plan)),
        "terminal": "\n".join(as_lines(plan, 120)),
        "comment": as_markdown(plan),
        "summary": approval_summary(plan),
    }


def test_an_image_of_docker_hub_never_reads_as_one_of_the_usual_registry() -> None:
    plan = document(planned("zzz-web", "web:1.0", "web:1.1", known=False))
    for place, text in shown(plan).items():
        assert HOST in text, place
        assert "docker.io/library/web" in text, place
    assert HOST in text_of(page(plan)).split("To update".lower())[0], "the heading names it, not the foot"


@pytest.mark.parametrize(
    ("old", "new", "kind"),
    [
        (f"{HOST}/zzz-api:1.0", "zzz-api:1.1", "registry"),
        (f"{HOST}/zzz-api:1.0", f"{HOST}.evil.example/zzz-api:1.1", "registry"),
        (f"{HOST}/zzz-api:1.0", f"222222222222.dkr.ecr.{REGION}.amazonaws.com/zzz-api:1.1", "registry"),
        (f"{HOST}/zzz-api:1.0", f"{HOST}/zzz-apl:1.1", "repository"),
        ("zzz-api:1.0", "someone/zzz-api:1.1", "repository"),
    ],
)
def test_an_image_from_another_registry_or_repository_is_warned_of_and_listed_first(
    old: str, new: str, kind: str
) -> None:
    plan = document(planned("zzz-api", old, new))
    assert any(f"another {kind}: " in warning for warning in plan["warnings"])
    for place, text in shown(plan).items():
        first = re.search(r"svc-\d\d|zzz-api", text)
        assert first is not None
        assert first[0] == "zzz-api", place
        assert "another registry or repository" in text.lower(), place
    html = page(plan)
    assert html.index("Another registry or repository (1)") < html.index(">Update")


def test_the_same_place_written_in_another_way_is_no_change_of_registry() -> None:
    item = planned("web", "web:1.0", "docker.io/library/web:1.1")
    assert not any(warning.startswith("another ") for warning in item.warnings)


@pytest.mark.parametrize(
    "image", ["web:1.1", "ghcr.io/shop/web:1.1", f"{HOST}.evil.example/web:1.1", f"web@{DIGEST}"]
)
def test_an_image_that_no_registry_was_asked_about_says_so(image: str) -> None:
    plan = document(
        planned("zzz-web", image.replace("1.1", "1.0").replace("a" * 64, "b" * 64), image, known=False)
    )
    (warning,) = (w for w in plan["warnings"] if "no registry was asked" in w)
    assert "zzz-web" in warning
    for place, text in shown(plan).items():
        assert "no registry was asked" in text, place
        assert "digest unknown" in text.lower(), place


def test_long_names_do_not_push_out_of_the_summary_what_matters() -> None:
    """CodePipeline shows a thousand characters; an attacker chooses how long the names are."""
    long = planned("zzz" + "z" * 250, f"{HOST}/a:1", "evil.example/" + "b" * 240 + ":1", known=False)
    kinds = [planned(f"svc-w{n}", f"{HOST}/w:1", f"{HOST}/w:2") for n in range(6)]
    noise = ("W201", "W202", "W225", "W242", "W260", "W261")
    loud = dict.fromkeys(
        ("written", "container", "where", "family", "image", "why", "live", "release", "before"), "x" * 300
    )
    noisy = [replace(one, findings=(Finding(code, loud),)) for one, code in zip(kinds, noise, strict=True)]
    summary = approval_summary(plan_document([*noisy, long], "rollback"), allow_stale=True)
    assert len(summary) <= APPROVAL_CHARACTERS
    for part in ("ATTENTION", "DIGEST UNKNOWN", "ANOTHER REGISTRY OR REPOSITORY", "evil.example", HOST):
        assert part in summary


def test_an_image_that_another_container_runs_already_is_looked_up_as_well() -> None:
    """It is new to the container that it is given to, so its digest is part of what is approved."""
    definition = TaskDefinition(
        {
            "taskDefinitionArn": "arn:x",
            "family": "f",
            "revision": 1,
            "containerDefinitions": [
                {"name": "api", "image": f"{HOST}/api:1"},
                {"name": "side", "image": "side:1"},
            ],
        }
    )
    item = Service(images={"api": "side:1"}, exact=True, cluster="c", service="s")
    nobody: Any = NobodyIsAsked()
    live = _with_registry(item, Live(definition=definition), nobody, Registry(nobody, "default"))
    assert live.registry["side:1"].not_asked == "is not in Amazon ECR"
