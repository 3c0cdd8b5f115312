"""Amazon DynamoDB: a page of items is read, and a transaction written, in milliseconds.

Stands for: latency in single-digit milliseconds (https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Introduction.html).
moto writes each value of each attribute through the model of its shape, which takes ten seconds for a page of 1 MB: longer
than clients wait. And before a transaction it copies the whole table once for each item in it, minutes for a large release;
here the items that the transaction names are kept, and put back when it is cancelled.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from types import SimpleNamespace
from typing import Any

from moto.core.responses import ActionResult
from moto.dynamodb import models
from moto.dynamodb.models.dynamo_type import DynamoType
from moto.dynamodb.models.table import Table
from moto.dynamodb.responses import DynamoHandler

from local_aws.kernel.patches import patch
from local_aws.kernel.server import Server

_READS = ("Query", "GetItem", "BatchGetItem")
_serialized = DynamoHandler.serialized
_transact = models.DynamoDBBackend.transact_write_items
_in_transaction: ContextVar[bool] = ContextVar("local_aws_in_transaction", default=False)


def install(server: Server | None = None) -> None:
    """Answer reads and write transactions at once; tables are moto's, so there is one patch for all servers, and for none."""
    del server
    patch(
        DynamoHandler,
        "serialized",
        _at_once,
        because="a page of 1 MB takes ten seconds: each value goes through the model of its shape",
        upstream="moto could write JSON at once where the protocol is JSON",
    )
    patch(
        models.DynamoDBBackend,
        "transact_write_items",
        _all_or_nothing,
        because="the whole table is copied once for each item of a transaction",
        upstream="moto could keep the items that a transaction names, and put those back",
    )
    patch(
        models,
        "copy",
        SimpleNamespace(deepcopy=_deepcopy),
        because="the copies of the table are made by its deepcopy",
        upstream="not needed once transactions keep their items",
    )


def _at_once(handler: DynamoHandler, answer: ActionResult) -> Any:
    if handler._get_action() not in _READS or isinstance(answer.result, Exception):
        return _serialized(handler, answer)
    try:
        body = json.dumps(answer.result)
    except TypeError:  # bytes
        return _serialized(handler, answer)
    status, headers, _ = _serialized(handler, ActionResult({}))
    return status, headers, body


def _deepcopy(value: Any) -> Any:
    return value if _in_transaction.get() and isinstance(value, Table) else copy.deepcopy(value)


def _all_or_nothing(backend: models.DynamoDBBackend, transact_items: Sequence[Mapping[str, Any]]) -> None:
    put_back = [undo for item in transact_items for write in item.values() for undo in _undo(backend, write)]
    token = _in_transaction.set(True)
    try:
        _transact(backend, transact_items)
    except BaseException:
        for undo in put_back:
            undo()
        raise
    finally:
        _in_transaction.reset(token)


def _undo(backend: models.DynamoDBBackend, write: Mapping[str, Any]) -> Iterator[Callable[[], None]]:
    """What puts the item that one write of a transaction names back to what it is now."""
    table = backend.tables.get(write.get("TableName"))
    key = write.get("Key", write.get("Item"))
    if table is None or key is None or table.hash_key_attr not in key:
        return  # moto refuses it
    hash_key = DynamoType(key[table.hash_key_attr])
    if table.range_key_attr is None:
        rows, name = table.items, hash_key
    elif table.range_key_attr in key:
        rows, name = table.items[hash_key], DynamoType(key[table.range_key_attr])
    else:
        return
    before = copy.deepcopy(rows.get(name))

    def undo() -> None:
        if before is None:
            rows.pop(name, None)
        else:
            rows[name] = before

    yield undo
