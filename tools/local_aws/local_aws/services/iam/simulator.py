"""AWS IAM's policy simulator: SimulatePrincipalPolicy of a role, from the policies that moto keeps.

Stands for https://docs.aws.amazon.com/IAM/latest/APIReference/API_SimulatePrincipalPolicy.html: inline and attached policies and
the permissions boundary, no trust policy, no service control policy; condition keys that are not given are told as missing. Of one
action there is one result, which tells its resources apart (API_EvaluationResult). moto has none.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator
from dataclasses import replace
from xml.sax.saxutils import escape

from local_aws.kernel.calls import Answer, ApiError, Call
from local_aws.kernel.iam.decision import Policies, Request, decide
from local_aws.kernel.iam.policies import Caller, parse
from local_aws.kernel.server import one_at_a_time
from local_aws.services.iam import policies_in_force

_ALLOW_ALL = '{"Statement": {"Effect": "Allow", "Action": "*", "Resource": "*"}}'


def _list(call: Call, prefix: str) -> list[str]:
    """``Name.member.1``, ``Name.member.2``, ... of the query protocol."""
    numbered = {
        int(match.group(1)): value
        for key, value in call.params.items()
        if (match := re.fullmatch(rf"{re.escape(prefix)}\.member\.(\d+)", key))
    }
    return [numbered[number] for number in sorted(numbered)]


def _context(call: Call) -> dict[str, tuple[str, ...]]:
    found = {}
    for key, name in call.params.items():
        if match := re.fullmatch(r"ContextEntries\.member\.(\d+)\.ContextKeyName", key):
            values = _list(call, f"ContextEntries.member.{match.group(1)}.ContextKeyValues")
            found[name.lower()] = tuple(values)
    return found


@one_at_a_time
def _policies_of(arn: str) -> Policies:
    if not re.fullmatch(r"arn:aws:iam::\d{12}:role/.+", arn):
        raise ApiError("InvalidInput", f"Invalid Entity Arn: {arn} does not clearly define entity type")
    role = policies_in_force.role(arn)
    if role is None:
        raise ApiError("NoSuchEntity", f"The role with name {arn.rpartition('/')[2]} cannot be found.", 404)
    return policies_in_force.of_role(role)


def _missing(request: Request, policies: Policies) -> set[str]:
    """The keys that statements about this action and resource ask for and that are not given."""
    context = dict(request.context)
    texts = [text for _, text in policies.identity] + ([policies.boundary] if policies.boundary else [])
    return {
        condition.key
        for text in texts
        for statement in parse(text).statements
        if replace(statement, conditions=()).concerns(request.action, request.resource, context)
        for condition in statement.conditions
        if condition.key not in context and condition.operator != "Null"
    }


def _verdict(request: Request, policies: Policies) -> str:
    decision = decide(request, policies)
    # A denial that names statements is theirs.
    return "allowed" if decision.allowed else "explicitDeny" if decision.by else "implicitDeny"


def _result(request: Request, policies: Policies) -> Iterator[tuple[str, str]]:
    yield "decision", _verdict(request, policies)
    yield "missing", "".join(f"<member>{escape(key)}</member>" for key in sorted(_missing(request, policies)))
    detail = ""
    if policies.boundary is not None:
        alone = Policies((("all", _ALLOW_ALL),), policies.boundary)
        allowed = str(_verdict(request, alone) == "allowed").lower()
        detail = (
            "<PermissionsBoundaryDecisionDetail>"
            f"<AllowedByPermissionsBoundary>{allowed}</AllowedByPermissionsBoundary>"
            "</PermissionsBoundaryDecisionDetail>"
        )
    yield "boundary", detail


_WORST = ("allowed", "implicitDeny", "explicitDeny")


def simulate(call: Call) -> Answer:
    """Answer SimulatePrincipalPolicy."""
    arn = call.params.get("PolicySourceArn", "")
    policies = _policies_of(arn)
    account = policies_in_force.account_of(arn)
    if account != call.account:
        raise ApiError("AccessDenied", f"{arn} is in another account.", 403)
    session = f"arn:aws:sts::{account}:assumed-role/{arn.rpartition('/')[2]}/simulated"
    caller = Caller(session, account, arn)
    known = {"aws:principalarn": (arn,), "aws:principalaccount": (account,)}
    context = tuple(sorted({**known, **_context(call)}.items()))
    results = ""
    for action in _list(call, "ActionNames"):
        specific, decisions = "", []
        for resource in _list(call, "ResourceArns") or ["*"]:
            found = dict(_result(Request(caller, action, resource, account, context), policies))
            decisions.append(found["decision"])
            specific += (
                f"<member><EvalResourceName>{escape(resource)}</EvalResourceName>"
                f"<EvalResourceDecision>{found['decision']}</EvalResourceDecision>"
                f"<MissingContextValues>{found['missing']}</MissingContextValues>{found['boundary']}</member>"
            )
        results += (
            f"<member><EvalActionName>{escape(action)}</EvalActionName><EvalResourceName>*</EvalResourceName>"
            f"<EvalDecision>{max(decisions, key=_WORST.index)}</EvalDecision>"
            f"<ResourceSpecificResults>{specific}</ResourceSpecificResults></member>"
        )
    request_id = str(uuid.uuid4())
    xml = (
        '<SimulatePrincipalPolicyResponse xmlns="https://iam.amazonaws.com/doc/2010-05-08/">'
        f"<SimulatePrincipalPolicyResult><EvaluationResults>{results}</EvaluationResults>"
        "<IsTruncated>false</IsTruncated></SimulatePrincipalPolicyResult>"
        f"<ResponseMetadata><RequestId>{request_id}</RequestId></ResponseMetadata>"
        "</SimulatePrincipalPolicyResponse>"
    )
    return Answer(200, [("Content-Type", "text/xml"), ("x-amzn-RequestId", request_id)], xml.encode())
