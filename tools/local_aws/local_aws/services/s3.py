"""Amazon S3: a bucket's policy is judged by ``services/iam``, and an object may be older than versioning.

Stands for: requests come over TLS, so a statement that denies what has ``aws:SecureTransport`` = false does not
concern them. https://docs.aws.amazon.com/AmazonS3/latest/userguide/security-best-practices.html#transit
This server speaks plain HTTP on 127.0.0.1.

Stands for: in a bucket with versioning, an object that was put before has the version ID null, and answers say so.
https://docs.aws.amazon.com/AmazonS3/latest/userguide/versioning-workflows.html
"""

from __future__ import annotations

from moto.iam.access_control import PermissionResult
from moto.s3.models import FakeBucket, s3_backends

from local_aws.kernel.calls import Answer, Call
from local_aws.kernel.patches import patch
from local_aws.kernel.server import Server

_VERSION = "x-amz-version-id"


def install(server: Server) -> None:
    """Keep moto from judging buckets' policies; buckets are moto's, so there is one patch for all servers."""
    patch(
        FakeBucket,
        "get_permission",
        lambda *_: PermissionResult.NEUTRAL,
        because="a statement that denies plain HTTP denies everything: moto looks at no condition; services/iam has judged",
        upstream="moto should look at conditions",
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
