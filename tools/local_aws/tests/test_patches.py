"""moto is patched where it differs from AWS, and only the moto that the patches were written against."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest
from local_aws.kernel import patches
from local_aws.kernel.patches import MotoVersionError, patch


class Moto:
    def answer(self) -> str:
        return "moto's"


@pytest.fixture
def moto(monkeypatch: pytest.MonkeyPatch) -> type[Moto]:
    """A class of moto's that nobody has patched yet."""
    monkeypatch.setattr(patches, "PATCHES", {})
    return type("Moto", (Moto,), dict(vars(Moto)))


LISTED = """
import json, sys
from pathlib import Path
from local_aws.app import create
from local_aws.kernel.patches import PATCHES
server = create(0, Path(sys.argv[1]))
server.start()
server.stop()
print(json.dumps([[owner.__name__, name, one.because, one.upstream] for (owner, name), one in PATCHES.items()]))
"""


def test_each_patch_has_its_reason_and_says_what_moto_should_have(tmp_path: Path) -> None:
    """In a process of its own: a server changes the environment of the one that it is in."""
    done = subprocess.run(
        [sys.executable, "-c", LISTED, tmp_path], capture_output=True, text=True, check=True
    )
    listed = json.loads(done.stdout.splitlines()[-1])
    assert {owner for owner, *_ in listed} >= {"Execution", "LambdaFunction", "Rule", "Schedule"}
    for owner, name, because, upstream in listed:
        assert len(because.split()) > 3, (owner, name)
        assert upstream, (owner, name)


def test_what_moto_has_is_given_back_also_after_a_second_patch(moto: type[Moto]) -> None:
    original = moto.answer
    assert patch(moto, "answer", lambda *_: "one", because="a test", upstream="none") is original
    assert patch(moto, "answer", lambda *_: "two", because="a test", upstream="none") is original
    assert moto().answer() == "two"


def test_what_moto_has_lost_is_said(moto: type[Moto]) -> None:
    with pytest.raises(MotoVersionError, match="has no gone in"):
        patch(moto, "gone", None, because="a test", upstream="none")


@pytest.mark.parametrize("installed", ["5.3.0", "6.2.1", "5.1.9"])
def test_another_moto_is_refused_with_what_to_do(
    moto: type[Moto], monkeypatch: pytest.MonkeyPatch, installed: str
) -> None:
    monkeypatch.setattr(metadata, "version", lambda _: installed)
    with pytest.raises(MotoVersionError, match=f"moto {installed} is installed.*raise VERSION"):
        patch(moto, "answer", None, because="a test", upstream="none")
