"""What Terraform tells a function through its environment, read when asked and never at import."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from ecs_release.errors import SettingsError

READ_LAG_SECONDS = 6
"""ECS's API is eventually consistent (https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_RunTask.html); no AWS document
gives a figure, and the waits that it recommends there begin with a few seconds."""


@dataclass(frozen=True)
class Settings:
    """The environment of one function.

    Attributes
    ----------
    table : name of the releases table.
    idempotency_table : name of the idempotency table; None for functions that do not write items.
    topic_arn : SNS topic for release messages; None where the function does not notify.
    poll_seconds : shortest pause between two looks at the rollouts of a wave.
    soak_seconds : how long a service is watched after its rollout is complete; 0: not at all.
    name : the module's name, for messages.
    settle_seconds : how long a read of AWS may lag behind a write. Nobody sets it but tests.
    approval_pipeline : the pipeline whose approval a release needs; None: none is asked for.
    """

    table: str
    idempotency_table: str | None = None
    topic_arn: str | None = None
    poll_seconds: int = 15
    soak_seconds: int = 0
    name: str = "ecs-release"
    approval_pipeline: str | None = None
    settle_seconds: int = READ_LAG_SECONDS

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> Settings:
        """Read the settings.

        Raises
        ------
        SettingsError
            when a variable is missing or no number.
        """
        env = os.environ if environment is None else environment
        table = env.get("ECS_RELEASE_TABLE")
        if not table:
            raise SettingsError("ECS_RELEASE_TABLE is not set: it names the releases table.")
        poll = env.get("ECS_RELEASE_POLL_SECONDS", "15")
        if not poll.isdigit() or int(poll) < 1:
            raise SettingsError(
                f"ECS_RELEASE_POLL_SECONDS is {poll!r}: write a whole number of seconds, 1 or more."
            )
        soak = env.get("ECS_RELEASE_SOAK_SECONDS", "0")
        if not soak.isdigit():
            raise SettingsError(
                f"ECS_RELEASE_SOAK_SECONDS is {soak!r}: write a whole number of seconds, 0 or more."
            )
        return cls(
            table=table,
            idempotency_table=env.get("ECS_RELEASE_IDEMPOTENCY_TABLE") or None,
            topic_arn=env.get("ECS_RELEASE_TOPIC_ARN") or None,
            poll_seconds=int(poll),
            soak_seconds=int(soak),
            name=env.get("ECS_RELEASE_NAME", "ecs-release"),
            approval_pipeline=env.get("ECS_RELEASE_APPROVAL_PIPELINE") or None,
        )
