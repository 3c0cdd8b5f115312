"""A DynamoDB of dictionaries and a client of it: as much of it as the package and Powertools' idempotency use, and fast.

moto's takes milliseconds a call and so does botocore's client, and a release is hundreds of them; ``tests/local`` runs against
both. Anything that this one does not know is an error, never a guess. Reads and writes are atomic, because one thread at a time
runs.
https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Expressions.OperatorsAndFunctions.html
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterator
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

from boto3.dynamodb.types import TypeDeserializer
from botocore.exceptions import ClientError, ConnectionClosedError
from chaos_clock import CLOCK
from ecs_release.aws import retries

from local_aws.kernel.calls import Answer, ApiError, Call
from local_aws.kernel.server import Server

Row = dict[str, Any]
_TOKEN = re.compile(r"\s*(?:(<=|>=|<>|[=<>(),])|([#:]?[A-Za-z_][A-Za-z0-9_.]*))")
_deserialize = TypeDeserializer().deserialize


class _Expression:
    """One condition over one row."""

    def __init__(self, text: str, row: Row, names: dict[str, str], values: dict[str, Any]) -> None:
        self._tokens: list[str] = []
        place = 0
        while text[place:].strip():
            match = _TOKEN.match(text, place)
            if match is None:
                raise AssertionError(f"this table does not understand {text!r}")
            self._tokens.append(match.group(1) or match.group(2))
            place = match.end()
        self._row, self._names, self._values = row, names, values

    def holds(self) -> bool:
        found = self._or()
        assert not self._tokens, f"left over in a condition: {self._tokens}"
        return found

    def _next(self) -> str:
        return self._tokens[0] if self._tokens else ""

    def _take(self, wanted: str = "") -> str:
        token = self._tokens.pop(0)
        assert not wanted or token.upper() == wanted, f"{token} where {wanted} was expected"
        return token

    def _or(self) -> bool:
        found = self._and()
        while self._next().upper() == "OR":
            self._take()
            found = self._and() or found
        return found

    def _and(self) -> bool:
        found = self._one()
        while self._next().upper() == "AND":
            self._take()
            found = self._one() and found
        return found

    def _one(self) -> bool:
        if self._next() == "(":
            self._take("(")
            found = self._or()
            self._take(")")
            return found
        token = self._take()
        if self._next() == "(":
            self._take("(")
            name = self._name(self._take())
            if token == "begins_with":
                self._take(",")
                prefix = _plain(self._values[self._take()])
                self._take(")")
                return name in self._row and str(_plain(self._row[name])).startswith(prefix)
            self._take(")")
            assert token in ("attribute_exists", "attribute_not_exists"), token
            return (name in self._row) == (token == "attribute_exists")
        left = self._operand(token)
        operator = self._take().upper()
        if operator == "BETWEEN":
            low = self._operand(self._take())
            self._take("AND")
            high = self._operand(self._take())
            return left is not None and low <= left <= high
        if operator == "IN":
            self._take("(")
            listed = [self._operand(self._take())]
            while self._next() == ",":
                self._take(",")
                listed.append(self._operand(self._take()))
            self._take(")")
            return left in listed
        right = self._operand(self._take())
        if operator == "<>":
            return left is not None and bool(left != right)
        if left is None or right is None:
            return False
        if operator == "=":
            return bool(left == right)
        assert operator == "<", operator
        return bool(left < right)

    def _name(self, token: str) -> str:
        return self._names[token] if token.startswith("#") else token

    def _operand(self, token: str) -> Any:
        if token.startswith(":"):
            return _plain(self._values[token])
        name = self._name(token)
        return _plain(self._row[name]) if name in self._row else None


def _plain(value: Any) -> Any:
    return _deserialize(value)


def python(row: Row) -> dict[str, Any]:
    """A row as Python values, whole numbers as int."""

    def whole(value: Any) -> Any:
        if isinstance(value, Decimal):
            return int(value)
        if isinstance(value, list):
            return [whole(entry) for entry in value]
        if isinstance(value, dict):
            return {key: whole(entry) for key, entry in value.items()}
        return value

    return {name: whole(_plain(value)) for name, value in row.items()}


class Tables:
    """Tables by name; keys are the values of ``keys``, in order."""

    def __init__(self, keys: dict[str, tuple[str, ...]]) -> None:
        self.keys = keys
        self.rows: dict[str, dict[tuple[str, ...], Row]] = {}
        self.reset()

    def reset(self) -> None:
        self.rows = {name: {} for name in self.keys}

    def _key(self, table: str, row: Row) -> tuple[str, ...]:
        return tuple(row[name]["S"] for name in self.keys[table])

    def _check(self, asked: dict[str, Any], row: Row | None) -> None:
        text = asked.get("ConditionExpression")
        names, values = (
            asked.get("ExpressionAttributeNames") or {},
            asked.get("ExpressionAttributeValues") or {},
        )
        if text and not _Expression(text, row or {}, names, values).holds():
            members: Any = {}
            if row is not None and asked.get("ReturnValuesOnConditionCheckFailure") == "ALL_OLD":
                members["Item"] = row
            raise ApiError("ConditionalCheckFailedException", "The conditional request failed", **members)

    def GetItem(self, asked: dict[str, Any]) -> dict[str, Any]:
        row = self.rows[asked["TableName"]].get(self._key(asked["TableName"], asked["Key"]))
        return {} if row is None else {"Item": row}

    def PutItem(self, asked: dict[str, Any]) -> dict[str, Any]:
        rows = self.rows[asked["TableName"]]
        key = self._key(asked["TableName"], asked["Item"])
        self._check(asked, rows.get(key))
        rows[key] = asked["Item"]
        return {}

    def DeleteItem(self, asked: dict[str, Any]) -> dict[str, Any]:
        rows = self.rows[asked["TableName"]]
        key = self._key(asked["TableName"], asked["Key"])
        self._check(asked, rows.get(key))
        rows.pop(key, None)
        return {}

    def UpdateItem(self, asked: dict[str, Any]) -> dict[str, Any]:
        rows = self.rows[asked["TableName"]]
        key = self._key(asked["TableName"], asked["Key"])
        self._check(asked, rows.get(key))
        row = dict(rows.get(key, asked["Key"]))
        names, values = (
            asked.get("ExpressionAttributeNames") or {},
            asked.get("ExpressionAttributeValues") or {},
        )
        parts = re.split(r"\b(SET|REMOVE|ADD)\b", asked["UpdateExpression"])
        assert not parts[0].strip(), asked["UpdateExpression"]
        for action, text in zip(parts[1::2], parts[2::2], strict=True):
            for part in text.split(","):
                name, _, value = part.strip().partition(" " if action == "ADD" else "=")
                name = names.get(name.strip(), name.strip())
                assert "#" not in name, part
                if action == "REMOVE":
                    row.pop(name, None)
                elif action == "SET":
                    row[name] = values[value.strip()]
                elif "SS" in values[value.strip()]:
                    row[name] = {
                        "SS": sorted({*row.get(name, {"SS": []})["SS"], *values[value.strip()]["SS"]})
                    }
                else:
                    total = int(row.get(name, {"N": "0"})["N"]) + int(values[value.strip()]["N"])
                    row[name] = {"N": str(total)}
        rows[key] = row
        return {}

    def Query(self, asked: dict[str, Any]) -> dict[str, Any]:
        table = asked["TableName"]
        names, values = asked.get("ExpressionAttributeNames") or {}, asked["ExpressionAttributeValues"]
        text = asked["KeyConditionExpression"]
        found = [
            row
            for _, row in sorted(self.rows[table].items())
            if _Expression(text, row, names, values).holds()
        ]
        if asked.get("ScanIndexForward") is False:
            found.reverse()
        found = found[: asked.get("Limit", len(found))]
        return {"Items": found, "Count": len(found), "ScannedCount": len(found)}

    def BatchGetItem(self, asked: dict[str, Any]) -> dict[str, Any]:
        responses = {}
        for table, wanted in asked["RequestItems"].items():
            keys = [self._key(table, key) for key in wanted["Keys"]]
            responses[table] = [self.rows[table][key] for key in keys if key in self.rows[table]]
        return {"Responses": responses, "UnprocessedKeys": {}}

    def TransactWriteItems(self, asked: dict[str, Any]) -> dict[str, Any]:
        reasons = []
        for write in asked["TransactItems"]:
            ((_, members),) = write.items()
            row = self.rows[members["TableName"]].get(
                self._key(members["TableName"], members.get("Item") or members["Key"])
            )
            try:
                self._check(members, row)
                reasons.append({"Code": "None"})
            except ApiError:
                reasons.append(
                    {"Code": "ConditionalCheckFailed", "Message": "The conditional request failed"}
                )
        if any(reason["Code"] != "None" for reason in reasons):
            raise ApiError(
                "TransactionCanceledException", "Transaction cancelled", CancellationReasons=reasons
            )
        for write in asked["TransactItems"]:
            ((action, members),) = write.items()
            rows = self.rows[members["TableName"]]
            if action == "Put":
                rows[self._key(members["TableName"], members["Item"])] = members["Item"]
            elif action == "Delete":
                rows.pop(self._key(members["TableName"], members["Key"]), None)
            elif action == "Update":
                self.UpdateItem(members)
            else:
                assert action == "ConditionCheck", action
        return {}


class Lost(ConnectionError):
    """The connection breaks; whether before or after the service did its work, only the service knows."""


class _Answer(Answer):
    """An answer that was never text."""

    def __init__(self, status: int, document: dict[str, Any]) -> None:
        super().__init__(status, [], str(document).encode() if status >= 400 else b"")
        self._document = document

    def json(self) -> Any:
        return self._document


class _Events:
    """A client's events, as far as :mod:`ecs_release.aws.retries` asks for them; Powertools' user agent is for nobody here."""

    def __init__(self) -> None:
        self._handlers: dict[str, list[Callable[..., Any]]] = defaultdict(list)

    def register(self, event: str, handler: Callable[..., Any]) -> None:
        self._handlers[event].append(handler)

    register_first = register  # there is one handler of each

    def emit(self, event: str, **about: Any) -> list[Any]:
        answers = [handler(**about) for handler in self._handlers[event]]
        return [answer for answer in answers if answer is not None]


class Client:
    """What boto3's client of DynamoDB does here: it tries again as :mod:`ecs_release.aws.retries` has installed it to do.

    Parameters
    ----------
    guard : sees each call before and after the table does it, as :attr:`local_aws.kernel.server.Server.guards` do.
    """

    def __init__(
        self, tables: Tables, server: Server, guard: Callable[[Call, Callable[[Call], Answer]], Answer]
    ) -> None:
        self._tables, self._server, self._guard = tables, server, guard
        self.meta = SimpleNamespace(events=_Events())
        as_client: Any = self
        retries.install(as_client, "dynamodb")

    def __getattr__(self, name: str) -> Callable[..., dict[str, Any]]:
        operation = "".join(part.capitalize() for part in name.split("_"))
        if not hasattr(self._tables, operation):
            raise AttributeError(name)

        def call(**asked: Any) -> dict[str, Any]:
            return self._call(operation, asked)

        return call

    def get_paginator(self, name: str) -> Any:
        client = self

        class Pages:
            def paginate(self, **asked: Any) -> Iterator[dict[str, Any]]:
                yield getattr(client, name)(**asked)

        return Pages()

    def _call(self, operation: str, asked: dict[str, Any]) -> dict[str, Any]:
        """As botocore's endpoint makes a call, with the events around each of its attempts."""
        context: dict[str, Any] = {"context": {}}
        events = self.meta.events
        while True:
            events.emit("request-created.*", operation_name=operation)
            document, lost = self._attempt(operation, asked)
            pauses = events.emit(
                "needs-retry.*",
                response=None if lost else (None, document),
                caught_exception=lost,
                operation=SimpleNamespace(name=operation),
                request_dict=context,
            )
            if pauses:
                CLOCK.sleep(pauses[0])
            elif lost:
                raise lost
            elif "Error" in document:
                refusal: Any = document
                raise ClientError(refusal, operation)
            else:
                return document

    def _attempt(
        self, operation: str, asked: dict[str, Any]
    ) -> tuple[dict[str, Any], ConnectionClosedError | None]:
        """What botocore makes of one answer, or of none."""
        call = Call(self._server, {}, b"", "dynamodb", operation, "", "")
        call.__dict__["input"] = asked
        try:
            answer = self._guard(call, self._do)
            document: dict[str, Any] = answer.json()
            if answer.status == 200:
                return document, None
            error = document["error"]
        except ApiError as refusal:  # of a guard
            error = refusal
        except Lost as trouble:
            return {}, ConnectionClosedError(error=trouble, endpoint_url="dynamodb")
        return {
            "Error": {"Code": error.code, "Message": error.message},
            "ResponseMetadata": {"HTTPStatusCode": error.status},
            **error.members,
        }, None

    def _do(self, call: Call) -> Answer:
        try:
            return _Answer(200, getattr(self._tables, call.operation)(call.input))
        except ApiError as error:
            return _Answer(error.status, {"error": error})
