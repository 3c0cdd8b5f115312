"""Clients for the accounts and Regions a release reaches, with the roles it assumes there."""

from __future__ import annotations

import functools
import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal, overload
from urllib.parse import urlsplit

import boto3
import botocore.session
from botocore.config import Config
from botocore.credentials import RefreshableCredentials
from botocore.exceptions import BotoCoreError, ClientError

from ecs_release.aws import patience, retries
from ecs_release.aws.answers import understanding
from ecs_release.aws.raw import install_raw
from ecs_release.aws.retries import ThrottleCount
from ecs_release.aws.trouble import explain
from ecs_release.errors import SettingsError, TargetUnreachableError

if TYPE_CHECKING:  # types alone: the package does not bring them
    from mypy_boto3_codepipeline import CodePipelineClient
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_ecr import ECRClient
    from mypy_boto3_ecs import ECSClient
    from mypy_boto3_events import EventBridgeClient
    from mypy_boto3_iam import IAMClient
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_scheduler import EventBridgeSchedulerClient
    from mypy_boto3_sns import SNSClient
    from mypy_boto3_stepfunctions import SFNClient
    from mypy_boto3_sts import STSClient
    from mypy_boto3_sts.type_defs import AssumeRoleRequestTypeDef

# One attempt at an API call ends, answered or not, within this many seconds. Leases and Lambda time-outs build on it.
CONNECT_TIMEOUT_SECONDS = 3
READ_TIMEOUT_SECONDS = 10

# Retries are this package's own, see :mod:`ecs_release.aws.retries`.
_CONFIG = Config(
    connect_timeout=CONNECT_TIMEOUT_SECONDS,
    read_timeout=READ_TIMEOUT_SECONDS,
    retries={"mode": "standard", "total_max_attempts": 1},
    max_pool_connections=20,
)


@dataclass(frozen=True)
class Target:
    """An account and Region the module was given, with the roles it offers.

    Attributes
    ----------
    base : which revision is copied where the manifest does not say: "live" or "newest".
    soak_seconds : how long a release watches a service after its rollout is complete.
    passable_role_arns : ARN patterns (``*``, ``?``) of the roles the deployment role may pass on; None: not known here.
    """

    name: str
    account: str
    region: str
    role_arn: str
    reader_role_arn: str
    external_id: str | None = None
    passable_role_arns: tuple[str, ...] | None = None
    base: str = "live"
    soak_seconds: int = 0

    @classmethod
    def from_config(cls, name: str, config: Mapping[str, Any]) -> Target:
        return cls(
            name=name,
            account=config["account"],
            region=config["region"],
            role_arn=config["roleArn"],
            reader_role_arn=config["readerRoleArn"],
            external_id=config.get("externalId") or None,
            passable_role_arns=tuple(config["passableRoleArns"]) if config.get("passableRoleArns") else None,
            base=config.get("base") or "live",  # not there before the first apply of a version that has it
            soak_seconds=int(config.get("soakSeconds") or 0),
        )


