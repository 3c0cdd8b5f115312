"""Every permission is needed, none is missing, and a judge that is not ours says the same.

A run of its own: a push through the gate to two accounts in two Regions, one that fails and goes back, one that is stopped, one
that Build refuses, and a release by hand that is refused. What embedded AWS was asked meanwhile is recorded, and judged again here.
"""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import subprocess
import time
import zipfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from local_aws.client import HANG_SECONDS, LocalAws
from local_aws.estate import ACCOUNT, Estate, container
from local_aws.kernel.iam.decision import Policies, decide, sentence
from local_aws.services.iam.report import Held, asked, held, refused, refused_without
from policy_sentry.querying.actions import get_action_data
from stack import Stack

from scripts import terraform_cli_config
from scripts.checkout import BUILD, ROOT
from scripts.terraform import Terraform

OTHER, OTHER_REGION = "222222222222", "eu-west-1"
EXTERNAL_ID = "releases-of-the-platform-team"
HERE = Path(__file__).parent / "permissions"
JUDGE = "@cloud-copilot/iam-simulate@0.1.173"
CLUSTER = "shop"
# It knows kms:EncryptionContext:<key> for keys without a colon alone, and AWS's own services use no others.
# https://docs.aws.amazon.com/kms/latest/developerguide/conditions-kms.html#conditions-kms-encryption-context
PASSED_OVER = "kms:encryptioncontext"
CRASH = {"image": "crash", "outcome": "circuit_breaker_rollback", "seconds": 1}

# Statements that no call of this run needed, by the holder's name, kind and Sid: why they are there all the same.
REASONS: dict[str, str] = json.loads((HERE / "unneeded.json").read_text(encoding="utf-8"))


class There:
    """Clients of the target account in its Region."""

    def __init__(self, aws: LocalAws) -> None:
        self._aws = aws

    def client(self, service: str) -> Any:
        return self._aws.client(service, OTHER_REGION, account=OTHER)


def target_account(aws: LocalAws, folder: Path) -> dict[str, str]:
    """Apply ``modules/deployment_role`` in the other account; its outputs."""
    folder.mkdir()
    # Relative: of an absolute path Terraform copies the module's folder alone.
    source = os.path.relpath(ROOT / "modules" / "deployment_role", folder.resolve())
    (folder / "main.tf").write_text(
        f"""
        provider "aws" {{
          skip_credentials_validation = true
          skip_region_validation      = true
          max_retries                 = 2
        }}
        module "role" {{
          source       = "{source}"
          orchestrator = {{ account_id = "{ACCOUNT}" }}
          external_id  = "{EXTERNAL_ID}"
        }}
        output "role_arn" {{ value = module.role.role_arn }}
        output "reader_role_arn" {{ value = module.role.reader_role_arn }}
        """
    )
    keys = {"AWS_ACCESS_KEY_ID": OTHER, "AWS_SECRET_ACCESS_KEY": "local"}
    terraform = Terraform(folder, {**aws.environment(OTHER_REGION), **keys}, example=folder)
    terraform.init()
    terraform.apply()
    return {name: str(output["value"]) for name, output in terraform.outputs().items()}


