"""Amazon S3: a policy that demands TLS is no obstacle here, any other denial is one; objects older than versioning."""

from __future__ import annotations

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError
from local_aws.client import LocalAws
from pipelines import unique


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


def test_a_fault_stands_for_the_minutes_after_versioning_was_switched_on(aws: LocalAws) -> None:
    """https://docs.aws.amazon.com/AmazonS3/latest/userguide/manage-versioning-examples.html: what is there answers 404."""
    name, client = unique("minutes"), aws.client("s3")
    client.create_bucket(Bucket=name)
    for key in ("late", "other"):
        client.put_object(Bucket=name, Key=key, Body=b"1")
    aws.faults([{"operation": "s3:GetObject", "kind": "error", "error": "NoSuchKey", "match": "/late"}])
    assert client.get_object(Bucket=name, Key="other")["Body"].read() == b"1"
    with pytest.raises(client.exceptions.NoSuchKey) as caught:
        client.get_object(Bucket=name, Key="late")
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 404
    assert client.get_object(Bucket=name, Key="late")["Body"].read() == b"1"


def test_an_object_older_than_the_bucket_s_versioning_has_the_version_null(aws: LocalAws) -> None:
    """https://docs.aws.amazon.com/AmazonS3/latest/userguide/versioning-workflows.html"""
    name, client = unique("older"), aws.client("s3")
    client.create_bucket(Bucket=name)
    assert "VersionId" not in client.put_object(Bucket=name, Key="old", Body=b"1")
    assert "VersionId" not in client.head_object(Bucket=name, Key="old")
    client.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
    new = client.put_object(Bucket=name, Key="new", Body=b"2")["VersionId"]
    for key, version in (("old", "null"), ("new", new)):
        assert client.head_object(Bucket=name, Key=key)["VersionId"] == version
        assert client.get_object(Bucket=name, Key=key)["VersionId"] == version
