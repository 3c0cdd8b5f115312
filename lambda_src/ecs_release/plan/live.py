"""What is live: the services, rules and schedules a manifest names, read and nothing else."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import TypeVar

from botocore.exceptions import BotoCoreError, ClientError

from ecs_release.aws.answers import understanding
from ecs_release.aws.clients import Connections
from ecs_release.aws.patience import side_by_side
from ecs_release.aws.registry import Registry, RegistryImage
from ecs_release.aws.scheduled_tasks import Rules, read_targets
from ecs_release.aws.service_state import ServiceState
from ecs_release.aws.services import Services, in_tens
from ecs_release.aws.task_definitions import TaskDefinition
from ecs_release.aws.trouble import error_code, explain
from ecs_release.errors import ItemBusyError, ItemError, OddAnswerError, TargetUnreachableError
from ecs_release.manifest.item import Item, Rule, ScheduledTask, Service
from ecs_release.plan.choose import Selection, choose_containers, select
from ecs_release.plan.definitions import LOOK_AGAIN_SECONDS, Definitions, Newer
from ecs_release.plan.findings import Finding
from ecs_release.plan.starter import Starter

# ECS lets an account read 20 times a second (bucket of 50 to 100): more readers would only be throttled.
READERS = 8

_T = TypeVar("_T")
_R = TypeVar("_R")
# What the plan finds where the item itself, or what it runs, is not there.
_GONE = frozenset({"E204", "E205", "E206", "E208"})


@dataclass(frozen=True)
class Live:
    """What was found for one item.

    Attributes
    ----------
    service : a service's state; None for tasks and for what is missing.
    selection : a rule's or schedule's targets; None for services and for what is missing.
    definition : what is live.
    completed : ARN that the last completed deployment of a service runs; None when ECS does not remember one.
    completed_digests : of its images, by container, where ECS's history was asked for it; else the running service
        revisions tell.
    registry : image -> what ECR says of it, for images that would change.
    newer : what somebody else registered after ``definition``, or why that is not known; None where there is none.
    base : which of the two is copied where the manifest does not say.
    soak_seconds : how long a release watches a service after its rollout is complete.
    starter : what IAM says of the role that starts a scheduled task; None: it was not asked.
    passable : patterns of the roles that may be passed on; None: not known.
    findings : why the item can't be released.
    """

    service: ServiceState | None = None
    selection: Selection | None = None
    definition: TaskDefinition | None = None
    completed: str | None = None
    completed_digests: Mapping[str, str] = field(default_factory=dict)
    registry: Mapping[str, RegistryImage] = field(default_factory=dict)
    newer: Newer | Finding | None = None
    base: str = "live"
    soak_seconds: int = 0
    starter: Starter | None = None
    passable: tuple[str, ...] | None = None
    findings: tuple[Finding, ...] = ()

    def is_new(self, container: str, image: str) -> bool:
        """Whether an image is new to what runs as a container, so that its registry is asked.

        Container by container: an image that another container of the task runs already is new to this one. Where nothing runs,
        because a scheduled task names a revision that was deregistered, all of them are, whichever revision is copied.
        """
        if self.definition is None or (self.selection is not None and not self.definition.startable):
            return True
        return self.definition.images.get(container) != image


def read_live(
    items: Sequence[Item],
    connections: Connections,
    definitions: Definitions | None = None,
    ours: Mapping[tuple[str, str, str], Collection[str]] | None = None,
    *,
    newer: bool = True,
) -> list[Live]:
    """Read what is live for every item, in the order given. Never raises for one item's sake.

    Parameters
    ----------
    ours : ARNs that earlier releases set or found, and content digests that they registered, by (target, kind, name).
    newer : whether to look for what somebody else registered after what is live.

    Raises
    ------
    PassingError
        when AWS does not let all of it be read now; that says nothing about an item.
    """
    definitions = definitions or Definitions(connections)
    blocked = _unreachable(items, connections)
    with ThreadPoolExecutor(READERS) as pool:
        services = _read_services(
            [i for i in items if isinstance(i, Service) and i.target not in blocked], connections, pool
        )

        registries = {target: Registry(connections, target) for target in connections.targets}

        def one(item: Item) -> Live:
            if item.target in blocked:
                return Live(findings=(blocked[item.target],))
            try:
                with understanding("what AWS says of it"):
                    if isinstance(item, Service):
                        found = services[item.target, item.cluster]
                        live = _service(item, found, connections, definitions)
                    else:
                        known = (ours or {}).get(item.key, ())
                        live = _task(item, connections, definitions, known)
                    if newer:
                        live = _with_newer(item, live, connections, definitions)
                    return _with_registry(item, live, connections, registries[item.target])
            except OddAnswerError as error:
                return Live(findings=(odd(error),))
            except ItemError as error:
                return Live(findings=(Finding("E208", {"why": str(error).rstrip(".")}),))
            except (ClientError, BotoCoreError) as error:
                return Live(findings=(_unreadable(error),))

        return list(side_by_side(pool, one, items))


def is_gone(live: Live) -> bool:
    """Whether AWS says that the item itself, or what it runs, is not there."""
    return any(finding.code in _GONE for finding in live.findings)


def read_digests(
    images: Iterable[tuple[str, str]], connections: Connections
) -> dict[tuple[str, str], str | None]:
    """What the tags of images mean now, by target and image; None where no registry tells."""
    wanted = list(images)
    registries = {target: Registry(connections, target) for target, _ in wanted}
    with ThreadPoolExecutor(READERS) as pool:
        found = side_by_side(pool, lambda one: registries[one[0]].find(one[1]).digest, wanted)
        return dict(zip(wanted, found, strict=True))


def _unreachable(items: Sequence[Item], connections: Connections) -> dict[str, Finding]:
    problems: dict[str, Finding] = {}
    for name in dict.fromkeys(item.target for item in items):
        if name not in connections.targets:
            known = ", ".join(f'"{target}"' for target in connections.targets)
            problems[name] = Finding("E201", {"target": name, "known": known})
            continue
        try:
            connections.client(name, "ecs")
        except TargetUnreachableError as error:
            problems[name] = Finding("E202", {"why": str(error)})
    return problems


_Found = Mapping[str, ServiceState | OddAnswerError] | Finding


def _read_services(
    items: Sequence[Service], connections: Connections, pool: ThreadPoolExecutor
) -> dict[tuple[str, str], _Found]:
    """Services of each (target, cluster) by name, or what is wrong with the cluster."""
    wanted: dict[tuple[str, str], list[str]] = {}
    for item in items:
        wanted.setdefault((item.target, item.cluster), []).append(item.service)
    calls = [(key, chunk) for key, names in wanted.items() for chunk in in_tens(names)]

    def describe(call: tuple[tuple[str, str], Sequence[str]]) -> _Found:
        (target, cluster), names = call
        try:
            return Services(connections, target).describe(cluster, names)
        except ClientError as error:
            if error_code(error) == "ClusterNotFoundException":
                return Finding("E204", {"cluster": cluster})
            return _unreadable(error)
        except BotoCoreError as error:
            return _unreadable(error)
        except OddAnswerError as error:
            return odd(error)

    answers = list(side_by_side(pool, describe, calls))
    again = [place for place, found in enumerate(answers) if _lacks(found, calls[place][1])]
    if again:  # one answer that something is not there proves nothing
        time.sleep(LOOK_AGAIN_SECONDS)
        for place, found in zip(again, side_by_side(pool, describe, [calls[p] for p in again]), strict=True):
            answers[place] = found
    result: dict[tuple[str, str], _Found] = {}
    for (key, _), found in zip(calls, answers, strict=True):
        before = result.get(key, {})
        result[key] = (
            found if isinstance(found, Finding) or isinstance(before, Finding) else {**before, **found}
        )
    return result


def _lacks(found: _Found, names: Sequence[str]) -> bool:
    """Whether the cluster is missing or one of the services."""
    if isinstance(found, Finding):
        return found.code == "E204"
    states = [found.get(name) for name in names]
    return any(
        not isinstance(state, OddAnswerError) and (state is None or state.status != "ACTIVE")
        for state in states
    )


def _unreadable(error: Exception) -> Finding:
    return Finding("E203", {"why": explain(error).rstrip(".")})


def odd(error: OddAnswerError) -> Finding:
    """What the plan says of an item about which AWS answers something unexpected."""
    return Finding("E248", {"why": str(error).rstrip(".")})


def _service(item: Service, found: _Found, connections: Connections, definitions: Definitions) -> Live:
    if isinstance(found, Finding):
        return Live(findings=(found,))
    state = found.get(item.service)
    if isinstance(state, OddAnswerError):
        return Live(findings=(odd(state),))
    if state is None or state.status == "INACTIVE":
        missing = {"service": item.service, "cluster": item.cluster}
        return Live(findings=(Finding("E205", missing),))
    if state.status != "ACTIVE":
        return Live(service=state, findings=(Finding("E206", {"status": state.status}),))
    if state.controller != "ECS":
        return Live(service=state, findings=(Finding("E207", {"controller": state.controller}),))
    definition = definitions.describe_live(item.target, state.task_definition)
    completed, digests = last_completed(state, Services(connections, item.target), item)
    return Live(
        service=state,
        definition=definition,
        completed=completed,
        completed_digests=digests,
        soak_seconds=connections.targets[item.target].soak_seconds,
    )


def last_completed(
    state: ServiceState, services: Services, item: Service
) -> tuple[str | None, Mapping[str, str]]:
    """What the last completed deployment runs: from the deployments in sight, else from ECS's history of 90 days.

    With it come the digests of its images by container, where the history was asked and knows them.
    """
    if state.completed is not None:
        return str(state.completed["taskDefinition"]), {}
    newest = services.newest_successful(item.cluster, item.service)
    if newest is None or not newest.task_definition:
        return None, {}
    return newest.task_definition, newest.digests


def _with_newer(item: Item, live: Live, connections: Connections, definitions: Definitions) -> Live:
    """Ask what somebody else registered after what is live. Of a family without a revision the newest one is what is live."""
    selection, definition = live.selection, live.definition
    if definition is None or (selection and (selection.half_done or not selection.pinned)):
        return live
    live = replace(live, base=connections.targets[item.target].base)
    try:
        with understanding("a newer revision"):
            return replace(live, newer=definitions.newer(item.target, definition))
    except (ItemBusyError, OddAnswerError) as error:
        why = str(error).rstrip(".")
    except (ClientError, BotoCoreError) as error:
        why = explain(error).rstrip(".")
    return replace(live, newer=Finding("W234", {"family": definition.family, "why": why}))


def _with_registry(item: Item, live: Live, connections: Connections, registry: Registry) -> Live:
    """Ask ECR about the images that would change."""
    if live.definition is None:
        return live
    if live.selection is not None:
        wanted = live.selection.images or {}
    else:
        wanted = choose_containers(live.definition, item.images, exact=item.exact).images
    found = {
        image: registry.find(image) for image in {i for name, i in wanted.items() if live.is_new(name, i)}
    }
    return replace(live, registry=found, passable=connections.targets[item.target].passable_role_arns)


def _task(
    item: ScheduledTask, connections: Connections, definitions: Definitions, ours: Collection[str]
) -> Live:
    where = f'the rule "{item.rule}"' if isinstance(item, Rule) else f'the schedule "{item.name}"'
    selection = select(
        where,
        read_targets(item, connections),
        item.images,
        exact=item.exact,
        target_id=item.target_id if isinstance(item, Rule) else None,
        describe=lambda reference: definitions.describe_live(item.target, reference),
        ours=ours,
    )
    blocked = () if selection.definition else selection.findings
    if isinstance(item, Rule) and not blocked:
        about = tuple(_about_rule(item, connections))
        selection = replace(selection, findings=(*selection.findings, *about))
    return Live(selection=selection, definition=selection.definition, findings=blocked)


def _about_rule(item: Rule, connections: Connections) -> Iterator[Finding]:
    try:
        state = Rules(connections, item.target).about(item.event_bus, item.rule)
    except (ClientError, BotoCoreError) as error:
        yield Finding("W209", {"why": explain(error).rstrip(".")})
        return
    if state.managed_by:
        yield Finding("E211", {"owner": state.managed_by})
    if state.disabled:
        yield Finding("W207")
