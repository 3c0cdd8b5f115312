"""The command line: what it prints, and the exit status other programs rely on."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import jsonschema
import pytest
import yaml
from ecs_release.cli.console import Console
from ecs_release.cli.main import main
from ecs_release.manifest import from_document, load
from ecs_release.manifest.problem import Problem

ROOT = Path(__file__).parents[2]
VALID = "services:\n  - {service: api, clusterName: shop, serviceName: api, image: 'api:1.2.3'}\n"
INVALID = VALID.replace("api:1.2.3", "api")


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    path = tmp_path / "deployment.yaml"
    path.write_text(VALID)
    return path


@pytest.fixture
def bad_manifest(tmp_path: Path) -> Path:
    path = tmp_path / "deployment.yaml"
    path.write_text(INVALID)
    return path


def test_validate_a_valid_manifest(manifest: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["validate", str(manifest)]) == 0

    assert capsys.readouterr().out == f"{manifest} is valid: 0 scheduled tasks, 1 service.\n"


def test_validate_an_invalid_manifest(bad_manifest: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["validate", str(bad_manifest)]) == 2

    first, last = capsys.readouterr().out.splitlines()
    assert first == (
        f'E012 {bad_manifest}:2:64 services[0].image: "api" has no tag; write api:1.2.3 or api@sha256:...'
    )
    assert last == "1 error; docs/errors.md explains each code."


@pytest.mark.parametrize(("text", "status", "codes"), [(VALID, 0, []), (INVALID, 2, ["E012"])])
def test_validate_json(
    text: str, status: int, codes: list[str], manifest: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest.write_text(text)

    assert main(["validate", "--json", str(manifest)]) == status

    printed = json.loads(capsys.readouterr().out)
    jsonschema.validate(printed, json.loads((ROOT / "schemas" / "validate.schema.json").read_text()))
    assert printed["valid"] == (status == 0)
    assert [problem["code"] for problem in printed["errors"]] == codes


def test_compile_writes_json_that_is_the_same_manifest(
    manifest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "deployment.json"

    assert main(["compile", str(manifest), "-o", str(out)]) == 0

    assert from_document(json.loads(out.read_text())).manifest == load(VALID.encode()).manifest
    assert str(out) in capsys.readouterr().out
    assert {path.name for path in tmp_path.iterdir()} == {"deployment.yaml", "deployment.json"}


def test_compile_is_the_same_every_time(manifest: Path, tmp_path: Path) -> None:
    """Its SHA-256 travels with it."""
    outs = [tmp_path / "1.json", tmp_path / "2.json"]

    for out in outs:
        assert main(["compile", str(manifest), "-o", str(out)]) == 0

    assert outs[0].read_bytes() == outs[1].read_bytes()


def test_compile_writes_nothing_when_the_manifest_is_invalid(bad_manifest: Path, tmp_path: Path) -> None:
    out = tmp_path / "deployment.json"

    assert main(["compile", str(bad_manifest), "-o", str(out)]) == 2

    assert not out.exists()


def test_compile_says_when_it_cannot_write(
    manifest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["compile", str(manifest), "-o", str(tmp_path / "none" / "deployment.json")]) == 2

    assert (
        "cannot be written: No such file or directory; choose another place with -o"
        in capsys.readouterr().err
    )


def test_compile_writes_what_a_link_leads_to_and_leaves_the_link(manifest: Path, tmp_path: Path) -> None:
    link, real = tmp_path / "link.json", tmp_path / "real.json"
    real.write_text("old")
    link.symlink_to(real)
    assert main(["compile", str(manifest), "-o", str(link)]) == 0
    assert link.is_symlink()
    assert json.loads(real.read_text())["services"][0]["service"] == "api"


def test_compile_takes_a_device_for_what_it_is(manifest: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    link = Path("/dev/stdout").readlink()
    with out.open("wb") as stdout:
        command = [sys.executable, "-m", "ecs_release", "compile", str(manifest), "-o", "/dev/stdout"]
        done = subprocess.run(
            command, check=False, stdout=stdout, env=os.environ | {"PYTHONPATH": "lambda_src"}, cwd=ROOT
        )
    assert done.returncode == 0
    assert Path("/dev/stdout").readlink() == link
    assert json.loads(out.read_text())["services"][0]["service"] == "api"


def test_compile_does_not_overwrite_the_manifest(manifest: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compile", str(manifest), "-o", str(manifest)]) == 2
    assert "is the manifest itself" in capsys.readouterr().err
    assert manifest.read_text() == VALID


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device of Linux")
def test_a_full_disk_is_a_sentence(bad_manifest: Path) -> None:
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "ecs_release", "validate", "--json", bad_manifest],
            check=False,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONPATH": "lambda_src"},
            cwd=ROOT,
        )
    assert done.returncode == 1
    assert done.stderr == "ecs-release: No space left on device\n"


@pytest.mark.parametrize(
    ("exists", "asked", "advice"),
    [
        (None, "deployment.yaml", "the manifest is expected there; create it or name another path"),
        ("deployment.yml", "deployment.yaml", 'deployment.yml" to deployment.yaml'),
        ("Deployment.YAML", "deployment.yaml", 'Deployment.YAML" to deployment.yaml'),
        ("deployments.yaml", "deployment.yaml", 'deployments.yaml" to deployment.yaml'),
        ("deployment.yaml.txt", "deployment.yaml", 'deployment.yaml.txt" to deployment.yaml'),
        (None, "none/deployment.yaml", "does not exist either"),
    ],
)
def test_a_missing_file_is_told_with_the_expected_path(
    exists: str | None, asked: str, advice: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if exists:
        (tmp_path / exists).write_text(VALID)

    assert main(["validate", str(tmp_path / asked)]) == 2

    line = capsys.readouterr().out.splitlines()[0]
    assert line.startswith(f'E001 {tmp_path / asked} there is no "{tmp_path}'[:60])
    assert advice in line


def test_a_directory_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["validate", str(tmp_path)]) == 2

    assert "is a directory; name the file in it" in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [[], ["validate"], ["compile", "x"], ["unknown"]])
def test_a_wrong_call_is_status_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)

    assert ended.value.code == 2
    assert "usage: ecs-release" in capsys.readouterr().err


# --- colour and characters ---


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


PROBLEM = Problem("E012", 1, 1, "", "no tag")


@pytest.mark.parametrize(
    ("stream", "environment", "is_coloured"),
    [
        (Terminal(), {}, True),
        (Terminal(), {"NO_COLOR": ""}, True),
        (Terminal(), {"NO_COLOR": "1"}, False),
        (Terminal(), {"TERM": "dumb"}, False),
        (io.StringIO(), {}, False),
    ],
)
def test_colour_only_on_a_terminal_that_wants_it(
    stream: io.StringIO, environment: dict[str, str], is_coloured: bool
) -> None:
    Console(out=stream, environment=environment).problem(PROBLEM, "f")

    assert (
        "\x1b[31mE012\x1b[0m f:1:1 no tag\n" if is_coloured else "E012 f:1:1 no tag\n"
    ) == stream.getvalue()


def test_a_terminal_without_unicode_gets_escapes() -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii")

    Console(out=stream).say("Größe")
    stream.flush()

    assert raw.getvalue() == b"Gr\\xf6\\xdfe\n"


# --- as the build runs it ---


@pytest.fixture(scope="session")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A zip with this package and pure-Python PyYAML at its top, as the Lambda package has them."""
    path = tmp_path_factory.mktemp("package") / "package.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for directory in (ROOT / "lambda_src" / "ecs_release", Path(yaml.__file__).parent):
            for source in sorted(directory.rglob("*.py")):
                archive.write(source, source.relative_to(directory.parent))
    return path


