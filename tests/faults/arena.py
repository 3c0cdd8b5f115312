"""Where faults happen: estates with names of their own, faults that add up, and orchestrators side by side.

One release runs at a time for one orchestrator. Releases that take long run on further orchestrators of the same
embedded AWS, copied through the AWS API from the one that Terraform made.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from local_aws.client import HANG_SECONDS
from stack import Outcome, Stack
from world import World, container, image

PACKAGE = Path(__file__).parents[2] / "lambda_src" / "package.zip"
CLUSTER = "faults"
_POLL_SECONDS = 0.1


def service(name: str, tag: str = "2", **members: Any) -> dict[str, Any]:
    """A manifest's entry: the container ``app`` of a service of this name gets ``name:tag``."""
    entry = {"service": "app", "clusterName": CLUSTER, "serviceName": name, "image": image(f"{name}:{tag}")}
    return {**entry, **members}


def task(rule: str, tag: str = "2", **members: Any) -> dict[str, Any]:
    """A manifest's entry for an EventBridge rule."""
    return {"service": "app", "cwRuleName": rule, "image": image(f"{rule}:{tag}"), **members}


def scheduled(schedule: str, tag: str = "2", **members: Any) -> dict[str, Any]:
    """A manifest's entry for a schedule."""
    return {"service": "app", "scheduleName": schedule, "image": image(f"{schedule}:{tag}"), **members}


def until(what: str, check: Callable[[], Any], seconds: float = HANG_SECONDS) -> Any:
    """The first true value of a check."""
    deadline = time.monotonic() + seconds
    while True:
        value = check()
        if value:
            return value
        assert time.monotonic() < deadline, f"after {seconds:g} s still not {what}"
        time.sleep(_POLL_SECONDS)


