"""Terraform finds its provider: in a mirror that is named or lies under the usual roots, else at the registry."""

from __future__ import annotations

from pathlib import Path

import pytest

from scripts import terraform_cli_config as config


@pytest.fixture
def roots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Roots of this test's own, so that a mirror on this machine does not count."""
    root = tmp_path / "opt"
    root.mkdir()
    monkeypatch.setattr(config, "ROOTS", (str(root),))
    return root


def _mirror(folder: Path) -> Path:
    (folder / config.PROVIDER).mkdir(parents=True)
    return folder


@pytest.mark.parametrize("below", [".", "plugins", "terraform/plugins"])
def test_a_mirror_under_a_usual_root_is_found(tmp_path: Path, roots: Path, below: str) -> None:
    mirror = _mirror(roots / below)
    written = config.main({"HOME": str(tmp_path)}, tmp_path / "build")
    assert written == tmp_path / "build" / "terraform.rc"
    assert f'path = "{mirror}"' in written.read_text()


def test_the_named_mirror_comes_before_all_others(tmp_path: Path, roots: Path) -> None:
    _mirror(roots)
    named = _mirror(tmp_path / "named")
    assert config.find_mirror({"TF_PROVIDER_MIRROR": str(named), "HOME": str(tmp_path)}) == named


def test_a_named_directory_without_the_provider_is_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(config.MirrorMissingError, match=r"registry\.terraform\.io"):
        config.find_mirror({"TF_PROVIDER_MIRROR": str(tmp_path)})


@pytest.mark.usefixtures("roots")
def test_without_a_mirror_everything_comes_from_the_registry(tmp_path: Path) -> None:
    written = config.main({"HOME": str(tmp_path)}, tmp_path / "build")
    assert "provider_installation" not in written.read_text()


def test_an_inherited_file_that_is_missing_is_passed_over(tmp_path: Path, roots: Path) -> None:
    _mirror(roots)
    missing = str(tmp_path / "gone.rc")
    assert config.main({"TF_CLI_CONFIG_FILE": missing}, tmp_path / "build").name == "terraform.rc"


def test_a_configuration_of_the_users_own_stays_in_force(tmp_path: Path, roots: Path) -> None:
    _mirror(roots)
    own = tmp_path / "own.rc"
    own.write_text("")
    assert config.main({"TF_CLI_CONFIG_FILE": str(own)}, tmp_path / "build") == own
    assert config.main({"HOME": str(tmp_path)}, tmp_path / "build") != own
