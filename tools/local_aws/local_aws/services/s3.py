"""Amazon S3: a bucket that denies insecure transport can be used all the same, and an object may be older than versioning.

Stands for: requests come over TLS, so a statement that denies what has ``aws:SecureTransport`` = false does not
concern them. https://docs.aws.amazon.com/AmazonS3/latest/userguide/security-best-practices.html#transit
This server speaks plain HTTP on 127.0.0.1, and moto does not look at a bucket policy's conditions.

Stands for: in a bucket with versioning, an object that was put before has the version ID null, and answers say so.
https://docs.aws.amazon.com/AmazonS3/latest/userguide/versioning-workflows.html
"""

from __future__ import annotations

import json
from typing import Any

from moto.iam.access_control import IAMPolicy, PermissionResult
from moto.s3.models import FakeBucket, s3_backends

from local_aws.kernel.calls import Answer, Call
from local_aws.kernel.patches import patch
from local_aws.kernel.server import Server

_VERSION = "x-amz-version-id"


def install(server: Server) -> None:
    """Make every bucket pass over such statements; buckets are moto's, so there is one patch for all servers."""
    patch(
        FakeBucket,
        "get_permission",
        _permission,
        because="a statement that denies plain HTTP denies everything: moto looks at no condition, and this server has no TLS",
        upstream="moto should look at aws:SecureTransport",
    )

    @server.operation("s3", "GetObject", "HeadObject")
    def read_object(call: Call) -> Answer:
        answer = call.forward()
        if answer.status == 200 and answer.header(_VERSION) is None and _is_versioned(call):
            answer.headers.append((_VERSION, "null"))
        return answer


def _is_versioned(call: Call) -> bool:
    bucket = s3_backends[call.account]["aws"].buckets.get(call.params.get("Bucket", ""))
    return bool(bucket is not None and bucket.is_versioned)


def _permission(bucket: FakeBucket, action: str, resource: str) -> Any:
    if bucket.policy is None:
        return PermissionResult.NEUTRAL
    document = json.loads(bucket.policy)
    statements = document["Statement"]
    statements = [statements] if isinstance(statements, dict) else statements
    kept = [statement for statement in statements if not _is_about_plain_http(statement)]
    return IAMPolicy(json.dumps({**document, "Statement": kept})).is_action_permitted(action, resource)


def _is_about_plain_http(statement: dict[str, Any]) -> bool:
    """Tell whether a statement holds for plain HTTP only."""
    for values in (statement.get("Condition") or {}).values():
        for key, value in values.items():
            wanted = value if isinstance(value, list) else [value]
            if key.lower() == "aws:securetransport" and all(
                str(entry).lower() == "false" for entry in wanted
            ):
                return True
    return False
