"""Amazon DynamoDB: every request is atomic, also beside others.

Stands for: a conditional write sees the item and changes it in one step, and a read never sees half a write.
https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/WorkingWithItems.html#WorkingWithItems.ConditionalUpdate
moto checks and writes in steps, and reads while others write ("dictionary changed size during iteration").
"""

from __future__ import annotations

import threading
from typing import Any

from moto.dynamodb.responses import DynamoHandler

from local_aws.server import Server

_ONE_AT_A_TIME = threading.RLock()
_call_action = DynamoHandler.call_action


def install(server: Server) -> None:
    """Let one request in at a time; tables are moto's, so there is one patch for all servers."""
    del server
    DynamoHandler.call_action = _atomically


def _atomically(handler: DynamoHandler) -> Any:
    with _ONE_AT_A_TIME:
        return _call_action(handler)
