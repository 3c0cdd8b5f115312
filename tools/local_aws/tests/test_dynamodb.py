"""Amazon DynamoDB beside others: a condition holds for one writer only, and reads survive writes."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from botocore.exceptions import ClientError
from local_aws.client import LocalAws

TABLE = "contract-atomic"


@pytest.fixture
def table(aws: LocalAws) -> Iterator[Any]:
    client = aws.client("dynamodb")
    client.create_table(
        TableName=TABLE,
        BillingMode="PAY_PER_REQUEST",
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
        AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in ("pk", "sk")],
    )
    yield client
    client.delete_table(TableName=TABLE)


def test_of_many_who_take_a_free_lock_one_gets_it(table: Any) -> None:
    def take(number: int) -> bool:
        try:
            table.put_item(
                TableName=TABLE,
                Item={"pk": {"S": "LOCK"}, "sk": {"S": "LOCK"}, "holder": {"N": str(number)}},
                ConditionExpression="attribute_not_exists(pk)",
            )
        except ClientError as error:
            return bool(error.response["Error"]["Code"] != "ConditionalCheckFailedException")
        return True

    with ThreadPoolExecutor(16) as pool:
        assert sum(pool.map(take, range(64))) == 1


def test_a_query_beside_writes_is_answered(table: Any) -> None:
    def write(number: int) -> None:
        table.put_item(TableName=TABLE, Item={"pk": {"S": "P"}, "sk": {"S": f"{number:04}"}})

    def read(_: int) -> int:
        answer = table.query(
            TableName=TABLE,
            KeyConditionExpression="pk = :pk",
            ExpressionAttributeValues={":pk": {"S": "P"}},
            ConsistentRead=True,
        )
        return len(answer["Items"])

    with ThreadPoolExecutor(12) as pool:
        writing = [pool.submit(write, number) for number in range(300)]
        counts = list(pool.map(read, range(150)))
        for one in writing:
            one.result()
    assert max(counts) <= 300


def test_an_item_comes_back_from_every_read_as_it_was_written(table: Any) -> None:
    """https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_AttributeValue.html"""
    key = {"pk": {"S": "TYPES"}, "sk": {"S": "ä\u2028"}}
    plain = {
        **key,
        "number": {"N": "12.50"},
        "yes": {"BOOL": True},
        "nothing": {"NULL": True},
        "empty": {"L": []},
        "list": {"L": [{"S": "a"}, {"M": {"deep": {"L": [{"N": "1"}]}}}]},
        "map": {"M": {"a": {"M": {}}, "b": {"BOOL": False}}},
        "words": {"SS": ["a", "b"]},
        "numbers": {"NS": ["1", "2"]},
    }
    binary = {**plain, "sk": {"S": "binary"}, "bytes": {"B": b"\x00\xff"}, "more": {"BS": [b"\x01"]}}
    for item in (plain, binary):
        table.put_item(TableName=TABLE, Item=item)
        own = {name: item[name] for name in ("pk", "sk")}
        assert table.get_item(TableName=TABLE, Key=own)["Item"] == item
        batch = table.batch_get_item(RequestItems={TABLE: {"Keys": [own]}})
        assert batch["Responses"][TABLE] == [item]
    found = table.query(
        TableName=TABLE,
        KeyConditionExpression="pk = :pk",
        ExpressionAttributeValues={":pk": {"S": "TYPES"}},
        Limit=1,
    )
    assert found["Items"] == [binary]
    assert found["LastEvaluatedKey"] == {name: binary[name] for name in ("pk", "sk")}


def test_a_cancelled_transaction_leaves_everything_as_it_was(table: Any) -> None:
    """https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_TransactWriteItems.html"""

    def key(sk: str, pk: str = "T") -> dict[str, Any]:
        return {"pk": {"S": pk}, "sk": {"S": sk}}

    for sk in ("changed", "deleted", "replaced", "bystander"):
        table.put_item(TableName=TABLE, Item={**key(sk), "n": {"N": "1"}, "list": {"L": [{"S": "a"}]}})
    before = sorted(table.scan(TableName=TABLE)["Items"], key=str)
    writes = [
        {
            "Update": {
                "TableName": TABLE,
                "Key": key("changed"),
                "UpdateExpression": "SET #list[0] = :b ADD n :one",
                "ExpressionAttributeNames": {"#list": "list"},
                "ExpressionAttributeValues": {":b": {"S": "b"}, ":one": {"N": "1"}},
            }
        },
        {"Delete": {"TableName": TABLE, "Key": key("deleted")}},
        {"Put": {"TableName": TABLE, "Item": key("replaced")}},
        {"Put": {"TableName": TABLE, "Item": key("new")}},
        {"Put": {"TableName": TABLE, "Item": key("new", pk="N")}},
    ]
    check = {"TableName": TABLE, "Key": key("bystander"), "ConditionExpression": "attribute_not_exists(pk)"}
    with pytest.raises(ClientError) as cancelled:
        table.transact_write_items(TransactItems=[*writes, {"ConditionCheck": check}])
    reasons = [reason["Code"] for reason in cancelled.value.response["CancellationReasons"]]
    assert reasons == ["None"] * len(writes) + ["ConditionalCheckFailed"]
    assert sorted(table.scan(TableName=TABLE)["Items"], key=str) == before
    table.transact_write_items(TransactItems=writes)
    found = {item["pk"]["S"] + item["sk"]["S"]: item for item in table.scan(TableName=TABLE)["Items"]}
    assert set(found) == {"Tchanged", "Treplaced", "Tnew", "Nnew", "Tbystander"}
    assert found["Tchanged"]["list"] == {"L": [{"S": "b"}]}