class Connections:
    """boto3 clients for targets, one per (target, service), made when first asked for.

    Parameters
    ----------
    targets : the accounts and Regions the module was given, by name.
    actions : IAM actions the running step needs. They go into the session policy of AssumeRole, so that a step
        holds the intersection of the role's permissions and its own needs.
    write : assume the deployment role; otherwise the reader role.
    own_account : account whose targets are reached with the caller's own credentials; None: roles everywhere. For a
        person at a terminal, who may read but is nobody that the roles trust.
    session_name : RoleSessionName seen in the target's CloudTrail (at most 64 characters).
    """

    def __init__(
        self,
        targets: Mapping[str, Target],
        actions: tuple[str, ...],
        *,
        write: bool,
        session_name: str,
        own_account: str | None = None,
    ) -> None:
        self.targets = targets
        self.throttles = ThrottleCount()
        self._actions = actions
        self._write = write
        self._own_account = own_account
        self._session_name = session_name[:64]
        self._sessions: dict[str, boto3.Session] = {}
        self._clients: dict[tuple[str, str, bool, str | None], Any] = {}
        # Clients are safe for threads, making one from a session is not
        # (https://boto3.amazonaws.com/v1/documentation/api/latest/guide/session.html#multithreading-or-multiprocessing-with-sessions).
        self._making = threading.RLock()

    def role_arn(self, target_name: str) -> str:
        target = self.targets[target_name]
        return target.role_arn if self._write else target.reader_role_arn

    @overload
    def client(
        self, target_name: str, service: Literal["ecs"], *, retry: bool = True, region: str | None = None
    ) -> ECSClient: ...
    @overload
    def client(
        self, target_name: str, service: Literal["ecr"], *, retry: bool = True, region: str | None = None
    ) -> ECRClient: ...
    @overload
    def client(
        self, target_name: str, service: Literal["events"], *, retry: bool = True, region: str | None = None
    ) -> EventBridgeClient: ...
    @overload
    def client(
        self, target_name: str, service: Literal["iam"], *, retry: bool = True, region: str | None = None
    ) -> IAMClient: ...
    @overload
    def client(
        self,
        target_name: str,
        service: Literal["scheduler"],
        *,
        retry: bool = True,
        region: str | None = None,
    ) -> EventBridgeSchedulerClient: ...
    def client(self, target_name: str, service: str, *, retry: bool = True, region: str | None = None) -> Any:
        """The client of one target; in another Region than the target's own where ``region`` says so.

        Parameters
        ----------
        retry : False for a call that may do its work twice: RegisterTaskDefinition has no idempotency token. Whoever
            makes it looks first what came of the attempt before.

        Raises
        ------
        TargetUnreachableError
            when the role can't be assumed.
        """
        if target_name not in self.targets:
            known = ", ".join(f'"{name}"' for name in self.targets) or "none"
            raise TargetUnreachableError(
                f'there is no target "{target_name}" any more; the module was given {known}. Give it to the module again.'
            )
        key = (target_name, service, retry, region)
        with self._making:
            if key not in self._clients:
                session = self._session(target_name)
                client = _made(session, service, region)
                install_raw(client, service)
                retries.install(
                    client,
                    service,
                    (self.targets[target_name].account, client.meta.region_name),
                    again=retry,
                )
                self.throttles.watch(client)
                self._clients[key] = client
            return self._clients[key]

    def wait_for_turn(self, target_name: str, service: str, operation: str) -> None:
        """Before a call through a client that does not try again: wait until AWS's documented rates allow for it."""
        target = self.targets[target_name]
        patience.wait_for_turn(service, operation, (target.account, target.region))

    def _session(self, target_name: str) -> boto3.Session:
        if target_name not in self._sessions:
            target = self.targets[target_name]
            if target.account == self._own_account:
                self._sessions[target_name] = _careful(boto3.Session(region_name=target.region))
                return self._sessions[target_name]
            assume = self._assume(target)
            # Role chaining limits a session to one hour, so credentials renew themselves
            # (https://docs.aws.amazon.com/IAM/latest/UserGuide/id_roles.html#iam-term-role-chaining).
            core = botocore.session.get_session()
            core.register_component("data_loader", _loader())
            # The public set_credentials takes only such as never change.
            core._credentials = RefreshableCredentials.create_from_metadata(  # type: ignore[attr-defined]
                metadata=assume(), refresh_using=assume, method="sts-assume-role"
            )
            core.set_config_variable("region", target.region)
            self._sessions[target_name] = _careful(
                boto3.Session(botocore_session=core, region_name=target.region)
            )
        return self._sessions[target_name]

    def _assume(self, target: Target) -> Callable[[], dict[str, str]]:
        role_arn = self.role_arn(target.name)
        policy = {
            "Version": "2012-10-17",
            "Statement": [{"Effect": "Allow", "Action": sorted(self._actions), "Resource": "*"}],
        }
        request: AssumeRoleRequestTypeDef = {
            "RoleArn": role_arn,
            "RoleSessionName": self._session_name,
            "Policy": json.dumps(policy, separators=(",", ":")),
        }
        if target.external_id:
            request["ExternalId"] = target.external_id
        # The caller's own Region, not the target's: that may be one that only the target account has opted in to, and STS
        # there would refuse this one. A session from any regional endpoint is valid in every Region
        # (https://docs.aws.amazon.com/IAM/latest/UserGuide/id_credentials_temp_enable-regions.html).
        # Only a terminal may have no Region of its own.
        sts = own_client("sts", region_name=boto3.Session().region_name or target.region)
        self.throttles.watch(sts)

        def assume() -> dict[str, str]:
            try:
                credentials = sts.assume_role(**request)["Credentials"]
            except (ClientError, BotoCoreError) as error:
                raise TargetUnreachableError(
                    f'target "{target.name}": can\'t assume {role_arn} in account {target.account}: {explain(error)}. '
                    "Check that the role exists and trusts the orchestrator's roles."
                ) from error
            expiration: datetime = credentials["Expiration"]
            return {
                "access_key": credentials["AccessKeyId"],
                "secret_key": credentials["SecretAccessKey"],
                "token": credentials["SessionToken"],
                "expiry_time": expiration.isoformat(),
            }

        return assume


