"""The way back is looked at before it is needed: what is still there, what still means what ran, and what nobody knows."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from collections.abc import Mapping
from string import Formatter
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError
from ecs_release.aws.clients import Target
from ecs_release.aws.raw import RAW
from ecs_release.aws.registry import Meaning, Registry
from ecs_release.aws.service_state import ServiceState
from ecs_release.aws.task_definitions import CONTENT_TAG, TaskDefinition, content_digest
from ecs_release.cli.follow import lines_of_way_back
from ecs_release.errors import ReleaseRejectedError
from ecs_release.manifest import Service
from ecs_release.manifest.images import with_digest
from ecs_release.manifest.item import Rule
from ecs_release.plan import make
from ecs_release.plan.back import Step, items_back, plan_back
from ecs_release.plan.batches import cut
from ecs_release.plan.codes import CODES
from ecs_release.plan.decide import PlannedItem
from ecs_release.plan.definitions import Definitions
from ecs_release.plan.document import plan_document
from ecs_release.plan.findings import Finding
from ecs_release.plan.image_back import Outcome, image_back
from ecs_release.plan.live import Live
from ecs_release.plan.problem_codes import PROBLEMS
from ecs_release.plan.request import Request
from ecs_release.plan.text import grouped_warnings, way_back_words
from ecs_release.plan.way_back import Found, Goal, look_at, with_way_back
from ecs_release.record.models import ItemRecord, UnusedRevision
from ecs_release.rollout.unused import copies_never_set
from ecs_release.steps import parse

OWN, OTHER = "111111111111", "222222222222"
A, B, INDEX = ("sha256:" + letter * 64 for letter in "abc")
BEFORE = "arn:aws:ecs:eu-west-1:111111111111:task-definition/api:7"


def image(tag: str = ":1", name: str = "shop/api", account: str = OWN, region: str = "eu-west-1") -> str:
    return f"{account}.dkr.ecr.{region}.amazonaws.com/{name}{tag}"


class Aws:
    """ECR and ECS in one, as far as a way back asks them; counts the calls.

    Attributes
    ----------
    tags : (repository, tag) -> digest.
    there : digests that a registry has.
    children : digest of an index -> digests of its platform manifests.
    revisions : service revision -> (task definition, {container: digest}).
    """

    def __init__(self, **members: Any) -> None:
        self.targets = {"default": Target("default", OWN, "us-east-1", "arn:write", "arn:read")}
        self.calls: Counter[str] = Counter()
        self.longest = 0
        self.tags: dict[tuple[str, str], str] = {}
        self.there: set[str] = set()
        self.children: dict[str, list[str]] = {}
        self.revisions: dict[str, tuple[str, dict[str, str]]] = {}
        self.definitions: dict[str, dict[str, Any]] = {}
        self.failing: dict[str, Exception] = {}
        self.__dict__.update(members)

    def client(self, *_: Any, **__: Any) -> Aws:
        return self

    def _call(self, operation: str) -> None:
        self.calls[operation] += 1
        if operation in self.failing:
            raise self.failing[operation]

    def batch_get_image(self, repositoryName: str, imageIds: list[dict[str, str]], **_: Any) -> Any:
        self._call("batch_get_image")
        self.longest = max(self.longest, len(imageIds))
        images, failures = [], []
        for asked in imageIds:
            digest = asked.get("imageDigest") or self.tags.get((repositoryName, asked["imageTag"]))
            if digest is None or ("imageDigest" in asked and digest not in self.there):
                failures.append({"imageId": asked, "failureCode": "ImageNotFound"})
                continue
            entries = [{"digest": child} for child in self.children.get(digest, ())]
            manifest = json.dumps({"manifests": entries} if entries else {"layers": []})
            images.append({"imageId": {**asked, "imageDigest": digest}, "imageManifest": manifest})
        return {"images": images, "failures": failures}

    def describe_pull_through_cache_rules(self, **_: Any) -> Any:
        self._call("describe_pull_through_cache_rules")
        return {"pullThroughCacheRules": []}

    def describe_service_revisions(self, serviceRevisionArns: list[str]) -> Any:
        self._call("describe_service_revisions")
        assert len(serviceRevisionArns) <= 20
        found = {arn: self.revisions[arn] for arn in serviceRevisionArns if arn in self.revisions}
        return {
            "serviceRevisions": [
                {
                    "serviceRevisionArn": arn,
                    "taskDefinition": runs,
                    "containerImages": [
                        {"containerName": name, "imageDigest": digest} for name, digest in digests.items()
                    ],
                }
                for arn, (runs, digests) in found.items()
            ]
        }

    def describe_task_definition(self, taskDefinition: str, **_: Any) -> Any:
        self._call("describe_task_definition")
        if taskDefinition not in self.definitions:
            raise refusal("ClientException")
        return {RAW: {"taskDefinition": self.definitions[taskDefinition], "tags": []}}


def refusal(code: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": "so it is"}}, "Operation")


def definition(images: Mapping[str, str], arn: str = BEFORE, **members: Any) -> TaskDefinition:
    family, revision = arn.rpartition("/")[2].split(":")
    body = {
        "taskDefinitionArn": arn,
        "family": family,
        "revision": int(revision),
        "status": "ACTIVE",
        "containerDefinitions": [{"name": name, "image": one} for name, one in images.items()],
        **members,
    }
    return TaskDefinition(body)


def look_up(aws: Aws, *images: str) -> list[Meaning]:
    found = Registry(aws, "default").look_up(images)  # type: ignore[arg-type]
    return [found[one] for one in images]


# --- what Amazon ECR says ----------------------------------------------------------------------------------------


def test_tags_and_digests_are_looked_up_a_hundred_a_call() -> None:
    tags = {("shop/api", str(n)): A for n in range(250)}
    aws = Aws(tags=tags, there={A})
    found = look_up(
        aws, *(image(f":{n}") for n in range(250)), image(f"@{A}"), image(f"@{B}"), image(":none")
    )
    assert {one.digest for one in found[:251]} == {A}
    assert [one.missing for one in found[251:]] == ["ImageNotFound"] * 2
    assert (aws.calls["batch_get_image"], aws.longest) == (3, 100)


def test_an_index_and_its_platform_manifests_are_the_same_image() -> None:
    (found,) = look_up(Aws(tags={("shop/api", "1"): INDEX}, children={INDEX: [A]}), image())
    assert found.is_(INDEX)
    assert found.is_(A)
    assert not found.is_(B)


@pytest.mark.parametrize(
    ("name", "error", "says"),
    [
        ("docker.io/library/api:1", None, "is not in Amazon ECR"),
        (image(region="us-east-9"), None, "no known Region"),
        (image(), refusal("AccessDeniedException"), "AccessDeniedException"),
        (image(account=OTHER), refusal("RepositoryNotFoundException"), "RepositoryNotFoundException"),
        (image(), EndpointConnectionError(endpoint_url="https://ecr"), "Could not connect"),
    ],
)
def test_what_can_not_be_asked_is_not_known_and_no_error(name: str, error: Any, says: str) -> None:
    aws = Aws(failing={"batch_get_image": error} if error else {})
    (found,) = look_up(aws, name)
    assert found.missing is None
    assert says in str(found.unknown)


def test_a_repository_of_one_s_own_that_is_gone_has_no_images() -> None:
    aws = Aws(failing={"batch_get_image": refusal("RepositoryNotFoundException")})
    assert look_up(aws, image()) == [Meaning(missing="RepositoryNotFoundException")]


@pytest.mark.parametrize("ask", ["find", "look_up"])
def test_a_registry_that_can_not_be_reached_is_asked_once(ask: str) -> None:
    error = EndpointConnectionError(endpoint_url="https://api.ecr.eu-west-1.amazonaws.com")
    aws = Aws(failing={"batch_get_image": error})
    registry = Registry(aws, "default")  # type: ignore[arg-type]
    images = [image(name=f"shop/api-{n}") for n in range(100)]
    if ask == "find":
        said = {registry.find(one).untold for one in images}
    else:
        said = {meaning.unknown for meaning in registry.look_up(images).values()}
    assert len(said) == 1
    assert "Could not connect" in str(said)
    assert sum(aws.calls.values()) == 1


# --- what becomes of one image -----------------------------------------------------------------------------------

TAG = image(":latest")
BY_DIGEST = image(f"@{A}")


@pytest.mark.parametrize(
    ("name", "ran", "meanings", "outcome"),
    [
        (TAG, A, {TAG: Meaning(A)}, Outcome.SAME),
        (TAG, A, {TAG: Meaning(INDEX, frozenset({A}))}, Outcome.SAME),
        (TAG, INDEX, {TAG: Meaning(INDEX, frozenset({A}))}, Outcome.SAME),
        (TAG, A, {TAG: Meaning(B), BY_DIGEST: Meaning(A)}, Outcome.MOVED),
        (TAG, A, {TAG: Meaning(missing="ImageNotFound"), BY_DIGEST: Meaning(A)}, Outcome.MOVED),
        (TAG, A, {TAG: Meaning(B), BY_DIGEST: Meaning(missing="ImageNotFound")}, Outcome.LOST),
        (TAG, A, {TAG: Meaning(B), BY_DIGEST: Meaning(unknown="refused")}, Outcome.UNKNOWN),
        (TAG, A, {TAG: Meaning(unknown="refused")}, Outcome.UNKNOWN),
        (TAG, None, {TAG: Meaning(missing="ImageNotFound")}, Outcome.LOST),
        (TAG, None, {TAG: Meaning(B)}, Outcome.UNKNOWN),
        (BY_DIGEST, A, {BY_DIGEST: Meaning(A)}, Outcome.SAME),
        (BY_DIGEST, None, {BY_DIGEST: Meaning(A)}, Outcome.SAME),
        (BY_DIGEST, None, {BY_DIGEST: Meaning(missing="ImageNotFound")}, Outcome.LOST),
        (TAG, A, {}, Outcome.UNKNOWN),
    ],
)
def test_what_becomes_of_an_image(
    name: str, ran: str | None, meanings: dict[str, Meaning], outcome: Outcome
) -> None:
    assert image_back(name, ran, meanings).outcome is outcome


def test_a_scheduled_task_follows_its_tag_at_every_run() -> None:
    assert image_back(TAG, None, {TAG: Meaning(B)}, resolved=False).outcome is Outcome.SAME
    gone = image_back(TAG, None, {TAG: Meaning(missing="ImageNotFound")}, resolved=False)
    assert gone.outcome is Outcome.LOST


@pytest.mark.parametrize("name", ["api", "r.example:5000/api", "r.example:5000/team/api", image("")])
@pytest.mark.parametrize("tag", [":1", "", f"@{B}", f":1@{B}"])
def test_a_digest_takes_the_place_of_a_tag(name: str, tag: str) -> None:
    assert with_digest(f"{name}{tag}", A) == f"{name}@{A}"


# --- the plan ----------------------------------------------------------------------------------------------------


def planned(to: str, live: str = TAG, **members: Any) -> PlannedItem:
    item = Service(images={"api": to}, exact=True, cluster="c", service="api")
    action = "unchanged" if to == live else "update"
    more = {"before": BEFORE, "live": BEFORE, **members}
    return PlannedItem(item, action, {"api": {"from": live, "to": to}}, **more)


def plan_with(aws: Aws, *plan: PlannedItem, image: str = TAG, left: Any = None) -> list[PlannedItem]:
    """The plan of services at ``BEFORE`` whose service revisions are numbered as they are."""
    live = [
        Live(
            service=ServiceState({"currentServiceRevisions": [{"arn": f"revision/{n}"}]}),
            definition=definition({"api": image}),
            completed=BEFORE,
        )
        for n in range(len(plan))
    ]
    return with_way_back(plan, live, left or {}, aws, Definitions(aws))  # type: ignore[arg-type]


def codes(one: PlannedItem) -> list[str]:
    return [finding.code for finding in one.findings]


@pytest.mark.parametrize(
    ("tag", "there", "code", "way"),
    [
        (A, {A}, None, "sure"),
        (B, {A, B}, "W263", "sure"),
        (None, {A}, "W263", "sure"),
        (B, {B}, "W264", "none"),
        (None, set(), "W262", "none"),
    ],
)
def test_the_plan_says_what_the_way_back_is_worth(
    tag: str | None, there: set[str], code: str | None, way: str
) -> None:
    tags = {("shop/api", "latest"): tag} if tag else {}
    aws = Aws(tags=tags, there=there, revisions={"revision/0": (BEFORE, {"api": A})})
    (one,) = plan_with(aws, planned(image(":2")))
    assert codes(one) == ([code] if code else [])
    assert one.digests == {"api": A}
    document = plan_document([one], "rollback")
    assert document["items"][0]["wayBack"] == way
    assert document["wayBack"] is (way != "none")
    assert document["waysBack"][way] == 1
    if code in ("W263", "W264"):
        assert A in one.warnings[0]
    if tag == B:
        assert B in one.warnings[0]


def test_what_nobody_knows_is_counted_and_said_once() -> None:
    plan = plan_with(
        Aws(), *(planned("ghcr.io/a/api:2", "ghcr.io/a/api:1") for _ in range(3)), image="ghcr.io/a/api:1"
    )
    document = plan_document(plan, "rollback")
    assert document["waysBack"] == {"sure": 0, "notKnown": 3, "none": 0}
    assert way_back_words(document) == "way back not known for 3 of 3"
    assert [codes(one) for one in plan] == [["W266"]] * 3


def test_a_sidecar_that_nobody_can_look_up_is_the_way_forward_s_matter_too() -> None:
    aws = Aws(tags={("shop/api", "latest"): A}, revisions={"revision/0": (BEFORE, {"api": A, "agent": B})})
    live = Live(
        service=ServiceState({"currentServiceRevisions": [{"arn": "revision/0"}]}),
        definition=definition({"api": TAG, "agent": "docker.io/agent:7"}),
        completed=BEFORE,
    )
    (one,) = with_way_back([planned(image(":2"))], [live], {}, aws, Definitions(aws))  # type: ignore[arg-type]
    assert codes(one) == []


def test_with_every_question_refused_the_plan_is_made_and_says_what_it_could_not_ask() -> None:
    refused = refusal("AccessDeniedException")
    aws = Aws(failing={"batch_get_image": refused, "describe_service_revisions": refused})
    (one,) = plan_with(aws, planned(image(":2")))
    assert codes(one) == ["W266"]
    assert one.action == "update"
    aws = Aws(tags={("shop/api", "latest"): A}, failing={"describe_service_revisions": refused})
    (one,) = plan_with(aws, planned(image(":2")))
    (said,) = one.warnings
    assert "ECS can't be asked which digest runs: AccessDeniedException: so it is; make sure" in said


def test_of_a_service_that_ecs_says_no_digest_of_nobody_knows() -> None:
    (one,) = plan_with(Aws(tags={("shop/api", "latest"): A}), planned(image(":2")))
    assert "ECS does not tell which digest runs" in one.warnings[0]


@pytest.mark.parametrize(
    ("status", "found"),
    [("ACTIVE", []), ("INACTIVE", []), ("DELETE_IN_PROGRESS", ["W265"]), (None, ["W265"])],
)
def test_a_revision_that_is_gone_or_going_is_no_way_back(status: str | None, found: list[str]) -> None:
    older = BEFORE.replace(":7", ":5")
    aws = Aws(tags={("shop/api", "latest"): A}, there={A})
    if status:
        aws.definitions[older] = dict(definition({"api": TAG}, older, status=status).body)
    one = planned(image(":2"), before=older, inherited=True)
    left = {one.item.key: {"before": older, "digests": {"api": A}}}
    assert codes(plan_with(aws, one, left=left)[0]) == found


def test_what_an_earlier_release_left_keeps_the_digest_it_ran() -> None:
    older = BEFORE.replace(":7", ":5")
    aws = Aws(tags={("shop/api", "latest"): B}, there={A, B}, revisions={"revision/0": (BEFORE, {"api": B})})
    aws.definitions[older] = dict(definition({"api": TAG}, older).body)
    one = planned(image(":2"), before=older, inherited=True)
    (found,) = plan_with(aws, one, left={one.item.key: {"before": older, "digests": {"api": A}}})
    assert codes(found) == ["W263"]
    assert found.digests == {"api": A}


def test_a_tag_that_moved_under_an_unchanged_manifest_is_said_with_both_digests() -> None:
    aws = Aws(tags={("shop/api", "latest"): B}, there={A, B}, revisions={"revision/0": (BEFORE, {"api": A})})
    (one,) = plan_with(aws, planned(TAG))
    assert codes(one) == ["W226"]
    (said,) = one.warnings
    for part in (
        A,
        B,
        f"shop/api@{B}",
        "aws ecs update-service --cluster c --service api --force-new-deployment",
    ):
        assert part in said
    assert one.action == "unchanged"
    assert plan_document([one], "rollback")["items"][0]["wayBack"] is None


@pytest.mark.parametrize(
    ("tag", "there", "expected"),
    [(A, {A}, []), (None, {A}, []), (None, set(), ["W227"]), (B, {B}, ["W226", "W227"])],
)
def test_what_runs_unchanged_and_is_gone_is_said(
    tag: str | None, there: set[str], expected: list[str]
) -> None:
    tags = {("shop/api", "latest"): tag} if tag else {}
    aws = Aws(tags=tags, there=there, revisions={"revision/0": (BEFORE, {"api": A})})
    assert codes(plan_with(aws, planned(TAG))[0]) == expected


def test_a_scheduled_task_whose_image_is_gone_is_said() -> None:
    item = Rule(images={"api": image(":2")}, exact=True, rule="r")
    one = PlannedItem(item, "update", {"api": {"from": TAG, "to": image(":2")}}, before=BEFORE, live=BEFORE)
    live = [Live(definition=definition({"api": TAG}))]
    for tags, expected in (({}, ["W262"]), ({("shop/api", "latest"): B}, [])):
        aws = Aws(tags=tags)
        (found,) = with_way_back([one], live, {}, aws, Definitions(aws))  # type: ignore[arg-type]
        assert codes(found) == expected


def test_a_thousand_services_are_looked_at_in_few_calls() -> None:
    plan = [planned(image(":2")) for _ in range(1000)]
    aws = Aws(
        tags={("shop/api", "latest"): A},
        there={A},
        revisions={f"revision/{n}": (BEFORE, {"api": A}) for n in range(1000)},
    )
    assert not any(codes(one) for one in plan_with(aws, *plan))
    assert aws.calls == {"describe_service_revisions": 50, "batch_get_image": 1}


def test_what_is_blocked_is_not_asked_about() -> None:
    aws = Aws()
    plan_with(aws, PlannedItem(planned(image(":2")).item, "blocked", {}))
    assert not aws.calls


# --- back by hand ------------------------------------------------------------------------------------------------

AFTER = BEFORE.replace(":7", ":8")


def by_hand(
    found: Found,
    now: TaskDefinition | None = None,
    *,
    live: Live | None = None,
    goal: TaskDefinition | Finding | None = None,
) -> PlannedItem:
    item = Service(images={"api": image(":2")}, exact=False, cluster="c", service="api")
    record = ItemRecord(
        "r",
        *(0, 0, 1, item, "update", {"api": {"from": TAG, "to": image(":2")}}),
        before=BEFORE,
        live=BEFORE,
        after=AFTER,
        started_at=1,
    )
    goal = goal or definition({"api": TAG, "agent": "docker.io/agent:7"})
    now = now or definition({"api": image(":2"), "agent": "docker.io/agent:7"}, AFTER)
    step = Step(record, frozenset({BEFORE, AFTER, now.arn}))
    (one,) = plan_back([step], items_back([step]), [live or Live(definition=now)], [goal], [found])
    return one


def outcome(ran: str | None, **meanings: Meaning) -> Found:
    named = {TAG: meanings["tag"], BY_DIGEST: meanings.get("digest", Meaning(missing="ImageNotFound"))}
    return Found({"api": image_back(TAG, ran, named)}, {"api": ran} if ran else {})


def test_back_by_hand_goes_straight_to_the_revision_whose_tag_means_what_ran() -> None:
    one = by_hand(outcome(A, tag=Meaning(A)))
    assert (one.action, one.after, one.base, one.findings) == ("update", BEFORE, "", ())


def test_back_by_hand_goes_to_the_digest_that_ran_once() -> None:
    moved = outcome(A, tag=Meaning(B), digest=Meaning(A))
    one = by_hand(moved)
    assert (one.after, one.base, one.images["api"]["to"]) == (None, BEFORE, BY_DIGEST)
    assert codes(one) == ["W263"]
    for registered in ({name: c["to"] for name, c in one.images.items()}, {"api": BY_DIGEST}):
        images = {"api": BY_DIGEST, "agent": "docker.io/agent:7"}
        copy = definition(images, BEFORE.replace(":7", ":9"))
        tag = {"key": CONTENT_TAG, "value": content_digest(BEFORE, registered)}
        again = by_hand(moved, TaskDefinition(copy.body, (tag,)))
        assert (again.action, again.after) == ("unchanged", copy.arn)


@pytest.mark.parametrize(
    "found",
    [outcome(A, tag=Meaning(B)), outcome(None, tag=Meaning(missing="ImageNotFound"))],
)
def test_back_by_hand_leaves_alone_what_would_be_something_else(found: Found) -> None:
    one = by_hand(found)
    assert one.lost is not None
    assert "no way back" in one.lost


@pytest.mark.parametrize(
    ("code", "values"),
    [
        ("E204", {"cluster": "c"}),
        ("E205", {"service": "api", "cluster": "c"}),
        ("E206", {"status": "DRAINING"}),
        ("E208", {"why": 'there is no EventBridge rule "job" on the event bus "default"'}),
    ],
)
def test_back_by_hand_goes_on_without_what_was_deleted(code: str, values: dict[str, str]) -> None:
    there = by_hand(outcome(A, tag=Meaning(A)))
    gone = by_hand(Found(), live=Live(findings=(Finding(code, values),)))
    assert (there.action, gone.action) == ("update", "update")
    assert there.lost is None
    assert gone.lost is not None
    assert "Create it again" in gone.lost
    assert codes(gone) == ["W267"]
    assert not gone.problems


@pytest.mark.parametrize("comes_back", [True, False])
def test_a_rule_that_seems_to_be_gone_is_looked_for_once_more(
    monkeypatch: pytest.MonkeyPatch, comes_back: bool
) -> None:
    """One answer proves nothing, and what is left out is not put back; what was found is not read again."""
    goal, now = definition({"api": TAG}), definition({"api": image(":2")}, AFTER)
    change = {"api": {"from": TAG, "to": image(":2")}}
    records = [
        ItemRecord(
            *("r", 0, number, 1, Rule(rule=name), "update", change),
            before=BEFORE,
            live=BEFORE,
            after=AFTER,
            started_at=1,
        )
        for number, name in enumerate(("job", "other"))
    ]
    there = Live(definition=now)
    gone = Live(findings=(Finding("E208", {"why": 'there is no EventBridge rule "job"'}),))
    looks: list[list[str]] = []
    pauses: list[float] = []

    def read_live(items: Any, *_: Any, **__: Any) -> list[Live]:
        looks.append([item.rule for item in items])
        missing = len(looks) == 1 or not comes_back
        return [gone if item.rule == "job" and missing else there for item in items]

    monkeypatch.setattr(make.time, "sleep", pauses.append)
    monkeypatch.setattr(make, "read_live", read_live)
    monkeypatch.setattr(make, "read_goals", lambda steps, *_: [goal] * len(steps))
    monkeypatch.setattr(make, "with_starters", lambda live, *_: live)
    monkeypatch.setattr(make, "look_at", lambda goals, *_: [Found()] * len(goals))
    store: Any = SimpleNamespace(items=lambda _: records)
    connections: Any = Aws()
    undone: Any = [SimpleNamespace(release="r")]
    job, other = make.plan_rollback(store, connections, undone)
    assert looks == [["job", "other"], ["job"]]
    assert pauses == [make.LOOK_AGAIN_SECONDS]
    assert (job.lost is None) == comes_back
    assert other.lost is None


def test_back_by_hand_goes_on_without_an_item_whose_revision_is_gone() -> None:
    gone = by_hand(Found(), goal=Finding("W265", {"before": BEFORE, "why": "is gone"}))
    assert gone.lost is not None
    assert f"{BEFORE} is gone" in gone.lost
    assert not gone.problems


NOT_LOOKED_AT = sorted({*PROBLEMS} - {"E204", "E205", "E206", "E208"})


def problem(code: str) -> Finding:
    """A finding of this code, each of its values a word of its own."""
    names = {name for _, name, _, _ in Formatter().parse(CODES[code].text) if name}
    return Finding(code, {name: f"some {name}" for name in names})


@pytest.mark.parametrize("code", NOT_LOOKED_AT)
def test_back_by_hand_goes_on_without_what_nobody_can_look_at(code: str) -> None:
    """Whatever stands in the way of one item: it stays as it is and says why, and what would have to be set."""
    finding = problem(code)
    for left in (by_hand(Found(), live=Live(findings=(finding,))), by_hand(Found(), goal=finding)):
        assert (left.action, left.problems, codes(left)) == ("update", (), ["W268"])
        assert left.lost is not None
        assert finding.fact in left.lost
        assert f"({code})" in left.lost
        assert BEFORE in left.lost
        assert (left.before, left.live) == (BEFORE, AFTER)
        assert cut([left], "r2", 1).records[0].status == "FAILED"


def test_back_by_hand_goes_on_without_an_item_whose_answer_can_not_be_understood() -> None:
    odd = Live(
        definition=definition({"api": image(":2")}, AFTER), service=ServiceState({"deployments": "odd"})
    )
    left = by_hand(Found(), live=odd)
    assert (left.action, codes(left)) == ("update", ["W268"])


@pytest.mark.parametrize("others", [0, 1])
def test_back_by_hand_is_refused_only_where_it_can_look_at_nothing(
    monkeypatch: pytest.MonkeyPatch, others: int
) -> None:
    left = by_hand(Found(), live=Live(findings=(problem("E202"),)))
    there = by_hand(outcome(A, tag=Meaning(A)))
    monkeypatch.setattr(parse, "releases_undone", lambda *_: [SimpleNamespace(release="r1")])
    monkeypatch.setattr(parse, "plan_rollback", lambda *_: [left, left, *[there] * others])
    monkeypatch.setattr(parse, "_kept", lambda worker, release, make: make(None))
    nothing = SimpleNamespace(add_throttles=lambda *_: None, forget_definitions=lambda *_: None)
    worker: Any = SimpleNamespace(
        store=nothing, connections=SimpleNamespace(throttles=SimpleNamespace(take=lambda: 0))
    )
    shown = "\n".join(lines_of_way_back([left, left, *[there] * others]))
    assert ("would be refused" in shown) == (not others)
    if others:
        assert parse._plan(worker, "r2", Request("rollback")) == ([left, left, there], {"undid": "r1"})
        return
    with pytest.raises(ReleaseRejectedError) as refusal:
        parse._plan(worker, "r2", Request("rollback"))
    assert len(refusal.value.problems) == 2
    assert problem("E202").fact in refusal.value.problems[0]


@pytest.mark.parametrize("passes", [True, False])
@pytest.mark.parametrize("what", ["item", "goal"])
def test_back_by_hand_leaves_nothing_because_of_one_answer(
    monkeypatch: pytest.MonkeyPatch, what: str, passes: bool
) -> None:
    goal, now = definition({"api": TAG}), definition({"api": image(":2")}, AFTER)
    looks: Counter[str] = Counter()

    def answer(of: str, well: Any, ill: Any) -> Any:
        looks[of] += 1
        return ill if of == what and (looks[of] == 1 or not passes) else well

    refused = problem("E203")
    monkeypatch.setattr(make.time, "sleep", lambda _: None)
    monkeypatch.setattr(
        make,
        "read_live",
        lambda items, *_, **__: [answer("item", Live(definition=now), Live(findings=(refused,)))],
    )
    monkeypatch.setattr(make, "read_goals", lambda steps, *_: [answer("goal", goal, refused) for _ in steps])
    monkeypatch.setattr(make, "with_starters", lambda live, *_: live)
    monkeypatch.setattr(make, "look_at", lambda goals, *_: [Found()] * len(goals))
    item = Service(cluster="c", service="api")
    record = ItemRecord("r", 0, 0, 1, item, "update", {}, before=BEFORE, after=AFTER, started_at=1)
    store: Any = SimpleNamespace(items=lambda _: [record])
    connections: Any = Aws()
    undone: Any = [SimpleNamespace(release="r")]
    (planned,) = make.plan_rollback(store, connections, undone)
    assert looks[what] == 2
    assert codes(planned) == ([] if passes else ["W268"])
    if what == "item" and not passes:
        assert not looks["goal"], "nobody asks for the goal of what can't be looked at"


def test_what_is_left_on_the_way_back_holds_up_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its clean-up can't get on either: the target of a revision that is condemned may be gone for good."""
    left = by_hand(Found(), live=Live(findings=(problem("E201"),)))
    condemned = UnusedRevision("default", AFTER, "r0", "condemned", 1)
    worker: Any = SimpleNamespace(store=SimpleNamespace(unused=lambda: [condemned], keep=lambda *_: False))
    assert parse._too_late(worker, "r2", [left]) == []


