"""An AWS call as it arrives: which service and operation, whose account, which Region; and its answer.

Operations are told apart by botocore's service models: the target header of the JSON protocols, the ``Action``
of the query protocol, the path of RPC v2, else method and URI template.
"""

from __future__ import annotations

import functools
import json
import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.client import responses
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, unquote
from xml.sax.saxutils import escape

import botocore.exceptions
import botocore.session

from local_aws.kernel import cbor

if TYPE_CHECKING:
    from local_aws.kernel.server import Server

DEFAULT_ACCOUNT = "123456789012"
DEFAULT_REGION = "us-east-1"
INTERNAL_APP_ID = "local-aws-internal"

_CREDENTIAL = re.compile(r"Credential=([^/,\s]+)/\d+/([^/]+)/([^/]+)/aws4_request")
_APP_ID = re.compile(r"(?:^|\s)app/(\S+)")
_MODEL_NAMES = {
    "states": "stepfunctions",
    "monitoring": "cloudwatch",
    "tagging": "resourcegroupstaggingapi",
    "email": "ses",
    "elasticloadbalancing": "elbv2",
}
JSON_MEDIA_TYPE = "application/x-amz-json-"


class ApiError(Exception):
    """An error that AWS would answer with.

    Parameters
    ----------
    code
        The exception's name, such as ``ServiceNotFoundException``.
    message
        The text beside it.
    status
        HTTP status; 400 unless the fault is the server's.
    members
        Further members of a modelled exception.
    """

    def __init__(self, code: str, message: str, status: int = 400, **members: Any) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.status = status
        self.members = members


@dataclass
class Answer:
    """What goes back over HTTP."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes

    def json(self) -> Any:
        """The body as JSON; an empty body is an empty object."""
        return json.loads(self.body or b"{}")

    def header(self, name: str) -> str | None:
        return next((value for key, value in self.headers if key.lower() == name.lower()), None)


@dataclass
class Call:
    """One AWS call.

    Attributes
    ----------
    service
        The signing name, such as ``ecs``, ``states`` or ``events``; the first half of ``service:Operation``.
    operation
        The operation's name, or "" where it could not be told.
    params
        Labels of the URI and query parameters, by the names of the wire.
    worker
        The Lambda worker that made the call, if one did.
    """

    server: Server
    environ: dict[str, Any]
    body: bytes
    service: str
    operation: str
    account: str
    region: str
    params: dict[str, str] = field(default_factory=dict)
    worker: str | None = None
    internal: bool = False
    access_key: str = ""

    @property
    def key(self) -> str:
        return f"{self.service}:{self.operation}"

    @functools.cached_property
    def input(self) -> dict[str, Any]:
        """The request's JSON, raw: members that no model knows are there too."""
        try:
            document = json.loads(self.body or b"{}")
        except ValueError as error:
            raise ApiError("SerializationException", f"the request body is not JSON: {error}") from None
        if not isinstance(document, dict):
            raise ApiError("SerializationException", "the request body is not a JSON object")
        return document

    def header(self, name: str) -> str | None:
        value = self.environ.get("HTTP_" + name.upper().replace("-", "_"))
        return None if value is None else str(value)

    def forward(self, body: bytes | dict[str, Any] | None = None) -> Answer:
        """Ask moto, with another body where one is given. Errors come back as its answer."""
        if isinstance(body, dict):
            body = json.dumps(body).encode()
        return self.server.ask_moto(self.environ, self.body if body is None else body)


def model(service: str) -> Any:
    """Return botocore's model of a service by its signing name, or None."""
    return _model(_MODEL_NAMES.get(service, service))


@functools.cache
def _model(name: str) -> Any:
    try:
        return _session().get_service_model(name)
    except Exception:  # botocore raises several kinds for a service it has no model of
        return None


@functools.cache
def _session() -> Any:
    return botocore.session.get_session()


@functools.cache
def limit_member(service: str, operation: str) -> str | None:
    """Return the member that limits a page of an operation's answer, by botocore's paginators."""
    try:
        pages = _session().get_paginator_model(_MODEL_NAMES.get(service, service)).get_paginator(operation)
    except (botocore.exceptions.UnknownServiceError, botocore.exceptions.DataNotFoundError, ValueError):
        return None
    member = pages.get("limit_key")
    return None if member is None else str(member)


