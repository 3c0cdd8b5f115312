"""The stages of a blue/green, linear or canary deployment, as a function of its age.

Stands for
- the stages and what happens in each:
  https://docs.aws.amazon.com/AmazonECS/latest/developerguide/blue-green-deployment-how-it-works.html
- RECONCILE_SERVICE, "the reconciliation stage that only happens when you start a new service deployment with more than 1 service
  revision in an ACTIVE state": https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_ServiceDeployment.html
- bake time, through which a service deployment stays IN_PROGRESS: https://github.com/kayac/ecspresso/issues/1063
- lifecycle hooks and PAUSE, continued by ContinueServiceDeployment or ended by their own time-out (by default after 1,440 minutes,
  by going back): https://docs.aws.amazon.com/AmazonECS/latest/developerguide/deployment-lifecycle-hooks.html

A Lambda hook is not invoked: it succeeds at once. The shifts of a linear or canary deployment take no time of their own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

RECONCILE, SCALE_UP, BAKE, CLEAN_UP = "RECONCILE_SERVICE", "SCALE_UP", "BAKE_TIME", "CLEAN_UP"
STAGES = (
    *(RECONCILE, "PRE_SCALE_UP", SCALE_UP, "POST_SCALE_UP"),
    *("TEST_TRAFFIC_SHIFT", "POST_TEST_TRAFFIC_SHIFT"),
    *("PRODUCTION_TRAFFIC_SHIFT", "POST_PRODUCTION_TRAFFIC_SHIFT"),
    *(BAKE, CLEAN_UP),
)
_DEFAULT_PATIENCE_MINUTES = 1440


@dataclass(frozen=True)
class Place:
    """Where a deployment is.

    Attributes
    ----------
    until : age in seconds at which it leaves this stage; None: when somebody says so.
    paused : whether a PAUSE hook holds it.
    gives_up : a hook's time-out goes back.
    over : it is through with all stages.
    """

    stage: str
    until: float | None = None
    paused: bool = False
    gives_up: bool = False
    over: bool = False


def place(
    age: float,
    configuration: Mapping[str, Any],
    *,
    seconds: float,
    minute: float,
    reconciles: bool,
    continued: Mapping[str, float],
) -> Place:
    """The stage at an age.

    Parameters
    ----------
    seconds : what scaling up takes, and reconciling.
    minute : seconds of a minute of bake time and of a hook's patience.
    reconciles : whether more than one service revision was active when it began.
    continued : lifecycle stages that somebody continued, and at which age.
    """
    begins = 0.0
    for stage in STAGES:
        if stage == RECONCILE and not reconciles:
            continue
        ends = begins + {
            RECONCILE: seconds,
            SCALE_UP: seconds,
            BAKE: float(configuration.get("bakeTimeInMinutes") or 0) * minute,
        }.get(stage, 0.0)
        hook = _pause(configuration, stage)
        if hook is not None:
            timeout = hook.get("timeoutConfiguration") or {}
            patience = float(timeout.get("timeoutInMinutes") or _DEFAULT_PATIENCE_MINUTES) * minute
            if stage in continued:
                ends = max(ends, continued[stage])
            elif age < begins + patience:
                return Place(stage, begins + patience, paused=True)
            elif timeout.get("action", "ROLLBACK") == "ROLLBACK":
                return Place(stage, begins + patience, gives_up=True)
            else:
                ends = max(ends, begins + patience)
        if age < ends:
            return Place(stage, ends)
        begins = ends
    return Place(CLEAN_UP, begins, over=True)


def _pause(configuration: Mapping[str, Any], stage: str) -> Mapping[str, Any] | None:
    hooks = configuration.get("lifecycleHooks") or ()
    return next(
        (h for h in hooks if h.get("targetType") == "PAUSE" and stage in (h.get("lifecycleStages") or ())),
        None,
    )
