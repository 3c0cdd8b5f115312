"""What a user writes into task definitions, targets and schedules stays in the account's own ECS and EventBridge.

Canaries are planted wherever a user can write, releases fail in every way that makes somebody speak of what was sent, and
everything that the run produced is searched. Only the raw copy in the releases table, the before-image, may hold them.
"""

from __future__ import annotations

import dataclasses
import io
import json
import logging
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parents[1] / "faults"))

from chaos_cloud import TABLE, Cloud, cloud
from chaos_world import Entry, Job, Release, Scenario, Service, Trouble, World
from ecs_release import observability
from ecs_release.aws import clients as aws
from ecs_release.aws import raw
from ecs_release.aws.ecs_targets import reference_of, with_task_definition
from ecs_release.aws.scheduled_tasks import read_targets
from ecs_release.cli import follow
from ecs_release.cli import repair as finishing
from ecs_release.cli.console import Console
from ecs_release.errors import LockLostError
from ecs_release.manifest import from_document
from ecs_release.plan import page as plan_page
from ecs_release.plan import text as plan_text
from ecs_release.plan.request import Request
from ecs_release.record.models import ReleaseRecord
from ecs_release.record.store import Store
from ecs_release.report import status
from ecs_release.settings import Settings
from ecs_release.steps import report as report_step
from ecs_release.steps import worker as workers
from ecs_release.steps.plan import plan
from ecs_release.steps.worker import Worker
from local_aws.kernel.calls import ApiError, Call

_CANARY = re.compile(r"canary-[a-zA-Z-]+")


def canary(where: str) -> str:
    """A secret, and where it was planted."""
    return f"canary-{where}"


def overrides(where: str) -> str:
    """What a target or schedule hands its task: https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_TaskOverride.html"""
    container = {
        "name": "app",
        "command": ["run", canary(f"{where}-command")],
        "environment": [{"name": "TOKEN", "value": canary(f"{where}-environment")}],
    }
    return json.dumps({"containerOverrides": [container], "quoted": f'a "{canary(f"{where}-quoted")}"\n'})


class Planted(World):
    """A world full of canaries in which AWS, refusing something, repeats all that it was sent.

    Attributes
    ----------
    said : what functions were given, answered and raised, as the execution's history has it.
    repeated : what AWS said about what it refused.
    """

    def __init__(self, cloud: Cloud, scenario: Scenario) -> None:
        self.said: list[str] = []
        self.repeated: list[str] = []
        super().__init__(cloud, scenario)

    def _register(self, thing: Any, version: object) -> str:
        name = self.family(thing)
        container = {
            "name": name,
            "image": self.image(thing, version),
            "essential": True,
            "command": ["serve", canary("command")],
            "entryPoint": [canary("entrypoint")],
            "environment": [{"name": "TOKEN", "value": canary("environment")}],
            "secrets": [{"name": "KEY", "valueFrom": canary("secret")}],
            "dockerLabels": {"label": canary("label")},
            "healthCheck": {"command": ["CMD", canary("health")]},
            "logConfiguration": {"logDriver": "awslogs", "options": {"token": canary("log")}},
            "memberOfTomorrow": {"new": canary("tomorrow")},
        }
        body = {
            "family": name,
            "containerDefinitions": [container],
            "networkMode": "awsvpc",
            "requiresCompatibilities": ["FARGATE"],
            "cpu": "256",
            "memory": "512",
            "volumes": [
                {
                    "name": "v",
                    "efsVolumeConfiguration": {"fileSystemId": "fs", "rootDirectory": canary("volume")},
                }
            ],
            "tags": [{"key": "team", "value": canary("tag")}],
        }
        client = self.cloud.client("ecs")
        if not getattr(client, "chaos_raw", False):
            raw.install_raw(client, "ecs")
            client.chaos_raw = True
        with raw.send_raw(body):
            answer = client.register_task_definition(family=name, containerDefinitions=[])
        return str(answer["taskDefinition"]["taskDefinitionArn"])

    def _make_estate(self) -> None:
        super()._make_estate()
        ecs, events, scheduler = (self.cloud.client(name) for name in ("ecs", "events", "scheduler"))
        for job in self.things:
            if isinstance(job, Service):
                arn = ecs.describe_services(cluster=self.cluster_arn, services=[job.service])["services"][0]
                tag = {"key": "service", "value": canary("servicetag")}
                ecs.tag_resource(resourceArn=arn["serviceArn"], tags=[tag])
            elif job.kind == "rule":
                targets = events.list_targets_by_rule(Rule=f"job-{job.number}")["Targets"]
                for target in targets:
                    target["Input"] = overrides("rule")
                    target["EcsParameters"]["Tags"] = [{"Key": "t", "Value": canary("ruletag")}]
                    target["EcsParameters"]["Group"] = canary("rulegroup")
                events.put_targets(Rule=f"job-{job.number}", Targets=targets)
            else:
                found = scheduler.get_schedule(Name=f"job-{job.number}")
                for name in ("ResponseMetadata", "Arn", "CreationDate", "LastModificationDate"):
                    found.pop(name, None)
                found["Description"] = canary("description")
                found["Target"]["Input"] = overrides("schedule")
                found["Target"]["EcsParameters"]["Group"] = canary("schedulegroup")
                scheduler.update_schedule(**found)

    def _invoke(self, execution: Any, step: str, payload: Any) -> Any:
        self.said.append(json.dumps(payload))
        try:
            answer = super()._invoke(execution, step, payload)
        except Exception as error:
            self.said.append(f"{error} {getattr(error, 'cause', '')}")
            raise
        self.said.append(json.dumps(answer))
        return answer

    def _strike(self, trouble: Trouble, call: Call | None) -> None:
        if trouble.kind != "refuse" or call is None:
            super()._strike(trouble, call)
            return
        code = "ClientException" if call.service == "ecs" else "ValidationException"
        sent = call.body.decode()
        values = " ".join(_CANARY.findall(sent))
        # https://docs.aws.amazon.com/STS/latest/APIReference/CommonErrors.html (ValidationError) and what services make of it
        text = f"1 validation error detected: Value '{sent}' at 'x' failed. Got: {sent}. Of which: {values}."
        self.repeated.append(text)
        raise ApiError(code, text)

    def _converge(self, previous: str | None) -> None:
        """Nothing is healed: what was left behind is what is looked at."""


