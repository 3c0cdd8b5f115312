"""The world of one example: an estate, executions, workers, and everybody else who may interfere at a drawn moment."""

from __future__ import annotations

import copy
import fnmatch
import json
import os
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from local_aws.estate import starter_role
from local_aws.services.ecs.rollout_rules import RolloutRules
from local_aws.services.ecs.state import Estate
from chaos_clock import CLOCK, START, Killed, Simulation, Task
from chaos_cloud import ACCOUNT, REGION, TABLE, Cloud, Lost
from chaos_machine import Execution, StatesError, definition
from chaos_oracle import Oracle

from local_aws.kernel.calls import Answer, ApiError, Call
from local_aws.kernel.faults import Fault, _fail_entries

CALL_SECONDS = 0.04
TIMEOUTS = {
    "parse": 600,
    "prepare": 900,
    "update_task": 300,
    "update_service": 300,
    "check_rollouts": 300,
    "rollback": 300,
    "report": 120,
    "clean_up": 900,
}
CLUSTER = "chaos"
WRITES = (
    "ecs:RegisterTaskDefinition",
    "ecs:DeregisterTaskDefinition",
    "ecs:StopServiceDeployment",
    "ecs:UpdateService",
    "events:PutTargets",
    "scheduler:UpdateSchedule",
)


# --- what is drawn ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Service:
    """A service of the estate. ``family``: two services may share one; ``bake``: minutes, of a blue/green service."""

    number: int
    family: int
    breaker: str = "none"  # none | alone | rollback
    strategy: str = "ROLLING"
    desired: int = 2
    sidecar: bool = False
    bake: int = 0

    @property
    def service(self) -> str:
        return f"service-{self.number}"

    @property
    def name(self) -> str:
        return f"{CLUSTER}/{self.service}"

    @property
    def key(self) -> str:
        return f"default#service#{self.name}"


@dataclass(frozen=True)
class Job:
    """A rule or schedule, or a target of another job's rule.

    Attributes
    ----------
    targets : of a rule, beside its own: a queue, a second one of its family, another family.
    host : number of the job whose rule has this one as a further target; both are items of their own, by the target's id.
    shared : whether it has such a guest.
    """

    number: int
    kind: str = "rule"  # rule | schedule
    pinned: bool = True
    targets: str = "own"  # own | queue | twin | other
    host: int | None = None
    shared: bool = False

    @property
    def carrier(self) -> str:
        """The rule or schedule."""
        return f"job-{self.number if self.host is None else self.host}"

    @property
    def name(self) -> str:
        return self.carrier if self.kind == "rule" else f"default/{self.carrier}"

    @property
    def target_id(self) -> str | None:
        """What a manifest names the target by, where it has to."""
        return f"guest-{self.number}" if self.host is not None else "own" if self.shared else None

    @property
    def target_ids(self) -> tuple[str, ...]:
        return (self.target_id,) if self.target_id else ("own", "twin")

    @property
    def key(self) -> str:
        return f"default#task#{self.name}" + (f"#{self.target_id}" if self.target_id else "")


Thing = Service | Job


@dataclass(frozen=True)
class Trouble:
    """Something that happens at the ``nth`` call that fits, and ``times`` calls long.

    Attributes
    ----------
    call : pattern of ``service:Operation``, ``state:Name`` of the machine, or ``lambda:step``.
    step : only in calls of workers of this step; "" for all.
    """

    kind: str
    call: str = "*"
    step: str = ""
    nth: int = 0
    times: int = 1
    seconds: float = 0.0
    thing: int = 0
    after: bool = False


@dataclass(frozen=True)
class Entry:
    """One item of a manifest."""

    thing: int
    version: int
    wave: int = 0
    forward: str = "complete"  # complete | bad | stall | dies, seconds after it is complete
    back: str = "complete"
    seconds: float = 5.0


