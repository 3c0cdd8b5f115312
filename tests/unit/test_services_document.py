"""docs/services.md knows every member of a service that the AWS SDK knows."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import botocore.session
import pytest
from ecs_release.plan.codes import CODES

DOCUMENT = (Path(__file__).parents[2] / "docs" / "services.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("shape", "table"), [("Service", 0), ("DeploymentConfiguration", 1), ("Deployment", 2)]
)
def test_each_member_is_decided_about(shape: str, table: int) -> None:
    model: Any = botocore.session.get_session().get_service_model("ecs")
    rows = re.findall(
        r"^\| `(\w+)` \| .+ \|$", re.split(r"^Of ", DOCUMENT, flags=re.MULTILINE)[table], re.MULTILINE
    )
    assert sorted(rows) == sorted(model.shape_for(shape).members)


def test_the_codes_are_those_of_the_plan() -> None:
    assert set(re.findall(r"\b[EW]2\d\d\b", DOCUMENT)) <= set(CODES)
