"""base: newest from Prepare to the way back: the plan's revision is what is copied, and "back" is what ran before."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest
from ecs_release.aws.service_state import ServiceState
from ecs_release.aws.task_definitions import content_digest
from ecs_release.errors import ItemError
from ecs_release.manifest import Service
from ecs_release.plan.back import Step, items_back, plan_back
from ecs_release.plan.batches import cut
from ecs_release.plan.decide import PlannedItem, make_plan
from ecs_release.plan.definitions import Definitions
from ecs_release.plan.live import Live
from ecs_release.record.models import ItemRecord
from ecs_release.record.statuses import Status
from ecs_release.steps.prepare import _prepare_item
from ecs_release.steps.rollback import put_service_back
from ecs_release.steps.turn import Turn
from test_going_back import PREFIX, REPOSITORY, World

RUNS, THEIRS, LATER = (f"{PREFIX}{number}" for number in (1, 2, 3))
IMAGE = f"{REPOSITORY}:2"
ITEM = Service(images={"app": IMAGE}, cluster="c", service="s", base="newest")


class Account(World):
    """A service on the first revision of a family, and a second one with more CPU that Terraform registered."""

    step = "prepare"

    def __init__(self) -> None:
        super().__init__()
        self.live, self.number = RUNS, 1
        self.definitions = {RUNS: self.revision(1, f"{REPOSITORY}:stable"), THEIRS: self.theirs(2, cpu="512")}

    def theirs(self, number: int, **more: str) -> dict[str, Any]:
        return {**self.revision(number, f"{REPOSITORY}:stable"), **more}

    def describe_task_definition(self, taskDefinition: str, **more: Any) -> Any:
        arn = taskDefinition if taskDefinition in self.definitions else ""
        if ":" not in taskDefinition:  # a family: its newest ACTIVE revision
            (arn,) = self.paginate()[0]["taskDefinitionArns"][:1]
        if not arn:
            raise ItemError(f"task definition {taskDefinition} can't be read")
        return super().describe_task_definition(arn, **more)

    def paginate(self, **_: Any) -> Any:
        active = (arn for arn, body in self.definitions.items() if body["status"] == "ACTIVE")
        return [{"taskDefinitionArns": sorted(active, reverse=True)}]

    def look(self) -> Live:
        definitions = Definitions(self)  # type: ignore[arg-type]
        definition = definitions.describe_live("default", self.live)
        return Live(
            service=ServiceState(self.describe_services()["services"][0]),
            definition=definition,
            completed=self.live,
            newer=definitions.newer("default", definition),
        )

    def plan(self, left: dict[str, Any] | None = None) -> PlannedItem:
        (planned,) = make_plan([ITEM], [self.look()], {ITEM.key: left} if left else {})
        return planned

    def record(self) -> ItemRecord:
        (record,) = cut([self.plan()], "r", 1).records
        return record


# --- Prepare --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", ["ACTIVE", "INACTIVE", "DELETE_IN_PROGRESS"])
@pytest.mark.parametrize("later", [False, True])
def test_the_revision_of_the_plan_is_copied_whatever_became_of_it_since(status: str, later: bool) -> None:
    """What was approved is what is in it; whether AWS still lets it be read is another test
    (https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-definition-state.html)."""
    account = Account()
    record = account.record()
    account.definitions[THEIRS]["status"] = status
    if later:
        account.definitions[LATER] = account.theirs(3, cpu="1024")
    turn = Turn(account, record)  # type: ignore[arg-type]
    _prepare_item(turn)
    assert turn.item.verdict == Status.PREPARED
    copied = account.definitions[str(turn.item.after)]
    assert turn.item.registered
    assert (copied["cpu"], copied["containerDefinitions"][0]["image"]) == ("512", IMAGE)
    assert account.tags[copied["taskDefinitionArn"]] == [
        {"key": "ecs-release:content", "value": content_digest(THEIRS, {"app": IMAGE})}
    ]


def test_a_revision_that_can_not_be_read_any_more_is_not_replaced_by_another_one() -> None:
    account = Account()
    record = account.record()
    account.definitions[LATER] = account.theirs(3, cpu="1024")
    del account.definitions[THEIRS]
    with pytest.raises(ItemError, match="api:2 can't be read"):
        _prepare_item(Turn(account, record))  # type: ignore[arg-type]
    assert set(account.definitions) == {RUNS, LATER}
    assert account.live == RUNS


# --- back -----------------------------------------------------------------------------------------------------------


def released(account: Account) -> ItemRecord:
    """What is on record of a release that started its rollout."""
    turn = Turn(account, account.record())  # type: ignore[arg-type]
    _prepare_item(turn)
    account.update_service(str(turn.item.after))
    return dataclasses.replace(turn.item, started_at=1, deployment_id="ecs-svc/2")


def test_a_rollback_goes_back_to_what_ran_and_not_to_what_was_copied() -> None:
    account = Account()
    item = released(account)
    assert account.live == item.after != THEIRS
    failed = dataclasses.replace(item, verdict="FAILED", status="FAILED")
    put_service_back(Turn(account, failed))  # type: ignore[arg-type]
    assert account.live == RUNS


def test_going_back_by_hand_goes_back_to_what_ran_and_copies_nothing() -> None:
    account = Account()
    item = dataclasses.replace(released(account), verdict="SUCCEEDED", status="SUCCEEDED")
    steps = [Step(item, frozenset({RUNS, str(item.after)}))]
    goal = account.task_definitions(item).describe(RUNS)
    (back,) = plan_back(steps, items_back(steps), [account.look()], [goal])
    assert (back.action, back.after, back.base) == ("update", RUNS, "")
    assert THEIRS not in json.dumps([finding.values for finding in back.findings])


def test_the_release_after_one_that_is_not_whole_copies_the_newest_again_and_goes_back_to_the_last_whole_state() -> (
    None
):
    account = Account()
    item = released(account)  # and it was left as it is
    account.definitions[f"{PREFIX}4"] = account.theirs(4, cpu="2048")
    left = {"before": RUNS, "release": "r", "ours": {str(item.after)}}
    planned = account.plan(left)
    assert (planned.base, planned.before, planned.live) == (f"{PREFIX}4", RUNS, item.after)
    assert planned.inherited


def test_after_a_rollback_the_newest_one_is_taken_up_again() -> None:
    account = Account()
    item = released(account)
    put_service_back(Turn(account, dataclasses.replace(item, verdict="FAILED", status="FAILED")))  # type: ignore[arg-type]
    for status in ("ACTIVE", "INACTIVE"):  # before and after our revision is cleaned up
        account.definitions[str(item.after)]["status"] = status
        planned = account.plan()
        assert (planned.base, planned.before) == (THEIRS, RUNS)
        assert [finding.code for finding in planned.findings if finding.code == "W233"]
