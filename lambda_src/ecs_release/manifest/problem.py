"""What can be wrong with a manifest: the stable codes, and one problem with its place in the file.

A code never changes its meaning and is never used again for something else; gaps are room for new ones.
``docs/errors.md`` explains each code with a bad and a good example, and a test holds the two in step.
"""

from __future__ import annotations

from dataclasses import dataclass

CODES = {
    # The file as a whole
    "E001": "the file is missing or cannot be read",
    "E002": "the file is larger than 1 MiB",
    "E003": "the file is not UTF-8 text",
    "E004": "the file starts with a byte order mark",
    "E005": "a character that text must not contain",
    "E006": "nested deeper than 20 levels",
    "E007": "more entries than a release can have",
    "E008": "an unresolved Git merge conflict",
    "E009": "more problems than are listed",
    # Images
    "E010": "not an image reference",
    "E011": "an image written as a web address",
    "E012": "an image without a tag",
    "E013": "an image with the tag latest",
    "E014": "an image with a malformed digest",
    "E015": "an image repository with upper-case letters",
    "E016": "a variable or placeholder in an image",
    "E017": "an image with a malformed registry host",
    "E018": "an image with a malformed tag",
    "E019": "an image that contains a space or a line break",
    # YAML
    "E030": "a tab in the indentation",
    "E031": "a quote that is not closed",
    "E032": "a second colon in one line",
    "E033": "a bracket that is not closed",
    "E034": "not YAML",
    "E035": "an anchor, an alias or a merge key",
    "E036": "a YAML tag",
    "E037": "more than one YAML document",
    "E038": "a key written twice",
    "E039": "no space after the colon",
    "E040": "a line that is indented differently",
    # What the manifest is made of
    "E050": "an empty file",
    "E051": "a file that is not a manifest",
    "E052": "a value of the wrong type",
    "E053": "an unknown key",
    "E054": "a missing key",
    "E055": "a key without a value",
    "E056": "nothing to release",
    "E057": "two keys that exclude each other",
    "E058": "a key that needs another one",
    "E059": "a key of the other list",
    # Names and values
    "E070": "a look-alike, invisible or foreign character in a key or name",
    "E071": "a name that AWS does not allow",
    "E072": "an ARN where a name is expected",
    "E073": "a number that is not one, or out of its range",
    "E074": "a word that is none of the choices",
    "E075": "a code that can't be ignored",
    # Entries that belong together
    "E090": "the same container twice",
    "E091": "entries of one item that disagree",
    "E092": "a rule with and without targetId",
    # Warnings
    "W101": "a registry account that is not 12 digits long",
    "W102": "a number where text is meant",
    "W103": "a character in a comment that changes the direction of text",
    "W104": "a registry host that only looks like Amazon ECR's",
    "W105": "more warnings than are listed",
}


# Stands in a text for what could not be read and has been reported. A noncharacter, which no text may contain.
HOLE = "\ufdd0"

# Nobody reads more, and a hostile file shall not keep us busy.
MOST_PROBLEMS = 1000
TOO_MANY_PROBLEMS = (
    f"more than {MOST_PROBLEMS:,} problems; correct those listed first, the rest is not listed"
)


def more_warnings(number: int) -> str:
    """Return what is said of warnings that are not listed; they refuse nothing, so their number is all that is missing."""
    return f"{number:,} more {'warning is' if number == 1 else 'warnings are'} not listed; look at those listed first"


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong, or (codes that start with W) doubtful.

    ``line`` and ``column`` count from 1, columns in characters; both are 0 where there is no file.
    ``path`` is the place in the manifest, for example ``services[3].image``.
    """

    code: str
    line: int
    column: int
    path: str
    message: str


def one_line(problem: Problem, file_name: str = "") -> str:
    """Return the line a person reads.

    For example ``E012 deployment.yaml:12:14 services[3].image: "api" has no tag; write api:1.2.3 or ...``.
    """
    place = f"{file_name}:{problem.line}:{problem.column}" if problem.line else file_name
    path = f"{problem.path}:" if problem.path else ""
    return spelled_out(" ".join(part for part in (problem.code, place, path, problem.message) if part))


def shown(text: str, longest: int = 60) -> str:
    """Return ``text`` in double quotes, cut when long, safe for a terminal (see `spelled_out`)."""
    cut = text if len(text) <= longest else text[: longest - 3] + "..."
    return '"' + spelled_out(cut) + '"'


def plain(text: str, longest: int = 60) -> str:
    """Return ``text`` as `shown` does, without the quotes: as part of what is to be written."""
    return shown(text, longest)[1:-1]


def spelled_out(text: str) -> str:
    """Return ``text`` with each character that a terminal would not show as itself written as ``\\u200b``, a `HOLE` as ``...``."""
    return "".join(c if c.isprintable() else _escaped(c) for c in text.replace(HOLE, "..."))


def _escaped(character: str) -> str:
    if character in "\t\r\n":
        return repr(character)[1:-1]
    # Four digits behind \u and eight behind \U, as YAML and Python read them.
    return f"\\u{ord(character):04x}" if character <= "\uffff" else f"\\U{ord(character):08x}"
