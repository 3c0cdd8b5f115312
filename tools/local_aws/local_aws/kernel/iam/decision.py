"""Is a request allowed? AWS's evaluation logic.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic_policy-eval-denyallow.html
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic-cross-account.html

Organizations' policies (SCP, RCP), VPC endpoint policies and KMS grants are not part of it.
"""

from __future__ import annotations

from dataclasses import dataclass

from local_aws.kernel.iam.conditions import Context
from local_aws.kernel.iam.policies import Caller, Statement, parse

# Without a statement of the resource's own policy nobody may do these, an administrator of the account included.
# https://docs.aws.amazon.com/kms/latest/developerguide/key-policies.html
# https://docs.aws.amazon.com/IAM/latest/UserGuide/id_roles_terms-and-concepts.html ("trust policy")
_ASK_THE_RESOURCE = ("kms:", "sts:AssumeRole")


@dataclass(frozen=True)
class Request:
    """What somebody wants to do.

    Attributes
    ----------
    resource : an ARN, or ``*`` for an action that takes none.
    owner : the account that the resource belongs to; "" where there is none.
    context : condition keys in small letters -> values, in the order of the keys.
    """

    caller: Caller
    action: str
    resource: str
    owner: str
    context: tuple[tuple[str, tuple[str, ...]], ...] = ()


@dataclass(frozen=True)
class Policies:
    """The policies that have a say, as text.

    Attributes
    ----------
    identity : (name, document) of each inline and managed policy of the caller's role.
    boundary : permissions boundary; None where the role has none.
    session : session policies; None where the session was made without any.
    resource : the policy of the resource: a bucket's, topic's, key's, function's, role's trust; None where it has none.
    """

    identity: tuple[tuple[str, str], ...] = ()
    boundary: str | None = None
    session: tuple[str, ...] | None = None
    resource: str | None = None


@dataclass(frozen=True)
class Decision:
    """What AWS would say.

    Attributes
    ----------
    reason : of a denial, the words behind "is not authorized to perform: ... on resource: ...".
    by : the statements that allowed it, or that denied it: (kind of policy, policy, statement).
    """

    allowed: bool
    reason: str = ""
    by: tuple[tuple[str, str, str], ...] = ()


_KINDS = {
    "identity": "identity-based policy",
    "boundary": "permissions boundary",
    "session": "session policy",
    "resource": "resource-based policy",
    "trust": "role trust policy",
}


def decide(request: Request, policies: Policies) -> Decision:
    """Decide on a request."""
    context = dict(request.context)
    texts: dict[str, tuple[tuple[str, str], ...]] = {
        "identity": policies.identity,
        "boundary": () if policies.boundary is None else (("boundary", policies.boundary),),
        "session": tuple((str(number), text) for number, text in enumerate(policies.session or ())),
    }
    fitting = {
        kind: [(name, s) for name, text in named for s in _concerned(text, request, context)]
        for kind, named in texts.items()
    }
    kind_of_resource = "trust" if request.action == "sts:AssumeRole" else "resource"
    named_ways: list[tuple[str, Statement]] = []
    if policies.resource is not None:
        for statement in _concerned(policies.resource, request, context):
            way = statement.names(request.caller)
            if way is not None:
                named_ways.append((way, statement))
    fitting[kind_of_resource] = [("resource", statement) for _, statement in named_ways]

    for kind, found in fitting.items():
        denying = tuple((kind, name, s.name) for name, s in found if not s.allows)
        if denying:
            article = "the" if kind == "trust" else "an" if kind == "identity" else "a"
            return Decision(False, f"with an explicit deny in {article} {_KINDS[kind]}", denying)

    ways = {way for way, statement in named_ways if statement.allows}
    allowing = {
        kind: tuple((kind, name, s.name) for name, s in found if s.allows) for kind, found in fitting.items()
    }
    by_resource = allowing[kind_of_resource]
    refused_by_resource = Decision(False, _no(kind_of_resource, request))
    if request.caller.is_service:
        return Decision(True, by=by_resource) if by_resource else refused_by_resource

    limits = [
        kind
        for kind, there in (
            ("boundary", policies.boundary is not None),
            ("session", policies.session is not None),
        )
        if there
    ]
    same = request.owner in ("", request.caller.account)
    if same and "session" in ways:
        # granted to the session itself, which no implicit denial of boundary or session policy limits
        return Decision(True, by=by_resource)
    if same and "role" in ways:
        needed = limits
    else:
        needed = ["identity", *limits]
        asks = request.action.startswith(_ASK_THE_RESOURCE)
        if (asks or not same) and not ways:
            if same or allowing["identity"]:
                return refused_by_resource
            return Decision(False, _no("identity", request))
    for kind in needed:
        if not allowing[kind]:
            return Decision(False, _no(kind, request))
    used = by_resource if ways and (not same or request.action.startswith(_ASK_THE_RESOURCE)) else ()
    used = by_resource if "role" in ways else used
    return Decision(True, by=tuple(entry for kind in needed for entry in allowing[kind]) + used)


def _concerned(text: str, request: Request, context: Context) -> list[Statement]:
    return [s for s in parse(text).statements if s.concerns(request.action, request.resource, context)]


def _no(kind: str, request: Request) -> str:
    return f"because no {_KINDS[kind]} allows the {request.action} action"


def sentence(request: Request, decision: Decision) -> str:
    """A denial in AWS's words.

    A trust policy's names no resource: https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot_access-denied.html
    S3 quotes the ARN: https://docs.aws.amazon.com/AmazonS3/latest/userguide/troubleshoot-403-errors.html
    SNS writes its name in capitals, and a service is named alone:
    https://docs.aws.amazon.com/prometheus/latest/userguide/Troubleshooting-alerting-no-policy.html. As a session reads it:
    https://github.com/aws-ia/terraform-aws-control_tower_account_factory/issues/151
    """
    resource = f'"{request.resource}"' if request.action.startswith("s3:") else request.resource
    on = "" if "trust policy" in decision.reason else f" on resource: {resource}"
    action, reason = request.action, decision.reason
    if action.startswith("sns:"):
        action = "SNS:" + action.removeprefix("sns:")
        reason = reason.replace(request.action, action)
    who = "" if request.caller.is_service else "User: "
    return f"{who}{request.caller.arn} is not authorized to perform: {action}{on} {reason}"
