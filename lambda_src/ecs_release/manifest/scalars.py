"""Whether one value that is neither a list nor a mapping is what its key takes: the first rule that it breaks, in words."""

from __future__ import annotations

import difflib
import re

from ecs_release.manifest.arns import apart, arn_message
from ecs_release.manifest.characters import first_foreign, first_hidden, in_ascii
from ecs_release.manifest.images import image_problem, image_warning, placeholder_in
from ecs_release.manifest.keys import LONGEST_LABEL, Field
from ecs_release.manifest.problem import plain, shown, spelled_out

# How much of a key or name is looked at closely: more than any that is right has. An endless one may be behind an alias that
# thousands of entries use.
READ = 300


def odd_character(one: Field, text: str) -> str | None:
    """A name is ASCII; a label may have any letter that can be seen."""
    if one.kind != "label":
        return first_foreign(text)
    return first_hidden(text)


_GERMAN = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue", "ß": "ss", "Ä": "Ae", "Ö": "Oe", "Ü": "Ue"})


def without_it(one: Field, text: str) -> str:
    if one.kind == "label":
        return "remove it"
    meant = in_ascii(text[:READ].translate(_GERMAN))
    return (
        f"write {plain(meant, longest=100)}"
        if meant and meant.isascii()
        else "write ASCII letters and digits"
    )


# Each returns code and message of what is wrong, or None.
_Found = tuple[str, str] | None


def _check_label(one: Field, text: str) -> _Found:
    if re.search(r"[\n\r\t]", text):
        return "E071", f"the {one.name} {shown(text)} has a line break or tab; write it in one line"
    if len(text) > LONGEST_LABEL:
        return "E071", f"the {one.name} has {len(text)} characters; write at most {LONGEST_LABEL}"
    if found := _FILLED_IN.search(text) or _LEFT_BEHIND.fullmatch(text):
        return _placeholder(one, text, found[0])
    return None


# In a label, which is free text: what begins and ends as no prose does ("$5", "<b>" and "50%" stay).
_FILLED_IN = re.compile(r"\$\{[^}]*\}|\$\([^)]*\)|\{\{[^}]*\}\}")
# What is left of a template and is a name that AWS allows: as a whole, because MY__OLD__API may well be one.
_LEFT_BEHIND = re.compile(r"__[A-Za-z0-9]\w*__|_[A-Z][A-Z0-9_]*_|(?i:(?:change|replace)[_-]?me)")


def _placeholder(one: Field, text: str, found: str) -> _Found:
    message = f"the {one.name} {shown(text)} contains the placeholder {shown(found)}, and nothing fills it in"
    return "E071", f"{message}; write the finished {'text' if one.kind == 'label' else 'name'}"


def _check_integer(one: Field, text: str) -> _Found:
    bounds = (
        f"write a whole number from {one.minimum} to {one.maximum}, for example {one.name}: {one.example}"
    )
    if re.fullmatch(r"-?0[0-9]+", text):
        return (
            "E073",
            f"{plain(text, longest=100)} has zeros in front, which some readers take for base 8; {bounds}, without them",
        )
    if not re.fullmatch(r"0|-?[1-9][0-9]*", text):
        return "E073", f"{shown(text)} is not a whole number; {bounds}"
    if len(text) > 9 or not one.minimum <= int(text) <= one.maximum:
        return "E073", f"{plain(text, longest=100)} is out of range; {bounds}"
    return None


def _check_choice(one: Field, text: str) -> _Found:
    if text in one.choices:
        return None
    close = difflib.get_close_matches(text[:40].casefold(), one.choices, n=1)
    advice = f"did you mean {close[0]}?" if close else f"write {' or '.join(one.choices)}"
    return "E074", f"{one.name} is {shown(text)}; {advice}"


def _check_image(_: Field, text: str) -> _Found:
    return image_problem(text) or image_warning(text)


def _check_name(one: Field, text: str) -> _Found:
    if text.startswith("arn:"):
        return "E072", arn_message(one, text)
    if re.fullmatch(one.pattern, text):
        return _placeholder(one, text, text) if _LEFT_BEHIND.fullmatch(text) else None
    if placeholder := placeholder_in(text[:READ]):
        return _placeholder(one, text, placeholder)
    odd = next((c for c in text[:READ] if not re.fullmatch(one.pattern, c)), None)
    if odd is None:
        return "E071", f"the {one.name} has {len(text)} characters; write {one.rule}"
    known = {" ": "a space", "\n": "a line break", "\t": "a tab"}
    found = known.get(odd, f'"{spelled_out(odd)}"')
    advice = apart(one, text[:READ]) or one.rule
    return "E071", f"the {one.name} {shown(text)} contains {found}; write {advice}"


CHECKS = {
    "label": _check_label,
    "integer": _check_integer,
    "choice": _check_choice,
    "image": _check_image,
    "name": _check_name,
}