def _made(session: Any, service: str, region: str | None) -> Any:
    """A client of a session, or of boto3's own.

    Raises
    ------
    SettingsError
        when an address that the environment or the profile has for AWS is none: botocore raises a bare ValueError, for a port only
        when it calls.
    """
    try:
        client = session.client(service, config=_CONFIG, region_name=region)
        _ = urlsplit(client.meta.endpoint_url).port
    except ValueError as error:
        if isinstance(error, BotoCoreError):  # of a Region, and whoever asks knows what to make of it
            raise
        raise SettingsError(
            f"AWS can't be asked: {error}. Write AWS_ENDPOINT_URL (AWS_ENDPOINT_URL_<SERVICE>, endpoint_url of the profile) as "
            "https://host:port, or unset it."
        ) from error
    return client


class _Careful:
    """What every client of a target inherits from: an answer that botocore's parser trips over is an OddAnswerError."""

    def _make_api_call(self, operation_name: str, api_params: Any) -> Any:
        with understanding(f"AWS's answer to {operation_name}"):
            return super()._make_api_call(operation_name, api_params)  # type: ignore[misc]


def _careful(session: boto3.Session) -> boto3.Session:
    """A session whose clients are :class:`_Careful`, by botocore's own event for adding to them."""

    def add(base_classes: list[type], **_: Any) -> None:
        base_classes.insert(0, _Careful)

    session.events.register("creating-client-class", add)
    return session


@functools.cache
def _loader() -> Any:
    """One for all sessions: each would parse the same service models again, a tenth of a second a target."""
    return botocore.session.get_session().get_component("data_loader")


@overload
def own_client(service: Literal["codepipeline"], *, region_name: str | None = None) -> CodePipelineClient: ...
@overload
def own_client(service: Literal["dynamodb"], *, region_name: str | None = None) -> DynamoDBClient: ...
@overload
def own_client(service: Literal["s3"], *, region_name: str | None = None) -> S3Client: ...
@overload
def own_client(service: Literal["sns"], *, region_name: str | None = None) -> SNSClient: ...
@overload
def own_client(service: Literal["stepfunctions"], *, region_name: str | None = None) -> SFNClient: ...
@overload
def own_client(service: Literal["sts"], *, region_name: str | None = None) -> STSClient: ...
def own_client(service: str, *, region_name: str | None = None) -> Any:
    """A client with the function's own credentials, in its own Region unless another one is named."""
    client = _made(boto3, service, region_name)
    retries.install(client, service)
    return client
