"""``python -m scripts.terraform_docs``: write the tables of inputs and outputs of the root and of each module from their HCL.

``--check`` writes nothing and fails when one is stale. A table stands between ``<!-- inputs and outputs -->`` and ``<!-- end -->``.
"""

from __future__ import annotations

import re
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from scripts.checkout import ROOT

BEGIN, END = "<!-- inputs and outputs -->", "<!-- end -->"
_BLOCK = re.compile(r'^(variable|output) "([^"]+)" \{\n(.*?)^\}', re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Entry:
    """An input or an output.

    Attributes
    ----------
    type, default : HCL in one line, and None for an output, or for an input that has to be given.
    """

    name: str
    description: str
    type: str | None = None
    default: str | None = None


def main(arguments: list[str]) -> int:
    """Write or check every table; 1 when one is stale."""
    stale = []
    for folder in (ROOT, *sorted((ROOT / "modules").iterdir())):
        readme = folder / "README.md"
        text = readme.read_text(encoding="utf-8")
        before, found, rest = text.partition(BEGIN)
        after = rest.partition(END)[2]
        if not found:
            raise SystemExit(f"{readme.relative_to(ROOT)} has no {BEGIN}")
        wanted = f"{before}{BEGIN}\n\n{tables(folder)}\n{END}{after}"
        if wanted != text:
            stale.append(readme)
            if "--check" not in arguments:
                readme.write_text(wanted, encoding="utf-8")
    for readme in stale if "--check" in arguments else ():
        print(f"{readme.relative_to(ROOT)} is stale. Run `make docs` and commit it.", file=sys.stderr)
    return int(bool(stale) and "--check" in arguments)


def tables(folder: Path) -> str:
    """The Markdown tables of one module."""
    inputs = list(entries(folder / "variables.tf", "variable"))
    outputs = list(entries(folder / "outputs.tf", "output"))
    lines = ["| input | type | default | |", "|---|---|---|---|"] if inputs else ["No inputs."]
    lines += [
        f"| `{e.name}` | `{_cell(e.type or 'any')}` | {_default(e)} | {_cell(e.description)} |"
        for e in inputs
    ]
    lines += ["", *(["| output | |", "|---|---|"] if outputs else ["No outputs."])]
    lines += [f"| `{e.name}` | {_cell(e.description)} |" for e in outputs]
    return "\n".join(lines) + "\n"


def entries(path: Path, kind: str) -> Iterator[Entry]:
    """The variables or outputs of a file, in its order."""
    if not path.exists():
        return
    for found, name, body in _BLOCK.findall(path.read_text(encoding="utf-8")):
        if found == kind:
            of = dict(_attributes(body))
            yield Entry(name, _text(of.get("description", "")), of.get("type"), of.get("default"))


def _attributes(body: str) -> Iterator[tuple[str, str]]:
    """Attributes two spaces in, with their whole values."""
    parts = re.split(r"^  (\w+)\s*= ", body, flags=re.MULTILINE)[1:]
    for name, value in zip(parts[::2], parts[1::2], strict=True):
        own = re.split(r"^  \w+ \{|^\s*#", value, maxsplit=1, flags=re.MULTILINE)[0]
        yield name, own.strip("\n") if own.startswith("<<") else _in_one_line(own)


def _in_one_line(value: str) -> str:
    """HCL whose members stand in a line each, with commas instead."""
    text = ", ".join(" ".join(line.split()) for line in value.splitlines() if line.strip())
    return re.sub(r"([({[]),", r"\1", re.sub(r", ([)}\]])", r" \1", text))


def _text(value: str) -> str:
    if value.startswith("<<-"):
        lines = value.splitlines()[1:-1]
        return "\n".join(textwrap.dedent("\n".join(lines)).splitlines())
    return value.strip('"').replace('\\"', '"')


def _default(entry: Entry) -> str:
    return f"`{_cell(entry.default)}`" if entry.default else "required"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", "<br>")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
