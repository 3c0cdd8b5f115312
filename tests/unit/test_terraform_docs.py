"""The tables of inputs and outputs are those of the HCL, and say something of each."""

from __future__ import annotations

from pathlib import Path

import pytest

from scripts import terraform_docs
from scripts.checkout import ROOT

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
