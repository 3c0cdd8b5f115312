"""``make demo``: the main job on embedded AWS, watched live, and every claim verified through the AWS API.

A release of twelve services and three scheduled tasks by one push; a release with an image that crashes, which fails
truthfully and is put back; a third that succeeds; and terraform destroy. Exit status 0 only if all of it was seen.
"""

from __future__ import annotations

import contextlib
import json
import sys
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError
from ecs_release.manifest import Item, load
from ecs_release.record.models import ItemRecord
from ecs_release.record.statuses import BAD, GOOD, OPEN, Status
from ecs_release.report.status import image_change
from local_aws.client import HANG_SECONDS
from local_aws.estate import make_shop
from local_aws.estate.observed import Observed

from scripts import demo_checks
from scripts.checkout import work_folder
from scripts.git_clone import GitError
from scripts.interrupt import Interrupted, interruptible
from scripts.screen import Check, Screen, Segment
from scripts.stack import Stack, StackTimeoutError, applied
from scripts.terraform import EXAMPLE, TerraformError

MANIFEST = EXAMPLE / "deployment.yaml"
_POLL_SECONDS = 0.5
_NAME_WIDTH = 42

# What the second and third release change; the second one's billing crashes.
NEXT = {
    "api:1.10": "api:1.11",
    "web:2024-06-01": "web:2024-07-01",
    "rating-cleanup:2.0.0": "rating-cleanup:2.1.0",
    "nightly-report:3.0.0": "nightly-report:3.1.0",
}
CRASHING = {"billing:11.5.0": "billing:11.6.0-crash", 'release: "4.0"': 'release: "4.1"'}
FIXED = {"billing:11.5.0": "billing:11.6.1", 'release: "4.0"': 'release: "4.2"'}
CULPRIT = "test-back-office/billing"
CRASH_RULE = {"image": "crash", "outcome": "circuit_breaker_rollback", "seconds": 4}


@dataclass(frozen=True)
class Push:
    """What was pushed, and the pipeline execution that it started."""

    items: tuple[Item, ...]
    execution: str


def main() -> int:
    """Run the demo; 0 when everything was verified."""
    screen = Screen()
    screen.line("ECS Release: one push, twelve services and three scheduled tasks, on embedded AWS", "bold")
    try:
        with interruptible(), work_folder("demo") as folder:
            port = _run(screen, folder)
            screen.check(demo_checks.port_closed(port))
    except Interrupted as interrupted:
        screen.line()
        screen.line(
            f"Interrupted ({interrupted}) after {screen.seconds:.0f} s; everything was stopped.", "red"
        )
        return interrupted.exit_status
    except (TerraformError, GitError, StackTimeoutError, ClientError, BotoCoreError, RuntimeError) as error:
        screen.line()
        screen.line(f"Demo FAILED after {screen.seconds:.0f} s: {error}", "red")
        return 1
    screen.line()
    if screen.failed:
        screen.line(
            f"Demo FAILED: {len(screen.failed)} of {len(screen.checks)} checks not true, {screen.seconds:.0f} s.",
            "red",
        )
        return 1
    screen.line(
        f"Demo passed: released, failed and put back, released again, destroyed; "
        f"{len(screen.checks)} checks, all true, {screen.seconds:.0f} s.",
        "green",
    )
    return 0


def _run(screen: Screen, folder: Path) -> int:
    """Tell the story; the port that the server had."""
    text = MANIFEST.read_text(encoding="utf-8")
    with contextlib.ExitStack() as until_end:
        with screen.phase("Embedded AWS, and terraform apply of examples/local"):
            stack, terraform = until_end.enter_context(applied(folder, progress=screen.progress))
            screen.line(f"   {len(terraform.resources())} resources; AWS endpoint {stack.endpoint}")

        with screen.phase("An estate to release to"):
            make_shop(stack.aws, screen.progress)
            queue = _listen(stack)
            screen.line("   2 clusters, 12 services, 2 EventBridge rules, 1 EventBridge Scheduler schedule")

        with screen.phase("git push of release 4.0: every service and scheduled task"):
            push, before = _push(screen, stack, text, "Release 4.0")
            _follow(screen, stack, push)
            _print(screen, demo_checks.released(stack, push.execution, push.items, before))

        with screen.phase("git push of release 4.1: five items, and the new image of billing crashes"):
            stack.aws.rollouts([CRASH_RULE])
            push, before = _push(screen, stack, _edit(text, NEXT | CRASHING), "Release 4.1")
            _follow(screen, stack, push)
            _print(
                screen,
                demo_checks.put_back(stack, push.execution, push.items, before, culprit=CULPRIT, queue=queue),
            )

        with screen.phase("git push of release 4.2: the same five, with billing fixed"):
            push, before = _push(screen, stack, _edit(text, NEXT | FIXED), "Release 4.2")
            _follow(screen, stack, push)
            _print(screen, demo_checks.released(stack, push.execution, push.items, before))

        with screen.phase("terraform destroy"):
            live = demo_checks.look(stack, push.items)
            terraform.destroy()
            _print(screen, demo_checks.destroyed(stack, terraform.resources(), push.items, live))
    return stack.aws.port


