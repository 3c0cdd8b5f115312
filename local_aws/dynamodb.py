"""Amazon DynamoDB: a page of items is read in milliseconds.

Stands for: latency in single-digit milliseconds (https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Introduction.html).
moto writes each value of each attribute through the model of its shape, which takes ten seconds for a page of 1 MB: longer
than clients wait.
"""

from __future__ import annotations

import json
from typing import Any

from moto.core.responses import ActionResult
from moto.dynamodb.responses import DynamoHandler

from local_aws.server import Server

_READS = ("Query", "GetItem", "BatchGetItem")
_serialized = DynamoHandler.serialized


def install(server: Server) -> None:
    """Write answers to reads at once; tables are moto's, so there is one patch for all servers."""
    del server
    DynamoHandler.serialized = _at_once


def _at_once(handler: DynamoHandler, answer: ActionResult) -> Any:
    if handler._get_action() not in _READS or isinstance(answer.result, Exception):
        return _serialized(handler, answer)
    try:
        body = json.dumps(answer.result)
    except TypeError:  # bytes
        return _serialized(handler, answer)
    status, headers, _ = _serialized(handler, ActionResult({}))
    return status, headers, body
