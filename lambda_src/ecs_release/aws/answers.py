"""Members of AWS's answers, read with care.

An answer may lack what it always had, or hold something that nobody expects: a service of a kind that is new, a member that
means something else by now. That is the problem of the one item it is about, said in words, and never a traceback. A member
that is absent or null has its default; one of another type is never guessed at.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from traceback import extract_tb
from typing import Any

from ecs_release.errors import OddAnswerError
from ecs_release.observability import logger

# What reading an answer of another shape ends in, in botocore's parser as well as here.
_SURPRISES = (AttributeError, IndexError, KeyError, TypeError, ValueError)
_WORDS: Mapping[type, str] = {
    str: "a text",
    bool: "true or false",
    int: "a number",
    float: "a number",
    dict: "an object",
    list: "a list",
    datetime: "a time",
}


@contextmanager
def understanding(what: str) -> Iterator[None]:
    """Within this block whatever goes wrong because an answer has another shape than expected is an OddAnswerError.

    It says no value of the answer, because that may be anybody's.

    Parameters
    ----------
    what : whose answer it is, as the subject of a sentence.

    Raises
    ------
    OddAnswerError
        instead of what a lookup or a conversion raised.
    """
    try:
        yield
    except _SURPRISES as error:
        place = extract_tb(error.__traceback__)[-1]
        where = f"{Path(place.filename).name}:{place.lineno}"
        logger.warning("an odd answer", extra={"what": what, "error": type(error).__name__, "where": where})
        lacking = f"it has no {error.args[0]}" if isinstance(error, KeyError) and error.args else ""
        raise OddAnswerError(
            f"{what} has an unexpected form: {lacking or f'{type(error).__name__} at {where}'}"
        ) from error


def text(body: Mapping[str, object], name: str, default: str = "") -> str:
    value = _member(body, name, str)
    return default if value is None else str(value)


def needed_text(body: Mapping[str, object], name: str, of: str) -> str:
    """A text without which nothing can be said.

    Raises
    ------
    OddAnswerError
        when there is none.
    """
    value = text(body, name)
    if not value:
        raise OddAnswerError(f"{of} has no {name}")
    return value


def mapping(body: Mapping[str, object], name: str) -> Mapping[str, Any]:
    value: Mapping[str, Any] = _member(body, name, dict) or {}
    return value


def entries(body: Mapping[str, object], name: str) -> list[Mapping[str, Any]]:
    """The objects of a list; a null among them counts as absent."""
    found = [entry for entry in _member(body, name, list) or () if entry is not None]
    for entry in found:
        if not isinstance(entry, dict):
            raise OddAnswerError(f"{name} has {_kind(entry)} among its entries, not only objects")
    return found


def number(body: Mapping[str, object], name: str, default: int = 0) -> int:
    value = _member(body, name, int, float)
    return default if value is None else int(value)


def fraction(body: Mapping[str, object], name: str, default: float) -> float:
    value = _member(body, name, int, float)
    return default if value is None else float(value)


def flag(body: Mapping[str, object], name: str) -> bool:
    return bool(_member(body, name, bool))


def moment(body: Mapping[str, object], name: str) -> datetime | None:
    value: datetime | None = _member(body, name, datetime)
    return value


def _member(body: Mapping[str, object], name: str, *kinds: type) -> Any:
    value = body.get(name)
    if value is None or (isinstance(value, kinds) and (bool in kinds or not isinstance(value, bool))):
        return value
    raise OddAnswerError(f"{name} is {_kind(value)}, not {_WORDS[kinds[0]]}")


def _kind(value: Any) -> str:
    return next((word for kind, word in _WORDS.items() if isinstance(value, kind)), type(value).__name__)