class Run:
    """The module with a gate and a second target, and an estate in both accounts."""

    def __init__(self, aws: LocalAws, folder: Path) -> None:
        other = target_account(aws, folder / "other")
        target = {**other, "region": OTHER_REGION, "external_id": EXTERNAL_ID}
        variables = ["-var", "approval={}", "-var", f"targets={json.dumps({'other': target})}"]
        terraform = Terraform(folder, aws.environment(), variables)
        terraform.init()
        terraform.apply()
        outputs = {name: output["value"] for name, output in terraform.outputs().items()}
        self.stack = Stack(aws, outputs, folder)
        for clients, account in ((aws, ACCOUNT), (There(aws), OTHER)):
            estate = Estate(clients, account)
            cluster = estate.cluster(CLUSTER)
            for name in ("api", "worker"):
                estate.service(CLUSTER, name, estate.family(name, [container("app", image(name, "1"))]))
            estate.rule(
                "cleanup", cluster, estate.family("cleanup", [container("app", image("cleanup", "1"))])
            )
            key = clients.client("kms").create_key()["KeyMetadata"]["Arn"]
            estate.schedule(
                "nightly",
                cluster,
                estate.family("nightly", [container("app", image("nightly", "1"))]),
                KmsKeyArn=key,
            )

    def manifest(self, **tags: str) -> str:
        lines: dict[str, list[str]] = {"tasks": [], "services": []}
        for target in ("default", "other"):
            for name, tag in tags.items():
                kind = "services" if name in ("api", "worker") else "tasks"
                where = {
                    "cleanup": "cwRuleName: cleanup",
                    "nightly": "scheduleName: nightly",
                }.get(name, f"clusterName: {CLUSTER}\n    serviceName: {name}")
                lines[kind].append(
                    f"  - service: app\n    {where}\n    image: {image(name, tag)}\n    target: {target}\n"
                )
        return "".join(f"{kind}:\n{''.join(entries)}" for kind, entries in lines.items() if entries)

    def push(self, manifest: str) -> dict[str, Any]:
        """Push, approve, and wait for the pipeline's end."""
        return self.stack.wait_for_pipeline(self._approve(manifest))

    def stop(self, manifest: str, item: str) -> str:
        """Push, approve, and stop the release's execution once it has written to an item; the status that its record got."""
        commit, states = self._approve(manifest), self.stack.client("stepfunctions")
        machine = self.stack.outputs["state_machine_arn"]

        def running() -> list[dict[str, Any]]:
            found = states.list_executions(stateMachineArn=machine, statusFilter="RUNNING")
            return list(found["executions"])

        (execution,) = _until(running)
        release = execution["name"]
        _until(
            lambda: [i for i in self.stack.store.items(release) if i.name == item and i.status == "UPDATED"]
        )
        states.stop_execution(executionArn=execution["executionArn"], cause="stopped by an operator")
        self.stack.wait_for_pipeline(commit)

        def closed() -> str | None:
            record = self.stack.store.release(release)
            return None if record is None or record.status == "RUNNING" else str(record.status)

        return str(_until(closed))

    def _approve(self, manifest: str) -> str:
        """Push, and approve unless Build fails; the commit."""
        client, name = self.stack.client("codepipeline"), self.stack.outputs["pipeline_name"]
        commit = self.stack.push(manifest)
        deadline = time.monotonic() + HANG_SECONDS
        while time.monotonic() < deadline:
            stages = client.get_pipeline_state(name=name)["stageStates"]
            approve = next(s for s in stages if s["stageName"] == "Approve")
            latest = approve["actionStates"][0].get("latestExecution", {})
            if latest.get("status") == "InProgress" and latest.get("token"):
                client.put_approval_result(
                    pipelineName=name,
                    stageName="Approve",
                    actionName="Approve",
                    result={"summary": "seen", "status": "Approved"},
                    token=latest["token"],
                )
                break
            if self.stack.has_failed(commit):
                break
            time.sleep(0.3)
        return commit


def _until(look: Callable[[], Any]) -> Any:
    """Look until there is something, and return it."""
    deadline = time.monotonic() + HANG_SECONDS
    while not (found := look()):
        assert time.monotonic() < deadline, "nothing of the kind comes"
        time.sleep(0.3)
    return found


def image(name: str, tag: str) -> str:
    return f"public.ecr.aws/shop/{name}:{tag}"


@pytest.fixture(scope="module")
def run(aws: LocalAws, tmp_path_factory: pytest.TempPathFactory) -> Run:
    terraform_cli_config.main()
    return Run(aws, tmp_path_factory.mktemp("permissions"))