@dataclass(frozen=True)
class _Route:
    operation: str
    pattern: re.Pattern[str]
    labels: tuple[str, ...]
    query: tuple[tuple[str, str | None], ...]
    required_query: tuple[str, ...]
    required_headers: tuple[str, ...]


@functools.cache
def _routes(service: str) -> dict[str, list[_Route]]:
    """Return the URI templates of a REST service by HTTP method, the most specific first."""
    found: dict[str, list[tuple[tuple[int, ...], _Route]]] = {}
    service_model = model(service)
    for name in service_model.operation_names if service_model else ():
        operation = service_model.operation_model(name)
        path, _, query = operation.http["requestUri"].partition("?")
        labels: list[str] = []
        pattern = ""
        for text, label in re.findall(r"([^{]*)(?:\{([^}]+)\})?", path.rstrip("/")):
            pattern += re.escape(text)
            if label:
                labels.append(label.rstrip("+"))
                pattern += "(.+)" if label.endswith("+") else "([^/]+)"
        pairs = tuple(
            (key, value or None)
            for key, _, value in (pair.partition("=") for pair in query.split("&"))
            if key
        )
        shape = operation.input_shape
        required = [shape.members[member] for member in shape.required_members] if shape else []
        in_query = tuple(
            m.serialization["name"] for m in required if m.serialization.get("location") == "querystring"
        )
        in_headers = tuple(
            m.serialization["name"] for m in required if m.serialization.get("location") == "header"
        )
        route = _Route(name, re.compile(pattern + "/?$"), tuple(labels), pairs, in_query, in_headers)
        rank = (len(pairs) + len(in_query) + len(in_headers), -len(labels), len(path))
        found.setdefault(operation.http["method"], []).append((rank, route))
    return {
        method: [route for _, route in sorted(routes, key=lambda entry: entry[0], reverse=True)]
        for method, routes in found.items()
    }


def match_route(service: str, environ: Mapping[str, Any]) -> tuple[str, dict[str, str]]:
    path = str(environ.get("RAW_URI") or environ["PATH_INFO"]).partition("?")[0]
    query = parse_qs(str(environ.get("QUERY_STRING", "")), keep_blank_values=True)
    for route in _routes(service).get(str(environ["REQUEST_METHOD"]), ()):
        match = route.pattern.match(path)
        if (
            match
            and all(key in query and value in (None, query[key][0]) for key, value in route.query)
            and all(key in query for key in route.required_query)
            and all("HTTP_" + key.upper().replace("-", "_") in environ for key in route.required_headers)
        ):
            params = {key: values[0] for key, values in query.items()}
            params.update({k: unquote(v) for k, v in zip(route.labels, match.groups(), strict=True)})
            return route.operation, params
    return "", {}


