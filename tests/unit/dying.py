"""An invocation that dies in the middle of a call."""

from __future__ import annotations


class Died(BaseException):
    """Nothing in the product catches it."""


def die() -> None:
    raise Died
