"""Bad manifests by the hundred: each kind of mistake that people make, in each line of a manifest that has them all.

``python3 -m tests.unit.bad_manifests`` writes what is found in each to bad_manifests.json. A test holds the two in
step, so that a change of what is reported where is seen in review.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

from ecs_release.manifest import load

RECORD = Path(__file__).with_suffix(".json")

GOOD = """\
release: "4.0"
tasks:
  - service: cleanup
    cwRuleName: nightly
    image: 111111111111.dkr.ecr.eu-west-1.amazonaws.com/cleanup:2.0.0
services:
  - service: api
    clusterName: shop
    serviceName: api
    image: 111111111111.dkr.ecr.eu-west-1.amazonaws.com/api:1.2.3
    wave: 1
  - service: web
    clusterName: shop
    serviceName: web
    image: web@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef
"""
# The first line and the last one, an entry's first key, one in the middle and its last one, in both lists.
LINES = (1, 3, 4, 5, 7, 9, 10, 11, 15)

# Each gets what stands before the key, the key and its value, and returns the line (or lines) as somebody wrote it.
KINDS: dict[str, Callable[[str, str, str], str]] = {
    "tab in the indentation": lambda before, key, value: f"\t{before.lstrip(' ')}{key}: {value}",
    "tab before the value": lambda before, key, value: f"{before}{key}:\t{value} \t# comment",
    "tab in the value": lambda before, key, value: f"{before}{key}: {value}\tx",
    "no space behind the colon": lambda before, key, value: f"{before}{key}:{value}",
    "no space behind the dash": lambda before, key, value: f"{before.replace('- ', '-')}{key}: {value[1:]}",
    "no colon": lambda before, key, value: f"{before}{key} {value}",
    "second colon": lambda before, key, value: f"{before}{key}: {value}: more",
    "unclosed quote": lambda before, key, value: f'{before}{key}: "{value}',
    "unclosed single quote": lambda before, key, value: f"{before}{key}: '{value}",
    "quote that ends elsewhere": lambda before, key, value: f"{before}{key}: \"{value}'",
    "text behind a quote": lambda before, key, value: f"{before}{key}: '{value}' x",
    "quote over two lines": lambda before, key, value: f"{before}{key}: 'a\n          b'",
    "backslash": lambda before, key, value: f'{before}{key}: "{value}\\d"',
    "at sign": lambda before, key, value: f"{before}{key}: @{value}",
    "grave accent": lambda before, key, value: f"{before}{key}: `{value}`",
    "per cent": lambda before, key, value: f"{before}{key}: %{value}",
    "unclosed bracket": lambda before, key, value: f"{before}{key}: [{value}",
    "unclosed brace": lambda before, key, value: f"{before}{key}: {{{value}",
    "stray bracket": lambda before, key, value: f"{before}{key}: {value}\n]",
    "template": lambda before, key, value: f"{before}{key}: {{{{ value }}}}",
    "list behind the colon": lambda before, key, value: f"{before}{key}: - {value}",
    "line too deep": lambda before, key, value: f"   {before}{key}: {value}",
    "line not deep enough": lambda before, key, value: f"{before[1:]}{key}: {value}",
    "dash too many": lambda before, key, value: f"{before.replace('-', ' ')[:-2]}- {key}: {value}",
    "key twice": lambda before, key, value: f"{before}{key}: {value}\n{' ' * len(before)}{key}: {value}",
    "key misspelt": lambda before, key, value: f"{before}{key[:2]}{key[3:]}: {value}",
    "key of nothing here": lambda before, key, value: f"{before}desiredCount: {value}",
    "Cyrillic key": lambda before, key, value: f"{before}{key.replace('e', 'е')}: {value}",
    "zero width in the key": lambda before, key, value: f"{before}{key[:2]}\u200b{key[2:]}: {value}",
    "zero width in the value": lambda before, key, value: f"{before}{key}: {value[:2]}\u200b{value[2:]}",
    "direction in the value": lambda before, key, value: f"{before}{key}: {value[:2]}\u202e{value[2:]}",
    "en dash in the value": lambda before, key, value: f"{before}{key}: {value}–x",
    "full-width colon": lambda before, key, value: f"{before}{key}：{value}",
    "no-break space behind the colon": lambda before, key, value: f"{before}{key}:\u00a0{value}",
    "no-break space in the indentation": lambda before, key, value: f"\u00a0{before[1:]}{key}: {value}",
    "en dash begins the entry": lambda before, key, value: f"{before.replace('-', '–')}{key}: {value[1:]}",
    "bell": lambda before, key, value: f"{before}{key}: {value[:2]}\x07{value[2:]}",
    "next line": lambda before, key, value: f"{before}{key}: {value}\x85",
    "tag": lambda before, key, value: f"{before}{key}: !Ref {value}",
    "type": lambda before, key, value: f"{before}{key}: !!binary {value}",
    "anchor": lambda before, key, value: f"{before}{key}: &anchor {value}",
    "alias of nothing": lambda before, key, value: f"{before}{key}: *anchor",
    "merge of nothing": lambda before, key, value: f"{before}{key}: {value}\n{' ' * len(before)}<<: *base",
    "no value": lambda before, key, value: f"{before}{key}:",
    "value in brackets": lambda before, key, value: f"{before}{key}: [{value}]",
    "value in braces": lambda before, key, value: f"{before}{key}: {{{value}: x}}",
    "value with a space": lambda before, key, value: f"{before}{key}: {value} x",
    "variable": lambda before, key, value: f"{before}{key}: {value}${{TAG}}",
    "merge conflict": lambda before, key, value: (
        f"<<<<<<< HEAD\n{before}{key}: {value}\n=======\n{before}{key}: {value}x\n>>>>>>> main"
    ),
    "marker left over": lambda before, key, value: f"=======\n{before}{key}: {value}",
    "line missing": lambda before, key, value: f"{' ' * before.index('-')}-" if "-" in before else "",
    "second document": lambda before, key, value: f"{before}{key}: {value}\n---",
}


def manifests() -> dict[str, bytes]:
    """Return every bad manifest under its name: the files in bad_input/, and each kind in each line."""
    found = {path.stem: path.read_bytes() for path in (RECORD.parent / "bad_input").glob("*.yaml")}
    for kind, written in KINDS.items():
        for number in LINES:
            line = GOOD.splitlines()[number - 1]
            before, key, value = re.fullmatch(r"( *(?:- )?)(\w+): (.*)", line).groups()  # type: ignore[union-attr]
            lines = GOOD.splitlines()
            lines[number - 1] = written(before, key, value)
            text = "\n".join(lines) + "\n"
            if text != GOOD:
                found[f"{kind}, line {number}"] = text.encode()
    return dict(sorted(found.items()))


def places(data: bytes) -> list[str]:
    """Return code, line and column of each problem of a manifest, in file order."""
    validation = load(data)
    found = sorted([*validation.errors, *validation.warnings], key=lambda p: (p.line, p.column))
    return [f"{problem.code} {problem.line}:{problem.column}" for problem in found]


if __name__ == "__main__":
    record = {name: places(data) for name, data in manifests().items()}
    lines = ",\n".join(f"{json.dumps(name)}: {json.dumps(found)}" for name, found in record.items())
    RECORD.write_text(f"{{\n{lines}\n}}\n", encoding="utf-8")
