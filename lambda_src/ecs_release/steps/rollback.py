"""Rollback: put what this release changed back to its before-image."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from ecs_release.aws.ecs_targets import reference_of
from ecs_release.aws.service_deployments import ServiceDeployment
from ecs_release.aws.service_state import ROLLING, ServiceState
from ecs_release.aws.services import Services
from ecs_release.errors import ItemError, SupersededError
from ecs_release.observability import about_release, logger
from ecs_release.record.before import original_reference, recorded_references, reference_before
from ecs_release.record.models import ItemRecord
from ecs_release.record.statuses import Status
from ecs_release.rollout.back import WayBack, way_back
from ecs_release.rollout.judge import Rollout, find_ours
from ecs_release.rollout.release import is_settled_back
from ecs_release.rollout.unused import runs_without_being_named
from ecs_release.steps.batch import run_batch
from ecs_release.steps.history import deployments_of, given_up_by_ecs
from ecs_release.steps.revisions import RevisionBack, is_ours, revision_back, still_means_what_ran
from ecs_release.steps.targets import current_targets, set_meanwhile, write_task_definition
from ecs_release.steps.turn import NO_CLAIM, Turn, ensure_seen_before, once, seen_twice, under_lock
from ecs_release.steps.worker import Worker


def rollback(worker: Worker, release: str, epoch: int, batch: int, phase: str) -> dict[str, Any]:
    """Put a batch back, or with the phase ``cleanup`` deregister what runs for as long as it is its family's newest revision."""
    if phase != "cleanup":
        return run_batch(worker, release, epoch, batch, _put_back, failed=Status.ROLLBACK_FAILED, phase=phase)
    undone = {item.after for item in runs_without_being_named(worker.store.items(release))}

    def clean_up(turn: Turn) -> None:
        if turn.item.registered and turn.item.after in undone:
            _deregister(turn)

    return run_batch(worker, release, epoch, batch, clean_up, failed=Status.ROLLBACK_FAILED, phase=phase)


def _put_back(turn: Turn) -> None:
    item = turn.item
    if is_settled_back(item) or item.rollback_started_at is not None:
        return
    if item.action != "update" and not (item.inherited and item.before != item.live):
        return
    back = put_service_back if item.is_service else put_task_back
    result = once(turn, "back", lambda: back(turn))
    turn.update({**result, **NO_CLAIM, "doubted_at": None})


def put_service_back(turn: Turn) -> dict[str, Any]:
    """Start the rollout back, or adopt one that goes there already; no rollout when there is nothing to put back.

    Raises
    ------
    SupersededError
        when somebody else's deployment is live: left alone.
    MissingError
        when the service or its cluster was deleted.
    ItemError
        when ECS refuses.
    """
    # Whoever may still be writing forward has ended, and shows, before anything is made of what is live.
    turn.claim()
    item = turn.item
    cluster, name = item.service.cluster, item.service.service
    services = Services(turn.worker.connections, item.target)
    found: list[ServiceState] = []

    def look() -> str | None:
        turn.looked_at = time.monotonic()
        state = services.find(cluster, name)
        found[:] = [state]
        live, deployment = _runs(state)
        ours = (item.before, turn.item.rollback_to, item.after)
        if live in ours or _is_as_found(item, state) or _ecs_went_back(turn, services, live):
            return None
        return f"{live} was deployed meanwhile, as {deployment}"

    def look_again(_: bool = True) -> None:
        if odd := seen_twice(turn, look):
            raise SupersededError(f"not put back: {odd}")

    look_again()
    state = found[0]
    live, deployment = _runs(state)
    now = int(time.time())
    if state.strategy != ROLLING and (stopped := _go_back_by_ecs(turn, services, state)):
        return stopped
    # A read that still shows what was there before a write that is known to be done only lags behind it.
    as_found = deployment == item.previous_deployment and item.deployment_id is None
    if live in (item.before, item.rollback_to) and (
        as_found or deployment not in (item.previous_deployment, item.deployment_id)
    ):
        # ECS itself went back, an earlier attempt did, or nothing was ever written.
        if as_found and not (item.started_at is not None and given_up_by_ecs(services, item)):
            return _never_written(item)
        if live == item.rollback_to:
            there: RevisionBack | None = RevisionBack(live, unproven=item.rollback_unproven)
        else:
            # To what ECS went back to by itself, its tags decide; after an attempt that decided on a copy, that is where to go.
            there = still_means_what_ran(turn, live) if item.rollback_to is None else None
        if there is not None:
            return {"rollback_deployment": deployment, "rollback_started_at": now, **_about(item, there)}
    if as_found and live == item.live and not item.inherited:
        return _never_written(item)
    back = revision_back(turn, item.before)
    updated = turn.write(
        lambda: services.update(cluster, name, back.arn),
        wait=services.wait_for_update,
        look_again=look_again,
    )
    live, started = _runs(updated)
    if live != back.arn:
        # The answer need not show yet what the call has done: https://github.com/aws/containers-roadmap/issues/2709
        time.sleep(turn.worker.settings.settle_seconds)
        look_again()
        live, started = _runs(found[0])
        if live != back.arn:
            odd = f"ECS took {back.arn}, and shows {live} as {started}."
            ensure_seen_before(turn, "back: not shown", odd)
            raise ItemError(f"not put back: {odd}")
    logger.info("going back", extra={"deployment": started, "revision": back.arn})
    return {"rollback_deployment": started, "rollback_started_at": now, **_about(item, back)}


