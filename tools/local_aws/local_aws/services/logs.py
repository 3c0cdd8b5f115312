"""Amazon CloudWatch Logs: a log group takes a key only where the key's policy lets the service use it for that group.

Stands for https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/encrypt-log-data-kms.html
"""

from __future__ import annotations

from typing import Any

from local_aws.kernel.calls import Answer, ApiError, Call
from local_aws.kernel.server import MOTO_LOCK, Server
from local_aws.services.iam import policies_in_force, principals
from local_aws.services.iam.authority import Authority

_ACTIONS = ("kms:Encrypt", "kms:Decrypt", "kms:ReEncryptFrom", "kms:ReEncryptTo", "kms:GenerateDataKey")


def install(server: Server) -> None:
    """Ask the key's policy before moto makes the group."""

    @server.operation("logs", "CreateLogGroup", "AssociateKmsKey")
    def use_key(call: Call) -> Answer:
        name, group = call.input.get("kmsKeyId"), call.input.get("logGroupName")
        arn = f"arn:aws:logs:{call.region}:{call.account}:log-group:{group}"
        with MOTO_LOCK:
            key: Any = policies_in_force.key(str(name), call.account, call.region) if name else None
        try:
            for action in _ACTIONS if key is not None else ():
                server.part(Authority).demand(
                    principals.service(f"logs.{call.region}.amazonaws.com"),
                    action,
                    key.arn,
                    region=call.region,
                    context={"kms:EncryptionContext:aws:logs:arn": arn},
                )
        except ApiError:
            raise ApiError(
                "InvalidParameterException",
                f"The specified KMS key does not exist or is not allowed to be used with Arn '{arn}'",
            ) from None
        return call.forward()