@dataclass(frozen=True)
class Release:
    kind: str = "deploy"  # deploy | again | by_hand
    entries: tuple[Entry, ...] = ()
    on_failure: str = "rollback"
    timeout_minutes: int = 3
    troubles: tuple[Trouble, ...] = ()
    pause: float = 1200.0
    upgraded: bool = False  # the module was upgraded before it, so all records are an older version's


@dataclass(frozen=True)
class Scenario:
    """``lag``: how many seconds AWS's reads may lag behind writes; ``primary``: what ECS's own rollback makes PRIMARY; ``soak``:
    the module's soak_seconds.
    """

    things: tuple[Thing, ...]
    releases: tuple[Release, ...]
    order: int = 0
    preempt: float = 0.3
    lag: float = 0.0
    primary: str = "new"
    soak: int = 0


DIES_AFTER_SECONDS = 8.0


# What the records of the version before did not have.
NEWER_MEMBERS = (
    "revision",
    "begun_at",
    "cut_by",
    "written_at",
    "doubt",
    "doubted_at",
    "freed_at",
    "service_deployment",
    "completed_at",
    "completed_count",
)


# --- what happens ----------------------------------------------------------------------------------------------


@dataclass
class Worker:
    """What is known of the invocation that makes a call."""

    step: str
    release: str
    number: int
    lock_seen: tuple[Any, Any] | None = None
    wrote: str | None = None
    read: dict[str, tuple[int, float]] = field(default_factory=dict)


class Context:
    """The Lambda context."""

    function_name = "chaos"
    memory_limit_in_mb = 512
    invoked_function_arn = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:chaos:1"

    def __init__(self, simulation: Simulation, task: Task, request: str) -> None:
        self._simulation = simulation
        self._task = task
        self.aws_request_id = request

    def get_remaining_time_in_millis(self) -> int:
        return int(max(0.0, self._task.deadline - self._simulation.now) * 1000)


_MACHINE: dict[str, Any] = {}


