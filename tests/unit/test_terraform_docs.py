"""The tables of inputs and outputs are those of the HCL, and say something of each."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from scripts import terraform_docs
from scripts.checkout import ROOT

MOST_INPUTS = 20
MODULES = [ROOT, *sorted((ROOT / "modules").iterdir())]


def test_the_committed_tables_are_up_to_date() -> None:
    assert terraform_docs.main(["--check"]) == 0, "run `make docs`"


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.name)
def test_every_input_and_output_is_described(module: Path) -> None:
    for file, kind in (("variables.tf", "variable"), ("outputs.tf", "output")):
        path = module / file
        found = list(terraform_docs.entries(path, kind))
        assert len(found) == path.read_text(encoding="utf-8").count(f"\n{kind} ") + path.read_text(
            encoding="utf-8"
        ).startswith(kind)
        assert [entry.name for entry in found if not entry.description] == []


def test_each_input_of_the_root_is_for_somebody_and_there_are_few() -> None:
    inputs = [entry.name for entry in terraform_docs.entries(ROOT / "variables.tf", "variable")]
    assert len(inputs) <= MOST_INPUTS, "what can do without one?"
    text = (ROOT / "docs" / "inputs.md").read_text(encoding="utf-8")
    from_the_start, since = (
        dict(re.findall(r"^\| `(\w+)` \| (.+) \|$", part, re.MULTILINE))
        for part in text.split("## Asked for since")
    )
    assert len(from_the_start) == 15, 'a new input belongs into the table "Asked for since" of docs/inputs.md'
    described = {**from_the_start, **since}
    assert [name for name in inputs if name not in described] == [], "say in docs/inputs.md who asked for it"
    assert [name for name in described if name not in inputs] == [], "docs/inputs.md has a line too many"
    assert [name for name, who in since.items() if "https://" not in who] == [], "name a report"


def test_a_stale_table_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "modules").mkdir()
    (tmp_path / "README.md").write_text("a\n<!-- inputs and outputs --><!-- end -->\nb\n")
    (tmp_path / "variables.tf").write_text(
        'variable "one" {\n  description = <<-EOT\n    first\n    second | third\n  EOT\n'
        "  type        = object({\n    a = optional(string)\n    b = number\n  })\n\n  validation {\n    condition = true\n  }\n}\n"
    )
    monkeypatch.setattr(terraform_docs, "ROOT", tmp_path)
    assert terraform_docs.main(["--check"]) == 1
    assert "README.md is stale. Run `make docs`" in capsys.readouterr().err
    assert terraform_docs.main([]) == 0
    text = (tmp_path / "README.md").read_text()
    assert (
        "| `one` | `object({ a = optional(string), b = number })` | required | first<br>second \\| third |"
        in text
    )
    assert text.startswith("a\n")
    assert text.endswith("\nb\n")
    assert terraform_docs.main(["--check"]) == 0
