"""The policies that have a say in a request, as moto keeps them."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from moto.iam.models import iam_backends

from local_aws.kernel.iam.decision import Policies
from local_aws.kernel.server import one_at_a_time
from local_aws.services.iam.principals import ADMINISTRATOR, Principal

ROOT = "aws"  # moto keeps what belongs to no Region under the partition's name


def account_of(arn: str) -> str:
    """The account that an ARN names; "" where it names none, or is no ARN at all."""
    parts = arn.split(":", 5)
    return parts[4] if len(parts) == 6 else ""


def role(arn: str) -> Any:
    """moto's role, or None."""
    account, name = account_of(arn), arn.rpartition("/")[2]
    if not account:
        return None
    for one in list(iam_backends[account][ROOT].roles.values()):
        if one.name == name and one.arn == arn:
            return one
    return None


@one_at_a_time
def in_force(principal: Principal, action: str, resource: str) -> Policies:
    """Collect the policies for one request."""
    own = Policies()
    if principal.is_administrator:
        own = Policies((("administrator", ADMINISTRATOR),))
    elif principal.caller.role_arn:
        one = role(principal.caller.role_arn)
        own = own if one is None else of_role(one)
    return replace(own, session=principal.session_policies, resource=resource_policy(action, resource))


def of_role(one: Any) -> Policies:
    """The inline and attached policies of moto's role, and its boundary."""
    attached = ((arn, _document(policy)) for arn, policy in one.managed_policies.items())
    boundary = managed(one.permissions_boundary_arn) if one.permissions_boundary_arn else None
    return Policies((*one.policies.items(), *attached), boundary)


def _document(policy: Any) -> str:
    default = next(version for version in policy.versions if version.version_id == policy.default_version_id)
    return str(default.document)


def managed(arn: str) -> str:
    """A managed policy's document; one that was deleted allows nothing."""
    account = account_of(arn)
    policy = iam_backends[account][ROOT].managed_policies.get(arn) if account else None
    nothing = json.dumps({"Version": "2012-10-17", "Statement": []})
    return nothing if policy is None else _document(policy)


def resource_policy(action: str, arn: str) -> str | None:
    """The policy of a resource itself, or None."""
    parts = arn.split(":", 5)
    if len(parts) < 6:
        return None
    if action == "sts:AssumeRole":
        one = role(arn)
        return None if one is None else str(one.assume_role_policy_document)
    find = _FINDERS.get(parts[2])
    return find(parts[3], parts[4], parts[5]) if find else None


def _bucket(_: str, __: str, name: str) -> str | None:
    found = bucket(name.partition("/")[0])
    policy = found.policy if found is not None else None
    return policy.decode() if isinstance(policy, bytes) else policy


def bucket(name: str) -> Any:
    """moto's bucket, whoever owns it; None where there is none."""
    from moto.s3.models import s3_backends  # noqa: PLC0415 (moto's backends load on demand)

    partition, owner = s3_backends.bucket_accounts.get(name, ("", ""))
    return s3_backends[owner][partition].buckets.get(name) if owner else None


def owner_of_bucket(name: str) -> str:
    """The account of a bucket; "" where there is none."""
    found = bucket(name)
    return "" if found is None else str(found.account_id)


def topic(arn: str) -> Any:
    from moto.sns.models import sns_backends  # noqa: PLC0415

    parts = arn.split(":")
    return sns_backends[parts[4]][parts[3]].topics.get(arn)


def _topic(region: str, account: str, name: str) -> str | None:
    found = topic(f"arn:aws:sns:{region}:{account}:{name}")
    return None if found is None else str(found.policy)


def key(name: str, account: str, region: str) -> Any:
    """moto's customer managed key by id, ARN or alias; None for AWS's own and for what there is not."""
    from moto.kms.models import kms_backends  # noqa: PLC0415

    if name.startswith("arn:"):
        _, _, _, region, account, name = name.split(":", 5)
        name = name.removeprefix("key/")
    keys = kms_backends[account][region].keys
    found = keys.get(name) or next((one for one in keys.values() if name in one.aliases), None)
    own = found is not None and not any(alias.startswith("alias/aws/") for alias in found.aliases)
    return found if own else None


def _key(region: str, account: str, name: str) -> str | None:
    found = key(name.removeprefix("key/"), account, region)
    return None if found is None else str(found.policy)


def _function(region: str, account: str, name: str) -> str | None:
    from moto.awslambda.utils import get_backend  # noqa: PLC0415

    _, function, *qualifier = name.split(":")
    try:
        found = get_backend(account, region).get_function(function, *qualifier)
    except Exception:  # moto has a class for each way of not being there
        return None
    # Each version and alias has a policy of its own, where moto repeats the qualifier in the ARN.
    # https://docs.aws.amazon.com/lambda/latest/dg/access-control-resource-based.html
    arn = f"arn:aws:lambda:{region}:{account}:{name}"
    statements = [{**statement, "Resource": arn} for statement in found.policy.statements]
    return json.dumps({"Version": "2012-10-17", "Statement": statements}) if statements else None


def _queue(region: str, account: str, name: str) -> str | None:
    from moto.sqs.models import sqs_backends  # noqa: PLC0415

    found = sqs_backends[account][region].queues.get(name)
    policy = found.policy if found is not None else None
    return policy if policy is None or isinstance(policy, str) else json.dumps(policy)


def _repository(region: str, account: str, name: str) -> str | None:
    from moto.ecr.models import ecr_backends  # noqa: PLC0415

    found = ecr_backends[account][region].repositories.get(name.removeprefix("repository/"))
    policy = found.policy if found is not None else None
    return policy if policy is None or isinstance(policy, str) else json.dumps(policy)


_FINDERS: dict[str, Callable[[str, str, str], str | None]] = {
    "s3": _bucket,
    "sns": _topic,
    "kms": _key,
    "lambda": _function,
    "sqs": _queue,
    "ecr": _repository,
}
