"""A pytest plugin: the lines of a folder that the tests run, and at the end those that none of them runs.

``-p scripts.coverage_plugin`` with ``COVERAGE_OF=<folder>`` and ``COVERAGE_JSON=<file>``.
"""

from __future__ import annotations

import io
import os
from typing import Any

import coverage

_coverage = coverage.Coverage(data_file=None, source=[os.environ["COVERAGE_OF"]])
_coverage.start()  # before anything of the product is imported


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """List the lines that were not run, by file."""
    _coverage.stop()
    terminalreporter.section("lines that these tests do not run")
    table = io.StringIO()
    _coverage.report(show_missing=True, skip_covered=True, file=table)
    terminalreporter.write(table.getvalue())
    _coverage.json_report(outfile=os.environ["COVERAGE_JSON"])