@pytest.fixture(scope="module")
def record(aws: LocalAws, run: Run) -> dict[str, Any]:
    stack = run.stack
    landed = run.push(run.manifest(api="2", worker="2", cleanup="2", nightly="2"))
    assert landed["status"] == "Succeeded", landed
    aws.rollouts([CRASH])
    failed = run.push(run.manifest(api="3", worker="3-crash", cleanup="3", nightly="3"))
    assert failed["status"] == "Failed", failed
    assert stack.release_of(failed).error == "EcsRelease.ROLLED_BACK"
    stack.wait_for_clean_up()
    # Stopped: the rule on ended executions has Report close the record.
    aws.rollouts([{"service": "worker", "outcome": "stall"}])
    assert run.stop(run.manifest(worker="4"), f"{CLUSTER}/worker") == "ABORTED"
    _until(lambda: [told for told in aws.notifications() if "ABORTED" in told["subject"]])
    # Before a release there is no report: a rule tells the topic itself.
    unreadable = run.push("services: none\n")
    assert unreadable["actions"]["Build.Build"]["status"] == "Failed", unreadable
    _until(lambda: [told for told in aws.notifications() if unreadable["id"] in told["message"]])
    # By hand nothing is released past the gate: Parse refuses it, and the report tells it.
    assert stack.release(run.manifest(api="4")).error == "EcsRelease.REJECTED"
    aws.rollouts([])
    document = aws.permissions()
    (BUILD / "permissions.json").write_text(json.dumps(document), encoding="utf-8")  # to look at
    return document


def short(statement: Held) -> str:
    """Such as ``ecs-release-report identity Trace``; whose target account does not matter, nor which session, version or key."""
    _, _, service, _, _, resource = statement.holder.split(":", 5)
    name = {
        "kms": "key",
        "lambda": resource.removeprefix("function:").partition(":")[0],
    }.get(service, resource.rpartition("/")[2])
    return f"{name} {statement.kind} {statement.name}"


def test_nothing_was_refused(record: dict[str, Any]) -> None:
    """What a run does is allowed, all of it."""
    assert refused(record) == []


def test_each_statement_was_needed_or_says_why_it_is_there(record: dict[str, Any]) -> None:
    """Mutation: without a statement at least one recorded request is refused."""
    statements = held(record)
    unneeded = {short(s) for s in statements if not refused_without(record, s)}
    unneeded -= {short(s) for s in statements if refused_without(record, s)}  # needed in one of the accounts

    print(f"{len(statements)} statements, {len(unneeded)} that no request needed")
    assert unneeded - set(REASONS) == set(), (
        "no request needed these; take them out, or say why in unneeded.json"
    )
    assert set(REASONS) - unneeded == set(), "these are needed now; take them out of unneeded.json"


Statement = dict[str, Any]


@dataclass(frozen=True)
class Mend:
    """Something that AWS would have refused once, put back as it was.

    Attributes
    ----------
    kind : of the policies that had it: "identity", "session" or "resource".
    undo : changes a statement back; False where it is not about it.
    says : what AWS says of a call that is refused then.
    """

    kind: str
    undo: Callable[[Statement], bool]
    says: str


def _without(action: str) -> Callable[[Statement], bool]:
    def undo(statement: Statement) -> bool:
        actions = statement.get("Action")
        if not isinstance(actions, list) or action not in actions:
            return False
        statement["Action"] = [name for name in actions if name != action] or ["none:None"]
        return True

    return undo


def _asking_for_the_account(sid: str) -> Callable[[Statement], bool]:
    def undo(statement: Statement) -> bool:
        if statement.get("Sid") != sid:
            return False
        asked = statement.setdefault("Condition", {})
        asked["StringEquals"] = {**asked.get("StringEquals", {}), "aws:SourceAccount": ACCOUNT}
        return True

    return undo


