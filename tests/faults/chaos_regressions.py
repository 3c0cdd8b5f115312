"""Schedules that broke a promise once, each made as small as it still broke it, with the seed it came from.

Every member is written out: a schedule must stay the one that broke it when a default of the harness changes.
"""

from __future__ import annotations

from chaos_world import Entry, Job, Release, Scenario, Service, Trouble

SCHEDULES: dict[str, Scenario] = {
    # seed 6: what back means from then on depends on whether that completes
    "somebody else deploys after the proof": Scenario(
        things=(
            Service(number=0, family=0, breaker="none", strategy="ROLLING", desired=2, sidecar=False),
            Job(number=0, kind="schedule", pinned=False, targets="own", host=None, shared=False),
            Job(number=1, kind="schedule", pinned=False, targets="own", host=None, shared=False),
        ),
        releases=(
            Release(
                kind="deploy",
                entries=(
                    Entry(thing=0, version=1, wave=0, forward="complete", back="complete", seconds=2.0),
                    Entry(thing=1, version=1, wave=0, forward="complete", back="complete", seconds=2.0),
                ),
                on_failure="stop",
                timeout_minutes=2,
                troubles=(),
                pause=1200.0,
                upgraded=False,
            ),
            Release(
                kind="by_hand",
                entries=(
                    Entry(thing=0, version=1, wave=0, forward="complete", back="complete", seconds=40.0),
                ),
                on_failure="rollback",
                timeout_minutes=2,
                troubles=(
                    Trouble(
                        kind="foreign",
                        call="*",
                        step="check_rollouts",
                        nth=24,
                        times=1,
                        seconds=0.0,
                        thing=3,
                        after=True,
                    ),
                ),
                pause=0.0,
                upgraded=False,
            ),
            Release(
                kind="deploy",
                entries=(
                    Entry(thing=0, version=5, wave=0, forward="complete", back="complete", seconds=2.0),
                ),
                on_failure="rollback",
                timeout_minutes=2,
                troubles=(),
                pause=1200.0,
                upgraded=False,
            ),
        ),
        order=0,
        preempt=0.05,
        lag=0.0,
    ),
    # seed 6: whoever closed it looked before there was a record
    "stopped between the lock and the record, and its worker dies": Scenario(
        things=(
            Service(number=0, family=0, breaker="none", strategy="ROLLING", desired=2, sidecar=False),
            Service(number=1, family=1, breaker="none", strategy="ROLLING", desired=2, sidecar=True),
            Service(number=2, family=0, breaker="none", strategy="ROLLING", desired=2, sidecar=False),
            Job(number=0, kind="schedule", pinned=False, targets="own", host=None, shared=False),
            Job(number=1, kind="rule", pinned=True, targets="own", host=None, shared=False),
        ),
        releases=(
            Release(
                kind="deploy",
                entries=(
                    Entry(thing=4, version=1, wave=0, forward="complete", back="complete", seconds=2.0),
                ),
                on_failure="stop",
                timeout_minutes=4,
                troubles=(
                    Trouble(
                        kind="stop",
                        call="dynamodb:PutItem",
                        step="parse",
                        nth=1,
                        times=1,
                        seconds=2.0,
                        thing=4,
                        after=False,
                    ),
                    Trouble(
                        kind="kill",
                        call="dynamodb:Query",
                        step="parse",
                        nth=0,
                        times=3,
                        seconds=9.0,
                        thing=0,
                        after=True,
                    ),
                ),
                pause=1200.0,
                upgraded=False,
            ),
        ),
        order=0,
        preempt=0.7,
        lag=0.0,
    ),
    # seed 6: Report went by the status it had read, not by the one recorded, and wiped the way back
    "stopped while Report writes that it is whole": Scenario(
        things=(Service(number=0, family=0, breaker="none", strategy="ROLLING", desired=2, sidecar=False),),
        releases=(
            Release(
                kind="deploy",
                entries=(
                    Entry(thing=0, version=1, wave=0, forward="complete", back="complete", seconds=2.0),
                ),
                on_failure="stop",
                timeout_minutes=2,
                troubles=(
                    Trouble(
                        kind="stop",
                        call="dynamodb:Query",
                        step="report",
                        nth=1,
                        times=1,
                        seconds=2.0,
                        thing=2,
                        after=True,
                    ),
                ),
                pause=1200.0,
                upgraded=False,
            ),
        ),
        order=0,
        preempt=0.3,
        lag=0.0,
    ),
    # seed 201: the execution says REJECTED, and the record was closed as ABORTED
    "refused while the record can't be written": Scenario(
        things=(
            Service(number=0, family=0, breaker="none", strategy="ROLLING", desired=2, sidecar=False),
            Service(number=1, family=0, breaker="none", strategy="ROLLING", desired=2, sidecar=True),
        ),
        releases=(
            Release(
                kind="deploy",
                entries=(
                    Entry(thing=1, version=1, wave=0, forward="complete", back="complete", seconds=2.0),
                ),
                on_failure="rollback",
                timeout_minutes=4,
                troubles=(),
                pause=1200.0,
                upgraded=False,
            ),
            Release(
                kind="by_hand",
                entries=(
                    Entry(thing=1, version=2, wave=0, forward="complete", back="complete", seconds=2.0),
                ),
                on_failure="rollback",
                timeout_minutes=2,
                troubles=(),
                pause=0.0,
                upgraded=False,
            ),
            Release(
                kind="again",
                entries=(
                    Entry(thing=1, version=3, wave=0, forward="complete", back="complete", seconds=2.0),
                ),
                on_failure="rollback",
                timeout_minutes=4,
                troubles=(
                    Trouble(
                        kind="error", call="*", step="", nth=21, times=40, seconds=0.0, thing=0, after=False
                    ),
                ),
                pause=1200.0,
                upgraded=False,
            ),
        ),
        order=0,
        preempt=0.05,
        lag=0.0,
    ),
    # seed 204: a rollout that had failed by itself was taken for somebody else's deployment
    "a read that lags behind our own rollout": Scenario(
        things=(
            Service(number=0, family=0, breaker="none", strategy="ROLLING", desired=2, sidecar=False),
            Service(number=1, family=1, breaker="none", strategy="ROLLING", desired=2, sidecar=True),
            Service(number=2, family=0, breaker="alone", strategy="ROLLING", desired=2, sidecar=False),
            Job(number=0, kind="rule", pinned=False, targets="own", host=None, shared=True),
            Job(number=1, kind="schedule", pinned=True, targets="own", host=None, shared=False),
            Job(number=2, kind="rule", pinned=False, targets="own", host=0, shared=False),
        ),
        releases=(
            Release(
                kind="deploy",
                entries=(
                    Entry(thing=0, version=0, wave=0, forward="complete", back="complete", seconds=2.0),
                    Entry(thing=1, version=1, wave=0, forward="complete", back="complete", seconds=40.0),
                    Entry(thing=2, version=1, wave=0, forward="complete", back="complete", seconds=2.0),
                    Entry(thing=3, version=1, wave=0, forward="complete", back="complete", seconds=2.0),
                    Entry(thing=4, version=1, wave=0, forward="complete", back="complete", seconds=2.0),
                    Entry(thing=5, version=1, wave=2, forward="complete", back="complete", seconds=2.0),
                ),
                on_failure="stop",
                timeout_minutes=2,
                troubles=(
                    Trouble(
                        kind="kill",
                        call="dynamodb:GetItem",
                        step="prepare",
                        nth=2,
                        times=1,
                        seconds=9.0,
                        thing=0,
                        after=True,
                    ),
                    Trouble(
                        kind="throttle",
                        call="lambda:prepare",
                        step="",
                        nth=0,
                        times=1,
                        seconds=2.0,
                        thing=0,
                        after=False,
                    ),
                ),
                pause=1200.0,
                upgraded=False,
            ),
            Release(
                kind="deploy",
                entries=(
                    Entry(thing=0, version=1, wave=0, forward="complete", back="complete", seconds=2.0),
                    Entry(thing=1, version=2, wave=2, forward="complete", back="complete", seconds=2.0),
                    Entry(thing=2, version=2, wave=0, forward="bad", back="complete", seconds=2.0),
                    Entry(thing=3, version=1, wave=0, forward="complete", back="complete", seconds=2.0),
                    Entry(thing=4, version=2, wave=1, forward="complete", back="complete", seconds=2.0),
                    Entry(thing=5, version=1, wave=0, forward="complete", back="complete", seconds=2.0),
                ),
                on_failure="rollback",
                timeout_minutes=2,
                troubles=(
                    Trouble(
                        kind="kill",
                        call="*",
                        step="check_rollouts",
                        nth=7,
                        times=3,
                        seconds=9.0,
                        thing=0,
                        after=False,
                    ),
                ),
                pause=1200.0,
                upgraded=False,
            ),
        ),
        order=692,
        preempt=0.7,
        lag=5.0,
    ),
    # seed 6: two revisions of one content
    "two services on one family, and a list that lags": Scenario(
        things=(
            Service(number=0, family=0, breaker="none", strategy="ROLLING", desired=2, sidecar=False),
            Service(number=1, family=0, breaker="none", strategy="ROLLING", desired=2, sidecar=True),
        ),
        releases=(
            Release(
                kind="deploy",
                entries=(
                    Entry(thing=0, version=3, wave=0, forward="complete", back="complete", seconds=2.0),
                    Entry(thing=1, version=3, wave=0, forward="complete", back="complete", seconds=2.0),
                ),
                on_failure="rollback",
                timeout_minutes=2,
                troubles=(),
                pause=1200.0,
                upgraded=False,
            ),
        ),
        order=0,
        preempt=0.3,
        lag=5.0,
    ),
    # seed 33: what was put back a moment ago still looked in use, and stayed ACTIVE for ever
    "the clean-up looks while reads lag": Scenario(
        things=(
            Service(number=0, family=0, breaker="rollback", strategy="ROLLING", desired=2, sidecar=False),
            Job(number=0, kind="schedule", pinned=True, targets="own", host=None, shared=False),
            Job(number=1, kind="rule", pinned=False, targets="own", host=None, shared=False),
        ),
        releases=(
            Release(
                kind="deploy",
                entries=(
                    Entry(thing=0, version=1, wave=0, forward="stall", back="complete", seconds=2.0),
                    Entry(thing=1, version=1, wave=0, forward="bad", back="complete", seconds=2.0),
                    Entry(thing=2, version=1, wave=2, forward="bad", back="complete", seconds=2.0),
                ),
                on_failure="rollback",
                timeout_minutes=4,
                troubles=(
                    Trouble(
                        kind="force", call="*", step="parse", nth=0, times=1, seconds=0.0, thing=0, after=True
                    ),
                    Trouble(
                        kind="refuse",
                        call="ecs:UpdateService",
                        step="rollback",
                        nth=0,
                        times=1,
                        seconds=0.0,
                        thing=0,
                        after=False,
                    ),
                    Trouble(
                        kind="failed_entries",
                        call="events:PutTargets",
                        step="",
                        nth=0,
                        times=20,
                        seconds=0.0,
                        thing=0,
                        after=False,
                    ),
                ),
                pause=5.0,
                upgraded=False,
            ),
            Release(
                kind="deploy",
                entries=(
                    Entry(thing=1, version=2, wave=0, forward="complete", back="complete", seconds=40.0),
                ),
                on_failure="rollback",
                timeout_minutes=2,
                troubles=(
                    Trouble(
                        kind="failed_entries",
                        call="events:PutTargets",
                        step="",
                        nth=1,
                        times=1,
                        seconds=0.0,
                        thing=0,
                        after=False,
                    ),
                ),
                pause=5.0,
                upgraded=False,
            ),
        ),
        order=9072,
        preempt=0.05,
        lag=5.0,
    ),
    # seed 33: NO_CHANGE from a read that lagged behind the release before
    "a version without freed_at gave the lock back": Scenario(
        things=(
            Service(number=0, family=0, breaker="rollback", strategy="ROLLING", desired=2, sidecar=False),
            Job(number=0, kind="schedule", pinned=False, targets="own", host=None, shared=False),
            Job(number=1, kind="rule", pinned=True, targets="own", host=None, shared=False),
        ),
        releases=(
            Release(
                kind="deploy",
                entries=(Entry(thing=1, version=1, wave=0, forward="bad", back="complete", seconds=2.0),),
                on_failure="rollback",
                timeout_minutes=2,
                troubles=(
                    Trouble(
                        kind="foreign", call="*", step="", nth=53, times=1, seconds=0.0, thing=0, after=True
                    ),
                    Trouble(
                        kind="force",
                        call="*",
                        step="parse",
                        nth=15,
                        times=1,
                        seconds=0.0,
                        thing=0,
                        after=True,
                    ),
                    Trouble(
                        kind="lost",
                        call="ecs:RegisterTaskDefinition",
                        step="prepare",
                        nth=0,
                        times=3,
                        seconds=9.0,
                        thing=0,
                        after=False,
                    ),
                    Trouble(
                        kind="lost",
                        call="*",
                        step="prepare",
                        nth=17,
                        times=1,
                        seconds=0.0,
                        thing=0,
                        after=False,
                    ),
                    Trouble(
                        kind="forget",
                        call="state:Prepare",
                        step="",
                        nth=1,
                        times=1,
                        seconds=0.0,
                        thing=3,
                        after=False,
                    ),
                ),
                pause=1200.0,
                upgraded=False,
            ),
            Release(
                kind="by_hand",
                entries=(
                    Entry(thing=0, version=2, wave=1, forward="complete", back="complete", seconds=2.0),
                    Entry(thing=1, version=2, wave=1, forward="complete", back="complete", seconds=40.0),
                    Entry(thing=2, version=2, wave=0, forward="complete", back="complete", seconds=2.0),
                ),
                on_failure="rollback",
                timeout_minutes=4,
                troubles=(
                    Trouble(
                        kind="throttle",
                        call="lambda:update_service",
                        step="",
                        nth=0,
                        times=1,
                        seconds=10.0,
                        thing=0,
                        after=False,
                    ),
                    Trouble(
                        kind="foreign",
                        call="events:ListTargetsByRule",
                        step="clean_up",
                        nth=2,
                        times=1,
                        seconds=0.0,
                        thing=2,
                        after=True,
                    ),
                    Trouble(
                        kind="stop",
                        call="lambda:rollback",
                        step="",
                        nth=0,
                        times=1,
                        seconds=200.0,
                        thing=0,
                        after=False,
                    ),
                    Trouble(
                        kind="delete",
                        call="*",
                        step="check_rollouts",
                        nth=2,
                        times=1,
                        seconds=0.0,
                        thing=0,
                        after=False,
                    ),
                    Trouble(
                        kind="lost", call="event", step="", nth=0, times=1, seconds=0.0, thing=0, after=False
                    ),
                ),
                pause=0.0,
                upgraded=False,
            ),
            Release(
                kind="again",
                entries=(
                    Entry(thing=1, version=2, wave=0, forward="complete", back="complete", seconds=40.0),
                ),
                on_failure="rollback",
                timeout_minutes=2,
                troubles=(
                    Trouble(
                        kind="stop",
                        call="lambda:update_service",
                        step="",
                        nth=0,
                        times=1,
                        seconds=200.0,
                        thing=0,
                        after=False,
                    ),
                    Trouble(
                        kind="force",
                        call="ecs:UpdateService",
                        step="update_service",
                        nth=0,
                        times=1,
                        seconds=0.0,
                        thing=1,
                        after=True,
                    ),
                ),
                pause=5.0,
                upgraded=True,
            ),
            Release(
                kind="deploy",
                entries=(
                    Entry(thing=0, version=4, wave=1, forward="complete", back="complete", seconds=2.0),
                    Entry(thing=1, version=3, wave=0, forward="complete", back="complete", seconds=2.0),
                    Entry(thing=2, version=4, wave=1, forward="complete", back="complete", seconds=2.0),
                ),
                on_failure="rollback",
                timeout_minutes=2,
                troubles=(
                    Trouble(
                        kind="duplicate",
                        call="lambda:update_task",
                        step="",
                        nth=0,
                        times=1,
                        seconds=40.0,
                        thing=0,
                        after=False,
                    ),
                    Trouble(
                        kind="foreign",
                        call="*",
                        step="update_service",
                        nth=3,
                        times=1,
                        seconds=0.0,
                        thing=0,
                        after=False,
                    ),
                ),
                pause=1200.0,
                upgraded=False,
            ),
            Release(
                kind="deploy",
                entries=(
                    Entry(thing=0, version=4, wave=0, forward="complete", back="complete", seconds=40.0),
                    Entry(thing=1, version=5, wave=1, forward="complete", back="complete", seconds=2.0),
                    Entry(thing=2, version=5, wave=0, forward="complete", back="complete", seconds=40.0),
                ),
                on_failure="rollback",
                timeout_minutes=4,
                troubles=(
                    Trouble(
                        kind="lost", call="event", step="", nth=0, times=1, seconds=0.0, thing=0, after=False
                    ),
                    Trouble(
                        kind="forget", call="*", step="", nth=81, times=1, seconds=0.0, thing=2, after=False
                    ),
                    Trouble(
                        kind="duplicate",
                        call="event:report",
                        step="",
                        nth=0,
                        times=1,
                        seconds=0.0,
                        thing=0,
                        after=False,
                    ),
                    Trouble(
                        kind="intruder",
                        call="*",
                        step="clean_up",
                        nth=25,
                        times=1,
                        seconds=0.0,
                        thing=1,
                        after=True,
                    ),
                    Trouble(
                        kind="stop",
                        call="lambda:prepare",
                        step="",
                        nth=0,
                        times=1,
                        seconds=0.0,
                        thing=0,
                        after=False,
                    ),
                ),
                pause=1200.0,
                upgraded=False,
            ),
        ),
        order=4727,
        preempt=0.05,
        lag=5.0,
    ),
    # seed 33: both went back to a revision that somebody had deregistered, and each got a copy of it
    "two services go back to a deregistered revision, and a list lags": Scenario(
        things=(
            Service(number=0, family=0, breaker="none", strategy="ROLLING", desired=2, sidecar=False),
            Service(number=1, family=0, breaker="none", strategy="ROLLING", desired=2, sidecar=True),
            Service(number=2, family=0, breaker="none", strategy="ROLLING", desired=2, sidecar=False),
        ),
        releases=(
            Release(
                kind="deploy",
                entries=(
                    Entry(thing=0, version=1, wave=0, forward="complete", back="complete", seconds=2.0),
                    Entry(thing=1, version=1, wave=0, forward="complete", back="complete", seconds=2.0),
                ),
                on_failure="rollback",
                timeout_minutes=4,
                troubles=(
                    Trouble(
                        kind="stop",
                        call="state:Report",
                        step="",
                        nth=0,
                        times=1,
                        seconds=0.0,
                        thing=3,
                        after=False,
                    ),
                ),
                pause=1200.0,
                upgraded=False,
            ),
            Release(
                kind="by_hand",
                entries=(
                    Entry(thing=2, version=2, wave=0, forward="complete", back="complete", seconds=2.0),
                ),
                on_failure="rollback",
                timeout_minutes=2,
                troubles=(
                    Trouble(
                        kind="deregister",
                        call="*",
                        step="parse",
                        nth=17,
                        times=1,
                        seconds=0.0,
                        thing=3,
                        after=False,
                    ),
                ),
                pause=1200.0,
                upgraded=False,
            ),
        ),
        order=0,
        preempt=0.7,
        lag=5.0,
    ),
    # seed 777: the record was closed long after the verdict it holds (the oracle was at fault)
    "somebody else deploys between a stop and the closing of the record": Scenario(
        things=(
            Service(number=0, family=0, breaker="none", strategy="ROLLING", desired=2, sidecar=False),
            Service(number=1, family=1, breaker="none", strategy="ROLLING", desired=2, sidecar=True),
        ),
        releases=(
            Release(
                kind="deploy",
                entries=(
                    Entry(thing=0, version=2, wave=2, forward="complete", back="complete", seconds=2.0),
                    Entry(thing=1, version=2, wave=0, forward="complete", back="complete", seconds=2.0),
                ),
                on_failure="rollback",
                timeout_minutes=2,
                troubles=(),
                pause=1200.0,
                upgraded=False,
            ),
            Release(
                kind="by_hand",
                entries=(
                    Entry(thing=0, version=2, wave=0, forward="complete", back="complete", seconds=2.0),
                ),
                on_failure="rollback",
                timeout_minutes=4,
                troubles=(
                    Trouble(
                        kind="lost", call="event", step="", nth=0, times=1, seconds=0.0, thing=0, after=False
                    ),
                    Trouble(
                        kind="foreign",
                        call="*",
                        step="clean_up",
                        nth=18,
                        times=1,
                        seconds=0.0,
                        thing=4,
                        after=True,
                    ),
                    Trouble(
                        kind="stop",
                        call="*",
                        step="update_service",
                        nth=25,
                        times=1,
                        seconds=9.0,
                        thing=4,
                        after=True,
                    ),
                ),
                pause=1200.0,
                upgraded=False,
            ),
        ),
        order=0,
        preempt=0.05,
        lag=0.0,
    ),
    # seed 3001: what was written of one rule by half was taken for a riddle, and the next release refused
    "a rollback by hand writes one of two targets, and the next release goes on from there": Scenario(
        things=(
            Service(number=0, family=0, breaker="none", strategy="ROLLING", desired=2, sidecar=False),
            Service(number=1, family=0, breaker="none", strategy="ROLLING", desired=2, sidecar=True),
            Job(number=0, kind="schedule", pinned=True, targets="own", host=None, shared=False),
            Job(number=1, kind="rule", pinned=False, targets="twin", host=None, shared=False),
        ),
        releases=(
            Release(
                kind="again",
                entries=(
                    Entry(thing=3, version=3, wave=0, forward="complete", back="complete", seconds=2.0),
                ),
                on_failure="rollback",
                timeout_minutes=2,
                troubles=(),
                pause=1200.0,
                upgraded=False,
            ),
            Release(
                kind="by_hand",
                entries=(
                    Entry(thing=3, version=4, wave=0, forward="complete", back="complete", seconds=2.0),
                ),
                on_failure="rollback",
                timeout_minutes=4,
                troubles=(
                    Trouble(
                        kind="failed_entries",
                        call="events:PutTargets",
                        step="",
                        nth=0,
                        times=20,
                        seconds=0.0,
                        thing=0,
                        after=False,
                    ),
                ),
                pause=1200.0,
                upgraded=False,
            ),
        ),
        order=0,
        preempt=0.7,
        lag=0.0,
    ),
    # seed 3002: as seed 777, of what was left alone
    "somebody else deploys while a release begins that is stopped and closed late": Scenario(
        things=(
            Service(number=0, family=0, breaker="none", strategy="ROLLING", desired=2, sidecar=False),
            Service(number=1, family=1, breaker="none", strategy="ROLLING", desired=2, sidecar=True),
            Service(number=2, family=0, breaker="none", strategy="ROLLING", desired=2, sidecar=False),
        ),
        releases=(
            Release(
                kind="deploy",
                entries=(
                    Entry(thing=0, version=4, wave=0, forward="complete", back="complete", seconds=2.0),
                    Entry(thing=2, version=3, wave=0, forward="complete", back="complete", seconds=2.0),
                ),
                on_failure="rollback",
                timeout_minutes=2,
                troubles=(
                    Trouble(
                        kind="lost", call="event", step="", nth=0, times=1, seconds=0.0, thing=0, after=False
                    ),
                    Trouble(
                        kind="foreign",
                        call="*",
                        step="prepare",
                        nth=17,
                        times=1,
                        seconds=0.0,
                        thing=3,
                        after=True,
                    ),
                    Trouble(
                        kind="stop",
                        call="state:Rollback",
                        step="",
                        nth=0,
                        times=1,
                        seconds=0.0,
                        thing=1,
                        after=False,
                    ),
                ),
                pause=1200.0,
                upgraded=False,
            ),
        ),
        order=0,
        preempt=0.7,
        lag=0.0,
    ),
    # seed 3002: an unchanged service is proven by its current deployment (the oracle was at fault)
    "somebody starts an unchanged service's stalled deployment anew": Scenario(
        things=(
            Service(number=0, family=0, breaker="none", strategy="ROLLING", desired=2, sidecar=False),
            Service(number=1, family=1, breaker="none", strategy="ROLLING", desired=2, sidecar=True),
        ),
        releases=(
            Release(
                kind="deploy",
                entries=(Entry(thing=0, version=1, wave=0, forward="stall", back="complete", seconds=2.0),),
                on_failure="stop",
                timeout_minutes=2,
                troubles=(),
                pause=1200.0,
                upgraded=False,
            ),
            Release(
                kind="again",
                entries=(
                    Entry(thing=1, version=4, wave=0, forward="complete", back="complete", seconds=2.0),
                ),
                on_failure="rollback",
                timeout_minutes=2,
                troubles=(
                    Trouble(
                        kind="force", call="*", step="", nth=50, times=1, seconds=0.0, thing=2, after=True
                    ),
                ),
                pause=1200.0,
                upgraded=False,
            ),
        ),
        order=0,
        preempt=0.05,
        lag=0.0,
    ),
    # seed 4001: ECS went back to what the release before had completed, and that was taken for somebody else's
    "ECS goes back to what a release completed that did not end whole": Scenario(
        things=(
            Service(number=0, family=0, breaker="none", strategy="ROLLING", desired=2, sidecar=False),
            Service(number=1, family=0, breaker="rollback", strategy="ROLLING", desired=2, sidecar=True),
        ),
        releases=(
            Release(
                kind="deploy",
                entries=(
                    Entry(thing=0, version=3, wave=0, forward="stall", back="complete", seconds=2.0),
                    Entry(thing=1, version=2, wave=0, forward="complete", back="stall", seconds=2.0),
                ),
                on_failure="rollback",
                timeout_minutes=4,
                troubles=(),
                pause=1200.0,
                upgraded=False,
            ),
            Release(
                kind="deploy",
                entries=(Entry(thing=1, version=4, wave=0, forward="bad", back="complete", seconds=2.0),),
                on_failure="rollback",
                timeout_minutes=2,
                troubles=(),
                pause=1200.0,
                upgraded=False,
            ),
        ),
        order=0,
        preempt=0.05,
        lag=0.0,
    ),
    # seed 60001: the memory has the content of the revision that was about to be registered, and its ARN was looked for
    "one target taken, the other with its family alone": Scenario(
        things=(
            Job(number=0, kind="rule", pinned=False, targets="twin", host=None, shared=False),
            Service(number=0, family=0, breaker="none", strategy="ROLLING", desired=2, sidecar=False),
        ),
        releases=(
            Release(
                kind="deploy",
                entries=(
                    Entry(thing=0, version=3, wave=0, forward="complete", back="complete", seconds=2.0),
                ),
                on_failure="rollback",
                timeout_minutes=2,
                troubles=(
                    Trouble(
                        kind="failed_entries",
                        call="events:PutTargets",
                        step="",
                        nth=0,
                        times=20,
                        seconds=0.0,
                        thing=0,
                        after=False,
                    ),
                ),
                pause=1200.0,
                upgraded=False,
            ),
        ),
        order=0,
        preempt=0.05,
        lag=0.0,
    ),
    # seed 60002: ECS went back from what a stopped release had started; its service deployment was not looked for by its number
    "ECS goes back from what was found in progress": Scenario(
        things=(
            Service(number=0, family=0, breaker="rollback", strategy="ROLLING", desired=2, sidecar=False),
            Job(number=0, kind="schedule", pinned=False, targets="own", host=None, shared=False),
            Job(number=1, kind="schedule", pinned=True, targets="own", host=None, shared=False),
        ),
        releases=(
            Release(
                kind="deploy",
                entries=(Entry(thing=0, version=2, wave=0, forward="bad", back="complete", seconds=40.0),),
                on_failure="stop",
                timeout_minutes=4,
                troubles=(
                    Trouble(
                        kind="stop",
                        call="state:Wait",
                        step="",
                        nth=1,
                        times=1,
                        seconds=0.0,
                        thing=1,
                        after=False,
                    ),
                ),
                pause=0.0,
                upgraded=False,
            ),
            Release(
                kind="again",
                entries=(
                    Entry(thing=2, version=3, wave=0, forward="complete", back="complete", seconds=2.0),
                ),
                on_failure="stop",
                timeout_minutes=2,
                troubles=(),
                pause=1200.0,
                upgraded=False,
            ),
        ),
        order=0,
        preempt=0.05,
        lag=0.0,
    ),
    # tried by hand
    "ECS has gone back, to the deployment that was found, when an attempt is made again": Scenario(
        things=(
            Service(
                number=0, family=0, breaker="rollback", strategy="ROLLING", desired=2, sidecar=False, bake=0
            ),
        ),
        releases=(
            Release(
                kind="deploy",
                entries=(Entry(thing=0, version=1, wave=0, forward="bad", back="complete", seconds=2.0),),
                on_failure="rollback",
                timeout_minutes=5,
                troubles=(
                    Trouble(
                        kind="kill",
                        call="ecs:UpdateService",
                        step="update_service",
                        nth=0,
                        times=1,
                        seconds=0.0,
                        thing=0,
                        after=True,
                    ),
                    Trouble(
                        kind="throttle",
                        call="lambda:update_service",
                        step="",
                        nth=1,
                        times=6,
                        seconds=0.0,
                        thing=0,
                        after=False,
                    ),
                ),
                pause=1200.0,
                upgraded=False,
            ),
        ),
        order=0,
        preempt=0.3,
        lag=0.0,
        primary="promoted",
    ),
    # tried by hand
    "the answer is lost for so long that ECS has gone back meanwhile": Scenario(
        things=(
            Service(
                number=0, family=0, breaker="rollback", strategy="ROLLING", desired=2, sidecar=False, bake=0
            ),
        ),
        releases=(
            Release(
                kind="deploy",
                entries=(Entry(thing=0, version=1, wave=0, forward="bad", back="complete", seconds=2.0),),
                on_failure="rollback",
                timeout_minutes=5,
                troubles=(
                    Trouble(
                        kind="lost",
                        call="ecs:UpdateService",
                        step="update_service",
                        nth=0,
                        times=1,
                        seconds=9.0,
                        thing=0,
                        after=True,
                    ),
                ),
                pause=1200.0,
                upgraded=False,
            ),
        ),
        order=0,
        preempt=0.3,
        lag=0.0,
        primary="promoted",
    ),
    # seed 9102: stopped between the two writes, and nobody deregistered it any more
    "a release is stopped when it has taken a revision up": Scenario(
        things=(
            Service(number=0, family=0, breaker="none", strategy="ROLLING", desired=2, sidecar=False, bake=0),
            Service(
                number=1, family=1, breaker="none", strategy="BLUE_GREEN", desired=2, sidecar=True, bake=1
            ),
            Service(number=2, family=2, breaker="none", strategy="ROLLING", desired=2, sidecar=False, bake=0),
            Job(number=0, kind="rule", pinned=True, targets="own", host=None, shared=False),
            Job(number=1, kind="schedule", pinned=True, targets="own", host=None, shared=False),
        ),
        releases=(
            Release(
                kind="deploy",
                entries=(
                    Entry(thing=0, version=1, wave=0, forward="complete", back="complete", seconds=2.0),
                    Entry(thing=1, version=1, wave=0, forward="complete", back="complete", seconds=2.0),
                    Entry(thing=3, version=1, wave=0, forward="complete", back="complete", seconds=2.0),
                ),
                on_failure="rollback",
                timeout_minutes=4,
                troubles=(
                    Trouble(
                        kind="foreign", call="*", step="", nth=80, times=1, seconds=0.0, thing=3, after=True
                    ),
                    Trouble(
                        kind="lost", call="event", step="", nth=1, times=1, seconds=0.0, thing=0, after=False
                    ),
                ),
                pause=1200.0,
                upgraded=False,
            ),
            Release(
                kind="again",
                entries=(
                    Entry(thing=2, version=2, wave=0, forward="complete", back="complete", seconds=2.0),
                ),
                on_failure="rollback",
                timeout_minutes=4,
                troubles=(
                    Trouble(
                        kind="stop", call="*", step="", nth=55, times=1, seconds=9.0, thing=0, after=True
                    ),
                ),
                pause=1200.0,
                upgraded=False,
            ),
            Release(
                kind="deploy",
                entries=(
                    Entry(thing=4, version=5, wave=0, forward="complete", back="complete", seconds=2.0),
                ),
                on_failure="rollback",
                timeout_minutes=4,
                troubles=(),
                pause=1200.0,
                upgraded=False,
            ),
        ),
        order=0,
        preempt=0.3,
        lag=5.0,
        primary="promoted",
        soak=0,
    ),
    # seed 499843646: the answer was a fault, and the revision was there; the next attempt did not wait until it was listed
    "a registration is answered with a fault when it is done": Scenario(
        things=(
            Service(number=0, family=0, breaker="none", strategy="ROLLING", desired=2, sidecar=False, bake=0),
            Job(number=0, kind="rule", pinned=False, targets="own", host=None, shared=False),
        ),
        releases=(
            Release(
                kind="deploy",
                entries=(
                    Entry(thing=0, version=1, wave=0, forward="complete", back="complete", seconds=2.0),
                    Entry(thing=1, version=1, wave=0, forward="complete", back="complete", seconds=2.0),
                ),
                on_failure="rollback",
                timeout_minutes=2,
                troubles=(
                    Trouble(
                        kind="error",
                        call="ecs:RegisterTaskDefinition",
                        step="",
                        nth=0,
                        times=3,
                        seconds=0.0,
                        thing=0,
                        after=True,
                    ),
                ),
                pause=1200.0,
                upgraded=False,
            ),
        ),
        order=0,
        preempt=0.3,
        lag=5.0,
        primary="new",
        soak=0,
    ),
    # seed 36230978: unchanged, and called rolled back: ECS's own rollback of a revision had led to the same revision
    "ECS goes back from a revision to the very same": Scenario(
        things=(
            Service(
                number=0,
                family=0,
                breaker="rollback",
                strategy="BLUE_GREEN",
                desired=2,
                sidecar=False,
                bake=0,
            ),
            Service(
                number=1, family=1, breaker="alone", strategy="BLUE_GREEN", desired=2, sidecar=True, bake=0
            ),
            Job(number=0, kind="rule", pinned=False, targets="own", host=None, shared=True),
            Job(number=1, kind="rule", pinned=False, targets="own", host=0, shared=False),
        ),
        releases=(
            Release(
                kind="deploy",
                entries=(
                    Entry(thing=1, version=1, wave=0, forward="complete", back="complete", seconds=40.0),
                    Entry(thing=2, version=1, wave=2, forward="complete", back="complete", seconds=2.0),
                    Entry(thing=3, version=1, wave=0, forward="complete", back="complete", seconds=2.0),
                ),
                on_failure="rollback",
                timeout_minutes=4,
                troubles=(
                    Trouble(
                        kind="failed_entries",
                        call="events:PutTargets",
                        step="",
                        nth=1,
                        times=20,
                        seconds=0.0,
                        thing=0,
                        after=False,
                    ),
                ),
                pause=0.0,
                upgraded=False,
            ),
            Release(
                kind="again",
                entries=(Entry(thing=0, version=2, wave=1, forward="bad", back="complete", seconds=40.0),),
                on_failure="rollback",
                timeout_minutes=4,
                troubles=(),
                pause=1200.0,
                upgraded=False,
            ),
            Release(
                kind="by_hand",
                entries=(Entry(thing=1, version=2, wave=2, forward="bad", back="bad", seconds=40.0),),
                on_failure="rollback",
                timeout_minutes=4,
                troubles=(),
                pause=0.0,
                upgraded=False,
            ),
            Release(
                kind="again",
                entries=(Entry(thing=1, version=4, wave=1, forward="dies", back="stall", seconds=2.0),),
                on_failure="rollback",
                timeout_minutes=2,
                troubles=(),
                pause=5.0,
                upgraded=True,
            ),
        ),
        order=8143,
        preempt=0.7,
        lag=5.0,
        primary="new",
        soak=0,
    ),
    # seed 245800890: the oracle took a rollback by hand onto what somebody else had deployed for their deployment
    "somebody deploys between two releases, and back by hand leads there": Scenario(
        things=(
            Service(
                number=0, family=0, breaker="rollback", strategy="ROLLING", desired=2, sidecar=False, bake=0
            ),
            Service(
                number=1, family=1, breaker="rollback", strategy="CANARY", desired=2, sidecar=True, bake=0
            ),
            Service(
                number=2, family=0, breaker="rollback", strategy="ROLLING", desired=2, sidecar=False, bake=0
            ),
        ),
        releases=(
            Release(
                kind="deploy",
                entries=(
                    Entry(thing=0, version=0, wave=0, forward="dies", back="complete", seconds=40.0),
                    Entry(thing=1, version=1, wave=1, forward="complete", back="stall", seconds=2.0),
                    Entry(thing=2, version=1, wave=2, forward="dies", back="complete", seconds=40.0),
                ),
                on_failure="rollback",
                timeout_minutes=2,
                troubles=(),
                pause=5.0,
                upgraded=False,
            ),
            Release(
                kind="again",
                entries=(Entry(thing=0, version=2, wave=1, forward="stall", back="complete", seconds=2.0),),
                on_failure="rollback",
                timeout_minutes=4,
                troubles=(
                    Trouble(
                        kind="duplicate",
                        call="lambda:parse",
                        step="",
                        nth=0,
                        times=1,
                        seconds=10.0,
                        thing=0,
                        after=False,
                    ),
                    Trouble(
                        kind="foreign",
                        call="*",
                        step="report",
                        nth=8,
                        times=1,
                        seconds=0.0,
                        thing=3,
                        after=True,
                    ),
                ),
                pause=0.0,
                upgraded=True,
            ),
            Release(
                kind="again",
                entries=(Entry(thing=1, version=4, wave=1, forward="dies", back="bad", seconds=2.0),),
                on_failure="rollback",
                timeout_minutes=4,
                troubles=(
                    Trouble(
                        kind="lost",
                        call="*",
                        step="parse",
                        nth=12,
                        times=3,
                        seconds=1.0,
                        thing=0,
                        after=False,
                    ),
                ),
                pause=0.0,
                upgraded=False,
            ),
            Release(
                kind="by_hand",
                entries=(Entry(thing=2, version=5, wave=2, forward="dies", back="bad", seconds=2.0),),
                on_failure="rollback",
                timeout_minutes=2,
                troubles=(
                    Trouble(
                        kind="stop",
                        call="lambda:check_rollouts",
                        step="",
                        nth=1,
                        times=1,
                        seconds=10.0,
                        thing=0,
                        after=False,
                    ),
                ),
                pause=5.0,
                upgraded=False,
            ),
        ),
        order=99,
        preempt=0.3,
        lag=5.0,
        primary="new",
        soak=0,
    ),
    # seed 55042176: two copies of one revision: the list that showed the first one was asked again, and lagged
    "two services go back by hand to one revision that was deregistered": Scenario(
        things=(
            Service(
                number=0, family=0, breaker="rollback", strategy="ROLLING", desired=2, sidecar=False, bake=0
            ),
            Service(
                number=1, family=1, breaker="rollback", strategy="ROLLING", desired=2, sidecar=True, bake=0
            ),
            Service(
                number=2,
                family=0,
                breaker="rollback",
                strategy="BLUE_GREEN",
                desired=2,
                sidecar=False,
                bake=0,
            ),
            Job(number=0, kind="rule", pinned=True, targets="own", host=None, shared=False),
            Job(number=1, kind="rule", pinned=False, targets="other", host=None, shared=False),
        ),
        releases=(
            Release(
                kind="deploy",
                entries=(Entry(thing=3, version=1, wave=0, forward="stall", back="complete", seconds=2.0),),
                on_failure="rollback",
                timeout_minutes=4,
                troubles=(
                    Trouble(
                        kind="deregister",
                        call="dynamodb:GetItem",
                        step="report",
                        nth=1,
                        times=1,
                        seconds=0.0,
                        thing=0,
                        after=True,
                    ),
                ),
                pause=5.0,
                upgraded=True,
            ),
            Release(
                kind="again",
                entries=(Entry(thing=0, version=2, wave=0, forward="bad", back="complete", seconds=40.0),),
                on_failure="rollback",
                timeout_minutes=4,
                troubles=(
                    Trouble(
                        kind="lost", call="*", step="parse", nth=12, times=1, seconds=1.0, thing=0, after=True
                    ),
                ),
                pause=1200.0,
                upgraded=False,
            ),
            Release(
                kind="deploy",
                entries=(
                    Entry(thing=0, version=3, wave=1, forward="complete", back="complete", seconds=2.0),
                    Entry(thing=1, version=3, wave=1, forward="complete", back="complete", seconds=2.0),
                    Entry(thing=2, version=3, wave=2, forward="complete", back="complete", seconds=40.0),
                    Entry(thing=3, version=2, wave=1, forward="complete", back="complete", seconds=40.0),
                    Entry(thing=4, version=3, wave=0, forward="complete", back="complete", seconds=2.0),
                ),
                on_failure="rollback",
                timeout_minutes=4,
                troubles=(
                    Trouble(
                        kind="stop", call="*", step="", nth=1, times=1, seconds=2.0, thing=4, after=False
                    ),
                ),
                pause=5.0,
                upgraded=True,
            ),
            Release(
                kind="again",
                entries=(
                    Entry(thing=0, version=4, wave=1, forward="complete", back="complete", seconds=40.0),
                    Entry(thing=2, version=4, wave=2, forward="complete", back="complete", seconds=40.0),
                ),
                on_failure="rollback",
                timeout_minutes=2,
                troubles=(
                    Trouble(
                        kind="kill",
                        call="dynamodb:UpdateItem",
                        step="update_task",
                        nth=0,
                        times=1,
                        seconds=0.0,
                        thing=0,
                        after=False,
                    ),
                ),
                pause=1200.0,
                upgraded=False,
            ),
            Release(
                kind="by_hand",
                entries=(Entry(thing=0, version=5, wave=0, forward="bad", back="complete", seconds=2.0),),
                on_failure="rollback",
                timeout_minutes=2,
                troubles=(
                    Trouble(
                        kind="kill",
                        call="dynamodb:GetItem",
                        step="parse",
                        nth=1,
                        times=1,
                        seconds=0.0,
                        thing=0,
                        after=False,
                    ),
                ),
                pause=1200.0,
                upgraded=False,
            ),
        ),
        order=0,
        preempt=0.7,
        lag=5.0,
        primary="promoted",
        soak=0,
    ),
    # seed 786947122: a forced deployment of our revision, taken for the one that a dead worker had started
    "somebody deploys our revision again before anybody knows our deployment": Scenario(
        things=(
            Service(
                number=0, family=0, breaker="rollback", strategy="ROLLING", desired=2, sidecar=False, bake=0
            ),
        ),
        releases=(
            Release(
                kind="deploy",
                entries=(Entry(thing=0, version=1, wave=0, forward="bad", back="complete", seconds=2.0),),
                on_failure="rollback",
                timeout_minutes=2,
                troubles=(),
                pause=1200.0,
                upgraded=False,
            ),
            Release(
                kind="deploy",
                entries=(
                    Entry(thing=0, version=1, wave=2, forward="complete", back="complete", seconds=2.0),
                ),
                on_failure="rollback",
                timeout_minutes=2,
                troubles=(),
                pause=0.0,
                upgraded=False,
            ),
            Release(
                kind="deploy",
                entries=(Entry(thing=0, version=3, wave=2, forward="stall", back="complete", seconds=2.0),),
                on_failure="rollback",
                timeout_minutes=4,
                troubles=(),
                pause=1200.0,
                upgraded=True,
            ),
            Release(
                kind="by_hand",
                entries=(
                    Entry(thing=0, version=4, wave=0, forward="complete", back="complete", seconds=2.0),
                ),
                on_failure="rollback",
                timeout_minutes=2,
                troubles=(
                    Trouble(
                        kind="kill",
                        call="ecs:UpdateService",
                        step="update_service",
                        nth=0,
                        times=3,
                        seconds=0.0,
                        thing=0,
                        after=True,
                    ),
                    Trouble(
                        kind="force",
                        call="*",
                        step="update_service",
                        nth=30,
                        times=1,
                        seconds=0.0,
                        thing=2,
                        after=True,
                    ),
                ),
                pause=1200.0,
                upgraded=False,
            ),
        ),
        order=1000,
        preempt=0.3,
        lag=0.0,
        primary="promoted",
        soak=0,
    ),
}
