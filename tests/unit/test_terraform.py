"""What ``scripts.terraform`` makes of what Terraform prints."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from scripts.terraform import Terraform, TerraformError


def that_prints(folder: Path, status: int, *messages: Mapping[str, object]) -> Terraform:
    """A Terraform that prints these messages and a line of its own, and ends with a status."""
    program = folder / "terraform"
    lines = "\n".join(
        ["not JSON", *(json.dumps({"@level": "info", **m}, separators=(",", ":")) for m in messages)]
    )
    program.write_text(f"#!/bin/sh\ncat <<'END'\n{lines}\nEND\nexit {status}\n")
    program.chmod(0o755)
    return Terraform(folder, {"PATH": f"{folder}{os.pathsep}{os.environ['PATH']}"})


def test_a_plan_is_what_would_change(tmp_path: Path) -> None:
    actions = {"a": "noop", "b": "read", "c": "create", "d": "update", "e": "replace", "f": "delete"}
    planned = [
        {"type": "planned_change", "change": {"resource": {"addr": address}, "action": action}}
        for address, action in actions.items()
    ]
    drift = {"type": "resource_drift", "change": {"resource": {"addr": "g"}, "action": "update"}}
    found = that_prints(tmp_path, 0, {"type": "version"}, drift, *planned).plan()
    assert found == {"c": "create", "d": "update", "e": "replace", "f": "delete"}


def test_a_plan_that_fails_says_why(tmp_path: Path) -> None:
    warning = {"@level": "warn", "type": "diagnostic", "diagnostic": {"summary": "old", "detail": ""}}
    wrong = {
        "@level": "error",
        "type": "diagnostic",
        "diagnostic": {"summary": "No credentials", "detail": "Set AWS_PROFILE."},
    }
    with pytest.raises(TerraformError) as error:
        that_prints(tmp_path, 1, warning, wrong).plan()
    assert str(error.value) == "terraform plan failed:\nError: No credentials\nSet AWS_PROFILE."
