"""The reading of YAML is PyYAML's, made faster: it must find the very same structure."""

from __future__ import annotations

import yaml
from ecs_release.manifest.source import _Events
from hypothesis import given
from hypothesis import strategies as st

PIECES = [
    *(
        "a",
        "b:",
        "- ",
        "-",
        ": ",
        ":",
        "\n",
        "\n  ",
        "\n    ",
        " ",
        "# c",
        "'q'",
        '"q"',
        "'it''s'",
        '"\\x41"',
        "''",
        "? ",
    ),
    *(
        "[",
        "]",
        "{",
        "}",
        ",",
        "|\n  text\n",
        ">\n  text\n",
        "&x ",
        "*x",
        "!t ",
        "1:30",
        "---\n",
        "...\n",
        "é",
        "\U0001f600",
    ),
]


def events(loader: object) -> list[tuple[object, ...]]:
    found: list[tuple[object, ...]] = []
    try:
        while loader.check_event():  # type: ignore[attr-defined]
            event = loader.get_event()  # type: ignore[attr-defined]
            start, end = event.start_mark, event.end_mark
            value = getattr(event, "value", None)
            found.append(
                (type(event), value, start.line, start.column, start.index, end.line, end.column, end.index)
            )
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        found.append((type(error), mark and (mark.line, mark.column)))
    return found


@given(st.lists(st.sampled_from(PIECES), max_size=25).map("".join))
def test_the_same_events_at_the_same_places_as_pyyaml(text: str) -> None:
    assert events(_Events(text)) == events(yaml.SafeLoader(text))