class Arena:
    """The applied module and what these tests do to it.

    Rules and faults are global to the embedded AWS and releases run side by side, so they are only ever added, and each
    names by a pattern the things of its own test.
    """

    _lock = threading.Lock()

    def __init__(self, stack: Stack, name: str = "ecs-release") -> None:
        self.stack = stack
        self.name = name
        self.background: dict[str, Future[Any]] = {}
        self.aws = stack.aws
        self.world = World(stack)
        self.ecs = stack.client("ecs")
        self.events = stack.client("events")
        self.states = stack.client("stepfunctions")
        if name == "ecs-release":
            self.world.cluster(CLUSTER)
            self.aws.rollouts([{"seconds": 1}])

    # --- what goes wrong ---------------------------------------------------------------------------------------

    def rollouts(self, *rules: Mapping[str, Any]) -> None:
        """These rules come before those given earlier."""
        with self._lock:
            self.aws.control("rollouts", [*rules, *self.aws.control("rollouts")])

    def faults(self, *faults: Mapping[str, Any]) -> None:
        """Add faults to those that are left: for the functions, not for what a test itself reads meanwhile."""
        faults = tuple({"function": ".", **fault} for fault in faults)
        with self._lock:
            # A hold that has met its call lasts as long as it stands there.
            left = [f for f in self.aws.control("faults") if f["times"] != 0 or f["kind"] == "hold"]
            self.aws.control("faults", [*left, *faults])

    def no_more(self, match: str) -> None:
        """Take the faults with this pattern away."""
        with self._lock:
            left = [fault for fault in self.aws.control("faults") if fault["match"] != match]
            self.aws.control("faults", left)

    def struck(self, operation: str, match: str) -> None:
        """Wait until a fault has met all the calls it was meant for; the last of them may still be on its way."""

        def used_up() -> bool:
            found = [
                f for f in self.aws.control("faults") if (f["operation"], f["match"]) == (operation, match)
            ]
            return not found or all(fault["times"] == 0 for fault in found)

        until(f"met by {operation} {match}", used_up)

    # --- the estate --------------------------------------------------------------------------------------------

    def services(self, *names: str, **members: Any) -> None:
        """Services on revision 1 of a family of the same name."""
        for name in names:
            self.world.service(CLUSTER, name, **members)

    def rule(self, name: str, *, pinned: bool = True) -> None:
        """A rule with one target that runs revision 1 of a family of the same name."""
        arn = self.world.family(name, [container("app", f"{name}:1")])
        self.world.rule(
            name, [self.world.ecs_target("task", CLUSTER, arn if pinned else arn.rpartition(":")[0])]
        )

    def schedule(self, name: str) -> None:
        self.world.schedule(name, CLUSTER, self.world.family(name, [container("app", f"{name}:1")]))

    def runs(self, name: str) -> str:
        """``name:revision`` that a service's PRIMARY deployment runs."""
        return str(self.world.primary(CLUSTER, name)["taskDefinition"]).rpartition("/")[2]

    def rollout_state(self, name: str) -> str:
        return str(self.world.primary(CLUSTER, name)["rolloutState"])

    def rule_runs(self, name: str) -> str:
        (target,) = self.world.targets(name).values()
        return str(target["EcsParameters"]["TaskDefinitionArn"]).rpartition("/")[2]

    def schedule_runs(self, name: str) -> str:
        target = self.stack.raw_schedule(name)["Target"]
        return str(target["EcsParameters"]["TaskDefinitionArn"]).rpartition("/")[2]

    def revisions(self, family: str, status: str = "ACTIVE") -> list[str]:
        """``family:revision`` of the revisions there are."""
        arns = self.ecs.list_task_definitions(familyPrefix=family, status=status)["taskDefinitionArns"]
        found = [arn.rpartition("/")[2] for arn in arns]
        return sorted(name for name in found if name.rpartition(":")[0] == family)

    def all_revisions(self, family: str) -> list[str]:
        return sorted([*self.revisions(family), *self.revisions(family, "INACTIVE")])

    def deployments(self, name: str) -> int:
        """How many deployments a service has had, the one at its creation included."""
        return self.world.count_deployments(CLUSTER, name)

    # --- releases ----------------------------------------------------------------------------------------------

    def start(self, document: Mapping[str, Any], name: str | None = None) -> str:
        """Start a release; its execution's ARN."""
        answer = self.states.start_execution(
            stateMachineArn=self.stack.outputs["state_machine_arn"],
            name=name or f"test-{uuid.uuid4().hex[:12]}",
            input=json.dumps(document),
        )
        return str(answer["executionArn"])

    def wait(self, execution: str, seconds: float = HANG_SECONDS) -> Outcome:
        return self.stack.wait(execution, seconds)

    def release(self, document: Mapping[str, Any], seconds: float = HANG_SECONDS) -> Outcome:
        return self.wait(self.start(document), seconds)

    def stop(self, execution: str) -> None:
        self.states.stop_execution(executionArn=execution, cause="an operator stops it")

    def item(self, release: str, name: str) -> Any:
        """The record of one item, None while there is none."""
        found = self.stack.store.items(release.rpartition(":")[2])
        return next((item for item in found if item.name.rpartition("/")[2] == name), None)

    def closed(self, execution: str) -> Any:
        """The record of a release that was ended from outside, once it is closed."""
        release = execution.rpartition(":")[2]

        def find() -> Any:
            record = self.stack.store.release(release)
            return record if record and record.status != "RUNNING" else None

        return until(f"closed: the record of {release}", find)

    def free(self) -> None:
        """Wait until nobody holds the lock."""
        until("a free lock", lambda: self.stack.store.lock().holder is None)

    def command(self, *arguments: str) -> tuple[int, str]:
        """Run ``ecs-release`` against this orchestrator: exit status and what it printed.

        In a process of its own: environment and standard output belong to all the threads in which releases run here.
        """
        environment = {
            **os.environ,
            **self.aws.environment(),
            "ECS_RELEASE_STATE_MACHINE_ARN": self.stack.outputs["state_machine_arn"],
        }
        command = [sys.executable, "-m", "ecs_release", *arguments]
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=HANG_SECONDS, check=False
        )
        return done.returncode, done.stdout

    def status(self, release: str) -> dict[str, Any]:
        """What ``ecs-release status --json`` says."""
        exit_status, printed = self.command("status", release.rpartition(":")[2], "--json")
        assert exit_status == 0
        document: dict[str, Any] = json.loads(printed)
        return document

    # --- functions ---------------------------------------------------------------------------------------------

    def function(self, step: str) -> str:
        """The qualified ARN that the machine calls."""
        definition = self.states.describe_state_machine(
            stateMachineArn=self.stack.outputs["state_machine_arn"]
        )
        found = re.search(rf"arn:[^\"]+:function:{self.name}-{step}:\d+", definition["definition"])
        assert found
        return found.group()

    def invoke(self, step: str, payload: Mapping[str, Any]) -> dict[str, Any]:
        """Invoke a step's function as the machine does."""
        client = self.stack.client("lambda")
        answer = client.invoke(FunctionName=self.function(step), Payload=json.dumps(payload))
        result: dict[str, Any] = json.loads(answer["Payload"].read())
        return result

    def log(self, step: str) -> str:
        """Everything that a function has logged."""
        logs = self.stack.client("logs")
        pages = logs.get_paginator("filter_log_events").paginate(
            logGroupName=f"/aws/lambda/{self.name}-{step}"
        )
        return "\n".join(event["message"] for page in pages for event in page["events"])

    def upgrade(self, package: bytes) -> None:
        """What ``terraform apply`` of another version does: publish functions, point the machine at them."""
        client = self.stack.client("lambda")
        machine = self.stack.outputs["state_machine_arn"]
        definition = self.states.describe_state_machine(stateMachineArn=machine)["definition"]
        for arn in set(re.findall(rf"arn:[^\"]+:function:{self.name}-[a-z-]+:\d+", definition)):
            unqualified = arn.rpartition(":")[0]
            done = client.update_function_code(FunctionName=unqualified, ZipFile=package, Publish=True)
            version = done["Version"] if done["Version"].isdigit() else done["FunctionArn"].rpartition(":")[2]
            definition = definition.replace(f'"{arn}"', f'"{unqualified}:{version}"')
        self.states.update_state_machine(stateMachineArn=machine, definition=definition)

    def _own_role(self, arn: str, name: str) -> str:
        """A role as the given one, of an orchestrator of another name; the roles in the targets trust it as well."""
        iam = self.stack.client("iam")

        def renamed(document: Any) -> str:
            text = json.dumps(document).replace(f"{self.name}-", f"{name}-")
            for shared in ("artifacts-", "deployment", "reader"):
                text = text.replace(f"{name}-{shared}", f"{self.name}-{shared}")
            return text

        role = iam.get_role(RoleName=arn.rpartition("/")[2])["Role"]
        made = iam.create_role(
            RoleName=role["RoleName"].replace(f"{self.name}-", f"{name}-"),
            AssumeRolePolicyDocument=renamed(role["AssumeRolePolicyDocument"]),
        )["Role"]
        for policy in iam.list_role_policies(RoleName=role["RoleName"])["PolicyNames"]:
            document = iam.get_role_policy(RoleName=role["RoleName"], PolicyName=policy)["PolicyDocument"]
            iam.put_role_policy(
                RoleName=made["RoleName"], PolicyName=policy, PolicyDocument=renamed(document)
            )
        # Orchestrators are made side by side, and all of them add to the same trust policies.
        with self._lock:
            for target in ("deployment", "reader"):
                trust = iam.get_role(RoleName=f"{self.name}-{target}")["Role"]["AssumeRolePolicyDocument"]
                callers = trust["Statement"][0]["Condition"]["ArnLike"]["aws:PrincipalArn"]
                if role["Arn"] in callers:
                    callers.append(made["Arn"])
                    iam.update_assume_role_policy(
                        RoleName=f"{self.name}-{target}", PolicyDocument=json.dumps(trust)
                    )
        return str(made["Arn"])

    def session_of(self, step: str) -> dict[str, str]:
        """The environment of a session of a function's role, which the administrator is let into for it."""
        iam = self.stack.client("iam")
        role = iam.get_role(RoleName=f"{self.name}-{step}")["Role"]
        trust = role["AssumeRolePolicyDocument"]
        root = f"arn:aws:iam::{role['Arn'].split(':')[4]}:root"
        trust["Statement"].append({"Effect": "Allow", "Principal": {"AWS": root}, "Action": "sts:AssumeRole"})
        iam.update_assume_role_policy(RoleName=role["RoleName"], PolicyDocument=json.dumps(trust))
        session = self.stack.client("sts").assume_role(RoleArn=role["Arn"], RoleSessionName="test")
        credentials = session["Credentials"]
        return {
            **self.aws.environment(),
            "AWS_ACCESS_KEY_ID": credentials["AccessKeyId"],
            "AWS_SECRET_ACCESS_KEY": credentials["SecretAccessKey"],
            "AWS_SESSION_TOKEN": credentials["SessionToken"],
        }

    def another(
        self, name: str, timeouts: Mapping[str, int] | None = None, settings: Mapping[str, str] | None = None
    ) -> Arena:
        """A further orchestrator beside the one that Terraform made: the same functions, tables, machine and rule.

        Parameters
        ----------
        timeouts : of functions, by step.
        settings : values of environment variables, for the functions that have them.
        """
        source = self.stack
        tables = {self.name + suffix: name + suffix for suffix in ("-releases", "-idempotency")}
        dynamodb = source.client("dynamodb")
        for old, new in tables.items():
            table = dynamodb.describe_table(TableName=old)["Table"]
            dynamodb.create_table(
                TableName=new,
                KeySchema=table["KeySchema"],
                AttributeDefinitions=table["AttributeDefinitions"],
                BillingMode="PAY_PER_REQUEST",
            )
        targets = {"pk": {"S": "CONFIG"}, "sk": {"S": "TARGETS"}}
        row = dynamodb.get_item(TableName=f"{self.name}-releases", Key=targets)["Item"]
        dynamodb.put_item(TableName=f"{name}-releases", Item=row)

        client = source.client("lambda")
        machine = self.states.describe_state_machine(stateMachineArn=source.outputs["state_machine_arn"])
        definition = machine["definition"]
        code = PACKAGE.read_bytes()
        (clean_up,) = self.events.list_targets_by_rule(Rule=f"{self.name}-clean-up")["Targets"]
        in_the_machine = set(re.findall(rf"arn:[^\"]+:function:{self.name}-[a-z-]+:\d+", definition))
        told: dict[str, str] = {}
        for arn in sorted({*in_the_machine, clean_up["Arn"]}):
            found = client.get_function_configuration(FunctionName=arn)
            step = found["FunctionName"].removeprefix(f"{self.name}-")
            variables = found["Environment"]["Variables"]
            variables |= {key: tables[value] for key, value in variables.items() if value in tables}
            variables |= {key: value for key, value in (settings or {}).items() if key in variables}
            made = client.create_function(
                FunctionName=f"{name}-{step}",
                Role=self._own_role(found["Role"], name),
                Runtime=found["Runtime"],
                Architectures=found["Architectures"],
                Handler=found["Handler"],
                MemorySize=found["MemorySize"],
                Timeout=(timeouts or {}).get(step, found["Timeout"]),
                Environment={"Variables": {**variables, "ECS_RELEASE_NAME": name}},
                Code={"ZipFile": code},
            )
            version = client.publish_version(FunctionName=made["FunctionName"])["Version"]
            new_arn = f"{arn.rpartition(':function:')[0]}:function:{name}-{step}:{version}"
            definition = definition.replace(f'"{arn}"', f'"{new_arn}"')
            told[step] = new_arn
        copy = self.states.create_state_machine(
            name=f"{name}-release",
            definition=definition,
            roleArn=self._own_role(machine["roleArn"], name),
            tags=[{"key": "ecs-release:releases-table", "value": f"{name}-releases"}],
        )["stateMachineArn"]
        for event, step in (("ended", "report"), ("clean-up", "clean-up")):
            rule = self.events.describe_rule(Name=f"{self.name}-{event}")
            pattern = rule["EventPattern"].replace(source.outputs["state_machine_arn"], copy)
            rule_arn = self.events.put_rule(Name=f"{name}-{event}", EventPattern=pattern)["RuleArn"]
            function, _, version = told[step].rpartition(":")
            client.add_permission(
                FunctionName=function,
                Qualifier=version,
                StatementId="Rule",
                Action="lambda:InvokeFunction",
                Principal="events.amazonaws.com",
                SourceArn=rule_arn,
            )
            self.events.put_targets(Rule=f"{name}-{event}", Targets=[{"Id": step, "Arn": told[step]}])
        outputs = {**source.outputs, "state_machine_arn": copy, "releases_table_name": f"{name}-releases"}
        return Arena(Stack(source.aws, outputs, source.folder), name)
