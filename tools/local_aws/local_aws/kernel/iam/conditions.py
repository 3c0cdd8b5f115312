"""Condition operators, as AWS documents them.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_condition_operators.html
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-logic-multiple-context-keys-or-values.html
"""

from __future__ import annotations

import functools
import ipaddress
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

Context = Mapping[str, tuple[str, ...]]
"""A request's condition keys, in small letters, with their values."""


class PolicyError(ValueError):
    """A policy that can't be read or evaluated."""


@dataclass(frozen=True)
class Condition:
    """One operator on one key.

    Attributes
    ----------
    quantifier : "", "ForAllValues" or "ForAnyValue".
    if_exists : a missing key is no refusal.
    """

    operator: str
    quantifier: str
    if_exists: bool
    key: str
    values: tuple[str, ...]


@functools.lru_cache(8192)
def _like(pattern: str, ignore_case: bool = False) -> re.Pattern[str]:
    parts = (
        ".*" if part == "*" else "." if part == "?" else re.escape(part)
        for part in re.split(r"([*?])", pattern)
    )
    return re.compile("".join(parts) + r"\Z", re.DOTALL | (re.IGNORECASE if ignore_case else 0))


def _arn_like(wanted: str, given: str) -> bool:
    """Each of an ARN's six parts is compared by itself; ArnEquals and ArnLike behave alike."""
    wanted_parts, given_parts = wanted.split(":", 5), given.split(":", 5)
    return len(wanted_parts) == len(given_parts) and all(
        _like(left).match(right) for left, right in zip(wanted_parts, given_parts, strict=True)
    )


def _number(compare: Callable[[float, float], bool]) -> Callable[[str, str], bool]:
    def test(wanted: str, given: str) -> bool:
        try:
            return compare(float(given), float(wanted))
        except ValueError:
            return False

    return test


def _moment(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        moment = datetime.fromisoformat(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _date(compare: Callable[[float, float], bool]) -> Callable[[str, str], bool]:
    def test(wanted: str, given: str) -> bool:
        try:
            return compare(_moment(given), _moment(wanted))
        except ValueError:
            return False

    return test


def _address(wanted: str, given: str) -> bool:
    try:
        return ipaddress.ip_address(given) in ipaddress.ip_network(wanted, strict=False)
    except ValueError:
        return False


_TESTS: dict[str, Callable[[str, str], bool]] = {
    "StringEquals": lambda wanted, given: wanted == given,
    "StringEqualsIgnoreCase": lambda wanted, given: wanted.lower() == given.lower(),
    "StringLike": lambda wanted, given: _like(wanted).match(given) is not None,
    "ArnEquals": _arn_like,
    "ArnLike": _arn_like,
    "Bool": lambda wanted, given: wanted.lower() == given.lower(),
    "IpAddress": _address,
    "NumericEquals": _number(lambda given, wanted: given == wanted),
    "NumericLessThan": _number(lambda given, wanted: given < wanted),
    "NumericLessThanEquals": _number(lambda given, wanted: given <= wanted),
    "NumericGreaterThan": _number(lambda given, wanted: given > wanted),
    "NumericGreaterThanEquals": _number(lambda given, wanted: given >= wanted),
    "DateEquals": _date(lambda given, wanted: given == wanted),
    "DateLessThan": _date(lambda given, wanted: given < wanted),
    "DateLessThanEquals": _date(lambda given, wanted: given <= wanted),
    "DateGreaterThan": _date(lambda given, wanted: given > wanted),
    "DateGreaterThanEquals": _date(lambda given, wanted: given >= wanted),
}
_NEGATED = {
    "StringNotEquals": "StringEquals",
    "StringNotEqualsIgnoreCase": "StringEqualsIgnoreCase",
    "StringNotLike": "StringLike",
    "ArnNotEquals": "ArnEquals",
    "ArnNotLike": "ArnLike",
    "NotIpAddress": "IpAddress",
    "NumericNotEquals": "NumericEquals",
    "DateNotEquals": "DateEquals",
}


def parse_conditions(body: Mapping[str, Mapping[str, Any]]) -> tuple[Condition, ...]:
    """Read the element ``Condition``.

    Raises
    ------
    PolicyError
        for an operator that is not known here.
    """
    found = []
    for written, pairs in body.items():
        quantifier, _, operator = written.rpartition(":")
        if_exists = operator.endswith("IfExists")
        operator = operator.removesuffix("IfExists")
        known = operator in _TESTS or operator in _NEGATED or operator == "Null"
        if not known or quantifier not in ("", "ForAllValues", "ForAnyValue"):
            raise PolicyError(f"the condition operator {written} is not evaluated here")
        for key, value in pairs.items():
            values = value if isinstance(value, list) else [value]
            texts = tuple(str(v).lower() if isinstance(v, bool) else str(v) for v in values)
            found.append(Condition(operator, quantifier, if_exists, key.lower(), texts))
    return tuple(found)


def holds(condition: Condition, context: Context) -> bool:
    """Tell whether a condition is true for a request."""
    from local_aws.kernel.iam.policies import fill  # noqa: PLC0415 (policies are made of conditions)

    given = context.get(condition.key)
    if condition.operator == "Null":
        return any(wanted == str(given is None).lower() for wanted in condition.values)
    if given is None:
        # "If the key that you specify in a policy condition is not present in the request context, the values do not
        # match"; negated operators and ForAllValues are true then.
        return (
            condition.if_exists
            or condition.quantifier == "ForAllValues"
            or (condition.operator in _NEGATED and condition.quantifier == "")
        )
    negated = condition.operator in _NEGATED
    test = _TESTS[_NEGATED.get(condition.operator, condition.operator)]
    wanted = [
        value.replace("\0", "")
        for text in condition.values
        if (value := fill(text, context) if "${" in text else text) is not None
    ]

    def fits(value: str) -> bool:
        return any(test(one, value) for one in wanted) is not negated

    if condition.quantifier == "ForAllValues":
        return all(map(fits, given))
    if negated and not condition.quantifier:
        return all(map(fits, given))
    return any(map(fits, given))