def _not_taking_silence(statement: Statement) -> bool:
    condition = statement.get("Condition", {})
    statement["Condition"] = {name.removesuffix("IfExists"): keys for name, keys in condition.items()}
    return any(name.endswith("IfExists") for name in condition)


# docs/fidelity.md lists these, and who judges what a policy does not show.
MENDS = {
    "UpdateService passes roles, says the session": Mend(
        "session", _without("iam:PassRole"), "because no session policy allows the iam:PassRole action"
    ),
    "UpdateService passes roles, says the role": Mend(
        "identity",
        _without("iam:PassRole"),
        "because no identity-based policy allows the iam:PassRole action",
    ),
    "registering with tags tags": Mend(
        "session", _without("ecs:TagResource"), "because no session policy allows the ecs:TagResource action"
    ),
    "describing with tags lists them": Mend(
        "session",
        _without("ecs:ListTagsForResource"),
        "because no session policy allows the ecs:ListTagsForResource action",
    ),
    "EventBridge calls Report without a source account": Mend(
        "resource",
        _asking_for_the_account("RuleOnEndedExecutions"),
        "because no resource-based policy allows the lambda:InvokeFunction action",
    ),
    "EventBridge tells of a failed Deploy without a source account": Mend(
        "resource",
        _asking_for_the_account("RuleOnFailedDeployActions"),
        "because no resource-based policy allows the lambda:InvokeFunction action",
    ),
    "EventBridge publishes without a source account": Mend(
        "resource",
        _asking_for_the_account("RulesPublish"),
        "because no resource-based policy allows the SNS:Publish action",
    ),
    "EventBridge uses the topic's key without a source account": Mend(
        "resource",
        _asking_for_the_account("RulesPublishToTheTopic"),
        "because no resource-based policy allows the kms:GenerateDataKey action",
    ),
    "CodePipeline need not say for which pipeline": Mend(
        "resource", _not_taking_silence, "because no role trust policy allows the sts:AssumeRole action"
    ),
}


def _undone(policies: Policies, mend: Mend) -> Policies:
    def changed(text: str) -> str:
        document = json.loads(text)
        statements = document["Statement"]
        found = [mend.undo(s) for s in (statements if isinstance(statements, list) else [statements])]
        return json.dumps(document) if any(found) else text

    if mend.kind == "resource":
        return replace(policies, resource=policies.resource and changed(policies.resource))
    if mend.kind == "session":
        return replace(policies, session=policies.session and tuple(map(changed, policies.session)))
    return replace(policies, identity=tuple((name, changed(text)) for name, text in policies.identity))


@pytest.mark.parametrize("mend", MENDS.values(), ids=MENDS)
def test_with_a_mend_undone_the_run_is_refused_in_aws_s_words(record: dict[str, Any], mend: Mend) -> None:
    said = set()
    for request, policies, entry in asked(record):
        undone = _undone(policies, mend)
        decision = decide(request, undone)
        if entry["allowed"] and undone != policies and not decision.allowed:
            said.add(sentence(request, decision))
    assert [text for text in said if " is not authorized to perform: " in text and mend.says in text], said


def test_the_resources_asked_for_have_the_reference_s_form(record: dict[str, Any]) -> None:
    """ARNs are those of the Service Authorization Reference for their action."""
    wrong = set()
    for entry in record["requests"]:
        service, _, name = entry["action"].partition(":")
        lines = next(iter(get_action_data(service, name).values()))
        forms = {line["resource_arn_format"] for line in lines}
        if entry["resource"] != "*" and not any(_has_form(entry["resource"], form) for form in forms):
            wrong.add((entry["action"], entry["resource"], tuple(sorted(forms))))
    assert {action for action, *_ in wrong} <= {"logs:CreateLogStream"}, wrong  # see calls.json


def _has_form(arn: str, form: str) -> bool:
    """A form's ``${...}`` stand for anything."""

    pattern = "".join(
        ".*" if part.startswith("${") else re.escape(part) for part in re.split(r"(\$\{[^}]+\})", form)
    )
    return re.fullmatch(pattern, arn) is not None


