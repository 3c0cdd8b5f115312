"""What must hold at every instant, kept without the code under test, from AWS's side and from the table's rows.

The oracle sees every call twice, before and after AWS does it, in the order in which AWS does them. It remembers on its
own what the last whole state of every item is, who started which deployment, and what belongs to nobody's manifest.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from chaos_cloud import ACCOUNT, REGION, TABLE
from moto.events.models import events_backends
from moto.scheduler.models import scheduler_backends

from local_aws.services.ecs import rollouts as ecs_rollouts
from local_aws.kernel.calls import Answer, Call
from local_aws.services.ecs.rollout_rules import RolloutRule
from local_aws.services.ecs.state import Estate

if TYPE_CHECKING:
    from chaos_world import Entry, Job, Service, Thing, Worker, World

OPEN = ("PENDING", "PREPARED", "UPDATED")
GOOD = ("UNCHANGED", "SUCCEEDED", "UNVERIFIED")
WHOLE = ("SUCCEEDED", "NO_CHANGE")
CONTENT_TAG = "ecs-release:content"
_UNSEEN_SECONDS = 10
"""What a worker can do at most between its last look and its write, by its own leases, beside what AWS shows late."""


class Oracle:
    """Watches one world.

    Attributes
    ----------
    whole : item -> what it ran in the last whole state, as JSON; None where somebody else's deed makes it unknowable.
    broken : the promises that were broken, in order.
    writes : production writes so far.
    asked_to_stop : items whose rollout ECS was asked to roll back, whatever came of it.
    """

    def __init__(self, world: World) -> None:
        self.world = world
        self.broken: list[str] = []
        self.writes = 0
        self.asked_to_stop: set[str] = set()
        self.whole: dict[str, str | None] = {}
        self.whole_arn: dict[str, str] = {}
        self.whole_before: dict[str, dict[str, str | None]] = {}
        self.gone: set[str] = set()
        self.deregistered: set[str] = set()
        self.touched: dict[str, set[str]] = {}
        self.started_by: dict[str, tuple[Any, str | None, str]] = {}
        self._registered: set[str] = set()
        self._retired: set[str] = set()
        self._used: dict[tuple[str, str], set[str]] = {}
        self._verdicts: dict[tuple[str, str], str] = {}
        self._frozen: dict[tuple[str, str], tuple[Any, Any]] = {}
        self._status: dict[str, str] = {}
        self._foreign: dict[str, tuple[int, set[str], float]] = {}
        self._foreign_content: dict[str, str] = {}
        # Item -> the release that wrote it last, and nobody else since.
        self._last_word: dict[str, str] = {}
        # Releases whose execution was stopped and whose record is open still, and what somebody else deployed meanwhile or since.
        self._deployed_since: set[tuple[str, str]] = set()
        self._forced: set[str] = set()
        self._starts: dict[tuple[str, str, str], int] = {}
        self._shape: dict[str, Any] = {}
        self._order: list[str] = []

    def demand(self, holds: bool, what: str) -> None:
        if not holds:
            at = self.world.simulation
            self.broken.append(f"{what}  [{at.current.name}]")
            self.world._say(f"!!! {what}")

    @property
    def ended(self) -> dict[str, str]:
        """What each release ended as."""
        return dict(self._status)

    # --- what is live ------------------------------------------------------------------------------------------

    def service(self, thing: Service) -> Any:
        estate = self.world.cloud.server.part(Estate)
        found = self.world.ecs.services["chaos", thing.service]
        if found.status == "ACTIVE":
            ecs_rollouts.settle_service(estate, self.world.ecs, found)
        return found

    def targets(self, thing: Job) -> list[Any]:
        if thing.kind == "schedule":
            schedules = scheduler_backends[ACCOUNT][REGION].schedule_groups["default"].schedules
            return [schedules[f"job-{thing.number}"].local_members["Target"]]
        rule = events_backends[ACCOUNT][REGION].event_buses["default"].rules[thing.carrier]
        return [target for target in rule.targets if target["Id"] in thing.target_ids]

    def references(self, thing: Thing) -> list[str]:
        from chaos_world import Service

        if isinstance(thing, Service):
            return [str(self.service(thing).task_definition.arn)]
        return [str(target["EcsParameters"]["TaskDefinitionArn"]) for target in self.targets(thing)]

    def live(self, thing: Thing) -> str:
        """The content that runs, as JSON."""
        return "|".join(sorted({self.content(reference) for reference in self.references(thing)}))

    def content(self, reference: str) -> str:
        found = self.world.ecs.task_definition(reference)
        return json.dumps(found.members, sort_keys=True) if found else f"nothing ({reference})"

    def by_key(self) -> dict[str, Thing]:
        return {thing.key: thing for thing in self.world.things}

    # --- the life of an example --------------------------------------------------------------------------------

    def begin(self) -> None:
        for thing in self.world.things:
            self.whole[thing.key] = self.live(thing)
            self.whole_arn[thing.key] = self._arn(thing)
        for service in self.world.ecs.services.values():
            for deployment in service.deployments:
                self.started_by[deployment.id] = (deployment, None, service.name)
        self._shape = self._shapes()

    def _arn(self, thing: Thing) -> str:
        return str(self.world.ecs.task_definition(self.references(thing)[0]).arn)

    def release_begins(self, release: str) -> None:
        self.whole_before[release] = dict(self.whole)
        self.touched[release] = set()
        self._order.append(release)

    def foreign(self, thing: Thing) -> None:
        """Somebody else is about to deploy."""
        known = {release for release, _ in self._verdicts}
        self._foreign[thing.key] = (self.world.calls, known, self.world.simulation.now)
        self._foreign_content[thing.key] = f"foreign-{self.world._foreign}"
        self._last_word.pop(thing.key, None)
        self.whole[thing.key] = None
        for known_before in self.whole_before.values():
            known_before[thing.key] = None
        self.whole_arn.pop(thing.key, None)

    def forced(self, thing: Thing) -> None:
        self._forced.add(thing.key)
        self._last_word.pop(thing.key, None)
        self.started(thing, None)

    def deleted(self, thing: Thing) -> None:
        self.gone.add(thing.key)

    def started(self, thing: Any, release: str | None, direction: str = "") -> None:
        primary = self.service(thing).primary
        if primary is not None and primary.id not in self.started_by:
            self.started_by[primary.id] = (primary, release, thing.service)
            if release is not None:
                count = self._starts.get((release, thing.key, direction), 0) + 1
                self._starts[release, thing.key, direction] = count
                self.demand(
                    count == 1 or thing.key in self._foreign or thing.key in self._forced,
                    f"{release} started {count} deployments of {thing.key} ({direction})",
                )

    # --- every call --------------------------------------------------------------------------------------------

    def before_call(self, call: Call, worker: Worker | None) -> None:
        from chaos_world import WRITES

        if call.key not in WRITES:
            return
        assert worker is not None
        self.writes += 1
        if worker.step != "clean_up":  # it holds none, and hits nothing that anybody uses
            self._check_lock(call, worker)
        if call.key == "ecs:DeregisterTaskDefinition":
            self._check_deregistration(str(call.input["taskDefinition"]), worker)
            return
        for arn in self._retired:
            self.demand(
                f'"{arn}"' not in call.body.decode(),
                f"{call.key} by {worker.release} sets {arn}, which is gone",
            )
        for key in self._written(call):
            self.touched[worker.release].add(key)
            thing = self.by_key().get(key)
            if thing is None:
                self.demand(False, f"{call.key} writes {key}, which no manifest names")
                continue
            self._check_item(call, worker, thing)
            self._check_way_back(call, worker, thing)

    def _check_way_back(self, call: Call, worker: Worker, thing: Thing) -> None:
        """ECS's own rollback is asked for where it leads to the last whole state, and a whole new deployment only where not."""
        from chaos_world import Service

        if worker.step != "rollback" or not isinstance(thing, Service) or thing.key in self.gone:
            return
        found = self.service(thing)
        whole = self.whole[thing.key]
        if call.key == "ecs:StopServiceDeployment":
            asked = [r for r in found.service_deployments if r.arn == call.input["serviceDeploymentArn"]]
            known = [r for r in asked if r.status in ("PENDING", "IN_PROGRESS")]
            sources = {self.content(revision.task_definition.arn) for r in known for revision in r.sources}
            self.demand(
                whole is None or not known or sources == {whole},
                f"{worker.release} has ECS roll {thing.key} back to what is not the last whole state",
            )
            self.asked_to_stop.add(thing.key)
            return
        record = found.primary.service_deployment
        lately = self.world.simulation.now - record.created_at < 1 + 3 * self.world.scenario.lag
        leads_there = {self.content(revision.task_definition.arn) for revision in record.sources} == {whole}
        self.demand(
            thing.strategy == "ROLLING"
            or record.status not in ("PENDING", "IN_PROGRESS")
            or lately
            or not leads_there
            or thing.key in self._forced
            or thing.key in self.asked_to_stop,
            f"{worker.release} starts a whole new deployment of {thing.key}, and ECS could roll back at once",
        )

    def _check_lock(self, call: Call, worker: Worker) -> None:
        lock = self.world.cloud.row("LOCK", "LOCK") or {}
        attempt = str(call.environ.get("HTTP_AMZ_SDK_INVOCATION_ID"))
        holder = lock.get("holder")
        self.demand(
            holder in (None, worker.release),
            f"{worker.release} writes ({call.key}) while {holder} holds the lock",
        )
        seen = worker.lock_seen
        self.demand(
            seen is not None and seen[0] == worker.release,
            f"{call.key} by a worker of {worker.release} that last saw {seen} in the lock",
        )
        self.demand(
            worker.wrote in (None, attempt) or holder == worker.release,
            f"{call.key}: another write by a worker of {worker.release} that has lost the lock",
        )
        worker.wrote = attempt

    def _check_deregistration(self, arn: str, worker: Worker) -> None:
        self.demand(arn in self._registered, f"{arn} is deregistered, and no release registered it")
        self.demand(not self._users(arn), f"{arn} is deregistered while {self._users(arn)} use it")
        if worker.step == "clean_up":
            holder = (self.world.cloud.row("LOCK", "LOCK") or {}).get("holder")
            wanted = [i["name"] for i in self._items(holder) if arn in _named(i)] if holder else []
            self.demand(not wanted, f"{arn} is deregistered while {holder} is about to use it for {wanted}")
            return
        # The verdict does not wait for what merely lies about.
        family = arn.rpartition("/")[2].rpartition(":")[0]
        unpinned = [i for i in self._items(worker.release) if not i["pinned"]]
        self.demand(
            any(i["live"].rpartition("/")[2].rpartition(":")[0] == family for i in unpinned),
            f"{worker.release} deregisters {arn} before its verdict, and names no family without a revision",
        )

    def _items(self, release: str) -> list[dict[str, Any]]:
        return list(self.world.cloud.rows(f"RELEASE#{release}", "ITEM#").values())

    def _users(self, arn: str) -> list[str]:
        users = [s.name for s in self.world.ecs.services.values() if s.status == "ACTIVE" and _uses(s, arn)]
        rules = events_backends[ACCOUNT][REGION].event_buses["default"].rules.values()
        for rule in rules:
            for target in rule.targets:
                if (target.get("EcsParameters") or {}).get("TaskDefinitionArn") == arn:
                    users.append(rule.name)
        for schedule in scheduler_backends[ACCOUNT][REGION].schedule_groups["default"].schedules.values():
            if schedule.local_members["Target"]["EcsParameters"]["TaskDefinitionArn"] == arn:
                users.append(schedule.name)
        return users

    def _check_item(self, call: Call, worker: Worker, thing: Thing) -> None:
        key = thing.key
        items = self.world.cloud.rows(f"RELEASE#{worker.release}", "ITEM#").values()
        item = next((i for i in items if _key(i) == key), None)
        self.demand(item is not None, f"{call.key} on {key}, which is not in the record of {worker.release}")
        foreign = self._foreign.get(key)
        if foreign is not None and worker.release in foreign[1] and key not in self.gone:
            # A read that lags may not have shown it.
            number, moment = worker.read.get(key, (-1, 0.0))
            shows_at = foreign[2] + self.world.scenario.lag
            # What waits longer than this looks again before it writes.
            late = self.world.simulation.now > shows_at + _UNSEEN_SECONDS
            seen = late or (number > foreign[0] and moment >= shows_at)
            overwrites = seen and self._foreign_content[key] in self.live(thing)
            self.demand(
                not overwrites, f"{call.key} by {worker.release} overwrites what somebody else set on {key}"
            )
        back = self.world.cloud.row("ITEM", key)
        self.demand(back is not None, f"{call.key} on {key} before the way back is in the table")
        if back is not None and self.whole[key] is not None and key not in self.gone:
            self.demand(
                self.content(back["before"]) == self.whole[key],
                f"{call.key} on {key}: the table says that back means {back['before']}, and the last whole state "
                f"is {self.whole_arn.get(key)}",
            )

    def _written(self, call: Call) -> list[str]:
        """Which items a write touches in production."""
        asked = call.input
        if call.key == "ecs:UpdateService":
            return [f"default#service#{asked['cluster']}/{asked['service']}"]
        if call.key == "ecs:StopServiceDeployment":
            return ["default#service#" + "/".join(asked["serviceDeploymentArn"].split("/")[1:3])]
        if call.key == "events:PutTargets":
            ids = {target["Id"] for target in asked["Targets"]}
            jobs: list[Any] = [
                t for t in self.world.things if hasattr(t, "carrier") and t.carrier == asked["Rule"]
            ]
            return [job.key for job in jobs if ids & set(job.target_ids)] or [f"default#task#{asked['Rule']}"]
        if call.key == "scheduler:UpdateSchedule":
            return [f"default#task#{asked['GroupName']}/{call.params['Name']}"]
        # Registering in a family that a rule names without a revision is deploying to that rule.
        return [
            thing.key
            for thing in self.world.things
            if self.world.family(thing) == asked.get("family")
            and thing.key not in self.gone
            and any(
                ":task-definition/" not in r or r.rsplit("/", 1)[1].count(":") == 0
                for r in self.references(thing)
            )
        ]

    def after_call(self, call: Call, worker: Worker | None, answer: Answer) -> None:
        from chaos_world import WRITES

        if worker is None:
            return
        key = call.key
        now = (self.world.calls, self.world.simulation.now)
        if key in WRITES and answer.status == 200 and not answer.json().get("FailedEntryCount"):
            self._last_word.update(dict.fromkeys(self._written(call), worker.release))
        if (
            key == "dynamodb:GetItem"
            and answer.status == 200
            and call.input["Key"].get("pk") == {"S": "LOCK"}
        ):
            row = answer.json().get("Item", {})
            worker.lock_seen = (row.get("holder", {}).get("S"), row.get("epoch", {}).get("N"))
            worker.wrote = None
        elif key in ("dynamodb:UpdateItem", "dynamodb:PutItem", "dynamodb:TransactWriteItems"):
            self._after_record(call, answer)
        elif key == "ecs:DescribeServices":
            for name in call.input.get("services", ()):
                worker.read[f"default#service#{call.input.get('cluster')}/{name}"] = now
        elif key == "events:ListTargetsByRule":
            for thing in self.world.things:
                if getattr(thing, "carrier", "") == call.input["Rule"]:
                    worker.read[thing.key] = now
        elif key == "scheduler:GetSchedule":
            worker.read[f"default#task#default/{call.params['Name']}"] = now
        elif key == "ecs:UpdateService" and answer.status == 200:
            thing = self.by_key()[f"default#service#{call.input['cluster']}/{call.input['service']}"]
            self.started(thing, worker.release, worker.step)
        elif key == "ecs:RegisterTaskDefinition" and answer.status == 200:
            self._after_registration(answer)
        elif key == "ecs:DeregisterTaskDefinition" and answer.status == 200:
            self._retired.add(str(call.input["taskDefinition"]))

    def _after_registration(self, answer: Answer) -> None:
        made = answer.json()["taskDefinition"]
        self._registered.add(made["taskDefinitionArn"])
        revisions = self.world.ecs.families[made["family"]]
        new = revisions[made["revision"] - 1]
        condemned = self._condemned()
        tags = [
            _content_tag(r)
            for r in revisions
            if r.status == "ACTIVE" and _content_tag(r) and r.arn not in condemned
        ]
        self.demand(len(tags) == len(set(tags)), f"{new.arn}: two ACTIVE revisions of one content")
        self.demand(
            any(_masked(new) == _masked(r) for r in revisions if r.arn not in self._registered),
            f"{new.arn} differs from what it was copied from in more than images: {_masked(new)}",
        )

    # --- the record --------------------------------------------------------------------------------------------

    def _after_record(self, call: Call, answer: Answer) -> None:
        if answer.status != 200:
            return
        keys: list[tuple[str, str]] = []
        if call.operation == "TransactWriteItems":
            for write in call.input["TransactItems"]:
                ((_, members),) = write.items()
                row = members.get("Item") or members["Key"]
                keys.append((row["pk"]["S"], row["sk"]["S"]))
        elif call.input["TableName"] == TABLE:
            row = call.input.get("Key") or call.input["Item"]
            keys.append((row["pk"]["S"], row["sk"]["S"]))
        for pk, sk in keys:
            if not pk.startswith("RELEASE#"):
                continue
            release = pk.removeprefix("RELEASE#")
            found = self.world.cloud.row(pk, sk) or {}
            if sk == "RELEASE":
                self._release_written(release, found)
            elif sk.startswith("ITEM#"):
                self._item_written(release, sk, found)

    def _condemned(self) -> set[str]:
        """What the clean-up is about to deregister: nobody may use it any more."""
        rows = self.world.cloud.rows("UNUSED")
        return {sk.rpartition("#")[2] for sk, row in rows.items() if row["state"] == "condemned"}

    def _item_written(self, release: str, sk: str, row: dict[str, Any]) -> None:
        used = {row.get("after"), row.get("rollback_to")} & (self._retired | self._condemned())
        known = self._used.setdefault((release, sk), set())
        self.demand(
            not used - known, f"{row['name']} of {release} is to run {used}, which is or will be gone"
        )
        known.update(filter(None, (row.get("after"), row.get("rollback_to"))))
        verdict, before = row["verdict"], self._verdicts.get((release, sk))
        if before is not None and verdict != before:
            forward = before in OPEN and (verdict not in OPEN or OPEN.index(verdict) > OPEN.index(before))
            self.demand(forward, f"{row['name']} of {release}: verdict {before} became {verdict}")
        self._verdicts[release, sk] = verdict
        frozen = self._frozen.get((release, sk))
        if frozen is not None:
            now = (row["verdict"], row["status"])
            self.demand(
                frozen == now,
                f"{row['name']} of {release}: {frozen} became {now} after the release was closed",
            )
        if verdict != before and verdict in ("SUCCEEDED", "UNCHANGED") and row["kind"] == "service":
            self._check_proof(release, row)

    def _check_proof(self, release: str, row: dict[str, Any]) -> None:
        """Promise 1: the very deployment that this release started completed."""
        if self.by_key().get(_key(row), None) is None or _key(row) in self.gone:
            return
        found = self.service(self.by_key()[_key(row)])  # type: ignore[arg-type]
        known = self.started_by.get(str(row.get("deployment_id")))
        if known is None:  # what ECS's own rollback started
            mine = [d for d in found.deployments if d.id == row.get("deployment_id")]
            known = (mine[0], None, found.name) if mine else None
        if known is None:
            self.demand(False, f"{row['name']} {row['verdict']} by a deployment that nobody started: {row}")
            return
        deployment, starter, service = known
        if row["action"] == "unchanged":
            # Its current deployment has to be completed, and somebody may have started that since (force new deployment).
            since = [
                other
                for other, _, name in self.started_by.values()
                if name == service
                and other.created_at >= deployment.created_at
                and other.revision.task_definition == deployment.revision.task_definition
            ]
            deployment = next((d for d in since if d.rollout_state == "COMPLETED"), deployment)
        self.demand(
            deployment.rollout_state == "COMPLETED",
            f"{row['name']} of {release} is {row['verdict']}; its deployment is {deployment.rollout_state}",
        )
        if row["action"] == "update":
            self._check_soak(release, row, deployment)
            self.demand(
                starter == release,
                f"{row['name']} of {release} is SUCCEEDED by a deployment that {starter or 'somebody else'} started",
            )
            later = [
                other.id
                for other, starter, name in self.started_by.values()
                if (starter, name) == (release, service) and other.created_at > deployment.created_at
            ]
            self.demand(
                not later,
                f"{row['name']} of {release} is SUCCEEDED, and it started {later} after that deployment",
            )

    def _check_soak(self, release: str, row: dict[str, Any], deployment: Any) -> None:
        """With soak_seconds a service is SUCCEEDED only when nothing of it has died, and no sooner."""
        soak = self.world.scenario.soak
        if (
            not soak
            or (self.world.cloud.row(f"RELEASE#{release}", "RELEASE") or {}).get("mode") == "rollback"
        ):
            return
        now = self.world.simulation.now
        self.demand(
            now >= int(row.get("completed_at") or now) + soak,
            f"{row['name']} of {release} was to be watched for {soak} s after {row.get('completed_at')}",
        )
        # What died right before the look, reads that lag may not show.
        died = [
            task
            for task in deployment.crashed
            if task.document["stopCode"] == "EssentialContainerExited"
            and row["completed_at"] + 1 <= task.document["stoppedAt"] < now - self.world.scenario.lag - 1
        ]
        self.demand(not died, f"{row['name']} of {release} is SUCCEEDED, and its tasks died: {row}")

    def _release_written(self, release: str, row: dict[str, Any]) -> None:
        status = row.get("status", "RUNNING")
        before = self._status.get(release, "RUNNING")
        self.demand(before in ("RUNNING", status), f"{release} was {before} and became {status}")
        self._status[release] = status
        if before == "RUNNING" and status != "RUNNING":
            self.world._say(f"{release} closed: {status} {row.get('problems')} {row.get('culprits')}")
            items = self.world.cloud.rows(f"RELEASE#{release}", "ITEM#")
            for sk, item in items.items():
                self._frozen[release, sk] = (item["verdict"], item["status"])
            self._check_closed(release, row, list(items.values()))

    def _check_closed(self, release: str, row: dict[str, Any], items: list[dict[str, Any]]) -> None:
        status, by_hand = row["status"], row.get("mode") == "rollback"
        things = self.by_key()
        touched = self.touched[release]
        if status in ("REJECTED", "NO_CHANGE"):
            self.demand(not touched, f"{release} is {status} and wrote {touched}")
        if status in WHOLE:
            bad = {item["name"]: item["verdict"] for item in items if item["verdict"] not in GOOD}
            self.demand(not bad, f"{release} is {status} with {bad}")
        for item in items:
            key = _key(item)
            thing = things.get(key)
            if thing is None or key in self.gone:
                continue
            if status != "ABORTED" and key in touched:
                # The verdict stays open where the release goes back before the rollout has said anything.
                # It also does where a release that stops leaves what bakes to ECS, and says so.
                goes_on = (
                    row.get("on_failure") == "stop"
                    and item.get("bakes") is True
                    and (item["verdict"], item["status"]) == ("UPDATED", "UPDATED")
                    and item["reason"].startswith("its rollout was still under way when the release ended")
                )
                self.demand(
                    item["status"] not in OPEN or goes_on,
                    f"{key} of {release} was written and has no final status",
                )
            if item["status"] == "SUPERSEDED" and not by_hand:
                self.demand(
                    self._deployed_by_others(release, key) or key in self._forced,
                    f"{key} of {release} is left alone, and nobody else deployed: {item['reason']}",
                )
            landed = item["verdict"] in GOOD
            if landed and (status in WHOLE or by_hand):
                # A verdict is true of the moment at which it was written. The record of a stopped execution may be closed
                # hours after it, by the next Parse, when the event was lost.
                # A release that wrote after somebody else, and has its proof, is the last word: "back" no longer means theirs.
                if self._last_word.get(key) == release or not self._deployed_by_others(release, key):
                    self.demand(
                        self.live(thing) == self.content(item["after"]),
                        f"{key} of {release} is {item['verdict']} and runs something else than {item['after']}",
                    )
                    self._is_whole(release, thing)
                # Else somebody else deployed after the proof. What "back" means from then on depends on whether that completes,
                # as ECS's own rollback does: "the last deployment in the COMPLETED state"
                # (https://docs.aws.amazon.com/AmazonECS/latest/developerguide/deployment-circuit-breaker.html).
                self._check_goal(release, item, thing)
            back = item["status"] == "ROLLED_BACK" or status == "ROLLED_BACK"
            # Somebody who only restarted what the release brought out has deployed nothing else: it goes back like all others.
            theirs = item["status"] == "SUPERSEDED" and self._deployed_by_others(release, key)
            if back and not theirs and self.whole[key] is not None:
                self.demand(
                    self.live(thing) == self.whole[key],
                    f"{key} of {release} ({item['verdict']}/{item['status']}, release {status}) is back, and runs "
                    f"{self.references(thing)}, not {self.whole_arn.get(key)}",
                )
                if item["kind"] == "service" and item["status"] == "ROLLED_BACK" and key not in self._forced:
                    state = self.service(thing).primary.rollout_state  # type: ignore[arg-type]
                    self.demand(
                        state == "COMPLETED", f"{key} of {release} is ROLLED_BACK; its rollout is {state}"
                    )

    def _is_whole(self, release: str, thing: Thing) -> None:
        """A release has closed and left the thing whole.

        The next Parse closes it where its execution was stopped: that release has begun, and finds what this one left.
        """
        self.whole[thing.key], self.whole_arn[thing.key] = self.live(thing), self._arn(thing)
        place = self._order.index(release)
        if self._foreign.pop(thing.key, None):
            self._note_since(thing.key, self._order[:place])
        for later in self._order[place + 1 :]:
            if thing.key not in self.touched[later]:
                self.whole_before[later][thing.key] = self.whole[thing.key]

    def _check_goal(self, release: str, item: dict[str, Any], thing: Thing) -> None:
        """A rollback by hand goes back to before the newest release that changed something."""
        if (self.world.cloud.row(f"RELEASE#{release}", "RELEASE") or {}).get("mode") != "rollback":
            return
        undone = self._undone_by(release)
        if undone is None:
            return
        goal = self.whole_before[undone].get(thing.key)
        if (
            goal is not None
            and not self._deployed_by_others(release, thing.key)
            and thing.key in self.touched[undone]
        ):
            self.demand(
                self.live(thing) == goal,
                f"{release} put {thing.key} back to something else than before {undone}",
            )

    def _undone_by(self, release: str) -> str | None:
        """The newest release before a rollback by hand that left something, or what the rollback before it undid."""
        for earlier in reversed(self._order[: self._order.index(release)]):
            if self._status.get(earlier) in (None, "REJECTED"):
                continue
            record = self.world.cloud.row(f"RELEASE#{earlier}", "RELEASE") or {}
            if record.get("mode") == "rollback":
                if record.get("undid"):
                    return self._undone_by(earlier)
                continue
            items = self.world.cloud.rows(f"RELEASE#{earlier}", "ITEM#").values()
            left = [i for i in items if i.get("started_at") and i["action"] == "update"]
            if self._status[earlier] != "ROLLED_BACK" and any(i["status"] != "ROLLED_BACK" for i in left):
                return earlier
        return None

    # --- between releases --------------------------------------------------------------------------------------

    def between(self) -> None:
        """What must hold when nothing runs any more."""
        world = self.world
        for key, thing in self.by_key().items():
            if key in self._foreign and key not in self.gone:
                # The last word was somebody else's: that is the state to go back to from now on.
                if self._foreign_content[key] in self.live(thing) and self._settled(thing):
                    self.whole[key], self.whole_arn[key] = self.live(thing), self._arn(thing)
                self._note_since(key, self._order)
                del self._foreign[key]
        for key in self._forced:
            self._note_since(key, self._order)
        self._forced.clear()
        for execution in world.executions.values():
            self._check_ended(execution)
        self._check_shape()
        for key, thing in self.by_key().items():
            if key in self.gone or self.whole[key] is None or self.live(thing) == self.whole[key]:
                continue
            self.demand(
                world.cloud.row("ITEM", key) is not None,
                f"{key} runs {self.references(thing)}, the last whole state was {self.whole_arn[key]}, and the table "
                "has forgotten the way back",
            )

    def _deployed_by_others(self, release: str, key: str) -> bool:
        """Whether somebody else deployed, and it is not settled yet or this release was still open."""
        return key in self._foreign or (release, key) in self._deployed_since

    def _note_since(self, key: str, releases: Iterable[str]) -> None:
        """Somebody else deployed: note it for those of these releases whose record is still open."""
        for release in releases:
            if self._status.get(release, "RUNNING") == "RUNNING":
                self._deployed_since.add((release, key))

    def _settled(self, thing: Thing) -> bool:
        from chaos_world import Service

        return not isinstance(thing, Service) or self.service(thing).primary.rollout_state == "COMPLETED"

    def _check_ended(self, execution: Any) -> None:
        status = self._status.get(execution.name)
        self.demand(execution.status != "RUNNING", f"{execution.name} still runs")
        if execution.status == "SUCCEEDED":
            self.demand(status in WHOLE, f"{execution.name} succeeded and its record is {status}")
        elif execution.error.startswith("EcsRelease.") and "REPORTING" not in execution.error and status:
            self.demand(
                execution.error == f"EcsRelease.{status}",
                f"{execution.name}: {execution.error}, recorded as {status}",
            )
        closer = self.world.closers.get(execution.name)
        told = execution.status == "SUCCEEDED" or (closer is not None and closer.result is True)
        if told:
            self.demand(status != "RUNNING", f"the record of {execution.name} is open after its end")
            holder = (self.world.cloud.row("LOCK", "LOCK") or {}).get("holder")
            self.demand(holder != execution.name, f"{execution.name} has ended and still holds the lock")

    def _shapes(self) -> dict[str, Any]:
        shapes: dict[str, Any] = {}
        world = self.world
        names = {thing.service: thing.key for thing in world.things if hasattr(thing, "service")}
        for service in world.ecs.services.values():
            if names.get(service.name) in self.gone:
                continue
            shapes[service.name] = [
                json.dumps(service.members, sort_keys=True),
                service.desired_count,
                service.tags,
            ]
            if service.name not in names:
                shapes[service.name].append(service.task_definition.arn)
                shapes[service.name].append([d.id for d in service.deployments])
        jobs = [thing for thing in world.things if not hasattr(thing, "service")]
        for rule in events_backends[ACCOUNT][REGION].event_buses["default"].rules.values():
            here = [job for job in jobs if job.carrier == rule.name]
            if any(job.key in self.gone for job in here):
                continue
            ours = {target_id for job in here for target_id in job.target_ids}
            shapes[rule.name] = sorted(
                _without_reference(target) if target["Id"] in ours else json.dumps(target, sort_keys=True)
                for target in rule.targets
            )
        for schedule in scheduler_backends[ACCOUNT][REGION].schedule_groups["default"].schedules.values():
            members = schedule.local_members
            shapes[schedule.name] = json.dumps(
                {**members, "Target": _without_reference(members["Target"])}, sort_keys=True
            )
        for family, revisions in world.ecs.families.items():
            for revision in revisions[:3]:
                gone = revision.arn in self.deregistered
                shapes[revision.arn] = [
                    "" if gone else revision.status,
                    json.dumps(revision.members, sort_keys=True),
                    revision.tags,
                ]
            if family not in {world.family(thing) for thing in world.things}:
                shapes[family] = len(revisions)
        return shapes

    def _check_shape(self) -> None:
        now = self._shapes()
        for name, shape in now.items():
            was = self._shape.get(name)
            if name in self.deregistered and was is not None:
                was = ["", *was[1:]]
            self.demand(shape == was, f"{name} was {was} and is {shape}")
        live = {name for name in self._shape if not name.startswith(("service-", "job-"))}
        self.demand(live <= set(now), f"{live - set(now)} is gone")

    # --- the end -----------------------------------------------------------------------------------------------

    def surviving(self, previous: str | None) -> tuple[Entry, ...]:
        """The last manifest without what was deleted; another image where ECS has given up on the deployment."""
        from dataclasses import replace

        from chaos_world import Entry, Service

        release = self.world.manifests[previous]["release"] if previous else None
        entries = release.entries if release else tuple(Entry(n, 99) for n in range(len(self.world.things)))
        kept = []
        for entry in entries:
            thing = self.world.things[entry.thing]
            if thing.key in self.gone:
                continue
            if isinstance(thing, Service):
                primary = self.service(thing).primary
                if primary.rollout_state == "FAILED" or primary.service_deployment.status in (
                    "STOPPED",
                    "ROLLBACK_FAILED",
                ):
                    entry = replace(entry, version=77)
            kept.append(entry)
        # A family that two services share goes to one image.
        versions = {self.world.family(self.world.things[e.thing]): e.version for e in kept}
        fresh = {self.world.family(self.world.things[e.thing]) for e in kept if e.version == 77}
        return tuple(
            replace(e, version=77) if self.world.family(self.world.things[e.thing]) in fresh else e
            for e in kept
            if versions
        )

    def heal(self) -> None:
        """What made rollouts stall is over, and nobody wants to watch a bake time."""
        self.world.cloud.server.part(Estate).minute_seconds = 0.1
        for service in self.world.ecs.services.values():
            primary = service.primary
            if primary is not None and primary.rollout_state == "IN_PROGRESS":
                primary.rule = RolloutRule(seconds=1.0)

    def at_the_end(self) -> None:
        lock = self.world.cloud.row("LOCK", "LOCK") or {}
        self.demand(lock.get("holder") is None, f"{lock.get('holder')} still holds the lock")
        release = [name for name in self.world.executions if name == "again"]
        named = {
            _key(i) for name in release for i in self.world.cloud.rows(f"RELEASE#{name}", "ITEM#").values()
        }
        left = {sk: row["release"] for sk, row in self.world.cloud.rows("ITEM").items() if sk in named}
        self.demand(not left, f"all is whole, and the table still remembers {left} as not whole")
        self._check_cleaned_up()

    def _check_cleaned_up(self) -> None:
        """What a release registered and nothing uses is gone, however the release ended."""
        rows = self.world.cloud.rows("UNUSED")
        left = {sk for sk, row in rows.items() if row["state"] in ("unused", "condemned")}
        self.demand(not left, f"nothing runs any more, and the clean-up has left {left}")
        items = [item for release in self._order for item in self._items(release)]
        for arn in self._registered:
            revision = self.world.ecs.task_definition(arn)
            naming = [item for item in items if arn in _named(item)]
            unused = naming and all(
                item.get("after") == arn
                and arn not in (item["live"], item["before"], item.get("rollback_to"))
                and _left(item)
                for item in naming
            )
            if unused and any(item["registered"] for item in naming) and not self._users(arn):
                self.demand(revision.status != "ACTIVE", f"nothing uses {arn}, and it is still ACTIVE")


