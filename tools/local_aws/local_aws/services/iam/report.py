"""A run's record of what was asked and answered: as a document, and what follows from it.

Pure functions of the record, so that they can be asked of a run that is over: which statements no call needed, which requests
nothing allowed, and what would be refused without one statement.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from local_aws.kernel.iam.decision import Policies, Request, decide
from local_aws.kernel.iam.policies import Caller, parse, without


def as_document(entries: Iterable[tuple[Request, Policies, Any]]) -> dict[str, Any]:
    """The record as JSON.

    Returns
    -------
    ``{"policies": {id: text}, "requests": [...]}``; a request has ``caller``, ``action``, ``resource``, ``owner``, ``context``,
    the ids of the policies that had a say, ``allowed``, ``reason``, ``by``, ``calls``, ``count``.
    """
    texts: dict[str, str] = {}

    def kept(text: str | None) -> str | None:
        if text is None:
            return None
        key = hashlib.sha256(text.encode()).hexdigest()[:16]
        texts[key] = text
        return key

    requests = [
        {
            "caller": {
                "arn": request.caller.arn,
                "account": request.caller.account,
                "role": request.caller.role_arn,
            },
            "action": request.action,
            "resource": request.resource,
            "owner": request.owner,
            "context": {key: list(values) for key, values in request.context},
            "identity": [[name, kept(text)] for name, text in policies.identity],
            "boundary": kept(policies.boundary),
            "session": None if policies.session is None else [kept(text) for text in policies.session],
            "resourcePolicy": kept(policies.resource),
            "allowed": entry.decision.allowed,
            "reason": entry.decision.reason,
            "calls": sorted(call for call in entry.calls if call),
            "count": entry.count,
        }
        for request, policies, entry in entries
    ]
    return {"policies": texts, "requests": requests}


def asked(document: Mapping[str, Any]) -> Iterator[tuple[Request, Policies, Mapping[str, Any]]]:
    """The requests of a document, with the policies that had a say."""
    texts = document["policies"]
    for entry in document["requests"]:
        caller = Caller(entry["caller"]["arn"], entry["caller"]["account"], entry["caller"]["role"])
        context = tuple(sorted((key, tuple(values)) for key, values in entry["context"].items()))
        yield (
            Request(caller, entry["action"], entry["resource"], entry["owner"], context),
            Policies(
                tuple((name, texts[key]) for name, key in entry["identity"]),
                None if entry["boundary"] is None else texts[entry["boundary"]],
                None if entry["session"] is None else tuple(texts[key] for key in entry["session"]),
                None if entry["resourcePolicy"] is None else texts[entry["resourcePolicy"]],
            ),
            entry,
        )


@dataclass(frozen=True, order=True)
class Held:
    """A statement that somebody holds.

    Attributes
    ----------
    holder : the role's ARN; of a resource's own policy, the resource's.
    kind : "identity", "session" or "resource".
    policy : an inline policy's name, a managed one's ARN; of a session policy its number; "" for a resource's own policy.
    name : the statement's Sid, or its place.
    """

    holder: str
    kind: str
    policy: str
    name: str
    text: str
    place: int


def held(document: Mapping[str, Any]) -> list[Held]:
    """Every statement of each role and session that asked for something, and what resources' own policies allow.

    What those deny is no permission, and nothing would be refused without it.
    """
    found = set()
    for request, policies, _ in asked(document):
        if policies.resource is not None:
            holder = request.resource.partition("/")[0] if _is_object(request) else request.resource
            for place, statement in enumerate(parse(policies.resource).statements):
                if statement.allows:
                    found.add(Held(holder, "resource", "", statement.name, policies.resource, place))
        if request.caller.role_arn is None:
            continue
        texts = [("identity", name, text) for name, text in policies.identity]
        texts += [("session", str(number), text) for number, text in enumerate(policies.session or ())]
        for kind, policy, text in texts:
            for place, statement in enumerate(parse(text).statements):
                found.add(Held(request.caller.role_arn, kind, policy, statement.name, text, place))
    return sorted(found)


def _is_object(request: Request) -> bool:
    """Whether the policy is that of the bucket around it."""
    return request.action.startswith("s3:")


def refused_without(document: Mapping[str, Any], statement: Held) -> list[Request]:
    """What was allowed and would not be without a statement."""
    shorter = without(statement.text, statement.place)
    found = []
    for request, policies, entry in asked(document):
        if not entry["allowed"] or (
            statement.kind != "resource" and request.caller.role_arn != statement.holder
        ):
            continue
        changed = _changed(policies, statement, shorter)
        if changed is not None and not decide(request, changed).allowed:
            found.append(request)
    return found


def _changed(policies: Policies, statement: Held, shorter: str | None) -> Policies | None:
    """The policies without the statement; None where it is not among them."""
    if statement.kind == "resource":
        if policies.resource != statement.text:
            return None
        return Policies(policies.identity, policies.boundary, policies.session, shorter)
    if statement.kind == "identity":
        key = (statement.policy, statement.text)
        if key not in policies.identity:
            return None
        kept = [(n, shorter if (n, t) == key else t) for n, t in policies.identity]
        identity = tuple((name, text) for name, text in kept if text is not None)
        return Policies(identity, policies.boundary, policies.session, policies.resource)
    if policies.session is None or statement.text not in policies.session:
        return None
    texts = [shorter if text == statement.text else text for text in policies.session]
    session = tuple(text for text in texts if text is not None)
    return Policies(policies.identity, policies.boundary, session, policies.resource)


def refused(document: Mapping[str, Any]) -> list[str]:
    """What nothing allowed, a line for each, but for the administrator and for services that only ask."""
    return sorted(
        f"{entry['caller']['arn']}: {entry['action']} on {entry['resource']} {entry['reason']}"
        for entry in document["requests"]
        if not entry["allowed"]
    )