@dataclasses.dataclass
class Run:
    """All that a run has produced, by where it was found."""

    world: Planted
    found: dict[str, str]
    worker: Worker
    left: list[Any]


SCENARIO = Scenario(
    (Service(0, 0), Service(1, 1), Job(0), Job(1, kind="schedule"), Job(2, pinned=False, targets="twin")),
    (
        Release(
            entries=(
                Entry(2, 1),
                Entry(3, 1),
                Entry(4, 1),
                Entry(0, 1, wave=1),
                Entry(1, 1, wave=1, forward="stall"),
            ),
            troubles=(
                Trouble("refuse", "events:PutTargets", "rollback", times=99),
                Trouble("refuse", "scheduler:UpdateSchedule", "rollback", times=99),
            ),
        ),
        Release(
            entries=(Entry(0, 2), Entry(1, 2), Entry(2, 2)),
            troubles=(Trouble("refuse", "ecs:RegisterTaskDefinition", "prepare", times=99),),
        ),
    ),
)


@pytest.fixture(scope="module")
def run() -> Iterator[Run]:
    """A release whose rollback is refused, one whose registrations are, and all that is said of both, with DEBUG on."""
    log, mails = io.StringIO(), []
    handler = logging.StreamHandler(log)
    root = logging.getLogger()
    own: Any = observability.logger
    level, own_level = root.level, own.level
    sns = SimpleNamespace(publish=lambda **message: mails.append(json.dumps(message)))
    with cloud() as made, pytest.MonkeyPatch.context() as patch:
        patch.setenv("ECS_RELEASE_TOPIC_ARN", "arn:aws:sns:us-east-1:123456789012:topic")
        own_client = report_step.own_client
        patch.setattr(report_step, "own_client", lambda name: sns if name == "sns" else own_client(name))
        handler.setFormatter(observability.logger.registered_formatter)
        observability.logger.addHandler(handler)
        observability.logger.setLevel("DEBUG")
        root.addHandler(handler)
        root.setLevel("DEBUG")
        logging.getLogger("anybody").debug("anybody else's line")
        world = Planted(made, SCENARIO)
        try:
            world.run()
            made.world = None
            client: Any = made.table_client
            store = finishing.ByHand(client, TABLE)
            connections = workers.Connections(store.targets(), (), write=True, session_name="by-hand")
            worker = Worker("rollback", Settings(TABLE), store, connections)
            left = finishing.left_over(store.release("r1"), store.items("r1"), ())  # type: ignore[arg-type]
            found = {
                **_recorded(made),
                **_printed(world, store, connections),
                "history": "\n".join(world.said),
                "executions": "\n".join(f"{e.output} {e.error} {e.cause}" for e in world.executions.values()),
                "mails": "\n".join(mails),
            }
            found["log"] = log.getvalue()
            yield Run(world, found, worker, left)
        finally:
            world.close()
            root.removeHandler(handler)
            own.removeHandler(handler)
            root.setLevel(level)
            observability.logger.setLevel(own_level)


