"""Amazon S3: a policy that demands TLS is no obstacle here; any other denial is one."""

from __future__ import annotations

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError
from pipelines import unique

from local_aws.client import LocalAws


def bucket(aws: LocalAws, *statements: dict[str, Any]) -> str:
    name = unique("policy")
    client = aws.client("s3")
    client.create_bucket(Bucket=name)
    full = [
        {
            "Effect": "Deny",
            "Principal": "*",
            "Resource": [f"arn:aws:s3:::{name}", f"arn:aws:s3:::{name}/*"],
            **entry,
        }
        for entry in statements
    ]
    client.put_bucket_policy(Bucket=name, Policy=json.dumps({"Version": "2012-10-17", "Statement": full}))
    return name


def test_a_bucket_that_denies_insecure_transport_can_be_used(aws: LocalAws) -> None:
    name = bucket(aws, {"Action": "s3:*", "Condition": {"Bool": {"aws:SecureTransport": "false"}}})
    client = aws.client("s3")
    client.put_object(Bucket=name, Key="a", Body=b"1")
    assert client.get_object(Bucket=name, Key="a")["Body"].read() == b"1"


def test_another_denial_holds(aws: LocalAws) -> None:
    name = bucket(aws, {"Action": "s3:PutObject"})
    with pytest.raises(ClientError):
        aws.client("s3").put_object(Bucket=name, Key="a", Body=b"1")