def identify(server: Server, environ: dict[str, Any], body: bytes) -> Call:
    """Tell what a request asks for. RPC v2 CBOR becomes JSON on the way, for moto and additions alike."""
    query = str(environ.get("QUERY_STRING", ""))
    match = _CREDENTIAL.search(str(environ.get("HTTP_AUTHORIZATION", ""))) or _CREDENTIAL.search(
        "Credential=" + unquote("".join(parse_qs(query).get("X-Amz-Credential", [])))
    )
    access_key, region, service = match.groups() if match else ("", DEFAULT_REGION, "s3")
    if service == "eventbridge":
        service = "events"
    target = str(environ.get("HTTP_X_AMZ_TARGET", ""))
    content_type = str(environ.get("CONTENT_TYPE", ""))
    params: dict[str, str] = {}
    rpc = re.match(r"/service/([^/]+)/operation/([^/]+)$", str(environ["PATH_INFO"]))
    if rpc and environ.get("HTTP_SMITHY_PROTOCOL") == "rpc-v2-cbor":
        operation = rpc.group(2)
        body = cbor.request_to_json(model(service), operation, body)
        prefix = model(service).metadata.get("targetPrefix", rpc.group(1))
        version = model(service).metadata.get("jsonVersion", "1.0")
        environ.update(
            PATH_INFO="/",
            RAW_URI="/",
            REQUEST_URI="/",
            HTTP_X_AMZ_TARGET=f"{prefix}.{operation}",
            CONTENT_TYPE=JSON_MEDIA_TYPE + version,
        )
        environ["local_aws.kernel.cbor"] = True
    elif target:
        operation = target.rpartition(".")[2]
    elif content_type.startswith("application/x-www-form-urlencoded") and b"Action=" in body:
        fields = parse_qs(body.decode("utf-8", "replace"), keep_blank_values=True)
        params = {key: values[0] for key, values in fields.items()}
        operation = params.get("Action", "")
        if not match:
            service = "sts"
    elif "Action=" in query and service != "s3":
        params = {key: values[0] for key, values in parse_qs(query).items()}
        operation = params.get("Action", "")
    else:
        operation, params = match_route(service, environ)
    if re.fullmatch(r"\d{12}", access_key):
        environ.setdefault(
            "HTTP_X_MOTO_ACCOUNT_ID", access_key
        )  # moto tells accounts by the keys that it made
    app = _APP_ID.search(str(environ.get("HTTP_USER_AGENT", "")))
    app_id = app.group(1) if app else None
    return Call(
        server=server,
        environ=environ,
        body=body,
        service=service,
        operation=operation,
        account=str(environ.get("HTTP_X_MOTO_ACCOUNT_ID") or server.account_of(access_key)),
        region=region,
        params=params,
        worker=app_id if app_id and app_id.startswith("worker-") else None,
        internal=app_id == INTERNAL_APP_ID,
        access_key=access_key,
    )


def reason(status: int) -> str:
    """Return the words beside an HTTP status."""
    return responses.get(status, "Unknown")


def success(call: Call, result: Mapping[str, Any] | None) -> Answer:
    """Answer with JSON, as the JSON protocols and REST-JSON do. Members keep their names and order."""
    body = b"" if result is None else json.dumps(result).encode()
    return Answer(200, [("Content-Type", _media_type(call)), ("x-amzn-RequestId", str(uuid.uuid4()))], body)


def _media_type(call: Call) -> str:
    asked = str(call.environ.get("CONTENT_TYPE", ""))
    return asked if asked.startswith(JSON_MEDIA_TYPE) else "application/json"


def failure(call: Call, error: ApiError) -> Answer:
    """Answer with an error in the protocol that the service speaks."""
    service_model = model(call.service)
    protocol = service_model.metadata.get("protocol", "json") if service_model else "json"
    request_id = str(uuid.uuid4())
    if protocol in ("query", "ec2", "rest-xml") and call.environ.get("HTTP_X_AMZ_TARGET") is None:
        kind = "Receiver" if error.status >= 500 else "Sender"
        text = (
            f"<Type>{kind}</Type><Code>{escape(error.code)}</Code><Message>{escape(error.message)}</Message>"
        )
        if call.service == "s3":
            xml = f"<Error>{text}<RequestId>{request_id}</RequestId></Error>"
        else:
            xml = f"<ErrorResponse><Error>{text}</Error><RequestId>{request_id}</RequestId></ErrorResponse>"
        body = ('<?xml version="1.0" encoding="UTF-8"?>' + xml).encode()
        return Answer(error.status, [("Content-Type", "text/xml"), ("x-amzn-RequestId", request_id)], body)
    document = {"__type": error.code, "message": error.message, **error.members}
    if protocol == "rest-json":
        # the modelled exceptions of EventBridge Scheduler and Lambda spell it with a capital letter
        document["Message"] = error.message
    return Answer(
        error.status,
        [
            ("Content-Type", _media_type(call)),
            ("x-amzn-ErrorType", error.code),
            ("x-amzn-RequestId", request_id),
        ],
        json.dumps(document).encode(),
    )


def finish(call: Call, answer: Answer) -> Answer:
    """Turn a JSON answer back to CBOR where the call came in CBOR."""
    if not call.environ.get("local_aws.kernel.cbor"):
        return answer
    body = cbor.answer_from_json(model(call.service), call.operation, answer.status, answer.body)
    kept = [(k, v) for k, v in answer.headers if k.lower() not in ("content-type", "content-length")]
    return Answer(
        answer.status, [*kept, ("Content-Type", "application/cbor"), ("smithy-protocol", "rpc-v2-cbor")], body
    )
