"""An orchestrator as a person at a terminal sees it: found by its state machine's ARN, started, followed."""

from __future__ import annotations

import json
import os
import re
import secrets
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from ecs_release.aws.clients import Connections, own_client
from ecs_release.aws.permissions import STEPS
from ecs_release.aws.trouble import explain
from ecs_release.errors import EcsReleaseError, SettingsError
from ecs_release.record.store import Store

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_stepfunctions.type_defs import DescribeExecutionOutputTypeDef

ARN_VARIABLE = "ECS_RELEASE_STATE_MACHINE_ARN"
TABLE_TAG = "ecs-release:releases-table"

# https://docs.aws.amazon.com/step-functions/latest/dg/service-quotas.html: 256 KiB, also for what a state hands to its function,
# and Parse gets the input with the execution's names around it. States.DataLimitExceeded can't be caught.
_INPUT_BYTES = 256 * 1024 - 4096


class Orchestrator:
    """The state machine and the releases table of one module.

    Parameters
    ----------
    arn : the state machine's ARN; its Region is where everything is.
    """

    def __init__(self, arn: str) -> None:
        match = re.fullmatch(r"arn:[^:]+:states:([^:]+):(\d{12}):stateMachine:([^:]+)", arn)
        if match is None:
            raise SettingsError(
                f'"{arn}" is not the ARN of a state machine; take the module\'s output state_machine_arn.'
            )
        self.arn = arn
        self._region, self._account = match.group(1), match.group(2)
        self._states = own_client("stepfunctions", region_name=self._region)

    @classmethod
    def find(cls, arn: str | None) -> Orchestrator:
        """The orchestrator of ``--state-machine-arn``, else of the environment.

        Raises
        ------
        SettingsError
            when neither names one.
        """
        found = arn or os.environ.get(ARN_VARIABLE)
        if not found:
            raise SettingsError(
                f"which orchestrator? Write --state-machine-arn, or set {ARN_VARIABLE} to the module's output "
                "state_machine_arn."
            )
        return cls(found)

    def store(self) -> Store:
        """The releases table."""
        return Store(self.dynamodb(), self.table())

    def dynamodb(self) -> DynamoDBClient:
        """The client of the releases table's account and Region."""
        return own_client("dynamodb", region_name=self._region)

    def table(self) -> str:
        """Name of the releases table, from the tag that Terraform put on the state machine."""
        try:
            answer = self._states.list_tags_for_resource(resourceArn=self.arn)
        except ClientError as error:
            raise EcsReleaseError(f"{self.arn} can't be read: {explain(error)}.") from error
        tags = {tag["key"]: tag["value"] for tag in answer.get("tags", ())}
        if TABLE_TAG not in tags:
            raise SettingsError(f"{self.arn} has no tag {TABLE_TAG}; run terraform apply of the module.")
        return str(tags[TABLE_TAG])

    def reader(self, store: Store) -> Connections:
        """Connections that read what is live, with the caller's own credentials in the orchestrator's account."""
        return self._connections(store, "parse", write=False)

    def writer(self, store: Store) -> Connections:
        """Connections that may do what Rollback does, with the caller's own credentials in the orchestrator's account."""
        return self._connections(store, "rollback", write=True)

    def _connections(self, store: Store, step: str, *, write: bool) -> Connections:
        return Connections(
            store.targets(),
            STEPS[step],
            write=write,
            session_name="ecs-release-cli",
            own_account=self._account,
        )

    def start(self, document: dict[str, Any]) -> tuple[str, str]:
        """Start an execution; its release id and its ARN.

        Raises
        ------
        EcsReleaseError
            when the document is too large for an execution's input, or Step Functions refuses.
        """
        text = json.dumps(document, ensure_ascii=False, separators=(",", ":"))
        if len(text.encode()) > _INPUT_BYTES:
            raise EcsReleaseError(
                f"the manifest is {len(text.encode()) // 1024:,} KiB as JSON, and an execution takes {_INPUT_BYTES // 1024} KiB; "
                "release it through the pipeline, which passes it by reference."
            )
        release = f"cli-{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}"
        try:
            answer = self._states.start_execution(stateMachineArn=self.arn, name=release, input=text)
        except ClientError as error:
            raise EcsReleaseError(f"the release could not be started: {explain(error)}.") from error
        return release, str(answer["executionArn"])

    def execution(self, execution_arn: str) -> DescribeExecutionOutputTypeDef:
        """What Step Functions says of an execution: status, output, error, cause."""
        return self._states.describe_execution(executionArn=execution_arn)
