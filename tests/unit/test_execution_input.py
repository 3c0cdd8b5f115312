"""What an execution may be asked: a key that nobody reads is refused, and what any build has written is accepted."""

from __future__ import annotations

import hashlib
import io
import json
from typing import Any

import pytest
from ecs_release.errors import ManifestInvalidError
from ecs_release.plan import request as module
from ecs_release.plan.document import digest
from ecs_release.plan.request import read_request

MANIFEST = json.dumps(
    {"services": [{"service": "a", "clusterName": "c", "serviceName": "a", "image": "r/a:1"}]}
).encode()
PLAN = json.dumps({"digest": digest([], "rollback"), "items": [], "onFailure": "rollback"}).encode()
SOURCE = {"commit": "c", "author": "a", "pipelineExecutionId": "e"}


def reference(body: bytes) -> dict[str, str]:
    return {"bucket": "b", "key": body.decode(), "versionId": "v", "sha256": hashlib.sha256(body).hexdigest()}


DEPLOY = {"version": 1, "mode": "deploy", "manifest": reference(MANIFEST)}
BACK = {"version": 1, "mode": "rollback"}


@pytest.fixture(autouse=True)
def _s3(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each object's key is its body."""

    class S3:
        def get_object(self, **wanted: str) -> Any:
            return {"Body": io.BytesIO(wanted["Key"].encode())}

    monkeypatch.setattr(module, "own_client", lambda _: S3())


@pytest.mark.parametrize("document", [DEPLOY, {**DEPLOY, "source": SOURCE}, BACK, {**BACK, "to": "r1"}])
@pytest.mark.parametrize(
    "key",
    [
        "release",
        "To",
        "TO",
        "to ",
        "dryRun",
        "dry-run",
        "names",
        "allowstale",
        "Manifest",
        "tasks",
        "services",
        "",
        "x",
    ],
)
def test_a_key_that_nobody_reads_is_refused_by_name(document: dict[str, Any], key: str) -> None:
    with pytest.raises(ManifestInvalidError) as refused:
        read_request({**document, key: "cli-x"})
    text = str(refused.value)
    assert f'"{key}"' in text
    assert f'mode "{document["mode"]}"' in text
    assert '"to"' in text or document["mode"] == "deploy"


@pytest.mark.parametrize(
    ("document", "other"),
    [
        *((BACK, {key: DEPLOY["manifest"]}) for key in ("manifest", "plan")),
        (BACK, {"allowStale": True}),
        (DEPLOY, {"to": "r1"}),
    ],
)
def test_a_key_of_the_other_mode_is_refused(document: dict[str, Any], other: dict[str, Any]) -> None:
    with pytest.raises(ManifestInvalidError, match=f'"{next(iter(other))}"'):
        read_request({**document, **other})


@pytest.mark.parametrize(
    "document",
    [
        {**DEPLOY, "source": SOURCE},  # the build, since the first version
        {"version": 1, "manifest": DEPLOY["manifest"]},
        {**DEPLOY, "source": SOURCE, "plan": reference(PLAN)},  # with approval
        {**DEPLOY, "source": SOURCE, "plan": reference(PLAN), "allowStale": True},
        {**DEPLOY, "source": None, "plan": None},
        BACK,  # the command
        {**BACK, "to": "r1"},
        {**BACK, "to": None},
        {**BACK, "source": {"author": "chaos"}},
    ],
)
@pytest.mark.parametrize(
    "started_by", [{}, {"AWS_STEP_FUNCTIONS_STARTED_BY_EXECUTION_ID": "arn:aws:states:x"}]
)
def test_what_builds_and_commands_send_is_read(document: dict[str, Any], started_by: dict[str, str]) -> None:
    request = read_request({**document, **started_by})
    assert (request.mode, request.to) == (document.get("mode", "deploy"), document.get("to"))
    assert request.allow_stale is document.get("allowStale", False)
