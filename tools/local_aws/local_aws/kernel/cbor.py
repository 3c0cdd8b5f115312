"""AWS's RPC v2 CBOR protocol in front of moto, which speaks JSON only.

botocore prefers this protocol for CodePipeline, CodeBuild, CodeConnections and CloudWatch.
Source: https://smithy.io/2.0/additional-specs/protocols/smithy-rpc-v2.html
"""

from __future__ import annotations

import base64
import json
import struct
from datetime import datetime
from typing import Any


class _Break(Exception):
    pass


class _Reader:
    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def take(self, count: int) -> bytes:
        chunk = self.data[self.at : self.at + count]
        if len(chunk) < count:
            raise ValueError("CBOR ends in the middle of an item")
        self.at += count
        return chunk

    def argument(self, info: int) -> int:
        if info < 24:
            return info
        return int.from_bytes(self.take(1 << (info - 24)), "big")

    def many(self, info: int) -> list[Any]:
        items: list[Any] = []
        if info != 31:
            return [self.item() for _ in range(self.argument(info))]
        while True:
            try:
                items.append(self.item())
            except _Break:
                return items

    def item(self) -> Any:
        first = self.take(1)[0]
        major, info = first >> 5, first & 31
        if major == 0:
            return self.argument(info)
        if major == 1:
            return -1 - self.argument(info)
        if major in (2, 3):
            joined = b"".join(
                part.encode() if isinstance(part, str) else part
                for part in (self.many(info) if info == 31 else [self.take(self.argument(info))])
            )
            return joined if major == 2 else joined.decode()
        if major == 4:
            return self.many(info)
        if major == 5:
            if info == 31:
                flat = self.many(info)
                return dict(zip(flat[::2], flat[1::2], strict=True))
            return {self.item(): self.item() for _ in range(self.argument(info))}
        if major == 6:
            self.argument(info)
            return self.item()
        if info == 31:
            raise _Break
        if info in (25, 26, 27):
            return struct.unpack({25: ">e", 26: ">f", 27: ">d"}[info], self.take(1 << (info - 24)))[0]
        return {20: False, 21: True}.get(info)


def loads(data: bytes) -> Any:
    """Decode one CBOR item; tags are dropped, so a timestamp is its epoch seconds."""
    return _Reader(data).item()


def _head(major: int, value: int) -> bytes:
    if value < 24:
        return bytes([major << 5 | value])
    for info, size in ((24, 1), (25, 2), (26, 4), (27, 8)):
        if value < 1 << (8 * size):
            return bytes([major << 5 | info]) + value.to_bytes(size, "big")
    raise ValueError(f"{value} does not fit into CBOR")


def dumps(value: Any) -> bytes:
    """Encode JSON-like data, bytes and datetimes (as tag 1, epoch seconds)."""
    if value is None:
        return b"\xf6"
    if isinstance(value, bool):
        return b"\xf5" if value else b"\xf4"
    if isinstance(value, int):
        return _head(0, value) if value >= 0 else _head(1, -1 - value)
    if isinstance(value, float):
        return b"\xfb" + struct.pack(">d", value)
    if isinstance(value, bytes):
        return _head(2, len(value)) + value
    if isinstance(value, str):
        encoded = value.encode()
        return _head(3, len(encoded)) + encoded
    if isinstance(value, datetime):
        return b"\xc1" + dumps(value.timestamp())
    if isinstance(value, dict):
        return _head(5, len(value)) + b"".join(dumps(k) + dumps(v) for k, v in value.items())
    return _head(4, len(value)) + b"".join(dumps(item) for item in value)


def _convert(shape: Any, value: Any, to_json: bool) -> Any:
    """Turn what JSON and CBOR write differently: blobs, and timestamps on the way out."""
    if shape is None or value is None:
        return value
    kind = shape.type_name
    if kind == "structure" and isinstance(value, dict):
        return {k: _convert(shape.members.get(k), v, to_json) for k, v in value.items()}
    if kind == "list" and isinstance(value, list):
        return [_convert(shape.member, item, to_json) for item in value]
    if kind == "map" and isinstance(value, dict):
        return {k: _convert(shape.value, v, to_json) for k, v in value.items()}
    if kind == "blob":
        return base64.b64encode(value).decode() if to_json else base64.b64decode(value)
    if kind == "timestamp" and not to_json:
        if isinstance(value, str):
            return datetime.fromisoformat(value.replace("Z", "+00:00"))
        return datetime.fromtimestamp(value).astimezone()
    return value


def request_to_json(model: Any, operation: str, body: bytes) -> bytes:
    """Turn the CBOR body of a request into the JSON that moto reads."""
    shape = model.operation_model(operation).input_shape
    return json.dumps(_convert(shape, loads(body) if body else {}, True)).encode()


def answer_from_json(model: Any, operation: str, status: int, body: bytes) -> bytes:
    """Turn moto's JSON answer, or JSON error, into CBOR."""
    shape = model.operation_model(operation).output_shape if status < 300 else None
    return dumps(_convert(shape, json.loads(body or b"{}"), False))