def _go_back_by_ecs(turn: Turn, services: Services, state: ServiceState) -> dict[str, Any] | None:
    """Have ECS go back by itself, where that leads to the before-image; None where UpdateService has to (:mod:`rollout.back`)."""
    found = _on_its_way(turn, services, state)
    way = way_back(found, turn.item.before)
    if way is WayBack.STOP and found is not None:
        arn = found.arn
        if turn.write(partial(services.roll_back, arn), rollback_stop=arn):
            way = WayBack.WAIT
        else:  # it is over; or an earlier attempt has stopped it, which a read that lags does not show yet
            time.sleep(turn.worker.settings.settle_seconds)
            found = _on_its_way(turn, services, state)
            way = way_back(found, turn.item.before)
    if way is not WayBack.WAIT or found is None:
        if turn.item.rollback_stop is not None:
            turn.update({"rollback_stop": None})
        return None
    logger.info("ECS goes back by itself", extra={"serviceDeployment": found.arn})
    return {
        # ECS may resolve tags anew: which digests run then is asked of it (https://github.com/aws/amazon-ecs-agent/issues/4226).
        **_about(turn.item, RevisionBack(turn.item.before, unproven=True)),
        "rollback_stop": found.arn,
        "rollback_deployment": None,
        "rollback_started_at": int(time.time()),
    }


def _on_its_way(turn: Turn, services: Services, state: ServiceState) -> ServiceDeployment | None:
    """The service deployment that brought out what is to be undone, as far as ECS shows it."""
    item = turn.item
    live, deployment = _runs(state)
    written = item.started_at is not None
    if not written and (live == item.before or (item.action == "update" and not item.inherited)):
        return None
    rollout = Rollout(
        deployment_id=item.deployment_id or ("" if written and live != item.after else deployment),
        task_definition=str(item.after) if written else live,
        age_seconds=0,
        timeout_seconds=0,
        service_deployment=item.service_deployment or "",
    )
    created = (state.deployment(rollout.deployment_id) or {}).get("createdAt")
    since = created.timestamp() if created else float(item.started_at or time.time())
    return find_ours(rollout, state, deployments_of(services, item, rollout, state, since))


def _runs(state: ServiceState) -> tuple[str, str]:
    """The task definition and the deployment that are live."""
    primary = state.primary or {}
    return str(primary.get("taskDefinition", state.task_definition)), str(primary.get("id"))


def _is_as_found(item: ItemRecord, state: ServiceState) -> bool:
    return _runs(state) == (item.live, item.previous_deployment)


def _ecs_went_back(turn: Turn, services: Services, live: str) -> bool:
    """Whether ECS itself went back from this release's revision to what an earlier release had left or completed there.

    ECS goes back to the last deployment that completed, which need not be what was live when this release began. It is the newest
    of the service's deployments then; after a later one somebody else has deployed.
    """
    item = turn.item
    if not item.inherited:
        return False
    if live != item.live and live not in _set_by_releases(turn):
        return False
    newest = services.newest(item.service.cluster, item.service.service)
    return newest is not None and (newest.task_definition, newest.rolled_back_to) == (item.after, live)


