"""The machine's ways, run by embedded AWS's interpreter with functions whose answers are written down beforehand."""

from __future__ import annotations

import io
import json
import time
import uuid
import zipfile
from collections.abc import Iterator
from typing import Any

import pytest
from local_aws.client import LocalAws
from machine import FOLDER, STEPS, render

# The input of the execution is the script: what Parse answers or raises, and what CheckRollouts answers, in order. It
# travels in the state, as CheckRollouts hands everything on. Batch 13 has no luck, and "die" ends CheckRollouts.
SOURCE = """
import json, os

class ManifestInvalidError(Exception):
    pass

class BadLuckError(Exception):
    pass

def handler(event, context):
    step = os.environ["STEP"]
    if step == "parse":
        script = event["input"]
        if "refuse" in script:
            raise ManifestInvalidError(script["refuse"])
        return {**script["state"], "script": script["then"]}
    if step == "check_rollouts":
        first, *rest = event["state"]["script"]
        if first == "die":
            raise BadLuckError("no verdict")
        return {**event["state"], **first, "script": rest}
    if step == "report":
        if event["state"].get("script") == ["no report"]:
            raise BadLuckError("no report")
        failed = "Error" in event["state"] or "error" in event["state"] or event["state"].get("failed")
        return {"seen": event["state"], **({"error": "EcsRelease.FAILED", "cause": "why"} if failed else {})}
    if event["batch"] == 13:
        raise BadLuckError("batch 13")
    return {"batch": event["batch"], "failed": 0}
"""
STATE: dict[str, Any] = {
    "epoch": 1,
    "seconds": 1,
    "prepare": [[0, 1], [2]],
    "tasks": [0],
    "services": [1, 2],
    "rollback": [2, 1, 0],
    "phase": "any",
}


def _role(aws: LocalAws) -> str:
    """ARN of a role for the functions and the machine, which may invoke them."""
    trust = {
        "Effect": "Allow",
        "Principal": {"Service": ["lambda.amazonaws.com", "states.amazonaws.com"]},
        "Action": "sts:AssumeRole",
    }
    invoke = {"Effect": "Allow", "Action": "lambda:InvokeFunction", "Resource": "*"}
    iam = aws.client("iam")
    made = iam.create_role(RoleName="any", AssumeRolePolicyDocument=json.dumps({"Statement": [trust]}))
    iam.put_role_policy(
        RoleName="any",
        PolicyName="invoke",
        PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [invoke]}),
    )
    return str(made["Role"]["Arn"])


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[LocalAws, str]]:
    """The rendered machine over functions that do as they are told; retries are few and quick."""
    folder = tmp_path_factory.mktemp("machine")
    with LocalAws.start(state_dir=folder, log=folder / "server.log") as aws:
        role = _role(aws)
        code = io.BytesIO()
        with zipfile.ZipFile(code, "w") as archive:
            archive.writestr("app.py", SOURCE)
        arns = {
            step: aws.client("lambda").create_function(
                FunctionName=step,
                Role=role,
                Runtime="python3.13",
                Handler="app.handler",
                Code={"ZipFile": code.getvalue()},
                Environment={"Variables": {"STEP": step}},
                Timeout=30,
            )["FunctionArn"]
            for step in STEPS
        }
        retry = json.loads((FOLDER / "retry.json").read_text())
        for rule in retry[1:]:
            rule.update(MaxAttempts=1, IntervalSeconds=1, MaxDelaySeconds=2)
        definition = render(arns, retry)
        definition["States"]["SitOut"]["Seconds"] = 1
        made = aws.client("stepfunctions").create_state_machine(
            name="release", definition=json.dumps(definition), roleArn=role
        )
        yield aws, made["stateMachineArn"]


class Run:
    """One execution to its end."""

    def __init__(self, machine: tuple[LocalAws, str], script: dict[str, Any]) -> None:
        aws, arn = machine
        client = aws.client("stepfunctions")
        execution = client.start_execution(
            stateMachineArn=arn, name=uuid.uuid4().hex, input=json.dumps(script)
        )["executionArn"]
        deadline = time.monotonic() + 60
        while True:
            self.answer = client.describe_execution(executionArn=execution)
            if self.answer["status"] != "RUNNING":
                break
            assert time.monotonic() < deadline
            time.sleep(0.05)
        events = client.get_execution_history(executionArn=execution, maxResults=1000)["events"]
        self.states = [
            e["stateEnteredEventDetails"]["name"] for e in events if "stateEnteredEventDetails" in e
        ]
        self.failures = [
            e["taskFailedEventDetails"]["error"] for e in events if "taskFailedEventDetails" in e
        ]

    @property
    def main(self) -> list[str]:
        """The states entered, but those inside of Maps."""
        return [name for name in self.states if "Batch" not in name and name != "PrepareTarget"]

    @property
    def seen(self) -> dict[str, Any]:
        """The state that reached Report."""
        document: dict[str, Any] = json.loads(self.answer["output"])["seen"]
        return document


