"""Passing trouble, told from a verdict: throttles, faults of a service, broken connections, expired credentials."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError
from botocore.exceptions import ConnectionError as NoConnectionError
from botocore.parsers import ResponseParserError

from ecs_release.errors import OddAnswerError, PassingError, TargetUnreachableError, in_one_line

PASSING = (ClientError, BotoCoreError, TargetUnreachableError, PassingError, OddAnswerError)
"""What reading something ends in that can't be read now, or of which AWS says something odd: it is read again in the next round,
and becomes a verdict only when there is no more time."""

# The SDKs' list (https://docs.aws.amazon.com/sdkref/latest/guide/feature-retry-behavior.html) without LimitExceededException,
# by which ECS means a quota of resources, and that does not pass
# (https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_CreateCluster.html). SlowDown is Amazon S3's.
THROTTLING_CODES = frozenset(
    {
        "BandwidthLimitExceeded",
        "EC2ThrottledException",
        "PriorRequestNotComplete",
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "RequestThrottled",
        "RequestThrottledException",
        "SlowDown",
        "ThrottledException",
        "Throttling",
        "ThrottlingException",
        "TooManyRequestsException",
        "TransactionInProgressException",
    }
)

# https://docs.aws.amazon.com/AmazonECS/latest/APIReference/CommonErrors.html and its like in the other services
EXPIRED_CODES = frozenset({"ExpiredToken", "ExpiredTokenException", "RequestExpired"})

# Faults of the service that may come with a status below 500: ECS's ServerException
# (https://docs.aws.amazon.com/AmazonECS/latest/APIReference/CommonErrors.html), the SDKs' list, and a write to DynamoDB that
# meets a transaction (https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_UpdateItem.html).
_FAULT_CODES = frozenset(
    {
        "InternalError",
        "RequestTimeout",
        "RequestTimeoutException",
        "ServerException",
        "TransactionConflictException",
    }
)

# Why DynamoDB cancels a transaction, where that passes; a condition that does not hold is a verdict
# (https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_TransactWriteItems.html).
_CANCELLED = "TransactionCanceledException"
_CANCELLED_BY_THROTTLE = frozenset({"ThrottlingError", "ProvisionedThroughputExceeded"})
_CANCELLED_BY_ANOTHER = frozenset({"TransactionConflict"})

# Not 501: what a service does not know it will not know in a minute.
_FAULT_STATUSES = frozenset({500, 502, 503, 504})


def error_code(answer: Any) -> str:
    """The error code of a parsed answer, a ClientError, or ""."""
    response = answer.response if isinstance(answer, ClientError) else answer
    if not isinstance(response, Mapping):
        return ""
    error = response.get("Error")
    return str(error.get("Code", "")) if isinstance(error, Mapping) else ""


def explain(error: Exception) -> str:
    """One line for a person: the service's own code and words, without the SDK's wrapping."""
    if isinstance(error, ClientError):
        details = error.response.get("Error", {})
        message = in_one_line(str(details.get("Message") or details.get("message") or ""))
        code = in_one_line(str(details.get("Code", ("error" if message else error))))
        return f"{code}: {message}" if message else code
    return in_one_line(str(error)) or type(error).__name__


def trouble(answer: Any) -> str:
    """What is passing about an answer or an error: "throttled", "fault", "expired", or "" for a verdict.

    Parameters
    ----------
    answer : a parsed answer, a ClientError, or what was raised instead of an answer.
    """
    if isinstance(answer, Exception) and not isinstance(answer, ClientError):
        # No connection, no answer, or one that breaks off. Anything else was never sent: no credentials, a wrong argument.
        broken = isinstance(answer, HTTPClientError | NoConnectionError | ResponseParserError)
        return "fault" if broken else ""
    code = error_code(answer)
    if code == _CANCELLED:
        return _why_cancelled(answer)
    if code in THROTTLING_CODES:
        return "throttled"
    if code in EXPIRED_CODES:
        return "expired"
    response = answer.response if isinstance(answer, ClientError) else answer
    status = response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    return "fault" if code in _FAULT_CODES or status in _FAULT_STATUSES else ""


def refused(error: Exception) -> str:
    """Why a service refuses a call for good, most often for want of a permission, for a person; "" where that may pass."""
    return "" if not isinstance(error, ClientError) or trouble(error) else explain(error).rstrip(".")


def _why_cancelled(answer: Any) -> str:
    response = answer.response if isinstance(answer, ClientError) else answer
    reasons = {str(reason.get("Code")) for reason in response.get("CancellationReasons", ())} - {"None"}
    if not reasons or reasons - _CANCELLED_BY_THROTTLE - _CANCELLED_BY_ANOTHER:
        return ""
    return "throttled" if reasons & _CANCELLED_BY_THROTTLE else "fault"
