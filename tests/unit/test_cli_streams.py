"""A manifest from standard input, a document to a stream or a file: nothing is mixed into it, and no manifest is overwritten."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ecs_release.cli.main import main
from ecs_release.cli.orchestrator import Orchestrator
from ecs_release.manifest import from_document, load

ROOT = Path(__file__).parents[2]
VALID = "services:\n  - {service: api, clusterName: shop, serviceName: api, image: 'api:1.2.3'}\n"
DOUBTFUL = "release: Größe\n" + VALID.replace("api:1.2.3", "123.dkr.ecr.eu-west-1.amazonaws.com/api:1.2.3")
INVALID = VALID.replace("api:1.2.3", "api")
STANDARD_OUTPUT = ("-", "/dev/stdout", "/dev/fd/1", "/dev/../dev/stdout", "/proc/self/fd/1")
STANDARD_ERROR = ("/dev/stderr", "/dev/fd/2", "/proc/self/fd/2")


def run(folder: Path, *arguments: str, text: str = "", **environment: str) -> tuple[int, str, str]:
    """Run the command with its streams in files, as a build's log has them: exit status and what they hold."""
    with (folder / "out").open("wb") as out, (folder / "err").open("wb") as err:
        done = subprocess.run(
            [sys.executable, "-m", "ecs_release", *arguments],
            check=False,
            input=text.encode(),
            stdout=out,
            stderr=err,
            cwd=folder,
            env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT / "lambda_src"), **environment},
        )
    return done.returncode, (folder / "out").read_text(), (folder / "err").read_text(errors="replace")


@pytest.mark.parametrize("more", [[], ["--json"]], ids=["text", "json"])
@pytest.mark.parametrize("place", [*STANDARD_OUTPUT, *STANDARD_ERROR])
def test_a_stream_gets_the_document_and_nothing_else(place: str, more: list[str], tmp_path: Path) -> None:
    (tmp_path / "m.yaml").write_text(DOUBTFUL)
    names = {path.name for path in tmp_path.iterdir()}
    status, out, err = run(tmp_path, "compile", "m.yaml", "-o", place, *more)
    assert status == 0
    document, said = (out, err) if place in STANDARD_OUTPUT else (err, out)
    assert from_document(json.loads(document)).manifest == load(DOUBTFUL.encode()).manifest
    assert "W101" in said
    assert {path.name for path in tmp_path.iterdir()} == names | {"out", "err"}


@pytest.mark.parametrize("encoding", ["utf-8", "ascii", "utf-16"])
def test_a_stream_gets_the_very_bytes_that_a_file_gets(encoding: str, tmp_path: Path) -> None:
    (tmp_path / "m.yaml").write_text(DOUBTFUL)
    assert run(tmp_path, "compile", "m.yaml", "-o", "file.json")[0] == 0
    assert run(tmp_path, "compile", "m.yaml", "-o", "-", PYTHONIOENCODING=encoding)[0] == 0
    assert (tmp_path / "out").read_bytes() == (tmp_path / "file.json").read_bytes()


def test_an_invalid_manifest_leaves_standard_output_empty(tmp_path: Path) -> None:
    status, out, err = run(tmp_path, "compile", "-", "-o", "-", text=INVALID)
    assert (status, out) == (2, "")
    assert err.startswith("E012 standard input:2:")


@pytest.mark.parametrize(
    ("text", "status", "said"),
    [(VALID, 0, "standard input is valid"), (INVALID, 2, "E012 standard input:2:64")],
)
def test_a_manifest_comes_from_standard_input(text: str, status: int, said: str, tmp_path: Path) -> None:
    (tmp_path / "-").write_text("tasks: 1\n")
    ended, out, _ = run(tmp_path, "validate", "-", text=text)
    assert (ended, out[: len(said)]) == (status, said)
    assert run(tmp_path, "validate", "./-")[0] == 2, "a file of that name"


