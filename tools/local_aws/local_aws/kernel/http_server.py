"""HTTP/1.1 as AWS's endpoints speak it: a connection stays open, and whoever sent the request closes it.

Stands for https://www.rfc-editor.org/rfc/rfc9112#section-9.3 and, where a connection is closed after all, for the orderly
end of https://www.rfc-editor.org/rfc/rfc9112#section-9.6. werkzeug ends each connection right after its answer. On a busy machine
an AWS client then hears of the end before it has taken the answer, and sends again what has been done: Terraform's
CreateRole was answered EntityAlreadyExists.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterable
from typing import IO, Any

from moto.moto_server.werkzeug_app import MotoRequestHandler
from werkzeug.serving import ThreadedWSGIServer

from local_aws.kernel.calls import reason

# Who has been told of the end and has not closed by then has hung up without a word.
_LINGER_SECONDS = 60.0
_WITHOUT_BODY = ("204", "304")


class _Body:
    """A request's body: not a byte of the next request is read."""

    def __init__(self, source: IO[bytes], length: int) -> None:
        self._source = source
        self.left = length

    def read(self, size: int = -1) -> bytes:
        wanted = self.left if size < 0 else min(size, self.left)
        data = self._source.read(wanted)
        if len(data) < wanted:
            raise ConnectionResetError("the request ends in the middle of its body")
        self.left -= wanted
        return data


class RequestHandler(MotoRequestHandler):  # type: ignore[misc]
    """The requests of one connection, one after another."""

    protocol_version = "HTTP/1.1"
    # Nagle's algorithm and delayed acknowledgements cost 40 ms a call between them
    disable_nagle_algorithm = True
    _headers_buffer: list[bytes]

    def run_wsgi(self) -> None:
        """Answer a request; called by http.server for every method."""
        if self.headers.get("Expect", "").lower().strip() == "100-continue":
            self.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        self.environ = environ = self.make_environ()
        body = None
        if not environ.get("wsgi.input_terminated"):
            environ["wsgi.input"] = body = _Body(self.rfile, int(environ.get("CONTENT_LENGTH") or 0))
        started: list[tuple[str, list[tuple[str, str]]]] = []

        def start_response(status: str, headers: list[tuple[str, str]], _: Any = None) -> None:
            started.append((status, headers))

        try:
            answer = self.server.app(environ, start_response)
            with contextlib.closing(answer) if hasattr(answer, "close") else contextlib.nullcontext():
                self._send(*started[-1], answer)
        except ConnectionError:  # the client has gone, or a fault says so
            self.close_connection = True
        except Exception as error:
            self.close_connection = True
            self.log_error("%s %s: %r", self.command, self.path, error)
            if not started:
                self._send("500 " + reason(500), [("Content-Length", "0")], [])
        with contextlib.suppress(OSError):
            if not (body.left if body else environ["wsgi.input"].read(1)):
                return
        self.close_connection = True  # what is left of this request is not the next one

    def _send(self, status: str, headers: list[tuple[str, str]], answer: Iterable[bytes]) -> None:
        code, _, text = status.partition(" ")
        names = {name.lower() for name, _ in headers}
        bodiless = self.command == "HEAD" or code in _WITHOUT_BODY
        chunked = not bodiless and "content-length" not in names
        if chunked and self.request_version < "HTTP/1.1":
            chunked, self.close_connection = False, True
        self.send_response(int(code), text)
        for name, value in headers:
            self.send_header(name, value)
        if chunked:
            self.send_header("Transfer-Encoding", "chunked")
        if self.close_connection:
            self.send_header("Connection", "close")
        self._headers_buffer.append(b"\r\n")
        head = b"".join(self._headers_buffer)
        self._headers_buffer = []
        for data in answer:
            if bodiless or not data:
                continue
            # the head goes with the first part, in one segment where that is short
            self.wfile.write(head + (b"%x\r\n%b\r\n" % (len(data), data) if chunked else data))
            head = b""
        if head or chunked:
            self.wfile.write(head + (b"0\r\n\r\n" if chunked else b""))

    def log(self, type: str, message: str, *args: Any) -> None:
        if type != "info":
            super().log(type, message, *args)


class HttpServer(ThreadedWSGIServer):  # type: ignore[misc]
    """One thread for each connection."""

    daemon_threads = True

    def shutdown_request(self, request: socket.socket) -> None:
        """End a connection in two steps: say so, then wait until the client has ended it as well."""
        with contextlib.suppress(OSError):
            request.shutdown(socket.SHUT_WR)
            request.settimeout(_LINGER_SECONDS)
            while request.recv(65536):
                pass
        self.close_request(request)