def test_a_copy_for_the_way_back_that_was_never_set_is_cleaned_up() -> None:
    item = Service(cluster="c", service="api")
    base = ItemRecord("r", 0, 0, 1, item, "update", {}, before=BEFORE, live=BEFORE, after=AFTER)
    copy = BEFORE.replace(":7", ":9")
    for registered, started, shared in itertools.product((True, False), (None, 5), (True, False)):
        members: dict[str, Any] = {"rollback_to": copy, "rollback_registered": registered}
        one = ItemRecord(**{**vars(base), **members, "rollback_started_at": started})
        other = ItemRecord(**{**vars(base), "number": 1, "live": copy if shared else BEFORE})
        expected = [one] if registered and started is None and not shared else []
        assert copies_never_set([one, other]) == expected


def test_looking_needs_nothing_where_there_is_nothing_to_look_at() -> None:
    aws = Aws()
    assert look_at([], aws, Definitions(aws)) == []  # type: ignore[arg-type]
    (found,) = look_at([Goal("default", BEFORE, True)], aws, Definitions(aws))  # type: ignore[arg-type]
    assert found.trouble is not None
    assert found.trouble.code == "W265"


def test_what_has_no_way_back_is_the_first_warning() -> None:
    ran = {f"revision/{n}": (BEFORE, {"api": A}) for n in range(2)}
    moved = plan_with(Aws(tags={("shop/api", "latest"): B}, there={A}, revisions=ran), planned(image(":2")))
    gone = plan_with(Aws(revisions=ran), planned(image(":2")))
    document = plan_document([*moved, *gone], "rollback")
    assert [group.title for group in grouped_warnings(document)] == [
        "the image to go back to is gone",
        "goes back by digest",
    ]
    assert way_back_words(document) == "NO WAY BACK for 1 of 2"
