"""Every bad manifest that is drawn gets the codes, lines and columns that bad_manifests.json records."""

from __future__ import annotations

import json

import pytest
from bad_manifests import RECORD, manifests, places
from ecs_release.manifest import load

RECORDED = json.loads(RECORD.read_text(encoding="utf-8"))
MANIFESTS = manifests()


def test_at_least_220_different_bad_manifests_are_recorded() -> None:
    """When this fails: PYTHONPATH=lambda_src:. .venv/bin/python -m tests.unit.bad_manifests"""
    bad = {data for data in MANIFESTS.values() if load(data).manifest is None}

    assert set(RECORDED) == set(MANIFESTS)
    assert len(bad) >= 220


@pytest.mark.parametrize("name", MANIFESTS)
def test_a_bad_manifest_gets_the_codes_lines_and_columns_that_are_recorded(name: str) -> None:
    assert places(MANIFESTS[name]) == RECORDED[name]
