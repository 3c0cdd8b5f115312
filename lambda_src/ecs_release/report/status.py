"""What ``ecs-release status`` and ``history`` say of a release: the machine-readable form and the table a person reads."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from ecs_release.manifest.images import split_image
from ecs_release.manifest.item import full_name
from ecs_release.record.models import ItemRecord, ReleaseRecord, UnusedRevision
from ecs_release.record.statuses import BAD, ReleaseStatus, Status
from ecs_release.rollout.unused import CleanUp

_ORDER = (
    Status.UNVERIFIED,
    Status.ROLLBACK_FAILED,
    Status.FAILED,
    Status.TIMED_OUT,
    Status.ROLLED_BACK_BY_ECS,
    Status.SUPERSEDED,
)


def as_document(
    record: ReleaseRecord, items: Sequence[ItemRecord], unused: Sequence[UnusedRevision] = ()
) -> dict[str, Any]:
    """The ``status --json`` form (``schemas/status.schema.json``). Unverified items first, then what went wrong."""
    clean_up = CleanUp.after(record, unused)
    return {
        "release": record.release,
        "label": record.label,
        "status": record.status,
        "started": record.started,
        "ended": record.ended,
        "commit": record.source.get("commit"),
        "counts": record.counts or dict(Counter(str(item.status) for item in items)),
        "problems": record.problems,
        "cleanUp": asdict(clean_up) if clean_up else None,
        "items": [
            {
                "kind": item.kind,
                "name": item.name,
                "id": full_name(item.state_key),
                "target": item.target,
                "wave": item.wave,
                "verdict": item.verdict,
                "status": item.status,
                "reason": item.reason,
                "images": {name: {"from": c["from"], "to": c["to"]} for name, c in item.images.items()},
                "before": item.before,
                "after": item.after,
                "deploymentId": item.deployment_id,
            }
            for item in in_reading_order(items)
        ],
    }


def in_reading_order(items: Iterable[ItemRecord]) -> list[ItemRecord]:
    """What can't be proven first, then what went wrong, then the rest as released."""

    def place(item: ItemRecord) -> tuple[int, int, int]:
        worst = min(
            (_ORDER.index(s) for s in (item.status, item.verdict) if s in _ORDER), default=len(_ORDER)
        )
        return (worst, item.batch, item.number)

    return sorted(items, key=place)


def summary_line(record: ReleaseRecord, items: Sequence[ItemRecord]) -> str:
    """``RUNNING  12 of 15 settled, 1 failed`` while it runs, the counts when it has ended."""
    if record.status != ReleaseStatus.RUNNING:
        return ", ".join(f"{count} {status}" for status, count in sorted(record.counts.items())) or "no items"
    settled = sum(item.verdict not in (Status.PENDING, Status.PREPARED, Status.UPDATED) for item in items)
    failed = sum(item.verdict in BAD for item in items)
    return f"{settled} of {len(items)} settled" + (f", {failed} failed" if failed else "")


def image_change(images: Mapping[str, Mapping[str, str]]) -> str:
    """``api 1.1 -> 1.2``: container and what differs of its image; the registry is the same nearly always."""
    parts = []
    for container, change in images.items():
        (old_repository, old), (repository, new) = split_image(change["from"]), split_image(change["to"])
        if change["from"] == change["to"]:
            parts.append(f"{container} {new}")
        elif old_repository == repository:
            parts.append(f"{container} {old} -> {new}")
        else:
            parts.append(f"{container} {change['from']} -> {change['to']}")
    return ", ".join(parts)
