"""May they? Asked before every call, and by services that act for themselves or as a role they were given."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config

from local_aws.kernel.calls import INTERNAL_APP_ID, Answer, ApiError, Call, model
from local_aws.kernel.iam.decision import Decision, Policies, Request, decide, sentence
from local_aws.kernel.server import MOTO_LOCK, Server
from local_aws.services.iam import policies_in_force, principals, report, things
from local_aws.services.iam.principals import Principal

TABLE: dict[str, list[dict[str, Any]]] = json.loads(
    Path(__file__).with_name("calls.json").read_text(encoding="utf-8")
)["calls"]
_MOST_KEPT = 200_000
_ADD = "tools/local_aws/local_aws/services/iam/calls.json"

Context = Mapping[str, str | tuple[str, ...]]


@dataclass
class Entry:
    """One question that was asked, its answer, how often and by which calls."""

    decision: Decision
    count: int = 0
    calls: set[str] = field(default_factory=set)


class Authority:
    """Decides on every request and remembers what it decided.

    Attributes
    ----------
    enabled : without it everything is allowed and nothing is recorded.
    """

    def __init__(self, server: Server) -> None:
        self.server = server
        self.enabled = True
        self._lock = threading.Lock()
        self._sessions: dict[str, Principal] = {}
        self._acting: dict[tuple[str, str, str], Principal] = {}
        self._clients: dict[tuple[str, str, str], Any] = {}
        self._entries: dict[tuple[Request, Policies], Entry] = {}

    # --- calls --------------------------------------------------------------------------------------------

    def guard(self, call: Call, inner: Callable[[Call], Answer]) -> Answer:
        if not self.enabled:
            return inner(call)
        principal = self.principal_of(call)
        if principal is None:
            return inner(call)
        self._ask_for(call, principal)
        answer = inner(call)
        if answer.status == 404 and call.key in ("s3:GetObject", "s3:HeadObject"):
            self._tell_missing_from_refused(call, principal)
        return answer

    def principal_of(self, call: Call) -> Principal | None:
        """Who makes a call; None for embedded AWS itself."""
        found = self._sessions.get(call.access_key)
        if found is not None or call.internal:
            return found
        return principals.administrator(call.account)

    def _ask_for(self, call: Call, principal: Principal) -> None:
        rows = TABLE.get(call.key)
        if rows is None:
            if principal.is_administrator:
                return
            raise ApiError(
                "UnknownOperationException",
                f"local_aws does not know what AWS authorises {call.key} as, and {principal.caller.arn} called it: add a row to "
                f"{_ADD} with its actions, resources and source.",
                501,
            )
        for row in rows:
            if not _applies(call, row):
                continue
            constants: dict[str, str] = row.get("with") or {}
            context: dict[str, str | tuple[str, ...]] = {k: _filled(call, v) for k, v in constants.items()}
            for key in row.get("keys") or ():
                value = things.VALUES[key](call)
                if value:
                    context[key] = value if isinstance(value, str) else tuple(value)
            for thing in things.FINDERS[row["on"]](call):
                self._demand(
                    principal,
                    row["action"],
                    thing.arn,
                    owner=thing.owner,
                    context={**context, **thing.keys},
                    region=call.region,
                    called=call,
                )

    def _tell_missing_from_refused(self, call: Call, principal: Principal) -> None:
        """Who may not list a bucket is not told what it lacks. https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html"""
        thing = things.FINDERS["bucket"](call)
        for bucket in thing:
            if bucket.owner:
                self._demand(
                    principal,
                    "s3:ListBucket",
                    bucket.arn,
                    owner=bucket.owner,
                    region=call.region,
                    called=call,
                )

    # --- for services -------------------------------------------------------------------------------------

    def demand(
        self,
        principal: Principal,
        action: str,
        resource: str,
        *,
        region: str,
        context: Context | None = None,
        owner: str | None = None,
    ) -> None:
        """Ask for what a service does without a call of its own.

        Raises
        ------
        ApiError
            in AWS's words, where it is not allowed.
        """
        if self.enabled:
            account = policies_in_force.account_of(resource) if owner is None else owner
            self._demand(principal, action, resource, owner=account, context=context or {}, region=region)

    def _demand(
        self,
        principal: Principal,
        action: str,
        resource: str,
        *,
        owner: str,
        region: str,
        context: Context | None = None,
        called: Call | None = None,
    ) -> None:
        request = Request(
            principal.caller, action, resource, owner, _context(principal, owner, region, context or {})
        )
        decision = self.ask(request, policies_in_force.in_force(principal, action, resource), called)
        if not decision.allowed:
            raise _denial(called.service if called else action.partition(":")[0], request, decision)

    def ask(self, request: Request, policies: Policies, called: Call | None = None) -> Decision:
        """Decide, once for the same question, and keep the answer for the record."""
        key = (request, policies)
        entry = self._entries.get(key)
        if entry is None:
            entry = Entry(decide(request, policies))
            with self._lock:
                if len(self._entries) >= _MOST_KEPT:
                    self._entries.clear()
                entry = self._entries.setdefault(key, entry)
        entry.count += 1
        entry.calls.add(called.key if called else "")
        return entry.decision

    def act_as(
        self, service: str, role_arn: str, name: str, region: str, context: Context | None = None
    ) -> Principal:
        """A session of a role that a service was given.

        Parameters
        ----------
        service : its principal, such as ``lambda.amazonaws.com``.
        context : what it sends along, such as ``aws:SourceArn``.

        Raises
        ------
        ApiError
            where the role does not exist or does not trust the service.
        """
        if self.enabled:
            self.demand(
                principals.service(service), "sts:AssumeRole", role_arn, region=region, context=context
            )
        key = (service, role_arn, principals.session_name(name))
        with self._lock:
            found = self._acting.get(key)
        if found is None:
            found = self._new_session(role_arn, key[2], region)
            with self._lock:
                found = self._acting.setdefault(key, found)
        return found

    def _new_session(self, role_arn: str, name: str, region: str) -> Principal:
        sts = self.server.client("sts", region, role_arn.split(":")[4])
        answer = sts.assume_role(RoleArn=role_arn, RoleSessionName=name)["Credentials"]
        keys = (answer["AccessKeyId"], answer["SecretAccessKey"], answer["SessionToken"])
        return self._keep(role_arn, name, keys, None)

    def client(self, principal: Principal, service: str, region: str) -> Any:
        """A boto3 client with a session's keys; its calls meet no counts, limits or faults, and are authorised."""
        assert principal.keys is not None  # noqa: S101 - for the type checker
        key = (principal.keys[0], service, region)
        with self._lock:
            if key not in self._clients:
                self._clients[key] = _SESSION.client(
                    service,
                    region_name=region,
                    endpoint_url=self.server.endpoint,
                    aws_access_key_id=principal.keys[0],
                    aws_secret_access_key=principal.keys[1],
                    aws_session_token=principal.keys[2],
                    config=Config(
                        user_agent_appid=INTERNAL_APP_ID,  # type: ignore[call-arg]  # the stubs do not know it
                        retries={"total_max_attempts": 1},
                        s3={"addressing_style": "path"},
                        connect_timeout=900,
                        read_timeout=900,
                        max_pool_connections=50,
                    ),
                )
            return self._clients[key]

    # --- AWS STS ------------------------------------------------------------------------------------------

    def assume_role(self, call: Call) -> Answer:
        """Remember whose session the new keys are of, with its session policies.

        https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html
        """
        answer = call.forward()
        if answer.status < 300:
            names = ("AccessKeyId", "SecretAccessKey", "SessionToken")
            key, secret, token = (_element(answer.body, name) for name in names)
            policies = [call.params["Policy"]] if call.params.get("Policy") else []
            for number in range(1, 11):
                arn = call.params.get(f"PolicyArns.member.{number}.arn")
                if arn:
                    policies.append(policies_in_force.managed(arn))
            given = tuple(policies) or None
            self._keep(call.params["RoleArn"], call.params["RoleSessionName"], (key, secret, token), given)
        return answer

    def _keep(
        self, role_arn: str, name: str, keys: tuple[str, str, str], policies: tuple[str, ...] | None
    ) -> Principal:
        with MOTO_LOCK:
            role = policies_in_force.role(role_arn)
        made = principals.session(role_arn, role.id if role else "AROA", name, keys, policies)
        self._sessions[keys[0]] = made
        return made

    # --- record -------------------------------------------------------------------------------------------

    def entries(self) -> list[tuple[Request, Policies, Entry]]:
        with self._lock:
            return [(request, policies, entry) for (request, policies), entry in self._entries.items()]

    def document(self) -> dict[str, Any]:
        """The record as JSON; see ``report.py``."""
        return report.as_document(self.entries())

    def forget(self) -> None:
        """Begin a new record."""
        with self._lock:
            self._entries.clear()


