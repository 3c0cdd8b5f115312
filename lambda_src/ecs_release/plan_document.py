"""The plan as it is shown, approved and compared: its machine-readable form, its digest, and what changed since."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from ecs_release.plan import NO_WAY_BACK, PlannedItem

# An answer holds 6 MB (https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html), and a character beyond
# ASCII takes up to six of them, as it does here.
_ANSWER_BYTES = 5_000_000


def plan_document(
    plan: Sequence[PlannedItem],
    on_failure: str,
    *,
    label: str | None = None,
    estimate_seconds: int | None = None,
) -> dict[str, Any]:
    """The ``plan --json`` form (``schemas/plan.schema.json``)."""
    counts = Counter(planned.action for planned in plan)
    items = [_item(planned) for planned in plan]
    return {
        "digest": digest(items, on_failure),
        "release": label,
        "onFailure": on_failure,
        "counts": {action: counts.get(action, 0) for action in ("update", "unchanged", "blocked")},
        "estimateSeconds": estimate_seconds,
        "wayBack": not any(NO_WAY_BACK in planned.warnings for planned in plan if planned.action == "update"),
        "warnings": [f"{item['name']}: {warning}" for item in items for warning in item["warnings"]],
        "items": items,
    }


def packed(document: dict[str, Any]) -> dict[str, Any]:
    """The document itself, or where it is too large for a function's answer ``{"gzip": <base64>}`` of its JSON."""
    text = json.dumps(document).encode()
    if len(text) <= _ANSWER_BYTES:
        return document
    return {"gzip": base64.b64encode(gzip.compress(text, mtime=0)).decode()}


def _item(planned: PlannedItem) -> dict[str, Any]:
    return {
        "kind": planned.item.kind,
        "name": planned.item.name,
        "target": planned.item.target,
        "wave": planned.item.wave,
        "action": planned.action,
        "images": {name: dict(change) for name, change in planned.images.items()},
        "live": planned.live,
        "before": planned.before,
        "targetId": planned.item.target_id,
        "targets": hashlib.sha256(planned.before_raw.encode()).hexdigest() if planned.before_raw else None,
        "warnings": list(planned.warnings),
        "problems": list(planned.problems),
    }


_DECISIVE = ("kind", "name", "target", "targetId", "wave", "action", "live", "targets")
"""What two plans must agree in to be the same plan. Warnings, estimates and the way back may differ: a rollout that
completes between plan and deploy changes them, and nothing of what was approved."""


def digest(items: Sequence[Mapping[str, Any]], on_failure: str) -> str:
    """SHA-256 (hex) of what a plan would do, and of the live state it would do it to."""
    rows = [[item[key] for key in _DECISIVE] + [_image_rows(item)] for item in items]
    text = json.dumps([on_failure, sorted(rows, key=json.dumps)], separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _image_rows(item: Mapping[str, Any]) -> list[list[str | None]]:
    return sorted([name, c["from"], c["to"], c.get("digest")] for name, c in item["images"].items())


def differences(approved: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What makes a plan stale, one line each."""
    if approved.get("digest") == now.get("digest"):
        return []
    old, new = _by_key(approved), _by_key(now)
    lines = []
    for key in [*old, *(key for key in new if key not in old)]:
        name = key[2]
        if key not in new:
            lines.append(f"{name}: was in the plan and is not any more")
        elif key not in old:
            lines.append(f"{name}: was not in the plan")
        else:
            lines += [f"{name}: {line}" for line in _item_differences(old[key], new[key])]
    if approved.get("onFailure") != now.get("onFailure"):
        lines.append(f"onFailure: was {approved.get('onFailure')}, is {now.get('onFailure')}")
    return lines or ["the plan differs"]


def _by_key(document: Mapping[str, Any]) -> dict[tuple[Any, ...], Mapping[str, Any]]:
    return {(i["target"], i["kind"], i["name"], i.get("targetId")): i for i in document.get("items", ())}


def _item_differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    lines = []
    if old["live"] != new["live"] and new["live"]:  # of what is blocked, its problems say what is the matter
        lines.append(f"{old['live']} was live, now {new['live']} is")
    for name in sorted({*old["images"], *new["images"]}):
        was, now = old["images"].get(name, {}), new["images"].get(name, {})
        if was.get("to") == now.get("to") and was.get("digest") != now.get("digest"):
            if new["action"] != "blocked":
                lines.append(_moved(str(was["to"]), was.get("digest"), now.get("digest")))
        elif (was.get("from"), was.get("to")) != (now.get("from"), now.get("to")):
            lines.append(
                f"{name} was {was.get('from')} -> {was.get('to')}, is {now.get('from')} -> {now.get('to')}"
            )
    if old["action"] != new["action"]:
        reasons = f" ({'; '.join(new['problems'])})" if new["problems"] else ""
        lines.append(f"was {old['action']}, is {new['action']}{reasons}")
    if old["targets"] != new["targets"] and old["live"] == new["live"]:
        lines.append("its targets or its schedule were changed")
    if old["wave"] != new["wave"]:
        lines.append(f"was in wave {old['wave']}, is in wave {new['wave']}")
    return lines


def _moved(image: str, old: str | None, new: str | None) -> str:
    if new is None:
        return f"ECR can't tell any more what the tag of {image} means"
    if old is None:
        return f"the tag of {image} means {new[:19]} now; the plan could not tell"
    return f"the tag of {image} moved from {old} to {new}"