def test_the_second_judge_agrees(record: dict[str, Any], tmp_path: Path) -> None:
    """All (policies, request) pairs, by https://github.com/cloud-copilot/iam-simulate, run as a program of its own."""
    if shutil.which("npm") is None or shutil.which("node") is None:
        pytest.skip("npm is not installed, so no second judge judged")
    home = BUILD / "second-judge"
    home.mkdir(parents=True, exist_ok=True)
    if not (home / "node_modules" / "@cloud-copilot").is_dir():
        subprocess.run(
            ["npm", "install", "--no-audit", "--no-fund", "--cache", str(BUILD / "npm"), JUDGE],
            cwd=home,
            check=True,
            capture_output=True,
            timeout=HANG_SECONDS,
        )
    shutil.copy(HERE / "second_judge.mjs", home)
    (home / "record.json").write_text(json.dumps(record), encoding="utf-8")
    said = subprocess.run(
        ["node", "second_judge.mjs", "record.json"],
        cwd=home,
        check=True,
        capture_output=True,
        text=True,
        timeout=HANG_SECONDS,
    ).stdout
    verdicts = [json.loads(line) for line in said.splitlines()]
    assert len(verdicts) == len(record["requests"]) > 0

    differ = []
    for (place, verdict, passed_over, *why), (request, policies, entry) in zip(
        verdicts, asked(record), strict=True
    ):
        assert all(key.startswith(PASSED_OVER) for key in passed_over), passed_over
        # Where it did not look at a key, it is compared with what we say without that key.
        seen = tuple(pair for pair in request.context if pair[0] not in passed_over)
        ours = decide(replace(request, context=seen), policies).allowed if passed_over else entry["allowed"]
        if (verdict == "Allowed") is not ours:
            differ.append(
                (place, request.caller.arn, request.action, request.resource, verdict, entry["reason"], why)
            )
    counts = Counter(verdict for _, verdict, *_rest in verdicts)
    print(f"second judge: {dict(counts)}")
    assert differ == []


def test_without_pass_role_in_the_step_s_session_policy_a_release_fails_in_aws_s_words(
    run: Run, record: dict[str, Any]
) -> None:
    """As it was before keidarcy/e1s#429 was read: UpdateService passes the roles of the task definition that it names."""
    assert record, "the record is made first, without this"
    stack, name = run.stack, "ecs-release-update-service"
    packed = io.BytesIO()
    with zipfile.ZipFile(ROOT / "lambda_src" / "package.zip") as old, zipfile.ZipFile(packed, "w") as new:
        for entry in old.namelist():
            data = old.read(entry)
            if entry == "ecs_release/aws/permissions.json":
                document = json.loads(data)
                document["calls"]["ecs:UpdateService"]["authorisedAs"].remove("iam:PassRole")
                data = json.dumps(document).encode()
            new.writestr(entry, data)
    function, states = stack.client("lambda"), stack.client("stepfunctions")
    made = function.update_function_code(FunctionName=name, ZipFile=packed.getvalue(), Publish=True)
    version = made["Version"] if made["Version"].isdigit() else made["FunctionArn"].rpartition(":")[2]
    machine = stack.outputs["state_machine_arn"]
    definition = states.describe_state_machine(stateMachineArn=machine)["definition"]
    states.update_state_machine(
        stateMachineArn=machine,
        definition=re.sub(rf"(:function:{name}):\d+", rf"\1:{version}", definition),
    )

    outcome = stack.release_of(run.push(run.manifest(api="6")))

    assert outcome.error == "EcsRelease.FAILED", (
        "refused whole: nothing was written, so nothing has to go back"
    )
    assert "is not authorized to perform: iam:PassRole on resource: arn:aws:iam::" in outcome.cause
    assert "because no session policy allows the iam:PassRole action" in outcome.cause
