"""What the demo verifies, each through the AWS API: never through the code that released."""

from __future__ import annotations

import contextlib
import json
import socket
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from botocore.exceptions import ClientError
from ecs_release.manifest import Item, Rule, Schedule, Service
from ecs_release.record.models import ItemRecord, ReleaseRecord
from local_aws.estate.observed import Observed, Observer, count_members, differences

from scripts.screen import Check
from scripts.stack import Stack, StackTimeoutError

View = Mapping[str, Observed]
"""Item's name -> what is live."""


def look(stack: Stack, items: Sequence[Item]) -> dict[str, Observed]:
    """Read everything that a manifest names."""
    observer = Observer(stack.aws)
    found: dict[str, Observed] = {}
    for item in items:
        match item:
            case Service():
                found[item.name] = observer.service(item.cluster, item.service)
            case Rule():
                found[item.name] = observer.rule(item.rule, item.event_bus)
            case Schedule():
                found[item.name] = observer.schedule(item.schedule, item.group)
    return found


def released(stack: Stack, execution: str, items: Sequence[Item], before: View) -> Iterator[Check]:
    """Everything that a release which succeeded has to have done, and nothing else."""
    arn = str(stack.release_of(stack.actions(execution)))
    record, rows = stack.release_record(arn)
    after = look(stack, items)
    changed = [item for item in items if _wants_change(item, before)]
    same = [item for item in items if item not in changed]
    yield _pipeline(stack, execution, "Succeeded")
    answer = stack.execution(arn)
    output = json.loads(answer.get("output") or "{}")
    yield Check(
        "execution",
        answer["status"] == "SUCCEEDED" and output.get("status") == "SUCCEEDED",
        f"{answer['status']}, its output says {output.get('status')}: {_counts(output.get('counts'))}",
    )
    yield _record(record, rows, "SUCCEEDED", {"SUCCEEDED": len(changed), "UNCHANGED": len(same)})
    yield from _services_run(changed, after, rows)
    for item in changed:
        if item.kind == "task":
            yield _task_runs(item, before[item.name], after[item.name])
    if same:
        yield _same_deployments("unchanged services, not deployed again", same, before, after)
    yield _nothing_else(items, before, after)
    yield _sidecars(changed, before, after)
    yield _one_revision_each(stack, changed, before, after)


def put_back(
    stack: Stack, execution: str, items: Sequence[Item], before: View, *, culprit: str, queue: str
) -> Iterator[Check]:
    """Everything that a release which failed has to have said and undone."""
    arn = str(stack.release_of(stack.actions(execution)))
    record, rows = stack.release_record(arn)
    after = look(stack, items)
    changed = [item for item in items if _wants_change(item, before)]
    yield _pipeline(stack, execution, "Failed")
    answer = stack.execution(arn)
    cause = answer.get("cause") or ""
    named = next((line.strip() for line in cause.splitlines() if culprit in line), "the culprit is not named")
    yield Check(
        "execution says why",
        (answer["status"], answer.get("error")) == ("FAILED", "EcsRelease.ROLLED_BACK") and culprit in named,
        f"{answer['status']}, {answer.get('error')}: {named}",
    )
    yield _record(record, rows, "ROLLED_BACK", {"ROLLED_BACK": len(changed)})
    services = [item for item in changed if item.kind == "service"]
    back = [item for item in services if _is_back(before[item.name], after[item.name])]
    yield Check(
        "services put back",
        len(back) == len(services) > 0,
        f"{len(back)} of {len(services)} PRIMARY deployments COMPLETED on the revision from before: "
        + ", ".join(after[item.name].revision for item in services),
    )
    for item in changed:
        if item.kind == "task":
            old, new = before[item.name], after[item.name]
            found = differences(old.exact, new.exact)
            yield Check(
                f"{item.name} put back",
                not found and old.images == new.images,
                found[0] if found else f"all {count_members(old.exact)} members as before, at {new.revision}",
            )
    yield _same_deployments(
        "the other services, not touched", [i for i in items if i not in changed], before, after
    )
    yield _nothing_else(items, before, after)
    yield _deregistered(stack, changed, before)
    yield _message(stack, queue, culprit)


