"""``make bench``: how long a release takes under ECS's documented API limits, beside the least it could take.

The lower bound for N changed services with rollouts of R seconds in one account and Region is
``R + max(0, N - 20)`` for the registrations (a burst of 20, then one a second) plus ``max(0, (N - 50) / 5)`` for the updates
(https://docs.aws.amazon.com/AmazonECS/latest/APIReference/request-throttling.html). A dozen seconds on top are the fixed
part: starts of functions, the machine's own steps, the polling.

Sizes: ``SIZES=10,40,80 make bench``.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections import Counter

from local_aws.estate import Estate, container

from scripts.checkout import work_folder
from scripts.interrupt import Interrupted, interruptible
from scripts.stack import Stack, applied

ROLLOUT_SECONDS = 2
CLUSTER = "bench"


def main() -> int:
    """Measure every size in turn; 1 when a release did not succeed."""
    sizes = [int(size) for size in os.environ.get("SIZES", "10,40,80").split(",")]
    try:
        with interruptible(), work_folder("bench") as folder, applied(folder, progress=_say) as (stack, _):
            estate = Estate(stack.aws)
            estate.cluster(CLUSTER)
            _say(f"making {max(sizes)} services")
            for number in range(max(sizes)):
                _make_service(estate, number)
            print(
                f"\n{'services':>8} {'measured':>9} {'at least':>9} {'over':>6} {'calls':>6} {'throttled':>9} {'events':>7}",
                flush=True,
            )
            return max([_measure(stack, size, turn) for turn, size in enumerate(sizes)])
    except Interrupted as interrupted:
        return interrupted.exit_status


def _make_service(estate: Estate, number: int) -> None:
    name = f"svc-{number:03}"
    arn = estate.family(name, [container("app", f"{name}:1.0")])
    estate.service(CLUSTER, name, arn, desiredCount=1)


def _measure(stack: Stack, size: int, turn: int) -> int:
    services = [
        {
            "service": "app",
            "clusterName": CLUSTER,
            "serviceName": f"svc-{n:03}",
            "image": f"svc-{n:03}:2.{turn}",
        }
        for n in range(size)
    ]
    stack.aws.reset()
    stack.aws.rollouts([{"outcome": "complete", "seconds": ROLLOUT_SECONDS}])
    stack.aws.limits(True, 1)
    machine = stack.client("stepfunctions")
    began = time.monotonic()
    arn = machine.start_execution(
        stateMachineArn=stack.state_machine,
        name=f"bench-{turn}-{size}",
        input=json.dumps({"services": services}),
    )["executionArn"]
    stack.until("end of the release", lambda: stack.execution(arn)["status"] != "RUNNING", 900)
    seconds = time.monotonic() - began
    calls = stack.aws.calls()
    bound = ROLLOUT_SECONDS + max(0, size - 20) + max(0.0, (size - 50) / 5)
    pages = machine.get_paginator("get_execution_history").paginate(executionArn=arn)
    events = sum(len(page["events"]) for page in pages)
    total = Counter({name: value["calls"] for name, value in calls.items() if name.startswith("ecs:")})
    throttled = sum(value["throttled"] for value in calls.values())
    print(
        f"{size:>8} {seconds:>7.1f} s {bound:>7.1f} s {seconds - bound:>4.1f} s "
        f"{sum(total.values()):>6} {throttled:>9} {events:>7}",
        flush=True,
    )
    return 0 if stack.execution(arn)["status"] == "SUCCEEDED" else 1


def _say(text: str) -> None:
    print(f"   {text}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