def run(package: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [
            sys.executable,
            "-S",
            "-m",
            "ecs_release",
            *arguments,
        ],  # -S: nothing but the package and the standard library
        env={"PYTHONPATH": str(package), "PATH": os.environ["PATH"], **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_it_runs_from_the_package_alone(package: Path, manifest: Path, tmp_path: Path) -> None:
    out = tmp_path / "deployment.json"

    result = run(package, "compile", str(manifest), "-o", str(out))

    assert (result.returncode, result.stderr) == (0, "")
    assert out.exists()


def test_it_fails_from_the_package_with_status_2(package: Path, bad_manifest: Path) -> None:
    result = run(package, "validate", str(bad_manifest), PYTHONIOENCODING="ascii")

    assert (result.returncode, result.stderr) == (2, "")
    assert result.stdout.startswith("E012 ")


def test_validate_and_compile_do_without_boto3(manifest: Path) -> None:
    program = (
        "import sys; from ecs_release.cli.main import main\n"
        f"assert main(['validate', {str(manifest)!r}]) == 0\n"
        "assert not [name for name in sys.modules if name.split('.')[0] in ('boto3', 'botocore', 'aws_lambda_powertools')]\n"
    )

    subprocess.run([sys.executable, "-c", program], env={"PYTHONPATH": str(ROOT / "lambda_src")}, check=True)


def test_a_reader_that_has_seen_enough_is_no_error(package: Path, tmp_path: Path) -> None:
    path = tmp_path / "deployment.yaml"
    path.write_text("services:\n" + "- {}\n" * 900)

    result = subprocess.run(
        f"{sys.executable} -S -m ecs_release validate {path} | head -1",
        shell=True,
        env={"PYTHONPATH": str(package), "PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=True,
    )

    assert (result.stdout.count("\n"), result.stderr) == (1, "")
