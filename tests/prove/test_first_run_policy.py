"""The policy that docs/first-run.md gives to paste allows every call that Terraform makes for examples/sandbox, and what AWS asks
for beside the call's own action."""

from __future__ import annotations

import fnmatch
import json
import shutil
import zipfile
from pathlib import Path

import pytest
from local_aws.client import LocalAws

from scripts.checkout import ROOT
from scripts.terraform import SANDBOX, Terraform

# Operation -> action, where they have different names.
# https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazons3.html
ACTIONS = {
    "s3:DeleteBucketEncryption": "s3:PutEncryptionConfiguration",
    "s3:DeleteBucketOwnershipControls": "s3:PutBucketOwnershipControls",
    "s3:DeletePublicAccessBlock": "s3:PutBucketPublicAccessBlock",
    "s3:GetBucketAccelerateConfiguration": "s3:GetAccelerateConfiguration",
    "s3:GetBucketCors": "s3:GetBucketCORS",
    "s3:GetBucketEncryption": "s3:GetEncryptionConfiguration",
    "s3:GetBucketLifecycle": "s3:GetLifecycleConfiguration",
    "s3:GetBucketReplication": "s3:GetReplicationConfiguration",
    "s3:GetObjectLockConfiguration": "s3:GetBucketObjectLockConfiguration",
    "s3:GetPublicAccessBlock": "s3:GetBucketPublicAccessBlock",
    "s3:HeadBucket": "s3:ListBucket",
    "s3:HeadObject": "s3:GetObject",
    "s3:ListObjectVersions": "s3:ListBucketVersions",
    "s3:PutBucketEncryption": "s3:PutEncryptionConfiguration",
    "s3:PutPublicAccessBlock": "s3:PutBucketPublicAccessBlock",
}
PREFIXES = {"monitoring": "cloudwatch"}


def action(operation: str) -> str:
    """What IAM calls an operation; ``sts:GetCallerIdentity`` needs no permission but is in the policy all the same."""
    service, _, name = operation.partition(":")
    return ACTIONS.get(operation, f"{PREFIXES.get(service, service)}:{name}")


def allowed() -> list[str]:
    document = json.loads((SANDBOX / "policy.json").read_text())
    return [pattern for statement in document["Statement"] for pattern in statement["Action"]]


def copy_of_the_module(folder: Path) -> Path:
    """To be changed as the next version would change it."""
    unwanted = shutil.ignore_patterns(".terraform*", "*.tfstate*", "__pycache__")
    for part in ("modules", "statemachine", "lambda_src", "examples/sandbox"):
        shutil.copytree(ROOT / part, folder / part, ignore=unwanted)
    for file in ROOT.glob("*.tf"):
        shutil.copy(file, folder)
    return folder


def asked_for(aws: LocalAws) -> set[str]:
    """What Terraform's calls need; what a function of the module called is its own role's."""
    calls = {entry["call"] for entry in aws.control("calls/log") if not entry["worker"]}
    assert len(calls) > 100
    beside = {r["action"] for r in aws.permissions()["requests"] if r["caller"]["arn"].endswith(":user/moto")}
    return {action(call) for call in calls} | beside


def refused(actions: set[str]) -> list[str]:
    return [a for a in sorted(actions) if not any(fnmatch.fnmatchcase(a, p) for p in allowed())]


@pytest.mark.parametrize("codecommit", ["true", "false"])
def test_the_policy_allows_what_terraform_calls(codecommit: str, tmp_path: Path) -> None:
    with LocalAws.start(state_dir=tmp_path / "aws", log=tmp_path / "log") as aws:
        arguments = ["-var", "name=smoke-1", "-var", f"codecommit={codecommit}"]
        terraform = Terraform(tmp_path, aws.environment(), arguments, example=SANDBOX)
        terraform.init()
        terraform.apply()
        assert terraform.plan() == {}
        terraform.destroy()
        assert terraform.resources() == []
        assert refused(asked_for(aws)) == []


def test_the_policy_allows_an_upgrade(tmp_path: Path) -> None:
    module = copy_of_the_module(tmp_path / "module")
    example = module / "examples" / "sandbox"
    main = example / "main.tf"
    before = main.read_text()
    boundary = 'permissions_boundary_arn = "arn:aws:iam::aws:policy/AdministratorAccess"'
    with LocalAws.start(state_dir=tmp_path / "aws", log=tmp_path / "log") as aws:
        terraform = Terraform(tmp_path, aws.environment(), ["-var", "name=smoke-1"], example=example)
        terraform.init()
        terraform.apply()

        # Unlike the first package, this one is put after versioning was switched on.
        with zipfile.ZipFile(module / "lambda_src" / "package.zip", "a") as package:
            package.comment = b"another version"
        main.write_text(before.replace("  name = var.name\n", f"  name = var.name\n  {boundary}\n", 1))
        terraform.apply()
        main.write_text(before)
        terraform.apply()
        asked = asked_for(aws)
    assert {
        "iam:PutRolePermissionsBoundary",
        "iam:DeleteRolePermissionsBoundary",
        "s3:GetObjectVersion",
    } <= asked
    assert refused(asked) == []


def test_the_policy_fits_into_a_managed_policy() -> None:
    # https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html: 6,144 characters, white space not counted
    assert len("".join((SANDBOX / "policy.json").read_text().split())) <= 6144
