"""Members of a Lambda function's configuration that moto drops or never updates.

Stands for LoggingConfig, EphemeralStorage, TracingConfig, KMSKeyArn and Architectures of CreateFunction and
UpdateFunctionConfiguration, which GetFunction returns as they were set:
https://docs.aws.amazon.com/lambda/latest/api/API_UpdateFunctionConfiguration.html

And for a policy of each version's own, where moto's versions share one, from which any RemovePermission takes:
https://docs.aws.amazon.com/lambda/latest/dg/access-control-resource-based.html

And for a CreateFunction with Publish that other calls do not disturb: to answer it, moto copies the function deeply, and with it
the account's log groups, which fails while functions are logging ("dictionary changed size during iteration").
"""

from __future__ import annotations

import copy
from typing import Any

from moto.awslambda.models import LambdaFunction
from moto.awslambda.policy import Policy

from local_aws.kernel.patches import patch
from local_aws.kernel.server import Server

_KEPT = ("LoggingConfig", "DeadLetterConfig", "FileSystemConfigs", "SnapStart", "RuntimeManagementConfig")


def log_group(function: Any) -> str:
    """Return the name of the log group that a function writes to."""
    return str(_logging(function)["LogGroup"])


def json_logs(function: Any) -> bool:
    return bool(_logging(function)["LogFormat"] == "JSON")


def maximum_retries(function: Any) -> int:
    """Return how often a failing asynchronous invocation is tried again."""
    for config in function.event_invoke_config or ():
        if "MaximumRetryAttempts" in config:
            return int(config["MaximumRetryAttempts"])
    return 2


def _logging(function: Any) -> dict[str, Any]:
    given = getattr(function, "local_members", {}).get("LoggingConfig") or {}
    config = {"LogFormat": "Text", "LogGroup": f"/aws/lambda/{function.function_name}", **given}
    if config["LogFormat"] == "JSON":
        config = {"ApplicationLogLevel": "INFO", "SystemLogLevel": "INFO", **config}
    return config


def install(_: Server) -> None:
    """Teach moto's LambdaFunction the members it drops."""

    def init(self: Any, account_id: str, spec: dict[str, Any], region: str, version: Any = 1) -> None:
        original_init(self, account_id, spec, region, version)
        self.local_members = {key: spec[key] for key in _KEPT if key in spec}

    def get_configuration(self: Any, on_create: bool = False) -> dict[str, Any]:
        config: dict[str, Any] = original_get(self, on_create)
        config.update({key: value for key, value in self.local_members.items() if key != "SnapStart"})
        config["LoggingConfig"] = _logging(self)
        return config

    def update_configuration(self: Any, updates: dict[str, Any]) -> dict[str, Any]:
        updates = dict(updates)
        if "Environment" in updates:
            updates["Environment"] = {"Variables": (updates["Environment"] or {}).get("Variables") or {}}
        if "TracingConfig" in updates:
            self.tracing_config = updates["TracingConfig"]
        if "KMSKeyArn" in updates:
            self.kms_key_arn = updates["KMSKeyArn"] or None
        if updates.get("EphemeralStorage"):
            self.ephemeral_storage = updates["EphemeralStorage"]["Size"]
        # a new dictionary: published versions share the old one
        self.local_members = {**self.local_members, **{key: updates[key] for key in _KEPT if key in updates}}
        original_update(self, updates)
        config: dict[str, Any] = self.get_configuration()
        return config

    def set_version(self: Any, version: int) -> None:
        original_version(self, version)
        self.policy = Policy(self.policy.parent)  # the function, to whose ARN moto adds the version

    def copied(self: Any, _: Any) -> Any:
        return copy.copy(self)

    def replaced(
        name: str, by: Any, upstream: str = "moto should keep every member of CreateFunction"
    ) -> Any:
        because = "moto drops logging, snap start and other members, and copies a function with its code"
        return patch(LambdaFunction, name, by, because=because, upstream=upstream)

    LambdaFunction.local_members = {}
    original_init = replaced("__init__", init)
    original_get = replaced("get_configuration", get_configuration)
    original_update = replaced("update_configuration", update_configuration)
    original_version = patch(
        LambdaFunction,
        "set_version",
        set_version,
        because="a published version has the policy of the function itself",
        upstream="moto should keep a policy for each version",
    )
    # object has none; a copy of the code for each published version is what takes the time.
    LambdaFunction.__deepcopy__ = copied
