"""What one invocation puts on its log lines is not on those of the next one, which the same worker may run."""

from __future__ import annotations

import contextvars
import importlib
from pathlib import Path
from types import SimpleNamespace

import pytest
from ecs_release import observability
from ecs_release.errors import ManifestInvalidError

STEPS = Path(observability.__file__).with_name("steps")
HANDLERS = sorted(
    path.stem for path in STEPS.glob("*.py") if "def handler(" in path.read_text(encoding="utf-8")
)


@pytest.mark.parametrize("step", HANDLERS)
def test_each_function_begins_with_no_keys_of_the_invocation_before(
    step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ECS_RELEASE_TABLE", "releases")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    context = SimpleNamespace(
        function_name=step,
        memory_limit_in_mb=512,
        invoked_function_arn="arn:aws:lambda:eu-west-1:111111111111:function:any",
        aws_request_id="request",
        get_remaining_time_in_millis=lambda: 1000,
    )
    observability.logger.append_keys(item="shop/api", wave=3)
    handler = importlib.import_module(f"ecs_release.steps.{step}").handler
    own = contextvars.copy_context()  # how patient calls are holds for the whole of a context
    with pytest.raises((KeyError, ManifestInvalidError)):  # an event that nobody sends ends it at once
        own.run(handler, {"source": "aws.states"}, context)
    left = observability.logger.get_current_keys()
    assert not {"item", "wave"} & set(left), left