_SESSION = boto3.session.Session()


def _element(body: bytes, name: str) -> str:
    text = body.decode()
    return text.partition(f"<{name}>")[2].partition(f"</{name}>")[0]


def _applies(call: Call, row: Mapping[str, Any]) -> bool:
    if "unless" in row and _given(call, row["unless"]):
        return False
    if "when" not in row:
        return True
    member, _, part = row["when"].partition("=")
    value = _given(call, member)
    return bool(value) and (not part or part in value)


def _given(call: Call, member: str) -> Any:
    """A member of the request: of its JSON, its path and query, or its headers."""
    if member in call.params:
        return call.params[member]
    if member.startswith("x-amz-"):
        return call.header(member)
    if call.service == "s3" or not call.body:
        return None
    return call.input.get(member)


def _filled(call: Call, value: str) -> str:
    return value.replace("{region}", call.region)


def _context(
    principal: Principal, owner: str, region: str, context: Context
) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """A request's condition keys: those that every request has, and those of this one.

    https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-keys.html
    """
    keys: dict[str, str | tuple[str, ...]] = {"aws:requestedregion": region, "aws:securetransport": "true"}
    if owner:
        keys["aws:resourceaccount"] = owner
    if principal.is_service:
        keys["aws:principalservicename"] = principal.caller.arn
    else:
        keys |= {
            "aws:principalaccount": principal.caller.account,
            "aws:principalarn": principal.caller.role_arn or principal.caller.arn,
        }
        if principal.user_id:
            keys["aws:userid"] = principal.user_id
    if any(key.lower().startswith("kms:") for key in context) and not principal.is_service:
        keys["kms:calleraccount"] = principal.caller.account
    keys |= {key.lower(): value for key, value in context.items()}
    return tuple(sorted((key, (v,) if isinstance(v, str) else tuple(v)) for key, v in keys.items()))


# The error's name where it is another than AccessDeniedException in the JSON protocols and AccessDenied in the others.
# https://docs.aws.amazon.com/sns/latest/api/CommonErrors.html
_CODES = {"sns": "AuthorizationError", "ec2": "UnauthorizedOperation"}


def _denial(service: str, request: Request, decision: Decision) -> ApiError:
    message = sentence(request, decision)
    service_model = model(service)
    protocol = service_model.metadata.get("protocol", "json") if service_model else "json"
    if protocol in ("query", "ec2", "rest-xml"):
        if service == "sns" and request.action.startswith("kms:"):
            # https://docs.aws.amazon.com/sns/latest/api/API_Publish.html#API_Publish_Errors
            return ApiError("KMSAccessDenied", message, 400)
        return ApiError(_CODES.get(service, "AccessDenied"), message, 403)
    return ApiError("AccessDeniedException", message, 403 if protocol == "rest-json" else 400)
