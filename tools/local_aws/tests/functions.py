"""Small Lambda functions for contract tests, made from source text."""

from __future__ import annotations

import io
import json
import uuid
import zipfile
from typing import Any

from local_aws.client import LocalAws

TRUST = {
    "Version": "2012-10-17",
    "Statement": [
        {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}
    ],
}


def package(source: str) -> bytes:
    """Return a deployment package with one module, ``app``."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("app.py", source)
    return buffer.getvalue()


def role(aws: LocalAws) -> str:
    """Make a role that Lambda may assume; its ARN."""
    answer = aws.client("iam").create_role(
        RoleName=f"function-{uuid.uuid4().hex[:8]}", AssumeRolePolicyDocument=json.dumps(TRUST)
    )
    return str(answer["Role"]["Arn"])


class Function:
    """One function, published, and invoked by the qualified ARN that its publication gave."""

    def __init__(self, aws: LocalAws, source: str, **settings: Any) -> None:
        self.client = aws.client("lambda")
        self.name = f"f-{uuid.uuid4().hex[:8]}"
        made = self.client.create_function(
            FunctionName=self.name,
            Role=role(aws),
            Runtime="python3.13",
            Code={"ZipFile": package(source)},
            Publish=True,
            **{"Timeout": 30, "Handler": "app.handler", **settings},
        )
        self.arn = f"{made['FunctionArn'].removesuffix(':' + made['Version'])}:{made['Version']}"

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
