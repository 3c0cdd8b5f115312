"""Amazon DynamoDB: every request is atomic, also beside others, and a page of items is read in milliseconds.

Stands for: a conditional write sees the item and changes it in one step, and a read never sees half a write.
https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/WorkingWithItems.html#WorkingWithItems.ConditionalUpdate
moto checks and writes in steps, and reads while others write ("dictionary changed size during iteration").

Latency is in single-digit milliseconds (https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Introduction.html).
moto writes each value of each attribute through the model of its shape, which takes ten seconds for a page of 1 MB: longer
than clients wait.
"""

from __future__ import annotations

import json
import threading
from typing import Any

from moto.core.responses import ActionResult
from moto.dynamodb.responses import DynamoHandler

from local_aws.server import Server

_ONE_AT_A_TIME = threading.RLock()
_READS = ("Query", "GetItem", "BatchGetItem")
_call_action = DynamoHandler.call_action
_serialized = DynamoHandler.serialized


def install(server: Server) -> None:
    """Let one request in at a time; tables are moto's, so there is one patch for all servers."""
    del server
    DynamoHandler.call_action = _atomically
    DynamoHandler.serialized = _at_once


def _atomically(handler: DynamoHandler) -> Any:
    with _ONE_AT_A_TIME:
        return _call_action(handler)


def _at_once(handler: DynamoHandler, answer: ActionResult) -> Any:
    if handler._get_action() not in _READS or isinstance(answer.result, Exception):
        return _serialized(handler, answer)
    try:
        body = json.dumps(answer.result)
    except TypeError:  # bytes
        return _serialized(handler, answer)
    status, headers, _ = _serialized(handler, ActionResult({}))
    return status, headers, body
