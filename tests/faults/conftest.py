"""One embedded AWS with the module applied once, further orchestrators beside it, and the table of all faults at the end."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "local"))

from arena import Arena
from local_aws.client import LocalAws
from stack import Stack

from scripts import terraform_cli_config
from scripts.stack import applied

# facts/failures.md, in the order of the document: number -> what goes wrong.
FAULTS = {
    1: "crash after RegisterTaskDefinition, before it was recorded",
    2: "UpdateService applied, response lost",
    3: "Lambda times out",
    4: "the same invocation twice, in parallel",
    5: "throttling storm",
    6: "concurrent revisions of one family",
    7: "service deleted while waiting",
    8: "service, cluster, rule or schedule missing",
    9: "CODE_DEPLOY or EXTERNAL controller",
    10: "desired count 0",
    11: "tasks crash, no circuit breaker",
    12: "circuit breaker rolls back",
    13: "somebody else deploys meanwhile",
    14: "live state changed between plan and deploy",
    15: "two releases at once",
    16: "the lock's holder died",
    17: "half done, then a failure: rollback or stop",
    18: "part of the rollback fails",
    19: "the before-image's revision was deregistered",
    20: "rule with several targets, not all ECS",
    21: "PutTargets with FailedEntryCount",
    22: "credentials of a long release expire",
    23: "one account refuses AssumeRole",
    24: "image missing in ECR, or built for another architecture",
    25: "tag moved between plan and deploy",
    26: "notification fails",
    27: "an operator stops the execution",
    28: "the same release again",
    29: "releases table unavailable at the start",
    30: "Git still names what a rollback by hand undid",
    31: "stopped while a Lambda is writing",
    32: "two releases in a row fail",
    33: "a rule names a family without a revision",
    34: "the module is upgraded while a release runs",
}
# Rows that need the approval gate: its tests apply the module with ``approval`` on.
ELSEWHERE = {
    14: "tests/local/test_gate.py",
    25: "tests/local/test_gate.py",
}

_NUMBER = re.compile(r"::test_(\d\d)_")


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The module of ``examples/local``, applied once for these tests to an embedded AWS of their own."""
    folder = tmp_path_factory.mktemp("faults")
    if kept := os.environ.get("ECS_RELEASE_TEST_STACK"):
        # While tests are written: a folder with the outputs.json of an embedded AWS that already runs.
        document = json.loads((Path(kept) / "outputs.json").read_text())
        aws = LocalAws((Path(kept) / "endpoint").read_text().strip())
        aws.reset()
        yield Stack(aws, {name: output["value"] for name, output in document.items()}, folder)
        return
    os.environ.setdefault("TF_CLI_CONFIG_FILE", str(terraform_cli_config.main()))
    with applied(folder) as (made, _):
        yield Stack(made.aws, made.outputs, folder)


@pytest.fixture(scope="session")
def arena(stack: Stack, request: pytest.FixtureRequest) -> Iterator[Arena]:
    """Where the faults happen: the applied module, its estate, and the means to make things go wrong.

    A module's ``IN_THE_BACKGROUND`` names what takes long because time has to pass. It is started here, beside all
    other tests, and those that look at it come last.
    """
    modules = {item.module for item in request.session.items if isinstance(item, pytest.Function)}
    arena = Arena(stack)
    pool = ThreadPoolExecutor(8)
    for module in modules:
        for name, work in getattr(module, "IN_THE_BACKGROUND", {}).items():
            arena.background[name] = pool.submit(work, arena)
    yield arena
    # Whoever wanted a result has had it. After Ctrl-C nobody waits: the server's end ends what still runs.
    pool.shutdown(wait=False, cancel_futures=True)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests that wait for a release in the background come last."""
    items.sort(key=lambda item: item.get_closest_marker("takes_long") is not None)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "takes_long: looks at a release that runs in the background meanwhile")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the table of facts/failures.md with each row's result."""
    results: dict[int, set[str]] = {}
    for outcome in ("passed", "failed", "error", "skipped"):
        for report in terminalreporter.stats.get(outcome, []):
            match = _NUMBER.search(getattr(report, "nodeid", ""))
            if match and "faults/test_failures" in report.nodeid:
                results.setdefault(int(match.group(1)), set()).add(outcome)
    if not results:
        return
    terminalreporter.section("what goes wrong, and whether it ends well (facts/failures.md)")
    for number, title in FAULTS.items():
        if number in ELSEWHERE:
            shown = f"see {ELSEWHERE[number]}"
        elif number not in results:
            shown = "NOT RUN"
        else:
            shown = "PASSED" if results[number] == {"passed"} else "FAILED"
        terminalreporter.write_line(f"{number:>3}  {title:<62} {shown}")
