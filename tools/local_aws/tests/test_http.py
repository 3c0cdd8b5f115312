"""Connections as AWS's endpoints keep them: open from request to request, and closed in good order."""

from __future__ import annotations

import contextlib
import json
import socket
from collections.abc import Iterator
from typing import IO

from local_aws.client import HANG_SECONDS, LocalAws


@contextlib.contextmanager
def connection(aws: LocalAws) -> Iterator[tuple[socket.socket, IO[bytes]]]:
    with (
        socket.create_connection(("127.0.0.1", aws.port), HANG_SECONDS) as made,
        made.makefile("rb") as answers,
    ):
        yield made, answers


def request(path: str = "/_local/health", *headers: str, body: bytes = b"", method: str = "GET") -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", *headers]
    if body:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode() + body


def read(answers: IO[bytes]) -> tuple[int, dict[str, str], bytes]:
    status = int(answers.readline().split()[1])
    headers = {}
    while line := answers.readline().strip().decode():
        name, _, value = line.partition(":")
        headers[name.lower()] = value.strip()
    return status, headers, answers.read(int(headers.get("content-length", 0)))


def test_a_connection_answers_one_request_after_another(aws: LocalAws) -> None:
    with connection(aws) as (made, answers):
        for _ in range(3):
            made.sendall(request())
            status, headers, body = read(answers)
            assert (status, json.loads(body)["port"]) == (200, aws.port)
            assert "connection" not in headers


def test_what_follows_a_body_is_the_next_request(aws: LocalAws) -> None:
    with connection(aws) as (made, answers):
        made.sendall(request("/_local/faults", body=b"[]", method="POST") + request("/_local/faults"))
        assert read(answers)[0] == 200
        assert json.loads(read(answers)[2]) == []


def test_no_client_is_reset_before_it_has_taken_the_answer(aws: LocalAws) -> None:
    """What still arrives after the last answer is passed over: a reset might overtake the answer."""
    with connection(aws) as (made, answers):
        made.sendall(request("/_local/health", "Connection: close"))
        status, headers, body = read(answers)
        assert (status, headers["connection"]) == (200, "close")
        assert answers.read() == b""  # the server has said that it is done
        made.sendall(b"x" * 20_000_000)  # to a closed connection this fails: its buffers take a few megabytes
        assert json.loads(body)["port"] == aws.port


def test_a_bucket_answers_head_without_a_body(aws: LocalAws) -> None:
    s3 = aws.client("s3", max_pool_connections=1)
    s3.create_bucket(Bucket="kept-open")
    s3.put_object(Bucket="kept-open", Key="k", Body=b"x" * 100_000)
    for _ in range(2):
        assert s3.head_object(Bucket="kept-open", Key="k")["ContentLength"] == 100_000
        assert len(s3.get_object(Bucket="kept-open", Key="k")["Body"].read()) == 100_000
    s3.delete_object(Bucket="kept-open", Key="k")
    s3.delete_bucket(Bucket="kept-open")