def _recorded(made: Cloud) -> dict[str, str]:
    """Every row of both tables, the before-image's raw copy apart from the rest."""
    rows, raw = [], []
    for table in made.tables.rows.values():
        for row in table.values():
            rows.append({name: value for name, value in row.items() if name != "before_raw"})
            raw.append(row.get("before_raw"))
    return {"tables": json.dumps(rows, default=str), "raw copies": json.dumps(raw, default=str)}


def _printed(world: Planted, store: Store, connections: aws.Connections) -> dict[str, str]:
    """What the commands print, as text, JSON, page and comment."""
    console = Console(out=io.StringIO())
    shown = []
    for release in ("r1", "r2"):
        record, items = store.release(release), store.items(release)
        assert record is not None
        shown += [json.dumps(status.as_document(record, items)), *follow.table(record, items, console)]
    shown += follow.history_table(store.releases(), console)
    manifest = from_document(world.manifests["r1"]["document"]).manifest
    assert manifest is not None
    document = plan(store, connections, Request("deploy", manifest))
    planned = [json.dumps(document), *plan_text.as_lines(document, 100), plan_text.as_markdown(document)]
    return {"status": "\n".join(shown), "plan": "\n".join([*planned, plan_page.page(document)])}


def test_the_canaries_are_where_a_release_reads_them_and_aws_repeats_them(run: Run) -> None:
    """So that finding none elsewhere means something."""
    failed = [item.name for item in run.worker.store.items("r1") if item.status == "ROLLBACK_FAILED"]
    assert failed == ["job-0", "default/job-1", "job-2"]
    kept = set(_CANARY.findall(run.found["raw copies"]))
    repeated = set(_CANARY.findall(" ".join(run.world.repeated)))
    for where in ("rule-command", "rule-environment", "rule-quoted", "ruletag", "rulegroup"):
        assert canary(where) in kept & repeated, where
    for where in (
        "schedule-command",
        "schedule-environment",
        "schedule-quoted",
        "description",
        "schedulegroup",
    ):
        assert canary(where) in kept & repeated, where
    places = (
        "command",
        "entrypoint",
        "environment",
        "secret",
        "label",
        "health",
        "log",
        "tomorrow",
        "volume",
        "tag",
    )
    for where in places:
        assert canary(where) in repeated, where


@pytest.mark.parametrize("where", ["log", "mails", "history", "executions", "tables", "status", "plan"])
def test_no_canary_gets_out(run: Run, where: str) -> None:
    text = run.found[where]
    assert text, "nothing was captured here"
    assert where != "log" or "item failed" in text
    found = sorted(set(_CANARY.findall(text)))
    assert found == [], f"in {where}: {[line for line in text.splitlines() if _CANARY.search(line)][:3]}"


def test_what_aws_refused_is_still_told_without_its_values(run: Run) -> None:
    for name in ("mails", "executions", "status", "log"):
        assert f"ValidationException: 1 validation error detected: Value {raw.HIDDEN} at" in run.found[name]
    assert "AWS refused the new revision of service-family-0: ClientException" in run.found["mails"]


def test_the_commands_to_finish_by_hand_name_things_and_repeat_nothing(run: Run) -> None:
    machine = "arn:aws:states:us-east-1:123456789012:stateMachine:release"
    text = run.world.executions["r1"].cause
    assert [line.strip() for line in text.splitlines() if line.startswith("  ecs-release")] == [
        f"ecs-release repair --state-machine-arn {machine} --release r1 {name}"
        for name in ("job-0", "default/job-1", "job-2")
    ]


# --- what these commands do ------------------------------------------------------------------------------------------


def _raw(run: Run, item: Any) -> list[dict[str, Any]]:
    return [
        {key: value for key, value in target.items() if key != "LastModificationDate"}
        for target in read_targets(item.task, run.worker.connections)
    ]


def test_repair_puts_back_what_the_record_says_and_changes_nothing_else(run: Run) -> None:
    for item in run.left:
        before = run.worker.store.item(item)
        todo = finishing.look(run.worker, item)
        assert (todo.outcome, todo.live, todo.goal) == (finishing.TO_DO, (item.after,), item.before)
        done = finishing.put_back(run.worker, item)
        assert done.outcome == finishing.DONE, done
        wanted = [
            {**target, "EcsParameters": {**target["EcsParameters"]}} if "EcsParameters" in target else target
            for target in json.loads(item.before_raw)
        ]
        now = _raw(run, item)
        for target in wanted:
            target.pop("LastModificationDate", None)
            assert with_task_definition(target, item.before) in now
        assert finishing.look(run.worker, item).outcome == finishing.BACK
        assert run.worker.store.item(item) == before
        assert not _CANARY.search(json.dumps([todo.as_document(), done.as_document()]))