class World:
    """Runs a scenario.

    Attributes
    ----------
    trace : every call, in order, for people.
    """

    def __init__(self, cloud: Cloud, scenario: Scenario) -> None:
        if not _MACHINE:
            _MACHINE.update(definition())
        self.cloud = cloud
        self.scenario = scenario
        self.simulation = Simulation(scenario.order, scenario.preempt)
        self.executions: dict[str, Execution] = {}
        self.trace: list[tuple[float, str, str, Any, str]] = []
        self.calls = 0
        self.struck: Counter[str] = Counter()
        self.manifests: dict[str, dict[str, Any]] = {}
        self.closers: dict[str, Task] = {}
        self._active: list[tuple[Trouble, list[int]]] = []
        self._invocations = 0
        self._foreign = 0
        CLOCK.simulation = self.simulation
        random.seed(scenario.order)
        cloud.world = None
        cloud.reset()
        self.oracle = Oracle(self)
        self._make_estate()
        cloud.world = self
        self.oracle.begin()
        os.environ["ECS_RELEASE_SOAK_SECONDS"] = str(scenario.soak)  # the cloud puts the environment back
        cloud.server.lag.seconds = scenario.lag
        cloud.server.part(Estate).rollback_primary = scenario.primary

    # --- estate ------------------------------------------------------------------------------------------------

    @property
    def ecs(self) -> Any:
        return self.cloud.server.part(Estate).stores()[0]

    def family(self, thing: Thing) -> str:
        return (
            f"service-family-{thing.family}" if isinstance(thing, Service) else f"job-family-{thing.number}"
        )

    def image(self, thing: Thing, version: object) -> str:
        return f"registry.example/{self.family(thing)}:{version}"

    def _make_estate(self) -> None:
        ecs, events, scheduler = (self.cloud.client(name) for name in ("ecs", "events", "scheduler"))
        self.cluster_arn = ecs.create_cluster(clusterName=CLUSTER)["cluster"]["clusterArn"]
        latest: dict[str, str] = {}
        self.things: list[Thing] = list(self.scenario.things)
        bystander = Service(90, 90, breaker="rollback")
        for thing in [*self.things, bystander, Job(91)]:
            family = self.family(thing)
            if family in latest:
                continue
            for version in ("older", "old", "0"):  # "revision minus one" is never the way back
                latest[family] = self._register(thing, version)
        for thing in [*self.things, bystander]:
            if isinstance(thing, Service):
                breaker = {"enable": thing.breaker != "none", "rollback": thing.breaker == "rollback"}
                ecs.create_service(
                    cluster=CLUSTER,
                    serviceName=thing.service,
                    taskDefinition=latest[self.family(thing)],
                    desiredCount=thing.desired,
                    launchType="FARGATE",
                    deploymentConfiguration={
                        "strategy": thing.strategy,
                        **({"bakeTimeInMinutes": thing.bake} if thing.bake else {}),
                        "deploymentCircuitBreaker": breaker,
                        "maximumPercent": 200,
                        "minimumHealthyPercent": 100,
                    },
                )
        for starter in ("events", "scheduler"):
            starter_role(self.cloud.client("iam"), starter, f"{starter}.amazonaws.com")
        for job in [*self.things, Job(91)]:
            if not isinstance(job, Job):
                continue
            arn = latest[self.family(job)]
            reference = arn if job.pinned else arn.rpartition(":")[0]
            if job.kind == "schedule":
                scheduler.create_schedule(
                    Name=f"job-{job.number}",
                    ScheduleExpression="rate(1 day)",
                    ScheduleExpressionTimezone="Europe/Berlin",
                    Description="kept",
                    FlexibleTimeWindow={"Mode": "FLEXIBLE", "MaximumWindowInMinutes": 7},
                    Target={
                        "Arn": self.cluster_arn,
                        "RoleArn": f"arn:aws:iam::{ACCOUNT}:role/scheduler",
                        "EcsParameters": {"TaskDefinitionArn": reference, "TaskCount": 2},
                        "Input": "{}",
                    },
                )
                continue
            own = {
                "Id": "own",
                "Arn": self.cluster_arn,
                "RoleArn": f"arn:aws:iam::{ACCOUNT}:role/events",
                "EcsParameters": {"TaskDefinitionArn": reference, "TaskCount": 1},
                "Input": json.dumps({"kept": True}),
            }
            others: list[Any] = []
            if job.targets == "queue":
                others = [{"Id": "queue", "Arn": f"arn:aws:sqs:{REGION}:{ACCOUNT}:kept"}]
            elif job.targets == "twin":
                others = [{**copy.deepcopy(own), "Id": "twin", "Input": "{}"}]
            elif job.targets == "other":
                others = [{**copy.deepcopy(own), "Id": "other"}]
                others[0]["EcsParameters"]["TaskDefinitionArn"] = latest["job-family-91"]
            if job.target_id:
                own["Id"] = job.target_id
            events.put_rule(Name=job.carrier, ScheduleExpression="rate(1 day)")
            events.put_targets(Rule=job.carrier, Targets=[*others, own])

    def _register(self, thing: Thing, version: object) -> str:
        name = self.family(thing)
        containers = [
            {
                "name": name,
                "image": self.image(thing, version),
                "essential": True,
                "environment": [{"name": "KEPT", "value": "yes"}],
                "memberOfTomorrow": {"kept": [1, 2]},
            }
        ]
        if isinstance(thing, Service) and thing.sidecar:
            containers.append({"name": "sidecar", "image": "registry.example/sidecar:7", "essential": False})
        body = {
            "family": name,
            "containerDefinitions": containers,
            "networkMode": "awsvpc",
            "requiresCompatibilities": ["FARGATE"],
            "cpu": "256",
            "memory": "512",
            "tags": [{"key": "team", "value": "chaos"}],
        }
        # Raw, because botocore would refuse the member that no model knows.
        from ecs_release.aws.raw import send_raw

        client = self.cloud.client("ecs")
        if not getattr(client, "chaos_raw", False):
            from ecs_release.aws.raw import install_raw

            install_raw(client, "ecs")
            client.chaos_raw = True
        with send_raw(body):
            answer = client.register_task_definition(family=name, containerDefinitions=[])
        return str(answer["taskDefinition"]["taskDefinitionArn"])

    # --- releases ----------------------------------------------------------------------------------------------

    def run(self) -> None:
        """The scenario, and then what must hold at its end."""
        previous: str | None = None
        for number, release in enumerate(self.scenario.releases):
            name = f"r{number + 1}"
            if release.upgraded and not any(not task.done.is_set for task in self.simulation.tasks):
                self.cloud.forget(NEWER_MEMBERS)
            self._say(f"=== release {name}: {release.kind} {release.on_failure}")
            self._active = [(trouble, [0]) for trouble in release.troubles]
            document = self._document(release, previous)
            self._outcomes(release)
            self.start(name, document, release)
            self.simulation.wait(self.executions[name].ended)
            if release.pause:
                self.simulation.drain()
                self._raise()
                self.oracle.between()
                self.simulation.sleep(release.pause)
            if release.kind == "deploy":
                previous = name
        self._active = []
        self.simulation.drain()
        self._raise()
        self.oracle.between()
        self._converge(previous)

    def start(self, name: str, document: Any, release: Release | None = None) -> Execution:
        execution = Execution(self.simulation, _MACHINE, name, document, self._invoke, self._entered)
        execution.told = self._ended
        self.executions[name] = execution
        self.manifests[name] = {"document": document, "release": release}
        self.oracle.release_begins(name)
        execution.start()
        return execution

    def _document(self, release: Release, previous: str | None) -> Any:
        if release.kind == "by_hand":
            return {"version": 1, "mode": "rollback", "source": {"author": "chaos"}}
        if release.kind == "again" and previous is not None:
            return self.manifests[previous]["document"]
        return self.manifest(release.entries, release.on_failure, release.timeout_minutes)

    def manifest(self, entries: tuple[Entry, ...], on_failure: str, minutes: int) -> dict[str, Any]:
        tasks, services = [], []
        for entry in entries:
            thing = self.things[entry.thing]
            document: dict[str, Any] = {
                "service": self.family(thing),
                "image": self.image(thing, entry.version),
                "wave": entry.wave,
                "timeoutMinutes": minutes + _shifting_minutes(thing),
            }
            if isinstance(thing, Service):
                services.append({**document, "clusterName": CLUSTER, "serviceName": thing.service})
            elif thing.kind == "rule":
                named = {"targetId": thing.target_id} if thing.target_id else {}
                tasks.append({**document, "cwRuleName": thing.carrier, **named})
            else:
                tasks.append({**document, "scheduleName": f"job-{thing.number}"})
        found = {"onFailure": on_failure, "tasks": tasks, "services": services}
        return {key: value for key, value in found.items() if value}

    def _outcomes(self, release: Release) -> None:
        rules: list[dict[str, Any]] = []
        for entry in release.entries:
            thing = self.things[entry.thing]
            if not isinstance(thing, Service):
                continue
            pattern = f"^{thing.service}$"
            image = f"{self.image(thing, entry.version)}$"
            ahead = {"service": pattern, "image": image, "seconds": entry.seconds}
            behind = {"service": pattern, "seconds": entry.seconds}
            dies = {"dies_after": DIES_AFTER_SECONDS} if entry.forward == "dies" else {}
            rules.append({**ahead, **dies, "outcome": _outcome(thing, entry.forward)})
            rules.append({**behind, "outcome": _outcome(thing, entry.back)})
        self.cloud.server.part(RolloutRules).replace(rules)

    def _converge(self, previous: str | None) -> None:
        """Without faults, the last manifest lands; and once more changes nothing."""
        self.cloud.server.part(RolloutRules).reset()
        self.simulation.sleep(1200)
        entries = self.oracle.surviving(previous)
        if not entries:
            return
        self.oracle.heal()
        self.simulation.sleep(60)
        document = self.manifest(entries, "rollback", 3)
        runs: list[tuple[str, tuple[str, ...]]] = [
            ("final", ("SUCCEEDED", "NO_CHANGE")),
            ("again", ("NO_CHANGE",)),
        ]
        if any(
            (self.cloud.row(f"RELEASE#{name}", "RELEASE") or {}).get("status") == "RUNNING"
            for name in self.executions
        ):
            # Its Parse closes the record of a stopped execution whose event was lost. Where that was a rollback by hand,
            # the record's holds are placed by that, and refuse this release.
            runs.insert(0, ("closing", ("SUCCEEDED", "NO_CHANGE", "REJECTED")))
        for name, allowed in runs:
            for row in self.cloud.rows("HOLD").values():  # ecs-release unhold
                self.cloud.tables.rows[TABLE].pop(("HOLD", row["sk"]))
            self._say(f"=== {name}, without faults")
            writes = self.oracle.writes
            self.start(name, document)
            self.simulation.drain()
            self._raise()
            self.oracle.between()
            self.simulation.sleep(
                60
            )  # for so long the clean-up leaves alone what a stopped release has registered
            record = self.cloud.row(f"RELEASE#{name}", "RELEASE") or {}
            self.oracle.demand(
                record.get("status") in allowed,
                f"a re-run without faults ends as {record.get('status')}, not {' or '.join(allowed)}: "
                f"{record.get('problems')} {record.get('culprits')} {record.get('warnings')}",
            )
            self.oracle.demand(
                name != "again" or self.oracle.writes == writes,
                "the same release once more wrote to production",
            )
            self._raise()
        self.oracle.at_the_end()
        self._raise()

    def _raise(self) -> None:
        for task in self.simulation.tasks:
            if task.trouble and not isinstance(task.about, Worker):
                raise AssertionError(f"the harness itself failed in {task.name}:\n{task.trouble}")
        assert not self.oracle.broken, "\n".join(self.oracle.broken)

    # --- the machine's functions -------------------------------------------------------------------------------

    def _entered(self, execution: Execution, state: str) -> None:
        self._say(f"{execution.name}: {state}")
        self.simulation.pass_time(0.02)
        for trouble in self._met(f"state:{state}", None, before=True):
            self._strike(trouble, None)
            self.simulation.pass_time()

    def _invoke(self, execution: Execution, step: str, payload: Any) -> Any:
        payload = json.loads(json.dumps(payload))
        self.simulation.pass_time(0.05)
        for trouble in self._met(f"lambda:{step}", None, before=True):
            if trouble.kind == "throttle":
                raise StatesError("Lambda.TooManyRequestsException", "Rate Exceeded.")
            if trouble.kind == "duplicate":
                self._spawn(step, payload, execution.name, trouble.seconds)
            elif trouble.kind == "lost":
                self._spawn(step, payload, execution.name)
                self.simulation.sleep(trouble.seconds)
                raise StatesError(
                    "Lambda.SdkClientException", "Unable to execute HTTP request: Read timed out"
                )
            else:
                self._strike(trouble, None)
        task = self._spawn(step, payload, execution.name)
        self.simulation.wait(task.done)
        return _answer(task)

    def _spawn(self, step: str, payload: Any, release: str, late: float = 0.0) -> Task:
        self._invocations += 1
        name = f"{step}#{self._invocations}"
        task: Task

        def run() -> Any:
            if late:
                self.simulation.sleep(late)
            context = Context(self.simulation, task, f"request-{name}")
            try:
                return json.loads(json.dumps(self.cloud.handlers[step](payload, context)))
            except Exception as error:
                self._say(f"{name} ends with {type(error).__name__}: {error}")
                raise

        task = self.simulation.spawn(name, run)
        task.about = Worker(step, release, self._invocations)
        task.deadline = self.simulation.now + late + TIMEOUTS[step]
        return task

    def _ended(self, execution: Execution) -> None:
        """Whom EventBridge tells that an execution has ended: the clean-up always, Report unless it succeeded."""
        self._say(f"{execution.name} ended: {execution.status} {execution.error}")
        told = ["clean_up"] if execution.status == "SUCCEEDED" else ["report", "clean_up"]
        for step in told:
            if any(self._met("event", None, before=True)):
                continue
            task = self.simulation.spawn(f"event of {execution.name}", self._delivery(execution, step))
            if step == "report":
                self.closers[execution.name] = task

    def _delivery(self, execution: Execution, step: str) -> Callable[[], bool]:
        event = {
            "source": "aws.states",
            "detail-type": "Step Functions Execution Status Change",
            "detail": {"name": execution.name, "executionArn": execution.arn, "status": execution.status},
        }

        def deliver() -> bool:
            # Lambda tries an asynchronous invocation three times, and at times runs it twice.
            for pause in (random.choice((0.0, 0.5)), 60.0, 120.0):
                self.simulation.sleep(pause)
                for trouble in self._met(f"event:{step}", None, before=True):
                    if trouble.kind == "duplicate":
                        self._spawn(step, event, execution.name)
                task = self._spawn(step, event, execution.name)
                self.simulation.wait(task.done)
                if task.error is None:
                    return True
            return False

        return deliver

    # --- AWS ---------------------------------------------------------------------------------------------------

    def api(self, call: Call, inner: Callable[[Call], Answer]) -> Answer:
        """One AWS call of the code under test."""
        simulation = self.simulation
        task = simulation.current
        simulation.pass_time(CALL_SECONDS)
        worker = task.about if isinstance(task.about, Worker) else None
        self.calls += 1
        assert self.calls < 30_000, "this example does not end"
        entry: Any = [simulation.now, task.name, call.key, call, ""]
        self.trace.append(entry)
        partly: Trouble | None = None
        for trouble in self._met(call.key, worker, before=True):
            entry[4] += f" <{trouble.kind}>"
            if trouble.kind == "failed_entries":
                partly = trouble
            else:
                self._strike(trouble, call)
                simulation.pass_time()
        self.oracle.before_call(call, worker)
        if partly is not None and call.key == "events:PutTargets":
            # With two entries one of them is applied, as AWS may do.
            fault = Fault(
                "events:PutTargets", "failed_entries", match='"Id": ?"own"', error="InternalException"
            )
            answer = _fail_entries(fault, call, inner)
        else:
            answer = inner(call)
        if answer.status >= 400:
            entry[4] += f" -> {answer.status} {answer.body[:120].decode('utf-8', 'replace')}"
        self.oracle.after_call(call, worker, answer)
        for trouble in self._met(call.key, worker, before=False):
            entry[4] += f" <{trouble.kind} after>"
            self._strike(trouble, call)
        return answer

    def _met(self, key: str, worker: Worker | None, *, before: bool) -> list[Trouble]:
        met = []
        for trouble, seen in self._active:
            if trouble.after == before or not fnmatch.fnmatchcase(key, trouble.call):
                continue
            if trouble.step and (worker is None or worker.step != trouble.step):
                continue
            if trouble.call == "*" and key.startswith(("state:", "lambda:", "event")):
                continue
            seen[0] += 1
            if trouble.nth < seen[0] <= trouble.nth + trouble.times:
                met.append(trouble)
                self.struck[trouble.kind] += 1
        return met

    def _strike(self, trouble: Trouble, call: Call | None) -> None:
        kind = trouble.kind
        if kind in ("foreign", "force", "delete", "deregister", "forget", "stop", "intruder"):
            self._interfere(trouble)
            return
        if call is None:
            return
        if kind == "throttle":
            raise ApiError("ThrottlingException", "Rate exceeded")
        if kind == "error":
            raise ApiError("InternalFailure", "an internal error (drawn)", 500)
        if kind == "refuse":
            if call.key == "ecs:StopServiceDeployment":
                self.oracle.asked_to_stop.update(self.oracle._written(call))
            if call.key in WRITES:
                code = {"ecs": "ClientException"}.get(call.service, "ValidationException")
                raise ApiError(code, "refused (drawn)")
        elif kind == "lost":
            self.simulation.sleep(trouble.seconds)
            raise Lost(f"{call.key} lost")
        elif kind == "delay":
            self.simulation.sleep(trouble.seconds)
        elif kind == "kill":
            self.simulation.stop_here("killed")

    # --- everybody else ----------------------------------------------------------------------------------------

    def _interfere(self, trouble: Trouble) -> None:
        thing = self.things[trouble.thing % len(self.things)]
        self._say(
            f"*** {trouble.kind} {thing.key if trouble.kind not in ('forget', 'stop', 'intruder') else ''}"
        )
        if trouble.kind == "forget":
            self.cloud.forget_cache()
        elif trouble.kind == "stop":
            for execution in list(self.executions.values()):
                execution.stop()
            self.simulation.sleep(
                trouble.seconds
            )  # whoever was in the middle of a call, is so for a while yet
        elif trouble.kind == "intruder":
            name = f"x{len(self.executions)}"
            running = next((e for e in self.executions.values() if e.status == "RUNNING"), None)
            if running is not None:
                self.start(name, self.manifests[running.name]["document"])
        elif thing.key in self.oracle.gone:
            return
        elif trouble.kind == "foreign":
            self._foreign += 1
            arn = self._register(thing, f"foreign-{self._foreign}")
            self.oracle.foreign(thing)
            self.point(thing, arn)
        elif trouble.kind == "force" and isinstance(thing, Service):
            self.cloud.client("ecs").update_service(
                cluster=CLUSTER, service=thing.service, forceNewDeployment=True
            )
            self.oracle.forced(thing)
        elif trouble.kind == "delete":
            self.oracle.deleted(thing)
            if isinstance(thing, Service):
                self.cloud.client("ecs").delete_service(cluster=CLUSTER, service=thing.service, force=True)
            elif thing.kind == "schedule":
                self.cloud.client("scheduler").delete_schedule(
                    Name=f"job-{thing.number}", GroupName="default"
                )
            else:
                ids = [thing.target_id] if thing.target_id else ["own", "other"]
                self.cloud.client("events").remove_targets(Rule=thing.carrier, Ids=ids)
        elif trouble.kind == "deregister":
            live = self.oracle.whole_arn.get(thing.key)
            bare = any(
                reference.rpartition("/")[2].count(":") == 0 for reference in self.oracle.references(thing)
            )
            if live is not None and not bare:  # else it would be a deployment
                self.cloud.client("ecs").deregister_task_definition(taskDefinition=live)
                self.oracle.deregistered.add(live)

    def point(self, thing: Thing, arn: str) -> None:
        """Somebody else deploys."""
        if isinstance(thing, Service):
            self.cloud.client("ecs").update_service(
                cluster=CLUSTER, service=thing.service, taskDefinition=arn
            )
            self.oracle.started(thing, None)
            return
        if thing.kind == "schedule":
            client = self.cloud.client("scheduler")
            found = client.get_schedule(Name=f"job-{thing.number}")
            for name in ("ResponseMetadata", "Arn", "CreationDate", "LastModificationDate"):
                found.pop(name, None)
            found["Target"]["EcsParameters"]["TaskDefinitionArn"] = arn
            client.update_schedule(**found)
            return
        client = self.cloud.client("events")
        targets = client.list_targets_by_rule(Rule=thing.carrier)["Targets"]
        for target in targets:
            if target["Id"] in thing.target_ids:
                target["EcsParameters"]["TaskDefinitionArn"] = arn
        client.put_targets(Rule=thing.carrier, Targets=targets)

    # --- for people --------------------------------------------------------------------------------------------

    def _say(self, text: str) -> None:
        self.trace.append((self.simulation.now, self.simulation.current.name, text, None, ""))

    def story(self) -> str:
        lines = []
        for moment, name, what, call, outcome in self.trace:
            about = _about(call) if call is not None else ""
            lines.append(f"{moment - START:9.2f} {name:<22} {what} {about}{outcome}")
        return "\n".join(lines)

    def close(self) -> None:
        self.simulation.end()
        self.cloud.world = None
        CLOCK.simulation = None