def put_task_back(turn: Turn) -> dict[str, Any]:
    """Put the task definition of the item's targets back, and nothing else of them; {} when nothing was written.

    A rule or schedule that named a family without a revision stays pinned, to the revision it ran before: the family's
    newest one is what is being undone.

    Raises
    ------
    SupersededError
        when somebody else has changed all of them since. Where it is some of them, the others are put back.
    MissingError
        when the rule, the schedule or one of the targets is gone.
    """
    turn.claim()
    item = turn.item
    definitions = turn.worker.task_definitions(item)
    original, back = original_reference(item), reference_before(item)
    current: list[dict[str, Any]] = []

    def look() -> str | None:
        turn.looked_at = time.monotonic()
        current[:] = current_targets(turn.worker, turn.item)
        foreign = [reference for reference in map(reference_of, current) if not is_known(reference)]
        return set_meanwhile(foreign[0]) if foreign else None

    def is_known(reference: str | None) -> bool:
        known = {turn.item.after, item.live, back, turn.item.rollback_to, *recorded_references(item)}
        return reference is not None and reference in known

    def registered() -> str | None:
        newest = definitions.describe(original).arn
        ours = newest in (turn.item.after, item.live, item.before, *recorded_references(item))
        return None if ours else f"{newest} was registered meanwhile"

    def known_targets() -> list[dict[str, Any]]:
        odd = seen_twice(turn, look)
        found = [target for target in current if is_known(reference_of(target))]
        if odd and not found:
            raise SupersededError(f"not put back: {odd}")
        return found

    def names_the_family(found: Sequence[Mapping[str, Any]]) -> bool:
        return not item.pinned and set(map(reference_of, found)) == {original}

    def look_again(_: bool = True) -> list[dict[str, Any]]:
        found = known_targets()
        if names_the_family(found) and (odd := seen_twice(turn, registered)):
            raise SupersededError(f"not put back: {odd}")
        return found

    found = known_targets()
    references = set(map(reference_of, found))
    if names_the_family(found):
        if item.after is None and item.base:
            copy = definitions.find_copy(definitions.describe(item.base), item.new_images)
            if copy is not None:
                # Registered, but the worker died before it could say so: the family's newest revision is live.
                turn.update({"after": copy.arn, "registered": is_ours(turn, copy.arn)})
                item = turn.item
        if item.after is None and not item.inherited:
            return _never_written(item)
        found = look_again()
    if item.pinned and not item.inherited and references == {original} and item.started_at is None:
        return {}
    goal = revision_back(turn, back)
    # All of them: a read may lag behind this release's own write, and to write what is there already changes nothing.
    again = item.started_at is not None
    write_task_definition(turn, found, goal.arn, look_again=look_again, again=again)
    return {"rollback_started_at": int(time.time()), **_about(item, goal)}


def _set_by_releases(turn: Turn) -> set[str]:
    """What releases have set on the item since it was whole last."""
    memory = turn.worker.store.memory(turn.item.state_key) or {}
    return set(memory.get("ours", ()))


def _never_written(item: ItemRecord) -> dict[str, Any]:
    """It was about to be written when its worker died, and AWS shows that it was not."""
    return {} if item.started_at is None else {"started_at": None}


def _about(item: ItemRecord, back: RevisionBack) -> dict[str, Any]:
    """What the record says of the revision that was gone back to."""
    about: dict[str, Any] = {"rollback_to": back.arn, "rollback_unproven": back.unproven}
    if back.note:
        about["reason"] = f"{item.reason}; {back.note}" if item.reason else back.note
    return about


def _deregister(turn: Turn) -> None:
    store, target, arn = turn.worker.store, turn.item.target, str(turn.item.after)
    store.check_lock(turn.item.release, turn.item.epoch)
    # The next release may read of it as ACTIVE for a moment after the lock is given back.
    store.note_unused(turn.item.release, [(target, arn)])
    if store.condemn(target, arn):
        with under_lock(turn):
            turn.worker.task_definitions(turn.item).deregister(arn)
        store.note_deregistered(target, arn)
    turn.update({"registered": False})


@logger.inject_lambda_context(log_event=False, clear_state=True)
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """``{"release", "epoch", "batch", "phase"}`` in, ``{"batch", "failed"}`` out."""
    release, epoch, batch = str(event["release"]), int(event["epoch"]), int(event["batch"])
    about_release(release, batch=batch, phase=event["phase"])
    return rollback(Worker.create("rollback", context), release, epoch, batch, str(event["phase"]))