def test_repair_leaves_alone_what_somebody_else_has_set(run: Run) -> None:
    item = run.left[0]
    theirs = run.world._register(run.world.things[2], "theirs")
    run.world.point(run.world.things[2], theirs)
    before = _raw(run, item)
    for act in (finishing.look, finishing.put_back):
        done = act(run.worker, item)
        assert (done.outcome, done.live) == (finishing.LEFT_ALONE, (theirs,))
        assert f"{theirs} was set meanwhile" in done.reason
    assert _raw(run, item) == before


def test_repair_writes_nothing_beside_a_running_release(run: Run) -> None:
    item = run.left[1]
    other = ReleaseRecord("r9", "arn:r9", 0, "2026-01-01T00:00:00.000Z")
    run.worker.store.open_release(other, run.worker.store.lock())
    schedule = _raw(run, item)
    with pytest.raises(LockLostError, match="release r9 is running"):
        run.worker.store.check_lock("r1", 1)
    # On what was put back a moment ago there is nothing to write; on the release's own revision there is.
    run.world.point(run.world.things[3], item.after)
    with pytest.raises(LockLostError, match="release r9 is running"):
        finishing.put_back(run.worker, item)
    assert [reference_of(target) for target in _raw(run, item)] == [item.after]
    assert schedule != _raw(run, item)


# --- errors and logs -------------------------------------------------------------------------------------------------

_TEXT = st.text(st.characters(codec="utf-8", categories=("L", "N", "P", "S", "Zs")), min_size=4, max_size=40)


@st.composite
def bodies(draw: st.DrawFn) -> tuple[dict[str, Any], str]:
    """A raw body, and a secret that is somewhere in it."""
    secret = draw(_TEXT)
    place = draw(st.sampled_from(["environment", "tag", "input", "nested input", "label", "unknown"]))
    within: dict[str, Any] = {"containerOverrides": [{"environment": [{"name": "A", "value": secret}]}]}
    bodies: dict[str, Any] = {
        "environment": {"containerDefinitions": [{"environment": [{"name": "A", "value": secret}]}]},
        "tag": {"tags": [{"key": "k", "value": secret}]},
        "input": {"Targets": [{"Id": "t", "Input": json.dumps(within)}]},
        "nested input": {"Target": {"Input": json.dumps({"text": json.dumps(within)})}},
        "label": {"containerDefinitions": [{"dockerLabels": {"image": secret, "name": secret, "x": secret}}]},
        "unknown": {"memberOfTomorrow": [[{"new": secret}]]},
    }
    return bodies[place], secret


@given(bodies(), st.sampled_from(["alone", "as JSON", "the body"]))
def test_an_error_of_aws_repeats_no_value(body_and_secret: tuple[dict[str, Any], str], how: str) -> None:
    body, secret = body_and_secret
    repeated = {
        "alone": secret,
        "as JSON": json.dumps(secret, ensure_ascii=False)[1:-1],
        "the body": json.dumps(body),
    }[how]
    shown = raw.without_values(f"refused: ({repeated})", body)
    assert shown.startswith("refused: (")
    for written in (secret, json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1]):
        assert written not in shown.removeprefix("refused: (").removesuffix(")")


@pytest.mark.parametrize(
    "text",
    [
        "User: arn:aws:sts::1:assumed-role/r/s is not authorized to perform: iam:PassRole on resource: arn:aws:iam::1:role/task",
        "Role is not valid for family app and container web",
        "Too many concurrent attempts to create a new revision of the specified family.",
        "The StartDate you specify cannot be earlier than 5 minutes ago.",
    ],
)
def test_an_error_of_aws_keeps_what_it_says_of_names(text: str) -> None:
    body = {
        "family": "app",
        "taskRoleArn": "arn:aws:iam::1:role/task",
        "containerDefinitions": [
            {
                "name": "web",
                "image": "registry/web:1",
                "environment": [{"name": "TOKEN", "value": "s3cr3t-value"}],
                "secrets": [{"name": "KEY", "valueFrom": "arn:aws:secretsmanager:eu-west-1:1:secret:key"}],
            }
        ],
    }
    assert raw.without_values(text, body) == text


def test_the_sdk_s_own_log_stays_silent_when_the_root_logger_is_at_debug(run: Run) -> None:
    """It shows requests and answers whole. In the run above the root logger was at DEBUG."""
    assert "DEBUG" not in {
        logging.getLevelName(logging.getLogger(name).getEffectiveLevel())
        for name in ("botocore", "botocore.endpoint", "botocore.parsers", "boto3", "urllib3.connectionpool")
    }
    assert "anybody else's line" in run.found["log"], "DEBUG was on"
