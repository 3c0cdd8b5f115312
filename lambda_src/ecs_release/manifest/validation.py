"""The manifest, ``deployment.yaml``: which images a release puts where.

`load` reads the YAML that people write, `from_document` the JSON that the build compiled from it (or that
somebody typed as the input of an execution); both keep the same rules and report every problem at once, in
file order. `to_document` is the way back.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ecs_release.manifest import document as json_document
from ecs_release.manifest import rules
from ecs_release.manifest.item import Item, Rule, Schedule, Service
from ecs_release.manifest.nodes import Source
from ecs_release.manifest.problem import Problem


@dataclass(frozen=True)
class Manifest:
    """A valid manifest: scheduled tasks first, then services, each in file order."""

    release: str | None
    on_failure: str
    items: tuple[Item, ...]


@dataclass(frozen=True)
class Validation:
    """The answer of `load` and `from_document`; ``manifest`` is None when there is an error."""

    manifest: Manifest | None
    errors: tuple[Problem, ...]
    warnings: tuple[Problem, ...]


def load(data: bytes, file_name: str = "deployment.yaml") -> Validation:  # noqa: ARG001
    """Read and check a manifest as people write it.

    Parameters
    ----------
    data
        The bytes of the file.
    file_name
        Its name. Messages do without it: `problem.one_line` puts it in front of them.
    """
    from ecs_release.manifest import source  # noqa: PLC0415 - the steps read JSON, and start without PyYAML

    return _validation(source.read(data))


def from_document(document: object) -> Validation:
    """Check a manifest that is JSON already: compiled by the build, or typed as an execution's input.

    Lines and columns of the problems are 0.
    """
    return _validation(json_document.nodes_of(document))


def _validation(source: Source) -> Validation:
    checked = rules.check(source)
    errors = tuple(problem for problem in checked.problems if problem.code.startswith("E"))
    warnings = tuple(problem for problem in checked.problems if problem.code.startswith("W"))
    if errors:
        return Validation(None, errors, warnings)
    return Validation(Manifest(checked.release, checked.on_failure, checked.items), (), warnings)


def to_document(manifest: Manifest) -> dict[str, Any]:
    """Return the JSON form of ``manifest``, which `from_document` reads back to an equal one."""
    document: dict[str, Any] = {}
    if manifest.release is not None:
        document["release"] = manifest.release
    if manifest.on_failure != "rollback":
        document["onFailure"] = manifest.on_failure
    document["tasks"] = [entry for item in manifest.items if item.kind == "task" for entry in _entries(item)]
    document["services"] = [
        entry for item in manifest.items if item.kind == "service" for entry in _entries(item)
    ]
    return document


def _entries(item: Item) -> list[dict[str, Any]]:
    """One entry with ``images``, or one with ``service`` and ``image`` for each container."""
    common: dict[str, Any] = {}
    match item:
        case Service():
            common |= {"clusterName": item.cluster, "serviceName": item.service}
        case Schedule():
            common |= {"scheduleName": item.schedule, "scheduleGroup": item.group}
        case Rule():
            common |= {"cwRuleName": item.rule, "eventBusName": item.event_bus}
            if item.target_id is not None:
                common["targetId"] = item.target_id
    common |= {"target": item.target, "wave": item.wave, "timeoutMinutes": item.timeout_minutes}
    if item.ignore:
        common["ignore"] = list(item.ignore)
    if item.base is not None:
        common["base"] = item.base
    if item.exact:
        return [{"images": dict(item.images), **common}]
    return [{"service": container, "image": image, **common} for container, image in item.images.items()]
