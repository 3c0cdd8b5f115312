"""Characters that look like others, or like nothing at all, in names that people compare by eye."""

from __future__ import annotations

import re
import unicodedata

# Letters of other scripts, and punctuation, that most fonts draw like the ASCII character beside them.
_PAIRS = (
    "аa вb еe ѐe ёe зz іi їi ј\u006a кk мm нh оo рp сc тt уy хx ѕs ԁd һh ӏl ԛq ԝw ѵv "
    "АA ВB ЕE ЅS ІI ЈJ КK МM НH ОO РP СC ТT УY ХX ԌG "
    "αa εe ιi κk νv οo ρp τt υu χx ΑA ΒB ΕE ΖZ ΗH ΙI ΚK ΜM ΝN ΟO ΡP ΤT ΥY ΧX "
    "ıi ȷj ɑa ɡg ßb ‐- ‑- ‒- –- —- ―- −- ․. ∕/ ⁄/ ꞉: ∶:"
)
_LOOKS_LIKE = str.maketrans({pair[0]: pair[1] for pair in _PAIRS.split()})

# Invisible although Unicode files them under letters and marks: fillers, variation selectors, blanks.
_BLANKS = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0") | frozenset(
    map(chr, range(0xFE00, 0xFE10))
)
# They change the direction of the text after them, so that a reader sees another order than the machine.
BIDIRECTIONAL = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"

_FOREIGN = re.compile(r"[^\x00-\x7f]")
# They look like the colon between a key and its value.
ODD_COLONS = "：﹕︓꞉∶"


def is_invisible(character: str) -> bool:
    """Return whether ``character`` leaves no ink: controls, zero width, bidirectional, odd spaces."""
    return not character.isprintable() or character in _BLANKS


# Of the code points that no Unicode version has assigned so far, those that leave no ink whenever one does: noncharacters, and
# what DerivedCoreProperties.txt lists as Default_Ignorable_Code_Point.
# https://www.unicode.org/Public/UCD/latest/ucd/DerivedCoreProperties.txt
_NEVER_SEEN = re.compile("[\u2065\ufdd0-\ufdef\ufff0-\ufff8\ufffe\uffff\U000e0000-\U000e0fff]")
# What joins and varies pictures: U+200D between two, U+FE0E and U+FE0F behind one, or within a keycap such as 1 U+FE0F U+20E3.
# https://www.unicode.org/reports/tr51/#EBNF_and_Regex
_IN_A_PICTURE = re.compile(
    r"(?<=[^\x00-\x7f\w\s])[\ufe0e\ufe0f]|(?<=[0-9#*])\ufe0f(?=\u20e3)|(?<=[^\x00-\x7f\w\s])\u200d(?=[^\x00-\x7f\w\s])"
)


def first_hidden(text: str) -> str | None:
    """Return the first character of a free text that leaves no ink, line breaks and tabs aside, or None.

    The same with each version of Python: what is not assigned to a character yet, as far as this Python knows, may be a new emoji.
    """
    return next((c for c in _IN_A_PICTURE.sub("", text) if c not in "\n\r\t" and _is_hidden(c)), None)


def _is_hidden(character: str) -> bool:
    if unicodedata.category(character) == "Cn":
        return (ord(character) & 0xFFFE) == 0xFFFE or _NEVER_SEEN.match(character) is not None
    return is_invisible(character)


def in_ascii(text: str) -> str:
    """Return what ``text`` looks like to a reader, in ASCII as far as there is such a thing."""
    visible = "".join(c for c in text if not is_invisible(c))
    plain = unicodedata.normalize("NFKD", visible.translate(_LOOKS_LIKE)).translate(_LOOKS_LIKE)
    return "".join(c for c in plain if not unicodedata.combining(c))


def described(character: str) -> str:
    """Return code point, name and oddity: ``U+0435 CYRILLIC SMALL LETTER IE, which looks like "e"``."""
    name = unicodedata.name(character, "")
    point = f"U+{ord(character):04X}" + (f" {name}" if name else "")
    if character in BIDIRECTIONAL:
        return f"{point}, which is invisible and changes the direction of the text after it"
    if is_invisible(character):
        return (
            f"{point}, which is invisible"
            if not character.isspace()
            else f"{point}, which is not a plain space"
        )
    look = in_ascii(character)
    if look.isascii() and look.isprintable() and look and character.isalpha() and _is_latin(name):
        return f"{point}, which is no ASCII letter"
    return f'{point}, which looks like "{look}"' if look.isascii() and look else point


def _is_latin(name: str) -> bool:
    return name.startswith("LATIN") and "FULLWIDTH" not in name


def first_foreign(text: str) -> str | None:
    """Return the first character of ``text`` beyond ASCII, or None."""
    found = _FOREIGN.search(text)
    return found[0] if found else None


def first_odd_colon(text: str) -> str | None:
    """Return the first character of ``text`` that only looks like a colon, or None."""
    return next((c for c in text if c in ODD_COLONS), None)
