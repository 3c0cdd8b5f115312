"""What ``make smoke`` did, as a report that can be pasted into a bug report: versions, steps, times, verdicts, and no secrets."""

from __future__ import annotations

import hashlib
import json
import platform
import re
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import botocore

from scripts.checkout import ROOT
from scripts.screen import Check

_PACKAGE = ROOT / "lambda_src" / "package.zip"
# https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_identifiers.html#identifiers-unique-ids
_KEY_ID = re.compile(r"\b(?:AKIA|ASIA|AROA|AIDA)[A-Z0-9]{12,}\b")


@dataclass
class Step:
    """One part of the run."""

    title: str
    seconds: float = 0.0
    outcome: str = "not reached its end"
    checks: list[Check] = field(default_factory=list)


@dataclass
class Report:
    """What is known of a run so far.

    Attributes
    ----------
    where
        Such as ``AWS, us-east-1``.
    hidden
        Text -> what stands in its place wherever it appears: account number, the identity's ARN.
    releases
        What ``ecs-release status --json`` said after each release.
    findings
        What ``ecs-release plan --json`` found, as code and message.
    left
        What could not be removed.
    """

    where: str
    hidden: dict[str, str] = field(default_factory=dict)
    began: datetime = field(default_factory=lambda: datetime.now(UTC))
    steps: list[Step] = field(default_factory=list)
    releases: list[dict[str, Any]] = field(default_factory=list)
    findings: list[str] = field(default_factory=list)
    error: str = ""
    verdict: str = "FAILED"
    left: list[str] = field(default_factory=list)

    def write(self, folder: Path, terraform_version: str) -> Path:
        """Write the report into a folder; its path."""
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"report-{self.began:%Y%m%dT%H%M%SZ}.md"
        path.write_text(self.text(terraform_version), encoding="utf-8")
        return path

    def text(self, terraform_version: str) -> str:
        """The report, as Markdown."""
        lines = [f"# make smoke: {self.verdict}", "", "| | |", "|---|---|"]
        lines += [f"| {name} | {_cell(value)} |" for name, value in self._versions(terraform_version).items()]
        lines += ["", "## Steps", "", "| step | seconds | |", "|---|---|---|"]
        lines += [
            f"| {_cell(step.title)} | {step.seconds:.0f} | {_cell(step.outcome)} |" for step in self.steps
        ]
        lines += ["", "## What was verified through AWS's API", ""]
        for step in self.steps:
            lines += [f"- {'ok' if c.ok else '**NOT TRUE**'}: {c.what}: {c.evidence}" for c in step.checks]
        for release in self.releases:
            lines += ["", *_release(release)]
        if self.findings:
            lines += ["", "## What the plan said", "", *(f"- {line}" for line in self.findings)]
        if self.error:
            lines += ["", "## Error", "", "```", self.error, "```"]
        lines += ["", "## Left behind", ""]
        lines += [f"- {line}" for line in self.left] or [
            "Nothing but the KMS key, which is in its days of deletion."
        ]
        return self._without_secrets("\n".join(lines) + "\n")

    def _versions(self, terraform_version: str) -> dict[str, str]:
        return {
            "where": self.where,
            "began": f"{self.began:%Y-%m-%d %H:%M:%S} UTC",
            "ECS Release": _commit(),
            "package": hashlib.sha256(_PACKAGE.read_bytes()).hexdigest()[:12],
            "Terraform": terraform_version,
            "Python": platform.python_version(),
            "botocore": botocore.__version__,
            "system": f"{platform.system()} {platform.machine()}",
        }

    def _without_secrets(self, text: str) -> str:
        # the longest first: an ARN holds the account's number
        for secret in sorted(self.hidden, key=len, reverse=True):
            text = text.replace(secret, self.hidden[secret])
        text = _KEY_ID.sub("(a key's id)", text)
        return text.replace(str(ROOT), ".").replace(str(Path.home()), "~")


def shortened(account: str) -> str:
    """An account's number as the report has it.

    >>> shortened("123456789012")
    '...9012'
    """
    return f"...{account[-4:]}"


def versions_of_terraform(document: Mapping[str, Any]) -> str:
    """Terraform's and its provider's version, of what ``terraform version -json`` prints.

    >>> providers = {"registry.terraform.io/hashicorp/aws": "5.1.0"}
    >>> versions_of_terraform({"terraform_version": "1.9.0", "provider_selections": providers})
    '1.9.0, hashicorp/aws 5.1.0'
    """
    providers = document.get("provider_selections") or {}
    found = [f"{name.partition('/')[2]} {version}" for name, version in sorted(providers.items())]
    return ", ".join([str(document.get("terraform_version", "?")), *(p for p in found if "builtin" not in p)])


def _release(document: Mapping[str, Any]) -> Iterable[str]:
    """One release, as a table of its items."""
    yield f"## Release {document['release']}: {document['status']}"
    yield ""
    yield f"{document['started']} to {document['ended']}; {json.dumps(document['counts'])}"
    yield ""
    yield "| item | verdict | now | images | reason |"
    yield "|---|---|---|---|---|"
    for item in document["items"]:
        images = ", ".join(f"{i['from']} -> {i['to']}" for i in item["images"].values())
        cells = (item["name"], item["verdict"], item["status"], images, item["reason"] or "")
        yield f"| {' | '.join(_cell(str(cell)) for cell in cells)} |"


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())


def _commit() -> str:
    """The commit of this checkout, and whether it was changed since; what Git can't tell is not known."""
    answers = [
        subprocess.run(
            ["git", *command], cwd=ROOT, capture_output=True, text=True, check=False
        ).stdout.strip()
        for command in (
            ("rev-parse", "--short=12", "HEAD"),
            ("status", "--porcelain", "--untracked-files=no"),
        )
    ]
    return f"commit {answers[0] or 'not known'}{', changed' if answers[1] else ''}"
