"""A pytest plugin: the lines of a folder that the tests run, and at the end those that none of them runs.

``-p scripts.coverage_plugin`` with ``COVERAGE_OF=<folder>`` and ``COVERAGE_JSON=<file>``. Before Python 3.12 every line that
is traced costs time: a fifth of the suite's with one case of each test measured, and as much again as it takes otherwise. So
there it looks at the first cases of a test, and not at tests that draw hundreds of inputs
(https://coverage.readthedocs.io/en/latest/config.html#run-core).
"""

from __future__ import annotations

import collections
import io
import os
import sys
from collections.abc import Iterator
from typing import Any

import coverage
import pytest

_CHEAP = sys.version_info >= (3, 12)
_CASES = 3
if _CHEAP:
    os.environ.setdefault("COVERAGE_CORE", "sysmon")
_coverage = coverage.Coverage(data_file=None, source=[os.environ["COVERAGE_OF"]])
_cases: collections.Counter[str] = collections.Counter()
_coverage.start()  # before anything of the product is imported


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[Any]:
    """Measure a test, or leave it alone."""
    if _CHEAP or _is_measured(item):
        return (yield)
    _coverage.stop()
    try:
        return (yield)
    finally:
        _coverage.start()


def _is_measured(item: pytest.Item) -> bool:
    test = item.nodeid.partition("[")[0]
    _cases[test] += 1
    return _cases[test] <= _CASES and not getattr(
        getattr(item, "function", None), "is_hypothesis_test", False
    )


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """List the lines that were not run, by file."""
    _coverage.stop()
    terminalreporter.section("lines that these tests do not run")
    table = io.StringIO()
    _coverage.report(show_missing=True, skip_covered=True, file=table)
    terminalreporter.write(table.getvalue())
    _coverage.json_report(outfile=os.environ["COVERAGE_JSON"])
