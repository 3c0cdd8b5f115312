"""Small Lambda functions for contract tests, made from source text."""

from __future__ import annotations

import io
import json
import uuid
import zipfile
from typing import Any

from local_aws.client import LocalAws
from roles import role


def package(source: str) -> bytes:
    """Return a deployment package with one module, ``app``."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("app.py", source)
    return buffer.getvalue()


class Function:
    """One function, published, and invoked by the qualified ARN that its publication gave."""

    def __init__(self, aws: LocalAws, source: str, **settings: Any) -> None:
        self.client = aws.client("lambda")
        self.name = f"f-{uuid.uuid4().hex[:8]}"
        made = self.client.create_function(
            FunctionName=self.name,
            Role=role(aws, "lambda.amazonaws.com"),
            Runtime="python3.13",
            Code={"ZipFile": package(source)},
            Publish=True,
            **{"Timeout": 30, "Handler": "app.handler", **settings},
        )
        self.arn = f"{made['FunctionArn'].removesuffix(':' + made['Version'])}:{made['Version']}"

    def permit(self, service: str, *, qualified: bool = True) -> None:
        """Let a service invoke the version, or the function without one."""
        qualifier = {"Qualifier": self.arn.rpartition(":")[2]} if qualified else {}
        self.client.add_permission(
            FunctionName=self.name,
            StatementId=uuid.uuid4().hex,
            Action="lambda:InvokeFunction",
            Principal=service,
            **qualifier,
        )

    def invoke(self, event: Any = None, arn: str | None = None, **settings: Any) -> Any:
        """Return the result; an error comes as ``FunctionError`` with the payload."""
        answer = self.client.invoke(FunctionName=arn or self.arn, Payload=json.dumps(event), **settings)
        payload = json.loads(answer["Payload"].read() or b"null")
        if "FunctionError" in answer:
            raise FunctionError(payload)
        return payload


class FunctionError(Exception):
    """The function failed."""

    def __init__(self, payload: dict[str, Any]) -> None:
        super().__init__(payload)
        self.type = payload["errorType"]
        self.message = payload["errorMessage"]