def _key(row: dict[str, Any]) -> str:
    name = f"{row['target']}#{row['kind']}#{row['name']}"
    return f"{name}#{row['target_id']}" if row.get("target_id") else name


def _named(item: dict[str, Any]) -> set[Any]:
    return {item.get(name) for name in ("after", "rollback_to", "live", "before")}


def _left(item: dict[str, Any]) -> bool:
    """Whether an item was put back from its new revision, or never came to it."""
    never = item["pinned"] and item.get("started_at") is None and item["status"] != "ROLLBACK_FAILED"
    return item["status"] == "ROLLED_BACK" or (item["action"] == "update" and never)


def _uses(service: Any, arn: str) -> bool:
    primary = service.primary
    return bool(
        service.task_definition.arn == arn or (primary and primary.revision.task_definition.arn == arn)
    )


def _content_tag(revision: Any) -> str | None:
    return next((tag["value"] for tag in revision.tags if tag["key"] == CONTENT_TAG), None)


def _masked(revision: Any) -> str:
    containers = [{**c, "image": ""} for c in revision.members["containerDefinitions"]]
    tags = [tag for tag in revision.tags if tag["key"] != CONTENT_TAG]
    return json.dumps({**revision.members, "containerDefinitions": containers, "tags": tags}, sort_keys=True)


def _without_reference(target: Any) -> str:
    return json.dumps(
        {**target, "EcsParameters": {**target["EcsParameters"], "TaskDefinitionArn": ""}}, sort_keys=True
    )