def destroyed(stack: Stack, resources: Sequence[str], items: Sequence[Item], before: View) -> Iterator[Check]:
    """Nothing of the module is left, and the estate runs on."""
    yield Check("Terraform's state", not resources, f"{len(resources)} resources left")
    pipelines = [p["name"] for p in stack.client("codepipeline").list_pipelines()["pipelines"]]
    machines = [m["name"] for m in stack.client("stepfunctions").list_state_machines()["stateMachines"]]
    functions = [f["FunctionName"] for f in stack.client("lambda").list_functions()["Functions"]]
    tables = stack.client("dynamodb").list_tables()["TableNames"]
    left = [*pipelines, *machines, *functions, *tables]
    yield Check(
        "pipeline, machine, functions, tables", not left, ", ".join(left) or "AWS lists none any more"
    )
    bucket = str(stack.outputs["artifact_bucket_name"])
    try:
        stack.client("s3").head_bucket(Bucket=bucket)
        gone = "is still there"
    except ClientError as error:
        gone = f"HeadBucket: {error.response['Error']['Code']}"
    yield Check("artifact bucket", "404" in gone, gone)
    yield _same_deployments("the estate runs on", items, before, look(stack, items))


def port_closed(port: int) -> Check:
    """The server is gone."""
    with socket.socket() as probe:
        refused = probe.connect_ex(("127.0.0.1", port)) != 0
    return Check(
        "embedded AWS stopped", refused, f"port {port} is closed" if refused else f"port {port} still answers"
    )


# --- single checks --------------------------------------------------------------------------------------------


def _wants_change(item: Item, before: View) -> bool:
    return any(before[item.name].images[name] != image for name, image in item.images.items())


def _counts(counts: Mapping[str, int] | None) -> str:
    return ", ".join(f"{count} {status}" for status, count in sorted((counts or {}).items()))


def _pipeline(stack: Stack, execution: str, wanted: str) -> Check:
    status = stack.pipeline_status(execution)
    actions = ", ".join(f"{a['actionName']} {a['status']}" for a in stack.actions(execution))
    return Check(
        f"pipeline {wanted.lower()}", status == wanted, f"GetPipelineExecution: {status} ({actions})"
    )


def _record(
    record: ReleaseRecord | None, rows: Sequence[ItemRecord], status: str, wanted: Mapping[str, int]
) -> Check:
    counts = Counter(row.status for row in rows)
    expected = {name: count for name, count in wanted.items() if count}
    # items that were not to change may have been looked at or not, in a release that failed
    found = {name: count for name, count in counts.items() if name in wanted}
    return Check(
        "releases table",
        record is not None and record.status == status and found == expected,
        f"{record.status if record else 'no record'}: {_counts(counts)}",
    )


def _services_run(items: Sequence[Item], after: View, rows: Sequence[ItemRecord]) -> Iterator[Check]:
    services = [item for item in items if item.kind == "service"]
    ours = {row.name: row.deployment_id for row in rows}
    wrong = []
    for item in services:
        live = after[item.name]
        deployment = live.deployment or {}
        if any(live.images.get(name) != image for name, image in item.images.items()):
            wrong.append(f"{item.name} runs {live.images}")
        elif deployment.get("rolloutState") != "COMPLETED" or not deployment.get("runningCount"):
            wrong.append(f"{item.name} is {deployment.get('rolloutState')}")
        elif deployment.get("runningCount") != deployment.get("desiredCount"):
            wrong.append(
                f"{item.name} runs {deployment.get('runningCount')} of {deployment.get('desiredCount')}"
            )
        elif deployment.get("id") != ours.get(item.name):
            wrong.append(f"{item.name}: {deployment.get('id')} is not the deployment of this release")
    yield Check(
        "images named run",
        not wrong and bool(services),
        "; ".join(wrong)
        or f"{len(services)} of {len(services)} PRIMARY deployments COMPLETED, each the very one of this release",
    )


def _task_runs(item: Item, before: Observed, after: Observed) -> Check:
    images = all(after.images.get(name) == image for name, image in item.images.items())
    pinned = after.revision.rpartition(":")[2].isdigit()
    kind = "rule" if isinstance(item, Rule) else "schedule"
    if kind == "rule":
        others = len(before.exact) - 1
        beside = f"its {others} other targets untouched" if others else "nothing else in it changed"
    else:
        target = after.exact["Target"]
        beside = (
            f"kept: dead-letter queue, {target['RetryPolicy']['MaximumRetryAttempts']} retries, "
            f"{after.exact['FlexibleTimeWindow']['MaximumWindowInMinutes']} min window, "
            f"end {after.exact['EndDate']:%Y-%m-%d}"
        )
    rest = differences(before.rest, after.rest)
    return Check(
        f"{kind} {item.name}",
        images and pinned and not rest,
        rest[0] if rest else f"{before.revision} -> {after.revision}; {beside}",
    )


