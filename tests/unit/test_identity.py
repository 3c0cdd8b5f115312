"""Who a deployment is: read from what AWS sent, also by an SDK that is older than the members that say so."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from unittest import mock

import botocore.session
import pytest
from botocore.awsrequest import AWSResponse
from botocore.loaders import Loader
from ecs_release.aws.raw import completed, install_raw
from ecs_release.aws.service_deployments import ServiceDeployment
from ecs_release.aws.service_state import ServiceState, number_of
from ecs_release.aws.services import Services
from ecs_release.record.statuses import Status
from ecs_release.rollout.judge import Judgement, Rollout, find_ours, judge
from hypothesis import given
from hypothesis import strategies as st

ECS = "arn:aws:ecs:eu-west-1:111111111111"
OLD, NEW = (f"{ECS}:task-definition/api:{n}" for n in (1, 2))
MINE, THEIRS = "4980306466373577095", "9313423515462893900"

# What botocore did not know before currentServiceDeployment (1.42) and before the strategies (1.39).
_LATE_MEMBERS = {
    "Service": ("currentServiceDeployment", "currentServiceRevisions"),
    "DeploymentConfiguration": ("strategy", "bakeTimeInMinutes", "lifecycleHooks"),
}


def revision(number: str) -> str:
    return f"{ECS}:service-revision/c/api/{number}"


def service_deployment(
    number: str, status: str = "IN_PROGRESS", runs: str = NEW, **more: Any
) -> ServiceDeployment:
    return ServiceDeployment(f"sd/{number}", status, runs, revision=revision(number), **more)


def body(*deployments: tuple[str, str], strategy: str = "BLUE_GREEN", state: str | None = None) -> Any:
    """A service whose deployments are (number, task definition), the PRIMARY first."""
    told = {} if state is None else {"rolloutState": state}
    return {
        "serviceName": "api",
        "status": "ACTIVE",
        "desiredCount": 2,
        "taskDefinition": deployments[0][1],
        "deploymentConfiguration": {"strategy": strategy, "bakeTimeInMinutes": 1380},
        "deployments": [
            {"id": f"ecs-svc/{n}", "taskDefinition": runs, "status": "ACTIVE" if place else "PRIMARY", **told}
            for place, (n, runs) in enumerate(deployments)
        ],
    }


def rollout(number: str = MINE, **more: Any) -> Rollout:
    return Rollout(f"ecs-svc/{number}", NEW, 10, 600, **more)


# --- an SDK that is older than the members -------------------------------------------------------------------------


@pytest.fixture(params=["the SDK in use", "an older SDK"])
def client(request: pytest.FixtureRequest) -> Any:
    known = Loader.load_service_model

    def without_late_members(self: Any, service: str, kind: str, api_version: str | None = None) -> Any:
        model = json.loads(json.dumps(known(self, service, kind, api_version)))
        if kind == "service-2":
            for shape, members in _LATE_MEMBERS.items():
                for name in members:
                    assert model["shapes"][shape]["members"].pop(name), f"{shape} has no {name} any more"
        return model

    load = known if request.param == "the SDK in use" else without_late_members
    with mock.patch.object(Loader, "load_service_model", load):
        made = botocore.session.Session().create_client(
            "ecs", "eu-west-1", aws_access_key_id="test", aws_secret_access_key="test"
        )
    install_raw(made, "ecs")
    return made


class Connections:
    def __init__(self, client: Any, answer: dict[str, Any]) -> None:
        content = json.dumps(answer).encode()

        def send(request: Any, **_: Any) -> Any:
            headers: Any = {"Content-Type": "application/x-amz-json-1.1"}
            response: Any = AWSResponse(request.url, 200, headers, None)
            response._content = content
            return response

        client.meta.events.register("before-send.ecs", send)
        self._client = client

    def client(self, *_: Any, **__: Any) -> Any:
        return self._client


@pytest.mark.parametrize("call", ["DescribeServices", "UpdateService"])
def test_what_names_a_deployment_is_read_by_any_sdk(client: Any, call: str) -> None:
    sent = {
        **body((MINE, NEW), (THEIRS, OLD)),
        "currentServiceDeployment": "sd/1",
        "currentServiceRevisions": [{"arn": revision(MINE)}],
    }
    sent["deployments"][0]["createdAt"] = 1.7e9
    if call == "DescribeServices":
        found = Services(Connections(client, {"services": [sent]}), "t").one("c", "api")  # type: ignore[arg-type]
        assert found is not None
        state = found
    else:
        state = Services(Connections(client, {"service": sent}), "t").update("c", "api", NEW)  # type: ignore[arg-type]
    assert state.current_service_deployment == "sd/1"
    assert state.current_service_revisions == (revision(MINE),)
    assert state.strategy == "BLUE_GREEN"
    assert state.body["deploymentConfiguration"]["bakeTimeInMinutes"] == 1380
    assert state.primary is not None
    assert state.primary["createdAt"].timestamp() == 1.7e9  # what the SDK knows it has read


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner, max_size=3),
    max_leaves=12,
)


def _forgotten(value: Any, keep: Iterator[bool]) -> Any:
    """What an SDK leaves of an answer: members are missing here and there, the rest is as it was."""
    if isinstance(value, dict):
        return {n: _forgotten(v, keep) for n, v in value.items() if v is not None and next(keep)}
    if isinstance(value, list):
        return [_forgotten(v, keep) for v in value]
    return value


def _told(value: Any) -> Any:
    if isinstance(value, dict):
        return {n: _told(v) for n, v in value.items() if v is not None}
    return [_told(v) for v in value] if isinstance(value, list) else value


@given(_json, st.data())
def test_whatever_an_sdk_forgets_is_there_again(sent: Any, data: st.DataObject) -> None:
    def keep() -> Iterator[bool]:
        while True:
            yield data.draw(st.booleans())

    assert _told(completed(_forgotten(sent, keep()), sent)) == _told(sent)


# --- joined by the number they share -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("identity", "number"),
    [
        (f"ecs-svc/{MINE}", MINE),
        (revision(MINE), MINE),
        (revision(MINE).replace("arn:aws:", "arn:aws-cn:"), MINE),
        ("ecs-svc/", ""),
        (f"{ECS}:service-deployment/c/api/NCWGC2ZR-taawPAYrIaU5", ""),
        (f"{ECS}:service/c/{MINE}", ""),
        ("", ""),
        ("None", ""),
    ],
)
def test_the_number_of_a_deployment_and_of_its_service_revision(identity: str, number: str) -> None:
    assert number_of(identity) == number


@given(st.permutations([MINE, THEIRS, "1", "2"]), st.sampled_from(["SUCCESSFUL", "STOPPED", "IN_PROGRESS"]))
def test_of_several_deployments_of_one_revision_ours_is_the_one_with_our_number(
    order: list[str], status: str
) -> None:
    history = [service_deployment(number, status if number == MINE else "SUCCESSFUL") for number in order]
    found = find_ours(rollout(), ServiceState(body((THEIRS, NEW), (MINE, NEW))), history)
    assert found is not None
    assert found.number == MINE


def test_ours_that_ecs_does_not_list_yet_is_not_mistaken_for_another_one_of_the_same_revision() -> None:
    state = ServiceState(
        {
            **body((THEIRS, NEW), (MINE, NEW)),
            "currentServiceRevisions": [{"arn": revision(MINE)}, {"arn": revision(THEIRS)}],
        }
    )
    assert find_ours(rollout(), state, [service_deployment(THEIRS, "SUCCESSFUL")]) is None
    assert judge(rollout(), state, [service_deployment(THEIRS, "SUCCESSFUL")]).status is None


def test_the_deployment_that_update_service_named_is_ours_where_no_number_says_it() -> None:
    other, named = (ServiceDeployment(f"sd/{n}", "SUCCESSFUL", NEW) for n in ("first", "named"))
    state = ServiceState(body((MINE, NEW)))
    assert find_ours(rollout(service_deployment="sd/named"), state, [other, named]) is named
    # What it named may have been the one before: then it runs something else.
    before = ServiceDeployment("sd/named", "SUCCESSFUL", OLD)
    assert find_ours(rollout(service_deployment="sd/named"), state, [before, other]) is other


def test_where_ecs_gives_no_identity_the_first_of_our_revision_is_ours_and_none_that_is_anothers() -> None:
    state = ServiceState(body((THEIRS, NEW), (MINE, NEW)))
    theirs, nameless = service_deployment(THEIRS, "SUCCESSFUL"), ServiceDeployment("sd/0", "STOPPED", NEW)
    assert find_ours(rollout(), state, [theirs, nameless]) is nameless
    assert find_ours(rollout(), state, [theirs]) is None


def test_of_an_unchanged_service_the_present_deployment_of_what_it_runs_is_judged() -> None:
    state = ServiceState(body((THEIRS, NEW), (MINE, NEW)))
    history = [service_deployment(MINE, "STOPPED"), service_deployment(THEIRS, "SUCCESSFUL")]
    assert judge(rollout(found=True), state, history) == Judgement(Status.SUCCEEDED)


# --- a strategy that has no rolloutState ---------------------------------------------------------------------------

_STATUSES = [
    ("PENDING", None),
    ("IN_PROGRESS", None),
    ("SUCCESSFUL", Status.SUCCEEDED),
    ("STOP_REQUESTED", None),
    ("STOPPED", Status.FAILED),
    ("ROLLBACK_REQUESTED", None),
    ("ROLLBACK_IN_PROGRESS", None),
    ("ROLLBACK_SUCCESSFUL", Status.ROLLED_BACK_BY_ECS),
    ("ROLLBACK_FAILED", Status.FAILED),
]


@pytest.mark.parametrize("strategy", ["BLUE_GREEN", "LINEAR", "CANARY", "SOMETHING_NEW"])
@pytest.mark.parametrize("state", [None, "IN_PROGRESS", "COMPLETED", "FAILED"])
@pytest.mark.parametrize(("status", "verdict"), _STATUSES)
def test_whatever_rollout_state_says_the_service_deployment_decides(
    strategy: str, state: str | None, status: str, verdict: Status | None
) -> None:
    now = ServiceState(body((MINE, NEW), (THEIRS, OLD), strategy=strategy, state=state))
    assert judge(rollout(), now).needs_history
    assert judge(rollout(), now, [service_deployment(MINE, status)]).status is verdict


@pytest.mark.parametrize(("strategy", "completed"), [("ROLLING", True), ("CANARY", False)])
def test_a_rollout_state_says_nothing_of_what_completed_last_where_it_is_not_documented(
    strategy: str, completed: bool
) -> None:
    state = ServiceState(body((MINE, NEW), strategy=strategy, state="COMPLETED"))
    assert (state.completed is not None) is completed