@pytest.mark.parametrize("stdin", [None, SimpleNamespace(buffer=None)])
@pytest.mark.parametrize(
    "command", [["validate", "-"], ["compile", "-", "-o", "-"], ["plan", "-"], ["deploy", "-"]]
)
def test_no_standard_input_is_a_problem_like_any_other(
    stdin: Any, command: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdin", stdin)
    assert main(command) in (1, 2)
    printed = capsys.readouterr()
    assert "E001 standard input" in printed.out + printed.err


def test_a_folder_as_standard_input_is_a_problem_like_any_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def read(_: int) -> bytes:
        raise IsADirectoryError(21, "Is a directory")

    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=SimpleNamespace(read=read)))
    assert main(["validate", "-"]) == 2
    assert "E001 standard input cannot be read: Is a directory" in capsys.readouterr().out


# --- what can't be written, and what must not be ---


UNWRITABLE = {
    "a name too long": "x" * 300,
    "a folder with a name too long": "x" * 300 + "/out.json",
    "a path too long": "/".join(["x" * 200] * 30),
    "no such folder": "none/out.json",
    "a folder": ".",
    "a file as folder": "file/out.json",
    "a link to itself": "loop",
    "below a link to itself": "loop/out.json",
    "nothing": "",
}


@pytest.mark.parametrize("case", UNWRITABLE)
def test_what_can_t_be_written_is_status_2_whatever_the_reason(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("loop").symlink_to("loop")
    Path("file").touch()
    Path("m.yaml").write_text(VALID)
    before = {path.name for path in tmp_path.iterdir()}
    assert main(["compile", "m.yaml", "-o", UNWRITABLE[case]]) == 2
    assert "choose another place with -o" in capsys.readouterr().err
    assert {path.name for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize("length", [1, 200, 250, 255])
def test_every_name_that_the_disk_takes_is_taken(length: int, tmp_path: Path) -> None:
    (tmp_path / "m.yaml").write_text(VALID)
    assert main(["compile", str(tmp_path / "m.yaml"), "-o", str(tmp_path / ("x" * length))]) == 0
    assert {path.name for path in tmp_path.iterdir()} == {"m.yaml", "x" * length}


def same(folder: Path) -> list[str]:
    (folder / "link").symlink_to("m.yaml")
    os.link(folder / "m.yaml", folder / "hard")
    return ["m.yaml", "./m.yaml", str(folder / "m.yaml"), "link", "hard"]


@pytest.mark.parametrize(
    "command", [["compile", "m.yaml", "-o"], ["plan", "m.yaml", "--html"], ["compile", "-", "-o"]]
)
def test_the_manifest_is_not_overwritten_under_any_of_its_names(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Orchestrator, "find", lambda _: pytest.fail("it went on"))
    Path("m.yaml").write_text(VALID)
    for place in same(tmp_path):
        with Path("m.yaml").open("rb") as stdin:
            monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=stdin, fileno=stdin.fileno))
            assert main([*command, place]) == 2
        assert "is the manifest itself" in capsys.readouterr().err
    assert Path("m.yaml").read_text() == VALID


@pytest.mark.parametrize("place", ["-", "page.html"])
def test_a_plan_s_page_goes_where_compile_would_write(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from ecs_release.steps import plan as planning

    document = {
        "digest": "d" * 64,
        "release": "4.0",
        "counts": {"update": 0, "unchanged": 0, "blocked": 0},
        "wayBack": True,
        "items": [],
    }
    orchestrator = SimpleNamespace(store=lambda: None, reader=lambda _: None)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Orchestrator, "find", lambda _: orchestrator)
    monkeypatch.setattr(planning, "plan", lambda *_: document)
    Path("m.yaml").write_text(VALID)
    assert main(["plan", "m.yaml", "--html", place]) == 0
    printed = capsys.readouterr()
    written, said = (printed.out, printed.err) if place == "-" else (Path(place).read_text(), printed.out)
    assert written.startswith("<!doctype html>")
    assert written.endswith("</html>\n")
    assert "nothing to change" in said
    assert not Path("-").exists()
