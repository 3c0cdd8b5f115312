"""Answers come in pages as short as a test wants them: ``POST /_local/pages`` with ``{"size": 1}``; 0 is AWS's own size.

Stands for the second page of everything, which on AWS needs hundreds of things before it is there:

- a list has at most so many entries and a token for the rest, whatever the caller asks for, as the operations say
  (https://docs.aws.amazon.com/eventbridge/latest/APIReference/API_ListTargetsByRule.html); which operations those are,
  and how the member is called, is what botocore's paginators know
- DynamoDB ends a page at 1 MB: https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Query.Pagination.html
- a batch may leave keys unprocessed, and the caller asks again:
  https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_BatchGetItem.html
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from local_aws.kernel.calls import Answer, Call, limit_member, success


class Pages:
    """The size of pages, for all calls but the server's own."""

    def __init__(self) -> None:
        self.size = 0

    def reset(self) -> None:
        self.size = 0

    def guard(self, call: Call, inner: Callable[[Call], Answer]) -> Answer:
        """Let a call through, with a limit where its answer has pages."""
        if not self.size or call.internal:
            return inner(call)
        if call.key == "dynamodb:BatchGetItem":
            return self._some_keys(call, inner)
        member = limit_member(call.service, call.operation)
        if member and call.header("X-Amz-Target"):
            _ask(call, {**call.input, member: min(self.size, int(call.input.get(member) or self.size))})
        return inner(call)

    def _some_keys(self, call: Call, inner: Callable[[Call], Answer]) -> Answer:
        asked = dict(call.input)
        asked["RequestItems"], rest = _first_keys(asked["RequestItems"], self.size)
        _ask(call, asked)
        answer = inner(call)
        return success(call, {**answer.json(), "UnprocessedKeys": rest}) if answer.status == 200 else answer


def _ask(call: Call, document: dict[str, Any]) -> None:
    call.body = json.dumps(document).encode()
    del call.input


def _first_keys(tables: dict[str, Any], size: int) -> tuple[dict[str, Any], dict[str, Any]]:
    first, rest = {}, {}
    for table, asked in tables.items():
        keys = asked["Keys"]
        first[table] = {**asked, "Keys": keys[:size]}
        if keys[size:]:
            rest[table] = {**asked, "Keys": keys[size:]}
    return first, rest
