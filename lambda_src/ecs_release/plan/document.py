"""The plan as it is shown, approved and compared: its machine-readable form, its digest, and what changed since."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ecs_release.manifest.item import Rule, full_name
from ecs_release.plan.decide import PlannedItem
from ecs_release.plan.service import NO_WAY_BACK
from ecs_release.plan.way_back import NOT_KNOWN as WAY_NOT_KNOWN
from ecs_release.plan.way_back import UNREACHABLE

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
    ways = Counter(item["wayBack"] for item in items)
    return {
        "digest": digest(items, on_failure),
        "release": label,
        "onFailure": on_failure,
        "counts": {action: counts.get(action, 0) for action in ("update", "unchanged", "blocked")},
        "estimateSeconds": estimate_seconds,
        "wayBack": not ways[NO_WAY],
        "waysBack": {"sure": ways[SURE], "notKnown": ways[NOT_KNOWN], "none": ways[NO_WAY]},
        "warnings": [f"{item['name']}: {warning}" for item in items for warning in item["warnings"]],
        "items": items,
    }


SURE, NOT_KNOWN, NO_WAY = "sure", "not known", "none"
NO_WAY_CODES = frozenset({NO_WAY_BACK, *UNREACHABLE})


def way_back(planned: PlannedItem) -> str:
    """Whether an item that changes can be put back: "sure", "not known" or "none". From its findings alone."""
    codes = {finding.code for finding in planned.findings}
    if codes & NO_WAY_CODES:
        return NO_WAY
    return NOT_KNOWN if WAY_NOT_KNOWN in codes else SURE


def packed(document: dict[str, Any]) -> dict[str, Any]:
    """The document itself, or where it is too large for a function's answer ``{"gzip": <base64>}`` of its JSON."""
    text = json.dumps(document).encode()
    if len(text) <= _ANSWER_BYTES:
        return document
    return {"gzip": base64.b64encode(gzip.compress(text, mtime=0)).decode()}


def unpacked(answer: Mapping[str, Any]) -> Mapping[str, Any]:
    """The document that :func:`packed` was given."""
    if "gzip" not in answer:
        return answer
    document: dict[str, Any] = json.loads(gzip.decompress(base64.b64decode(answer["gzip"])))
    return document


def _item(planned: PlannedItem) -> dict[str, Any]:
    return {
        "kind": planned.item.kind,
        "name": planned.item.name,
        "id": full_name(planned.item.key),
        "target": planned.item.target,
        "wave": planned.item.wave,
        "action": planned.action,
        "images": {name: dict(change) for name, change in planned.images.items()},
        "live": planned.live,
        "base": planned.base,
        "before": planned.before,
        "wayBack": way_back(planned) if planned.action == "update" else None,
        "targetId": planned.item.target_id if isinstance(planned.item, Rule) else None,
        "targets": hashlib.sha256(planned.before_raw.encode()).hexdigest() if planned.before_raw else None,
        "warnings": list(planned.warnings),
        "problems": list(planned.problems),
        "findings": [finding.document() for finding in planned.findings],
        "ignore": list(planned.item.ignore),
    }


_DECISIVE = ("kind", "name", "target", "targetId", "wave", "action", "live", "targets")
"""What two plans must agree in to be the same plan. Warnings, estimates and the way back may differ: a rollout that
completes between plan and deploy changes them, and nothing of what was approved."""


