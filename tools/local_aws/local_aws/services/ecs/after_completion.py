"""What becomes of a deployment that is complete and whose image dies a while later (a rule's ``dies_after``).

Stands for
- "if a task in a service stops, the scheduler launches a new task to replace it", for ever: what stops after it was RUNNING starts
  no throttle (https://docs.aws.amazon.com/AmazonECS/latest/developerguide/ecs_services.html,
  https://docs.aws.amazon.com/AmazonECS/latest/developerguide/service-throttle-logic.html)
- the deployment stays COMPLETED and the circuit breaker does not count: "Once a service deployment has one or more successfully
  running tasks, the failed task count resets to zero and stops being evaluated"
  (https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_Deployment.html, failedTasks; seen in
  https://github.com/aws/containers-roadmap/issues/1206)
- for a moment fewer tasks run, because a new one is PROVISIONING and PENDING first:
  https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-lifecycle-explanation.html

All tasks of a deployment die together. How long it takes until others run no document says.
"""

from __future__ import annotations

from collections.abc import Callable

from local_aws.services.ecs.state import Deployment, Task

RESTART_SECONDS = 1.0


def complete(deployment: Deployment, at: float) -> None:
    """A deployment has come to its end; its image dies some time after that, if its rule says so."""
    after = deployment.rule.dies_after
    deployment.dies_at = None if after is None else at + after
    deployment.died_at = None


def forget(deployment: Deployment) -> None:
    """Nothing dies any more."""
    deployment.dies_at = deployment.died_at = None


def live_and_die(
    deployment: Deployment,
    desired: int,
    now: float,
    start: Callable[[float], Task],
    crash: Callable[[Task, float], None],
) -> None:
    """Bring the tasks of a deployment that is complete up to the clock.

    Parameters
    ----------
    start, crash : of one task, at a moment.
    """
    after = deployment.rule.dies_after
    if after is None or deployment.status != "PRIMARY" or deployment.rollout_state != "COMPLETED":
        return
    while True:
        if deployment.died_at is not None:
            back = deployment.died_at + RESTART_SECONDS
            if now < back:
                deployment.running, deployment.pending = 0, desired
                return
            deployment.tasks = [start(back) for _ in range(desired)]
            deployment.died_at, deployment.dies_at = None, back + after
            deployment.running, deployment.pending = desired, 0
        if not desired or deployment.dies_at is None or now < deployment.dies_at:
            return
        for task in deployment.tasks:
            if not task.stopped:
                crash(task, deployment.dies_at)
        deployment.tasks = []
        deployment.died_at, deployment.dies_at = deployment.dies_at, None
