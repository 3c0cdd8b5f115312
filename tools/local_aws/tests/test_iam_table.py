"""What calls are authorised as, against AWS's Service Authorization Reference as policy_sentry brings it.

A row that differs says why under ``otherwise``.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from local_aws.kernel.calls import model
from local_aws.services.iam import things
from policy_sentry.querying.actions import get_action_data

DOCUMENT = json.loads((Path(things.__file__).with_name("calls.json")).read_text())
CALLS: dict[str, list[dict[str, Any]]] = DOCUMENT["calls"]
ROWS = [(call, row) for call, rows in CALLS.items() for row in rows]
# Their reasons are about what the reference's lines do not tell: what is asked for besides, and which of two ARNs is named.
BESIDE_IT = ("ecs:ListTagsForResource", "logs:CreateLogStream")
MEMBERS = {"action", "on", "keys", "with", "when", "unless", "source", "otherwise"}


def reference(action: str) -> list[dict[str, Any]]:
    """The reference's lines for an action: one for each resource type, and one without."""
    service, _, name = action.partition(":")
    found = get_action_data(service, name)
    assert found, f"{action} is no action of the Service Authorization Reference"
    lines: list[dict[str, Any]] = next(iter(found.values()))
    return lines


def ids(rows: list[tuple[str, dict[str, Any]]]) -> list[str]:
    return [f"{call} as {row['action']}" for call, row in rows]


@pytest.mark.parametrize("call", CALLS)
def test_each_call_is_one_that_aws_has(call: str) -> None:
    service, _, operation = call.partition(":")

    assert operation in model(service).operation_names


@pytest.mark.parametrize(("call", "row"), ROWS, ids=ids(ROWS))
def test_each_row_is_whole(call: str, row: dict[str, Any]) -> None:
    assert set(row) <= MEMBERS
    assert row["source"].startswith(("https://", "sar:")), "where does it stand?"
    assert row["on"] in things.FINDERS
    assert set(row.get("keys") or ()) <= set(things.VALUES)


@pytest.mark.parametrize(("call", "row"), ROWS, ids=ids(ROWS))
def test_a_row_says_what_the_reference_says(call: str, row: dict[str, Any]) -> None:
    lines = reference(row["action"])
    keys = {key for line in lines for key in line["condition_keys"]}
    takes_none = {line["resource_arn_format"] for line in lines} == {"*"}
    differs = []
    if (row["on"] == "*") is not takes_none:
        differs.append(f"its resource is {row['on']}")
    differs += [
        f"no key {key}" for key in [*(row.get("keys") or ()), *(row.get("with") or ())] if key not in keys
    ]
    main = CALLS[call][0]["action"]
    further = {action for line in reference(main) for action in line["dependent_actions"]}
    if row["action"] == main:
        asked = {other["action"] for other in CALLS[call]}
        differs += [f"not asked for: {action}" for action in sorted(further - asked)]
    elif _is_listed_with_what_uses_it(row["action"], main):
        differs += [f"not listed: {row['action']}"] if row["action"] not in further else []

    if "otherwise" not in row:
        assert differs == []
    elif row["action"] not in BESIDE_IT:
        assert differs, "it does not differ any more: take the reason out"


def _is_listed_with_what_uses_it(action: str, main: str) -> bool:
    """The reference lists neither a key's actions nor other actions of the same service beside those that ask for them."""
    service = action.partition(":")[0]
    return service not in ("kms", main.partition(":")[0])


def test_no_row_is_taken_from_the_product() -> None:
    sources = "".join(path.read_text() for path in Path(things.__file__).parent.glob("*.py"))

    assert "ecs_release" not in sources
    assert "ecs_release" not in json.dumps(DOCUMENT)
