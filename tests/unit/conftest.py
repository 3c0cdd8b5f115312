"""What several unit tests stand on."""

from __future__ import annotations

import re
from collections.abc import Iterator

import boto3
import pytest
from ecs_release.plan.codes import CODES
from ecs_release.plan.findings import Finding
from ecs_release.record.store import Store
from local_aws.services import dynamodb
from moto import mock_aws

_A_NAME = 12
"""Characters of a value (an ARN, an image, a digest) that nobody likes to read twice; a shorter one may be in a word by chance."""

_TWO_STOPS = re.compile(r"[;,:]\.|[.;,][;,:]|(?<!\.)\.\.(?!\.)")


@pytest.fixture(autouse=True)
def _every_message_reads_well(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a test finds: its message ends with what to do, says no name twice and has no two full stops in a row."""

    def message(self: Finding) -> str:
        kind = CODES[self.code]
        text = kind.text.format(**self.values)
        assert text.endswith(kind.todo.format(**self.values))
        assert not _TWO_STOPS.search(text), text
        twice = [v for v in map(str, self.values.values()) if len(v) >= _A_NAME and text.count(v) > 1]
        assert not twice, f"{self.code} says it twice: {twice}: {text}"
        return text

    monkeypatch.setattr(Finding, "message", property(message))


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    """An empty releases table."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    dynamodb.install()  # transactions take moto as long as its tables are large
    with mock_aws():
        client = boto3.client("dynamodb", region_name="eu-west-1")
        client.create_table(
            TableName="releases",
            BillingMode="PAY_PER_REQUEST",
            AttributeDefinitions=[{"AttributeName": n, "AttributeType": "S"} for n in ("pk", "sk")],
            KeySchema=[
                {"AttributeName": "pk", "KeyType": "HASH"},
                {"AttributeName": "sk", "KeyType": "RANGE"},
            ],
        )
        yield Store(client, "releases")