def _nothing_else(items: Sequence[Item], before: View, after: View) -> Check:
    found = []
    for item in items:
        found += [
            f"{item.name} {line}" for line in differences(before[item.name].rest, after[item.name].rest)
        ]
    compared = sum(count_members(before[item.name].rest) for item in items)
    return Check(
        "nothing else changed",
        not found,
        "; ".join(found[:3]) or f"{compared} members of definitions, services, rules, schedules are equal",
    )


def _sidecars(items: Sequence[Item], before: View, after: View) -> Check:
    moved: list[str] = []
    kept: list[str] = []
    for item in items:
        for name, image in before[item.name].images.items():
            if name in item.images:
                continue
            (kept if after[item.name].images.get(name) == image else moved).append(
                f"{name} {image.rpartition('/')[2]}"
            )
    return Check(
        "containers not named", not moved, f"changed: {', '.join(moved)}" if moved else ", ".join(kept)
    )


def _same_deployments(what: str, items: Sequence[Item], before: View, after: View) -> Check:
    services = [item for item in items if item.kind == "service"]
    moved = [
        item.name
        for item in services
        if (before[item.name].deployment or {}).get("id") != (after[item.name].deployment or {}).get("id")
    ]
    return Check(
        what,
        not moved and bool(services),
        f"deployed again: {', '.join(moved)}"
        if moved
        else f"{len(services)} services with the same deployment ids",
    )


def _one_revision_each(stack: Stack, items: Sequence[Item], before: View, after: View) -> Check:
    observer = Observer(stack.aws)
    wrong = []
    for item in items:
        family, old = _parts(before[item.name].task_definition)
        fresh = [arn for arn in observer.revisions(family) if _parts(arn)[1] > old]
        if fresh != [after[item.name].task_definition]:
            wrong.append(f"{family}: {_names(fresh) or 'none'}")
    found = "; ".join(wrong) or f"{len(items)} for {len(items)} items"
    return Check("one new revision each", not wrong, found)


def _is_back(before: Observed, after: Observed) -> bool:
    deployment = after.deployment or {}
    return (
        before.task_definition == after.task_definition
        and deployment.get("rolloutState") == "COMPLETED"
        and deployment.get("runningCount") == deployment.get("desiredCount")
    )


def _deregistered(stack: Stack, items: Sequence[Item], before: View) -> Check:
    """The clean-up comes after the report, at ECS's pace of one a second."""
    observer = Observer(stack.aws)

    def new_revisions() -> tuple[list[str], list[str]]:
        left, gone = [], []
        for item in items:
            family, old = _parts(before[item.name].task_definition)
            left += [arn for arn in observer.revisions(family) if _parts(arn)[1] > old]
            gone += [arn for arn in observer.revisions(family, "INACTIVE") if _parts(arn)[1] > old]
        return left, gone

    with contextlib.suppress(StackTimeoutError):
        stack.until("end of the clean-up", lambda: not new_revisions()[0], 60 + 3 * len(items))
    left, gone = new_revisions()
    return Check(
        "revisions that nothing uses",
        not left and len(gone) == len(items),
        f"{len(left)} ACTIVE, {len(gone)} INACTIVE: {_names(gone)}",
    )


def _parts(arn: str) -> tuple[str, int]:
    family, _, revision = arn.rpartition("/")[2].partition(":")
    return family, int(revision or 0)


def _names(arns: Sequence[str]) -> str:
    return ", ".join(arn.rpartition("/")[2] for arn in arns)


def _message(stack: Stack, queue: str, culprit: str) -> Check:
    received: list[dict[str, Any]] = []
    sqs = stack.client("sqs")
    while found := sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10).get("Messages", []):
        for message in found:
            received.append(json.loads(message["Body"]))
            sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
    about = [m for m in received if culprit in m["Message"]]
    return Check(
        "message to the topic",
        len(about) == 1,
        f'SNS to SQS: "{about[0]["Subject"]}", names {culprit}'
        if about
        else f"{len(received)} messages, none names it",
    )