def digest(items: Sequence[Mapping[str, Any]], on_failure: str) -> str:
    """SHA-256 (hex) of what a plan would do, and of the live state it would do it to."""
    rows = [
        [item[key] for key in _DECISIVE] + [_image_rows(item), *_ignored(item), *_other_base(item)]
        for item in items
    ]
    text = json.dumps([on_failure, sorted(rows, key=json.dumps)], separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _ignored(item: Mapping[str, Any]) -> list[list[str]]:
    """What may be ignored here, and what would have blocked; [] where nothing is, so that such plans keep their digest."""
    if not item.get("ignore"):
        return []
    blocking = {f["code"] for f in item["findings"] if f["level"] == "ignored" and f["code"].startswith("E")}
    return [sorted(item["ignore"]), sorted(blocking)]


def _other_base(item: Mapping[str, Any]) -> list[str]:
    """What is copied, where that is not what is live."""
    base = item.get("base")
    return [base] if base and base != item["live"] else []


def _image_rows(item: Mapping[str, Any]) -> list[list[str | None]]:
    return sorted([name, c["from"], c["to"], c.get("digest")] for name, c in item["images"].items())


@dataclass(frozen=True)
class Difference:
    """What differs between the plan that was approved and the one that would be carried out.

    Attributes
    ----------
    drift : it lies in what is live alone. What would be deployed, where and in which order, is as it was approved.
    """

    text: str
    drift: bool = False


def differences(approved: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What makes a plan stale, one line each."""
    return [difference.text for difference in compare(approved, now)]


def compare(approved: Mapping[str, Any], now: Mapping[str, Any]) -> list[Difference]:
    """What makes a plan stale."""
    if approved.get("digest") == now.get("digest"):
        return []
    known = all("id" in item for item in approved["items"])
    old, new = _by_key(approved, known=known), _by_key(now, known=known)
    found = []
    items = {**old, **new}
    called = Counter((key[0], item["name"]) for key, item in items.items())
    for key, item in items.items():
        name = item["name"] if called[key[0], item["name"]] == 1 else key[2]
        if key not in new:
            found.append(Difference(f"{name}: was in the plan and is not any more"))
        elif key not in old:
            found.append(Difference(f"{name}: was not in the plan"))
        else:
            found += [replace(d, text=f"{name}: {d.text}") for d in _item_differences(old[key], new[key])]
    if approved.get("onFailure") != now.get("onFailure"):
        found.append(Difference(f"onFailure: was {approved.get('onFailure')}, is {now.get('onFailure')}"))
    return found or [Difference("the plan differs")]


def _by_key(document: Mapping[str, Any], *, known: bool) -> dict[tuple[Any, ...], Mapping[str, Any]]:
    """The items by what tells them apart; ``known`` is False where a plan of an earlier version is compared, which had no ids."""
    names = ("target", "kind", "id") if known else ("target", "kind", "name", "targetId")
    return {tuple(item.get(name) for name in names): item for item in document.get("items", ())}


def _item_differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[Difference]:
    if old["live"] != new["live"] and new["live"]:  # of what is blocked, its problems say what is the matter
        yield Difference(f"{old['live']} was live, now {new['live']} is", drift=True)
    if new["live"] and _other_base(old) != _other_base(new):
        # What a revision holds beside the images was shown to the approver; of another one nobody has seen it.
        yield Difference(f"{_copied(old)} was to be copied, now {_copied(new)} is")
    for name in sorted({*old["images"], *new["images"]}):
        was, now = old["images"].get(name, {}), new["images"].get(name, {})
        if was.get("to") != now.get("to") or was.get("from") != now.get("from"):
            yield Difference(
                f"{name} was {was.get('from')} -> {was.get('to')}, is {now.get('from')} -> {now.get('to')}",
                drift=was.get("to") == now.get("to"),
            )
        if was.get("to") == now.get("to") and new["action"] != "blocked":
            image, before, after = str(was["to"]), _known_digest(was), _known_digest(now)
            if before != after:
                yield Difference(_moved(image, before, after, seen=old["action"] != "unchanged"))
    if old["action"] != new["action"]:
        reasons = f" ({'; '.join(new['problems'])})" if new["problems"] else ""
        yield Difference(f"was {old['action']}, is {new['action']}{reasons}", drift=True)
    if old["targets"] != new["targets"] and old["live"] == new["live"]:
        yield Difference("its targets or its schedule were changed", drift=True)
    if _ignored(old) != _ignored(new):
        yield Difference("ignores other findings than were approved")
    if old["wave"] != new["wave"]:
        yield Difference(f"was in wave {old['wave']}, is in wave {new['wave']}")


def _copied(item: Mapping[str, Any]) -> str:
    return str(item.get("base") or item["live"])


def _known_digest(change: Mapping[str, str]) -> str | None:
    """What the registry said, or what the image itself names."""
    return change.get("digest") or change["to"].partition("@")[2] or None


def _moved(image: str, old: str | None, new: str | None, *, seen: bool) -> str:
    if new is None:
        return f"ECR can't tell any more what the tag of {image} means"
    if old is None and seen:
        return f"the tag of {image} means {new[:19]} now; the plan could not tell"
    if old is None:
        return f"the tag of {image} means {new[:19]} now; nothing was to be changed here, so nobody approved that"
    return f"the tag of {image} moved from {old} to {new}"