def then(*steps: Any) -> dict[str, Any]:
    return {"state": {**STATE, "next": "PREPARE"}, "then": list(steps)}


def test_a_release_goes_its_way_and_succeeds(machine: tuple[LocalAws, str]) -> None:
    run = Run(
        machine,
        then({"next": "UPDATE_TASKS"}, {"next": "UPDATE_SERVICES"}, {"next": "WAIT"}, {"next": "REPORT"}),
    )
    assert run.answer["status"] == "SUCCEEDED"
    assert run.main == [
        *("Parse", "ChooseNextStep", "Prepare", "CheckRollouts"),
        *("ChooseNextStep", "UpdateTasks", "CheckRollouts"),
        *("ChooseNextStep", "UpdateServices", "CheckRollouts"),
        *("ChooseNextStep", "Wait", "CheckRollouts"),
        *("ChooseNextStep", "Report", "ChooseResult", "ReleaseSucceeded"),
    ]
    assert run.states.count("PrepareTarget") == 2
    assert run.states.count("PrepareBatch") == 3
    assert run.states.count("UpdateServiceBatch") == 2


def test_a_failure_goes_back_and_fails_with_report_s_error_and_cause(machine: tuple[LocalAws, str]) -> None:
    run = Run(machine, then({"next": "ROLLBACK"}, {"next": "REPORT", "failed": True}))
    assert run.answer["status"] == "FAILED"
    assert (run.answer["error"], run.answer["cause"]) == ("EcsRelease.FAILED", "why")
    assert run.states.count("RollbackBatch") == 3
    assert run.main[-3:] == ["Report", "ChooseResult", "ReleaseFailed"]


def test_a_refusal_is_not_tried_again_and_is_reported(machine: tuple[LocalAws, str]) -> None:
    run = Run(machine, {"refuse": "E001 line 1"})
    assert run.main == ["Parse", "Report", "ChooseResult", "ReleaseFailed"]
    assert run.failures == ["ManifestInvalidError"]


@pytest.mark.parametrize(
    ("field", "value", "following"),
    [
        ("prepare", [[0, 13], [2]], None),
        ("tasks", [13, 0], "UPDATE_TASKS"),
        ("services", [13, 1], "UPDATE_SERVICES"),
        ("rollback", [13, 2], "ROLLBACK"),
    ],
)
def test_a_dead_worker_is_tried_again_and_then_handed_on_beside_its_siblings(
    machine: tuple[LocalAws, str], field: str, value: list[Any], following: str | None
) -> None:
    steps = [{"next": following}] if following else []
    script = then(*steps, {"next": "REPORT"})
    script["state"] = {**script["state"], field: value}
    run = Run(machine, script)
    assert run.answer["status"] == "SUCCEEDED"  # CheckRollouts alone decides; here it was told to go on
    assert run.failures == ["BadLuckError"] * 2
    flat = [entry for part in run.seen["results"] for entry in (part if isinstance(part, list) else [part])]
    assert {"batch": 13, "error": "BadLuckError"} in flat
    assert len([entry for entry in flat if entry.get("failed") == 0]) == len(flat) - 1


def test_a_decision_maker_that_dies_gets_a_pause_and_another_turn_and_is_then_reported(
    machine: tuple[LocalAws, str],
) -> None:
    run = Run(machine, then("die"))
    assert run.failures == ["BadLuckError"] * 4
    assert run.main[-6:] == [
        "CheckRollouts",
        "SitOut",
        "CheckRolloutsOnceMore",
        "Report",
        "ChooseResult",
        "ReleaseFailed",
    ]


def test_what_nobody_knows_is_reported_and_never_waited_on(machine: tuple[LocalAws, str]) -> None:
    assert Run(machine, then({"next": "SOMETHING_NEW"})).main[-4:-1] == [
        "ChooseNextStep",
        "Report",
        "ChooseResult",
    ]


def test_a_report_that_fails_leaves_the_record_to_the_rule_on_failed_executions(
    machine: tuple[LocalAws, str],
) -> None:
    run = Run(machine, then({"next": "REPORT"}, "no report"))
    assert run.answer["error"] == "EcsRelease.REPORTING_FAILED"
    assert run.main[-2:] == ["Report", "ReportingFailed"]
