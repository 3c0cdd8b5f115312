"""Access to the DynamoDB table, and nothing of what is in it."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from boto3.dynamodb.types import TypeDeserializer, TypeSerializer
from botocore.exceptions import ClientError

from ecs_release.aws.patience import jittered, pause
from ecs_release.aws.trouble import error_code
from ecs_release.errors import RecordChangedError, fitting

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import (
        AttributeValueTypeDef,
        PutItemInputTypeDef,
        TransactWriteItemTypeDef,
        UpdateTypeDef,
    )

# An item of DynamoDB holds 400 KB. Three lists of a release grow with its items; each item's own record has its share whole.
LIST_BYTES = 100_000

# A transaction holds 100 items and 4 MB: https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_TransactWriteItems.html
_TRANSACTION_ITEMS = 99
_TRANSACTION_BYTES = 3_000_000

# People wait while the record of a large release is closed, so its many small writes go side by side.
WRITERS = 8
_serialize = TypeSerializer().serialize
_deserialize = TypeDeserializer().deserialize
_Entry = TypeVar("_Entry")


def transactions(writes: Sequence[TransactWriteItemTypeDef]) -> Iterator[list[TransactWriteItemTypeDef]]:
    """The writes in as few transactions as DynamoDB's limits allow."""
    return _portions(writes, lambda write: len(json.dumps(write)), _TRANSACTION_BYTES, _TRANSACTION_ITEMS)


def together(texts: Sequence[str], room: int) -> Iterator[str]:
    """JSON texts in as few JSON lists as hold about ``room`` bytes each."""
    for some in _portions(texts, lambda text: len(text.encode()), room):
        yield f"[{','.join(some)}]"


def _portions(
    entries: Sequence[_Entry], size_of: Callable[[_Entry], int], room: int, most: float = math.inf
) -> Iterator[list[_Entry]]:
    """The entries in order, in as few portions as hold ``room`` bytes and ``most`` entries each."""
    some: list[_Entry] = []
    used = 0
    for entry in entries:
        size = size_of(entry)
        if some and (len(some) >= most or used + size > room):
            yield some
            some, used = [], 0
        some.append(entry)
        used += size
    if some:
        yield some


def wait_for_the_rest(attempt: int) -> None:
    """DynamoDB throttles a part of a batch by giving it back
    (https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_BatchGetItem.html)."""
    pause(jittered(attempt, 5.0), "DynamoDB throttles the releases table")


def fitting_value(value: Any) -> Any:
    return (
        fitting(value, LIST_BYTES)
        if isinstance(value, list) and all(isinstance(v, str) for v in value)
        else value
    )


def raise_conditional(error: ClientError) -> NoReturn:
    """Say that somebody else wrote first where that is what DynamoDB refuses, also as a part of a transaction."""
    reasons = {reason.get("Code") for reason in error.response.get("CancellationReasons", ())}
    cancelled = error_code(error) == "TransactionCanceledException" and "ConditionalCheckFailed" in reasons
    if cancelled or error_code(error) == "ConditionalCheckFailedException":
        raise RecordChangedError("somebody else changed this record first") from error
    raise error


def serialized(row: Mapping[str, Any]) -> dict[str, AttributeValueTypeDef]:
    return {name: _serialize(value) for name, value in row.items()}


def deserialized(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _numbers(_deserialize(value)) for name, value in row.items()}


def _numbers(value: Any) -> Any:
    """DynamoDB hands out Decimals; every number in these records is a whole one."""
    if isinstance(value, Decimal):
        return int(value)
    if isinstance(value, list):
        return [_numbers(entry) for entry in value]
    if isinstance(value, dict):
        return {key: _numbers(entry) for key, entry in value.items()}
    return value


def without_none(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if value is not None}


class Table:
    """Reads and writes of rows.

    Parameters
    ----------
    client : a low-level DynamoDB client.
    table : the table's name.
    """

    def __init__(self, client: DynamoDBClient, table: str) -> None:
        self._client = client
        self._table = table

    def _get(self, pk: str, sk: str) -> dict[str, Any] | None:
        answer = self._client.get_item(
            TableName=self._table, Key=serialized({"pk": pk, "sk": sk}), ConsistentRead=True
        )
        return deserialized(answer["Item"]) if "Item" in answer else None

    def _put(
        self,
        row: Mapping[str, Any],
        *,
        condition: str | None = None,
        values: Mapping[str, Any] | None = None,
        names: Mapping[str, str] | None = None,
    ) -> None:
        request: PutItemInputTypeDef = {"TableName": self._table, "Item": serialized(without_none(row))}
        if condition:
            request["ConditionExpression"] = condition
        if values:
            request["ExpressionAttributeValues"] = serialized(values)
        if names:
            request["ExpressionAttributeNames"] = dict(names)
        try:
            self._client.put_item(**request)
        except ClientError as error:
            raise_conditional(error)

    def _update(
        self,
        key: Mapping[str, str],
        changes: Mapping[str, Any],
        *,
        condition: str,
        values: Mapping[str, Any] | None = None,
        names: Mapping[str, str] | None = None,
    ) -> None:
        self._send_update(self._update_request(key, changes, condition=condition, values=values, names=names))

    def _send_update(self, request: UpdateTypeDef) -> None:
        try:
            self._client.update_item(**request)
        except ClientError as error:
            raise_conditional(error)

    def _update_request(
        self,
        key: Mapping[str, str],
        changes: Mapping[str, Any],
        *,
        condition: str,
        values: Mapping[str, Any] | None = None,
        names: Mapping[str, str] | None = None,
    ) -> UpdateTypeDef:
        sets = {name: value for name, value in changes.items() if value is not None}
        removes = [name for name, value in changes.items() if value is None]
        expression = ""
        if sets:
            expression += "SET " + ", ".join(f"#{name} = :new_{name}" for name in sets)
        if removes:
            expression += " REMOVE " + ", ".join(f"#{name}" for name in removes)
        all_values = {**{f":new_{name}": value for name, value in sets.items()}, **(values or {})}
        request: UpdateTypeDef = {
            "TableName": self._table,
            "Key": serialized(key),
            "UpdateExpression": expression.strip(),
            "ConditionExpression": condition,
            "ExpressionAttributeNames": {**{f"#{name}": name for name in changes}, **(names or {})},
        }
        if all_values:
            request["ExpressionAttributeValues"] = serialized(all_values)
        return request

    def _query(
        self, pk: str, *, begins: str | None = None, between: tuple[str, str] | None = None
    ) -> Iterator[dict[str, Any]]:
        if between:
            expression = "pk = :pk AND sk BETWEEN :first AND :last"
            values: dict[str, Any] = {":pk": pk, ":first": between[0], ":last": between[1]}
        else:
            expression = "pk = :pk" + (" AND begins_with(sk, :begins)" if begins else "")
            values = {":pk": pk} | ({":begins": begins} if begins else {})
        pages = self._client.get_paginator("query").paginate(
            TableName=self._table,
            KeyConditionExpression=expression,
            ExpressionAttributeValues=serialized(values),
            ConsistentRead=True,
        )
        for page in pages:
            for row in page["Items"]:
                yield deserialized(row)

    def _transact(self, writes: Sequence[TransactWriteItemTypeDef]) -> None:
        """One transaction, whole or not at all; one that collides with another is tried again (:mod:`ecs_release.aws.retries`)."""
        try:
            self._client.transact_write_items(TransactItems=list(writes))
        except ClientError as error:
            raise_conditional(error)