def _shifting_minutes(thing: Thing) -> int:
    """What ECS may take for shifting the traffic: a release that gives a service less time is refused."""
    if not isinstance(thing, Service) or thing.strategy == "ROLLING":
        return 0
    return thing.bake + (60 if thing.strategy in ("LINEAR", "CANARY") else 0)


def _outcome(thing: Service, drawn: str) -> str:
    """What a bad rollout looks like depends on the service."""
    if drawn == "dies":
        return "complete"
    if drawn != "bad":
        return drawn
    return "circuit_breaker_rollback" if thing.breaker == "rollback" else "fail"


def _answer(task: Task) -> Any:
    """The result of a function as the machine sees it."""
    error = task.error
    if error is None:
        return task.result
    if isinstance(error, Killed):
        name = "Sandbox.Timedout" if "timed out" in str(error) else "Runtime.ExitError"
        raise StatesError(name, f"RequestId: - Error: {error}")
    document = {"errorMessage": str(error), "errorType": type(error).__name__, "stackTrace": []}
    raise StatesError(type(error).__name__, json.dumps(document))


def _about(call: Call) -> str:
    try:
        body = call.input
    except ApiError:
        return call.body[:80].decode("utf-8", "replace")
    if call.service == "dynamodb":
        key = body.get("Key") or body.get("Item") or body.get("ExpressionAttributeValues") or {}
        parts = [
            next(iter(value.values())) for name, value in key.items() if name in ("pk", "sk", "id", ":pk")
        ]
        text = "/".join(map(str, parts))
        names = body.get("ExpressionAttributeNames") or {}
        values = body.get("ExpressionAttributeValues") or {}
        sets = [
            f"{name}={next(iter(values[':new_' + name].values()))}"
            for name in names.values()
            if f":new_{name}" in values
        ]
        if call.operation == "PutItem" and text.startswith(("LOCK", "ITEM")):
            sets = [f"{n}={next(iter(v.values()))}" for n, v in body["Item"].items() if n not in ("pk", "sk")]
        return f"{text} {' '.join(sets)}"[:300]
    if call.service == "ecs" and call.operation == "RegisterTaskDefinition":
        return f"{body.get('family')} {[c.get('image') for c in body.get('containerDefinitions', [])]}"
    wanted = (
        "services",
        "service",
        "taskDefinition",
        "Rule",
        "familyPrefix",
        "serviceDeploymentArns",
        "serviceDeploymentArn",
    )
    text = " ".join(str(body[name]) for name in wanted if name in body)
    if call.operation == "PutTargets":
        text += " " + str(
            [t.get("EcsParameters", {}).get("TaskDefinitionArn") for t in body.get("Targets", ())]
        )
    if call.operation == "UpdateSchedule":
        text += str(body.get("Target", {}).get("EcsParameters", {}).get("TaskDefinitionArn"))
    return text.replace(f"arn:aws:ecs:{REGION}:{ACCOUNT}:", "")