def _listen(stack: Stack) -> str:
    """Subscribe a queue to the releases' topic; its URL."""
    sqs = stack.client("sqs")
    url = str(sqs.create_queue(QueueName="release-messages")["QueueUrl"])
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    topic = str(stack.outputs["notification_topic_arn"])
    # https://docs.aws.amazon.com/sns/latest/dg/subscribe-sqs-queue-to-sns-topic.html
    letting_in = {
        "Effect": "Allow",
        "Principal": {"Service": "sns.amazonaws.com"},
        "Action": "sqs:SendMessage",
        "Resource": arn,
        "Condition": {"ArnEquals": {"aws:SourceArn": topic}},
    }
    policy = json.dumps({"Version": "2012-10-17", "Statement": [letting_in]})
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": policy})
    stack.client("sns").subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)
    return url


def _edit(text: str, changes: Mapping[str, str]) -> str:
    for old, new in changes.items():
        if text.count(old) != 1:
            raise RuntimeError(
                f"{MANIFEST.name} has {old!r} {text.count(old)} times, and the demo edits it once"
            )
        text = text.replace(old, new)
    return text


def _push(screen: Screen, stack: Stack, text: str, message: str) -> tuple[Push, dict[str, Observed]]:
    """Look at what is live, then commit and push."""
    manifest = load(text.encode()).manifest
    if manifest is None:
        raise RuntimeError(f"{MANIFEST} is not valid: run ecs-release validate on it")
    before = demo_checks.look(stack, manifest.items)
    screen.progress("git push")
    earlier = stack.executions()
    commit = stack.clone().push(text, message)
    screen.line(f"   git push origin main -> {stack.clone_url}, commit {commit[:8]}")
    return Push(manifest.items, stack.pipeline_execution(commit, earlier)), before


# --- watching -------------------------------------------------------------------------------------------------


def _follow(screen: Screen, stack: Stack, push: Push) -> None:
    """Show pipeline and items until the pipeline's execution ends."""
    deadline = time.monotonic() + HANG_SECONDS
    told: dict[str, str] = {}
    while True:
        status = stack.pipeline_status(push.execution)
        actions = stack.actions(push.execution)
        release = stack.release_of(actions)
        rows = stack.release_record(release)[1] if release else []
        if screen.moves:
            screen.draw(_table(actions, rows))
        else:
            _tell(screen, actions, rows, told)
        if status != "InProgress":
            screen.keep()
            return
        if time.monotonic() > deadline:
            raise StackTimeoutError(f"after {HANG_SECONDS:g} s the pipeline is still {status}")
        time.sleep(_POLL_SECONDS)


def _table(actions: Iterable[Mapping[str, Any]], rows: Sequence[ItemRecord]) -> list[list[Segment]]:
    lines = [_pipeline_line(actions)]
    for row in rows:
        if row.status != Status.UNCHANGED:
            lines.append(_row(row))
            if row.reason:
                lines.append([(f"      {row.reason}", "red")])
    unchanged = sum(row.status == Status.UNCHANGED for row in rows)
    if unchanged:
        lines.append([("   UNCHANGED          ", "green"), (f"{unchanged} others", None)])
    return lines


def _pipeline_line(actions: Iterable[Mapping[str, Any]]) -> list[Segment]:
    line: list[Segment] = [("   pipeline  ", None)]
    for action in actions:
        style = {"Succeeded": "green", "Failed": "red"}.get(str(action["status"]), "bold")
        line += [(f"{action['actionName']} ", None), (f"{action['status']}   ", style)]
    return line


def _row(row: ItemRecord) -> list[Segment]:
    return [
        (f"   {row.status:<19}", _style(row.status)),
        (f"{_short(row.name):<{_NAME_WIDTH}} ", None),
        (image_change(row.images), "dim"),
    ]


def _style(status: str) -> str | None:
    if status in BAD or status == Status.ROLLBACK_FAILED:
        return "red"
    if status == Status.ROLLED_BACK:
        return "yellow"
    return "green" if status in GOOD else None


def _short(name: str) -> str:
    """A name of the length that a table has room for: CloudFormation's names are long and differ at both ends."""
    half = (_NAME_WIDTH - 3) // 2
    return name if len(name) <= _NAME_WIDTH else f"{name[:half]}...{name[-half:]}"


def _tell(
    screen: Screen, actions: Iterable[Mapping[str, Any]], rows: Sequence[ItemRecord], told: dict[str, str]
) -> None:
    """Print what has changed since the last look: actions, how many items are where, and each item's outcome."""
    for action in actions:
        if told.get(action["actionName"]) != action["status"]:
            told[action["actionName"]] = action["status"]
            screen.line(f"   {screen.seconds:5.1f} s  pipeline  {action['actionName']} {action['status']}")
    quiet = {*OPEN, Status.UNCHANGED}
    under_way = Counter(row.status for row in rows if row.status in quiet)
    counts = ", ".join(f"{count} {status}" for status, count in under_way.items())
    if counts and told.get("") != counts:
        told[""] = counts
        screen.line(f"   {screen.seconds:5.1f} s  {counts}")
    for row in rows:
        if row.status not in quiet and told.get(row.name) != row.status:
            told[row.name] = row.status
            screen.line(
                f"   {screen.seconds:5.1f} s  {row.status:<19}{_short(row.name)}  {image_change(row.images)}"
            )
            if row.status in BAD and row.reason:
                screen.line(f"            {row.reason}")


def _print(screen: Screen, checks: Iterable[Check]) -> None:
    for check in checks:
        screen.check(check)


if __name__ == "__main__":
    sys.exit(main())
